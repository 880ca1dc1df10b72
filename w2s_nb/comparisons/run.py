"""Runs methods on tasks: one supervisor per task and seed, and every method on its labels."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack, nullcontext

import numpy as np

from ..common.progress import collect_warnings, progress, warn
from ..common.registry import TASKS, UnknownName
from ..data.splits import Task
from ..experiments.prepare import args_of, ceiling_reads_first, check_fit_of, list_seeds, prepare
from ..labels.soft import SoftLabels
from ..suites.names import SUITES
from ..suites.run import choose_sizes, choose_tasks
from ..training.fit_many import FitArgs, fit_many
from ..training.result import Fit
from .ahead import train_ahead
from .methods import NAIVE, Budget, Method, check_predictions, describe, method_of
from .result import Comparison, MethodRun, TaskRuns
from .scorer import check_limits, check_sealed, public_half, sealed_runner

FREE = ("supervisor", "constant", "longest", "shuffled_labels")
# arguments of `fit` that compare gives each fit, and its own argument that decides them
_OWN = {
    "model": "weak and strong",
    "split": "suite",
    "labels": "methods",
    "seed": "seeds=",
    "loss": "methods",
    "loss_args": "methods",
}

# Runs one method: (method, labels, task, strong, seed, arguments of fit) -> what it left.
Runner = Callable[[Method, SoftLabels, Task, str, int, dict], MethodRun]


def compare(
    methods: Iterable[str],
    suite: str | Iterable[str],
    weak: str,
    strong: str,
    *,
    seeds: int | Iterable[int] = 5,
    n_train: int | None = None,
    n_val: int | None = None,
    n_test: int | None = None,
    method: str = "probe",
    own_ceilings: bool = True,
    queries: int | None = None,
    time_limit: float | None = None,
    weak_args: dict | None = None,
    strong_args: dict | None = None,
    **fit_args,
) -> Comparison:
    """Runs methods on the same labels, and compares each with naive finetuning, paired.

    Per task and seed a supervisor is trained on ground truth of its half, and a ceiling on that of
    the student half. Each method gets the supervisor's labels and predicts the test texts. Rows
    that cost nothing are added: the supervisor itself, a constant, the longest text, and shuffled
    labels. A method that raises is told in the table, and the others go on. Fits that the store
    holds are not trained again. Probes of all methods and seeds of a task are trained together as
    far as methods say them ahead (see `register_method`); their seconds are their share.

    Args:
        methods: names, of `METHODS` or of losses, with options as in `confident@0.3`; naive is
            added.
        suite: a suite, a task, or several tasks with classes, as names or as a text with commas.
        weak, strong: models by name.
        seeds, n_train, n_val, n_test: as in `run_suite`.
        method: of every fit.
        own_ceilings: run each method that learns from labels on ground truth of the student half
            too, so that it has a ceiling of its own.
        queries: seals the comparison: every method runs in a process that does not have the truth
            (see `scorer`), and may ask so many times how accurate it is on half of the test, the
            public half. All numbers of the table are then of the other half. None runs methods in
            this process, without questions. Methods and tasks of your own must be in a plug-in.
        time_limit: seconds that a method may take per task and seed in a sealed comparison, after
            which its process is ended and its row says so; None sets no limit.
        weak_args, strong_args: arguments, beside fit_args, of the supervisor's `fit`, and of all
            others.
        fit_args: of every `fit`, such as epochs.
    Raises:
        UnknownName, TypeError, ValueError, ModelUnavailable: before anything is trained.
        DataUnavailable: no task has its rows here.
    """
    chosen = _list_methods(methods)
    check_limits(queries, time_limit)
    shared = {"method": method, **fit_args}
    supervisor_args = shared | args_of(weak_args, "weak_args", _OWN)
    student_args = args_of(shared, "compare", _OWN) | args_of(strong_args, "strong_args", _OWN)
    asked = {"n_train": n_train, "n_val": n_val, "n_test": n_test}
    dealt = _deal(suite, weak, strong, list_seeds(seeds), asked)
    for tasks in dealt.values():
        for each in chosen:
            each.check(tasks[0], strong, student_args, queries)
    _refuse_twins(chosen, strong)
    if queries is not None:
        check_sealed(strong, chosen, [tasks[0] for tasks in dealt.values()])
    for tasks in dealt.values():
        check_fit_of(weak, tasks[0].supervisor, **supervisor_args)
        check_fit_of(strong, tasks[0].student, **student_args)
    runs = {}
    with nullcontext(run_method) if queries is None else sealed_runner(queries, time_limit) as run:
        for name in progress(list(dealt), desc="tasks"):
            runs[name] = _run_task(
                dealt[name], weak, strong, chosen, supervisor_args, student_args, own_ceilings, run
            )
    settings: dict = {"supervisor": supervisor_args, "others": student_args}
    if queries is not None:
        settings["queries"] = queries
    return Comparison(weak, strong, runs, settings)


def run_method(
    method: Method, labels: SoftLabels, task: Task, strong: str, seed: int, fit_args: dict
) -> MethodRun:
    """Runs a method in this process, where it could read the truth of the test.

    Args:
        labels, task, strong, seed: as a method takes them.
        fit_args: of every fit of the method.
    Returns:
        Its predictions; or the error that it raised, or that they are no predictions.
    """
    budget = Budget(fit_args)
    started = time.perf_counter()
    try:
        with collect_warnings():
            probs = check_predictions(method(labels, task, strong, seed, budget), task.test)
    except (Exception, SystemExit) as error:  # whatever a method does, the others go on
        return MethodRun(None, time.perf_counter() - started, error=describe(error))
    return MethodRun(probs, time.perf_counter() - started + budget.seconds_saved)


def _list_methods(methods: Iterable[str]) -> list[Method]:
    """Returns naive, the methods that are named, each once, and the rows that cost nothing.

    Raises:
        TypeError: one name instead of several.
        UnknownName, ValueError: as `method_of`.
    """
    if isinstance(methods, str) or not isinstance(methods, Iterable):
        raise TypeError(f"methods = {methods!r}; expected several names, such as ['confidence']")
    named = [method_of(name) for name in (NAIVE, *methods, *FREE)]
    chosen: dict[str, Method] = {}
    for method in named:  # the first of a name: naive is xent too
        chosen.setdefault(method.name, method)
    return list(chosen.values())


def _refuse_twins(methods: Iterable[Method], strong: str) -> None:
    """Refuses two names of one method, which would count as two for Holm's correction.

    Raises:
        ValueError: names both, and the method that they are.
    """
    names: dict[str, str] = {}
    for method in methods:
        canonical = method.canonical(strong)
        first = names.setdefault(canonical, method.name)
        if first != method.name:
            raise ValueError(
                f"{first!r} and {method.name!r} are one method, {canonical}; expected each once"
            )


def _deal(
    suite: str | Iterable[str],
    weak: str,
    strong: str,
    seeds: list[int],
    asked: dict[str, int | None],
) -> dict[str, list[Task]]:
    """Returns {task: as each seed deals it} of the tasks whose rows are here."""
    names, left_out = choose_tasks(_as_suite(suite))
    sizes = choose_sizes(names, asked, left_out)
    for task, why in left_out.items():
        warn(f"{task} is left out of the comparison: {why}")
    return {
        task: prepare(task, [weak, strong], losses=(), loss_args=None, seeds=seeds, **n)
        for task, n in sizes.items()
    }


def _as_suite(suite: str | Iterable[str]) -> str | Iterable[str]:
    """Returns a suite's name, or names of tasks, of which one alone may be given."""
    if not isinstance(suite, str) or suite in SUITES or "," in suite:
        return suite
    if suite.partition("@")[0] not in TASKS:
        raise UnknownName("suite or task", suite, [*SUITES, *TASKS])
    return [suite]


