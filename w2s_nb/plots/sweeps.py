"""Draws the runs of a sweep beside each other."""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from .base import (
    CEILING,
    WEAK,
    add_notes,
    add_pgr_ends,
    add_points,
    by_measure,
    colour,
    figure_of,
    interval_of,
    mark_beyond,
    measure_title,
    name_places,
    pgr_points,
    pgr_range,
    pgr_title,
    short_pair,
    wrapped,
)
from .findings import bare, say_medians

_ACCURACIES = ("supervisor", "accuracy", "ceiling")


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


def accuracies(rows: pd.DataFrame, settings: str, *, title: str = "") -> go.Figure:
    """Draws the test accuracy of students with those of their supervisor and ceiling, pair below
    pair, each with its 95 % interval.

    Args:
        rows: one per student: columns pair, arm, accuracy, supervisor and ceiling, with their
            intervals; a supervisor or ceiling without a value is left out.
        settings: what was run; it stands below the title.
        title: "" says how many students are better than their supervisor.
    """
    rows = rows.assign(pair=rows.pair.map(short_pair))
    title = title or _better_than_supervisor(rows)
    figure = figure_of(
        title, measure_title("accuracy"), "", settings=settings, meta={"turned": True}
    )
    arms = {arm: (of_arm, "accuracy") for arm, of_arm in rows.groupby("arm", sort=False)}
    once = rows.drop_duplicates("pair")
    series = {WEAK: (once, "supervisor"), **arms, CEILING: (once, "ceiling")}
    for arm, (points, name) in series.items():
        points = points.dropna(subset=[name])
        add_points(
            figure,
            x=points.pair,
            y=points[name],
            error_y=interval_of(points[f"{name}_low"], points[name], points[f"{name}_high"]),
            name=arm,
            mode="markers",
            offsetgroup=arm,
            marker=dict(color=colour(arm), size=9),
        )
    names = list(once.pair)[::-1]  # the first one at the top
    name_places(figure.layout.yaxis, names)
    ends = rows[[f"{name}{end}" for name in _ACCURACIES for end in ("_low", "_high")]].to_numpy()
    ends = ends[np.isfinite(ends)]
    room = 0.03
    frame = [ends.min() - room, ends.max() + room] if len(ends) else [0, 1]
    figure.update_xaxes(range=frame, showgrid=True, gridcolor=figure.layout.yaxis.gridcolor)
    figure.update_layout(scattermode="group", scattergap=0.3)
    return figure


def _better_than_supervisor(rows: pd.DataFrame) -> str:
    known = rows.dropna(subset=["supervisor"])
    if not len(known):
        return f"Accuracy of {len(rows)} students"
    better = int((known.accuracy > known.supervisor).sum())
    return f"{better} of {len(known)} students are more accurate than their supervisor"
