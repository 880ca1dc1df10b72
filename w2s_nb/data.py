"""A task's examples prepared as in the paper: grouped, balanced, cut into disjoint splits with stable ids."""
from __future__ import annotations

import functools
import hashlib
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd

from .config import data_dir
from .registry import TASKS
from .sources import rows_of
from .splitting import at_least, deal, group_ids, hash_order, shuffle_groups
from .tasks import Example, TaskSpec

TEST_SHARE = 0.25  # of the groups, where a source has no test split of its own


@dataclass(frozen=True, eq=False)
class Split:
    """Examples in columns.

    Attributes:
        name: supervisor, student, validation or test.
        ids: (n,) 16 hex digits each, a hash of task and texts: the same example has the same id everywhere.
        texts: n tuples of one text (classification) or two (comparison).
        hard_label: (n,) int64, 0 or 1.
        group: (n,) int64; examples of one group share a question or passage.
        task: the `Task` this split belongs to; its other splits are what `fit` evaluates on.
    """

    name: str
    ids: np.ndarray
    texts: tuple[tuple[str, ...], ...]
    hard_label: np.ndarray
    group: np.ndarray
    task: Task | None = field(default=None, repr=False)

    def __len__(self) -> int:
        return len(self.ids)

    def __repr__(self) -> str:
        return f"Split({self.name}, {len(self)} examples, {self.hard_label.mean():.0%} of class 1)"

    @property
    def arity(self) -> int:
        """Texts an example: 1 or 2."""
        return len(self.texts[0])

    @functools.cached_property
    def fingerprint(self) -> str:
        """16 hex digits of ids and labels in their order; the ids stand for the texts."""
        return hashlib.sha256("".join(self.ids).encode() + self.hard_label.tobytes()).hexdigest()[:16]

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
        return replace(self, ids=self.ids[rows], texts=tuple(self.texts[i] for i in rows),
                       hard_label=self.hard_label[rows], group=self.group[rows])


@dataclass(frozen=True, eq=False)
class Task:
    """Four disjoint splits of a task. Both halves have `n_train` examples; `test` does not depend on the seed.

    Attributes:
        recipe, stop: what the task sets for finetuning, as in `TaskSpec`.
    """

    name: str
    seed: int
    max_len: int
    supervisor: Split
    student: Split
    validation: Split
    test: Split
    counts: dict[str, int]
    recipe: dict = field(default_factory=dict)
    stop: str = ""

    def __post_init__(self):
        for split in self.splits:  # a split knows its task, whose other splits a fit is evaluated on
            object.__setattr__(split, "task", self)

    @property
    def splits(self) -> tuple[Split, ...]:
        return self.supervisor, self.student, self.validation, self.test

    def report(self) -> pd.DataFrame:
        """Sizes, balance and groups of each split, a row each; `attrs['counts']` says what preparation left out."""
        frame = pd.DataFrame({
            "split": [s.name for s in self.splits], "examples": [len(s) for s in self.splits],
            "share of class 1": [s.hard_label.mean() for s in self.splits],
            "groups": [len(np.unique(s.group)) for s in self.splits],
            "median words": [int(np.median([len(t.split()) for x in s.texts for t in x])) for s in self.splits]})
        frame.attrs["counts"] = self.counts
        return frame.set_index("split")


