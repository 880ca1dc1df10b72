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
    frame_of,
    interval_of,
    mark_beyond,
    name_places,
    pgr_range,
    put_panels_into,
    ticks_of,
)
from .findings import say_by_supervisor, say_medians
from .published import paper_mark

# light to dark, from the smallest supervisor to the largest
_BY_SUPERVISOR = ("#E69F00", "#D55E00", "#882255", "#0072B2", "#009E73", "#332288")
_TITLES = {
    "accuracy": "test accuracy",
    "auroc": "AUROC",
    "pgr": "performance gap recovered",
    "pgr_auroc": "PGR by AUROC",
}


def by_pair(
    rows: pd.DataFrame, settings: str, *, title: str = "", measure: str = "pgr"
) -> go.Figure:
    """Draws a median over tasks against the student's size: a panel per student, a line per
    supervisor, with 95 % intervals.

    Of accuracy and AUROC the ceiling is dashed, and each supervisor dotted in its colour.

    Args:
        rows: `SuiteResult.table()`, ordered by size: columns weak, strong, arm and the measure
            with its interval.
        settings: what was run; it stands below the title.
        title: "" says for how many medians the interval of PGR is above 0.
        measure: 'accuracy', 'auroc', 'pgr' or 'pgr_auroc'.
    Source: Burns et al. 2023, figures 3 and 5.
    """
    students = [arm for arm in dict.fromkeys(rows.arm) if arm not in (WEAK, CEILING)]
    title = title or _say_pairs(rows[rows.arm.isin(students)], measure)
    figure = _panels(students, title, settings, _TITLES[measure])
    rows = rows.assign(tick=rows.strong.map(ticks_of(rows.strong)))
    supervisors = list(dict.fromkeys(rows.weak))
    ticks_of_weak = ticks_of(rows.weak)
    for panel, student in enumerate(students, start=1):
        for i, weak in enumerate(supervisors):
            of_pair = rows[rows.weak == weak]
            line = dict(color=_BY_SUPERVISOR[i % len(_BY_SUPERVISOR)])
            _add_line(
                figure, of_pair, student, measure, panel, line, f"taught by {ticks_of_weak[weak]}"
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
        shown = of_students[["arm", "weak", "tick", *ends]].rename(columns=ends)
        frame = pgr_range(shown)
        for panel, student in enumerate(students, start=1):
            lines = shown[shown.arm == student]
            lines = lines.assign(arm=[f"taught by {ticks_of_weak[name]}" for name in lines.weak])
            mark_beyond(figure, lines, "tick", frame, row=1, col=panel)
        figure.update_yaxes(range=frame)
    else:
        figure.update_yaxes(range=frame_of(rows[f"{measure}_low"], rows[f"{measure}_high"]))
    ticks = list(dict.fromkeys(rows.tick))
    for axis in figure.select_xaxes():
        name_places(axis, ticks)
        axis.update(title="strong student", range=[-0.5, len(ticks) - 0.5])
    figure.update_layout(scattermode="group", scattergap=0.8)
    return figure


def _say_pairs(rows: pd.DataFrame, measure: str) -> str:
    """Says for how many medians the interval of PGR, or of PGR by AUROC, is above 0."""
    pgr = "pgr_auroc" if "auroc" in measure else "pgr"
    if f"{pgr}_low" not in rows:
        return f"Median {_TITLES[measure]}"
    return say_medians(pd.DataFrame({"pgr": rows[pgr], "pgr_low": rows[f"{pgr}_low"]}))


def by_supervisor(
    rows: pd.DataFrame,
    settings: str,
    *,
    title: str = "",
    paper: Mapping[str, Sequence] | None = None,
) -> go.Figure:
    """Draws PGR of one student, a median over tasks, by its supervisor: a line per arm, with 95 %
    intervals; beside it, in grey, published curves.

    Args:
        rows: `SuiteResult.table()` of one student, ordered by the supervisor's size.
        settings: what was run; it stands below the title.
        title: "" says the PGR of each arm with the smallest and with the largest supervisor.
        paper: {arm: published numbers, by the supervisor's size}, as the register has them.
    Source: Burns et al. 2023, figures 3d and 5b.
    """
    paper = paper or {}
    titles = ["here", *(["the paper: other models and tasks"] if paper else [])]
    rows = rows[~rows.arm.isin((WEAK, CEILING))].dropna(subset=["pgr"])
    ticks = ticks_of(rows.weak)
    title = title or say_by_supervisor(rows, ticks)
    figure = _panels(titles, title, settings, _TITLES["pgr"])
    rows = rows.assign(tick=rows.weak.map(ticks))
    for arm in dict.fromkeys(rows.arm):
        _add_line(figure, rows, arm, "pgr", 1, dict(color=colour(arm)), arm)
    add_pgr_ends(figure)
    frame = pgr_range(rows)
    mark_beyond(figure, rows, "tick", frame, row=1, col=1)
    figure.update_yaxes(range=frame)
    figure.update_xaxes(type="category", title="supervisor")
    highest = max(
        paper, key=lambda arm: float(getattr(paper[arm][0], "value", paper[arm][0])), default=""
    )
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
            yshift=14 if arm == highest else -14,
            showarrow=False,
            row=1,
            col=2,
        )
    figure.update_layout(scattermode="group", scattergap=0.8)
    return figure


def _panels(titles: Sequence[str], title: str, settings: str, y: str) -> go.Figure:
    """Returns a figure with a panel per title, side by side on one y axis."""
    figure = make_subplots(
        1, len(titles), shared_yaxes=True, horizontal_spacing=0.04, subplot_titles=list(titles)
    )
    width = max(760, 420 * len(titles) + 80)
    put_panels_into(figure, figure_of(title, "", "", settings=settings, width=width))
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
