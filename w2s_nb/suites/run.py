"""Runs the main experiment on every task of a suite, for every pair of models."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ..common.paths import data_dir
from ..common.progress import progress, warn
from ..common.registry import TASKS, MissingExtra
from ..common.seeds import check_count
from ..data.sources import DataUnavailable, has_local_files
from ..experiments.arms import Arms, plan_arms
from ..experiments.plans import carry_out, join
from ..experiments.prepare import check_names, list_losses, list_seeds
from ..models.encoders import require_kind
from ..models.loading import n_params, with_depth
from ..models.names import resolve
from ..notebook.defaults import fill
from ..notebook.parameters import AUTO, SIZES
from .by_sweep import fill_store
from .names import suite_of
from .result import SuiteResult

Pair = tuple[str, str]  # supervisor, student


def run_suite(
    suite: str | Iterable[str],
    weak: str | Iterable[str],
    strong: str | Iterable[str],
    *,
    losses: Iterable[str] = ("xent", "confidence"),
    loss_args: dict | None = None,
    seeds: int | Iterable[int] = 5,
    n_train: int | None = None,
    n_val: int | None = None,
    n_test: int | None = None,
    method: str | None = None,
    engine: str | None = None,
    jobs: int | None = None,
    address: str | None = None,
    **fit_args,
) -> SuiteResult:
    """Runs `run_arms` on each task for each pair of models; its results are read over the tasks.

    A task whose rows cannot be had here is left out, with a warning and in `SuiteResult.left_out`.
    Fits that the store holds are not trained again, so the same call goes on where one stopped.

    Args:
        suite: a name of `suites.names.SUITES`, or names of tasks with classes.
        weak, strong: one model or several; every pair is taken whose student is the larger.
        losses, loss_args: of the students, as in `run_arms`.
        seeds: how many (0, 1, ...), or which; the same on every task.
        n_train, n_val, n_test: the most examples of each split; None takes what a notebook takes
            here of the task. A task that has fewer gives what it has, in its own row of the table.
        method: of every fit; None takes probes on a CPU and finetuning that fits in memory on a
            GPU.
        engine: 'local' or 'ray': a sweep of the notebook 03_conf_loss trains first, many fits at
            once; None trains here, one after the other. Both leave the same fits.
        jobs, address: of the engine, as in `run_sweep`.
        fit_args: further arguments of `run_arms`; with an engine, weak_args and those that a
            notebook's recipe has.
    Raises:
        UnknownName, TypeError, ValueError, ModelUnavailable: as `run_arms`; a task that is answered
            by generating; no pair with the larger model as student.
        DataUnavailable: no task of the suite has its rows here.
        RuntimeError: runs of the engine's sweep failed; names their index.
    Source: Burns et al. 2023, figures 3 and 5.
    """
    tasks, left_out = choose_tasks(suite)
    loss_names = list_losses(losses)
    seed_list = list_seeds(seeds)
    pairs = _pair_up(_names("weak", weak), _names("strong", strong))
    models = list(dict.fromkeys(name for pair in pairs for name in pair))
    _check_models(models, tasks, loss_names, loss_args)
    asked = {"n_train": n_train, "n_val": n_val, "n_test": n_test}
    sizes = choose_sizes(tasks, asked, left_out)
    chosen = method or _choose_method(list(sizes), pairs)
    for task, why in left_out.items():
        warn(f"{task} is left out of the suite: {why}")
    arguments = {"losses": loss_names, "loss_args": loss_args, "method": chosen, **fit_args}
    if engine is not None:
        fill_store(sizes, pairs, seed_list, arguments, engine=engine, jobs=jobs, address=address)
    experiments: dict[tuple[str, str, str], Arms] = {}
    for task in progress(list(sizes), desc="tasks"):
        of_task: dict = {**sizes[task], **arguments}
        plans = [plan_arms(task, *pair, seeds=seed_list, **of_task) for pair in pairs]
        of_pairs = carry_out(join(plans, arguments))
        for pair, arms in zip(pairs, of_pairs, strict=True):
            experiments[task, *pair] = arms
    name = suite if isinstance(suite, str) else f"{len(tasks)} tasks"
    return SuiteResult(name, experiments, left_out)


def choose_tasks(suite: str | Iterable[str]) -> tuple[list[str], dict[str, str]]:
    """Returns the tasks of a suite, and {task: why} of those whose package is not installed.

    Args:
        suite: its name; or registered tasks, as several names or as one text with commas.
    """
    if isinstance(suite, str) and "," in suite:
        suite = [name.strip() for name in suite.split(",") if name.strip()]
    if isinstance(suite, str):
        named = suite_of(suite)
        candidates = named.where_local if data_dir() else ()
        local = [task for task in candidates if has_local_files(TASKS[task])]
        asked_for = [*named.tasks, *local]
    else:
        asked_for = _names("suite", suite)
    tasks = []
    left_out = {}
    for task in asked_for:
        try:
            spec = TASKS[task]
        except MissingExtra as error:
            left_out[task] = str(error)
            continue
        if spec.max_answer:
            raise ValueError(
                f"task {task!r} is answered by generating; expected tasks with classes, whose "
                f"results can be read together"
            )
        tasks.append(task)
    return tasks, left_out


def _names(argument: str, given: str | Iterable[str]) -> list[str]:
    """Returns one name or several as a list, each once.

    Raises:
        TypeError, ValueError: anything but names, or none.
    """
    names = [given] if isinstance(given, str) else given
    if isinstance(names, Mapping) or not isinstance(names, Iterable):
        raise TypeError(f"{argument} = {given!r}; expected a name, or a list of names")
    names = list(dict.fromkeys(names))
    for name in names:
        if not isinstance(name, str):
            raise TypeError(f"{argument} has {name!r}; expected names")
    if not names:
        raise ValueError(f"{argument} is empty; expected one name or more")
    return names


def _pair_up(weak: list[str], strong: list[str]) -> list[Pair]:
    """Returns every pair whose student is the larger; the largest students and supervisors first.

    One pass of the deepest probe then serves its shallower cuts; see `inputs.activations`.

    Raises:
        ValueError: no such pair.
    """
    size = {name: n_params(with_depth(resolve(name))) for name in {*weak, *strong}}
    pairs = [(one, other) for one in weak for other in strong if size[one] < size[other]]
    if not pairs:
        raise ValueError(
            f"no student is larger than its supervisor: weak = {', '.join(weak)}; "
            f"strong = {', '.join(strong)}"
        )
    return sorted(pairs, key=lambda pair: (-size[pair[1]], -size[pair[0]], pair))


def _check_models(
    models: list[str], tasks: list[str], losses: list[str], loss_args: dict | None
) -> None:
    """Refuses names that do not exist, and models that do not read a task's examples."""
    check_names(models, losses, loss_args)
    for task in tasks:
        for model in models:
            require_kind(resolve(model), TASKS[task])


