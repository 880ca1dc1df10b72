"""Reads a comparison: a table of methods, each paired with naive finetuning, and corrected."""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import norm

from .. import metrics
from ..common.files import to_strict_json, write_json
from ..common.intervals import interval_cell
from ..common.paths import runs_folder
from ..common.progress import collect_warnings
from ..common.registry import UnknownName
from ..common.seeds import check_number
from ..common.store import address
from ..data.splits import Task
from ..experiments.arms import CEILING
from ..metrics.estimate import Estimate, from_draws
from ..metrics.many_comparisons import PairedTest, holm, mean_test, paired_test, sign_flip_test
from ..metrics.readable import ReadableTable, readable
from .methods import NAIVE, method_of

UNDEFINED = Estimate(math.nan, math.nan, math.nan, 0)


@dataclass(frozen=True)
class MethodRun:
    """What one run of a method left.

    Attributes:
        probs: (n_test, K) predictions; None where it failed.
        seconds: that it took; trainings that the store held count as when they were made.
        queries: questions about the test that it asked.
        error: why it failed, in one line; "" if it did not.
    """

    probs: np.ndarray | None
    seconds: float
    queries: int = 0
    error: str = ""


@dataclass(frozen=True, eq=False)
class TaskRuns:
    """The runs of all methods on one task.

    Attributes:
        tasks: as each of s seeds deals it.
        supervisor, ceiling: (s, n_test, K) predictions.
        runs: {method: a run per seed}.
        own_ceilings: {method: a run on ground truth per seed}.
        public: (n_test,) bool, the test examples on which methods' questions were answered; all
            measures are then of the others. None where no method could ask.
    """

    tasks: list[Task]
    supervisor: np.ndarray
    ceiling: np.ndarray
    runs: Mapping[str, list[MethodRun]]
    own_ceilings: Mapping[str, list[MethodRun]] = field(default_factory=dict)
    public: np.ndarray | None = None

    @functools.cached_property
    def scored(self) -> np.ndarray:
        """Returns (n,) the rows of the test examples that count."""
        n_test = len(self.tasks[0].test)
        return np.arange(n_test) if self.public is None else np.flatnonzero(~self.public)

    @property
    def truth(self) -> np.ndarray:
        """Returns (n,) the true classes of the examples that count."""
        return self.tasks[0].test.hard_label[self.scored]

    @property
    def group(self) -> np.ndarray:
        """Returns (n,) the groups of the examples that count."""
        return self.tasks[0].test.group[self.scored]

    def all_probs(self, method: str) -> np.ndarray | None:
        """Returns (s, n_test, K) predictions of a method, of the ceiling by its name; None where a
        run failed.
        """
        if method == CEILING:
            return self.ceiling
        return _stack(self.runs[method])

    def probs(self, method: str) -> np.ndarray | None:
        """Returns (s, n, K) predictions for the examples that count; None where a run failed."""
        probs = self.all_probs(method)
        return None if probs is None else probs[:, self.scored]

    def accuracy(self, method: str) -> Estimate:
        """Returns the accuracy of a method, mean over seeds; not defined where it failed."""
        probs = self.probs(method)
        return UNDEFINED if probs is None else metrics.accuracy(probs, self.truth, group=self.group)

    def gains(self, method: str) -> np.ndarray | None:
        """Returns (s, n) right minus naive's right, -1, 0 or 1; None where one of both failed."""
        probs, naive = self.probs(method), self.probs(NAIVE)
        if probs is None or naive is None:
            return None
        return metrics.correct(probs, self.truth).astype(int) - metrics.correct(naive, self.truth)

    def difference(self, method: str) -> Estimate:
        """Returns a method's accuracy minus naive's, paired by example and seed."""
        gains = self.gains(method)
        return UNDEFINED if gains is None else metrics.of_means(np.asarray, gains, group=self.group)

    def pgr(self, method: str, *, own: bool = False) -> Estimate:
        """Returns the performance gap that a method recovers.

        Args:
            own: up to the ceiling of the method itself on ground truth, instead of the one that is
                the same for all methods.
        """
        probs = self.probs(method)
        ceiling = _stack(self.own_ceilings.get(method, [])) if own else self.ceiling
        if probs is None or ceiling is None:
            return UNDEFINED
        with collect_warnings():  # its note says what is held against it
            return metrics.pgr(
                self.supervisor[:, self.scored],
                probs,
                ceiling[:, self.scored],
                self.truth,
                group=self.group,
                chance=self.tasks[0].test.chance,
            )

    def optimism(self, method: str) -> Estimate:
        """Returns a method's accuracy on the public half minus that on the sealed half."""
        probs = self.all_probs(method)
        if probs is None or self.public is None:
            return UNDEFINED
        test = self.tasks[0].test
        right = metrics.correct(probs, test.hard_label)
        public = np.broadcast_to(self.public, right.shape)
        return metrics.of_means(
            lambda hits, n, sealed_hits, sealed_n: hits / n - sealed_hits / sealed_n,
            right * public,
            public,
            right * ~public,
            ~public,
            group=test.group,
        )


