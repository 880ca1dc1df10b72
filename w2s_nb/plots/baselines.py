"""Probes and prompts."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from .base import CEILING, colour, figure_of, interval_of


def by_depth(rows: pd.DataFrame, title: str, *, trunk: int = 0) -> go.Figure:
    """Probe accuracy against depth, before and after finetuning, with intervals.

    Args:
        rows: columns arm ('before', 'after'), layers, accuracy, accuracy_low, accuracy_high.
        trunk: layers that finetuning left as they were; a line marks them.
    """
    figure = figure_of(title, "layers below the probe", "test accuracy")
    for side, (arm, part) in enumerate(rows.groupby("arm", sort=False)):
        figure.add_scatter(
            x=part.layers + 0.12 * side,
            y=part.accuracy,
            mode="lines+markers",
            name=f"{arm} finetuning",
            line=dict(color=colour(arm)),
            text=[f"{n} layers" for n in part.layers],
            error_y=interval_of(part.accuracy_low, part.accuracy, part.accuracy_high),
        )
    if trunk:
        figure.add_vline(
            x=trunk + 0.5,
            line_dash="dot",
            line_width=1.5,
            annotation_text="finetuned from here on",
            annotation_position="bottom left",
        )
    return figure


def by_shots(
    rows: pd.DataFrame, dots: pd.DataFrame, references: dict[str, float], title: str
) -> go.Figure:
    """Accuracy of prompts against the number of shots: mean and 95 % interval, a dot a draw; other arms as lines.

    Args:
        rows, dots: of `by_shots`.
        references: {arm: accuracy}.
    """
    figure, axis = (
        figure_of(title, "shots", "test accuracy", showlegend=False),
        rows.shots.astype(str),
    )
    figure.add_scatter(
        x=dots.shots.astype(str),
        y=dots.accuracy,
        mode="markers",
        text=[f"seed {s}" for s in dots.seed],
        marker=dict(size=7, symbol="circle-open", color=[colour(arm) for arm in dots.arm]),
    )
    figure.add_scatter(
        x=axis,
        y=rows.accuracy,
        mode="lines+markers",
        line=dict(color=colour(rows.arm.iloc[-1])),
        marker=dict(size=11, color=[colour(arm) for arm in rows.arm]),
        error_y=interval_of(rows.accuracy_low, rows.accuracy, rows.accuracy_high),
    )
    for arm, value in references.items():
        figure.add_hline(
            y=value,
            line_color=colour(arm),
            line_dash="dash",
            line_width=2,
            annotation_text=arm,
            annotation_position="top left",
        )
    figure.add_hline(
        y=0.5,
        line_dash="dot",
        line_width=1.5,
        annotation_text="chance",
        annotation_position="top right",
    )
    figure.update_xaxes(type="category")
    return figure


def by_task(table: pd.DataFrame, by_seed: pd.DataFrame, title: str) -> go.Figure:
    """Test accuracy of every arm on several tasks: bars in groups, 95 % intervals, a dot a seed.

    Args:
        table: rows with task, arm, accuracy, accuracy_low, accuracy_high; supervisor and ceiling are drawn too.
        by_seed: rows with task, arm, accuracy.
    """
    figure = figure_of(
        title,
        "",
        "test accuracy",
        barmode="group",
        boxmode="group",
        bargap=0.2,
        boxgap=0.2,
        bargroupgap=0,
        boxgroupgap=0,
    )
    order = [a for a in dict.fromkeys(table.arm) if a != CEILING]
    for arm in [*order, CEILING]:
        part, dots = table[table.arm == arm], by_seed[by_seed.arm == arm]
        figure.add_bar(
            x=part.task,
            y=part.accuracy,
            name=arm,
            marker_color=colour(arm),
            offsetgroup=arm,
            error_y=interval_of(part.accuracy_low, part.accuracy, part.accuracy_high),
        )
        figure.add_box(
            x=dots.task,
            y=dots.accuracy,
            offsetgroup=arm,
            boxpoints="all",
            pointpos=0,
            jitter=0.3,
            showlegend=False,
            line_color="rgba(0,0,0,0)",
            fillcolor="rgba(0,0,0,0)",
            marker=dict(color="#222222", size=5, symbol="circle-open"),
            hoveron="points",
        )
    figure.add_hline(
        y=0.5,
        line_dash="dot",
        line_width=1.5,
        annotation_text="chance",
        annotation_position="top left",
    )
    figure.update_layout(width=940, height=480)
    figure.update_yaxes(
        range=[min(0.45, table.accuracy_low.min() - 0.02), 1.0]
    )  # bars are cut below chance
    return figure
