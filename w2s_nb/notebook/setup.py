"""Does what every notebook does first and last: refuses wrong parameters, and writes its table."""

from __future__ import annotations

import ast
import sys
import time
import warnings
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from ..common import device, files, paths
from ..common.locks import require_writable
from ..common.progress import collect_warnings
from ..common.registry import UnknownName
from ..common.store import address
from ..data.load import load_task
from ..data.splits import Task
from ..experiments.arms import Arms, run_arms
from ..experiments.bootstrapping import Chain, run_chain
from ..experiments.generative_finetuning import run_generative
from ..experiments.saliency import run_saliency
from ..models.loading import with_learning_rate
from ..models.names import resolve
from ..training.answers import check_questions
from ..training.hyperparameters import PROBES, SHARDED, default_lr
from .parameters import check, models_and_methods, names_in, tasks_and_sizes
from .renderer import use_renderer

_SIZES = ("n_train", "n_val", "n_test")


@dataclass
class Run:
    """One run of a notebook: its parameters, checked.

    Attributes:
        notebook: its name, without suffix.
        parameters: {name: value} as given.
        started: when it began, by `time.perf_counter`.
    """

    notebook: str
    parameters: dict
    started: float = field(default_factory=time.perf_counter)

    def describe(self) -> pd.DataFrame:
        """Returns versions, device, precision, learning rates and folders, in one column.

        The learning rates are the defaults of the models that the notebook finetunes.
        """
        local_data = paths.data_dir()
        facts = device.versions() | {
            "device": device.machine(),
            "precision": device.precision(),
            **self._learning_rates(),
            "store": paths.short_path(paths.home()),
            "local data": paths.short_path(local_data) if local_data else "none",
        }
        return pd.DataFrame({"this run": facts})

    def _learning_rates(self) -> dict[str, str]:
        """Returns {title: default rates with their models} of the methods that finetune."""
        models, methods = models_and_methods(self.parameters)
        finetuning = [method for method in methods if method not in PROBES]
        rows = {}
        for method in finetuning:
            by_rate: dict[str, list[str]] = {}
            for model in models:
                checkpoint = with_learning_rate(resolve(model))
                with collect_warnings():  # said in the row
                    rate = f"{default_lr(checkpoint, method):g}"
                by_rate.setdefault(rate + (checkpoint.lr_note and " by size"), []).append(model)
            title = "learning rate" if len(finetuning) == 1 else f"learning rate, {method}"
            rows[title] = ", ".join(f"{rate} ({', '.join(m)})" for rate, m in by_rate.items())
        return rows

    def load(self, seed: int = 0) -> Task:
        """Returns the notebook's task as one seed deals it."""
        return load_task(self.parameters["task"], seed=seed, **self._select(_SIZES))

    def arms(
        self,
        *,
        task: str | None = None,
        weak: str | None = None,
        strong: str | None = None,
        **changes,
    ) -> Arms:
        """Calls `run_arms` with the notebook's parameters, some of them changed or added."""
        p = self.parameters
        return run_arms(
            p["task"] if task is None else task,
            p["weak"] if weak is None else weak,
            p["strong"] if strong is None else strong,
            **self._fit_arguments(changes),
        )

    def chain(self, models: list[str], **changes) -> Chain:
        """Calls `run_chain` on these models with the notebook's parameters, changed or added to."""
        return run_chain(self.parameters["task"], models, **self._fit_arguments(changes))

    def saliency(self, *, strong: str | None = None, **changes) -> Arms:
        """Calls `run_saliency` with the notebook's parameters, some of them changed or added."""
        p = self.parameters
        return run_saliency(
            p["task"],
            p["weak"],
            p["strong"] if strong is None else strong,
            **self._fit_arguments(changes),
        )

    def generative(self, **changes) -> dict[str, Arms]:
        """Calls `run_generative` with the notebook's parameters, some of them changed or added."""
        p = self.parameters
        return run_generative(p["task"], p["weak"], p["strong"], **self._fit_arguments(changes))

    def table_file(self, name: str) -> Path:
        """Returns the path of a table for the notebook to write, and makes its folder.

        Runs with other parameters have another folder, so that none overwrites another's table.
        """
        decisive = {key: value for key, value in self.parameters.items() if key != "results"}
        if not decisive.get("plugins"):
            decisive.pop("plugins", None)  # a run without them has the folder that it always had
        folder = f"{self.notebook}-{address(decisive)[:8]}"
        path = paths.home() / "tables" / folder / name
        files.make_folder(path.parent)
        return path

    def save(self, table: pd.DataFrame, **more: pd.DataFrame) -> str:
        """Writes the notebook's table, parameters, versions and seconds as JSON.

        Args:
            table: its main table.
            more: further tables by name.
        Returns:
            the file's path as notebooks print it.
        """
        path = _results_path(self.notebook, self.parameters.get("results", ""))
        content = {
            "notebook": self.notebook,
            "parameters": self.parameters,
            "versions": device.versions(),
            "machine": device.machine(),
            "seconds": round(time.perf_counter() - self.started, 1),
            "table": _records(table),
        }
        for name, further in more.items():
            content[name] = _records(further)
        files.write_json(path, content)
        return paths.short_path(path)

    def _select(self, names: tuple[str, ...]) -> dict:
        return {name: self.parameters[name] for name in names if name in self.parameters}

    def _fit_arguments(self, changes: dict) -> dict:
        """Returns the parameters of fits, changed; `devices` only where the method uses it."""
        arguments = self._select(("method", *_SIZES, "seeds", "devices")) | changes
        if arguments["method"] not in SHARDED:
            arguments.pop("devices", None)
        return arguments


