"""Keeps the models that fits start from in main memory, so that each is read once per process."""

from __future__ import annotations

import copy
import threading

import torch
from torch import nn

from ..common.memory import free_host_memory
from . import loading
from .loading import digest, folder
from .names import Checkpoint

# of the main memory that is free, the share that models may take which nobody uses at the moment
SHARE = 0.25

# the models kept and the bytes of their weights, the one used last at the end
_kept: dict[tuple, tuple[nn.Module, int]] = {}
_one_at_a_time = threading.Lock()


def load_shared(checkpoint: Checkpoint, dtype: torch.dtype = torch.float32, *, top=None):
    """Returns the language model of `load_lm`, which is read once and then kept in main memory.

    Its modules are the caller's own; its weights are those of all who asked for it, so they must
    not be changed on the CPU: see `own_trained`. Kept are pretrained models, the one used last
    longest, as long as they take at most `SHARE` of the free main memory.

    Args: as of `load_lm`.
    Raises: as `load_lm`.
    """
    if checkpoint.parent:
        return loading.load_lm(checkpoint, dtype, top=top)
    if top is not None and top >= (checkpoint.layers or 0):
        top = None
    folder(checkpoint, for_weights=True)  # a file that was damaged meanwhile is refused
    key = (digest(checkpoint), checkpoint.layers, dtype, top)
    with _one_at_a_time, torch.inference_mode(False):
        kept = _kept.pop(key, None)
        _drop_what_is_too_much()
        if kept is None:
            lm = loading.load_lm(checkpoint, dtype, top=top)
            kept = lm, _n_bytes(lm)
        _kept[key] = kept
        _drop_what_is_too_much()
        return _with_same_weights(kept[0])


def own_trained(net: nn.Module) -> None:
    """Gives a module copies of the weights that it trains where they are on the CPU.

    Elsewhere they are copies already: the shared ones are on the CPU.
    """
    for parameter in net.parameters():
        if parameter.requires_grad and parameter.device.type == "cpu":
            parameter.data = parameter.data.clone()


def _drop_what_is_too_much() -> None:
    """Drops models, the one used longest ago first, until the others take at most `SHARE`."""
    while _kept and sum(n_bytes for _, n_bytes in _kept.values()) > SHARE * free_host_memory():
        _kept.pop(next(iter(_kept)))


def _n_bytes(lm: nn.Module) -> int:
    return sum(p.nbytes for p in lm.parameters() if not p.is_meta)


def _with_same_weights(lm: nn.Module) -> nn.Module:
    """Returns a copy of a module whose parameters are others, over the same numbers."""
    same_numbers = {
        id(parameter): nn.Parameter(parameter.detach(), parameter.requires_grad)
        for parameter in lm.parameters()
    }
    return copy.deepcopy(lm, same_numbers)