def load_task(name: str, *, seed: int = 0, n_train: int | None = None, n_val: int | None = None,
              n_test: int | None = None) -> Task:
    """Prepares a registered task (Burns et al. 2023, appendix A.1).

    Which examples are used is fixed by their hashes (but for a few, where groups do not divide evenly); the seed deals
    them to supervisor, student and validation. Every seed is tested on the same examples, and features computed for
    one seed serve all.

    Args:
        name: a registered task, narrowed by `@` and an option where it has some: `anthropic_hh@helpful-base`.
        seed: deals groups of examples to the halves.
        n_train: examples in each half, even; None takes all there are.
        n_val: validation examples, even; None takes a fifth of a half, at most 500.
        n_test: test examples, even; None takes all there are.
    Raises:
        UnknownName: no such task; lists what exists.
        ValueError: a size that is odd, not positive, or more than the task has.
        DataUnavailable: the task's rows cannot be had here.
    """
    for label, n in (("n_train", n_train), ("n_val", n_val), ("n_test", n_test)):
        if n is not None and (isinstance(n, bool) or not isinstance(n, int) or n < 2 or n % 2):
            raise ValueError(f"{label} = {n!r}; expected an even whole number from 2, half of it of each class")
    spec = TASKS[name]
    examples, unit, is_test, counts = _prepared(spec, data_dir())
    if not examples:
        raise ValueError(f"task {name!r} has no examples: its {counts['rows read']} rows gave none")
    label, group = np.array([e.label for e in examples]), group_ids([(*e.keys, *e.texts) for e in examples])
    order = hash_order(group, [example_id(name, e) for e in examples])
    if is_test is None:
        is_test = np.isin(group, group[order[:int(TEST_SHARE * len(order))]])
    pool = order[~np.isin(group[order], group[is_test])]
    test_pool = order[is_test[order]]
    per_class, test_per_class = _smaller_class(label[pool]), _smaller_class(label[test_pool])
    n_test = n_test or 2 * test_per_class
    n_val = n_val or min(500, 2 * ((n_train or per_class) // 10))
    half = n_train or 2 * ((per_class - n_val // 2) // 2)
    if half + n_val // 2 > per_class or n_test > 2 * test_per_class or half < 2 or n_val < 2:
        raise ValueError(f"task {name!r} has {2 * per_class} balanced examples for training and validation and "
                         f"{2 * test_per_class} for test; asked for 2 * n_train {half} + n_val {n_val}, "
                         f"n_test {n_test}")
    sample, rest = at_least(pool, label, group, half + n_val // 2)
    dealt = shuffle_groups(sample, group, np.random.default_rng(seed))
    parts = deal(np.concatenate([dealt, rest]), label, group, unit,
                 {"validation": n_val // 2, "supervisor": half // 2, "student": half // 2})
    parts |= deal(test_pool, label, group, unit, {"test": n_test // 2})
    for part, wanted in {"validation": n_val, "supervisor": n_train, "student": n_train, "test": n_test}.items():
        if wanted and len(parts[part]) != wanted:
            raise ValueError(f"task {name!r}: whole groups leave {len(parts[part])} examples for {part} where {wanted} "
                             f"were asked for; ask for fewer")
    counts = counts | {
        "training examples tied to the test split": len(examples) - len(pool) - len(test_pool),
        "left over by balance and size": len(pool) + len(test_pool) - sum(map(len, parts.values()))}
    return _task(spec, seed, examples, label, group, parts, counts)


def _smaller_class(label: np.ndarray) -> int:
    return int(np.bincount(label, minlength=2).min())


def _task(spec: TaskSpec, seed, examples, label, group, parts, counts) -> Task:
    def split(part):
        rows = parts[part]
        return Split(part, np.array([example_id(spec.name, examples[i]) for i in rows]),
                     tuple(examples[i].texts for i in rows), label[rows].astype(np.int64), group[rows])

    return Task(spec.name, seed, spec.max_len, split("supervisor"), split("student"), split("validation"),
                split("test"), counts, spec.recipe, spec.stop)


def example_id(task: str, example: Example) -> str:
    """16 hex digits of the task's name, without its option, and the example's texts."""
    return hashlib.sha256("\x1f".join((task.partition("@")[0], *example.texts)).encode()).hexdigest()[:16]


@functools.lru_cache(maxsize=4)
def _prepared(spec: TaskSpec, local: Path | None) -> tuple[list[Example], np.ndarray, np.ndarray | None, dict]:
    """Examples of all rows; (n,) the row of each; (n,) which are of an official test split, or None; counts.

    A row with a text that stands already is dropped whole, so that a question keeps as many right as wrong answers.
    `local` is the folder of local files, where there is one: another folder, other rows.
    """
    rows, examples, unit, is_test, n_rows, n_examples = rows_of(spec), {}, [], [], 0, 0
    for origin in sorted(rows, key="test".__ne__):  # test first: what stands in both splits counts as test
        for row in rows[origin]:
            made = {example.texts: example for example in spec.examples(row)}
            n_rows, n_examples = n_rows + 1, n_examples + len(made)
            if not made.keys() & examples.keys():
                examples |= made
                unit += [n_rows] * len(made)
                is_test += [origin == "test"] * len(made)
    counts = {"rows read": n_rows, "examples": n_examples, "dropped with repeated texts": n_examples - len(examples)}
    return list(examples.values()), np.array(unit), (np.array(is_test) if "test" in rows else None), counts
