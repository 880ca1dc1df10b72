"""The classifier that every method trains: a language model's body and a linear head."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import torch
from torch import nn

from ..common import distributed
from ..common.device import compute_type, device
from .anatomy import (
    TransformersModel,
    add_adapters,
    keep_top,
    run_sequences,
    unembedding_rows,
)
from .loading import folder, hollow_lm, label_tokens, load_lm
from .names import HEADS, Checkpoint
from .shared import load_shared, own_trained

# parameters of a body above which training recomputes activations
CHECKPOINTED = 1_000_000_000


class Classifier(nn.Module):
    """Body, last-token pooling and a linear head.

    An example has k texts: one for classification into K classes, two for a comparison, whose
    classes are its texts. The head has K // k outputs per text, so both kinds end in logits (b, K),
    and the softmax of a pair's two scores is sigmoid(r(second) - r(first)), the reward model of
    appendix A.3.

    Attributes:
        n_classes: K.
    """

    body: TransformersModel

    def __init__(self, body: TransformersModel | None, head: nn.Linear, n_classes: int = 2):
        super().__init__()
        self.body = body
        self.head = head
        self.n_classes = n_classes

    def forward(
        self, attention_mask=None, *, features=None, ends=None, shared=None, **inputs
    ) -> torch.Tensor:
        """Scores examples.

        Args:
            attention_mask: of single texts, (b, t), 1 on real tokens; padding may then be left or
                right. None for texts with `ends`, which are padded on the right.
            features: (b * k, d), pooled already (method `probe`); then the only argument.
            ends: (b, k), positions of the last tokens of an example's texts; None takes the last
                real token of the mask.
            shared: (b, 1) of pairs, number of tokens that both texts begin with and that their
                sequence has once; None of single texts.
            inputs: `input_ids` (b, t), or `inputs_embeds` (b, t, d).
        Returns:
            (b, K) float32, unnormalised.
        """
        if features is None:
            features = self._pool(attention_mask, ends, shared, inputs)
        # bf16 would give neighbouring examples the same score
        with torch.autocast(features.device.type, enabled=False):
            return self.head(features.float()).view(-1, self.n_classes)

    def _pool(self, attention_mask, ends, shared, inputs: dict) -> torch.Tensor:
        """Returns the last layer's states (b * k, d) at the ends of texts; arguments of forward."""
        if attention_mask is None:
            return _at(ends, run_sequences(self.body, ends, shared, **inputs))
        positions = (attention_mask.cumsum(1) - 1).clamp(min=0)
        ends = attention_mask.shape[1] - 1 - attention_mask.flip(1).argmax(1, keepdim=True)
        hidden = self.body(
            attention_mask=attention_mask, position_ids=positions, use_cache=False, **inputs
        ).last_hidden_state
        return _at(ends, hidden)


def _at(ends: torch.Tensor, hidden: torch.Tensor) -> torch.Tensor:
    """Returns the states (b * k, d) of the tokens at `ends` (b, k), of all states (b, t, d)."""
    rows = torch.arange(len(hidden), device=hidden.device)[:, None]
    return hidden[rows, ends].flatten(0, 1)


def probe(width: int, arity: int, n_classes: int = 2) -> Classifier:
    """Returns a classifier of a linear head alone, at zero, for pooled features (b * k, width)."""
    head = nn.Linear(width, n_classes // arity, bias=True)
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)
    head.bias.requires_grad_(arity == 1)  # it cancels between the two texts of a pair
    return Classifier(None, head, n_classes)


def head_for(
    lm: TransformersModel, arity: int, init: str, rows: list[int], n_classes: int = 2
) -> nn.Linear:
    """Returns a linear head of K // arity outputs for a language model's last layer.

    Args:
        rows: ids of the tokens "0" to "K-1", see `label_tokens`.
        init: 'unembedding' copies the unembedding rows of these tokens (section A.1; for pairs of
            "1" alone, a row that the paper calls arbitrary); 'zero' starts at zero, as
            openai/weak-to-strong does. A model that scales its logits scales these rows too.
    Raises:
        ValueError: any other `init`; 'unembedding' without these tokens.
    """
    n_outputs = n_classes // arity
    head = nn.Linear(lm.config.hidden_size, n_outputs, bias=False)
    nn.init.zeros_(head.weight)
    if init == "unembedding" and not rows:
        raise ValueError(f"head_init {init!r} needs a token per class; expected head_init='zero'")
    if init == "unembedding":
        head.weight.data.copy_(unembedding_rows(lm, rows[-n_outputs:]))
    elif init != "zero":
        raise ValueError(f"head_init {init!r}; expected one of {', '.join(HEADS)}")
    return head


