"""Notebooks run by papermill as a user runs them, and their small copies."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

from tests import small_notebooks

NOTEBOOKS = Path(__file__).resolve().parents[2] / "notebooks"


def run_papermill(cwd, **parameters):
    """Runs notebook 03 in a folder with these parameters."""
    command = [
        sys.executable,
        "-m",
        "papermill",
        "--no-progress-bar",
        str(NOTEBOOKS / "03_conf_loss.ipynb"),
        "out.ipynb",
    ]
    for name, value in parameters.items():
        command += ["-p", name, str(value)]
    drawn_by_plotly = os.environ | {"PLOTLY_RENDERER": "plotly_mimetype"}  # and not as PNG, too
    return subprocess.run(
        command, cwd=cwd, env=drawn_by_plotly, capture_output=True, text=True, timeout=300
    )


def test_a_notebook_runs_from_another_folder_and_writes_its_table(tiny, tmp_path):
    done = run_papermill(
        tmp_path,
        weak=f"{tiny}@1",
        strong=tiny,
        results="out.json",
        method="probe",
        n_train=40,
        n_val=20,
        n_test=40,
        seeds=2,
        table_seeds=1,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    result = json.loads((tmp_path / "out.json").read_text())
    assert [row["arm"] for row in result["table"]] == [
        "weak supervisor",
        "student, naive",
        "student, confidence",
        "strong ceiling",
    ]
    assert {"naive", "reverse_xent", "brier"} <= {row["loss"] for row in result["every_loss"]}
    assert result["parameters"]["seeds"] == 2 and result["table"][0]["seeds"] == 2
    assert "application/vnd.plotly.v1+json" in (tmp_path / "out.ipynb").read_text()


def test_papermill_fails_within_a_minute_on_an_unknown_parameter(tmp_path):
    started = time.perf_counter()
    done = run_papermill(tmp_path, strnog="x")
    message = "unknown parameter of 03_conf_loss 'strnog'. Near: strong"
    assert done.returncode == 1 and message in done.stderr, done.stderr[-2000:]
    assert time.perf_counter() - started < 60  # importing torch and transformers is most of it


def notebooks_in(folder):
    paths = folder.rglob("*.ipynb")
    return {path.relative_to(folder) for path in paths if ".ipynb_checkpoints" not in path.parts}


def test_every_notebook_has_a_small_copy_with_injected_parameters(tmp_path):
    small_notebooks.write(tmp_path)
    for path in tmp_path.rglob("*.ipynb"):
        cells = json.loads(path.read_text())["cells"]
        injected = [cell for cell in cells if "injected-parameters" in cell["metadata"]["tags"]]
        n_train = small_notebooks.small(NOTEBOOKS / path.relative_to(tmp_path))["n_train"]
        assert n_train <= 120 and len(injected) == 1, path
        assert f"n_train = {n_train}" in "".join(injected[0]["source"]), path
    copies = notebooks_in(tmp_path)
    assert copies == notebooks_in(NOTEBOOKS)
    assert Path("solutions", "00_tour.ipynb") in copies
