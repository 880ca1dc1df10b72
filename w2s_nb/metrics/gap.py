"""Computes the performance gap recovered (PGR), the paper's measure of a student."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from ..common.progress import warn
from ..common.seeds import check_number
from .classification import correct, paired
from .estimate import Estimate, from_draws, means_and_draws, of_means

_REMEDY = "to change it: more training examples, more epochs, another learning rate, a larger model"


def pgr(weak, student, ceiling, hard_label, *, group=None, chance: float | None = None) -> Estimate:
    """Computes performance gap recovered: (student - weak) / (ceiling - weak).

    The three are test accuracies, means over seeds. The ratio is not clipped: below 0 the student
    is worse than its supervisor, above 1 better than the ceiling. It is not defined (NaN, with a
    warning) where the ceiling is not above the supervisor by more than one standard error: it would
    be noise over noise.

    Where supervisor or ceiling is not above chance by its interval, there is nothing to recover
    from or no gap to recover. PGR then keeps value and interval, and says so in its `note` and in a
    warning.

    Args:
        weak, student, ceiling: test predictions, (n, K) or (s, n, K), of the same examples and
            seeds.
        hard_label: (n,) int, from 0 to K - 1.
        chance: accuracy of guessing, `Split.chance`: 0 for answers that are generated, the share of
            the commonest class where classes are of unequal size; None takes 1/K, as of classes of
            equal size.
    Source: Burns et al. 2023, section 3.
    """
    n_classes = paired(weak, student, ceiling)[0].shape[-1]
    if chance is None:
        chance = 1 / n_classes
    check_number(chance, "chance", high=1.0)
    arms = [correct(probs, hard_label) for probs in (weak, student, ceiling)]
    means, draws = means_and_draws(arms, group, 1000, 0)
    n_seeds, n_examples = arms[0].shape
    gap = means[2] - means[0]
    error = np.std(draws[2] - draws[0])
    at_chance = {}
    for i, arm in {0: "supervisor", 2: "ceiling"}.items():
        accuracy = from_draws(means[i], draws[i], n_examples, n_seeds)
        if accuracy.low <= chance:
            at_chance[arm] = f"{arm} {accuracy}"
    note = f"{' and '.join(at_chance)} not above chance" if at_chance else ""
    why = f"{note}, {chance:.3g}: {', '.join(at_chance.values())}; {_REMEDY}" if note else ""
    if gap <= error:
        warn(
            f"PGR is not defined: the ceiling is {gap:+.3f} above the supervisor, standard error "
            f"{error:.3f}{why and '; ' + why}"
        )
        return Estimate(math.nan, math.nan, math.nan, n_examples, n_seeds, note)
    if note:
        warn(f"PGR is marked: {why}")
    value = float(_recovered(*means))
    return replace(from_draws(value, _recovered(*draws), n_examples, n_seeds), note=note)


def pgr_difference(arms, other, hard_label, *, group=None, chance: float | None = None) -> Estimate:
    """Computes the PGR of one experiment minus that of another, with a paired interval.

    It is not defined where either PGR is not, and has the note of each that has one.

    Args:
        arms, other: (weak, student, ceiling) test predictions each, as in `pgr`, of the same
            examples and seeds.
        chance: as in `pgr`.
    """
    notes = []
    for weak, student, ceiling in (arms, other):
        recovered = pgr(weak, student, ceiling, hard_label, group=group, chance=chance)
        if math.isnan(recovered.value):
            return recovered
        notes.append(recovered.note)
    right = [correct(probs, hard_label) for probs in (*arms, *other)]

    def recovered_more(*means):
        return _recovered(*means[:3]) - _recovered(*means[3:])

    note = "; ".join(dict.fromkeys(filter(None, notes)))
    return replace(of_means(recovered_more, *right, group=group), note=note)


def _recovered(weak, student, ceiling):
    """Returns the share of the gap that is recovered, of mean accuracies; NaN without a gap."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(ceiling > weak, np.subtract(student, weak) / (ceiling - weak), np.nan)
