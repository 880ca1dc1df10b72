"""Holds what all figures share: colours, axes, intervals."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go

WEAK, CEILING = "weak supervisor", "strong ceiling"
# Okabe and Ito's palette, distinguishable with any colour vision
COLOURS = {
    WEAK: "#E69F00",
    "student, naive": "#56B4E9",
    "student, confidence": "#0072B2",
    "student, product": "#009E73",
    "student, entropy": "#CC79A7",
    "student, l2_confidence": "#332288",
    "student, generalized_xent": "#D55E00",
    "student, label_smoothing": "#882255",
    "student, reverse_xent": "#44AA99",
    "student, temporal_ensembling": "#999933",
    "bootstrapped, same data": "#D55E00",
    "bootstrapped, fresh data": "#009E73",
    "bootstrapped, further data": "#009E73",
    CEILING: "#7F7F7F",
    "lp(weak)": "#CC79A7",
    "lp(gt)": "#AA4499",
    "ft(weak)": "#56B4E9",
    "ft(weak) + lp(gt)": "#009E73",
    "ft(gt)": "#7F7F7F",
    "before": "#AA4499",
    "after": "#009E73",
    "zero-shot": "#DDCC77",
    "few-shot, ground truth": "#117733",
    "few-shot, weak labels": "#44AA99",
    "labels only": "#56B4E9",
    "student on text first": "#009E73",
    "both on text first": "#CC79A7",
}
_MORE = ("#AA4499", "#117733", "#DDCC77", "#661100", "#6699CC")
_UNBOUNDED = 100.0  # length of an interval's arm that has no end, beyond every axis


def colour(arm: str) -> str:
    """The colour of an arm; arms of newly registered losses take further ones, always the same."""
    if arm not in COLOURS:
        COLOURS[arm] = _MORE[sum(map(ord, arm)) % len(_MORE)]
    return COLOURS[arm]


def figure_of(title: str, x: str, y: str, **layout) -> go.Figure:
    """An empty figure in the kit's style."""
    figure = go.Figure()
    figure.update_layout(
        template="simple_white",
        title=title,
        width=760,
        height=430,
        margin=dict(t=60, r=20),
        legend=dict(orientation="h", y=-0.22),
        **layout,
    )
    figure.update_xaxes(title=x)
    figure.update_yaxes(title=y, gridcolor="#E5E5E5", showgrid=True)
    return figure


def interval_of(low, value, high) -> dict:
    """plotly's error bar from the ends of an interval; an end that is not finite leaves every axis."""
    low, value, high = (np.atleast_1d(np.asarray(v, dtype=float)) for v in (low, value, high))
    return dict(
        type="data",
        symmetric=False,
        array=np.nan_to_num(high - value, posinf=_UNBOUNDED),
        arrayminus=np.nan_to_num(value - low, posinf=_UNBOUNDED),
        color="#222222",
        thickness=1.3,
    )


def short(names: list[str]) -> list[str]:
    """Names of models as tick labels: of one model cut to several depths, the depths alone.

    >>> short(["SmolLM2-135M@4", "SmolLM2-135M@12"]), short(["gpt2", "gpt2-xl"])
    (['4 layers', '12 layers'], ['gpt2', 'gpt2-xl'])
    """
    bases, _, depths = zip(*(name.rpartition("@") for name in names))
    return (
        [f"{depth} layers" for depth in depths]
        if len(set(bases)) == 1 and bases[0]
        else list(names)
    )
