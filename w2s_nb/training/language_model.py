"""Trains language models on texts, and finetunes them on a task's texts (section 5.2.2).

In generative finetuning a model learns a task's texts as text, without labels, before it is taught.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace

import numpy as np
import pandas as pd
import torch

from ..common import store
from ..common.device import computing_versions, device, precision
from ..common.out_of_memory import explain_out_of_memory
from ..common.seeds import check_seed
from ..data.classes import likeliest
from ..data.splits import Split, Task
from ..inputs import activations
from ..inputs import batches as inputs_module
from ..inputs.batches import NextTokens, Sequences, TokenInputs
from ..inputs.tokens import Tokens, tokenize
from ..labels.soft import SoftLabels
from ..metrics.estimate import Estimate, of_means
from ..models import anatomy, classifier, loading
from ..models.classifier import trainable
from ..models.encoders import require_kind
from ..models.language import LanguageModel
from ..models.loading import digest, require_unembedding, with_depth
from ..models.names import Checkpoint, resolve
from ..models.shared import own_trained
from . import loop
from .device_memory.check import SHORT
from .device_memory.of_fit import check_memory_of_fit, micro_batch_of_texts
from .hyperparameters import (
    METHODS,
    ON_TEXT,
    PROBES,
    Hyperparameters,
    check_micro_batch,
    choose_hyperparameters,
    default_lr,
)
from .result import task_of
from .speed import tell as tell_speed

HELD_OUT = 50  # test examples whose perplexity is measured


@dataclass(frozen=True, eq=False)
class LanguageFit:
    """A language model finetuned on texts.

    Attributes:
        address, record: as of a `Fit`.
        held_out: a row per test example: id, group, tokens, and the nats of its texts before and
            after finetuning.
        curve: rows (step, progress, train_loss); the loss is in nats per token.
    """

    address: str
    record: dict
    held_out: pd.DataFrame
    curve: pd.DataFrame

    def __repr__(self) -> str:
        summary = self.record["summary"]
        return f"LanguageFit({summary['model']}, {summary['task']}, seed {summary['seed']})"

    @property
    def name(self) -> str:
        """The name of the finetuned model, for every argument that takes a model's name."""
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
    """Finetunes a language model on the texts of a split, or finds that model in the store.

    Labels play no part. The loss of a batch is the sum of the losses of its real tokens, each
    predicted from those before it, divided by the tokens that a batch has on average. So every
    token of the split counts the same, whatever batch it is in.

    Args:
        model: a name that `models.resolve` takes.
        split: examples; of pairs both texts are learned, as in the paper.
        chosen: labels of pairs; only the text that they prefer is learned.
        method: 'full' (every weight, a tied or untied unembedding too), 'lora' or 'top' (see
            `models.trainable`).
        held_out: test examples whose perplexity is measured before and after, and stored.
        micro_batch: texts in one pass; None takes on a GPU what fits in its memory, on a CPU what
            `loop.LM_TOKENS` allows. It changes memory and speed, not the result.
        hyperparameters: fields of `Hyperparameters` that differ from `METHODS[method]`, among
            `hyperparameters.ON_TEXT`. One epoch is the default: the paper states none.
    Raises:
        UnknownName, TypeError, ValueError: a name or value that does not exist, before any model
            is loaded.
        ModelUnavailable: the weights cannot be had here.
    Source: Burns et al. 2023, section 5.2.2.
    """
    checkpoint = resolve(model)
    task = task_of(split)
    settings = choose_lm_settings(
        method=method, seed=seed, held_out=held_out, micro_batch=micro_batch, **hyperparameters
    )
    _check_chosen(split, chosen)
    require_kind(checkpoint, task.spec)
    checkpoint = with_depth(checkpoint)
    require_unembedding(checkpoint, "finetune_lm")
    max_len = task.max_len if settings.max_len is None else settings.max_len
    settings = complete_hyperparameters(settings, method, checkpoint, max_len=max_len, evals=10)
    settings = _without_unused_fields(settings, method)
    measured = _sample_of_test(task.test, held_out)
    train_texts = _as_single_texts(split, None if chosen is None else chosen.for_split(split))
    train_tokens = tokenize(train_texts, checkpoint, max_len)
    test_tokens = tokenize(_as_single_texts(measured), checkpoint, max_len)
    _check_lengths(checkpoint, train_tokens, test_tokens)
    config = _config(checkpoint, method, settings, seed, train_tokens, test_tokens)

    def make():
        longest = int(train_tokens.lengths.max())
        n_texts = _texts_in_a_pass(checkpoint, method, settings, micro_batch, longest)
        finetuning = f"finetuning {checkpoint.name} on texts by method {method!r}"
        with explain_out_of_memory(finetuning, loop.LESS_PER_PASS):
            weights, curve, before, after = _train(
                checkpoint, method, settings, train_tokens, test_tokens, seed, n_texts
            )
        table = _held_out_table(measured, before, after)
        record = {
            "config": config,
            "metrics": _perplexities(table),
            "stop": "last",
            "trained_on": split.ids.tolist(),
            "summary": _summary(checkpoint, split, chosen, method, seed, len(measured))
            | {"lr": settings.lr},
        }
        return record, table, curve, weights

    address = store.address(config)
    return LanguageFit(address, *store.get_or_make(address, make))


