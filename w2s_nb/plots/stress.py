"""Draws arms under several stresses, one below another."""

from __future__ import annotations

import textwrap

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from .base import CEILING, LINE, WEAK, chance_of, colour, figure_of, interval_of, put_panels_into

NAIVE, CONFIDENCE = "student, naive", "student, confidence"
BEST_OTHER = "best other loss"
_NONE = "none"  # the row without a stress
_DOTTED = dict(line_dash="dot", line_width=1.5, line_color=LINE)
_LETTERS = 22  # of a stress's name in one line


def under_stress(table: pd.DataFrame, settings: str, *, title: str = "") -> go.Figure:
    """Draws supervisor, naive student, confidence loss, best other loss and ceiling under each
    stress: test accuracy, and a loss's accuracy minus the naive student's, with 95 % intervals.

    The best other loss is chosen under each stress by its test accuracy, so it flatters where it is
    one of many; on hover it has its name.

    Args:
        table: `Stressed.table()`.
        settings: what was run; it stands below the title.
        title: "" says how many stresses cost the naive student accuracy, and under how many another
            loss is better.
    Raises:
        ValueError: a table of something else.
    """
    if not {"stress", "control", "over_naive", "change"} <= set(table):
        raise ValueError("the table has no stresses; expected that of run_stress(...).table()")
    figure = make_subplots(
        rows=1,
        cols=2,
        shared_yaxes=True,
        horizontal_spacing=0.03,
        subplot_titles=["test accuracy", "minus the naive student's, paired"],
    )
    size = dict(width=860, height=200 + 62 * table.stress.nunique())
    put_panels_into(figure, figure_of(title or _say(table), "", "", settings=settings, **size))
    for name, rows in _drawn_arms(table).items():
        _add(figure, name, rows, "accuracy", col=1)
        if name in (CONFIDENCE, BEST_OTHER):
            _add(figure, name, rows, "over_naive", col=2)
    _finish(figure, table)
    return figure


def _drawn_arms(table: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Returns the rows of each arm that is drawn, in the order of the legend."""
    shown = {arm: table[table.arm == arm] for arm in (WEAK, NAIVE, CONFIDENCE)}
    others = table[~table.arm.isin((WEAK, NAIVE, CONFIDENCE, CEILING))]
    best = others.sort_values("accuracy", ascending=False, kind="stable")
    shown[BEST_OTHER] = best.drop_duplicates("stress")
    shown[CEILING] = table[table.arm == CEILING]
    return {name: rows for name, rows in shown.items() if len(rows)}


def _add(figure: go.Figure, name: str, rows: pd.DataFrame, value: str, *, col: int) -> None:
    """Adds the points of an arm to a panel."""
    rows = rows.dropna(subset=[value])
    shade = colour(rows.arm.iloc[0]) if name == BEST_OTHER and len(rows) else colour(name)
    low, high = rows[f"{value}_low"], rows[f"{value}_high"]
    figure.add_scatter(
        x=rows[value],
        y=rows.stress,
        error_x=interval_of(low, rows[value], high),
        orientation="h",
        offsetgroup=name,
        mode="markers",
        name=name,
        legendgroup=name,
        showlegend=col == 1,
        marker=dict(color=shade, size=8),
        hovertext=[
            f"{row.arm}<br>{row[value]:.3f} [{row[f'{value}_low']:.3f}, {row[f'{value}_high']:.3f}]"
            for _, row in rows.iterrows()
        ],
        hoverinfo="text",
        row=1,
        col=col,
    )


def _finish(figure: go.Figure, table: pd.DataFrame) -> None:
    """Adds the lines to compare with, the names of the stresses, and the size."""
    chance = chance_of(table)
    if chance is not None:
        style = dict(annotation_text="chance", annotation_position="bottom right")
        figure.add_vline(x=chance, **_DOTTED, **style, row=1, col=1)
    figure.add_vline(x=0, **_DOTTED, row=1, col=2)
    names = list(dict.fromkeys(table.stress))
    controls = set(table.control) - {_NONE, ""}
    figure.update_yaxes(
        type="category",
        categoryorder="array",
        categoryarray=names,
        range=[len(names) - 0.5, -0.5],  # the first on top
        tickvals=names,
        ticktext=[_label(name, name in controls) for name in names],
    )
    figure.update_layout(scattermode="group", scattergap=0.35, margin_l=170)
    lowest = min(table.accuracy_low.min(), 1.0 if chance is None else chance)
    grid = figure.layout.yaxis.gridcolor
    figure.update_xaxes(showgrid=True, gridcolor=grid)
    figure.update_xaxes(range=[lowest - 0.02, table.accuracy_high.max() + 0.02], col=1)


def _label(name: str, is_control: bool) -> str:
    text = "no stress" if name == _NONE else name
    lines = textwrap.wrap(text, _LETTERS)
    return "<br>".join([*lines, "(to compare with)"] if is_control else lines)


def _say(table: pd.DataFrame) -> str:
    """Says what the stresses cost the naive student, and under how many another loss is better."""
    controls = set(table.control)
    stressed = table[~table.stress.isin({_NONE, *controls})]
    names = list(dict.fromkeys(stressed.stress))
    costs = stressed[(stressed.arm == NAIVE) & (stressed.change_high < 0)].stress
    better = stressed[stressed.over_naive_low > 0].stress.unique()
    if not names:
        return "Test accuracy"
    costly = (
        f"{len(costs)} of {len(names)} stresses cost the naive student accuracy beyond the error"
    )
    return f"{costly}; another loss is better under {len(better) or 'none'}"
