"""Reads a notebook's file: where it is, what its cells say, its parameters and their defaults.

Neither nbformat nor papermill is loaded for it, which take more than a second.
"""

from __future__ import annotations

import ast
import json
import math
import re
from pathlib import Path

from ..common.paths import checkout
from ..common.registry import UnknownName
from .parameters import counts_seeds


def notebook_path(name: str) -> Path:
    """Finds a notebook by its name in `notebooks/`, or by its path.

    Raises:
        UnknownName: there is none; lists those that come with the kit.
    """
    folder = (checkout() or Path.cwd()) / "notebooks"
    for path in (folder / f"{name}.ipynb", Path(name).expanduser()):
        if path.suffix == ".ipynb" and path.is_file():
            return path.resolve()
    raise UnknownName("notebook", str(name), [path.stem for path in folder.glob("*.ipynb")])


def read_notebook(path: Path) -> dict:
    """Returns a notebook's JSON.

    Raises:
        ValueError: the file is no notebook of format 4.
    """
    try:
        notebook = json.loads(path.read_text())
        if notebook["nbformat"] == 4 and isinstance(notebook["cells"], list):
            return notebook
    except (ValueError, KeyError, TypeError):
        pass
    raise ValueError(f"{path.name} is no notebook of format 4")


def source_of(path: Path) -> str:
    """Returns a notebook's text, without outputs."""
    notebook = read_notebook(path)
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            cell["outputs"] = []
            cell["execution_count"] = None
    return json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"


def defaults_of(path: Path) -> dict:
    """Returns {parameter: default} of a notebook's cell tagged `parameters`; None for a default
    that is no literal.
    """
    try:
        statements = ast.parse(parameters_cell(path)).body
    except SyntaxError as error:
        raise ValueError(f"{path.name}: its cell of parameters is not Python: {error}") from None
    defaults: dict = {}
    for node in statements:
        if isinstance(node, ast.Assign):
            targets = node.targets
        elif isinstance(node, ast.AnnAssign):
            targets = [node.target]
        else:
            continue
        for target in targets:
            if isinstance(target, ast.Name):
                defaults[target.id] = _literal(node.value)
    if not defaults:
        raise ValueError(f"{path.name} has no parameters; tag the cell that sets them `parameters`")
    return defaults


def parameters_cell(path: Path) -> str:
    """Returns a notebook's cell tagged `parameters`; "" if there is none."""
    for cell in read_notebook(path)["cells"]:
        if "parameters" in cell["metadata"].get("tags", []):
            return "".join(cell["source"])
    return ""


def _literal(node: ast.expr | None):
    """Returns the value of a literal; None for an expression, whose type is not known here."""
    try:
        return ast.literal_eval(node) if node else None
    except (ValueError, SyntaxError):
        return None


def kind_of_tasks(path: Path) -> dict[str, bool]:
    """Returns what a notebook's call of `setup` says of the tasks that it takes.

    Returns:
        {"comparisons": True} or {"answers": True}, arguments of `parameters.check`; else {}.
    """
    given = _arguments_of_setup(path)
    return {name: True for name in ("comparisons", "answers") if given.get(name)}


def own_defaults(path: Path) -> dict[str, dict | None]:
    """Returns what a notebook's call of `setup` says that it takes on a CPU and on a GPU.

    Returns:
        {"cpu": {parameter: value}, "cuda": ...}, as `defaults.fill` takes them.
    """
    given = _arguments_of_setup(path)
    return {"cpu": given.get("on_cpu"), "cuda": given.get("on_gpu")}


def _arguments_of_setup(path: Path) -> dict:
    """Returns the arguments of a notebook's call of `setup`; None for one that is no literal."""
    for cell in read_notebook(path)["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] != "code" or "setup(" not in source:
            continue
        calls = [node for node in ast.walk(_parse(source)) if isinstance(node, ast.Call)]
        for call in calls:
            if isinstance(call.func, ast.Attribute) and call.func.attr == "setup":
                return {str(k.arg): _literal(k.value) for k in call.keywords}
    return {}


def _parse(source: str) -> ast.Module:
    """Returns a cell's syntax tree, an empty one where the cell is not plain Python."""
    try:
        return ast.parse(source)
    except SyntaxError:
        return ast.Module([], [])


def check_types(notebook: str, parameters: dict, defaults: dict) -> None:
    """Refuses a parameter that a notebook does not have, or of another type than its default.

    Papermill would run the default instead of the first.

    Args:
        notebook: its name, for the messages.
        parameters: {name: value} as given.
        defaults: as `defaults_of` returns them.
    Raises:
        UnknownName, TypeError, ValueError: what was given, and what is expected.
    """
    for name, value in parameters.items():
        if name not in defaults:
            raise UnknownName(f"parameter of {notebook}", str(name), defaults)
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError(f"{name} = {value}; expected a finite number")
        default = defaults[name]
        int_for_float = type(default) is float and type(value) is int
        if default is None or type(value) is type(default) or int_for_float:
            continue
        raise TypeError(
            f"{name} = {value!r} is a {type(value).__name__}; {notebook} expects a "
            f"{type(default).__name__}, such as {default!r}{counts_seeds(name) or _hint(value)}"
        )


def _hint(value: object) -> str:
    """Returns how a number in YAML is told from a text."""
    if isinstance(value, str) and re.fullmatch(r"[-+\d.]+e[-+\d]+", value, re.I):
        return "; YAML takes 1.0e-4 for a number, 1e-4 for a text"
    return ""