def choose_lm_settings(
    *,
    method: str = "full",
    seed: int = 0,
    held_out: int = HELD_OUT,
    micro_batch: int | None = None,
    **hyperparameters,
) -> Hyperparameters:
    """Checks what `finetune_lm` is told beside model and texts, and returns its hyper-parameters.

    Args: as of `finetune_lm`.
    Raises:
        UnknownName, TypeError, ValueError: a name or value that does not exist.
    """
    check_seed(seed)
    check_micro_batch(micro_batch)
    if isinstance(held_out, bool) or not isinstance(held_out, int) or held_out < 2:
        raise ValueError(
            f"held_out = {held_out!r}; expected a whole number of test examples from 2"
        )
    return choose_text_hyperparameters(method, {"epochs": 1}, hyperparameters)


def choose_text_hyperparameters(method: str, defaults: dict, changes: dict) -> Hyperparameters:
    """Returns the hyper-parameters of a training on text.

    Args:
        defaults: fields in which this kind of training, or its task, differs from
            `METHODS[method]`.
        changes: fields that the caller sets.
    Raises:
        UnknownName, TypeError, ValueError: as `choose_hyperparameters`; a method that trains no
            language model; a field that plays no part in training on text.
    """
    if method in PROBES:
        raise ValueError(
            f"method {method!r} trains a classifier, not a language model; expected full, lora or "
            f"top"
        )
    settings = choose_hyperparameters(method, defaults | changes)
    unused = sorted(set(changes) - set(ON_TEXT))
    if unused:
        raise TypeError(
            f"training on text does not use {', '.join(unused)}; expected some of "
            f"{', '.join(ON_TEXT)}"
        )
    return settings


def complete_hyperparameters(
    settings: Hyperparameters, method: str, checkpoint: Checkpoint, *, max_len: int, evals: int
) -> Hyperparameters:
    """Returns hyper-parameters with `max_len` set, and with lr and evals where they are None.

    The learning rate is then the model's own, ten times that for LoRA.
    """
    lr = settings.lr
    if lr is None:  # 0 is a rate
        lr = default_lr(checkpoint, method)
    evals_chosen = evals if settings.evals is None else settings.evals
    return replace(settings, max_len=max_len, lr=lr, evals=evals_chosen)


def _without_unused_fields(settings: Hyperparameters, method: str) -> Hyperparameters:
    """Sets a field that the method does not read to its default, so that it changes no address."""
    unused = {"top": "lora_rank", "lora": "top_layers"}.get(method)
    if unused is None:
        return settings
    return replace(settings, **{unused: getattr(METHODS[method], unused)})


def _check_chosen(split: Split, chosen: SoftLabels | None) -> None:
    if chosen is not None and not isinstance(chosen, SoftLabels):
        raise TypeError(f"chosen is a {type(chosen).__name__}; expected SoftLabels of the pairs")
    if chosen is not None and split.arity != 2:
        raise ValueError(
            f"chosen= picks one of two texts; {task_of(split).name} has one text per example"
        )


