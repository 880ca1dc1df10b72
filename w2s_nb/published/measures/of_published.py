"""Measures of published numbers: whether a published difference is more than its noise, and how far
ours is from a published value.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from ...experiments.arms import Arms, student_name
from ...metrics.estimate import Estimate
from ..register import Number, number
from ..register import source as source_of
from .setting import Experiments, losses_with


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


def difference_from_published(
    experiments: Experiments,
    *,
    source: str,
    published: str,
    loss: str = "xent",
    baselines: str = "own",
) -> Estimate:
    """Computes a student's value minus the published one; the interval has both spreads.

    Args:
        source, published: name of the source, and of its number: a student's accuracy or AUROC, or
            its PGR by one of them.
        baselines: of our PGR, 'own' (our supervisor and ceiling) or 'published' (the source's).
    Raises:
        ValueError: other baselines, a number that has none, or one that is no student's.
    """
    theirs = number(source, published)
    arms = experiments.arms(losses=losses_with(loss))
    ours = _like(theirs, arms, student_name(loss), baselines)
    half = _half_width(theirs)
    value = ours.value - theirs.value
    low = value - math.hypot(ours.value - ours.low, half)
    high = value + math.hypot(ours.high - ours.value, half)
    return replace(ours, value=value, low=low, high=high, draws=None)


def _like(theirs: Number, arms: Arms, arm: str, baselines: str) -> Estimate:
    """Returns our value of the quantity that a published number is about."""
    where = f"{theirs.source}, {theirs.name}"
    if theirs.metric not in ("accuracy", "auroc", "pgr", "pgr_auroc"):
        raise ValueError(f"{where} is a {theirs.metric}; expected accuracy, auroc, pgr, pgr_auroc")
    if baselines not in ("own", "published"):
        raise ValueError(f"baselines = {baselines!r}; expected 'own' or 'published'")
    measure = "auroc" if theirs.metric.endswith("auroc") else "accuracy"
    if baselines == "own" and theirs.metric.startswith("pgr"):
        return arms.pgr(arm, measure=measure)
    reached = arms.auroc(arm) if measure == "auroc" else arms.accuracy(arm)
    if not theirs.metric.startswith("pgr"):
        return reached
    if theirs.weak is None or theirs.ceiling is None:
        raise ValueError(f"{where} has no baselines; expected weak and ceiling")
    gap = theirs.ceiling - theirs.weak
    value, low, high = (
        (each - theirs.weak) / gap for each in (reached.value, reached.low, reached.high)
    )
    return replace(reached, value=value, low=low, high=high, draws=None)


def _half_width(theirs: Number) -> float:
    """Returns half of the 95 % interval of a published number; 0 where nothing is known of it."""
    from scipy.stats import t

    if theirs.low is not None and theirs.high is not None:
        return (theirs.high - theirs.low) / 2
    if theirs.sd is not None and theirs.seeds is not None and theirs.seeds > 1:
        return float(t.ppf(0.975, theirs.seeds - 1)) * theirs.sd / math.sqrt(theirs.seeds)
    return theirs.error or 0.0
