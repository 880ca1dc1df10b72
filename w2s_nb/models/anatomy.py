"""Parts of a language model of any supported architecture: blocks, final norm, adapters."""

from __future__ import annotations

import copy
import functools
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.modeling_outputs import BaseModelOutputWithPastAndCrossAttentions
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from transformers.pytorch_utils import Conv1D
from transformers.utils import ModelOutput

from ..common.device import copy_to

# A model of transformers. To a type checker every attribute of a torch module is "tensor or
# module", which hides what such a model has.
TransformersModel = Any

# architectures whose attention takes no None for a mask
_ALWAYS_MASKED = ("falcon",)
# PyTorch's attention under a name for which transformers makes no masks
_WITHOUT_MASK = "sdpa_without_mask"
ALL_ATTENTION_FUNCTIONS.register(_WITHOUT_MASK, sdpa_attention_forward)

# attributes of bodies, by architecture: most; GPT-2
BLOCKS = ("layers", "h")
# most; GPT-2; GPT-NeoX; Falcon
EMBEDDINGS = ("embed_tokens", "wte", "embed_in", "word_embeddings")
# most; GPT-2; GPT-NeoX; Phi
_NORMS = ("norm", "ln_f", "final_layer_norm", "final_layernorm")


def blocks_name(body: TransformersModel) -> str:
    """Returns the name of the attribute that holds the transformer blocks."""
    return _attribute(body, BLOCKS, "transformer blocks")


def blocks_of(body: TransformersModel) -> nn.ModuleList:
    """Returns the transformer blocks of a body, with adapters or without."""
    return getattr(body, blocks_name(body))


def final_norm(body: TransformersModel) -> nn.Module:
    """Returns the normalisation between the last block and the unembedding."""
    return getattr(body, _attribute(body, _NORMS, "final norm"))


def _attribute(body: TransformersModel, names: tuple[str, ...], part: str) -> str:
    """Returns the first of the names that the body has; `part` says in the error what they name."""
    for name in names:
        if hasattr(body, name):
            return name
    raise NotImplementedError(f"{type(body).__name__}: no {part} under any of {', '.join(names)}")


def attention_of(
    body: TransformersModel, mask: torch.Tensor, positions: torch.Tensor
) -> torch.Tensor:
    """Returns an attention mask in the form that the body's attention takes.

    Args:
        mask: (b, t), or (b, 1, t, t) with True where a token, the row, attends to another.
        positions: (b, t), of each token in its text. They are read, for which the host waits for a
            GPU, only where a sequence is longer than the body's sliding window.
    Raises:
        ValueError: a mask (b, 1, t, t) for texts longer than the body's sliding window, which such
            a mask would override.
    """
    if mask.ndim == 2:
        return mask
    window = getattr(body.config, "sliding_window", None)
    if window and mask.shape[-1] > window:
        longest = int(positions.max()) + 1
        if longest > window:
            raise ValueError(
                f"texts of {longest} tokens beside each other in one sequence; "
                f"{type(body).__name__} has a sliding window of {window}. Give a max_len of at "
                f"most that"
            )
    if body.config._attn_implementation == "sdpa":
        return mask
    # eager attention adds the mask to its scores
    dtype = next(body.parameters()).dtype
    zeros = torch.zeros(mask.shape, dtype=dtype, device=mask.device)
    return zeros.masked_fill(~mask, torch.finfo(dtype).min)


def run_sequences(
    body: TransformersModel,
    ends: torch.Tensor,
    shared: torch.Tensor | None = None,
    **inputs: torch.Tensor,
) -> torch.Tensor:
    """Runs a body on a batch of `Sequences`: single texts, or pairs of texts in one sequence each.

    Args:
        ends: (b, k), position of the last token of each text.
        shared: (b, 1) of pairs, number of tokens that both texts begin with; None of single texts.
        inputs: `input_ids` (b, t), or `inputs_embeds` (b, t, d).
    Returns:
        The last layer's states (b, t, d); those at the padding mean nothing.
    """
    if shared is None:
        return run_causally(body, ends, **inputs)
    mask, positions = _pairs_attention(ends, shared, next(iter(inputs.values())).shape[1])
    mask = attention_of(body, mask, positions)
    return body(
        attention_mask=mask, position_ids=positions, use_cache=False, **inputs
    ).last_hidden_state


