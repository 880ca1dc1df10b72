"""Packages: one list in pyproject.toml, and locks that cover it."""

import re
import tomllib
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[1]


def test_environment_and_lock_cover_pyproject():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = {
        re.split(r"[<>=\[]", d)[0].lower()
        for d in project["dependencies"]
        + project["optional-dependencies"]["test"]
        + project["optional-dependencies"]["chess"]
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
        python.partition("=")[2] in ("3.11", "3.12")
        and project["requires-python"] == ">=3.11,<3.13"
    )
    pip = next(d["pip"] for d in environment["dependencies"] if isinstance(d, dict))
    assert pip == ["-r requirements.txt", "-e .[chess,test]"], (
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


def test_fixed_packages_are_there():
    lock = (ROOT / "requirements.txt").read_text()
    fixed = "jupyterlab papermill torch transformers datasets peft plotly ipywidgets nbval pytest"
    for name in fixed.split():
        assert re.search(rf"^{name}==", lock, re.M), name
