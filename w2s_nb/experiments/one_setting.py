"""What one looks at interactively: one setting at a time, and the examples on which two models differ."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd

from .. import metrics
from ..common.paths import data_dir
from ..common.registry import TASKS
from ..data.load import load_task
from ..data.splits import Task
from ..data.tasks.spec import TaskSpec
from ..losses.contract import loss_args as check_loss_args
from ..models.loading import ensure
from ..models.names import resolve
from ..training.fit import fit
from ..training.hyperparameters import METHODS
from .arms import CEILING, WEAK, Arms, student_name

STEPS = 1000  # of a probe, at most


def one_setting(
    task: str,
    weak: str,
    strong: str,
    *,
    loss: str = "xent",
    loss_args: dict | None = None,
    n_labels: int | None = None,
    seeds: int | Iterable[int] = 1,
    n_train: int = 600,
    n_val: int = 200,
    n_test: int = 800,
    method: str = "probe",
    **hyperparameters,
) -> Arms:
    """One setting of a weak-to-strong experiment, by probe in about a second once features are stored.

    The supervisor is trained on its whole half; the student on its labels of the first `n_labels` examples of the
    student half, and the ceiling on ground truth of the same. A probe takes at most `STEPS` steps: up to 640 examples
    those are the 200 epochs of the paper, above that fewer epochs, unless `epochs` is given.

    Args:
        task, weak, strong, loss: names.
        n_labels: how many; None takes the half.
        seeds: how many (0, 1, ...), or which.
        n_train, n_val, n_test: as in `load_task`.
        method, hyperparameters: of `fit`.
    Raises:
        UnknownName, ValueError: a name or number that does not exist, before any model is loaded.
        ModelUnavailable: the weights cannot be had here.
    """
    check_loss_args(loss, loss_args)
    n_labels = n_train if n_labels is None else n_labels
    if isinstance(n_labels, bool) or not isinstance(n_labels, int) or not 2 <= n_labels <= n_train:
        raise ValueError(
            f"n_labels = {n_labels!r}; expected a whole number from 2 to n_train, {n_train}"
        )
    for model in (weak, strong):
        ensure(resolve(model))
    chosen, arm = (
        list(range(seeds)) if isinstance(seeds, int) else list(dict.fromkeys(seeds)),
        student_name(loss),
    )
    tasks = [_dealt(TASKS[task], data_dir(), seed, n_train, n_val, n_test) for seed in chosen]
    tasks[0].test.need_classes("the explorer")
    fits = {WEAK: [], arm: [], CEILING: []}
    for t in tasks:
        labelled, options = (
            t.student.take(slice(n_labels)),
            dict(method=method, seed=t.seed, **hyperparameters),
        )
        few, many = (
            {"epochs": epochs(n)} if method == "probe" and "epochs" not in hyperparameters else {}
            for n in (n_labels, n_train)
        )
        fits[CEILING].append(
            fit(strong, labelled, **options | few)
        )  # the deepest first: its activations serve all
        fits[WEAK].append(fit(weak, t.supervisor, **options | many))
        labels = fits[WEAK][-1].label(t.student)
        fits[arm].append(
            fit(strong, labelled, labels, loss=loss, loss_args=loss_args, **options | few)
        )
    return Arms(weak, strong, tasks, fits)


@functools.lru_cache(maxsize=32)
def _dealt(
    spec: TaskSpec, local: Path | None, seed: int, n_train: int, n_val: int, n_test: int
) -> Task:
    """`load_task` of a task that was asked for a moment ago: dealing it is a quarter of what a change costs."""
    return load_task(spec.name, seed=seed, n_train=n_train, n_val=n_val, n_test=n_test)


def epochs(n: int) -> int:
    """Passes over n examples that a probe makes in `STEPS` steps; never more than its default epochs.

    >>> epochs(600), epochs(3000)
    (200, 41)
    """
    usual = METHODS["probe"]
    return max(1, min(usual.epochs, STEPS // math.ceil(n / usual.batch_size)))


def differences(arms: Arms, student: str | None = None) -> pd.DataFrame:
    """Every test example as supervisor and student see it, at the first seed.

    Args:
        student: an arm; None takes the first student.
    Returns:
        Columns id; text, or first and second of a comparison; truth, 0 or 1; supervisor and student, P(y = 1) of both;
        `right`: 'both', 'neither', 'student' or 'supervisor'. Of a task that is answered truth, supervisor and student
        are answers, and p_right is the probability that the student gives the true one.
    Raises:
        ValueError: no such student arm; lists what exists.
    """
    student, test = student or arms.students[0], arms.tasks[0].test
    if student not in arms.students:
        raise ValueError(f"student {student!r}; expected one of {', '.join(arms.students)}")
    two = {"supervisor": arms.fits[WEAK][0], "student": arms.fits[student][0]}
    right = {who: metrics.correct(f.predict(test), test.hard_label)[0] for who, f in two.items()}
    columns = {"id": test.ids} | dict(
        zip(("text",) if test.arity == 1 else ("first", "second"), zip(*test.texts))
    )
    if test.answers:
        columns |= (
            {"truth": test.answers}
            | {who: f.column(test, "answer") for who, f in two.items()}
            | {"p_right": two["student"].column(test, "p_right")}
        )
    else:
        columns |= {"truth": test.hard_label} | {
            who: f.predict(test)[:, 1] for who, f in two.items()
        }
    who = np.select(
        [right["student"] & right["supervisor"], right["student"], right["supervisor"]],
        ["both", "student", "supervisor"],
        "neither",
    )
    return pd.DataFrame(columns).assign(right=who)
