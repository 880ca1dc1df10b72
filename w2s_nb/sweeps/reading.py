"""A sweep from a file or a dict, refused before anything starts where it could not run as it says."""

from __future__ import annotations

import ast
import functools
import re
from pathlib import Path

import fsspec
import yaml

from ..common.paths import checkout
from ..common.registry import UnknownName
from ..notebook.setup import check
from .grid import RULE, Resources, Sweep

RESERVED = (
    "run",
    "state",
    "attempts",
    "seconds",
    "error",
    "output",
    "notebook",
    "results",
)  # columns of the index
_TAKEN = ("store", "demo", "reference", "ladder", "recipes")  # folders of papermill_runs
_KEYS = ("name", "notebook", "parameters", "axes", "exclude", "resources", "remote")


def read(given: str | Path | dict) -> Sweep:
    """A sweep from a YAML file, or from what such a file says, checked.

    Raises:
        FileNotFoundError, ValueError, TypeError, UnknownName: what is wrong, what was expected, and what exists; an
            unknown parameter, or a value of another type than the notebook's default, is found here, since papermill
            runs the default instead.
        ModelUnavailable: a model's weights cannot be had here.
        ImportError: a package that the address in `remote` needs is not installed.
    """
    if not isinstance(given, dict):
        path = Path(given).expanduser()
        if not path.is_file():
            raise FileNotFoundError(
                f"sweep {str(given)!r} is no file; expected YAML with {', '.join(_KEYS)}"
            )
        given = yaml.safe_load(path.read_text())
        if not isinstance(given, dict):
            raise ValueError(f"{path.name} is not a mapping; expected YAML with {', '.join(_KEYS)}")
        given = {"name": path.stem} | given
    for key in given:
        if key not in _KEYS:
            raise UnknownName("key of a sweep", str(key), _KEYS)
    name = str(given.get("name", ""))
    if not re.fullmatch(r"[\w][\w.-]*", name) or name in _TAKEN:
        raise ValueError(
            f"name {name!r}; expected letters, digits, - and _, and none of {', '.join(_TAKEN)}"
        )
    for key, kind in (("axes", dict), ("parameters", dict), ("exclude", list), ("resources", dict)):
        if not isinstance(given.get(key, kind()), kind):
            raise TypeError(f"{key} is a {type(given[key]).__name__}; expected a {kind.__name__}")
    unknown = set(given.get("resources", {})) - set(Resources.__dataclass_fields__)
    if unknown:
        raise UnknownName("resource", min(unknown), Resources.__dataclass_fields__)
    sweep = Sweep(**given | {"name": name, "resources": Resources(**given.get("resources", {}))})
    if sweep.remote:
        fsspec.url_to_fs(sweep.remote)
    _check_axes(sweep)
    _check_runs(sweep)
    return sweep


def _check_axes(sweep: Sweep) -> None:
    seen = list(sweep.parameters)
    for axis, values in sweep.axes.items():
        names = [name.strip() for name in axis.split(",")]
        if not isinstance(values, list) or not values:
            raise TypeError(f"axis {axis!r} has {values!r}; expected a list of values")
        for value in values if len(names) > 1 else []:
            if not isinstance(value, (list, tuple)) or len(value) != len(names):
                raise ValueError(
                    f"axis {axis!r} has {value!r}; expected {len(names)} values a point"
                )
        seen += names
    twice = sorted({name for name in seen if seen.count(name) > 1})
    if twice:
        raise ValueError(f"{', '.join(twice)} given twice, by axes or parameters")
    for rule in sweep.exclude:
        if isinstance(rule, str) and RULE.fullmatch(rule):
            used = RULE.fullmatch(rule).group(1, 3)
        elif isinstance(rule, dict) and rule:
            used = tuple(rule)
        else:
            raise ValueError(
                f"exclude has {rule!r}; expected parameters with values, 'weak above strong' or 'weak not "
                f"below strong'"
            )
        for name in used:
            if name not in seen:
                raise UnknownName("parameter in exclude", name, seen)


def _check_runs(sweep: Sweep) -> None:
    if not sweep.runs:
        raise ValueError(f"sweep {sweep.name!r} has no run left after its exclusions")
    read_defaults = functools.cache(defaults_of)
    for run in sweep.runs:
        defaults = read_defaults(run.notebook)
        for name, value in run.parameters.items():
            if name in RESERVED:
                raise ValueError(
                    f"parameter {name!r} is the sweep's own; each run writes into a folder of its own"
                )
            if name not in defaults:
                raise UnknownName(f"parameter of {run.notebook.stem}", name, defaults)
            default = defaults[name]
            fits = (
                default is None
                or type(value) is type(default)
                or (type(default), type(value)) == (float, int)
            )
            if not fits:
                hint = (
                    "; YAML takes 1.0e-4 for a number, 1e-4 for a text"
                    if isinstance(value, str) and re.fullmatch(r"[-+\d.]+e[-+\d]+", value, re.I)
                    else ""
                )
                raise TypeError(
                    f"{name} = {value!r} is a {type(value).__name__}; {run.notebook.stem} expects a "
                    f"{type(default).__name__}, such as {default!r}{hint}"
                )
        devices, gpus = run.parameters.get("devices", 1), sweep.resources.gpus
        if devices > 1 and (gpus is None or 0 < gpus < devices):
            raise ValueError(
                f"devices = {devices} with resources: gpus = {gpus}; a run trains on the devices it is "
                f"given: resources: {{gpus: {devices}}}, or gpus: 0 for cores"
            )
        if (
            run.notebook.parent == (checkout() or Path.cwd()) / "notebooks"
        ):  # the kit's rules are for its own
            check(run.notebook.stem, defaults | run.parameters)


def defaults_of(path: Path) -> dict:
    """{parameter: default} of a notebook, from its cell tagged `parameters`; None for one that is no literal."""
    from papermill.inspection import inspect_notebook  # as `nbformat` in `grid`

    found = {name: entry["default"] for name, entry in inspect_notebook(str(path)).items()}
    if not found:
        raise ValueError(
            f"{path.name} has no parameters that papermill can read; tag their cell `parameters`"
        )
    defaults = {}
    for name, default in found.items():
        try:
            defaults[name] = ast.literal_eval(default)
        except (ValueError, SyntaxError):  # an expression: whatever is given may be right
            defaults[name] = None
    return defaults
