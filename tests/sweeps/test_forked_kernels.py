"""Kernels that are forked from one process: what one does touches no other, and none is left."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import psutil
import pytest

from w2s_nb import sweeps
from w2s_nb.notebook import fork_server
from w2s_nb.sweeps import engines

from .test_sweeps import SCRIPT, pid_of, quick, starts, states  # noqa: F401

pytestmark = [
    pytest.mark.model,
    pytest.mark.skipif(sys.platform != "linux", reason="kernels are forked on Linux alone"),
]

# Each run says what it finds, then leaves something that another one must not find.
TRACES = """import os, random, sys
found = {
    "names": "left_behind" in globals(), "environment": os.environ.get("LEFT"),
    "devices": os.environ.get("CUDA_VISIBLE_DEVICES"),
    "imported": "w2s_nb.notebook.setup" in sys.modules, "folder": os.getcwd(),
    "left in a module": hasattr(sys.modules["json"], "left"), "parent": os.getppid(),
}
import numpy, torch
import w2s_nb as w2s
found["losses"] = sorted(w2s.LOSSES)
found["random"] = [random.random(), float(numpy.random.rand()), float(torch.rand(()))]
found["threads"] = torch.get_num_threads()
left_behind = json.left = True
os.environ["LEFT"] = "behind"
def left(logits, targets, *, progress):
    return logits[:, 0]
w2s.register_loss(left)
torch.manual_seed(n); numpy.random.seed(n); random.seed(n)
(torch.ones(300, 300) @ torch.ones(300, 300)).sum()
pathlib.Path(results).with_name("found.json").write_text(json.dumps(found))"""

# What differs between a terminal and a notebook, or between one process and another.
SHOWN = """import logging, os, sys, warnings
import numpy as np, pandas as pd, torch, tqdm.auto, transformers
import w2s_nb as w2s
from w2s_nb import plots
from IPython.display import display
print(torch.get_num_threads(), tqdm.auto.tqdm.__mro__[:2], __name__)
print(sorted(w2s.LOSSES), [os.path.realpath(path) for path in [sys.argv[0], *sys.path]])
print(pd.get_option("display.max_columns"), sorted(set(os.environ) - {"W2S_FORK"}))
transformers.logging.get_logger("transformers.x").warning("said by a logger")
warnings.warn("said by a warning")
pd.DataFrame([range(30)])"""
FIGURE = """plots.lines({"a": ([0, 1], [0, 1])}, "x", "y", "title")"""
PROBE = """task = "movie_snippets"
arms = w2s.run_arms(task, "SmolLM2-135M@1", "SmolLM2-135M@2", method="probe", seeds=[0],
                    losses=["xent"], n_train=20, n_val=10, n_test=20)
arms.table()"""


@pytest.fixture
def forked(quick, monkeypatch):  # noqa: F811
    """Returns what `quick` returns, and has the kernels forked."""
    monkeypatch.delenv("W2S_FORK")
    return quick


def put_before(path: str, *cells: str) -> None:
    """Puts cells between a notebook's parameters and its last cell."""
    notebook = nbformat.read(path, 4)
    notebook.cells[1:1] = [nbformat.v4.new_code_cell(cell) for cell in cells]
    nbformat.write(notebook, path)


def test_a_run_touches_no_other_and_those_that_die_are_told(forked):
    given, log = forked
    put_before(given["notebook"], "import json, pathlib", TRACES)
    given["axes"] = {"n, mode": [[0, "ok"], [1, "die"], [2, "ok"], [3, "raise"], [4, "ok"]]}
    runs = sweeps.run_sweep(given, jobs=1, retries=0)
    assert states(runs) == {0: "done", 1: "kernel died", 2: "done", 3: "failed", 4: "done"}
    folders = [runs.folder_of(run) for run in runs.sweep.runs]
    assert "out of everything" in runs.outcomes[runs.sweep.runs[1].address]["traceback"]
    found = [json.loads((folder / "found.json").read_text()) for folder in folders]
    random_numbers = {number for each in found for number in each.pop("random")}
    assert len(random_numbers) == 15, "as in fresh processes"
    for each in found:
        assert each == found[0]
    first = found[0]
    assert not first["names"] and first["environment"] is None and not first["left in a module"]
    assert first["imported"] and not any(name.startswith("left") for name in first["losses"])
    assert not psutil.pid_exists(first["parent"]), "the server lives as long as its sweep"


def outputs_of(runs) -> list:
    """Lists sources and outputs of the one run's notebook, without what tells runs apart."""
    (run,) = runs.done
    notebook = nbformat.read(runs.folder_of(run) / "notebook.ipynb", 4)
    texts = []
    for cell in notebook.cells:
        streams = {}
        for output in cell.get("outputs", ()):
            if output.output_type == "stream":  # in one piece or two, as time has it
                streams[output.name] = streams.get(output.name, "") + output.text
        others = [each for each in cell.get("outputs", ()) if each.output_type != "stream"]
        texts.append((cell.source, streams, others))
    without_pid = re.sub(r"ipykernel_\d+", "ipykernel", json.dumps(texts))
    return json.loads(without_pid.replace(run.address, "RUN"))


