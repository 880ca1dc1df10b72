"""Features of a model for a data set, and the linear classifier on them that is solved instead of trained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..data.load import example_id
from ..data.splits import Split
from ..data.tasks.spec import Example
from ..models import loading
from ..models.loading import with_depth
from ..models.names import resolve
from .activations import DTYPES, POOLS, Pooled, pooled
from .tokens import tokenize


@dataclass(frozen=True, eq=False)
class Features:
    """Hidden states of a data set, one vector a text and layer; `features[k]` are those after k layers.

    They lie in files that every process maps; a layer is read when it is asked for.

    Attributes:
        ids: (n,) 16 hex digits each, as in `Split.ids`.
        layers: the layers that are there; 0 is the embedding.
    """

    ids: np.ndarray
    layers: tuple[int, ...]
    arity: int
    _pooled: Pooled

    def __len__(self) -> int:
        return len(self.ids)

    def __repr__(self) -> str:
        return f"Features({len(self)} examples, layers {self.layers[0]} to {self.layers[-1]})"

    def __getitem__(self, layer: int) -> np.ndarray:
        """(n, d) float32, or (n, 2, d) for pairs, after `layer` layers and the final norm."""
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
    """Hidden states of a frozen model for all examples, computed in one forward pass for all layers, and kept.

    Texts are run longest first, in batches of similar length; in bf16 on CUDA. Each text's states are stored once for a
    model, whatever data sets it stands in; a run that was killed goes on after the last `SHARD` texts it finished.

    Args:
        model: a name that `models.resolve` takes; a finetuned model is `Fit.name`.
        dataset: a split, or texts.
        layers: 'all', or numbers from 0 (the embedding) to the model's depth. They go through the final norm, so those
            after k layers are what a model cut to k layers gives its head, and the last are those before the
            unembedding.
        pool: 'last', the last token's state; 'mean', the mean over the text's tokens.
        dtype: as stored, 'float16' or 'float32'.
        max_len: tokens kept of a text, from its end; None takes the task's, or of texts all.
    Raises:
        UnknownName, ValueError: no such model, layer, pool or dtype, no texts, or one longer than the model's context;
            before any model is loaded.
        ModelUnavailable: the weights cannot be had here.
        FloatingPointError: states that are not finite, or do not fit float16.
    """
    for name, given, known in (("pool", pool, POOLS), ("dtype", dtype, DTYPES)):
        if given not in known:
            raise ValueError(f"{name} {given!r}; expected one of {', '.join(known)}")
    checkpoint = with_depth(resolve(model))
    wanted = (
        tuple(range(checkpoint.layers + 1))
        if isinstance(layers, str) and layers == "all"
        else tuple(layers)
    )
    if not wanted or not set(wanted) <= set(range(checkpoint.layers + 1)):
        raise ValueError(f"layers {layers!r}; {model} has 0 to {checkpoint.layers}")
    if isinstance(dataset, str) or not len(dataset):
        raise ValueError(f"dataset {dataset!r}; expected a split, or a list of at least one text")
    if not isinstance(dataset, Split):
        texts = tuple((text,) for text in dataset)
        ids = np.array([example_id("", Example(text, 0)) for text in texts])
        dataset = Split(
            "texts", ids, texts, np.zeros(len(ids), dtype=np.int64), np.arange(len(ids))
        )
    max_len = max_len or (dataset.task.max_len if dataset.task else 10**9)
    tokens = tokenize(dataset, checkpoint, max_len)
    loading.require_context(checkpoint, int(tokens.lengths.max()), "Give a smaller max_len.")
    deepest = (
        checkpoint
        if checkpoint.layers in wanted or checkpoint.fit
        else checkpoint.cut(max(1, *wanted))
    )
    return Features(dataset.ids, wanted, dataset.arity, pooled(deepest, tokens, pool, dtype))
