"""Ray: two nodes on one machine, one of them killed during a sweep; shares of a device; training on
two workers.
"""

import os
import threading
import time

import nbformat
import numpy as np
import pandas as pd
import papermill
import pytest

from w2s_nb import sweeps
from w2s_nb.sweeps.engines import Ray

from .test_sweeps import quick, starts, states  # noqa: F401 (a fixture)

ray = pytest.importorskip(
    "ray", reason="Ray is not installed: pip install -r requirements-cluster.txt"
)


@pytest.fixture(scope="module")
def cluster():
    """A head of one core, and what adds nodes to it."""
    from ray.cluster_utils import Cluster

    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    ray.init(address=made.address, log_to_driver=False, configure_logging=False)
    yield made
    ray.shutdown()
    made.shutdown()


def test_a_node_killed_during_a_sweep_costs_no_run(cluster, quick):  # noqa: F811
    given, log = quick
    node = cluster.add_node(num_cpus=1)
    given["axes"] = {"n": list(range(4))}
    given["parameters"]["mode"] = "sleep 1"
    given["resources"] = {"cpus": 1}

    def kill():
        until = time.time() + 120
        while len(starts(log)) < 3 and time.time() < until:
            time.sleep(0.1)
        cluster.remove_node(node, allow_graceful=False)

    killer = threading.Thread(target=kill)
    killer.start()
    runs = sweeps.run_sweep(given, engine="ray", address=cluster.address)
    killer.join()
    assert states(runs) == dict.fromkeys(range(4), "done")
    attempts = runs.index().set_index("n").attempts
    assert attempts.max() <= 2
    ran = starts(log)  # a run may be lost before its first cell
    assert all(1 <= ran.count(n) <= attempts[n] for n in range(4)), (
        "what was done when the node died is not done again"
    )


def test_ray_handles_failures_as_one_machine_does(cluster, quick):  # noqa: F811
    given, log = quick
    given["axes"] = {
        "n, mode": [[3, "sleep 60"], [0, "ok"], [1, "raise"], [2, "die once"]]
    }  # the longest first
    given["resources"] = {"minutes": 8 / 60, "cpus": 0.5}
    runs = sweeps.run_sweep(given, engine="ray", address=cluster.address, retries=1)
    assert states(runs) == {0: "done", 1: "failed", 2: "done", 3: "timed out"}
    assert runs.index().set_index("n").error[1] == "ValueError: no 1 here" and starts(log) == [
        0,
        1,
        2,
        2,
        3,
        3,
    ]
    sweeps.run_sweep(
        given | {"axes": {"n, mode": [[0, "ok"], [2, "die once"]]}},
        engine="ray",
        address=cluster.address,
    )
    assert starts(log) == [0, 1, 2, 2, 3, 3]


def test_two_runs_share_a_device_and_their_kernels_see_it(cluster, quick):  # noqa: F811
    given, log = quick
    node = cluster.add_node(
        num_cpus=2, num_gpus=1
    )  # only counted: no test looks at the device itself
    try:
        engine = Ray(grid_resources(0.5), cluster.address)
        assert engine.slots() == 3
        sweeps.run_sweep(
            given | {"resources": {"gpus": 0.5}, "axes": {"n": [0, 1]}},
            engine="ray",
            address=cluster.address,
        )
        assert [line.split()[2] for line in log.read_text().splitlines()] == ["0"] * 2
        sweeps.run_sweep(
            given | {"resources": {"gpus": 0}, "axes": {"n": [7]}},
            engine="ray",
            address=cluster.address,
        )
        assert log.read_text().splitlines()[-1].split()[2:] == [], "of none, it sees none"
    finally:
        cluster.remove_node(node)


def grid_resources(gpus):
    return sweeps.Resources(gpus=gpus)


CELL = """import os
import w2s_nb as w2s
rows = [{"text": f"w{i % 50 + 2} w{i // 50 + 2} w{i % 2}", "y": i % 2} for i in range(400)]
@w2s.register_task("endings", lambda: {"all": rows}, max_len=16)
def endings(row):
    '''Does it end in w1?'''
    yield w2s.Example((row["text"],), row["y"])
@w2s.register_loss
def halved(logits, targets, *, progress):
    '''Half of cross-entropy.'''
    return -(targets * logits.log_softmax(dim=1)).sum(dim=1) / 2
task = w2s.load_task("endings", n_train=40, n_val=20, n_test=20)
for devices in (1, 2):
    os.environ["W2S_HOME"] = f"{folder}/home{devices}"  # a store for each, so that both are trained
    fit = w2s.fit(
        model, task.student, loss="halved", epochs=1, lr=1e-3, devices=devices, keep_weights=True
    )
    fit.curve.to_json(f"{folder}/curve{devices}.json")"""


def test_two_devices_train_a_model_from_a_notebook_cell(cluster, tiny, tmp_path, monkeypatch):
    notebook = nbformat.v4.new_notebook(
        metadata={"kernelspec": {"name": "python3", "display_name": "p", "language": "python"}}
    )
    notebook.cells = [
        nbformat.v4.new_code_cell("", metadata={"tags": ["parameters"]}),
        nbformat.v4.new_code_cell(CELL),
    ]
    nbformat.write(notebook, tmp_path / "two.ipynb")
    node = cluster.add_node(num_cpus=2)
    monkeypatch.setenv("RAY_ADDRESS", cluster.address)
    # a process less to start, and no second lost between two looks at the workers
    monkeypatch.setenv("RAY_TRAIN_ENABLE_PREEMPTION_WATCHER", "0")
    monkeypatch.setenv("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.2")
    papermill.execute_notebook(
        tmp_path / "two.ipynb",
        tmp_path / "out.ipynb",
        kernel_name="python3",
        cwd=tmp_path,
        progress_bar=False,
        parameters={"model": tiny, "folder": str(tmp_path)},
    )
    cluster.remove_node(node)
    assert len(list(tmp_path.glob("home[12]/fits/*/record.json"))) == 2, (
        "one was found, not trained"
    )
    curves = [pd.read_json(tmp_path / f"curve{devices}.json") for devices in (1, 2)]
    assert np.allclose(*curves, rtol=1e-4, equal_nan=True)
