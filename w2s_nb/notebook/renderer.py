"""Chooses how a notebook shows figures, as data for plotly and as PNG where possible, and texts in
tables: as they are.
"""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
import threading
import warnings

import kaleido
import pandas as pd
import plotly.io
from IPython.display import display
from plotly.io.base_renderers import ExternalRenderer, PngRenderer

from ..common import pictures
from ..plots import alt_text
from .screenshots import Screenshots

# Seconds to wait for the PNG of a figure. It takes a third of a second, the first one four.
_PATIENCE = 60.0
# Figures have a transparent ground; in JupyterLab their texts take the theme's colour, but for
# those that plotly writes on a coloured ground of its own.
INK = (
    "<style>.js-plotly-plot .main-svg "
    "text:not(.bartext-inside, .heatmap-label text, .hoverlayer text) "
    "{fill: var(--jp-content-font-color1) !important}</style>"
)
_BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")


def use_renderer() -> str:
    """Chooses plotly's renderer, unless the environment variable `PLOTLY_RENDERER` has chosen it.

    With a Chromium on the machine every figure, board and widget also gets a PNG, which GitHub and
    exported HTML show, figures with an alternative text; without one, exported HTML loads plotly
    from its CDN. Tables of pandas show texts as they are: no tag in them becomes a part of the
    page, and no price a formula.

    Returns:
        The renderer's name.
    """
    pd.set_option("styler.format.escape", "html")
    pd.set_option("styler.html.mathjax", False)
    pd.set_option("display.html.use_mathjax", False)
    if not os.environ.get("PLOTLY_RENDERER"):
        plotly.io.renderers["picture"] = _Picture()
        browser = _find_browser()
        drawn = _starts(browser)
        pictures.draw_with(Screenshots(browser).draw if drawn and browser else None)
        plotly.io.renderers.default = "picture" if drawn else "plotly_mimetype+notebook_connected"
    return plotly.io.renderers.default


def _find_browser() -> str | None:
    """Returns the path of `BROWSER_PATH`, or else of the first Chromium on the search path."""
    if os.environ.get("BROWSER_PATH"):
        return os.environ["BROWSER_PATH"]
    return next(filter(None, map(shutil.which, _BROWSERS)), None)


class _Picture(ExternalRenderer):
    """Shows a figure as data for plotly, with a PNG beside it and an alternative text, which
    plotly's own renderers have no place for.
    """

    def __init__(self):
        self.png = _Png()

    def render(self, fig_dict: dict) -> None:
        """Shows a figure in the output of the cell that runs."""
        bundle = plotly.io.renderers["plotly_mimetype"].to_mimebundle(fig_dict)
        picture = self.png.to_mimebundle(fig_dict)
        alternative = {media_type: {"alt": alt_text(fig_dict)} for media_type in picture}
        display(bundle | picture, metadata=alternative, raw=True)


class _Png(PngRenderer):
    """A PNG beside each figure, while the browser answers: kaleido itself would wait for ever."""

    silent = False

    def to_mimebundle(self, fig_dict: dict) -> dict:
        """Returns {media type: content}; an empty dict once the browser did not draw a figure."""
        bundles: list[dict] = []

        def draw():
            # An error needs no message of its own: it leaves no bundle, and that is reported below.
            with contextlib.suppress(Exception):
                bundles.append(super(_Png, self).to_mimebundle(_on_white(fig_dict)))

        if self.silent:
            return {}
        worker = threading.Thread(target=draw, daemon=True)
        worker.start()
        worker.join(_PATIENCE)
        if not bundles:
            self.silent = True
            warnings.warn(
                "the browser drew no PNG of a figure; this and later ones are stored without",
                stacklevel=2,
            )
            return {}
        return bundles[0]


def _on_white(fig_dict: dict) -> dict:
    """Returns a figure on a white ground: a picture cannot know whether its page is dark."""
    layout = fig_dict.get("layout", {})
    return {**fig_dict, "layout": {**layout, "paper_bgcolor": "white"}}


@functools.cache
def _starts(browser: str | None) -> bool:
    """Starts one browser for all figures of this process; returns False if there is none.

    A figure then takes 0.3 s instead of 4 s.
    """
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
