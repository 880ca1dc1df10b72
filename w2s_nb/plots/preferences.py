"""Comparisons and language models."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from .base import colour, figure_of, interval_of


def length_bias(rows: pd.DataFrame, title: str) -> go.Figure:
    """How much oftener each arm prefers the longer text than it is the better, by whose labels it learned.

    Args:
        rows: columns arm, labels, length_bias, length_bias_low, length_bias_high.
    """
    figure = figure_of(title, "labels", "longer preferred, beyond the truth")
    for arm, part in rows.groupby("arm", sort=False):
        figure.add_scatter(
            x=part.labels,
            y=part.length_bias,
            name=arm,
            mode="markers",
            offsetgroup=arm,
            marker=dict(color=colour(arm), size=11),
            error_y=interval_of(part.length_bias_low, part.length_bias, part.length_bias_high),
        )
    figure.add_hline(
        y=0,
        line_dash="dot",
        line_width=1.5,
        annotation_text="no bias",
        annotation_position="top left",
    )
    figure.update_layout(scattermode="group", scattergap=0.6)
    figure.update_xaxes(type="category", range=[-0.5, rows.labels.nunique() - 0.5])
    return figure


def perplexity(rows: pd.DataFrame, title: str) -> go.Figure:
    """Perplexity of held-out texts before and after generative finetuning, a line a model, with intervals.

    Args:
        rows: columns model, when ('before', 'after'), value, low, high.
    """
    figure = figure_of(title, "", "perplexity on held-out texts, logarithmic")
    for model, part in rows.groupby("model", sort=False):
        figure.add_scatter(
            x=part.when,
            y=part.value,
            name=model,
            mode="lines+markers+text",
            line=dict(color=colour(model)),
            text=[f"{v:,.0f}" for v in part.value],
            textposition="top right",
            error_y=interval_of(part.low, part.value, part.high),
        )
    figure.update_yaxes(type="log", dtick=1)
    figure.update_xaxes(type="category", range=[-0.3, 1.4])
    return figure
