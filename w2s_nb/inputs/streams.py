"""Reads residual streams of texts from files that are mapped into memory."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any, overload

import torch
from safetensors import safe_open


class Streams(Sequence[torch.Tensor]):
    """Residual streams of texts, tensors (t, d), each read when it is asked for.

    They are views of mapped files, in the type that is stored: the system reads what is used, and
    can take the memory back. A file that is removed meanwhile stays readable.

    Args:
        spans: (file, its first row, the row after its last) of each text.
    """

    def __init__(self, spans: Sequence[tuple[Path, int, int]]):
        self._spans = spans
        # of every file from the start, before anybody removes one
        self._states = {path: _states(path) for path in {path for path, _, _ in spans}}

    def __len__(self) -> int:
        return len(self._spans)

    @overload
    def __getitem__(self, chosen: int) -> torch.Tensor: ...

    @overload
    def __getitem__(self, chosen: slice) -> Streams: ...

    def __getitem__(self, chosen: int | slice) -> torch.Tensor | Streams:
        """Returns the stream of a text, (t, d), or the streams of a slice of the texts."""
        if isinstance(chosen, slice):
            part = copy.copy(self)
            part._spans = self._spans[chosen]
            return part
        path, start, end = self._spans[chosen]
        return self._states[path][start:end]


def _states(path: Path) -> Any:
    """Returns a file's states, of which a slice is read when it is taken."""
    with safe_open(path, framework="pt") as shard:
        return shard.get_slice("states")
