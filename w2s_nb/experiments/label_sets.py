"""Makes label sets for `run_arms`: other supervisors, confident labels, chosen errors."""

from __future__ import annotations

from dataclasses import dataclass

from .. import metrics
from ..common.registry import UnknownName
from ..data.splits import Task
from ..labels.simulated import (
    COMBINE,
    ERRORS,
    NEED_STRONG,
    PAIR_ERRORS,
    check_errors,
    combine,
    simulate,
)
from ..labels.soft import SoftLabels
from ..models.names import resolve
from ..training.fit import check_fit, fit
from ..training.result import Fit
from .arms import Labeller


def taught_by(*models: str, how: str = "mean", **fit_args) -> Labeller:
    """Makes a label set of another supervisor's labels, or of several supervisors' combined.

    Args:
        models: names; each is trained on ground truth of the supervisor half.
        how: as in `labels.combine`, where there are several.
        fit_args: of the supervisors, such as method.
    Raises:
        UnknownName, ValueError: no such model or way to combine; no model.
    """
    if not models:
        raise ValueError("no supervisor named; expected at least one model")
    if how not in COMBINE:
        raise UnknownName("way to combine", str(how), COMBINE)
    for model in models:
        resolve(model)
    return _TaughtBy(models, how, fit_args)


@dataclass(frozen=True)
class _TaughtBy:
    """The labels of other supervisors, as `taught_by` makes them."""

    models: tuple[str, ...]
    how: str
    fit_args: dict

    def check(self, task: Task) -> None:
        """Refuses what the supervisors' fits would refuse, before anything is trained."""
        for model in self.models:
            check_fit(model, task.supervisor, **self.fit_args)

    def __call__(self, task: Task, supervisor: Fit | None) -> SoftLabels:
        each = []
        for model in self.models:
            teacher = fit(model, task.supervisor, seed=task.seed, **self.fit_args)
            each.append(teacher.label(task.student))
        if len(each) == 1:
            return each[0]
        return combine(each, self.how, validation=task.validation)


def confident(share: float) -> Labeller:
    """Makes a label set of the supervisor's most confident labels (appendix B).

    Args:
        share: of the labels of each predicted class, in (0, 1].
    Raises:
        ValueError: another share.
    """
    if isinstance(share, (bool, str)) or not 0 < share <= 1:
        raise ValueError(f"share {share!r}; expected one in (0, 1]")

    def labels(task: Task, supervisor: Fit) -> SoftLabels:
        task.student.need_classes("confidence")
        all_labels = supervisor.label(task.student)
        return all_labels.select(task.student, all_labels.confident(task.student, share))

    return labels


def matched(errors: str, strong: str, **fit_args) -> Labeller:
    """Makes a label set as accurate as the supervisor on the student half, with other errors.

    Args:
        errors: their structure, one of `labels.ERRORS` or `labels.PAIR_ERRORS`, or 'own': the
            supervisor's hard labels.
        strong: the model whose confidence 'unconfident' and 'confident' take; it is trained on
            ground truth of the supervisor half, so that its answers for the student half are held
            out.
        fit_args: of that model, such as method.
    Raises:
        UnknownName: no such structure of errors, or no such model.
    Source: Burns et al. 2023, appendix E.2.
    """
    known = ("own", *ERRORS, *PAIR_ERRORS)
    if errors not in known:
        raise UnknownName("error structure", str(errors), known)
    resolve(strong)
    return _Matched(errors, strong, fit_args)


@dataclass(frozen=True)
class _Matched:
    """Labels as accurate as the supervisor's, with other errors, as `matched` makes them."""

    errors: str
    strong: str
    fit_args: dict

    def check(self, task: Task) -> None:
        """Refuses what cannot be made of a task, before anything is trained."""
        task.student.need_classes("a structure of errors")
        check_errors(self.errors, task.student)
        if self.errors in NEED_STRONG:
            check_fit(self.strong, task.supervisor, **self.fit_args)

    def __call__(self, task: Task, supervisor: Fit) -> SoftLabels:
        half = task.student
        half.need_classes("a structure of errors")
        own = supervisor.label(half).harden()
        if self.errors == "own":
            return own
        accuracy = float(metrics.correct(own.for_split(half), half.hard_label).mean())
        strong_labels = None
        if self.errors in NEED_STRONG:
            teacher = fit(self.strong, task.supervisor, seed=task.seed, **self.fit_args)
            strong_labels = teacher.label(half)
        splits = (half, task.validation)
        return simulate(self.errors, splits, accuracy, strong=strong_labels, seed=task.seed)
