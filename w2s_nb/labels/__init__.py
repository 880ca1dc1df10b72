"""Holds labels, which everything is trained on, whoever gave them."""

from .answers import Answers
from .simulated import COMBINE, ERRORS, PAIR_ERRORS, combine, simulate
from .soft import SoftLabels

__all__ = ["COMBINE", "ERRORS", "PAIR_ERRORS", "Answers", "SoftLabels", "combine", "simulate"]
