"""Judges a published claim by an interval of ours, by one rule that was fixed before any result."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..metrics import Estimate

AGREES = "agrees"
CONTRADICTS = "contradicts"
TOO_NOISY = "too noisy to say"
VERDICTS = (AGREES, CONTRADICTS, TOO_NOISY)
RULE = (
    "A claim is a range of a quantity. It agrees where our 95 % interval lies wholly in the range, "
    "contradicts where the interval lies wholly outside, and is too noisy to say otherwise; so is "
    "a quantity that is not defined, whose models are at chance or answer all alike, or that rests "
    "on one seed. Of twenty intervals about one misses by chance."
)


@dataclass(frozen=True)
class Range:
    """The values of a quantity that agree with a claim, ends excluded.

    Attributes:
        low, high: -inf or inf where the range has no end.
    """

    low: float = -math.inf
    high: float = math.inf

    def __str__(self) -> str:
        if math.isinf(self.low):
            return f"below {self.high:g}"
        if math.isinf(self.high):
            return f"above {self.low:g}"
        return f"between {self.low:g} and {self.high:g}"


def judge(low: float, high: float, expected: Range) -> str:
    """Returns the verdict on a claim by the rule of this file.

    Args:
        low, high: ends of our 95 % interval; NaN where the quantity is not defined.
        expected: the range that the claim names.
    """
    if math.isnan(low) or math.isnan(high):
        return TOO_NOISY
    if expected.low < low and high < expected.high:
        return AGREES
    if high <= expected.low or low >= expected.high:
        return CONTRADICTS
    return TOO_NOISY


def doubt(estimate: Estimate) -> str:
    """Returns why an estimate cannot be judged, in a few words; "" where its interval decides."""
    if math.isnan(estimate.value):
        return "not defined"
    # notes of numbers over several tasks name tasks, and are no doubt of the whole
    if estimate.note.endswith("not above chance") and ": " not in estimate.note:
        return estimate.note
    if estimate.low == estimate.high:
        return "no two models differ"
    return "one seed" if estimate.seeds == 1 else ""


def judge_all(verdicts: list[str]) -> str:
    """Returns the verdict on a claim of several parts.

    It contradicts if one part does, agrees if all do, and is too noisy to say otherwise.
    """
    if CONTRADICTS in verdicts:
        return CONTRADICTS
    return AGREES if verdicts and set(verdicts) == {AGREES} else TOO_NOISY
