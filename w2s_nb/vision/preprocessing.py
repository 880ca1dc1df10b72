"""Brings images to the size and scale on which an encoder was trained."""

from __future__ import annotations

import torch
from torch.nn import functional

# of ImageNet's training images, per channel, on a scale of 0 to 1
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
# a small image is enlarged so many times, at least to so many pixels
_MOST_ENLARGED = 2
_LEAST_SIDE = 56


def side_of(images: torch.Tensor, size: int) -> int:
    """Returns the pixels of a side at which a convolutional network reads images.

    They are those that it was trained on, or for small images at most twice their own, since more
    shows no more: on 28 pixels of MNIST, EfficientNet-Lite 2 has .91 at 56 pixels, .90 at 112 in
    three times as long, and the network was trained on 260.

    Args:
        images: uint8 (n, H, W, 3).
        size: pixels of a side in training.
    """
    return min(size, max(_LEAST_SIDE, _MOST_ENLARGED * min(images.shape[1:3])))


def prepare(
    images: torch.Tensor, size: int, mean: tuple[float, ...], std: tuple[float, ...]
) -> torch.Tensor:
    """Returns images as an encoder takes them: square, float32, standardised per channel.

    Each is resized, by cubic interpolation, until its shorter side has `size` pixels; of the longer
    side the middle is kept. So an image that is square already is shown whole.

    Args:
        images: uint8 (n, H, W, 3).
        size: pixels of a side.
        mean, std: per channel, on a scale of 0 to 1.
    Returns:
        float32 (n, 3, size, size).
    """
    pixels = images.permute(0, 3, 1, 2).float()
    height, width = pixels.shape[2:]
    if min(height, width) != size:
        scale = size / min(height, width)
        shape = [max(size, round(height * scale)), max(size, round(width * scale))]
        pixels = functional.interpolate(
            pixels, shape, mode="bicubic", antialias=True, align_corners=False
        ).clamp(0, 255)
    top = (pixels.shape[2] - size) // 2
    left = (pixels.shape[3] - size) // 2
    pixels = pixels[:, :, top : top + size, left : left + size] / 255
    means, stds = (
        torch.tensor(values, device=pixels.device)[:, None, None] for values in (mean, std)
    )
    return (pixels - means) / stds
