"""Does what every notebook does first and last: refuses wrong parameters, and writes its table."""

from __future__ import annotations

import ast
import html
import itertools
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from ..common import device, files, paths
from ..common.locks import require_writable
from ..common.progress import collect_warnings
from ..common.registry import TASKS, UnknownName
from ..common.store import address
from ..data.load import load_task
from ..data.splits import Task
from ..data.tasks.spec import AS_IS
from ..experiments.arms import Arms, run_arms
from ..experiments.bootstrapping import Chain, run_chain
from ..experiments.generative_finetuning import run_generative
from ..experiments.saliency import run_saliency
from ..models.loading import with_learning_rate
from ..models.names import resolve
from ..training.answers import check_questions
from ..training.device_memory.check import SHORT, check_memory
from ..training.hyperparameters import PROBES, SHARDED, default_lr
from ..training.recipes import NOT_IN_RECIPES, describe_recipe
from .defaults import alpha_note, fill, hint_at_table
from .notes import show_warnings_as_notes
from .parameters import (
    SIZES,
    check,
    fit_arguments,
    how_to_train,
    models_and_methods,
    names_in,
    tasks_and_sizes,
)
from .renderer import INK, use_renderer


class _Facts(pd.DataFrame):
    """A table of sentences, which are shown whole; pandas cuts them after 50 letters.

    In a notebook it is one line that opens, and it brings the style of the page's figures.
    """

    def __repr__(self) -> str:
        with pd.option_context("display.max_colwidth", None, "display.width", None):
            return super().__repr__()

    def _repr_html_(self) -> str | None:
        with pd.option_context("display.max_colwidth", None):
            table = super()._repr_html_()  # type: ignore[operator]
        told = self.iloc[:, 0]
        line = html.escape(
            f"This run: torch {told['torch']}, {told['device']}. All that was chosen"
        )
        return f"{INK}<details><summary>{line}</summary>{table}</details>"


