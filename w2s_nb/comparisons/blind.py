"""Writes a task without its truth, weak labels and predictions as JSON, and reads them again."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..common.registry import TASKS
from ..data.sealed import SealedSplit, seal
from ..data.splits import Split, Task
from ..labels.soft import SoftLabels


def task_to_json(task: Task) -> dict[str, Any]:
    """Returns a task as JSON: of the supervisor half with its truth, of all other splits without.

    Raises:
        TypeError, ValueError: as `seal`.
    """
    sealed = seal(task)
    splits = [_split_to_json(split) for split in sealed.all_splits]
    splits[0]["hard_label"] = task.supervisor.hard_label.tolist()
    return {
        "name": task.name,
        "seed": task.seed,
        "max_len": task.max_len,
        "counts": {name: int(count) for name, count in task.counts.items()},
        "splits": splits,
    }


def task_from_json(given: dict[str, Any]) -> Task:
    """Returns the sealed task that `task_to_json` wrote; its registered task must be known here.

    Raises:
        UnknownName: no task of this name is registered in this process.
    """
    supervisor, student, validation, test, *extra = map(_split_from_json, given["splits"])
    return Task(
        given["name"],
        given["seed"],
        given["max_len"],
        supervisor,
        student,
        validation,
        test,
        given["counts"],
        TASKS[given["name"].partition(",")[0]],
        tuple(extra),
    )


def _split_to_json(split: Split) -> dict[str, Any]:
    return {
        "name": split.name,
        "ids": split.ids.tolist(),
        "texts": [list(texts) for texts in split.texts],
        "group": split.group.tolist(),
        "classes": list(split.classes),
    }


def _split_from_json(given: dict[str, Any]) -> Split:
    ids, group = np.array(given["ids"]), np.array(given["group"], dtype=np.int64)
    texts = tuple(tuple(texts) for texts in given["texts"])
    classes = tuple(given["classes"])
    if "hard_label" not in given:
        return SealedSplit(given["name"], ids, texts, group, classes=classes)
    truth = np.array(given["hard_label"], dtype=np.int64)
    return Split(given["name"], ids, texts, truth, group, classes=classes)


def labels_to_json(labels: SoftLabels) -> dict[str, Any]:
    """Returns labels as JSON."""
    return {"ids": labels.ids.tolist(), "probs": labels.probs.tolist(), "source": labels.source}


def labels_from_json(given: dict[str, Any]) -> SoftLabels:
    """Returns the labels that `labels_to_json` wrote, without the address of a fit."""
    return SoftLabels(np.array(given["ids"]), np.array(given["probs"]), given["source"])
