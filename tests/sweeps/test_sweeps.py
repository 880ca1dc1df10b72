"""Sweeps: the grid, what is refused, resuming, faults, the two engines, the report."""

import datetime
import json
import os
import signal
import threading
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor

import nbformat
import pandas as pd
import psutil
import pytest

import w2s_nb as w2s
from tests.conftest import Script
from w2s_nb import sweeps
from w2s_nb.__main__ import main, print_result
from w2s_nb.common import distributed, paths
from w2s_nb.common.registry import TASKS, UnknownName
from w2s_nb.sweeps import driver, engines, grid, running, state
from w2s_nb.sweeps.students import medians, students

PARAMETERS = """n: int = 0
mode: str = "ok"  # what happens
log: str = ""  # file of starts
results: str = \"\"
"""
CODE = """import json, os, pathlib, sys, time
with open(log, "a") as stream:
    print(n, os.getpid(), os.environ.get("CUDA_VISIBLE_DEVICES"), file=stream)
def tries():
    return sum(line.split()[0] == str(n) for line in pathlib.Path(log).read_text().splitlines())
if mode == "raise":
    raise ValueError(f"no {n} here")
if mode == "die" or mode == "die once" and tries() == 1:
    os.write(2, b"out of everything"), os.kill(os.getpid(), 9)
if mode == "exit":
    sys.exit(0)
if mode.startswith("sleep") and not (mode.endswith("once") and tries() > 1):
    time.sleep(float(mode.split()[1]))
row = {"arm": "student, naive", "accuracy": .8, "accuracy_low": .7, "accuracy_high": .9,
       "pgr": .5, "pgr_low": .1, "pgr_high": .9, "seeds": 1, "n_test": 10,
       "weak": "gpt2", "strong": "gpt2-xl", "task": "words"}
result = {"parameters": {"n": n, "mode": mode}, "table": [row], "machine": "m"}
pathlib.Path(results).write_text(json.dumps(result))"""


@pytest.fixture
def quick(tmp_path, monkeypatch):
    """(what a sweep's file says of a notebook of no second, the log that it writes to); runs go
    below tmp_path. It imports nothing, so its kernels are not forked, but started in half a second.
    """
    monkeypatch.setenv("W2S_FORK", "0")
    kernel = {"name": "python3", "display_name": "p", "language": "python"}
    notebook = nbformat.v4.new_notebook(metadata={"kernelspec": kernel})
    notebook.cells = [
        nbformat.v4.new_code_cell(PARAMETERS, metadata={"tags": ["parameters"]}),
        nbformat.v4.new_code_cell(CODE),
    ]
    nbformat.write(notebook, tmp_path / "quick.ipynb")
    for module in (paths, grid, state):
        monkeypatch.setattr(module, "runs_folder", lambda: tmp_path / "runs")
    log = tmp_path / "log"
    return {
        "name": "some",
        "notebook": str(tmp_path / "quick.ipynb"),
        "parameters": {"log": str(log)},
        "axes": {"n": [0, 1, 2, 3]},
    }, log


def starts(log) -> list[int]:
    return (
        sorted(int(line.split()[0]) for line in log.read_text().splitlines())
        if log.exists()
        else []
    )


def states(runs) -> dict:
    return dict(zip(runs.index().n, runs.index().state))


def test_second_call_runs_only_what_is_missing_failed_or_changed(quick):
    given, log = quick
    given["axes"] = {"n": [0, 1]}
    runs = sweeps.run_sweep(given, jobs=2)
    assert states(runs) == {0: "done", 1: "done"} and starts(log) == [0, 1]
    sweeps.run_sweep(given)
    assert starts(log) == [0, 1]
    sweeps.run_sweep(given | {"axes": {"n": [0, 1, 2]}})
    assert starts(log) == [0, 1, 2]
    path = runs.folder_of(runs.sweep.runs[1]) / "result.json"
    path.write_text(path.read_text()[:40])  # half a file
    assert states(sweeps.run_sweep(given)) == {0: "done", 1: "done"} and starts(log) == [0, 1, 1, 2]
    notebook = nbformat.read(given["notebook"], 4)
    notebook.cells[1].source += "\n# changed"
    nbformat.write(notebook, given["notebook"])
    sweeps.run_sweep(given)
    assert starts(log) == [0, 0, 1, 1, 1, 2]


def test_a_notebook_that_raises_leaves_the_others_and_is_not_tried_again(quick, capsys):
    given, log = quick
    given["axes"] = {"n, mode": [[0, "ok"], [1, "raise"], [2, "exit"], [3, "die"], [4, "die once"]]}
    runs = sweeps.run_sweep(given, jobs=2, retries=1)
    assert states(runs) == {0: "done", 1: "failed", 2: "failed", 3: "kernel died", 4: "done"}
    assert starts(log) == [0, 1, 2, 3, 3, 4, 4]
    index = pd.read_parquet(runs.sweep.folder / "index.parquet").set_index("n")
    assert (
        index.error[1] == "ValueError: no 1 here" and "without writing its table" in index.error[2]
    )
    assert dict(index.attempts) == {0: 1, 1: 1, 2: 1, 3: 2, 4: 2} and (index.seconds > 0).all()
    assert all((runs.sweep.folder / path).is_file() for path in index.output)
    results = pd.read_parquet(runs.sweep.folder / "results.parquet")
    assert sorted(results.n) == [0, 4] and set(results.pgr) == {0.5}
    page = sweeps.write_report(runs).read_text()
    assert "ValueError: no 1 here" in page and "raise ValueError(f" in page and "\x1b" not in page
    assert "out of everything" in page, "what a killed kernel said"
    assert page.count("<h3>") == 3
    assert "failed" in capsys.readouterr().out


def test_two_of_12_that_raise_leave_10_results_and_a_report_that_shows_the_two(quick, tmp_path):
    given, log = quick
    given["axes"] = {"n, mode": [[n, "raise" if n in (5, 11) else "ok"] for n in range(12)]}
    (tmp_path / "some.yaml").write_text(json.dumps(given))
    assert main(["sweep", str(tmp_path / "some.yaml"), "--jobs", "2"]) == 1
    folder = tmp_path / "runs" / "some"
    assert sorted(pd.read_parquet(folder / "results.parquet").n) == [
        n for n in range(12) if n not in (5, 11)
    ]
    page = (folder / "report.html").read_text()
    assert page.count("<h3>") == 2 and all(
        f"<p>failed after 1 attempt(s): ValueError: no {n} here" in page for n in (5, 11)
    )


