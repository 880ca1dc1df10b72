"""TODO."""

from __future__ import annotations

import contextlib
import functools
import os
import platform
from importlib.metadata import version

import torch

VERSIONED = (
    "w2s_nb",
    "torch",
    "transformers",
    "datasets",
    "peft",
    "accelerate",
    "scikit-learn",
    "chess",
)


def device() -> torch.device:
    """`W2S_DEVICE` if set (cpu, cuda, cuda:1, mps), else cuda where there is one, else cpu."""
    return _device(os.environ.get("W2S_DEVICE"))


@functools.cache  # asked several times a step
def _device(given: str | None) -> torch.device:
    return torch.device(given or ("cuda" if torch.cuda.is_available() else "cpu"))


def precision() -> str:
    """'bf16' on CUDA (autocast over float32 master weights), 'fp32' elsewhere."""
    return "bf16" if device().type == "cuda" else "fp32"


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that decide a result."""
    return {"python": platform.python_version()} | {name: version(name) for name in VERSIONED}


@functools.cache
def machine() -> str:
    """One line: device name and threads, for records."""
    if device().type == "cuda":
        return torch.cuda.get_device_name(device())
    return f"{device().type}, {torch.get_num_threads()} threads ({platform.machine()})"


@contextlib.contextmanager
def threads(n: int | None):
    """Runs a block on n CPU threads; None leaves them as they are.

    A probe's matrices are too small for two threads: alone they gain nothing, beside another process they wait for each
    other, at a tenth of the speed.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(n or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
