"""A sweep: axes over notebooks' parameters, crossed, with exclusions."""

from __future__ import annotations

import functools
import itertools
import json
import re
from dataclasses import dataclass, field
from pathlib import Path

from ..common.device import versions
from ..common.paths import checkout, runs_folder
from ..common.registry import UnknownName
from ..common.store import address, source_version
from ..models.names import resolve, size_order

RULE = re.compile(r"(\w+) (above|not below) (\w+)")


@dataclass(frozen=True)
class Resources:
    """What one run is given.

    Attributes:
        cpus: cores; None takes an equal share of the machine's (1 with Ray).
        gpus: devices, or a fraction of one that several runs share; None takes 1 where there are any, else 0.
        minutes: after which a run is stopped, and tried again; None is never.
    """

    cpus: float | None = None
    gpus: float | None = None
    minutes: float | None = None

    def __post_init__(self):
        for name, value in vars(self).items():
            if value is not None and (
                isinstance(value, bool)
                or not isinstance(value, (int, float))
                or value < 0
                or not value
                and name != "gpus"
            ):
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
        address: 20 hex digits of the notebook's code, the kit's, and the parameters; names the run's folder. Files of
            a model's folder or of W2S_DATA that changed do not change it.
        source: the notebook's text, without outputs, as it was when the sweep was read.
    """

    notebook: Path
    parameters: dict
    address: str
    source: str = field(repr=False, default="")


@dataclass(frozen=True)
class Sweep:
    """A grid of runs.

    Attributes:
        name: of its folder in `papermill_runs`.
        axes: {parameter: values}, crossed; {"task, n_train": [[boolq, 500], [sciq, 1000]]} varies two together. The
            axis `notebook` has names of notebooks.
        notebook: a name in `notebooks/`, or a path, where it is no axis.
        parameters: the same for all runs.
        exclude: what of the grid is left out: {parameter: value or values} for points that have all of them,
            "weak above strong" or "weak not below strong" to compare two models by size.
        resources: what a run is given.
        remote: an fsspec address, such as s3://bucket/w2s, that holds the store where machines share no folder.
    """

    name: str
    axes: dict = field(default_factory=dict)
    notebook: str = ""
    parameters: dict = field(default_factory=dict)
    exclude: list = field(default_factory=list)
    resources: Resources = field(default_factory=Resources)
    remote: str = ""

    @property
    def folder(self) -> Path:
        """Where its runs, index and report are."""
        return runs_folder() / self.name

    @functools.cached_property
    def runs(self) -> list[RunSpec]:
        """The grid's points that are not excluded, each once, in the order of the axes, the last varying fastest."""
        names = [[name.strip() for name in axis.split(",")] for axis in self.axes]
        values = [
            [(v,) if len(n) == 1 else tuple(v) for v in axis]
            for n, axis in zip(names, self.axes.values())
        ]
        found, source, kit = {}, functools.cache(source_of), kit_version()
        for point in itertools.product(*values):
            given = self.parameters | dict(zip(itertools.chain(*names), itertools.chain(*point)))
            if not any(_excluded(given, rule) for rule in self.exclude):
                path = notebook_path(given.pop("notebook", self.notebook))
                of = {
                    "notebook": path.name,
                    "code": code_of(source(path)),
                    "kit": kit,
                    "parameters": given,
                }
                found.setdefault(address(of), RunSpec(path, given, address(of), source(path)))
        return list(found.values())

    @functools.cached_property
    def varied(self) -> list[str]:
        """Parameters that differ between runs, in the order of the axes."""
        names = [name.strip() for axis in self.axes for name in axis.split(",")]
        return [n for n in names if len({json.dumps(r.parameters.get(n)) for r in self.runs}) > 1]

    def short(self, run: RunSpec) -> str:
        """What tells a run from the others, one line."""
        return ", ".join(
            [
                run.notebook.stem,
                *(f"{n}={run.parameters[n]}" for n in self.varied if n in run.parameters),
            ]
        )


def _excluded(point: dict, rule: dict | str) -> bool:
    if isinstance(rule, dict):
        return all(point.get(k) in (v if isinstance(v, list) else [v]) for k, v in rule.items())
    first, how, second = RULE.fullmatch(rule).groups()
    sizes = size_order(point[first]), size_order(point[second])
    bases = {resolve(point[name]).base for name in (first, second)}
    if len(bases) > 1 and not all(size for size, _ in sizes):
        raise ValueError(
            f"{rule!r}: {point[first]} and {point[second]} cannot be compared, for the size of one is not "
            f"in w2s.MODELS; list the points to leave out instead"
        )
    return sizes[0] > sizes[1] if how == "above" else sizes[0] >= sizes[1]


def notebook_path(given: str) -> Path:
    """The path of a notebook by name, or by path.

    Raises:
        UnknownName: there is none; lists those that come with the kit.
    """
    folder = (checkout() or Path.cwd()) / "notebooks"
    for path in (folder / f"{given}.ipynb", Path(given).expanduser()):
        if path.suffix == ".ipynb" and path.is_file():
            return path.resolve()
    raise UnknownName("notebook", str(given), [path.stem for path in folder.glob("*.ipynb")])


def source_of(path: Path) -> str:
    """A notebook's text, without outputs."""
    import nbformat  # over a second to import, and only a sweep needs it

    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    return nbformat.writes(notebook)


def code_of(source: str) -> str:
    """Version of a notebook's text: the source of its code cells."""
    cells = json.loads(source)["cells"]
    return address(
        {"cells": ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]}
    )


def kit_version() -> str:
    """Version of everything behind the notebooks: the kit's code and the packages that decide a result."""
    sources = sorted(Path(__file__).resolve().parents[1].rglob("*.py"))
    return address(
        {"versions": versions(), "code": [source_version(path.read_text()) for path in sources]}
    )
