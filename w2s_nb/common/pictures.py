"""Shows HTML as a picture where a browser draws it: pages that run nothing show pictures alone."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Callable

# draw(html, width in pixels, scale): a PNG and its (width, height) in pixels of the page; None
# where the browser gave none
Draw = Callable[[str, int, float], tuple[bytes, tuple[int, int]] | None]
_draw: Draw | None = None


def draw_with(draw: Draw | None) -> None:
    """Lets pictures be drawn by a function; None ends that."""
    global _draw
    _draw = draw


def png_of(page: str, width: int, description: str, scale: float = 1) -> tuple[dict, dict]:
    """Draws HTML on white ground.

    Args:
        page: HTML that loads nothing.
        width: of the page, in pixels; the picture is as high as the HTML then is.
        description: what the picture shows, for a reader who does not see it.
        scale: pixels of the picture per pixel of the page.
    Returns:
        ({media type: content}, {media type: size and description}), as IPython displays them; both
        empty where no browser draws.
    """
    drawn = _draw(page, width, scale) if _draw else None
    if drawn is None:
        return {}, {}
    png, (drawn_width, height) = drawn
    png = _smaller(png)
    size = {"width": drawn_width, "height": height, "alt": description}
    return {"image/png": base64.b64encode(png).decode()}, {"image/png": size}


def _smaller(png: bytes) -> bytes:
    """Returns a picture with at most 256 colours, a third of the bytes, where Pillow is there."""
    try:
        from PIL import Image
    except ImportError:  # it comes with an extra
        return png
    reduced = io.BytesIO()
    with Image.open(io.BytesIO(png)) as image:
        image.convert("RGB").quantize(256, dither=Image.Dither.NONE).save(
            reduced, "PNG", optimize=True
        )
    return min(png, reduced.getvalue(), key=len)


class Drawing:
    """An SVG that notebooks show as a picture, also where a page is not trusted or runs nothing.

    Without a browser it is an image in HTML, which GitHub does not show.

    Attributes:
        data: the SVG, as text.
        description: what it shows, in words.
        width: in pixels.
    """

    def __init__(self, data: str, description: str, width: int):
        self.data = data
        self.description = description
        self.width = width

    def __repr__(self) -> str:
        return self.description

    def to_html(self) -> str:
        """Returns an image with the SVG in it."""
        content = base64.b64encode(self.data.encode()).decode()
        alt = html.escape(self.description, quote=True)
        return (
            f'<img alt="{alt}" width="{self.width}" src="data:image/svg+xml;base64,{content}" '
            'style="background: white; max-width: 100%">'
        )

    def _repr_mimebundle_(self, **wanted) -> tuple[dict, dict]:
        data, metadata = png_of(self.to_html(), self.width, self.description, scale=1.5)
        if not data:
            data = {"text/html": self.to_html()}
        return {"text/plain": self.description, **data}, metadata
