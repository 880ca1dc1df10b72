"""Reads the experiments of a suite together: a table by task, and medians and means over tasks."""

from __future__ import annotations

import functools
import html
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from ..common.files import write_atomic
from ..common.intervals import interval_text
from ..common.progress import collect_warnings, warn
from ..common.registry import UnknownName
from ..experiments.arms import CEILING, PGR_BY, WEAK, Arms, has_auroc
from ..metrics.estimate import Estimate, from_draws
from ..metrics.over_tasks import over_tasks
from ..metrics.readable import readable

HOW = ("median", "mean")
_OTHER = {"median": "mean_", "mean": "median_"}
# what tables have of an arm, and by what its accuracy or its PGR is measured
_MEASURES = {
    "accuracy": "accuracy",
    "auroc": "auroc",
    **{column: measure for measure, column in PGR_BY.items()},
}
_READ = ("weak", "strong", "arm", *_MEASURES)
_MOST_WARNINGS = 3

Arm = tuple[str, str, str]  # supervisor, student, arm


@dataclass(frozen=True, eq=False)
class SuiteResult:
    """The experiments of a suite.

    Attributes:
        name: of the suite.
        experiments: {(task, supervisor, student): arms}.
        left_out: {task: why} of the tasks that could not be run here.
    """

    name: str
    experiments: Mapping[tuple[str, str, str], Arms]
    left_out: Mapping[str, str]

    @property
    def tasks(self) -> list[str]:
        """Returns the tasks that were run."""
        return list(dict.fromkeys(task for task, _, _ in self.experiments))

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """Returns the pairs (supervisor, student), as they were run: the largest students first."""
        return list(dict.fromkeys((weak, strong) for _, weak, strong in self.experiments))

    def pair(self, weak: str, strong: str) -> dict[str, Arms]:
        """Returns {task: arms} of one pair of models, as `w2s.tables` takes them.

        Raises:
            UnknownName: a pair that was not run; lists those that were.
        """
        self._check_run(self.tasks[0], weak, strong, self.arms[0])
        return {task: self.experiments[task, weak, strong] for task in self.tasks}

    @property
    def arms(self) -> list[str]:
        """Returns the names of the arms, the same for every task and pair."""
        return list(next(iter(self.experiments.values())).fits)

    @functools.cached_property
    def by_task(self) -> pd.DataFrame:
        """Returns the table of arms of each task and pair, with the columns of `Arms.table`.

        A pair whose gap is within its error on a task has no PGR there. What is held against a
        number stands in its note; trainings that failed or were too short are warned of.
        """
        tables = []
        messages = []
        for (task, weak, strong), arms in self.experiments.items():
            with collect_warnings() as of_table:
                table = arms.table().reset_index()
            messages += [
                f"{task}, {weak} teaches {strong}: {message}"
                for message in of_table
                if not message.startswith("PGR")  # its column and its note say so
            ]
            key = pd.DataFrame({"task": task, "weak": weak, "strong": strong}, table.index)
            tables.append(pd.concat([key, table], axis=1))
        _warn_of_some(messages)
        return pd.concat(tables, ignore_index=True)

    def estimate(self, task: str, arm: Arm, measure: str = "pgr") -> Estimate:
        """Returns one number of one arm on one task.

        Args:
            arm: (supervisor, student, arm).
            measure: 'accuracy', 'auroc', 'pgr' or 'pgr_auroc'.
        Returns:
            The number; not defined for the PGR of supervisor and ceiling, or on another kind of
            task than those of AUROC.
        Raises:
            UnknownName: a task, a pair or an arm that was not run; lists those that were.
            ValueError: another measure.
        """
        key = (task, arm, measure)
        if key not in self._estimates:
            with collect_warnings():  # a PGR's own note says what is held against it
                self._estimates[key] = self._measure(task, arm, measure)
        return self._estimates[key]

    @functools.cached_property
    def _estimates(self) -> dict[tuple[str, Arm, str], Estimate]:
        return {}

    def _measure(self, task: str, arm: Arm, measure: str) -> Estimate:
        if measure not in _MEASURES:
            raise ValueError(f"measure = {measure!r}; expected one of {', '.join(_MEASURES)}")
        weak, strong, name = arm
        self._check_run(task, weak, strong, name)
        arms = self.experiments[task, weak, strong]
        by = _MEASURES[measure]
        is_pgr = measure in PGR_BY.values()
        if (is_pgr and name in (WEAK, CEILING)) or (by == "auroc" and not has_auroc(arms.test)):
            return Estimate(math.nan, math.nan, math.nan, len(arms.test), len(arms.tasks))
        if is_pgr:
            return arms.pgr(name, measure=by)
        return arms.auroc(name) if by == "auroc" else arms.accuracy(name)

    def _check_run(self, task: str, weak: str, strong: str, arm: str) -> None:
        """Refuses a task, a pair of models or an arm that was not run."""
        pairs = [f"{one} teaches {other}" for one, other in self.pairs]
        asked_for = {
            "task": (task, self.tasks),
            "pair": (f"{weak} teaches {strong}", pairs),
            "arm": (arm, self.arms),
        }
        for kind, (name, known) in asked_for.items():
            if name not in known:
                raise UnknownName(f"{kind} of {self.name}", str(name), known)

    def over(self, how: str, measure: str, arm: Arm) -> Estimate:
        """Returns the median or mean over tasks of one number of one arm.

        Its interval draws tasks, seeds and examples again (see `metrics.over_tasks`). Tasks where
        the number is not defined are left out, and its note names them.

        Args:
            how: 'median' or 'mean'.
            measure, arm: as in `estimate`.
        """
        return over_tasks(how, {task: self.estimate(task, arm, measure) for task in self.tasks})

    def difference(
        self, arm: Arm, other: Arm, *, measure: str = "pgr", how: str = "median"
    ) -> Estimate:
        """Returns the median or mean over tasks of the difference between two arms on each task.

        On a task it is paired by example and seed: the confidence loss against the naive student,
        or one student against a larger one.

        Args:
            arm, other: (supervisor, student, arm) each; the second is taken from the first.
            measure, how: as in `over`.
        """
        per_task = {}
        for task in self.tasks:
            one, two = (self.estimate(task, which, measure) for which in (arm, other))
            if one.draws is None or two.draws is None:
                per_task[task] = Estimate(math.nan, math.nan, math.nan, one.n, one.seeds)
            else:
                change = from_draws(one.value - two.value, one.draws - two.draws, one.n, one.seeds)
                notes = dict.fromkeys(filter(None, (one.note, two.note)))
                per_task[task] = replace(change, note="; ".join(notes))
        return over_tasks(how, per_task)

    @functools.cached_property
    def over_tasks(self) -> pd.DataFrame:
        """Returns a row per pair and arm: median and mean over tasks of accuracy, AUROC, and PGR.

        PGR is by accuracy (pgr) and by AUROC (pgr_auroc). The columns are median_accuracy,
        median_accuracy_low, ..., mean_pgr_auroc_high, with 95 % intervals that draw tasks too.
        tasks and pgr_tasks count the tasks behind them; left_out_of_pgr names those whose gap is
        within its error.
        """
        return pd.DataFrame(
            [self._row((weak, strong, arm)) for weak, strong in self.pairs for arm in self.arms]
        )

    def _row(self, arm: Arm) -> dict:
        weak, strong, name = arm
        model = weak if name == WEAK else strong
        row: dict = {"weak": weak, "strong": strong, "arm": name, "model": model}
        row |= {"tasks": len(self.tasks)}
        if name not in (WEAK, CEILING):
            recovered = {task: self.estimate(task, arm, "pgr") for task in self.tasks}
            undefined = [task for task, pgr in recovered.items() if math.isnan(pgr.value)]
            row |= {
                "pgr_tasks": len(self.tasks) - len(undefined),
                "left_out_of_pgr": ", ".join(undefined),
            }
        for how in HOW:
            for measure in _MEASURES:
                number = self.over(how, measure, arm)
                row |= {f"{how}_{measure}{end}": value for end, value in _ends(number).items()}
        return row

    def table(self, how: str = "median", *, models: Sequence[str] = ()) -> pd.DataFrame:
        """Returns `over_tasks` with columns named as in a table of arms, which figures take.

        Args:
            how: 'median' or 'mean', whose numbers the columns accuracy, auroc, pgr and pgr_auroc
                have.
            models: names by size; rows are then sorted by student and supervisor. Without them the
                pairs stand as they were run.
        """
        if how not in HOW:
            raise ValueError(f"how = {how!r}; expected {' or '.join(map(repr, HOW))}")
        others = [name for name in self.over_tasks if name.startswith(_OTHER[how])]
        table = self.over_tasks.drop(columns=others)
        table = table.rename(columns=lambda name: name.removeprefix(f"{how}_"))
        if not models:
            return table
        places = {model: place for place, model in enumerate(models)}
        for name in {*table.weak, *table.strong} - set(places):
            raise UnknownName("model to sort by", name, places)
        by_size = table[["strong", "weak"]].apply(lambda names: names.map(places))
        return table.loc[by_size.sort_values(["strong", "weak"], kind="stable").index]

    def __repr__(self) -> str:
        said = (
            f"SuiteResult: {self.name}, {len(self.tasks)} tasks, {len(self.pairs)} pairs of models"
        )
        lines = [said, f"  {', '.join(self.tasks)}"]
        return "\n".join([*lines, *(f"  {line}" for line in self.said())])

    def said(self) -> list[str]:
        """Returns what a reader is to know, a line each: what is left out, and why."""
        lines = [f"left out: {task}: {why}" for task, why in self.left_out.items()]
        students = self.over_tasks.dropna(subset="pgr_tasks")
        for names, rows in students[students.left_out_of_pgr != ""].groupby("left_out_of_pgr"):
            pairs = dict.fromkeys(rows.weak + " teaches " + rows.strong)
            lines.append(
                f"left out of the median of PGR, as the gap is within its error: {names} "
                f"({'; '.join(pairs)})"
            )
        return lines

    def lines(self) -> list[str]:
        """Returns the medians over tasks and what is left out as lines of text, for a terminal."""
        lines = [f"{self.name}: medians over {len(self.tasks)} tasks, value [95 % interval]"]
        for weak, strong in self.pairs:
            lines += ["", f"{weak} teaches {strong}"]
            lines.append(f"  {'arm':<22}{'accuracy':<22}{'AUROC':<22}{'PGR':<24}PGR by AUROC")
            for arm in self.arms:
                cells = [self._cell((weak, strong, arm), measure) for measure in _MEASURES]
                widths = (22, 22, 24, 0)
                padded = [f"{cell:<{w}}" for cell, w in zip(cells, widths, strict=True)]
                lines.append(f"  {arm:<22}{''.join(padded)}".rstrip())
        return [*lines, "", *self.said()]

    def _cell(self, arm: Arm, measure: str) -> str:
        """Returns "value [low, high]", or "" where the number is not defined."""
        number = self.over("median", measure, arm)
        return interval_text(number.value, number.low, number.high)

    def write(self, folder: str | Path) -> list[Path]:
        """Writes both tables as `by_task.csv` and `over_tasks.csv`; returns their paths."""
        paths = []
        for name, table in (("by_task", self.by_task), ("over_tasks", self.over_tasks)):
            path = Path(folder).expanduser() / f"{name}.csv"
            write_atomic(path, table.to_csv(index=False).encode())
            paths.append(path)
        return paths

    def _repr_html_(self) -> str:
        table = self.table()
        table = readable(table, [name for name in _READ if name in table])
        about = (
            f"{self.name}: medians over {len(self.tasks)} tasks with 95 % intervals, which draw "
            f"tasks, seeds and examples again: {', '.join(self.tasks)}"
        )
        below = "".join(f"<p>{html.escape(line)}</p>" for line in [about, *self.said()])
        return table._repr_html_() + below


def _ends(number: Estimate) -> dict[str, float]:
    """Returns {end of a column's name: value} of a number and its interval."""
    return {"": number.value, "_low": number.low, "_high": number.high}


def _warn_of_some(messages: list[str]) -> None:
    """Warns of the first of many messages, and says how many there are."""
    for message in messages[:_MOST_WARNINGS]:
        warn(message, stacklevel=5)
    if len(messages) > _MOST_WARNINGS:
        warn(
            f"{len(messages) - _MOST_WARNINGS} more warnings of this kind; the tables of "
            f"`experiments` give them; to change it: see the first",
            stacklevel=5,
        )
