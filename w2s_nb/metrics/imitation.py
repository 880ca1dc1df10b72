"""Measures what a student takes over from its supervisor, with intervals.

Predictions are (n, K), or (s, n, K) for several seeds, of the same n test examples in K classes.
"""

from __future__ import annotations

import numpy as np

from ..data.classes import likeliest
from .classification import at, correct, labels_of, paired, probs_of, share
from .estimate import Estimate, of_means

ON = ("all", "mistakes", "correct")


def chosen(weak, hard_label, on: str) -> np.ndarray:
    """Returns which examples `on` names, (s, n) bool, by the supervisor's predictions `weak`."""
    if on == "all":
        return np.ones(probs_of(weak).shape[:-1], dtype=bool)
    if on not in ON or hard_label is None:
        raise ValueError(f"on={on!r}; expected 'all', or with hard_label 'mistakes' or 'correct'")
    return correct(weak, hard_label) == (on == "correct")


def agreement(student, weak, hard_label=None, *, on: str = "all", group=None) -> Estimate:
    """Computes the share of examples on which student and supervisor predict the same class.

    Of equally likely classes the last is predicted, by both.

    Args:
        student, weak: (n, K) or (s, n, K).
        hard_label: (n,) int, from 0 to K - 1; needed unless `on` is 'all'.
        on: 'all' examples, or the supervisor's 'mistakes' or 'correct' answers.
    Source: Burns et al. 2023, section 5.1.3.
    """
    agrees = _agree(*paired(student, weak))
    return share(agrees, chosen(weak, hard_label, on), group=group)


def agreement_change(
    first, last, weak, hard_label=None, *, on: str = "all", group=None
) -> Estimate:
    """Computes the agreement of the last student minus that of the first, with a paired interval.

    Args:
        first, last: such as the smallest and the largest student.
        weak, hard_label, on: as in `agreement`.
    """
    p_first, p_last, p_weak = paired(first, last, weak)
    change = _agree(p_last, p_weak).astype(int) - _agree(p_first, p_weak)
    return share(change, chosen(weak, hard_label, on), group=group)


def cross_entropy(student, weak, hard_label=None, *, on: str = "all", group=None) -> Estimate:
    """Computes the mean cross-entropy of the student towards the supervisor's predicted class.

    The unit is nats. On the supervisor's mistakes, high is good: the student finds them unlikely.

    Args:
        student, weak, hard_label, on: as in `agreement`.
    Source: Burns et al. 2023, section 5.1.3: agreement measured by cross-entropy.
    """
    p_student, p_weak = paired(student, weak)
    nats = -np.log(at(p_student, likeliest(p_weak)).clip(min=1e-7))
    return share(nats, chosen(weak, hard_label, on), group=group)


def misfit(student, weak, *, group=None) -> Estimate:
    """Computes how far student and supervisor are apart, without looking at the truth.

    It is the mean of half the squared distance of their probabilities: of two classes, the squared
    difference of the two P(y = 1). Theory predicts that the student gains as much: for the best
    student in a convex class that holds the truth, under squared loss, error(student) <=
    error(weak) - misfit, on the data that the student was fitted on.

    Source: Charikar et al. 2024 (arXiv 2405.15116), theorem 1, which sums over the classes.
    """
    p_student, p_weak = paired(student, weak)
    return of_means(np.asarray, _half_squared(p_student - p_weak), group=group)


def gain(student, weak, hard_label, *, group=None) -> Estimate:
    """Computes the supervisor's mean squared error (Brier score) minus the student's.

    This is the gain that `misfit` predicts, as there half the sum over the classes.

    Args:
        hard_label: (n,) int. Its noise is in both errors alike and cancels in their difference.
    """
    p_student, p_weak = paired(student, weak)
    y = _one_hot(labels_of(hard_label, p_student), p_student)
    lower = _half_squared(p_weak - y) - _half_squared(p_student - y)
    return of_means(np.asarray, lower, group=group)


def similarity(student, weak, hard_label, *, hard: bool = False, group=None) -> Estimate:
    """Computes agreement beyond chance, given the accuracies of both: CAPA, or error consistency.

    It is (o - e) / (1 - e), where o is the mean over examples of the sum over classes of f f_w, and
    e = q q_w + (1 - q)(1 - q_w) / (K - 1), with q the mean probability that a model gives the
    truth: wrong answers that know nothing of each other fall on the K - 1 wrong classes alike. It
    is 0 for models that have nothing in common but their accuracies. Predictions near 1/K agree
    little in this sense, even with themselves.

    Args:
        hard: use predicted classes instead of probabilities, which of two classes gives error
            consistency: 1 for the same answers.
    Source: Goel et al. 2025 (arXiv 2502.04313); Geirhos et al. 2020 for predicted classes.
    """
    p_student, p_weak = paired(student, weak)
    if hard:
        p_student = _one_hot(likeliest(p_student), p_student)
        p_weak = _one_hot(likeliest(p_weak), p_weak)
    y = labels_of(hard_label, p_student)
    same = (p_student * p_weak).sum(axis=-1)
    n_wrong = p_student.shape[-1] - 1

    def adjusted(observed, q_student, q_weak):
        chance = q_student * q_weak + (1 - q_student) * (1 - q_weak) / n_wrong
        return (observed - chance) / (1 - chance)

    return of_means(adjusted, same, at(p_student, y), at(p_weak, y), group=group)


def _agree(probs: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Returns whether two models predict the same class, (s, n) bool, of (s, n, K) each."""
    return likeliest(probs) == likeliest(other)


def _one_hot(classes: np.ndarray, probs: np.ndarray) -> np.ndarray:
    """Returns probability 1 for the given classes (s, n), in the shape (s, n, K) of `probs`."""
    return np.eye(probs.shape[-1])[classes]


def _half_squared(difference: np.ndarray) -> np.ndarray:
    """Returns half the sum of squares, (s, n), of differences (s, n, K) of probabilities."""
    others = difference[..., 1:]
    # class 0 is what the others leave, so that sums which are off by rounding play no part
    first = others.sum(axis=-1)
    return (first**2 + (others**2).sum(axis=-1)) / 2
