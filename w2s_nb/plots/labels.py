"""How good weak labels are."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go

from .base import WEAK, colour, figure_of


def reliability(
    probs: np.ndarray | dict[str, np.ndarray], hard_label: np.ndarray, title: str, *, bins: int = 10
) -> go.Figure:
    """Share of class 1 against the predicted probability of it, in bins; on the diagonal predictions are calibrated.

    Args:
        probs: (n, 2), of the supervisor; or {arm: (n, 2)}.
        hard_label: (n,).
    """
    arms = probs if isinstance(probs, dict) else {WEAK: probs}
    figure = figure_of(title, "predicted P(y = 1)", "share of class 1", showlegend=len(arms) > 1)
    figure.add_scatter(
        x=[0, 1], y=[0, 1], mode="lines", line=dict(color="#999999", dash="dot"), showlegend=False
    )
    for arm, of in arms.items():
        _add_bins(figure, arm, of[:, 1], hard_label, bins)
    return figure


def _add_bins(
    figure: go.Figure, arm: str, p1: np.ndarray, hard_label: np.ndarray, bins: int
) -> None:
    where = np.minimum((p1 * bins).astype(int), bins - 1)
    used = np.flatnonzero(np.bincount(where, minlength=bins))
    n = np.array([(where == b).sum() for b in used])
    share = np.array([hard_label[where == b].mean() for b in used])
    error = 1.96 * np.sqrt(share * (1 - share) / n)
    figure.add_scatter(
        x=[p1[where == b].mean() for b in used],
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
    """Accuracy of labels in equal parts of rising confidence, with binomial 95 % intervals.

    Args:
        confidence: (n,) probability of the likelier class.
        right: (n,) bool.
    """
    figure = figure_of(
        title,
        "labels, from the least to the most confident",
        "share that is right",
        showlegend=False,
    )
    rows = np.array_split(np.argsort(confidence, kind="stable"), parts)
    share = np.array([right[r].mean() for r in rows])
    error = 1.96 * np.sqrt(share * (1 - share) / np.array([len(r) for r in rows]))
    names = [f"{confidence[r].min():.2f} to {confidence[r].max():.2f}" for r in rows]
    figure.add_bar(
        x=names,
        y=share,
        marker_color=colour(WEAK),
        text=[f"{s:.2f}" for s in share],
        error_y=dict(type="data", array=error, color="#222222"),
    )
    figure.add_hline(y=right.mean(), line_dash="dot", line_width=1.5, annotation_text="all labels")
    figure.update_yaxes(range=[0.4, 1.02])
    return figure
