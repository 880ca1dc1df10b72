"""Reads the files of weights that encoders come in, never by pickle's own means."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from ..models.files import ModelUnavailable, reason


def read_pth(file: Path, model: str) -> dict[str, torch.Tensor]:
    """Returns the tensors in a file of `torch.save`, of which nothing but tensors is read.

    Args:
        model: its name, for errors.
    Raises:
        ModelUnavailable: it holds something else, or is damaged.
    """
    try:
        tensors = torch.load(file, map_location="cpu", weights_only=True)
        if not all(isinstance(tensor, torch.Tensor) for tensor in tensors.values()):
            raise ValueError("it holds other things than tensors")
    except Exception as error:  # the reader's errors share no base class
        raise ModelUnavailable(
            f"model {model}: {file} cannot be read as tensors ({reason(error)})"
        ) from error
    return tensors


def put_weights(net: nn.Module, tensors: dict[str, torch.Tensor], file: Path, model: str) -> None:
    """Puts tensors into a module whose parameters and buffers they all are.

    Raises:
        ModelUnavailable: one is lacking, is one too many, has another shape, or is not finite.
    """
    try:
        net.load_state_dict(tensors)
    except RuntimeError as error:
        raise ModelUnavailable(
            f"model {model}: {file} has not the tensors of this model ({reason(error)})"
        ) from error
    for name, tensor in net.state_dict().items():
        if not torch.isfinite(tensor).all():
            raise ModelUnavailable(f"model {model}: its weights {name} hold NaN or infinity")
