"""Puts the paper's claims beside what a notebook measured, with a verdict on each."""

from __future__ import annotations

import html
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import pandas as pd

from ..common.progress import collect_warnings
from ..common.registry import UnknownName
from ..metrics import Estimate
from .register import Claim, claims_of, number
from .verdict import RULE, TOO_NOISY, doubt, judge, judge_all

NOT_MEASURED = "not measured here"
_COLUMNS = ("claim", "where", "published", "agrees if", "here", "verdict")
Measured = Estimate | Mapping[str, Estimate] | None


@dataclass(frozen=True)
class PaperClaims:
    """The claims of a notebook with their verdicts; shown as a table.

    Attributes:
        table: a row per claim, by its name: claim, where, published, agrees if, here, verdict; a
            line per number and per part of a claim.
    """

    table: pd.DataFrame

    def __repr__(self) -> str:
        lines = []
        for row in self.table.itertuples():
            lines += [
                f"{row.verdict}: {row.claim}",
                *(f"    {text}" for text in row.here.split("\n")),
            ]
        return "\n".join([*lines, RULE])

    def _repr_html_(self) -> str:
        head = "".join(f"<th>{column}</th>" for column in _COLUMNS)
        rows = []
        for row in self.table[list(_COLUMNS)].itertuples(index=False):
            cells = (html.escape(str(value)).replace("\n", "<br>") for value in row)
            rows.append("<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>")
        style = (
            "<style>.w2s-claims td, .w2s-claims th {text-align: left; vertical-align: top}</style>"
        )
        table = f"<table class='w2s-claims'><tr>{head}</tr>{''.join(rows)}</table>"
        return f"{style}{table}<p>{html.escape(RULE)}</p>"


def paper_claims(
    notebook: str, measured: Mapping[str, Measured | Callable[[], Measured]]
) -> PaperClaims:
    """Returns the published claims that a notebook judges, each with its verdict.

    Args:
        notebook: its name, such as "03_conf_loss".
        measured: {claim: the quantity that it is about}; {part: quantity} for a claim of several
            parts. A function without arguments is called for it; its warnings stay unsaid, for the
            table has them. The table says of a claim that it was not measured where the claim is
            not given, is None, or its function names an arm that the run lacks.
    Raises:
        UnknownName: no claim of this notebook, or no part of it, has that name.
        TypeError: anything but an Estimate.
    """
    claims = claims_of(notebook)
    for name in measured:
        if name not in claims:
            raise UnknownName(f"claim of {notebook}", str(name), claims)
    rows = []
    for name, claim in claims.items():
        here, verdict = judge_claim(claim, _value_of(measured.get(name)))
        where = f"{claim.source}, {claim.where}"
        texts = [published_text(claim), ranges_text(claim)]
        rows.append([claim.says, where, *texts, here, verdict])
    table = pd.DataFrame(rows, columns=list(_COLUMNS), index=pd.Index(claims, name="name"))
    return PaperClaims(table)


def _value_of(measured: Measured | Callable[[], Measured]) -> Measured:
    """Returns what was measured; None where the run lacks an arm that it needs."""
    if not callable(measured):
        return measured
    try:
        with collect_warnings():  # the table says what is held against a number
            return measured()
    except UnknownName:
        return None


def published_text(claim: Claim) -> str:
    """Returns the published numbers that stand beside a claim, one per line."""
    numbers = [number(claim.source, name) for name in claim.numbers]
    return "\n".join(f"{each.name} {each}" for each in numbers)


def ranges_text(claim: Claim) -> str:
    """Returns the range that agrees with each part of a claim, one per line."""
    return "\n".join(str(part.expects) for part in claim.parts)


def judge_claim(claim: Claim, measured: Measured) -> tuple[str, str]:
    """Returns what was measured, as a text, and the verdict on a claim.

    Args:
        measured: the quantity that it is about; {part: quantity} for a claim of several parts.
    Raises:
        UnknownName: no part has that name.
        TypeError: anything but an Estimate.
    """
    by_part = measured if isinstance(measured, Mapping) else {claim.parts[0].name: measured}
    by_part = {name: value for name, value in by_part.items() if value is not None}
    known = [part.name for part in claim.parts]
    for name, value in by_part.items():
        if name not in known:
            raise UnknownName(f"part of {claim.name}", str(name), known)
        if not isinstance(value, Estimate):
            raise TypeError(f"{claim.name} is a {type(value).__name__}; expected an Estimate")
    if not by_part:
        return NOT_MEASURED, NOT_MEASURED
    lines, verdicts = [], []
    for part in claim.parts:
        estimate = by_part.get(part.name)
        why_not = NOT_MEASURED if estimate is None else doubt(estimate)
        lines.append(f"{part.name}: " if part.name else "")
        lines[-1] += why_not if estimate is None else _as_text(estimate, why_not)
        if estimate is None or why_not:
            verdicts.append(TOO_NOISY)
        else:
            verdicts.append(judge(estimate.low, estimate.high, part.expects))
    return "\n".join(lines), judge_all(verdicts)


def _as_text(estimate: Estimate, why_not: str) -> str:
    """Returns an estimate with what is held against it, once."""
    text = str(estimate)
    return f"{text} ({why_not})" if why_not not in text else text
