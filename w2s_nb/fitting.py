"""`fit`: a model, a split and labels become a stored, content-addressed fit; the one verb behind every arm."""
from __future__ import annotations

import datetime
import functools
import time
from dataclasses import asdict, dataclass, replace

import numpy as np
import pandas as pd
import torch

from . import inputs as inputs_module
from . import losses, store, training
from .config import device, machine, precision, versions
from .data import Split
from .features import last_token, trunk
from .inputs import FeatureInputs, Inputs, TokenInputs, TrunkInputs
from .labels import SoftLabels
from .metrics import Estimate, accuracy, auroc, calibration_error, correct
from .models import HEADS, Checkpoint, Classifier, build, classifier, compact_embedding, digest, probe, resolve
from .registry import LOSSES, UnknownName
from .tokens import tokenize

STOPS = ("last", "validation", "oracle")


@dataclass(frozen=True)
class Recipe:
    """Hyper-parameters of a fit. The paper states 2 epochs and batch 32, and for probes (appendix D.2) Adam at 1e-3,
    batch 128, 200 epochs and no weight decay; where it is silent the values are ours.

    Attributes:
        epochs: passes over the training split.
        batch_size: examples an optimiser step; thresholds over a batch see all of it.
        lr: learning rate of the body; None takes the model's own (ten times that for LoRA).
        head_lr: learning rate of the head.
        weight_decay: of AdamW.
        warmup: fraction of the steps over which the learning rate rises from 0; it then falls linearly to 0.
        evals: evenly spaced checkpoints looked at for stopping; None takes 4 with weak labels, 1 with ground truth.
        max_len: tokens kept of a text, from its end; None takes the task's.
        head_init: 'unembedding' (rows of "0" and "1", appendix A.1) or 'zero'.
        top_layers: blocks that method 'top' trains.
        lora_rank: rank of the adapters of method 'lora'.
    """

    epochs: int = 2
    batch_size: int = 32
    lr: float | None = None
    head_lr: float = 1e-3
    weight_decay: float = 0.0
    warmup: float = 0.1
    evals: int | None = None
    max_len: int | None = None
    head_init: str = "unembedding"
    top_layers: int = 4
    lora_rank: int = 8


METHODS = {"full": Recipe(), "lora": Recipe(), "top": Recipe(),
           "probe": Recipe(epochs=200, batch_size=128, head_lr=1e-3, warmup=0.01, evals=20, head_init="zero")}


