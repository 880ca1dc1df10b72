"""Draws what a student takes over from its supervisor."""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots
from scipy import stats

from .base import (
    LINE,
    colour,
    faint,
    figure_of,
    frame_of,
    interval_of,
    name_lines,
    name_places,
    put_panels_into,
    short,
    short_pair,
    ticks_of,
)
from .findings import say_copied, say_gain, say_over_training, say_repeated, say_survived

_PANELS = {
    "all": "all examples",
    "mistakes": "the supervisor's mistakes",
    "correct": "its right answers",
}
# what `flow` draws for each state of an answer, from the top: word, colour of node and of band
_GAP = 0.08  # of the height of the figure, between two nodes of a model
_WORDS = {"right": "right", "passed on": "still wrong", "new": "newly wrong"}
_NODE_COLOURS = {"right": "#56B4E9", "passed on": "#D55E00", "new": "#CC79A7"}
_BAND_COLOURS = {
    "right": "rgba(86,180,233,0.35)",
    "passed on": "rgba(213,94,0,0.45)",
    "new": "rgba(204,121,167,0.55)",
}


def agreement(rows: pd.DataFrame, settings: str, *, title: str = "") -> go.Figure:
    """Draws the share of examples on which a student predicts as its supervisor.

    All examples, those that the supervisor gets wrong, and those that it gets right.

    Args:
        rows: columns arm, on ('all', 'mistakes', 'correct'), value, low, high.
        settings: what was run; it stands below the title.
        title: "" says how many of the supervisor's mistakes the students repeat.
    """
    title = title or say_repeated(rows)
    figure = figure_of(title, "the supervisor's answers", "student agrees", settings=settings)
    for arm, rows_of_arm in rows.groupby("arm", sort=False):
        figure.add_scatter(
            x=rows_of_arm.on,
            y=rows_of_arm.value,
            name=arm,
            mode="markers+text",
            marker=dict(color=colour(arm), size=11),
            text=[f"  {value:.2f}" for value in rows_of_arm.value],
            textposition="middle right",
            offsetgroup=arm,
            error_y=interval_of(rows_of_arm.low, rows_of_arm.value, rows_of_arm.high),
        )
    figure.update_layout(scattermode="group", scattergap=0.3)
    figure.update_xaxes(type="category", range=[-0.5, rows.on.nunique() - 0.5])
    figure.update_yaxes(range=[0, 1.05])
    return figure


def by_size(rows: pd.DataFrame, measure: str, settings: str, *, title: str = "") -> go.Figure:
    """Draws a measure of imitation against the student's size, in three panels.

    All examples, the supervisor's mistakes, and its right answers.

    Args:
        rows: `Arms.imitation` of several students, by size.
        measure: 'agreement' or 'cross_entropy'.
        settings: what was run; it stands below the title.
        title: "" says how the measure changes, on mistakes, from the smallest student to the
            largest.
    """
    figure = make_subplots(
        1,
        len(_PANELS),
        shared_yaxes=True,
        horizontal_spacing=0.03,
        subplot_titles=list(_PANELS.values()),
    )
    ticks = ticks_of(rows.strong)
    rows = rows.assign(tick=rows.strong.map(ticks))
    for panel, on in enumerate(_PANELS, start=1):
        _fill_panel(figure, panel, rows, f"{measure}_{on}")
    put_panels_into(
        figure,
        figure_of(title or say_copied(rows, measure, ticks), "", "", settings=settings, width=940),
    )
    figure.update_layout(scattermode="group", scattergap=0.85)
    names = list(ticks.values())
    for axis in figure.select_xaxes():
        name_places(axis, names)
        axis.range = [-0.5, len(names) - 0.5]
    ends = [rows[f"{measure}_{on}_{end}"] for on in _PANELS for end in ("low", "high")]
    figure.update_yaxes(range=frame_of(*ends))
    figure.update_yaxes(title=f"{measure.replace('_', '-')} with the supervisor", col=1)
    return figure


def _fill_panel(figure: go.Figure, panel: int, rows: pd.DataFrame, column: str) -> None:
    """Adds a line per arm to one panel of `by_size`; the first panel gives the legend."""
    for arm, rows_of_arm in rows.groupby("arm", sort=False):
        value = rows_of_arm[column]
        figure.add_scatter(
            x=rows_of_arm.tick,
            y=value,
            name=arm,
            legendgroup=arm,
            offsetgroup=arm,
            showlegend=panel == 1,
            mode="lines+markers",
            line=dict(color=colour(arm)),
            row=1,
            col=panel,
            error_y=interval_of(rows_of_arm[f"{column}_low"], value, rows_of_arm[f"{column}_high"]),
        )