@dataclass
class Run:
    """One run of a notebook: its parameters, checked.

    Attributes:
        notebook: its name, without suffix.
        parameters: {name: value} as given, or as `defaults.fill` chose them.
        why: {name: why this value} of those that were chosen.
        started: when it began, by `time.perf_counter`.
    """

    notebook: str
    parameters: dict
    why: dict[str, str] = field(default_factory=dict)
    started: float = field(default_factory=time.perf_counter)

    def describe(self) -> pd.DataFrame:
        """Returns versions, device, precision, learning rates and folders, in one column.

        The learning rates are the defaults of the models that the notebook finetunes.
        """
        local_data = paths.data_dir()
        facts = device.versions() | {
            "device": device.machine(),
            "precision": device.describe_precision(),
            **self._choices(),
            **self._recipes(),
            **self._learning_rates(),
            "store": paths.short_path(paths.home()),
            "local data": paths.short_path(local_data) if local_data else "none",
        }
        return _Facts({"this run": facts})

    def values(self, *names: str) -> tuple:
        """Returns the values of parameters, which for a size of 0 and for 'auto' are those chosen.

        Raises:
            UnknownName: the notebook has no such parameter.
        """
        for name in names:
            if name not in self.parameters:
                raise UnknownName(f"parameter of {self.notebook}", name, self.parameters)
        return tuple(self.parameters[name] for name in names)

    def _choices(self) -> dict[str, str]:
        """Returns {parameter: its value and why} of what was chosen, what to think of alpha, and
        the tasks whose classes are not equal.
        """
        rows = {name: f"{self.parameters[name]} ({why})" for name, why in self.why.items()}
        note = alpha_note(self.parameters)
        unequal = [
            task for task, _ in tasks_and_sizes(self.parameters) if TASKS[task].balance == AS_IS
        ]
        if unequal:
            rows["classes"] = f"as in the data, not as many of each ({', '.join(unequal)})"
        return rows | ({"alpha": note} if note else {})

    def _learning_rates(self) -> dict[str, str]:
        """Returns {title: rates with their models} of the methods that finetune.

        A rate is the model's default, or that of the recipe.
        """
        models, methods = models_and_methods(self.parameters)
        finetuning = [method for method in methods if method not in PROBES]
        weak_args, strong_args = self._roles
        rows = {}
        for method in finetuning:
            by_rate: dict[str, list[str]] = {}
            for model in models:
                arguments = weak_args if model == self.parameters.get("weak") else strong_args
                if "lr" in arguments and arguments["method"] == method:
                    rate = f"{arguments['lr']:g} by the recipe"
                else:
                    checkpoint = with_learning_rate(resolve(model))
                    with collect_warnings():  # said in the row
                        rate = f"{default_lr(checkpoint, method):g}"
                    rate += checkpoint.lr_note and " by size"
                by_rate.setdefault(rate, []).append(model)
            title = "learning rate" if len(finetuning) == 1 else f"learning rate, {method}"
            rows[title] = ", ".join(f"{rate} ({', '.join(m)})" for rate, m in by_rate.items())
        return rows

    def _recipes(self) -> dict[str, str]:
        """Returns {title: what a recipe sets}; no row where neither recipe is given."""
        rows = {}
        recipes = [self.parameters.get(name, "") for name in ("recipe", "weak_recipe")]
        told = {"supervisor": recipes, "student and ceiling": recipes[:1]}
        for (role, texts), arguments in zip(told.items(), self._roles, strict=True):
            fields = {k: v for k, v in arguments.items() if k not in NOT_IN_RECIPES}
            if fields:
                rows[f"recipe, {role}"] = describe_recipe(fields, texts)
        return rows

    @property
    def _roles(self) -> tuple[dict, dict]:
        """Returns the arguments of `fit` of the supervisor, and of every other model."""
        return fit_arguments(self.parameters)

    @property
    def weak_args(self) -> dict:
        """Returns the supervisor's arguments of `fit`: method, recipe, micro_batch and devices."""
        return self._roles[0]

    @property
    def strong_args(self) -> dict:
        """Returns student's and ceiling's arguments of `fit`, as `weak_args`."""
        return self._roles[1]

    @property
    def loss_args(self) -> dict:
        """Returns the arguments of the notebook's losses: of the confidence loss its alpha."""
        p = self.parameters
        if "alpha" in p and "confidence" in names_in(p.get("losses", "")):
            return {"confidence": {"alpha": p["alpha"]}}
        return {}

    def seeds(self, count: int | None = None) -> list[int]:
        """Returns the notebook's seeds: its first_seed and those after it.

        Args:
            count: how many; None takes the parameter seeds.
        """
        first = self.parameters.get("first_seed", 0)
        return list(range(first, first + (self.parameters["seeds"] if count is None else count)))

    def load(self, seed: int | None = None) -> Task:
        """Returns the notebook's task as one seed deals it; None takes the first seed."""
        seed = self.parameters.get("first_seed", 0) if seed is None else seed
        return load_task(self.parameters["task"], seed=seed, **self._select(SIZES))

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
            **self._arguments(changes),
        )

    def pairs(self, models: Sequence[str], **changes) -> dict[tuple[str, str], Arms]:
        """Calls `arms` for each pair of models, every one of which supervises every larger one.

        The largest student comes first, since the others' features are read with its own.

        Args:
            models: names, by size.
        Returns:
            {(supervisor, student): arms}, in the order of the models.
        Raises:
            ValueError: fewer than two models.
        """
        if len(models) < 2:
            raise ValueError(f"models {models!r}; expected at least two, by size")
        pairs = list(itertools.combinations(models, 2))
        places = {model: place for place, model in enumerate(models)}
        largest_first = sorted(pairs, key=lambda pair: -places[pair[1]])
        of_pair = {
            pair: self.arms(weak=pair[0], strong=pair[1], **changes) for pair in largest_first
        }
        return {pair: of_pair[pair] for pair in pairs}

    def by_student(self, models: Sequence[str], **changes) -> dict[str, Arms]:
        """Calls `arms` for students of several models, taught by the notebook's supervisor.

        The last model, the largest, comes first, since the others' features are read with its own.

        Args:
            models: names, by size.
        Returns:
            {student: arms}, in the order of the models.
        """
        of_model = {model: self.arms(strong=model, **changes) for model in reversed(models)}
        return {model: of_model[model] for model in models}

    def chain(self, models: list[str], **changes) -> Chain:
        """Calls `run_chain` on these models with the notebook's parameters, changed or added to."""
        return run_chain(self.parameters["task"], models, **self._arguments(changes))

    def saliency(self, *, strong: str | None = None, **changes) -> Arms:
        """Calls `run_saliency` with the notebook's parameters, some of them changed or added."""
        p = self.parameters
        arguments = self._arguments(changes, weak_method=changes.get("weak_method", "probe"))
        arguments["weak_args"].pop("method")  # it is weak_method here
        return run_saliency(
            p["task"],
            p["weak"],
            p["strong"] if strong is None else strong,
            **arguments.pop("strong_args") | arguments,
        )

    def generative(self, **changes) -> dict[str, Arms]:
        """Calls `run_generative` with the notebook's parameters, some of them changed or added."""
        p = self.parameters
        return run_generative(p["task"], p["weak"], p["strong"], **self._arguments(changes))

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
        """Writes the notebook's table, parameters, versions, precision and seconds as JSON.

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
            "precision": device.precision(),
            "seconds": round(time.perf_counter() - self.started, 1),
            "table": _records(table),
        }
        for name, further in more.items():
            content[name] = _records(further)
        files.write_json(path, content)
        return paths.short_path(path)

    def _select(self, names: tuple[str, ...]) -> dict:
        return {name: self.parameters[name] for name in names if name in self.parameters}

    def _arguments(self, changes: dict, weak_method: str | None = None) -> dict:
        """Returns the arguments of an experiment: the notebook's parameters, and those of a call.

        A recipe is for the method that it was given for; fits by another one are as that has it.

        Args:
            weak_method: of the supervisor, where the call's weak_args do not name it.
        """
        arguments = {"method": self.parameters["method"], **self._select(SIZES), "seeds": None}
        arguments |= changes
        if arguments["seeds"] is None or isinstance(arguments["seeds"], int):
            arguments["seeds"] = self.seeds(arguments["seeds"])
        methods = {
            "weak_args": weak_method or arguments["method"],
            "strong_args": arguments["method"],
        }
        for (role, method), usual in zip(methods.items(), self._roles, strict=True):
            own = changes.get(role) or {}
            method = own.get("method", method)
            fitting = usual if usual["method"] == method else how_to_train(self.parameters, method)
            kept = {k: v for k, v in fitting.items() if k not in changes}
            arguments[role] = kept | {"method": method} | own
        return arguments


def setup(
    notebook: str,
    *,
    comparisons: bool = False,
    answers: bool = False,
    on_cpu: dict | None = None,
    on_gpu: dict | None = None,
    **parameters,
) -> Run:
    """Checks a notebook's parameters; call it in the cell after them, with each of them by name.

    A name that papermill injected but the notebook lacks is refused; papermill only logs it.

    Args:
        notebook: the notebook's own name.
        comparisons: the notebook takes only tasks with two texts per example.
        answers: the notebook takes only tasks that are answered by generating; else only tasks with
            classes.
        on_cpu, on_gpu: {parameter: value} that this notebook takes on a CPU and on a GPU for a size
            that is 0 and a method that is 'auto'; others are chosen by `defaults.fill`, from the
            task, the models and the memory that there is.
        parameters: task, weak, strong, method, seeds, n_train, n_val, n_test, results, plugins
            (files to import first), and the notebook's own.
    Raises:
        UnknownName: an unknown parameter, task, model, loss or method; lists near and known names.
        TypeError, ValueError: a value of the wrong type or out of range.
        ModelUnavailable: a model's weights cannot be had here.
        FileNotFoundError, PluginError: a plug-in that is no file, or that cannot be imported.
        MemoryError: a method does not fit in memory; says what it takes and what would fit.
    """
    for name in _injected_names():
        if name not in parameters:
            raise UnknownName(f"parameter of {notebook}", name, parameters)
    device.precision()  # refuses W2S_PRECISION where it cannot be had
    kind = {"comparisons": comparisons, "answers": answers}
    check(notebook, parameters, **kind)
    parameters, why = fill(parameters, {"cpu": on_cpu, "cuda": on_gpu}, answers=answers)
    if why:
        check(notebook, parameters, **kind, weights=False)
    run = Run(notebook, parameters, why)
    for task, sizes in tasks_and_sizes(parameters):
        load_task(task, **dict(sizes))  # refuses sizes that it does not have
    if answers:
        _need_answering_models(run)
    _require_memory(parameters, answers)
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


def _require_memory(parameters: dict, answers: bool) -> None:
    """Refuses a model that memory cannot hold by the method that the notebook trains it with."""
    method = parameters["method"]
    pairs = [(parameters["weak"], parameters.get("weak_method", method))]
    students = [*names_in(parameters.get("between", "")), parameters["strong"]]
    pairs += [(model, method) for model in students]
    further = (parameters.get(key) for key in ("finetuning", "lm_method"))
    pairs += [(parameters["strong"], other) for other in further if other]
    for model, each in dict.fromkeys(pairs):
        devices = parameters.get("devices", 1) if each in SHARDED else 1
        options: dict = {"tokens": SHORT, "devices": devices, "predicted": int(answers)}
        if each == "full" and not answers:
            options["vocabulary"] = 1  # of the embedding the rows that texts use are kept
        check_memory(model, each, **options)
    _require_memory_for_table(parameters)


def _require_memory_for_table(parameters: dict) -> None:
    """Refuses a table by probe of models that one device cannot hold, which comes hours later."""
    if not parameters.get("table_seeds"):
        return
    names = (parameters["weak"], parameters["strong"], *names_in(parameters.get("supervisors", "")))
    models = dict.fromkeys(names)
    for model in models:
        with hint_at_table():
            check_memory(model, "probe", tokens=SHORT)


def _quieten() -> None:
    """Keeps progress bars of data sets, and red ground and paths of warnings, out of notebooks."""
    import datasets  # a second to import

    datasets.disable_progress_bars()
    show_warnings_as_notes()


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
