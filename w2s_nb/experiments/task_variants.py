"""Derives tasks: pairs in reverse order, and texts with the supervisor's opinion appended."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ..data.classes import likeliest
from ..data.load import example_id
from ..data.splits import Split, Task, need_split, need_task
from ..data.tasks.spec import Example
from ..training.result import Fit, need_fit

OPINION = "I think this is {label}. What do you think?"
CORRECTNESS = ("incorrect", "correct")  # of classes 0 and 1, where there are no more


def swapped(split: Split) -> Split:
    """Returns the pairs of a split in reverse order, the other class right, with ids of their own.

    Raises:
        ValueError: examples of one text.
    """
    if need_split(split, "split").arity != 2:
        raise ValueError(f"{split!r} has one text per example; there is no order to reverse")
    texts = tuple((second, first) for first, second in split.texts)
    hard_label = 1 - split.hard_label
    task = split.task.name if split.task else ""
    ids = make_ids(task, texts, hard_label)
    return replace(split, ids=ids, texts=texts, hard_label=hard_label)


def with_opinion(
    task: Task,
    weak: Fit,
    *,
    template: str = OPINION,
    words: Sequence[str] | None = None,
) -> Task:
    """Returns the task with the supervisor's hard label written at the end of every text.

    Texts of student, validation and test are changed; the supervisor's half is as it was. A student
    can then agree with its labels by reading them: imitation is trivial. Ids are those of the new
    texts; the order of examples stays, so predictions of the two tasks compare row by row.

    Args:
        task: the task that the supervisor was trained on.
        weak: the supervisor; it must hold predictions of the three splits.
        template: appended after a space, {label} standing for the word.
        words: one per class; None takes "incorrect" and "correct" for two classes, and for more
            their names. Of a pair, the text that the supervisor prefers gets the second.
    Raises:
        ValueError: not a word per class, a template without its place, or a task of images, or
            one that is answered by generating.
    Source: Burns et al. 2023, appendix E.3.
    """
    need_task(task, "task").test.need_classes("with_opinion")
    task.test.need_texts("with_opinion")
    need_fit(weak, "weak")
    words = _check_words(words, task.test.classes)
    if "{label}" not in template:
        raise ValueError(f"template {template!r} does not say where the {{label}} goes")
    name = f"{task.name}, opinion"
    opinions = [f" {template.format(label=word)}" for word in words]
    return Task(
        name,
        task.seed,
        task.max_len + 2 * len(template.split()),
        replace(task.supervisor),  # a copy: a split belongs to one task
        _append_opinion(task.student, weak, opinions, name),
        _append_opinion(task.validation, weak, opinions, name),
        _append_opinion(task.test, weak, opinions, name),
        task.counts,
        task.spec,
        data_version=task.data_version,
    )


def _check_words(words: Sequence[str] | None, classes: tuple[str, ...]) -> Sequence[str]:
    """Returns the word of each class, as given or by default."""
    if words is None:
        return CORRECTNESS if len(classes) == len(CORRECTNESS) else classes
    listed = isinstance(words, (list, tuple)) and all(isinstance(word, str) for word in words)
    if not listed or len(words) != len(classes):
        raise ValueError(
            f"words = {words!r}; expected {len(classes)}, one for each of the classes "
            f"{', '.join(classes)}"
        )
    return words


def _append_opinion(split: Split, weak: Fit, opinions: list[str], task: str) -> Split:
    """Returns the split with `opinions[class]` at the end of its texts."""
    labels = likeliest(weak.predict(split)).tolist()
    texts = []
    for example, label in zip(split.texts, labels, strict=True):
        # Of a pair, one text is the better one, so the first is right where the label is 0.
        classes = [label] if len(example) == 1 else [1 - label, label]
        pairs = zip(example, classes, strict=True)
        texts.append(tuple(text + opinions[of_class] for text, of_class in pairs))
    ids = make_ids(task, texts, split.hard_label)
    return replace(split, ids=ids, texts=tuple(texts))


def make_ids(task: str, texts, hard_label: np.ndarray) -> np.ndarray:
    """Returns (n,) ids of examples with these texts."""
    examples = zip(texts, hard_label, strict=True)
    return np.array([example_id(task, Example(text, int(label))) for text, label in examples])
