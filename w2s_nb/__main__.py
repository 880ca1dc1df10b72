"""Runs the kit from the command line: python -m w2s_nb COMMAND."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

from .common import paths
from .common.intervals import interval_cell, note_lines
from .common.seeds import check_count

# The demo's notebooks, with the parameters that differ from their defaults. The table of every
# loss, five seeds by probe, would take half as long again: it reads all texts by 16 layers.
DEMO: dict[str, dict] = {"00_tour": {}, "03_conf_loss": {"table_seeds": 0}}
ERRORS_IN_ONE_LINE = (
    "compare",
    "leaderboard",
    "list",
    "plan",
    "report",
    "reproduce",
    "run",
    "store",
    "suite",
    "sweep",
)  # commands whose input a user writes


def assets() -> None:
    """Fetches and checks every embedded asset, converts the model, and prints where they are."""
    from .common.assets import EMBEDDED as EMBEDDED_ASSETS
    from .common.assets import fetch
    from .models.loading import folder
    from .models.names import EMBEDDED, resolve

    for name in EMBEDDED_ASSETS:
        fetch(name)
    print(f"embedded model: {folder(resolve(EMBEDDED))}")
    print(f"embedded texts: {paths.cache() / 'assets'}")


def mates(n: int) -> None:
    """Prints n puzzles of `chess.rules.mate_in_one` as JSON; all cores play."""
    from .chess.rules import mate_in_one

    print(json.dumps(mate_in_one(n, processes=None)))


def demo() -> None:
    """Executes the demo's notebooks, and prints the table of the last one."""
    import papermill

    notebooks = Path(__file__).resolve().parents[1] / "notebooks"
    out = paths.home().parent / "demo"
    out.mkdir(parents=True, exist_ok=True)
    # The default renderer would wait for a browser.
    os.environ.setdefault("PLOTLY_RENDERER", "plotly_mimetype+notebook_connected")
    started = time.perf_counter()
    for name, changed in DEMO.items():
        print(f"{name}: running")
        papermill.execute_notebook(
            notebooks / f"{name}.ipynb",
            out / f"{name}.ipynb",
            kernel_name="python3",
            parameters={"results": str(out / f"{name}.json")} | changed,
            cwd=out,
        )
        last = out / f"{name}.json"
    print_result(json.loads(last.read_text()))
    print(f"\n{time.perf_counter() - started:.0f} s. Executed notebooks:")
    for name, changed in DEMO.items():
        with_values = ", ".join(f"{key} = {value}" for key, value in changed.items())
        print(f"  {out / name}.ipynb" + (with_values and f" (with {with_values})"))


def print_result(result: dict) -> None:
    """Prints a notebook's result: accuracy and PGR of each arm with their 95 % intervals, and the
    same by AUROC where the task has classes.
    """
    p = result["parameters"]
    rows = result["table"]
    seeds = "1 seed" if rows[0]["seeds"] == 1 else f"{rows[0]['seeds']} seeds"
    print(
        f"\n{p['task']}, supervisor {p['weak']}, student {p['strong']}, method {p['method']}\n"
        f"{p['n_train']} training examples in each half, {rows[0]['n_test']} test examples, "
        f"{seeds}; value [95 % interval]\n"
    )
    print(f"{'arm':<21}{'test accuracy':<22}{'PGR':<24}agreement with supervisor")
    for row in rows:
        accuracy, pgr, agreement = (
            interval_cell(row, name) for name in ("accuracy", "pgr", "agreement")
        )
        print(f"{row['arm']:<21}{accuracy:<22}{pgr:<24}{agreement}".rstrip())
    if any(row.get("auroc") is not None for row in rows):
        print(f"\n{'arm':<21}{'test AUROC':<22}PGR by AUROC")
        for row in rows:
            auroc, pgr = (interval_cell(row, name) for name in ("auroc", "pgr_auroc"))
            print(f"{row['arm']:<21}{auroc:<22}{pgr}".rstrip())
    for line in note_lines(rows, ("pgr", "pgr_auroc")):
        print(line)