def _run_task(
    tasks: list[Task],
    weak: str,
    strong: str,
    methods: Sequence[Method],
    supervisor_args: dict,
    student_args: dict,
    own_ceilings: bool,
    runner: Runner,
) -> TaskRuns:
    """Runs every method for each seed of a task."""
    supervisors, ceilings = _teach(tasks, weak, strong, supervisor_args, student_args)
    runs: dict[str, list[MethodRun]] = {method.name: [] for method in methods}
    own: dict[str, list[MethodRun]] = {
        m.name: [] for m in methods if own_ceilings and m.learns and not m.free
    }
    all_labels = [label_all(fit, task) for fit, task in zip(supervisors, tasks, strict=True)]
    for labels, task in zip(all_labels, tasks, strict=True):
        _protect(labels, task)
    given = [
        (labels, true_labels(labels, task), (task, strong, task.seed, student_args))
        for labels, task in zip(all_labels, tasks, strict=True)
    ]
    if runner is run_method:
        train_ahead((m, labels, *rest) for labels, _, rest in given for m in methods)
        train_ahead((m, truth, *rest) for _, truth, rest in given for m in methods if m.name in own)
    for labels, truth, rest in given:
        for method in methods:
            # the kit's own rows that cost nothing need no process of their own
            run = run_method if method.name in FREE else runner
            runs[method.name].append(run(method, labels, *rest))
            if method.name in own:
                own[method.name].append(runner(method, truth, *rest))
    public = None if runner is run_method else public_half(tasks[0].test)
    return TaskRuns(
        tasks, _predict(supervisors, tasks), _predict(ceilings, tasks), runs, own, public
    )


