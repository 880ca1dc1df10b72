"""Lists what there is: tasks, models, losses, recipes, one line each, with those of plug-ins."""

from __future__ import annotations

import inspect
from collections.abc import Callable

from ..common.assets import ASSETS
from ..common.registry import LOSSES, METHODS, MODELS, TASKS
from ..data.tasks.spec import Hub, TaskSpec
from ..models.names import EncoderSpec, ModelSpec
from ..training.recipes import RECIPES, Recipe, describe_recipe

KINDS = ("tasks", "models", "losses", "methods", "recipes")


def lines(kind: str) -> list[str]:
    """Returns a line for each entry of a registry, in columns.

    Args:
        kind: tasks (name, what is done with the texts or images and with how many classes beyond
            two, where they come from, what is asked), models (name, parameters, layers, where
            from), losses (name, arguments with their defaults, what it computes), methods (name,
            options with their defaults, what it does) or recipes (name, method, what it sets and
            where it is from).
    """
    if kind == "tasks":
        rows = [_about_task(name, spec) for name, spec in TASKS.items()]
    elif kind == "models":
        rows = [_about_model(name, spec) for name, spec in MODELS.items()]
    elif kind == "losses":
        rows = [_about_function(name, LOSSES[name]) for name in LOSSES]
    elif kind == "methods":  # every loss is one too
        rows = [_about_function(name, method.function) for name, method in METHODS.items()]
    else:
        rows = [_about_recipe(name, recipe) for name, recipe in RECIPES.items()]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def _about_task(name: str, spec: TaskSpec) -> tuple[str, ...]:
    kind = "answer" if spec.max_answer else "compare" if spec.arity == 2 else "classify"
    if spec.n_classes > 2:
        kind += f" {spec.n_classes}"
    if spec.images is not None:
        kind += " images"
    source = "hub, or files" if spec.fetched else "here"
    if isinstance(spec.source, Hub):
        source = f"hub: {spec.source.id}"
    question = " ".join((inspect.getdoc(spec.examples) or "").split("\n\n")[0].split())
    asked = question if question.startswith(spec.about) else spec.about
    return name, kind, source, spec.prompt.instruction if spec.images is not None else asked


def _about_model(name: str, spec: ModelSpec) -> tuple[str, ...]:
    size = f"{spec.n_params / 1e6:,.1f}M".replace(".0M", "M")
    source = "comes with the kit" if spec.folder else "package index"
    if isinstance(spec, EncoderSpec) and spec.asset not in ASSETS:
        source = f"the file {spec.asset}"
    if spec.hub_id:
        source = f"hub: {spec.hub_id}"
    parts = "blocks, of images" if isinstance(spec, EncoderSpec) else "layers"
    return name, size, f"{spec.n_layers} {parts}", source


def _about_recipe(name: str, recipe: Recipe) -> tuple[str, ...]:
    sets = describe_recipe(recipe.all_models, [name])
    of_supervisor = ", ".join(f"{key}={value}" for key, value in recipe.supervisor.items())
    return name, recipe.method, f"supervisor: {of_supervisor}; {sets}" if of_supervisor else sets


def _about_function(name: str, function: Callable) -> tuple[str, ...]:
    parameters = inspect.signature(function).parameters.values()
    arguments = [p for p in parameters if p.default is not p.empty and p.name != "previous"]
    about = (inspect.getdoc(function) or "").split("\n")[0]
    return name, ", ".join(f"{p.name}={p.default!r}" for p in arguments), about