def run(
    notebook: str,
    output: str | None,
    help_notebook: bool,
    given: dict[str, list],
    **options,
) -> int:
    """Runs one notebook, as papermill does; returns the exit code.

    Returns:
        0 if every cell ran, 1 if one raised, 138 if the kernel died, 130 after Ctrl-C.
    """
    from .notebook import execution, source

    if help_notebook:
        print(source.parameters_cell(source.notebook_path(notebook)))
        return 0
    parameters = execution.collect_parameters(**given)
    try:
        written = execution.run_notebook(notebook, output, parameters, **options)
    except execution.NotebookFailed as error:
        print(error, file=sys.stderr)
        return error.code
    except KeyboardInterrupt:
        print("stopped; finished fits are kept, the same call goes on")
        return 130
    print(paths.short_path(written))
    return 0


def plan(notebook: str, gb: float | None, devices: int | None, given: dict[str, list]) -> None:
    """Prints what a notebook chooses on a GPU of some size or here, and the memory of its fits."""
    from .notebook import execution
    from .notebook.plan import plan as plan_of

    print(plan_of(notebook, execution.collect_parameters(**given), gb=gb, devices=devices))


def list_names(kind: str, plugins: str) -> None:
    """Prints the registered tasks, models, losses or methods, or the published recipes."""
    from .common.plugins import load
    from .notebook.listing import lines
    from .notebook.parameters import names_in

    load(names_in(plugins))
    print("\n".join(lines(kind)))


def sweep(file: str, dry_run: bool, listed: bool, **engine) -> int:
    """Runs a sweep, or prints its runs; returns the exit code.

    Returns:
        0 if every run is done, 1 if not, 130 after Ctrl-C.
    """
    from . import sweeps

    if listed:
        return _list_runs(file, engine)
    if dry_run:
        return _print_plan(file, engine)
    try:
        runs = sweeps.run_sweep(file, **engine)
    except KeyboardInterrupt:
        print("stopped; finished runs and fits are kept, the same call goes on")
        return 130
    print(runs.summary())
    print(f"index  {runs.sweep.folder / 'index.parquet'}")
    print(f"report {sweeps.write_report(runs)}")
    unfinished = [run for run in runs.asked_for(engine["only"]) if run in runs.unfinished]
    return 1 if unfinished else 0


def _list_runs(file: str, engine: dict) -> int:
    """Prints address and folder of each run that is asked for."""
    from . import sweeps

    runs = sweeps.run_sweep(file, dry_run=True, **engine)
    for run in runs.asked_for(engine["only"]):
        print(f"{run.address}\t{runs.folder_of(run)}")
    return 0


def _print_plan(file: str, engine: dict) -> int:
    """Prints the state of the runs that are asked for, and how long the unfinished will take."""
    from . import sweeps

    jobs = engine["jobs"]
    if jobs is not None:
        check_count(jobs, "jobs")
    runs = sweeps.run_sweep(file, dry_run=True, **engine)
    asked_for = runs.asked_for(engine["only"])
    for run in asked_for:
        print(f"{runs.state[run.address]:<8} {runs.sweep.short(run)}")
    to_run = [run for run in asked_for if run in runs.unfinished]
    if not to_run:
        print(f"{runs.summary()}; nothing to run")
        return 0
    at_once = jobs
    if at_once is None:
        at_once = 1
        # A sweep may be planned here to run where there are GPUs.
        with contextlib.suppress(ValueError):
            at_once = sweeps.jobs_on_this_machine(runs.sweep.resources)
    seconds, known = runs.estimate(at_once, to_run)
    if seconds is None:
        cost = "no earlier run says how long they take"
    else:
        cost = f"about {seconds / 60:.0f} min with {at_once} at once, by {known} earlier runs"
    print(f"{runs.summary()}; {len(to_run)} to run: {cost}")
    return 0


def report(file: str) -> None:
    """Renders a sweep's report from what its runs left."""
    from . import sweeps

    runs = sweeps.run_sweep(file, dry_run=True)
    runs.write()
    print(sweeps.write_report(runs))