def test_a_run_has_the_notebook_that_a_fresh_kernel_gives(forked, monkeypatch):
    given, log = forked
    put_before(given["notebook"], SHOWN, FIGURE, PROBE)
    given["axes"] = {"n": [0]}
    monkeypatch.setenv("PLOTLY_RENDERER", "plotly_mimetype")
    monkeypatch.setenv("COLUMNS", "80")
    with_fork = outputs_of(sweeps.run_sweep(given))
    for path in Path(os.environ["W2S_HOME"]).glob("fits/*/record.json"):
        path.unlink()
    for path in (log.parent / "runs").rglob("run.json"):
        path.unlink()
    monkeypatch.setenv("W2S_FORK", "0")
    afresh = outputs_of(sweeps.run_sweep(given))
    assert starts(log) == [0, 0]
    for one, other in zip(with_fork, afresh, strict=True):
        assert one == other


def wait_for(condition, seconds=60):
    until = time.time() + seconds
    while not condition() and time.time() < until:
        time.sleep(0.05)
    assert condition()


def gone(process: psutil.Process) -> bool:
    return not process.is_running() or process.status() == "zombie"


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_stopped_driver_leaves_no_process(forked, tmp_path, how):
    given, log = forked
    given["axes"] = {"n, mode": [[0, "sleep 100"], [1, "sleep 100"]]}
    (tmp_path / "some.yaml").write_text(json.dumps(given))
    arguments = [str(tmp_path / "some.yaml"), str(tmp_path / "runs")]
    driver = subprocess.Popen([sys.executable, "-c", SCRIPT, *arguments])
    wait_for(lambda: starts(log) == [0, 1], 120)
    family = psutil.Process(driver.pid).children(recursive=True)
    assert {psutil.Process(pid_of(log, n)).ppid() for n in (0, 1)} < {each.pid for each in family}
    assert len(family) == 5, "a server, two kernels of it, and two processes that run papermill"
    driver.send_signal(how)
    assert driver.wait(30) != 0
    wait_for(lambda: all(map(gone, family)), 20)


@pytest.mark.parametrize("which", ["server", "worker"])
def test_a_killed_server_or_worker_is_replaced(which, forked, monkeypatch):
    given, log = forked
    given["axes"] = {"n, mode": [[0, "sleep 100 once"], [1, "ok"]]}
    made = []

    class Server(fork_server.ForkServer):
        def __init__(self, environment):
            super().__init__(environment)
            made.append(self)

    monkeypatch.setattr(fork_server, "ForkServer", Server)

    def show(runs, seconds):
        """Kills one process while the first run is under way."""
        if states(runs)[1] == "done" and len(starts(log)) == 2 and not killed:
            others = psutil.Process().children()
            workers = [p.pid for p in others if "running.py" in " ".join(p.cmdline())]
            killed.append(made[0].process.pid if which == "server" else workers[0])
            for pid in killed if which == "server" else workers:
                os.kill(pid, signal.SIGKILL)

    killed = []
    runs = sweeps.run_sweep(given, jobs=2, show=show)
    assert states(runs) == {0: "done", 1: "done"} and sorted(starts(log)) == [0, 0, 1]
    assert len(made) == (2 if which == "server" else 1)


def test_a_run_out_of_time_is_stopped(forked):
    given, log = forked
    given |= {"axes": {"n, mode": [[0, "sleep 600"]]}, "resources": {"minutes": 0.2}}
    runs = sweeps.run_sweep(given, retries=0)
    assert states(runs) == {0: "timed out"}
    if log.exists():  # importing may have taken all the time
        assert not psutil.pid_exists(pid_of(log, 0))


def test_nothing_is_forked_where_a_fork_is_not_safe(monkeypatch):
    assert fork_server.is_supported()
    monkeypatch.setenv("W2S_FORK", "0")
    assert not fork_server.is_supported()
    monkeypatch.delenv("W2S_FORK")
    monkeypatch.setattr(sys, "platform", "darwin")
    assert not fork_server.is_supported()
    engine = engines.Local(sweeps.Resources(), 1)
    assert engine._living_fork_server() is None
    engine.close()


@pytest.fixture
def kernels(monkeypatch):
    """Returns the kernels of a server that would fork them in this process."""
    monkeypatch.setattr(fork_server, "_threads_that_outlive_a_fork", list)
    one, other = socket.socketpair()
    with one, other:
        yield fork_server._Kernels(one, fork_server._files_of_kit())


def test_changed_code_another_kit_threads_and_gpus_call_for_a_fresh_process(
    kernels, monkeypatch, tmp_path
):
    assert kernels._is_as_fresh()
    kernels.kit = kernels.kit | {fork_server.__file__: (0, 0)}
    assert not kernels._is_as_fresh(), "code of the kit has changed since it was imported"
    kernels.kit = fork_server._files_of_kit()
    monkeypatch.setattr("torch.cuda._is_in_bad_fork", lambda: True)
    assert not kernels._is_as_fresh(), "the server has asked for GPUs"
    monkeypatch.undo()
    monkeypatch.setattr(kernels, "can_fork", False)
    assert not kernels._is_as_fresh(), "a thread of a library would be missing"
    monkeypatch.undo()
    (tmp_path / "w2s_nb").mkdir()
    (tmp_path / "w2s_nb" / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    assert not kernels._is_as_fresh(), "a kernel would import another kit"
