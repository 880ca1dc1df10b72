"""Measures what a student takes over from its supervisor, with intervals.

Predictions are (n, 2), or (s, n, 2) for several seeds, of the same n test examples.
"""

from __future__ import annotations

import numpy as np

from .classification import correct, labels_of, p1_of, paired, share
from .estimate import Estimate, of_means

ON = ("all", "mistakes", "correct")


def chosen(weak, hard_label, on: str) -> np.ndarray:
    """Returns which examples `on` names, (s, n) bool, by the supervisor's predictions `weak`."""
    if on == "all":
        return np.ones(p1_of(weak).shape, dtype=bool)
    if on not in ON or hard_label is None:
        raise ValueError(f"on={on!r}; expected 'all', or with hard_label 'mistakes' or 'correct'")
    return correct(weak, hard_label) == (on == "correct")


def agreement(student, weak, hard_label=None, *, on: str = "all", group=None) -> Estimate:
    """Computes the share of examples on which student and supervisor predict the same class.

    A tie predicts class 1, for both.

    Args:
        student, weak: (n, 2) or (s, n, 2).
        hard_label: (n,) int, 0 or 1; needed unless `on` is 'all'.
        on: 'all' examples, or the supervisor's 'mistakes' or 'correct' answers.
    Source: Burns et al. 2023, section 5.1.3.
    """
    paired(student, weak)
    agrees = _predicts_1(student) == _predicts_1(weak)
    return share(agrees, chosen(weak, hard_label, on), group=group)


def agreement_change(
    first, last, weak, hard_label=None, *, on: str = "all", group=None
) -> Estimate:
    """Computes the agreement of the last student minus that of the first, with a paired interval.

    Args:
        first, last: such as the smallest and the largest student.
        weak, hard_label, on: as in `agreement`.
    """
    paired(first, last, weak)
    last_agrees = _predicts_1(last) == _predicts_1(weak)
    first_agrees = _predicts_1(first) == _predicts_1(weak)
    change = last_agrees.astype(int) - first_agrees
    return share(change, chosen(weak, hard_label, on), group=group)


def cross_entropy(student, weak, hard_label=None, *, on: str = "all", group=None) -> Estimate:
    """Computes the mean cross-entropy of the student towards the supervisor's predicted class.

    The unit is nats. On the supervisor's mistakes, high is good: the student finds them unlikely.

    Args:
        student, weak, hard_label, on: as in `agreement`.
    Source: Burns et al. 2023, section 5.1.3: agreement measured by cross-entropy.
    """
    p_student, _ = paired(student, weak)
    p_answer = np.where(_predicts_1(weak), p_student, 1 - p_student)
    nats = -np.log(p_answer.clip(min=1e-7))
    return share(nats, chosen(weak, hard_label, on), group=group)


def misfit(student, weak, *, group=None) -> Estimate:
    """Computes the mean squared difference of the two P(y = 1), without looking at the truth.

    Theory predicts that the student gains as much: for the best student in a convex class that
    holds the truth, under squared loss, error(student) <= error(weak) - misfit, on the data that
    the student was fitted on.

    Source: Charikar et al. 2024 (arXiv 2405.15116), theorem 1.
    """
    p_student, p_weak = paired(student, weak)
    return of_means(np.asarray, (p_student - p_weak) ** 2, group=group)


def gain(student, weak, hard_label, *, group=None) -> Estimate:
    """Computes the supervisor's mean squared error (Brier score) minus the student's.

    This is the gain that `misfit` predicts.

    Args:
        hard_label: (n,) int. Its noise is in both errors alike and cancels in their difference.
    """
    p_student, p_weak = paired(student, weak)
    y = labels_of(hard_label, p_student)
    lower = (p_weak - y) ** 2 - (p_student - y) ** 2
    return of_means(np.asarray, lower, group=group)


def similarity(student, weak, hard_label, *, hard: bool = False, group=None) -> Estimate:
    """Computes agreement beyond chance, given the accuracies of both: CAPA, or error consistency.

    It is (o - e) / (1 - e), where o = mean of f f_w + (1 - f)(1 - f_w), and
    e = q q_w + (1 - q)(1 - q_w) with q the mean probability that a model gives the truth. It is 0
    for models that have nothing in common but their accuracies. Predictions near 1/2 agree little
    in this sense, even with themselves.

    Args:
        hard: use predicted classes instead of probabilities, which gives error consistency: 1 for
            the same answers.
    Source: Goel et al. 2025 (arXiv 2502.04313), for two classes; Geirhos et al. 2020 for predicted
        classes.
    """
    p_student, p_weak = paired(student, weak)
    if hard:
        p_student = _predicts_1(student).astype(float)
        p_weak = _predicts_1(weak).astype(float)
    y = labels_of(hard_label, p_student)
    same = p_student * p_weak + (1 - p_student) * (1 - p_weak)
    student_on_truth = np.where(y == 1, p_student, 1 - p_student)
    weak_on_truth = np.where(y == 1, p_weak, 1 - p_weak)

    def adjusted(observed, q_student, q_weak):
        chance = q_student * q_weak + (1 - q_student) * (1 - q_weak)
        return (observed - chance) / (1 - chance)

    return of_means(adjusted, same, student_on_truth, weak_on_truth, group=group)


def _predicts_1(probs) -> np.ndarray:
    """Returns whether class 1 is predicted, (s, n) bool; a tie predicts it."""
    return p1_of(probs) >= 0.5
