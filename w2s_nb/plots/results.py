"""Accuracy and PGR of the arms."""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from .base import CEILING, WEAK, colour, figure_of, interval_of, short


def accuracy(
    table: pd.DataFrame, by_seed: pd.DataFrame, title: str, *, chance: float = 0.5
) -> go.Figure:
    """Test accuracy of each arm: bar, 95 % interval, a dot a seed, and the line of chance.

    Args:
        table: `Arms.table()`.
        by_seed: `Arms.by_seed()`.
        chance: accuracy of guessing.
    """
    figure = figure_of(title, "", "test accuracy", showlegend=False)
    for arm, row in table.iterrows():
        figure.add_bar(
            x=[arm],
            y=[row.accuracy],
            marker_color=colour(arm),
            width=0.6,
            error_y=interval_of(row.accuracy_low, row.accuracy, row.accuracy_high),
        )
        dots = by_seed[by_seed.arm == arm]
        figure.add_scatter(
            x=[arm] * len(dots),
            y=dots.accuracy,
            mode="markers",
            marker=dict(color="#222222", size=6, symbol="circle-open"),
            text=[f"seed {s}" for s in dots.seed],
        )
    low = max(0.0, min(chance, by_seed.accuracy.min()) - 0.05)  # bars are cut below chance
    for arm, row in table.iterrows():
        figure.add_annotation(
            x=arm, y=low, yanchor="bottom", text=f"<b>{row.accuracy:.3f}</b>", showarrow=False
        )
    figure.add_hline(
        y=chance,
        line_dash="dot",
        line_width=1.5,
        annotation_text="chance",
        annotation_position="top left",
    )
    figure.update_yaxes(
        range=[low, min(1.0, max(table.accuracy_high.max(), by_seed.accuracy.max()) + 0.03)]
    )
    return figure


def pgr(table: pd.DataFrame, by_seed: pd.DataFrame, title: str, *, x: str) -> go.Figure:
    """PGR by column `x` of the table, an arm a colour: point, 95 % interval, a dot a seed; 0 and 1 marked.

    Args:
        table: rows with arm, pgr, pgr_low, pgr_high and the column `x`; rows without a PGR are left out.
        by_seed: rows with arm, pgr and the column `x`.
    """
    figure, rows = figure_of(title, x, "performance gap recovered"), table.dropna(subset=["pgr"])
    for arm, part in rows.groupby("arm", sort=False):
        dots = by_seed[by_seed.arm == arm].dropna(subset=["pgr"])
        figure.add_scatter(
            x=dots[x],
            y=dots.pgr,
            mode="markers",
            showlegend=False,
            offsetgroup=arm,
            marker=dict(color=colour(arm), size=7, symbol="circle-open"),
        )
        figure.add_scatter(
            x=part[x],
            y=part.pgr,
            name=arm,
            mode="markers",
            offsetgroup=arm,
            marker=dict(color=colour(arm), size=11),
            error_y=interval_of(part.pgr_low, part.pgr, part.pgr_high),
        )
    figure.add_hline(
        y=0,
        line_color=colour(WEAK),
        line_width=2,
        annotation_text="supervisor",
        annotation_position="top left",
    )
    figure.add_hline(
        y=1,
        line_color=colour(CEILING),
        line_width=2,
        annotation_text="ceiling",
        annotation_position="top left",
    )
    if rows.groupby(x).arm.nunique().max() > 1:  # arms side by side
        figure.update_layout(scattermode="group", scattergap=0.6)
    else:  # the axis names them
        figure.update_layout(showlegend=False)
    figure.update_xaxes(type="category", range=[-0.5, rows[x].nunique() - 0.5])
    ends = np.r_[rows.pgr_low, rows.pgr_high]
    shown = np.r_[
        np.clip(ends[np.isfinite(ends)], -1.5, 2.5), rows.pgr, 0, 1
    ]  # every point, not every interval
    figure.update_yaxes(range=[shown.min() - 0.15, shown.max() + 0.15])
    return figure


