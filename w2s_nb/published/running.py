"""Measures the claims of the register in settings of ours, and judges each by the rule."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from ..common import device
from ..common.files import write_atomic, write_json
from ..common.progress import collect_warnings, progress
from ..common.registry import UnknownName
from ..metrics import Estimate
from .beside import judge_claim, published_text, ranges_text
from .measures.memory import GB, memory_line
from .measures.table import (
    check_measure,
    measure,
    needs_experiments,
    setting_of,
    split_arguments,
)
from .register import SCALES, Claim, Source, source, sources
from .verdict import CONTRADICTS, RULE, VERDICTS

FAILED = "failed"
_COLUMNS = (
    "source",
    "claim",
    "says",
    "where",
    "theirs",
    "agrees_if",
    "ours",
    "verdict",
    "setting",
    "seconds",
)
_LEFT_OUT = ("source", "claim", "says", "why")


@dataclass(frozen=True)
class Outcome:
    """A claim with what we measured, and the verdict on it.

    Attributes:
        claim: as published.
        settings: {part: the setting it was measured in, as a text}.
        estimates: {part: the quantity that it is about}.
        ours: the estimates as a text, or the error of a claim that could not be measured.
        verdict: one of `VERDICTS`, or "failed".
        seconds: that it took; experiments which an earlier claim ran cost nothing.
        notes: what the experiments warned of.
    """

    claim: Claim
    settings: dict[str, str]
    estimates: dict[str, Estimate]
    ours: str
    verdict: str
    seconds: float
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        ours = self.ours.replace("\n", "; ")
        return f"{self.verdict:<16} {self.claim.source} {self.claim.name}: {ours}"


@dataclass(frozen=True)
class Reproduction:
    """The verdicts on published claims at one scale; shown as a table.

    Attributes:
        scale: "cpu", "gpu24" or "gpu80".
        sources: those that were asked for.
        outcomes: of the claims that are judged at the scale.
        left_out: a row per claim that is not: source, claim, says, why.
        table: a row per outcome: source, claim, says, where, theirs, agrees_if, ours, verdict,
            setting, seconds; a line per number and per part of a claim.
    """

    scale: str
    sources: tuple[Source, ...]
    outcomes: tuple[Outcome, ...]
    left_out: pd.DataFrame
    table: pd.DataFrame = field(init=False, repr=False)

    def __post_init__(self) -> None:
        rows = [row_of(outcome) for outcome in self.outcomes]
        object.__setattr__(self, "table", pd.DataFrame(rows, columns=list(_COLUMNS)))

    def count(self, verdict: str) -> int:
        """Returns the number of claims with a verdict."""
        return sum(outcome.verdict == verdict for outcome in self.outcomes)

    @property
    def exit_code(self) -> int:
        """Returns 1 where a claim contradicts, 2 where one could not be measured, else 0."""
        if self.count(CONTRADICTS):
            return 1
        return 2 if self.count(FAILED) else 0

    def summary(self) -> str:
        """Returns the numbers of verdicts, in one line."""
        kinds = (*VERDICTS, *((FAILED,) if self.count(FAILED) else ()))
        counts = ", ".join(f"{self.count(kind)} {kind}" for kind in kinds)
        return (
            f"{len(self.outcomes)} claims at scale {self.scale}: {counts}; "
            f"{len(self.left_out)} not judged at this scale"
        )

    def write(self, folder: str | Path) -> Path:
        """Writes `reproduce.html`, one page that needs no network, and `reproduce.json`.

        Returns:
            the path of the page.
        """
        from .page import page

        folder = Path(folder)
        write_json(folder / "reproduce.json", self.as_dict())
        write_atomic(folder / "reproduce.html", page(self).encode())
        return folder / "reproduce.html"

    def as_dict(self) -> dict[str, Any]:
        """Returns all that was measured, for JSON."""
        return {
            "scale": self.scale,
            "rule": RULE,
            "summary": self.summary(),
            "claims": [_entry(outcome) for outcome in self.outcomes],
            "not_judged": self.left_out.to_dict("records"),
            "seconds": round(sum(outcome.seconds for outcome in self.outcomes), 1),
            "versions": device.versions(),
            "machine": device.machine(),
        }

    def __repr__(self) -> str:
        return "\n".join([*map(str, self.outcomes), self.summary(), RULE])

    def _repr_html_(self) -> str:
        from .page import body

        return body(self)


def reproduce(
    source: str | None = None, scale: str = "cpu", *, claims: Sequence[str] | None = None
) -> Reproduction:
    """Judges published claims by experiments of ours; fits that are in the store are not run.

    Args:
        source: name of a source of the register; None takes all.
        scale: "cpu" has the embedded models, for directions and ranges; "gpu24" and "gpu80" have
            larger ones, for a GPU with so many GB.
        claims: names of claims; None takes all.
    Raises:
        UnknownName: no such source, scale, claim or measure; says so before anything runs.
    """
    asked_for = claims_at(source, scale, claims)
    return collect(source, scale, claims, outcomes(asked_for, scale))


def collect(
    source: str | None,
    scale: str,
    claims: Sequence[str] | None,
    of_claims: Iterable[Outcome],
) -> Reproduction:
    """Returns outcomes with their sources, and with the claims that the scale leaves out."""
    named = _sources(source)
    left_out = [
        [each.source, each.name, each.says, why_not(each, one, scale)]
        for one in named
        for each in one.claims.values()
        if why_not(each, one, scale) and (claims is None or each.name in claims)
    ]
    return Reproduction(
        scale, named, tuple(of_claims), pd.DataFrame(left_out, columns=list(_LEFT_OUT))
    )


def claims_at(source: str | None, scale: str, names: Sequence[str] | None = None) -> list[Claim]:
    """Returns the claims that are judged at a scale, checked.

    Raises:
        UnknownName: no such source, scale, claim or measure, or no such argument of it.
        TypeError: one name instead of a list of names.
    """
    if isinstance(names, str):
        raise TypeError(f"claims = {names!r}; expected a list of names")
    if scale not in SCALES:
        raise UnknownName("scale", str(scale), SCALES)
    named = _sources(source)
    known = [each for one in named for each in one.claims.values()]
    for name in names or ():
        if name not in [each.name for each in known]:
            raise UnknownName("claim", str(name), [each.name for each in known])
    for each in known:
        for part in each.parts:
            check_measure(part.measure, part.arguments)
    wanted = known if names is None else [each for each in known if each.name in names]
    of = {one.name: one for one in named}
    return [each for each in wanted if not why_not(each, of[each.source], scale)]


def plan_lines(source: str | None, scale: str, names: Sequence[str] | None) -> list[str]:
    """Returns the settings in which the claims of a scale are measured, a line each, and beneath
    it the claims; for a GPU, with the memory of the largest training.

    Raises:
        MemoryError: a training does not fit on the scale's GPU.
    """
    by_setting: dict[str, list[str]] = {}
    of = {one.name: one for one in _sources(source)}
    for claim in claims_at(source, scale, names):
        words = of[claim.source].scales[scale]
        for part in claim.parts:
            setting = setting_of(part.measure, words, part.arguments)
            if scale in GB and needs_experiments(part.measure):
                setting += f"; {memory_line(split_arguments(words, part.arguments)[0], GB[scale])}"
            named = f"  {claim.source} {claim.name}" + (f": {part.name}" if part.name else "")
            by_setting.setdefault(setting, []).append(named)
    return [line for setting, claims in by_setting.items() for line in (setting, *claims)]


def why_not(claim: Claim, of: Source, scale: str) -> str:
    """Returns why a claim is not judged at a scale; "" where it is."""
    if scale in claim.why_not:
        return claim.why_not[scale]
    setting = of.scales.get(scale)
    if setting is None:
        return "the source has no setting for this scale"
    return setting.get("not", "")


def outcomes(claims: Sequence[Claim], scale: str) -> Iterator[Outcome]:
    """Yields the outcome of each claim as soon as it is measured."""
    for claim in progress(claims, desc="claims"):
        yield outcome(claim, source(claim.source).scales[scale])


def outcome(claim: Claim, words: Mapping[str, Any]) -> Outcome:
    """Measures a claim in a setting of ours, and judges it; an error is an outcome as well.

    Args:
        words: the setting of a scale of the register.
    """
    started = time.perf_counter()
    settings = {part.name: setting_of(part.measure, words, part.arguments) for part in claim.parts}
    estimates: dict[str, Estimate] = {}
    with collect_warnings() as notes:
        try:
            for part in claim.parts:
                estimates[part.name] = measure(part.measure, words, part.arguments)
            ours, verdict = judge_claim(claim, estimates)
        except Exception as error:  # the other claims go on
            ours, verdict = f"{type(error).__name__}: {error}", FAILED
    seconds = time.perf_counter() - started
    noted = tuple(dict.fromkeys(notes))
    return Outcome(claim, settings, estimates, ours, verdict, seconds, noted)


def _sources(name: str | None) -> tuple[Source, ...]:
    return tuple(sources().values()) if name is None else (source(name),)


def row_of(outcome: Outcome) -> dict[str, Any]:
    """Returns an outcome as a row of the table."""
    claim = outcome.claim
    return {
        "source": claim.source,
        "claim": claim.name,
        "says": claim.says,
        "where": claim.where,
        "theirs": published_text(claim),
        "agrees_if": ranges_text(claim),
        "ours": outcome.ours,
        "verdict": outcome.verdict,
        "setting": "\n".join(dict.fromkeys(outcome.settings.values())),
        "seconds": round(outcome.seconds, 1),
    }


def _entry(outcome: Outcome) -> dict[str, Any]:
    """Returns an outcome for JSON, with a list of its parts."""
    claim = outcome.claim
    parts = []
    for part in claim.parts:
        entry: dict[str, Any] = {
            "part": part.name,
            "measure": part.measure,
            "arguments": part.arguments,
        }
        entry |= {"agrees_if": str(part.expects), "setting": outcome.settings[part.name]}
        estimate = outcome.estimates.get(part.name)
        if estimate is not None:
            entry |= estimate.as_dict("value") | {"n": estimate.n, "seeds": estimate.seeds}
        parts.append(entry)
    return row_of(outcome) | {"parts": parts, "notes": list(outcome.notes)}
