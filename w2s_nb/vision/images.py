"""Names images by their pixels, and finds the pixels of a name again."""

from __future__ import annotations

import base64
import hashlib
import html
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..common.registry import MissingExtra
from ..data.tasks.spec import IMAGE

try:
    from PIL import Image, ImageOps
except ImportError as error:
    raise MissingExtra(
        "images are read by the package 'pillow', which is not installed: "
        "pip install 'w2s_nb[vision]'"
    ) from error

_CROP = 224 / 256  # share of the shorter side that is kept, as torchvision's models are tested


@dataclass(frozen=True, eq=False)
class Images:
    """Pixels of images by name; a name stands in the place of a text in an example.

    Attributes:
        places: {name: its place}, whatever `read` takes.
        read: function from a place to pixels, uint8 (H, W) of a grey image or (H, W, 3).
    """

    places: Mapping[str, Any]
    read: Callable[[Any], np.ndarray]

    def __call__(self, names: Sequence[str]) -> np.ndarray:
        """Returns the pixels of images, uint8 (n, H, W, 3).

        Raises:
            ValueError: no image has such a name, or their shapes differ.
        """
        unknown = [name for name in names if name not in self.places]
        if unknown:
            raise ValueError(f"no image is named {unknown[0]!r}, of {len(self.places)}")
        with ThreadPoolExecutor() as pool:  # pillow decodes in parallel
            pixels = list(pool.map(self._pixels_of, names))
        shapes = sorted({each.shape for each in pixels})
        if len(shapes) > 1:
            raise ValueError(
                f"images have shapes {shapes[0]} and {shapes[-1]}; expected one: give their size"
            )
        return np.stack(pixels)

    def _pixels_of(self, name: str) -> np.ndarray:
        return in_colour(self.read(self.places[name]))

    def picture(self, name: str, alt: str, side: int = 84) -> str:
        """Returns an image as HTML, with the words that stand for it where it is not seen.

        Args:
            alt: words, such as the image's class.
            side: pixels of the longer side.
        """
        image = Image.fromarray(self._pixels_of(name))
        smooth = Image.Resampling.LANCZOS if max(image.size) > side else Image.Resampling.NEAREST
        scale = side / max(image.size)
        width, height = (max(1, round(scale * n)) for n in image.size)
        file = io.BytesIO()
        image.resize((width, height), smooth).save(file, "PNG", optimize=True)
        data = base64.b64encode(file.getvalue()).decode()
        return (
            f'<img src="data:image/png;base64,{data}" alt="{html.escape(alt)}" '
            f'title="{html.escape(alt)}" width="{width}" height="{height}">'
        )

    def gallery(self, names: Iterable[str], captions: Iterable[str], side: int = 84) -> str:
        """Returns images side by side as HTML, each over its caption."""
        figures = [
            f"<figure style='display: inline-block; margin: 4px; text-align: center'>"
            f"{self.picture(name, caption, side)}"
            f"<figcaption style='font-size: 85%'>{html.escape(caption)}</figcaption></figure>"
            for name, caption in zip(names, captions, strict=True)
        ]
        return f"<div>{''.join(figures)}</div>"


def in_colour(pixels: np.ndarray) -> np.ndarray:
    """Returns an image with three channels; a grey one has three alike.

    Args:
        pixels: uint8 (H, W) or (H, W, 3).
    Raises:
        ValueError: another shape or type.
    """
    pixels = np.asarray(pixels)
    if pixels.dtype != np.uint8 or pixels.ndim not in (2, 3) or pixels.shape[2:] not in ((), (3,)):
        raise ValueError(
            f"an image is {pixels.dtype} of shape {pixels.shape}; expected uint8 (H, W) or "
            f"(H, W, 3)"
        )
    return pixels if pixels.ndim == 3 else np.repeat(pixels[..., None], 3, axis=2)


def name_of(pixels: np.ndarray) -> str:
    """Returns the name of an image: `IMAGE` and 32 hex digits of the sha256 of shape and pixels.

    A grey image has the name of the same image in colour.

    Args:
        pixels: as of `in_colour`.
    """
    pixels = in_colour(pixels)
    digest = hashlib.sha256(repr(pixels.shape).encode() + pixels.tobytes())
    return IMAGE + digest.hexdigest()[:32]


def decode(file, size: int | None) -> np.ndarray:
    """Reads an image file as viewers show it: upright, what is transparent in it on white.

    Of an animated file the first picture is read; of 16 bits the upper 8 are.

    Args:
        file: a path, or the bytes of a file.
        size: pixels of a side: the shorter side is brought to 8/7 of it, and the middle is cut out,
            as torchvision's ImageNet models are tested; None keeps the image as it is.
    Returns:
        uint8 (H, W, 3).
    Raises:
        OSError, ValueError: it is no image, or a damaged one, or one of more than 16 bits.
    """
    with Image.open(io.BytesIO(file) if isinstance(file, bytes) else file) as opened:
        image = _as_seen(opened)
    if size is None:
        return np.asarray(image)
    shorter = round(size / _CROP)
    width, height = image.size
    if width <= height:
        shape = (shorter, int(shorter * height / width))
    else:
        shape = (int(shorter * width / height), shorter)
    image = image.resize(shape, Image.Resampling.BILINEAR)
    left, top = (round((n - size) / 2) for n in image.size)
    return np.asarray(image.crop((left, top, left + size, top + size)))


def _as_seen(image: Image.Image) -> Image.Image:
    """Returns an image in RGB, as `decode` says."""
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I;16"):
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.mode in ("I", "F"):
        raise ValueError("its pixels have 32 bits; expected 8 or 16")
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer)
    return image.convert("RGB")
