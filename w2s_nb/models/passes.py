"""Chooses how many tokens a model takes in one pass without gradient, by the memory that is free.

It changes speed, not the result. On a CPU the number is fixed.
"""

from __future__ import annotations

from collections.abc import Mapping

from ..common.device import compute_type, device
from ..common.memory import free_device_memory

# tokens of a pass at most, on devices for which a caller names no number
_MOST = 4096
# of the free memory of a device, the share that the tokens of one pass may take
_SHARE = 0.6


def affordable_tokens(
    config,
    most: Mapping[str, int],
    *,
    longest: int,
    keeps_keys: bool = False,
    logits: float = 0,
    reserved: int = 0,
) -> int:
    """Returns how many tokens one pass of a model may have, padding included.

    Where memory is short it is a power of two, so that passes are the same from run to run though
    a little more or less of a device's memory is free.

    Args:
        config: the model's configuration.
        most: tokens at most, by type of device.
        longest: tokens of the longest sequence.
        keeps_keys: keys and values of all blocks are kept.
        logits: per token, the number of tokens whose logits are computed, each of the vocabulary.
        reserved: bytes that a pass takes beside its tokens.
    """
    tokens = most.get(device().type, _MOST)
    free = free_device_memory()
    if free is None:
        return tokens
    room = _SHARE * (free - reserved)
    affordable = room / bytes_of_token(config, longest, keeps_keys=keeps_keys, logits=logits)
    if affordable >= tokens:
        return tokens
    return 2 ** (max(1, int(affordable)).bit_length() - 1)


def bytes_of_token(config, longest: int, *, keeps_keys: bool = False, logits: float = 0) -> float:
    """Returns an upper bound of the bytes that a token takes in a pass, beside the weights.

    Args: as of `affordable_tokens`.
    """
    half = compute_type().itemsize
    heads = config.num_attention_heads
    names = ("intermediate_size", "n_inner", "ffn_hidden_size")
    named = [getattr(config, name, None) or 0 for name in names]
    inner = max(named) or 4 * config.hidden_size
    # one block at a time; what is added up and normalised is in float32
    n_bytes = 3 * half * inner + 4 * 8 * config.hidden_size
    # of a pair, which tokens each may look at, as true and false and as numbers
    n_bytes += (1 + 2 * half) * longest
    if config._attn_implementation == "eager":
        n_bytes += 12 * heads * longest
    if keeps_keys:
        width = getattr(config, "head_dim", None) or config.hidden_size // heads
        heads_of_keys = getattr(config, "num_key_value_heads", None) or heads
        n_bytes += 2 * half * config.num_hidden_layers * heads_of_keys * width
    # in the precision of the pass, in float32, and their logarithm
    return n_bytes + logits * (half + 8) * config.vocab_size
