"""Reads features: the hidden states of a model for a data set, at all its layers."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np

from ..data.load import example_id
from ..data.splits import Split, Task, need_split
from ..data.tasks.spec import Example
from ..models import loading
from ..models.loading import with_depth
from ..models.names import Checkpoint, resolve
from .activations import POOLS, Pooled, pooled
from .encoded import DTYPES, Encoded
from .tokens import read_split


@dataclass(frozen=True, eq=False)
class Features:
    """Hidden states of a data set, one vector per text and layer.

    `features[k]` are those after k layers. They lie in files that every process maps; a layer is
    read when it is asked for.

    Attributes:
        ids: (n,) 16 hex digits each, as in `Split.ids`.
        layers: the numbers of the layers that can be read; 0 is the embedding.
        arity: texts per example.
    """

    ids: np.ndarray
    layers: tuple[int, ...]
    arity: int
    _pooled: Pooled | Encoded

    def __len__(self) -> int:
        return len(self.ids)

    def __repr__(self) -> str:
        return f"Features({len(self)} examples, layers {self.layers[0]} to {self.layers[-1]})"

    def __getitem__(self, layer: int) -> np.ndarray:
        """Returns the states after `layer` layers and the final norm.

        Returns:
            (n, d) float32; (n, 2, d) for pairs.
        Raises:
            KeyError: a layer that is not in `layers`.
        """
        if layer not in self.layers:
            raise KeyError(f"layer {layer!r}; there are {', '.join(map(str, self.layers))}")
        states = self._pooled.layer(layer)
        return states if self.arity == 1 else states.reshape(len(self), self.arity, -1)


def features(
    model: str,
    dataset: Split | Sequence[str],
    layers: str | Sequence[int] = "all",
    pool: str = "last",
    *,
    dtype: str = "float16",
    max_len: int | None = None,
) -> Features:
    """Computes or finds the hidden states of a frozen model for all examples.

    An encoder gives the features of images after 0, 1, ... blocks; a task's images only.

    One forward pass serves all layers; in bf16 on CUDA. Texts are run longest first, in batches of
    similar length. The states of each text are stored once per model, whatever data sets it is in;
    a run that was killed continues after the last `activations.SHARD` texts it finished.

    Args:
        model: a name that `models.resolve` takes; a finetuned model is `Fit.name`.
        dataset: a split, or texts.
        layers: 'all', or numbers from 0 (the embedding) to the model's depth. All go through the
            final norm: those after k layers are what a model cut to k layers gives its head, and
            the last are those before the unembedding.
        pool: 'last', the last token's state; 'mean', the mean over the text's tokens. An encoder
            pools images itself.
        dtype: as stored, 'float16' or 'float32'.
        max_len: tokens kept of a text, from its end; None takes the task's, and keeps all tokens of
            texts without a task.
    Raises:
        UnknownName, ValueError: no such model, layer, pool or dtype, no texts, or one longer than
            the model's context; before any model is loaded.
        ModelUnavailable: the weights cannot be had here.
        FloatingPointError: states that are not finite, or do not fit float16.
    """
    _check_known("pool", pool, POOLS)
    _check_known("dtype", dtype, DTYPES)
    checkpoint = with_depth(resolve(model))
    if checkpoint.encoder and pool != POOLS[0]:
        raise ValueError(f"pool {pool!r}; {model} pools images itself; leave pool out")
    chosen_layers = _choose_layers(layers, checkpoint, model)
    split = _as_split(dataset)
    if max_len is None:
        max_len = split.task.max_len if split.task else 10**9
    tokens = read_split(split, checkpoint, max_len)
    loading.require_context(checkpoint, int(tokens.lengths.max()), "Give a smaller max_len.")
    deepest = checkpoint
    # a finetuned model is one set of weights at its own depth
    if checkpoint.layers not in chosen_layers and not checkpoint.fit:
        deepest = checkpoint.cut(max(1, *chosen_layers))
    states = pooled(deepest, tokens, pool, dtype)
    return Features(split.ids, chosen_layers, split.arity, states)


def _check_known(name: str, value: str, known: Collection[str]) -> None:
    if value not in known:
        raise ValueError(f"{name} {value!r}; expected one of {', '.join(known)}")


def _choose_layers(
    layers: str | Sequence[int], checkpoint: Checkpoint, model: str
) -> tuple[int, ...]:
    """Returns the numbers of the layers asked for, each from 0 to the model's depth."""
    depth = cast(int, checkpoint.layers)  # filled in by with_depth
    existing = tuple(range(depth + 1))
    if isinstance(layers, str):
        chosen = existing if layers == "all" else ()
    else:
        chosen = tuple(layers) if isinstance(layers, Iterable) else ()
    if not chosen or not set(chosen) <= set(existing):
        raise ValueError(
            f"layers {layers!r}; expected 'all', or a list of layers: {model} has 0 to {depth}"
        )
    return chosen


def _as_split(dataset: Split | Sequence[str]) -> Split:
    """Returns a split as it is, and texts as a split without task or truth."""
    if isinstance(dataset, Split):
        return dataset
    if isinstance(dataset, Task):
        need_split(dataset, "dataset")
    is_list = isinstance(dataset, Iterable) and not isinstance(dataset, str)
    texts_given = list(dataset) if is_list else []
    if not texts_given:
        raise ValueError(f"dataset {dataset!r}; expected a split, or a list of at least one text")
    for row, text in enumerate(texts_given):
        if not isinstance(text, str):
            raise TypeError(
                f"dataset has {text!r} at {row}; expected texts, or a split of w2s.load_task(...)"
            )
    texts = tuple((text,) for text in texts_given)
    ids = np.array([example_id("", Example(example, 0)) for example in texts])
    return Split("texts", ids, texts, np.zeros(len(ids), dtype=np.int64), np.arange(len(ids)))
