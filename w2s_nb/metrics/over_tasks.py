"""Computes the median or the mean over tasks, with an interval that draws tasks again too."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np

from .estimate import Estimate, bounds_of, ends_of

_HOW: dict[str, Callable] = {"median": np.median, "mean": np.mean}


def over_tasks(how: str, per_task: Mapping[str, Estimate]) -> Estimate:
    """Computes the median or mean over tasks of one quantity, such as PGR, with its interval.

    A draw takes tasks with replacement, as many as there are. Each time it takes a task, it also
    takes one of the draws of that task's own number, in which seeds and examples (whole groups of
    them) were drawn; a task taken twice gives two different ones. So the interval holds for tasks
    like these, and not only for these tasks. Errors within a task are in it once by the tasks' own
    numbers and once by their draws: it is too wide, at most by a factor sqrt(2), where tasks differ
    by less than their errors. With few tasks it is too narrow, as with few seeds: the variance
    between T tasks is understated by a factor (T - 1) / T. In simulations with tasks of standard
    deviation 0.1 and errors of 0.05, intervals of means cover the truth in 87 % of draws of 5
    tasks and 95 % of 22 tasks; those of medians in 97 and 98 %.

    Args:
        how: 'median' or 'mean'.
        per_task: {task: number}, as the functions of `metrics` and the methods of `Arms` give them.
            Tasks on which the number is not defined, as PGR is not where the gap is within its
            error, are left out.
    Returns:
        The number over the other tasks; n is the number of their examples together, seeds the
        least number of seeds of a task. Its note names the tasks that were left out, and those
        whose number has a note; it is not defined if all were left out.
    Raises:
        ValueError: neither 'median' nor 'mean'; no task; numbers without draws, or of different
            numbers of draws.
        TypeError: anything but {task: Estimate}.
    """
    if how not in _HOW:
        raise ValueError(f"how = {how!r}; expected {' or '.join(map(repr, _HOW))}")
    _check(per_task)
    defined = {task: per_task[task] for task in sorted(per_task) if not _missing(per_task[task])}
    note = _note(per_task)
    if not defined:
        return Estimate(math.nan, math.nan, math.nan, 0, 0, note)
    value = float(_HOW[how]([estimate.value for estimate in defined.values()]))
    drawn = _draw(_pool(defined))
    lowest, highest = (_HOW[how](bound, axis=1) for bound in bounds_of(drawn))
    low, high = ends_of(lowest, highest)
    n_examples = sum(estimate.n for estimate in defined.values())
    n_seeds = min(estimate.seeds for estimate in defined.values())
    draws = np.where(np.isfinite(lowest) & np.isfinite(highest), lowest, np.nan)
    return Estimate(value, low, high, n_examples, n_seeds, note, draws)


def _draw(pool: np.ndarray) -> np.ndarray:
    """Draws tasks with replacement, and of each one of its draws: (draws, tasks) of (tasks, draws).

    A row takes its first task's draw at a place of its own, and the others' at fixed distances from
    there. No two distances are equal: a task taken twice gives two draws, and two tasks never give
    the draws that took the same seeds.
    """
    n_tasks, n_draws = pool.shape
    rng = np.random.default_rng(0)
    tasks = rng.integers(n_tasks, size=(n_draws, n_tasks))
    distances = rng.choice(n_draws, n_tasks, replace=False)
    places = (rng.permutation(n_draws)[:, None] + distances) % n_draws
    return pool[tasks, places]


def _pool(defined: Mapping[str, Estimate]) -> np.ndarray:
    """Returns the draws of each task's number, (tasks, draws)."""
    draws = {}
    for task, estimate in defined.items():
        if estimate.draws is None or not len(estimate.draws):
            raise ValueError(
                f"the number of task {task!r} has no draws; expected one that was computed with "
                f"resamples"
            )
        draws[task] = estimate.draws
    n_draws = {task: len(each) for task, each in draws.items()}
    if len(set(n_draws.values())) > 1 or min(n_draws.values()) < len(draws):
        raise ValueError(
            f"numbers of draws by task are {n_draws}; expected the same of each, and at least as "
            f"many as tasks"
        )
    return np.stack(list(draws.values()))


def _missing(estimate: Estimate) -> bool:
    return math.isnan(estimate.value)


def _note(per_task: Mapping[str, Estimate]) -> str:
    """Returns which tasks were left out, and what is held against the numbers of others."""
    left_out = [task for task in sorted(per_task) if _missing(per_task[task])]
    phrases = []
    if left_out:
        phrases.append(f"not defined on {', '.join(left_out)}, left out")
    tasks_by_note: dict[str, list[str]] = {}
    for task in sorted(set(per_task) - set(left_out)):
        if per_task[task].note:
            tasks_by_note.setdefault(per_task[task].note, []).append(task)
    phrases += [f"{', '.join(tasks)}: {note}" for note, tasks in tasks_by_note.items()]
    return "; ".join(phrases)


def _check(per_task: Mapping[str, Estimate]) -> None:
    """Refuses anything but {task: Estimate}."""
    if not isinstance(per_task, Mapping):
        raise TypeError(f"per_task is a {type(per_task).__name__}; expected {{task: Estimate}}")
    for task, estimate in per_task.items():
        if not isinstance(task, str) or not isinstance(estimate, Estimate):
            raise TypeError(
                f"per_task has {task!r}: a {type(estimate).__name__}; expected {{task: Estimate}}"
            )
    if not per_task:
        raise ValueError("no task given; expected at least one, as {task: Estimate}")
