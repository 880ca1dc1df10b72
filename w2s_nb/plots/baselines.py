"""Draws probes, prompts, and several tasks beside each other."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
import plotly.graph_objects as go

from .base import (
    CEILING,
    LINE,
    add_chance,
    by_measure,
    chance_of,
    colour,
    figure_of,
    frame_of,
    interval_of,
    measure_title,
    name_lines,
    name_places,
)
from .findings import say_best_depth, say_by_shots, say_by_task


def by_depth(rows: pd.DataFrame, settings: str, *, title: str = "", trunk: int = 0) -> go.Figure:
    """Draws probe accuracy against depth, before and after finetuning, with intervals.

    Args:
        rows: columns arm ('before', 'after'), layers, accuracy, accuracy_low, accuracy_high.
        settings: what was run; it stands below the title.
        title: "" says above which layer each arm's probes are best.
        trunk: layers that finetuning left as they were; the layers above them have a grey ground.
    """
    title = title or say_best_depth(rows)
    figure = figure_of(title, "layers below the probe", "test accuracy", settings=settings)
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
    low, high = frame_of(rows.accuracy_low, rows.accuracy_high, room=0.1)
    figure.update_yaxes(range=[low, high])
    if rows.layers.max() - rows.layers.min() <= 12:
        figure.update_xaxes(dtick=1)
    if trunk:
        figure.add_vrect(
            x0=trunk + 0.5,
            x1=rows.layers.max() + 0.5,
            fillcolor=LINE,
            opacity=0.15,
            line_width=0,
            layer="below",
        )
        # above the plot, where no point is
        figure.add_annotation(
            text="finetuned layers",
            x=rows.layers.max() + 0.5,
            y=1,
            yref="paper",
            xanchor="right",
            yanchor="bottom",
            showarrow=False,
        )
    return figure


def by_shots(
    rows: pd.DataFrame,
    dots: pd.DataFrame,
    references: dict[str, float],
    settings: str,
    *,
    title: str = "",
) -> go.Figure:
    """Draws the accuracy of prompts against the number of shots: mean and interval.

    With a dot per draw of the shots; intervals are of 95 %.

    Args:
        rows, dots: the two tables of `w2s.by_shots`; `dots.attrs["chance"]` is the line of chance.
        references: {arm: accuracy} of other arms, drawn as lines.
        settings: what was run; it stands below the title.
        title: "" says how accuracy changes from the fewest to the most shots.
    """
    title = title or say_by_shots(rows)
    figure = figure_of(title, "shots", "test accuracy", settings=settings, showlegend=False)
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
        mode="lines+markers+text",
        line=dict(color=colour(rows.arm.iloc[-1])),
        marker=dict(size=11, color=[colour(arm) for arm in rows.arm]),
        text=[f"  {value:.2f}" for value in rows.accuracy],
        textposition="top right",
        error_y=interval_of(rows.accuracy_low, rows.accuracy, rows.accuracy_high),
    )
    chance = chance_of(dots)
    heights = references | ({} if chance is None else {"chance": chance})
    shown = (rows.accuracy_low, rows.accuracy_high, dots.accuracy, list(heights.values()))
    name_lines(figure, heights, frame_of(*shown, within=(-0.02, 1.02)))
    figure.update_xaxes(type="category", range=[-0.3, len(rows) - 0.5])
    return figure


def by_task(
    table: pd.DataFrame,
    by_seed: pd.DataFrame,
    settings: str,
    *,
    title: str = "",
    chance: Mapping[str, float] | None = None,
    measure: str = "accuracy",
) -> go.Figure:
    """Draws the test accuracy of every arm on several tasks, or its AUROC, in groups.

    With 95 % intervals and a circle per seed.

    Args:
        table: rows with task, arm, accuracy, accuracy_low, accuracy_high; supervisor and ceiling
            are drawn too.
        by_seed: rows with task, arm, accuracy.
        settings: what was run; it stands below the title.
        title: "" says for how many students the interval of PGR is above 0.
        chance: {task: accuracy of guessing}; None takes `table.attrs["chance"]`, which
            `w2s.tables` sets, and draws no line for tasks that it lacks. The AUROC of guessing is
            0.5.
        measure: 'accuracy' or 'auroc', of the columns auroc.
    """
    chance = _chance_by_task(table) if chance is None else chance
    chance = dict.fromkeys(table.task, 0.5) if measure == "auroc" else chance
    table, by_seed = by_measure(table, measure), by_measure(by_seed, measure)
    figure = figure_of(
        title or say_by_task(table),
        "",
        measure_title(measure),
        settings=settings,
        width=940,
        height=480,
        scattermode="group",
        scattergap=0.25,
    )
    other_arms = [arm for arm in dict.fromkeys(table.arm) if arm != CEILING]
    for arm in [*other_arms, CEILING]:
        _add_arm(figure, arm, table[table.arm == arm], by_seed[by_seed.arm == arm])
    tasks = list(dict.fromkeys(table.task))
    name_places(figure.layout.xaxis, tasks)
    figure.update_xaxes(range=[-0.5, len(tasks) - 0.5])
    _add_chances(figure, tasks, chance)
    ends = [chance[task] for task in tasks if task in chance]
    shown = (table.accuracy_low, table.accuracy_high, by_seed.accuracy, ends)
    figure.update_yaxes(range=frame_of(*shown, within=(-0.02, 1.02)))
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
                line=dict(dash="dot", width=1.5, color=LINE),
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
