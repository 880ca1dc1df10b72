"""Everything that is stored of a fit, and the objects that read it.

The store keeps of each fit:

- `record.json`: what `make_record` returns, and what `store.get_or_make` adds (versions, machine,
  seconds, created);
- `predictions.parquet`: `Fit.predictions`, made by `job._BestSteps.predictions`;
- `curve.parquet`: `Fit.curve`;
- `weights.safetensors`: `Fit.weights()`, where the fit kept them.

`answers`, `language_model` and `prompting.prompt` build records of their own kind: a new field goes
there too.
"""

from __future__ import annotations

import functools
import html
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import torch

from ..common import store
from ..data.splits import Split, Task, list_splits, need_split
from ..labels.answers import Answers
from ..labels.soft import SoftLabels
from ..metrics.classification import accuracy
from ..metrics.estimate import Estimate
from ..models.names import Checkpoint
from .hyperparameters import STOPS, stored_lr


def class_columns(stop: str, n_classes: int) -> list[str]:
    """Names the columns of `Fit.predictions` that hold the classes' probabilities at a checkpoint.

    There is one per class but class 0, whose probability is what the others leave.

    >>> class_columns("last", 2), class_columns("last", 4)
    (['last'], ['last', 'last_2', 'last_3'])
    """
    return [stop, *(f"{stop}_{number}" for number in range(2, n_classes))]


def columns_at(stop: str, probs: np.ndarray) -> dict[str, np.ndarray]:
    """Returns probabilities (n, K) as the columns of `Fit.predictions` at a checkpoint."""
    return dict(zip(class_columns(stop, probs.shape[1]), probs.T[1:], strict=True))


def probs_at(predictions: pd.DataFrame, stop: str) -> np.ndarray:
    """Returns the probabilities that columns of `Fit.predictions` hold at a checkpoint.

    Args:
        predictions: n rows with the columns of `class_columns`.
    Returns:
        (n, K) float64, rows sum to 1; NaN in rows without prediction.
    """
    n_classes = 2
    while f"{stop}_{n_classes}" in predictions:
        n_classes += 1
    stored = predictions[class_columns(stop, n_classes)].to_numpy(dtype=np.float64)
    # rounded probabilities of several classes may sum to a little more than 1
    rest = np.maximum(1 - stored.sum(axis=1), 0)
    return np.column_stack([rest, stored])


def task_of(split: Split) -> Task:
    """Returns the task of a split.

    Raises:
        TypeError: it is no split, such as a whole task.
        ValueError: the split is not one of `load_task`.
    """
    need_split(split, "split")
    if split.task is None:
        raise ValueError(
            f"{split!r} has no task; expected a split of load_task(...), whose other splits are "
            f"evaluated"
        )
    return split.task


def labelable_splits(split: Split, training_examples: bool) -> list[Split]:
    """Returns the splits that a model trained on `split` may label, without empty ones.

    They are the student half and the extra halves of the task. A model trained on examples of the
    student half labels only the student half.

    Args:
        training_examples: include the examples that the model is trained on.
    """
    task = task_of(split)
    halves = [task.student]
    if not task.student.among(split.ids).any():
        halves += task.extra_halves
    if not training_examples:
        halves = [half.take(~half.among(split.ids)) for half in halves]
    return [half for half in halves if len(half)]


def own_predicted_splits(split: Split, training_examples: bool) -> list[Split]:
    """Returns the splits of its task that every fit on `split` predicts: test, validation and those
    of `labelable_splits`, whose arguments these are.
    """
    task = task_of(split)
    return [task.test, task.validation, *labelable_splits(split, training_examples)]


def check_elsewhere(split: Split, also: Split | Sequence[Split]) -> tuple[Split, ...]:
    """Returns splits of other tasks that a fit on `split` is asked to predict too.

    Raises:
        TypeError: one that is no split of a task.
        ValueError: as `check_kind`; a split without examples; or an example that the fit is trained
            on.
    """
    if isinstance(also, (list, tuple)) and not also:
        return ()
    splits = list_splits(also, "also")
    for other in splits:
        name = f"{task_of(other).name}, {other.name}"
        if not len(other):
            raise ValueError(f"{name} has no examples; expected at least one")
        check_kind(split, other)
        if n_shared := int(other.among(split.ids).sum()):
            raise ValueError(
                f"{n_shared} of {len(other)} examples of {name} are trained on; expected examples "
                f"that the fit has not seen"
            )
    return tuple(splits)


