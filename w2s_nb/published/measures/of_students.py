"""Measures of what students recover, and of what they take over from their supervisor."""

from __future__ import annotations

from collections.abc import Sequence

from ... import metrics
from ...experiments.arms import CEILING, WEAK, Arms, student_name
from ...metrics.estimate import Estimate
from .setting import Experiments, losses_with


def naive_pgr(experiments: Experiments) -> Estimate:
    """Computes the PGR of naive finetuning."""
    return experiments.arms().pgr(student_name("xent"))


def pgr_change_by_student(
    experiments: Experiments, *, students: Sequence[str], loss: str = "xent"
) -> Estimate:
    """Computes the PGR of the second student minus that of the first, under one supervisor.

    Args:
        students: two models, or their places in the setting.
    """
    first, last = (
        experiments.arms(strong=student, losses=losses_with(loss)) for student in students
    )
    return last.pgr_over(first, student_name(loss))


def pgr_change_by_supervisor(
    experiments: Experiments, *, supervisors: Sequence[str], loss: str = "xent"
) -> Estimate:
    """Computes the PGR under the second supervisor minus that under the first, for one student.

    Args:
        supervisors: two models, or their places in the setting.
    """
    first, last = (experiments.arms(weak=weak, losses=losses_with(loss)) for weak in supervisors)
    return last.pgr_over(first, student_name(loss))


def loss_gain(experiments: Experiments, *, loss: str) -> Estimate:
    """Computes the test accuracy by a loss minus that of naive finetuning."""
    arms = experiments.arms(losses=losses_with(loss))
    return arms.gain_over(student_name(loss), student_name("xent"))


def oracle_gain(experiments: Experiments, *, loss: str = "xent") -> Estimate:
    """Computes the PGR of stopping by test accuracy minus that of stopping by weak labels."""
    arms = experiments.arms(losses=losses_with(loss))
    oracle, usual = (_of_pgr(arms, loss, stop) for stop in ("oracle", "validation"))
    test = arms.test
    return metrics.pgr_difference(
        oracle, usual, arms.hard_label, group=test.group, chance=test.chance
    )


def agreement_change_by_student(
    experiments: Experiments, *, students: Sequence[str], among: str, loss: str = "xent"
) -> Estimate:
    """Computes the second student's agreement with the supervisor minus the first's.

    Args:
        students: two models, or their places in the setting.
        among: 'all' examples, or the supervisor's 'mistakes' or 'correct' answers.
    """
    first, last = (
        experiments.arms(strong=student, losses=losses_with(loss)) for student in students
    )
    arm = student_name(loss)
    return metrics.imitation.agreement_change(
        first.probs(arm),
        last.probs(arm),
        last.probs(WEAK),
        last.hard_label,
        on=among,
        group=last.test.group,
    )


def agreement_change_by_loss(experiments: Experiments, *, loss: str, among: str) -> Estimate:
    """Computes the agreement with the supervisor by a loss minus that by naive finetuning.

    Args:
        among: 'all' examples, or the supervisor's 'mistakes' or 'correct' answers.
    """
    arms = experiments.arms(losses=losses_with(loss))
    return metrics.imitation.agreement_change(
        arms.probs(student_name("xent")),
        arms.probs(student_name(loss)),
        arms.probs(WEAK),
        arms.hard_label,
        on=among,
        group=arms.test.group,
    )


def opinion_pgr(experiments: Experiments, *, loss: str) -> Estimate:
    """Computes the PGR of a student that reads the supervisor's answer in its texts."""
    return experiments.arms(losses=losses_with(loss), opinion=True).pgr(student_name(loss))


def _of_pgr(arms: Arms, loss: str, stop: str) -> list:
    """Returns predictions of supervisor, of a student at one of its checkpoints, and of ceiling."""
    return [arms.probs(WEAK), arms.probs(student_name(loss), stop=stop), arms.probs(CEILING)]


def ceiling_accuracy(experiments: Experiments, *, model: str) -> Estimate:
    """Computes the test accuracy of a model trained on ground truth of the student half."""
    return experiments.arms(strong=model).accuracy(CEILING)


def mistakes_agreement(experiments: Experiments, *, loss: str) -> Estimate:
    """Computes the share of the supervisor's mistakes that a student repeats."""
    return experiments.arms(losses=losses_with(loss)).agreement(student_name(loss), on="mistakes")
