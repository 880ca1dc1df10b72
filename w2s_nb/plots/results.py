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
    add_points,
    by_measure,
    chance_of,
    colour,
    figure_of,
    frame_of,
    interval_of,
    mark_beyond,
    measure_title,
    name_places,
    pgr_points,
    pgr_range,
    pgr_title,
    short_pair,
    ticks_of,
)
from .findings import say_above, say_by_size, say_line, say_recovered

# what the rows of one series of `pgr_by_size` have in common
_SERIES = ["arm", "task", "weak", "weak_method", "method", "n_train", "setting", "n_test"]
_MOST_UPRIGHT = 7  # places beside one another; more stand one below another
_SYMBOLS = ("circle", "square", "diamond", "cross", "x", "triangle-up", "star", "hexagon")
_DASHES = ("solid", "dash", "dot", "dashdot")


def accuracy(
    table: pd.DataFrame,
    by_seed: pd.DataFrame,
    settings: str,
    *,
    title: str = "",
    chance: float | None = None,
    measure: str = "accuracy",
) -> go.Figure:
    """Draws the test accuracy of each arm, or its AUROC: point, value, 95 % interval, a circle per
    seed, and the line of chance.

    Args:
        table: `Arms.table()`.
        by_seed: `Arms.by_seed()`.
        settings: what was run; it stands below the title.
        title: "" says how much of the gap the students recover.
        chance: accuracy of guessing; None takes `table.attrs["chance"]`, which `Arms.table` sets,
            and draws no line for a table that has none. The AUROC of guessing is 0.5.
        measure: 'accuracy' or 'auroc'.
    """
    chance = chance_of(table) if chance is None else chance
    table, by_seed = by_measure(table, measure), by_measure(by_seed, measure)
    chance = 0.5 if measure == "auroc" else chance
    title = title or say_recovered(table)
    figure = figure_of(
        title,
        "",
        measure_title(measure),
        settings=settings,
        width=max(760, 105 * len(table)),
        showlegend=False,
    )
    for arm, row in table.iterrows():
        dots = by_seed[by_seed.arm == arm]
        figure.add_scatter(
            x=[arm] * len(dots),
            y=dots.accuracy,
            mode="markers",
            marker=dict(color=colour(arm), size=7, symbol="circle-open"),
            text=[f"seed {seed}" for seed in dots.seed],
        )
        figure.add_scatter(
            x=[arm],
            y=[row.accuracy],
            name=arm,
            mode="markers+text",
            text=[f"  {row.accuracy:.3f}"],
            textposition="middle right",
            marker=dict(color=colour(arm), size=12),
            error_y=interval_of(row.accuracy_low, row.accuracy, row.accuracy_high),
        )
        name_places(figure.layout.xaxis, list(table.index))
    figure.update_xaxes(range=[-0.5, len(table) - 0.5])
    shown = [table.accuracy_low, table.accuracy_high, by_seed.accuracy]
    shown += [] if chance is None else [chance]
    figure.update_yaxes(range=frame_of(*shown, within=(-0.02, 1.02)))
    add_chance(figure, chance)
    return figure


def pgr(
    table: pd.DataFrame,
    by_seed: pd.DataFrame,
    settings: str,
    *,
    x: str,
    title: str = "",
    measure: str = "accuracy",
) -> go.Figure:
    """Draws PGR by column `x` of the table, a colour per arm: point, 95 % interval, a circle per
    seed.

    Lines mark 0 and 1. Where there are many places or long names, they stand one below another,
    the largest PGR first. A triangle marks an interval that goes on beyond the frame; places
    without a PGR are named below the title.

    Args:
        table: rows with arm, pgr, pgr_low, pgr_high and the column `x`; those with a pgr_note are
            marked.
        by_seed: rows with the same columns.
        settings: what was run; it stands below the title.
        title: "" says for how many rows the interval is above 0.
        measure: 'accuracy', or 'auroc' for PGR by AUROC, of the columns pgr_auroc.
    """
    table, by_seed = by_measure(table, measure), by_measure(by_seed, measure)
    table, by_seed = (rows.assign(**{x: rows[x].map(_place)}) for rows in (table, by_seed))
    rows = table.dropna(subset=["pgr"])
    dots = by_seed.dropna(subset=["pgr"])
    is_turned = rows[x].nunique() > _MOST_UPRIGHT
    settings = "; ".join(filter(None, [settings, _undefined(table, x)]))
    figure = _empty_pgr(title or say_above(rows), x, measure, settings, is_turned)
    for arm, rows_of_arm in rows.groupby("arm", sort=False):
        _add_pgrs(figure, arm, rows_of_arm, dots[dots.arm == arm], x)
    frame = pgr_range(rows, dots.pgr[dots.arm.isin(rows.arm)])
    mark_beyond(figure, rows, x, frame)
    add_pgr_ends(figure)
    add_notes(figure, rows)
    if rows.groupby(x).arm.nunique().max() > 1:  # arms side by side
        figure.update_layout(scattermode="group", scattergap=0.6)
    else:  # the axis names them
        figure.update_layout(showlegend=False)
    names = list(dict.fromkeys(rows.sort_values("pgr")[x] if is_turned else rows[x]))
    by_name, by_value = figure.layout.xaxis, figure.layout.yaxis
    if is_turned:
        by_name, by_value = by_value, by_name
    name_places(by_name, names)
    by_name.range = [-1.0 if is_turned else -0.5, len(names) - 0.5]  # room for the lines' names
    by_value.range = frame
    return figure


