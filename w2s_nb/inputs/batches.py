"""What a module is fed: padded batches of token ids, of trunk activations, or of pooled features."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from .tokens import Tokens, alike

Units = list[tuple[int, ...]]  # of one text or two, that a module runs as one sequence


class Inputs:
    """Examples as a module takes them; `batch(rows)` gives its keyword arguments.

    Attributes:
        lengths: (n,) tokens of each example's sequence.
    """

    lengths: np.ndarray

    def __len__(self) -> int:
        return len(self.lengths)

    def batch(self, rows) -> dict[str, torch.Tensor]:
        """Tensors for the examples at `rows`, padded on the right to the longest of them."""
        raise NotImplementedError

    def by_length(
        self, max_tokens: int, chosen: np.ndarray | None = None, *, beside: int = 0
    ) -> Iterator[np.ndarray]:
        """Positions in `chosen` (None: all rows) by length, longest first, a batch at most `max_tokens` when padded.

        Args:
            beside: tokens that each example costs beside its own.
        """
        lengths = beside + (self.lengths if chosen is None else self.lengths[chosen])
        order = np.argsort(-lengths, kind="stable")
        while len(order):
            size = max(1, max_tokens // int(lengths[order[0]]))
            yield order[:size]
            order = order[size:]


class Sequences(Inputs):
    """Texts as sequences, one an example: of its text, or of its two texts with what they begin alike run once.

    A pair's sequence is its first text and then the rest of its second. Each text attends to itself alone, the shared
    beginning included, at the positions that it has alone, so its states are those of the text by itself.

    Args:
        argument: the module's name for the texts.
        texts: arrays (t,) of token ids or (t, d) of activations.
        units: the text or the two texts of each example.
        shared: (n,) tokens that an example's two texts have in common at their beginning; 0 of single texts.
    """

    def __init__(self, argument: str, texts, units: Units, shared: np.ndarray):
        self.argument, self.sequences, self.units = argument, texts, units
        self.shared, self.first = shared, np.array([len(texts[unit[0]]) for unit in units])
        self.lengths = np.array([sum(len(texts[i]) for i in unit) for unit in units]) - shared

    def batch(self, rows):
        """The texts, `attention_mask` (b, t), 1 on real tokens; or where there are pairs (b, 1, t, t), True where a
        token may look, `position_ids` (b, t) and `ends` (b, 2), where the two texts end."""
        rows = np.asarray(rows)
        found = [
            torch.as_tensor(
                self._sequence(row), dtype=torch.long if self.argument == "input_ids" else None
            )
            for row in rows
        ]
        made = {self.argument: torch.nn.utils.rnn.pad_sequence(found, batch_first=True)}
        first, shared, length = (
            torch.as_tensor(x[rows])[:, None] for x in (self.first, self.shared, self.lengths)
        )
        at = torch.arange(made[self.argument].shape[1])
        if all(len(self.units[row]) == 1 for row in rows):
            return made | {"attention_mask": (at < length).long()}
        second = at >= first  # (b, t), tokens of the second text's rest, and padding
        hidden = second[:, :, None] & ((at >= shared) & ~second)[:, None, :]
        return made | {
            "attention_mask": ((at <= at[:, None]) & ~hidden)[
                :, None
            ],  # padding, at position 0, sees some
            "position_ids": torch.where(second, at - first + shared, at) * (at < length),
            "ends": torch.cat([first, length], dim=1) - 1,
        }

    def _sequence(self, row: int) -> np.ndarray:
        texts = [self.sequences[i] for i in self.units[row]]
        return (
            texts[0]
            if len(texts) == 1
            else np.concatenate([texts[0], texts[1][self.shared[row] :]])
        )

    def places(self, rows) -> list[tuple[int, np.ndarray]]:
        """Where each text of a batch stands in it: (row of the batch, positions (t,)), an example's texts in order."""
        found = []
        for number, row in enumerate(rows):
            whole, shared = np.arange(self.lengths[row]), self.shared[row]
            found.append((number, whole[: self.first[row]]))
            if len(self.units[row]) == 2:
                found.append((number, np.concatenate([whole[:shared], whole[self.first[row] :]])))
        return found


class TokenInputs(Sequences):
    """Token ids, optionally renumbered to the rows of a compact embedding.

    Args:
        vocabulary: (u,) sorted token ids; id v becomes its index there. None keeps ids.
        units: the texts of each example; None takes an example's texts side by side.
    """

    def __init__(
        self, tokens: Tokens, vocabulary: np.ndarray | None = None, units: Units | None = None
    ):
        ids = (
            tokens.ids
            if vocabulary is None
            else [np.searchsorted(vocabulary, i) for i in tokens.ids]
        )
        super().__init__("input_ids", ids, *_units(tokens, units))


class TrunkInputs(Sequences):
    """Activations of a frozen trunk, arrays (t, d) float32, of the texts of `tokens`."""

    def __init__(self, activations: list[np.ndarray], tokens: Tokens, units: Units | None = None):
        super().__init__("inputs_embeds", activations, *_units(tokens, units))


def _units(tokens: Tokens, units: Units | None) -> tuple[Units, np.ndarray]:
    units = units or [
        tuple(range(i, i + tokens.arity)) for i in range(0, len(tokens.ids), tokens.arity)
    ]
    return units, np.array(
        [alike(*(tokens.ids[i] for i in unit)) if len(unit) == 2 else 0 for unit in units]
    )


def paired(tokens: Tokens, chosen: list[int], least: float) -> Units:
    """Texts whose beginnings are alike, two by two, and the others alone; the longest sequence first.

    Args:
        chosen: positions of texts.
        least: share of both texts' tokens that a pair must save.
    """
    order, units = sorted(chosen, key=lambda i: tokens.ids[i].astype(">i4").tobytes()), []
    while order:
        i = order.pop()
        together = order and alike(tokens.ids[i], tokens.ids[order[-1]]) >= least * (
            len(tokens.ids[i]) + len(tokens.ids[order[-1]])
        )
        units.append((i, order.pop()) if together else (i,))
    return sorted(units, key=lambda unit: -sum(len(tokens.ids[i]) for i in unit))


class NextTokens(Inputs):
    """Sequences, one text an example, with the token that comes after each token.

    Args:
        ids: token ids of each text.
        starts: (n,) the first token of each text that is to be predicted, from 1; None predicts all but the first.
    """

    def __init__(self, sequences: Sequences, ids, starts: np.ndarray | None = None):
        self.sequences, self.ids, self.lengths = sequences, ids, sequences.lengths
        self.starts = np.ones(len(ids), dtype=int) if starts is None else starts

    def batch(self, rows):
        """The sequences' tensors, and `targets` (b, t), -1 where nothing is to be predicted."""
        after = [
            torch.as_tensor(np.append(self.ids[row][1:], -1), dtype=torch.long) for row in rows
        ]
        for row, targets in zip(rows, after):
            targets[: self.starts[row] - 1] = -1
        padded = torch.nn.utils.rnn.pad_sequence(after, batch_first=True, padding_value=-1)
        return self.sequences.batch(rows) | {"targets": padded}


class FeatureInputs(Inputs):
    """Pooled features (n * k, d) float32."""

    def __init__(self, features: torch.Tensor, arity: int):
        self.features, self.arity = features, arity
        self.lengths = np.ones(len(features) // arity, dtype=int)

    def batch(self, rows):
        chosen = self.features.view(len(self), -1).index_select(
            0, torch.as_tensor(rows)
        )  # thrice as fast as [rows]
        return {"features": chosen.view(-1, self.features.shape[1])}
