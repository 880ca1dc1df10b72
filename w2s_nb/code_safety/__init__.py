"""Adds code to judge: is it safe to run? Needs the extra [code] for some tasks and baselines."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submodules=[
        "counting",
        "interpreter",
        "marks",
        "real_code",
        "scripts",
        "shell_safety",
        "traps",
        "tree",
        "windows",
    ],
    submod_attrs={
        "counting": ["baselines"],
        "interpreter": ["Outcome", "run_script"],
        "marks": ["marked"],
        "scripts": ["Script", "script_pairs"],
        "shell_safety": ["harmful_line"],
        "windows": ["kept_by_window"],
    },
)
