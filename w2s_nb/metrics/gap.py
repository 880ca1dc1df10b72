"""Computes the performance gap recovered (PGR), the paper's measure of a student."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from ..common.progress import warn
from ..common.seeds import check_number
from .classification import accuracy, auroc, paired
from .estimate import Estimate, from_draws

MEASURES = {"accuracy": accuracy, "auroc": auroc}
_REMEDY = "to change it: more training examples, more epochs, another learning rate, a larger model"


def pgr(
    weak,
    student,
    ceiling,
    hard_label,
    *,
    group=None,
    chance: float | None = None,
    measure: str = "accuracy",
) -> Estimate:
    """Computes performance gap recovered: (student - weak) / (ceiling - weak).

    The three are test accuracies, or AUROCs, means over seeds. The ratio is not clipped: below 0
    the student is worse than its supervisor, above 1 better than the ceiling. It is not defined
    (NaN, with a warning) where the ceiling is not above the supervisor by more than one standard
    error: it would be noise over noise.

    Where supervisor or ceiling is not above chance by its interval, there is nothing to recover
    from or no gap to recover. PGR then keeps value and interval, and says so in its `note` and in a
    warning.

    Args:
        weak, student, ceiling: test predictions, (n, K) or (s, n, K), of the same examples and
            seeds.
        hard_label: (n,) int, from 0 to K - 1.
        chance: accuracy of guessing, `Split.chance`: 0 for answers that are generated, the share of
            the commonest class where classes are of unequal size; None takes 1/K, as of classes of
            equal size. The AUROC of guessing is 0.5, whatever `chance` is.
        measure: 'accuracy' or 'auroc'.
    Raises:
        ValueError: another measure.
    Source: Burns et al. 2023, section 3; EleutherAI's w2s by AUROC.
    """
    n_classes = paired(weak, student, ceiling)[0].shape[-1]
    if chance is None:
        chance = 1 / n_classes
    check_number(chance, "chance", high=1.0)
    check_measure(measure)
    of_weak, of_student, of_ceiling = (
        MEASURES[measure](probs, hard_label, group=group) for probs in (weak, student, ceiling)
    )
    estimate, message = _of_arms(of_weak, of_student, of_ceiling, chance, measure)
    if message:
        warn(message)
    return estimate


def check_measure(measure: str) -> None:
    """Refuses anything but what PGR can be measured by.

    Raises:
        ValueError: neither 'accuracy' nor 'auroc'.
    """
    if measure not in MEASURES:
        raise ValueError(f"measure = {measure!r}; expected {' or '.join(map(repr, MEASURES))}")


def pgr_of(
    weak: Estimate,
    student: Estimate,
    ceiling: Estimate,
    *,
    chance: float,
    measure: str,
    pair: str = "",
) -> Estimate:
    """Computes PGR as `pgr` does, of accuracies or AUROCs that rest on the same draws.

    Args:
        chance: accuracy of guessing; it plays no part in AUROC.
        measure: of the three, 'accuracy' or 'auroc'.
        pair: of which models this is, for the warnings.
    """
    estimate, message = _of_arms(weak, student, ceiling, chance, measure)
    if message:
        warn(f"{message} ({pair})" if pair else message)
    return estimate


def _of_arms(
    weak: Estimate, student: Estimate, ceiling: Estimate, chance: float, measure: str
) -> tuple[Estimate, str]:
    """Returns PGR, and what is to be warned of; "" if nothing is."""
    name = "PGR" if measure == "accuracy" else f"PGR by {measure.upper()}"
    guessing = chance if measure == "accuracy" else 0.5
    means = [arm.value for arm in (weak, student, ceiling)]
    draws = [_draws_of(arm) for arm in (weak, student, ceiling)]
    gap = means[2] - means[0]
    error = _spread(draws[2] - draws[0])
    at_chance = {
        arm: f"{arm} {estimate}"
        for arm, estimate in {"supervisor": weak, "ceiling": ceiling}.items()
        if estimate.low <= guessing
    }
    note = f"{' and '.join(at_chance)} not above chance" if at_chance else ""
    why = f"{note}, {guessing:.3g}: {', '.join(at_chance.values())}; {_REMEDY}" if note else ""
    if not gap > error:
        undefined = Estimate(math.nan, math.nan, math.nan, weak.n, weak.seeds, note)
        return undefined, (
            f"{name} is not defined: the ceiling is {gap:+.3f} above the supervisor, standard "
            f"error {error:.3f}{why and '; ' + why}"
        )
    value = float(recovered(*means))
    estimate = from_draws(value, recovered(*draws), weak.n, weak.seeds)
    return replace(estimate, note=note), f"{name} is marked: {why}" if note else ""


def pgr_difference(
    arms,
    other,
    hard_label,
    *,
    group=None,
    chance: float | None = None,
    measure: str = "accuracy",
) -> Estimate:
    """Computes the PGR of one experiment minus that of another, with a paired interval.

    It is not defined where either PGR is not, and has the note of each that has one.

    Args:
        arms, other: (weak, student, ceiling) test predictions each, as in `pgr`, of the same
            examples and seeds.
        chance, measure: as in `pgr`.
    """
    paired(*arms, *other)
    both = []
    for weak, student, ceiling in (arms, other):
        recovered = pgr(
            weak, student, ceiling, hard_label, group=group, chance=chance, measure=measure
        )
        if math.isnan(recovered.value):
            return recovered
        both.append(recovered)
    first, second = both
    difference = from_draws(
        first.value - second.value, _draws_of(first) - _draws_of(second), first.n, first.seeds
    )
    note = "; ".join(dict.fromkeys(filter(None, (first.note, second.note))))
    return replace(difference, note=note)


def _draws_of(estimate: Estimate) -> np.ndarray:
    """Returns the draws of an estimate; none where it was computed without."""
    return np.empty(0) if estimate.draws is None else estimate.draws


def _spread(draws: np.ndarray) -> float:
    """Returns the standard deviation of the draws in which the number is defined; NaN of none."""
    defined = draws[~np.isnan(draws)]
    return float(np.std(defined)) if len(defined) else math.nan


def recovered(weak, student, ceiling):
    """Returns the share of the gap that is recovered, of mean accuracies; NaN without a gap."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(ceiling > weak, np.subtract(student, weak) / (ceiling - weak), np.nan)
