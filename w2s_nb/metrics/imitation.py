"""What a student takes over from its supervisor: agreement, cross-entropy, misfit, similarity, with intervals.

Predictions are (n, 2), or (s, n, 2) for several seeds, of the same n test examples.
"""

from __future__ import annotations

import numpy as np

from .classification import correct, labels_of, p1_of, share
from .estimate import Estimate, of_means

ON = ("all", "mistakes", "correct")


def chosen(weak, hard_label, on: str) -> np.ndarray:
    """(s, n) bool, the examples that `on` names."""
    if on == "all":
        return np.ones(p1_of(weak).shape, dtype=bool)
    if on not in ON or hard_label is None:
        raise ValueError(f"on={on!r}; expected 'all', or with hard_label 'mistakes' or 'correct'")
    return correct(weak, hard_label) == (on == "correct")


def agreement(student, weak, hard_label=None, *, on: str = "all", group=None) -> Estimate:
    """Share of examples for which student and supervisor predict the same class.

    Args:
        student, weak: (n, 2) or (s, n, 2).
        on: 'all'; or, given `hard_label` (n,), the supervisor's 'mistakes' or its 'correct' answers.
    Source: Burns et al. 2023, section 5.1.3.
    """
    p_student, p_weak = p1_of(student), p1_of(weak)
    return share((p_student >= 0.5) == (p_weak >= 0.5), chosen(weak, hard_label, on), group=group)


def agreement_change(
    first, last, weak, hard_label=None, *, on: str = "all", group=None
) -> Estimate:
    """Agreement of one student minus that of another, with a paired interval: below 0, the last agrees less.

    Args:
        first, last: such as the smallest and the largest student.
        weak, hard_label, on: as in `agreement`.
    """
    says_1 = p1_of(weak) >= 0.5
    change = ((p1_of(last) >= 0.5) == says_1).astype(int) - ((p1_of(first) >= 0.5) == says_1)
    return share(change, chosen(weak, hard_label, on), group=group)


def cross_entropy(student, weak, hard_label=None, *, on: str = "all", group=None) -> Estimate:
    """Mean cross-entropy of the student's prediction towards the supervisor's hard answer, nats.

    On the supervisor's mistakes, high is good: the student finds its errors unlikely.

    Args:
        student, weak, hard_label, on: as in `agreement`.
    Source: Burns et al. 2023, section 5.1.3: agreement measured by cross-entropy.
    """
    p_student, says_1 = p1_of(student), p1_of(weak) >= 0.5
    answer = np.where(says_1, p_student, 1 - p_student)
    return share(-np.log(answer.clip(min=1e-7)), chosen(weak, hard_label, on), group=group)


def misfit(student, weak, *, group=None) -> Estimate:
    """Mean squared difference of the two P(y = 1): the gain that theory predicts for the student, without any truth.

    For the best student in a convex class that holds the truth, under squared loss, error(student) <= error(weak) -
    misfit, on the data that the student was fitted on.

    Source: Charikar et al. 2024 (arXiv 2405.15116), theorem 1.
    """
    return of_means(np.asarray, (p1_of(student) - p1_of(weak)) ** 2, group=group)


def gain(student, weak, hard_label, *, group=None) -> Estimate:
    """How much lower the student's mean squared error (Brier score) is than the supervisor's: what `misfit` predicts.

    Args:
        hard_label: (n,) int. Its noise is in both errors alike, and cancels in their difference.
    """
    y = labels_of(hard_label, p1_of(student))
    return of_means(np.asarray, (p1_of(weak) - y) ** 2 - (p1_of(student) - y) ** 2, group=group)


def similarity(student, weak, hard_label, *, hard: bool = False, group=None) -> Estimate:
    """Agreement beyond what two models of these accuracies share by chance: CAPA, or error consistency.

    (o - e) / (1 - e), where o = mean of f f_w + (1 - f)(1 - f_w), and e = q q_w + (1 - q)(1 - q_w) with q the mean
    probability that a model gives the truth. 0 for models independent but for their accuracies. Unsure predictions
    agree little in this sense even with themselves.

    Args:
        hard: take predicted classes for probabilities: 1 for the same answers, and then e and o are those of error
            consistency.
    Source: Goel et al. 2025 (arXiv 2502.04313), for two classes; Geirhos et al. 2020 for predicted classes.
    """
    p_student, p_weak = (
        (p1_of(p) >= 0.5).astype(float) if hard else p1_of(p) for p in (student, weak)
    )
    y = labels_of(hard_label, p_student)
    same = p_student * p_weak + (1 - p_student) * (1 - p_weak)
    on_truth = [np.where(y == 1, p, 1 - p) for p in (p_student, p_weak)]

    def adjusted(observed, q_student, q_weak):
        chance = q_student * q_weak + (1 - q_student) * (1 - q_weak)
        return (observed - chance) / (1 - chance)

    return of_means(adjusted, same, *on_truth, group=group)
