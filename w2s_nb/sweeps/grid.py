"""Defines a sweep: axes over notebooks' parameters, crossed, with exclusions."""

from __future__ import annotations

import functools
import itertools
import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from ..common import plugins
from ..common.device import versions
from ..common.files import sha256_of
from ..common.paths import runs_folder
from ..common.registry import TASKS
from ..common.store import address, source_version
from ..models.names import resolve, size_order
from ..notebook.source import notebook_path, source_of

ENGINES = ("local", "ray")
RULE = re.compile(r"(\w+) (above|not below) (\w+)")


@dataclass(frozen=True)
class Resources:
    """Cores, devices and time of one run.

    Attributes:
        cpus: cores; None takes an equal share of the machine's (1 with Ray).
        gpus: devices, or a fraction of one that several runs share; None takes 1 where there are
            any, else 0.
        minutes: minutes after which a run is stopped and tried again; None sets no limit.
    """

    cpus: float | None = None
    gpus: float | None = None
    minutes: float | None = None

    def __post_init__(self):
        for name, value in vars(self).items():
            if value is None:
                continue
            number = isinstance(value, (int, float)) and not isinstance(value, bool)
            finite = number and math.isfinite(value)
            if not finite or value < 0 or (value == 0 and name != "gpus"):
                raise ValueError(f"resources: {name} = {value!r}; expected a number above 0")
        if self.gpus and self.gpus > 1 and self.gpus != int(self.gpus):
            raise ValueError(
                f"resources: gpus = {self.gpus:g}; expected a fraction of one, or a whole number"
            )


@dataclass(frozen=True)
class RunSpec:
    """One run of a sweep.

    Attributes:
        notebook: its path.
        parameters: those that the sweep gives; the notebook's defaults fill in the others.
        address: 20 hex digits of the notebook's code, the kit's code, that of plug-ins, the
            parameters, and the tables of the user's own that they name; names the run's folder.
            Changed files of a model's folder or of W2S_DATA do not change it.
        source: the notebook's text, without outputs, as it was when the sweep was read.
        plugins: {path: sha256} of the plug-ins, as they were then.
    """

    notebook: Path
    parameters: dict
    address: str
    source: str = field(repr=False, default="")
    plugins: dict[str, str] = field(repr=False, default_factory=dict)


