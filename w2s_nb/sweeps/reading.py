"""Reads a sweep from a file or a dict, and refuses one that could not run as it says before
anything starts.
"""

from __future__ import annotations

import contextlib
import datetime
import functools
import json
import re
from pathlib import Path

from ..common import plugins, yaml_text
from ..common.paths import checkout
from ..common.registry import UnknownName
from ..data.load import load_task
from ..data.sources import DataUnavailable
from ..notebook.parameters import (
    check,
    check_weights,
    models_and_methods,
    names_in,
    tasks_and_sizes,
)
from ..notebook.source import check_types, defaults_of, kind_of_tasks
from .grid import RULE, Resources, RunSpec, Sweep, names_of

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
_TAKEN = (
    "chess_models",
    "clusters",
    "demo",
    "notebooks",
    "reference",
    "site",
    "store",
    "sweeps",
)  # other folders of papermill_runs
_KEYS = ("name", "notebook", "parameters", "axes", "exclude", "resources", "remote", "plugins")


def read_sweep(file_or_dict: str | Path | dict) -> Sweep:
    """Reads a sweep from a YAML file, or takes what such a file says, and checks it.

    Raises:
        FileNotFoundError, ValueError, TypeError, UnknownName: what is wrong, what was expected, and
            what exists; an unknown parameter, or a value of another type than the notebook's
            default, is found here, since papermill would run the default instead.
        ModelUnavailable: a model's weights cannot be had here.
        ImportError: a package that the address in `remote` needs is not installed.
    """
    if isinstance(file_or_dict, dict):
        content = file_or_dict
    else:
        content = _read_yaml(Path(file_or_dict).expanduser())
    _check_content(content)
    checked = {
        "name": str(content["name"]),
        "resources": Resources(**content.get("resources", {})),
        "plugins": _plugins_of(content),
    }
    sweep = Sweep(**content | checked)
    if sweep.remote:
        import fsspec

        fsspec.url_to_fs(sweep.remote)
    _check_axes(sweep)
    _check_exclusions(sweep)
    _check_runs(sweep)
    return sweep


def _read_yaml(path: Path) -> dict:
    if not path.is_file():
        raise FileNotFoundError(
            f"sweep {str(path)!r} is no file; expected YAML with {', '.join(_KEYS)}"
        )
    content = yaml_text.read(path, "sweep")
    if not isinstance(content, dict):
        is_empty = content is None
        raise ValueError(
            f"{path.name} is {'empty' if is_empty else 'not a mapping'}; expected YAML with "
            f"{', '.join(_KEYS)}"
        )
    return {"name": path.stem} | content


def _plugins_of(content: dict) -> list[str]:
    """Returns the full paths of the plug-ins of a sweep and of the environment, imported."""
    named = content.get("plugins", [])
    names = [*plugins.named_in_environment(), *(names_in(named) if named == str(named) else named)]
    return list(dict.fromkeys(str(plugin.path) for plugin in plugins.load(names)))


def _check_content(content: dict) -> None:
    """Refuses unknown keys, a name that is no folder's, and values of the wrong type."""
    for key in content:
        if key not in _KEYS:
            raise UnknownName("key of a sweep", str(key), _KEYS)
    _check_name(content.get("name"))
    for key, kind in (("axes", dict), ("parameters", dict), ("exclude", list), ("resources", dict)):
        if not isinstance(content.get(key, kind()), kind):
            expected = "a list" if kind is list else "names with values"
            raise TypeError(f"{key} = {content[key]!r:.60}; expected {expected}")
    for key in ("notebook", "remote"):
        if not isinstance(content.get(key, ""), str):
            raise TypeError(f"{key} = {content[key]!r}; expected a text")
    names = content.get("plugins", [])
    if not isinstance(names, str) and not (
        isinstance(names, list) and all(isinstance(name, str) for name in names)
    ):
        raise TypeError(f"plugins = {names!r}; expected Python files, such as my.py")
    known = Resources.__dataclass_fields__
    unknown = set(content.get("resources", {})) - set(known)
    if unknown:
        raise UnknownName("resource", min(map(str, unknown)), known)
    _check_names(content)


def _check_name(name) -> None:
    """Refuses a name that is no folder's, or another folder's of `papermill_runs`, on some file
    systems in other case.
    """
    is_plain = isinstance(name, (str, int, float, datetime.date)) and not isinstance(name, bool)
    is_folder = is_plain and re.fullmatch(r"\w([\w.-]{,98}[\w-])?", str(name))
    if not is_folder or str(name).lower() in (*_TAKEN, "readme.md"):
        raise ValueError(
            f"name {name!r}; expected letters, digits, - and _, at most 100 letters, and none of "
            f"{', '.join(_TAKEN)}"
        )