def _check_lengths(checkpoint: Checkpoint, *tokens: Tokens) -> None:
    """Checks that there are tokens to predict, and that the model's context holds every text."""
    longest = [int(each.lengths.max()) for each in tokens]
    if min(longest) < 2:
        raise ValueError("every text has one token; there is nothing to predict")
    loading.require_context(checkpoint, max(longest), "Give a smaller max_len.")


def _sample_of_test(test: Split, n: int) -> Split:
    """Returns the n test examples whose texts are measured, the same for every seed and model."""
    rows = np.random.default_rng(0).permutation(len(test))[:n]
    return test.take(np.sort(rows))


def _as_single_texts(split: Split, probs: np.ndarray | None = None) -> Split:
    """Returns the texts of a split as examples of one text each.

    Args:
        probs: (n, 2) labels of pairs, of which only the text that they prefer is kept; None keeps
            every text.
    """
    examples = split.texts
    if probs is not None:
        preferred = likeliest(probs)
        examples = tuple((texts[i],) for texts, i in zip(examples, preferred, strict=True))
    texts = [text for example in examples for text in example]
    ids = np.array([hashlib.sha256(text.encode()).hexdigest()[:16] for text in texts])
    return replace(
        split,
        ids=ids,
        texts=tuple((text,) for text in texts),
        hard_label=np.zeros(len(ids), dtype=np.int64),
        group=np.arange(len(ids)),
    )


def _fingerprint(tokens: Tokens) -> str:
    return hashlib.sha256("".join(tokens.keys).encode()).hexdigest()[:16]


def _config(
    checkpoint: Checkpoint,
    method: str,
    settings: Hyperparameters,
    seed: int,
    train_tokens: Tokens,
    test_tokens: Tokens,
) -> dict:
    """Returns everything that decides a `LanguageFit`, and so its address."""
    return {
        "model": digest(checkpoint),
        "layers": checkpoint.layers,
        "method": method,
        "hyperparameters": asdict(settings),
        "objective": "language model",
        "seed": seed,
        "precision": precision(),
        "versions": computing_versions(),
        "keep_weights": "last",
        "trunk_gb": activations.trunk_limit() if method == "top" else None,
        "texts": [_fingerprint(train_tokens), _fingerprint(test_tokens)],
        "code": code(),
    }


def _held_out_table(measured: Split, before: np.ndarray, after: np.ndarray) -> pd.DataFrame:
    """Returns `LanguageFit.held_out` from nats and tokens (n * k, 2) of n examples' k texts."""
    texts = pd.DataFrame(
        {
            "row": np.arange(len(measured)).repeat(measured.arity),
            "tokens": before[:, 1],
            "before": before[:, 0],
            "after": after[:, 0],
        }
    )
    examples = texts.groupby("row").sum()
    return examples.assign(split="test", id=measured.ids, group=measured.group)


def _perplexities(held_out: pd.DataFrame) -> dict[str, float]:
    tokens = held_out.tokens.sum()
    return {
        "perplexity_before": float(np.exp(held_out.before.sum() / tokens)),
        "perplexity_after": float(np.exp(held_out.after.sum() / tokens)),
    }


def _summary(
    checkpoint: Checkpoint,
    split: Split,
    chosen: SoftLabels | None,
    method: str,
    seed: int,
    n_test: int,
) -> dict:
    """Returns the part of a record that `store.results` shows."""
    return {
        "task": task_of(split).name,
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
        "n_test": n_test,
    }


@functools.cache
def code() -> str:
    """Returns the version of the code that decides what `finetune_lm` learns and measures."""
    return training_code() + store.code_version(_train, _texts_in_a_pass)


@functools.cache
def training_code() -> str:
    """Returns the version of the code that decides how a language model is trained on text."""
    return activations.code() + store.code_version(
        LanguageModel,
        train_language_model,
        load_trainable,
        sequences,
        loop,
        inputs_module,
        classifier.trainable,
        anatomy,
    )


def _texts_in_a_pass(
    checkpoint: Checkpoint,
    method: str,
    settings: Hyperparameters,
    micro_batch: int | None,
    longest: int,
) -> int | None:
    """Returns how many texts a pass of training takes, of up to `longest` tokens each.

    Args:
        micro_batch: what the caller asks for, which is kept.
    Returns:
        None for the whole batch.
    Raises:
        OutOfMemory: not even one text at a time fits.
    """
    tokens = {"tokens": longest, "predicted": longest}
    if device().type == "cuda":
        return micro_batch_of_texts(checkpoint, method, settings, micro_batch, **tokens)
    micro_batch_of_texts(checkpoint, method, settings, 1, **tokens)  # refuses what does not fit
    affordable = loop.LM_TOKENS["cpu"] // longest
    return micro_batch or max(1, min(settings.batch_size, affordable))


