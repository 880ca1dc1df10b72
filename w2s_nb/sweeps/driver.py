"""Runs a sweep: what is missing, failed or changed, on an engine; keeps the index; says how it goes."""
from __future__ import annotations

import contextlib
import functools
import json
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, wait
from pathlib import Path

import pandas as pd

from ..config import home, runs_folder, shown, write_atomic
from ..registry import UnknownName
from . import running
from .engines import Engine, engine_of
from .grid import RunSpec, Sweep, read
from .running import DONE, RETRIED, outcome_of, result_of

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
            found, output = self.outcomes.get(run.address, {}), self.folder_of(run) / "notebook.ipynb"
            rows.append({"run": run.address, "state": self.state[run.address],
                         "attempts": found.get("attempts", 0), "seconds": found.get("seconds"),
                         "error": found.get("error", ""),
                         "output": str(output.relative_to(self.sweep.folder)) if output.is_file() else "",
                         "notebook": run.notebook.stem, **run.parameters})
        return pd.DataFrame(rows)

    def results(self) -> pd.DataFrame:
        """A row a done run and arm: the run, its parameters, and the notebook's main table; the table's own columns
        stand where both have one."""
        rows = []
        for run in self.sweep.runs:
            if self.state[run.address] == DONE:
                if run.address not in self._tables:
                    result = result_of(self.folder_of(run))
                    self._tables[run.address] = [{"run": run.address, "notebook": run.notebook.stem,
                                                  **result["parameters"], **row} for row in result["table"]]
                rows += self._tables[run.address]
        return pd.DataFrame(rows).drop(columns="results", errors="ignore")

    def write(self) -> None:
        """Writes `index.parquet` and `results.parquet` in the sweep's folder."""
        for name, frame in (("index", self.index()), ("results", self.results())):
            for column in frame.columns[frame.dtypes == object]:
                if frame[column].dropna().map(type).nunique() > 1:  # another notebook's parameter of the same name
                    frame[column] = frame[column].map(json.dumps)
            write_atomic(self.sweep.folder / f"{name}.parquet", frame.to_parquet(index=False))

    def next_of(self, waiting: list[RunSpec], going: list[RunSpec]) -> RunSpec:
        """The run to start: rather one whose models and task no run under way is the first to need, since that one is
        making the labels, ceilings and activations that both want, and a second would wait for them."""
        busy = set().union(*(shared(run) for run in going)) - self._made()
        return next((run for run in waiting if not shared(run) & busy), waiting[0])

    def _made(self) -> set:
        return set().union(*(shared(run) for run in self.sweep.runs if self.state[run.address] == DONE))

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
        return f"{self.sweep.name}: {len(self.state)} runs, " + ", ".join(f"{n} {s}" for s, n in sorted(counts.items()))


def shared(run: RunSpec) -> set:
    """What a run may share with others: its task with its supervisor, and with its student."""
    given = run.parameters
    return {(run.notebook, given.get("task"), name, given.get(name)) for name in ("weak", "strong") if name in given}


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
        if Path(other["notebook"]).stem == run.notebook.stem:
            same = sum(other["parameters"].get(k) == v for k, v in run.parameters.items())
            alike.setdefault(same, []).append(other["seconds"])
    return statistics.median(alike[max(alike)]) if alike else None


def run_sweep(given: str | Path | dict, *, engine: str = "local", jobs: int | None = None, address: str | None = None,
              retries: int = 2, only: str | None = None, dry_run: bool = False,
              show: Callable[[SweepRuns, float], None] | None = None) -> SweepRuns:
    """Runs what a sweep has left, by papermill, each run in its folder of `papermill_runs/<name>`.

    A second call runs only what is missing, failed or changed. Whatever befalls one run, the others go on, and the
    index says what it was. Ctrl-C stops what runs; fits that were whole are kept.

    Args:
        given: a YAML file, or what one says; see `sweeps.Sweep`.
        engine: 'local' or 'ray'; jobs, address: see `engine_of`.
        retries: how often a run is tried again whose kernel or worker died, did not start, or ran out of time.
            A notebook that raises is not tried again.
        only: address of the one run to run; None runs all.
        dry_run: starts nothing.
        show: called with the runs and the seconds so far, at every change; None shows a table in a notebook, lines
            elsewhere.
    Raises:
        As `sweeps.read` and `engine_of`, before anything starts.
    """
    sweep = read(given)
    runs, started = SweepRuns(sweep), time.perf_counter()
    if only is not None and only not in runs.state:
        raise UnknownName(f"run of {sweep.name}", only, runs.state)
    if dry_run:
        return runs
    notebook = "IPython" in sys.modules and sys.modules["IPython"].get_ipython()
    show = show or (_Table() if notebook else _Lines())
    at = engine_of(engine, sweep.resources, jobs=jobs, address=address)
    now = True
    try:
        waiting = [run for run in runs.left if only in (None, run.address)]
        _loop(runs, waiting, at, retries, functools.partial(_shown, show, runs, started))
        now = False
    finally:
        at.close(now=now)
        for one, state in runs.state.items():
            runs.state[one] = PLANNED if state == RUNNING else state
        runs.write()
    return runs