def test_a_run_out_of_time_is_stopped_and_tried_again(quick):
    given, log = quick
    given |= {
        "axes": {"n, mode": [[0, "sleep 60"], [1, "sleep 60 once"]]},
        "resources": {"minutes": 6 / 60},
    }
    runs = sweeps.run_sweep(given, jobs=2, retries=1)
    assert states(runs) == {0: "timed out", 1: "done"} and list(runs.index().attempts) == [2, 2]
    assert runs.index().error[0] == "stopped after 6 s"


def test_a_killed_worker_is_replaced(quick):
    given, log = quick
    given["axes"] = {"n, mode": [[0, "sleep 60 once"], [1, "ok"]]}

    def kill():
        until = time.time() + 60
        while 0 not in starts(log) and time.time() < until:
            time.sleep(0.1)
        psutil.Process(pid_of(log, 0)).parent().kill()

    killer = threading.Thread(target=kill)
    killer.start()
    runs = sweeps.run_sweep(given, jobs=2)
    killer.join()
    assert states(runs) == {0: "done", 1: "done"} and starts(log) == [0, 0, 1]


def pid_of(log, n) -> int:
    return int(
        next(line.split()[1] for line in log.read_text().splitlines() if line.startswith(f"{n} "))
    )


SCRIPT = """import pathlib, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in the background
from w2s_nb import sweeps
from w2s_nb.common import distributed, paths
from w2s_nb.sweeps import grid, state
paths.runs_folder = grid.runs_folder = state.runs_folder = lambda: pathlib.Path(sys.argv[2])
sweeps.run_sweep(sys.argv[1], jobs=2)"""


CELL = """import pathlib
import w2s_nb as w2s
from w2s_nb.sweeps import grid, state
grid.runs_folder = state.runs_folder = lambda: pathlib.Path(folder)
runs = w2s.run_sweep(given)"""


def test_in_a_notebook_a_table_follows_the_runs(quick, tmp_path):
    import papermill

    given, log = quick
    given["axes"] = {"n, mode": [[0, "ok"], [1, "raise"]]}
    notebook = nbformat.v4.new_notebook(metadata=nbformat.read(given["notebook"], 4).metadata)
    notebook.cells = [
        nbformat.v4.new_code_cell("", metadata={"tags": ["parameters"]}),
        nbformat.v4.new_code_cell(CELL),
    ]
    made = papermill.execute_notebook(
        notebook,
        None,
        kernel_name="python3",
        progress_bar=False,
        cwd=tmp_path,
        parameters={"given": given, "folder": str(tmp_path / "runs")},
    )
    (table,) = [
        o for o in made.cells[-1].outputs if o.output_type == "display_data"
    ]  # one, redrawn
    assert (
        "1 done, 1 failed" in table.data["text/html"]
        and "ValueError: no 1 here" in table.data["text/html"]
    )


def test_the_table_in_a_notebook_shows_errors_as_they_are():
    rows = pd.DataFrame({"error": ["ValueError: <script>alert(1)</script> $5 or $6"]})
    shown = driver.live_table(rows, "1 <b>failed").to_html()
    assert "&lt;script&gt;alert" in shown and "1 &lt;b&gt;failed" in shown
    assert "<script" not in shown and "<b>" not in shown and "tex2jax_ignore" in shown


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_killed_driver_leaves_no_run_behind_and_loses_none_that_ended(quick, tmp_path, how):
    given, log = quick
    given["axes"] = {"n, mode": [[2, "sleep 30 once"], [0, "ok"], [1, "ok"]]}
    (tmp_path / "some.yaml").write_text(json.dumps(given))
    driver, until = (
        Script(SCRIPT, str(tmp_path / "some.yaml"), str(tmp_path / "runs")),
        time.time() + 120,
    )
    while (
        not ("\n[2/3" in driver.printed()[0] and 2 in starts(log))
        and driver.poll() is None
        and time.time() < until
    ):
        time.sleep(0.05)
    kernel = psutil.Process(pid_of(log, 2))
    driver.send_signal(how)
    assert driver.wait(30) != 0
    until = time.time() + 20
    while kernel.is_running() and kernel.status() != "zombie" and time.time() < until:
        time.sleep(0.05)
    assert not kernel.is_running() or kernel.status() == "zombie"
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").rglob("result.json")}
    assert len(before) == 2
    assert states(sweeps.run_sweep(given)) == dict.fromkeys(range(3), "done")
    assert starts(log) == [0, 1, 2, 2] and all(
        p.stat().st_mtime_ns == at for p, at in before.items()
    )


def test_two_drivers_at_once_run_each_run_once(quick, tmp_path):
    given, log = quick
    given["parameters"]["mode"] = "sleep 0.5"
    given["axes"] = {"n": [0, 1, 2]}
    (tmp_path / "some.yaml").write_text(json.dumps(given))
    both = [Script(SCRIPT, str(tmp_path / "some.yaml"), str(tmp_path / "runs")) for _ in range(2)]
    assert [process.wait() for process in both] == [0, 0], [process.printed() for process in both]
    assert starts(log) == [0, 1, 2]


