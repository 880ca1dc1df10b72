"""A task's examples prepared as in the paper: grouped, balanced, cut into disjoint splits with stable ids."""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path

import numpy as np
import pandas as pd

from ..common.paths import data_dir
from ..common.registry import TASKS
from .sources import rows_of
from .splits import Split, Task
from .splitting import at_least, deal, group_ids, hash_order, shuffle_groups
from .tasks.spec import Example, TaskSpec

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
            raise ValueError(
                f"{label} = {n!r}; expected an even whole number from 2, half of it of each class"
            )
    spec = TASKS[name]
    examples, unit, is_test, counts = _prepared(spec, data_dir())
    if not examples:
        why = " in its range, in which none without a difficulty is" if spec.keep else ""
        raise ValueError(
            f"task {name!r} has no examples: its {counts['rows read']} rows gave none{why}"
        )
    label, group = (
        np.array([e.label for e in examples]),
        group_ids([(*e.keys, *e.texts) for e in examples]),
    )
    order = hash_order(group, [example_id(name, e) for e in examples])
    if is_test is None:
        is_test = np.isin(group, group[order[: int(TEST_SHARE * len(order))]])
    pool = order[~np.isin(group[order], group[is_test])]
    test_pool = order[is_test[order]]
    classes = 1 if spec.max_answer else 2  # questions with an answer are all of one class
    most, test_most = (
        classes * int(np.bincount(label[rows], minlength=classes).min())
        for rows in (pool, test_pool)
    )
    n_test = n_test or test_most
    n_val = n_val or max(2, min(500, 2 * ((n_train or most // 2) // 10)))
    half = n_train or 2 * ((most - n_val) // 4)
    if (2 + extra_halves) * half + n_val > most or n_test > test_most or half < 2 or n_val < 2:
        kind = "balanced examples" if classes == 2 else "examples"
        raise ValueError(
            f"task {name!r} has {most} {kind} for training and validation and {test_most} for test; asked "
            f"for {2 + extra_halves} * n_train {half} + n_val {n_val}, n_test {n_test}"
        )
    sample, rest = at_least(pool, label, group, (2 * half + n_val) // classes, classes)
    dealt = shuffle_groups(sample, group, np.random.default_rng(seed))
    sizes = {"validation": n_val, "supervisor": half, "student": half}
    per_class = {part: n // classes for part, n in sizes.items()}
    parts = deal(np.concatenate([dealt, rest]), label, group, unit, per_class, classes)
    if extra_halves:  # of groups that the halves have nothing of
        free = pool[~np.isin(group[pool], group[np.concatenate(list(parts.values()))])]
        sample, rest = at_least(free, label, group, extra_halves * half // classes, classes)
        dealt = shuffle_groups(sample, group, np.random.default_rng([seed, 1]))
        more = {f"further {i}": half for i in range(extra_halves)}
        parts |= deal(
            np.concatenate([dealt, rest]),
            label,
            group,
            unit,
            dict.fromkeys(more, half // classes),
            classes,
        )
        sizes |= more
    parts |= deal(test_pool, label, group, unit, {"test": n_test // classes}, classes)
    for part, wanted in (
        sizes | {"test": n_test} if n_train else {"validation": n_val, "test": n_test}
    ).items():
        if len(parts[part]) != wanted:
            raise ValueError(
                f"task {name!r}: whole groups leave {len(parts[part])} examples for {part} where {wanted} "
                f"were asked for; ask for fewer"
            )
    counts = counts | {
        "training examples tied to the test split": len(examples) - len(pool) - len(test_pool),
        "left over by balance and size": len(pool) + len(test_pool) - sum(map(len, parts.values())),
    }
    splits = {
        part: _split(part, spec, [examples[i] for i in rows], group[rows])
        for part, rows in parts.items()
    }
    four = [splits.pop(name) for name in ("supervisor", "student", "validation", "test")]
    return Task(spec.name, seed, spec.max_len, *four, counts, spec, tuple(splits.values()))


def _split(name: str, spec: TaskSpec, examples: list[Example], group: np.ndarray) -> Split:
    ids, texts = (
        np.array([example_id(spec.name, e) for e in examples]),
        tuple(e.texts for e in examples),
    )
    if not spec.max_answer:
        return Split(name, ids, texts, np.array([e.label for e in examples], dtype=np.int64), group)
    facts = pd.DataFrame(
        {
            "difficulty": np.array([e.difficulty for e in examples], dtype=float),
            "themes": [e.themes for e in examples],
        }
    )
    return Split(
        name,
        ids,
        texts,
        np.ones(len(ids), dtype=np.int64),
        group,
        tuple(e.answer for e in examples),
        facts,
    )


def example_id(task: str, example: Example) -> str:
    """16 hex digits of the task's name, without its option, and the example's texts."""
    return hashlib.sha256(
        "\x1f".join((task.partition("@")[0], *example.texts)).encode()
    ).hexdigest()[:16]


@functools.lru_cache(maxsize=4)
def _prepared(
    spec: TaskSpec, local: Path | None
) -> tuple[list[Example], np.ndarray, np.ndarray | None, dict]:
    """Examples of all rows; (n,) the row of each; (n,) which are of an official test split, or None; counts.

    A row with a text that stands already is dropped whole, so that a question keeps as many right as wrong answers.
    `local` is the folder of local files, where there is one: another folder, other rows.
    """
    rows, examples, unit, is_test, n_rows, n_examples = rows_of(spec), {}, [], [], 0, 0
    for origin in sorted(
        rows, key="test".__ne__
    ):  # test first: what stands in both splits counts as test
        for row in rows[origin]:
            made = {e.texts: e for e in spec.examples(row) if spec.keep is None or spec.keep(e)}
            n_rows, n_examples = n_rows + 1, n_examples + len(made)
            if not made.keys() & examples.keys():
                examples |= made
                unit += [n_rows] * len(made)
                is_test += [origin == "test"] * len(made)
    counts = {
        "rows read": n_rows,
        "examples": n_examples,
        "dropped with repeated texts": n_examples - len(examples),
    }
    return (
        list(examples.values()),
        np.array(unit),
        (np.array(is_test) if "test" in rows else None),
        counts,
    )