def check_kind(split: Split, other: Split) -> None:
    """Refuses examples of another task that a model trained on `split` cannot be tested on.

    Raises:
        ValueError: answers, other classes, another number of texts, or images for texts.
    """
    trained, tested = task_of(split), task_of(other)
    for each in (split, other):
        each.need_classes("a test on another task")
    if _kind_of(other) != _kind_of(split):
        raise ValueError(
            f"{tested.name} has {_kind_of(other)} per example; expected {_kind_of(split)}, as "
            f"{trained.name} has"
        )
    if other.classes != split.classes:
        raise ValueError(
            f"{tested.name} has the classes {', '.join(other.classes)}; expected those of "
            f"{trained.name}: {', '.join(split.classes)}"
        )


def _kind_of(split: Split) -> str:
    """Names what one example is made of."""
    if task_of(split).spec.images is not None:
        return "an image"
    return "two texts" if split.arity == 2 else "one text"


def splits_elsewhere(predicted: list[Split], also: Iterable[Split]) -> tuple[Split, ...]:
    """Returns the examples of `also` that are not predicted yet, as splits named by their task."""
    known = set(np.concatenate([split.ids for split in predicted]))
    named = []
    for other in also:
        new = other.take(~other.among(known))
        known |= set(new.ids)
        if len(new):
            named.append(replace(new, name=f"{task_of(other).name}, {other.name}"))
    return tuple(named)


def make_record(
    config: dict,
    metrics: dict[str, float],
    stop: str,
    checkpoint: Checkpoint,
    split: Split,
    labels: SoftLabels,
    label_accuracy: float,
) -> dict:
    """Returns the record of a classifier's training, as the store keeps it.

    Args:
        config: everything that decided the result, and so the address.
        metrics: of the test split, by name.
        stop: the checkpoint that stands for the fit.
        split: the examples trained on.
        labels: their labels; label_accuracy: the share of those that are true.
    Returns:
        config, metrics, stop, trained_on (ids), half (fingerprint of the whole split that the
        examples are of), data (version of all examples of the task), chance (the accuracy of
        guessing on test), labels_stop (the supervisor's checkpoint) and summary, whose fields are
        columns of `results`.

    This function is no part of a fit's address: fits that were stored before a field was added lack
    it.
    """
    task = task_of(split)
    summary = {
        "task": task.name,
        "model": checkpoint.name,
        "layers": checkpoint.layers,
        "method": config["method"],
        "lr": stored_lr(config),
        "loss": config["loss"],
        "loss_args": config["loss_args"],
        "labels": labels.source,
        "labels_address": labels.address,
        "label_accuracy": label_accuracy,
        "trained_split": split.name,
        "seed": config["seed"],
        "n_train": len(split),
        "n_val": len(task.validation),
        "n_test": len(task.test),
    }
    return {
        "config": config,
        "metrics": metrics,
        "stop": stop,
        "trained_on": split.ids.tolist(),
        "half": half_of(split).fingerprint,
        "data": task.data_version,
        "chance": task.test.chance,
        "labels_stop": labels.stop,
        "summary": summary,
    }


def need_fit(given, name: str) -> Fit:
    """Returns what an argument was given, if that is a fit.

    Raises:
        TypeError: it is something else, such as a model's name.
    """
    if isinstance(given, Fit):
        return given
    raise TypeError(f"{name} is a {type(given).__name__}; expected a fit, as w2s.fit gives it")


def half_of(split: Split) -> Split:
    """Returns the split of its task that examples were taken from."""
    halves = {half.name: half for half in task_of(split).all_splits}
    return halves.get(split.name, split)


