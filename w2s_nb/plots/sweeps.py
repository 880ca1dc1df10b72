"""Draws the runs of a sweep beside each other."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from .base import add_pgr_ends, colour, figure_of


def spread(rows: pd.DataFrame, title: str, *, x: str, hover: str) -> go.Figure:
    """Draws the PGR of every run by column `x`: a dot per run and arm, a bar at each arm's median.

    Lines mark 0 and 1.

    Args:
        rows: columns arm, pgr, the column `x`, and `hover`, a text that names the run; rows
            without a PGR are left out.
    """
    figure = figure_of(title, "", "performance gap recovered")
    rows = rows.dropna(subset=["pgr"])
    for arm, runs in rows.groupby("arm", sort=False):
        medians = runs.groupby(x, sort=False).pgr.median()
        figure.add_scatter(
            x=runs[x],
            y=runs.pgr,
            mode="markers",
            showlegend=False,
            offsetgroup=arm,
            text=runs[hover],
            marker=dict(color=colour(arm), size=7, symbol="circle-open"),
        )
        figure.add_scatter(
            x=medians.index,
            y=medians,
            name=arm,
            mode="markers",
            offsetgroup=arm,
            marker=dict(
                color=colour(arm), size=26, symbol="line-ew", line=dict(width=3, color=colour(arm))
            ),
        )
    add_pgr_ends(figure)
    figure.update_layout(scattermode="group", scattergap=0.4, showlegend=x != "arm")
    figure.update_xaxes(type="category")
    return figure
