"""Draws probes, prompts, and several tasks beside each other."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
import plotly.graph_objects as go

from .base import (
    CEILING,
    add_chance,
    add_references,
    by_measure,
    chance_of,
    colour,
    figure_of,
    interval_of,
    measure_title,
    name_places,
)


def by_depth(rows: pd.DataFrame, title: str, *, trunk: int = 0) -> go.Figure:
    """Draws probe accuracy against depth, before and after finetuning, with intervals.

    Args:
        rows: columns arm ('before', 'after'), layers, accuracy, accuracy_low, accuracy_high.
        trunk: layers that finetuning left as they were; a line marks them.
    """
    figure = figure_of(title, "layers below the probe", "test accuracy")
    for i, (arm, probes) in enumerate(rows.groupby("arm", sort=False)):
        figure.add_scatter(
            x=probes.layers + 0.12 * i,
            y=probes.accuracy,
            mode="lines+markers",
            name=f"{arm} finetuning",
            line=dict(color=colour(arm)),
            text=[f"{n} layers" for n in probes.layers],
            error_y=interval_of(probes.accuracy_low, probes.accuracy, probes.accuracy_high),
        )
    if trunk:
        figure.add_vline(
            x=trunk + 0.5,
            line_dash="dot",
            line_width=1.5,
            annotation_text="finetuned from here on",
            annotation_position="top right",
        )
    return figure


def by_shots(
    rows: pd.DataFrame, dots: pd.DataFrame, references: dict[str, float], title: str
) -> go.Figure:
    """Draws the accuracy of prompts against the number of shots: mean and interval.

    With a dot per draw of the shots; intervals are of 95 %.

    Args:
        rows, dots: the two tables of `w2s.by_shots`; `dots.attrs["chance"]` is the line of chance.
        references: {arm: accuracy} of other arms, drawn as lines.
    """
    figure = figure_of(title, "shots", "test accuracy", showlegend=False)
    figure.add_scatter(
        x=dots.shots.astype(str),
        y=dots.accuracy,
        mode="markers",
        text=[f"seed {seed}" for seed in dots.seed],
        marker=dict(size=7, symbol="circle-open", color=[colour(arm) for arm in dots.arm]),
    )
    figure.add_scatter(
        x=rows.shots.astype(str),
        y=rows.accuracy,
        mode="lines+markers",
        line=dict(color=colour(rows.arm.iloc[-1])),
        marker=dict(size=11, color=[colour(arm) for arm in rows.arm]),
        error_y=interval_of(rows.accuracy_low, rows.accuracy, rows.accuracy_high),
    )
    add_references(figure, references, "top left")
    add_chance(figure, chance_of(dots), "top right")
    figure.update_xaxes(type="category")
    return figure


def by_task(
    table: pd.DataFrame,
    by_seed: pd.DataFrame,
    title: str,
    *,
    chance: Mapping[str, float] | None = None,
    measure: str = "accuracy",
) -> go.Figure:
    """Draws the test accuracy of every arm on several tasks, or its AUROC, in groups.

    With 95 % intervals and a circle per seed.

    Args:
        table: rows with task, arm, accuracy, accuracy_low, accuracy_high; supervisor and ceiling
            are drawn too.
        by_seed: rows with task, arm, accuracy.
        chance: {task: accuracy of guessing}; None takes `table.attrs["chance"]`, which
            `w2s.tables` sets, and draws no line for tasks that it lacks. The AUROC of guessing is
            0.5.
        measure: 'accuracy' or 'auroc', of the columns auroc.
    """
    chance = _chance_by_task(table) if chance is None else chance
    chance = dict.fromkeys(table.task, 0.5) if measure == "auroc" else chance
    table, by_seed = by_measure(table, measure), by_measure(by_seed, measure)
    figure = figure_of(title, "", measure_title(measure), scattermode="group", scattergap=0.25)
    other_arms = [arm for arm in dict.fromkeys(table.arm) if arm != CEILING]
    for arm in [*other_arms, CEILING]:
        _add_arm(figure, arm, table[table.arm == arm], by_seed[by_seed.arm == arm])
    tasks = list(dict.fromkeys(table.task))
    name_places(figure.layout.xaxis, tasks)
    figure.update_xaxes(range=[-0.5, len(tasks) - 0.5])
    _add_chances(figure, tasks, chance)
    figure.update_layout(width=940, height=480)
    ends = [chance[task] for task in tasks if task in chance]
    lowest = min([table.accuracy_low.min(), by_seed.accuracy.min(), *ends])
    figure.update_yaxes(range=[max(0.0, lowest - 0.03), 1.0])
    return figure


def _chance_by_task(table: pd.DataFrame) -> dict[str, float]:
    """Returns {task: accuracy of guessing} that the table has; one number stands for all tasks."""
    chance = table.attrs.get("chance", {})
    return chance if isinstance(chance, dict) else dict.fromkeys(table.task, chance)


def _add_chances(figure: go.Figure, tasks: list[str], chance: Mapping[str, float]) -> None:
    """Adds the line of chance: one through all tasks or, where they differ, one per task."""
    shared = {chance.get(task) for task in tasks}
    if len(shared) == 1:
        add_chance(figure, shared.pop())
        return
    # a shape is placed on an axis of names by the number of the name
    for place, task in enumerate(tasks):
        if task in chance:
            figure.add_shape(
                type="line",
                x0=place - 0.45,
                x1=place + 0.45,
                y0=chance[task],
                y1=chance[task],
                line=dict(dash="dot", width=1.5),
                label=dict(text="chance", textposition="start", yanchor="bottom"),
            )


def _add_arm(figure: go.Figure, arm: str, rows: pd.DataFrame, dots: pd.DataFrame) -> None:
    """Adds an arm's circles per seed, and its point on each task."""
    figure.add_scatter(
        x=dots.task,
        y=dots.accuracy,
        mode="markers",
        showlegend=False,
        offsetgroup=arm,
        marker=dict(color=colour(arm), size=5, symbol="circle-open"),
    )
    figure.add_scatter(
        x=rows.task,
        y=rows.accuracy,
        name=arm,
        mode="markers",
        offsetgroup=arm,
        marker=dict(color=colour(arm), size=10),
        error_y=interval_of(rows.accuracy_low, rows.accuracy, rows.accuracy_high),
    )
