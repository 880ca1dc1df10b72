"""Fills in what a notebook's parameters leave to the kit: sizes by the task, methods by memory.

Importing this file loads neither torch nor transformers.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ..common.device import device
from ..common.out_of_memory import OutOfMemory
from ..common.registry import TASKS
from ..data.load import count_examples
from ..models.names import resolve, size_order
from ..training.hyperparameters import METHODS, PROBES, SHARDED
from ..training.recipes import method_of, read_recipe
from .parameters import (
    AUTO,
    METHOD_NAMES,
    SIZES,
    has_images,
    models_and_methods,
    names_in,
    recipe_of,
    tasks_of,
    trains_without_probes,
)

if TYPE_CHECKING:
    from ..training.device_memory import Choice, MemoryEstimate

# of what a task has, what is taken where it has less than its sizes say: groups stay whole
_SHARE = 0.9
# parameters of a student, by those of its supervisor, from which alpha is told of; the paper says
# "the largest students" and no number
_LARGE_STUDENT = 30
# what a CPU and a GPU try, the first that fits in memory
_TRIED = {"cpu": ("top", "probe"), "cuda": ("full", "lora")}
_NAMES = {"cpu": "a CPU", "cuda": "a GPU"}


@dataclass(frozen=True)
class Machine:
    """What a run is planned for.

    Attributes:
        kind: 'cpu' or 'cuda'.
        gb: memory of a device, 10^9 bytes; None takes that of this process's device.
        has_rows: the tasks' rows may be read here, so that no size is more than they have.
    """

    kind: str
    gb: float | None = None
    has_rows: bool = True

    @classmethod
    def here(cls) -> Machine:
        """Returns this machine."""
        return cls("cuda" if device().type == "cuda" else "cpu")

    @classmethod
    def of(cls, gb: float | None) -> Machine:
        """Returns a GPU of so many 10^9 bytes, or for None this machine; rows are not read."""
        return replace(cls.here() if gb is None else cls("cuda", gb), has_rows=False)

    def name(self, devices: int) -> str:
        """Returns what a run on so many of its devices has, for people."""
        several = f"{devices} {'GPUs' if self.kind == 'cuda' else 'processes'}"
        kind = several if devices > 1 else _NAMES[self.kind]
        return kind + (f" of {self.gb:g} GB" if self.gb else "")


def fill(
    parameters: dict,
    own: dict[str, dict | None] | None = None,
    *,
    answers: bool = False,
    machine: Machine | None = None,
) -> tuple[dict, dict[str, str]]:
    """Fills in every size that is 0 and every method that is 'auto'; loads no weights.

    Args:
        parameters: as `check` let them pass.
        own: {"cpu" or "cuda": {parameter: value}} that the notebook itself takes there, in place of
            the task's sizes and of the method that is tried first.
        answers: the tasks are answered by generating.
        machine: None takes this one.
    Returns:
        The parameters; and {name: why this value} of those that were filled in.
    Raises:
        MemoryError: no method fits in memory; says what they take and what would fit.
        UnknownName, ValueError: a recipe that no method reads.
        DataUnavailable, ModelUnavailable: a task's rows, or a model's configuration, are not here.
    """
    machine = machine or Machine.here()
    values = (own or {}).get(machine.kind) or {}
    filled = dict(parameters)
    why: dict[str, str] = {}
    _fill_sizes(filled, why, values, machine)
    _fill_methods(filled, why, values, machine, answers)
    return filled, why


def alpha_note(parameters: dict) -> str:
    """Returns what to think of `alpha` where the student is much larger than its supervisor.

    It is "" elsewhere. The paper's final weight of the student's own guess was 0.75 for its largest
    students, else 0.5.

    Source: Burns et al. 2023, appendix A.4.
    """
    losses = names_in(parameters.get("losses", parameters.get("loss", "")))
    if parameters.get("alpha") != 0.5 or "confidence" not in losses:
        return ""
    weak, strong = (size_order(parameters[name])[0] for name in ("weak", "strong"))
    if not weak or strong < _LARGE_STUDENT * weak:
        return ""
    return (
        f"0.5; {parameters['strong']} has {strong / weak:.0f} times the parameters of "
        f"{parameters['weak']}, and the paper took 0.75 for its largest students"
    )


def _fill_sizes(filled: dict, why: dict[str, str], own: dict, machine: Machine) -> None:
    """Puts sizes in place of zeros, and says of each where it is from."""
    left_open = [name for name in SIZES if filled.get(name) == 0]
    if not left_open:
        return
    tasks = tasks_of(filled)
    step = math.lcm(*(TASKS[task].step for task in tasks))
    for name in left_open:
        by_task = {task: _size_of(task, name, machine.kind) for task in tasks}
        task = min(by_task, key=by_task.__getitem__)
        usual = own.get(name, by_task[task])
        filled[name] = _multiple(usual, step)
        said_by = "this notebook" if name in own else task
        rounded = f", {usual} down to a multiple of {step}" if filled[name] < usual else ""
        why[name] = f"{said_by} on {_NAMES[machine.kind]}{rounded}"
    if machine.has_rows:
        for task in tasks:
            _cut(filled, left_open, task, step, why)


def _size_of(task: str, name: str, kind: str) -> int:
    spec = TASKS[task]
    return getattr(spec.cpu_sizes if kind == "cpu" else spec.gpu_sizes, name)


def _cut(filled: dict, left_open: list[str], task: str, step: int, why: dict[str, str]) -> None:
    """Makes the sizes that were left open as small as a task's rows need, multiples of `step`."""
    most, most_test = count_examples(task)
    half = filled.get("n_train", 0)
    validation = filled.get("n_val", half // 5)
    cut: dict[str, int] = {}
    if 2 * half + validation > most:
        usable = _SHARE * most
        if "n_val" in left_open:
            share = validation / (2 * half + validation)
            rest = usable - 2 * half
            exact = share * usable if "n_train" in left_open else rest
            validation = cut["n_val"] = _multiple(exact, step)
        if "n_train" in left_open:
            cut["n_train"] = _multiple((usable - validation) / 2, step)
    if "n_test" in left_open and filled["n_test"] > most_test:
        cut["n_test"] = _multiple(_SHARE * most_test, step)
    for name, n in cut.items():
        filled[name] = min(filled[name], n)
        why[name] = f"{task} has {most} examples for training and {most_test} for test"


def _multiple(n: float, step: int) -> int:
    """Returns n rounded down to a multiple of `step`, at least one that a split may have."""
    return max(2, step, step * int(n / step))


def _fill_methods(
    filled: dict, why: dict[str, str], own: dict, machine: Machine, answers: bool
) -> None:
    """Puts methods in place of 'auto', and says of each why."""
    no_probes = METHOD_NAMES if answers else trains_without_probes(filled)
    for name in METHOD_NAMES:
        if filled.get(name) != AUTO:
            continue
        if name == "weak_method" and name not in own and not filled.get("weak_recipe"):
            filled[name] = filled["method"]
            why[name] = "as method"
            continue
        methods = _candidates(name, filled, own, machine.kind, answers)
        if name in no_probes:
            methods = [method for method in methods if method not in PROBES]
        filled[name], why[name] = _first_that_fits(methods, filled, name, machine)
        if method_of(recipe_of(name, filled)):
            why[name] = f"that of the recipe; {why[name]}"


def _candidates(name: str, filled: dict, own: dict, kind: str, answers: bool) -> list[str]:
    """Returns the methods to try, in order: those that the recipe, if there is one, is for.

    Raises:
        UnknownName, ValueError: no method reads the recipe.
    """
    recipe = recipe_of(name, filled)
    published = method_of(recipe)
    if published:
        return [published]
    tried = list(dict.fromkeys([*filter(None, [own.get(name)]), *_TRIED[kind]]))
    if has_images(filled):
        tried = list(PROBES)
    elif own.get(name) in PROBES:
        tried = tried[:1]
    if filled.get("devices", 1) > 1 and name != "weak_method":
        tried = [method for method in tried if method in SHARDED] or list(SHARDED)
    readable = [method for method in (*tried, *METHODS) if _reads(recipe, method, answers)]
    if not readable:
        read_recipe(recipe, tried[0], on_text=answers)  # raises
    chosen = [method for method in tried if method in readable]
    return chosen or readable[:1]


def _reads(recipe: str, method: str, answers: bool) -> bool:
    """Tells whether a recipe is one of this method."""
    try:
        read_recipe(recipe, method, on_text=answers)
    except ValueError:
        return False
    return True


def _first_that_fits(
    methods: list[str], filled: dict, name: str, machine: Machine
) -> tuple[str, str]:
    """Returns the first method with which every model fits in memory, and why it is that."""
    options = training_options(filled, methods[0], _fields_of(name, filled, methods[0]))
    slowest: Choice | None = None
    for model in _largest(models_and_methods(filled)[0]):
        if machine.gb is None and _clearly_fits(model, methods[0], options):
            continue
        choice = choose(model, methods, machine, options)
        if slowest is None or methods.index(choice.method) > methods.index(slowest.method):
            slowest = choice
    if slowest is None:
        return methods[0], f"first choice on {_NAMES[machine.kind]}, and it fits in memory"
    return slowest.method, slowest.reason


def choose(model: str, methods: Iterable[str], machine: Machine, options: dict) -> Choice:
    """Chooses a method and micro-batch by `choose_method`; see there.

    Args:
        options: as `training_options` returns them.
    """
    from ..training.device_memory import choose_method

    return choose_method(
        model,
        methods=tuple(methods),
        device=machine.kind,
        gb=machine.gb,
        **options | {"tokens": min(options["tokens"], _context(model))},
    )


def needed_by(
    model: str, method: str, machine: Machine, options: dict, micro_batch: int | None
) -> MemoryEstimate:
    """Estimates the memory of a training with the largest micro-batch that fits.

    Args:
        options: as `training_options` returns them.
        micro_batch: the largest that is tried; None takes what training takes by default.
    Raises:
        MemoryError: one example at a time does not fit; says what would.
    """
    from ..training.device_memory.choice import Room, largest_that_fits, refusal
    from ..training.device_memory.estimate import USABLE

    room = Room.here() if machine.gb is None else Room.of(machine.gb, machine.kind)
    options = options | {"tokens": min(options["tokens"], _context(model))}
    needed = largest_that_fits(model, method, room, micro_batch=micro_batch, **options)
    if needed is None:
        raise OutOfMemory(refusal(model, method, room, share=USABLE, **options))
    return needed


@contextlib.contextmanager
def hint_at_table() -> Iterator[None]:
    """Adds to an error of memory that a notebook can leave out its table by probe."""
    try:
        yield
    except OutOfMemory as error:
        raise OutOfMemory(f"{error}; or table_seeds = 0, without the table by probe") from None


def training_options(filled: dict, method: str, changes: dict) -> dict:
    """Returns batch, tokens and devices of a notebook's training, as `estimate` takes them.

    Args:
        changes: hyper-parameters that a recipe sets; arguments of `fit` beside them are not read.
    """
    specs = [TASKS[task] for task in tasks_of(filled)]
    fields: dict = {}
    if method not in PROBES:
        for spec in specs:
            fields |= spec.hyperparameters
    fields |= changes
    longest = max((fields.get("max_len") or spec.max_len) * spec.arity for spec in specs)
    return {
        "batch": fields.get("batch_size", METHODS[method].batch_size),
        "tokens": longest,
        "devices": filled.get("devices", 1) if method in SHARDED else 1,
    }


def _fields_of(name: str, filled: dict, method: str) -> dict:
    """Returns what recipes set for the largest model whose method a parameter names.

    `weak_recipe` is for the supervisor alone, though it shares its method with the student.
    """
    shared = name == "method" and "finetuning" not in filled and "weak_method" not in filled
    recipe = filled.get("recipe", "") if shared else recipe_of(name, filled)
    return read_recipe(recipe, method) if recipe else {}


def _largest(models: list[str]) -> list[str]:
    """Returns the largest of the models whose size is known, and all others."""
    known = [model for model in models if size_order(model)[0]]
    others = [model for model in models if model not in known]
    return [*sorted(known, key=size_order)[-1:], *others]


def _clearly_fits(model: str, method: str, options: dict) -> bool:
    """Tells whether an upper bound of what a training takes fits here; simulates nothing."""
    from ..training.device_memory.check import clearly_fits
    from ..training.device_memory.choice import Room

    top_layers = METHODS[method].top_layers
    return clearly_fits(model, method, Room.here(), top_layers=top_layers, **options)


def _context(model: str) -> int:
    """Returns the most tokens that a model reads at once."""
    from ..training.device_memory import simulation
    from ..training.device_memory.estimate import architecture_of

    checkpoint = resolve(model)
    if checkpoint.encoder:
        return 10**9  # images have no tokens
    config = simulation.config_of(architecture_of(checkpoint))
    return getattr(config, "max_position_embeddings", None) or 10**9
