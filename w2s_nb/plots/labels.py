"""Draws how good weak labels are."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go

from .base import WEAK, add_dotted_line, colour, figure_of


def reliability(
    probs: np.ndarray | dict[str, np.ndarray], hard_label: np.ndarray, title: str, *, bins: int = 10
) -> go.Figure:
    """Draws the share of class 1 against its predicted probability, in bins.

    On the diagonal, predictions are calibrated.

    Args:
        probs: (n, 2), of the supervisor; or {arm: (n, 2)}.
        hard_label: (n,).
    """
    arms = probs if isinstance(probs, dict) else {WEAK: probs}
    figure = figure_of(title, "predicted P(y = 1)", "share of class 1", showlegend=len(arms) > 1)
    figure.add_scatter(
        x=[0, 1], y=[0, 1], mode="lines", line=dict(color="#999999", dash="dot"), showlegend=False
    )
    for arm, probs_of_arm in arms.items():
        _add_bins(figure, arm, probs_of_arm[:, 1], hard_label, bins)
    return figure


def _add_bins(
    figure: go.Figure, arm: str, p1: np.ndarray, hard_label: np.ndarray, bins: int
) -> None:
    """Adds one arm's points, one per bin that has examples; a larger point stands for more of
    them.
    """
    bin_of = np.minimum((p1 * bins).astype(int), bins - 1)
    used = np.flatnonzero(np.bincount(bin_of, minlength=bins))
    n = np.array([(bin_of == b).sum() for b in used])
    share = np.array([hard_label[bin_of == b].mean() for b in used])
    error = 1.96 * np.sqrt(share * (1 - share) / n)
    figure.add_scatter(
        x=[p1[bin_of == b].mean() for b in used],
        y=share,
        mode="markers+lines",
        name=arm,
        line_color=colour(arm),
        marker=dict(size=4 + 24 * np.sqrt(n / n.sum()), color=colour(arm)),
        error_y=dict(type="data", array=error, color="#222222"),
        text=[f"{k} examples" for k in n],
    )


def quality_by_confidence(
    confidence: np.ndarray, right: np.ndarray, title: str, *, parts: int = 5
) -> go.Figure:
    """Draws the accuracy of labels in equal parts of rising confidence, with binomial 95 %
    intervals.

    Args:
        confidence: (n,) probability of the likelier class.
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
    share = np.array([right[rows].mean() for rows in rows_of_parts])
    error = 1.96 * np.sqrt(share * (1 - share) / n)
    names = []
    for rows in rows_of_parts:
        names.append(f"{confidence[rows].min():.2f} to {confidence[rows].max():.2f}")
    figure.add_bar(
        x=names,
        y=share,
        marker_color=colour(WEAK),
        text=[f"{s:.2f}" for s in share],
        error_y=dict(type="data", array=error, color="#222222"),
    )
    add_dotted_line(figure, right.mean(), "all labels", None)
    figure.update_yaxes(range=[0.4, 1.02])
    return figure
