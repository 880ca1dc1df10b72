"""What one training is, with every default filled in, and how it is carried out, on one device or on several."""

from __future__ import annotations

import functools
import hashlib
import math
import threading
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from safetensors.torch import load, save

from ..common import distributed, store
from ..common.device import device, threads
from ..common.registry import LOSSES
from ..data.splits import Split
from ..inputs import activations, tokens
from ..inputs import batches as inputs_module
from ..inputs.batches import FeatureInputs, Inputs, TokenInputs, TrunkInputs
from ..inputs.tokens import join, tokenize
from ..metrics.classification import auroc, calibration_error, correct
from ..models import classifier, loading
from ..models.anatomy import blocks_of
from ..models.classifier import build, compact_embedding, probe
from ..models.names import Checkpoint
from . import logistic, loop
from .hyperparameters import PROBES, Hyperparameters
from .result import STOPS, labelable_splits

_ALONE = threading.Lock()  # the seed is torch's own, which all threads share


@dataclass(frozen=True, eq=False)
class TrainingJob:
    """All that decides what a training gives: names resolved, defaults filled in.

    Attributes:
        targets: (n, 2) labels of `split`.
        validation: (k, 2) labels of the validation examples at the rows `known` (k,); None where they are too few.
        keep_weights: the checkpoint whose weights are kept, or None.
    """

    checkpoint: Checkpoint
    split: Split
    targets: np.ndarray
    validation: np.ndarray | None
    known: np.ndarray
    method: str
    settings: Hyperparameters
    loss: str
    loss_args: dict
    seed: int
    keep_weights: str | None
    label_own: bool

    @property
    def label_fingerprint(self) -> str:
        """16 hex digits of the labels trained and stopped on, to 1e-6."""
        validation = (
            b""
            if self.validation is None
            else self.validation.round(6).tobytes() + self.known.tobytes()
        )
        return hashlib.sha256(self.targets.round(6).tobytes() + validation).hexdigest()[:16]


@functools.cache
def code() -> str:
    """Version of the code that decides a fit's result."""
    return activations.code() + store.code_version(
        loop,
        distributed,
        inputs_module,
        classifier,
        logistic.logistic,
        loading.load_lm,
        tokens._encode,
        tokens.alike,
        correct,
        labelable_splits,
        _inputs,
        _train,
        _Checkpoints,
    )


def _inputs(plan: TrainingJob, splits: list[Split]) -> tuple[list[Inputs], dict[str, np.ndarray]]:
    """Inputs of each split, the first being the one trained on, and what they were made with.

    That is the `mean` and `std` (d,) that standardise a probe's features, or the `vocabulary` (u,) of token ids that a
    compact embedding was cut to.
    """
    checkpoint, settings, split = plan.checkpoint, plan.settings, splits[0]
    parts = [tokenize(s, checkpoint, settings.max_len) for s in splits]
    loading.require_context(
        checkpoint, max(int(part.lengths.max()) for part in parts), "Give a smaller max_len."
    )
    ends = np.cumsum([len(part.ids) for part in parts])
    spans = [slice(end - len(part.ids), end) for end, part in zip(ends, parts)]
    if plan.method in PROBES:
        states = activations.pooled(checkpoint, join(parts)).layer(checkpoint.layers)[
            :, : settings.features
        ]
        if settings.features and states.shape[1] < settings.features:
            raise ValueError(
                f"features = {settings.features}; {checkpoint.name} has {states.shape[1]}"
            )
        mean, std = states[spans[0]].mean(axis=0), states[spans[0]].std(axis=0) + 1e-6
        states = torch.from_numpy((states - mean) / std)
        return [FeatureInputs(states[span], split.arity) for span in spans], {
            "mean": mean,
            "std": std,
        }
    if plan.method == "top":
        states = activations.trunk(
            checkpoint, max(0, checkpoint.layers - settings.top_layers), join(parts)
        )
        return [TrunkInputs(states[span], part) for span, part in zip(spans, parts)], {}
    if plan.method == "lora":
        return [TokenInputs(part) for part in parts], {}
    used = np.unique(np.concatenate(join(parts).ids))
    return [TokenInputs(part, used) for part in parts], {"vocabulary": used}


