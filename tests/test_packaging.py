"""Packages: one list in pyproject.toml, and locks that cover it."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]


def test_environment_and_lock_cover_pyproject():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = {
        re.split(r"[<>=\[]", d)[0].lower()
        for d in project["dependencies"]
        + project["optional-dependencies"]["test"]
        + project["optional-dependencies"]["chess"]
        + project["optional-dependencies"]["code"]
        + project["optional-dependencies"]["vision"]
    }
    lock = (ROOT / "requirements.txt").read_text()
    locked = dict(re.findall(r"^([\w.-]+)==([\w.+]+)", lock, re.M))
    assert wanted <= set(locked), f"not locked: {wanted - set(locked)}"
    assert not re.search(r"^(nvidia|triton|cuda)", lock, re.M), (
        "CPU users must not get CUDA packages"
    )
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    python = next(
        d for d in environment["dependencies"] if isinstance(d, str) and d.startswith("python=")
    )
    assert (
        python.partition("=")[2] in ("3.11", "3.12", "3.13")
        and project["requires-python"] == ">=3.11,<3.14"
    )
    pip = next(d["pip"] for d in environment["dependencies"] if isinstance(d, dict))
    assert pip == ["-r requirements.txt", "-e .[chess,code,test,vision]"], (
        "environment.yml installs the lock and the package"
    )


def test_the_browser_lock_adds_playwright_and_nothing_that_is_locked():
    extra = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"][
        "optional-dependencies"
    ]["browser"]
    added, lock = (
        set(re.findall(r"^([\w.-]+)==", (ROOT / name).read_text(), re.M))
        for name in ("requirements-browser.txt", "requirements.txt")
    )
    assert (
        [re.split(r"[<>=]", d)[0] for d in extra] == ["playwright"]
        and "playwright" in added
        and not added & lock
    )


def test_the_cluster_lock_adds_ray_and_nothing_that_is_locked():
    extra = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"][
        "optional-dependencies"
    ]["cluster"]
    added, lock = (
        (ROOT / name).read_text() for name in ("requirements-cluster.txt", "requirements.txt")
    )
    names = re.findall(r"^([\w.-]+)==", added, re.M)
    assert [re.split(r"[<>=\[]", d)[0] for d in extra] == ["ray"] and "ray" in names
    assert not set(names) & set(re.findall(r"^([\w.-]+)==", lock, re.M))
    manifest = yaml.safe_load((ROOT / "papermill_runs" / "clusters" / "rayjob.yaml").read_text())
    assert f"ray=={manifest['spec']['rayClusterSpec']['rayVersion']}" in added


def test_the_site_lock_adds_sphinx_and_nothing_that_is_locked():
    extra = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"][
        "optional-dependencies"
    ]["site"]
    added, lock = (
        set(re.findall(r"^([\w.-]+)==", (ROOT / name).read_text(), re.M))
        for name in ("requirements-site.txt", "requirements.txt")
    )
    assert {re.split(r"[<>=]", d)[0] for d in extra} <= added and not added & lock


def test_fixed_packages_are_there():
    lock = (ROOT / "requirements.txt").read_text()
    fixed = "jupyterlab papermill torch transformers datasets peft plotly ipywidgets nbval pytest"
    for name in fixed.split():
        assert re.search(rf"^{name}==", lock, re.M), name


@pytest.mark.parametrize("lock", ["", "-browser", "-cluster", "-site"])
def test_every_locked_version_but_torch_has_the_hashes_of_its_files(lock):
    """Of every file, so that each system finds its own; `make hashes` writes them."""
    plain = (ROOT / f"requirements{lock}.txt").read_text()
    hashed = (ROOT / "hashes" / f"requirements{lock}.txt").read_text().replace(" \\\n", "")
    lines = [line for line in hashed.splitlines() if line and not line.startswith("#")]
    versions = {re.split(r"\s+--hash=", line)[0] for line in lines}
    wanted = {line for line in plain.splitlines() if line and not line.startswith("#")}
    assert versions == {line for line in wanted if not line.startswith("torch==")}
    assert all(re.search(r" --hash=sha256:[0-9a-f]{64}\b", line) for line in lines)


def test_packages_come_with_hashes_and_torch_after_them():
    """Else pip would take what torch needs unchecked, or another build of torch for the rest."""
    makefile = (ROOT / "Makefile").read_text()
    assert "--require-hashes --no-deps" in re.search(r"^HASHED := (.*)$", makefile, re.M)[1]
    hashed = makefile.index("$(HASHED) -r hashes/requirements.txt")
    assert hashed < makefile.index("{ $(TORCH_HERE); }") < makefile.index("-r requirements.txt  #")


@pytest.mark.skipif(
    sys.platform != "linux" or shutil.which("nvidia-smi") is not None,
    reason="the CPU index is asked on Linux without an NVIDIA driver",
)
@pytest.mark.parametrize("reachable", [True, False])
def test_setup_asks_the_index_of_cpu_builds_once_and_for_torch_alone(reachable, tmp_path):
    """And says what it takes: the general build of Linux is 5.7 GB of CUDA."""
    pip = tmp_path / "pip"
    answer = "exit 0" if reachable else 'case "$*" in *--index-url*) exit 1;; esac'
    pip.write_text(f'#!/bin/sh\necho "$*" >> {tmp_path}/calls\n{answer}\n')
    pip.chmod(0o755)
    rule = tmp_path / "rule.mk"
    rule.write_text(f"include {ROOT}/Makefile\nonly-torch:\n\t@$(TORCH_HERE)\n")
    command = ["make", "-f", str(rule), f"BIN={tmp_path}", "TORCH_INDEX=https://x", "only-torch"]
    made = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    first, *later = (tmp_path / "calls").read_text().splitlines()
    assert "--no-deps torch==" in first and "--index-url https://x" in first
    assert len(later) == (not reachable)
    assert ("CUDA" in made.stdout) == (not reachable)


def test_jupyterlab_as_root_is_refused_with_the_way_out():
    if os.geteuid() != 0:
        pytest.skip("only root is refused")
    made = subprocess.run(
        ["make", "-o", ".venv/whole", "BIN=/nowhere", "lab"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert made.returncode != 0 and "make lab LAB=--allow-root" in made.stdout
    assert "nowhere" not in made.stdout + made.stderr
    allowed = subprocess.run(
        ["make", "-o", ".venv/whole", "BIN=/bin/echo lab: ", "lab", "LAB=--allow-root"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert "/jupyter lab --allow-root notebooks/00_tour.ipynb" in allowed.stdout
