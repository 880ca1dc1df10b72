"""`python -m w2s_nb assets` fetches the embedded model and texts; `python -m w2s_nb demo` runs the main result;
`python -m w2s_nb sweep FILE` runs a grid of notebooks, `report FILE` renders what it gave;
`python -m w2s_nb mates N` prints N puzzles of mate_in_one;
`python -m w2s_nb site` writes the executed notebooks as web pages."""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import sys
import time
from pathlib import Path

from .common import paths

DEMO = ("00_tour", "03_conf_loss")


def assets() -> None:
    """Fetches and checks every embedded asset and converts the model, saying where they are."""
    from .common.assets import ASSETS, fetch
    from .models.loading import folder
    from .models.names import EMBEDDED, resolve

    for name in ASSETS:
        fetch(name)
    print(
        f"embedded model: {folder(resolve(EMBEDDED))}\nembedded texts: {paths.cache() / 'assets'}"
    )


def mates(n: int) -> None:
    """Prints n puzzles of `games.mate_in_one` as JSON; all cores play."""
    from .chess.rules import mate_in_one

    print(json.dumps(mate_in_one(n, processes=None)))


def demo() -> None:
    """Executes the demo's notebooks with their defaults by papermill, and prints the last one's table."""
    import papermill

    notebooks = Path(__file__).resolve().parents[1] / "notebooks"
    out = paths.home().parent / "demo"
    out.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault(
        "PLOTLY_RENDERER", "plotly_mimetype+notebook_connected"
    )  # no wait for a browser
    started = time.perf_counter()
    for name in DEMO:
        print(f"{name}: running")
        papermill.execute_notebook(
            notebooks / f"{name}.ipynb",
            out / f"{name}.ipynb",
            kernel_name="python3",
            parameters={"results": str(out / f"{name}.json")},
            cwd=out,
        )
    show(json.loads((out / f"{DEMO[-1]}.json").read_text()))
    print(f"\n{time.perf_counter() - started:.0f} s. Executed notebooks:")
    print("\n".join(f"  {out / name}.ipynb" for name in DEMO))


def show(result: dict) -> None:
    """Prints a notebook's result: accuracy and PGR of each arm with their 95 % intervals."""

    def cell(row: dict, name: str) -> str:
        if row.get(name) is None:
            return ""
        low, high = row[f"{name}_low"], row[f"{name}_high"]  # null where the interval is unbounded
        return f"{row[name]:.3f} [{-math.inf if low is None else low:.3f}, {math.inf if high is None else high:.3f}]"

    p, rows = result["parameters"], result["table"]
    print(
        f"\n{p['task']}, supervisor {p['weak']}, student {p['strong']}, method {p['method']}: {p['n_train']} "
        f"training examples a half, {rows[0]['n_test']} test examples, {rows[0]['seeds']} seed(s);\n"
        f"value [95 % interval]\n"
    )
    print(f"{'arm':<22}{'test accuracy':<24}{'PGR':<26}{'agreement with supervisor'}")
    for row in rows:
        print(
            f"{row['arm']:<22}{cell(row, 'accuracy'):<24}{cell(row, 'pgr'):<26}{cell(row, 'agreement')}"
        )


def sweep(file: str, dry_run: bool, listed: bool, **engine) -> int:
    """Runs a sweep, or prints its plan; returns the exit code: 0 if every run is done, 1 if not, 130 after Ctrl-C."""
    from . import sweeps

    if listed:
        runs = sweeps.run_sweep(file, dry_run=True)
        print("\n".join(f"{run.address}\t{runs.folder_of(run)}" for run in runs.sweep.runs))
        return 0
    if dry_run:
        runs = sweeps.run_sweep(file, dry_run=True, engine=engine["engine"])
        for run in runs.sweep.runs:
            print(f"{runs.state[run.address]:<8} {runs.sweep.short(run)}")
        jobs = engine["jobs"] or 1
        with contextlib.suppress(ValueError):  # planned here, to run where there are GPUs
            jobs = engine["jobs"] or sweeps.jobs_here(runs.sweep.resources)
        seconds, known = runs.estimate(jobs)
        cost = (
            f"about {seconds / 60:.0f} min with {jobs} at once, by {known} earlier runs"
            if known
            else "no earlier run says how long they take"
        )
        print(
            f"{runs.summary()}; {f'{len(runs.left)} to run: {cost}' if runs.left else 'nothing to run'}"
        )
        return 0
    try:
        runs = sweeps.run_sweep(file, **engine)
    except KeyboardInterrupt:
        print("stopped; finished runs and fits are kept, the same call goes on")
        return 130
    print(
        f"{runs.summary()}\nindex  {runs.sweep.folder / 'index.parquet'}\nreport {sweeps.report(runs)}"
    )
    return 1 if any(engine["only"] in (None, run.address) for run in runs.left) else 0


def report(file: str) -> int:
    """Renders a sweep's report from what its runs left."""
    from . import sweeps

    runs = sweeps.run_sweep(file, dry_run=True)
    runs.write()
    print(sweeps.report(runs))
    return 0


def site(out: str | None) -> None:
    """Writes the static site of the notebooks with their stored outputs, and says where it is and what it lacks."""
    from .notebook import site as sites

    files, missing = sites.build()
    index = sites.write(files, out or sites.ROOT / "papermill_runs" / "site")
    print(f"{sum(name.endswith('.html') for name in files)} pages: {paths.shown(index)}")
    print("\n".join(missing), end="\n" * bool(missing))


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit code. What was given wrongly is said in one line, without a traceback."""
    parser = argparse.ArgumentParser(
        prog="python -m w2s_nb",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("assets", help="fetch the embedded model and texts")
    commands.add_parser("demo", help="the main result on the embedded default")
    at = commands.add_parser("mates", help="puzzles of mate_in_one, as JSON")
    at.add_argument("n", type=int, nargs="?", default=100)
    at = commands.add_parser(
        "site", help="write the executed notebooks as web pages; nothing is executed"
    )
    at.add_argument(
        "--out", metavar="FOLDER", help="new, or an earlier site; default: papermill_runs/site"
    )
    at = commands.add_parser("sweep", help="run a grid of notebooks")
    at.add_argument("file", help="YAML; see papermill_runs/recipes")
    at.add_argument(
        "--dry-run", action="store_true", help="print the runs and what earlier ones say they cost"
    )
    at.add_argument(
        "--list", dest="listed", action="store_true", help="print address and folder of each run"
    )
    at.add_argument("--run", dest="only", metavar="ADDRESS", help="only this run of the sweep")
    at.add_argument("--engine", default="local", help="local (processes on this machine) or ray")
    at.add_argument(
        "--jobs", type=int, help="runs at once, local; default: one a GPU, else up to 4, one a core"
    )
    at.add_argument("--address", help="of a Ray cluster, such as auto")
    at.add_argument(
        "--retries", type=int, default=2, help="of a run whose kernel or worker died (%(default)s)"
    )
    commands.add_parser("report", help="render a sweep's report").add_argument(
        "file", help="its YAML"
    )
    given = vars(parser.parse_args(arguments))
    command = {
        "assets": assets,
        "demo": demo,
        "mates": mates,
        "site": site,
        "sweep": sweep,
        "report": report,
    }[given.pop("command")]
    try:
        return command(**given) or 0
    except (ValueError, TypeError, OSError, ImportError) as error:
        if command not in (site, sweep, report):
            raise
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
