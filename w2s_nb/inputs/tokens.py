"""Turns texts into token ids once, cut to their last `max_len` tokens, and stores them."""

from __future__ import annotations

import contextlib
import functools
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import safetensors.numpy

from ..common.device import computing_versions
from ..common.files import is_as_named, is_writable, remove, write_named
from ..common.paths import home
from ..common.progress import warn
from ..common.seeds import check_count
from ..common.store import address, code_version
from ..data.report import SplitReport
from ..data.splits import Split, Task, need_task
from ..models import encoders, loading
from ..models.loading import digest, folder, tokenizer
from ..models.names import Checkpoint, resolve
from .encoded import Pictures, join_pictures, pictures_of

MOST_UNKNOWN = 0.1  # share of tokens that stand for unknown words, before it is said


@dataclass(frozen=True, eq=False)
class Tokens:
    """Token ids of n * k texts, the k texts of an example side by side.

    Attributes:
        ids: n * k arrays of int32, each 1 to `max_len` long.
        truncated: (n * k,) bool, whether the text was longer.
        keys: n * k strings of 16 hex digits, a hash of a text's ids; equal texts share what is
            computed for one.
        arity: k, texts per example.
    """

    ids: tuple[np.ndarray, ...]
    truncated: np.ndarray
    keys: tuple[str, ...]
    arity: int

    @property
    def lengths(self) -> np.ndarray:
        """Returns the number of tokens of each text, (n * k,)."""
        return np.array([len(text) for text in self.ids])

    def take(self, positions: list[int]) -> Tokens:
        """Returns the texts at these positions, each an example of its own."""
        return Tokens(
            tuple(self.ids[i] for i in positions),
            self.truncated[positions],
            tuple(self.keys[i] for i in positions),
            1,
        )


def read_split(split: Split, checkpoint: Checkpoint, max_len: int) -> Tokens | Pictures:
    """Returns the examples of a split as a model reads them: tokens of texts, or images.

    Raises:
        ValueError: the model does not read what the examples are; else as `tokenize`.
    """
    if checkpoint.encoder:
        return pictures_of(split, checkpoint)
    return tokenize(split, checkpoint, max_len)


def tokenize(split: Split, checkpoint: Checkpoint, max_len: int) -> Tokens:
    """Returns the tokens of a split's texts under a checkpoint's tokenizer.

    A text longer than `max_len` keeps its end, where question, answer and last reply stand, and a
    leading beginning-of-text token. The two texts of a pair lose the same tokens of what they begin
    alike, so that two responses are read after the same prompt.

    Raises:
        ValueError: `max_len` is no whole number from 1; a text is empty, and the tokenizer has no
            end of text to stand for it; a token that the model has no row for; or the examples are
            images, or the model reads these.
    """
    check_count(max_len, "max_len")
    encoders.require_language_model(checkpoint)
    encoders.require_kind(checkpoint, split.task.spec if split.task else None)
    model = digest(checkpoint.root)
    tokens = _tokenize(tuple(split.ids), split.texts, folder(checkpoint), model, max_len)
    loading.require_rows(checkpoint, tokens.ids)
    _warn_of_unknown(tokens, split, checkpoint)
    return tokens


def _warn_of_unknown(tokens: Tokens, split: Split, checkpoint: Checkpoint) -> None:
    """Warns where many words of texts are none of the tokenizer's."""
    unknown = tokenizer(folder(checkpoint)).unk_token_id
    share = sum(int((ids == unknown).sum()) for ids in tokens.ids) / max(1, tokens.lengths.sum())
    if unknown is not None and share > MOST_UNKNOWN:
        warn(
            f"{checkpoint.base}: {share:.0%} of the tokens of {split.name!r} are of words that its "
            f"tokenizer does not know; is it another model's?"
        )


@functools.lru_cache(maxsize=64)
def _tokenize(
    ids: tuple[str, ...], texts: tuple[tuple[str, ...], ...], path: Path, model: str, max_len: int
) -> Tokens:
    content = {
        "model": model,
        "max_len": max_len,
        "ids": ids,
        "code": code(),
        "versions": computing_versions(),
    }
    stored = home() / "tokens" / f"{address(content)}-{version()}"
    tensors = _read(stored)
    if tensors is None:
        tensors = _encode(texts, tokenizer(path), max_len)
        if is_writable(stored):
            write_named(stored, "", safetensors.numpy.save(tensors))
    ends = np.cumsum(tensors["lengths"])
    ids_of_texts = tuple(np.split(tensors["ids"], ends[:-1]))
    keys = tuple(hashlib.sha256(text.tobytes()).hexdigest()[:16] for text in ids_of_texts)
    return Tokens(ids_of_texts, tensors["truncated"].astype(bool), keys, len(texts[0]))