def _pairs_attention(
    ends: torch.Tensor, shared: torch.Tensor, n_tokens: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns what the tokens of pairs attend to, (b, 1, t, t) bool, and their positions (b, t).

    They are made on the device of `ends`: the mask is the largest tensor of a batch. Arguments as
    in `run_sequences`.
    """
    first = ends[:, :1] + 1
    length = ends[:, 1:] + 1
    position = torch.arange(n_tokens, device=ends.device)
    # (b, t), tokens of the second text's rest, and padding
    is_second = position >= first
    is_first_alone = (position >= shared) & ~is_second
    hidden = is_second[:, :, None] & is_first_alone[:, None, :]
    may_look = (position <= position[:, None]) & ~hidden
    # padding has position 0 and may look at some tokens: without any, attention gives NaN
    position_ids = torch.where(is_second, position - first + shared, position)
    return may_look[:, None], position_ids * (position < length)


def run_causally(
    body: TransformersModel, ends: torch.Tensor, **inputs: torch.Tensor
) -> torch.Tensor:
    """Runs a body on single texts that are padded on the right.

    Attention is causal, so no token of a text sees the padding after it. There is no mask
    therefore: attention takes its causal kernel, and transformers neither builds a mask nor looks
    whether all of it is true, for which the host would have to wait on a GPU. States are bit for
    bit the same as with a mask. Falcon, eager attention, and texts longer than a sliding window
    have one.

    Args:
        ends: (b, 1), position of the last token of each text.
        inputs: `input_ids` (b, t), or `inputs_embeds` (b, t, d).
    Returns:
        The last layer's states (b, t, d); those at the padding mean nothing.
    """
    config = body.config
    n_tokens = next(iter(inputs.values())).shape[1]
    window = getattr(config, "sliding_window", None)
    needs_mask = (
        config._attn_implementation != "sdpa"
        or config.model_type in _ALWAYS_MASKED
        or (window and n_tokens > window)
    )
    if needs_mask:
        mask = torch.arange(n_tokens, device=ends.device) <= ends
        return body(attention_mask=mask.long(), use_cache=False, **inputs).last_hidden_state
    config._attn_implementation = _WITHOUT_MASK
    try:
        return body(use_cache=False, **inputs).last_hidden_state
    finally:
        config._attn_implementation = "sdpa"


def keep_blocks(body: TransformersModel, kept: slice) -> None:
    """Removes all blocks of a body but those of a slice."""
    name = blocks_name(body)
    blocks = getattr(body, name)[kept]
    setattr(body, name, blocks)
    body.config.num_hidden_layers = len(blocks)
    # a body chooses mask and rotary base of its i-th block by the i-th of these
    if getattr(body.config, "layer_types", None):
        body.config.layer_types = body.config.layer_types[kept]


def keep_top(body: TransformersModel, n: int) -> None:
    """Removes all of a body but its last n blocks and final norm, which alone are trained.

    Its input is then `inputs_embeds`: the hidden states of the trunk, the blocks below. They enter
    the first kept block as they are, whatever the body does to embeddings (positions, a scale or a
    norm), since the trunk has done it already. They may be stored in bf16; what is added to them
    is added in float32.
    """
    keep_blocks(body, slice(-n, None))
    # nothing reads the table any more
    body.set_input_embeddings(nn.Embedding(1, body.config.hidden_size))
    body.requires_grad_(False)
    train_all_but_adapters(blocks_of(body))
    train_all_but_adapters(final_norm(body))
    states: list[torch.Tensor] = []

    def remember(module, args, kwargs):
        states[:] = [kwargs["inputs_embeds"].float()]
        return args, kwargs | {"inputs_embeds": states[0]}

    def restore(module, args, kwargs):
        if args:
            return (states[0], *args[1:]), kwargs
        return args, kwargs | {"hidden_states": states[0]}

    body.register_forward_pre_hook(remember, with_kwargs=True)
    blocks_of(body)[0].register_forward_pre_hook(restore, with_kwargs=True)


class _StatesAsBody(nn.Module):
    """Stands in the place of a body, and gives the hidden states that it is given."""

    def forward(self, *unused, inputs_embeds, **also_unused) -> ModelOutput:
        return BaseModelOutputWithPastAndCrossAttentions(last_hidden_state=inputs_embeds)


class _SomeRows(nn.Module):
    """Stands in the place of an unembedding: the rows of some tokens alone, in float32."""

    def __init__(self, unembedding: nn.Linear, tokens: Sequence[int] | slice):
        super().__init__()
        weight, bias = unembedding.weight, unembedding.bias
        rows: Any = tokens
        if not isinstance(tokens, slice):
            rows = copy_to(weight.device, torch.tensor(tokens))
        self.weight = weight[rows].float()
        self.bias = None if bias is None else bias[rows].float()

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        # a worker without weights of its own runs this on the meta device, which has no autocast
        kind = "cpu" if states.is_meta else states.device.type
        with torch.autocast(kind, enabled=False):
            return nn.functional.linear(states.float(), self.weight, self.bias)


def unembed_in_float32(lm: TransformersModel) -> None:
    """Lets a language model give logits in float32, in place: in bf16 likely tokens would tie."""
    lm.set_output_embeddings(_SomeRows(lm.get_output_embeddings(), slice(None)))


def logits(
    lm: TransformersModel, states: torch.Tensor, tokens: Sequence[int] | None = None
) -> torch.Tensor:
    """Computes a language model's logits from its body's last hidden states.

    The model's own forward pass computes them, with its scale or soft-capping if it has any.

    Args:
        states: (m, d).
        tokens: ids of the v tokens whose logits are wanted, in float32; None takes the whole
            vocabulary, in the precision of the model's weights.
    Returns:
        (m, v).
    """
    # a second model that shares all modules but those replaced
    head = copy.copy(lm)
    head._modules = dict(lm._modules)
    head._modules[lm.base_model_prefix] = _StatesAsBody()
    if tokens is not None:
        head.set_output_embeddings(_SomeRows(lm.get_output_embeddings(), tokens))
    # an index instead of squeeze would copy the whole gradient in the backward pass
    return head(inputs_embeds=states[None], use_cache=False).logits.squeeze(0)


def unembedding_rows(lm: TransformersModel, tokens: Sequence[int]) -> torch.Tensor:
    """Returns the unembedding of tokens (v, d) float32, times the model's logit scale.

    It is the gradient of each token's logit at hidden states of zero, where soft-capping changes
    nothing.
    """
    with torch.enable_grad():
        width = lm.config.hidden_size
        device = lm.get_output_embeddings().weight.device
        states = torch.zeros(len(tokens), width, device=device, requires_grad=True)
        own_logits = logits(lm, states, tokens).diagonal()
        (rows,) = torch.autograd.grad(own_logits.sum(), states)
    return rows


def add_adapters(body: TransformersModel, rank: int) -> None:
    """Puts LoRA adapters, in float32, beside all linear layers, in place; only they are trained.

    A body may have adapters of earlier fits. They stay as they are, and the outputs of all add up.
    Adapters are never merged into the weights: in bf16 most of a small update would be rounded off.
    """
    # takes seconds, and is needed only here
    from peft import LoraConfig, inject_adapter_in_model
    from peft.tuners.tuners_utils import BaseTunerLayer, cast_adapter_dtype

    config = LoraConfig(r=rank, lora_alpha=2 * rank, lora_dropout=0.0, target_modules="all-linear")
    layer = _linear_with_adapters()
    config._register_custom_module({nn.Linear: layer, Conv1D: layer})
    adapted = [module for module in body.modules() if isinstance(module, BaseTunerLayer)]
    earlier = list(adapted[0].active_adapters) if adapted else []
    name = f"fit{len(earlier)}"  # the same in training and after loading
    if earlier:
        del body.peft_config  # peft warns of it, and keeps it for saving alone
    inject_adapter_in_model(config, body, name)
    cast_adapter_dtype(body, name)
    for module in body.modules():
        if isinstance(module, BaseTunerLayer):
            module.set_adapter([*earlier, name])
    for parameter_name, parameter in body.named_parameters():
        parameter.requires_grad_(f".{name}." in parameter_name)


@functools.cache
def _linear_with_adapters() -> type[nn.Module]:
    """Returns peft's linear layer with adapters, which under autocast rounds the sum of all once.

    peft adds an adapter's output to that of the weights when both are rounded to bf16. Less than
    half a step of bf16 then changes nothing, and small updates have no effect on predictions.
    """
    from peft.tuners.lora.layer import Linear

    class LinearWithAdapters(Linear):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if not torch.is_autocast_enabled(x.device.type):
                return super().forward(x)
            added: Any = 0
            for name in self.active_adapters:
                output = self.lora_B[name](self.lora_A[name](x))
                added = added + output.float() * self.scaling[name]
            base: Any = self.base_layer
            matrix = base.weight if isinstance(base, Conv1D) else base.weight.T
            # autocast runs it in bf16, and adds up in float32
            rows = torch.addmm(added.flatten(0, -2), x.flatten(0, -2), matrix)
            if base.bias is not None:
                rows = rows + base.bias.to(rows.dtype)
            return rows.view(*x.shape[:-1], -1)

    return LinearWithAdapters


def round_linear_layers(lm: TransformersModel, dtype: torch.dtype) -> None:
    """Rounds the weights and biases of a model's linear layers, in place, as autocast does.

    Autocast rounds them in every pass, so its results stay the same. Adapters, and an unembedding
    that is also the embedding, stay as they are.
    """
    embedding = lm.get_input_embeddings().weight
    for name, module in lm.named_modules():
        is_linear = isinstance(module, (nn.Linear, Conv1D)) and not _is_adapter(name)
        if is_linear and module.weight is not embedding:
            module.to(dtype)


def train_all_but_adapters(body: nn.Module) -> None:
    """Makes every weight of a body one that can be trained, but none of earlier fits' adapters."""
    for name, parameter in body.named_parameters():
        parameter.requires_grad_(not _is_adapter(name))


def _is_adapter(name: str) -> bool:
    """Returns True for the name of a module or parameter that belongs to a LoRA adapter."""
    return ".lora_" in name


@torch.no_grad()
def put_trained(
    lm: TransformersModel, tensors: dict[str, torch.Tensor], method: str, hyperparameters: dict
) -> None:
    """Copies a fit's trained tensors into the language model that it started from.

    The tensors of a classifier's head are left out. Adapters are put beside the weights.

    Args:
        tensors: as `Fit.weights()` returns them: those of the body, and of an unembedding that was
            trained untied. With `vocabulary` (u,), embedding rows are those of these ids alone.
            Without any tensor the model only gets the fit's adapters, if it has some.
        method, hyperparameters: of the fit, as in its record.
    """
    body = lm.base_model
    n_blocks = len(blocks_of(body))
    n_frozen = n_blocks - min(hyperparameters["top_layers"], n_blocks) if method == "top" else 0
    if method == "lora":
        add_adapters(body, hyperparameters["lora_rank"])
        train_all_but_adapters(body)  # whoever loads the model may train it
    parameters = dict(body.named_parameters())
    embeddings = body.get_input_embeddings().weight
    for full_name, tensor in tensors.items():
        owner, _, name = full_name.partition(".")
        if owner == "unembedding":
            getattr(lm.get_output_embeddings(), name).copy_(tensor)
        if owner != "body":
            continue
        parameter = parameters[_shift_block(name, blocks_name(body), n_frozen)]
        if parameter.is_meta:
            continue
        if parameter is embeddings and "vocabulary" in tensors:
            embeddings[tensors["vocabulary"].long()] = tensor.to(embeddings)
        else:
            parameter.copy_(tensor)


def _shift_block(name: str, blocks: str, n: int) -> str:
    """Returns a parameter's name with the number of its block, if it is of a block, raised by n."""
    if not name.startswith(blocks + "."):
        return name
    _, number, rest = name.split(".", 2)
    return f"{blocks}.{int(number) + n}.{rest}"
