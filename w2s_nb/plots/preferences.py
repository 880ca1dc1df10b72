"""Draws the preference for longer texts, and perplexity."""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from .base import (
    add_dotted_line,
    colour,
    figure_of,
    frame_of,
    interval_of,
    name_places,
    put_panels_into,
)
from .findings import large, say_biased, say_perplexity


def length_bias(rows: pd.DataFrame, settings: str, *, title: str = "") -> go.Figure:
    """Draws how often each arm prefers the longer text, minus how often the longer text is better.

    The x axis says on whose labels the arm was trained.

    Args:
        rows: columns arm, labels, length_bias, length_bias_low, length_bias_high.
        settings: what was run; it stands below the title.
        title: "" says how many arms prefer longer texts too often, beyond the error.
    """
    title = title or say_biased(rows)
    figure = figure_of(title, "labels", "longer preferred, beyond the truth", settings=settings)
    for arm, rows_of_arm in rows.groupby("arm", sort=False):
        figure.add_scatter(
            x=rows_of_arm.labels,
            y=rows_of_arm.length_bias,
            name=arm,
            mode="markers+text",
            offsetgroup=arm,
            marker=dict(color=colour(arm), size=11),
            text=[f"  {value:+.2f}" for value in rows_of_arm.length_bias],
            textposition="middle right",
            cliponaxis=False,
            error_y=interval_of(
                rows_of_arm.length_bias_low, rows_of_arm.length_bias, rows_of_arm.length_bias_high
            ),
        )
    add_dotted_line(figure, 0, "no bias")
    figure.update_layout(scattermode="group", scattergap=0.4)
    names = list(dict.fromkeys(rows.labels))
    name_places(figure.layout.xaxis, names)
    figure.update_xaxes(range=[-0.5, len(names) - 0.5])
    figure.update_yaxes(range=frame_of(0, rows.length_bias_low, rows.length_bias_high))
    return figure


def perplexity(rows: pd.DataFrame, settings: str, *, title: str = "") -> go.Figure:
    """Draws the perplexity of held-out texts before and after generative finetuning.

    A panel per model, each with an axis of its own, with intervals.

    Args:
        rows: columns model, when ('before', 'after'), value, low, high.
        settings: what was run; it stands below the title.
        title: "" says the values.
    """
    models = list(dict.fromkeys(rows.model))
    figure = make_subplots(1, len(models), horizontal_spacing=0.12, subplot_titles=models)
    frame = figure_of(title or say_perplexity(rows), "", "", settings=settings, showlegend=False)
    put_panels_into(figure, frame)
    for panel, model in enumerate(models, start=1):
        of_model = rows[rows.model == model]
        figure.add_scatter(
            x=of_model.when,
            y=of_model.value,
            name=model,
            mode="lines+markers+text",
            line=dict(color=colour(model)),
            marker=dict(size=10),
            text=[f"  {large(value)}" for value in of_model.value],
            textposition="top right",
            error_y=interval_of(of_model.low, of_model.value, of_model.high),
            row=1,
            col=panel,
        )
        low, high = frame_of(np.log10(of_model.low), np.log10(of_model.high), room=0.15)
        ticks = _ticks_between(low, high)
        names = [large(tick) for tick in ticks]
        figure.update_yaxes(
            type="log", range=[low, high], tickvals=ticks, ticktext=names, col=panel
        )
    figure.update_yaxes(title="perplexity on held-out texts, logarithmic", col=1)
    figure.update_xaxes(type="category", range=[-0.3, 1.7])
    return figure


def _ticks_between(low: float, high: float) -> list[float]:
    """Returns round numbers between two powers of 10, at most about eight."""
    steps = (1, 2, 5) if high - low < 2.5 else (1,)
    ticks = [step * 10.0**power for power in range(int(low) - 1, int(high) + 1) for step in steps]
    ticks = [tick for tick in ticks if low <= np.log10(tick) <= high]
    if len(ticks) > 1:
        return ticks
    return [float(f"{10**power:.2g}") for power in np.linspace(low, high, 5)[1:-1]]