def setup(notebook: str, *, comparisons: bool = False, answers: bool = False, **parameters) -> Run:
    """Checks a notebook's parameters; call it in the cell after them, with each of them by name.

    A name that papermill injected but the notebook lacks is refused; papermill only logs it.

    Args:
        notebook: the notebook's own name.
        comparisons: the notebook takes only tasks with two texts per example.
        answers: the notebook takes only tasks that are answered by generating; else only tasks with
            two classes.
        parameters: task, weak, strong, method, seeds, n_train, n_val, n_test, results, plugins
            (files to import first), and the notebook's own.
    Raises:
        UnknownName: an unknown parameter, task, model, loss or method; lists near and known names.
        TypeError, ValueError: a value of the wrong type or out of range.
        ModelUnavailable: a model's weights cannot be had here.
        FileNotFoundError, PluginError: a plug-in that is no file, or that cannot be imported.
    """
    for name in _injected_names():
        if name not in parameters:
            raise UnknownName(f"parameter of {notebook}", name, parameters)
    check(notebook, parameters, comparisons=comparisons, answers=answers)
    run = Run(notebook, parameters)
    for task, sizes in tasks_and_sizes(parameters):
        load_task(task, **dict(sizes))  # refuses sizes that it does not have
    if answers:
        _need_answering_models(run)
    results = _results_path(notebook, parameters.get("results", ""))
    require_writable(results.parent, f"{notebook} writes its table (results) to a file")
    files.make_folder(results.parent)
    _quieten()
    use_renderer()
    return run


def _need_answering_models(run: Run) -> None:
    """Refuses models whose tokenizers cannot take the task's questions."""
    parameters = run.parameters
    between = names_in(parameters.get("between", ""))
    task = run.load()
    for model in (parameters["weak"], *between, parameters["strong"]):
        check_questions(model, task)


def _quieten() -> None:
    """Keeps progress bars of data sets and the paths in warnings out of stored notebooks."""
    import datasets  # a second to import

    datasets.disable_progress_bars()
    warnings.formatwarning = lambda message, *args, **kwargs: f"note: {message}\n"


def _records(table: pd.DataFrame) -> list[dict]:
    """Returns a table's rows, with the index as a column where it has a name."""
    has_named_index = table.index.names != [None]
    rows = table.reset_index() if has_named_index else table
    return rows.to_dict("records")


def _results_path(notebook: str, results: str) -> Path:
    if results:
        return Path(results).expanduser()
    return paths.home() / "tables" / f"{notebook}.json"


def _injected_names() -> list[str]:
    """Returns the names assigned in the cells that papermill injected; none outside a notebook."""
    if "IPython" not in sys.modules:
        return []
    shell = sys.modules["IPython"].get_ipython()
    cells = shell.user_ns.get("In", []) if shell else []
    names = []
    for cell in cells:
        if cell.startswith("# Parameters\n"):
            for statement in ast.parse(cell).body:
                names += _assigned_names(statement)
    return names


def _assigned_names(statement: ast.stmt) -> list[str]:
    targets: list[ast.expr] = []
    if isinstance(statement, ast.Assign):
        targets = statement.targets
    elif isinstance(statement, ast.AnnAssign):
        targets = [statement.target]
    return [target.id for target in targets if isinstance(target, ast.Name)]
