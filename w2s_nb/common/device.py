"""The device, precision and number of threads of this process, and what records say of the
machine.
"""

from __future__ import annotations

import contextlib
import functools
import os
import platform
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

VERSIONED = (
    "w2s_nb",
    "torch",
    "transformers",
    "datasets",
    "peft",
    "accelerate",
)
OPTIONAL = ("scikit-learn", "chess")
# the packages that compute tokens, activations and fits
COMPUTING = ("torch", "transformers", "tokenizers", "peft")


def device() -> torch.device:
    """Returns `W2S_DEVICE` if set (cpu, cuda, cuda:1, mps), else cuda where there is one, else
    cpu.

    Raises:
        ValueError: `W2S_DEVICE` names no device, or one that this process does not have.
    """
    return _device(os.environ.get("W2S_DEVICE"))


@functools.cache  # asked several times a step
def _device(name: str | None) -> torch.device:
    import torch

    if not name:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    n_cuda = torch.cuda.device_count() if torch.cuda.is_available() else 0
    here = ["cpu", *(["cuda"] if n_cuda else []), *(f"cuda:{i}" for i in range(n_cuda))]
    if torch.backends.mps.is_available():
        here.append("mps")
    if name not in here:
        raise ValueError(f"W2S_DEVICE = {name!r}; this process has {', '.join(here)}")
    return torch.device(name)


def precision() -> str:
    """Returns 'bf16' on CUDA (autocast over float32 master weights), 'fp32' elsewhere."""
    return "bf16" if device().type == "cuda" else "fp32"


def versions() -> dict[str, str]:
    """Returns the versions of Python and of the installed packages that decide a result."""
    installed = {"python": platform.python_version()}
    installed |= {name: version(name) for name in VERSIONED}
    for name in OPTIONAL:
        with contextlib.suppress(PackageNotFoundError):
            installed[name] = version(name)
    return installed


@functools.cache
def public_versions(*packages: str) -> dict[str, str]:
    """Returns {package: its version}, for addresses.

    What follows a `+` says for which device a package was built, and is left out.
    """
    return {package: version(package).partition("+")[0] for package in packages}


def computing_versions() -> dict[str, str]:
    """Returns the versions of the packages that compute, which are part of every address."""
    return public_versions(*COMPUTING)


@functools.cache
def machine() -> str:
    """Returns one line for records: the device's name, or the number of threads."""
    import torch

    if device().type == "cuda":
        return torch.cuda.get_device_name(device())
    return f"{device().type}, {torch.get_num_threads()} threads ({platform.machine()})"


@contextlib.contextmanager
def threads(n: int | None):
    """Runs a block on n CPU threads; None leaves them as they are.

    A probe's matrices are too small for two threads: alone they gain nothing, and beside another
    process they wait for each other, at a tenth of the speed.
    """
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(n or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
