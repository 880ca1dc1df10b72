"""Runs what a sweep has left on an engine, keeps its index, and says how it goes."""

from __future__ import annotations

import contextlib
import html
import sys
import time
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, wait
from pathlib import Path
from typing import TYPE_CHECKING

from ..common.paths import home, short_path
from ..common.registry import UnknownName
from ..common.seeds import check_count
from . import running
from .grid import ENGINES, RunSpec
from .reading import read_sweep
from .running import DONE, RETRIED, read_outcome
from .state import PLANNED, RUNNING, SweepRuns

if TYPE_CHECKING:
    import pandas as pd
    from pandas.io.formats.style import Styler

POLL = 5  # seconds after which free slots are counted again: a cluster may have grown


def run_sweep(
    file_or_dict: str | Path | dict,
    *,
    engine: str = "local",
    jobs: int | None = None,
    address: str | None = None,
    retries: int = 2,
    only: str | None = None,
    dry_run: bool = False,
    show: Callable[[SweepRuns, float], None] | None = None,
) -> SweepRuns:
    """Runs what a sweep has left by papermill, each run in its folder of `papermill_runs/<name>`.

    A second call runs only what is missing, failed or changed. Whatever befalls one run, the others
    go on, and the index says what happened to it. Ctrl-C stops the runs under way; finished fits
    are kept.

    Args:
        file_or_dict: a YAML file, or what one says; see `sweeps.Sweep`.
        engine: 'local' or 'ray'; jobs, address: see `start_engine`.
        retries: how often a run is tried again whose kernel or worker died, did not start, or ran
            out of time. A notebook that raises is not tried again.
        only: address of the one run to run; None runs all.
        dry_run: starts nothing.
        show: called with the runs and the seconds so far, at every change; None shows a table in a
            notebook, lines elsewhere.
    Raises:
        As `sweeps.read_sweep` and `start_engine`, before anything starts.
    """
    if engine not in ENGINES:
        raise UnknownName("engine", str(engine), ENGINES)
    check_count(retries, "retries", low=0)
    sweep = read_sweep(file_or_dict)
    started = time.perf_counter()
    runs = SweepRuns(sweep)
    if sweep.remote:
        unfinished = [run.address for run in runs.unfinished]
        running.fetch(sweep.remote, unfinished, sweep.folder / "runs")
        runs = SweepRuns(sweep)
    if only is not None and only not in runs.state:
        raise UnknownName(f"run of {sweep.name}", only, runs.state)
    if dry_run:
        return runs

    from .engines import start_engine

    show = show or (_Table() if _in_notebook() else _Lines())

    def changed() -> None:
        runs.write()
        show(runs, time.perf_counter() - started)

    engine_here = start_engine(engine, sweep.resources, jobs=jobs, address=address)
    stop_at_once = True  # unless every run has ended
    try:
        waiting = [run for run in runs.unfinished if only in (None, run.address)]
        _run_all(runs, waiting, engine_here, retries, changed)
        stop_at_once = False
    finally:
        engine_here.close(now=stop_at_once)
        for run_address, state in runs.state.items():
            if state == RUNNING:
                runs.state[run_address] = PLANNED
        runs.write()
    return runs


def _in_notebook() -> bool:
    return "IPython" in sys.modules and sys.modules["IPython"].get_ipython() is not None


def _run_all(runs: SweepRuns, waiting: list[RunSpec], engine, retries: int, changed) -> None:
    """Keeps the engine's slots full until no run waits; `changed` is called whenever a state
    changes.
    """
    under_way: dict[Future, RunSpec] = {}
    for run in waiting:
        runs.state[run.address] = PLANNED
        runs.outcomes.pop(run.address, None)
    changed()
    while waiting or under_way:
        while waiting and len(under_way) < engine.slots():
            run = runs.choose_next(waiting, list(under_way.values()))
            waiting.remove(run)
            runs.state[run.address] = RUNNING
            runs.attempts[run.address] += 1
            under_way[engine.submit(_order(runs, run))] = run
        ended, _ = wait(under_way, timeout=POLL, return_when=FIRST_COMPLETED)
        for future in ended:
            run = under_way.pop(future)
            outcome = _outcome(future, run, runs)
            again = outcome["state"] in RETRIED and runs.attempts[run.address] <= retries
            runs.outcomes[run.address] = outcome
            runs.state[run.address] = PLANNED if again else outcome["state"]
            if again:
                waiting.append(run)
        if ended:
            changed()


