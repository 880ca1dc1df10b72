"""Loads a task as in the paper: grouped, balanced, cut into disjoint splits with stable ids."""

from __future__ import annotations

import functools
import hashlib
from collections import Counter
from collections.abc import Collection, Hashable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..common.paths import data_dir
from ..common.registry import TASKS
from ..common.seeds import check_seed
from .prepared import examples_by_row
from .sealed import refuse_closed
from .splits import Split, Task
from .splitting import (
    apportion,
    at_least,
    balance,
    deal,
    group_ids,
    hash_order,
    most_of,
    pair_answers,
    shuffle_groups,
)
from .tasks.spec import AS_IS, EQUAL, Example, TaskSpec, is_visible, words_of

if TYPE_CHECKING:
    import pandas as pd

_Question = tuple[str, str] | None  # a name, in a split or of a row
TEST_SHARE = 0.25  # of the groups, where a source has no test split of its own


def load_task(
    name: str,
    *,
    seed: int = 0,
    n_train: int | None = None,
    n_val: int | None = None,
    n_test: int | None = None,
    extra_halves: int = 0,
) -> Task:
    """Loads a registered task and deals its examples to disjoint splits.

    Hashes decide which examples are used (but for a few, where groups do not divide evenly); the
    seed deals them to supervisor, student and validation. Every seed is tested on the same
    examples, and features computed for one seed serve all.

    Args:
        name: a registered task, narrowed by `@` and an option where it has some, such as
            `anthropic_hh@helpful-base`.
        seed: deals groups of examples to the halves.
        n_train: examples in each half, a multiple of the number of classes, as the others are, but
            where the task keeps the shares of its classes; None takes all there are.
        n_val: validation examples; None takes a fifth of a half, at most 500.
        n_test: test examples; None takes all there are.
        extra_halves: how many more splits of n_train examples are dealt; the two halves are the
            same with and without them.
    Raises:
        UnknownName: no such task; lists what exists.
        ValueError: a size that is no multiple of the number of classes (no even number where
            answers are generated), not positive, or more than the task has; a seed that is no whole
            number from 0.
        DataUnavailable: the task's rows cannot be had here.
        TruthSealed: this process runs a method of a sealed comparison on the task.
    Source: Burns et al. 2023, appendix A.1.
    """
    refuse_closed(name)
    seed = check_seed(seed)
    extra_halves = check_seed(extra_halves, "extra_halves")
    spec = TASKS[name]
    for label, n in (("n_train", n_train), ("n_val", n_val), ("n_test", n_test)):
        _check_multiple(f"task {name!r}: {label}", n, spec.step)
    pools = _make_pools(name, spec, data_dir())
    sizes = _choose_sizes(name, pools, n_train, n_val, n_test, extra_halves)
    dealt = _deal_all(pools, sizes, seed)
    dealt = {part: pools.balance(rows) for part, rows in dealt.items()}
    _check_dealt(name, pools, dealt, sizes)
    splits = {part: _make_split(part, spec, pools, rows) for part, rows in dealt.items()}
    n_dealt = sum(map(len, dealt.values()))
    counts = pools.counts | {
        "training examples tied to the test split": len(pools.examples) - pools.n_usable,
        "left over by balance and size": pools.n_usable - n_dealt,
    }
    return Task(
        name=spec.name,
        seed=seed,
        max_len=spec.max_len,
        supervisor=splits["supervisor"],
        student=splits["student"],
        validation=splits["validation"],
        test=splits["test"],
        counts=counts,
        spec=spec,
        extra_halves=tuple(splits[part] for part in sizes.extra),
        data_version=pools.version,
    )


