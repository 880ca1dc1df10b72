"""Checks the parameters of a notebook or of a sweep, from their names and values alone.

Importing this file loads neither torch nor transformers, so that a wrong value is refused at once.
"""

from __future__ import annotations

import ast
import contextlib
import functools
import math
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from ..common import plugins
from ..common.registry import LOSSES, TASKS, UnknownName
from ..common.seeds import MOST_SEEDS, check_seed
from ..data.from_file import task_from_file
from ..models.encoders import require_kind, require_probe
from ..models.names import resolve
from ..training.hyperparameters import METHODS, PROBES, SHARDED
from ..training.recipes import method_of, read_recipe

# Whole numbers, each with the least value that it may have.
_COUNTS = {
    "seeds": 1,
    "table_seeds": 0,
    "n_train": 0,
    "n_val": 0,
    "n_test": 0,
    "shots": 1,
    "top_layers": 1,
    "hard": 0,
    "devices": 1,
    "micro_batch": 0,
    "seed": 0,
    "first_seed": 0,
}
_SEEDS = ("seeds", "table_seeds")
# 0 and `AUTO` leave a size and a method to the kit, see `defaults`.
SIZES = ("n_train", "n_val", "n_test")
AUTO = "auto"
_LISTS_OF_NUMBERS = ("more_shots", "bands", "easy")
_TASK_NAMES = ("task", "tasks")
METHOD_NAMES = ("method", "weak_method", "finetuning", "lm_method")
_LOSS_NAMES = ("losses", "loss")
_MODEL_NAMES = ("weak", "between", "strong", "supervisors")
# Parameters that hold one name, and those that hold one or several.
_ONE_NAME = ("task", *METHOD_NAMES, "loss", "weak", "strong")
_SOME_NAMES = ("tasks", "losses", "more_shots", "looks")


def check(
    notebook: str,
    parameters: dict,
    *,
    comparisons: bool = False,
    answers: bool = False,
    weights: bool = True,
) -> None:
    """Refuses a value that no notebook takes, whichever parameters are given; loads no weights.

    Args:
        notebook: its name, for the messages.
        parameters: {name: value}; those that the kit does not know are left to the notebook. Files
            in `plugins` are imported first.
        comparisons: the notebook takes only tasks with two texts per example.
        answers: the notebook takes only tasks that are answered by generating; else only tasks with
            classes.
        weights: check the models' files too; see `check_weights`.

    What is left to the kit (a size of 0, method 'auto') is checked as far as it can be before it is
    filled in; check again what `defaults.fill` returns.

    Raises:
        FileNotFoundError, PluginError: a plug-in that is no file, or that cannot be imported.
        UnknownName: an unknown task, method, model or loss; lists near and known names.
        TypeError, ValueError: a value of the wrong type or out of range.
        ModelUnavailable: a model's weights cannot be had here.
    """
    _check_numbers(parameters)
    _check_counts(parameters)
    _check_numbers_of_names(parameters)
    parameters = _with_stand_ins(parameters)
    _check_results(parameters)
    plugins.load_from_environment()
    plugins.load(_named_by(parameters, ("plugins",)))
    _check_tasks(parameters)
    if comparisons:
        _need_comparison(notebook, parameters["task"])
    for task in _named_by(parameters, _TASK_NAMES):
        _need_kind_of_task(notebook, task, answers)
    _check_methods(parameters)
    if answers and parameters["method"] in PROBES:
        raise ValueError(
            f"method {parameters['method']!r} learns classes; {notebook} expects full, lora or top"
        )
    _check_devices(parameters)
    _check_recipes(parameters, answers)
    check_seed(parameters.get("first_seed", 0), "first_seed")
    _check_responses(parameters)
    _check_finetuning(notebook, parameters)
    _check_lists_of_numbers(parameters)
    own = _check_table(parameters)
    _check_sizes(parameters, [*_named_by(parameters, _TASK_NAMES), *([own] if own else [])])
    _check_looks(parameters)
    _check_labels_and_shots(parameters)
    _check_models(parameters)
    _check_losses(parameters)
    # Weights and the values of losses need torch; what can be refused without it has been refused.
    _check_loss_arguments(parameters)
    if weights:
        check_weights(models_and_methods(parameters)[0])


def names_in(value: str) -> list[str]:
    """Returns the names in a parameter that may hold several, separated by commas.

    Raises:
        TypeError: the parameter is no text.

    >>> names_in("xent, confidence")
    ['xent', 'confidence']
    """
    if not isinstance(value, str):
        raise TypeError(
            f"{value!r} is a {type(value).__name__}; expected a name, or names separated by commas"
        )
    names = [name.strip() for name in value.split(",")]
    return [name for name in names if name]


