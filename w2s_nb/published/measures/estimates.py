"""Shifts estimates, interval included."""

from __future__ import annotations

from dataclasses import replace

from ...metrics.estimate import Estimate


def over_chance(accuracy: Estimate, chance: float) -> Estimate:
    """Returns how far an accuracy and its interval are above the accuracy of guessing."""
    return replace(
        accuracy,
        value=accuracy.value - chance,
        low=accuracy.low - chance,
        high=accuracy.high - chance,
        draws=None if accuracy.draws is None else accuracy.draws - chance,
    )
