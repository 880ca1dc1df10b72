"""Draws medians over tasks by supervisor and student, and published ones beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from .base import (
    CEILING,
    WEAK,
    add_pgr_ends,
    colour,
    figure_of,
    interval_of,
    pgr_range,
    short,
    ticks_of,
)
from .published import paper_mark

# light to dark, from the smallest supervisor to the largest
_BY_SUPERVISOR = ("#E69F00", "#D55E00", "#882255", "#0072B2", "#009E73", "#332288")
_TITLES = {
    "accuracy": "test accuracy",
    "auroc": "AUROC",
    "pgr": "performance gap recovered",
    "pgr_auroc": "PGR by AUROC",
}


def by_pair(rows: pd.DataFrame, title: str, *, measure: str = "pgr") -> go.Figure:
    """Draws a median over tasks against the student's size: a panel per student, a line per
    supervisor, with 95 % intervals.

    Of accuracy and AUROC the ceiling is dashed, and each supervisor dotted in its colour.

    Args:
        rows: `SuiteResult.table()`, ordered by size: columns weak, strong, arm and the measure
            with its interval.
        measure: 'accuracy', 'auroc', 'pgr' or 'pgr_auroc'.
    Source: Burns et al. 2023, figures 3 and 5.
    """
    students = [arm for arm in dict.fromkeys(rows.arm) if arm not in (WEAK, CEILING)]
    figure = _panels(students, title, _TITLES[measure])
    rows = rows.assign(tick=rows.strong.map(ticks_of(rows.strong)))
    supervisors = list(dict.fromkeys(rows.weak))
    for panel, student in enumerate(students, start=1):
        for i, weak in enumerate(supervisors):
            of_pair = rows[rows.weak == weak]
            line = dict(color=_BY_SUPERVISOR[i % len(_BY_SUPERVISOR)])
            _add_line(
                figure, of_pair, student, measure, panel, line, f"taught by {short(supervisors)[i]}"
            )
            if not measure.startswith("pgr"):
                _add_line(figure, of_pair, WEAK, measure, panel, line | {"dash": "dot"}, "")
        if not measure.startswith("pgr"):
            ceilings = rows.drop_duplicates(["strong", "arm"], keep="first")
            line = dict(color=colour(CEILING), dash="dash")
            _add_line(figure, ceilings, CEILING, measure, panel, line, CEILING)
    if measure.startswith("pgr"):
        add_pgr_ends(figure)
        ends = {f"{measure}{end}": f"pgr{end}" for end in ("", "_low", "_high")}
        of_students = rows[rows.arm.isin(students)].dropna(subset=[measure])
        shown = of_students[list(ends)].rename(columns=ends)
        figure.update_yaxes(range=pgr_range(shown))
    else:
        lowest, highest = rows[f"{measure}_low"].min(), rows[f"{measure}_high"].max()
        figure.update_yaxes(range=[lowest - 0.02, highest + 0.02])
    ticks = list(dict.fromkeys(rows.tick))
    figure.update_xaxes(
        type="category", categoryorder="array", categoryarray=ticks, title="strong student"
    )
    figure.update_layout(scattermode="group", scattergap=0.8)
    return figure


def by_supervisor(
    rows: pd.DataFrame, title: str, *, paper: Mapping[str, Sequence] | None = None
) -> go.Figure:
    """Draws PGR of one student, a median over tasks, by its supervisor: a line per arm, with 95 %
    intervals; beside it, in grey, published curves.

    Args:
        rows: `SuiteResult.table()` of one student, ordered by the supervisor's size.
        paper: {arm: published numbers, by the supervisor's size}, as the register has them.
    Source: Burns et al. 2023, figures 3d and 5b.
    """
    paper = paper or {}
    titles = ["here", *(["the paper: other models and tasks"] if paper else [])]
    figure = _panels(titles, title, _TITLES["pgr"])
    rows = rows[~rows.arm.isin((WEAK, CEILING))].dropna(subset=["pgr"])
    rows = rows.assign(tick=rows.weak.map(ticks_of(rows.weak)))
    for arm in dict.fromkeys(rows.arm):
        _add_line(figure, rows, arm, "pgr", 1, dict(color=colour(arm)), arm)
    add_pgr_ends(figure)
    figure.update_yaxes(range=pgr_range(rows))
    figure.update_xaxes(type="category", title="supervisor")
    for arm, numbers in paper.items():
        places = [f"{i}" for i in range(1, len(numbers) + 1)]
        values = [float(getattr(number, "value", number)) for number in numbers]
        where = getattr(numbers[0], "where", "")
        paper_mark(figure, values, x=places, label=f"{arm}, {where}".strip(", "), row=1, col=2)
        figure.add_annotation(
            x=0,  # the first place: a text of digits would be taken for a place's number
            y=values[0],
            text=arm,
            xanchor="left",
            yshift=12,
            showarrow=False,
            row=1,
            col=2,
        )
    figure.update_layout(scattermode="group", scattergap=0.8)
    return figure


def _panels(titles: Sequence[str], title: str, y: str) -> go.Figure:
    """Returns a figure with a panel per title, side by side on one y axis."""
    figure = make_subplots(
        1, len(titles), shared_yaxes=True, horizontal_spacing=0.04, subplot_titles=list(titles)
    )
    figure.update_layout(figure_of(title, "", "").layout)
    figure.update_layout(width=420 * len(titles) + 80, margin=dict(t=90))
    figure.update_yaxes(gridcolor="#E5E5E5", showgrid=True)
    figure.update_yaxes(title=y, col=1)
    return figure


def _add_line(
    figure: go.Figure,
    rows: pd.DataFrame,
    arm: str,
    measure: str,
    panel: int,
    line: dict,
    name: str,
) -> None:
    """Adds the line of an arm to a panel; its name stands in the legend once, "" in none."""
    rows = rows[rows.arm == arm].dropna(subset=[measure])
    values = [rows[f"{measure}{end}"] for end in ("_low", "", "_high")]
    figure.add_scatter(
        x=rows.tick,
        y=values[1],
        name=name or arm,
        legendgroup=name or arm,
        showlegend=bool(name) and panel == 1,
        mode="lines+markers",
        offsetgroup=name or None,
        line=line,
        marker=dict(size=7, symbol="circle" if name else "x-thin-open"),
        error_y=interval_of(*values) if name else None,
        row=1,
        col=panel,
    )
