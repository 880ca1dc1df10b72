"""What every notebook does first and last: refuse wrong parameters before anything is loaded, write its table."""

from __future__ import annotations

import ast
import sys
import time
import warnings
from dataclasses import dataclass, field
from pathlib import Path

import datasets
import pandas as pd

from .. import plots
from ..common import device, files, paths
from ..common.registry import LOSSES, TASKS, UnknownName
from ..common.store import address
from ..data.load import load_task
from ..experiments.arms import Arms, run_arms
from ..experiments.bootstrapping import Chain, run_chain
from ..experiments.generative_finetuning import run_generative
from ..experiments.saliency import run_saliency
from ..models.loading import ensure
from ..models.names import resolve
from ..training.answers import ensure_answers
from ..training.hyperparameters import METHODS, PROBES, SHARDED

_SIZES = {
    "seeds": 1,
    "table_seeds": 1,
    "n_train": 2,
    "n_val": 2,
    "n_test": 2,
    "shots": 1,
    "top_layers": 1,
    "hard": 0,
    "devices": 1,
    "seed": 0,
}


@dataclass
class Run:
    """A notebook's parameters, checked.

    Attributes:
        notebook: its name, without suffix.
        parameters: {name: value} as given.
    """

    notebook: str
    parameters: dict
    started: float = field(default_factory=time.perf_counter)

    def describe(self) -> pd.DataFrame:
        """Versions, device, precision and folders, one column."""
        facts = device.versions() | {
            "device": device.machine(),
            "precision": device.precision(),
            "store": paths.shown(paths.home()),
            "local data": paths.shown(paths.data_dir()) if paths.data_dir() else "none",
        }
        return pd.DataFrame({"this run": facts})

    def load(self, seed: int = 0):
        """The notebook's task as one seed deals it."""
        p = self.parameters
        return load_task(
            p["task"], seed=seed, **{k: p[k] for k in ("n_train", "n_val", "n_test") if k in p}
        )

    def arms(
        self, *, task: str | None = None, weak: str | None = None, strong: str | None = None, **more
    ) -> Arms:
        """`run_arms` on the notebook's parameters."""
        p = self.parameters
        return run_arms(
            task or p["task"], weak or p["weak"], strong or p["strong"], **self._with(more)
        )

    def chain(self, models: list[str], **more) -> Chain:
        """`run_chain` on the notebook's parameters."""
        return run_chain(self.parameters["task"], models, **self._with(more))

    def saliency(self, *, strong: str | None = None, **more) -> Arms:
        """`run_saliency` on the notebook's parameters."""
        p = self.parameters
        return run_saliency(p["task"], p["weak"], strong or p["strong"], **self._with(more))

    def generative(self, **more) -> dict[str, Arms]:
        """`run_generative` on the notebook's parameters."""
        p = self.parameters
        return run_generative(p["task"], p["weak"], p["strong"], **self._with(more))

    def _with(self, more: dict) -> dict:
        """The notebook's parameters that fits take, and further ones; `devices` only where the method can use them."""
        p = self.parameters
        given = {
            k: p[k] for k in ("method", "n_train", "n_val", "n_test", "seeds", "devices") if k in p
        } | more
        return (
            given
            if given["method"] in SHARDED
            else {k: v for k, v in given.items() if k != "devices"}
        )

    def file(self, name: str) -> Path:
        """Path of a file beside the store's tables, another for other parameters, its folder made."""
        of = address({k: v for k, v in self.parameters.items() if k != "results"})[:8]
        path = paths.home() / "tables" / f"{self.notebook}-{of}" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def save(self, table: pd.DataFrame, **more: pd.DataFrame) -> str:
        """Writes the notebook's table, parameters, versions and seconds as JSON; returns the path as it is shown.

        Args:
            table: its main table; more: further ones by name.
        """
        path = _results_path(self.notebook, self.parameters.get("results", ""))
        files.write_json(
            path,
            {
                "notebook": self.notebook,
                "parameters": self.parameters,
                "versions": device.versions(),
                "machine": device.machine(),
                "seconds": round(time.perf_counter() - self.started, 1),
                "table": _records(table),
                **{name: _records(each) for name, each in more.items()},
            },
        )
        return paths.shown(path)


def _records(table: pd.DataFrame) -> list[dict]:
    named = table if table.index.names == [None] else table.reset_index()
    return named.to_dict("records")


