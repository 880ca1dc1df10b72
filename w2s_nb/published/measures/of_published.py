"""Measures of published numbers alone: whether a published difference is more than its noise."""

from __future__ import annotations

import math

import numpy as np

from ...metrics.estimate import Estimate
from ..register import number
from ..register import source as source_of


def published_difference(*, source: str, first: str, second: str) -> Estimate:
    """Computes one published number minus another, with Welch's interval of the two spreads.

    Args:
        source, first, second: names in the register; both numbers have sd and seeds.
    Raises:
        ValueError: a number without a spread over seeds.
    Source: Welch 1947.
    """
    from scipy.stats import t

    numbers = [number(source, name) for name in (first, second)]
    variances, freedoms = [], []
    for each in numbers:
        if each.sd is None or each.seeds is None or each.seeds < 2:
            raise ValueError(f"{source}, {each.name} has no sd over seeds; expected sd and seeds")
        variances.append(each.sd**2 / each.seeds)
        freedoms.append(each.seeds - 1)
    parts = [v**2 / freedom for v, freedom in zip(variances, freedoms, strict=True)]
    freedom = sum(variances) ** 2 / sum(parts)
    half = float(t.ppf(0.975, freedom)) * math.sqrt(sum(variances))
    value = numbers[0].value - numbers[1].value
    seeds = min(each.seeds or 0 for each in numbers)
    return Estimate(value, value - half, value + half, 0, seeds)


def published_paired_difference(*, source: str, first: str, second: str) -> Estimate:
    """Computes the mean difference of two rows of published numbers, with Student's interval.

    Args:
        source: name in the register.
        first, second: ends of names, such as pgr-confidence; numbers whose names begin alike, such
            as sst2-pgr-confidence and sst2-pgr-naive, are a pair.
    Raises:
        ValueError: fewer than two pairs.
    Source: Student 1908.
    """
    from scipy.stats import t

    numbers = source_of(source).numbers
    begin = [name.removesuffix(f"-{first}") for name in numbers if name.endswith(f"-{first}")]
    pairs = [(numbers[f"{b}-{first}"], numbers.get(f"{b}-{second}")) for b in begin]
    changes = np.array([a.value - b.value for a, b in pairs if b is not None])
    if len(changes) < 2:
        raise ValueError(
            f"{source} has {len(changes)} pairs of numbers -{first} and -{second}; expected two"
        )
    error = changes.std(ddof=1) / math.sqrt(len(changes))
    half = float(t.ppf(0.975, len(changes) - 1) * error)
    value = float(changes.mean())
    return Estimate(value, value - half, value + half, len(changes), len(changes))
