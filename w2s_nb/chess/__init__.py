"""Adds chess puzzles: rules, tasks, small pretrained models, boards; needs the extra [chess]."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submodules=["models", "pretraining", "puzzles", "rules"],
    submod_attrs={
        "boards": ["accuracy_by_part", "show_boards"],
        "difficulty": [
            "answer_table",
            "disagreements",
            "easy_to_hard",
            "with_zero_shot",
        ],
    },
)
