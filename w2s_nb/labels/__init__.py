"""Soft labels: what everything is trained on, whoever gave them."""
from .made import COMBINE, ERRORS, combine, simulate
from .soft import SoftLabels

__all__ = ["COMBINE", "ERRORS", "SoftLabels", "combine", "simulate"]
