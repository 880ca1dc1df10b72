"""Draws how good weak labels are."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go
from scipy import stats

from .base import WEAK, add_dotted_line, colour, figure_of, interval_of, name_places


def reliability(
    probs: np.ndarray | dict[str, np.ndarray], hard_label: np.ndarray, title: str, *, bins: int = 10
) -> go.Figure:
    """Draws how often a class is the true one against its predicted probability, in bins.

    Of two classes it is class 1, whose probability tells the other's too; of more it is the class
    that is predicted. On the diagonal, predictions are calibrated.

    Args:
        probs: (n, K), of the supervisor; or {arm: (n, K)}.
        hard_label: (n,) from 0 to K - 1.
    """
    arms = probs if isinstance(probs, dict) else {WEAK: probs}
    axes = ("predicted P(y = 1)", "share of class 1")
    if any(probs_of_arm.shape[1] > 2 for probs_of_arm in arms.values()):
        axes = ("probability of the predicted class", "share that is right")
    figure = figure_of(title, *axes, showlegend=len(arms) > 1)
    figure.add_scatter(
        x=[0, 1], y=[0, 1], mode="lines", line=dict(color="#999999", dash="dot"), showlegend=False
    )
    for arm, probs_of_arm in arms.items():
        _add_bins(figure, arm, *_forecast(probs_of_arm, hard_label), bins)
    return figure


def _forecast(probs: np.ndarray, hard_label: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns (n,) the predicted probability of a class, and (n,) whether it is the true one."""
    n_classes = probs.shape[1]
    if n_classes == 2:
        return probs[:, 1], hard_label
    # of equal probabilities the last class is predicted, as everywhere
    predicted = n_classes - 1 - probs[:, ::-1].argmax(axis=1)
    return probs.max(axis=1), predicted == hard_label


def _add_bins(
    figure: go.Figure, arm: str, probability: np.ndarray, happened: np.ndarray, bins: int
) -> None:
    """Adds one arm's points, one per bin that has examples; a larger point stands for more of
    them.
    """
    bin_of = np.minimum((probability * bins).astype(int), bins - 1)
    used = np.flatnonzero(np.bincount(bin_of, minlength=bins))
    n = np.array([(bin_of == b).sum() for b in used])
    times = np.array([happened[bin_of == b].sum() for b in used])
    figure.add_scatter(
        x=[probability[bin_of == b].mean() for b in used],
        y=times / n,
        mode="markers+lines",
        name=arm,
        line_color=colour(arm),
        marker=dict(size=4 + 24 * np.sqrt(n / n.sum()), color=colour(arm)),
        error_y=wilson(times, n),
        text=[f"{k} examples" for k in n],
    )


def wilson(times: np.ndarray, n: np.ndarray) -> dict:
    """Returns plotly's error bars for shares: Wilson's 95 % interval, which stays within 0 and 1.

    Args:
        times: (k,) how often it happened.
        n: (k,) of how many.
    """
    low, high = zip(*_wilson_ends(times, n), strict=True)
    return interval_of(low, times / n, high)


def _wilson_ends(times: np.ndarray, n: np.ndarray) -> list[tuple[float, float]]:
    tests = [stats.binomtest(int(a), int(b)) for a, b in zip(times, n, strict=True)]
    return [tuple(test.proportion_ci(method="wilson")) for test in tests]


def quality_by_confidence(
    confidence: np.ndarray, right: np.ndarray, title: str, *, parts: int = 5
) -> go.Figure:
    """Draws the accuracy of labels in equal parts of rising confidence, with Wilson's 95 %
    intervals.

    Args:
        confidence: (n,) probability of the likeliest class.
        right: (n,) bool, whether the label is right.
        parts: how many.
    """
    figure = figure_of(
        title,
        "labels, from the least to the most confident",
        "share that is right",
        showlegend=False,
    )
    rows_of_parts = np.array_split(np.argsort(confidence, kind="stable"), parts)
    n = np.array([len(rows) for rows in rows_of_parts])
    times = np.array([right[rows].sum() for rows in rows_of_parts])
    share = times / n
    names = []
    for rows in rows_of_parts:
        names.append(f"{confidence[rows].min():.2f} to {confidence[rows].max():.2f}")
    figure.add_scatter(
        x=names,
        y=share,
        mode="markers+text",
        marker=dict(color=colour(WEAK), size=12),
        text=[f"  {s:.2f}" for s in share],
        textposition="middle right",
        error_y=wilson(times, n),
    )
    add_dotted_line(figure, right.mean(), "all labels", "right")
    figure.update_layout(margin=dict(r=80))
    name_places(figure.layout.xaxis, names)
    figure.update_xaxes(range=[-0.5, len(names) - 0.5])
    lowest = min(low for low, _ in _wilson_ends(times, n))
    figure.update_yaxes(range=[max(0.0, lowest - 0.03), 1.02])
    return figure
