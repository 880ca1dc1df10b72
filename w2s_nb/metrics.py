"""Accuracy, PGR, AUROC and calibration, each with a bootstrap interval.

Predictions are one run's, (n, 2), or several seeds', (s, n, 2), of the same n examples. The bootstrap draws examples
(whole groups of them, given `group`) and, where there are several, seeds; what is compared is drawn together, so every
interval is paired. The variance between s seeds is understated by a factor (s - 1) / s: few seeds, narrow intervals.
"""
from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .config import note


@dataclass(frozen=True)
class Estimate:
    """A number with its 95 % interval, and what it rests on: n examples, seeds."""

    value: float
    low: float
    high: float
    n: int
    seeds: int = 1

    def __str__(self) -> str:
        return format(self)

    def __format__(self, spec: str) -> str:
        spec = spec or ".3f"
        if math.isnan(self.value):
            return "not defined"
        return f"{self.value:{spec}} [{self.low:{spec}}, {self.high:{spec}}]"

    def as_dict(self, name: str) -> dict[str, float]:
        """{name, name_low, name_high} for a row of a table."""
        return {name: self.value, f"{name}_low": self.low, f"{name}_high": self.high}


def bootstrap(statistic: Callable[..., float], *arrays: np.ndarray, group: np.ndarray | None = None,
              resamples: int = 1000, seed: int = 0) -> Estimate:
    """A statistic of paired arrays with its percentile interval.

    Args:
        statistic: arrays (s, n) -> float; NaN where it is not defined.
        arrays: (s, n) each: seeds, examples. Both are drawn with replacement, alike for all arrays.
        group: (n,) groups drawn whole, such as `Split.group`: answers to one question, sentences of one review; None
            draws examples.
        resamples: draws; 0 gives the value without an interval. A draw in which the statistic is not defined counts
            at both ends of the interval.
    Raises:
        ValueError: arrays of different shapes, or empty.
    """
    (s, n), value = _shape(arrays), float(statistic(*arrays))
    by_seed, by_example = _drawn(s, n, group, resamples, seed)
    draws = [statistic(*(a[np.repeat(np.arange(s), w_s)[:, None], np.repeat(np.arange(n), w_n)] for a in arrays))
             for w_s, w_n in zip(by_seed.astype(int), by_example.astype(int))]
    return _estimate(value, np.array(draws), n, s)


def of_means(function: Callable[..., np.ndarray], *arrays: np.ndarray, group: np.ndarray | None = None,
             resamples: int = 1000, seed: int = 0) -> Estimate:
    """A function of the means of paired arrays, with the interval that `bootstrap` gives it, a hundred times faster.

    Args:
        function: means, floats or arrays (resamples,) of them, one an array -> the same shape; NaN where not defined.
        arrays, group, resamples, seed: as in `bootstrap`.
    """
    means, draws = _means(arrays, group, resamples, seed)
    with np.errstate(divide="ignore", invalid="ignore"):
        return _estimate(float(function(*map(np.float64, means))), np.asarray(function(*draws)), *_shape(arrays)[::-1])


def _means(arrays, group, resamples: int, seed: int) -> tuple[list[float], list[np.ndarray]]:
    """Mean of each array (s, n), and its means (resamples,) in the draws."""
    s, n = _shape(arrays)
    by_seed, by_example = _drawn(s, n, group, resamples, seed)
    size = by_seed.sum(axis=1) * by_example.sum(axis=1)
    return [float(np.mean(a)) for a in arrays], [((by_seed @ a) * by_example).sum(axis=1) / size for a in arrays]


def _shape(arrays) -> tuple[int, int]:
    if len({a.shape for a in arrays}) != 1 or arrays[0].ndim != 2 or 0 in arrays[0].shape:
        raise ValueError(f"arrays of shape {', '.join(str(a.shape) for a in arrays)}; expected one (seeds, examples), "
                         f"not empty")
    return arrays[0].shape


def _estimate(value: float, draws: np.ndarray, n: int, s: int) -> Estimate:
    if not len(draws):
        return Estimate(value, math.nan, math.nan, n, s)
    low = np.quantile(np.where(np.isnan(draws), -np.inf, draws), 0.025, method="inverted_cdf")
    high = np.quantile(np.where(np.isnan(draws), np.inf, draws), 0.975, method="inverted_cdf")
    return Estimate(value, float(low), float(high), n, s)


