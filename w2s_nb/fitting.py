"""`fit`: a model, a split and labels become a stored, content-addressed fit; the one verb behind every arm."""
from __future__ import annotations

import datetime
import functools
import hashlib
import math
import time
from dataclasses import asdict, dataclass, replace

import numpy as np
import pandas as pd
import torch

from . import features, losses, store, tokens, training
from . import inputs as inputs_module
from .config import device, machine, precision, versions
from .data import Split
from .fits import STOPS, Fit
from .inputs import FeatureInputs, Inputs, TokenInputs, TrunkInputs
from .labels import SoftLabels
from .metrics import auroc, calibration_error, correct
from .models import Checkpoint, build, classifier, compact_embedding, digest, loading, probe, resolve, settle
from .recipes import Recipe, settings_of
from .registry import LOSSES
from .tokens import join, tokenize


def fit(model: str, split: Split, labels: SoftLabels | None = None, *, loss: str = "xent",
        loss_args: dict | None = None, method: str = "full", seed: int = 0, stop: str | None = None,
        micro_batch: int | None = None, keep_weights: bool = False, **recipe) -> Fit:
    """Finetunes a model on labels of a split, or finds that fit in the store.

    Args:
        model: a name that `models.resolve` takes.
        split: the examples trained on, a split of a `load_task`.
        labels: of those examples, and of the task's validation split for early stopping; None takes ground truth.
        loss: a registered loss; loss_args: its keyword arguments.
        method: 'full', 'lora', 'top' or 'probe'; see `models.build`.
        seed: order of batches and random initialisation.
        stop: 'validation' (best accuracy against `labels` on the validation split), 'last', or 'oracle' (best test
            accuracy; it looks at the test labels). None takes 'validation' for weak labels, as the paper does, and
            for probes; 'last' for finetuning on ground truth. All three are stored.
        micro_batch: examples in one pass; changes memory and speed, not the result.
        keep_weights: also store the trained tensors.
        recipe: fields of `Recipe` that differ from `METHODS[method]`.
    Raises:
        UnknownName, ValueError: a name or value that does not exist, before any model is loaded.
        ModelUnavailable: the weights cannot be had here.
    """
    checkpoint, settings = resolve(model), settings_of(method, recipe)
    args = losses.loss_args(loss, loss_args)
    if split.task is None:
        raise ValueError("fit needs a split of load_task(...): its task's other splits are evaluated")
    task, weak = split.task, labels is not None
    labels = labels if weak else SoftLabels.truth(split)
    validation = labels if weak else SoftLabels.truth(task.validation)
    covered = validation.covers(task.validation)
    stop = stop or ("validation" if covered and (weak or method == "probe") else "last")
    if stop not in STOPS or (stop == "validation" and not covered):
        raise ValueError(f"stop {stop!r}; expected one of {', '.join(STOPS)}" + (
            "" if covered else ", and not 'validation': the labels do not cover the validation split"))
    checkpoint = settle(checkpoint)
    defaults = {"evals": 4 if weak else 1, "max_len": task.max_len,
                "lr": checkpoint.lr * (10 if method == "lora" else 1),
                "head_init": "unembedding" if checkpoint.layers == checkpoint.full_layers else "zero"}
    settings = replace(settings, **{k: v for k, v in defaults.items() if getattr(settings, k) is None})
    plan = Plan(checkpoint, split, labels.of(split), validation.of(task.validation) if covered else None, method,
                settings, loss, args, seed, stop if keep_weights else None)
    config = {
        "model": digest(checkpoint), "layers": checkpoint.layers, "method": method, "recipe": asdict(settings),
        "loss": loss, "loss_args": args, "seed": seed, "precision": precision(), "keep_weights": plan.keep_weights,
        "splits": {s.name: s.fingerprint for s in (split, *_evaluated(split))}, "labels": plan.label_fingerprint,
        "code": [_code(), losses.code(loss)]}
    address = store.address(config)
    with store.lock(address):
        found = store.read(address)
        if found is None:
            started = time.perf_counter()
            metrics, *tables = _train(plan, micro_batch)
            store.write(address, {
                "config": config, "metrics": metrics, "stop": stop, "trained_on": split.ids.tolist(),
                "summary": {
                    "task": task.name, "model": checkpoint.name, "layers": checkpoint.layers, "method": method,
                    "loss": loss, "loss_args": args, "labels": labels.source, "labels_address": labels.address,
                    "label_accuracy": float(np.mean((plan.targets[:, 1] >= 0.5) == split.hard_label)),
                    "trained_split": split.name, "seed": seed, "n_train": len(split), "n_test": len(task.test)},
                "versions": versions(), "machine": machine(), "seconds": round(time.perf_counter() - started, 2),
                "created": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")}, *tables)
            found = store.read(address)
    return Fit(address, *found, stop)


@dataclass(frozen=True, eq=False)
class Plan:
    """All that decides what a training gives: names resolved, defaults filled in.

    Attributes:
        targets: (n, 2) labels of `split`.
        validation: (n_val, 2) labels of the validation split, or None where there are none.
        keep_weights: the checkpoint whose weights are kept, or None.
    """

    checkpoint: Checkpoint
    split: Split
    targets: np.ndarray
    validation: np.ndarray | None
    method: str
    settings: Recipe
    loss: str
    loss_args: dict
    seed: int
    keep_weights: str | None

    @property
    def label_fingerprint(self) -> str:
        """16 hex digits of the labels trained and stopped on, to 1e-6."""
        validation = b"" if self.validation is None else self.validation.round(6).tobytes()
        return hashlib.sha256(self.targets.round(6).tobytes() + validation).hexdigest()[:16]


@functools.cache
def _code() -> str:
    """Version of the code that decides a fit's result."""
    return features.code() + store.code_version(
        training.schedule, training.backward, training.train, training.predict, inputs_module, classifier,
        loading.load_lm, tokens._encode, correct, _evaluated, _inputs, _train)


def _evaluated(split: Split) -> list[Split]:
    """Splits a fit predicts: validation and test, and the student half if it was not trained on."""
    others = [split.task.validation, split.task.test]
    return [split.task.student, *others] if split.name == "supervisor" else others


def _inputs(plan: Plan, splits: list[Split]) -> tuple[list[Inputs], dict[str, np.ndarray]]:
    """Inputs of each split, the first being the one trained on, and what they were made with.

    That is the `mean` and `std` (d,) that standardise a probe's features, or the `vocabulary` (u,) of token ids that a
    compact embedding was cut to.
    """
    checkpoint, settings, split = plan.checkpoint, plan.settings, splits[0]
    parts = [tokenize(s, checkpoint, settings.max_len) for s in splits]
    ends = np.cumsum([len(part.ids) for part in parts])
    spans = [slice(end - len(part.ids), end) for end, part in zip(ends, parts)]
    if plan.method == "probe":
        states = features.last_token(checkpoint, join(parts))
        mean, std = states[spans[0]].mean(axis=0), states[spans[0]].std(axis=0) + 1e-6
        states = torch.from_numpy((states - mean) / std)
        return [FeatureInputs(states[span], split.arity) for span in spans], {"mean": mean, "std": std}
    if plan.method == "top":
        states = features.trunk(checkpoint, max(0, checkpoint.layers - settings.top_layers), join(parts))
        return [TrunkInputs(states[span], split.arity) for span in spans], {}
    if plan.method == "lora" or plan.keep_weights:
        return [TokenInputs(part) for part in parts], {}
    used = np.unique(np.concatenate(join(parts).ids))
    return [TokenInputs(part, used) for part in parts], {"vocabulary": used}


def _train(plan: Plan, micro_batch: int | None) -> tuple[dict, pd.DataFrame, pd.DataFrame, dict | None]:
    """Trains, and predicts the task's other splits at the three checkpoints: metrics, predictions, curve, weights."""
    torch.manual_seed(plan.seed)
    split, settings, others, test = plan.split, plan.settings, _evaluated(plan.split), plan.split.task.test
    (own, *rest), made_with = _inputs(plan, [split, *others])
    inputs = dict(zip((s.name for s in others), rest))
    if plan.method == "probe":
        net = probe(own.features.shape[1], split.arity).to(device())
    else:
        net = build(plan.checkpoint, plan.method, split.arity, head_init=settings.head_init, device=device(),
                    top_layers=settings.top_layers, lora_rank=settings.lora_rank)
    if "vocabulary" in made_with:
        compact_embedding(net, torch.from_numpy(made_with["vocabulary"]).long())
    curve, kept, best, weights = [], {}, dict.fromkeys(STOPS, -1.0), None

    def evaluate(step: int, train_loss: float) -> None:
        nonlocal weights
        probs = {name: training.predict(net, part) for name, part in inputs.items()}
        on_truth = {s.name: correct(probs[s.name], s.hard_label).mean() for s in others}
        on_labels = math.nan if plan.validation is None else correct(
            probs["validation"], plan.validation[:, 1] >= 0.5).mean()
        curve.append({"step": step, "train_loss": train_loss, "validation_accuracy_on_labels": on_labels,
                      "validation_accuracy": on_truth["validation"], "test_accuracy": on_truth["test"]})
        # without labels to validate on, the validation checkpoint is the last one
        scores = {"last": step, "validation": step if math.isnan(on_labels) else on_labels, "oracle": on_truth["test"]}
        for stop in STOPS:
            if scores[stop] > best[stop]:
                best[stop], kept[stop] = scores[stop], probs
                if stop == plan.keep_weights:
                    weights = {n: p.detach().cpu().clone() for n, p in net.named_parameters() if p.requires_grad}

    loss = functools.partial(LOSSES[plan.loss], **plan.loss_args)
    loss.batchwise = LOSSES[plan.loss].batchwise
    training.train(net, own, plan.targets, loss, epochs=settings.epochs, batch_size=settings.batch_size,
                   lr=settings.lr, head_lr=settings.head_lr, weight_decay=settings.weight_decay,
                   warmup=settings.warmup, seed=plan.seed, evals=settings.evals, evaluate=evaluate,
                   micro_batch=micro_batch, label=f"{plan.checkpoint.name} {plan.loss} seed {plan.seed}")
    predictions = pd.concat([pd.DataFrame({"split": s.name, "id": s.ids, **{
        stop: kept[stop][s.name][:, 1] if stop != "oracle" or s is test else np.nan for stop in STOPS}})
        for s in others])
    metrics = {f"accuracy_{stop}": float(correct(kept[stop]["test"], test.hard_label).mean()) for stop in STOPS}
    metrics |= {metric.__name__: metric(kept["last"]["test"], test.hard_label, resamples=0).value
                for metric in (auroc, calibration_error)}
    if weights and plan.method == "probe":
        weights |= {name: torch.from_numpy(value) for name, value in made_with.items()}
    return metrics, predictions, pd.DataFrame(curve), weights
