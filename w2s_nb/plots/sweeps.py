"""Draws the runs of a sweep beside each other."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from .base import (
    add_notes,
    add_pgr_ends,
    by_measure,
    colour,
    figure_of,
    interval_of,
    pgr_points,
    pgr_title,
)


def spread(
    rows: pd.DataFrame,
    medians: pd.DataFrame,
    title: str,
    *,
    x: str,
    hover: str,
    measure: str = "accuracy",
) -> go.Figure:
    """Draws the PGR of every run by column `x`: a dot per run and arm, a bar at each arm's median.

    Lines mark 0 and 1.

    Args:
        rows: columns arm, pgr, pgr_low, pgr_high, the column `x`, and `hover`, a text that names
            the run; rows without a PGR are left out, and those with a pgr_note are marked.
        medians: columns arm, pgr, pgr_low, pgr_high and the column `x`.
        measure: 'accuracy', or 'auroc' for PGR by AUROC, of the rows' columns pgr_auroc.
    """
    rows = by_measure(rows, measure)
    figure = figure_of(title, "", pgr_title(measure))
    rows = rows.dropna(subset=["pgr"])
    for arm, runs in rows.groupby("arm", sort=False):
        bars = medians[medians.arm == arm]
        figure.add_scatter(
            x=runs[x],
            y=runs.pgr,
            mode="markers+text",
            showlegend=False,
            offsetgroup=arm,
            **pgr_points(runs, runs[hover].tolist()),
            marker=dict(color=colour(arm), size=7, symbol="circle-open"),
        )
        figure.add_scatter(
            x=bars[x],
            y=bars.pgr,
            error_y=interval_of(bars.pgr_low, bars.pgr, bars.pgr_high),
            name=arm,
            mode="markers",
            offsetgroup=arm,
            marker=dict(
                color=colour(arm), size=26, symbol="line-ew", line=dict(width=3, color=colour(arm))
            ),
        )
    add_pgr_ends(figure)
    add_notes(figure, rows)
    figure.update_layout(scattermode="group", scattergap=0.4, showlegend=x != "arm")
    figure.update_xaxes(type="category")
    return figure
