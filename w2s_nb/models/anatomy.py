"""Where a language model of any supported architecture keeps its blocks and final norm, and how parts are put in."""

from __future__ import annotations

import torch
from torch import nn

_BLOCKS = ("layers", "h")  # Llama, Qwen, GPT-NeoX, OLMo; GPT-2
_NORMS = ("norm", "ln_f", "final_layer_norm")


def blocks_name(body: nn.Module) -> str:
    """Attribute that holds the transformer blocks."""
    return _attribute(body, _BLOCKS, "transformer blocks")


def blocks_of(body: nn.Module) -> nn.ModuleList:
    """The transformer blocks of a body, with adapters or without."""
    inner = body.get_base_model() if hasattr(body, "peft_config") else body
    return getattr(inner, blocks_name(inner))


def final_norm(body: nn.Module) -> nn.Module:
    """The normalisation between the last block and the unembedding."""
    return getattr(body, _attribute(body, _NORMS, "final norm"))


def _attribute(body: nn.Module, names: tuple[str, ...], what: str) -> str:
    for name in names:
        if hasattr(body, name):
            return name
    raise NotImplementedError(
        f"{type(body).__name__}: no {what} under any of {', '.join(names)}; supported are the "
        f"GPT-2, Llama, Qwen2, Qwen3, GPT-NeoX and OLMo architectures"
    )


def attention_of(body: nn.Module, mask: torch.Tensor, longest: int) -> torch.Tensor:
    """A mask (b, t), or (b, 1, t, t), True where a token may look, as the body's attention takes it.

    Args:
        longest: tokens of the longest text.
    Raises:
        ValueError: (b, 1, t, t) for texts beyond a sliding window, which it does not express.
    """
    if mask.ndim == 2:
        return mask
    window = getattr(body.config, "sliding_window", None)
    if window and longest > window:
        raise ValueError(
            f"texts of {longest} tokens beside each other in one sequence; {type(body).__name__} has a "
            f"sliding window of {window}. Give a max_len of at most that"
        )
    if body.config._attn_implementation == "sdpa":
        return mask
    dtype = next(body.parameters()).dtype  # eager attention adds the mask to its scores
    return torch.zeros(mask.shape, dtype=dtype, device=mask.device).masked_fill(
        ~mask, torch.finfo(dtype).min
    )


def keep_blocks(body: nn.Module, kept: slice) -> None:
    """Cuts a body to some of its blocks."""
    name = blocks_name(body)
    setattr(body, name, getattr(body, name)[kept])
    body.config.num_hidden_layers = len(getattr(body, name))


def keep_top(body: nn.Module, n: int) -> None:
    """Cuts a body to its last n blocks and final norm; it is then fed with `inputs_embeds` from the trunk below."""
    keep_blocks(body, slice(-n, None))
    body.set_input_embeddings(
        nn.Embedding(1, body.config.hidden_size)
    )  # the trunk's output comes in its place
    body.get_input_embeddings().requires_grad_(False)
    if hasattr(
        body, "wpe"
    ):  # GPT-2 adds positions to what it is given; the trunk has added them already
        nn.init.zeros_(body.wpe.weight)
        body.wpe.requires_grad_(False)


def with_adapters(body: nn.Module, rank: int) -> nn.Module:
    """The body with LoRA adapters on all linear layers, put in place."""
    from peft import LoraConfig, get_peft_model  # seconds to import, and only needed here

    return get_peft_model(
        body, LoraConfig(r=rank, lora_alpha=2 * rank, lora_dropout=0.0, target_modules="all-linear")
    )


@torch.no_grad()
def put_trained(
    lm: nn.Module, tensors: dict[str, torch.Tensor], method: str, hyperparameters: dict
) -> None:
    """Puts a fit's trained tensors into the language model that it started from; the head is left out.

    Args:
        tensors: as `Fit.weights()` has them: those of the body, and of an unembedding that was trained untied; with
            `vocabulary` (u,), embedding rows are those of these ids alone.
        method, hyperparameters: of the fit, as its record has them. Adapters are merged into the weights.
    """
    body = lm.base_model
    blocks = getattr(body, blocks_name(body))
    below = len(blocks) - min(hyperparameters["top_layers"], len(blocks)) if method == "top" else 0
    adapted = with_adapters(body, hyperparameters["lora_rank"]) if method == "lora" else body
    table, named = body.get_input_embeddings().weight, dict(adapted.named_parameters())
    for name, tensor in tensors.items():
        part, _, name = name.partition(".")
        if part == "unembedding":
            getattr(lm.get_output_embeddings(), name).copy_(tensor)
        if part != "body":
            continue
        if below and name.startswith(blocks_name(body) + "."):
            name, number, rest = name.split(".", 2)
            name = f"{name}.{int(number) + below}.{rest}"
        if named[name] is table and "vocabulary" in tensors:
            table[tensors["vocabulary"].long()] = tensor.to(table)
        else:
            named[name].copy_(tensor)
    if method == "lora":
        adapted.merge_and_unload()
        body.requires_grad_(True)  # peft froze it; whoever loads the model may train it
