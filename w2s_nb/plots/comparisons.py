"""Draws methods that are compared with naive finetuning."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from .base import WEAK, colour, figure_of, interval_of
from .findings import say_told_apart

_LEVEL = 0.05


def gains_over_naive(table: pd.DataFrame, settings: str, *, title: str = "") -> go.Figure:
    """Draws each method's accuracy minus naive's, paired, with its 95 % interval: the best on top.

    A filled mark is a difference whose p-value, corrected for all methods, is below .05; a hollow
    one is below .05 only before the correction; a cross is neither.

    Args:
        table: `Comparison.table()`.
        settings: what was run; it stands below the title.
        title: "" says how many methods are better than naive finetuning after correction.
    Raises:
        ValueError: a table of something else.
    """
    if not {"method", "difference", "p", "p_holm"} <= set(table):
        raise ValueError("the table has no differences to naive; expected that of compare(...)")
    rows = table[table.kind != "ceiling"].dropna(subset=["difference"])
    rows = rows[rows.method != "naive"].sort_values("difference", kind="stable")
    title = title or say_told_apart(rows, _LEVEL)
    figure = figure_of(title, "accuracy minus naive's", "", settings=settings)
    kinds = {
        "below .05 after correction": (rows.p_holm < _LEVEL, "circle", "#0072B2"),
        "below .05 before it alone": (
            (rows.p < _LEVEL) & ~(rows.p_holm < _LEVEL),
            "circle-open",
            "#0072B2",
        ),
        "not told from naive": (rows.p >= _LEVEL, "x", "#7F7F7F"),
        "costs nothing: not tested": (rows.p.isna(), "diamond", colour(WEAK)),
    }
    for name, (among, symbol, shade) in kinds.items():
        some = rows[among]
        if len(some):
            figure.add_scatter(
                x=some.difference,
                y=some.method,
                error_x=interval_of(some.difference_low, some.difference, some.difference_high),
                mode="markers",
                marker=dict(symbol=symbol, color=shade, size=10),
                name=name,
            )
    figure.add_vline(x=0, line_dash="dot", line_width=1.5)
    order = rows.method.tolist()
    figure.update_yaxes(type="category", categoryorder="array", categoryarray=order)
    figure.update_layout(height=140 + 26 * len(order), margin=dict(l=170))
    return figure
