"""The losses of Burns et al. 2023: naive, confidence, and the variants of appendix B."""

import torch
import torch.nn.functional as F

from .contract import check, check_finite, check_share, cross_entropy, ramp, register_loss


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
    check(logits, targets)
    return cross_entropy(logits, targets)


@register_loss(batchwise=True)
def confidence(logits, targets, *, progress, alpha=0.5, warmup=0.2):
    """Cross-entropy towards a mix of the weak label and the student's own hardened guess.

    L = (1 - a) CE(f, f_w) + a CE(f, 1[f > t]), where the threshold t is the median of the batch's
    f = P(y = 1), so that half of the batch is guessed to be of either class, and a rises from 0 to
    `alpha`. No gradient flows through the guess.

    Args:
        logits: (b, 2) float32, student scores, unnormalised; b is the optimiser's batch.
        targets: (b, 2) float32, weak soft labels, rows sum to 1.
        progress: fraction of training done, in [0, 1].
        alpha: final weight of the student's guess, in [0, 1]; 0 gives `xent`. The paper takes 0.75
            for its largest students and 0.5 for the others.
        warmup: fraction of training over which the weight rises linearly from 0; > 0.
    Returns:
        (b,) float32, nats per example, not averaged.
    Raises:
        ValueError: shapes differ or are not (b, 2), b < 2 (a median of one), alpha or warmup out of
            range.
    Source: Burns et al. 2023, section 4.3.2 and appendix A.4.
    """
    check(logits, targets)
    if len(logits) < 2:
        raise ValueError(
            "confidence loss on a batch of 1; its threshold is a median over the batch"
        )
    check_share("alpha", alpha)
    a = alpha * ramp(progress, warmup)
    # P(y = 1) is monotone in the difference of the scores, which does not saturate
    score = (logits[:, 1] - logits[:, 0]).detach()
    # torch's median of an even batch is the lower of the middle two: half of the batch is above it
    above = score > score.median()
    guess = torch.stack([~above, above], dim=1)
    return cross_entropy(logits, (1 - a) * targets.to(logits) + a * guess)


@register_loss
def product(logits, targets, *, progress, alpha=1.0, beta=1.0, warmup=0.2):
    """Cross-entropy towards the normalised product of weak label and student's prediction.

    Target proportional to f_w^alpha * f^b, with b rising from 0 to `beta`; no gradient flows
    through the target.

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
        ValueError: shapes differ or are not (b, 2), alpha or beta is not finite, or warmup is not
            above 0.
    Source: Burns et al. 2023, appendix B; openai/weak-to-strong adds the exponents.
    """
    check(logits, targets)
    check_finite("alpha", alpha)
    check_finite("beta", beta)
    log_weak = targets.to(logits).clamp(min=1e-7).log()
    log_strong = F.log_softmax(logits.detach(), dim=1)
    target = (alpha * log_weak + beta * ramp(progress, warmup) * log_strong).softmax(dim=1)
    return cross_entropy(logits, target)


@register_loss
def entropy(logits, targets, *, progress, alpha=0.5, warmup=0.2):
    """Cross-entropy towards the weak label, mixed with the entropy of the student's own prediction.

    L = (1 - a) CE(f, f_w) + a H(f), with a rising from 0 to `alpha`; the gradient flows through
    both terms.

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
    check(logits, targets)
    check_share("alpha", alpha)
    a = alpha * ramp(progress, warmup)
    log_f = F.log_softmax(logits, dim=1)
    return (1 - a) * cross_entropy(logits, targets) - a * (log_f.exp() * log_f).sum(dim=1)


@register_loss
def l2_confidence(logits, targets, *, progress, alpha=0.5, warmup=0.2):
    """Cross-entropy towards the weak label, and a reward for predictions far from 1/2.

    L = (1 - a) CE(f, f_w) + a (1/4 - (f - 1/2)^2), with a rising from 0 to `alpha`; the constant
    1/4 keeps L above 0.

    Args:
        logits: (b, 2) float32, student scores, unnormalised.
        targets: (b, 2) float32, weak soft labels, rows sum to 1.
        progress: fraction of training done, in [0, 1].
        alpha: final weight of the reward, in [0, 1]; 0 gives `xent`.
        warmup: fraction of training over which the weight rises linearly from 0; > 0.
    Returns:
        (b,) float32, per example, not averaged.
    Raises:
        ValueError: shapes differ or are not (b, 2), alpha or warmup out of range.
    Source: Burns et al. 2023, appendix B, which states the term -(f - 1/2)^2 and no weight.
    """
    check(logits, targets)
    check_share("alpha", alpha)
    a = alpha * ramp(progress, warmup)
    return (1 - a) * cross_entropy(logits, targets) + a * F.softmax(logits, dim=1).prod(dim=1)
