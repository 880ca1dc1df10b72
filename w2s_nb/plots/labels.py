"""Draws how good weak labels are."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go
from scipy import stats

from .base import LINE, WEAK, add_dotted_line, colour, figure_of, interval_of, name_places
from .findings import say_by_confidence, say_calibration


def reliability(
    probs: np.ndarray | dict[str, np.ndarray],
    hard_label: np.ndarray,
    settings: str,
    *,
    title: str = "",
    bins: int = 10,
    classes: tuple[str, ...] = (),
) -> go.Figure:
    """Draws how often a class is the true one against its predicted probability, in bins.

    Of two classes it is class 1, whose probability tells the other's too; of more it is the class
    that is predicted. On the diagonal, predictions are calibrated. Intervals are Wilson's, of 95 %.

    Args:
        probs: (n, K), of the supervisor; or {arm: (n, K)}.
        hard_label: (n,) from 0 to K - 1.
        settings: what was run; it stands below the title.
        title: "" says how far the points of each arm lie from the diagonal.
        classes: names of the classes; () leaves their numbers.
    """
    arms = probs if isinstance(probs, dict) else {WEAK: probs}
    positive = f'"{classes[1]}"' if len(classes) == 2 else ""
    axes = (f"predicted P({positive or 'y = 1'})", f"share of {positive or 'class 1'}")
    if any(probs_of_arm.shape[1] > 2 for probs_of_arm in arms.values()):
        axes = ("probability of the predicted class", "share that is right")
    forecasts = {arm: _forecast(of_arm, hard_label) for arm, of_arm in arms.items()}
    binned = {arm: _bins_of(*forecast, bins) for arm, forecast in forecasts.items()}
    title = title or say_calibration({arm: _distance(*of_arm) for arm, of_arm in binned.items()})
    figure = figure_of(title, *axes, settings=settings, showlegend=len(arms) > 1)
    figure.add_scatter(
        x=[0, 1], y=[0, 1], mode="lines", line=dict(color=LINE, dash="dot"), showlegend=False
    )
    for arm, of_arm in binned.items():
        _add_bins(figure, arm, *of_arm)
    figure.update_xaxes(range=[-0.02, 1.02])
    figure.update_yaxes(range=[-0.02, 1.02])
    return figure


def _bins_of(
    probability: np.ndarray, happened: np.ndarray, bins: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns of each bin that has examples: the mean probability, how often it happened, of how
    many.
    """
    bin_of = np.minimum((probability * bins).astype(int), bins - 1)
    used = np.flatnonzero(np.bincount(bin_of, minlength=bins))
    n = np.array([(bin_of == b).sum() for b in used])
    times = np.array([happened[bin_of == b].sum() for b in used])
    return np.array([probability[bin_of == b].mean() for b in used]), times, n


def _distance(predicted: np.ndarray, times: np.ndarray, n: np.ndarray) -> float:
    """Returns how far examples lie from the diagonal on average: the calibration error."""
    return float(np.average(np.abs(times / n - predicted), weights=n))


def _forecast(probs: np.ndarray, hard_label: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns (n,) the predicted probability of a class, and (n,) whether it is the true one."""
    n_classes = probs.shape[1]
    if n_classes == 2:
        return probs[:, 1], hard_label
    # of equal probabilities the last class is predicted, as everywhere
    predicted = n_classes - 1 - probs[:, ::-1].argmax(axis=1)
    return probs.max(axis=1), predicted == hard_label


def _add_bins(
    figure: go.Figure, arm: str, predicted: np.ndarray, times: np.ndarray, n: np.ndarray
) -> None:
    """Adds one arm's points, one per bin that has examples; a larger point stands for more of
    them.
    """
    figure.add_scatter(
        x=predicted,
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
    confidence: np.ndarray,
    right: np.ndarray,
    settings: str,
    *,
    title: str = "",
    parts: int = 5,
) -> go.Figure:
    """Draws the accuracy of labels in equal parts of rising confidence, with Wilson's 95 %
    intervals.

    Args:
        confidence: (n,) probability of the likeliest class.
        right: (n,) bool, whether the label is right.
        settings: what was run; it stands below the title.
        title: "" says how many labels are right in the least and in the most confident part.
        parts: how many.
    """
    rows_of_parts = np.array_split(np.argsort(confidence, kind="stable"), parts)
    n = np.array([len(rows) for rows in rows_of_parts])
    times = np.array([right[rows].sum() for rows in rows_of_parts])
    share = times / n
    figure = figure_of(
        title or say_by_confidence(share, _wilson_ends(times, n)),
        "labels, from the least to the most confident",
        "share that is right",
        settings=settings,
        showlegend=False,
    )
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
    add_dotted_line(figure, right.mean(), "all labels")
    name_places(figure.layout.xaxis, names)
    figure.update_xaxes(range=[-0.5, len(names) - 0.5])
    lowest = min(low for low, _ in _wilson_ends(times, n))
    figure.update_yaxes(range=[max(0.0, lowest - 0.03), 1.02])
    return figure
