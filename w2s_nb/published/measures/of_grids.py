"""Measures over many pairs of models: how similarity of supervisor and student goes with gain."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np

from ... import metrics
from ...experiments.arms import CEILING, WEAK, student_name
from ...metrics.estimate import Estimate, from_draws
from .setting import Experiments


def similarity_correlation(experiments: Experiments, *, partial: bool) -> Estimate:
    """Computes the correlation of CAPA similarity and gain over the pairs of the ladder and seeds.

    A point is a pair of models and a seed: similarity on the test examples of supervisor and
    ceiling, and test accuracy of the naive student minus that of its supervisor.

    Args:
        partial: correlates what the gap of ceiling and supervisor does not explain of either.
    Returns:
        Pearson's correlation; its interval draws points with replacement, which takes points of one
        seed for independent.
    Source: Goel et al. 2025 (arXiv 2502.04313), section 4.
    """
    points = []
    for weak, strong in combinations(experiments.setting.ladder, 2):
        arms = experiments.arms(weak=weak, strong=strong)
        by_arm = {arm: arms.probs(arm) for arm in (WEAK, student_name("xent"), CEILING)}
        for seed in range(len(arms.tasks)):
            weak_probs, student, ceiling = (probs[seed] for probs in by_arm.values())
            truth = arms.hard_label
            alike = metrics.imitation.similarity(ceiling, weak_probs, truth).value
            right = [metrics.correct(p, truth).mean() for p in (weak_probs, student, ceiling)]
            points.append([alike, right[1] - right[0], right[2] - right[0]])
    return _correlation(np.array(points), partial, len(experiments.setting.ladder))


def _correlation(points: np.ndarray, partial: bool, seeds: int) -> Estimate:
    """Returns the correlation of the first two columns, given the third if `partial`."""
    rng = np.random.default_rng(0)
    draws = rng.integers(len(points), size=(1000, len(points)))
    values = np.array([_pearson(points[rows], partial) for rows in draws])
    return from_draws(_pearson(points, partial), values, len(points), seeds)


def _pearson(points: np.ndarray, partial: bool) -> float:
    x, y, given = points.T
    if partial:
        x, y = (_residual(values, given) for values in (x, y))
    if np.ptp(x) == 0 or np.ptp(y) == 0:
        return math.nan
    return float(np.corrcoef(x, y)[0, 1])


def _residual(values: np.ndarray, given: np.ndarray) -> np.ndarray:
    """Returns what a straight line in `given` leaves of values."""
    line = np.stack([np.ones_like(given), given], axis=1)
    return values - line @ np.linalg.lstsq(line, values, rcond=None)[0]
