"""Says what a notebook would choose and how much memory its fits take, without GPU and network.

Importing this file loads neither torch nor transformers.
"""

from __future__ import annotations

from ..training.hyperparameters import PROBES
from .defaults import Machine, alpha_note, fill, needed_by, training_options
from .parameters import check, fit_arguments, names_in, recipe_of
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
    weak_key = "weak_method" if "weak_method" in filled else "method"
    strong_key = "finetuning" if "finetuning" in filled else "method"
    students = [*names_in(filled.get("between", "")), filled["strong"]]
    trained = [("supervisor", filled["weak"], weak_args, weak_key)]
    for model in dict.fromkeys(students):
        role = "student, ceiling" if model == filled["strong"] else "student"
        trained.append((role, model, strong_args, strong_key))
    rows = []
    for role, model, arguments, key in trained:
        method = arguments["method"]
        options = training_options(filled, method, recipe_of(key, filled))
        needed = needed_by(model, method, machine, options, filled.get("micro_batch") or None)
        passes = "" if method in PROBES else f", {needed.micro_batch} at a time"
        each = " of each device" if needed.devices > 1 else " of the device"
        where = each if machine.kind == "cuda" else ""
        on_host = f", {needed.host / 1e9:.1f} GB of main memory" if machine.kind == "cuda" else ""
        memory = f"{needed.total / 1e9:.1f} GB{where}{on_host}"
        rows.append((role, model, f"{method}{passes}: {memory}"))
    return rows
