"""Seals a task: its student half, validation and test splits without their truth."""

from __future__ import annotations

import functools
import hashlib
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NoReturn

import numpy as np

from .splits import Split, Task, need_task
from .tasks.spec import AS_IS

if TYPE_CHECKING:
    import pandas as pd

_HIDDEN = ("hard_label", "facts")
_closed: set[str] = set()  # tasks, without option, that this process does not load


class TruthSealed(RuntimeError):
    """The truth of a sealed split was asked for; it is not in this process."""


@dataclass(frozen=True, eq=False, repr=False)
class SealedSplit(Split):
    """Examples without their true classes, and without facts, which may tell them.

    `fit` trains on them with labels that it is given, and stores no measure of the truth.
    """

    hard_label: np.ndarray = field(init=False)
    facts: pd.DataFrame | None = field(init=False)

    def __repr__(self) -> str:
        return f"SealedSplit({self.name}, {len(self)} examples, truth sealed)"

    @property
    def chance(self) -> float:
        """Returns the accuracy of guessing; where a task keeps the shares of its classes, that of
        the supervisor half's commonest class.
        """
        if self.task is not None and self.task.spec.balance == AS_IS:
            return float(self.task.supervisor.shares.max())
        return 1 / self.n_classes

    @functools.cached_property
    def fingerprint(self) -> str:
        """Returns 16 hex digits of the ids in their order, other than those of the open split."""
        return hashlib.sha256(("sealed" + "".join(self.ids)).encode()).hexdigest()[:16]

    def take(self, rows) -> SealedSplit:
        """Returns a sealed split of the examples at `rows`, an index or mask (n,)."""
        rows = np.arange(len(self))[rows]
        texts = tuple(self.texts[i] for i in rows)
        return replace(self, ids=self.ids[rows], texts=texts, group=self.group[rows])


def _refuse(split: SealedSplit, name: str) -> NoReturn:
    raise TruthSealed(
        f"{name} of the {split.name} split is sealed: its truth is not in this process; a method "
        f"has the supervisor's labels, and budget.ask for the accuracy of predictions"
    )


for _name in _HIDDEN:
    setattr(SealedSplit, _name, property(functools.partial(_refuse, name=_name)))


def seal(task: Task) -> Task:
    """Returns a task whose splits, but for the supervisor half, are without their truth.

    Raises:
        TypeError: no task.
        ValueError: its task is answered by generating.
    """
    need_task(task, "task").test.need_classes("sealing the truth")
    return replace(
        task,
        student=_seal_split(task.student),
        validation=_seal_split(task.validation),
        test=_seal_split(task.test),
        extra_halves=tuple(_seal_split(half) for half in task.extra_halves),
        data_version="",  # a hash of all labels too
    )


def _seal_split(split: Split) -> SealedSplit:
    if isinstance(split, SealedSplit):
        return split
    return SealedSplit(split.name, split.ids, split.texts, split.group, classes=split.classes)


def is_sealed(split: Split) -> bool:
    """Tells whether the truth of the test split of this split's task is sealed."""
    test = split if split.task is None else split.task.test
    return isinstance(test, SealedSplit)


def with_made_labels(split: Split) -> Split:
    """Returns a split of a sealed task with classes 0, 1, ... in turn in the place of the truth.

    The code that trains reads true classes for its measures; what it measures so means nothing.
    """
    task = split.task
    if task is None:
        return _make_labels(split)
    made = replace(
        task,
        student=_make_labels(task.student),
        validation=_make_labels(task.validation),
        test=_make_labels(task.test),
        extra_halves=tuple(_make_labels(half) for half in task.extra_halves),
    )
    return replace(_make_labels(split), task=made)


def _make_labels(split: Split) -> Split:
    if not isinstance(split, SealedSplit):
        return split
    made = np.arange(len(split)) % split.n_classes
    return Split(split.name, split.ids, split.texts, made, split.group, classes=split.classes)


def close(name: str) -> None:
    """Lets `load_task` refuse a task, whatever its option, in this process from now on."""
    _closed.add(name.partition("@")[0])


def refuse_closed(name: str) -> None:
    """Refuses a task that was closed in this process.

    Raises:
        TruthSealed: says so.
    """
    if str(name).partition("@")[0] in _closed:
        raise TruthSealed(
            f"task {name!r} is sealed in this process: its truth must not be read here; take the "
            f"task that the method is given"
        )
