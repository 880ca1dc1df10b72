"""Writes verdicts on published claims as one HTML page that needs no network."""

from __future__ import annotations

import html
import math
from collections.abc import Iterable
from typing import TYPE_CHECKING

from ..common import device
from .register import Number, Source
from .verdict import AGREES, CONTRADICTS, RULE, TOO_NOISY, Range

if TYPE_CHECKING:
    from ..metrics import Estimate
    from .running import Outcome, Reproduction

_COLORS = {AGREES: "#1a7f37", CONTRADICTS: "#b42318", TOO_NOISY: "#666"}
_STYLE = """body {font: 15px/1.5 system-ui, sans-serif; max-width: 1200px; margin: 2em auto;
padding: 0 1em} .w2s-verdicts table {border-collapse: collapse; font-size: 13px}
.w2s-verdicts th, .w2s-verdicts td {padding: 3px 9px; border-bottom: 1px solid #ddd;
text-align: left; vertical-align: top} .w2s-verdicts .wide {overflow-x: auto}"""
_WIDTH = 180  # pixels of a drawing
_CLAIMS = ("claim", "where", "theirs", "agrees if", "ours", "verdict", "setting", "seconds")
_NUMBERS = ("number", "value", "metric", "how read", "where", "about")


def page(reproduction: Reproduction) -> str:
    """Returns the page of a reproduction, with the published numbers of its sources."""
    numbers = [_numbers_of(source) for source in reproduction.sources if source.numbers]
    versions = ", ".join(f"{name} {version}" for name, version in device.versions().items())
    made_by = f"{device.machine()}; {versions}"
    return (
        "<!doctype html><html lang='en'><head><meta charset='utf-8'>"
        "<title>Published results, checked</title></head><body>"
        f"<h1>Published results, checked at scale {html.escape(reproduction.scale)}</h1>"
        f"{body(reproduction)}<div class='w2s-verdicts'><h2>Published numbers</h2>"
        f"{''.join(numbers)}<p>{html.escape(made_by)}</p></div></body></html>"
    )


def body(reproduction: Reproduction) -> str:
    """Returns the verdicts by source, and what is not judged at this scale, as HTML."""
    drawn = "In the drawings the line is our interval, the shade the range that agrees."
    parts = [f"<p>{_text(reproduction.summary())}.</p><p>{_text(RULE)} {drawn}</p>"]
    for source in reproduction.sources:
        of_source = [each for each in reproduction.outcomes if each.claim.source == source.name]
        if of_source:
            parts.append(_heading(source) + _table(_CLAIMS, map(_claim_cells, of_source)))
    left_out = reproduction.left_out
    if len(left_out):
        rows = left_out[["source", "says", "why"]].map(_text).to_numpy()
        columns = ("source", "claim", "why not")
        parts += ["<h2>Not judged at this scale</h2>", _table(columns, rows)]
    notes = dict.fromkeys(note for each in reproduction.outcomes for note in each.notes)
    if notes:
        listed = "".join(f"<li>{_text(note)}</li>" for note in notes)
        parts.append(f"<h2>What the experiments warned of</h2><ul>{listed}</ul>")
    return f"<style>{_STYLE}</style><div class='w2s-verdicts'>{''.join(parts)}</div>"


def _heading(source: Source) -> str:
    recipe = ", ".join(f"{name} {value}" for name, value in source.recipe.items())
    return (
        f"<h2>{_text(source.name)}</h2>"
        f"<p><a href='{html.escape(source.url, quote=True)}'>{_text(source.citation)}</a><br>"
        f"{_text(source.about)} Its recipe: {_text(recipe)}.</p>"
    )


def _claim_cells(outcome: Outcome) -> list[str]:
    from .running import row_of

    row = row_of(outcome)
    color = _COLORS.get(outcome.verdict, "#b42318")
    name = f"<span title='{html.escape(outcome.claim.name, quote=True)}'>{_text(row['says'])}"
    return [
        f"{name}</span>",
        _text(row["where"]),
        _text(row["theirs"]),
        _text(row["agrees_if"]),
        _text(row["ours"]) + "".join(map(_strip, *_measured_parts(outcome))),
        f"<b style='color: {color}'>{_text(outcome.verdict)}</b>",
        _text(row["setting"]),
        f"{outcome.seconds:.0f}",
    ]


