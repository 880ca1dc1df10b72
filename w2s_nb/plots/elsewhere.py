"""Draws arms in distribution beside the same arms on the test examples of other tasks."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from .base import (
    CEILING,
    WEAK,
    add_notes,
    chance_of,
    colour,
    figure_of,
    interval_of,
    pgr_points,
    pgr_range,
)


def in_and_out(table: pd.DataFrame, title: str) -> go.Figure:
    """Draws accuracy and PGR of each arm by the task that it is tested on, with 95 % intervals; the
    task that it was trained on comes first.

    A PGR that is not defined is left out, and its place stays empty.

    Args:
        table: `Arms.table_elsewhere()`.
    Raises:
        ValueError: a table without the column tested_on, such as that of `Arms.table`.
    """
    if "tested_on" not in table:
        raise ValueError(
            "the table has no column tested_on; expected that of Arms.table_elsewhere()"
        )
    figure = make_subplots(rows=1, cols=2, subplot_titles=["accuracy", "PGR"])
    figure.update_layout(figure_of(title, "", "").layout)
    figure.update_layout(scattermode="group", scattergap=0.5)
    places = list(dict.fromkeys(table.tested_on))
    ticks = {name: f"{name}<br>(trained on)" if not i else name for i, name in enumerate(places)}
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
    students = table[~table.arm.isin((WEAK, CEILING))].dropna(subset=["pgr"])
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


def _finish(figure: go.Figure, table: pd.DataFrame, students: pd.DataFrame, ticks: list[str]):
    """Adds the lines to compare with, the notes, and the ranges of the axes."""
    chance = chance_of(table)
    if chance is not None:
        figure.add_hline(y=chance, line_dash="dot", annotation_text="chance", row=1, col=1)
    for y, arm, text in ((0, WEAK, "supervisor"), (1, CEILING, "ceiling")):
        figure.add_hline(y=y, line_color=colour(arm), annotation_text=text, row=1, col=2)
    figure.update_xaxes(type="category", categoryorder="array", categoryarray=ticks)
    if len(students):
        figure.update_yaxes(range=pgr_range(students), row=1, col=2)
    add_notes(figure, students)