def reproduce(
    source: str | None, scale: str, claims: list[str] | None, out: str | None, dry_run: bool
) -> int:
    """Judges published claims and writes the page; returns the exit code.

    Returns:
        0 if every claim could be measured and none contradicts, 1 if one contradicts, 2 if one
        could not be measured, 130 after Ctrl-C.
    """
    from .published import running

    asked_for = running.claims_at(source, scale, claims)
    if dry_run:
        print("\n".join(running.plan_lines(source, scale, claims)))
        return 0
    outcomes = []
    try:
        for outcome in running.outcomes(asked_for, scale):
            print(outcome, flush=True)
            outcomes.append(outcome)
    except KeyboardInterrupt:
        print("stopped; finished fits are kept, the same call goes on")
        return 130
    reproduction = running.collect(source, scale, claims, outcomes)
    print(reproduction.summary())
    page = reproduction.write(out or paths.runs_folder() / "reproduce")
    print(paths.short_path(page))
    return reproduction.exit_code


def suite(name: str | None, weak: str, strong: str, losses: str, out: str | None, **rest) -> int:
    """Runs a suite and prints medians over its tasks; without a name, prints the suites there are.

    Returns:
        0, or 130 after Ctrl-C.
    """
    from .common.registry import TASKS
    from .suites.names import SUITES

    if name is None:
        for each in SUITES.values():
            print(f"{each.name}: {each.about}\n  {', '.join(each.tasks)}")
        return 0
    from .notebook.parameters import names_in
    from .suites.run import run_suite

    is_suite = name in SUITES or ("," not in name and name not in TASKS)
    named = name if is_suite else names_in(name)
    models = names_in(weak), names_in(strong)
    try:
        result = run_suite(named, *models, losses=names_in(losses), **rest)
    except KeyboardInterrupt:
        print("stopped; finished fits are kept, the same call goes on")
        return 130
    print("\n".join(result.lines()))
    if out:
        for path in result.write(out):
            print(paths.short_path(path))
    return 0


def compare(
    methods: str, suite: str, weak: str, strong: str, plugins: str, out: str | None, **rest
) -> int:
    """Compares methods with naive finetuning, and prints their table.

    Returns:
        0, or 130 after Ctrl-C.
    """
    from .common.plugins import load
    from .comparisons.run import compare as run_comparison
    from .notebook.parameters import names_in

    load(names_in(plugins))
    names = names_in(suite)
    on = names[0] if len(names) == 1 else names
    try:
        result = run_comparison(names_in(methods), on, weak, strong, **rest)
    except KeyboardInterrupt:
        print("stopped; finished fits are kept, the same call goes on")
        return 130
    print("\n".join(result.lines()))
    print(paths.short_path(result.write(out)))
    return 0


def leaderboard(comparisons: str | None, out: str | None) -> None:
    """Writes the page of stored comparisons, and prints where it is."""
    from .comparisons.leaderboard import write_leaderboard

    print(paths.short_path(write_leaderboard(comparisons, out)))


def store(action: str | None, fits: bool) -> None:
    """Prints what the store holds; 'prune' removes what no fit of today's code uses, if told so."""
    from .experiments import store_contents

    items = store_contents.list_store()
    print(store_contents.describe(items))
    if action == "prune":
        print(store_contents.prune(items, fits))


