"""Correlates points of a grid, such as tasks, pairs of models and seeds, with intervals.

Points that share a task, a pair or a seed are not independent, so each of these is drawn whole, and
independently of the others: a point counts in a draw as often as its task times as often as its
pair times as often as its seed.

Source: Owen 2007 (arXiv 0712.1111), the bootstrap of crossed random effects.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import rankdata

from ..common.seeds import check_count, check_seed
from .estimate import Estimate, from_draws

LEAST = 3  # points of a correlation


def correlation(
    first,
    second,
    *,
    given=None,
    draw: Sequence = (),
    ranks: bool = False,
    resamples: int = 1000,
    seed: int = 0,
) -> Estimate:
    """Computes Pearson's correlation of two numbers over points, or the partial one given a third.

    The partial correlation is (r_xy - r_xz r_yz) / sqrt((1 - r_xz^2)(1 - r_yz^2)): that of what a
    regression on `given` leaves of both.

    Args:
        first, second: (m,) float, a number per point.
        given: (m,) float held constant, such as the gap in accuracy; None for none.
        draw: (m,) labels each, such as the points' tasks, pairs and seeds; whole ones are drawn.
            Without any, points are drawn.
        ranks: correlate ranks (Spearman's correlation). They stay as they are in the draws.
        resamples: number of draws; 0 gives no interval.
        seed: of the draws.
    Returns:
        From -1 to 1; NaN where one of the numbers does not vary. Draws without a value count at
        both ends of the interval.
    Raises:
        ValueError: other points, fewer than 3, or numbers that are not finite.
    """
    columns = _columns([first, second] if given is None else [first, second, given])
    if ranks:
        columns = np.stack([rankdata(column) for column in columns])
    weights = _weights(draw, columns.shape[1], resamples, seed)
    matrices = _correlations(columns, weights)
    values = matrices[:, 0, 1]
    if given is not None:
        values = _partial(matrices)
    return from_draws(float(values[0]), values[1:], columns.shape[1], 1)


@dataclass(frozen=True, eq=False)
class LeftOut:
    """Predictions for tasks by a regression on the other tasks, as `left_out` makes them.

    Attributes:
        predicted: (m,) for each point, by the regression that has not seen its task.
        r_squared: 1 - sum of squared errors / that of the mean of the other tasks; 0 is as good as
            knowing nothing of the task, below 0 is worse.
    """

    predicted: np.ndarray
    r_squared: Estimate


def left_out(
    numbers, outcome, task, *, draw: Sequence = (), resamples: int = 1000, seed: int = 0
) -> LeftOut:
    """Predicts an outcome from several numbers by least squares, each task from the others.

    Args:
        numbers: (m, p) float, such as all predictors of each point.
        outcome: (m,) float, such as the gain.
        task: (m,) labels; at least two of them.
        draw, resamples, seed: as in `correlation`; the regressions stay as they are in the draws.
    Raises:
        ValueError: other points, one task alone, or numbers that are not finite.
    """
    table = np.asarray(numbers, dtype=float)
    if table.ndim != 2:
        raise ValueError(f"numbers of shape {table.shape}; expected (points, numbers)")
    *_, y = _columns([*table.T, outcome])
    of_task = _labels(task, len(y))
    if of_task.max() == 0:
        raise ValueError(f"all {len(y)} points are of one task; expected at least two tasks")
    predicted, known = np.empty_like(y), np.empty_like(y)
    for left in range(of_task.max() + 1):
        seen = of_task != left
        known[~seen] = y[seen].mean()
        centre, scale = table[seen].mean(axis=0), table[seen].std(axis=0)
        scaled = (table - centre) / np.where(scale > 0, scale, 1)
        slopes = np.linalg.lstsq(scaled[seen], y[seen] - known[~seen][0], rcond=None)[0]
        predicted[~seen] = known[~seen] + scaled[~seen] @ slopes
    weights = _weights(draw, len(y), resamples, seed)
    with np.errstate(divide="ignore", invalid="ignore"):
        values = 1 - (weights @ (y - predicted) ** 2) / (weights @ (y - known) ** 2)
    return LeftOut(predicted, from_draws(float(values[0]), values[1:], len(y), 1))


def _columns(columns: Sequence) -> np.ndarray:
    """Returns numbers (k, m) of the same points, checked."""
    arrays = [np.asarray(column, dtype=float) for column in columns]
    shapes = {array.shape for array in arrays}
    if len(shapes) > 1 or len(arrays[0].shape) != 1 or len(arrays[0]) < LEAST:
        told = ", ".join(sorted(map(str, shapes)))
        raise ValueError(f"numbers of shape {told}; expected one (points,), at least {LEAST}")
    stacked = np.stack(arrays)
    if not np.isfinite(stacked).all():
        points = (~np.isfinite(stacked)).any(axis=0).sum()
        raise ValueError(f"numbers of {points} of {stacked.shape[1]} points are not finite")
    return stacked


def _labels(labels, n_points: int) -> np.ndarray:
    """Returns labels of points as numbers from 0, (m,) int."""
    labels = np.asarray(labels)
    if labels.shape != (n_points,):
        raise ValueError(f"labels of shape {labels.shape}; expected ({n_points},), one per point")
    return np.unique(labels, return_inverse=True)[1]


def _weights(draw: Sequence, n_points: int, resamples: int, seed: int) -> np.ndarray:
    """Returns how often each point counts, (1 + resamples, m): once first, then in each draw."""
    check_count(resamples, "resamples", low=0)
    rng = np.random.default_rng(check_seed(seed))
    weights = np.ones((resamples, n_points))
    for labels in draw if len(draw) else [np.arange(n_points)]:
        number = _labels(labels, n_points)
        n_labels = number.max() + 1
        counts = rng.multinomial(n_labels, np.full(n_labels, 1 / n_labels), size=resamples)
        weights *= counts[:, number]
    return np.concatenate([np.ones((1, n_points)), weights])


def _correlations(columns: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Returns the correlations of columns (k, m) under each row of weights, (r, k, k)."""
    columns = columns - columns.mean(axis=1, keepdims=True)
    # a scale of 1 keeps what varies by rounding alone apart from what varies
    size = np.sqrt(np.square(columns).mean(axis=1, keepdims=True))
    columns = columns / np.where(size > 0, size, 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        shares = weights / weights.sum(axis=1, keepdims=True)
        means = shares @ columns.T
        moments = np.einsum("rm,im,jm->rij", shares, columns, columns, optimize=True)
        covariance = moments - means[:, :, None] * means[:, None, :]
        variance = np.einsum("rii->ri", covariance)
        spread = np.sqrt(np.where(variance > 1e-12, variance, np.nan))
        return (covariance / spread[:, :, None] / spread[:, None, :]).clip(-1, 1)


def _partial(matrices: np.ndarray) -> np.ndarray:
    """Returns the correlation of the first two numbers given the third, (r,)."""
    xy, xz, yz = matrices[:, 0, 1], matrices[:, 0, 2], matrices[:, 1, 2]
    rest = (1 - xz**2) * (1 - yz**2)
    rest = np.where(rest > 1e-12, rest, np.nan)
    return ((xy - xz * yz) / np.sqrt(rest)).clip(-1, 1)
