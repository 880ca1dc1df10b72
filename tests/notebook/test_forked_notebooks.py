"""The plug-in by which nbval's kernels are forked from a process that has imported the kit."""

import json
import os
import subprocess
import sys

import nbformat
import psutil
import pytest

from w2s_nb.common.paths import checkout

pytestmark = [
    pytest.mark.model,
    pytest.mark.skipif(sys.platform != "linux", reason="kernels are forked on Linux alone"),
]

FOUND = """import json, os, pathlib, sys
import psutil
names = [name for name in ("mine", "theirs") if name in globals()]
mine = theirs = True
parent = psutil.Process().parent()
found = {"names": names, "parent": parent.pid, "command": parent.cmdline(),
         "pid": os.getpid(), "imported": "w2s_nb.notebook.setup" in sys.modules}
pathlib.Path(f"FOLDER/NAME.json").write_text(json.dumps(found))"""


def run_two(folder, **environment: str) -> list[dict]:
    """Runs two notebooks under nbval in one process; returns what each found."""
    kernel = {"name": "python3", "display_name": "p", "language": "python"}
    for name in ("one", "two"):
        notebook = nbformat.v4.new_notebook(metadata={"kernelspec": kernel})
        code = FOUND.replace("FOLDER", str(folder)).replace("NAME", name)
        notebook.cells = [nbformat.v4.new_code_cell(code)]
        nbformat.write(notebook, folder / f"{name}.ipynb")
    options = ["-p", "tests.forked_notebooks", "-p", "no:cacheprovider", "-q", "--nbval-lax"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, "--nbval-current-env", str(folder)],
        cwd=checkout(),
        env=os.environ | environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0 and "2 passed" in done.stdout, done.stdout + done.stderr
    return [json.loads((folder / f"{name}.json").read_text()) for name in ("one", "two")]


def is_server(found: dict) -> bool:
    return any(part.endswith("fork_server.py") for part in found["command"])


def test_kernels_are_children_of_one_server_and_share_no_names(tmp_path, monkeypatch):
    monkeypatch.delenv("W2S_FORK", raising=False)
    one, two = run_two(tmp_path)
    assert is_server(one) and one["parent"] == two["parent"] and one["pid"] != two["pid"]
    assert one["imported"] and two["imported"]
    assert one["names"] == two["names"] == []
    assert not psutil.pid_exists(one["parent"]), "the server ends with the tests"


def test_no_kernel_is_forked_where_forking_is_off(tmp_path):
    one, two = run_two(tmp_path, W2S_FORK="0")
    assert not is_server(one) and not is_server(two)
    assert not one["imported"] and one["names"] == two["names"] == []