def _check_multiple(size: str, n: int | None, step: int) -> None:
    """Refuses a size that is no multiple of `step`; None is none.

    Raises:
        ValueError: names the nearest sizes that are.
    """
    if n is None:
        return
    is_whole = isinstance(n, int) and not isinstance(n, bool)
    if is_whole and n >= max(2, step) and n % step == 0:
        return
    if step == 1:
        expected = "a whole number from 2"
    elif step == 2:
        expected = "an even whole number from 2, half of it of each class"
    else:
        below = max(step, n // step * step) if is_whole else step
        nearest = f", such as {below} or {below + step}"
        expected = f"a multiple of {step}, as many of each of {step} classes{nearest}"
    raise ValueError(f"{size} = {n!r}; expected {expected}")


def count_examples(name: str) -> tuple[int, int]:
    """Returns how many examples a task has for all training and validation, and how many for test.

    They are as many of each class, or have the shares that the task keeps. Groups that stay whole
    may leave a few that cannot be dealt.

    Raises:
        UnknownName, DataUnavailable, ValueError: as `load_task`.
    """
    pools = _make_pools(name, TASKS[name], data_dir())
    return pools.n_balanced(pools.train), pools.n_balanced(pools.test)


def groups_of(name: str) -> dict[str, int]:
    """Returns {id: group} of all examples of a task; examples of one group never stand in different
    splits of it.

    Raises:
        UnknownName, DataUnavailable, ValueError: as `load_task`.
    """
    pools = _make_pools(name, TASKS[name], data_dir())
    return dict(zip(pools.ids.tolist(), pools.group.tolist(), strict=True))


@dataclass(frozen=True)
class _Pools:
    """A task's examples, and which of them may be dealt to training and to test.

    Attributes:
        ids, label, group, unit: (n,) of the examples. A unit is a right and a wrong answer to one
            question, or an example that stands alone.
        train, test: rows of the examples in hash order, (n_train_pool,) and (n_test_pool,).
        weights: (K,) proportions of the classes in every split, in whole numbers; K is 1 for a task
            that is answered, whose examples are all of one class.
        spec: the task.
        counts: what preparation read and dropped.
        version: see `Task.data_version`.
    """

    examples: list[Example]
    ids: np.ndarray
    label: np.ndarray
    group: np.ndarray
    unit: np.ndarray
    train: np.ndarray
    test: np.ndarray
    weights: np.ndarray
    spec: TaskSpec
    counts: dict[str, int]
    version: str

    @property
    def least(self) -> int:
        """Returns the examples that a split has at least."""
        return max(2, self.spec.step)

    @property
    def n_usable(self) -> int:
        return len(self.train) + len(self.test)

    def n_balanced(self, rows: np.ndarray) -> int:
        """Returns how many of these examples can be used in the proportions of the classes."""
        step = 1 if self.spec.balance == AS_IS else len(self.weights)
        counts = np.bincount(self.label[rows], minlength=len(self.weights))
        return most_of(counts, self.weights, step)

    def balance(self, rows: np.ndarray) -> np.ndarray:
        """Returns the rows of a split without those that its classes have too many."""
        return balance(rows, self.label, self.unit, self.per_class(self.n_balanced(rows)))

    def per_class(self, n: int) -> np.ndarray:
        """Returns (K,) the examples of each class among n; none where a class has no share."""
        return apportion(n, self.weights) if self.weights.all() else 0 * self.weights

    def lacks(self, sizes: Iterable[int]) -> bool:
        """Tells whether training splits of these sizes ask for more of a class than there is."""
        wanted = np.sum([self.per_class(n) for n in sizes], axis=0)
        return bool((wanted > np.bincount(self.label[self.train], minlength=len(wanted))).any())

    def describe(self) -> str:
        """Says what keeps examples from being used: a rare class, a large group; "" if nothing
        does.
        """
        n = len(self.examples)
        per_class = np.bincount(self.label, minlength=len(self.weights))
        said = ""
        if 2 * len(per_class) * per_class.min() < n:
            rarest = int(per_class.argmin())
            named = f"{rarest} ({self.spec.classes[rarest]})"
            said += f". Of its {n} examples {per_class[rarest]} are of class {named}"
        _, sizes = np.unique(self.group, return_counts=True)
        if sizes.max() > max(2, TEST_SHARE * n):
            members = np.flatnonzero(self.group == sizes.argmax())
            ties = Counter(tie for i in members for tie in _ties_of(self.examples[i], None))
            kind, name = ties.most_common(1)[0][0]
            said += (
                f". Of its {n} examples {sizes.max()} are tied into one group, mostly by the "
                f"{kind} {name!r:.60}; no group stands in two splits"
            )
        return said


@functools.lru_cache(maxsize=4)
def _make_pools(name: str, spec: TaskSpec, local: Path | None) -> _Pools:
    """Makes the pools of a task, once for all its seeds.

    Args:
        local: as of `_read_examples`.
    """
    examples, ids, question, is_test, counts, version = _read_examples(spec, local)
    if not examples:
        why = " in its range, in which none without a difficulty is" if spec.keep else ""
        read = f"its {counts['rows read']} rows gave none{why}"
        raise ValueError(
            f"task {name!r} has no examples: {read if counts['rows read'] else 'no rows'}"
        )
    label = np.array([e.label for e in examples], dtype=np.int64)
    pairs = np.arange(len(examples))
    # answers to a question are right or wrong
    if spec.arity == 1 and spec.n_classes == 2 and spec.balance == EQUAL:
        pairs = pair_answers(question, label, ids)
    used = np.flatnonzero(pairs >= 0)
    if not len(used):
        raise ValueError(
            f"task {name!r} has no question with a right and a wrong answer: its {len(label)} "
            f"answers are to {len(set(question))} questions"
        )
    examples = [examples[i] for i in used]
    ids = [ids[i] for i in used]
    question = [question[i] for i in used]
    label, unit = label[used], pairs[used]
    group = group_ids([_ties_of(*each) for each in zip(examples, question, strict=True)])
    order = hash_order(group, ids)
    if is_test is None:  # a source without a test split: the first groups in the order
        of_each, _ = at_least(order, label, group, np.ones(spec.n_classes))
        first = order[: max(int(TEST_SHARE * len(order)), len(of_each))]
        is_test = np.isin(group, group[first])
    else:
        is_test = is_test[used]
    # An example that shares a group with a test example is in no training split.
    train = order[~np.isin(group[order], group[is_test])]
    test = order[is_test[order]]
    has_key = [bool(_keys_of(e)) for e in examples]
    more = {
        "left out to balance questions": len(pairs) - len(used),
        "without a key, as others have": has_key.count(False) if any(has_key) else 0,
    }
    weights = np.ones(spec.n_classes, dtype=np.int64)
    if spec.balance == AS_IS:
        weights = np.bincount(label[train], minlength=spec.n_classes)
        more["classes with the shares of the data"] = spec.n_classes
    counts = counts | {what: n for what, n in more.items() if n}
    return _Pools(
        examples, np.array(ids), label, group, unit, train, test, weights, spec, counts, version
    )


def _keys_of(example: Example) -> tuple[Hashable, ...]:
    """Returns the keys of an example, its question one of them."""
    return (*example.keys, example.question) if example.question else example.keys


def _ties_of(example: Example, question: _Question) -> tuple[tuple[str, Hashable], ...]:
    """Returns what ties an example to others: keys, its question and the words of its texts.

    Each kind has names of its own: a key that reads like a text of another example ties nothing.
    """
    ties: list[tuple[str, Hashable]] = [("key", key) for key in _keys_of(example)]
    ties += [("text", words_of(text)) for text in example.texts]
    if question:
        ties.append(("question", question))
    return tuple(ties)


@dataclass(frozen=True)
class _Sizes:
    """Examples of each split.

    Attributes:
        half: of supervisor, of student, and of each extra half.
        extra: names of the extra halves.
        asked: splits whose size the caller gave; others may be smaller.
    """

    half: int
    validation: int
    test: int
    extra: tuple[str, ...]
    asked: tuple[str, ...]

    @property
    def of_split(self) -> dict[str, int]:
        """Returns {split: its examples}."""
        halves = dict.fromkeys(("supervisor", "student", *self.extra), self.half)
        return halves | {"validation": self.validation, "test": self.test}


def _choose_sizes(
    name: str,
    pools: _Pools,
    n_train: int | None,
    n_val: int | None,
    n_test: int | None,
    extra_halves: int,
) -> _Sizes:
    """Fills in the sizes that were not asked for, and refuses more examples than the task has."""
    most = pools.n_balanced(pools.train)
    most_test = pools.n_balanced(pools.test)
    step, least = pools.spec.step, pools.least
    test = n_test or max(least, most_test)
    most_validation = 500 // step * step
    fifth_of_half = step * ((n_train or most // 2) // (5 * step))
    validation = n_val or max(least, min(most_validation, fifth_of_half))
    half = n_train or max(least, step * ((most - validation) // (2 * step)))
    if not n_train and pools.lacks([half, half, validation]):
        half = max(least, half - len(pools.weights))
    wanted = (2 + extra_halves) * half + validation
    if wanted > most or test > most_test:
        is_balanced = pools.spec.n_classes > 1 and pools.spec.balance == EQUAL
        kind = "balanced examples" if is_balanced else "examples"
        asked = f"{2 + extra_halves} * n_train {half} + n_val {validation}, n_test {test}"
        any_asked = n_train or n_val or n_test or extra_halves
        raise ValueError(
            f"task {name!r} has {most} {kind} for training and validation and {most_test} for "
            f"test; {f'asked for {asked}' if any_asked else f'each of its splits needs {least}'}"
            f"{pools.describe()}"
        )
    extra = tuple(f"extra half {i}" for i in range(extra_halves))
    halves = ("supervisor", "student", *extra) if n_train else ()
    asked_splits = (*halves, *["validation"] * bool(n_val), *["test"] * bool(n_test))
    return _Sizes(half, validation, test, extra, asked_splits)


def _deal_all(pools: _Pools, sizes: _Sizes, seed: int) -> dict[str, np.ndarray]:
    """Returns {split: rows of its examples}."""
    halves = {"validation": sizes.validation, "supervisor": sizes.half, "student": sizes.half}
    dealt = _deal_shuffled(pools, pools.train, halves, np.random.default_rng(seed))
    if sizes.extra:
        # Of groups that the halves have nothing of, so that the halves stay as they are without.
        used = pools.group[np.concatenate(list(dealt.values()))]
        free = pools.train[~np.isin(pools.group[pools.train], used)]
        extra = dict.fromkeys(sizes.extra, sizes.half)
        dealt |= _deal_shuffled(pools, free, extra, np.random.default_rng([seed, 1]))
    return dealt | _deal(pools, pools.test, {"test": sizes.test})


def _deal_shuffled(
    pools: _Pools, rows: np.ndarray, sizes: dict[str, int], rng: np.random.Generator
) -> dict[str, np.ndarray]:
    """Deals the first groups that are enough for all sizes in random order, then the rest in
    order.
    """
    enough = np.sum([pools.per_class(n) for n in sizes.values()], axis=0)
    first, rest = at_least(rows, pools.label, pools.group, enough)
    shuffled = shuffle_groups(first, pools.group, rng)
    return _deal(pools, np.concatenate([shuffled, rest]), sizes)


def _deal(pools: _Pools, rows: np.ndarray, sizes: dict[str, int]) -> dict[str, np.ndarray]:
    per_class = {part: pools.per_class(n) for part, n in sizes.items()}
    return deal(rows, pools.label, pools.group, pools.unit, per_class)


def _check_dealt(name: str, pools: _Pools, dealt: dict[str, np.ndarray], sizes: _Sizes):
    """Refuses splits that whole groups did not fill, or left empty where no size was asked."""
    for part, n in sizes.of_split.items():
        n_dealt = len(dealt[part])
        if n_dealt == n or (part not in sizes.asked and n_dealt >= pools.least):
            continue
        wanted = f"{pools.least} are needed"
        if part in sizes.asked:
            wanted = f"{n} were asked for; ask for fewer"
        raise ValueError(
            f"task {name!r}: whole groups leave {n_dealt} examples for {part} where {wanted}"
            f"{pools.describe()}"
        )


def _make_split(name: str, spec: TaskSpec, pools: _Pools, rows: np.ndarray) -> Split:
    examples = [pools.examples[i] for i in rows]
    ids = pools.ids[rows]
    texts = tuple(e.texts for e in examples)
    group = pools.group[rows]
    if not spec.max_answer:
        hard_label = np.array([e.label for e in examples], dtype=np.int64)
        facts = _facts_of(examples) if spec.measure else None
        return Split(name, ids, texts, hard_label, group, facts=facts, classes=spec.classes)
    hard_label = np.ones(len(ids), dtype=np.int64)
    answers = tuple(e.answer for e in examples)
    facts = _facts_of(examples)
    return Split(name, ids, texts, hard_label, group, answers, facts, ("wrong", "right"))


def _facts_of(examples: Sequence[Example]) -> pd.DataFrame:
    """Returns difficulty and themes, a row per example."""
    import pandas as pd

    return pd.DataFrame(
        {
            "difficulty": np.array([e.difficulty for e in examples], dtype=float),
            "themes": [e.themes for e in examples],
        }
    )


def example_id(task: str, example: Example) -> str:
    """Returns 16 hex digits of the task's name, without its option, and the example's texts."""
    content = "\x1f".join((task.partition("@")[0], *example.texts))
    return hashlib.sha256(content.encode()).hexdigest()[:16]


@functools.lru_cache(maxsize=4)
def _read_examples(
    spec: TaskSpec, local: Path | None
) -> tuple[list[Example], list[str], list[_Question], np.ndarray | None, dict[str, int], str]:
    """Makes the examples of all rows.

    A row with a text that an earlier row had is dropped whole, so that a question keeps as many
    right as wrong answers.

    Args:
        local: the folder of local files, where there is one: another folder has other rows.
    Returns:
        the n examples; the id of each; its question, or None; (n,) bool, which are of an official
        test split, or None where there is none; counts of rows and examples; their version.
    """
    rows = examples_by_row(spec)
    examples: dict[tuple[str, ...], Example] = {}
    questions: list[_Question] = []
    is_test: list[bool] = []
    n_rows = n_examples = n_empty = n_alike = n_other_label = n_without = 0
    # The test split first: a text that stands in both splits counts as test.
    for origin in sorted(rows, key="test".__ne__):
        for all_of_row in rows[origin]:
            n_rows += 1
            n_without += not all_of_row
            kept = [e for e in all_of_row if spec.keep is None or spec.keep(e)]
            with_text = [e for e in kept if all(map(is_visible, e.texts))]
            n_examples += len(kept)
            n_empty += len(kept) - len(with_text)
            n_alike += len(with_text)
            with_text = [e for e in with_text if e.texts[1:] != e.texts[:1]]
            n_alike -= len(with_text)
            of_row: dict[tuple[str, ...], Example] = {}
            for e in with_text:
                first = examples.get(e.texts) or of_row.setdefault(e.texts, e)
                n_other_label += (first.label, first.answer) != (e.label, e.answer)
            if not any(e.texts in examples for e in with_text):
                examples |= of_row
                questions += _questions_of(of_row.values(), origin, n_rows)
                is_test += [origin == "test"] * len(of_row)
    counts = {
        "rows read": n_rows,
        "rows that gave no example": n_without,
        "examples": n_examples,
        "dropped without a text": n_empty,
        "dropped, as both texts are one": n_alike,
        "dropped with repeated texts": n_examples - n_empty - n_alike - len(examples),
        "of these, with another label": n_other_label,
    }
    official = np.array(is_test) if "test" in rows else None
    ids = [example_id(spec.name, e) for e in examples.values()]
    version = _version_of(ids, list(examples.values()), is_test)
    return list(examples.values()), ids, questions, official, counts, version


def _version_of(ids: list[str], examples: list[Example], is_test: list[bool]) -> str:
    """Returns 16 hex digits of all examples and what ties them, whatever their order."""
    lines = sorted(
        f"{example} {e.label} {e.answer!r} {_keys_of(e)} {of_test}"
        for example, e, of_test in zip(ids, examples, is_test, strict=True)
    )
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


def _questions_of(examples: Collection[Example], origin: str, row: int) -> list[_Question]:
    """Returns names of the questions that the examples of a row answer, in one official split.

    Several examples without a name answer the row's own question.
    """
    own = ("row", str(row)) if len(examples) > 1 else None
    return [(origin, e.question) if e.question else own for e in examples]