@pytest.mark.parametrize(
    "change, error, says",
    [
        (
            {"axes": {"m": [1]}},
            UnknownName,
            "unknown parameter of quick 'm'. Near: mode. Known: log, mode, n, results",
        ),
        ({"axes": {"n": ["1"]}}, TypeError, "n = '1' is a str; quick expects a int, such as 0"),
        ({"axes": {"n": [True]}}, TypeError, "n = True is a bool"),
        ({"axes": {"n": 3}}, TypeError, "axis 'n' has 3; expected a list"),
        (
            {"axes": {"n, mode": [[1, "ok"], [2]]}},
            ValueError,
            r"axis 'n, mode' has \[2\]; expected 2 values",
        ),
        ({"axes": {"n": [1], "n, mode": [[1, "ok"]]}}, ValueError, "n given twice"),
        ({"parameters": {"results": "x"}}, ValueError, "parameter 'results' is the sweep's own"),
        ({"exclude": ["weak over strong"]}, ValueError, "exclude has 'weak over strong'; expected"),
        ({"exclude": [{"m": 1}]}, UnknownName, "unknown parameter in exclude 'm'"),
        ({"exclude": [{"n": [0, 1, 2, 3]}]}, ValueError, "no run left"),
        ({"notebook": "03_conf_los"}, UnknownName, "Near: 03_conf_loss"),
        ({"name": "store"}, ValueError, "name 'store'; expected"),
        ({"resources": {"gpu": 1}}, UnknownName, "unknown resource 'gpu'. Near: gpus"),
        ({"resources": {"gpus": 1.5}}, ValueError, "gpus = 1.5; expected"),
        ({"remote": "s4://bucket"}, ValueError, "s4"),
        ({"axis": {}}, UnknownName, "unknown key of a sweep 'axis'. Near: axes"),
    ],
)
def test_wrong_sweeps_are_refused_before_anything_starts(quick, change, error, says):
    given, log = quick
    with pytest.raises(error, match=says):
        sweeps.run_sweep(given | change)
    assert not log.exists()


@pytest.mark.parametrize(
    "parameters, error, says",
    [
        ({"task": "movie_snippet"}, UnknownName, "Near: movie_snippets"),
        ({"strong": "SmolLM3-135M"}, UnknownName, "unknown model"),
        ({"losses": "xent, confidense"}, UnknownName, "Near: confidence"),
        ({"n_train": 7}, ValueError, "n_train = 7; expected an even number"),
        (
            {"devices": 2, "method": "full"},
            ValueError,
            "devices = 2 with resources: gpus = None; a run trains on",
        ),
        ({"strong": "EleutherAI/pythia-12b"}, OSError, "Ways out"),
        ({"strong": ""}, ValueError, "strong = ''; expected one name"),
        ({"seeds": 0}, ValueError, "seeds = 0; expected a number from 1 .*; it counts them"),
        ({"seeds": [0, 1, 2]}, TypeError, "such as 1; it counts them: 3 for the seeds 0, 1 and 2"),
        ({"alpha": 2.0}, ValueError, r"alpha 2.0; expected a number in \[0, 1\]"),
        ({"alpha": float("nan")}, ValueError, "axis 'alpha' has nan; expected a finite number"),
        ({"alpha": datetime.date(2026, 1, 1)}, ValueError, "axis 'alpha' has datetime.date"),
        ({"n_train": 10**6}, ValueError, "movie_snippets"),
        ({"recipe": "epochs=0, lr=1e-4"}, ValueError, "recipe 'epochs=0, lr=1e-4': epochs = 0"),
        ({"first_seed": -1}, ValueError, "first_seed = -1; expected a number from 0"),
    ],
)
def test_values_that_a_notebook_refuses_are_refused_here(parameters, error, says):
    with pytest.raises(error, match=says):
        sweeps.read_sweep(
            {
                "name": "some",
                "notebook": "03_conf_loss",
                "axes": {k: [v] for k, v in parameters.items()},
            }
        )


def test_a_run_on_a_table_of_ones_own_is_another_one_when_the_table_changes(tmp_path):
    def addresses():
        w2s.register_task("plain", str(table), max_len=8)(plain)
        w2s.task_from_file(table, name="mine")
        sizes = {"n_train": 10, "n_val": 4, "n_test": 10}
        given = {
            "name": "some",
            "parameters": sizes,
            "axes": {"task": ["movie_snippets", "plain", "mine"]},
        }
        by_task = sweeps.read_sweep(given | {"notebook": "03_conf_loss"}).runs
        given["axes"] = {"texts": [str(table)]}
        by_file = sweeps.read_sweep(given | {"notebook": "12_your_own"}).runs
        return [run.address for run in (*by_task, *by_file)]

    def plain(row):
        yield w2s.Example((row["text"],), int(row["label"]))

    table = tmp_path / "table.csv"
    rows = [f"text {i},{i % 2}\n" for i in range(100)]
    try:
        table.write_text("text,label\n" + "".join(rows))
        before = addresses()
        assert addresses() == before
        table.write_text("text,label\n" + "".join(rows[:-2]))
        same = [a == b for a, b in zip(before, addresses(), strict=True)]
        assert same == [True, False, False, False]
    finally:
        for name in ("plain", "mine", "table"):
            TASKS._entries.pop(name, None)


def test_a_sweep_checks_each_model_once(monkeypatch):
    asked = []
    monkeypatch.setattr("w2s_nb.models.loading.ensure", lambda model: asked.append(model.name))
    axes = {"weak": ["SmolLM2-135M@2", "SmolLM2-135M@3"], "n_train": [60, 62, 64]}
    sweep = sweeps.read_sweep(
        {"name": "some", "notebook": "03_conf_loss", "axes": axes, "parameters": {"seeds": 1}}
    )
    assert len(sweep.runs) == 6 and sorted(asked) == sorted(set(asked)) and len(asked) == 3


