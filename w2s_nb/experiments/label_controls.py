"""Makes label sets that say nothing, as controls, and sets with a share of ground truth."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from ..common.registry import UnknownName
from ..data.classes import likeliest
from ..data.splits import Task
from ..labels.soft import SoftLabels
from ..training.result import Fit
from .arms import Labeller


def shuffled() -> Labeller:
    """Makes a label set of the supervisor's labels, each given to another example, drawn by seed.

    Student half and validation are shuffled apart, so that both keep their shares of classes.
    """
    return _Control("shuffled", _shuffle)


def random_labels() -> Labeller:
    """Makes a label set of hard labels that are drawn evenly among the classes, by seed."""
    return _Control("random", _draw)


def constant(label: int = 0) -> Labeller:
    """Makes a label set that gives every example the same class.

    Args:
        label: number of the class.
    Raises:
        ValueError: no number of a class; of a class that the task lacks, before anything is
            trained.
    """
    if isinstance(label, bool) or not isinstance(label, int) or label < 0:
        raise ValueError(f"label {label!r}; expected the number of a class, from 0 on")
    return _Control("constant", lambda task, own: _repeat(task, own, label), n_classes=label + 1)


def with_truth(share: float, by: str = "random") -> Labeller:
    """Makes a label set of the supervisor's labels, a share of them replaced by ground truth.

    The labels of validation examples stay the supervisor's. A larger share contains a smaller one.

    Args:
        share: of the student half, in (0, 1].
        by: 'random': drawn by seed; 'doubt': those of which the supervisor is least sure;
            'oracle': those that it has wrong, then others, both in the order of 'random'.
    Raises:
        ValueError, UnknownName: another share, or another way to choose.
    """
    if isinstance(share, (bool, str)) or not 0 < share <= 1:
        raise ValueError(f"share {share!r}; expected one in (0, 1]")
    if by not in CHOOSE:
        raise UnknownName("way to choose examples", str(by), CHOOSE)
    return _Control(f"{share:.0%} truth by {by}", lambda task, own: _replace(task, own, share, by))


@dataclass(frozen=True)
class _Control:
    """Labels that are made from the supervisor's, as `shuffled`, `with_truth` and others do."""

    name: str
    change: Callable[[Task, SoftLabels], np.ndarray]
    n_classes: int = 0

    def check(self, task: Task) -> None:
        """Refuses what cannot be made of a task, before anything is trained."""
        task.student.need_classes(f"the label set {self.name!r}")
        if self.n_classes > task.student.n_classes:
            raise ValueError(
                f"label {self.n_classes - 1}; {task.name} has the classes "
                f"{', '.join(task.student.classes)}, numbered from 0"
            )

    def __call__(self, task: Task, supervisor: Fit) -> SoftLabels:
        self.check(task)
        own = supervisor.label(task.student)
        return replace(own, probs=self.change(task, own), source=f"{own.source}, {self.name}")


def _shuffle(task: Task, own: SoftLabels) -> np.ndarray:
    rng = np.random.default_rng(task.seed)
    probs = own.probs.copy()
    is_student = np.isin(own.ids, task.student.ids)
    for part in (is_student, ~is_student):
        rows = np.flatnonzero(part)
        probs[rows] = probs[rng.permutation(rows)]
    return probs


def _draw(task: Task, own: SoftLabels) -> np.ndarray:
    rng = np.random.default_rng(task.seed)
    return np.eye(own.n_classes)[rng.integers(own.n_classes, size=len(own))]


def _repeat(task: Task, own: SoftLabels, label: int) -> np.ndarray:
    return np.eye(own.n_classes)[np.full(len(own), label)]


def _replace(task: Task, own: SoftLabels, share: float, by: str) -> np.ndarray:
    half = task.student
    n_chosen = round(share * len(half))
    if not n_chosen:
        raise ValueError(
            f"share {share:g} of {len(half)} examples is none; expected at least "
            f"{1 / len(half):.2g}"
        )
    chosen = CHOOSE[by](task, own)[:n_chosen]
    truth = dict(zip(half.ids[chosen], np.eye(own.n_classes)[half.hard_label[chosen]], strict=True))
    return np.array([truth.get(example, p) for example, p in zip(own.ids, own.probs, strict=True)])


def _at_random(task: Task, own: SoftLabels) -> np.ndarray:
    """Returns the rows of the student half in an order drawn by seed."""
    return np.random.default_rng(task.seed).permutation(len(task.student))


def _by_doubt(task: Task, own: SoftLabels) -> np.ndarray:
    """Returns the rows of the student half, those first of which the supervisor is least sure."""
    rows = _at_random(task, own)
    confidence = own.for_split(task.student).max(axis=1)
    return rows[np.argsort(confidence[rows], kind="stable")]


def _by_mistakes(task: Task, own: SoftLabels) -> np.ndarray:
    """Returns the rows of the student half, those first that the supervisor has wrong."""
    rows = _at_random(task, own)
    is_right = likeliest(own.for_split(task.student)) == task.student.hard_label
    return rows[np.argsort(is_right[rows], kind="stable")]


CHOOSE = {"random": _at_random, "doubt": _by_doubt, "oracle": _by_mistakes}
