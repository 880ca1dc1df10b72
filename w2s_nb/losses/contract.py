"""The contract of a loss: a pure function, registered under its name.

A loss takes logits (b, 2), targets (b, 2) and `progress` of training in [0, 1], and returns (b,)
nats, one value per example, not averaged. Its further keyword arguments, all with defaults, are its
configuration. If a value depends on the other examples of the batch, the loss is registered with
`batchwise=True`; `b` is then the optimiser's whole batch. A loss registered with
`running_average="decay"` also gets `previous` (b, 2): the running average of the student's own
predictions for these examples over earlier epochs, with the loss's argument `decay` as its rate; in
the first epoch, the targets.

tests/losses/test_losses.py asks of every registered loss: it begins with `check(logits, targets)`;
its values are not negative and of float32; adding a constant to both logits changes nothing; the
two classes are treated alike; its defaults work. The address of a fit hashes the loss's own code
and the helpers of this file, not further functions that the loss calls.
"""

from __future__ import annotations

import inspect

import torch
import torch.nn.functional as F

from ..common.registry import LOSSES
from ..common.store import code_version

_FIXED = ("logits", "targets", "progress", "previous")


def register_loss(function=None, *, batchwise: bool = False, running_average: str = ""):
    """Registers a loss under its function's name.

    Args:
        batchwise: the value of an example depends on the others of the batch.
        running_average: for a loss that also takes `previous`, the running average of the student's
            predictions over epochs: the name of the loss's argument that is the decay of this
            average, in [0, 1). "" for any other loss.
    Raises:
        ValueError: a loss with a running average lacks `previous` or the argument named.

    A second registration of a name replaces the first, so that a notebook cell can be run again.
    """

    def decorate(loss):
        parameters = inspect.signature(loss).parameters
        if running_average and not {running_average, "previous"} <= set(parameters):
            raise ValueError(
                f"loss {loss.__name__!r} with running_average={running_average!r} must take "
                f"{running_average} and previous; it takes {', '.join(parameters)}"
            )
        loss.batchwise = batchwise
        loss.running_average = running_average
        return LOSSES.register(loss.__name__, loss)

    return decorate(function) if function else decorate


def loss_args(name: str, given: dict | None = None) -> dict:
    """Returns all keyword arguments of a registered loss: its defaults, updated by `given`.

    Raises:
        UnknownName: no such loss; lists what exists.
        ValueError: `given` has an argument that the loss does not take.
    """
    parameters = inspect.signature(LOSSES[name]).parameters
    defaults = {key: p.default for key, p in parameters.items() if key not in _FIXED}
    given = given or {}
    unknown = sorted(set(given) - set(defaults))
    if unknown:
        raise ValueError(
            f"loss {name!r} takes {', '.join(defaults) or 'no arguments'}; "
            f"given {', '.join(unknown)}"
        )
    return defaults | given


def ramp(progress: float, warmup: float) -> float:
    """Rises linearly from 0 at the start of training to 1 at the fraction `warmup`, then stays 1.

    >>> [ramp(p, 0.2) for p in (0.0, 0.1, 0.2, 1.0)]
    [0.0, 0.5, 1.0, 1.0]
    """
    if not warmup > 0:
        raise ValueError(f"warmup {warmup!r}; expected a fraction of training above 0")
    return min(1.0, progress / warmup)


def check(logits: torch.Tensor, targets: torch.Tensor) -> None:
    """Raises a ValueError unless scores and labels are both of shape (b, 2)."""
    if logits.shape != targets.shape or logits.shape[1:] != (2,):
        raise ValueError(
            f"logits {tuple(logits.shape)} and targets {tuple(targets.shape)}; "
            f"expected (b, 2) for both"
        )


def check_share(name: str, value: float) -> None:
    """Raises a ValueError that names the argument unless its value is in [0, 1]."""
    if not 0 <= value <= 1:
        raise ValueError(f"{name} {value!r}; expected a number in [0, 1]")


def cross_entropy(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Computes the cross-entropy (b,), in nats, of scores (b, 2) and soft labels (b, 2)."""
    return F.cross_entropy(logits, targets.to(logits), reduction="none")


def code(name: str) -> str:
    """Returns the version of a registered loss's code, with the code that all losses share.

    It is part of the address of a fit.
    """
    return code_version(LOSSES[name], ramp, check, check_share, cross_entropy)
