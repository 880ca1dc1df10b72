"""Draws predictors of the gain against the gain."""

from __future__ import annotations

import math

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from ..common.intervals import interval_cell
from .base import LINE, figure_of, put_panels_into, short_pair

_BY_TASK = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#332288", "#999933")
_COLUMNS = 3
_PANEL = 230  # pixels of height


def predictors(
    points: pd.DataFrame, table: pd.DataFrame, settings: str, *, title: str = ""
) -> go.Figure:
    """Draws each predictor against the realised gain, a panel per predictor: a dot per task, pair
    and seed, a colour per task, and the rank correlation with its 95 % interval.

    Args:
        points: `Foresight.points`.
        table: `Foresight.table()`: its index names the columns of points that are drawn.
        settings: what was run; it stands below the title.
        title: "" says how many predictors without the truth have an interval without 0.
    Raises:
        ValueError: a table or points of something else.
    """
    for column in ("task", "pair", "seed", "gain", *table.index):
        if column not in points:
            raise ValueError(f"the points have no column {column!r}; expected Foresight.points")
    if "correlation" not in table:
        raise ValueError("the table has no column 'correlation'; expected that of Foresight.table")
    rows = math.ceil(len(table) / _COLUMNS)
    figure = make_subplots(
        rows,
        _COLUMNS,
        shared_yaxes=True,
        horizontal_spacing=0.03,
        vertical_spacing=0.3 / rows,
        subplot_titles=[_panel_title(row) for row in table.reset_index().to_dict("records")],
    )
    title = title or _say_how_many(table)
    frame = figure_of(title, "", "", settings=settings, width=940, height=180 + _PANEL * rows)
    put_panels_into(figure, frame)
    for number, name in enumerate(table.index):
        _add_points(figure, points, name, number)
    figure.add_hline(y=0, line_dash="dot", line_width=1, line_color=LINE)
    figure.update_xaxes(title="", nticks=5, exponentformat="power")
    figure.update_yaxes(title="", showgrid=False)
    figure.update_yaxes(title="gain, accuracy", col=1)
    figure.update_annotations(font_size=12)
    figure.update_layout(margin_t=frame.layout.margin.t + 24)
    return figure


def _panel_title(row: dict) -> str:
    """Returns a predictor's name, with its correlation in a second line."""
    needs = " (needs the truth)" if row["needs"] == "the truth" else ""
    return f"{row['predictor']}{needs}<br>{interval_cell(row, 'correlation', '.2f')}"


def _add_points(figure: go.Figure, points: pd.DataFrame, name: str, number: int) -> None:
    """Adds the points of one predictor to its panel; the first names the tasks in the legend."""
    for i, (task, rows) in enumerate(points.groupby("task", sort=False)):
        figure.add_scatter(
            x=rows[name].astype("float32"),  # half the bytes in a notebook
            y=rows.gain.astype("float32"),
            mode="markers",
            name=str(task),
            legendgroup=str(task),
            showlegend=number == 0,
            marker=dict(color=_BY_TASK[i % len(_BY_TASK)], size=5, opacity=0.7),
            text=[
                f"{short_pair(pair)}, seed {seed}"
                for pair, seed in zip(rows.pair, rows.seed, strict=True)
            ],
            row=number // _COLUMNS + 1,
            col=number % _COLUMNS + 1,
        )


def _say_how_many(table: pd.DataFrame) -> str:
    """Says for how many predictors that need no truth the interval excludes 0."""
    known = table[table.needs != "the truth"].dropna(subset=["correlation"])
    sure = int(((known.correlation_low > 0) | (known.correlation_high < 0)).sum())
    return f"{sure or 'None'} of {len(known)} predictors can be told from no correlation"
