"""Says what a notebook would choose and how much memory its fits take, without GPU and network.

Importing this file loads neither torch nor transformers.
"""

from __future__ import annotations

import functools

from ..training.hyperparameters import PROBES
from .defaults import (
    Machine,
    alpha_note,
    fill,
    hint_at_table,
    needed_by,
    training_options,
)
from .parameters import check, fit_arguments, names_in
from .source import check_types, defaults_of, kind_of_tasks, notebook_path, own_defaults


def plan(
    notebook: str,
    parameters: dict | None = None,
    *,
    gb: float | None = None,
    devices: int | None = None,
) -> str:
    """Returns the sizes, methods, micro-batches and memory of a notebook's fits, as lines.

    Args:
        notebook: a name in `notebooks/`, or a path.
        parameters: {name: value} that replace the notebook's defaults.
        gb: memory of a GPU, 10^9 bytes; None plans for this machine.
        devices: GPUs that train a model together, the notebook's parameter of that name.
    Raises:
        MemoryError: no method fits; says what they take and what would fit.
        UnknownName, TypeError, ValueError: as `check`; `devices` for a notebook without it.
        ModelUnavailable: the configuration of a model that is not known by name is not here.
    """
    path = notebook_path(notebook)
    given = dict(parameters or {}) | ({} if devices is None else {"devices": devices})
    defaults = defaults_of(path)
    check_types(path.stem, given, defaults)
    kind = kind_of_tasks(path)
    everything = defaults | given
    check(path.stem, everything, **kind, weights=False)
    machine = Machine.of(gb)
    answers = kind.get("answers", False)
    filled, why = fill(everything, own_defaults(path), answers=answers, machine=machine)
    check(path.stem, filled, **kind, weights=False)
    rows = [(name, str(filled[name]), why[name]) for name in why]
    note = alpha_note(filled)
    if note:
        rows.append(("alpha", "0.5", note.removeprefix("0.5; ")))
    rows += _fits(filled, machine, answers)
    title = f"{path.stem}, {machine.name(filled.get('devices', 1))}"
    widths = [max(len(row[i]) for row in rows) for i in (0, 1)]
    lines = [f"{name:<{widths[0]}}  {value:<{widths[1]}}  {more}" for name, value, more in rows]
    return "\n".join([title, *lines])


def _fits(filled: dict, machine: Machine, answers: bool) -> list[tuple[str, str, str]]:
    """Returns (role, model, method with its micro-batch and memory) of each model that is trained.

    Raises:
        MemoryError: one of them does not fit.
    """
    weak_args, strong_args = fit_arguments(filled, answers=answers)
    strong = filled["strong"]
    students = dict.fromkeys([*names_in(filled.get("between", "")), strong])
    needs = functools.partial(_memory, filled, machine, predicted=int(answers))
    rows = [("supervisor", filled["weak"], needs(filled["weak"], weak_args))]
    for model in students:
        role = "student, ceiling" if model == strong else "student"
        rows.append((role, model, needs(model, strong_args)))
    if filled["method"] != strong_args["method"]:
        rows.append(("student, ceiling", strong, needs(strong, {"method": filled["method"]})))
    if "lm_method" in filled:
        reading = needs(strong, {"method": filled["lm_method"]}, predicted=None)
        rows.append(("language model", strong, reading))
    if filled.get("table_seeds"):
        with hint_at_table():
            rows.append(("table by probe", strong, needs(strong, {"method": "probe"})))
    return rows


def _memory(
    filled: dict, machine: Machine, model: str, arguments: dict, *, predicted: int | None
) -> str:
    """Returns method, micro-batch and memory of one training, whose `fit` has these arguments.

    Args:
        predicted: tokens of a text that a language model learns; None is every one.
    Raises:
        MemoryError: it does not fit.
    """
    method = arguments["method"]
    options = training_options(filled, method, arguments)
    options["predicted"] = options["tokens"] if predicted is None else predicted
    needed = needed_by(model, method, machine, options, filled.get("micro_batch") or None)
    passes = "" if method in PROBES else f", {needed.micro_batch} at a time"
    memory = f"{method}{passes}: {needed.total / 1e9:.1f} GB"
    if machine.kind == "cpu":
        return memory
    each = "each" if needed.devices > 1 else "the"
    return f"{memory} of {each} device, {needed.host / 1e9:.1f} GB of main memory"
