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
            raise ValueError(f"{what} needs two classes; {self.task.name if self.task else self.name} is answered by "
                             f"generating")

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
        return replace(self, ids=self.ids[rows], texts=tuple(self.texts[i] for i in rows),
                       hard_label=self.hard_label[rows], group=self.group[rows],
                       answers=tuple(self.answers[i] for i in rows) if self.answers else (),
                       facts=None if self.facts is None else self.facts.iloc[rows].reset_index(drop=True))


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
    further: tuple[Split, ...] = ()

    def __post_init__(self):
        for split in (*self.splits, *self.further):  # a split knows its task, whose other splits a fit is evaluated on
            object.__setattr__(split, "task", self)

    @property
    def splits(self) -> tuple[Split, ...]:
        return self.supervisor, self.student, self.validation, self.test

    @property
    def recipe(self) -> dict:
        """Fields of a finetuning recipe that the task sets."""
        return self.spec.recipe

    @property
    def stop(self) -> str:
        """The checkpoint that finetuning on the task takes; "" leaves it to the labels."""
        return self.spec.stop

    def report(self) -> pd.DataFrame:
        """Sizes, balance and groups of each split, a row each; `attrs['counts']` says what preparation left out."""
        frame = pd.DataFrame({
            "split": [s.name for s in self.splits], "examples": [len(s) for s in self.splits],
            "share of class 1": [s.hard_label.mean() if not s.answers else np.nan for s in self.splits],
            "groups": [len(np.unique(s.group)) for s in self.splits],
            "median words": [int(np.median([len(t.split()) for x in s.texts for t in x])) for s in self.splits]})
        if self.spec.max_answer:
            frame["median difficulty"] = [s.facts.difficulty.median() for s in self.splits]
        frame.attrs["counts"] = self.counts
        return frame.set_index("split").dropna(axis=1, how="all")


def load_task(name: str, *, seed: int = 0, n_train: int | None = None, n_val: int | None = None,
              n_test: int | None = None, further: int = 0) -> Task:
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
        further: more splits of n_train examples that are dealt beside the two halves, which stay what they are without.
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
        why = " in its range, in which none without a difficulty is" if spec.keep else ""
        raise ValueError(f"task {name!r} has no examples: its {counts['rows read']} rows gave none{why}")
    label, group = np.array([e.label for e in examples]), group_ids([(*e.keys, *e.texts) for e in examples])
    order = hash_order(group, [example_id(name, e) for e in examples])
    if is_test is None:
        is_test = np.isin(group, group[order[:int(TEST_SHARE * len(order))]])
    pool = order[~np.isin(group[order], group[is_test])]
    test_pool = order[is_test[order]]
    classes = 1 if spec.max_answer else 2  # questions with an answer are all of one class
    most, test_most = (classes * int(np.bincount(label[rows], minlength=classes).min()) for rows in (pool, test_pool))
    n_test = n_test or test_most
    n_val = n_val or max(2, min(500, 2 * ((n_train or most // 2) // 10)))
    half = n_train or 2 * ((most - n_val) // 4)
    if (2 + further) * half + n_val > most or n_test > test_most or half < 2 or n_val < 2:
        kind = "balanced examples" if classes == 2 else "examples"
        raise ValueError(f"task {name!r} has {most} {kind} for training and validation and {test_most} for test; asked "
                         f"for {2 + further} * n_train {half} + n_val {n_val}, n_test {n_test}")
    sample, rest = at_least(pool, label, group, (2 * half + n_val) // classes, classes)
    dealt = shuffle_groups(sample, group, np.random.default_rng(seed))
    sizes = {"validation": n_val, "supervisor": half, "student": half}
    per_class = {part: n // classes for part, n in sizes.items()}
    parts = deal(np.concatenate([dealt, rest]), label, group, unit, per_class, classes)
    if further:  # of groups that the halves have nothing of
        free = pool[~np.isin(group[pool], group[np.concatenate(list(parts.values()))])]
        sample, rest = at_least(free, label, group, further * half // classes, classes)
        dealt = shuffle_groups(sample, group, np.random.default_rng([seed, 1]))
        more = {f"further {i}": half for i in range(further)}
        parts |= deal(np.concatenate([dealt, rest]), label, group, unit, dict.fromkeys(more, half // classes), classes)
        sizes |= more
    parts |= deal(test_pool, label, group, unit, {"test": n_test // classes}, classes)
    for part, wanted in (sizes | {"test": n_test} if n_train else {"validation": n_val, "test": n_test}).items():
        if len(parts[part]) != wanted:
            raise ValueError(f"task {name!r}: whole groups leave {len(parts[part])} examples for {part} where {wanted} "
                             f"were asked for; ask for fewer")
    counts = counts | {
        "training examples tied to the test split": len(examples) - len(pool) - len(test_pool),
        "left over by balance and size": len(pool) + len(test_pool) - sum(map(len, parts.values()))}
    splits = {part: _split(part, spec, [examples[i] for i in rows], group[rows]) for part, rows in parts.items()}
    four = [splits.pop(name) for name in ("supervisor", "student", "validation", "test")]
    return Task(spec.name, seed, spec.max_len, *four, counts, spec, tuple(splits.values()))


def _split(name: str, spec: TaskSpec, examples: list[Example], group: np.ndarray) -> Split:
    ids, texts = np.array([example_id(spec.name, e) for e in examples]), tuple(e.texts for e in examples)
    if not spec.max_answer:
        return Split(name, ids, texts, np.array([e.label for e in examples], dtype=np.int64), group)
    facts = pd.DataFrame({"difficulty": np.array([e.difficulty for e in examples], dtype=float),
                          "themes": [e.themes for e in examples]})
    return Split(name, ids, texts, np.ones(len(ids), dtype=np.int64), group, tuple(e.answer for e in examples), facts)


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
            made = {e.texts: e for e in spec.examples(row) if spec.keep is None or spec.keep(e)}
            n_rows, n_examples = n_rows + 1, n_examples + len(made)
            if not made.keys() & examples.keys():
                examples |= made
                unit += [n_rows] * len(made)
                is_test += [origin == "test"] * len(made)
    counts = {"rows read": n_rows, "examples": n_examples, "dropped with repeated texts": n_examples - len(examples)}
    return list(examples.values()), np.array(unit), (np.array(is_test) if "test" in rows else None), counts
