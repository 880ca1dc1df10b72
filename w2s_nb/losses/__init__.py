"""Losses: pure functions of one contract."""

# Importing a file registers its losses; tables list them in this order, then those of other files.
from . import paper  # isort: split

import importlib
import pkgutil

from ..common.registry import LOSSES
from . import noisy_labels
from .contract import (
    check_loss,
    code,
    cross_entropy,
    loss_args,
    ramp,
    register_loss,
    values_of,
)

__all__ = [
    "LOSSES",
    "check_loss",
    "code",
    "cross_entropy",
    "loss_args",
    "noisy_labels",
    "paper",
    "ramp",
    "register_loss",
    "values_of",
]

for _file in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_file.name}")