def test_grid_is_the_product_without_exclusions():
    ladder = [f"SmolLM2-135M@{depth}" for depth in (2, 4, 8)]
    given = {
        "name": "some",
        "notebook": "03_conf_loss",
        "parameters": {"seeds": 2},
        "axes": {
            "weak": ladder,
            "strong": ladder,
            "task, n_train": [["movie_snippets", 60], ["boolq", 40]],
        },
    }
    assert len(sweeps.read_sweep(given).runs) == 18
    below = sweeps.read_sweep(
        given | {"exclude": ["weak not below strong", {"task": "boolq", "weak": ladder[1:]}]}
    ).runs
    assert [tuple(r.parameters[k][-1] for k in ("weak", "strong", "task")) for r in below] == [
        ("2", "4", "s"),
        ("2", "4", "q"),
        ("2", "8", "s"),
        ("2", "8", "q"),
        ("4", "8", "s"),
    ]
    assert all(
        r.parameters["seeds"] == 2
        and r.parameters["n_train"] == {"s": 60, "q": 40}[r.parameters["task"][-1]]
        for r in below
    )
    assert len(sweeps.read_sweep(given | {"exclude": ["weak above strong"]}).runs) == 12
    with pytest.raises(ValueError, match="pythia-12b and SmolLM2-135M@2 cannot be compared"):
        sweeps.read_sweep(
            given
            | {
                "axes": {"weak": ["EleutherAI/pythia-12b"], "strong": ladder},
                "exclude": ["weak above strong"],
            }
        )
    with pytest.raises(ValueError, match="cannot be compared"):  # nor can two of unknown size
        sweeps.read_sweep(
            given
            | {
                "axes": {"weak": ["EleutherAI/pythia-12b"], "strong": ["EleutherAI/gpt-j-6b"]},
                "exclude": ["weak not below strong"],
            }
        )
    several = {
        "name": "some",
        "axes": {"notebook": ["02_naive_finetuning", "03_conf_loss"], "seeds": [1, 2]},
    }
    assert [(r.notebook.stem, r.parameters) for r in sweeps.read_sweep(several).runs] == [
        (name, {"seeds": n}) for name in ("02_naive_finetuning", "03_conf_loss") for n in (1, 2)
    ]


def test_the_next_run_is_one_that_waits_for_no_other():
    models = {
        "weak": ["SmolLM2-135M@2", "SmolLM2-135M@4"],
        "strong": ["SmolLM2-135M@8", "SmolLM2-135M@12"],
    }
    runs = sweeps.SweepRuns(
        sweeps.read_sweep({"name": "some", "notebook": "03_conf_loss", "axes": models})
    )
    first, second, third, fourth = runs.sweep.runs  # 2 -> 8, 2 -> 12, 4 -> 8, 4 -> 12
    assert runs.choose_next([second, third, fourth], [first]) is fourth
    assert runs.choose_next([second, third], [first, fourth]) is second
    runs.state[first.address] = "done"
    assert runs.choose_next([second, third], [first]) is second


def test_devices_are_shared_out(monkeypatch):
    monkeypatch.delenv("W2S_DEVICE", raising=False)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    assert engines.visible_gpus() == ["3", "5"]
    assert engines.device_shares(["3", "5"], 1 / 3) == [["3"]] * 3 + [["5"]] * 3
    assert engines.device_shares(["3", "5"], 0.4) == [["3"]] * 2 + [["5"]] * 2
    assert engines.device_shares(["3", "5"], 2) == [["3", "5"]]
    assert engines.device_shares(["3", "5"], 3) == []
    assert engines.jobs_on_this_machine(grid.Resources(cpus=0.1, gpus=0.5)) == 4
    with pytest.raises(ValueError, match="gpus = 3; this machine has 2"):
        engines.Local(grid.Resources(gpus=3))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert engines.visible_gpus() == []
    for given, seen in (("GPU-8932f937,MIG-3a1,7", 3), ("NoDevFiles", 0), ("0,-1,2", 1)):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", given)
        assert len(engines.visible_gpus()) == seen


def test_a_kernel_sees_its_devices_only(quick, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    given, log = quick
    sweeps.run_sweep(given | {"resources": {"cpus": 0.1}, "axes": {"n": [0, 1, 2]}})
    seen = [line.split()[2] for line in log.read_text().splitlines()]
    assert set(seen) == {"3", "5"}


def test_a_dry_run_starts_nothing_and_says_what_earlier_runs_cost(quick, tmp_path, capsys):
    given, log = quick
    (tmp_path / "some.yaml").write_text(json.dumps(given))
    assert main(["sweep", str(tmp_path / "some.yaml"), "--dry-run"]) == 0
    assert (
        "4 planned; 4 to run: no earlier run says" in capsys.readouterr().out and not log.exists()
    )
    sweeps.run_sweep(given | {"axes": {"n": [0, 1]}})
    assert main(["sweep", str(tmp_path / "some.yaml"), "--dry-run", "--jobs", "1"]) == 0
    said = capsys.readouterr().out
    assert (
        "2 done, 2 planned; 2 to run: about 0 min with 1 at once, by 2 earlier runs" in said
        and "n=3" in said
    )


def test_the_command_says_what_failed_by_its_exit_code(quick, tmp_path, capsys):
    given, log = quick
    (tmp_path / "some.yaml").write_text(
        json.dumps(given | {"axes": {"n, mode": [[0, "ok"], [1, "raise"]]}})
    )
    assert main(["sweep", str(tmp_path / "some.yaml")]) == 1
    assert "1 done, 1 failed" in capsys.readouterr().out
    assert main(["report", str(tmp_path / "some.yaml")]) == 0
    assert main(["sweep", str(tmp_path / "none.yaml")]) == 2
    assert "is no file; expected YAML with name, notebook" in capsys.readouterr().err


def test_fits_and_runs_travel_between_machines_that_share_no_folder(quick, tmp_path, monkeypatch):
    given, log = quick
    given |= {"remote": f"file://{tmp_path / 'far'}", "axes": {"n": [0, 1]}}

    def fit(home, name):
        path = tmp_path / home / "fits" / name
        path.mkdir(parents=True)
        (path / "record.json").write_text(name)
        (path / "curve.parquet").write_text("curve")

    fit("home", "a")
    (tmp_path / "home" / "fits" / "half").mkdir()
    (tmp_path / "home" / "fits" / "half" / "curve.parquet").write_text("no record yet")
    assert set(states(sweeps.run_sweep(given, jobs=2)).values()) == {"done"}
    assert [path.name for path in (tmp_path / "far" / "fits").iterdir()] == ["a.zip"]
    monkeypatch.setenv("W2S_HOME", str(tmp_path / "other"))  # another machine, on which nothing ran
    monkeypatch.setattr(grid, "runs_folder", lambda: tmp_path / "elsewhere")
    fit("other", "b")
    runs = sweeps.run_sweep(given | {"axes": {"n": [0, 1, 2]}}, jobs=2)
    assert set(states(runs).values()) == {"done"} and starts(log) == [0, 1, 2], (
        "found at the address, not run"
    )
    assert runs.index().set_index("n").seconds.gt(0).all() and len(runs.results()) == 3
    assert sorted(p.name for p in (tmp_path / "far" / "fits").iterdir()) == ["a.zip", "b.zip"]
    assert {p.name: p.read_text() for p in (tmp_path / "other" / "fits" / "a").iterdir()} == {
        "record.json": "a",
        "curve.parquet": "curve",
    }
    assert not list(tmp_path.rglob("*.part"))


def test_many_at_once_may_exchange_the_same_fits(tmp_path):
    for i in range(20):
        path = tmp_path / "one" / "fits" / f"f{i}"
        path.mkdir(parents=True)
        (path / "record.json").write_text("{}" * 1000)
    far = f"file://{tmp_path / 'far'}"

    def once(i):
        folder = tmp_path / f"run{i}"
        folder.mkdir(exist_ok=True)
        with running.exchange(
            {
                "remote": far,
                "store": str(tmp_path / ("one" if i % 2 else "two")),
                "address": str(i),
                "folder": str(folder),
            }
        ):
            pass

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(once, range(16)))
    once(0)
    assert len(list((tmp_path / "two" / "fits").glob("*/record.json"))) == 20 and not list(
        tmp_path.rglob("*.part")
    )


