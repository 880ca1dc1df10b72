"""The shape of the project: direction of imports, sizes, documentation, one list of packages, clean notebooks."""

import ast
import importlib
import inspect
import json
import re
import tomllib
from pathlib import Path

import pytest
import yaml

import w2s_nb

ROOT = Path(__file__).resolve().parents[1]
FLOW = [
    "common",
    "plots",
    "data",
    "labels",
    "models",
    "losses",
    "metrics",
    "inputs",
    "training",
    "prompting",
    "experiments",
    "chess",
    "notebook",
    "sweeps",
    "__main__",
]
MODULES = sorted((ROOT / "w2s_nb").rglob("*.py"))
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
SOLUTIONS = sorted((ROOT / "notebooks" / "solutions").glob("*.ipynb"))


def part_of(path: Path) -> str:
    return path.relative_to(ROOT / "w2s_nb").parts[0].removesuffix(".py")


def imported(path: Path) -> set[str]:
    """Parts of the package that a module imports."""
    depth = len(path.relative_to(ROOT / "w2s_nb").parts)
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level == depth:
            found |= {node.module.split(".")[0]} if node.module else {a.name for a in node.names}
    return found - {part_of(path)}


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_imports_go_one_way(path):
    if path == ROOT / "w2s_nb" / "__init__.py":
        return
    assert part_of(path) in FLOW, f"{path.name} has no place in the flow"
    below = [m for m in imported(path) if FLOW.index(m) >= FLOW.index(part_of(path))]
    assert not below, f"{path.name} imports {below}, which come after it"


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_no_module_is_two_things(path):
    assert len(path.read_text().splitlines()) <= 250


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_no_pickle_no_remote_code_no_assert(path):
    text = path.read_text()
    assert not re.search(
        r"import pickle|torch\.load\(|trust_remote_code=True|^\s*assert ", text, re.M
    )


def public():
    for name in FLOW:
        module = importlib.import_module(f"w2s_nb.{name}")
        for key, value in vars(module).items():
            if (
                not key.startswith("_")
                and inspect.getmodule(value) is module
                and (inspect.isfunction(value) or inspect.isclass(value))
            ):
                yield f"{name}.{key}", value


@pytest.mark.parametrize("name, thing", public(), ids=lambda x: x if isinstance(x, str) else "")
def test_everything_public_is_documented(name, thing):
    assert inspect.getdoc(thing), f"{name} has no docstring"
    if inspect.isclass(thing):
        for key, member in vars(thing).items():
            if inspect.isfunction(member) and not key.startswith("_"):
                assert inspect.getdoc(member), f"{name}.{key} has no docstring"


def test_what_is_exported_exists():
    assert all(hasattr(w2s_nb, name) for name in w2s_nb.__all__)


def test_environment_and_lock_cover_pyproject():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = {
        re.split(r"[<>=\[]", d)[0]
        for d in project["dependencies"] + project["optional-dependencies"]["test"]
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
    assert pip == ["-r requirements.txt", "-e .[test]"], (
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
    manifest = yaml.safe_load((ROOT / "papermill_runs" / "recipes" / "rayjob.yaml").read_text())
    assert f"ray=={manifest['spec']['rayClusterSpec']['rayVersion']}" in added


def test_fixed_packages_are_there():
    lock = (ROOT / "requirements.txt").read_text()
    for name in "jupyterlab papermill torch transformers datasets peft plotly ipywidgets nbval pytest".split():
        assert re.search(rf"^{name}==", lock, re.M), name


@pytest.mark.parametrize("path", NOTEBOOKS + SOLUTIONS, ids=lambda p: "/".join(p.parts[-2:]))
def test_notebooks_keep_to_the_template(path):
    notebook = json.loads(path.read_text())
    assert (
        notebook["metadata"]["kernelspec"]["name"] == "python3" and path.stat().st_size < 1_000_000
    )
    assert "widgets" not in notebook["metadata"] and "papermill" not in notebook["metadata"]
    code = [c for c in notebook["cells"] if c["cell_type"] == "code"]
    tags = [t for c in code for t in c["metadata"].get("tags", [])]
    assert tags.count("parameters") == 1 and "raises-exception" not in tags
    assert tags.count("checks") >= 1 or path in SOLUTIONS  # whose checks are those of the exercises
    for cell in code:
        source = "".join(cell["source"])
        most = 16 if "parameters" in cell["metadata"].get("tags", []) else 12
        assert len(source.splitlines()) <= most, f"a cell of more than {most} lines:\n{source}"
        assert not re.search(r"^\s*(class |%cd|!|%pip)|sys\.path|['\"](/|\.\./)", source, re.M), (
            source
        )
        assert not any(o["output_type"] == "error" for o in cell["outputs"])
        for output in cell["outputs"]:
            text = json.dumps(output)
            assert not re.search(r'"[^"]*(/root/|/home/|/work/|/tmp/)', text), (
                f"a path of one machine: {text[:300]}"
            )


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_papermill_understands_every_parameter(path):
    import papermill

    given = papermill.inspect_notebook(str(path))
    assert {"task", "weak", "strong", "method", "seeds", "n_train", "n_test", "results"} <= set(
        given
    )
    assert all(
        p["inferred_type_name"] in ("str", "int", "float") and p["help"] for p in given.values()
    )
    cells = [c for c in json.loads(path.read_text())["cells"] if c["cell_type"] == "code"]
    setup = next(c for c in cells if "w2s.setup(" in "".join(c["source"]))
    assert cells.index(setup) == 1, "set-up comes right after the parameters"
    for name in given:
        assert re.search(rf"\b{name}={name}\b", "".join(setup["source"])), (
            f"{name} is not passed to setup"
        )


def test_no_path_of_a_machine_is_in_the_project():
    import subprocess

    files = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True
    ).stdout.split()
    for name in files:
        path = ROOT / name
        if (
            path.suffix in (".py", ".md", ".yml", ".toml", "")
            and path.is_file()
            and path != Path(__file__)
        ):
            assert not re.search(r"/work/|/root/|/opt/", path.read_text()), name
