"""Adds code to judge: is it safe to run? Needs the extra [code] where scripts are run."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submodules=["baselines", "real_code", "windows"],
    submod_attrs={
        "baselines": ["baselines"],
        "windows": ["kept_by_window"],
    },
)
