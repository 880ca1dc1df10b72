"""Measures how fast a training ran: tokens per second, and the share of the device's peak."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import nn
from tqdm import tqdm
from transformers.pytorch_utils import Conv1D

from ..common import distributed
from ..common.device import device, machine, peak_flops


@dataclass(frozen=True)
class Speed:
    """How fast the steps of a training ran, evaluations left out.

    Attributes:
        seconds: of all steps.
        tokens_per_second: without padding, of all devices together.
        model_flops_utilisation: `model_flops` per second, as a share of what the devices can do at
            most; None on a CPU, and on cards whose peak is not known.
    """

    seconds: float
    tokens_per_second: float
    model_flops_utilisation: float | None

    def __str__(self) -> str:
        line = f"{self.tokens_per_second:,.0f} tokens a second"
        if self.model_flops_utilisation is None:
            return line
        return f"{line}, {self.model_flops_utilisation:.0%} of the peak of {machine()}"


class SpeedMeter:
    """Measures the time from when it is made, without that of some functions."""

    def __init__(self) -> None:
        self._started = time.perf_counter()
        self._left_out = 0.0

    def leave_out(self, function: Callable) -> Callable:
        """Returns a function whose time does not count."""

        def run(*arguments):
            before = time.perf_counter()
            function(*arguments)
            self._left_out += time.perf_counter() - before

        return run

    def speed(self, net: nn.Module, lengths: np.ndarray) -> Speed:
        """Returns the speed at which a module was trained.

        The device has to be done: whoever calls has read the last loss.

        Args:
            lengths: tokens of each text that it was trained on, once per epoch.
        """
        seconds = time.perf_counter() - self._started - self._left_out
        peak = peak_flops()
        share = None
        if peak is not None and hasattr(getattr(net, "body", None), "config"):
            share = model_flops(net, lengths) / seconds / (peak * distributed.n_workers())
        return Speed(seconds, float(lengths.sum()) / seconds, share)


def model_flops(net: nn.Module, lengths: np.ndarray) -> float:
    """Counts the floating-point operations that training on texts needs at least.

    Each weight of a linear layer takes two in the forward pass, two to carry the gradient on, and
    two for its own gradient, if it is trained; attention takes 12 per layer, number of its width
    and pair of tokens, as if it were not causal. Blocks that are recomputed count once.

    Args:
        lengths: tokens of each text.
    Source: Chowdhery et al. 2022 (PaLM), appendix B.
    """
    per_token = 0
    for module in net.modules():
        if isinstance(module, (nn.Linear, Conv1D)):
            weight = module.weight
            per_token += weight.numel() * (6 if weight.requires_grad else 4)
    config: Any = net.body.config  # type: ignore[union-attr]
    lengths = lengths.astype(np.float64)
    in_attention = 12 * config.num_hidden_layers * config.hidden_size
    return per_token * lengths.sum() + in_attention * (lengths**2).sum()


def tell(label: str, speed: Speed) -> None:
    """Prints the speed of a training on a GPU, in one line; on a CPU it is in the record alone."""
    if device().type == "cuda":
        tqdm.write(f"{label}: {speed}")
