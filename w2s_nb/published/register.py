"""Reads the register of published results: one YAML file per source, beside this file.

A source has numbers, each with how it was read, and claims, each with the range of a quantity that
agrees with it. Importing this file loads neither torch nor pandas.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..common import yaml_text
from ..common.registry import UnknownName
from .verdict import Range

FOLDER = Path(__file__).parent
SCALES = ("cpu", "gpu24", "gpu80")
# how a number came to us
READ = ("printed", "pixels", "recomputed", "reading note")
METRICS = ("accuracy", "auroc", "pgr", "pgr_auroc", "gain", "agreement", "correlation")


@dataclass(frozen=True)
class Number:
    """A published number.

    Attributes:
        source, name: of the source's file, and its own.
        about: one sentence on what was measured.
        value: as published; shares are in [0, 1].
        metric: one of `METRICS`.
        read: one of `READ`; printed numbers have no error of reading.
        where: section, figure, table or file.
        error: of reading, where it was read from a figure.
        low, high: a published interval.
        sd, seeds: a published standard deviation over so many seeds.
        weak, ceiling: what the source had for supervisor and ceiling, where the number is a
            student's or its PGR.
        notebooks: those that measure the same quantity.
    """

    source: str
    name: str
    about: str
    value: float
    metric: str
    read: str
    where: str
    error: float | None = None
    low: float | None = None
    high: float | None = None
    sd: float | None = None
    seeds: int | None = None
    weak: float | None = None
    ceiling: float | None = None
    notebooks: tuple[str, ...] = ()

    def __str__(self) -> str:
        text = f"{self.value:.3g}"
        if self.low is not None:
            text += f" [{self.low:.3g}, {self.high:.3g}]"
        elif self.sd is not None:
            text += f" (sd {self.sd:.3g})"
        elif self.error is not None:
            text += f" (± {self.error:.2g})"
        return text


@dataclass(frozen=True)
class Part:
    """A quantity and the range of it that agrees with a claim.

    Attributes:
        name: tells the parts of a claim apart; "" of a claim with one.
        measure: name of a function of `published.measures`.
        arguments: of that function.
        expects: the range that agrees.
    """

    name: str
    measure: str
    arguments: dict[str, Any]
    expects: Range


@dataclass(frozen=True)
class Claim:
    """A published claim, and what would agree with it.

    Attributes:
        source, name: of the source's file, and its own.
        says: the claim in one sentence.
        where: section, figure or table.
        parts: quantities with their ranges; the claim agrees if all do.
        scales: those at which it is judged.
        why_not: {scale: why it is not judged there}.
        numbers: names of the source's numbers that stand beside ours.
        notebooks: those that judge it by their own run.
    """

    source: str
    name: str
    says: str
    where: str
    parts: tuple[Part, ...]
    scales: tuple[str, ...]
    why_not: dict[str, str] = field(default_factory=dict)
    numbers: tuple[str, ...] = ()
    notebooks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Source:
    """One paper, report or repository.

    Attributes:
        name: of its file, with hyphens.
        citation: authors, year, title, where.
        url: where it is found.
        about: a sentence on its setting: models, data, seeds.
        recipe: how it trained, in the words of `fit` and of `load_task`.
        scales: {scale: setting of ours, in the words of the measures}.
        numbers, claims: by name.
    """

    name: str
    citation: str
    url: str
    about: str
    recipe: dict[str, Any]
    scales: dict[str, dict[str, Any]]
    numbers: dict[str, Number]
    claims: dict[str, Claim]


@functools.cache
def sources() -> dict[str, Source]:
    """Returns {name: source} of all files of the register.

    Raises:
        ValueError: a file is not as `Source` says; names file and entry.
    """
    return {path.stem.replace("_", "-"): read(path) for path in sorted(FOLDER.glob("*.yaml"))}


def source(name: str) -> Source:
    """Returns a source by name.

    Raises:
        UnknownName: no such source; lists what exists.
    """
    if name not in sources():
        raise UnknownName("source", str(name), sources())
    return sources()[name]


def number(source_name: str, name: str) -> Number:
    """Returns a published number.

    Raises:
        UnknownName: no such source or number; lists what exists.
    """
    numbers = source(source_name).numbers
    if name not in numbers:
        raise UnknownName(f"number of {source_name}", str(name), numbers)
    return numbers[name]


def numbers(source_name: str, names: Mapping[Any, str]) -> dict[Any, Number]:
    """Returns {place: number} of {place: its name}, as `plots.paper_marks` draws them.

    Raises:
        UnknownName: no such source or number; lists what exists.
    """
    return {place: number(source_name, name) for place, name in names.items()}


def claim(source_name: str, name: str) -> Claim:
    """Returns a published claim.

    Raises:
        UnknownName: no such source or claim; lists what exists.
    """
    claims = source(source_name).claims
    if name not in claims:
        raise UnknownName(f"claim of {source_name}", str(name), claims)
    return claims[name]


def numbers_of(notebook: str) -> dict[str, Number]:
    """Returns {name: number} of those that a notebook measures too, of all sources."""
    found = (each for one in sources().values() for each in one.numbers.values())
    return {each.name: each for each in found if notebook in each.notebooks}


def claims_of(notebook: str) -> dict[str, Claim]:
    """Returns {name: claim} of those that a notebook judges by its own run, of all sources."""
    found = (each for one in sources().values() for each in one.claims.values())
    return {each.name: each for each in found if notebook in each.notebooks}


def read(path: Path) -> Source:
    """Reads one file of the register.

    Raises:
        FileNotFoundError, ValueError: no file, no YAML, or not as `Source` says.
    """
    content = yaml_text.read(path, "source")
    if not isinstance(content, Mapping):
        raise ValueError(f"{path.name} is {content!r:.40}; expected {', '.join(_SOURCE)}")
    _check_keys(content, _SOURCE, _SOURCE, path.name)
    name = path.stem.replace("_", "-")
    scales = _by_scale(content["scales"], f"{path.name}: scales", "setting")
    numbers = {
        key: _number(name, key, entry, f"{path.name}, number {key!r}")
        for key, entry in (content["numbers"] or {}).items()
    }
    claims = {
        key: _claim(name, key, entry, numbers, f"{path.name}, claim {key!r}")
        for key, entry in (content["claims"] or {}).items()
    }
    told = {key: content[key] for key in ("citation", "url", "about", "recipe")}
    return Source(name=name, scales=scales, numbers=numbers, claims=claims, **told)


_SOURCE = ("citation", "url", "about", "recipe", "scales", "numbers", "claims")
_NUMBER = ("about", "value", "metric", "read", "where")
_OF_NUMBER = (*_NUMBER, "error", "interval", "sd", "seeds", "weak", "ceiling", "notebooks")
_CLAIM = ("says", "where")
_PART = ("measure", "arguments", "expects")
_OF_CLAIM = (*_CLAIM, *_PART, "parts", "why_not", "numbers", "notebooks")


def _number(source_name: str, name: str, entry: Mapping, where: str) -> Number:
    _check_keys(entry, _NUMBER, _OF_NUMBER, where)
    fields = dict(entry)
    low, high = _interval(fields.pop("interval", None), where)
    for key, known in (("read", READ), ("metric", METRICS)):
        if fields[key] not in known:
            raise ValueError(f"{where}: {key} {fields[key]!r}; expected one of {', '.join(known)}")
    for key in ("value", "error", "sd", "weak", "ceiling"):
        _check_finite(fields.get(key, 0.0), f"{where}: {key}")
    if (fields["read"] == "pixels") != ("error" in fields):
        raise ValueError(f"{where}: numbers read from pixels, and no others, have an error")
    if low is not None and not low <= fields["value"] <= high:
        raise ValueError(f"{where}: {fields['value']} is not within [{low}, {high}]")
    if ("sd" in fields) != ("seeds" in fields):
        raise ValueError(f"{where}: expected sd and seeds, or neither")
    fields["notebooks"] = _names(entry, "notebooks", where)
    return Number(source=source_name, name=name, low=low, high=high, **fields)


def _claim(source_name: str, name: str, entry: Mapping, numbers: Mapping, where: str) -> Claim:
    _check_keys(entry, _CLAIM, _OF_CLAIM, where)
    if ("parts" in entry) == ("measure" in entry):
        raise ValueError(f"{where}: expected measure, arguments and expects, or parts with them")
    parts = entry.get("parts") or {"": {key: entry[key] for key in _PART if key in entry}}
    why_not = _by_scale(entry.get("why_not", {}), f"{where}: why_not", "why")
    beside = _names(entry, "numbers", where)
    for key in beside:
        if key not in numbers:
            raise UnknownName(f"number in {where}", str(key), numbers)
    return Claim(
        source=source_name,
        name=name,
        says=entry["says"],
        where=entry["where"],
        parts=tuple(_part(key, part, where) for key, part in parts.items()),
        scales=tuple(scale for scale in SCALES if scale not in why_not),
        why_not=why_not,
        numbers=beside,
        notebooks=_names(entry, "notebooks", where),
    )


def _part(name: str, entry: Mapping, where: str) -> Part:
    _check_keys(entry, ("measure", "expects"), _PART, where)
    return Part(
        name=name,
        measure=entry["measure"],
        arguments=dict(entry.get("arguments") or {}),
        expects=_range(entry["expects"], where),
    )


def _names(entry: Mapping, key: str, where: str) -> tuple[str, ...]:
    """Reads a list of names; a word alone is none."""
    names = entry.get(key, [])
    if not isinstance(names, list):
        raise ValueError(f"{where}: {key} {names!r}; expected a list of names")
    return tuple(names)


def _by_scale(entry: object, what: str, of_each: str) -> dict[str, Any]:
    """Reads {scale: what holds there}."""
    if not isinstance(entry, Mapping):
        raise ValueError(f"{what} {entry!r}; expected {{scale: {of_each}}}")
    for scale in entry:
        if scale not in SCALES:
            raise ValueError(f"{what} {scale!r}; expected one of {', '.join(SCALES)}")
    return dict(entry)


def _interval(entry: object, where: str) -> tuple[float, float] | tuple[None, None]:
    """Reads [low, high]; None of a number without an interval."""
    if entry is None:
        return None, None
    if not isinstance(entry, list) or len(entry) != 2:
        raise ValueError(f"{where}: interval {entry!r}; expected [low, high]")
    for end in entry:
        _check_finite(end, f"{where}: end of the interval")
    return entry[0], entry[1]


def _range(entry: object, where: str) -> Range:
    """Reads {above: x}, {below: x} or {between: [low, high]}."""
    expected = "expected {above: x}, {below: x} or {between: [low, high]}"
    if not isinstance(entry, Mapping) or len(entry) != 1:
        raise ValueError(f"{where}: expects {entry!r}; {expected}")
    kind, value = next(iter(entry.items()))
    ends = value if isinstance(value, list) else [value]
    if kind not in ("above", "below", "between") or len(ends) != 1 + (kind == "between"):
        raise ValueError(f"{where}: expects {entry!r}; {expected}")
    for end in ends:
        _check_finite(end, f"{where}: end of the range")
    if kind == "above":
        return Range(low=ends[0])
    if kind == "below":
        return Range(high=ends[0])
    if ends[0] >= ends[1]:
        raise ValueError(f"{where}: expects {entry!r}; {expected}, the lower end first")
    return Range(*ends)


def _check_finite(value: Any, what: str) -> None:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not is_number or not math.isfinite(value):
        raise ValueError(f"{what} is {value!r}; expected a finite number")


def _check_keys(entry: object, needed: Iterable[str], known: Iterable[str], where: str) -> None:
    """Refuses an entry that is no mapping, lacks a key, or has one that is not known."""
    if not isinstance(entry, Mapping):
        raise ValueError(f"{where} is {entry!r:.40}; expected {', '.join(known)}")
    for key in entry:
        if key not in known:
            raise UnknownName(f"key of {where}", str(key), known)
    missing = [key for key in needed if key not in entry]
    if missing:
        raise ValueError(f"{where} has no {', '.join(missing)}")