def training_curves(
    curves: dict[str, list[pd.DataFrame]],
    references: dict[str, float],
    settings: str,
    *,
    title: str = "",
) -> go.Figure:
    """Draws test accuracy over training: the mean over seeds as a line, each seed as a thin line.

    The band is Wilson's 95 % interval for as many test examples as one seed's curve was measured
    on; the caption says how many these are. Dotted: accuracy on the weak labels of held-out
    validation examples, by which a student can choose where to stop.

    Args:
        curves: {arm: `Fit.curve` of each seed}.
        references: {arm: accuracy}, such as those of supervisor and ceiling.
        settings: what was run; it stands below the title.
        title: "" says where in training each arm is best, and where it ends.
    """
    points = pd.concat([curve for seeds in curves.values() for curve in seeds])
    means = {
        arm: (seeds[0].progress, np.mean([curve.test_accuracy for curve in seeds], axis=0))
        for arm, seeds in curves.items()
    }
    examples = " to ".join(str(n) for n in sorted(set(points.test_n)))
    measured = f"{examples} test examples, with their 95 % interval as a band"
    figure = figure_of(
        title or say_over_training(means),
        "fraction of training",
        "accuracy",
        settings="<br>".join(filter(None, [settings, measured])),
    )
    shown = [points.test_accuracy, points.validation_accuracy_on_labels, *references.values()]
    for arm, curves_of_seeds in curves.items():
        shown += _add_curves(figure, arm, curves_of_seeds, means[arm][1])
    if points.validation_accuracy_on_labels.notna().any():  # explains the dots once
        figure.add_scatter(
            x=[None],
            y=[None],
            mode="lines",
            name="on held-out weak labels",
            line=dict(color=LINE, dash="dot"),
        )
    if 0 < points.progress.min() < 0.02:  # the start of training has no logarithm
        _make_logarithmic(figure, points.progress)
    name_lines(figure, references, frame_of(*shown, within=(-0.02, 1.02)))
    return figure


def _make_logarithmic(figure: go.Figure, progress: pd.Series) -> None:
    decades = range(int(np.floor(np.log10(progress.min()))), 1)
    ticks = [m * 10.0**d for d in decades for m in (1, 2, 5)]
    ticks = [tick for tick in ticks if progress.min() <= tick <= 1]
    figure.update_xaxes(
        type="log",
        tickvals=ticks,
        ticktext=[f"{tick:g}" for tick in ticks],
        title="fraction of training, logarithmic",
    )


def _add_curves(
    figure: go.Figure, arm: str, curves: list[pd.DataFrame], mean: np.ndarray
) -> list[np.ndarray]:
    """Adds an arm's lines: seeds, if there are several, their mean, and accuracy on weak labels.

    Returns:
        the ends of the band around the mean.
    """
    progress = curves[0].progress
    ends = [_wilson_band(mean, curves[0].test_n.to_numpy(), side) for side in (-1, 1)]
    figure.add_scatter(
        x=[*progress, *progress[::-1]],
        y=[*ends[0], *ends[1][::-1]],
        mode="lines",
        fill="toself",
        fillcolor=faint(colour(arm), 0.15),
        line_width=0,
        showlegend=False,
        hoverinfo="skip",
    )
    for curve in curves if len(curves) > 1 else []:
        figure.add_scatter(
            x=curve.progress,
            y=curve.test_accuracy,
            mode="lines",
            showlegend=False,
            opacity=0.35,
            line=dict(color=colour(arm), width=1),
        )
    figure.add_scatter(
        x=progress,
        y=mean,
        name=arm,
        mode="lines+markers",
        line=dict(color=colour(arm), width=3),
    )
    on_labels = [curve.validation_accuracy_on_labels for curve in curves]
    if np.isnan(on_labels).all():  # no validation labels to draw
        return ends
    figure.add_scatter(
        x=progress,
        y=np.mean(on_labels, axis=0),
        name=f"{arm}, on held-out weak labels",
        showlegend=False,
        mode="lines",
        line=dict(color=colour(arm), width=2, dash="dot"),
    )
    return ends


def _wilson_band(share: np.ndarray, n: np.ndarray, side: int) -> np.ndarray:
    """Returns the lower (-1) or upper (1) end of Wilson's 95 % interval of shares of n.

    A mean over seeds is no whole number of n, so that `scipy.stats.binomtest` does not take it.
    """
    z = stats.norm.ppf(0.975)
    middle = share + z**2 / (2 * n)
    half = z * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    return (middle + side * half) / (1 + z**2 / n)


