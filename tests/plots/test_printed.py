"""Figures for a page of paper."""

import plotly.graph_objects as go
import pytest

from w2s_nb import plots


def figure():
    drawn = go.Figure(go.Scatter(x=[1, 2], y=[3, 4]))
    return drawn.update_layout(title_text="what is seen", title_subtitle_text="settings", width=760)


def test_a_figure_for_a_page_has_no_title_and_the_width_of_a_column():
    screen = figure()
    page = plots.for_print(screen)
    assert page.layout.title.text is None and page.layout.title.subtitle.text is None
    assert page.layout.width == round(85 / 25.4 * 96) == 321
    assert screen.layout.width == 760 and screen.layout.title.text == "what is seen"
    assert list(page.data[0].y) == [3, 4]


@pytest.mark.parametrize("size", [0, -1, float("nan")])
def test_a_page_without_width_is_refused(size):
    with pytest.raises(ValueError, match="width = .*expected millimetres"):
        plots.for_print(figure(), width=size)


def test_where_no_browser_draws_the_line_says_so(tmp_path, monkeypatch):
    path = tmp_path / "a.pdf"
    wrote = []
    monkeypatch.setattr(go.Figure, "write_image", lambda self, *a, **k: wrote.append(a))
    assert plots.save_pdf(figure(), path).startswith("written to ") and wrote == [(path,)]

    def fails(self, *arguments, **options):
        raise RuntimeError("Chrome not found\nand more")

    monkeypatch.setattr(go.Figure, "write_image", fails)
    assert plots.save_pdf(figure(), path).endswith("(`make browser`): Chrome not found")