def _drawn(s: int, n: int, group, resamples: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """How often each draw has each seed, (resamples, s), and each example, (resamples, n)."""
    if group is not None and len(group) != n:
        raise ValueError(f"{len(group)} groups for {n} examples")
    index = np.arange(n) if group is None else np.unique(group, return_inverse=True)[1]
    return _counts(s, tuple(index.tolist()), resamples, seed)


@functools.lru_cache(maxsize=4)
def _counts(s: int, index: tuple[int, ...], resamples: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng, groups = np.random.default_rng(seed), max(index) + 1
    by_seed, by_group = np.empty((resamples, s)), np.empty((resamples, groups))
    for r in range(resamples):
        by_seed[r] = np.bincount(rng.integers(s, size=s), minlength=s)
        by_group[r] = np.bincount(rng.integers(groups, size=groups), minlength=groups)
    return by_seed, by_group[:, list(index)]


def p1_of(probs) -> np.ndarray:
    """(s, n) P(y = 1) of probabilities (n, 2) or (s, n, 2)."""
    probs = np.asarray(probs, dtype=float)
    if probs.ndim not in (2, 3) or probs.shape[-1] != 2:
        raise ValueError(f"probabilities of shape {probs.shape}; expected (n, 2), or (seeds, n, 2)")
    return probs[None, ..., 1] if probs.ndim == 2 else probs[..., 1]


def labels_of(hard_label, like: np.ndarray) -> np.ndarray:
    """(s, n) true classes beside probabilities of that shape."""
    hard_label = np.asarray(hard_label)
    if hard_label.shape[-1:] != like.shape[-1:]:
        raise ValueError(f"{hard_label.shape[-1]} labels for {like.shape[-1]} predictions")
    return np.broadcast_to(hard_label, like.shape)


def correct(probs, hard_label) -> np.ndarray:
    """(s, n) bool, whether the likelier class is the true one; a tie predicts class 1."""
    p1 = p1_of(probs)
    return (p1 >= 0.5) == (labels_of(hard_label, p1) == 1)


def accuracy(probs, hard_label, *, group=None, resamples: int = 1000) -> Estimate:
    """Share of right predictions.

    Args:
        probs: (n, 2) or (s, n, 2), rows sum to 1.
        hard_label: (n,) int, 0 or 1.
    """
    return of_means(np.asarray, correct(probs, hard_label), group=group, resamples=resamples)


def difference(probs, other, hard_label, *, group=None) -> Estimate:
    """Accuracy of one minus accuracy of the other, both (n, 2) or (s, n, 2), with a paired interval."""
    return of_means(np.asarray, correct(probs, hard_label).astype(int) - correct(other, hard_label), group=group)


def share(what: np.ndarray, among: np.ndarray, *, group=None) -> Estimate:
    """Mean of `what` over the examples `among`, both (s, n), with its interval; NaN where there are none.

    Args:
        what: float or bool.
        among: bool; how many there are varies with the draw.
    """
    return of_means(np.divide, what * among, among, group=group)


def auroc(probs, hard_label, *, group=None, resamples: int = 1000) -> Estimate:
    """Probability that a random example of class 1 scores above one of class 0, ties counted half; mean over seeds.

    NaN where one class is missing.
    """
    from scipy.stats import rankdata  # over a second to import, and only needed here

    p1 = p1_of(probs)

    def area(score, label):
        positive = label == 1
        n1, n0 = positive.sum(axis=1), (~positive).sum(axis=1)
        ranks = rankdata(score, axis=1)
        with np.errstate(invalid="ignore", divide="ignore"):
            return float(np.mean(((ranks * positive).sum(axis=1) - n1 * (n1 + 1) / 2) / (n1 * n0)))

    return bootstrap(area, p1, labels_of(hard_label, p1), group=group, resamples=resamples)


def calibration_error(probs, hard_label, *, bins: int = 10, group=None, resamples: int = 1000) -> Estimate:
    """Expected calibration error: mean gap between confidence and accuracy over equal-width bins of confidence.

    Args:
        bins: bins of the likelier class's probability over [0.5, 1].
    Source: Guo et al. 2017, equation 3.
    """
    p1 = p1_of(probs)
    sure = np.maximum(p1, 1 - p1)

    def error(right, sure):
        where = np.minimum(((sure - 0.5) * 2 * bins).astype(int), bins - 1).ravel()
        return float(np.abs(np.bincount(where, (right - sure).ravel(), bins)).sum() / sure.size)

    return bootstrap(error, correct(probs, hard_label), sure, group=group, resamples=resamples)


def pgr(weak, student, ceiling, hard_label, *, group=None) -> Estimate:
    """Performance gap recovered: (student - weak) / (ceiling - weak), in mean test accuracy over seeds.

    Not clipped: below 0 the student is worse than its supervisor, above 1 better than the ceiling. Not defined (NaN,
    with a warning) where the ceiling is not above the supervisor by more than one standard error: the ratio would be
    noise over noise.

    Args:
        weak, student, ceiling: test predictions, (n, 2) or (s, n, 2), of the same examples and seeds.
        hard_label: (n,) int, 0 or 1.
    Source: Burns et al. 2023, section 3.
    """
    arms = [correct(probs, hard_label) for probs in (weak, student, ceiling)]
    means, draws = _means(arms, group, 1000, 0)
    gap, error = means[2] - means[0], np.std(draws[2] - draws[0])
    found = of_means(_recovered, *arms, group=group)
    if gap > error:
        return found
    note(f"PGR is not defined: the ceiling is {gap:+.3f} above the supervisor, standard error {error:.3f}")
    return Estimate(math.nan, math.nan, math.nan, found.n, found.seeds)


def pgr_difference(arms, other, hard_label, *, group=None) -> Estimate:
    """PGR of one experiment minus that of another on the same examples and seeds, with a paired interval.

    Not defined where either PGR is not.

    Args:
        arms, other: (weak, student, ceiling) test predictions each, as in `pgr`.
    """
    for three in (arms, other):
        if math.isnan((found := pgr(*three, hard_label, group=group)).value):
            return found
    right = [correct(probs, hard_label) for probs in (*arms, *other)]
    return of_means(lambda *m: _recovered(*m[:3]) - _recovered(*m[3:]), *right, group=group)


def _recovered(weak, student, ceiling):
    return np.where(ceiling > weak, (student - weak) / (ceiling - weak), np.nan)
