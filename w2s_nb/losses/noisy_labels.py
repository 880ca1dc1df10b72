"""Losses of other authors for wrong labels, tried in Burns et al. 2023, appendix B, or since."""

import torch
import torch.nn.functional as F

from .contract import check, check_finite, check_share, cross_entropy, ramp, register_loss


@register_loss
def generalized_xent(logits, targets, *, progress, q=0.7):
    """Generalised cross-entropy: between cross-entropy (q -> 0) and absolute error (q = 1).

    The nearer to absolute error, the less a confidently wrong label weighs.
    L = sum_k t_k (1 - f_k^q) / q, summed over the classes for soft labels t.

    Args:
        logits: (b, K) float32, student scores, unnormalised.
        targets: (b, K) float32, weak soft labels, rows sum to 1.
        progress: not used.
        q: in (0, 1]; the authors' choice is 0.7.
    Returns:
        (b,) float32, per example, not averaged.
    Raises:
        ValueError: shapes differ or are not (b, K), or q out of range.
    Source: Zhang and Sabuncu 2018, equation 6; tried in Burns et al. 2023, appendix B.
    """
    check(logits, targets)
    check_finite("q", q)
    if not 0 < q <= 1:
        raise ValueError(f"q {q!r}; expected a number in (0, 1]")
    one_minus_power = -torch.expm1(q * F.log_softmax(logits, dim=1))  # 1 - f^q
    return (targets.to(logits) * one_minus_power).sum(dim=1) / q


@register_loss
def label_smoothing(logits, targets, *, progress, smoothing=0.1):
    """Cross-entropy towards labels moved towards 1 / K: (1 - s) f_w + s / K.

    Args:
        logits: (b, K) float32, student scores, unnormalised.
        targets: (b, K) float32, weak soft labels, rows sum to 1.
        progress: not used.
        smoothing: s, in [0, 1]; 0 gives `xent`.
    Returns:
        (b,) float32, nats per example, not averaged.
    Raises:
        ValueError: shapes differ or are not (b, K), or smoothing out of range.
    Source: Szegedy et al. 2016, section 7.
    """
    check(logits, targets)
    check_share("smoothing", smoothing)
    return cross_entropy(logits, (1 - smoothing) * targets + smoothing / targets.shape[1])


@register_loss
def reverse_xent(logits, targets, *, progress, floor=1e-4):
    """Cross-entropy with student and label exchanged.

    Its minimum is the likelier class of the label alone, not the label's probabilities.
    L = -sum_k f_k log max(t_k, floor).

    Args:
        logits: (b, K) float32, student scores, unnormalised.
        targets: (b, K) float32, weak soft labels, rows sum to 1.
        progress: not used.
        floor: least probability of a label, in (0, 1); a hard label's 0 counts as this.
    Returns:
        (b,) float32, nats per example, not averaged.
    Raises:
        ValueError: shapes differ or are not (b, K), or floor out of range.
    Source: Yao et al. 2025 (arXiv 2502.11107); the floor as in Wang et al. 2019, symmetric
        cross-entropy.
    """
    check(logits, targets)
    check_finite("floor", floor)
    if not 0 < floor < 1:
        raise ValueError(f"floor {floor!r}; expected a probability in (0, 1)")
    log_label = targets.to(logits).clamp(min=floor).log()
    return -(F.softmax(logits, dim=1) * log_label).sum(dim=1)


@register_loss(running_average="decay")
def temporal_ensembling(
    logits, targets, *, progress, previous=None, alpha=0.5, decay=0.6, warmup=0.2
):
    """Cross-entropy towards a mix of the weak label and the student's earlier predictions.

    L = CE(f, (1 - a) f_w + a g), with g the running average over epochs of the student's
    predictions for the example, and a rising from 0 to `alpha`.

    Args:
        logits: (b, K) float32, student scores, unnormalised.
        targets: (b, K) float32, weak soft labels, rows sum to 1.
        progress: fraction of training done, in [0, 1].
        previous: (b, K) float32, g; None, as in the first epoch, takes the weak labels.
        alpha: final weight of g, in [0, 1]; 0 gives `xent`.
        decay: in [0, 1); after each epoch g = decay * g + (1 - decay) * the new prediction; 0 keeps
            the last epoch alone.
        warmup: fraction of training over which the weight rises linearly from 0; > 0.
    Returns:
        (b,) float32, nats per example, not averaged.
    Raises:
        ValueError: shapes differ or are not (b, K), alpha, decay or warmup out of range.
    Source: Laine and Aila 2017, here mixed into the labels as in self-distillation.
    """
    check(logits, targets)
    check_share("alpha", alpha)
    check_finite("decay", decay)
    if not 0 <= decay < 1:
        raise ValueError(f"decay {decay!r}; expected a number in [0, 1)")
    a = alpha * ramp(progress, warmup)
    average = targets if previous is None else previous
    if average.shape != targets.shape:
        raise ValueError(
            f"previous {tuple(average.shape)} and targets {tuple(targets.shape)}; expected (b, K) "
            f"for both"
        )
    return cross_entropy(logits, (1 - a) * targets.to(logits) + a * average.to(logits))
