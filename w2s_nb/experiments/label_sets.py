"""Makes label sets for `run_arms`: other supervisors, labels that are best by a score, errors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import numpy as np

from .. import metrics
from ..common.registry import UnknownName
from ..data.classes import likeliest
from ..data.splits import Split, Task
from ..inputs.features import features
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
from ..metrics import predictors
from ..models.loading import with_depth
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
    check_share(share)

    def labels(task: Task, supervisor: Fit) -> SoftLabels:
        task.student.need_classes("confidence")
        all_labels = supervisor.label(task.student)
        return all_labels.select(task.student, all_labels.confident(task.student, share))

    return labels


def best_by(score: str, share: float, strong: str) -> Labeller:
    """Makes a label set of the supervisor's labels of the examples that score best.

    Scores are computed from labels and frozen features, without truth; see `metrics.predictors`.

    Args:
        score: 'rads', by what the strong model's features express of a label and the supervisor's
            do not; or 'overlap', by how near an example is to those the supervisor finds hard.
        share: of the examples of each predicted class, in (0, 1].
        strong: the model whose features count.
    Raises:
        UnknownName, ValueError: no such score, model or share.
    Source: SprocketLab 2026, rads-w2s-generalization; Shin, Cooper and Sala 2025 (arXiv
        2412.03881).
    """
    if score not in SCORES:
        raise UnknownName("score", str(score), SCORES)
    check_share(share)
    resolve(strong)

    def labels(task: Task, supervisor: Fit) -> SoftLabels:
        return keep_best(score, share, strong, supervisor.label(task.student), task)

    return labels


def keep_best(score: str, share: float, strong: str, labels: SoftLabels, task: Task) -> SoftLabels:
    """Returns labels without those of the student half that score worse; see `best_by`.

    Args:
        labels: a supervisor's, whose source is the name of its model.
    Raises:
        ValueError: as `best_by`; labels of somebody whose features cannot be read.
    """
    check_share(share)
    half = task.student
    half.need_classes(f"the score {score!r}")
    probs = labels.for_split(half)
    scores = SCORES[score](labels.source, strong, half, probs, task.seed)
    predicted = likeliest(probs)
    keep = np.zeros(len(half), dtype=bool)
    for number in np.unique(predicted):
        rows = np.flatnonzero(predicted == number)
        best = np.argsort(-scores[rows], kind="stable")
        keep[rows[best[: max(1, round(share * len(rows)))]]] = True
    return labels.select(half, keep)


def check_share(share: float) -> None:
    """Refuses a share of labels outside (0, 1].

    Raises:
        ValueError: says what is given.
    """
    if isinstance(share, (bool, str)) or not 0 < share <= 1:
        raise ValueError(f"share {share!r}; expected one in (0, 1]")


def _by_rads(weak: str, strong: str, half: Split, probs: np.ndarray, seed: int) -> np.ndarray:
    return predictors.rads(states_of(weak, half), states_of(strong, half), probs, seed=seed)


def _by_overlap(weak: str, strong: str, half: Split, probs: np.ndarray, seed: int) -> np.ndarray:
    return predictors.overlap(probs, states_of(strong, half))


SCORES = {"rads": _by_rads, "overlap": _by_overlap}


def states_of(model: str, split: Split) -> np.ndarray:
    """Returns (n, d) the features of a frozen model's last layer; of a pair the second text's minus
    the first's.
    """
    depth = cast(int, with_depth(resolve(model)).layers)
    states = features(model, split, layers=[depth])[depth].astype(np.float64)
    return states if states.ndim == 2 else states[:, 1] - states[:, 0]


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