@dataclass(frozen=True, eq=False)
class Comparison:
    """Methods compared on one task or several, for one pair of models.

    Attributes:
        weak, strong: model names.
        by_task: {task: its runs}.
        settings: all else that `compare` was given, for those who read a stored comparison.
    """

    weak: str
    strong: str
    by_task: Mapping[str, TaskRuns]
    settings: Mapping = field(default_factory=dict)

    @property
    def _first(self) -> TaskRuns:
        return next(iter(self.by_task.values()))

    @property
    def methods(self) -> list[str]:
        """Returns the names of the methods, naive first, the rows that cost nothing last."""
        return list(self._first.runs)

    @property
    def candidates(self) -> list[str]:
        """Returns the methods that are compared with naive: p-values are corrected for these."""
        return [name for name in self.methods if name != NAIVE and not method_of(name).free]

    @property
    def seeds(self) -> list[int]:
        """Returns the seeds, the same for every task."""
        return [task.seed for task in self._first.tasks]

    @property
    def errors(self) -> dict[str, str]:
        """Returns {method: why its first run that failed did} of those that failed."""
        errors: dict[str, str] = {}
        for task, runs in self.by_task.items():
            for method, of_seeds in runs.runs.items():
                for run in of_seeds:
                    if run.error:
                        errors.setdefault(method, f"{task}: {run.error}")
        return errors

    def test(self, method: str) -> PairedTest:
        """Tests whether a method's accuracy differs from naive's by more than chance.

        Chance is that of examples and, of several, of seeds, on these tasks; see
        `metrics.paired_test`. One seed says nothing of others.

        Raises:
            UnknownName: no such method.
        """
        self._check(method)
        gains = {name: runs.gains(method) for name, runs in self.by_task.items()}
        if any(each is None for each in gains.values()):
            return PairedTest(math.nan, math.nan)
        if len(self.seeds) == 1:
            return self.permutation_test(method)
        groups = {name: runs.group for name, runs in self.by_task.items()}
        return mean_test([paired_test(gains[name], group=groups[name]) for name in gains])

    def permutation_test(self, method: str) -> PairedTest:
        """Tests a method's difference to naive by flipping the signs of whole groups of examples,
        for all seeds alike: of these tasks and seeds, as they were trained.

        Raises:
            UnknownName: no such method.
        """
        self._check(method)
        values, groups = [], []
        for number, runs in enumerate(self.by_task.values()):
            gains = runs.gains(method)
            if gains is None:
                return PairedTest(math.nan, math.nan)
            values.append(gains / gains.shape[1])  # tasks weigh alike
            of_task = np.unique(runs.group, return_inverse=True)[1]
            groups.append(np.stack([np.full(len(of_task), number), of_task], axis=1))
        joined = np.concatenate(values, axis=1)
        numbers = np.unique(np.concatenate(groups), axis=0, return_inverse=True)[1]
        scale = joined.shape[1] / len(values)
        return sign_flip_test(joined * scale, group=numbers.ravel())

    def table(self) -> pd.DataFrame:
        """Returns a row per method, and a last one of the ceiling, with 95 % intervals.

        Returns:
            accuracy, mean over tasks; difference to naive, paired, its interval over examples and
            seeds on these tasks; of several tasks difference_over_tasks, whose interval draws tasks
            too; p of that difference (see `test`), p_holm corrected for the candidates, and
            p_permutation for these seeds alone; pgr up to the one ceiling of all methods, and
            pgr_own up to the method's own on ground truth, of several tasks medians over those
            where it is defined; seconds per task and seed; queries per task and seed and the
            optimism that they bought, where the comparison was sealed; error of a method that
            failed.
        """
        table = pd.DataFrame([self._row(method) for method in [*self.methods, CEILING]])
        corrected = dict(zip(self.candidates, self.corrected(), strict=True))
        place = table.columns.get_loc("p") + 1
        table.insert(place, "p_holm", table.method.map(corrected))
        unused = [] if self.errors else ["error"]
        if self._first.public is None:
            unused += ["queries", "optimism", "optimism_low", "optimism_high"]
        return table.drop(columns=unused)

    def corrected(self) -> np.ndarray:
        """Returns the candidates' p-values, corrected by Holm's method."""
        return holm([self.test(name).p for name in self.candidates])

    def survivors(self, level: float = 0.05) -> pd.DataFrame:
        """Returns which methods differ from naive finetuning, before and after correction.

        Args:
            level: below which a p-value counts.
        Returns:
            Three rows: how many of the methods would differ by chance alone, before correction, if
            all were as good as naive; those that differ before correction; those that do after it.
            Columns n, better and worse, names with commas, the largest difference first.
        """
        check_number(level, "level", low=1e-6, high=1)
        names = [name for name in self.candidates if name not in self.errors]
        tests = {name: self.test(name) for name in names}
        corrected = dict(zip(self.candidates, self.corrected(), strict=True))
        rows = [{"counted": "by chance alone", "n": level * len(names), "better": "", "worse": ""}]
        for counted, p_of in (
            ("before correction", {name: test.p for name, test in tests.items()}),
            ("after correction", corrected),
        ):
            told = [name for name in names if p_of[name] < level]
            told.sort(key=lambda name: -abs(tests[name].value))
            better = [name for name in told if tests[name].value > 0]
            worse = [name for name in told if tests[name].value < 0]
            row = {"counted": counted, "n": len(told)}
            rows.append(row | {"better": ", ".join(better), "worse": ", ".join(worse)})
        return pd.DataFrame(rows).set_index("counted")

    def smallest_told(self, level: float = 0.05, power: float = 0.8) -> float:
        """Returns the difference to naive that this comparison would find, before correction.

        It is that of the usual method, the median over candidates of margin + z standard errors.

        Args:
            level: below which a p-value counts.
            power: the share of comparisons like this one that would find it.
        """
        check_number(power, "power", low=0.5, high=0.999)
        tests = [self.test(name) for name in self.candidates if name not in self.errors]
        z = float(norm.ppf(power))
        return float(np.median([test.margin(level) + z * test.se for test in tests]))

    def differences_by_task(self) -> ReadableTable:
        """Returns each candidate's difference to naive on each task, paired, with 95 % intervals;
        the largest mean first.
        """
        rows = []
        for name in self.candidates:
            of_tasks = {task: runs.difference(name) for task, runs in self.by_task.items()}
            row: dict = {
                "method": name,
                "mean": np.mean([each.value for each in of_tasks.values()]),
            }
            for task, difference in of_tasks.items():
                row |= difference.as_dict(task)
            rows.append(row)
        table = pd.DataFrame(rows).set_index("method")
        table = table.sort_values("mean", ascending=False, kind="stable")
        return readable(table, {task: task for task in self.by_task}, form="+.3f")

    def _row(self, method: str) -> dict:
        row: dict = {"method": method, "kind": self._kind(method)}
        row |= self._mean(lambda runs: runs.accuracy(method)).as_dict("accuracy")
        row |= self._mean(lambda runs: runs.difference(method)).as_dict("difference")
        if len(self.by_task) > 1:
            row |= self._over_tasks("mean", lambda runs: runs.difference(method)).as_dict(
                "difference_over_tasks"
            )
        tested = method in self.candidates
        row["p"] = self.test(method).p if tested else math.nan
        row["p_permutation"] = self.permutation_test(method).p if tested else math.nan
        for name, own in (("pgr", False), ("pgr_own", True)):
            measure = functools.partial(TaskRuns.pgr, method=method, own=own)
            row |= self._over_tasks("median", measure).as_dict(name)
        every = [] if method == CEILING else self._runs_of(method)
        row["seconds"] = float(np.mean([run.seconds for run in every])) if every else math.nan
        row["queries"] = float(np.mean([run.queries for run in every])) if every else 0.0
        row |= self._mean(lambda runs: runs.optimism(method)).as_dict("optimism")
        return row | {"error": self.errors.get(method, "")}

    def _kind(self, method: str) -> str:
        if method == CEILING:
            return "ceiling"
        return "free" if method_of(method).free else "method"

    def _runs_of(self, method: str) -> list[MethodRun]:
        return [run for runs in self.by_task.values() for run in runs.runs[method]]

    def _mean(self, measure: Callable[[TaskRuns], Estimate]) -> Estimate:
        """Returns the mean over these tasks; its interval draws seeds and examples."""
        each = [measure(runs) for runs in self.by_task.values()]
        if len(each) == 1:
            return each[0]
        of_tasks = [one.draws for one in each if one.draws is not None]
        if len(of_tasks) < len(each):
            return UNDEFINED
        # tasks must not share the seeds that a draw takes: those of each are moved on
        step = len(of_tasks[0]) // len(each)
        draws = [np.roll(of_task, step * i) for i, of_task in enumerate(of_tasks)]
        value = float(np.mean([one.value for one in each]))
        n_examples = sum(one.n for one in each)
        return from_draws(value, np.mean(draws, axis=0), n_examples, each[0].seeds)

    def _over_tasks(self, how: str, measure: Callable[[TaskRuns], Estimate]) -> Estimate:
        """Returns the mean or median over tasks like these; of one task its number."""
        each = {task: measure(runs) for task, runs in self.by_task.items()}
        if len(each) == 1 or all(one is UNDEFINED for one in each.values()):
            return next(iter(each.values()))
        return metrics.over_tasks(how, each)

    def of_task(self, task: str) -> Comparison:
        """Returns the comparison on one of its tasks.

        Raises:
            UnknownName: it was not run on that task.
        """
        if task not in self.by_task:
            raise UnknownName("task of this comparison", str(task), self.by_task)
        return replace(self, by_task={task: self.by_task[task]})

    def tables(self) -> pd.DataFrame:
        """Returns `table` of each task, with the column task; p_holm is corrected within a task."""
        each = {task: self.of_task(task).table() for task in self.by_task}
        return pd.concat(each, names=["task"]).reset_index("task").reset_index(drop=True)

    def as_dict(self) -> dict:
        """Returns the comparison as strict JSON can hold it: settings, sizes, table, and tables."""
        sizes = {
            task: {
                "n_train": len(runs.tasks[0].student),
                "n_test": len(runs.tasks[0].test),
                "n_scored": len(runs.scored),
                "data": runs.tasks[0].data_version,
            }
            for task, runs in self.by_task.items()
        }
        return to_strict_json(
            {
                "weak": self.weak,
                "strong": self.strong,
                "seeds": self.seeds,
                "tasks": sizes,
                "settings": dict(self.settings),
                "about": {name: method_of(name).about for name in self.methods},
                "canonical": {
                    name: method_of(name).canonical(self.strong) for name in self.methods
                },
                "table": self.table().to_dict("records"),
                "by_task": self.tables().to_dict("records"),
            }
        )

    def write(self, path: str | Path | None = None) -> Path:
        """Writes `as_dict` as JSON, and returns where.

        Args:
            path: of the file; None takes a name of its own in papermill_runs/comparisons.
        """
        content = self.as_dict()
        if path is None:
            decided = {
                key: content[key] for key in ("weak", "strong", "seeds", "tasks", "settings")
            }
            name = address(decided | {"methods": self.methods})[:8]
            path = runs_folder() / "comparisons" / f"{self._named()}-{name}.json"
        path = Path(path).expanduser()
        write_json(path, content)
        return path

    def _named(self) -> str:
        """Names the comparison in a file's name: its task, or how many."""
        if len(self.by_task) > 1:
            return f"{len(self.by_task)}-tasks"
        return re.sub(r"\W+", "-", next(iter(self.by_task)))

    def lines(self) -> list[str]:
        """Returns the table as lines of text, for a terminal."""
        table = self.table()
        lines = [
            f"{self!r}".split("\n")[0],
            "value [95 % interval]; difference to naive, paired",
            "",
        ]
        lines.append(f"{'method':<22}{'accuracy':<22}{'difference':<26}{'p_holm':<9}seconds")
        for row in table.to_dict("records"):
            cells = [interval_cell(row, "accuracy"), interval_cell(row, "difference", "+.3f")]
            p = "" if math.isnan(row["p_holm"]) else f"{row['p_holm']:.3f}"
            seconds = "" if math.isnan(row["seconds"]) else f"{row['seconds']:.1f}"
            line = f"{row['method']:<22}{cells[0]:<22}{cells[1]:<26}{p:<9}{seconds}"
            lines.append(f"{line.rstrip()}  {row.get('error', '')}".rstrip())
        return lines

    def _check(self, method: str) -> None:
        if method not in (*self.methods, CEILING):
            raise UnknownName("method of this comparison", str(method), [*self.methods, CEILING])

    def __repr__(self) -> str:
        tasks = ", ".join(self.by_task)
        return (
            f"Comparison: {self.weak} teaches {self.strong}, {tasks}, seeds "
            f"{', '.join(map(str, self.seeds))}\n  {'; '.join(self.methods)}"
        )

    def _repr_html_(self) -> str:
        return readable(self.table().set_index("method"))._repr_html_()


def _stack(runs: list[MethodRun]) -> np.ndarray | None:
    """Returns (s, n_test, K) predictions; None without runs, or where one failed."""
    probs = [run.probs for run in runs if run.probs is not None]
    return np.stack(probs) if probs and len(probs) == len(runs) else None