@dataclass(frozen=True, eq=False)
class Fit:
    """A trained model, as its predictions on the splits of its task.

    Attributes:
        address: where the store keeps it.
        record: configuration, summary, metrics, versions, machine, seconds.
        predictions: rows (split, id, last, validation, oracle), the last three P(y = 1) at those checkpoints.
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
        return (f"Fit({summary['model']}, {summary['task']}, {summary['method']}, {summary['loss']} on "
                f"{summary['labels']}, seed {summary['seed']}, stop {self.stop})")

    def predict(self, split: Split, *, stop: str | None = None) -> np.ndarray:
        """(n, 2) class probabilities of a split's examples, at the fit's checkpoint or another.

        Raises:
            ValueError: the split was not among those predicted, such as the one trained on; 'oracle' beyond test.
        """
        column = self.predictions.set_index("id")[stop or self.stop]
        missing = ~np.isin(split.ids, column.index)
        if missing.any():
            raise ValueError(f"{self!r} holds predictions of {sorted(self.predictions['split'].unique())} of its own "
                             f"task and seed; {missing.sum()} of {len(split)} examples of {split.name!r} are not there")
        p1 = column.loc[split.ids].to_numpy(dtype=np.float64)
        if np.isnan(p1).any():
            raise ValueError(f"checkpoint {stop or self.stop!r} has predictions of the test split only")
        return np.stack([1 - p1, p1], axis=1)

    def label(self, split: Split) -> SoftLabels:
        """Weak labels: this model's probabilities for a split, and for the validation split that early stopping needs.

        Raises:
            ValueError: the model was trained on the split; weak labels are for examples held out from it.
        """
        if set(split.ids) & set(self.record["trained_on"]):
            raise ValueError(f"{self!r} was trained on examples of {split.name!r}; weak labels are predictions for "
                             f"examples held out from the supervisor")
        splits = [split] if split.task is None or split.name == "validation" else [split, split.task.validation]
        ids, probs = (np.concatenate(x) for x in zip(*((s.ids, self.predict(s)) for s in splits)))
        return SoftLabels(ids, probs, self.record["summary"]["model"])

    def accuracy(self, split: Split, *, stop: str | None = None) -> Estimate:
        """Accuracy against ground truth on a split, with its interval over examples."""
        return accuracy(self.predict(split, stop=stop), split.hard_label)

    def weights(self) -> dict[str, torch.Tensor]:
        """The trained tensors at the fit's checkpoint, if it was made with `keep_weights=True`."""
        return store.weights(self.address)


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
    checkpoint, settings = resolve(model), _settings(method, recipe)
    weak = labels is not None
    labels = labels or SoftLabels.truth(split)
    if split.task is None:
        raise ValueError("fit needs a split of load_task(...): its task's other splits are evaluated")
    validation = labels if weak and labels.covers(split.task.validation) else SoftLabels.truth(split.task.validation)
    has_validation = not weak or labels.covers(split.task.validation)
    stop = stop or ("validation" if has_validation and (weak or method == "probe") else "last")
    if stop not in STOPS or (stop == "validation" and not has_validation):
        raise ValueError(f"stop {stop!r}; expected one of {', '.join(STOPS)}" + (
            "" if has_validation else ", not 'validation': the labels do not cover the validation split"))
    settings = replace(settings, evals=settings.evals or (4 if weak else 1), max_len=settings.max_len
                       or split.task.max_len, lr=settings.lr or checkpoint.lr * (10 if method == "lora" else 1))
    args = losses.loss_args(loss, loss_args)
    config = {
        "model": digest(checkpoint), "layers": checkpoint.layers, "method": method, "recipe": asdict(settings),
        "loss": [loss, args, store.code_version(LOSSES[loss])], "seed": seed, "precision": precision(),
        "splits": [split.fingerprint, *(s.fingerprint for s in _evaluated(split))],
        "labels": [labels.of(split).round(6).tolist(), validation.of(split.task.validation).round(6).tolist()],
        "code": _code(), "weights": keep_weights and stop}
    address = store.address(config)
    with store.lock(address):
        found = store.read(address)
        if found is None:
            summary = {
                "task": split.task.name, "model": checkpoint.name, "layers": checkpoint.layers, "method": method,
                "loss": loss, "loss_args": args, "labels": labels.source, "trained_split": split.name,
                "label_accuracy": float(np.mean((labels.of(split)[:, 1] >= 0.5) == split.hard_label)),
                "seed": seed, "n_train": len(split), "n_test": len(split.task.test)}
            _train(checkpoint, split, labels.of(split), validation.of(split.task.validation), method, settings,
                   functools.partial(LOSSES[loss], **args), seed, stop, micro_batch, keep_weights, address, summary)
            found = store.read(address)
    return Fit(address, *found, stop)


def _settings(method: str, recipe: dict) -> Recipe:
    if method not in METHODS:
        raise UnknownName("method", str(method), METHODS)
    unknown = sorted(set(recipe) - set(asdict(METHODS[method])))
    if unknown:
        raise TypeError(f"fit got {', '.join(unknown)}; a recipe has {', '.join(asdict(METHODS[method]))}")
    settings = replace(METHODS[method], **recipe)
    if settings.head_init not in HEADS:
        raise ValueError(f"head_init {settings.head_init!r}; expected one of {', '.join(HEADS)}")
    for name in ("epochs", "batch_size", "top_layers", "lora_rank"):
        if getattr(settings, name) < 1:
            raise ValueError(f"{name} = {getattr(settings, name)!r}; expected a whole number from 1")
    return settings


@functools.cache
def _code() -> str:
    """Version of the code that decides a fit's result."""
    return store.code_version(training, inputs_module, classifier, _train, _inputs)


def _evaluated(split: Split) -> list[Split]:
    """Splits a fit predicts: validation and test, and the student half if it was not trained on."""
    others = [split.task.validation, split.task.test]
    return [split.task.student, *others] if split.name == "supervisor" else others


