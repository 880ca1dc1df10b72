"""Adds code to judge: is it safe to run? Needs the extra [code] for some tasks and baselines."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submodules=[
        "baselines",
        "interpreter",
        "real_code",
        "scripts",
        "shell_safety",
        "traps",
        "tree",
        "windows",
    ],
    submod_attrs={
        "baselines": ["baselines"],
        "interpreter": ["Outcome", "harmful_line", "run_script"],
        "scripts": ["Script", "script_pairs"],
        "windows": ["kept_by_window"],
    },
)
