"""Losses: pure functions of one contract.

A loss takes logits (b, 2) and targets (b, 2), and `progress` of training in [0, 1], and returns (b,) nats, one an
example, not averaged. Its further keyword arguments, all with defaults, are its configuration. Where a value depends
on the other examples of the batch, it is registered with `batchwise=True`; `b` is then the optimiser's whole batch.
"""
from __future__ import annotations

import inspect

import torch
import torch.nn.functional as F

from .registry import LOSSES
from .store import code_version

_FIXED = ("logits", "targets", "progress")


def register_loss(function=None, *, batchwise: bool = False):
    """Registers a loss under its function's name."""
    def decorate(loss):
        loss.batchwise = batchwise
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
        raise ValueError(f"loss {name!r} takes {', '.join(defaults) or 'no arguments'}; given {', '.join(unknown)}")
    return defaults | (given or {})


def ramp(progress: float, warmup: float) -> float:
    """Rises linearly from 0 at the start of training to 1 at the fraction `warmup`, then stays.

    >>> [ramp(p, 0.2) for p in (0.0, 0.1, 0.2, 1.0)]
    [0.0, 0.5, 1.0, 1.0]
    """
    if not warmup > 0:
        raise ValueError(f"warmup {warmup!r}; expected a fraction of training above 0")
    return min(1.0, progress / warmup)


def _check(logits: torch.Tensor, targets: torch.Tensor) -> None:
    if logits.shape != targets.shape or logits.shape[1:] != (2,):
        raise ValueError(f"logits {tuple(logits.shape)} and targets {tuple(targets.shape)}; expected (b, 2) for both")


def _cross_entropy(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return F.cross_entropy(logits, targets.to(logits), reduction="none")


def code(name: str) -> str:
    """Version of the code of a registered loss and of what all losses share, for addresses."""
    return code_version(LOSSES[name], ramp, _check, _cross_entropy)


@register_loss
def xent(logits, targets, *, progress):
    """Cross-entropy towards soft labels: naive finetuning.

    Args:
        logits: (b, 2) float32, unnormalised.
        targets: (b, 2) float32, rows sum to 1.
        progress: not used.
    Returns:
        (b,) float32, nats per example, not averaged.
    Raises:
        ValueError: shapes differ or are not (b, 2).
    Source: Burns et al. 2023, section 3.

    >>> xent(torch.tensor([[0.0, 0.0]]), torch.tensor([[0.25, 0.75]]), progress=0.0)
    tensor([0.6931])
    """
    _check(logits, targets)
    return _cross_entropy(logits, targets)


@register_loss(batchwise=True)
def confidence(logits, targets, *, progress, alpha=0.5, warmup=0.2):
    """Cross-entropy towards a mix of the weak label and the student's own hardened guess.

    L = (1 - a) CE(f, f_w) + a CE(f, 1[f > t]), where the threshold t is the median of the batch's f = P(y = 1), so
    that half of the batch is guessed to be of either class, and a rises from 0 to `alpha`. No gradient flows through
    the guess.

    Args:
        logits: (b, 2) float32, student scores, unnormalised; b is the optimiser's batch.
        targets: (b, 2) float32, weak soft labels, rows sum to 1.
        progress: fraction of training done, in [0, 1].
        alpha: final weight of the student's guess, in [0, 1]; 0 gives `xent`. The paper takes 0.75 for its largest
            students and 0.5 for the others.
        warmup: fraction of training over which the weight rises linearly from 0; > 0.
    Returns:
        (b,) float32, nats per example, not averaged.
    Raises:
        ValueError: shapes differ or are not (b, 2), b < 2 (a median of one), alpha or warmup out of range.
    Source: Burns et al. 2023, section 4.3.2 and appendix A.4.
    """
    _check(logits, targets)
    if len(logits) < 2:
        raise ValueError("confidence loss on a batch of 1; its threshold is a median over the batch")
    if not 0 <= alpha <= 1:
        raise ValueError(f"alpha {alpha!r}; expected a weight in [0, 1]")
    a = alpha * ramp(progress, warmup)
    # P(y = 1) is monotone in the difference of the scores, which does not saturate
    score = (logits[:, 1] - logits[:, 0]).detach()
    guess = F.one_hot((score > score.quantile(0.5)).long(), 2)
    return _cross_entropy(logits, (1 - a) * targets.to(logits) + a * guess)


@register_loss
def product(logits, targets, *, progress, alpha=1.0, beta=1.0, warmup=0.2):
    """Cross-entropy towards the normalised product of weak label and student's prediction.

    Target proportional to f_w^alpha * f^b, with b rising from 0 to `beta`; no gradient flows through the target.

    Args:
        logits: (b, 2) float32, student scores, unnormalised.
        targets: (b, 2) float32, weak soft labels, rows sum to 1.
        progress: fraction of training done, in [0, 1].
        alpha: exponent of the weak label.
        beta: final exponent of the student's prediction; 0 with alpha 1 gives `xent`.
        warmup: fraction of training over which b rises linearly from 0; > 0.
    Returns:
        (b,) float32, nats per example, not averaged.
    Raises:
        ValueError: shapes differ or are not (b, 2), or warmup is not above 0.
    Source: Burns et al. 2023, appendix B; openai/weak-to-strong adds the exponents.
    """
    _check(logits, targets)
    log_weak = targets.to(logits).clamp(min=1e-7).log()
    log_strong = F.log_softmax(logits.detach(), dim=1)
    target = (alpha * log_weak + beta * ramp(progress, warmup) * log_strong).softmax(dim=1)
    return _cross_entropy(logits, target)


@register_loss
def entropy(logits, targets, *, progress, alpha=0.5, warmup=0.2):
    """Cross-entropy towards the weak label, mixed with the entropy of the student's own prediction.

    L = (1 - a) CE(f, f_w) + a H(f), with a rising from 0 to `alpha`; the gradient flows through both terms.

    Args:
        logits: (b, 2) float32, student scores, unnormalised.
        targets: (b, 2) float32, weak soft labels, rows sum to 1.
        progress: fraction of training done, in [0, 1].
        alpha: final weight of the entropy, in [0, 1]; 0 gives `xent`.
        warmup: fraction of training over which the weight rises linearly from 0; > 0.
    Returns:
        (b,) float32, nats per example, not averaged.
    Raises:
        ValueError: shapes differ or are not (b, 2), alpha or warmup out of range.
    Source: Burns et al. 2023, appendix B; EleutherAI/w2s.
    """
    _check(logits, targets)
    if not 0 <= alpha <= 1:
        raise ValueError(f"alpha {alpha!r}; expected a weight in [0, 1]")
    a = alpha * ramp(progress, warmup)
    log_f = F.log_softmax(logits, dim=1)
    return (1 - a) * _cross_entropy(logits, targets) - a * (log_f.exp() * log_f).sum(dim=1)