def _measured_parts(outcome: Outcome) -> tuple[list[Range], list[Estimate]]:
    """Returns range and estimate of each part of a claim that has an interval."""
    measured = [
        (part.expects, outcome.estimates[part.name])
        for part in outcome.claim.parts
        if part.name in outcome.estimates
    ]
    finite = [pair for pair in measured if math.isfinite(pair[1].low + pair[1].high)]
    return [expects for expects, _ in finite], [estimate for _, estimate in finite]


def _strip(expected: Range, estimate: Estimate) -> str:
    """Returns a small drawing of an interval over the range that agrees, which is shaded."""
    ends = [end for end in (expected.low, expected.high) if math.isfinite(end)]
    least = min(estimate.low, *ends)
    widest = max(estimate.high, *ends) - least or 1.0

    def x(value: float) -> float:
        return _WIDTH * (0.1 + 0.8 * (value - least) / widest)

    left, right = (
        x(end) if math.isfinite(end) else _WIDTH * (end > 0)
        for end in (expected.low, expected.high)
    )
    low, value, high = (x(each) for each in (estimate.low, estimate.value, estimate.high))
    return (
        f"<br><svg width='{_WIDTH}' height='12' role='img' aria-label='interval over the range'>"
        f"<rect x='{left:.1f}' width='{right - left:.1f}' height='12' fill='#d8eedd'/>"
        f"<path d='M{low:.1f} 6H{high:.1f}' stroke='#333' stroke-width='1.5'/>"
        f"<circle cx='{value:.1f}' cy='6' r='3' fill='#333'/></svg>"
    )


def _numbers_of(source: Source) -> str:
    """Returns a table of a source's numbers, and one of PGRs where it gave baselines."""
    rows = [
        [each.name, str(each), each.metric, each.read, each.where, each.about]
        for each in source.numbers.values()
    ]
    shown = _table(_NUMBERS, ([_text(cell) for cell in row] for row in rows))
    summary = f"{_text(source.name)}: {len(rows)} numbers"
    return f"<details><summary>{summary}</summary>{shown}{_recovered(source)}</details>"


def _recovered(source: Source) -> str:
    """Returns a table of the gap that published accuracies recover, by their own baselines."""
    computed = [(each, pgr_of(each)) for each in source.numbers.values()]
    rows = [
        [each.name, f"{each.weak:.3g}", f"{each.value:.3g}", f"{each.ceiling:.3g}", f"{pgr:.3f}"]
        for each, pgr in computed
        if not math.isnan(pgr)
    ]
    if not rows:
        return ""
    columns = ("number", "supervisor", "student", "ceiling", "PGR by these")
    shown = _table(columns, ([_text(cell) for cell in row] for row in rows))
    return f"<p>PGR recomputed from published values:</p>{shown}"


def pgr_of(number: Number) -> float:
    """Computes the PGR of a published accuracy or AUROC by the source's own baselines.

    Returns:
        NaN where the number is neither, or the source gave no baselines.
    """
    if number.metric not in ("accuracy", "auroc") or number.weak is None or number.ceiling is None:
        return math.nan
    gap = number.ceiling - number.weak
    return (number.value - number.weak) / gap if gap > 0 else math.nan


def _table(columns: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    head = "".join(f"<th>{_text(column)}</th>" for column in columns)
    lines = ("".join(f"<td>{cell}</td>" for cell in row) for row in rows)
    shown = "".join(f"<tr>{line}</tr>" for line in lines)
    return f"<div class='wide'><table><tr>{head}</tr>{shown}</table></div>"


def _text(value: object) -> str:
    return html.escape(str(value)).replace("\n", "<br>")
