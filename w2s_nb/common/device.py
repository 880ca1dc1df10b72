"""The device, precision and number of threads of this process, and what records say of the
machine.
"""

from __future__ import annotations

import contextlib
import functools
import os
import platform
import re
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
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
# 10^12 dense operations a second in bf16 or fp16, by words of the card's name
PEAKS = {
    "T4": 65,
    "V100-PCIE": 112,
    "V100-SXM2": 125,
    "A10": 125,
    "A10G": 70,
    "A30": 165,
    "A40": 150,
    "A100": 312,
    "L4": 121,
    "L40": 181,
    "L40S": 362,
    "H100": 989,
    "H100 PCIe": 756,
    "H100 NVL": 835,
    "H200": 989,
    "GH200": 989,
    "B200": 2250,
}
PRECISIONS = ("bf16", "fp16", "fp32")
# words for a CPU's instructions in /proc/cpuinfo (x86, then Arm), one of which a precision needs
CPU_INSTRUCTIONS = {
    "bf16": ("avx512_bf16", "amx_bf16", "bf16"),
    "fp16": ("avx512_fp16", "amx_fp16", "asimdhp"),
}
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


def copy_to(target: torch.device, tensor: torch.Tensor) -> torch.Tensor:
    """Returns a tensor on a device, without waiting for what a GPU has still to do."""
    if target.type != "cuda" or tensor.device.type != "cpu":
        return tensor.to(target)
    # a copy from memory that is not pinned waits
    return tensor.pin_memory().to(target, non_blocking=True)


def precision() -> str:
    """Returns the precision of matrix products: 'bf16' or 'fp16' by autocast, or 'fp32'.

    It is `W2S_PRECISION` where that is set. Else CUDA devices take bf16 where they compute in it,
    else fp16 where they have fast units for that (Volta, Turing), and all other devices fp32.
    Trained weights are in float32 in any case, and with fp16 the loss is scaled.

    It holds alike for finetuning, predictions, features, language models and prompts, and is part
    of the address of what they store. Two things are in float32 always: linear classifiers, which
    are all that a probe trains, and encoders of images.

    Raises:
        ValueError: `W2S_PRECISION` names none of them, or one for which this CPU has no
            instructions: it would be many times slower than float32.
    """
    chosen = os.environ.get("W2S_PRECISION")
    if not chosen:
        return _precision_of(device())
    if chosen not in PRECISIONS:
        raise ValueError(f"W2S_PRECISION = {chosen!r}; expected one of {', '.join(PRECISIONS)}")
    if chosen != "fp32" and device().type == "cpu" and not _cpu_computes_in(chosen):
        raise ValueError(
            f"W2S_PRECISION = {chosen!r}; expected fp32, as this CPU has no instructions for "
            f"{chosen} (none of {', '.join(CPU_INSTRUCTIONS[chosen])})"
        )
    return chosen


def _cpu_computes_in(precision: str) -> bool:
    """Tells whether the CPU has instructions for a precision; False where nothing says so."""
    return any(word in _cpu_instructions() for word in CPU_INSTRUCTIONS[precision])


@functools.cache  # `precision` is asked several times a step
def _cpu_instructions() -> frozenset[str]:
    """Returns the words by which Linux names the CPU's instructions; none elsewhere."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            name, _, words = line.partition(":")
            if name.strip() in ("flags", "Features"):
                return frozenset(words.split())
    return frozenset()


@functools.cache
def _precision_of(device: torch.device) -> str:
    import torch

    if device.type != "cuda":
        return "fp32"
    with torch.cuda.device(device):
        # PyTorch emulates bf16 on older cards, slowly
        if torch.cuda.is_bf16_supported(including_emulation=False):
            return "bf16"
    return "fp16" if torch.cuda.get_device_capability(device) >= (7, 0) else "fp32"


def compute_type() -> torch.dtype:
    """Returns the type of `precision`, in which autocast computes and frozen weights are held."""
    import torch

    types = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}
    return types[precision()]


def describe_precision() -> str:
    """Returns `precision`, with the reason where it is another than the device's kind suggests."""
    name = precision()
    scaled = ", with a scaled loss" if name == "fp16" else ""
    if os.environ.get("W2S_PRECISION"):
        return f"{name}{scaled} (W2S_PRECISION)"
    if device().type == "cuda" and name != "bf16":
        return f"{name}{scaled} ({machine()} has no bf16)"
    return name


def versions() -> dict[str, str]:
    """Returns the versions of Python and of the installed packages that decide a result."""
    return dict(_installed())


@functools.cache
def _installed() -> dict[str, str]:
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


def peak_flops() -> float | None:
    """Returns the floating-point operations that the device can do a second in half precision.

    They are the vendor's numbers for dense matrix products. None on a CPU, in float32, and for a
    card that is not in `PEAKS`.
    """
    if device().type != "cuda" or precision() == "fp32":
        return None
    name = machine()
    known = [card for card in PEAKS if re.search(rf"\b{card}\b", name)]
    return PEAKS[max(known, key=len)] * 1e12 if known else None


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
