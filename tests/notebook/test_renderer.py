"""The renderer: PNGs where a browser draws, plotly's CDN elsewhere, and no endless waiting."""

import subprocess
import sys
import time

import pytest

from w2s_nb.notebook import renderer


def test_renderer_follows_the_environment(monkeypatch):
    monkeypatch.delenv("PLOTLY_RENDERER", raising=False)
    monkeypatch.setenv("BROWSER_PATH", "/somewhere/chromium")
    monkeypatch.setattr(renderer.kaleido, "start_sync_server", lambda **options: None)
    assert renderer.use_renderer() == "plotly_mimetype+png"
    monkeypatch.setenv("BROWSER_PATH", "/somewhere/broken")
    monkeypatch.setattr(renderer.kaleido, "start_sync_server", lambda **options: 1 / 0)
    with pytest.warns(UserWarning, match="does not start"):
        assert renderer.use_renderer() == "plotly_mimetype+notebook_connected"
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


def test_plots_need_no_browser():
    code = "import sys, w2s_nb.plots; assert 'kaleido' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
