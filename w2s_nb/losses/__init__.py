"""Losses: pure functions of one contract."""
from . import paper, noisy_labels  # isort: skip, the order in which tables list them
from ..registry import LOSSES
from .contract import code, cross_entropy, loss_args, ramp, register_loss

__all__ = ["LOSSES", "code", "cross_entropy", "loss_args", "noisy_labels", "paper", "ramp", "register_loss"]