def parse(arguments: list[str] | None) -> dict:
    """Returns the command and its arguments by name."""
    parser = argparse.ArgumentParser(prog="python -m w2s_nb", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    _add_compare_arguments(commands.add_parser("compare", help="test methods against naive"))
    commands.add_parser("assets", help="fetch the embedded model and texts")
    commands.add_parser("demo", help="run the main result on the embedded default")
    command = commands.add_parser("leaderboard", help="write stored comparisons as one page")
    command.add_argument(
        "comparisons", nargs="?", help="a folder or a file; default: papermill_runs/comparisons"
    )
    command.add_argument("--out", metavar="FILE", help="default: leaderboard.html in the folder")
    _add_list_arguments(commands.add_parser("list", help="print what can be named"))
    command = commands.add_parser("mates", help="print puzzles of mate_in_one as JSON")
    command.add_argument("n", type=int, nargs="?", default=100)
    command = commands.add_parser(
        "plan", help="print what a notebook chooses and the memory it takes; trains nothing"
    )
    command.add_argument("notebook", help="its name in notebooks/, or its path")
    command.add_argument("--gb", type=float, help="of a GPU, 10^9 bytes; default: this machine")
    command.add_argument("--devices", type=int, help="GPUs that train a model together")
    _add_parameter_arguments(command)
    _add_run_arguments(commands.add_parser("run", help="run one notebook, as papermill does"))
    command = commands.add_parser("report", help="render a sweep's report")
    command.add_argument("file", help="the sweep's YAML")
    _add_reproduce_arguments(
        commands.add_parser("reproduce", help="judge published claims by experiments of ours")
    )
    command = commands.add_parser("store", help="print what the store holds, by kind and size")
    command.add_argument(
        "action", nargs="?", choices=["prune"], help="remove what no fit uses, after asking"
    )
    command.add_argument("--fits", action="store_true", help="prune fits of earlier code too")
    _add_suite_arguments(commands.add_parser("suite", help="run many tasks; medians over them"))
    _add_sweep_arguments(commands.add_parser("sweep", help="run a grid of notebooks"))
    parsed, rest = parser.parse_known_args(arguments)
    if parsed.command == "run" and parsed.output is None and len(rest) == 1 and rest[0][:1] != "-":
        parsed.output = rest.pop()  # argparse does not see one that comes after the options
    if rest:
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    options = vars(parsed)
    if parsed.command in ("plan", "run"):
        options["given"] = {name: options.pop(name) for name in ("files", "texts", "named", "raw")}
    return options


def _add_list_arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument("kind", choices=("tasks", "models", "losses", "methods", "recipes"))
    command.add_argument(
        "--plugins", default="", metavar="FILES", help="Python files to import first, with commas"
    )


def _add_compare_arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "methods", help="with commas, such as confidence,confident@0.3; `list methods` has them"
    )
    command.add_argument(
        "--on", dest="suite", default="laptop", help="a suite, or tasks with commas (%(default)s)"
    )
    for role, default in (("weak", "SmolLM2-135M@4"), ("strong", "SmolLM2-135M@16")):
        command.add_argument(f"--{role}", default=default, metavar="MODEL", help="%(default)s")
    command.add_argument("--seeds", type=int, default=5, help="how many (%(default)s)")
    command.add_argument("--method", default="probe", help="of every fit (%(default)s)")
    for size in ("train", "val", "test"):
        command.add_argument(
            f"--n-{size}", type=int, metavar="N", help="the most examples; default: the task's own"
        )
    command.add_argument(
        "--queries",
        type=int,
        metavar="N",
        help="seal the truth of the test in another process; a method may ask N times about half",
    )
    command.add_argument(
        "--time-limit",
        type=float,
        metavar="SECONDS",
        help="of a method per task and seed, in a sealed comparison; default: none",
    )
    command.add_argument(
        "--plugins", default="", metavar="FILES", help="Python files to import first, with commas"
    )
    command.add_argument(
        "--out", metavar="FILE", help="of JSON; default: one in papermill_runs/comparisons"
    )


def _add_reproduce_arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument("source", nargs="?", help="of the register; default: all")
    command.add_argument(
        "--scale", default="cpu", help="cpu (the embedded models), gpu24 or gpu80; %(default)s"
    )
    command.add_argument(
        "--claim", dest="claims", metavar="NAME", action="append", help="only this one; repeatable"
    )
    command.add_argument(
        "--out", metavar="FOLDER", help="of the page; default: papermill_runs/reproduce"
    )
    command.add_argument(
        "--dry-run", action="store_true", help="print the claims and their settings; run nothing"
    )


