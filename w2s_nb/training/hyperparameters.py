"""Hyper-parameters: a default recipe a method, and what may be changed in it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace

from ..common.registry import UnknownName
from ..models.classifier import HEADS

LOOKS = 0.22  # of the cost of training, for looking at it before its end


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
        evals: checkpoints looked at for stopping: how many, evenly spaced, or after which fractions of training; the
            end is always one. None takes 4 with weak labels, 1 with ground truth.
        curve_test: test examples looked at before the end, for the curve and the oracle; at the end the test split is
            predicted whole. None takes as many as `affordable` says.
        max_len: tokens kept of a text, from its end; None takes the task's.
        head_init: 'unembedding' (rows of "0" and "1", appendix A.1) or 'zero'; None takes the paper's at full depth and
            zero for a model cut in depth, whose last layer the unembedding was not trained on: with it, embedded
            students spent half of their steps getting from 1.7 nats back to chance.
        top_layers: blocks that method 'top' trains.
        lora_rank: rank of the adapters of method 'lora'.
        features: how many of the features, from the first, a probe sees (appendix E.1); None takes all.
        l2: penalties on the weights that method 'logistic' solves for, on standardised features, from strong to weak;
            each is the inverse of scikit-learn's C. They are its checkpoints: `stop` chooses among them as it does
            among epochs. The other fields of training play no part there.
    """

    epochs: int = 2
    batch_size: int = 32
    lr: float | None = None
    head_lr: float = 1e-3
    weight_decay: float = 0.0
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
    "warmup",
    "evals",
    "max_len",
    "top_layers",
    "lora_rank",
)
PROBES = (
    "probe",
    "logistic",
)  # linear classifiers on frozen features: trained as in D.2; solved to the optimum
SHARDED = ("full", "lora")  # methods whose model several devices can share
METHODS = {
    "full": Recipe(),
    "lora": Recipe(),
    "top": Recipe(),
    "probe": Recipe(
        epochs=200, batch_size=128, head_lr=1e-3, warmup=0.01, evals=20, head_init="zero"
    ),
    "logistic": Recipe(epochs=1, evals=1, head_init="zero"),
}


def settings_of(method: str, recipe: dict) -> Recipe:
    """The recipe of a method with some fields changed.

    Raises:
        UnknownName: no such method; lists what exists.
        TypeError, ValueError: a field that a recipe does not have, or a value out of range.
    """
    if method not in METHODS:
        raise UnknownName("method", str(method), METHODS)
    unknown = sorted(set(recipe) - set(asdict(METHODS[method])))
    if unknown:
        raise TypeError(
            f"fit got {', '.join(unknown)}; a recipe has {', '.join(asdict(METHODS[method]))}"
        )
    settings = replace(METHODS[method], **recipe)
    if settings.head_init not in (None, *HEADS):
        raise ValueError(f"head_init {settings.head_init!r}; expected one of {', '.join(HEADS)}")
    if isinstance(settings.evals, (list, tuple)):
        if not settings.evals or not all(0 < at <= 1 for at in settings.evals):
            raise ValueError(
                f"evals = {settings.evals!r}; expected a number, or fractions of training in (0, 1]"
            )
        settings = replace(settings, evals=tuple(map(float, settings.evals)))
    counts = {
        "epochs",
        "batch_size",
        "evals",
        "curve_test",
        "max_len",
        "top_layers",
        "lora_rank",
        "features",
    }
    for name in sorted(counts - ({"evals"} if isinstance(settings.evals, tuple) else set())):
        value = getattr(settings, name)
        if value is not None and (not isinstance(value, int) or value < 1):
            raise ValueError(f"{name} = {value!r}; expected a whole number from 1")
    if settings.features is not None and method not in PROBES:
        raise ValueError(
            f"features = {settings.features} with method {method!r}; only a probe has them"
        )
    penalties = settings.l2 if isinstance(settings.l2, (list, tuple)) else [settings.l2]
    if not penalties or not all(isinstance(p, (int, float)) and p >= 0 for p in penalties):
        raise ValueError(
            f"l2 = {settings.l2!r}; expected a penalty from 0, or several from strong to weak"
        )
    settings = replace(settings, l2=tuple(sorted(map(float, penalties), reverse=True)))
    for name in ("lr", "head_lr", "weight_decay", "warmup"):
        value = getattr(settings, name)
        if value is not None and not (isinstance(value, (int, float)) and value >= 0):
            raise ValueError(f"{name} = {value!r}; expected a number from 0")
    return settings


def affordable(settings: Recipe, n_train: int, n_val: int, n_test: int) -> int | None:
    """Test examples that each look in training can afford: with the validation examples, all looks before the end cost
    `LOOKS` of what training computes, three forward passes an example and epoch. None is all; never fewer than 32."""
    looks = (
        settings.evals - 1
        if isinstance(settings.evals, int)
        else sum(at < 1 for at in settings.evals)
    )
    budget = LOOKS * 3 * settings.epochs * n_train / max(1, looks) - n_val
    return None if budget >= n_test else max(32, int(budget))