def _train(
    checkpoint: Checkpoint,
    method: str,
    settings: Hyperparameters,
    train_tokens: Tokens,
    test_tokens: Tokens,
    seed: int,
    micro_batch: int | None,
) -> tuple[dict[str, torch.Tensor], pd.DataFrame, np.ndarray, np.ndarray]:
    """Trains a language model on texts, and measures it on others before and after.

    Returns:
        The trained tensors; the curve, as `LanguageFit` has it; nats and tokens (n, 2) of the test
        texts before and after training.
    """
    torch.manual_seed(seed)
    both = sequences(checkpoint, method, settings, train_tokens, test_tokens)
    train_texts, test_texts = (
        NextTokens(texts, tokens.ids)
        for texts, tokens in zip(both, (train_tokens, test_tokens), strict=True)
    )
    net = load_trainable(checkpoint, method, settings)
    before = loop.lm_losses(net, test_texts)
    curve = []

    def record(step: int, progress: float, train_loss: float, nats_per_token: float) -> None:
        curve.append({"step": step, "progress": progress, "train_loss": nats_per_token})

    train_language_model(
        net,
        train_texts,
        settings,
        seed=seed,
        evaluate=record,
        label=f"{checkpoint.name} on text, seed {seed}",
        tokens_per_text=float(np.mean(train_tokens.lengths - 1)),
        micro_batch=micro_batch,
    )
    after = loop.lm_losses(net, test_texts)
    return loop.copy_weights(net), pd.DataFrame(curve), before, after


def load_trainable(checkpoint: Checkpoint, method: str, settings: Hyperparameters) -> LanguageModel:
    """Loads a checkpoint as a language model of which a method's weights can be trained.

    Method 'full' trains the unembedding too.
    """
    lm, body = trainable(
        checkpoint,
        method,
        top_layers=settings.top_layers,
        lora_rank=settings.lora_rank,
    )
    net = LanguageModel(body, lm)
    net.unembedding.requires_grad_(method == "full")
    net.to(device())
    own_trained(net)
    return net


def sequences(
    checkpoint: Checkpoint, method: str, settings: Hyperparameters, *tokens_of: Tokens
) -> Sequence[Sequences]:
    """Returns the texts of each split as the model of `load_trainable` takes them.

    They are token ids; for method 'top', the activations of the frozen blocks below those trained.
    """
    if method != "top":
        return [TokenInputs(tokens) for tokens in tokens_of]
    layers = checkpoint.layers or 0  # never None in a checkpoint with depth
    depth = max(0, layers - settings.top_layers)
    return activations.trunk_inputs(checkpoint, depth, tokens_of)


def train_language_model(
    net: LanguageModel,
    texts: NextTokens,
    settings: Hyperparameters,
    *,
    seed: int,
    evaluate: Callable[[int, float, float, float], None],
    label: str,
    tokens_per_text: float | None = None,
    micro_batch: int | None = None,
) -> None:
    """Trains, in place, a language model on the next tokens of texts.

    Args:
        seed: of the order of batches.
        evaluate: called as `evaluate(step, progress, train_loss, nats_per_token)`, both of the
            batches since the call before: the mean loss of a batch, and the mean over all tokens
            that were predicted.
        label: of the progress bar and of errors.
        tokens_per_text: number by which the nats of a text are divided to give its loss; None takes
            their sum.
        micro_batch: as in `loop.train`.
    Raises: as `loop.train`.
    """
    scores_of_steps: list[torch.Tensor] = []

    def loss(scores, targets, *, progress):
        nats = scores[:, 0]
        return nats if tokens_per_text is None else nats / tokens_per_text

    def evaluate_since_last(step: int, progress: float, train_loss: float) -> None:
        nats, tokens = torch.cat(scores_of_steps).cpu().double().sum(dim=0).tolist()
        evaluate(step, progress, train_loss, nats / max(tokens, 1))
        scores_of_steps.clear()

    no_targets = np.zeros((len(texts), 1))
    speed = loop.train(
        net,
        texts,
        no_targets,
        loss,
        settings,
        seed=seed,
        evaluate=evaluate_since_last,
        micro_batch=micro_batch,
        after_step=scores_of_steps.append,
        label=label,
    )
    tell_speed(label, speed)


