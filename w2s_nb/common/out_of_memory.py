"""Handles memory that runs out: halves what can be halved, or says in one line what to change.

Importing this file does not load torch.
"""

from __future__ import annotations

import contextlib
import errno
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

import numpy as np
from tqdm import tqdm

Result = TypeVar("Result")

# parts of what PyTorch, the libraries of CUDA, and NumPy say when memory runs out
_SIGNS = (
    "out of memory",
    "can't allocate memory",
    "not enough memory",
    "Unable to allocate",
    "ALLOC_FAILED",
    "ALLOCATION_FAILED",
    "CUBLAS_STATUS_NOT_INITIALIZED",  # it has found no memory for its workspace
)


class OutOfMemory(MemoryError):
    """Memory ran out; the message says where, and what to change."""


def is_out_of_memory(error: BaseException) -> bool:
    """Returns whether an error says that memory ran out, of a device or of this machine.

    An `OutOfMemory` does too.
    """
    if isinstance(error, MemoryError):
        return True
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(error, torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(sign in str(error) for sign in _SIGNS)


def release_memory() -> None:
    """Gives back the device memory that PyTorch holds without a tensor in it."""
    import torch

    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    elif torch.backends.mps.is_available():
        torch.mps.empty_cache()


@contextlib.contextmanager
def explain_out_of_memory(where: str, advice: str) -> Iterator[None]:
    """Turns an error of memory in this block into one line.

    What the block held is let go of, so that a notebook can go on with other settings.

    Args:
        where: what ran, such as "training gpt2 by method 'full'".
        advice: what to change.
    Raises:
        OutOfMemory: memory ran out. One that was raised in the block stays as it is.
    """
    try:
        yield
        return
    except Exception as error:
        if isinstance(error, OutOfMemory) or not is_out_of_memory(error):
            raise
        reason = str(error).strip().split("\n")[0].split(". ")[0] or type(error).__name__
        traceback.clear_frames(error.__traceback__)  # they hold the model
    release_memory()
    raise OutOfMemory(f"out of memory while {where} ({reason}); {advice}") from None


def halve(size: int, what: str) -> int:
    """Says that memory ran out, frees what it can, and returns half of a size of at least 2."""
    release_memory()
    tqdm.write(f"out of memory; {what} {size} -> {size // 2}")
    return size // 2


def run_batches(
    batches: Iterable[np.ndarray], run: Callable[[np.ndarray], Result]
) -> Iterator[tuple[np.ndarray, Result]]:
    """Runs batch after batch; where memory runs out, it halves that batch and those after it.

    Several devices that run a model together do not halve: the others wait in the pass that one
    has left.

    Args:
        batches: arrays of row numbers.
        run: rows -> result; all that needs memory.
    Yields:
        (rows, result of `run`); rows are a batch, or a part of one.
    Raises:
        Exception: the error of `run`, where one row alone needs too much memory.
    """
    n_parts = 1
    for batch in batches:
        rest = batch
        while len(rest):
            rows = rest[: max(1, len(batch) // n_parts)]
            try:
                result = run(rows)
            except Exception as error:
                if len(rows) == 1 or _works_with_others() or not is_out_of_memory(error):
                    raise
            else:
                yield rows, result
                rest = rest[len(rows) :]
                continue
            # outside of the except clause: the error holds the tensors of the pass
            halve(len(rows), "batch")
            n_parts *= 2


def _works_with_others() -> bool:
    from . import distributed  # loads torch

    return distributed.n_workers() > 1
