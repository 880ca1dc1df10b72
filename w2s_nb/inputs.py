"""What a method's module is fed: padded batches of token ids, of trunk activations, or of pooled features."""
from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from .tokens import Tokens


class Inputs:
    """Examples as a module takes them; `batch(rows)` gives its keyword arguments.

    Attributes:
        arity: texts an example; example i owns texts i * arity to (i + 1) * arity.
        lengths: (n,) tokens of the longest text of each example.
    """

    arity: int
    lengths: np.ndarray

    def __len__(self) -> int:
        return len(self.lengths)

    def texts(self, rows) -> np.ndarray:
        """(len(rows) * arity,) positions of the examples' texts."""
        return (np.asarray(rows)[:, None] * self.arity + np.arange(self.arity)).ravel()

    def batch(self, rows) -> dict[str, torch.Tensor]:
        """Tensors for the examples at `rows`, padded on the right to the longest of them."""
        raise NotImplementedError

    def by_length(self, max_tokens: int, chosen: np.ndarray | None = None) -> Iterator[np.ndarray]:
        """Positions in `chosen` (None: all rows) by length, longest first, a batch at most `max_tokens` when padded."""
        lengths = self.lengths if chosen is None else self.lengths[chosen]
        order = np.argsort(-lengths, kind="stable")
        while len(order):
            size = max(1, max_tokens // int(lengths[order[0]] * self.arity))
            yield order[:size]
            order = order[size:]


class TokenInputs(Inputs):
    """Token ids, optionally renumbered to the rows of a compact embedding.

    Args:
        vocabulary: (u,) sorted token ids; id v becomes its index there. None keeps ids.
    """

    def __init__(self, tokens: Tokens, vocabulary: np.ndarray | None = None):
        self.ids = tokens.ids if vocabulary is None else [np.searchsorted(vocabulary, i) for i in tokens.ids]
        self.arity = tokens.arity
        self.lengths = tokens.lengths.reshape(-1, self.arity).max(axis=1)

    def batch(self, rows):
        chosen = [torch.as_tensor(self.ids[t], dtype=torch.long) for t in self.texts(rows)]
        return {"input_ids": _pad(chosen), "attention_mask": _mask(chosen)}


class TrunkInputs(Inputs):
    """Activations of a frozen trunk: n * k arrays (t, d) float32."""

    def __init__(self, activations: list[np.ndarray], arity: int):
        self.activations, self.arity = activations, arity
        self.lengths = np.array([len(a) for a in activations]).reshape(-1, arity).max(axis=1)

    def batch(self, rows):
        chosen = [torch.as_tensor(self.activations[t]) for t in self.texts(rows)]
        return {"inputs_embeds": _pad(chosen), "attention_mask": _mask(chosen)}


class FeatureInputs(Inputs):
    """Pooled features (n * k, d) float32."""

    def __init__(self, features: torch.Tensor, arity: int):
        self.features, self.arity = features, arity
        self.lengths = np.ones(len(features) // arity, dtype=int)

    def batch(self, rows):
        return {"features": self.features[torch.as_tensor(self.texts(rows))]}


def _pad(sequences: list[torch.Tensor]) -> torch.Tensor:
    return torch.nn.utils.rnn.pad_sequence(sequences, batch_first=True)


def _mask(sequences: list[torch.Tensor]) -> torch.Tensor:
    return _pad([torch.ones(len(s), dtype=torch.long) for s in sequences])