def test_failures_outside_of_the_notebook_are_reported(quick, tmp_path):
    given, log = quick
    given["axes"] = {"n": [0, 1]}
    runs = sweeps.SweepRuns(sweeps.read_sweep(given))
    folder = runs.folder_of(runs.sweep.runs[0])
    folder.parent.mkdir(parents=True)
    folder.write_text("a file where a folder should be")
    runs = sweeps.run_sweep(given)
    assert states(runs) == {0: "failed", 1: "done"}
    assert "FileExistsError" in runs.index().error[0]


@pytest.mark.parametrize(
    "path", sorted((paths.checkout() / "papermill_runs" / "sweeps").glob("*.yaml")), ids=str
)
def test_the_kits_own_sweeps_can_be_read(path):
    if path.stem != "rayjob":
        assert len(sweeps.read_sweep(path).runs) in (9, 24)


def test_one_run_of_a_sweep_can_be_asked_for(quick, tmp_path, capsys):
    """As the Snakefile does: it lists the runs, and starts each by itself."""
    given, log = quick
    (tmp_path / "some.yaml").write_text(json.dumps(given))
    assert main(["sweep", str(tmp_path / "some.yaml"), "--list"]) == 0
    listed = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert len(listed) == 4
    assert main(["sweep", str(tmp_path / "some.yaml"), "--run", listed[2][0]]) == 0
    assert starts(log) == [2] and os.path.isfile(f"{listed[2][1]}/result.json")
    assert main(["sweep", str(tmp_path / "some.yaml"), "--run", "f00"]) == 2
    assert "unknown run of some 'f00'" in capsys.readouterr().err


REFERENCE = sorted((paths.checkout() / "papermill_runs" / "reference").glob("[01]*.json"))


@pytest.mark.parametrize("path", REFERENCE, ids=lambda path: path.stem)
def test_every_notebooks_table_makes_a_report(path, quick, tmp_path, monkeypatch):
    """The tables that the notebooks wrote, as if a sweep's one run had."""
    monkeypatch.setattr(state, "runs_folder", lambda: tmp_path / "runs")
    made = json.loads(path.read_text())
    if "arm" not in made["table"][0]:
        pytest.skip(f"{path.stem} has no arms: it compares methods")
    given = {"name": "some", "notebook": made["notebook"], "axes": {"seeds": [1, 2]}}
    runs = sweeps.SweepRuns(sweeps.read_sweep(given))
    run = runs.sweep.runs[0]
    write_done(runs, run, made["table"], made["parameters"])
    runs = sweeps.SweepRuns(runs.sweep)
    runs.write()
    rows, page = students(runs), sweeps.write_report(runs).read_text()
    assert len(rows) == sum(
        row.get("pgr") is not None or row["arm"].startswith("student") for row in made["table"]
    )
    assert rows.groupby(["arm", "pair", "task"]).size().max() == 1, (
        "every row can be told from the others"
    )
    assert all(f"{value:.3f} [" in page for value in rows.pgr.dropna()) and "plotly" in page


def row_of(arm: str, accuracy: float, pgr: float | None) -> dict:
    """Returns a row of a run's table, its intervals of .1 to each side."""
    row = {"arm": arm, "seeds": 1, "n_test": 10, "task": "words", "weak": "a", "strong": "b"}
    for name, value in (("accuracy", accuracy), ("pgr", pgr)):
        ends = (None, None) if value is None else (value - 0.1, value + 0.1)
        row |= {name: value, f"{name}_low": ends[0], f"{name}_high": ends[1]}
    return row


def write_done(runs, run, table: list[dict], parameters: dict | None = None) -> None:
    """Writes the folder of a run that is done."""
    folder = runs.folder_of(run)
    folder.mkdir(parents=True)
    result = {"parameters": parameters or run.parameters, "table": table, "machine": "m"}
    (folder / "result.json").write_text(json.dumps(result))
    of = {
        "address": run.address,
        "notebook": run.notebook.stem,
        "attempt": 1,
        "parameters": run.parameters,
    }
    running.write_outcome(folder, running.make_outcome(of, "done", seconds=1))


def test_the_median_of_runs_has_an_interval_and_leaves_marked_runs_out():
    def median_of(*pgrs):
        rows = pd.DataFrame(pgrs, columns=["pgr", "pgr_note"])
        return medians(rows.assign(arm="a", task="t", pgr_low=rows.pgr - 1, pgr_high=9), "task")

    [several] = median_of((0.2, ""), (0.3, ""), (0.5, ""), (3.0, "at chance")).itertuples()
    assert several.pgr == 0.3 and (several.pgr_low, several.pgr_high) == (0.2, 0.5)
    [one] = median_of((0.2, ""), (3.0, "at chance")).itertuples()
    assert (one.pgr, one.pgr_low, one.pgr_high) == (0.2, -0.8, 9), "the run's own interval"
    assert median_of((3.0, "at chance")).empty


