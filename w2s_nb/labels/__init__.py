"""Soft labels: what everything is trained on, whoever gave them."""
from .made import COMBINE, ERRORS, PAIR_ERRORS, combine, simulate
from .soft import SoftLabels

__all__ = ["COMBINE", "ERRORS", "PAIR_ERRORS", "SoftLabels", "combine", "simulate"]
