"""Reads AlexNet, the paper's weak supervisor on ImageNet, from torchvision's file of weights.

The file is not fetched: it is on no package index. Source: Krizhevsky 2014, "One weird trick for
parallelizing convolutional neural networks"; Burns et al. 2023, appendix D.1.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from torch import nn

from ..common.files import sha256_of
from ..common.paths import cache
from ..common.registry import ENCODERS
from ..models.files import ModelUnavailable
from ..models.names import Checkpoint
from . import preprocessing
from .weights import put_weights, read_pth

# torchvision writes the beginning of the file's sha256 into its name
FILE = "alexnet-owt-7be5be79.pth"
_SHA256 = "7be5be79"
_ADDRESS = f"https://download.pytorch.org/models/{FILE}"
_SIDE = 224  # pixels
# channels in and out, kernel, stride, padding and whether the largest of 3 x 3 follows
_CONVOLUTIONS = (
    (3, 64, 11, 4, 2, True),
    (64, 192, 5, 1, 2, True),
    (192, 384, 3, 1, 1, False),
    (384, 256, 3, 1, 1, False),
    (256, 256, 3, 1, 1, True),
)
_WIDE = 4096


class AlexNet(nn.Module):
    """The network with its own classifier of ImageNet's 1,000 classes.

    `features` and `classifier` are named and numbered as torchvision's.
    """

    def __init__(self):
        super().__init__()
        layers: list[nn.Module] = []
        for channels_in, channels, kernel, stride, padding, pools in _CONVOLUTIONS:
            layers += [nn.Conv2d(channels_in, channels, kernel, stride, padding), nn.ReLU()]
            if pools:
                layers.append(nn.MaxPool2d(3, 2))
        self.features = nn.Sequential(*layers)
        self.avgpool = nn.AdaptiveAvgPool2d(6)
        self.classifier = nn.Sequential(
            nn.Dropout(),
            nn.Linear(256 * 6 * 6, _WIDE),
            nn.ReLU(),
            nn.Dropout(),
            nn.Linear(_WIDE, _WIDE),
            nn.ReLU(),
            nn.Linear(_WIDE, 1000),
        )
        self.layers: int | None = None

    def forward(self, images: torch.Tensor) -> list[torch.Tensor]:
        """Returns features (n, d) after 0 to 5 convolutions and 6 and 7 linear layers.

        Those of images and convolutions are means over the image.

        Args:
            images: uint8 (n, H, W, 3).
        """
        x = preprocessing.prepare(
            images, _SIDE, preprocessing.IMAGENET_MEAN, preprocessing.IMAGENET_STD
        )
        features = [x.mean((2, 3))]
        for layer in self.features:
            x = layer(x)
            if isinstance(layer, nn.ReLU):
                features.append(x.mean((2, 3)))
        x = self.avgpool(x).flatten(1)
        for layer in self.classifier[:-1]:
            x = layer(x)
            if isinstance(layer, nn.ReLU):
                features.append(x)
        return features[: None if self.layers is None else self.layers + 1]

    def classify(self, images: torch.Tensor) -> torch.Tensor:
        """Returns the logits (n, 1000) of ImageNet's classes, in their usual order."""
        return self.classifier[-1](self(images)[-1])


class AlexNets:
    """The kind of encoder of `ENCODERS`; methods as of `models.encoders.Family`."""

    def ensure(self, checkpoint: Checkpoint) -> None:
        """Looks for the file, and compares its checksum."""
        find_file()

    def digest(self, checkpoint: Checkpoint) -> str:
        """Returns the beginning of the file's sha256."""
        return sha256_of(find_file())[:16]

    def widths(self, checkpoint: Checkpoint) -> tuple[int, ...]:
        """Returns the features of the image, of each convolution and of each linear layer."""
        return (3, *[channels for _, channels, *_ in _CONVOLUTIONS], _WIDE, _WIDE)

    def load(self, checkpoint: Checkpoint) -> AlexNet:
        """Returns the network; of one that is cut in depth `forward` gives fewer features."""
        net = AlexNet()
        file = find_file()
        put_weights(net, read_pth(file, checkpoint.base), file, checkpoint.base)
        net.layers = checkpoint.layers
        return net.eval()

    def hollow(self, checkpoint: Checkpoint) -> AlexNet:
        """Returns the network without weights."""
        with torch.device("meta"):
            return AlexNet().eval()

    def code_parts(self) -> tuple:
        """Returns this module and what prepares images for it."""
        return sys.modules[__name__], preprocessing


def find_file() -> Path:
    """Returns the file of weights, in the kit's cache or where torchvision keeps it.

    Raises:
        ModelUnavailable: it is in neither, or its sha256 is not the one that its name begins with.
    """
    places = [cache() / "assets", Path(torch.hub.get_dir()) / "checkpoints"]
    for place in places:
        file = place / FILE
        if file.is_file():
            if not sha256_of(file).startswith(_SHA256):
                raise ModelUnavailable(
                    f"model alexnet: the sha256 of {file} begins with {sha256_of(file)[:8]}, not "
                    f"with {_SHA256}; download it again from {_ADDRESS}"
                )
            return file
    raise ModelUnavailable(
        f"model alexnet: {FILE} is in neither {places[0]} nor {places[1]}; download it there from "
        f"{_ADDRESS}"
    )


ENCODERS.register("alexnet", AlexNets())