@dataclass(frozen=True)
class Sweep:
    """A grid of runs.

    Attributes:
        name: the name of its folder in `papermill_runs`.
        axes: {parameter: values}, crossed; {"task, n_train": [[boolq, 500], [sciq, 1000]]} varies
            two together. The axis `notebook` has names of notebooks.
        notebook: a name in `notebooks/`, or a path, where it is no axis.
        parameters: the same for all runs.
        exclude: points of the grid to leave out: {parameter: value or values} for points that have
            all of them, "weak above strong" or "weak not below strong" to compare two models by
            size.
        resources: given to each run.
        remote: an fsspec address, such as s3://bucket/w2s, that holds the store where machines
            share no folder.
        plugins: full paths of the Python files that register tasks, losses and models of one's own.
    """

    name: str
    axes: dict = field(default_factory=dict)
    notebook: str = ""
    parameters: dict = field(default_factory=dict)
    exclude: list = field(default_factory=list)
    resources: Resources = field(default_factory=Resources)
    remote: str = ""
    plugins: list[str] = field(default_factory=list)

    @property
    def folder(self) -> Path:
        """The folder of its runs, index and report."""
        return runs_folder() / self.name

    @functools.cached_property
    def runs(self) -> list[RunSpec]:
        """The grid's points that are not excluded, each once, in the order of the axes, the last
        varying fastest.
        """
        source = functools.cache(source_of)  # a notebook is read once
        kit = kit_version()
        own_code = plugins.load(self.plugins)
        files = {str(plugin.path): plugin.sha256 for plugin in own_code}
        runs: dict[str, RunSpec] = {}
        for point in self._points():
            if any(_excluded(point, rule) for rule in self.exclude):
                continue
            path = notebook_path(point.pop("notebook", self.notebook))
            identity = {
                "notebook": path.name,
                "code": code_of(source(path)),
                "kit": kit,
                "parameters": point,
                **_tables_of(point),
            }
            if own_code:
                identity["plugins"] = [plugin.version for plugin in own_code]
            run = RunSpec(path, point, address(identity), source(path), files)
            runs.setdefault(run.address, run)
        return list(runs.values())

    def _points(self) -> Iterator[dict]:
        """Yields {parameter: value} of each point of the grid, the parameters of all runs
        included.
        """
        names = [name for axis in self.axes for name in names_of(axis)]
        columns = []
        for axis, values in self.axes.items():
            together = len(names_of(axis)) > 1
            columns.append([tuple(value) if together else (value,) for value in values])
        for point in itertools.product(*columns):
            values = itertools.chain(*point)
            yield self.parameters | dict(zip(names, values, strict=True))

    @functools.cached_property
    def varied(self) -> list[str]:
        """Parameters that differ between runs, in the order of the axes."""
        return [name for axis in self.axes for name in names_of(axis) if self._differs(name)]

    def _differs(self, name: str) -> bool:
        return len({json.dumps(run.parameters.get(name)) for run in self.runs}) > 1

    def short(self, run: RunSpec) -> str:
        """Returns one line that tells a run from the others: its notebook and the parameters that
        vary.
        """
        varied = [name for name in self.varied if name in run.parameters]
        values = [f"{name}={run.parameters[name]}" for name in varied]
        return ", ".join([run.notebook.stem, *values])


def _tables_of(point: dict) -> dict[str, dict[str, str]]:
    """Returns the versions of the tables of a user's own that a run reads; nothing without any."""
    versions = {}
    for name in f"{point.get('task', '')},{point.get('tasks', '')}".split(","):
        spec = TASKS.registered(name.strip())
        if spec and spec.version:
            versions[spec.name] = spec.version
    texts = Path(str(point.get("texts", ""))).expanduser()
    if texts.is_file():
        versions["texts"] = sha256_of(texts)
    return {"tables": versions} if versions else {}


def names_of(axis: str) -> list[str]:
    """Returns the parameters that an axis varies together.

    >>> names_of("task, n_train")
    ['task', 'n_train']
    """
    return [name.strip() for name in axis.split(",")]


def _excluded(point: dict, rule: dict | str) -> bool:
    """Tells whether a rule of `exclude` leaves a point of the grid out."""
    if isinstance(rule, dict):
        wanted = {name: v if isinstance(v, list) else [v] for name, v in rule.items()}
        return all(point.get(name) in values for name, values in wanted.items())
    match = RULE.fullmatch(rule)
    if match is None:
        raise ValueError(f"{rule!r}; expected 'weak above strong' or 'weak not below strong'")
    first, relation, second = match.groups()
    first_size = size_order(point[first])
    second_size = size_order(point[second])
    bases = {resolve(point[name]).base for name in (first, second)}
    both_known = first_size[0] and second_size[0]
    if len(bases) > 1 and not both_known:
        raise ValueError(
            f"{rule!r}: {point[first]} and {point[second]} cannot be compared, for the size of one "
            f"is not in w2s.MODELS; list the points to leave out instead"
        )
    return first_size > second_size if relation == "above" else first_size >= second_size


def code_of(source: str) -> str:
    """Returns 20 hex digits of the source of a notebook's code cells."""
    cells = json.loads(source)["cells"]
    return address(
        {"cells": ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]}
    )


def kit_version() -> str:
    """Returns 20 hex digits of everything behind the notebooks: the kit's code and the packages
    that decide a result.
    """
    sources = sorted(Path(__file__).resolve().parents[1].rglob("*.py"))
    return address(
        {"versions": versions(), "code": [source_version(path.read_text()) for path in sources]}
    )
