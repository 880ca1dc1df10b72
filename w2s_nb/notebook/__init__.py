"""Holds what notebooks call: set-up, widgets and checks of exercises."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submodules=[
        "defaults",
        "execution",
        "exercises",
        "fork_server",
        "forked_kernel",
        "listing",
        "parameters",
        "plan",
        "renderer",
        "setup",
        "source",
        "widgets",
    ],
)
