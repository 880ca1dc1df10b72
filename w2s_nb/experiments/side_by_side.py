"""Puts arms side by side: accuracies, and paired differences of arms or of whole experiments."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd

from .. import metrics
from ..common.progress import collect_warnings
from ..common.registry import UnknownName
from .arms import NOT_DEFINED, Arms

Experiments = Mapping[str, Arms]


def accuracies(
    experiments: Experiments, column: str, arms: Iterable[str] | None = None
) -> pd.DataFrame:
    """Returns a row per experiment, with the test accuracy of each arm in a column of its own.

    Args:
        experiments: {name: arms}.
        column: what the names are; it names the index.
        arms: the arms to show, in order; None takes those of the first experiment.
    Returns:
        Columns <arm>, <arm>_low and <arm>_high per arm; accuracies with 95 % intervals.
    Raises:
        ValueError: no experiment.
        UnknownName: an arm that an experiment lacks.
    """
    first = _first_of(experiments)
    shown = list(first.fits) if arms is None else list(arms)
    rows = []
    for of_experiment in experiments.values():
        row: dict = {}
        for arm in shown:
            row |= of_experiment.accuracy(arm).as_dict(arm)
        rows.append(row)
    return pd.DataFrame(rows, index=pd.Index(experiments, name=column))


def gains(arms: Arms, pairs: Iterable[tuple[str, str]]) -> pd.DataFrame:
    """Returns the test accuracy of one arm minus that of another, for several pairs of arms.

    Args:
        pairs: (arm, the arm that is taken from it) each.
    Returns:
        A row per pair: arm, minus, and gain with its 95 % interval, paired by example and seed.
    Raises:
        UnknownName: no such arm; lists what exists.
    """
    rows = []
    for arm, other in pairs:
        rows.append({"arm": arm, "minus": other, **arms.gain_over(arm, other).as_dict("gain")})
    return pd.DataFrame(rows)


def changes(
    experiments: Arms | Experiments,
    base: Arms | Experiments,
    column: str = "experiment",
    *,
    arms: Iterable[str] | None = None,
) -> pd.DataFrame:
    """Compares each arm of some experiments with the arm of the same name in another experiment.

    Differences are paired by example and seed.

    Args:
        experiments: arms, or {name: arms}.
        base: the experiment that all are compared with, or one for each name.
        column: takes the names, if there are any.
        arms: the arms to compare; None takes all that both have.
    Returns:
        A row per experiment and arm: accuracy; accuracy_change, it minus that in `base`;
        same_answer, the share of test examples with the same predicted class; students' pgr and
        pgr_change. All have 95 % intervals.
    Raises:
        ValueError: other test examples or seeds than those of `base`.
        UnknownName: an experiment or an arm that `base` lacks.
    """
    named = {"": experiments} if isinstance(experiments, Arms) else experiments
    _first_of(named)
    rows = []
    for name, ours in named.items():
        theirs = base if isinstance(base, Arms) else _named(base, name)
        _check_paired(name, ours, theirs)
        shown = [arm for arm in ours.fits if arm in theirs.fits] if arms is None else list(arms)
        for arm in shown:
            key = {column: name} if name else {}
            rows.append({**key, "arm": arm, **_change(ours, theirs, arm)})
    return pd.DataFrame(rows)


def _named(experiments: Experiments, name: str) -> Arms:
    if name not in experiments:
        raise UnknownName("experiment to compare with", name, experiments)
    return experiments[name]


def _first_of(experiments: Experiments) -> Arms:
    if not experiments:
        raise ValueError("no experiment given; expected arms of run_arms by name, {name: arms}")
    return next(iter(experiments.values()))


def _check_paired(name: str, ours: Arms, theirs: Arms) -> None:
    """Refuses experiments whose predictions are not of the same examples and seeds."""
    same = np.array_equal(ours.test.ids, theirs.test.ids)
    if not same or [task.seed for task in ours.tasks] != [task.seed for task in theirs.tasks]:
        raise ValueError(
            f"{name or 'the experiment'} cannot be paired with the other: expected the same test "
            f"examples and seeds, got {ours!r} and {theirs!r}"
        )


def _change(ours: Arms, theirs: Arms, arm: str) -> dict:
    """Returns the columns of `changes` of one arm."""
    group = ours.test.group
    change = ours.gain_over(arm, arm, others=theirs)
    same = metrics.imitation.agreement(ours.probs(arm), theirs.probs(arm), group=group)
    row = ours.accuracy(arm).as_dict("accuracy") | change.as_dict("accuracy_change")
    row |= same.as_dict("same_answer")
    pgr = pgr_change = NOT_DEFINED
    if arm in ours.students:
        with collect_warnings():  # the tables of both experiments say what is held against them
            pgr = ours.pgr(arm)
            pgr_change = ours.pgr_over(theirs, arm)
    return row | pgr.as_dict("pgr") | pgr_change.as_dict("pgr_change")


def stops_of(experiments: Experiments, column: str, base: str | None = None) -> pd.DataFrame:
    """Joins `Arms.stops` of several experiments: a row per experiment, student and stopping rule.

    Args:
        experiments: {name: arms}.
        column: takes the names.
        base: the experiment that the others are compared with; None compares none.
    Returns:
        The columns of `Arms.stops`; with a base also pgr_change, the PGR minus that of the same
        student under the same rule in the base, paired by example and seed.
    Raises:
        ValueError: no experiment.
        UnknownName: no experiment has the name of the base.
    """
    _first_of(experiments)
    tables = []
    for name, arms in experiments.items():
        table = arms.stops()
        table.insert(0, column, name)
        if base is not None and name != base:
            other = _named(experiments, base)
            with collect_warnings():  # `stops` has told what is held against a PGR
                moved = [
                    arms.pgr_over(other, row.arm, stop=row.stop).as_dict("pgr_change")
                    for row in table.itertuples()
                ]
            table = table.join(pd.DataFrame(moved))
        tables.append(table)
    return pd.concat(tables, ignore_index=True)


def above_chance(experiments: Experiments, arm: str) -> metrics.Estimate:
    """Returns the accuracy of an arm minus that of guessing, mean over tasks.

    Args:
        experiments: {task: arms}.
    Returns:
        the mean; its 95 % interval draws tasks, seeds and examples.
    """
    _first_of(experiments)
    per_task = {name: _above_chance(arms, arm) for name, arms in experiments.items()}
    return metrics.over_tasks("mean", per_task)


def _above_chance(arms: Arms, arm: str) -> metrics.Estimate:
    right = metrics.correct(arms.probs(arm), arms.hard_label)
    chance = arms.test.chance
    return metrics.of_means(lambda share: share - chance, right, group=arms.test.group)
