"""Texts to token ids, once: cut to the last `max_len` tokens, counted where cut, kept on disk."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import safetensors.numpy

from ..common.files import write_atomic
from ..common.paths import home
from ..common.store import address, code_version
from ..data.splits import Split, Task
from ..models.loading import digest, folder, tokenizer
from ..models.names import Checkpoint


@dataclass(frozen=True, eq=False)
class Tokens:
    """Token ids of n * k texts, an example's k texts side by side.

    Attributes:
        ids: n * k arrays of int32, each 1 to `max_len` long.
        truncated: (n * k,) bool, whether the text was longer.
        keys: n * k strings of 16 hex digits, a hash of a text's ids; equal texts share what is computed for one.
    """

    ids: tuple[np.ndarray, ...]
    truncated: np.ndarray
    keys: tuple[str, ...]
    arity: int

    @property
    def lengths(self) -> np.ndarray:
        """(n * k,) tokens of each text."""
        return np.array([len(i) for i in self.ids])

    def take(self, positions: list[int]) -> Tokens:
        """The texts at these positions, each an example of its own."""
        return Tokens(
            tuple(self.ids[i] for i in positions),
            self.truncated[positions],
            tuple(self.keys[i] for i in positions),
            1,
        )


def tokenize(split: Split, checkpoint: Checkpoint, max_len: int) -> Tokens:
    """Tokens of a split's texts under a checkpoint's tokenizer.

    A text longer than `max_len` keeps its end, where question, answer and last reply stand; a leading
    beginning-of-text token is kept too. Of a pair, both texts lose the same part of what they begin alike, so that two
    responses are read after the same prompt.
    """
    return _tokenize(
        tuple(split.ids), split.texts, folder(checkpoint), digest(checkpoint.root), max_len
    )


@functools.lru_cache(maxsize=64)
def _tokenize(ids, texts, path, model: str, max_len: int) -> Tokens:
    key = address(
        {"model": model, "max_len": max_len, "ids": ids, "code": code_version(_encode, alike)}
    )
    stored = home() / "tokens" / f"{key}.safetensors"
    if stored.is_file():
        tensors = safetensors.numpy.load_file(stored)
    else:
        tensors = _encode(texts, tokenizer(path), max_len)
        write_atomic(stored, safetensors.numpy.save(tensors))
    parts = tuple(np.split(tensors["ids"], np.cumsum(tensors["lengths"])[:-1]))
    keys = tuple(hashlib.sha256(part.tobytes()).hexdigest()[:16] for part in parts)
    return Tokens(parts, tensors["truncated"].astype(bool), keys, len(texts[0]))


def _encode(examples: Sequence[tuple[str, ...]], tok, max_len: int) -> dict[str, np.ndarray]:
    found = tok([text for texts in examples for text in texts], verbose=False)["input_ids"]
    found, cut, arity = (
        [ids or [tok.eos_token_id] for ids in found],
        [],
        len(examples[0]),
    )  # an empty text has an end
    for i in range(0, len(found), arity):
        example = found[i : i + arity]
        drop = max(0, max(map(len, example)) - max_len)
        drop = min(drop, alike(*map(np.array, example))) if arity == 2 and drop else 0
        for j, ids in enumerate(example):
            n = max(drop, len(ids) - max_len)
            start = [ids[0]] if ids[0] == tok.bos_token_id else []
            found[i + j] = start + ids[n + len(start) :] if n > 0 else ids
            cut.append(n > 0)
    return {
        "ids": np.concatenate([np.array(i, dtype=np.int32) for i in found]),
        "lengths": np.array([len(i) for i in found], dtype=np.int32),
        "truncated": np.array(cut, dtype=np.uint8),
    }


def alike(first: np.ndarray, second: np.ndarray) -> int:
    """Token ids that two texts have in common at their beginning; at least one is left to each."""
    n = min(len(first), len(second)) - 1
    differ = np.flatnonzero(first[:n] != second[:n])
    return int(differ[0]) if len(differ) else n


def join(parts: list[Tokens]) -> Tokens:
    """Tokens of several splits in one, so that a model is loaded once for all."""
    return Tokens(
        tuple(i for part in parts for i in part.ids),
        np.concatenate([part.truncated for part in parts]),
        tuple(key for part in parts for key in part.keys),
        parts[0].arity,
    )


def split_report(task: Task, checkpoint: Checkpoint, max_len: int | None = None) -> pd.DataFrame:
    """`Task.report` with the median length in tokens and the share of texts cut to `max_len`."""
    max_len, frame = max_len or task.max_len, task.report()
    tokens = [tokenize(split, checkpoint, max_len) for split in task.splits]
    frame["median tokens"] = [int(np.median(t.lengths)) for t in tokens]
    frame[f"share cut to {max_len} tokens"] = [t.truncated.mean() for t in tokens]
    return frame