def perplexity(fits: LanguageFit | Sequence[LanguageFit]) -> dict[str, Estimate]:
    """Computes the perplexity on held-out texts, over all tokens of several seeds together.

    Returns:
        'before' and 'after' finetuning, and their ratio 'after / before', paired.
    Raises:
        TypeError: anything but one or several `LanguageFit`.
        ValueError: none, or fits that were measured on different texts.
    """
    fits = fits if isinstance(fits, (list, tuple)) else [fits]  # type: ignore[list-item]
    _check_fits(fits)
    group = fits[0].held_out.group.to_numpy()
    before, after, tokens = (
        np.stack([fit.held_out[column].to_numpy(dtype=float) for fit in fits])
        for column in ("before", "after", "tokens")
    )

    def exp_of_means(function: Callable, *arrays: np.ndarray) -> Estimate:
        return of_means(lambda *means: np.exp(function(*means)), *arrays, group=group)

    def difference_per_token(after, before, tokens):
        return (after - before) / tokens

    return {
        "before": exp_of_means(np.divide, before, tokens),
        "after": exp_of_means(np.divide, after, tokens),
        "after / before": exp_of_means(difference_per_token, after, before, tokens),
    }


def _check_fits(fits: Sequence[LanguageFit]) -> None:
    if not fits:
        raise ValueError("no fit given; expected one or several of finetune_lm")
    for one_fit in fits:
        if not isinstance(one_fit, LanguageFit):
            raise TypeError(
                f"fits has a {type(one_fit).__name__}; expected a LanguageFit of finetune_lm"
            )
        if one_fit.held_out.id.tolist() != fits[0].held_out.id.tolist():
            raise ValueError(
                f"{one_fit!r} and {fits[0]!r} were measured on different texts; expected the same "
                f"task, n_test and held_out"
            )


@dataclass(frozen=True)
class Tuned:
    """A model that is first finetuned, for each seed, on the texts of that seed's own half.

    `run_arms` takes it in the place of a model's name.

    Attributes:
        model: a name that `models.resolve` takes.
        half: 'student' or 'supervisor', the split whose texts are learned.
        chosen: (task, None) -> labels that choose one text of each pair, such as `taught_by(...)`;
            None learns both.
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
        if self.chosen is not None and not callable(self.chosen):
            raise TypeError(
                f"chosen is a {type(self.chosen).__name__}; expected a function of a task that "
                f"gives labels, such as taught_by(...)"
            )
        if not isinstance(self.args, dict):
            raise TypeError(f"args = {self.args!r}; expected {{argument of finetune_lm: value}}")
        for name in ("chosen", "seed"):
            if name in self.args:
                raise TypeError(f"args has {name}, which is set for each task; leave it out")
        choose_lm_settings(**self.args)

    def check(self, task: Task) -> None:
        """Refuses what `fit` would refuse for a task before it trains; loads no weights.

        Raises: as `finetune_lm`.
        """
        checkpoint = with_depth(resolve(self.model))
        require_unembedding(checkpoint, "finetune_lm")
        chosen = replace(choose_lm_settings(**self.args), max_len=SHORT)
        method = self.args.get("method", "full")
        check_memory_of_fit(checkpoint, task.test, method, chosen, on_text=True)
        if self.chosen is not None and task.spec.arity != 2:
            raise ValueError(
                f"chosen= picks one of two texts; {task.name} has one text per example"
            )

    def __str__(self) -> str:
        return f"{self.model}, on text"

    def fit(self, task: Task) -> LanguageFit:
        """Finetunes the model for the seed of a task, or finds it in the store."""
        return finetune_lm(
            self.model,
            getattr(task, self.half),
            chosen=self.chosen and self.chosen(task, None),
            seed=task.seed,
            **self.args,
        )

    def __call__(self, task: Task) -> str:
        return self.fit(task).name