def models_and_methods(parameters: dict) -> tuple[list[str], list[str]]:
    """Returns the models and the training methods that a notebook's parameters name."""
    models = dict.fromkeys(_named_by(parameters, _MODEL_NAMES))
    methods = dict.fromkeys(_named_by(parameters, METHOD_NAMES))
    return list(models), list(methods)


def fit_arguments(parameters: dict, *, answers: bool = False) -> tuple[dict, dict]:
    """Returns the arguments of `fit` that a notebook's parameters set beside seeds and sizes.

    They are the method, the fields of the recipe, micro_batch and devices. `recipe` is for what is
    trained by `finetuning`, or else by `method`; for the supervisor too, where it is trained by the
    same method. `weak_recipe` changes that of the supervisor.

    Args:
        answers: the tasks are answered by generating.
    Returns:
        Those of the supervisor; those of every other model.
    Raises:
        UnknownName, TypeError, ValueError: as `read_recipe`.
    """
    method = parameters.get("finetuning", parameters["method"])
    weak_method = parameters.get("weak_method", parameters["method"])
    recipe = parameters.get("recipe", "")
    strong = how_to_train(parameters, method) | read_recipe(recipe, method, on_text=answers)
    weak = how_to_train(parameters, weak_method)
    if weak_method == method:
        weak |= read_recipe(recipe, method, supervisor=True, on_text=answers)
    weak |= read_recipe(
        parameters.get("weak_recipe", ""),
        weak_method,
        name="weak_recipe",
        supervisor=True,
        on_text=answers,
    )
    return weak, strong


def how_to_train(parameters: dict, method: str) -> dict:
    """Returns a method and, where it uses them, the parameters micro_batch and devices."""
    arguments: dict = {"method": method}
    if parameters.get("micro_batch") and method not in PROBES:
        arguments["micro_batch"] = parameters["micro_batch"]
    if "devices" in parameters and method in SHARDED:
        arguments["devices"] = parameters["devices"]
    return arguments


def tasks_and_sizes(parameters: dict) -> list[tuple[str, tuple]]:
    """Returns every task that a notebook's parameters name, with ((size, value), ...) of it."""
    sizes = tuple((name, parameters[name]) for name in SIZES if parameters.get(name))
    return [(task, sizes) for task in dict.fromkeys(_named_by(parameters, _TASK_NAMES))]


def tasks_of(parameters: dict) -> list[str]:
    """Returns the tasks that sizes are for: those that are named, and a table of the user's own."""
    tasks = dict.fromkeys(_named_by(parameters, _TASK_NAMES))
    own = _check_table(parameters)
    return [*tasks, *([own] if own else [])]


def recipe_of(name: str, parameters: dict) -> str:
    """Returns the recipe of the fits whose method a parameter names; "" without one."""
    recipe = parameters.get("recipe", "")
    weak_recipe = parameters.get("weak_recipe", "")
    if name == "weak_method" or (name == "method" and "finetuning" in parameters):
        return weak_recipe
    if name == "lm_method":
        return ""
    return recipe or ("" if "weak_method" in parameters else weak_recipe)


def trains_without_probes(parameters: dict) -> list[str]:
    """Returns the parameters whose method may be no probe, as the notebook finetunes by it."""
    names = [name for name in ("finetuning", "lm_method") if name in parameters]
    if not names and "top_layers" in parameters:
        names = ["method"]
    return names


def _with_stand_ins(parameters: dict) -> dict:
    """Returns parameters with a method in place of each 'auto', one that every check lets pass.

    Sizes that are 0 are left out, as if the notebook had none.
    """
    left_open = [name for name in METHOD_NAMES if parameters.get(name) == AUTO]
    filled = {k: v for k, v in parameters.items() if k not in SIZES or v != 0}
    for name in left_open:
        if name == "weak_method" and not parameters.get("weak_recipe"):
            filled[name] = filled["method"]
        elif has_images(parameters):
            filled[name] = PROBES[0]
        else:
            filled[name] = _stand_in(recipe_of(name, parameters))
    return filled


def has_images(parameters: dict) -> bool:
    """Tells whether a task of images is named, on which nothing but probes is trained."""
    names = _named_by(parameters, _TASK_NAMES)
    return any(TASKS[name].images is not None for name in names if name.partition("@")[0] in TASKS)


def _stand_in(recipe: str) -> str:
    """Returns a method that reads a recipe; 'full' where none does."""
    published = method_of(recipe)
    if published:
        return published
    for method in METHODS:
        with contextlib.suppress(ValueError, TypeError):
            read_recipe(recipe, method)
            return method
    return "full"


