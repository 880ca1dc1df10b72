"""What all figures share: renderer, colours, axes, intervals."""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
import threading
import warnings

import kaleido
import numpy as np
import plotly.graph_objects as go
import plotly.io
from plotly.io.base_renderers import PngRenderer

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
_PATIENCE = 60.0  # seconds for a figure's PNG, which takes a third of one, the first four
_BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")


def use_renderer() -> str:
    """Chooses how figures are stored in a notebook, unless `PLOTLY_RENDERER` has: returns the renderer's name.

    With a Chromium on the machine every figure also gets a PNG, which GitHub and exported HTML show; without one,
    exported HTML loads plotly from its CDN.
    """
    if not os.environ.get("PLOTLY_RENDERER"):
        browser = os.environ.get("BROWSER_PATH") or next(
            filter(None, map(shutil.which, _BROWSERS)), None
        )
        plotly.io.renderers["png"] = _Png()
        plotly.io.renderers.default = "plotly_mimetype+" + (
            "png" if _serves(browser) else "notebook_connected"
        )
    return plotly.io.renderers.default


class _Png(PngRenderer):
    """A PNG beside each figure, for as long as the browser answers: kaleido itself would wait for ever."""

    silent = False

    def to_mimebundle(self, fig_dict: dict) -> dict:
        """{media type: content}, empty once a figure has had no answer."""
        found: list[dict] = []

        def draw():
            with contextlib.suppress(Exception):  # what is wrong shows in that nothing is found
                found.append(super(_Png, self).to_mimebundle(fig_dict))

        if not self.silent:
            worker = threading.Thread(target=draw, daemon=True)
            worker.start()
            worker.join(_PATIENCE)
            if not found:
                self.silent = True
                warnings.warn(
                    "the browser drew no PNG of a figure; this and later ones are stored without",
                    stacklevel=2,
                )
        return found[0] if found else {}


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
        warnings.warn(
            f"figures are stored without PNG: {browser} does not start ({error})", stacklevel=2
        )
        return False
    return True


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
