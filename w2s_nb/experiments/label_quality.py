"""Measures how good labels are, lists mistakes, and takes labels that a rule or a file gives."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from .. import metrics
from ..common.seeds import check_count
from ..data.classes import likeliest
from ..data.splits import Split, Task
from ..labels.soft import SoftLabels
from ..metrics.readable import ReadableTable
from ..training.fit import check_fit, fit
from ..training.result import Fit
from .arms import Labeller


def label_quality(supervisors: Mapping[str, dict], tasks: Iterable[Task]) -> pd.DataFrame:
    """Measures the labels that supervisors give to the student half, with 95 % intervals.

    Args:
        supervisors: {model: its arguments of `fit`, such as method}; each is trained on ground
            truth of the supervisor half.
        tasks: one task, as each seed deals it.
    Returns:
        A row per model and seed: accuracy of the labels, their AUROC, and ECE, the expected
        calibration error, each drawn by whole groups of examples.
    Raises:
        UnknownName, TypeError, ValueError, ModelUnavailable: as `fit`, for every model before the
            first is trained.
    """
    tasks = list(tasks)
    for model, args in supervisors.items():
        for task in tasks:
            task.student.need_classes("calibration")
            check_fit(model, task.supervisor, seed=task.seed, **args)
    rows = []
    for model, args in supervisors.items():
        for task in tasks:
            half = task.student
            probs = fit(model, task.supervisor, seed=task.seed, **args).predict(half)
            row: dict = {"labels_of": model, "seed": task.seed}
            for name, measure in _MEASURES.items():
                row |= measure(probs, half.hard_label, group=half.group).as_dict(name)
            rows.append(row)
    return pd.DataFrame(rows).set_index(["labels_of", "seed"])


_MEASURES = {
    "accuracy": metrics.accuracy,
    "auroc": metrics.auroc,
    "ECE": metrics.calibration_error,
}


def surest_mistakes(labels: SoftLabels, split: Split, n: int = 8) -> ReadableTable:
    """Lists the examples whose labels are wrong and most confident.

    Args:
        labels: such as the supervisor's; they must cover the split.
        split: whose ground truth says what is wrong.
        n: how many at most.
    Returns:
        A row per example, the most confident first: the label's probability of each class but the
        first, which has what these leave; the true class by its name; the text or texts.
    """
    check_count(n, "n")
    split.need_classes("confidence")
    probs = labels.for_split(split)
    wrong = np.flatnonzero(likeliest(probs) != split.hard_label)
    surest = wrong[np.argsort(-probs[wrong].max(axis=1), kind="stable")][:n]
    names = list(enumerate(split.classes))
    columns: dict = {f"P({name})": [f"{p:.2f}" for p in probs[surest, k]] for k, name in names[1:]}
    columns["truth"] = [split.classes[split.hard_label[row]] for row in surest]
    columns["text"] = [" / ".join(split.texts[row]) for row in surest]
    return ReadableTable(columns, dtype=object)


def write_labels(path: str | Path, rule: Callable[..., float], tasks: Iterable[Task]) -> Path:
    """Writes the labels that a rule gives to the examples of a task, as a csv file.

    Args:
        path: of the file: columns id and probability, P(y = 1), a row per example.
        rule: the texts of an example -> P(y = 1).
        tasks: one task of two classes, as each seed deals it.
    Returns:
        the path, for `labels_from_file`.
    Raises:
        ValueError: more than two classes, or a probability outside [0, 1].
    """
    probability: dict[str, float] = {}
    for task in tasks:
        if task.test.n_classes != 2:
            raise ValueError(f"{task.name} has {task.test.n_classes} classes; expected two")
        for split in task.splits:
            for key, texts in zip(split.ids, split.texts, strict=True):
                if key not in probability:
                    probability[key] = _checked(rule(*texts), texts)
    rows = {"id": list(probability), "probability": list(probability.values())}
    pd.DataFrame(rows).to_csv(path, index=False)
    return Path(path)


def _checked(probability: float, texts: tuple[str, ...]) -> float:
    if not 0 <= probability <= 1:
        raise ValueError(f"the rule gives {probability!r} for {texts[0]!r}; expected P(y = 1)")
    return float(probability)


def labels_from_file(path: str | Path, **options) -> Labeller:
    """Makes a label set out of a file of labels that anyone gave.

    Args:
        path, options: as `SoftLabels.from_file` takes them.
    """
    return _FromFile(path, options)


@dataclass(frozen=True)
class _FromFile:
    """The labels of a file, as `labels_from_file` makes them."""

    path: str | Path
    options: dict

    def check(self, task: Task) -> None:
        """Refuses a file that cannot be read, before anything is trained."""
        self(task, None)

    def __call__(self, task: Task, supervisor: Fit | None) -> SoftLabels:
        return SoftLabels.from_file(self.path, task.student, task.validation, **self.options)
