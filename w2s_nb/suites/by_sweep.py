"""Trains the fits of a suite as a sweep, many at once, so that they lie in the store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..common.paths import short_path
from ..common.store import address as hash_of
from ..sweeps.driver import run_sweep

NOTEBOOK = "03_conf_loss"
# arguments of `run_arms` that the notebook has no parameter for
_HERE_ONLY = ("labels", "variant", "extra_halves", "strong_args", "student_args")
_PARAMETERS = ("micro_batch", "devices")


def fill_store(
    sizes: Mapping[str, Mapping[str, int]],
    pairs: Sequence[tuple[str, str]],
    seeds: Sequence[int],
    arguments: Mapping,
    *,
    engine: str,
    jobs: int | None = None,
    address: str | None = None,
) -> None:
    """Runs the notebook 03_conf_loss for every task and pair on an engine.

    Args:
        sizes: {task: {n_train, n_val, n_test}}.
        pairs: (supervisor, student).
        arguments: of `run_arms`, beside those.
        engine, jobs, address: as in `run_sweep`.
    Raises:
        ValueError: arguments that the notebook has no parameter for; seeds that do not follow one
            another.
        RuntimeError: runs are left that failed; names the index that says why.
        UnknownName, TypeError: as `run_sweep`.
    """
    runs = run_sweep(
        sweep_of(sizes, pairs, seeds, arguments), engine=engine, jobs=jobs, address=address
    )
    if runs.unfinished:
        first = runs.unfinished[0]
        why = runs.outcomes.get(first.address, {}).get("error") or "it did not start"
        index = short_path(runs.sweep.folder / "index.parquet")
        raise RuntimeError(
            f"{len(runs.unfinished)} of {len(runs.sweep.runs)} runs are not done, such as "
            f"{runs.sweep.short(first)}: {why}; {index} has all; the same call goes on"
        )


def sweep_of(
    sizes: Mapping[str, Mapping[str, int]],
    pairs: Sequence[tuple[str, str]],
    seeds: Sequence[int],
    arguments: Mapping,
) -> dict:
    """Returns the sweep of `fill_store`, as a YAML file says one; its name is made of the rest."""
    content = {
        "notebook": NOTEBOOK,
        "parameters": _parameters(seeds, arguments),
        "axes": {
            "task, n_train, n_val, n_test": [
                [task, n["n_train"], n["n_val"], n["n_test"]] for task, n in sizes.items()
            ],
            "weak, strong": [list(pair) for pair in pairs],
        },
    }
    return {"name": f"suite-{hash_of(content)[:8]}", **content}


def _parameters(seeds: Sequence[int], arguments: Mapping) -> dict:
    """Returns the notebook's parameters, the same for all runs."""
    if list(seeds) != list(range(seeds[0], seeds[0] + len(seeds))):
        raise ValueError(f"seeds = {list(seeds)}; with an engine, expected seeds that follow")
    rest = dict(arguments)
    for name in _HERE_ONLY:
        if name in rest:
            raise ValueError(
                f"{name} is no parameter of {NOTEBOOK}, which the engine runs; leave engine away"
            )
    loss_args = {loss: args for loss, args in (rest.pop("loss_args") or {}).items() if args}
    alpha = loss_args.pop("confidence", {})
    if loss_args or set(alpha) - {"alpha"}:
        raise ValueError(
            f"loss_args = {arguments['loss_args']}; with an engine, expected "
            f"{{'confidence': {{'alpha': a number}}}} at most"
        )
    parameters = {
        "method": rest.pop("method"),
        "losses": ", ".join(rest.pop("losses")),
        "seeds": len(seeds),
        "first_seed": seeds[0],
        "table_seeds": 0,
        **alpha,
        **{name: rest.pop(name) for name in _PARAMETERS if name in rest},
    }
    recipes = {"weak_recipe": rest.pop("weak_args", None) or {}, "recipe": rest}
    return parameters | {name: _recipe(fields) for name, fields in recipes.items() if fields}


def _recipe(fields: Mapping) -> str:
    """Returns fields as a notebook's recipe has them.

    >>> _recipe({"epochs": 3, "stop": "last"})
    "epochs=3, stop='last'"
    """
    return ", ".join(f"{name}={value!r}" for name, value in fields.items())
