"""TODO."""

from __future__ import annotations

from .. import metrics
from ..common.registry import UnknownName
from ..data.splits import Task
from ..labels.simulated import COMBINE, ERRORS, PAIR_ERRORS, combine, simulate
from ..labels.soft import SoftLabels
from ..models.names import resolve
from ..training.fit import fit
from ..training.result import Fit
from .arms import Labeller


def taught_by(*models: str, how: str = "mean", **fit_args) -> Labeller:
    """A label set for `run_arms`: one other supervisor's labels, or several supervisors' combined.

    Args:
        models: names; each is trained on ground truth of the supervisor half.
        how: as in `labels.combine`, where there are several.
        fit_args: of the supervisors, such as method.
    """
    if not models or how not in COMBINE:
        raise (
            UnknownName("way to combine", str(how), COMBINE)
            if models
            else ValueError("no supervisor named")
        )
    for model in models:
        resolve(model)

    def labels(task: Task, supervisor: Fit) -> SoftLabels:
        each = [
            fit(model, task.supervisor, seed=task.seed, **fit_args).label(task.student)
            for model in models
        ]
        return each[0] if len(each) == 1 else combine(each, how, validation=task.validation)

    return labels


def confident(share: float) -> Labeller:
    """A label set for `run_arms`: the supervisor's most confident labels, this share of either class (appendix B)."""
    if not 0 < share <= 1:
        raise ValueError(f"share {share!r}; expected one in (0, 1]")

    def labels(task: Task, supervisor: Fit) -> SoftLabels:
        task.student.need_classes("confidence")
        found = supervisor.label(task.student)
        return found.select(task.student, found.confident(task.student, share))

    return labels


def matched(errors: str, strong: str, **fit_args) -> Labeller:
    """A label set for `run_arms`: the supervisor's accuracy on the student half, errors of another structure.

    Args:
        errors: one of `labels.ERRORS` or `labels.PAIR_ERRORS`, or 'own': the supervisor's hard labels.
        strong: model whose confidence 'unconfident' and 'confident' take; it is trained on ground truth of the
            supervisor half, so that its answers for the student half are held out.
        fit_args: of that model, such as method.
    Source: Burns et al. 2023, appendix E.2.
    """
    if errors not in (known := ("own", *ERRORS, *PAIR_ERRORS)):
        raise UnknownName("error structure", str(errors), known)

    def labels(task: Task, supervisor: Fit) -> SoftLabels:
        task.student.need_classes("a structure of errors")
        own = supervisor.label(task.student).harden()
        if errors == "own":
            return own
        accuracy = float(
            metrics.correct(own.for_split(task.student), task.student.hard_label).mean()
        )
        asks = errors in ("unconfident", "confident")
        sure = (
            fit(strong, task.supervisor, seed=task.seed, **fit_args).label(task.student)
            if asks
            else None
        )
        return simulate(
            errors, (task.student, task.validation), accuracy, strong=sure, seed=task.seed
        )

    return labels