def test_a_report_shows_each_student_once_beside_supervisor_and_ceiling(quick, monkeypatch):
    """Three runs that differ in alpha: the naive student does not depend on it."""
    given, _ = quick
    runs = sweeps.SweepRuns(sweeps.read_sweep(given | {"axes": {"n": [1, 2, 3]}}))
    for run in runs.sweep.runs:
        n = run.parameters["n"]
        write_done(
            runs,
            run,
            [
                row_of("weak supervisor", 0.6, None),
                row_of("student, naive", 0.7, 0.5),
                row_of("student, confidence", 0.7 + n / 100, 0.5 + n / 40),
                row_of("student, product", 0.65 if n < 3 else 0.75, 0.25 if n < 3 else 0.75),
                row_of("strong ceiling", 0.8, None),
            ],
        )
    runs = sweeps.SweepRuns(runs.sweep)
    rows = students(runs)
    assert rows.arm.value_counts().to_dict() == {
        "student, naive": 1,
        "student, confidence": 3,
        "student, product": 2,
    }
    settings = dict(zip(rows.arm, rows.settings))
    assert settings["student, naive"] == ""
    assert set(rows.settings[rows.arm == "student, product"]) == {"n 1 or 2", "n 3"}
    assert rows.runs.tolist() == [3 if s == "" else 2 if " or " in s else 1 for s in rows.settings]
    assert set(rows.supervisor) == {0.6} and set(rows.ceiling_high) == {0.9}
    assert medians(rows, "task").set_index("arm").pgr["student, confidence"] == pytest.approx(0.55)
    page = sweeps.write_report(runs).read_text()
    table = page[page.index("<h2>Students") : page.index("<h2>Runs")]
    assert table.count("student, naive") == 1 and "2 of them" in table
    assert table.count("0.600 [0.500, 0.700]") == table.count("0.800 [0.700, 0.900]") == 6
    assert "6 of 6 students are more accurate than their supervisor" in page


def test_a_report_is_small_and_its_script_is_stored_once_for_all_sweeps(quick):
    given, _ = quick
    runs = sweeps.run_sweep(given | {"axes": {"n": [0]}})
    path = sweeps.write_report(runs)
    [script] = path.parent.parent.glob("plotly-*.min.js")
    page = path.read_text()
    assert f'src="../{script.name}"' in page and page.index(script.name) < page.index("newPlot")
    assert f"https://cdn.plot.ly/{script.name}" in page, "a report that was sent alone"
    assert len(page) < 100_000
    before = script.stat().st_mtime_ns
    sweeps.write_report(runs)
    assert script.stat().st_mtime_ns == before


def test_a_marked_pgr_is_marked_in_the_report_and_on_the_command_line(quick, capsys):
    given, _ = quick
    runs = sweeps.run_sweep(given | {"axes": {"n": [0]}})
    path = runs.folder_of(runs.done[0]) / "result.json"
    result = json.loads(path.read_text())
    result["parameters"] |= dict.fromkeys(("task", "weak", "strong", "method", "n_train"), "same")
    other = result["table"][0] | {"arm": "student, product", "pgr": 0.25}
    note = "supervisor not above chance"
    result["table"] = [result["table"][0] | {"pgr_note": ""}, other | {"pgr_note": note}]
    path.write_text(json.dumps(result))
    running.write_outcome(path.parent, runs.outcomes[runs.done[0].address])
    again = sweeps.SweepRuns(runs.sweep)
    again.write()
    assert students(again).pair.nunique() == 1, "the note is no part of a run's name"
    page = sweeps.write_report(again).read_text()
    assert "0.500 [0.100, 0.900]<" in page and "0.250 [0.100, 0.900] †<" in page
    assert f"† {note}: 1 of 2 students" in page
    print_result(result)
    lines = capsys.readouterr().out.splitlines()
    assert "0.250 [0.100, 0.900] †" in lines[-2] and "†" not in lines[-3]
    assert lines[-1] == f"† {note}"


def test_auroc_stands_beside_accuracy_in_the_report_and_on_the_command_line(quick, capsys):
    given, _ = quick
    runs = sweeps.run_sweep(given | {"axes": {"n": [0]}})
    assert "AUROC" not in sweeps.write_report(runs).read_text(), (
        "runs of earlier versions have none"
    )
    path = runs.folder_of(runs.done[0]) / "result.json"
    result = json.loads(path.read_text())
    result["parameters"] |= dict.fromkeys(("task", "weak", "strong", "method", "n_train"), "same")
    area = {"auroc": 0.85, "auroc_low": 0.8, "auroc_high": 0.875}
    by_auroc = {"pgr_auroc": 0.625, "pgr_auroc_low": 0.5, "pgr_auroc_high": None}
    result["table"] = [result["table"][0] | area | by_auroc]
    path.write_text(json.dumps(result))
    running.write_outcome(path.parent, runs.outcomes[runs.done[0].address])
    again = sweeps.SweepRuns(runs.sweep)
    again.write()
    [row] = students(again).itertuples()
    assert (row.auroc, row.pgr_auroc, row.pgr_auroc_high) == (0.85, 0.625, float("inf"))
    page = sweeps.write_report(again).read_text()
    assert "0.850 [0.800, 0.875]<" in page and "0.625 [0.500, no bound]<" in page
    assert "PGR by AUROC by loss" in page
    assert medians(students(again), "task", "auroc").pgr.tolist() == [0.625]
    print_result(result)
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.split("  ")[0] == "student, naive"
    assert "0.850 [0.800, 0.875]" in last and "0.625 [0.500, no bound]" in last


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"nbformat": 3, "worksheets": []}'])
def test_a_file_that_is_no_notebook_is_refused_in_one_line(text, tmp_path):
    (tmp_path / "x.ipynb").write_text(text)
    with pytest.raises(ValueError, match=r"x.ipynb is no notebook of format 4"):
        sweeps.read_sweep({"name": "some", "notebook": str(tmp_path / "x.ipynb")})