@dataclass(frozen=True, eq=False)
class Fit:
    """A trained model, as its stored predictions on the splits of its task.

    Attributes:
        address: where the store keeps it.
        record: config, summary, metrics, versions, machine, seconds; speed of the training's steps
            (see `speed.Speed`) where it read texts.
        predictions: rows (split, id, truth, group, last, validation, oracle): the split's name,
            with its task's before it where that is another one; the true class; the group of
            examples that belong together; and P(y = 1) at the three checkpoints, NaN at one that
            the fit lacks (see `stops`). Of K > 2 classes there are last_2 to last_{K-1} too, and so
            on (see `class_columns`); `probs_at` reads them.
        curve: a row per evaluation in training: step, progress, train_loss; the accuracy on the
            validation split, against the fit's labels (validation_accuracy_on_labels) and ground
            truth (validation_accuracy); test_accuracy, on test_n examples, with its standard error
            test_se. A fit on a sealed task has neither truth nor what is measured by it.
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

    def _repr_html_(self) -> str:
        summary = self.record["summary"]
        names = ("model", "task", "labels", "loss", "method", "seed")
        rows = {name: summary[name] for name in names} | {"stop": self.stop}
        if summary.get("lr") is not None:
            rows["learning rate"] = f"{summary['lr']:g}"
        test_accuracy = self._test_accuracy()
        if test_accuracy is not None:
            rows["test accuracy"] = test_accuracy
        cells = "".join(
            f"<tr><th>{name}</th><td>{html.escape(str(value))}</td></tr>"
            for name, value in rows.items()
        )
        return f"<table>{cells}</table>"

    def _test_accuracy(self) -> Estimate | None:
        """Computes accuracy on the stored test examples; None where their truth is not stored."""
        test = self.predictions[self.predictions["split"] == "test"]
        if "truth" not in test:
            return None
        probs = probs_at(test, self.stop)
        return accuracy(probs, test["truth"].to_numpy(), group=test["group"].to_numpy())

    @property
    def name(self) -> str:
        """Returns the finetuned model's name, which every function that takes a model accepts.

        Examples are `fit(student.name, ...)` and `features(f"{student.name}@12", ...)`. It needs
        `keep_weights=True`, and a method that trains the model itself.
        """
        return f"fit:{self.address}"

    @property
    def stops(self) -> tuple[str, ...]:
        """Returns the checkpoints that the fit has predictions of.

        'validation' is missing where too few validation examples have a label, and 'oracle' where
        `curve_test` leaves test examples out.
        """
        return tuple(stop for stop in STOPS if self.predictions[stop].notna().any())

    def has(self, stop: str, split: Split) -> bool:
        """Tells whether the fit has predictions of a split at a checkpoint."""
        if stop not in self.stops or not split.among(self._by_id.index).all():
            return False
        return bool(self._by_id.loc[split.ids, stop].notna().all())

    @functools.cached_property
    def _by_id(self) -> pd.DataFrame:
        return self.predictions.set_index("id")

    def predict(self, split: Split, *, stop: str | None = None) -> np.ndarray:
        """Looks up the stored class probabilities of a split's examples.

        No model runs here: a fit predicts the test, validation and student splits of its task, and
        those of other tasks that `fit(..., also=)` was given, while it is trained, and these
        predictions are stored. For other texts see `rewards`.

        Args:
            stop: a checkpoint other than the fit's.
        Returns:
            (n, K) float64, rows sum to 1.
        Raises:
            ValueError: the split is not among those predicted, such as the one trained on;
                'oracle' is asked for a split other than test; a checkpoint that is not in `stops`;
                or a split of another number of classes, as a task's options may have.
        """
        need_split(split, "split")
        stop = stop or self.stop
        if stop not in self.stops:
            raise ValueError(self._why_without(stop))
        missing = ~split.among(self._by_id.index)
        if missing.any():
            raise ValueError(
                f"{self!r} holds predictions of {self._predicted_splits()} of its own task and "
                f"seed; {missing.sum()} of {len(split)} examples of {split.name!r} are not there"
            )
        probs = probs_at(self._by_id.loc[split.ids], stop)
        if np.isnan(probs).any():
            raise ValueError(f"checkpoint {stop!r} has predictions of the test split only")
        if probs.shape[1] != split.n_classes:
            raise ValueError(
                f"{self!r} predicts {probs.shape[1]} classes; the split {split.name!r} has "
                f"{split.n_classes}: {', '.join(split.classes)}"
            )
        return probs

    def _why_without(self, stop: str) -> str:
        """Says why the fit has no predictions at a checkpoint."""
        there_are = f"there are {', '.join(self.stops)}"
        summary = self.record["summary"]
        if stop == "oracle" and "test_n" not in self.curve:
            return f"{self!r} has no oracle: the truth of its test is sealed; {there_are}"
        if stop == "oracle":
            return (
                f"{self!r} has no oracle: its evaluations saw {self.curve.test_n.max()} of "
                f"{summary['n_test']} test examples; {there_are}. Without curve_test they see all"
            )
        if stop == "validation":
            return (
                f"{self!r} has no validation: its labels know too few of its {summary['n_val']} "
                f"validation examples; {there_are}"
            )
        return f"checkpoint {stop!r}; expected one of {', '.join(self.stops)}"

    def _predicted_splits(self) -> list[str]:
        return sorted(self.predictions["split"].unique())

    def label(self, split: Split, *, training_examples: bool = False) -> SoftLabels:
        """Returns weak labels: this model's stored probabilities for a split.

        They include the validation split, which early stopping needs.

        Args:
            training_examples: allow examples that the model itself was trained on, as bootstrapping
                on the same data does; the fit must have been made with
                `label_training_examples=True`.
        Raises:
            ValueError: the model was trained on examples of the split.
        """
        self._check_held_out(split, training_examples, "predictions for examples")
        splits = [split]
        if split.task is not None and split.name != "validation":
            splits.append(split.task.validation)
        ids = np.concatenate([s.ids for s in splits])
        probs = np.concatenate([self.predict(s) for s in splits])
        return SoftLabels(ids, probs, self.record["summary"]["model"], self.address, self.stop)

    def _check_held_out(self, split: Split, training_examples: bool, weak_labels: str) -> None:
        need_split(split, "split")
        if not training_examples and set(split.ids) & set(self.record["trained_on"]):
            raise ValueError(
                f"{self!r} was trained on examples of {split.name!r}; weak labels are "
                f"{weak_labels} held out from the supervisor, unless training_examples=True"
            )

    def with_ids_of(self, old: Task, new: Task) -> Fit:
        """Returns this fit with its predictions for the examples of `old` under the ids of `new`.

        Args:
            new: a variant of `old`, with the same examples in the same order.
        """
        new_ids: dict[str, str] = {}
        for old_split, new_split in zip(old.splits, new.splits, strict=True):
            new_ids |= dict(zip(old_split.ids, new_split.ids, strict=True))
        # examples of other tasks keep their ids
        ids = self.predictions.id.map(new_ids).fillna(self.predictions.id)
        predictions = self.predictions.assign(id=ids)
        return replace(self, predictions=predictions)

    def accuracy(self, split: Split, *, stop: str | None = None) -> Estimate:
        """Computes accuracy against ground truth, with its interval over groups of examples."""
        return accuracy(self.predict(split, stop=stop), split.hard_label, group=split.group)

    def weights(self) -> dict[str, torch.Tensor]:
        """Returns the trained tensors at the fit's checkpoint, by parameter name.

        They are the head's, and the body's where the method trains it. A probe's come with what its
        features were standardised by (`mean`, `std`, (d,)), and those of method 'full' with the
        token ids whose embedding rows were trained (`vocabulary`, (u,)).

        Raises:
            FileNotFoundError: the fit was made without `keep_weights=True`.
        """
        return store.weights(self.address)


@dataclass(frozen=True, eq=False, repr=False)
class AnswerFit(Fit):
    """A trained model, as the answers that it generated.

    Its prediction for an example is whether its answer is the true one, so accuracy is exact match.

    Attributes:
        predictions: rows (split, id, group, answer, right, legal, p_right, choice, choice_right):
            the group of examples that belong together, the answer at temperature 0, and whether it
            is the true one. The others are of the test split only: whether the answer is one of the
            task's options, written as they are; the probability that the generated text begins with
            the true answer; the likeliest option; and whether that is the true one.
    """

    @property
    def stops(self) -> tuple[str, ...]:
        """Returns the one checkpoint that there is, after the last step."""
        return (self.stop,)

    def has(self, stop: str, split: Split) -> bool:
        """Tells whether the fit has answers to a split at a checkpoint."""
        return stop in self.stops and bool(split.among(self._by_id.index).all())

    def predict(self, split: Split, *, stop: str | None = None) -> np.ndarray:
        """Looks up which stored answers are right.

        Returns:
            (n, 2), rows [0, 1] where the answer is right, else [1, 0].
        Raises:
            ValueError: the split was not predicted, or `stop` is not the last step.
        """
        if stop not in (None, self.stop):
            raise ValueError(
                f"{self!r} is kept as it is after its last step; there is no checkpoint {stop!r}"
            )
        return self._one_hot(split, "right")

    def choose(self, split: Split) -> np.ndarray:
        """Looks up whether the likeliest option, not the generated answer, is right.

        Returns:
            (n, 2) as `predict`, of test examples only.
        """
        return self._one_hot(split, "choice_right")

    def _one_hot(self, split: Split, column: str) -> np.ndarray:
        return np.eye(2)[self.column(split, column).astype(int)]

    def _test_accuracy(self) -> Estimate:
        test = self.predictions[self.predictions["split"] == "test"]
        right = test["right"].to_numpy().astype(int)
        return accuracy(np.eye(2)[right], np.ones(len(test), dtype=int))

    def column(self, split: Split, column: str) -> np.ndarray:
        """Returns a column of the predictions, (n,), in the split's order.

        Raises:
            ValueError: the split, or this column of it, was not predicted.
        """
        need_split(split, "split")
        values = self._by_id[column]
        missing = ~split.among(values.index[values.notna()])
        if missing.any():
            raise ValueError(
                f"{self!r} holds {column} of {self._predicted_splits()} of its own task and seed; "
                f"{missing.sum()} of {len(split)} examples of {split.name!r} are not there"
            )
        return values.loc[split.ids].to_numpy()

    # answers are the weak labels here, and they are no probabilities
    def label(  # type: ignore[override]
        self, split: Split, *, training_examples: bool = False
    ) -> Answers:
        """Returns weak labels: the generated answers. Arguments and errors as of `Fit.label`."""
        self._check_held_out(split, training_examples, "answers to questions")
        return Answers(
            split.ids,
            tuple(self.column(split, "answer")),
            self.record["summary"]["model"],
            self.address,
        )