def _order(runs: SweepRuns, run: RunSpec) -> dict:
    """Returns what `running.execute` needs to know of a run."""
    minutes = runs.sweep.resources.minutes
    return {
        "folder": str(runs.folder_of(run)),
        "address": run.address,
        "notebook": run.notebook.stem,
        "source": run.source,
        "parameters": run.parameters,
        "plugins": run.plugins,
        "attempt": runs.attempts[run.address],
        "seconds": minutes and minutes * 60,
        "cwd": str(Path.cwd()),
        "remote": runs.sweep.remote,
        "store": str(home()),
    }


def _outcome(future: Future, run: RunSpec, runs: SweepRuns) -> dict:
    """Returns the outcome of a run that ended, whatever befell it, and sees that its folder here
    holds it.
    """
    try:
        outcome = future.result()
        if runs.sweep.remote:
            running.fetch(runs.sweep.remote, [run.address], runs.sweep.folder / "runs")
    except Exception as error:  # the error of one run; the others go on
        message = f"{type(error).__name__}: {error}"
        outcome = running.make_outcome(_order(runs, run), running.LOST, message)
    if read_outcome(runs.folder_of(run), run.address) is None:
        # The process that ran it could not write its outcome. If this one cannot either, the index
        # alone has it.
        with contextlib.suppress(OSError):
            running.write_outcome(runs.folder_of(run), outcome)
    return outcome


class _Lines:
    """Prints one line per run that ended, in a terminal or a log file."""

    def __init__(self) -> None:
        self.printed: set[str] | None = None

    def __call__(self, runs: SweepRuns, seconds: float) -> None:
        """Prints the runs that ended since the last call."""
        if self.printed is None:
            print(runs.summary(), flush=True)
            self.printed = {address for address, state in runs.state.items() if state == DONE}
        ended = {a for a, state in runs.state.items() if state not in (PLANNED, RUNNING)}
        for run in runs.sweep.runs:
            if run.address in ended and run.address not in self.printed:
                self.printed.add(run.address)
                outcome = runs.outcomes[run.address]
                took = f"{outcome['seconds']:.0f} s" if outcome["seconds"] else ""
                counted = f"[{len(ended)}/{len(runs.state)}, {seconds:.0f} s]"
                what = f"{outcome['state']} {took} {runs.sweep.short(run)} {outcome['error']}"
                print(f"{counted} {what}".rstrip(), flush=True)


class _Table:
    """Shows a table in a notebook, redrawn in place: states, and the runs that run or failed."""

    def __init__(self):
        self.handle = None

    def __call__(self, runs: SweepRuns, seconds: float) -> None:
        """Redraws the table."""
        from IPython.display import display

        index = runs.index()
        columns = ["state", *runs.sweep.varied, "attempts", "error"]
        rows = index[~index.state.isin((PLANNED, DONE))][columns].head(20)
        caption = f"{runs.summary()}; {seconds:.0f} s ({short_path(runs.sweep.folder)})"
        view = live_table(rows, caption)
        if self.handle is None:
            self.handle = display(view, display_id=True)
        else:
            self.handle.update(view)


def live_table(rows: pd.DataFrame, caption: str) -> Styler:
    """Returns rows as a notebook shows them, under a caption; texts are shown as they are."""
    view = rows.style.hide(axis="index").format(escape="html").set_caption(html.escape(caption))
    return view.set_table_attributes('class="tex2jax_ignore mathjax_ignore"')