def _named_by(parameters: dict, keys: tuple[str, ...]) -> Iterator[str]:
    """Yields every name that some of the parameters hold."""
    for key in keys:
        yield from names_in(parameters.get(key, ""))


def counts_seeds(name: str) -> str:
    """Returns what an error about a parameter adds if it is a number of seeds; else ""."""
    return "; it counts them: 3 for the seeds 0, 1 and 2" if name in _SEEDS else ""


def _check_numbers(parameters: dict) -> None:
    for name, value in parameters.items():
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError(f"{name} = {value}; expected a finite number")


def _check_counts(parameters: dict) -> None:
    for name, least in _COUNTS.items():
        value = parameters.get(name, least)
        if isinstance(value, bool) or not isinstance(value, int):
            raise TypeError(
                f"{name} = {value!r} is a {type(value).__name__}; expected a whole number"
                f"{counts_seeds(name)}"
            )
        most = MOST_SEEDS if name in _SEEDS else math.inf
        if not least <= value <= most:
            expected = f"a number from {least}" + (f" to {most}" if most < math.inf else "")
            if name in SIZES:
                expected = "a number from 2, or 0 for the task's own"
            raise ValueError(f"{name} = {value}; expected {expected}{counts_seeds(name)}")


def _check_sizes(parameters: dict, tasks: Iterable[str]) -> None:
    """Refuses sizes that are no multiples of the tasks' numbers of classes."""
    for task in tasks:
        step = TASKS[task].step
        for name in SIZES:
            value = parameters.get(name, 0)
            if value % step == 0 and value != 1:
                continue
            expected = {
                1: f"a number from 2 for {task}",
                2: f"an even number from 2 for {task}",
            }.get(step, f"a multiple of {step}, as many of each class of {task}")
            raise ValueError(f"{name} = {value}; expected {expected}, or 0 for the task's own")


def _check_numbers_of_names(parameters: dict) -> None:
    for key in (*_ONE_NAME, *_SOME_NAMES):
        if key not in parameters:
            continue
        names = names_in(parameters[key])
        if not names or (key in _ONE_NAME and len(names) > 1):
            expected = "one name" if key in _ONE_NAME else "one or several, with commas"
            raise ValueError(f"{key} = {parameters[key]!r}; expected {expected}")


def _check_results(parameters: dict) -> None:
    results = parameters.get("results", "")
    if not isinstance(results, str):
        raise TypeError(
            f"results = {results!r} is a {type(results).__name__}; expected the path of a JSON file"
        )
    if results and Path(results).expanduser().is_dir():
        raise ValueError(f"results = {results!r} is a folder; expected the path of a JSON file")


def _check_tasks(parameters: dict) -> None:
    for name in _named_by(parameters, _TASK_NAMES):
        TASKS[name]  # raises where there is no such task, or the task has no such option


def _need_comparison(notebook: str, task: str) -> None:
    if TASKS[task].arity != 2:
        pairs = [name for name, spec in TASKS.items() if spec.arity == 2]
        raise ValueError(
            f"task {task!r} has one text per example; {notebook} compares two: {', '.join(pairs)}"
        )


def _need_kind_of_task(notebook: str, task: str, answers: bool) -> None:
    """Refuses a task of classes where answers are generated, and one of answers elsewhere."""
    if bool(TASKS[task].max_answer) != answers:
        kind = "has classes" if answers else "is answered by generating"
        suitable = [name for name, spec in TASKS.items() if bool(spec.max_answer) == answers]
        raise ValueError(f"task {task!r} {kind}; {notebook} takes {', '.join(suitable)}")


def _check_methods(parameters: dict) -> None:
    for name in _named_by(parameters, METHOD_NAMES):
        if name not in METHODS:
            raise UnknownName("method", name, [AUTO, *METHODS])


def _check_losses(parameters: dict) -> None:
    # Losses besides the kit's own are registered only by what has imported torch.
    known = LOSSES if "torch" in sys.modules else _losses_of_the_kit()
    for name in _named_by(parameters, _LOSS_NAMES):
        if name not in known:
            raise UnknownName("loss", name, known)


@functools.cache
def _losses_of_the_kit() -> tuple[str, ...]:
    """Returns the names of the losses in the kit's files, without torch, which takes seconds."""
    names = []
    for path in (Path(__file__).parents[1] / "losses").glob("*.py"):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.FunctionDef) and "register_loss" in {
                getattr(getattr(decorator, "func", decorator), "id", "")
                for decorator in node.decorator_list
            }:
                names.append(node.name)
    return tuple(names)


def _check_devices(parameters: dict) -> None:
    devices = parameters.get("devices", 1)
    if devices > 1 and parameters["method"] not in SHARDED:
        raise ValueError(
            f"devices = {devices} with method {parameters['method']!r}; expected "
            f"{' or '.join(SHARDED)}"
        )