def _inputs(checkpoint: Checkpoint, splits: list[Split], method: str, settings: Recipe,
            compact: bool) -> tuple[list[Inputs], np.ndarray | None]:
    """Inputs of each split, the first being the one trained on, and the vocabulary they were renumbered to."""
    tokens = [tokenize(s, checkpoint, settings.max_len) for s in splits]
    if method == "probe":
        features = [last_token(checkpoint, t) for t in tokens]
        mean, std = features[0].mean(axis=0), features[0].std(axis=0) + 1e-6
        return [FeatureInputs(torch.from_numpy((f - mean) / std), t.arity) for f, t in zip(features, tokens)], None
    if method == "top":
        depth = max(0, checkpoint.layers - settings.top_layers)
        return [TrunkInputs(trunk(checkpoint, depth, t), t.arity) for t in tokens], None
    used = np.unique(np.concatenate([i for t in tokens for i in t.ids])) if compact else None
    return [TokenInputs(t, used) for t in tokens], used


def _train(checkpoint, split, targets, validation_targets, method, settings, loss, seed, stop, micro_batch,
           keep_weights, address, summary) -> None:
    """Trains, predicts the task's other splits at the three checkpoints, and stores it all."""
    started = time.perf_counter()
    torch.manual_seed(seed)
    others = _evaluated(split)
    made, used = _inputs(checkpoint, [split, *others], method, settings, method == "full" and not keep_weights)
    if method == "probe":
        net: Classifier = probe(made[0].features.shape[1], split.arity).to(device())
    else:
        net = build(checkpoint, method, split.arity, head_init=settings.head_init, device=device(),
                    top_layers=settings.top_layers, lora_rank=settings.lora_rank)
    if used is not None:
        compact_embedding(net, torch.from_numpy(used).long())
    inputs = dict(zip((s.name for s in others), made[1:]))
    task, curve, best, kept = split.task, [], {"validation": -1.0, "oracle": -1.0}, {}
    loss.batchwise = loss.func.batchwise

    def evaluate(step: int, train_loss: float) -> None:
        probs = {name: training.predict(net, inputs[name]) for name in ("validation", "test")}
        against = {"validation": (validation_targets[:, 1] >= 0.5).astype(int), "oracle": task.test.hard_label}
        scores = {"validation": correct(probs["validation"], against["validation"]).mean(),
                  "oracle": correct(probs["test"], against["oracle"]).mean()}
        curve.append({"step": step, "train_loss": train_loss, "validation_accuracy_on_labels": scores["validation"],
                      "validation_accuracy": correct(probs["validation"], task.validation.hard_label).mean(),
                      "test_accuracy": scores["oracle"]})
        if "student" in inputs:
            probs["student"] = training.predict(net, inputs["student"])
        kept["last"] = probs
        for name in best:
            if scores[name] > best[name]:
                best[name], kept[name] = scores[name], probs
                if keep_weights and name == stop:
                    kept["weights"] = _trained(net)

    training.train(net, made[0], targets, loss, epochs=settings.epochs, batch_size=settings.batch_size,
                   lr=settings.lr, head_lr=settings.head_lr, weight_decay=settings.weight_decay,
                   warmup=settings.warmup, seed=seed, evals=settings.evals, evaluate=evaluate,
                   micro_batch=micro_batch, label=f"{checkpoint.name} {summary['loss']} seed {seed}")
    frames = [pd.DataFrame({"split": s.name, "id": s.ids} | {k: kept[k][s.name][:, 1] for k in ("last", "validation")}
                           | {"oracle": kept["oracle"][s.name][:, 1] if s.name == "test" else np.nan}) for s in others]
    metrics = {f"accuracy_{k}": float(correct(kept[k]["test"], task.test.hard_label).mean()) for k in STOPS}
    metrics |= {m.__name__: m(kept["last"]["test"], task.test.hard_label, resamples=0).value
                for m in (auroc, calibration_error)}
    record = {"summary": summary, "metrics": metrics, "recipe": asdict(settings), "stop": stop,
              "trained_on": split.ids.tolist(), "versions": versions(), "machine": machine(),
              "seconds": round(time.perf_counter() - started, 2),
              "created": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")}
    weights = (kept.get("weights") or _trained(net)) if keep_weights else None
    store.write(address, record, pd.concat(frames), pd.DataFrame(curve), weights)


def _trained(net: Classifier) -> dict[str, torch.Tensor]:
    return {name: p.detach().cpu().clone() for name, p in net.named_parameters() if p.requires_grad}
