"""Makes what a module reads: padded batches of token ids, trunk activations or pooled features."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch

from ..common.device import device
from .tokens import Tokens, alike

# Tokens of a pass that takes as long as starting another one, by type of device; elsewhere passes
# are as large as they may be. SmolLM2 on one core: 15 ms a pass, 0.65 ms a token at 8 layers.
PASS_COST = {"cpu": 24}

# positions of the one or two texts that a module runs as one sequence, per sequence
Units = list[tuple[int, ...]]


class Inputs:
    """Examples as a module takes them: `batch(rows)` returns its keyword arguments.

    Attributes:
        lengths: (n,) number of tokens of each example's sequence.
    """

    lengths: np.ndarray

    def __len__(self) -> int:
        return len(self.lengths)

    def batch(self, rows) -> dict[str, torch.Tensor]:
        """Returns tensors of the examples at `rows`, padded on the right to the longest of them."""
        raise NotImplementedError

    def by_length(
        self, max_tokens: int, chosen: np.ndarray | None = None, *, beside: int = 0
    ) -> Iterator[np.ndarray]:
        """Yields the positions of one batch after another, longest examples first.

        On a CPU a batch ends before the example at which padding saved most exceeds `PASS_COST`.

        Args:
            max_tokens: of a batch, padding included; an example with more is a batch of its own.
            chosen: rows of the examples; None takes all. Positions count within `chosen`.
            beside: tokens that each example costs beside its own.
        """
        lengths = beside + (self.lengths if chosen is None else self.lengths[chosen])
        order = np.argsort(-lengths, kind="stable")
        cost = PASS_COST.get(device().type)
        while len(order):
            size = max(1, max_tokens // int(lengths[order[0]]))
            if cost is not None:
                size = _cheapest_size(lengths[order[:size]], cost)
            yield order[:size]
            order = order[size:]


def _cheapest_size(lengths: np.ndarray, cost: int) -> int:
    """Returns how many of the first examples share a pass, so that padding costs little.

    Args:
        lengths: (m,) of the examples that may share it, falling.
        cost: tokens that another pass must save at least.
    """
    padding_of_each = lengths[0] - lengths
    # at the k-th example a new pass saves its padding for it and all after it
    saved = padding_of_each * np.arange(len(lengths), 0, -1)
    best = int(saved.argmax())
    return best if saved[best] > cost else len(lengths)


class Sequences(Inputs):
    """Texts as sequences, one per example: of its text, or of its two texts together.

    What a pair's texts begin alike is run once: its sequence is the first text and then the rest of
    the second. Each text attends to itself alone, the shared beginning included, at the positions
    that it has alone, so its states are those of the text by itself.

    Args:
        argument: the module's name for the texts.
        texts: arrays (t,) of token ids, or tensors (t, d) of activations.
        lengths: number of tokens of each text.
        units: the text or the two texts of each example.
        shared: (n,) number of tokens that an example's two texts have in common at their beginning;
            0 of single texts.
    """

    def __init__(
        self,
        argument: str,
        texts: Sequence[np.ndarray] | Sequence[torch.Tensor],
        lengths: np.ndarray,
        units: Units,
        shared: np.ndarray,
    ):
        self.argument = argument
        self.sequences = texts
        self.units = units
        self.shared = shared
        self.first = np.array([lengths[unit[0]] for unit in units])
        self.lengths = np.array([sum(lengths[i] for i in unit) for unit in units]) - shared

    def batch(self, rows) -> dict[str, torch.Tensor]:
        """Returns the texts, where they end, and of pairs how many tokens their texts share.

        Returns:
            The texts under the module's name, and `ends`, the position of the last token of each
            text: (b, 1), or, if any example is a pair, (b, 2). There is then `shared` (b, 1) too.
        """
        rows = np.asarray(rows)
        dtype = torch.long if self.argument == "input_ids" else None
        sequences = [torch.as_tensor(self._sequence(row), dtype=dtype) for row in rows]
        padded = torch.nn.utils.rnn.pad_sequence(sequences, batch_first=True)
        length = torch.as_tensor(self.lengths[rows])[:, None]
        if all(len(self.units[row]) == 1 for row in rows):
            return {self.argument: padded, "ends": length - 1}
        first = torch.as_tensor(self.first[rows])[:, None]
        shared = torch.as_tensor(self.shared[rows])[:, None]
        ends = torch.cat([first, length], dim=1) - 1
        return {self.argument: padded, "ends": ends, "shared": shared}

    def _sequence(self, row: int) -> torch.Tensor:
        texts = [torch.as_tensor(self.sequences[i]) for i in self.units[row]]
        if len(texts) == 1:
            return texts[0]
        return torch.cat([texts[0], texts[1][self.shared[row] :]])

    def places(self, rows) -> list[tuple[int, np.ndarray]]:
        """Returns where each text of a batch stands, the texts of an example in order.

        Returns:
            (row of the batch, positions (t,)) per text.
        """
        places = []
        for batch_row, row in enumerate(rows):
            positions = np.arange(self.lengths[row])
            rest = positions[self.first[row] :]
            places.append((batch_row, positions[: self.first[row]]))
            if len(self.units[row]) == 2:
                beginning = positions[: self.shared[row]]
                places.append((batch_row, np.concatenate([beginning, rest])))
        return places


class TokenInputs(Sequences):
    """Token ids, optionally renumbered to the rows of a compact embedding.

    Args:
        vocabulary: (u,) sorted token ids; id v becomes its index there. None keeps ids.
        units: the texts of each example; None takes an example's texts side by side.
    """

    def __init__(
        self, tokens: Tokens, vocabulary: np.ndarray | None = None, units: Units | None = None
    ):
        ids: Sequence[np.ndarray] = tokens.ids
        if vocabulary is not None:
            ids = [np.searchsorted(vocabulary, text) for text in tokens.ids]
        super().__init__("input_ids", ids, tokens.lengths, *_units(tokens, units))


class TrunkInputs(Sequences):
    """Activations of a frozen trunk: tensors (t, d) of the texts of `tokens`."""

    def __init__(
        self, activations: Sequence[torch.Tensor], tokens: Tokens, units: Units | None = None
    ):
        super().__init__("inputs_embeds", activations, tokens.lengths, *_units(tokens, units))


def _units(tokens: Tokens, units: Units | None) -> tuple[Units, np.ndarray]:
    """Returns the units, by default the texts of each example, and what the texts of each share."""
    if not units:
        starts = range(0, len(tokens.ids), tokens.arity)
        units = [tuple(range(start, start + tokens.arity)) for start in starts]
    shared = [
        alike(tokens.ids[unit[0]], tokens.ids[unit[1]]) if len(unit) == 2 else 0 for unit in units
    ]
    return units, np.array(shared)


def paired(tokens: Tokens, chosen: list[int], least: float) -> Units:
    """Puts texts that begin alike together in pairs and leaves the others alone.

    Args:
        chosen: positions of texts.
        least: share of both texts' tokens that a pair must save.
    Returns:
        Units of one text or two, the longest sequence first.
    """
    # in the order of their ids, texts that begin alike are neighbours
    order = sorted(chosen, key=lambda i: tokens.ids[i].astype(">i4").tobytes())
    units: Units = []
    while order:
        i = order.pop()
        if order and _saves(tokens.ids[i], tokens.ids[order[-1]], least):
            units.append((i, order.pop()))
        else:
            units.append((i,))
    return sorted(units, key=lambda unit: -sum(len(tokens.ids[i]) for i in unit))


def _saves(first: np.ndarray, second: np.ndarray, least: float) -> bool:
    """Returns whether two texts have at least a share of their tokens in common."""
    return alike(first, second) >= least * (len(first) + len(second))


class NextTokens(Inputs):
    """Sequences, one text per example, with the token that comes after each token.

    Args:
        ids: token ids of each text.
        starts: (n,) the first token of each text that is to be predicted, from 1; None predicts all
            but the first.
    """

    def __init__(self, sequences: Sequences, ids, starts: np.ndarray | None = None):
        self.sequences = sequences
        self.ids = ids
        self.lengths = sequences.lengths
        self.starts = np.ones(len(ids), dtype=int) if starts is None else starts

    def batch(self, rows) -> dict[str, torch.Tensor]:
        """Returns the sequences' tensors, the next tokens, and which of them are to be predicted.

        Returns:
            What `Sequences.batch` does; `targets` (b, t), -1 where nothing is predicted; and
            `predicted` (m,), the positions of all others in it, read row by row.
        """
        targets = []
        for row in rows:
            next_ids = np.append(self.ids[row][1:], -1)
            targets.append(torch.as_tensor(next_ids, dtype=torch.long))
            targets[-1][: self.starts[row] - 1] = -1
        padded = torch.nn.utils.rnn.pad_sequence(targets, batch_first=True, padding_value=-1)
        (predicted,) = torch.nonzero(padded.flatten() >= 0, as_tuple=True)
        return self.sequences.batch(rows) | {"targets": padded, "predicted": predicted}


class FeatureInputs(Inputs):
    """Features (n * k, d) float32, pooled already, of n examples of k texts."""

    def __init__(self, features: torch.Tensor, arity: int):
        self.features = features
        self.arity = arity
        self.lengths = np.ones(len(features) // arity, dtype=int)

    def batch(self, rows) -> dict[str, torch.Tensor]:
        """Returns `features` (b * k, d) of the examples at `rows`."""
        by_example = self.features.view(len(self), -1)
        # three times as fast as by_example[rows]
        chosen = by_example.index_select(0, torch.as_tensor(rows))
        return {"features": chosen.view(-1, self.features.shape[1])}
