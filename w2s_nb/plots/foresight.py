"""Draws predictors of the gain against the gain."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from .base import add_dotted_line, figure_of

_BY_TASK = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#332288", "#999933")


def predictor(points: pd.DataFrame, name: str, title: str, *, outcome: str = "gain") -> go.Figure:
    """Draws one predictor against the realised gain: a dot per task, pair and seed, a colour per
    task.

    Args:
        points: `Foresight.points`.
        name: of a column.
        outcome: of the column on the other axis.
    Raises:
        ValueError: no such column.
    """
    for column in ("task", "pair", "seed", name, outcome):
        if column not in points:
            raise ValueError(f"the points have no column {column!r}; expected Foresight.points")
    figure = figure_of(title, name, "student minus supervisor, accuracy")
    for i, (task, rows) in enumerate(points.groupby("task", sort=False)):
        figure.add_scatter(
            x=rows[name].astype("float32"),  # half the bytes in a notebook
            y=rows[outcome].astype("float32"),
            mode="markers",
            name=str(task),
            marker=dict(color=_BY_TASK[i % len(_BY_TASK)], size=7, opacity=0.7),
            text=[f"{pair}, seed {seed}" for pair, seed in zip(rows.pair, rows.seed, strict=True)],
        )
    add_dotted_line(figure, 0, "no gain")
    return figure
