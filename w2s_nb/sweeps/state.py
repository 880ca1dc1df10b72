"""What became of a sweep's runs: states, index, results, and what is left and what that will cost."""

from __future__ import annotations

import contextlib
import json
import statistics
from collections import Counter
from pathlib import Path

import pandas as pd

from ..common.files import write_atomic
from ..common.paths import runs_folder
from .grid import RunSpec, Sweep
from .running import DONE, outcome_of, result_of

PLANNED, RUNNING = "planned", "running"


class SweepRuns:
    """A sweep and what became of its runs.

    Attributes:
        sweep: its grid.
        state: {address: 'planned', 'running', 'done', 'failed', ...} of each run.
        outcomes: {address: what `running.execute` said of the runs that ended}.
        attempts: {address: how often it was started, by this call}.
    """

    def __init__(self, sweep: Sweep):
        self.sweep, self.attempts, self.state, self._tables = sweep, Counter(), {}, {}
        self.outcomes: dict[str, dict] = {}
        for run in sweep.runs:
            found = outcome_of(self.folder_of(run), run.address)
            self.state[run.address] = found["state"] if found else PLANNED
            if found:
                self.outcomes[run.address] = found

    def folder_of(self, run: RunSpec) -> Path:
        """The folder of a run: `run.json`, `result.json` and the executed `notebook.ipynb`."""
        return self.sweep.folder / "runs" / run.address

    @property
    def left(self) -> list[RunSpec]:
        """Runs that are not done."""
        return [run for run in self.sweep.runs if self.state[run.address] != DONE]

    def index(self) -> pd.DataFrame:
        """A row a run: run, state, attempts, seconds, error, output (its executed notebook) and its parameters."""
        rows = []
        for run in self.sweep.runs:
            found, output = (
                self.outcomes.get(run.address, {}),
                self.folder_of(run) / "notebook.ipynb",
            )
            rows.append(
                {
                    "run": run.address,
                    "state": self.state[run.address],
                    "attempts": found.get("attempts", 0),
                    "seconds": found.get("seconds"),
                    "error": found.get("error", ""),
                    "output": str(output.relative_to(self.sweep.folder))
                    if output.is_file()
                    else "",
                    "notebook": run.notebook.stem,
                    **run.parameters,
                }
            )
        return pd.DataFrame(rows)

    def results(self) -> pd.DataFrame:
        """A row a done run and arm: the run, its parameters, and the notebook's main table; the table's own columns
        stand where both have one."""
        rows = []
        for run in self.sweep.runs:
            if self.state[run.address] == DONE:
                if run.address not in self._tables:
                    result = result_of(self.folder_of(run))
                    self._tables[run.address] = [
                        {
                            "run": run.address,
                            "notebook": run.notebook.stem,
                            **result["parameters"],
                            **row,
                        }
                        for row in result["table"]
                    ]
                rows += self._tables[run.address]
        return pd.DataFrame(rows).drop(columns="results", errors="ignore")

    def write(self) -> None:
        """Writes `index.parquet` and `results.parquet` in the sweep's folder."""
        for name, frame in (("index", self.index()), ("results", self.results())):
            for column in frame.columns[frame.dtypes == object]:
                if (
                    frame[column].dropna().map(type).nunique() > 1
                ):  # another notebook's parameter of the same name
                    frame[column] = frame[column].map(json.dumps)
            write_atomic(self.sweep.folder / f"{name}.parquet", frame.to_parquet(index=False))

    def next_of(self, waiting: list[RunSpec], going: list[RunSpec]) -> RunSpec:
        """The run to start: rather one whose models and task no run under way is the first to need, since that one is
        making the labels, ceilings and activations that both want, and a second would wait for them."""
        busy = set().union(*(shared(run) for run in going)) - self._made()
        return next((run for run in waiting if not shared(run) & busy), waiting[0])

    def _made(self) -> set:
        return set().union(
            *(shared(run) for run in self.sweep.runs if self.state[run.address] == DONE)
        )

    def estimate(self, jobs: int) -> tuple[float | None, int]:
        """(seconds that the runs left will take, how many of them earlier runs say something about).

        A run is taken to last as the median of the most similar earlier ones of its notebook, in any sweep.
        """
        earlier = _earlier_runs()
        guesses = [_guess(run, earlier) for run in self.left]
        known = [g for g in guesses if g is not None]
        if not known:
            return None, 0
        return statistics.mean(known) * len(guesses) / max(1, min(jobs, len(guesses))), len(known)

    def summary(self) -> str:
        """How many runs are in which state, one line."""
        counts = Counter(self.state.values())
        return f"{self.sweep.name}: {len(self.state)} runs, " + ", ".join(
            f"{n} {s}" for s, n in sorted(counts.items())
        )


def shared(run: RunSpec) -> set:
    """What a run may share with others: its task with its supervisor, and with its student."""
    given = run.parameters
    return {
        (run.notebook, given.get("task"), name, given.get(name))
        for name in ("weak", "strong")
        if name in given
    }


def _earlier_runs() -> list[dict]:
    found = []
    for path in runs_folder().glob("*/runs/*/run.json"):
        with contextlib.suppress(OSError, ValueError):
            found.append(json.loads(path.read_text()))
    return [run for run in found if run.get("state") == DONE]


def _guess(run: RunSpec, earlier: list[dict]) -> float | None:
    """Seconds of the earlier runs that share most parameters with a run, their median; None without any."""
    alike = {}
    for other in earlier:
        if other["notebook"] == run.notebook.stem:
            same = sum(other["parameters"].get(k) == v for k, v in run.parameters.items())
            alike.setdefault(same, []).append(other["seconds"])
    return statistics.median(alike[max(alike)]) if alike else None
