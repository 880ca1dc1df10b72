"""Loads the test splits of other tasks on which the arms of an experiment are tested too."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from ..common.progress import warn
from ..common.registry import TASKS
from ..data.load import count_examples, groups_of, load_task
from ..data.splits import Split, Task
from ..data.tasks.spec import words_of
from ..training.result import check_kind


def list_elsewhere(elsewhere: Iterable[str]) -> list[str]:
    """Returns the names of other tasks, each once.

    Raises:
        TypeError: one name instead of several, or something else than names.
        UnknownName: no such task.
    """
    if isinstance(elsewhere, str) or not isinstance(elsewhere, Iterable):
        raise TypeError(
            f"elsewhere = {elsewhere!r}; expected several names of tasks, such as "
            f"['amazon_snippets']"
        )
    names = list(dict.fromkeys(elsewhere))
    for name in names:
        if not isinstance(name, str):
            raise TypeError(f"elsewhere has {name!r:.60}; expected the name of a task")
        TASKS[name]
    return names


def load_elsewhere(
    elsewhere: Iterable[str], tasks: Sequence[Task], n_test: int | None = None
) -> dict[str, Split]:
    """Loads test splits of other tasks that have the classes of the one trained on.

    An example is left out, with a warning, where the training, student or validation examples of
    any seed have it, one of its texts, or an example of its group.

    Args:
        elsewhere: names of tasks; variants of the same one serve too.
        tasks: the task trained on, as each seed deals it.
        n_test: examples at most; None takes all.
    Returns:
        {name: test split}.
    Raises:
        TypeError, UnknownName: as `list_elsewhere`.
        ValueError: the task trained on itself; other classes, another number of texts, or images
            for texts; no example of some class is left.
    """
    others = {}
    for name in list_elsewhere(elsewhere):
        if name == tasks[0].name:
            raise ValueError(
                f"elsewhere has {name!r}, which is trained on; expected other tasks, as its own "
                f"test split is always there"
            )
        n = min(n_test, count_examples(name)[1]) if n_test else None
        test = load_task(name, n_test=n).test
        check_kind(tasks[0].student, test)
        others[name] = _without_seen(name, test, tasks)
    return others


def _without_seen(name: str, test: Split, tasks: Sequence[Task]) -> Split:
    """Returns a test split without what any seed's training or validation examples share."""
    seen = [split for task in tasks for split in task.all_splits if split.name != "test"]
    texts = {words_of(text) for split in seen for each in split.texts for text in each}
    shared = np.array([any(words_of(text) in texts for text in each) for each in test.texts])
    base = name.partition("@")[0]
    if base == tasks[0].name.partition("@")[0]:
        shared |= _of_seen_groups(base, test, seen)
    if not shared.any():
        return test
    left = test.take(~shared)
    if len(np.unique(left.hard_label)) < len(np.unique(test.hard_label)):
        raise ValueError(
            f"elsewhere: of {len(test)} test examples of {name} {shared.sum()} share a text or a "
            f"group with examples of {tasks[0].name} that are trained on; expected examples of "
            f"every class that do not"
        )
    warn(
        f"elsewhere: {shared.sum()} of {len(test)} test examples of {name} are left out, as they "
        f"share a text or a group with examples of {tasks[0].name} that are trained on"
    )
    return left


def _of_seen_groups(base: str, test: Split, seen: Sequence[Split]) -> np.ndarray:
    """Returns (n,) bool, the examples of a variant whose group in the whole task was seen.

    Options renumber groups, so those of the task without an option are compared. An example that it
    lacks has none there, and is compared by its texts alone.
    """
    groups = groups_of(base)
    seen_groups = {groups[i] for split in seen for i in split.ids if i in groups}
    return np.array([groups.get(i) in seen_groups for i in test.ids], dtype=bool)
