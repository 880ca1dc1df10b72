"""Adds images: tasks whose examples are images, and encoders that give features of them."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submodules=["images", "models", "sources", "tasks"],
    submod_attrs={
        "compared": ["disagreements"],
        "own_classifier": ["own_labels", "own_predictions"],
        "paper": ["join_halves", "table_3"],
        "own_images": ["task_from_images"],
    },
)
