"""Runs a sweep: what is missing, failed or changed, on an engine; keeps the index; says how it goes."""
from __future__ import annotations

import functools
import sys
import time
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, wait
from pathlib import Path

from ..config import home, shown
from ..registry import UnknownName
from . import running
from .engines import Engine, engine_of
from .grid import RunSpec, read
from .running import DONE, RETRIED
from .state import PLANNED, RUNNING, SweepRuns


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
                "cwd": str(Path.cwd()), "remote": runs.sweep.remote, "store": str(home())})] = run
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