def accuracy_by_size(table: pd.DataFrame, title: str) -> go.Figure:
    """Test accuracy against the student's size, an arm a line, with intervals; the supervisor as a band.

    Args:
        table: rows with arm, strong, accuracy, accuracy_low, accuracy_high, ordered by the student's size.
    """
    figure = figure_of(title, "strong student", "test accuracy")
    sizes = list(dict.fromkeys(table.strong))
    for arm, part in table.assign(tick=table.strong.map(dict(zip(sizes, short(sizes))))).groupby(
        "arm", sort=False
    ):
        figure.add_scatter(
            x=part.tick,
            y=part.accuracy,
            name=arm,
            mode="lines+markers",
            offsetgroup=arm,
            line=dict(color=colour(arm), dash="dash" if arm in (WEAK, CEILING) else "solid"),
            error_y=interval_of(part.accuracy_low, part.accuracy, part.accuracy_high),
        )
    figure.update_layout(scattermode="group", scattergap=0.85)
    figure.update_xaxes(type="category")
    figure.update_yaxes(range=[table.accuracy_low.min() - 0.02, table.accuracy_high.max() + 0.02])
    return figure


def pgr_by_size(rows: pd.DataFrame, title: str) -> go.Figure:
    """PGR against the student's size, a line a series, in the colour of its arm, with 95 % intervals; 0 and 1 marked.

    Args:
        rows: of `stored.recovered`, by size; a series is what they have in common of arm, task, weak, weak_method,
            method, n_train, setting and n_test, and it is named by what differs between series. Rows without a PGR are
            left out.
    """
    figure, rows = (
        figure_of(title, "strong student", "performance gap recovered"),
        rows.dropna(subset=["pgr"]),
    )
    kinds = ["arm", "task", "weak", "weak_method", "method", "n_train", "setting", "n_test"]
    varied = ["arm", *(k for k in kinds[1:] if rows[k].nunique() > 1)]
    sizes = list(dict.fromkeys(rows.strong))
    ticks = dict(zip(sizes, short(sizes))) if sizes else {}
    symbols = ("circle", "square", "diamond", "cross", "x", "triangle-up", "star", "hexagon")
    dashes, seen = ("solid", "dash", "dot", "dashdot"), {}
    for _, part in rows.groupby(kinds, sort=False):
        first, arm = part.iloc[0], part.arm.iloc[0]
        i = seen[arm] = seen.get(arm, -1) + 1  # series of one arm share its colour, not its marker
        name = ", ".join(
            str(first[k]) if k in ("arm", "task", "setting") else f"{k} {first[k]}"
            for k in varied
            if first[k] != ""
        )
        figure.add_scatter(
            x=part.strong.map(ticks),
            y=part.pgr,
            name=name,
            mode="lines+markers",
            offsetgroup=name,
            line=dict(color=colour(arm), dash=dashes[i % 4]),
            text=[f"{n} seed(s)" for n in part.seeds],
            marker=dict(size=9, symbol=symbols[i % 8]),
            error_y=interval_of(part.pgr_low, part.pgr, part.pgr_high),
        )
    for y, arm, text in ((0, WEAK, "supervisor"), (1, CEILING, "ceiling")):
        figure.add_hline(
            y=y,
            line_color=colour(arm),
            line_width=2,
            annotation_text=text,
            annotation_position="top left",
        )
    figure.update_layout(scattermode="group", scattergap=0.8, showlegend=len(seen) > 0)
    figure.update_xaxes(
        type="category", categoryorder="array", categoryarray=[ticks[size] for size in sizes]
    )
    ends = np.r_[rows.pgr_low, rows.pgr_high]
    shown = np.r_[np.clip(ends[np.isfinite(ends)], -1.5, 2.5), rows.pgr, 0, 1]
    figure.update_yaxes(range=[shown.min() - 0.15, shown.max() + 0.15])
    return figure


def lines(series: dict[str, tuple], title: str, x: str, y: str) -> go.Figure:
    """Lines {name: (x, y)}, in the arm's colour where the name is an arm's."""
    figure = figure_of(title, x, y)
    for name, (xs, ys) in series.items():
        figure.add_scatter(
            x=xs,
            y=ys,
            name=name,
            mode="lines+markers" if len(xs) < 30 else "lines",
            line=dict(color=colour(name)),
        )
    return figure
