"""Texts to token ids, once: cut to the last `max_len` tokens, counted where cut, kept on disk."""
from __future__ import annotations

import functools
import hashlib
from dataclasses import dataclass

import numpy as np
import pandas as pd
import safetensors.numpy

from .config import home, write_atomic
from .data import Split, Task
from .models import Checkpoint, digest, folder, tokenizer
from .store import address, code_version


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
        return Tokens(tuple(self.ids[i] for i in positions), self.truncated[positions],
                      tuple(self.keys[i] for i in positions), 1)


def tokenize(split: Split, checkpoint: Checkpoint, max_len: int) -> Tokens:
    """Tokens of a split's texts under a checkpoint's tokenizer.

    A text longer than `max_len` keeps its end, where question, answer and last reply stand; a leading
    beginning-of-text token is kept too.
    """
    return _tokenize(tuple(split.ids), split.texts, folder(checkpoint), digest(checkpoint.root), max_len)


@functools.lru_cache(maxsize=64)
def _tokenize(ids, texts, path, model: str, max_len: int) -> Tokens:
    key = address({"model": model, "max_len": max_len, "ids": ids, "code": code_version(_encode)})
    stored = home() / "tokens" / f"{key}.safetensors"
    if stored.is_file():
        tensors = safetensors.numpy.load_file(stored)
    else:
        tensors = _encode([text for example in texts for text in example], tokenizer(path), max_len)
        write_atomic(stored, safetensors.numpy.save(tensors))
    parts = tuple(np.split(tensors["ids"], np.cumsum(tensors["lengths"])[:-1]))
    keys = tuple(hashlib.sha256(part.tobytes()).hexdigest()[:16] for part in parts)
    return Tokens(parts, tensors["truncated"].astype(bool), keys, len(texts[0]))


def _encode(texts: list[str], tok, max_len: int) -> dict[str, np.ndarray]:
    encoded, truncated = [], []
    for ids in tok(texts, verbose=False)["input_ids"]:
        ids = ids or [tok.eos_token_id]  # an empty text still has a last token
        truncated.append(len(ids) > max_len)
        if len(ids) > max_len:
            start = [ids[0]] if ids[0] == tok.bos_token_id else []
            ids = start + ids[len(ids) - max_len + len(start):]
        encoded.append(ids)
    return {"ids": np.concatenate([np.array(i, dtype=np.int32) for i in encoded]),
            "lengths": np.array([len(i) for i in encoded], dtype=np.int32),
            "truncated": np.array(truncated, dtype=np.uint8)}


def join(parts: list[Tokens]) -> Tokens:
    """Tokens of several splits in one, so that a model is loaded once for all."""
    return Tokens(tuple(i for part in parts for i in part.ids), np.concatenate([part.truncated for part in parts]),
                  tuple(key for part in parts for key in part.keys), parts[0].arity)


def split_report(task: Task, checkpoint: Checkpoint, max_len: int | None = None) -> pd.DataFrame:
    """`Task.report` with the median length in tokens and the share of texts cut to `max_len`."""
    max_len, frame = max_len or task.max_len, task.report()
    tokens = [tokenize(split, checkpoint, max_len) for split in task.splits]
    frame["median tokens"] = [int(np.median(t.lengths)) for t in tokens]
    frame[f"share cut to {max_len} tokens"] = [t.truncated.mean() for t in tokens]
    return frame
