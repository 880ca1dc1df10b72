"""Runs a sweep: what is missing, failed or changed, on an engine; keeps the index; says how it goes."""

from __future__ import annotations

import contextlib
import functools
import sys
import time
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, wait
from pathlib import Path

from ..common.paths import home, shown
from ..common.registry import UnknownName
from . import running
from .engines import ENGINES, Engine, engine_of
from .grid import RunSpec
from .reading import read
from .running import DONE, RETRIED, outcome_of
from .state import PLANNED, RUNNING, SweepRuns


def run_sweep(
    given: str | Path | dict,
    *,
    engine: str = "local",
    jobs: int | None = None,
    address: str | None = None,
    retries: int = 2,
    only: str | None = None,
    dry_run: bool = False,
    show: Callable[[SweepRuns, float], None] | None = None,
) -> SweepRuns:
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
    if engine not in ENGINES:
        raise UnknownName("engine", str(engine), ENGINES)
    runs, started = SweepRuns(sweep), time.perf_counter()
    if sweep.remote:
        running.fetch(sweep.remote, [run.address for run in runs.left], sweep.folder / "runs")
        runs = SweepRuns(sweep)
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


def _loop(
    runs: SweepRuns,
    waiting: list[RunSpec],
    engine: Engine,
    retries: int,
    changed: Callable[[], None],
) -> None:
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
            going[
                engine.submit(
                    {
                        "folder": str(runs.folder_of(run)),
                        "address": run.address,
                        "notebook": run.notebook.stem,
                        "source": run.source,
                        "parameters": run.parameters,
                        "attempt": runs.attempts[run.address],
                        "seconds": limit and limit * 60,
                        "cwd": str(Path.cwd()),
                        "remote": runs.sweep.remote,
                        "store": str(home()),
                    }
                )
            ] = run
        ended, _ = wait(
            going, timeout=5, return_when=FIRST_COMPLETED
        )  # a cluster may have grown meanwhile
        for future in ended:
            run = going.pop(future)
            outcome = _outcome(future, run, runs)
            again = outcome["state"] in RETRIED and runs.attempts[run.address] <= retries
            runs.state[run.address] = PLANNED if again else outcome["state"]
            runs.outcomes[run.address] = outcome
            waiting += [run] if again else []
        if ended:
            changed()


def _outcome(future: Future, run: RunSpec, runs: SweepRuns) -> dict:
    """What a run came to, whatever befell it, and in its folder here."""
    try:
        outcome = future.result()
        if runs.sweep.remote:
            running.fetch(runs.sweep.remote, [run.address], runs.sweep.folder / "runs")
    except Exception as error:  # one run's; the others go on
        of = {
            "address": run.address,
            "notebook": run.notebook.stem,
            "parameters": run.parameters,
            "attempt": runs.attempts[run.address],
        }
        outcome = running.ended(of, running.LOST, f"{type(error).__name__}: {error}")
    if outcome_of(runs.folder_of(run), run.address) is None:  # who ran it could not say so
        with contextlib.suppress(OSError):  # nor can this process: then the index alone does
            running.write(runs.folder_of(run), outcome)
    return outcome


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
                print(
                    f"[{len(ended)}/{len(runs.state)}, {seconds:.0f} s] {found['state']} {took} "
                    f"{runs.sweep.short(run)} {found['error']}".rstrip(),
                    flush=True,
                )


class _Table:
    """A table in a notebook, redrawn in place: states, and what runs or failed."""

    def __init__(self):
        self.handle = None

    def __call__(self, runs: SweepRuns, seconds: float) -> None:
        """Redraws the table."""
        from IPython.display import display

        index = runs.index()
        rows = index[~index.state.isin((PLANNED, DONE))][
            ["state", *runs.sweep.varied, "attempts", "error"]
        ].head(20)
        caption = f"{runs.summary()}; {seconds:.0f} s ({shown(runs.sweep.folder)})"
        view = rows.style.hide(axis="index").set_caption(caption)
        if self.handle is None:
            self.handle = display(view, display_id=True)
        else:
            self.handle.update(view)