@pytest.mark.parametrize("name", ["result.json", "run.json"])
def test_an_altered_file_of_a_run_is_not_used(name, tmp_path):
    path = tmp_path / name
    of = {"address": "a", "notebook": "some", "attempt": 1, "parameters": {"n": 1}}
    (tmp_path / "result.json").write_text(
        json.dumps({"parameters": {}, "table": [{"accuracy": 0.75}]})
    )
    running.write_outcome(tmp_path, running.make_outcome(of, "done", seconds=1.5))
    whole = running.read_outcome(tmp_path, "a")
    assert whole["seconds"] == 1.5 and running.read_outcome(tmp_path, "b") is None
    content = path.read_text()
    for altered in (content.replace("75", "85").replace("1.5", "2.5"), "null", "[]", ""):
        path.write_text(altered)
        assert running.read_outcome(tmp_path, "a") is None
    path.write_text(content)
    assert running.read_outcome(tmp_path, "a") == whole


@pytest.mark.parametrize("content", ["[]", "null", '{"state": "done"}'])
def test_another_sweeps_damaged_run_does_not_stop_a_dry_run(content, quick, tmp_path):
    given, _ = quick
    folder = tmp_path / "runs" / "another" / "runs" / "a"
    folder.mkdir(parents=True)
    (folder / "run.json").write_text(content)
    assert sweeps.SweepRuns(sweeps.read_sweep(given)).estimate(1) == (None, 0)


def test_a_result_that_vanished_is_not_left_out_in_silence(quick):
    given, _ = quick
    runs = sweeps.run_sweep(given | {"axes": {"n": [0]}})
    again = sweeps.SweepRuns(runs.sweep)
    (again.folder_of(again.done[0]) / "result.json").unlink()
    with pytest.raises(ValueError, match="is done, but its result.json is gone or damaged"):
        again.results()
    assert [run.parameters["n"] for run in sweeps.SweepRuns(runs.sweep).unfinished] == [0]


@pytest.mark.parametrize(
    "change, says",
    [
        ({"name": "Store"}, "name 'Store'; expected"),
        ({"name": "READMe.md"}, "name 'READMe.md'; expected"),
        ({"name": "x" * 101}, "at most 100 letters"),
        ({"name": "dir."}, "name 'dir.'; expected"),
        ({"name": None}, "name None; expected"),
        ({"name": ["a"]}, r"name \['a'\]; expected"),
        ({"resources": {"minutes": float("nan")}}, "minutes = nan; expected a number above 0"),
        ({"resources": {"minutes": float("inf")}}, "minutes = inf; expected a number above 0"),
        ({"resources": {"cpus": float("nan")}}, "cpus = nan"),
        ({"resources": {"gpus": float("inf")}}, "gpus = inf"),
        ({"resources": {"minutes": "1:30"}}, "minutes = '1:30'; expected a number above 0"),
        ({"notebook": 3}, "notebook = 3; expected a text"),
        ({"notebook": ["03_conf_loss"]}, r"notebook = \[.*; expected a text"),
        ({"remote": 3}, "remote = 3; expected a text"),
        ({"remote": ["s3://a"]}, r"remote = \[.*; expected a text"),
        ({"axes": {3: [1]}}, "3 is a int; expected a parameter's name"),
        ({"parameters": {3: 1}}, "3 is a int; expected a parameter's name"),
        ({"axes": {"notebook": [3]}}, "notebook = 3; expected a text"),
        ({"exclude": [{"n": 1, 3: 1}]}, "unknown parameter in exclude '3'"),
    ],
)
def test_names_and_numbers_that_no_sweep_can_have_are_refused(quick, change, says):
    given, log = quick
    with pytest.raises((ValueError, TypeError), match=says) as refused:
        sweeps.run_sweep(given | change)
    assert "\n" not in str(refused.value) and not log.exists()


@pytest.mark.parametrize("value", [datetime.date(2026, 1, 2), float("nan"), float("inf"), {1, 2}])
def test_values_that_no_notebook_can_be_given_are_refused(quick, value):
    given, log = quick
    notebook = nbformat.read(given["notebook"], 4)
    notebook.cells[0].source += "\nwhat = None\nshare = 0.5"
    nbformat.write(notebook, given["notebook"])
    for name in ("what", "share"):
        for change in ({"axes": {name: [value]}}, {"parameters": {name: value}}):
            with pytest.raises(
                (ValueError, TypeError), match=rf"{name}.*; (expected|quick expects)"
            ):
                sweeps.run_sweep(given | change)
    assert not log.exists()


@pytest.mark.parametrize("retries", [-1, 1.5, True, None, "2"])
def test_retries_are_a_whole_number_from_0(quick, retries):
    given, log = quick
    for dry_run in (True, False):
        with pytest.raises(ValueError, match="retries = .*; expected a whole number from 0"):
            sweeps.run_sweep(given, retries=retries, dry_run=dry_run)
    assert not log.exists()


def test_the_command_refuses_before_a_dry_run_too(quick, tmp_path, capsys):
    given, log = quick
    file = str(tmp_path / "some.yaml")
    (tmp_path / "some.yaml").write_text(json.dumps(given))
    assert main(["sweep", file, "--retries", "-1"]) == 2
    assert "retries = -1; expected a whole number from 0" in capsys.readouterr().err
    for how in ("--dry-run", "--list"):
        assert main(["sweep", file, how, "--run", "zzz"]) == 2
        assert "unknown run of some 'zzz'" in capsys.readouterr().err
    address = sweeps.read_sweep(given).runs[2].address
    assert main(["sweep", file, "--dry-run", "--run", address]) == 0
    said = capsys.readouterr().out
    assert "n=2" in said and "n=1" not in said and "1 to run" in said
    assert main(["sweep", file, "--list", "--run", address]) == 0
    assert capsys.readouterr().out.startswith(f"{address}\t") and not log.exists()


def outcome_of(**changes) -> dict:
    run = {"address": "a", "notebook": "quick", "attempt": 1, "parameters": {"n": 1}}
    return running.make_outcome(run, "done", seconds=1.5) | changes


ODD = [
    {"seconds": None},
    {"seconds": "long"},
    {"seconds": float("nan")},
    {"notebook": None},
    {"parameters": []},
    {"parameters": None},
    {"state": ["done"]},
    {"attempts": "two"},
    {"error": None},
    {"traceback": 3},
]


