"""The experiments of the paper, one file per section."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, submodules=["stress"])
