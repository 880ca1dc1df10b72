"""The renderer: PNGs where a browser draws, plotly's CDN elsewhere, and no endless waiting."""

import asyncio
import io
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

from w2s_nb import plots
from w2s_nb.common import pictures
from w2s_nb.notebook import renderer, screenshots


def test_renderer_follows_the_environment(monkeypatch):
    monkeypatch.delenv("PLOTLY_RENDERER", raising=False)
    monkeypatch.setenv("BROWSER_PATH", "/somewhere/chromium")
    monkeypatch.setattr(renderer.kaleido, "start_sync_server", lambda **options: None)
    monkeypatch.setattr(pictures, "_draw", None)
    assert renderer.use_renderer() == "picture"
    assert pictures._draw.__self__.browser == "/somewhere/chromium"
    monkeypatch.setenv("BROWSER_PATH", "/somewhere/broken")
    monkeypatch.setattr(renderer.kaleido, "start_sync_server", lambda **options: 1 / 0)
    with pytest.warns(UserWarning, match="does not start"):
        assert renderer.use_renderer() == "plotly_mimetype+notebook_connected"
    assert pictures._draw is None, "boards and widgets have no picture either"
    monkeypatch.delenv("BROWSER_PATH")
    monkeypatch.setattr(renderer.shutil, "which", lambda name: None)
    assert renderer.use_renderer() == "plotly_mimetype+notebook_connected"


def test_a_browser_that_hangs_costs_a_figure_only_its_picture(monkeypatch):
    asked = []
    pictures = renderer._Png()
    monkeypatch.setattr(renderer, "_PATIENCE", 0.2)
    monkeypatch.setattr(
        renderer.PngRenderer,
        "to_mimebundle",
        lambda self, figure: asked.append(figure) or {"image/png": "x"},
    )
    assert pictures.to_mimebundle({"a": 1}) == {"image/png": "x"}
    monkeypatch.setattr(
        renderer.PngRenderer,
        "to_mimebundle",
        lambda self, figure: asked.append(figure) or time.sleep(5),
    )
    with pytest.warns(UserWarning, match="stored without"):
        assert pictures.to_mimebundle({"a": 2}) == {}
    assert pictures.to_mimebundle({"a": 3}) == {}
    assert [figure["a"] for figure in asked] == [1, 2], "nobody waits a second time"
    assert asked[0]["layout"] == {"paper_bgcolor": "white"}, "a picture's page may be dark"


def test_a_page_becomes_a_picture_as_high_as_it_is():
    browser = renderer._find_browser()
    if not browser:
        pytest.skip("no Chromium here: make browser")
    page = "<div style='height: 123px'>1 <b>2</b></div>"
    png, size = screenshots.Screenshots(browser).draw(page, 321, scale=2)
    assert size == (321, 123) and Image.open(io.BytesIO(png)).size == (642, 246)


def test_a_picture_is_stored_with_few_colours_and_its_pixels():
    noise = np.random.default_rng(0).integers(0, 60, (40, 50, 3)).astype("uint8")
    file = io.BytesIO()
    Image.fromarray(noise).save(file, "PNG")
    smaller = pictures._smaller(file.getvalue())
    reduced = Image.open(io.BytesIO(smaller)).convert("RGB")
    assert len(smaller) < len(file.getvalue()) and reduced.size == (50, 40)
    assert abs(np.asarray(reduced).astype(int) - noise).mean() < 10


def test_a_browser_that_draws_no_page_is_asked_once(monkeypatch):
    asked = []

    async def hangs(*page):
        asked.append(page)
        await asyncio.sleep(5)

    monkeypatch.setattr(screenshots, "_draw", hangs)
    shots = screenshots.Screenshots("chromium", patience=0.2)
    with pytest.warns(UserWarning, match=r"no picture of a board or widget \(no answer in 0.2 s\)"):
        assert shots.draw("a", 10) is None
    assert shots.draw("b", 10) is None and len(asked) == 1
    monkeypatch.setattr(pictures, "_draw", shots.draw)
    assert pictures.png_of("a", 10, "words") == ({}, {})


def test_an_error_of_the_browser_is_named(monkeypatch):
    async def fails(*page):
        raise ConnectionError("/a/path/of/this/machine")

    monkeypatch.setattr(screenshots, "_draw", fails)
    with pytest.warns(UserWarning, match=r"\(ConnectionError\)") as told:
        assert screenshots.Screenshots("chromium").draw("a", 10) is None
    assert "/a/path" not in str(told[0].message)


def test_plots_need_no_browser():
    code = "import sys, w2s_nb.plots; assert 'kaleido' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_figure_is_shown_with_its_picture_and_says_what_it_shows(monkeypatch):
    """nbconvert and screen readers find the text where Jupyter keeps that of an image."""
    shown = []
    monkeypatch.setattr(
        renderer, "display", lambda data, *, metadata, raw: shown.append((data, metadata))
    )
    monkeypatch.setattr(renderer.PngRenderer, "to_mimebundle", lambda *_: {"image/png": "x"})
    figure = plots.lines(
        {"student, naive": ([0, 1], [0.5, 0.75])}, "film, seed 0", "depth", "share"
    )
    renderer._Picture().render(figure.to_dict())
    ((data, metadata),) = shown
    assert set(data) == {"application/vnd.plotly.v1+json", "image/png"}
    said = metadata["image/png"]["alt"]
    assert said == (
        "Share from 0.5 to 0.75. film, seed 0. share by depth. student, naive: 0 0.5, 1 0.75"
    )
    monkeypatch.setattr(renderer.PngRenderer, "to_mimebundle", lambda *_: {})
    renderer._Picture().render(figure.to_dict())
    assert shown[1][1] == {}, "no picture, no text for it"
