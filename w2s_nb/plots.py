"""Figures: tables or arrays in, plotly Figure out. One colour an arm everywhere, dots for seeds, bars for intervals."""
from __future__ import annotations

import functools
import os
import shutil
import warnings

import kaleido
import numpy as np
import pandas as pd
import plotly.graph_objects as go
import plotly.io

WEAK, CEILING = "weak supervisor", "strong ceiling"
# Okabe and Ito's palette, distinguishable with any colour vision
COLOURS = {WEAK: "#E69F00", "student, naive": "#56B4E9", "student, confidence": "#0072B2",
           "student, product": "#009E73", "student, entropy": "#CC79A7", CEILING: "#7F7F7F"}
_MORE = ("#D55E00", "#F0E442", "#332288", "#88CCEE", "#44AA99", "#882255")
_UNBOUNDED = 100.0  # length of an interval's arm that has no end, beyond every axis
_BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")


def use_renderer() -> str:
    """Chooses how figures are stored in a notebook, unless `PLOTLY_RENDERER` has: returns the renderer's name.

    With a Chromium on the machine every figure also gets a PNG, which GitHub and exported HTML show; without one,
    exported HTML loads plotly from its CDN.
    """
    if not os.environ.get("PLOTLY_RENDERER"):
        browser = os.environ.get("BROWSER_PATH") or next(filter(None, map(shutil.which, _BROWSERS)), None)
        plotly.io.renderers.default = "plotly_mimetype+" + ("png" if _serves(browser) else "notebook_connected")
    return plotly.io.renderers.default


@functools.cache
def _serves(browser: str | None) -> bool:
    """Starts one browser for all figures of this process, 0.3 s each instead of 4; False if there is none that does."""
    if not browser:
        return False
    os.environ["BROWSER_PATH"] = browser
    warnings.filterwarnings("ignore", message="The kopts argument is ignored")
    try:
        kaleido.start_sync_server(silence_warnings=True)
    except Exception as error:  # a browser that does not start must not cost a run its figures
        warnings.warn(f"figures are stored without PNG: {browser} does not start ({error})", stacklevel=2)
        return False
    return True


def colour(arm: str) -> str:
    """The colour of an arm; arms of newly registered losses take further ones, always the same."""
    if arm not in COLOURS:
        COLOURS[arm] = _MORE[sum(map(ord, arm)) % len(_MORE)]
    return COLOURS[arm]


def _figure(title: str, x: str, y: str, **layout) -> go.Figure:
    figure = go.Figure()
    figure.update_layout(template="simple_white", title=title, width=760, height=430, margin=dict(t=60, r=20),
                         legend=dict(orientation="h", y=-0.22), **layout)
    figure.update_xaxes(title=x)
    figure.update_yaxes(title=y, gridcolor="#E5E5E5", showgrid=True)
    return figure


def _interval(low, value, high) -> dict:
    low, value, high = (np.atleast_1d(np.asarray(v, dtype=float)) for v in (low, value, high))
    return dict(type="data", symmetric=False, array=np.nan_to_num(high - value, posinf=_UNBOUNDED),
                arrayminus=np.nan_to_num(value - low, posinf=_UNBOUNDED), color="#222222", thickness=1.3)


def accuracy(table: pd.DataFrame, by_seed: pd.DataFrame, title: str) -> go.Figure:
    """Test accuracy of each arm: bar, 95 % interval, a dot a seed, and the line of chance.

    Args:
        table: `Arms.table()`.
        by_seed: `Arms.by_seed()`.
    """
    figure = _figure(title, "", "test accuracy", showlegend=False)
    for arm, row in table.iterrows():
        figure.add_bar(x=[arm], y=[row.accuracy], marker_color=colour(arm), width=0.6,
                       error_y=_interval(row.accuracy_low, row.accuracy, row.accuracy_high))
        dots = by_seed[by_seed.arm == arm]
        figure.add_scatter(x=[arm] * len(dots), y=dots.accuracy, mode="markers", marker=dict(color="#222222", size=6,
                           symbol="circle-open"), text=[f"seed {s}" for s in dots.seed])
    low = min(0.5, by_seed.accuracy.min()) - 0.05  # bars are cut below chance
    for arm, row in table.iterrows():
        figure.add_annotation(x=arm, y=low, yanchor="bottom", text=f"<b>{row.accuracy:.3f}</b>", showarrow=False)
    figure.add_hline(y=0.5, line_dash="dot", line_width=1.5, annotation_text="chance",
                     annotation_position="top left")
    figure.update_yaxes(range=[low, min(1.0, max(table.accuracy_high.max(), by_seed.accuracy.max()) + 0.03)])
    return figure


