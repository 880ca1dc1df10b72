"""TODO."""

from __future__ import annotations

import math

import numpy as np

from ..common.progress import warn
from .classification import correct
from .estimate import Estimate, _means, of_means


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
    warn(
        f"PGR is not defined: the ceiling is {gap:+.3f} above the supervisor, standard error {error:.3f}"
    )
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