def _check_recipes(parameters: dict, answers: bool) -> None:
    """Refuses recipes that cannot be read, and fields that the notebook has as parameters."""
    if "method" not in parameters:
        return
    for arguments in fit_arguments(parameters, answers=answers):
        twice = [name for name in ("top_layers",) if name in arguments and name in parameters]
        if twice:
            raise ValueError(f"a recipe sets {twice[0]}, which is a parameter of its own here")


def _check_responses(parameters: dict) -> None:
    responses = parameters.get("responses", "both")
    if responses not in ("both", "chosen"):
        raise ValueError(f"responses {responses!r}; expected both or chosen")


def _check_finetuning(notebook: str, parameters: dict) -> None:
    """Refuses a probe where a notebook finetunes."""
    for key in trains_without_probes(parameters):
        if parameters[key] in PROBES:
            raise ValueError(
                f"{key} {parameters[key]!r} finetunes nothing; {notebook} expects full, lora or top"
            )


def _check_lists_of_numbers(parameters: dict) -> None:
    for key in _LISTS_OF_NUMBERS:
        for number in names_in(parameters.get(key, "")):
            if not number.isdecimal():
                raise ValueError(
                    f"{key} has {number!r}; expected whole numbers from 0, with commas"
                )


def _check_looks(parameters: dict) -> None:
    for look in names_in(parameters.get("looks", "1")):
        try:
            good = 0 < float(look) <= 1
        except ValueError:
            good = False
        if not good:
            raise ValueError(
                f"looks has {look!r}; expected fractions of training in (0, 1], with commas"
            )


def _check_labels_and_shots(parameters: dict) -> None:
    """Refuses more labels or shots than there are examples in the student half."""
    n_train = parameters.get("n_train", math.inf)
    n_labels = parameters.get("n_labels", 0)
    is_count = isinstance(n_labels, int) and not isinstance(n_labels, bool)
    if not is_count or (n_labels != 0 and not 2 <= n_labels <= n_train):
        raise ValueError(
            f"n_labels = {n_labels!r}; expected 0 for all, or a whole number from 2 to n_train, "
            f"{n_train}"
        )
    more = [int(number) for number in names_in(parameters.get("more_shots", ""))]
    for shots in (parameters.get("shots", 1), *more):
        if shots > n_train:
            raise ValueError(f"{shots} shots of the {n_train} examples of n_train; expected fewer")


def _check_loss_arguments(parameters: dict) -> None:
    """Refuses a value of `alpha` that the loss does not take.

    It is of the notebook's one loss, where that has such an argument; where there are several, of
    'confidence'.
    """
    if "alpha" in parameters:
        loss = parameters["loss"] if "loss" in parameters else "confidence"
        _try_alpha(loss, parameters["alpha"])


@functools.cache
def _try_alpha(loss: str, alpha: float) -> None:
    from ..losses.contract import check_loss, loss_args  # loads torch

    if "alpha" in loss_args(loss):
        check_loss(loss, loss_args(loss, {"alpha": alpha}))


def _check_table(parameters: dict) -> str | None:
    """Returns the task of texts of a user's own; None without any. Refuses what is no task."""
    columns = names_in(parameters.get("columns", "text, label"))
    if len(columns) not in (2, 3):
        raise ValueError(
            f"columns = {parameters['columns']!r}; expected the columns of texts and of labels, "
            f"and after them, if there is one, that of groups"
        )
    classes = names_in(parameters.get("classes", ""))
    if len(classes) == 1:
        raise ValueError(
            f"classes = {parameters['classes']!r}; expected the labels of class 0 and of class 1, "
            f"and of further ones, or none"
        )
    texts = parameters.get("texts", "")
    if not isinstance(texts, str):
        raise TypeError(f"texts = {texts!r}; expected the path of a file")
    if not texts:
        return None
    text, label, *group = columns
    return task_from_file(
        texts,
        text=text,
        label=label,
        group=group[0] if group else None,
        classes=classes or None,
    )


def _check_models(parameters: dict) -> None:
    checkpoints = [resolve(name) for name in _named_by(parameters, _MODEL_NAMES)]
    for checkpoint in checkpoints:
        for task in _named_by(parameters, _TASK_NAMES):
            require_kind(checkpoint, TASKS[task])
        for method in _named_by(parameters, METHOD_NAMES):
            require_probe(checkpoint, method, PROBES)


def check_weights(models: Iterable[str]) -> None:
    """Refuses models whose files are not here, or not whole.

    Raises:
        ModelUnavailable: says what is wrong, and what to do.
    """
    from ..models.loading import ensure  # loads torch and transformers

    for name in models:
        ensure(resolve(name))
