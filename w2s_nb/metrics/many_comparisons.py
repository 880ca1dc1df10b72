"""Tests paired differences, and corrects p-values for how many methods are compared.

`paired_test` asks whether a mean difference could be chance: of the examples alone, where there is
one seed, and of examples and seeds together, where there are several.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ..common.seeds import check_count, check_number, check_seed
from .estimate import check_group

MOST_FLIPS = 100_000
_FLIPS_AT_ONCE = 2_000_000  # groups times flips
_SMALLEST_P = 100.0  # as a power of 1 / 10


class PairedTest(NamedTuple):
    """A test of a mean difference.

    Attributes:
        value: the mean difference.
        p: two-sided p-value.
        parts: (variance, degrees of freedom) of each independent source of chance, such as the
            examples and the seeds; the variances add up to that of the mean. None by sign flips.
    """

    value: float
    p: float
    parts: tuple[tuple[float, float], ...] = ()

    @property
    def se(self) -> float:
        """Returns the standard error; NaN by sign flips."""
        return math.sqrt(sum(variance for variance, _ in self.parts)) if self.parts else math.nan

    def margin(self, level: float = 0.05) -> float:
        """Returns how far from 0 a difference of this chance must be for p <= level; NaN by flips.

        A true difference of margin + .84 se is found about 4 times in 5.
        """
        check_number(level, "level", low=1e-6, high=1)
        return (
            math.sqrt(_squared_margin(level, *np.transpose(self.parts))) if self.parts else math.nan
        )


def holm(p_values: Sequence[float] | np.ndarray) -> np.ndarray:
    """Corrects p-values of m tests so that a false one among all has at most the level's chance.

    The k-th smallest is multiplied by m - k + 1, and none is below one before it.

    Args:
        p_values: (m,) in [0, 1]; NaN, a test that could not be made, stays NaN and is not counted.
    Returns:
        (m,) corrected p-values.
    Raises:
        ValueError: a number outside [0, 1].
    Source: Holm 1979.

    >>> holm([0.01, 0.04, 0.03]).round(2).tolist()
    [0.03, 0.06, 0.06]
    """
    p = np.asarray(p_values, dtype=float)
    if p.ndim != 1 or ((p < 0) | (p > 1)).any():
        raise ValueError(f"p_values = {p_values!r:.80}; expected a list of numbers from 0 to 1")
    corrected = np.full(len(p), np.nan)
    order = np.argsort(p, kind="stable")[: int((~np.isnan(p)).sum())]  # NaN comes last
    factors = len(order) - np.arange(len(order))
    corrected[order] = np.minimum(np.maximum.accumulate(p[order] * factors), 1)
    return corrected


def sign_flip_test(values, *, group=None, flips: int = 10_000, seed: int = 0) -> PairedTest:
    """Tests by sign flips whether a mean of paired differences is chance of the examples.

    Without a difference between two models, a group of examples would as often favour one as the
    other: the signs of whole groups are flipped at random, for all seeds alike. It speaks of the
    seeds that were run, and of no others. p = (1 + flips as far from 0) / (1 + flips).

    Args:
        values: (n,) or (s, n) differences, such as right minus right.
        group: (n,) groups flipped whole.
        flips: at random; where all 2^g flips of g groups are no more, each is taken once and p is
            exact.
        seed: of the flips.
    Raises:
        ValueError: another shape, or too many flips.
    Source: Fisher 1935; for models, Noreen 1989.
    """
    values = _as_seeds(values)
    sums = _sums_of_groups(values, group)
    check_count(flips, "flips")
    if flips > MOST_FLIPS:
        raise ValueError(f"flips = {flips}; expected at most {MOST_FLIPS}")
    of_groups = sums.sum(axis=0)
    of_groups = of_groups[of_groups != 0]  # those without a difference do not change the sum
    observed = abs(float(of_groups.sum()))
    value = float(values.mean())
    if not len(of_groups):
        return PairedTest(value, 1.0)
    exact = len(of_groups) < 63 and 2 ** len(of_groups) <= flips
    count = 2 ** len(of_groups) if exact else flips
    as_far = _count_as_far(of_groups, observed, count, exact, check_seed(seed))
    p = as_far / count if exact else (1 + as_far) / (1 + count)
    return PairedTest(value, p)


def _count_as_far(sums: np.ndarray, observed: float, count: int, exact: bool, seed: int) -> int:
    """Counts the flips of whose sums the absolute value is at least the observed one."""
    rng = np.random.default_rng(seed)
    threshold = observed * (1 - 1e-9) - 1e-12  # equal sums differ by rounding
    at_once = max(1, _FLIPS_AT_ONCE // len(sums))
    as_far = 0
    for start in range(0, count, at_once):
        n = min(at_once, count - start)
        if exact:
            numbers = np.arange(start, start + n)[:, None]
            negative = (numbers >> np.arange(len(sums))) & 1
        else:
            negative = rng.integers(0, 2, size=(n, len(sums)), dtype=np.int8)
        as_far += int((np.abs((1 - 2.0 * negative) @ sums) >= threshold).sum())
    return as_far


def crossed_test(values, *, group=None) -> PairedTest:
    """Tests whether a mean of paired differences is chance of the examples and of the seeds.

    Differences d of seeds i and groups j are mu + seed_i + group_j + rest_ij, whose mean has at
    most the variance v_group + v_seed, that of the groups' means over G and of the seeds' means
    over S. It is told from 0 at a level where mean^2 > t_group^2 v_group + t_seed^2 v_seed, each t
    the two-sided quantile of that level with G - 1 and S - 1 degrees of freedom. Of normal
    differences a false one has at most the level's chance, however much seeds or groups differ:
    in simulations without a difference two, three and five seeds reject at .05 in at most 4.9 %,
    where one t with Satterthwaite's degrees of freedom does in 12.6, 7.9 and 5.8 %. Two seeds say
    little of others: of 100 differences of which that t finds 64, 74 and 78, this finds 20, 51 and
    70 (300 groups, seeds that differ by chance alone).

    Args:
        values: (s, n) differences of s > 1 seeds.
        group: (n,) groups of examples; those of several weigh by their number.
    Raises:
        ValueError: one seed, or fewer than two groups.
    Source: Banerjee 1960, of several variances; Clark 1973, examples and seeds both at random.
    """
    values = _as_seeds(values)
    sums = _sums_of_groups(values, group)
    n_seeds, n_groups = sums.shape
    if n_seeds < 2 or n_groups < 2:
        raise ValueError(
            f"{n_seeds} seeds and {n_groups} groups of examples; expected at least 2 of each"
        )
    cells = sums * (n_groups / values.shape[1])  # so that their mean is that of the examples
    parts = tuple(
        (float(means.var(ddof=1)) / len(means), float(len(means) - 1))
        for means in (cells.mean(axis=0), cells.mean(axis=1))  # of groups, of seeds
    )
    return _of_parts(float(cells.mean()), parts)


def paired_test(values, *, group=None) -> PairedTest:
    """Tests a mean difference over examples and, of several, seeds.

    Args:
        values: (s, n) differences; of one seed `sign_flip_test` is taken, of more `crossed_test`.
        group: (n,) groups of examples.
    Raises:
        ValueError: as those.
    """
    values = _as_seeds(values)
    test = crossed_test if len(values) > 1 else sign_flip_test
    return test(values, group=group)


def mean_test(tests: Sequence[PairedTest]) -> PairedTest:
    """Tests the mean of independent differences, such as those of one method on several tasks.

    It speaks of these tasks: other tasks are not drawn. Each task keeps its own chance of examples
    and of seeds, as in `crossed_test`, so that a method whose seeds differ on one task alone is not
    told from 0 too often either. On five tasks with five seeds it finds 70 of 100 differences of
    which Satterthwaite's degrees of freedom find 78, and 62 where seeds differ much; those reject
    up to 5.8 % without a difference, this at most 4.7 %.

    Args:
        tests: of `crossed_test`.
    Raises:
        ValueError: no test, or one without a standard error.
    """
    if not tests or any(math.isnan(test.se) for test in tests):
        raise ValueError(f"{len(tests)} tests; expected at least one, each with a standard error")
    parts = [(variance / len(tests) ** 2, df) for test in tests for variance, df in test.parts]
    return _of_parts(float(np.mean([test.value for test in tests])), tuple(parts))


def _of_parts(value: float, parts: tuple[tuple[float, float], ...]) -> PairedTest:
    """Returns the test of a value whose variance is a sum; without any, p is 1 at 0, else 0."""
    variance, df = np.transpose(parts)
    if not variance.any():
        return PairedTest(value, float(value == 0), parts)
    from scipy import optimize  # half a second to import, and only needed here

    def excess(power: float) -> float:
        return _squared_margin(10**-power, variance, df) - value**2

    if excess(_SMALLEST_P) < 0:
        return PairedTest(value, 10**-_SMALLEST_P, parts)
    return PairedTest(value, float(10 ** -optimize.brentq(excess, 0, _SMALLEST_P)), parts)


def _squared_margin(level: float, variance: np.ndarray, df: np.ndarray) -> float:
    """Returns the square of how far from 0 a value with a sum of variances must be."""
    from scipy.special import stdtrit

    return float(np.square(stdtrit(df, level / 2)) @ variance)


def _as_seeds(values) -> np.ndarray:
    """Returns differences (n,) or (s, n) as (s, n) floats, checked."""
    values = np.asarray(values, dtype=float)
    values = values[None] if values.ndim == 1 else values
    if values.ndim != 2 or not values.size or not np.isfinite(values).all():
        raise ValueError(
            f"differences of shape {values.shape}; expected (n,) or (seeds, n) finite numbers"
        )
    return values


def _sums_of_groups(values: np.ndarray, group) -> np.ndarray:
    """Returns the sum of each group's differences, (s, groups)."""
    n = values.shape[1]
    if group is None:
        return values
    group_of = np.unique(check_group(group, n), return_inverse=True)[1]
    return np.stack([np.bincount(group_of, weights=of_seed) for of_seed in values])
