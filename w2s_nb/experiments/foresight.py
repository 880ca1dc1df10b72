"""Compares numbers that look at no truth with the gain of the students that are then trained."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import pandas as pd

from .. import metrics
from ..common.progress import collect_warnings, progress
from ..common.registry import UnknownName
from ..data.load import count_examples
from ..data.splits import Split
from ..labels.soft import SoftLabels
from ..metrics import imitation, predictors
from .arms import CEILING, NOT_DEFINED, WEAK, Arms, plan_arms, student_name
from .label_sets import states_of
from .plans import carry_out, join
from .prepare import refuse_own

NAIVE = student_name("xent")
# of a pair before the student is trained: features of both models, the supervisor's labels
BEFORE: dict[str, Callable] = {
    "cka": lambda weak, strong, labels: predictors.cka(weak, strong),
    "unreached": predictors.unreached,
    "rads": predictors.rads_mean,
    "overlap_density": lambda weak, strong, labels: predictors.overlap_density(labels, strong),
}
# of a trained student: its predictions and the supervisor's, of the test texts
AFTER: dict[str, Callable] = {
    "misfit": lambda student, weak: imitation.misfit(student, weak).value,
    "agreement": lambda student, weak: imitation.agreement(student, weak).value,
    "capa": predictors.capa,
    "confidence": lambda student, weak: predictors.confidence(student),
}
PREDICTORS = (*BEFORE, *AFTER)
_OWN = {"losses": "its naive student", "elsewhere": "tasks", "stress": "tasks", "variant": "tasks"}


@dataclass(frozen=True, eq=False)
class Foresight:
    """Predictors and realised gains over a grid of tasks, pairs of models and seeds.

    Attributes:
        points: a row per task, pair and seed: task, weak, strong, pair, seed; gain, the naive
            student's test accuracy minus its supervisor's; gap, the ceiling's minus the
            supervisor's; and the `PREDICTORS`.
    """

    points: pd.DataFrame

    def __repr__(self) -> str:
        points = self.points
        return (
            f"Foresight: {len(points)} points, {points.task.nunique()} tasks, "
            f"{points.pair.nunique()} pairs, {points.seed.nunique()} seeds"
        )

    @property
    def _drawn_whole(self) -> list[pd.Series]:
        return [self.points[level] for level in ("task", "pair", "seed")]

    def correlation(self, name: str, *, given: str | None = None) -> metrics.Estimate:
        """Returns the rank correlation of a column with the gain, given another where one is named.

        Its interval draws tasks, pairs and seeds, each whole.

        Args:
            name: such as one of `PREDICTORS`; given: such as 'gap'.
        Raises:
            UnknownName: no such column.
        """
        for column in (name, *([given] if given else [])):
            if column not in self.points:
                raise UnknownName("column of points", str(column), self.points.columns)
        return metrics.correlation(
            self.points[name],
            self.points.gain,
            given=self.points[given] if given else None,
            draw=self._drawn_whole,
            ranks=True,
        )

    def table(self) -> pd.DataFrame:
        """Returns a row per predictor: what it needs, its rank correlation with the gain, and the
        same given the gap, with 95 % intervals.

        The gap itself is the last row; it needs the truth. It shares the supervisor's test
        accuracy with the gain, so that a part of their correlation is arithmetic.
        """
        rows: list[dict] = []
        for name in PREDICTORS:
            row: dict = {"predictor": name, "needs": "features" if name in BEFORE else "a student"}
            row |= self.correlation(name).as_dict("correlation")
            row |= self.correlation(name, given="gap").as_dict("given_gap")
            rows.append(row)
        of_gap = self.correlation("gap").as_dict("correlation")
        rows.append({"predictor": "gap", "needs": "the truth"} | of_gap)
        return pd.DataFrame(rows).set_index("predictor")

    def left_out(self) -> pd.DataFrame:
        """Returns a row per set of predictors: how well a regression on the other tasks predicts a
        task's gains.

        Returns:
            r_squared with its interval: the share of squared error that is saved against the other
            tasks' mean gain, below 0 where it is worse. NaN where the other tasks have no more
            points than there are predictors.
        """
        gap = ["gap"]
        sets = {
            "features alone": list(BEFORE),
            "a student": list(AFTER),
            "both": list(PREDICTORS),
            "the gap (truth)": gap,
            "both and the gap (truth)": [*PREDICTORS, *gap],
        }
        fewest = len(self.points) - self.points.task.value_counts().max()
        rows = []
        for name, columns in sets.items():
            estimate = NOT_DEFINED
            if fewest > len(columns) + 1:
                estimate = metrics.left_out(
                    self.points[columns], self.points.gain, self.points.task, draw=self._drawn_whole
                ).r_squared
            rows.append({"predictors": name, "n": len(columns)} | estimate.as_dict("r_squared"))
        return pd.DataFrame(rows).set_index("predictors")


def run_foresight(
    tasks: Iterable[str], models: Iterable[str], *, n_test: int | None = None, **arms_args
) -> Foresight:
    """Trains naive students of every pair of a ladder on every task, and computes the predictors.

    Args:
        tasks: registered names, of tasks with classes; at least two.
        models: a ladder, the smallest first; every model teaches every larger one.
        n_test: test examples at most; a task that has fewer gives what it has.
        arms_args: of every `run_arms`, such as seeds, n_train and method.
    Raises:
        TypeError: one name instead of several; arguments that it gives itself.
        ValueError: fewer than two tasks or models; else as `run_arms`.
    """
    names, ladder = _several(tasks, "tasks"), _several(models, "models")
    refuse_own(arms_args, "run_foresight", _OWN)
    points: list[dict] = []
    pairs = list(itertools.combinations(ladder, 2))
    for task in progress(names, desc="tasks"):
        with collect_warnings():  # points have no PGR, which warnings would be about
            n = min(n_test, count_examples(task)[1]) if n_test else None
            given = {"losses": ["xent"], "n_test": n, **arms_args}
            plans = [plan_arms(task, *pair, **given) for pair in pairs]
            of_pairs = carry_out(join(plans, arms_args))
        for arms, pair in zip(of_pairs, pairs, strict=True):
            points += _points(arms, *pair)
    return Foresight(pd.DataFrame(points))


def predictors_of_pair(weak: str, strong: str, half: Split, labels: SoftLabels) -> dict[str, float]:
    """Computes the predictors that need no student, of one pair of models on one half.

    Args:
        weak, strong: models by name.
        half: the examples that a student would be trained on; their truth is not looked at.
        labels: of the supervisor.
    Returns:
        {predictor: value}: cka, unreached, rads and overlap_density, see `metrics.predictors`.
    Raises:
        ValueError: examples without a label, or with answers in place of classes.
    """
    half.need_classes("foresight")
    states = states_of(weak, half), states_of(strong, half)
    return {name: of(*states, labels.for_split(half)) for name, of in BEFORE.items()}


def _several(given: Iterable[str], name: str) -> Sequence[str]:
    if isinstance(given, str) or not isinstance(given, Iterable):
        raise TypeError(f"{name} = {given!r}; expected several names")
    listed = list(dict.fromkeys(given))
    if len(listed) < 2:
        raise ValueError(f"{name} = {listed!r}; expected at least two names")
    return listed


def _points(arms: Arms, weak: str, strong: str) -> list[dict]:
    """Returns the points of one task and pair, one per seed."""
    arms.test.need_classes("foresight")
    accuracy = {
        arm: metrics.correct(arms.probs(arm), arms.hard_label).mean(axis=1)
        for arm in (WEAK, NAIVE, CEILING)
    }
    points = []
    for i, task in enumerate(arms.tasks):
        student, supervisor = (arms.probs(arm)[i] for arm in (NAIVE, WEAK))
        point = {"task": arms.tasks[0].name, "weak": weak, "strong": strong, "seed": task.seed}
        point |= {
            "pair": f"{weak} -> {strong}",
            "gain": accuracy[NAIVE][i] - accuracy[WEAK][i],
            "gap": accuracy[CEILING][i] - accuracy[WEAK][i],
        }
        labels = arms.fits_of(WEAK)[i].label(task.student)
        point |= predictors_of_pair(weak, strong, task.student, labels)
        points.append(point | {name: of(student, supervisor) for name, of in AFTER.items()})
    return points