class _Checkpoints:
    """Predictions of a module in training at the three stops: looks at it now and then, predicts in full at the end."""

    def __init__(self, net, plan: TrainingJob, splits: list[Split], inputs: list[Inputs]):
        self.net, self.plan, self.splits, self.inputs = net, plan, splits, inputs
        self.curve, self.best, self.at = [], dict.fromkeys(STOPS, -1.0), {}
        self.weights, self.known = {}, {}
        n = len(splits[0])
        self.seen = np.sort(
            np.random.default_rng(0).permutation(n)[: plan.settings.curve_test or n]
        )

    def look(self, step: int, progress: float, train_loss: float) -> None:
        """Scores the module on validation and some test examples; keeps its weights where it is the best so far."""
        test, validation = self.splits[:2]
        if progress < 1:
            on_test, on_validation = (
                loop.predict(self.net, i, r) for i, r in zip(self.inputs, (self.seen, None))
            )
        else:
            whole = [loop.predict(self.net, part) for part in self.inputs]
            on_test, on_validation, self.known[step] = (
                whole[0][self.seen],
                whole[1],
                np.concatenate(whole)[:, 1],
            )
        on_labels = (
            math.nan
            if self.plan.validation is None
            else correct(on_validation[self.plan.known], self.plan.validation[:, 1] >= 0.5).mean()
        )
        self.curve.append(
            {
                "step": step,
                "progress": progress,
                "train_loss": train_loss,
                "validation_accuracy_on_labels": on_labels,
                "validation_accuracy": correct(on_validation, validation.hard_label).mean(),
                "test_accuracy": correct(on_test, test.hard_label[self.seen]).mean(),
            }
        )
        # without labels to validate on, the validation checkpoint is the last one
        scores = {
            "last": step,
            "validation": step if math.isnan(on_labels) else on_labels,
            "oracle": self.curve[-1]["test_accuracy"],
        }
        better = [stop for stop in STOPS if scores[stop] > self.best[stop]]
        now = (
            loop.copy_weights(self.net) if progress < 1 and set(better) - {"last"} else None
        )  # the last needs no copy
        for stop in better:
            self.best[stop], self.at[stop] = scores[stop], step
            self.weights[stop] = now if stop != "last" else None

    def predictions(self) -> pd.DataFrame:
        """Rows as `Fit.predictions` has them: P(y = 1) of all splits, of the oracle's checkpoint test only."""
        frame = pd.concat(
            [
                pd.DataFrame(
                    {"split": s.name, "id": s.ids, "truth": s.hard_label, "group": s.group}
                )
                for s in self.splits
            ],
            ignore_index=True,
        )
        for stop in STOPS:
            if self.at[stop] not in self.known:
                loop.load_weights(self.net, self.weights[stop])
                wanted = self.inputs if stop != "oracle" else self.inputs[:1]
                self.known[self.at[stop]] = np.concatenate(
                    [loop.predict(self.net, i)[:, 1] for i in wanted]
                )
            frame[stop] = pd.Series(self.known[self.at[stop]])
        frame.loc[len(self.splits[0]) :, "oracle"] = np.nan
        return frame


def carry_out(plan: TrainingJob, micro_batch: int | None, devices: int = 1) -> tuple:
    """Trains, on so many devices: (metrics, predictions, curve, weights or None), as `store.write` takes them."""
    if devices == 1:
        with _ALONE:
            return _train(plan, micro_batch)
    *found, weights = distributed.on_devices(
        devices, _train_with, LOSSES[plan.loss], plan, micro_batch
    )
    return *found, weights and load(weights)


def _train_with(loss: Callable, plan: TrainingJob, micro_batch: int | None) -> tuple:
    LOSSES.register(plan.loss, loss)  # a notebook may have registered it
    *found, weights = _train(plan, micro_batch)
    return *found, save(
        weights
    ) if weights and not distributed.rank() else None  # Ray carries no tensors


def _train(
    plan: TrainingJob, micro_batch: int | None
) -> tuple[dict, pd.DataFrame, pd.DataFrame, dict | None]:
    """Trains, and predicts the task's other splits at the three checkpoints: metrics, predictions, curve, weights."""
    torch.manual_seed(plan.seed)
    split, settings, task = plan.split, plan.settings, plan.split.task
    others = [task.test, task.validation, *labelable_splits(split, plan.label_own)]
    (own, *inputs), made_with = _inputs(plan, [split, *others])
    if plan.method in PROBES:
        net = probe(own.features.shape[1], split.arity).to(device())
    else:
        net = build(
            plan.checkpoint,
            plan.method,
            split.arity,
            head_init=settings.head_init,
            device=device(),
            top_layers=settings.top_layers,
            lora_rank=settings.lora_rank,
        )
    if "vocabulary" in made_with:
        compact_embedding(net, torch.from_numpy(made_with["vocabulary"]).long())
    if net.body is not None:
        distributed.shard(net, blocks_of(net.body))
    loss, checkpoints = (
        functools.partial(LOSSES[plan.loss], **plan.loss_args),
        _Checkpoints(net, plan, others, inputs),
    )
    with threads(1 if plan.method in PROBES else None):
        if plan.method == "logistic":
            for step, l2 in enumerate(settings.l2, start=1):
                value = logistic.logistic(net.head, own.features, plan.targets, l2)
                checkpoints.look(step, step / len(settings.l2), value)
        else:
            loop.train(
                net,
                own,
                plan.targets,
                loss,
                settings,
                seed=plan.seed,
                evaluate=checkpoints.look,
                batchwise=LOSSES[plan.loss].batchwise,
                decay=plan.loss_args.get(LOSSES[plan.loss].memory),
                micro_batch=micro_batch,
                label=f"{plan.checkpoint.name} {plan.loss} seed {plan.seed}",
            )
        last = loop.copy_weights(net) if plan.keep_weights else None
        predictions, test = checkpoints.predictions(), others[0]
    on_test = {stop: predictions[stop].to_numpy()[: len(test)] for stop in STOPS}
    on_test = {stop: np.stack([1 - p, p], axis=1) for stop, p in on_test.items()}
    metrics = {
        f"accuracy_{stop}": float(correct(probs, test.hard_label).mean())
        for stop, probs in on_test.items()
    }
    metrics |= {
        metric.__name__: metric(on_test["last"], test.hard_label, resamples=0).value
        for metric in (auroc, calibration_error)
    }
    weights = None
    if plan.keep_weights:
        loop.load_weights(net, checkpoints.weights[plan.keep_weights] or last)
        weights = loop.copy_weights(net, whole=True) | {
            k: torch.from_numpy(v) for k, v in made_with.items()
        }
    return metrics, predictions, pd.DataFrame(checkpoints.curve), weights
