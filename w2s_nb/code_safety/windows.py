"""Tells what a window of `max_len` tokens keeps of long code."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..data.splits import Split, need_split
from ..inputs.tokens import tokenize
from ..models.names import resolve

if TYPE_CHECKING:
    import pandas as pd

_ALL = 10**9  # tokens, more than any text has


def kept_by_window(split: Split, model: str, max_len: int | None = None) -> pd.DataFrame:
    """Returns a row per class, and one of all: how much of the texts a model reads.

    A longer text keeps its end, so what made it dangerous may be cut off; nothing tells whether it
    is. Where the classes differ in what is kept, length tells the class.

    Args:
        split: of a task of texts.
        model: whose tokenizer counts.
        max_len: tokens kept; None takes the task's.
    Returns:
        Columns class, texts, median_tokens, whole (share of texts that are not cut) and
        tokens_kept (share of all tokens).
    Raises:
        UnknownName, ValueError: no such model; images; a split without a task, where `max_len` is
            None; else as `tokenize`.
    """
    import pandas as pd

    need_split(split, "split")
    if max_len is None:
        if split.task is None:
            raise ValueError("the split belongs to no task; give max_len")
        max_len = split.task.max_len
    checkpoint = resolve(model)
    window = tokenize(split, checkpoint, max_len)
    n_tokens = tokenize(split, checkpoint, _ALL).lengths
    n_kept = window.lengths
    label = np.repeat(split.hard_label, window.arity)
    rows = []
    # of a pair the label says which is the better one, nothing of a text
    classes = enumerate(split.classes) if window.arity == 1 else ()
    for name, chosen in [*((name, label == k) for k, name in classes), ("all", label >= 0)]:
        if chosen.any():
            rows.append(
                {
                    "class": name,
                    "texts": int(chosen.sum()),
                    "median_tokens": float(np.median(n_tokens[chosen])),
                    "whole": float(np.mean(~window.truncated[chosen])),
                    "tokens_kept": float(n_kept[chosen].sum() / n_tokens[chosen].sum()),
                }
            )
    return pd.DataFrame(rows)
