"""Runs one setting at a time, as the explorer asks for it, and lists where two models differ."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import cast

import numpy as np
import pandas as pd

from .. import metrics
from ..common.registry import TASKS
from ..common.seeds import check_count
from ..data.classes import in_turn, likeliest
from ..data.splits import Split, Task
from ..data.tasks.spec import Sizes
from ..training.fit import check_fit
from ..training.fit_many import FitArgs
from ..training.hyperparameters import METHODS
from ..training.result import AnswerFit, Fit
from .arms import CEILING, WEAK, Arms, student_name
from .plans import Plan, Round, carry_out, join
from .prepare import args_of, prepare, refuse_own

STEPS = 1000  # of a probe, at most
# arguments of `fit` that one_setting gives each fit, and its own argument that decides them
_OWN = {"model": "strong", "split": "task", "labels": "weak", "seed": "seeds="}


def one_setting(
    task: str,
    weak: str,
    strong: str,
    *,
    loss: str = "xent",
    loss_args: dict | None = None,
    n_labels: int | None = None,
    seeds: int | Iterable[int] = 1,
    n_train: int | None = None,
    n_val: int | None = None,
    n_test: int | None = None,
    method: str = "probe",
    weak_args: dict | None = None,
    **hyperparameters,
) -> Arms:
    """Runs one setting, by probe in about a second once features are stored.

    The supervisor is trained on its whole half; the student on its labels of `n_labels` examples of
    the student half, as many of each class, and the ceiling on ground truth of the same. Fewer
    labels are among those of more. A probe takes at most
    `STEPS` steps: up to 640 examples those are the 200 epochs of the paper, above that fewer
    epochs, unless `epochs` is given.

    Args:
        task, weak, strong, loss: names.
        n_labels: how many labels the student is given; None takes the half.
        seeds: how many (0, 1, ...), or which.
        n_train, n_val, n_test: as in `load_task`; None takes the task's own on two cores, multiples
            of its number of classes.
        method, hyperparameters: of `fit`.
        weak_args: arguments of the supervisor's `fit` beside these.
    Raises:
        UnknownName, ValueError: a name or number that does not exist, before any model is loaded.
        ModelUnavailable: the weights cannot be had here.
    """
    refuse_own(hyperparameters, "one_setting", _OWN)
    n_train, n_val, n_test = sizes_of(task, n_train, n_val, n_test)
    check_count(n_train, "n_train")
    n_labels = n_train if n_labels is None else n_labels
    if isinstance(n_labels, bool) or not isinstance(n_labels, int) or not 2 <= n_labels <= n_train:
        raise ValueError(
            f"n_labels = {n_labels!r}; expected a whole number from 2 to n_train, {n_train}"
        )
    tasks = prepare(
        task,
        [weak, strong],
        losses=[loss],
        loss_args={loss: loss_args or {}},
        seeds=seeds,
        n_train=n_train,
        n_val=n_val,
        n_test=n_test,
    )
    tasks[0].test.need_classes("the explorer")
    strong_args = {"method": method, **hyperparameters}
    supervisor_args = strong_args.copy()
    if method == "probe" and "epochs" not in hyperparameters:
        supervisor_args["epochs"] = epochs(n_train)
        strong_args["epochs"] = epochs(n_labels)
    supervisor_args |= args_of(weak_args, "weak_args", _OWN)
    of_student = {"loss": loss, "loss_args": loss_args, **strong_args}
    check_fit(weak, tasks[0].supervisor, **supervisor_args)
    check_fit(strong, _first_of_each(tasks[0].student, n_labels), weak=True, **of_student)
    arm = student_name(loss)
    settings = (supervisor_args, of_student, strong_args)
    plans = [_plan_seed(weak, strong, dealt, n_labels, *settings) for dealt in tasks]
    of_seeds = carry_out(join(plans, *settings))
    fits: dict[str, list[Fit]] = {
        name: [of_seed[i] for of_seed in of_seeds] for i, name in enumerate((WEAK, arm, CEILING))
    }
    return Arms(weak, strong, tasks, fits)


def _plan_seed(
    weak: str,
    strong: str,
    dealt: Task,
    n_labels: int,
    supervisor_args: dict,
    student_args: dict,
    ceiling_args: dict,
) -> Plan[tuple[Fit, Fit, Fit]]:
    """Plans supervisor, student and ceiling of one seed."""
    seed = {"seed": dealt.seed}
    labelled = _first_of_each(dealt.student, n_labels)
    read_first = [(strong, labelled, ceiling_args)]
    wanted = FitArgs(weak, dealt.supervisor, None, seed | supervisor_args)
    (supervisor,) = yield Round([wanted], read_first)
    labels = supervisor.label(dealt.student)
    student, ceiling = yield Round(
        [
            FitArgs(strong, labelled, labels, seed | student_args),
            FitArgs(strong, labelled, None, seed | ceiling_args),
        ],
        read_first,
    )
    return supervisor, student, ceiling


def _first_of_each(half: Split, n: int) -> Split:
    """Returns n examples of a half in its order, the first of each class, as many of each.

    A half's own first examples may be of one class: it is filled by whole groups, class by class.
    """
    return half.take(np.sort(in_turn(half.hard_label)[:n]))


def sizes_of(task: str, n_train: int | None, n_val: int | None, n_test: int | None) -> Sizes:
    """Returns the sizes of a setting: in place of None the task's own on two cores, rounded down to
    multiples of its classes.

    Raises:
        UnknownName: no such task; lists near names.
    """
    step = TASKS[task].step
    pairs = zip((n_train, n_val, n_test), TASKS[task].cpu_sizes, strict=True)
    return Sizes(*(usual // step * step if given is None else given for given, usual in pairs))


def epochs(n: int) -> int:
    """Returns the epochs over n examples that a probe makes in `STEPS` steps, at most its default.

    >>> epochs(600), epochs(3000)
    (200, 41)
    """
    usual = METHODS["probe"]
    return max(1, min(usual.epochs, STEPS // math.ceil(n / usual.batch_size)))


def differences(arms: Arms, student: str | None = None) -> pd.DataFrame:
    """Lists every test example as supervisor and student see it, at the first seed.

    Args:
        student: an arm; None takes the first student.
    Returns:
        Columns id; text, or first and second of a comparison; truth, from 0 to K - 1; supervisor
        and student, P(y = 1) of both or, of more than two classes, the probability of the true
        class; supervisor_says and student_says, the predicted classes; `right`: 'both', 'neither',
        'student' or 'supervisor'. `attrs["classes"]` names the classes. If the task is answered by
        generating, truth, supervisor and student are answers, and p_right is the probability that
        the student gives the true one.
    Raises:
        ValueError: no such student arm; lists what exists.
    """
    student = arms.students[0] if student is None else student
    if student not in arms.students:
        raise ValueError(f"student {student!r}; expected one of {', '.join(arms.students)}")
    test = arms.test
    fits = {"supervisor": arms.fits[WEAK][0], "student": arms.fits[student][0]}
    probs = {model: one_fit.predict(test) for model, one_fit in fits.items()}
    columns: dict = {"id": test.ids}
    if test.arity == 1:
        columns["text"] = [text for (text,) in test.texts]
    else:
        columns["first"], columns["second"] = zip(*test.texts, strict=True)
    if arms.answered:
        columns["truth"] = test.answers
        for model, one_fit in fits.items():
            columns[model] = cast(AnswerFit, one_fit).column(test, "answer")
        columns["p_right"] = cast(AnswerFit, fits["student"]).column(test, "p_right")
    else:
        columns["truth"] = test.hard_label
        # the one probability that tells both of two classes; of more, that of the truth
        shown = np.ones_like(test.hard_label) if test.n_classes == 2 else test.hard_label
        columns |= {model: p[np.arange(len(test)), shown] for model, p in probs.items()}
        columns |= {f"{model}_says": likeliest(p) for model, p in probs.items()}
    weak_right, student_right = (metrics.correct(p, test.hard_label)[0] for p in probs.values())
    columns["right"] = np.select(
        [student_right & weak_right, student_right, weak_right],
        ["both", "student", "supervisor"],
        "neither",
    )
    rows = pd.DataFrame(columns)
    rows.attrs["classes"] = test.classes
    return rows