@functools.cache
def code() -> str:
    """Returns the version of the code that decides the tokens of a text."""
    return code_version(_encode, alike, loading.load_tokenizer)


@functools.cache
def version() -> str:
    """Returns 8 hex digits of the code that decides the tokens of a text, packages included."""
    return address({"code": code(), "versions": computing_versions()})[:8]


def _read(stored: Path) -> dict[str, np.ndarray] | None:
    """Returns the tensors in the file of a folder, or None without a whole one; removes others."""
    for path in sorted(stored.glob("*.safetensors")):
        if is_as_named(path):
            with contextlib.suppress(FileNotFoundError):  # another process has removed it
                return safetensors.numpy.load_file(path)
        remove(path)
    return None


def _encode(examples: Sequence[tuple[str, ...]], tok, max_len: int) -> dict[str, np.ndarray]:
    """Returns `ids` of all texts side by side, `lengths` (n * k,) and `truncated` (n * k,)."""
    texts = [text for example in examples for text in example]
    ids_of_texts = tok(texts, verbose=False)["input_ids"]
    if tok.eos_token_id is None and not all(ids_of_texts):
        raise ValueError(
            f"text {ids_of_texts.index([])} has no tokens, and the tokenizer no end of text "
            f"(eos_token) to stand for it"
        )
    # an empty text has an end
    ids_of_texts = [ids or [tok.eos_token_id] for ids in ids_of_texts]
    arity = len(examples[0])
    truncated = []
    for start in range(0, len(ids_of_texts), arity):
        example = ids_of_texts[start : start + arity]
        # a pair loses, of what its texts begin alike, what the longer of them has too much
        n_dropped = max(0, max(map(len, example)) - max_len)
        if arity == 2 and n_dropped:
            n_dropped = min(n_dropped, alike(*map(np.array, example)))
        else:
            n_dropped = 0
        for i, ids in enumerate(example, start=start):
            n_cut = max(n_dropped, len(ids) - max_len)
            bos = [ids[0]] if ids[0] == tok.bos_token_id else []
            if n_cut > 0:
                ids_of_texts[i] = bos + ids[n_cut + len(bos) :]
            truncated.append(n_cut > 0)
    return {
        "ids": np.concatenate([np.array(ids, dtype=np.int32) for ids in ids_of_texts]),
        "lengths": np.array([len(ids) for ids in ids_of_texts], dtype=np.int32),
        "truncated": np.array(truncated, dtype=np.uint8),
    }


def alike(first: np.ndarray, second: np.ndarray) -> int:
    """Returns how many token ids two texts have in common at their beginning.

    At least one id is left to each text.
    """
    n = min(len(first), len(second)) - 1
    differ = np.flatnonzero(first[:n] != second[:n])
    return int(differ[0]) if len(differ) else n


def join(tokens_of: Sequence[Tokens]) -> Tokens:
    """Returns the tokens of several splits in one, so that a model is loaded once for all."""
    return Tokens(
        tuple(ids for tokens in tokens_of for ids in tokens.ids),
        np.concatenate([tokens.truncated for tokens in tokens_of]),
        tuple(key for tokens in tokens_of for key in tokens.keys),
        tokens_of[0].arity,
    )


def join_inputs(inputs: Sequence[Tokens | Pictures]) -> Tokens | Pictures:
    """Returns the tokens or images of several splits in one, so that a model is loaded once."""
    pictures = [each for each in inputs if isinstance(each, Pictures)]
    if pictures:
        return join_pictures(pictures)
    return join([each for each in inputs if isinstance(each, Tokens)])


def split_report(
    task: Task, checkpoint: Checkpoint | str, max_len: int | None = None
) -> SplitReport:
    """Returns `Task.report` with the median length in tokens and the share of truncated texts.

    Images have neither.

    Args:
        checkpoint: whose tokenizer counts, by its name or as `models.resolve` returns it.
        max_len: tokens kept of a text; None takes the task's.
    Raises:
        UnknownName, TypeError, ModelUnavailable: no task; no such model, or none that is here.
    """
    need_task(task, "task")
    if not isinstance(checkpoint, Checkpoint):
        checkpoint = resolve(checkpoint)
    max_len = task.max_len if max_len is None else max_len
    frame = task.report()
    if encoders.require_kind(checkpoint, task.spec).encoder:
        return frame
    tokens_of = [tokenize(split, checkpoint, max_len) for split in task.splits]
    frame["median tokens"] = [int(np.median(tokens.lengths)) for tokens in tokens_of]
    frame[f"share cut to {max_len} tokens"] = [tokens.truncated.mean() for tokens in tokens_of]
    return frame
