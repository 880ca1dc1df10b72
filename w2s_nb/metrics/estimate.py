"""TODO."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np


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


def bootstrap(
    statistic: Callable[..., float],
    *arrays: np.ndarray,
    group: np.ndarray | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> Estimate:
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
    draws = [
        statistic(
            *(
                a[np.repeat(np.arange(s), w_s)[:, None], np.repeat(np.arange(n), w_n)]
                for a in arrays
            )
        )
        for w_s, w_n in zip(by_seed.astype(int), by_example.astype(int))
    ]
    return _estimate(value, np.array(draws), n, s)


def of_means(
    function: Callable[..., np.ndarray],
    *arrays: np.ndarray,
    group: np.ndarray | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> Estimate:
    """A function of the means of paired arrays, with the interval that `bootstrap` gives it, a hundred times faster.

    Args:
        function: means, floats or arrays (resamples,) of them, one an array -> the same shape; NaN where not defined.
        arrays, group, resamples, seed: as in `bootstrap`.
    """
    means, draws = _means(arrays, group, resamples, seed)
    with np.errstate(divide="ignore", invalid="ignore"):
        return _estimate(
            float(function(*map(np.float64, means))),
            np.asarray(function(*draws)),
            *_shape(arrays)[::-1],
        )


def _means(arrays, group, resamples: int, seed: int) -> tuple[list[float], list[np.ndarray]]:
    """Mean of each array (s, n), and its means (resamples,) in the draws."""
    s, n = _shape(arrays)
    by_seed, by_example = _drawn(s, n, group, resamples, seed)
    size = by_seed.sum(axis=1) * by_example.sum(axis=1)
    return [float(np.mean(a)) for a in arrays], [
        ((by_seed @ a) * by_example).sum(axis=1) / size for a in arrays
    ]


def _shape(arrays) -> tuple[int, int]:
    if len({a.shape for a in arrays}) != 1 or arrays[0].ndim != 2 or 0 in arrays[0].shape:
        raise ValueError(
            f"arrays of shape {', '.join(str(a.shape) for a in arrays)}; expected one (seeds, examples), "
            f"not empty"
        )
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
def _counts(
    s: int, index: tuple[int, ...], resamples: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    rng, groups = np.random.default_rng(seed), max(index) + 1
    by_seed, by_group = np.empty((resamples, s)), np.empty((resamples, groups))
    for r in range(resamples):
        by_seed[r] = np.bincount(rng.integers(s, size=s), minlength=s)
        by_group[r] = np.bincount(rng.integers(groups, size=groups), minlength=groups)
    return by_seed, by_group[:, list(index)]
