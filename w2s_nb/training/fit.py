"""`fit`: a model, a split and labels become a stored, content-addressed fit; the one verb behind every arm."""

from __future__ import annotations

from dataclasses import asdict, replace

import numpy as np

from .. import losses
from ..common import store
from ..common.device import precision
from ..data.splits import Split
from ..labels.answers import Answers
from ..labels.soft import SoftLabels
from ..models.loading import digest, with_depth
from ..models.names import resolve
from . import classifier
from .answers import fit_answers
from .classifier import TrainingJob
from .hyperparameters import PROBES, SHARDED, choose_hyperparameters, examples_per_evaluation
from .result import STOPS, Fit, labelable_splits

LEAST_VALIDATION = 20  # labelled validation examples, or all there are, for stopping on them


def fit(
    model: str,
    split: Split,
    labels: SoftLabels | Answers | None = None,
    *,
    loss: str = "xent",
    loss_args: dict | None = None,
    method: str = "full",
    seed: int = 0,
    stop: str | None = None,
    micro_batch: int | None = None,
    devices: int = 1,
    keep_weights: bool = False,
    label_own: bool = False,
    **hyperparameters,
) -> Fit:
    """Finetunes a model on labels of a split, or finds that fit in the store; where it answers, see `fit_answers`.

    Args:
        model: a name that `models.resolve` takes; a finetuned model is `Fit.name` of its fit.
        split: the examples trained on, a split of a `load_task`.
        labels: of those examples, and of the task's validation split for early stopping; None takes ground truth.
        loss: a registered loss; loss_args: its keyword arguments.
        method: 'full', 'lora' or 'top' (see `models.build`); 'probe' or 'logistic', on frozen features.
        seed: order of batches and random initialisation.
        stop: 'validation' (best accuracy against `labels` on the validation split), 'last', or 'oracle' (best test
            accuracy; it looks at the test labels). None takes what the task sets for finetuning; else 'validation' for
            weak labels, as the paper does, and for probes; 'last' for finetuning on ground truth, and where labels know
            fewer than 20 validation examples. All three are stored; training keeps their weights in main memory.
        micro_batch: examples in one pass on a device; devices: how many train the model together, by Ray and FSDP, for
            'full' and 'lora'. These change memory and speed, not the result beyond rounding.
        keep_weights: store the trained tensors too; label_own: predict the examples trained on too, for labels of own.
        hyperparameters: fields of `Hyperparameters` that differ from `METHODS[method]` and from what the task sets for finetuning.
    Raises:
        UnknownName, ValueError: a name or value that does not exist, before any model is loaded.
        ModelUnavailable: the weights cannot be had here.
    """
    if split.task is None:
        raise ValueError(
            "fit needs a split of load_task(...): its task's other splits are evaluated"
        )
    if (
        isinstance(devices, bool)
        or not isinstance(devices, int)
        or devices < 1
        or (devices > 1 and (split.answers or method not in SHARDED))
    ):
        raise ValueError(
            f"devices = {devices!r} with method {method!r} on {split.task.name}; expected a whole number "
            f"from 1, and above 1 methods {' and '.join(SHARDED)} on two classes"
        )
    if split.answers and (loss, loss_args or {}, stop or "last") != ("xent", {}, "last"):
        raise ValueError(
            f"loss {loss!r}, stop {stop!r}; answers to {split.task.name} take xent and last"
        )
    if split.answers:
        return fit_answers(
            model,
            split,
            labels,
            method=method,
            seed=seed,
            micro_batch=micro_batch,
            keep_weights=keep_weights,
            label_own=label_own,
            **hyperparameters,
        )
    if method not in PROBES:
        hyperparameters = split.task.hyperparameters | hyperparameters
        stop = stop or split.task.stop
    checkpoint, settings = resolve(model), choose_hyperparameters(method, hyperparameters)
    args = losses.loss_args(loss, loss_args)
    if method == "logistic" and loss != "xent":
        raise ValueError(
            f"method 'logistic' is the optimum of cross-entropy; loss {loss!r} needs method 'probe'"
        )
    task, weak = split.task, labels is not None
    labels = labels if weak else SoftLabels.truth(split)
    validation = labels if weak else SoftLabels.truth(task.validation)
    known = validation.knows(task.validation)
    covered = known.sum() >= min(LEAST_VALIDATION, len(known))
    stop = stop or ("validation" if covered and (weak or method in PROBES) else "last")
    if stop not in STOPS or (stop == "validation" and not covered):
        raise ValueError(
            f"stop {stop!r}; expected one of {', '.join(STOPS)}"
            + (
                ""
                if covered
                else f", not validation: labels know {known.sum()} of {len(known)} validation examples"
            )
        )
    if len(split) < 2:
        raise ValueError(
            f"{len(split)} examples of {split.name!r} to train on; expected at least 2"
        )
    checkpoint = with_depth(checkpoint)
    defaults = {
        "evals": 4 if weak else 1,
        "max_len": task.max_len,
        "lr": checkpoint.lr * (10 if method == "lora" else 1),
        "head_init": "unembedding" if checkpoint.layers == checkpoint.full_layers else "zero",
    }
    settings = replace(
        settings, **{k: v for k, v in defaults.items() if getattr(settings, k) is None}
    )
    if settings.curve_test is None and method != "logistic":  # looking costs nothing there
        settings = replace(
            settings,
            curve_test=examples_per_evaluation(
                settings, len(split), len(task.validation), len(task.test)
            ),
        )
    plan = TrainingJob(
        checkpoint,
        split,
        labels.for_split(split),
        validation.for_ids(task.validation.ids[known]) if covered else None,
        np.flatnonzero(known),
        method,
        settings,
        loss,
        args,
        seed,
        stop if keep_weights else None,
        label_own,
    )
    config = {
        "model": digest(checkpoint),
        "layers": checkpoint.layers,
        "method": method,
        "hyperparameters": asdict(settings),
        "loss": loss,
        "loss_args": args,
        "seed": seed,
        "precision": precision(),
        "label_own": label_own,
        "splits": [
            s.fingerprint
            for s in (split, task.test, task.validation, *labelable_splits(split, label_own))
        ],
        "code": [classifier.code(), losses.code(loss)],
        "keep_weights": plan.keep_weights,
        "labels": plan.label_fingerprint,
    }
    address = store.address(config)

    def make():
        metrics, *tables = classifier.carry_out(plan, micro_batch, devices)
        return {
            "config": config,
            "metrics": metrics,
            "stop": stop,
            "trained_on": split.ids.tolist(),
            "summary": {
                "task": task.name,
                "model": checkpoint.name,
                "layers": checkpoint.layers,
                "method": method,
                "loss": loss,
                "loss_args": args,
                "labels": labels.source,
                "labels_address": labels.address,
                "label_accuracy": float(np.mean((plan.targets[:, 1] >= 0.5) == split.hard_label)),
                "trained_split": split.name,
                "seed": seed,
                "n_train": len(split),
                "n_val": len(task.validation),
                "n_test": len(task.test),
            },
        }, *tables

    return Fit(address, *store.get_or_make(address, make), stop)
