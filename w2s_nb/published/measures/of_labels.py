"""Measures of labels: their calibration, and what students make of other labels."""

from __future__ import annotations

from ... import metrics
from ...experiments.arms import WEAK, student_name
from ...metrics.estimate import Estimate
from .estimates import over_chance
from .setting import CONTROLS, Experiments, losses_with, truth_name


def label_calibration_error(experiments: Experiments) -> Estimate:
    """Computes the expected calibration error of the supervisor on the test examples."""
    arms = experiments.arms()
    return metrics.calibration_error(arms.probs(WEAK), arms.hard_label, group=arms.test.group)


def error_structure_difference(
    experiments: Experiments, *, errors: str, other: str, loss: str = "xent"
) -> Estimate:
    """Computes a student's test accuracy on labels with errors of one structure minus of another.

    Args:
        errors, other: structures of errors, as in `matched`.
    """
    sets = ("own", "random", "unconfident", "confident")
    needed = sets if {errors, other} <= set(sets) else (errors, other)
    arms = experiments.arms(losses=losses_with(loss), errors=needed)
    return arms.gain_over(student_name(loss, errors), student_name(loss, other))


def surest_gain(experiments: Experiments, *, share: float, loss: str = "xent") -> Estimate:
    """Computes the test accuracy on the supervisor's surest labels minus that on all of them.

    Args:
        share: of the labels of each class.
    """
    arms = experiments.arms(losses=losses_with(loss), surest=share)
    return arms.gain_over(student_name(loss, "surest"), student_name(loss))


def reverse_gain_under_noise(experiments: Experiments, *, loss: str, noise: float) -> Estimate:
    """Computes the test accuracy by a loss minus that by cross-entropy, on labels partly flipped.

    Args:
        noise: share of the supervisor's labels that are flipped, drawn by the seed.
    """
    arms = experiments.arms(losses=losses_with(loss), flipped=noise)
    return arms.gain_over(student_name(loss, "flipped"), student_name("xent", "flipped"))


def label_control_over_chance(experiments: Experiments, *, control: str) -> Estimate:
    """Computes a student's test accuracy on labels that say nothing, minus that of guessing.

    Args:
        control: 'shuffled', 'random' or 'constant'.
    """
    arms = experiments.arms(controls=tuple(CONTROLS))
    return over_chance(arms.accuracy(student_name("xent", control)), arms.test.chance)


def label_control_difference(experiments: Experiments, *, control: str) -> Estimate:
    """Computes the test accuracy on the supervisor's labels minus that on labels that say nothing.

    Args:
        control: 'shuffled', 'random' or 'constant'.
    """
    arms = experiments.arms(controls=tuple(CONTROLS))
    return arms.gain_over(student_name("xent"), student_name("xent", control))


def truth_budget_gain(experiments: Experiments, *, share: float, by: str) -> Estimate:
    """Computes the test accuracy with a share of the labels replaced by truth, minus that without.

    Args:
        share: of the student half.
        by: how the examples are chosen, as in `with_truth`.
    """
    arms = experiments.arms(truth=((share, by),))
    return arms.gain_over(student_name("xent", truth_name(share, by)), student_name("xent"))


def truth_budget_difference(
    experiments: Experiments, *, share: float, by: str, other: str
) -> Estimate:
    """Computes the test accuracy with truth placed in one way minus that with as much in another.

    Args:
        share: of the student half.
        by, other: how the examples are chosen, as in `with_truth`.
    """
    arms = experiments.arms(truth=((share, by), (share, other)))
    first, second = (student_name("xent", truth_name(share, how)) for how in (by, other))
    return arms.gain_over(first, second)