def _teach(
    tasks: list[Task], weak: str, strong: str, supervisor_args: dict, student_args: dict
) -> tuple[list[Fit], list[Fit]]:
    """Trains a supervisor and a ceiling per seed of a task."""
    wanted = [
        FitArgs(weak, task.supervisor, None, {**supervisor_args, "seed": task.seed})
        for task in tasks
    ]
    wanted += [
        FitArgs(strong, task.student, None, {**student_args, "seed": task.seed}) for task in tasks
    ]
    with ExitStack() as announced:
        for task in tasks:
            announced.enter_context(ceiling_reads_first(strong, task.student, student_args))
        fits = fit_many(wanted)
    return fits[: len(tasks)], fits[len(tasks) :]


def _predict(fits: list[Fit], tasks: list[Task]) -> np.ndarray:
    """Returns (s, n_test, K) predictions of the test texts by the fits of s seeds."""
    return np.stack([fit.predict(task.test) for fit, task in zip(fits, tasks, strict=True)])


def _protect(labels: SoftLabels, task: Task) -> None:
    """Makes labels and splits read-only, so that no method changes them for the others."""
    labels.probs.setflags(write=False)
    for split in task.all_splits:
        for column in (split.ids, split.hard_label, split.group):
            column.setflags(write=False)


def label_all(supervisor: Fit, task: Task) -> SoftLabels:
    """Returns the supervisor's labels of the student half, validation and test texts."""
    labels = supervisor.label(task.student)
    ids = np.concatenate([labels.ids, task.test.ids])
    probs = np.concatenate([labels.probs, supervisor.predict(task.test)])
    return SoftLabels(ids, probs, labels.source, labels.address, labels.stop)


def true_labels(labels: SoftLabels, task: Task) -> SoftLabels:
    """Returns ground truth of the student half and validation, and the labels of the test texts."""
    splits = (task.student, task.validation)
    truth = [np.eye(split.n_classes)[split.hard_label] for split in splits]
    ids = np.concatenate([*(split.ids for split in splits), task.test.ids])
    return SoftLabels(ids, np.concatenate([*truth, labels.for_split(task.test)]), "ground truth")
