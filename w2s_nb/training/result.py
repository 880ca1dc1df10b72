"""A fit as everything after it sees it: predictions of identified examples, at three checkpoints."""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import torch

from ..common import store
from ..data.splits import Split, Task
from ..labels.answers import Answers
from ..labels.soft import SoftLabels
from ..metrics.classification import accuracy
from ..metrics.estimate import Estimate

STOPS = ("last", "validation", "oracle")


def labelable_splits(split: Split, own: bool) -> list[Split]:
    """What a model trained on a split may label: of the task's student half and further splits what it was not trained
    on, or all where it may label its own examples. A model of the student half teaches nobody on the further ones."""
    student, extra_halves = split.task.student, split.task.extra_halves
    found = [student] if student.among(split.ids).any() else [student, *extra_halves]
    return [s for s in (s if own else s.take(~s.among(split.ids)) for s in found) if len(s)]


@dataclass(frozen=True, eq=False)
class Fit:
    """A trained model, as its predictions on the splits of its task.

    Attributes:
        address: where the store keeps it.
        record: config, summary, metrics, versions, machine, seconds.
        predictions: rows (split, id, truth, group, last, validation, oracle): the true class, which examples belong
            together, and P(y = 1) at the three checkpoints.
        curve: rows (step, progress, train_loss, ...) of the checkpoints looked at.
        stop: the checkpoint that stands for the fit: 'last', 'validation' or 'oracle'.
    """

    address: str
    record: dict
    predictions: pd.DataFrame
    curve: pd.DataFrame
    stop: str

    def __repr__(self) -> str:
        summary = self.record["summary"]
        return (
            f"Fit({summary['model']}, {summary['task']}, {summary['method']}, {summary['loss']} on "
            f"{summary['labels']}, seed {summary['seed']}, stop {self.stop})"
        )

    @property
    def name(self) -> str:
        """The finetuned model, wherever a model is named: `fit(student.name, ...)`, `features(f"{student.name}@12",
        ...)`. It needs `keep_weights=True`, and a method that trains the model itself."""
        return f"fit:{self.address}"

    @functools.cached_property
    def _by_id(self) -> pd.DataFrame:
        return self.predictions.set_index("id")

    def predict(self, split: Split, *, stop: str | None = None) -> np.ndarray:
        """(n, 2) class probabilities of a split's examples, at the fit's checkpoint or another.

        Raises:
            ValueError: the split was not among those predicted, such as the one trained on; 'oracle' beyond test.
        """
        column = self._by_id[stop or self.stop]
        missing = ~split.among(column.index)
        if missing.any():
            raise ValueError(
                f"{self!r} holds predictions of {sorted(self.predictions['split'].unique())} of its own "
                f"task and seed; {missing.sum()} of {len(split)} examples of {split.name!r} are not there"
            )
        p1 = column.loc[split.ids].to_numpy(dtype=np.float64)
        if np.isnan(p1).any():
            raise ValueError(
                f"checkpoint {stop or self.stop!r} has predictions of the test split only"
            )
        return np.stack([1 - p1, p1], axis=1)

    def label(self, split: Split, *, own: bool = False) -> SoftLabels:
        """Weak labels: this model's probabilities for a split, and for the validation split that early stopping needs.

        Args:
            own: allow examples that the model was itself trained on, as bootstrapping on the same data does; the fit
                must have been made with `label_own=True`.
        Raises:
            ValueError: the model was trained on the split; weak labels are for examples held out from it.
        """
        if not own and set(split.ids) & set(self.record["trained_on"]):
            raise ValueError(
                f"{self!r} was trained on examples of {split.name!r}; weak labels are predictions for "
                f"examples held out from the supervisor, unless own=True"
            )
        splits = (
            [split]
            if split.task is None or split.name == "validation"
            else [split, split.task.validation]
        )
        ids, probs = (np.concatenate(x) for x in zip(*((s.ids, self.predict(s)) for s in splits)))
        return SoftLabels(ids, probs, self.record["summary"]["model"], self.address)

    def carried(self, old: Task, new: Task) -> Fit:
        """This fit with its predictions for `old` under the ids of `new`, a variant of the same examples in order."""
        ids = {i: j for a, b in zip(old.splits, new.splits) for i, j in zip(a.ids, b.ids)}
        return replace(self, predictions=self.predictions.assign(id=self.predictions.id.map(ids)))

    def accuracy(self, split: Split, *, stop: str | None = None) -> Estimate:
        """Accuracy against ground truth on a split, with its interval over groups of examples."""
        return accuracy(self.predict(split, stop=stop), split.hard_label, group=split.group)

    def weights(self) -> dict[str, torch.Tensor]:
        """The trained tensors at the fit's checkpoint, if it was made with `keep_weights=True`.

        By parameter name: of the head, and of the body where the method trains it; with what a probe's features were
        standardised by (`mean`, `std`, (d,)), or the token ids (`vocabulary`, (u,)) whose embedding rows were trained.
        """
        return store.weights(self.address)


@dataclass(frozen=True, eq=False, repr=False)
class AnswerFit(Fit):
    """A model as the answers that it generates.

    It is a `Fit` whose prediction for an example is whether its answer is the true one, so accuracy is exact match.

    Attributes:
        predictions: rows (split, id, answer, right, legal, p_right, choice, choice_right): the answer at temperature 0,
            and whether it is the true one; and of the test split whether it is one of the task's options, written as
            those are, the probability that what is said begins with the true answer, the likeliest option, and whether
            that is the true one.
    """

    def predict(self, split: Split, *, stop: str | None = None) -> np.ndarray:
        """(n, 2), rows [0, 1] where the answer is right, else [1, 0]."""
        if stop not in (None, self.stop):
            raise ValueError(
                f"{self!r} is kept as it is after its last step; there is no checkpoint {stop!r}"
            )
        return self._both("right", split)

    def choose(self, split: Split) -> np.ndarray:
        """(n, 2) as `predict`, of the likeliest option in the place of the generated answer; test examples only."""
        return self._both("choice_right", split)

    def _both(self, column: str, split: Split) -> np.ndarray:
        return np.eye(2)[self.column(split, column).astype(int)]

    def column(self, split: Split, column: str) -> np.ndarray:
        """(n,) a column of the predictions, in the split's order.

        Raises:
            ValueError: the split, or this column of it, was not predicted.
        """
        found = self._by_id[column]
        missing = ~split.among(found.index[found.notna()])
        if missing.any():
            raise ValueError(
                f"{self!r} holds {column} of {sorted(self.predictions['split'].unique())} of its own task "
                f"and seed; {missing.sum()} of {len(split)} examples of {split.name!r} are not there"
            )
        return found.loc[split.ids].to_numpy()

    def label(self, split: Split, *, own: bool = False) -> Answers:
        """Weak labels: the generated answers. Arguments and errors as of `Fit.label`."""
        if not own and set(split.ids) & set(self.record["trained_on"]):
            raise ValueError(
                f"{self!r} was trained on examples of {split.name!r}; weak labels are answers to "
                f"questions held out from the supervisor, unless own=True"
            )
        return Answers(
            split.ids,
            tuple(self.column(split, "answer")),
            self.record["summary"]["model"],
            self.address,
        )