def pgr(table: pd.DataFrame, by_seed: pd.DataFrame, title: str, *, x: str) -> go.Figure:
    """PGR by column `x` of the table, an arm a colour: point, 95 % interval, a dot a seed; 0 and 1 marked.

    Args:
        table: rows with arm, pgr, pgr_low, pgr_high and the column `x`; rows without a PGR are left out.
        by_seed: rows with arm, pgr and the column `x`.
    """
    figure, rows = _figure(title, x, "performance gap recovered"), table.dropna(subset=["pgr"])
    for arm, part in rows.groupby("arm", sort=False):
        dots = by_seed[by_seed.arm == arm].dropna(subset=["pgr"])
        figure.add_scatter(x=dots[x], y=dots.pgr, mode="markers", showlegend=False, offsetgroup=arm,
                           marker=dict(color=colour(arm), size=7, symbol="circle-open"))
        figure.add_scatter(x=part[x], y=part.pgr, name=arm, mode="markers", offsetgroup=arm,
                           marker=dict(color=colour(arm), size=11),
                           error_y=_interval(part.pgr_low, part.pgr, part.pgr_high))
    figure.add_hline(y=0, line_color=colour(WEAK), line_width=2, annotation_text="supervisor",
                     annotation_position="top left")
    figure.add_hline(y=1, line_color=colour(CEILING), line_width=2, annotation_text="ceiling",
                     annotation_position="top left")
    if rows.groupby(x).arm.nunique().max() > 1:  # arms side by side
        figure.update_layout(scattermode="group", scattergap=0.6)
    figure.update_xaxes(type="category", range=[-0.5, rows[x].nunique() - 0.5])
    shown = np.r_[rows.pgr_low, rows.pgr_high, 0, 1]
    shown = np.clip(shown[np.isfinite(shown)], -1.5, 2.5)
    figure.update_yaxes(range=[shown.min() - 0.15, shown.max() + 0.15])
    return figure


def ladder(table: pd.DataFrame, title: str) -> go.Figure:
    """Test accuracy against the student's size, an arm a line, with intervals; the supervisor as a band.

    Args:
        table: rows with arm, strong, accuracy, accuracy_low, accuracy_high, ordered by the student's size.
    """
    figure = _figure(title, "strong student", "test accuracy")
    for arm, part in table.groupby("arm", sort=False):
        figure.add_scatter(x=part.strong, y=part.accuracy, name=arm, mode="lines+markers",
                           line=dict(color=colour(arm), dash="dash" if arm in (WEAK, CEILING) else "solid"),
                           error_y=_interval(part.accuracy_low, part.accuracy, part.accuracy_high))
    figure.update_xaxes(type="category")
    return figure


def reliability(probs: np.ndarray, hard_label: np.ndarray, title: str, *, bins: int = 10) -> go.Figure:
    """Share of class 1 against the predicted probability of it, in bins; on the diagonal labels are calibrated.

    Args:
        probs: (n, 2).
        hard_label: (n,).
    """
    p1, figure = probs[:, 1], _figure(title, "predicted P(y = 1)", "share of class 1", showlegend=False)
    where = np.minimum((p1 * bins).astype(int), bins - 1)
    used = np.flatnonzero(np.bincount(where, minlength=bins))
    n = np.array([(where == b).sum() for b in used])
    share = np.array([hard_label[where == b].mean() for b in used])
    error = 1.96 * np.sqrt(share * (1 - share) / n)
    figure.add_scatter(x=[0, 1], y=[0, 1], mode="lines", line=dict(color="#999999", dash="dot"))
    figure.add_scatter(x=[p1[where == b].mean() for b in used], y=share, mode="markers+lines",
                       marker=dict(size=4 + 24 * np.sqrt(n / n.sum()), color=colour(WEAK)),
                       error_y=dict(type="data", array=error, color="#222222"), text=[f"{k} examples" for k in n])
    return figure


def quality_by_confidence(confidence: np.ndarray, right: np.ndarray, title: str, *, parts: int = 5) -> go.Figure:
    """Accuracy of labels in equal parts of rising confidence, with binomial 95 % intervals.

    Args:
        confidence: (n,) probability of the likelier class.
        right: (n,) bool.
    """
    figure = _figure(title, "labels, from the least to the most confident", "share that is right", showlegend=False)
    rows = np.array_split(np.argsort(confidence, kind="stable"), parts)
    share = np.array([right[r].mean() for r in rows])
    error = 1.96 * np.sqrt(share * (1 - share) / np.array([len(r) for r in rows]))
    names = [f"{confidence[r].min():.2f} to {confidence[r].max():.2f}" for r in rows]
    figure.add_bar(x=names, y=share, marker_color=colour(WEAK), text=[f"{s:.2f}" for s in share],
                   error_y=dict(type="data", array=error, color="#222222"))
    figure.add_hline(y=right.mean(), line_dash="dot", line_width=1.5, annotation_text="all labels")
    figure.update_yaxes(range=[0.4, 1.02])
    return figure


def lines(series: dict[str, tuple], title: str, x: str, y: str) -> go.Figure:
    """Lines {name: (x, y)}, in the arm's colour where the name is an arm's."""
    figure = _figure(title, x, y)
    for name, (xs, ys) in series.items():
        figure.add_scatter(x=xs, y=ys, name=name, mode="lines+markers" if len(xs) < 30 else "lines",
                           line=dict(color=colour(name)))
    return figure


def agreement(rows: pd.DataFrame, title: str) -> go.Figure:
    """Share of examples on which a student predicts as its supervisor, by whether the supervisor is right.

    Args:
        rows: columns arm, on ('all', 'mistakes', 'correct'), value, low, high.
    """
    figure = _figure(title, "the supervisor's answers", "student agrees")
    for arm, part in rows.groupby("arm", sort=False):
        figure.add_bar(x=part.on, y=part.value, name=arm, marker_color=colour(arm),
                       text=[f"{v:.2f}" for v in part.value], error_y=_interval(part.low, part.value, part.high))
    figure.update_layout(barmode="group")
    figure.update_yaxes(range=[0, 1.05])
    return figure
