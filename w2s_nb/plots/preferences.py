"""Draws the preference for longer texts, and perplexity."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from .base import add_dotted_line, colour, figure_of, interval_of


def length_bias(rows: pd.DataFrame, title: str) -> go.Figure:
    """Draws how often each arm prefers the longer text, minus how often the longer text is better.

    The x axis says on whose labels the arm was trained.

    Args:
        rows: columns arm, labels, length_bias, length_bias_low, length_bias_high.
    """
    figure = figure_of(title, "labels", "longer preferred, beyond the truth")
    for arm, rows_of_arm in rows.groupby("arm", sort=False):
        figure.add_scatter(
            x=rows_of_arm.labels,
            y=rows_of_arm.length_bias,
            name=arm,
            mode="markers",
            offsetgroup=arm,
            marker=dict(color=colour(arm), size=11),
            error_y=interval_of(
                rows_of_arm.length_bias_low, rows_of_arm.length_bias, rows_of_arm.length_bias_high
            ),
        )
    add_dotted_line(figure, 0, "no bias")
    figure.update_layout(scattermode="group", scattergap=0.6)
    figure.update_xaxes(type="category", range=[-0.5, rows.labels.nunique() - 0.5])
    return figure


def perplexity(rows: pd.DataFrame, title: str) -> go.Figure:
    """Draws the perplexity of held-out texts before and after generative finetuning.

    A line per model, with intervals.

    Args:
        rows: columns model, when ('before', 'after'), value, low, high.
    """
    figure = figure_of(title, "", "perplexity on held-out texts, logarithmic")
    for model, rows_of_model in rows.groupby("model", sort=False):
        figure.add_scatter(
            x=rows_of_model.when,
            y=rows_of_model.value,
            name=model,
            mode="lines+markers+text",
            line=dict(color=colour(model)),
            text=[f"{v:,.0f}" for v in rows_of_model.value],
            textposition="top right",
            error_y=interval_of(rows_of_model.low, rows_of_model.value, rows_of_model.high),
        )
    figure.update_yaxes(type="log", dtick=1)
    figure.update_xaxes(type="category", range=[-0.3, 1.4])
    return figure
