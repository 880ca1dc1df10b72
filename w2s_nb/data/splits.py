"""Splits of a task: identified examples in columns, and the disjoint splits that one seed deals."""

from __future__ import annotations

import functools
import hashlib
import html
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from .tasks.spec import AS_IS, IMAGE, TaskSpec

if TYPE_CHECKING:
    import pandas as pd

    from .report import SplitReport

_MANY = 10  # classes whose shares are not said one by one


def need_split(given, name: str) -> Split:
    """Returns what an argument was given, if that is a split.

    Raises:
        TypeError: it is something else; a task is told from its splits.
    """
    if isinstance(given, Split):
        return given
    if isinstance(given, Task):
        raise TypeError(
            f"{name} is a Task; expected one of its splits, such as task.student or task.test"
        )
    raise TypeError(
        f"{name} is a {type(given).__name__}; expected a split of w2s.load_task(...), such as "
        f"task.student"
    )


def list_splits(given, name: str) -> list[Split]:
    """Returns the splits that an argument was given: one, or several in a list or tuple.

    Raises:
        TypeError: it is something else, or has something else.
        ValueError: there is none.
    """
    splits = list(given) if isinstance(given, (list, tuple)) else [given]
    if not splits:
        raise ValueError(f"{name} is empty; expected a split of w2s.load_task(...), or several")
    return [need_split(split, name) for split in splits]


def need_task(given, name: str) -> Task:
    """Returns what an argument was given, if that is a task.

    Raises:
        TypeError: it is something else, such as one of a task's splits.
    """
    if isinstance(given, Task):
        return given
    raise TypeError(f"{name} is a {type(given).__name__}; expected a task of w2s.load_task(...)")


@dataclass(frozen=True, eq=False)
class Split:
    """Examples in columns.

    Attributes:
        name: supervisor, student, validation, test, or the name of an extra half.
        ids: (n,) 16 hex digits each, a hash of task and texts: the same example has the same id
            everywhere.
        texts: n tuples of one text (classification) or two (comparison).
        hard_label: (n,) int64, in 0..K-1; all 1 where there are answers (the answer is right).
        group: (n,) int64; examples of one group share a question or passage.
        answers: n true answers, of a task that is answered by generating; else none.
        facts: one row per example, of a task whose difficulty has a measure or that has answers:
            difficulty, themes; else None.
        classes: names of the K classes; "wrong" and "right" where there are answers.
        task: the `Task` that this split belongs to; `fit` evaluates on its other splits.
    """

    name: str
    ids: np.ndarray
    texts: tuple[tuple[str, ...], ...]
    hard_label: np.ndarray
    group: np.ndarray
    answers: tuple[str, ...] = ()
    facts: pd.DataFrame | None = field(default=None, repr=False)
    classes: tuple[str, ...] = ("0", "1")
    task: Task | None = field(default=None, repr=False)

    def __len__(self) -> int:
        return len(self.ids)

    def __repr__(self) -> str:
        if not len(self):
            return f"Split({self.name}, no examples)"
        about = "with answers" if self.answers else self._describe_classes()
        return f"Split({self.name}, {len(self)} examples, {about})"

    def _describe_classes(self) -> str:
        """Returns the share of class 1, or of more than two classes each with its name."""
        if self.n_classes == 2:
            return f"{self.shares[1]:.0%} of class 1"
        if self.n_classes > _MANY:
            return f"of {self.n_classes} classes"
        named = zip(self.shares, self.classes, strict=True)
        return ", ".join(f"{share:.0%} {name}" for share, name in named)

    def need_classes(self, what: str) -> None:
        """Refuses a split whose task is answered by generating.

        Raises:
            ValueError: says what needs classes.
        """
        if self.answers:
            name = self.task.name if self.task else self.name
            raise ValueError(f"{what} needs classes; {name} is answered by generating")

    def need_texts(self, what: str) -> None:
        """Refuses a split whose examples are images, in whose texts only their names stand.

        Raises:
            ValueError: says what needs texts.
        """
        if len(self) and self.texts[0][0].startswith(IMAGE):
            name = self.task.name if self.task else self.name
            raise ValueError(f"{what} needs texts; the examples of {name} are images")

    @property
    def n_classes(self) -> int:
        """Returns K, the number of classes; 2 where there are answers, wrong and right."""
        return len(self.classes)

    @property
    def shares(self) -> np.ndarray:
        """Returns (K,) the shares of the classes; nan where there are no examples."""
        return np.bincount(self.hard_label, minlength=self.n_classes) / np.array(len(self))

    @property
    def arity(self) -> int:
        """Returns the texts of an example: 1 or 2."""
        return len(self.texts[0])

    @property
    def chance(self) -> float:
        """Returns the accuracy of guessing: 1/K of K classes that are balanced, the share of the
        commonest class where they keep their shares; 0 where answers are generated, as no guess is
        an answer.
        """
        if self.answers:
            return 0.0
        keeps_shares = self.task is not None and self.task.spec.balance == AS_IS
        return float(self.shares.max()) if keeps_shares else 1 / self.n_classes

    @functools.cached_property
    def fingerprint(self) -> str:
        """Returns 16 hex digits of ids and labels or answers in their order; ids stand for
        texts.
        """
        labels = "\x1f".join(self.answers).encode() or self.hard_label.tobytes()
        return hashlib.sha256("".join(self.ids).encode() + labels).hexdigest()[:16]

    @functools.cached_property
    def longer(self) -> np.ndarray:
        """Compares the lengths of the texts of pairs.

        Returns:
            (n,) int64: 1 where the second text has more characters, -1 where the first has, 0 where
            both have as many.
        Raises:
            ValueError: the examples have one text.
        """
        if self.arity != 2:
            raise ValueError(f"{self!r} has one text per example; length is compared in pairs")
        return np.array([np.sign(len(b) - len(a)) for a, b in self.texts], dtype=np.int64)

    def among(self, ids) -> np.ndarray:
        """Returns (n,) bool: the examples whose id is one of `ids`."""
        known = set(ids)
        return np.array([i in known for i in self.ids], dtype=bool)

    def take(self, rows) -> Split:
        """Returns a split of the examples at `rows`, an index or mask (n,)."""
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

    def median_words(self) -> int:
        """Returns the median number of words of a text."""
        return int(np.median([len(text.split()) for texts in self.texts for text in texts]))