def _place(name):
    """Returns a place's name; a pair of models in short."""
    return short_pair(name) if isinstance(name, str) else name


def _empty_pgr(title: str, x: str, measure: str, settings: str, is_turned: bool) -> go.Figure:
    if not is_turned:
        return figure_of(title, x, pgr_title(measure), settings=settings)
    figure = figure_of(title, pgr_title(measure), "", settings=settings, meta={"turned": True})
    figure.update_xaxes(showgrid=True, gridcolor=figure.layout.yaxis.gridcolor)
    figure.update_yaxes(showgrid=False)
    margin = figure.layout.margin.t + 20
    figure.update_layout(height=figure.layout.height + 90, margin_t=margin)
    return figure


def _add_pgrs(figure: go.Figure, arm: str, rows: pd.DataFrame, dots: pd.DataFrame, x: str) -> None:
    """Adds an arm's circles per seed, and its points with intervals."""
    add_points(
        figure,
        x=dots[x],
        y=dots.pgr,
        mode="markers",
        showlegend=False,
        offsetgroup=arm,
        marker=dict(color=colour(arm), size=7, symbol="circle-open"),
        hovertext=_seeds_on_hover(dots),
    )
    add_points(
        figure,
        x=rows[x],
        y=rows.pgr,
        name=arm,
        mode="markers+text",
        **pgr_points(rows),
        offsetgroup=arm,
        marker=dict(color=colour(arm), size=11),
        error_y=interval_of(rows.pgr_low, rows.pgr, rows.pgr_high),
    )


def _undefined(table: pd.DataFrame, x: str) -> str:
    """Returns a text that names the places of students without a PGR; "" if all have one."""
    students = table[~table.arm.isin((WEAK, CEILING))]
    missing = dict.fromkeys(map(str, students[x][students.pgr.isna()]))
    return f"no PGR, as the gap is within its error: {', '.join(missing)}" if missing else ""


def _seeds_on_hover(dots: pd.DataFrame) -> list[str]:
    if not len(dots):
        return []
    seeds = [f"seed {seed}" for seed in dots.seed] if "seed" in dots else None
    return pgr_points(dots, seeds)["hovertext"]


def accuracy_by_size(
    table: pd.DataFrame, settings: str, *, title: str = "", measure: str = "accuracy"
) -> go.Figure:
    """Draws test accuracy, or AUROC, against the student's size, a line per arm, with intervals.

    Supervisor and ceiling are dashed.

    Args:
        table: rows with arm, strong, accuracy, accuracy_low, accuracy_high, ordered by the
            student's size.
        settings: what was run; it stands below the title.
        title: "" says what arms gain from the smallest to the largest student.
        measure: 'accuracy' or 'auroc', of the columns auroc.
    """
    table = by_measure(table, measure)
    ticks = ticks_of(table.strong)
    title = title or say_by_size(table, ticks)
    figure = figure_of(title, "strong student", measure_title(measure), settings=settings)
    rows = table.assign(tick=table.strong.map(ticks))
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


def pgr_by_size(
    rows: pd.DataFrame, settings: str, *, title: str = "", measure: str = "accuracy"
) -> go.Figure:
    """Draws PGR against the student's size, a line per series in the colour of its arm.

    With 95 % intervals; lines mark 0 and 1.

    Args:
        rows: of `all_students`, ordered by size. The rows of a series have the same arm, task,
            weak, weak_method, method, n_train, setting and n_test; its name tells what differs
            between the series. Rows without a PGR are left out.
        settings: what was run; it stands below the title.
        title: "" says for how many rows the interval is above 0.
        measure: 'accuracy', or 'auroc' for PGR by AUROC.
    """
    rows = by_measure(rows, measure)
    title = title or say_above(rows)
    figure = figure_of(title, "strong student", pgr_title(measure), settings=settings)
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
    # a line of the legend per series, below the axis's title
    below = 22 * len({trace.name for trace in figure.data})
    figure.update_layout(height=figure.layout.height + below, legend_orientation="v")
    figure.update_xaxes(type="category", categoryorder="array", categoryarray=list(ticks.values()))
    frame = pgr_range(rows)
    names = [_series_name(row, varied) for _, row in rows.iterrows()]  # marks stand at their series
    mark_beyond(figure, rows.assign(tick=rows.strong.map(ticks), arm=names), "tick", frame)
    figure.update_yaxes(range=frame)
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


def lines(series: dict[str, tuple], settings: str, x: str, y: str, *, title: str = "") -> go.Figure:
    """Draws lines {name: (x, y)}, in the arm's colour where the name is that of an arm.

    Args:
        settings: what was run; it stands below the title.
        x, y: titles of the axes.
        title: "" says where the lines begin and end.
    """
    figure = figure_of(
        title or say_line(series, y), x, y, settings=settings, showlegend=len(series) > 1
    )
    for name, (xs, ys) in series.items():
        figure.add_scatter(
            x=xs,
            y=ys,
            name=name,
            mode="lines+markers" if len(xs) < 30 else "lines",
            line=dict(color=colour(name)),
        )
    return figure
