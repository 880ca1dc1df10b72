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
    mark_beyond,
    name_places,
    pgr_points,
    pgr_range,
    pgr_title,
    wrapped,
)
from .findings import bare, say_medians


def spread(
    rows: pd.DataFrame,
    medians: pd.DataFrame,
    settings: str,
    *,
    x: str,
    hover: str,
    title: str = "",
    measure: str = "accuracy",
) -> go.Figure:
    """Draws the PGR of every run by column `x`: a dot per run and arm, a bar at each arm's median.

    Lines mark 0 and 1.

    Args:
        rows: columns arm, pgr, pgr_low, pgr_high, the column `x`, and `hover`, a text that names
            the run; rows without a PGR are left out, and those with a pgr_note are marked.
        medians: columns arm, pgr, pgr_low, pgr_high and the column `x`.
        settings: what was run; it stands below the title.
        title: "" says for how many medians the interval is above 0.
        measure: 'accuracy', or 'auroc' for PGR by AUROC, of the rows' columns pgr_auroc.
    """
    rows = by_measure(rows, measure)
    title = title or say_medians(medians)
    rows = rows.dropna(subset=["pgr"])
    names = list(dict.fromkeys(rows[x]))
    width = max(760, 120 * len(names))
    figure = figure_of(title, "", pgr_title(measure), settings=settings, width=width)
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
    if x == "arm":  # the axis names them
        figure.update_layout(showlegend=False)
    else:
        figure.update_layout(scattermode="group", scattergap=0.4)
    name_places(figure.layout.xaxis, names)
    figure.update_xaxes(range=[-0.5, max(1, len(names)) - 0.5])
    figure.update_xaxes(ticktext=[wrapped(bare(str(name))) for name in names])
    frame = pgr_range(medians, rows.pgr)
    mark_beyond(figure, medians, x, frame)
    figure.update_yaxes(range=frame)
    return figure
