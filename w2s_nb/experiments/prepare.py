"""Prepares an experiment: refuses what does not exist, and deals the task once per seed."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from numbers import Integral

from ..common.seeds import check_seed
from ..data.load import load_task
from ..data.splits import Split, Task
from ..inputs.activations import deepest_first
from ..losses.contract import check_loss
from ..losses.contract import loss_args as all_loss_args
from ..models.loading import ensure
from ..models.names import resolve
from ..training.answers import check_questions
from ..training.hyperparameters import PROBES
from ..training.result import labelable_splits, task_of


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
    loss_args = loss_args or {}
    for loss in (*losses, *loss_args):
        check_loss(loss, all_loss_args(loss, loss_args.get(loss)))
    checkpoints = [resolve(model) for model in models]
    for checkpoint in checkpoints:
        ensure(checkpoint)


def list_seeds(seeds: int | Iterable[int]) -> list[int]:
    """Returns seeds 0, 1, ... of a number of seeds, or the given ones, each once.

    >>> list_seeds(3), list_seeds([5, 2, 5])
    ([0, 1, 2], [5, 2])

    Raises:
        ValueError: no seed at all, or one that is no whole number from 0.
    """
    chosen: list[int] = []
    if isinstance(seeds, Integral) and not isinstance(seeds, bool):
        chosen = list(range(seeds))
    elif isinstance(seeds, Iterable) and not isinstance(seeds, str):
        chosen = list(dict.fromkeys(check_seed(seed) for seed in seeds))
    if not chosen:
        raise ValueError(f"seeds = {seeds!r}; expected how many, from 1, or a list of seeds")
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
    task = task_of(half)
    splits = [half, task.test, task.validation, *labelable_splits(half, False)]
    return deepest_first({model: splits}, fit_args.get("max_len"))
