"""Prepares an experiment: refuses what does not exist, and deals the task once per seed."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from numbers import Integral
from typing import cast

from ..common.progress import warn
from ..common.registry import TASKS
from ..common.seeds import MOST_SEEDS, check_seed
from ..data.load import load_task
from ..data.splits import Split, Task
from ..inputs.activations import deepest_first
from ..losses.contract import check_loss
from ..losses.contract import loss_args as all_loss_args
from ..models.encoders import require_kind
from ..models.loading import ensure, n_params, with_depth
from ..models.names import Checkpoint, resolve
from ..training.answers import check_questions
from ..training.fit import check_fit
from ..training.hyperparameters import PROBES
from ..training.language_model import Tuned
from ..training.result import own_predicted_splits

# A model by name, or a function that names one for each seed's task, such as `Tuned`.
Model = str | Callable[[Task], str]


def prepare(
    task: str,
    models: Iterable[str],
    *,
    losses: Iterable[str] = ("xent",),
    loss_args: dict[str, dict] | None = None,
    seeds: int | Iterable[int] = 1,
    n_train: int | None = None,
    n_val: int | None = None,
    n_test: int | None = None,
    extra_halves: int = 0,
) -> list[Task]:
    """Checks the names that an experiment is given and returns its task as each seed deals it.

    Args:
        task: a registered name.
        models: names of the models that take part.
        losses: names of the students' losses.
        loss_args: {loss: its keyword arguments}.
        seeds: how many (0, 1, ...), or which.
        n_train, n_val, n_test, extra_halves: as in `load_task`.
    Raises:
        UnknownName, ValueError: a name or number that does not exist; a model without tokens for
            the questions of a task that is answered by generating.
        ModelUnavailable: the weights of a model cannot be had here.
    """
    models = list(models)
    for model in models:
        require_kind(resolve(model), TASKS[task])
    check_names(models, losses, loss_args)
    tasks = [
        load_task(
            task,
            seed=seed,
            n_train=n_train,
            n_val=n_val,
            n_test=n_test,
            extra_halves=extra_halves,
        )
        for seed in list_seeds(seeds)
    ]
    _check_losses(losses, loss_args, tasks[0].test.n_classes)
    if tasks[0].test.answers:
        for model in models:
            check_questions(model, tasks[0])
    return tasks


def check_names(
    models: Iterable[str],
    losses: Iterable[str] = (),
    loss_args: dict[str, dict] | None = None,
) -> None:
    """Refuses losses, their arguments and models that do not exist; loads no weights.

    A loss that breaks the contract of losses is refused too.

    Raises:
        UnknownName, ValueError, ModelUnavailable: as `prepare`.
    """
    _check_losses(losses, loss_args)
    checkpoints = [resolve(model) for model in models]
    for checkpoint in checkpoints:
        ensure(checkpoint)


def _check_losses(
    losses: Iterable[str], loss_args: dict[str, dict] | None, n_classes: int = 2
) -> None:
    """Refuses losses that do not exist, or that break the contract on so many classes."""
    loss_args = loss_args or {}
    for loss in (*losses, *loss_args):
        check_loss(loss, all_loss_args(loss, loss_args.get(loss)), n_classes)


def name_of(model: Model) -> str:
    """Returns the name of a model, of a `Tuned` the name of what is finetuned; "" where a function
    gives it for each task.

    Raises:
        TypeError: neither a name nor a function.
    """
    if isinstance(model, str):
        return model
    if isinstance(model, Tuned):
        return model.model
    if callable(model):
        return ""
    raise TypeError(
        f"model {model!r}; expected a name, or a function of a task that gives one, such as Tuned"
    )


def need_function(given, name: str, what: str) -> None:
    """Refuses what cannot be called.

    Args:
        what: the function that is expected, such as "of a task".
    Raises:
        TypeError: says what is given and expected.
    """
    if not callable(given):
        raise TypeError(f"{name} is {given!r}; expected a function {what}")


def list_losses(losses: Iterable[str]) -> list[str]:
    """Returns the names of the students' losses, each once.

    Raises:
        TypeError: one name instead of several.
        ValueError: none.
    """
    if isinstance(losses, str):
        raise TypeError(f"losses = {losses!r}; expected several names, such as ({losses!r},)")
    names = list(dict.fromkeys(losses))
    if not names:
        raise ValueError(f"losses = {losses!r}; expected one name or more, such as ('xent',)")
    return names


def args_of(fit_args: Mapping | None, name: str, own: Mapping[str, str]) -> dict:
    """Returns the arguments that some fits of an experiment are given beside those of all.

    Args:
        name: what they are called.
        own: as of `refuse_own`.
    Raises:
        TypeError: no mapping, or an argument that the experiment gives itself.
    """
    if fit_args is None:
        return {}
    if not isinstance(fit_args, Mapping):
        raise TypeError(f"{name} = {fit_args!r}; expected {{argument of fit: value}}")
    refuse_own(fit_args, name, own)
    return dict(fit_args)


def check_fit_of(model: Model, split: Split, *, weak: bool = False, **fit_args) -> None:
    """Refuses what `fit` would refuse of a model, as far as its name is known before training.

    Args and raises: as of `check_fit`.
    """
    if name_of(model):
        check_fit(name_of(model), split, weak=weak, **fit_args)


def check_against_task(task: Task, *makers) -> None:
    """Lets models and label sets that are made in an experiment refuse its task before that.

    Args:
        makers: those with a method `check` are asked.
    """
    for maker in makers:
        if hasattr(maker, "check"):
            maker.check(task)


def refuse_own(fit_args: Mapping, name_of_args: str, own: Mapping[str, str]) -> None:
    """Refuses arguments of `fit` that an experiment gives to each fit itself.

    Args:
        name_of_args: who was given them, for the error.
        own: {argument: the experiment's own argument that decides it}.
    Raises:
        TypeError: names the first of them.
    """
    for name, instead in own.items():
        if name in fit_args:
            raise TypeError(
                f"{name_of_args} was given {name} = {fit_args[name]!r}, which {instead} decides"
            )


def tell_swapped(models: Sequence[str]) -> None:
    """Warns where a model is larger than the one after it, which it teaches.

    Args:
        models: names, the supervisor's first; "" where a name is not known.
    """
    for teacher, taught in itertools.pairwise(models):
        if teacher and taught and is_larger(resolve(teacher), resolve(taught)):
            warn(
                f"{teacher} is larger than {taught}, which it teaches: the weak model is named "
                f"first",
                stacklevel=None,  # as deep as the plan is in which it is told
            )


def is_larger(one: Checkpoint, other: Checkpoint) -> bool:
    """Tells whether one model has more layers of the same weights, or else more parameters."""
    one, other = with_depth(one), with_depth(other)
    if one.root.base == other.root.base:
        return cast(int, one.layers) > cast(int, other.layers)
    return n_params(one) > n_params(other)


def list_seeds(seeds: int | Iterable[int]) -> list[int]:
    """Returns seeds 0, 1, ... of a number of seeds, or the given ones, each once.

    >>> list_seeds(3), list_seeds([5, 2, 5])
    ([0, 1, 2], [5, 2])

    Raises:
        ValueError: no seed at all, or one that is no whole number from 0.
    """
    chosen: list[int] = []
    if isinstance(seeds, Integral) and not isinstance(seeds, bool):
        chosen = list(range(min(int(seeds), MOST_SEEDS + 1)))
    elif isinstance(seeds, Iterable) and not isinstance(seeds, (str, Mapping)):
        chosen = list(dict.fromkeys(check_seed(seed) for seed in seeds))
    if not 1 <= len(chosen) <= MOST_SEEDS:
        raise ValueError(
            f"seeds = {seeds!r}; expected how many, from 1 to {MOST_SEEDS}, or a list of seeds"
        )
    return chosen


def ceiling_reads_first(model: str, half: Split, fit_args: dict) -> AbstractContextManager:
    """Lets a ceiling's model read its texts before the shallower cuts of it that are trained first.

    One pass of the deepest probed model then serves them all; see `deepest_first`.

    Args:
        model: of the ceiling.
        half: the examples that the ceiling is trained on.
        fit_args: of its `fit`; methods that train the model itself read nothing in advance.
    """
    if fit_args.get("method") not in PROBES:
        return nullcontext()
    splits = [half, *own_predicted_splits(half, False), *fit_args.get("also", ())]
    return deepest_first({model: splits}, fit_args.get("max_len"))
