"""Draws what monitors catch against the share that is audited."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from .base import LINE, colour, figure_of, interval_of
from .findings import say_caught

_REFERENCES = {"perfect": "solid", "at random": "dot"}  # monitors without an interval


def recall_by_budget(
    rows: pd.DataFrame,
    settings: str,
    *,
    title: str = "",
    marked: Sequence[float] = (0.01, 0.02, 0.05),
) -> go.Figure:
    """Draws recall against the audit budget, a line per monitor, with 95 % intervals.

    The budget has a logarithmic axis. A perfect monitor and one that audits at random are grey.

    Args:
        rows: `metrics.recall_curve(...)`: columns monitor, budget, recall and its interval.
        settings: what was run; it stands below the title.
        title: "" says what each monitor finds within the first marked budget.
        marked: budgets that a dotted line marks.
    """
    of_monitors = rows[~rows.monitor.isin(list(_REFERENCES))]
    title = title or say_caught(of_monitors, min(marked, default=rows.budget.min()))
    figure = figure_of(
        title,
        "share audited, logarithmic",
        "recall: share of harm that is audited",
        settings=settings,
    )
    middle = (of_monitors.monitor.nunique() - 1) / 2
    for i, (name, line) in enumerate(rows.groupby("monitor", sort=False)):
        is_reference = name in _REFERENCES
        ends = (line[f"recall{end}"] for end in ("_low", "", "_high"))
        figure.add_scatter(
            # side by side, so that the intervals of monitors do not cover one another
            x=line.budget if is_reference else line.budget * 1.03 ** (i - middle),
            y=line.recall,
            name=name,
            mode="lines" if is_reference else "lines+markers",
            line=dict(
                color=LINE if is_reference else colour(str(name)),
                dash=_REFERENCES.get(str(name), "solid"),
            ),
            error_y=None if is_reference else interval_of(*ends),
        )
    for budget in marked:
        figure.add_vline(x=budget, line_dash="dot", line_width=1, line_color=LINE)
    ticks = np.unique([*rows.budget, *marked])
    figure.update_xaxes(
        type="log", tickvals=ticks, ticktext=[f"{100 * tick:.3g} %" for tick in ticks]
    )
    figure.update_yaxes(range=[-0.02, 1.02])
    return figure