def _add_run_arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument("notebook", help="its name in notebooks/, or its path")
    command.add_argument(
        "output",
        nargs="?",
        help="path of the executed notebook; default: papermill_runs/notebooks/NAME-HASH.ipynb",
    )
    _add_parameter_arguments(command)
    command.add_argument("-k", "--kernel", help="default: the one that the notebook names")
    command.add_argument("--cwd", metavar="FOLDER", help="where to run; default: here")
    command.add_argument("--log-output", action="store_true", help="print what the cells print")
    command.add_argument(
        "--help-notebook", action="store_true", help="print the notebook's parameters"
    )


def _add_parameter_arguments(command: argparse.ArgumentParser) -> None:
    for flags, name, about in (
        (("-p", "--parameters"), "named", "a parameter's value"),
        (("-r", "--parameters_raw"), "raw", "the same, always as a text"),
    ):
        command.add_argument(
            *flags,
            dest=name,
            nargs=2,
            action="append",
            default=[],
            metavar=("NAME", "VALUE"),
            help=about,
        )
    for flags, name, about in (
        (("-y", "--parameters_yaml"), "texts", "parameters as YAML, such as 'seeds: 3'"),
        (("-f", "--parameters_file"), "files", "a file of YAML with parameters"),
    ):
        command.add_argument(
            *flags, dest=name, action="append", default=[], metavar="YAML", help=about
        )


def _add_suite_arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "name", nargs="?", help="a suite, or tasks with commas; without it, prints the suites"
    )
    for role, default in (("weak", "SmolLM2-135M@4"), ("strong", "SmolLM2-135M@16")):
        command.add_argument(
            f"--{role}", default=default, metavar="MODELS", help="with commas (%(default)s)"
        )
    command.add_argument(
        "--losses", default="xent, confidence", help="of the students, with commas (%(default)s)"
    )
    command.add_argument("--seeds", type=int, default=5, help="how many (%(default)s)")
    command.add_argument(
        "--method", help="of every fit; default: probe on a CPU, on a GPU what fits in memory"
    )
    for size in ("train", "val", "test"):
        command.add_argument(
            f"--n-{size}", type=int, metavar="N", help="the most examples; default: the task's own"
        )
    command.add_argument("--engine", help="local or ray: train by a sweep first; default: here")
    command.add_argument("--jobs", type=int, help="local runs at once")
    command.add_argument("--address", help="address of a Ray cluster, such as auto")
    command.add_argument("--out", metavar="FOLDER", help="of both tables, as csv files")


def _add_sweep_arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument("file", help="YAML; see papermill_runs/sweeps")
    command.add_argument(
        "--dry-run", action="store_true", help="print the runs and what earlier ones say they cost"
    )
    command.add_argument(
        "--list", dest="listed", action="store_true", help="print address and folder of each run"
    )
    command.add_argument(
        "--run", dest="only", metavar="ADDRESS", help="run only this run of the sweep"
    )
    command.add_argument(
        "--engine", default="local", help="local (processes on this machine) or ray"
    )
    command.add_argument(
        "--jobs",
        type=int,
        help="local runs at once; default: one per GPU, else one per core, up to 4",
    )
    command.add_argument("--address", help="address of a Ray cluster, such as auto")
    command.add_argument(
        "--retries",
        type=int,
        default=2,
        help="how often a run is tried again whose kernel or worker died (%(default)s)",
    )


def main(arguments: list[str] | None = None) -> int:
    """Runs a command and returns the exit code; says what is wrong with its input in one line."""
    options = parse(arguments)
    name = options.pop("command")
    commands: dict[str, Callable[..., int | None]] = {
        "assets": assets,
        "compare": compare,
        "demo": demo,
        "leaderboard": leaderboard,
        "list": list_names,
        "mates": mates,
        "plan": plan,
        "report": report,
        "reproduce": reproduce,
        "run": run,
        "store": store,
        "suite": suite,
        "sweep": sweep,
    }
    try:
        return commands[name](**options) or 0
    except (ValueError, TypeError, OSError, ImportError, MemoryError) as error:
        if name not in ERRORS_IN_ONE_LINE:
            raise
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