def gain(rows: pd.DataFrame, settings: str, *, title: str = "") -> go.Figure:
    """Draws the gain seen against the gain that theory predicts from misfit, with 95 % intervals.

    They are equal on the diagonal. The student's size, or the pair, stands beside each point.

    Args:
        rows: columns arm, pair, misfit, misfit_low, misfit_high, gain, gain_low, gain_high.
        settings: what was run; it stands below the title.
        title: "" says for how many students the gain is as predicted, within the errors.
    """
    figure = figure_of(
        title or say_gain(rows),
        "predicted: misfit",
        "seen: drop in squared error",
        settings=settings,
    )
    across = frame_of(0, rows.misfit_low, rows.misfit_high)
    upward = frame_of(0, rows.gain_low, rows.gain_high, rows.misfit)
    figure.add_scatter(
        x=across,
        y=across,
        mode="lines",
        line=dict(color=LINE, dash="dot"),
        name="predicted = seen",
    )
    for arm, pairs in rows.groupby("arm", sort=False):
        figure.add_scatter(
            x=pairs.misfit,
            y=pairs.gain,
            mode="markers+text",
            name=arm,
            text=[f" {short_pair(pair)}" for pair in pairs.pair],
            textposition="top right",
            textfont=dict(size=11),
            marker=dict(color=colour(arm), size=10),
            error_x=interval_of(pairs.misfit_low, pairs.misfit, pairs.misfit_high),
            error_y=interval_of(pairs.gain_low, pairs.gain, pairs.gain_high),
        )
    figure.update_xaxes(range=across)
    figure.update_yaxes(range=upward)
    figure.add_hline(y=0, line_width=1, line_color=LINE)
    return figure


def flow(counts: pd.DataFrame, names: list[str], settings: str, *, title: str = "") -> go.Figure:
    """Draws how answers pass from one model to the next: which mistakes survive, and which are new.

    Args:
        counts: `Chain.flow()`: columns step, before, after ('right', 'passed on', 'new'), examples.
        names: of the models, in order.
        settings: what was run; it stands below the title.
        title: "" says how many of the first model's mistakes the last one still makes.
    """
    nodes = _flow_nodes(len(names))
    totals = [_flow_total(counts, step, state, len(names) - 1) for step, state in nodes]
    models = short(names)
    said = title or say_survived(counts, models[0], models[-1])
    figure = figure_of(said, "", "", settings=settings)
    figure.add_sankey(
        arrangement="fixed",
        textfont=dict(size=12, color="#222222", shadow="none"),
        node=dict(
            label=_flow_labels(nodes, totals, models),
            pad=18,
            thickness=14,
            color=[_NODE_COLOURS[state] for _, state in nodes],
            x=[0.02 + 0.96 * step / (len(names) - 1) for step, _ in nodes],
            y=_flow_heights(nodes, totals),
        ),
        link=_flow_bands(counts, nodes),
    )
    return figure


def _flow_nodes(n_models: int) -> list[tuple[int, str]]:
    """Returns the nodes (step, state of the answers); at the first model no mistake is new."""
    return [(0, "right"), (0, "passed on")] + [
        (step, state) for step in range(1, n_models) for state in _WORDS
    ]


def _flow_heights(nodes: list[tuple[int, str]], totals: list[float]) -> list[float]:
    """Returns the middle of each node, from the top: below one another, as high as their shares."""
    heights = []
    for step in dict.fromkeys(step for step, _ in nodes):
        here = [total for (at, _), total in zip(nodes, totals, strict=True) if at == step]
        free = (1 - _GAP * (len(here) - 1)) / sum(here)
        above = 0.0
        for total in here:
            heights.append(above + free * total / 2)
            above += free * total + _GAP
    # plotly takes 0 and 1 for places that were not given
    return np.clip(heights, 0.001, 0.999).tolist()


def _flow_total(counts: pd.DataFrame, step: int, state: str, last: int) -> float:
    """Returns how many answers are in a state at a model; of the last, `counts` has only
    arrivals.
    """
    if step < last:
        rows = counts[(counts.step == step) & (counts.before == state)]
    else:
        rows = counts[(counts.step == step - 1) & (counts.after == state)]
    return rows.examples.sum()


def _flow_labels(nodes: list[tuple[int, str]], totals: list[float], names: list[str]) -> list[str]:
    """Returns the text of each node: the model, and how many of its answers are in the state."""
    labels = []
    for (step, state), total in zip(nodes, totals, strict=True):
        word = "wrong" if step == 0 and state == "passed on" else _WORDS[state]
        labels.append(f"{names[step]}<br>{word} {total:.0f}")
    return labels


def _flow_bands(counts: pd.DataFrame, nodes: list[tuple[int, str]]) -> dict:
    """Returns plotly's links between nodes, a band per row of `counts` that has examples."""
    rows = [row for row in counts.itertuples() if (row.step, row.before) in nodes]
    rows = [row for row in rows if row.examples > 0]
    return dict(
        source=[nodes.index((row.step, row.before)) for row in rows],
        value=[row.examples for row in rows],
        target=[nodes.index((row.step + 1, row.after)) for row in rows],
        color=[_BAND_COLOURS[row.before] for row in rows],
    )
