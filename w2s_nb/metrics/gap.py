"""Computes the performance gap recovered (PGR), the paper's measure of a student."""

from __future__ import annotations

import math

import numpy as np

from ..common.progress import warn
from .classification import correct
from .estimate import Estimate, means_and_draws, of_means


def pgr(weak, student, ceiling, hard_label, *, group=None) -> Estimate:
    """Computes performance gap recovered: (student - weak) / (ceiling - weak).

    The three are test accuracies, means over seeds. The ratio is not clipped: below 0 the student
    is worse than its supervisor, above 1 better than the ceiling. It is not defined (NaN, with a
    warning) where the ceiling is not above the supervisor by more than one standard error: it would
    be noise over noise.

    Args:
        weak, student, ceiling: test predictions, (n, 2) or (s, n, 2), of the same examples and
            seeds.
        hard_label: (n,) int, 0 or 1.
    Source: Burns et al. 2023, section 3.
    """
    arms = [correct(probs, hard_label) for probs in (weak, student, ceiling)]
    means, draws = means_and_draws(arms, group, 1000, 0)
    gap = means[2] - means[0]
    error = np.std(draws[2] - draws[0])
    recovered = of_means(_recovered, *arms, group=group)
    if gap > error:
        return recovered
    warn(
        f"PGR is not defined: the ceiling is {gap:+.3f} above the supervisor, standard error "
        f"{error:.3f}"
    )
    return Estimate(math.nan, math.nan, math.nan, recovered.n, recovered.seeds)


def pgr_difference(arms, other, hard_label, *, group=None) -> Estimate:
    """Computes the PGR of one experiment minus that of another, with a paired interval.

    It is not defined where either PGR is not.

    Args:
        arms, other: (weak, student, ceiling) test predictions each, as in `pgr`, of the same
            examples and seeds.
    """
    for weak, student, ceiling in (arms, other):
        recovered = pgr(weak, student, ceiling, hard_label, group=group)
        if math.isnan(recovered.value):
            return recovered
    right = [correct(probs, hard_label) for probs in (*arms, *other)]

    def recovered_more(*means):
        return _recovered(*means[:3]) - _recovered(*means[3:])

    return of_means(recovered_more, *right, group=group)


def _recovered(weak, student, ceiling):
    """Returns the share of the gap that is recovered, of mean accuracies; NaN without a gap."""
    return np.where(ceiling > weak, (student - weak) / (ceiling - weak), np.nan)