def _check_names(content: dict) -> None:
    """Refuses names of parameters and of notebooks that are no texts."""
    axes = content.get("axes", {})
    for name in (*axes, *content.get("parameters", {})):
        if not isinstance(name, str):
            raise TypeError(f"{name!r} is a {type(name).__name__}; expected a parameter's name")
    notebooks = axes.get("notebook", [])
    for value in notebooks if isinstance(notebooks, list) else []:
        if not isinstance(value, str):
            raise TypeError(f"notebook = {value!r}; expected a text")


def _varied_and_fixed(sweep: Sweep) -> list[str]:
    """Returns the names of all parameters that a sweep sets, those given twice twice."""
    return [*sweep.parameters, *(name for axis in sweep.axes for name in names_of(axis))]


def _check_axes(sweep: Sweep) -> None:
    for axis, values in sweep.axes.items():
        if not isinstance(values, list) or not values:
            raise TypeError(f"axis {axis!r} has {values!r}; expected a list of values")
        for value in values:
            _check_value(f"axis {axis!r}", value)
        n = len(names_of(axis))
        for value in values if n > 1 else []:
            if not isinstance(value, (list, tuple)) or len(value) != n:
                raise ValueError(f"axis {axis!r} has {value!r}; expected {n} values per point")
    for name, value in sweep.parameters.items():
        _check_value(name, value)
    names = _varied_and_fixed(sweep)
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"{', '.join(twice)} given twice, by axes or parameters")


def _check_value(name: str, value: object) -> None:
    """Refuses what YAML reads and a run's address does not hold, such as .nan and a date."""
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError):
        raise ValueError(
            f"{name} has {value!r}; expected a finite number, a text, true or false"
        ) from None


def _check_exclusions(sweep: Sweep) -> None:
    names = _varied_and_fixed(sweep)
    for rule in sweep.exclude:
        match = RULE.fullmatch(rule) if isinstance(rule, str) else None
        if match:
            used = match.group(1, 3)
        elif isinstance(rule, dict) and rule:
            used = tuple(rule)
        else:
            raise ValueError(
                f"exclude has {rule!r}; expected parameters with values, 'weak above strong' or "
                f"'weak not below strong'"
            )
        for name in used:
            if name not in names:
                raise UnknownName("parameter in exclude", str(name), names)


def _check_runs(sweep: Sweep) -> None:
    if not sweep.runs:
        raise ValueError(f"sweep {sweep.name!r} has no run left after its exclusions")
    read_defaults = functools.cache(defaults_of)
    kind_of = functools.cache(kind_of_tasks)
    # each once, whichever runs have them
    models: dict[str, None] = {}
    sizes: dict[tuple, None] = {}
    own_notebooks = (checkout() or Path.cwd()) / "notebooks"
    for run in sweep.runs:
        defaults = read_defaults(run.notebook)
        _check_parameters(run, defaults)
        _check_devices(run.parameters.get("devices", 1), sweep.resources.gpus)
        if run.notebook.parent == own_notebooks:  # the kit's rules are for its own notebooks
            given = defaults | run.parameters
            check(run.notebook.stem, given, **kind_of(run.notebook), weights=False)
            models |= dict.fromkeys(models_and_methods(given)[0])
            sizes |= dict.fromkeys(tasks_and_sizes(given))
    check_weights(models)
    for task, chosen in sizes:
        # data may be where the runs are, and not here
        with contextlib.suppress(DataUnavailable):
            load_task(task, **dict(chosen))  # refuses sizes that it does not have


def _check_parameters(run: RunSpec, defaults: dict) -> None:
    """Refuses a parameter that is not the notebook's, or is the sweep's own, and a wrong type."""
    for name in run.parameters:
        if name == "plugins":
            raise ValueError(
                "parameter 'plugins': all runs have the same; name the files at the top of the "
                "sweep, plugins: my.py"
            )
        if name in RESERVED:
            raise ValueError(
                f"parameter {name!r} is the sweep's own; each run writes into a folder of its own"
            )
    check_types(run.notebook.stem, run.parameters, defaults)


def _check_devices(devices, gpus: float | None) -> None:
    if isinstance(devices, int) and devices > 1 and (gpus is None or 0 < gpus < devices):
        raise ValueError(
            f"devices = {devices} with resources: gpus = {gpus}; a run trains on the devices it is "
            f"given: resources: {{gpus: {devices}}}, or gpus: 0 for cores"
        )
