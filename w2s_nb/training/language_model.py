"""Generative finetuning: a model learns a task's texts as text, without labels, before it is taught (section 5.2.2)."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace

import numpy as np
import pandas as pd
import torch

from .. import metrics
from ..common import store
from ..common.device import device, precision
from ..data.splits import Split, Task
from ..inputs import activations
from ..inputs import batches as inputs_module
from ..inputs.batches import NextTokens, TokenInputs, TrunkInputs
from ..inputs.tokens import Tokens, tokenize
from ..labels.soft import SoftLabels
from ..models import anatomy, classifier, loading
from ..models.classifier import trainable
from ..models.language import LanguageModel
from ..models.loading import digest, with_depth
from ..models.names import resolve
from . import loop
from .hyperparameters import METHODS, ON_TEXT, PROBES, choose_hyperparameters

HELD_OUT = 50  # test examples whose perplexity is measured


@dataclass(frozen=True, eq=False)
class LanguageFit:
    """A language model finetuned on texts.

    Attributes:
        address, record: as of a `Fit`.
        held_out: a row a test example: id, group, tokens, and the nats of its texts before and after.
        curve: rows (step, progress, train_loss), the loss in nats a token.
    """

    address: str
    record: dict
    held_out: pd.DataFrame
    curve: pd.DataFrame

    @property
    def name(self) -> str:
        """The finetuned model, wherever a model is named."""
        return f"fit:{self.address}"


def finetune_lm(
    model: str,
    split: Split,
    *,
    chosen: SoftLabels | None = None,
    method: str = "full",
    seed: int = 0,
    held_out: int = HELD_OUT,
    micro_batch: int | None = None,
    **hyperparameters,
) -> LanguageFit:
    """Finetunes a language model on the texts of a split, or finds that model in the store. Labels play no part.

    The loss of a batch is the sum over its real tokens, each given those before it, over the tokens that a batch has on
    average: every token of the split counts the same, whatever the batch it is in.

    Args:
        model: a name that `models.resolve` takes.
        split: examples; of pairs both texts are learned, as in the paper.
        chosen: of pairs, learn only the text that these labels prefer.
        method: 'full' (every weight, a tied or untied unembedding too), 'lora' or 'top' (see `models.trainable`).
        held_out: test examples whose perplexity is measured before and after, and stored with the fit.
        micro_batch: texts in one pass; None takes what `training.LM_TOKENS` allows. Changes memory and speed, not the
            result.
        hyperparameters: fields of `Hyperparameters` that differ from `METHODS[method]`: of `hyperparameters.ON_TEXT`. One epoch is the default:
            the paper states none.
    Raises:
        UnknownName, TypeError, ValueError: a name or value that does not exist, before any model is loaded.
        ModelUnavailable: the weights cannot be had here.
    Source: Burns et al. 2023, section 5.2.2.
    """
    checkpoint, settings = resolve(model), choose_hyperparameters(method, {"epochs": 1} | hyperparameters)
    if not set(hyperparameters) <= set(ON_TEXT):
        raise TypeError(
            f"finetune_lm got {', '.join(sorted(set(hyperparameters) - set(ON_TEXT)))}; it takes "
            f"{', '.join(ON_TEXT)}"
        )
    if method in PROBES:
        raise ValueError(f"method {method!r} finetunes nothing; expected full, lora or top")
    if split.task is None:
        raise ValueError(
            "finetune_lm needs a split of load_task(...): perplexity is measured on its test split"
        )
    if not isinstance(held_out, int) or held_out < 2:
        raise ValueError(
            f"held_out = {held_out!r}; expected a whole number of test examples from 2"
        )
    if chosen is not None and split.arity != 2:
        raise ValueError(
            f"chosen= picks one of two texts; {split.task.name} has one text an example"
        )
    checkpoint, test = with_depth(checkpoint), split.task.test
    rows = np.sort(np.random.default_rng(0).permutation(len(test))[:held_out])
    settings = replace(
        settings,
        lr=settings.lr or checkpoint.lr * (10 if method == "lora" else 1),
        max_len=settings.max_len or split.task.max_len,
        evals=settings.evals or 10,
    )
    unused = {"top": "lora_rank", "lora": "top_layers"}.get(method)
    settings = replace(settings, **{unused: getattr(METHODS[method], unused)} if unused else {})
    learned = _texts(
        split, None if chosen is None else (chosen.for_split(split)[:, 1] >= 0.5).astype(int)
    )
    parts = [tokenize(s, checkpoint, settings.max_len) for s in (learned, _texts(test.take(rows)))]
    if min(int(part.lengths.max()) for part in parts) < 2:
        raise ValueError("texts of one token each; there is nothing to predict")
    loading.require_context(
        checkpoint, max(int(part.lengths.max()) for part in parts), "Give a smaller max_len."
    )
    config = {
        "model": digest(checkpoint),
        "layers": checkpoint.layers,
        "method": method,
        "hyperparameters": asdict(settings),
        "objective": "language model",
        "seed": seed,
        "precision": precision(),
        "keep_weights": "last",
        "texts": [hashlib.sha256("".join(part.keys).encode()).hexdigest()[:16] for part in parts],
        "code": _code(),
    }
    address = store.address(config)

    def make():
        before, after, curve, weights = _train(
            checkpoint, method, settings, parts, seed, micro_batch
        )
        nats = (
            pd.DataFrame(
                {
                    "row": np.arange(len(rows)).repeat(test.arity),
                    "tokens": before[:, 1],
                    "before": before[:, 0],
                    "after": after[:, 0],
                }
            )
            .groupby("row")
            .sum()
        )
        found = nats.assign(split="test", id=test.ids[rows], group=test.group[rows])
        ppl = {
            f"perplexity_{s}": float(np.exp(nats[s].sum() / nats.tokens.sum()))
            for s in ("before", "after")
        }
        return (
            {
                "config": config,
                "metrics": ppl,
                "stop": "last",
                "trained_on": split.ids.tolist(),
                "summary": {
                    "task": split.task.name,
                    "model": checkpoint.name,
                    "layers": checkpoint.layers,
                    "method": method,
                    "loss": "language model",
                    "loss_args": {},
                    "labels": chosen.source if chosen else "",
                    "labels_address": chosen.address if chosen else "",
                    "label_accuracy": np.nan,
                    "trained_split": split.name,
                    "seed": seed,
                    "n_train": len(split),
                    "n_test": len(rows),
                },
            },
            found,
            curve,
            weights,
        )

    return LanguageFit(address, *store.get_or_make(address, make))


def _texts(split: Split, which: np.ndarray | None = None) -> Split:
    """Every text of a split as an example of its own; of pairs the first, 0, or the second, 1, where `which` says."""
    texts = [texts if which is None else (texts[which[i]],) for i, texts in enumerate(split.texts)]
    alone = tuple((text,) for pair in texts for text in pair)
    ids = np.array([hashlib.sha256(text.encode()).hexdigest()[:16] for (text,) in alone])
    return replace(
        split,
        ids=ids,
        texts=alone,
        hard_label=np.zeros(len(ids), dtype=np.int64),
        group=np.arange(len(ids)),
    )


@functools.cache
def _code() -> str:
    """Version of the code that decides what a model learns here."""
    return activations.code() + store.code_version(
        LanguageModel, _train, loop, inputs_module, classifier.trainable, anatomy
    )


def _train(
    checkpoint, method: str, settings, parts: list[Tokens], seed: int, micro_batch: int | None
):
    """Nats and tokens of the held-out texts before and after (n, 2), the curve, and the trained tensors."""
    torch.manual_seed(seed)
    if method == "top":
        depth = max(0, checkpoint.layers - settings.top_layers)
        sequences = [
            TrunkInputs(activations.trunk(checkpoint, depth, part), part) for part in parts
        ]
    else:
        sequences = [TokenInputs(part) for part in parts]
    own, held_out = (NextTokens(s, part.ids) for s, part in zip(sequences, parts))
    lm, body = trainable(
        checkpoint,
        method,
        top_layers=settings.top_layers,
        lora_rank=settings.lora_rank,
        device=device(),
    )
    net = LanguageModel(body, lm.get_output_embeddings().requires_grad_(method == "full")).to(
        device()
    )
    mean, before = (
        float(np.mean([len(ids) - 1 for ids in parts[0].ids])),
        loop.lm_losses(net, held_out),
    )
    seen, curve = np.zeros(2), []

    def loss(scores, targets, *, progress):
        seen[:] += scores.detach().sum(dim=0).cpu().numpy()
        return scores[:, 0] / mean

    def look(step: int, progress: float, train_loss: float) -> None:
        curve.append({"step": step, "progress": progress, "train_loss": seen[0] / max(seen[1], 1)})
        seen[:] = 0

    micro_batch = micro_batch or max(
        1, min(settings.batch_size, loop.LM_TOKENS // int(own.lengths.max()))
    )
    loop.train(
        net,
        own,
        np.zeros((len(own), 1)),
        loss,
        settings,
        seed=seed,
        evaluate=look,
        micro_batch=micro_batch,
        label=f"{checkpoint.name} on text, seed {seed}",
    )
    return before, loop.lm_losses(net, held_out), pd.DataFrame(curve), loop.trained(net)


def perplexity(fits: Sequence[LanguageFit]) -> dict[str, metrics.Estimate]:
    """Perplexity on held-out texts `before` and `after`, and their ratio, `after / before`, paired; of several seeds
    together, over tokens."""
    names, group = ("before", "after", "tokens"), fits[0].held_out.group.to_numpy()
    stack = {
        name: np.stack([f.held_out[name].to_numpy(dtype=float) for f in fits]) for name in names
    }

    def of(function, *names):
        return metrics.of_means(
            lambda *means: np.exp(function(*means)), *(stack[name] for name in names), group=group
        )

    return {
        "before": of(np.divide, "before", "tokens"),
        "after": of(np.divide, "after", "tokens"),
        "after / before": of(
            lambda after, before, tokens: (after - before) / tokens, "after", "before", "tokens"
        ),
    }


@dataclass(frozen=True)
class Tuned:
    """A model that each seed first finetunes on the texts of its own half: for `run_arms`, in the place of a name.

    Attributes:
        model: a name that `models.resolve` takes.
        half: 'student' or 'supervisor', the split whose texts are learned.
        chosen: (task, None) -> labels that choose one text of each pair, such as `taught_by(...)`; None learns both.
        args: of `finetune_lm`, such as {"method": "lora"}.
    """

    model: str
    half: str
    chosen: Callable[[Task, None], SoftLabels] | None = None
    args: dict = field(default_factory=dict)

    def __post_init__(self):
        resolve(self.model)
        if self.half not in ("student", "supervisor"):
            raise ValueError(f"half {self.half!r}; expected student or supervisor")
        choose_hyperparameters(
            self.args.get("method", "full"), {k: v for k, v in self.args.items() if k in ON_TEXT}
        )

    def __str__(self) -> str:
        return f"{self.model}, on text"

    def fit(self, task: Task) -> LanguageFit:
        """The language model of one seed."""
        return finetune_lm(
            self.model,
            getattr(task, self.half),
            chosen=self.chosen and self.chosen(task, None),
            seed=task.seed,
            **self.args,
        )

    def __call__(self, task: Task) -> str:
        return self.fit(task).name
