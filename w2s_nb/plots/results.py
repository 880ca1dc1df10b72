"""Draws accuracy and PGR of the arms."""

from __future__ import annotations

from collections import Counter

import pandas as pd
import plotly.graph_objects as go

from .base import (
    CEILING,
    WEAK,
    add_chance,
    add_notes,
    add_pgr_ends,
    by_measure,
    chance_of,
    colour,
    figure_of,
    interval_of,
    measure_title,
    pgr_points,
    pgr_range,
    pgr_title,
    ticks_of,
)

# what the rows of one series of `pgr_by_size` have in common
_SERIES = ["arm", "task", "weak", "weak_method", "method", "n_train", "setting", "n_test"]
_SYMBOLS = ("circle", "square", "diamond", "cross", "x", "triangle-up", "star", "hexagon")
_DASHES = ("solid", "dash", "dot", "dashdot")


def accuracy(
    table: pd.DataFrame,
    by_seed: pd.DataFrame,
    title: str,
    *,
    chance: float | None = None,
    measure: str = "accuracy",
) -> go.Figure:
    """Draws the test accuracy of each arm, or its AUROC: bar, 95 % interval, a dot per seed, and
    the line of chance.

    Args:
        table: `Arms.table()`.
        by_seed: `Arms.by_seed()`.
        chance: accuracy of guessing; None takes `table.attrs["chance"]`, which `Arms.table` sets,
            and draws no line for a table that has none. The AUROC of guessing is 0.5.
        measure: 'accuracy' or 'auroc'.
    """
    chance = chance_of(table) if chance is None else chance
    table, by_seed = by_measure(table, measure), by_measure(by_seed, measure)
    chance = 0.5 if measure == "auroc" else chance
    figure = figure_of(title, "", measure_title(measure), showlegend=False)
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
            text=[f"seed {seed}" for seed in dots.seed],
        )
    # bars are cut below chance
    lowest = by_seed.accuracy.min() if chance is None else min(chance, by_seed.accuracy.min())
    low = max(0.0, lowest - 0.05)
    high = min(1.0, max(table.accuracy_high.max(), by_seed.accuracy.max()) + 0.03)
    for arm, row in table.iterrows():
        figure.add_annotation(
            x=arm, y=low, yanchor="bottom", text=f"<b>{row.accuracy:.3f}</b>", showarrow=False
        )
    add_chance(figure, chance)
    figure.update_yaxes(range=[low, high])
    return figure


def pgr(
    table: pd.DataFrame, by_seed: pd.DataFrame, title: str, *, x: str, measure: str = "accuracy"
) -> go.Figure:
    """Draws PGR by column `x` of the table, a colour per arm: point, 95 % interval, a dot per seed.

    Lines mark 0 and 1.

    Args:
        table: rows with arm, pgr, pgr_low, pgr_high and the column `x`; rows without a PGR are
            left out, and those with a pgr_note are marked.
        by_seed: rows with the same columns.
        measure: 'accuracy', or 'auroc' for PGR by AUROC, of the columns pgr_auroc.
    """
    table, by_seed = by_measure(table, measure), by_measure(by_seed, measure)
    figure = figure_of(title, x, pgr_title(measure))
    rows = table.dropna(subset=["pgr"])
    for arm, rows_of_arm in rows.groupby("arm", sort=False):
        dots = by_seed[by_seed.arm == arm].dropna(subset=["pgr"])
        figure.add_scatter(
            x=dots[x],
            y=dots.pgr,
            mode="markers",
            showlegend=False,
            offsetgroup=arm,
            marker=dict(color=colour(arm), size=7, symbol="circle-open"),
            hovertext=_seeds_on_hover(dots),
        )
        figure.add_scatter(
            x=rows_of_arm[x],
            y=rows_of_arm.pgr,
            name=arm,
            mode="markers+text",
            **pgr_points(rows_of_arm),
            offsetgroup=arm,
            marker=dict(color=colour(arm), size=11),
            error_y=interval_of(rows_of_arm.pgr_low, rows_of_arm.pgr, rows_of_arm.pgr_high),
        )
    add_pgr_ends(figure)
    add_notes(figure, rows)
    if rows.groupby(x).arm.nunique().max() > 1:  # arms side by side
        figure.update_layout(scattermode="group", scattergap=0.6)
    else:  # the axis names them
        figure.update_layout(showlegend=False)
    figure.update_xaxes(type="category", range=[-0.5, rows[x].nunique() - 0.5])
    figure.update_yaxes(range=pgr_range(rows))
    return figure


