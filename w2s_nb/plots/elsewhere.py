"""Draws arms in distribution beside the same arms on the test examples of other tasks."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from .base import (
    CEILING,
    WEAK,
    add_dotted_line,
    add_notes,
    add_pgr_ends,
    chance_of,
    colour,
    figure_of,
    frame_of,
    interval_of,
    mark_beyond,
    name_places,
    pgr_points,
    pgr_range,
    put_panels_into,
)
from .findings import bare, say_elsewhere


def in_and_out(table: pd.DataFrame, settings: str, *, title: str = "") -> go.Figure:
    """Draws accuracy and PGR of each arm by the task that it is tested on, with 95 % intervals; the
    task that it was trained on comes first.

    A PGR that is not defined is left out, and named below the title.

    Args:
        table: `Arms.table_elsewhere()`.
        settings: what was run; it stands below the title.
        title: "" says for how many students the interval of PGR is above 0, at home and elsewhere.
    Raises:
        ValueError: a table without the column tested_on, such as that of `Arms.table`.
    """
    if "tested_on" not in table:
        raise ValueError(
            "the table has no column tested_on; expected that of Arms.table_elsewhere()"
        )
    places = list(dict.fromkeys(table.tested_on))
    ticks = {name: f"{name}<br>(trained on)" if not i else name for i, name in enumerate(places)}
    students = table[~table.arm.isin((WEAK, CEILING))]
    title = title or say_elsewhere(students, places[0])
    settings = "<br>".join(filter(None, [settings, _undefined(students)]))
    figure = make_subplots(
        rows=1, cols=2, horizontal_spacing=0.14, subplot_titles=["test accuracy", "PGR"]
    )
    put_panels_into(figure, figure_of(title, "", "", settings=settings, width=940))
    figure.update_layout(scattermode="group", scattergap=0.5)
    for arm, rows in table.groupby("arm", sort=False):
        figure.add_scatter(
            x=rows.tested_on.map(ticks),
            y=rows.accuracy,
            error_y=interval_of(rows.accuracy_low, rows.accuracy, rows.accuracy_high),
            mode="markers",
            name=str(arm),
            marker=dict(color=colour(str(arm)), size=9),
            row=1,
            col=1,
        )
    students = students.dropna(subset=["pgr"])
    for arm, rows in students.groupby("arm", sort=False):
        figure.add_scatter(
            x=rows.tested_on.map(ticks),
            y=rows.pgr,
            error_y=interval_of(rows.pgr_low, rows.pgr, rows.pgr_high),
            mode="markers+text",
            name=str(arm),
            showlegend=False,
            marker=dict(color=colour(str(arm)), size=9),
            row=1,
            col=2,
            **pgr_points(rows, [str(arm)] * len(rows)),
        )
    _finish(figure, table, students, list(ticks.values()))
    return figure


def _undefined(students: pd.DataFrame) -> str:
    """Returns a text that names the students without a PGR; "" if all have one."""
    missing = [
        f"{bare(row.arm)} on {row.tested_on}" for row in students[students.pgr.isna()].itertuples()
    ]
    return f"no PGR, as the gap is within its error: {', '.join(missing)}" if missing else ""


def _finish(figure: go.Figure, table: pd.DataFrame, students: pd.DataFrame, ticks: list[str]):
    """Adds the lines to compare with, the notes, and the ranges of the axes."""
    chance = chance_of(table)
    if chance is not None:
        add_dotted_line(figure, chance, "chance", row=1, col=1)
    if not len(students):  # plotly draws no panel without a trace
        figure.add_scatter(x=ticks, y=[None] * len(ticks), showlegend=False, row=1, col=2)
    add_pgr_ends(figure, panel=2)
    for axis in figure.select_xaxes():
        name_places(axis, ticks)
        axis.range = [-0.5, len(ticks) - 0.5]
    shown = [table.accuracy_low, table.accuracy_high]
    shown += [] if chance is None else [chance]
    figure.update_yaxes(range=frame_of(*shown, within=(-0.02, 1.02)), row=1, col=1)
    frame = pgr_range(students)
    names = dict(zip(table.tested_on.unique(), ticks, strict=True))
    rows = students.assign(tick=students.tested_on.map(names))
    mark_beyond(figure, rows, "tick", frame, row=1, col=2)
    figure.update_yaxes(range=frame, row=1, col=2)
    add_notes(figure, students)