def trainable(
    checkpoint: Checkpoint,
    method: str,
    *,
    top_layers: int,
    lora_rank: int,
    load: Callable | None = None,
    frozen_type: torch.dtype | None = None,
) -> tuple[TransformersModel, TransformersModel]:
    """Returns a checkpoint's language model, on the CPU, and its body as a method trains it.

    A body of more than `CHECKPOINTED` parameters recomputes its activations: `recompute_blocks`.

    Args:
        method: 'full' (every weight; adapters of earlier fits stay beside them, untrained), 'lora'
            (peft adapters on all linear layers, beside frozen weights), 'top' (the last
            `top_layers` blocks and final norm, whose input is `inputs_embeds` from the frozen
            trunk).
        load: (checkpoint, dtype) -> the language model.
        frozen_type: of the weights beside which 'lora' trains; None takes `device.compute_type`.
            Weights that are trained are in float32.
    """
    dtype = (frozen_type or compute_type()) if method == "lora" else torch.float32
    if load is not None:
        lm = load(checkpoint, dtype)
    elif method == "full" and device().type == "cpu":
        lm = load_lm(checkpoint, dtype)  # the copy that it trains would double its memory
    else:
        lm = load_shared(checkpoint, dtype, top=top_layers if method == "top" else None)
    body = lm.base_model
    if method == "lora":
        add_adapters(body, lora_rank)
    elif method == "top":
        keep_top(body, top_layers)
    if sum(p.numel() for p in body.parameters()) > CHECKPOINTED:
        recompute_blocks(body)
    return lm, body


def recompute_blocks(body: TransformersModel) -> None:
    """Makes a body keep only its blocks' inputs and recompute the rest in the backward pass.

    Gradients are the same. A step costs one more forward pass, about a third of its time.

    Args:
        body: its blocks may have adapters.
    """
    body.activation_checkpointing_enable(activation_checkpointing_kwargs={"use_reentrant": False})


def build(
    checkpoint: Checkpoint,
    method: str,
    arity: int,
    *,
    n_classes: int = 2,
    head_init: str,
    top_layers: int = 4,
    lora_rank: int = 8,
    device: torch.device,
) -> Classifier:
    """Returns the module that a method trains, on its device: the body of `trainable`, and a head.

    If several devices train it, it is on the CPU in worker 0 and has no weights in the others, as
    `distributed.shard` expects.
    """
    hollow = distributed.rank() > 0
    rows = label_tokens(folder(checkpoint), n_classes)
    with torch.device("meta") if hollow else contextlib.nullcontext():
        lm, body = trainable(
            checkpoint,
            method,
            top_layers=top_layers,
            lora_rank=lora_rank,
            load=_loader_of_workers(),
        )
        head = head_for(lm, arity, head_init, rows, n_classes)
        model = Classifier(body, head, n_classes)
    if distributed.n_workers() > 1:
        return model
    model.to(device)
    own_trained(model)
    return model


def _loader_of_workers() -> Callable | None:
    """Returns how one of several workers loads a model; None for a process that works alone."""
    if distributed.n_workers() == 1:
        return None
    return hollow_lm if distributed.rank() else load_lm


def compact_embedding(model: Classifier, used: torch.Tensor) -> None:
    """Keeps only the embedding rows of `used` token ids (u,), sorted.

    Inputs are then indices into `used`. Predictions on texts of those tokens are unchanged, in
    training too: a row that no text uses never enters a forward pass. The dense gradient of the
    whole table is the largest single cost of finetuning a small model on a CPU.
    """
    # the module itself stays: those of some architectures do more than look up rows
    embedding = model.body.get_input_embeddings()
    rows = embedding.weight.detach()[used.to(embedding.weight.device)]
    embedding.weight = nn.Parameter(rows)
    embedding.num_embeddings = len(used)
