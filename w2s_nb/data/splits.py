"""TODO."""

from __future__ import annotations

import functools
import hashlib
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from .tasks.spec import TaskSpec


@dataclass(frozen=True, eq=False)
class Split:
    """Examples in columns.

    Attributes:
        name: supervisor, student, validation or test.
        ids: (n,) 16 hex digits each, a hash of task and texts: the same example has the same id everywhere.
        texts: n tuples of one text (classification) or two (comparison).
        hard_label: (n,) int64, 0 or 1; where there are answers all 1, for `right`.
        group: (n,) int64; examples of one group share a question or passage.
        answers: n true answers, of a task that is answered by generating; else none.
        facts: a row an example with an answer: difficulty, themes.
        task: the `Task` this split belongs to; its other splits are what `fit` evaluates on.
    """

    name: str
    ids: np.ndarray
    texts: tuple[tuple[str, ...], ...]
    hard_label: np.ndarray
    group: np.ndarray
    answers: tuple[str, ...] = ()
    facts: pd.DataFrame | None = field(default=None, repr=False)
    task: Task | None = field(default=None, repr=False)

    def __len__(self) -> int:
        return len(self.ids)

    def __repr__(self) -> str:
        about = "with answers" if self.answers else f"{self.hard_label.mean():.0%} of class 1"
        return f"Split({self.name}, {len(self)} examples, {about})"

    def need_classes(self, what: str) -> None:
        """Refuses a split whose task is answered by generating.

        Raises:
            ValueError: says what needs two classes.
        """
        if self.answers:
            raise ValueError(
                f"{what} needs two classes; {self.task.name if self.task else self.name} is answered by "
                f"generating"
            )

    @property
    def arity(self) -> int:
        """Texts an example: 1 or 2."""
        return len(self.texts[0])

    @functools.cached_property
    def fingerprint(self) -> str:
        """16 hex digits of ids and labels or answers in their order; the ids stand for the texts."""
        labels = "\x1f".join(self.answers).encode() or self.hard_label.tobytes()
        return hashlib.sha256("".join(self.ids).encode() + labels).hexdigest()[:16]

    @functools.cached_property
    def longer(self) -> np.ndarray:
        """(n,) int64, of pairs: 1 where the second text has more characters, -1 where the first has, 0 for as many."""
        if self.arity != 2:
            raise ValueError(f"{self!r} has one text an example; length is compared in pairs")
        return np.array([np.sign(len(b) - len(a)) for a, b in self.texts], dtype=np.int64)

    def among(self, ids) -> np.ndarray:
        """(n,) bool, the examples whose id is one of `ids`."""
        known = set(ids)
        return np.array([i in known for i in self.ids], dtype=bool)

    def take(self, rows) -> Split:
        """The examples at `rows`, an index or mask (n,)."""
        rows = np.arange(len(self))[rows]
        return replace(
            self,
            ids=self.ids[rows],
            texts=tuple(self.texts[i] for i in rows),
            hard_label=self.hard_label[rows],
            group=self.group[rows],
            answers=tuple(self.answers[i] for i in rows) if self.answers else (),
            facts=None if self.facts is None else self.facts.iloc[rows].reset_index(drop=True),
        )


@dataclass(frozen=True, eq=False)
class Task:
    """Four disjoint splits of a task. Both halves have `n_train` examples; `test` does not depend on the seed.

    Attributes:
        further: more splits of `n_train` examples, for a chain of students that each see new ones.
        spec: the registered task, with what it sets for finetuning and generating.
    """

    name: str
    seed: int
    max_len: int
    supervisor: Split
    student: Split
    validation: Split
    test: Split
    counts: dict[str, int]
    spec: TaskSpec
    extra_halves: tuple[Split, ...] = ()

    def __post_init__(self):
        for split in (
            *self.splits,
            *self.extra_halves,
        ):  # a split knows its task, whose other splits a fit is evaluated on
            object.__setattr__(split, "task", self)

    @property
    def splits(self) -> tuple[Split, ...]:
        return self.supervisor, self.student, self.validation, self.test

    @property
    def hyperparameters(self) -> dict:
        """Hyper-parameters of finetuning that the task sets."""
        return self.spec.hyperparameters

    @property
    def stop(self) -> str:
        """The checkpoint that finetuning on the task takes; "" leaves it to the labels."""
        return self.spec.stop

    def report(self) -> pd.DataFrame:
        """Sizes, balance and groups of each split, a row each; `attrs['counts']` says what preparation left out."""
        frame = pd.DataFrame(
            {
                "split": [s.name for s in self.splits],
                "examples": [len(s) for s in self.splits],
                "share of class 1": [
                    s.hard_label.mean() if not s.answers else np.nan for s in self.splits
                ],
                "groups": [len(np.unique(s.group)) for s in self.splits],
                "median words": [
                    int(np.median([len(t.split()) for x in s.texts for t in x]))
                    for s in self.splits
                ],
            }
        )
        if self.spec.max_answer:
            frame["median difficulty"] = [s.facts.difficulty.median() for s in self.splits]
        frame.attrs["counts"] = self.counts
        return frame.set_index("split").dropna(axis=1, how="all")
