"""Measures over many pairs of models: how similarity of supervisor and student goes with gain."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np

from ... import metrics
from ...experiments.arms import CEILING, WEAK, Arms, student_name
from ...metrics.estimate import Estimate, from_draws
from .setting import Experiments


def similarity_correlation(experiments: Experiments, *, partial: bool) -> Estimate:
    """Computes the correlation of CAPA similarity and gain over the pairs of the ladder and seeds.

    A point is a pair of models and a seed: similarity on the test examples of supervisor and
    ceiling, and test accuracy of the naive student minus that of its supervisor.

    Args:
        partial: correlates what the gap of ceiling and supervisor does not explain of either.
    Returns:
        Pearson's correlation; a draw of its interval takes pairs and seeds with replacement, so
        that points which share a seed or a pair do not count as independent ones.
    Source: Goel et al. 2025 (arXiv 2502.04313), section 4.
    """
    ladder = experiments.setting.ladder
    points = np.array(
        [
            _points(experiments.arms(weak=weak, strong=strong))
            for weak, strong in combinations(ladder, 2)
        ]
    )
    n_pairs, n_seeds = points.shape[:2]
    rng = np.random.default_rng(0)
    draws = np.empty(1000)
    for draw in range(len(draws)):
        pairs, seeds = (rng.integers(n, size=n) for n in (n_pairs, n_seeds))
        draws[draw] = _pearson(points[np.ix_(pairs, seeds)].reshape(-1, 3), partial)
    value = _pearson(points.reshape(-1, 3), partial)
    return from_draws(value, draws, n_pairs, n_seeds)


def _points(arms: Arms) -> list[list[float]]:
    """Returns similarity, gain over the supervisor and gap of the ceiling, per seed."""
    truth = arms.hard_label
    points = []
    for weak, student, ceiling in zip(
        *(arms.probs(arm) for arm in (WEAK, student_name("xent"), CEILING)), strict=True
    ):
        alike = metrics.imitation.similarity(ceiling, weak, truth).value
        right = [metrics.correct(probs, truth).mean() for probs in (weak, student, ceiling)]
        points.append([alike, right[1] - right[0], right[2] - right[0]])
    return points


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
