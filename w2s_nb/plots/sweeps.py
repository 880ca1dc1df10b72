"""A sweep's runs beside each other."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from .base import CEILING, WEAK, colour, figure_of


def spread(rows: pd.DataFrame, title: str, *, x: str, hover: str) -> go.Figure:
    """PGR of every run by column `x`, a dot a run and arm, with the median of each arm as a bar; 0 and 1 marked.

    Args:
        rows: arm, pgr, the column `x`, and `hover`, a text that names the run; rows without a PGR are left out.
    """
    figure, rows = figure_of(title, "", "performance gap recovered"), rows.dropna(subset=["pgr"])
    for arm, part in rows.groupby("arm", sort=False):
        medians = part.groupby(x, sort=False).pgr.median()
        figure.add_scatter(
            x=part[x],
            y=part.pgr,
            mode="markers",
            showlegend=False,
            offsetgroup=arm,
            text=part[hover],
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
    for y, arm, text in ((0, WEAK, "supervisor"), (1, CEILING, "ceiling")):
        figure.add_hline(
            y=y,
            line_color=colour(arm),
            line_width=2,
            annotation_text=text,
            annotation_position="top left",
        )
    figure.update_layout(scattermode="group", scattergap=0.4, showlegend=x != "arm")
    figure.update_xaxes(type="category")
    return figure
