"""Makes a figure of a notebook fit for a page: as wide as a column, without a title, as pdf."""

from __future__ import annotations

from pathlib import Path

import plotly.graph_objects as go

from ..common.paths import short_path

_PIXELS_PER_MM = 96 / 25.4
_FONT = 10.7  # pixels, 8 points


def for_print(figure: go.Figure, width: float = 85.0, height: float = 65.0) -> go.Figure:
    """Returns a copy of a figure for a page: no title, for what it says goes into the caption.

    Args:
        figure: of this room.
        width, height: in millimetres; 85 is a column of a page with two.
    Raises:
        ValueError: a size that is not positive.
    """
    for name, size in (("width", width), ("height", height)):
        if not size > 0:
            raise ValueError(f"{name} = {size!r}; expected millimetres, more than 0")
    page = go.Figure(figure)
    page.update_layout(
        title=None,
        width=round(width * _PIXELS_PER_MM),
        height=round(height * _PIXELS_PER_MM),
        margin=dict(l=45, r=8, t=8, b=40),
        font_size=_FONT,
        paper_bgcolor="white",
    )
    page.update_xaxes(title_font_size=_FONT, tickfont_size=_FONT)
    page.update_yaxes(title_font_size=_FONT, tickfont_size=_FONT)
    page.update_annotations(font_size=_FONT)
    return page


def save_pdf(figure: go.Figure, path: str | Path) -> str:
    """Writes a figure as pdf, its letters as letters, and says where; it takes a Chromium.

    Returns:
        a line to print: the file's path, or why there is none.
    """
    try:
        figure.write_image(path, format="pdf")
    except Exception as error:  # no browser, or one that does not start: the rest goes on
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        return f"no pdf, which takes a Chromium (`make browser`): {reason}"
    return f"written to {short_path(Path(path))}"
