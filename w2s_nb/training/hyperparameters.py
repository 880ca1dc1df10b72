"""Hyper-parameters: the defaults of every training method, and the checks of changed values."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

from ..common.progress import warn
from ..common.registry import UnknownName
from ..common.seeds import check_count, check_number
from ..models.names import HEADS, Checkpoint

# The checkpoints whose predictions are stored: after the last step; best on the labels of the
# validation split; best on the test split, which looks at its true labels. `Fit.stops` says which
# of them a fit has.
STOPS = ("last", "validation", "oracle")
# evaluations of a finetuning that may stop before its end
LOOKS = 4


@dataclass(frozen=True)
class Hyperparameters:
    """Hyper-parameters of one training.

    The paper states 2 epochs and batch 32, and for probes (appendix D.2) Adam at 1e-3, batch 128,
    200 epochs and no weight decay. Where it is silent the values are ours.

    Attributes:
        epochs: passes over the training split.
        batch_size: examples per optimiser step; thresholds over a batch see all of it.
        lr: learning rate of the body; None takes the model's own (ten times that for LoRA).
        head_lr: learning rate of the head; None takes the body's.
        weight_decay: of AdamW.
        beta2: of AdamW, the decay of its average of squared gradients.
        warmup: fraction of the steps over which the learning rate rises from 0; it then falls
            linearly to 0.
        evals: number of evaluations during training, evenly spaced, or the fractions of training
            after which they happen; the last one is always at the end. None takes 4 with weak
            labels, or where a stop other than 'last' is asked for; else 1.
        curve_test: test examples of the curve, drawn at random, the same at each evaluation. None
            takes all of them. With fewer, a fit has no oracle.
        max_len: tokens kept of a text, from its end; None takes the task's number.
        head_init: 'unembedding' (rows of the tokens "0", "1" and so on, one for each class,
            appendix A.1) or 'zero'. None takes the paper's choice at full depth, and zero where the
            tokenizer lacks one of these tokens or the model is cut in depth: the unembedding was
            not trained on its last layer, and with it students of the embedded model spent half of
            their steps on the way from 1.7 nats back to chance.
        top_layers: blocks that method 'top' trains.
        lora_rank: rank of the adapters of method 'lora'.
        features: number of features that a probe sees, from the first (appendix E.1); None takes
            all.
        l2: penalties on the weights that method 'logistic' solves for, on standardised features,
            from strong to weak; each is the inverse of scikit-learn's C. They are its checkpoints:
            `stop` chooses among them as it does among evaluations. Method 'logistic' uses no other
            field of training.
    """

    epochs: int = 2
    batch_size: int = 32
    lr: float | None = None
    head_lr: float | None = 1e-3
    weight_decay: float = 0.0
    beta2: float = 0.999
    warmup: float = 0.1
    evals: int | tuple[float, ...] | None = None
    curve_test: int | None = None
    max_len: int | None = None
    head_init: str | None = None
    top_layers: int = 4
    lora_rank: int = 8
    features: int | None = None
    l2: float | tuple[float, ...] = (1e4, 1e3, 1e2, 10.0, 1.0)


# the fields that count where a model learns text
ON_TEXT = (
    "epochs",
    "batch_size",
    "lr",
    "weight_decay",
    "beta2",
    "warmup",
    "evals",
    "max_len",
    "top_layers",
    "lora_rank",
)
# linear classifiers on frozen features: trained as in appendix D.2, or solved to the optimum
PROBES = ("probe", "logistic")
# methods whose model several devices can share
SHARDED = ("full", "lora")
METHODS = {
    "full": Hyperparameters(),
    "lora": Hyperparameters(),
    "top": Hyperparameters(),
    "probe": Hyperparameters(
        epochs=200, batch_size=128, head_lr=1e-3, warmup=0.01, evals=20, head_init="zero"
    ),
    "logistic": Hyperparameters(epochs=1, evals=1, head_init="zero"),
}
_WHOLE_NUMBERS = (
    "batch_size",
    "curve_test",
    "epochs",
    "evals",
    "features",
    "lora_rank",
    "max_len",
    "top_layers",
)
# numbers from 0, each with the greatest value that it may have
_NUMBERS = {
    "lr": math.inf,
    "head_lr": math.inf,
    "weight_decay": math.inf,
    "beta2": 1 - 1e-6,
    "warmup": 1.0,
}
_MAY_BE_NONE = {field.name for field in fields(Hyperparameters) if field.default is None}


def choose_hyperparameters(method: str, changes: dict) -> Hyperparameters:
    """Returns the default hyper-parameters of a method with some fields changed.

    Raises:
        UnknownName: no such method; lists what exists.
        TypeError: no such field; lists what exists.
        ValueError: a value out of range.
    """
    if not isinstance(method, str) or method not in METHODS:
        raise UnknownName("method", str(method), METHODS)
    known = [field.name for field in fields(Hyperparameters)]
    unknown = sorted(set(changes) - set(known))
    if unknown:
        raise TypeError(
            f"unknown hyper-parameter {', '.join(unknown)}; expected some of {', '.join(known)}"
        )
    chosen = replace(METHODS[method], **changes)
    if chosen.head_init not in (None, *HEADS):
        raise ValueError(f"head_init {chosen.head_init!r}; expected one of {', '.join(HEADS)}")
    if isinstance(chosen.evals, (list, tuple)):
        chosen = replace(chosen, evals=_fractions(chosen.evals))
    _check_whole_numbers(chosen)
    if chosen.features is not None and method not in PROBES:
        raise ValueError(
            f"features = {chosen.features} with method {method!r}; only a probe has them"
        )
    chosen = replace(chosen, l2=_penalties(chosen.l2))
    # a probe trains no body, whose rate its head could take
    may_be_none = _MAY_BE_NONE | (set() if method in PROBES else {"head_lr"})
    for name, most in _NUMBERS.items():
        value = getattr(chosen, name)
        if value is not None or name not in may_be_none:
            check_number(value, name, high=most)
    return chosen


def default_lr(checkpoint: Checkpoint, method: str) -> float:
    """Returns a method's learning rate for a model, ten times that of full finetuning for LoRA.

    Warns where it is a fallback, the rate of models of that size.

    Args:
        checkpoint: as `with_depth` returns it.
    Raises:
        ValueError: the model's configuration is not read yet.
    """
    if checkpoint.lr is None:
        raise ValueError(f"{checkpoint.name}: its learning rate is not read yet; see with_depth")
    lr = checkpoint.lr * (10 if method == "lora" else 1)
    if checkpoint.lr_note and method not in PROBES:
        warn(
            f"{checkpoint.name}: {checkpoint.lr_note}; method {method!r} takes {lr:g}, as models "
            f"of that size do. Another is set by lr="
        )
    return lr


def stored_lr(config: dict) -> float | None:
    """Returns the body's learning rate in a fit; None in a probe's, which trains no body.

    Args:
        config: everything that decided the fit, as in its record.
    """
    return None if config["method"] in PROBES else config["hyperparameters"]["lr"]


def check_micro_batch(micro_batch: int | None) -> None:
    """Checks the number of examples in one pass on a device; None leaves it to training.

    Raises:
        ValueError: it is neither None nor a whole number from 1.
    """
    if micro_batch is not None:
        check_count(micro_batch, "micro_batch")


def _fractions(evals: Sequence[float]) -> tuple[float, ...]:
    """Returns the fractions of training after which a model is evaluated, checked."""
    if not evals or not all(_is_number(each) and 0 < each <= 1 for each in evals):
        raise ValueError(
            f"evals = {evals!r}; expected a number, or fractions of training in (0, 1]"
        )
    return tuple(float(fraction) for fraction in evals)


def _penalties(l2: float | Sequence[float]) -> tuple[float, ...]:
    """Returns the penalties of method 'logistic', checked, from strong to weak."""
    penalties: Sequence = l2 if isinstance(l2, (list, tuple)) else [l2]
    if not penalties or not all(_is_number(p) and 0 <= p for p in penalties):
        raise ValueError(f"l2 = {l2!r}; expected a penalty from 0, or several from strong to weak")
    return tuple(sorted(map(float, penalties), reverse=True))


def _is_number(value) -> bool:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return is_number and math.isfinite(value)


def _check_whole_numbers(chosen: Hyperparameters) -> None:
    for name in _WHOLE_NUMBERS:
        value = getattr(chosen, name)
        if name == "evals" and isinstance(value, tuple):
            continue
        if value is not None or name not in _MAY_BE_NONE:
            check_count(value, name)