@pytest.mark.parametrize("odd", ODD, ids=str)
def test_an_odd_but_whole_outcome_of_another_version_is_no_outcome(odd, quick, tmp_path):
    given, _ = quick
    folder = tmp_path / "runs" / "another" / "runs" / "a"
    folder.mkdir(parents=True)
    (folder / "result.json").write_text(json.dumps({"parameters": {}, "table": []}))
    running.write_outcome(folder, outcome_of())
    runs = sweeps.SweepRuns(sweeps.read_sweep(given))
    assert running.read_outcome(folder, "a") and runs.estimate(1) == (6.0, 4)
    running.write_outcome(folder, outcome_of(**odd))
    assert running.read_outcome(folder, "a") is None and runs.estimate(1) == (None, 0)
    content = json.loads((folder / "run.json").read_text())
    for key in outcome_of().keys() - {"machine", "finished"}:
        rest = {name: value for name, value in content.items() if name not in (key, *odd)}
        running.write_outcome(folder, rest)
        assert running.read_outcome(folder, "a") is None, key


@pytest.mark.parametrize(
    "result",
    [
        {"table": "text", "parameters": {}},
        {"table": [1, 2], "parameters": {}},
        {"table": [], "parameters": []},
        {"table": []},
        {"table": [], "parameters": {}, "versions": "1.0"},
    ],
    ids=str,
)
def test_an_odd_table_is_no_result(result, tmp_path):
    (tmp_path / "result.json").write_text(json.dumps(result))
    assert running.read_result(tmp_path) is None


@pytest.mark.parametrize("content", [b"[" * 100_000, b"\xff\xfe", b"{", b"1"])
def test_files_of_runs_that_are_no_json_are_passed_over(content, tmp_path):
    for name in ("run.json", "result.json"):
        (tmp_path / name).write_bytes(content)
    assert running.read_outcome(tmp_path, "a") is None and running.read_result(tmp_path) is None


def test_a_damaged_zip_at_remote_costs_no_run_and_is_put_there_anew(quick, tmp_path, capfd):
    given, log = quick
    given |= {"remote": f"file://{tmp_path / 'far'}", "axes": {"n": [0]}}
    fit = tmp_path / "home" / "fits" / "a"
    fit.mkdir(parents=True)
    (fit / "record.json").write_text("whole" * 100)
    sweeps.run_sweep(given)
    far = tmp_path / "far" / "fits" / "a.zip"
    whole = far.read_bytes()
    damaged = {
        "cut": whole[: len(whole) // 2],
        "empty": b"",
        "no zip": b"<html>access denied</html>" * 9,
        "altered": whole.replace(whole[45:50], b"\0\1\2\3\4"),
    }
    for n_damaged, (how, content) in enumerate(damaged.items(), start=1):
        run, elsewhere, third = (tmp_path / how / name for name in ("run", "elsewhere", "third"))
        run.mkdir(parents=True)
        order = {"remote": given["remote"], "address": "b", "folder": str(run)}
        far.write_bytes(content)
        with running.exchange(order | {"store": str(elsewhere)}):
            assert not (elsewhere / "fits" / "a").exists(), how
            (elsewhere / "fits" / "a").mkdir(parents=True)
            (elsewhere / "fits" / "a" / "record.json").write_text("whole" * 100)
        assert "a.zip is damaged" in capfd.readouterr().err, how
        running.exchange(order | {"store": str(third)}).__enter__()
        assert (third / "fits" / "a" / "record.json").read_text() == "whole" * 100, how
        for path in (tmp_path / "far" / "runs").iterdir():
            path.write_bytes(content)
        assert set(states(sweeps.run_sweep(given, dry_run=True)).values()) == {"done"}, how
        for path in (tmp_path / "runs").rglob("run.json"):
            path.unlink()
        assert set(states(sweeps.run_sweep(given)).values()) == {"done"}, how
        assert len(starts(log)) == 1 + n_damaged, "damaged there and gone here, so run again"


def test_names_of_zips_at_remote_lead_nowhere_else(tmp_path):
    far = tmp_path / "far" / "fits"
    far.mkdir(parents=True)
    with zipfile.ZipFile(far / "...zip", "w") as archive:
        archive.writestr("record.json", "{}")
    with zipfile.ZipFile(far / "a.zip", "w") as archive:
        archive.writestr("../../../planted.txt", "x")
        archive.writestr("folder/", "")
        archive.writestr("record.json", "{}")
    order = {"remote": f"file://{tmp_path / 'far'}", "store": str(tmp_path / "store" / "here")}
    with running.exchange(order | {"address": "b", "folder": str(far)}):
        pass
    files = {str(p.relative_to(tmp_path / "store")) for p in (tmp_path / "store").rglob("*.*")}
    assert {f for f in files if "lock" not in f} == {
        "here/fits/a/record.json",
        "here/fits/a/planted.txt",
    }


class SlowRay:
    """Ray on a busy machine."""

    down = False

    def is_initialized(self):
        return False

    def init(self, **options):
        raise Exception("The current node timed out during startup.\nSee the logs.")

    def shutdown(self):
        self.down = True


def test_a_ray_that_does_not_start_is_said_in_one_line(quick, tmp_path, monkeypatch, capsys):
    ray = SlowRay()
    monkeypatch.setattr(distributed, "import_ray", lambda: ray)
    monkeypatch.setattr(engines, "import_ray", lambda: ray)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    given, log = quick
    (tmp_path / "some.yaml").write_text(json.dumps(given))
    assert main(["sweep", str(tmp_path / "some.yaml"), "--engine", "ray"]) == 2
    said = capsys.readouterr().err
    assert "Ray did not answer on this machine: The current node timed out" in said
    assert said.count("\n") == 1 and ray.down and not log.exists()


def test_minutes_and_seconds_are_no_number(quick, tmp_path):
    (tmp_path / "some.yaml").write_text(
        f"notebook: {quick[0]['notebook']}\naxes: {{n: [1]}}\nresources: {{minutes: 1:30}}\n"
    )
    with pytest.raises(ValueError, match="minutes = '1:30'; expected a number above 0"):
        sweeps.read_sweep(tmp_path / "some.yaml")
