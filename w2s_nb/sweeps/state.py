"""Keeps the state of a sweep's runs: index, results, what is left, and how long that will take."""

from __future__ import annotations

import json
import statistics
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from ..common.files import write_atomic
from ..common.paths import runs_folder
from .grid import RunSpec, Sweep
from .running import DONE, read_outcome, read_result

if TYPE_CHECKING:
    import pandas as pd

PLANNED, RUNNING = "planned", "running"


class SweepRuns:
    """A sweep and what became of its runs.

    Attributes:
        sweep: its grid.
        state: {address: 'planned', 'running', 'done', 'failed', ...} of each run.
        outcomes: {address: what `running.execute` returned for the runs that ended}.
        attempts: {address: how often this call started it}.
    """

    def __init__(self, sweep: Sweep):
        self.sweep = sweep
        self.attempts: Counter[str] = Counter()
        self.state: dict[str, str] = {}
        self.outcomes: dict[str, dict] = {}
        self._tables: dict[str, list[dict]] = {}
        for run in sweep.runs:
            outcome = read_outcome(self.folder_of(run), run.address)
            self.state[run.address] = outcome["state"] if outcome else PLANNED
            if outcome:
                self.outcomes[run.address] = outcome

    def folder_of(self, run: RunSpec) -> Path:
        """Returns the folder of a run: `run.json`, `result.json` and the executed
        `notebook.ipynb`.
        """
        return self.sweep.folder / "runs" / run.address

    @property
    def done(self) -> list[RunSpec]:
        """Runs that are done."""
        return [run for run in self.sweep.runs if self.state[run.address] == DONE]

    @property
    def unfinished(self) -> list[RunSpec]:
        """Runs that are not done."""
        return [run for run in self.sweep.runs if self.state[run.address] != DONE]

    def asked_for(self, only: str | None) -> list[RunSpec]:
        """Returns the run of an address; None returns all runs."""
        return [run for run in self.sweep.runs if only in (None, run.address)]

    def result_of(self, run: RunSpec) -> dict:
        """Reads the table that a done run's notebook wrote, with its parameters.

        Raises:
            ValueError: the file was whole when the run ended and is not now.
        """
        folder = self.folder_of(run)
        result = read_result(folder) if read_outcome(folder, run.address) else None
        if result is None:
            raise ValueError(
                f"run {run.address} of {self.sweep.name} is done, but its result.json is gone or "
                f"damaged; the same sweep runs it again"
            )
        return result

    def index(self) -> pd.DataFrame:
        """Returns one row per run: run, state, attempts, seconds, error, output (its executed
        notebook) and parameters.
        """
        import pandas as pd

        return pd.DataFrame([self._index_row(run) for run in self.sweep.runs])

    def _index_row(self, run: RunSpec) -> dict:
        outcome = self.outcomes.get(run.address, {})
        output = self.folder_of(run) / "notebook.ipynb"
        return {
            "run": run.address,
            "state": self.state[run.address],
            "attempts": outcome.get("attempts", 0),
            "seconds": outcome.get("seconds"),
            "error": outcome.get("error", ""),
            "output": str(output.relative_to(self.sweep.folder)) if output.is_file() else "",
            "notebook": run.notebook.stem,
            **run.parameters,
        }

    def results(self) -> pd.DataFrame:
        """Returns one row per arm of each done run: the run, its parameters, and the notebook's
        main table.

        Where parameters and table have a column of one name, the table's stands.
        """
        import pandas as pd

        rows = [row for run in self.done for row in self._table_of(run)]
        return pd.DataFrame(rows).drop(columns="results", errors="ignore")

    def _table_of(self, run: RunSpec) -> list[dict]:
        """Returns the rows of a done run, read once."""
        if run.address not in self._tables:
            result = self.result_of(run)
            shared = {"run": run.address, "notebook": run.notebook.stem, **result["parameters"]}
            self._tables[run.address] = [shared | row for row in result["table"]]
        return self._tables[run.address]

    def write(self) -> None:
        """Writes `index.parquet` and `results.parquet` in the sweep's folder."""
        for name, frame in (("index", self.index()), ("results", self.results())):
            for column in frame.columns[frame.dtypes == "object"]:
                # Two notebooks may have parameters of one name and different types; parquet wants
                # one type.
                if frame[column].dropna().map(type).nunique() > 1:
                    frame[column] = frame[column].map(json.dumps)
            write_atomic(self.sweep.folder / f"{name}.parquet", frame.to_parquet(index=False))

    def choose_next(self, waiting: list[RunSpec], under_way: list[RunSpec]) -> RunSpec:
        """Chooses the run to start: the first whose models and task no run under way is the first
        to need.

        A run under way makes the labels, ceilings and activations that both want; a second run
        would only wait for them.
        """
        in_the_making = set().union(*map(shared_needs, under_way))
        in_the_making -= set().union(*map(shared_needs, self.done))
        free = (run for run in waiting if not shared_needs(run) & in_the_making)
        return next(free, waiting[0])

    def estimate(self, jobs: int, of: list[RunSpec] | None = None) -> tuple[float | None, int]:
        """Returns (seconds that runs will take, of how many of them earlier runs tell the time).

        Args:
            jobs: runs at once.
            of: the runs; None takes those that are unfinished.

        A run is expected to last as long as the median of the most similar earlier runs of its
        notebook, in any sweep.
        """
        earlier = _earlier_runs()
        runs = self.unfinished if of is None else of
        guesses = [_expected_seconds(run, earlier) for run in runs]
        known = [seconds for seconds in guesses if seconds is not None]
        if not known:
            return None, 0
        at_once = max(1, min(jobs, len(guesses)))
        return statistics.mean(known) * len(guesses) / at_once, len(known)

    def summary(self) -> str:
        """Returns one line: how many runs are in which state."""
        counts = Counter(self.state.values())
        states = ", ".join(f"{n} {state}" for state, n in sorted(counts.items()))
        return f"{self.sweep.name}: {len(self.state)} runs, {states}"


def shared_needs(run: RunSpec) -> set:
    """Returns what a run may share with others: its task with its supervisor, and with its
    student.
    """
    parameters = run.parameters
    return {
        (run.notebook, parameters.get("task"), role, parameters[role])
        for role in ("weak", "strong")
        if role in parameters
    }


def _earlier_runs() -> list[dict]:
    folders = [path.parent for path in runs_folder().glob("*/runs/*/run.json")]
    outcomes = [read_outcome(folder, folder.name) for folder in folders]
    return [outcome for outcome in outcomes if outcome and outcome["state"] == DONE]


def _expected_seconds(run: RunSpec, earlier: list[dict]) -> float | None:
    """Returns the median seconds of the earlier runs that share most parameters with a run; None
    without any.
    """
    by_similarity: dict[int, list[float]] = {}
    for other in earlier:
        if other["notebook"] == run.notebook.stem:
            same = sum(other["parameters"].get(k) == v for k, v in run.parameters.items())
            by_similarity.setdefault(same, []).append(other["seconds"])
    if not by_similarity:
        return None
    return statistics.median(by_similarity[max(by_similarity)])
