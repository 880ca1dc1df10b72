"""Names the measures of the register and calls one of them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any

from ...common.registry import UnknownName
from ...metrics.estimate import Estimate
from . import of_grids, of_labels, of_methods, of_published, of_students, of_suites
from .setting import Setting, experiments_of

MEASURES: dict[str, Callable[..., Estimate]] = {
    name: function
    for module in (of_students, of_suites, of_methods, of_labels, of_grids, of_published)
    for name, function in vars(module).items()
    if inspect.isfunction(function) and function.__module__ == module.__name__ and name[0] != "_"
}
_WORDS = {field.name for field in fields(Setting)}


def measure(name: str, scale: Mapping[str, Any], arguments: Mapping[str, Any]) -> Estimate:
    """Computes a claim's quantity in a setting of ours.

    Args:
        name: of the measure, one of `MEASURES`.
        scale: the setting of a scale of the register.
        arguments: of the claim: words that change the setting, and the measure's own.
    Raises:
        UnknownName: no such measure, or a word that neither it nor a setting takes.
    """
    check_measure(name, arguments)
    if not needs_experiments(name):
        return MEASURES[name](**arguments)
    setting, own = split_arguments(scale, arguments)
    return MEASURES[name](experiments_of(setting), **own)


def needs_experiments(name: str) -> bool:
    """Tells whether a measure runs anything; others compute with published numbers alone."""
    return "experiments" in inspect.signature(MEASURES[name]).parameters


def setting_of(name: str, scale: Mapping[str, Any], arguments: Mapping[str, Any]) -> str:
    """Returns the setting in which a measure is computed, in one line."""
    if not needs_experiments(name):
        return "published numbers alone"
    return str(split_arguments(scale, arguments)[0])


def check_measure(name: str, arguments: Mapping[str, Any]) -> None:
    """Refuses a measure that does not exist, and arguments that it does not take."""
    if name not in MEASURES:
        raise UnknownName("measure", str(name), MEASURES)
    own = [key for key in inspect.signature(MEASURES[name]).parameters if key != "experiments"]
    known = [*own, *_WORDS] if needs_experiments(name) else own
    for word in arguments:
        if word not in known:
            raise UnknownName(f"argument of {name}", str(word), known)


def split_arguments(
    scale: Mapping[str, Any], arguments: Mapping[str, Any]
) -> tuple[Setting, dict[str, Any]]:
    """Returns the setting of a claim, and the arguments that are its measure's own."""
    words = {key: value for key, value in arguments.items() if key in _WORDS}
    usual = dict(scale)
    if not {"between"} & set(words) and words.get("task", usual.get("task")) != usual.get("task"):
        # models between are of the scale's own weak and strong
        if {"weak", "strong"} & set(words):
            usual.pop("between", None)
    own = {key: value for key, value in arguments.items() if key not in _WORDS}
    return Setting.read(usual | words), own
