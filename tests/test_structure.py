"""The shape of the library: rooms, direction of imports, size of functions, documentation, face."""

import ast
import importlib
import inspect
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest

import w2s_nb as w2s

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
    "vision",
    "code_safety",
    "notebook",
    "sweeps",
    "suites",
    "comparisons",
    "published",
    "__main__",
]
MOST_LINES = 52  # of code in a function: "about 40"; `fit`, one keyword per line, is the longest
HEAVY = ("torch", "transformers", "datasets", "plotly", "chess", "pandas", "kaleido", "peft")
FILES = sorted((ROOT / "w2s_nb").rglob("*.py"))
MODULES = ["w2s_nb", *(m.name for m in pkgutil.walk_packages(w2s.__path__, "w2s_nb."))]


def room_of(path: Path) -> str:
    return path.relative_to(ROOT / "w2s_nb").parts[0].removesuffix(".py")


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports_of(path: Path, *, top_level: bool = False) -> set[str]:
    """Dotted names of the kit's modules that a file imports, at its top level or anywhere."""
    tree = ast.parse(path.read_text())
    package = module_of(path).split(".")
    if path.name != "__init__.py":
        package = package[:-1]
    names = set()
    for node in tree.body if top_level else ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = package[: len(package) - node.level + 1]
            base += node.module.split(".") if node.module else []
            for alias in node.names:
                full = ".".join([*base, alias.name])
                names.add(full if full in MODULES else ".".join(base))
    return names


@pytest.mark.parametrize("path", FILES, ids=module_of)
def test_imports_go_down_the_list_of_rooms(path):
    if path == ROOT / "w2s_nb" / "__init__.py":
        return
    rooms = {name.split(".")[1] for name in imports_of(path) if "." in name} - {room_of(path)}
    above = [room for room in rooms if FLOW.index(room) >= FLOW.index(room_of(path))]
    assert not above, f"{path.name} imports {above}, which come after its room"


def test_every_room_has_its_place_and_there_are_few():
    rooms = {room_of(path) for path in FILES} - {"__init__"}
    assert rooms == set(FLOW) and len(rooms) <= 20
    folders = {p.name for p in (ROOT / "tests").iterdir() if p.is_dir() and p.name[0] not in "_."}
    assert folders - {"bench"} <= rooms, "tests mirror the rooms"


def test_no_modules_import_each_other_in_a_circle():
    arrows = {module_of(path): imports_of(path, top_level=True) for path in FILES}
    left = {name: targets & set(arrows) - {name} for name, targets in arrows.items()}
    while free := [name for name, targets in left.items() if not targets]:
        for name in free:
            del left[name]
        left = {name: targets - set(free) for name, targets in left.items()}
    assert not left, f"modules in a circle, or above one: {sorted(left)}"


def functions_of(path: Path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield node


@pytest.mark.parametrize("path", FILES, ids=module_of)
def test_functions_are_short(path):
    for function in functions_of(path):
        body = function.body[1:] if ast.get_docstring(function) is not None else function.body
        lines = function.body[-1].end_lineno - body[0].lineno + 1 if body else 0
        assert lines <= MOST_LINES, f"{function.name} has {lines} lines of code"


@pytest.mark.parametrize("path", FILES, ids=module_of)
def test_docstrings_begin_with_a_verb(path):
    for function in functions_of(path):
        word = (ast.get_docstring(function) or "").split(" ")[0]
        assert word not in ("What", "How", "Where", "Whether", "A", "An"), (
            f"{function.name}: {ast.get_docstring(function)!r}"
        )


@pytest.mark.parametrize("path", FILES, ids=module_of)
def test_no_pickle_no_remote_code_no_assert(path):
    text = path.read_text()
    forbidden = (
        r"import pickle|torch\.load\((?!.*weights_only=True)|trust_remote_code=True|^\s*assert "
    )
    assert not re.search(forbidden, text, re.M)


def public():
    for name in MODULES:
        module = importlib.import_module(name)
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


def test_the_face_shows_its_names_and_nothing_else():
    assert sorted(dir(w2s)) == sorted(w2s.__all__)
    assert all(getattr(w2s, name) is not None for name in w2s.__all__)
    assert w2s.__version__ and (ROOT / "w2s_nb" / "py.typed").is_file()


def test_every_name_of_the_face_is_used_by_a_notebook_or_a_page():
    shown_in = [p for kind in ("*.ipynb", "*.md") for p in (ROOT / "notebooks").rglob(kind)]
    texts = [p.read_text() for p in [*shown_in, ROOT / "README.md"]]
    everything = "\n".join(texts)
    imported = " ".join(re.findall(r"from w2s_nb import ([\w, ]+)", everything))
    shown = set(re.findall(r"\bw2s\.(\w+)", everything)) | set(re.findall(r"\w+", imported))
    assert set(w2s.__all__) <= shown, f"used by nobody: {sorted(set(w2s.__all__) - shown)}"


def loaded_by(*arguments: str) -> set[str]:
    """The heavy packages that a Python process has loaded at its end."""
    code = f"import sys; print(*(name for name in {HEAVY!r} if name in sys.modules))"
    script = f"{arguments[0]}\n{code}"
    run = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return set(run.stdout.split("\n")[-2].split())


def test_importing_the_kit_loads_nothing_heavy():
    assert loaded_by("import w2s_nb") == set()


def test_help_and_refusals_of_the_command_line_load_no_torch(tmp_path):
    (tmp_path / "sweep.yaml").write_text("notebok: 03_conf_loss\n")
    for arguments in (
        ["--help"],
        ["sweep", str(tmp_path / "sweep.yaml")],
        ["run", "03_conf_loss", "-p", "losses", "xemt"],
        ["list", "models"],
    ):
        script = (
            "from w2s_nb.__main__ import main\n"
            f"try:\n    main({arguments!r})\nexcept SystemExit:\n    pass"
        )
        assert not loaded_by(script) & {"torch", "transformers", "datasets", "plotly", "chess"}


def test_no_path_of_a_machine_is_in_the_project():
    files = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True
    ).stdout.split()
    for name in files:
        path = ROOT / name
        if (
            path.suffix in (".py", ".md", ".yml", ".toml", "")
            and path.is_file()
            and path.name
            not in ("test_structure.py", "test_notebook_template.py")  # they forbid it
        ):
            assert not re.search(r"/work/|/root/|/opt/", path.read_text()), name