def _seeds_on_hover(dots: pd.DataFrame) -> list[str]:
    if not len(dots):
        return []
    seeds = [f"seed {seed}" for seed in dots.seed] if "seed" in dots else None
    return pgr_points(dots, seeds)["hovertext"]


def accuracy_by_size(table: pd.DataFrame, title: str, *, measure: str = "accuracy") -> go.Figure:
    """Draws test accuracy, or AUROC, against the student's size, a line per arm, with intervals.

    Supervisor and ceiling are dashed.

    Args:
        table: rows with arm, strong, accuracy, accuracy_low, accuracy_high, ordered by the
            student's size.
        measure: 'accuracy' or 'auroc', of the columns auroc.
    """
    table = by_measure(table, measure)
    figure = figure_of(title, "strong student", measure_title(measure))
    rows = table.assign(tick=table.strong.map(ticks_of(table.strong)))
    for arm, rows_of_arm in rows.groupby("arm", sort=False):
        figure.add_scatter(
            x=rows_of_arm.tick,
            y=rows_of_arm.accuracy,
            name=arm,
            mode="lines+markers",
            offsetgroup=arm,
            line=dict(color=colour(arm), dash="dash" if arm in (WEAK, CEILING) else "solid"),
            error_y=interval_of(
                rows_of_arm.accuracy_low, rows_of_arm.accuracy, rows_of_arm.accuracy_high
            ),
        )
    figure.update_layout(scattermode="group", scattergap=0.85)
    figure.update_xaxes(type="category")
    figure.update_yaxes(range=[table.accuracy_low.min() - 0.02, table.accuracy_high.max() + 0.02])
    return figure


def pgr_by_size(rows: pd.DataFrame, title: str, *, measure: str = "accuracy") -> go.Figure:
    """Draws PGR against the student's size, a line per series in the colour of its arm.

    With 95 % intervals; lines mark 0 and 1.

    Args:
        rows: of `all_students`, ordered by size. The rows of a series have the same arm, task,
            weak, weak_method, method, n_train, setting and n_test; its name tells what differs
            between the series. Rows without a PGR are left out.
        measure: 'accuracy', or 'auroc' for PGR by AUROC.
    """
    rows = by_measure(rows, measure)
    figure = figure_of(title, "strong student", pgr_title(measure))
    rows = rows.dropna(subset=["pgr"])
    ticks = ticks_of(rows.strong)
    varied = [column for column in _SERIES if column == "arm" or rows[column].nunique() > 1]
    n_series: Counter[str] = Counter()
    for _, series in rows.groupby(_SERIES, sort=False):
        arm = series.arm.iloc[0]
        _add_series(figure, series, _series_name(series.iloc[0], varied), ticks, n_series[arm])
        n_series[arm] += 1
    add_pgr_ends(figure)
    add_notes(figure, rows)
    figure.update_layout(scattermode="group", scattergap=0.8, showlegend=len(n_series) > 0)
    figure.update_xaxes(type="category", categoryorder="array", categoryarray=list(ticks.values()))
    figure.update_yaxes(range=pgr_range(rows))
    return figure


def _series_name(row: pd.Series, varied: list[str]) -> str:
    """Returns the values of a row by which its series differs from others, in one text."""
    words = []
    for column in varied:
        if row[column] == "":
            continue
        speaks_for_itself = column in ("arm", "task", "setting")
        words.append(str(row[column]) if speaks_for_itself else f"{column} {row[column]}")
    return ", ".join(words)


def _add_series(
    figure: go.Figure, series: pd.DataFrame, name: str, ticks: dict[str, str], i: int
) -> None:
    """Adds the i-th series of an arm: series of one arm share its colour, but not the marker."""
    arm = series.arm.iloc[0]
    figure.add_scatter(
        x=series.strong.map(ticks),
        y=series.pgr,
        name=name,
        mode="lines+markers+text",
        offsetgroup=name,
        line=dict(color=colour(arm), dash=_DASHES[i % len(_DASHES)]),
        **pgr_points(series, [f"{name}, {n} seed(s)" for n in series.seeds]),
        marker=dict(size=9, symbol=_SYMBOLS[i % len(_SYMBOLS)]),
        error_y=interval_of(series.pgr_low, series.pgr, series.pgr_high),
    )


def lines(series: dict[str, tuple], title: str, x: str, y: str) -> go.Figure:
    """Draws lines {name: (x, y)}, in the arm's colour where the name is that of an arm."""
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
