"""Tasks made out of a task."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..data.load import example_id
from ..data.splits import Split, Task
from ..data.tasks.spec import Example
from ..training.result import Fit

OPINION = "I think this is {label}. What do you think?"


def swapped(split: Split) -> Split:
    """The pairs of a split turned round: first text second, and the other class right. Ids are those of the new pairs.

    Raises:
        ValueError: examples of one text.
    """
    if split.arity != 2:
        raise ValueError(f"{split!r} has one text an example; there is nothing to turn round")
    texts, label = tuple(pair[::-1] for pair in split.texts), 1 - split.hard_label
    name = split.task.name if split.task else ""
    ids = np.array([example_id(name, Example(pair, int(y))) for pair, y in zip(texts, label)])
    return replace(split, ids=ids, texts=texts, hard_label=label)


def with_opinion(
    task: Task,
    weak: Fit,
    *,
    template: str = OPINION,
    words: tuple[str, str] = ("incorrect", "correct"),
) -> Task:
    """The task with the supervisor's hard label written at the end of every text of student, validation and test.

    A student can then be right on its labels by reading them: imitation is trivial. Ids are those of the new texts; the
    order of examples stays, so predictions of the two tasks compare row by row. The supervisor's half is as it was.

    Args:
        task: the task that the supervisor was trained on.
        weak: the supervisor; it must hold predictions of the three splits.
        template: appended after a space, {label} standing for the word.
        words: for the classes 0 and 1; of a pair, the text that the supervisor prefers gets the second.
    Source: Burns et al. 2023, appendix E.3.
    """
    task.test.need_classes("with_opinion")
    if "{label}" not in template:
        raise ValueError(f"template {template!r} does not say where the {{label}} goes")

    def told(split: Split) -> Split:
        texts = []
        for own, label in zip(split.texts, (weak.predict(split)[:, 1] >= 0.5).astype(int).tolist()):
            marks = [label] if len(own) == 1 else [1 - label, label]
            texts.append(
                tuple(
                    f"{text} {template.format(label=words[mark])}" for text, mark in zip(own, marks)
                )
            )
        ids = np.array(
            [example_id(name, Example(t, int(y))) for t, y in zip(texts, split.hard_label)]
        )
        return replace(split, ids=ids, texts=tuple(texts))

    name = f"{task.name}, opinion"
    return Task(
        name,
        task.seed,
        task.max_len + 2 * len(template.split()),
        replace(task.supervisor),
        told(task.student),
        told(task.validation),
        told(task.test),
        task.counts,
        task.spec,
    )