def setup(notebook: str, *, comparisons: bool = False, answers: bool = False, **parameters) -> Run:
    """Checks a notebook's parameters: call it in the cell after them, with every one of them by name.

    A name that papermill injected but the notebook does not know is refused, which papermill only logs.

    Args:
        notebook: the notebook's own name.
        comparisons: whether its task must be one of two texts an example.
        answers: whether its task must be one that is answered by generating; without it, it must not.
        parameters: task, weak, strong, method, seeds, n_train, n_val, n_test, results, and the notebook's own.
    Raises:
        UnknownName: an unknown parameter, task, model, loss or method; lists near and known names.
        TypeError, ValueError: a value of the wrong type or out of range.
        ModelUnavailable: a model's weights cannot be had here.
    """
    for name in _injected():
        if name not in parameters:
            raise UnknownName(f"parameter of {notebook}", name, parameters)
    check(notebook, parameters)
    if comparisons and TASKS[parameters["task"]].arity != 2:
        raise ValueError(
            f"task {parameters['task']!r} has one text an example; {notebook} compares two: "
            f"{', '.join(name for name, task in TASKS.items() if task.arity == 2)}"
        )
    takes = [name for name, task in TASKS.items() if bool(task.max_answer) == answers]
    for given in names(parameters["task"]) + names(parameters.get("tasks", "")):
        if bool(TASKS[given].max_answer) != answers:
            kind = "has two classes" if answers else "is answered by generating"
            raise ValueError(f"task {given!r} {kind}; {notebook} takes {', '.join(takes)}")
    if answers and parameters["method"] in PROBES:
        raise ValueError(
            f"method {parameters['method']!r} has two classes; {notebook} expects full, lora or top"
        )
    run = Run(notebook, parameters)
    if answers:
        for given in (
            parameters["weak"],
            *names(parameters.get("between", "")),
            parameters["strong"],
        ):
            ensure_answers(given, run.load())
    _results_path(notebook, parameters.get("results", "")).parent.mkdir(parents=True, exist_ok=True)
    datasets.disable_progress_bars()
    plots.use_renderer()
    warnings.formatwarning = lambda message, *where, **more: (
        f"note: {message}\n"
    )  # no paths in saved notebooks
    return run


def check(notebook: str, parameters: dict) -> None:
    """Refuses a parameter whose value no notebook takes, whichever of them are given; touches no weights.

    Raises:
        UnknownName, TypeError, ValueError, ModelUnavailable: as `setup`.
    """
    for name, least in _SIZES.items():
        value = parameters.get(name, least)
        if isinstance(value, bool) or not isinstance(value, int):
            raise TypeError(
                f"{name} = {value!r} is a {type(value).__name__}; expected a whole number"
            )
        if value < least or least == 2 and value % 2:
            raise ValueError(
                f"{name} = {value}; expected {'an even' if least == 2 else 'a'} number from {least}"
            )
    for name, kind, known in (
        ("task", "task", TASKS),
        ("tasks", "task", TASKS),
        ("method", "method", METHODS),
        ("weak_method", "method", METHODS),
        ("finetuning", "method", METHODS),
        ("lm_method", "method", METHODS),
        ("losses", "loss", LOSSES),
        ("loss", "loss", LOSSES),
    ):
        for given in names(parameters.get(name, "")):
            if kind == "task":
                known[given]  # raises, also for an option that it does not have
            elif given not in known:
                raise UnknownName(kind, given, known)
    if parameters.get("devices", 1) > 1 and parameters["method"] not in SHARDED:
        raise ValueError(
            f"devices = {parameters['devices']} with method {parameters['method']!r}; expected "
            f"{' or '.join(SHARDED)}"
        )
    if parameters.get("responses", "both") not in ("both", "chosen"):
        raise ValueError(f"responses {parameters['responses']!r}; expected both or chosen")
    finetuning = [name for name in ("finetuning", "lm_method") if name in parameters]
    for name in finetuning or ["method"] * ("top_layers" in parameters):
        if parameters[name] in PROBES:
            raise ValueError(
                f"{name} {parameters[name]!r} finetunes nothing; {notebook} expects full, lora or top"
            )
    for name in ("more_shots", "bands", "easy"):
        for given in names(parameters.get(name, "")):
            if not given.isdigit():
                raise ValueError(
                    f"{name} has {given!r}; expected whole numbers from 0, with commas"
                )
    for name in ("weak", "between", "strong", "supervisors"):
        for given in names(parameters.get(name, "")):
            ensure(resolve(given))


def names(given: str) -> list[str]:
    """Names in a parameter that may hold several, separated by commas.

    >>> names("xent, confidence")
    ['xent', 'confidence']
    """
    if not isinstance(given, str):
        raise TypeError(
            f"{given!r} is a {type(given).__name__}; expected a name, or names separated by commas"
        )
    return [part.strip() for part in given.split(",") if part.strip()]


def _results_path(notebook: str, given: str) -> Path:
    if not isinstance(given, str):
        raise TypeError(
            f"results = {given!r} is a {type(given).__name__}; expected the path of a JSON file"
        )
    return Path(given).expanduser() if given else paths.home() / "tables" / f"{notebook}.json"


def _injected() -> list[str]:
    """Names assigned in the cells that papermill injected into this kernel; none outside a notebook."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    cells = shell.user_ns.get("In", []) if shell else []
    names = []
    for cell in cells:
        if cell.startswith("# Parameters\n"):
            for node in ast.parse(cell).body:
                targets = (
                    node.targets
                    if isinstance(node, ast.Assign)
                    else [getattr(node, "target", None)]
                )
                names += [t.id for t in targets if isinstance(t, ast.Name)]
    return names