def choose_sizes(
    tasks: list[str], asked: Mapping[str, int | None], left_out: dict[str, str]
) -> dict[str, dict[str, int]]:
    """Returns the sizes of the splits of each task whose rows are here.

    Args:
        left_out: takes {task: why} of the others.
    Raises:
        DataUnavailable: there is no task left.
    """
    given = {name: n for name, n in asked.items() if n is not None}
    for name, n in given.items():
        check_count(n, name, low=2)
    own: dict[str, dict | None] = dict.fromkeys(("cpu", "cuda"), given)
    sizes = {}
    for task in tasks:
        try:
            filled, _ = fill({"task": task, **dict.fromkeys(SIZES, 0)}, own)
        except DataUnavailable as error:
            left_out[task] = str(error)
            continue
        sizes[task] = {name: filled[name] for name in SIZES}
    if not sizes:
        raise DataUnavailable("; ".join(f"{task}: {why}" for task, why in left_out.items()))
    return sizes


def _choose_method(tasks: list[str], pairs: list[Pair]) -> str:
    """Returns the first method with which the largest models fit in memory on the longest texts."""
    longest = max(tasks, key=lambda task: TASKS[task].max_len)
    weak, strong = pairs[0]  # the largest of each
    parameters = {"task": longest, "weak": weak, "strong": strong, "method": AUTO}
    # many tasks and pairs: on a CPU, anything but probes would take days
    filled, _ = fill(parameters, {"cpu": {"method": "probe"}})
    return filled["method"]
