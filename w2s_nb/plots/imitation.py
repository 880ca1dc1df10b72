"""Draws what a student takes over from its supervisor."""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from .base import add_references, colour, figure_of, interval_of, short, ticks_of
from .findings import say_repeated

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


def by_size(rows: pd.DataFrame, measure: str, title: str) -> go.Figure:
    """Draws a measure of imitation against the student's size, in three panels.

    All examples, the supervisor's mistakes, and its right answers.

    Args:
        rows: `Arms.imitation` of several students, by size.
        measure: 'agreement' or 'cross_entropy'.
    """
    figure = make_subplots(
        1,
        len(_PANELS),
        shared_yaxes=True,
        horizontal_spacing=0.03,
        subplot_titles=list(_PANELS.values()),
    )
    rows = rows.assign(tick=rows.strong.map(ticks_of(rows.strong)))
    for panel, on in enumerate(_PANELS, start=1):
        _fill_panel(figure, panel, rows, f"{measure}_{on}")
    figure.update_layout(
        figure_of(title, "", "").layout, width=940, scattermode="group", scattergap=0.85
    )
    figure.update_xaxes(type="category", title="")
    figure.update_yaxes(gridcolor="#E5E5E5", showgrid=True, title="")
    low = min(rows[f"{measure}_{on}_low"].min() for on in _PANELS)
    high = max(rows[f"{measure}_{on}_high"].max() for on in _PANELS)
    figure.update_yaxes(range=[low - 0.03, high + 0.03])
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
    curves: dict[str, list[pd.DataFrame]], references: dict[str, float], title: str
) -> go.Figure:
    """Draws test accuracy over training: the mean over seeds as a line, each seed as a thin line.

    Dotted: accuracy on the weak labels of held-out validation examples, by which a student can
    choose where to stop. The axis says how many test examples there are, and the largest standard
    error of a seed's accuracy on them.

    Args:
        curves: {arm: `Fit.curve` of each seed}.
        references: {arm: accuracy}, such as those of supervisor and ceiling.
    """
    points = pd.concat([curve for seeds in curves.values() for curve in seeds])
    examples = " to ".join(str(n) for n in sorted(set(points.test_n)))
    axis = f"accuracy ({examples} test examples, standard error up to {points.test_se.max():.3f})"
    figure = figure_of(title, "fraction of training", axis)
    for arm, curves_of_seeds in curves.items():
        _add_curves(figure, arm, curves_of_seeds)
    if points.progress.min() < 0.02:
        figure.update_xaxes(type="log", dtick=1, title="fraction of training, logarithmic")
    add_references(figure, references, "bottom right")
    return figure


def _add_curves(figure: go.Figure, arm: str, curves: list[pd.DataFrame]) -> None:
    """Adds an arm's lines: seeds, if there are several, their mean, and accuracy on weak labels."""
    if len(curves) > 1:
        for curve in curves:
            figure.add_scatter(
                x=curve.progress,
                y=curve.test_accuracy,
                mode="lines",
                showlegend=False,
                opacity=0.35,
                line=dict(color=colour(arm), width=1),
            )
    figure.add_scatter(
        x=curves[0].progress,
        y=np.mean([curve.test_accuracy for curve in curves], axis=0),
        name=arm,
        mode="lines+markers",
        line=dict(color=colour(arm), width=3),
    )
    on_labels = np.mean([curve.validation_accuracy_on_labels for curve in curves], axis=0)
    if np.isnan(on_labels).all():  # no validation labels to draw
        return
    figure.add_scatter(
        x=curves[0].progress,
        y=on_labels,
        name=f"{arm}: on held-out weak labels",
        mode="lines",
        line=dict(color=colour(arm), width=2, dash="dot"),
    )


def gain(rows: pd.DataFrame, title: str) -> go.Figure:
    """Draws the gain seen against the gain that theory predicts from misfit, with 95 % intervals.

    They are equal on the diagonal.

    Args:
        rows: columns arm, pair, misfit, misfit_low, misfit_high, gain, gain_low, gain_high.
    """
    figure = figure_of(title, "predicted: misfit", "seen: drop in squared error")
    ends = [
        min(0, rows.gain_low.min(), rows.misfit_low.min()),
        max(rows.gain_high.max(), rows.misfit_high.max()),
    ]
    figure.add_scatter(
        x=ends,
        y=ends,
        mode="lines",
        line=dict(color="#999999", dash="dot"),
        name="predicted = seen",
    )
    for arm, pairs in rows.groupby("arm", sort=False):
        figure.add_scatter(
            x=pairs.misfit,
            y=pairs.gain,
            mode="markers",
            name=arm,
            text=pairs.pair,
            marker=dict(color=colour(arm), size=10),
            error_x=interval_of(pairs.misfit_low, pairs.misfit, pairs.misfit_high),
            error_y=interval_of(pairs.gain_low, pairs.gain, pairs.gain_high),
        )
    figure.add_hline(y=0, line_width=1, line_color="#222222")
    return figure


def flow(counts: pd.DataFrame, names: list[str], title: str) -> go.Figure:
    """Draws how answers pass from one model to the next: which mistakes survive, and which are new.

    Args:
        counts: `Chain.flow()`: columns step, before, after ('right', 'passed on', 'new'), examples.
        names: of the models, in order.
    """
    nodes = _flow_nodes(len(names))
    totals = [_flow_total(counts, step, state, len(names) - 1) for step, state in nodes]
    figure = figure_of(title, "", "")
    figure.add_sankey(
        arrangement="fixed",
        textfont=dict(size=12, color="#222222"),
        node=dict(
            label=_flow_labels(nodes, totals, short(names)),
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
