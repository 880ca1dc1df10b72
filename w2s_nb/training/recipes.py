"""Recipes: hyper-parameters as one text, as a notebook's parameter takes them, and published ones.

Importing this file loads neither torch nor transformers.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable
from dataclasses import dataclass, field

from ..common.registry import UnknownName
from .hyperparameters import ON_TEXT, STOPS, choose_hyperparameters

EXAMPLE = "epochs=3, lr=8e-5, weight_decay=0.1"


@dataclass(frozen=True)
class Recipe:
    """A published way to train the models of an experiment.

    Attributes:
        method: of training.
        all_models: {hyper-parameter or "stop": value} of supervisor, student and ceiling.
        supervisor: in which the supervisor's training differs from that.
        source: where it is published.
        differs: what of it the kit does in another way.
    """

    method: str
    all_models: dict
    source: str
    differs: str
    supervisor: dict = field(default_factory=dict)


RECIPES = {
    "eleuther-w2s": Recipe(
        method="lora",
        all_models={
            "epochs": 3,
            "batch_size": 32,
            "lr": 8e-5,
            "head_lr": None,
            "weight_decay": 0.1,
            "beta2": 0.95,
            # 40 of the 469 steps of 5,000 examples, and a look every 25
            "warmup": 0.085,
            "evals": 19,
            "curve_test": 500,
            "lora_rank": 8,
            "stop": "validation",
        },
        supervisor={"lr": 5e-4},
        source="EleutherAI/w2s, run.py, and its report of June 2024: Qwen1.5-0.5B to Llama-3-8B, "
        "n_train 5000, n_val 1000, n_test 5000",
        differs="there the rate falls by a cosine, the head is random and not trained, and the "
        "checkpoint is chosen by AUC",
    ),
    "openai": Recipe(
        method="full",
        all_models={
            "epochs": 2,
            "batch_size": 32,
            "head_lr": None,
            "head_init": "zero",
            "weight_decay": 0.0,
            "warmup": 0.0,
            "evals": 1,
            "max_len": 1024,
            "stop": "last",
        },
        source="openai/weak-to-strong, train_simple.py: 5e-5 for gpt2 and gpt2-medium, 1e-5 for "
        "larger models, n_train 10000, n_test 10000",
        differs="there the rate falls by a cosine, and the epochs have one order",
    ),
}
# fields that each method reads beside those of every method that is trained in steps
_STEPS = {"epochs", "batch_size", "head_lr", "weight_decay", "beta2", "warmup", "evals"}
_EVERY = {"max_len", "curve_test", "stop"}
_FINETUNING = _STEPS | _EVERY | {"lr", "head_init"}
_READ = {
    "full": _FINETUNING,
    "lora": _FINETUNING | {"lora_rank"},
    "top": _FINETUNING | {"top_layers"},
    "probe": _STEPS | _EVERY | {"features", "head_init"},
    "logistic": _EVERY | {"features", "l2"},
}
# arguments of a fit that are a notebook's own parameters
NOT_IN_RECIPES = ("method", "micro_batch", "devices", "seed", "seeds", "loss", "alpha")


def method_of(recipe: str) -> str | None:
    """Returns the method of the published recipe that a text names; None where it names none.

    >>> method_of("eleuther-w2s, epochs=1"), method_of("epochs=1")
    ('lora', None)
    """
    published = _published(recipe)
    return RECIPES[published].method if published else None


def read_recipe(
    recipe: str,
    method: str,
    *,
    name: str = "recipe",
    supervisor: bool = False,
    on_text: bool = False,
) -> dict:
    """Reads a recipe, such as "epochs=3, lr=8e-5", or "eleuther-w2s, epochs=1"; checks its values.

    Args:
        recipe: `field=value` with commas; before them, if there is one, the name of a published
            recipe (see `RECIPES`), some of whose fields they change. Empty changes nothing.
        method: of the training that it is for.
        name: of the parameter, for errors.
        supervisor: it is for the supervisor, whose published rate is another.
        on_text: it is for answers or plain text, in whose training fewer fields play a part.
    Returns:
        {field of `Hyperparameters`, or stop: value}.
    Raises:
        UnknownName: no such published recipe.
        TypeError, ValueError: no text; a field that does not exist or that the method does not
            read; a value out of range; a published recipe of another method.
    """
    published = RECIPES.get(_published(recipe, name) or "")
    chosen: dict = {}
    if published:
        if published.method != method:
            raise ValueError(
                f"{name} {recipe!r} is of method {published.method}, and the method is {method!r}; "
                f"expected that method, or fields in place of the name, such as {EXAMPLE!r}"
            )
        chosen |= published.all_models | (published.supervisor if supervisor else {})
    chosen |= _fields(recipe.partition(",")[2] if published else recipe, name)
    readable = set(ON_TEXT) & _READ[method] if on_text else _READ[method]
    unread = [key for key in chosen if key not in readable and key not in NOT_IN_RECIPES]
    known = {key for keys in _READ.values() for key in keys}
    if unread and unread[0] in known:
        kind = "answers" if on_text else f"method {method!r}"
        raise ValueError(
            f"{name} {recipe!r} sets {unread[0]}, which plays no part for {kind}; expected some of "
            f"{', '.join(sorted(readable))}"
        )
    own = [key for key in chosen if key in NOT_IN_RECIPES]
    if own:
        raise ValueError(f"{name} {recipe!r} sets {own[0]}, which is a parameter of its own")
    stop = chosen.get("stop", "last")
    if stop not in STOPS:
        raise ValueError(f"{name} {recipe!r}: stop {stop!r}; expected one of {', '.join(STOPS)}")
    try:
        choose_hyperparameters(method, {k: v for k, v in chosen.items() if k != "stop"})
    except (TypeError, ValueError) as error:
        raise type(error)(f"{name} {recipe!r}: {error}") from None
    return chosen


def describe_recipe(fit_args: dict, recipes: Iterable[str]) -> str:
    """Returns a line about the fields that recipes set, with the source of the published ones."""
    line = ", ".join(f"{key}={value}" for key, value in fit_args.items())
    for published in dict.fromkeys(filter(None, map(_published, recipes))):
        line += f" ({RECIPES[published].source}; {RECIPES[published].differs})"
    return line


def _published(recipe: str, name: str = "recipe") -> str | None:
    """Returns the name of the published recipe that a text begins with; None if with a field."""
    if not isinstance(recipe, str):
        raise TypeError(
            f"{name} = {recipe!r} is a {type(recipe).__name__}; expected text such as {EXAMPLE!r}, "
            f"or the name of a recipe: {', '.join(RECIPES)}"
        )
    first = recipe.partition(",")[0].strip()
    if not first or "=" in first:
        return None
    if first not in RECIPES:
        raise UnknownName(f"{name}, which is no field=value either,", first, RECIPES)
    return first


def _fields(text: str, name: str) -> dict:
    """Returns {field: value} of `field=value` with commas; a value without quotes may be a word."""
    try:
        call = ast.parse(f"dict({text})", mode="eval").body
        if not isinstance(call, ast.Call) or call.args or any(k.arg is None for k in call.keywords):
            raise ValueError
        values = {str(keyword.arg): _value(keyword.value) for keyword in call.keywords}
        if len(values) < len(call.keywords):
            raise ValueError
        return values
    except (SyntaxError, ValueError):
        raise ValueError(
            f"{name} has {text.strip()!r}; expected field=value, each field once, with commas, "
            f"such as {EXAMPLE!r}"
        ) from None


def _value(node: ast.expr) -> object:
    return node.id if isinstance(node, ast.Name) else ast.literal_eval(node)
