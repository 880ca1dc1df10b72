"""What a student takes over from its supervisor."""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from .base import colour, figure_of, interval_of, short


def agreement(rows: pd.DataFrame, title: str) -> go.Figure:
    """Share of examples on which a student predicts as its supervisor, by whether the supervisor is right.

    Args:
        rows: columns arm, on ('all', 'mistakes', 'correct'), value, low, high.
    """
    figure = figure_of(title, "the supervisor's answers", "student agrees")
    for arm, part in rows.groupby("arm", sort=False):
        figure.add_bar(
            x=part.on,
            y=part.value,
            name=arm,
            marker_color=colour(arm),
            text=[f"{v:.2f}" for v in part.value],
            error_y=interval_of(part.low, part.value, part.high),
        )
    figure.update_layout(barmode="group")
    figure.update_yaxes(range=[0, 1.05])
    return figure


def by_size(rows: pd.DataFrame, measure: str, title: str) -> go.Figure:
    """A measure against the student's size: a panel for all examples, the supervisor's mistakes, its right answers.

    Args:
        rows: `Arms.imitation` of several students, by size.
        measure: 'agreement' or 'cross_entropy'.
    """
    panels = {
        "all": "all examples",
        "mistakes": "the supervisor's mistakes",
        "correct": "its right answers",
    }
    figure = make_subplots(
        1,
        len(panels),
        shared_yaxes=True,
        horizontal_spacing=0.03,
        subplot_titles=list(panels.values()),
    )
    sizes = list(dict.fromkeys(rows.strong))
    rows = rows.assign(tick=rows.strong.map(dict(zip(sizes, short(sizes)))))
    for column, on in enumerate(panels, start=1):
        name = f"{measure}_{on}"
        for arm, part in rows.groupby("arm", sort=False):
            figure.add_scatter(
                x=part.tick,
                y=part[name],
                name=arm,
                legendgroup=arm,
                offsetgroup=arm,
                showlegend=column == 1,
                mode="lines+markers",
                line=dict(color=colour(arm)),
                row=1,
                col=column,
                error_y=interval_of(part[f"{name}_low"], part[name], part[f"{name}_high"]),
            )
    figure.update_layout(
        figure_of(title, "", "").layout, width=940, scattermode="group", scattergap=0.85
    )
    figure.update_xaxes(type="category", title="")
    figure.update_yaxes(gridcolor="#E5E5E5", showgrid=True, title="")
    ends = [rows[f"{measure}_{on}{end}"] for on in panels for end in ("_low", "_high")]
    figure.update_yaxes(range=[min(map(min, ends)) - 0.03, max(map(max, ends)) + 0.03])
    figure.update_yaxes(title=f"{measure.replace('_', '-')} with the supervisor", col=1)
    return figure


def training_curves(
    curves: dict[str, list[pd.DataFrame]], references: dict[str, float], title: str
) -> go.Figure:
    """Test accuracy over training: mean over seeds as a line, a thin line a seed; dotted, accuracy on weak labels of
    held-out validation examples, which is what a student can stop on.

    Args:
        curves: {arm: `Fit.curve` of each seed}.
        references: {arm: accuracy}, such as those of supervisor and ceiling.
    """
    figure = figure_of(title, "fraction of training", "accuracy")
    for arm, seeds in curves.items():
        for curve in seeds if len(seeds) > 1 else []:
            figure.add_scatter(
                x=curve.progress,
                y=curve.test_accuracy,
                mode="lines",
                showlegend=False,
                opacity=0.35,
                line=dict(color=colour(arm), width=1),
            )
        figure.add_scatter(
            x=seeds[0].progress,
            y=np.mean([c.test_accuracy for c in seeds], axis=0),
            name=arm,
            mode="lines+markers",
            line=dict(color=colour(arm), width=3),
        )
        figure.add_scatter(
            x=seeds[0].progress,
            y=np.mean([c.validation_accuracy_on_labels for c in seeds], axis=0),
            name=f"{arm}: on held-out weak labels",
            mode="lines",
            line=dict(color=colour(arm), width=2, dash="dot"),
        )
    if min(curve.progress.min() for seeds in curves.values() for curve in seeds) < 0.02:
        figure.update_xaxes(type="log", dtick=1, title="fraction of training, logarithmic")
    for arm, value in references.items():
        figure.add_hline(
            y=value,
            line_color=colour(arm),
            line_dash="dash",
            line_width=2,
            annotation_text=arm,
            annotation_position="bottom right",
        )
    return figure


def gain(rows: pd.DataFrame, title: str) -> go.Figure:
    """The gain seen against the gain that theory predicts from misfit, with 95 % intervals; equal on the diagonal.

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
    for arm, part in rows.groupby("arm", sort=False):
        figure.add_scatter(
            x=part.misfit,
            y=part.gain,
            mode="markers",
            name=arm,
            text=part.pair,
            marker=dict(color=colour(arm), size=10),
            error_x=interval_of(part.misfit_low, part.misfit, part.misfit_high),
            error_y=interval_of(part.gain_low, part.gain, part.gain_high),
        )
    figure.add_hline(y=0, line_width=1, line_color="#222222")
    return figure


def flow(counts: pd.DataFrame, names: list[str], title: str) -> go.Figure:
    """How answers pass from one model to the next: which of the supervisor's mistakes survive, and which are new.

    Args:
        counts: `Chain.flow()`: columns step, before, after ('right', 'passed on', 'new'), examples.
        names: of the models, in order.
    """
    places, shown = {"right": 0.25, "passed on": 0.72, "new": 0.95}, short(names)
    tint = {
        "right": "rgba(86,180,233,0.35)",
        "passed on": "rgba(213,94,0,0.45)",
        "new": "rgba(204,121,167,0.55)",
    }
    nodes = [(step, side) for step in range(len(names)) for side in places if step or side != "new"]
    total = {
        (step, side): counts[(counts.step == step) & (counts.before == side)].examples.sum()
        if step < len(names) - 1
        else counts[(counts.step == step - 1) & (counts.after == side)].examples.sum()
        for step, side in nodes
    }
    word = {"right": "right", "passed on": "still wrong", "new": "newly wrong"}
    links = [r for r in counts.itertuples() if (r.step, r.before) in total and r.examples > 0]
    figure = figure_of(title, "", "")
    figure.add_sankey(
        arrangement="fixed",
        textfont=dict(size=12, color="#222222"),
        node=dict(
            label=[
                f"{shown[step]}<br>{word[side] if step or side == 'right' else 'wrong'} "
                f"{total[step, side]:.0f}"
                for step, side in nodes
            ],
            pad=18,
            thickness=14,
            color=[
                {"right": "#56B4E9", "passed on": "#D55E00", "new": "#CC79A7"}[side]
                for _, side in nodes
            ],
            x=[0.02 + 0.96 * step / (len(names) - 1) for step, _ in nodes],
            y=[places[s] for _, s in nodes],
        ),
        link=dict(
            source=[nodes.index((r.step, r.before)) for r in links],
            value=[r.examples for r in links],
            target=[nodes.index((r.step + 1, r.after)) for r in links],
            color=[tint[r.before] for r in links],
        ),
    )
    return figure
