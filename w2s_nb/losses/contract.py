"""What a loss is: a pure function of one contract, registered under its name.

A loss takes logits (b, 2) and targets (b, 2), and `progress` of training in [0, 1], and returns (b,) nats, one an
example, not averaged. Its further keyword arguments, all with defaults, are its configuration. Where a value depends
on the other examples of the batch, it is registered with `batchwise=True`; `b` is then the optimiser's whole batch. A
loss registered with `memory="decay"` also gets `previous` (b, 2): the running average, at the rate its argument `decay`
names, of the student's own predictions for these examples in earlier epochs, and the targets in the first.
"""

from __future__ import annotations

import inspect

import torch
import torch.nn.functional as F

from ..common.registry import LOSSES
from ..common.store import code_version

_FIXED = ("logits", "targets", "progress", "previous")


def register_loss(function=None, *, batchwise: bool = False, memory: str = ""):
    """Registers a loss under its function's name.

    Args:
        batchwise: the value of an example depends on the others of the batch.
        memory: name of the loss's argument that is the decay, in [0, 1), of an average of the student's predictions
            over epochs, which it then gets as `previous`; "" for a loss without.
    Raises:
        ValueError: the name is taken, or a loss with memory lacks one of the two arguments.
    """

    def decorate(loss):
        if memory and not {memory, "previous"} <= set(inspect.signature(loss).parameters):
            raise ValueError(
                f"loss {loss.__name__!r} with memory={memory!r} must take {memory} and previous; it takes "
                f"{', '.join(inspect.signature(loss).parameters)}"
            )
        loss.batchwise, loss.memory = batchwise, memory
        return LOSSES.register(loss.__name__, loss)

    return decorate(function) if function else decorate


def loss_args(name: str, given: dict | None = None) -> dict:
    """All keyword arguments of a registered loss: its defaults, then what is given.

    Raises:
        UnknownName: no such loss; lists what exists.
        ValueError: an argument it does not take.
    """
    parameters = inspect.signature(LOSSES[name]).parameters
    defaults = {k: p.default for k, p in parameters.items() if k not in _FIXED}
    unknown = sorted(set(given or {}) - set(defaults))
    if unknown:
        raise ValueError(
            f"loss {name!r} takes {', '.join(defaults) or 'no arguments'}; given {', '.join(unknown)}"
        )
    return defaults | (given or {})


def ramp(progress: float, warmup: float) -> float:
    """Rises linearly from 0 at the start of training to 1 at the fraction `warmup`, then stays.

    >>> [ramp(p, 0.2) for p in (0.0, 0.1, 0.2, 1.0)]
    [0.0, 0.5, 1.0, 1.0]
    """
    if not warmup > 0:
        raise ValueError(f"warmup {warmup!r}; expected a fraction of training above 0")
    return min(1.0, progress / warmup)


def check(logits: torch.Tensor, targets: torch.Tensor) -> None:
    """Refuses scores and labels that are not (b, 2) both."""
    if logits.shape != targets.shape or logits.shape[1:] != (2,):
        raise ValueError(
            f"logits {tuple(logits.shape)} and targets {tuple(targets.shape)}; expected (b, 2) for both"
        )


def check_share(name: str, value: float) -> None:
    """Refuses what is not in [0, 1]."""
    if not 0 <= value <= 1:
        raise ValueError(f"{name} {value!r}; expected a number in [0, 1]")


def cross_entropy(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """(b,) nats between scores (b, 2) and soft labels (b, 2)."""
    return F.cross_entropy(logits, targets.to(logits), reduction="none")


def code(name: str) -> str:
    """Version of the code of a registered loss and of what all losses share, for addresses."""
    return code_version(LOSSES[name], ramp, check, check_share, cross_entropy)