@dataclass(frozen=True, eq=False)
class Task:
    """The disjoint splits of a task, as one seed deals them; `test` does not depend on the seed.

    A task has its own copies of the splits that it is given, so that each split knows the one task
    it belongs to, also after `dataclasses.replace`.

    Attributes:
        supervisor, student: the two halves, of as many examples.
        validation, test: held out from both.
        counts: what preparation read, dropped and left over.
        spec: the registered task, with what it sets for finetuning and generating.
        extra_halves: more splits of as many examples as a half, for a chain of students that each
            see new ones.
        data_version: hash of all examples that splits were dealt from, the same for every seed.
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
    data_version: str = ""

    def __post_init__(self):
        for name in ("supervisor", "student", "validation", "test"):
            object.__setattr__(self, name, replace(getattr(self, name), task=self))
        extra = tuple(replace(split, task=self) for split in self.extra_halves)
        object.__setattr__(self, "extra_halves", extra)

    def __repr__(self) -> str:
        sizes = ", ".join(f"{split.name} {len(split)}" for split in self.all_splits)
        return f"Task({self.name}, seed {self.seed}: {sizes})"

    def _repr_html_(self) -> str:
        title = f"{html.escape(self.name)}, seed {self.seed}"
        return f"<p><b>{title}</b></p>{self.report().round(3)._repr_html_()}"

    @property
    def splits(self) -> tuple[Split, ...]:
        """Returns supervisor, student, validation and test."""
        return self.supervisor, self.student, self.validation, self.test

    @property
    def all_splits(self) -> tuple[Split, ...]:
        """Returns the four splits and the extra halves."""
        return *self.splits, *self.extra_halves

    @property
    def hyperparameters(self) -> dict:
        """Returns the hyper-parameters of finetuning that the task sets."""
        return self.spec.hyperparameters

    @property
    def stop(self) -> str:
        """Returns the checkpoint that finetuning on the task takes; "" leaves it to the labels."""
        return self.spec.stop

    def report(self) -> SplitReport:
        """Describes the four splits, one row each: sizes, shares of classes, groups, words.

        Below the table stands how many rows and examples were left out, and why; `attrs["counts"]`
        of the table has these numbers. Of images it shows one of each of the first classes;
        `attrs["pictures"]` has them as HTML.
        """
        from .report import SplitReport

        rows = []
        for split in self.splits:
            row = {
                "split": split.name,
                "examples": len(split),
                **_shares_of(split),
                "groups": len(np.unique(split.group)),
            }
            if self.spec.images is None:
                row["median words"] = split.median_words()
            if split.facts is not None:
                row["median difficulty"] = split.facts.difficulty.median()
            rows.append(row)
        frame = SplitReport(rows).set_index("split").dropna(axis=1, how="all")
        frame.attrs["counts"] = self.counts
        frame.attrs["pictures"] = self._pictures()
        return frame

    def _pictures(self) -> str:
        """Returns a test image of each of the first classes as HTML; "" of texts."""
        if self.spec.images is None:
            return ""
        classes, first = np.unique(self.test.hard_label, return_index=True)
        names = [self.test.texts[i][0] for i in first[:_MANY]]
        captions = [self.test.classes[c] for c in classes[:_MANY]]
        return self.spec.images().gallery(names, captions)  # type: ignore[attr-defined]


def _shares_of(split: Split) -> dict[str, float]:
    """Returns columns of a report: the share of class 1, or of a few classes each by its name, or
    of many the least and the largest.
    """
    if split.answers:
        return {}
    if split.n_classes == 2:
        return {"share of class 1": split.shares[1]}
    if split.n_classes > _MANY:
        return {
            "classes": split.n_classes,
            "least share": split.shares.min(),
            "largest share": split.shares.max(),
        }
    return {f"share of {c}": share for c, share in zip(split.classes, split.shares, strict=True)}