def _shown(show, runs, started) -> None:
    runs.write()
    show(runs, time.perf_counter() - started)


def _loop(runs: SweepRuns, waiting: list[RunSpec], engine: Engine, retries: int, changed: Callable[[], None]) -> None:
    going, limit = {}, runs.sweep.resources.minutes
    for run in waiting:
        runs.state[run.address] = PLANNED
        runs.outcomes.pop(run.address, None)
    changed()
    while waiting or going:
        while waiting and len(going) < engine.slots():
            run = runs.next_of(waiting, list(going.values()))
            waiting.remove(run)
            runs.state[run.address] = RUNNING
            runs.attempts[run.address] += 1
            going[engine.submit({
                "folder": str(runs.folder_of(run)), "address": run.address, "notebook": str(run.notebook),
                "parameters": run.parameters, "attempt": runs.attempts[run.address], "seconds": limit and limit * 60,
                "remote": runs.sweep.remote, "store": str(home())})] = run
        ended, _ = wait(going, timeout=5, return_when=FIRST_COMPLETED)  # a cluster may have grown meanwhile
        for future in ended:
            run, outcome = going.pop(future), future.result()
            again = outcome["state"] in RETRIED and runs.attempts[run.address] <= retries
            runs.state[run.address] = PLANNED if again else outcome["state"]
            runs.outcomes[run.address] = outcome
            if runs.sweep.remote and outcome["state"] != running.LOST:
                running.fetch(runs.sweep.remote, run.address, runs.folder_of(run))
            elif outcome["state"] == running.LOST:  # who ran it cannot say so
                runs.folder_of(run).mkdir(parents=True, exist_ok=True)
                running.write(runs.folder_of(run), outcome)
            waiting += [run] if again else []
        if ended:
            changed()


class _Lines:
    """Says in a terminal or a log file what ended, one line each."""

    def __init__(self):
        self.said = None

    def __call__(self, runs: SweepRuns, seconds: float) -> None:
        """Prints the runs that ended since the last call."""
        if self.said is None:
            print(runs.summary(), flush=True)
            self.said = {a for a, s in runs.state.items() if s == DONE}
        ended = {a: s for a, s in runs.state.items() if s not in (PLANNED, RUNNING)}
        for run in runs.sweep.runs:
            if run.address in ended and run.address not in self.said:
                self.said.add(run.address)
                found = runs.outcomes[run.address]
                took = f"{found['seconds']:.0f} s" if found["seconds"] else ""
                print(f"[{len(ended)}/{len(runs.state)}, {seconds:.0f} s] {found['state']} {took} "
                      f"{runs.sweep.short(run)} {found['error']}".rstrip(), flush=True)


class _Table:
    """A table in a notebook, redrawn in place: states, and what runs or failed."""

    def __init__(self):
        self.handle = None

    def __call__(self, runs: SweepRuns, seconds: float) -> None:
        """Redraws the table."""
        from IPython.display import display

        index = runs.index()
        rows = index[~index.state.isin((PLANNED, DONE))][["state", *runs.sweep.varied, "attempts", "error"]].head(20)
        caption = f"{runs.summary()}; {seconds:.0f} s ({shown(runs.sweep.folder)})"
        view = rows.style.hide(axis="index").set_caption(caption)
        if self.handle is None:
            self.handle = display(view, display_id=True)
        else:
            self.handle.update(view)
