"""The losses of Burns et al. 2023: naive, confidence, and the variants of appendix B."""

import numpy as np
import torch
import torch.nn.functional as F

from .contract import check, check_finite, check_share, cross_entropy, ramp, register_loss


@register_loss
def xent(logits, targets, *, progress):
    """Cross-entropy towards soft labels: naive finetuning.

    Args:
        logits: (b, K) float32, unnormalised.
        targets: (b, K) float32, rows sum to 1.
        progress: not used.
    Returns:
        (b,) float32, nats per example, not averaged.
    Raises:
        ValueError: shapes differ or are not (b, K).
    Source: Burns et al. 2023, section 3.

    >>> xent(torch.tensor([[0.0, 0.0]]), torch.tensor([[0.25, 0.75]]), progress=0.0)
    tensor([0.6931])
    """
    check(logits, targets)
    return cross_entropy(logits, targets)


@register_loss(batchwise=True, stacks=True)
def confidence(logits, targets, *, progress, alpha=0.5, warmup=0.2, shares=None):
    """Cross-entropy towards a mix of the weak label and the student's own hardened guess.

    L = (1 - a) CE(f, f_w) + a CE(f, g), where g is one class for each example, and a rises from 0
    to `alpha`. No gradient flows through the guess. `shares` says how many of a batch are guessed
    to be of each class; given these numbers, the guesses are those with the largest sum of
    log-probabilities. Of two classes that is the paper's g = 1[f > t]: its threshold t, here the
    median of the batch's f = P(y = 1), leaves half of the batch above it.

    More classes have no median, and appendix A.4 says to derive their shares from the weak
    predictions. Guesses from one threshold for each class would be several or none for some
    examples; the largest sum gives each example one, and each class its number, however the
    classes are ordered. Where the weak labels of two classes are balanced, both `shares` are the
    same loss.

    Args:
        logits: (b, K) float32, student scores, unnormalised; b is the optimiser's batch. Batches of
            several students, (s, b, K), give (s, b).
        targets: as logits, weak soft labels, rows sum to 1.
        progress: fraction of training done, in [0, 1].
        alpha: final weight of the student's guess, in [0, 1]; 0 gives `xent`. The paper takes 0.75
            for its largest students and 0.5 for the others.
        warmup: fraction of training over which the weight rises linearly from 0; > 0.
        shares: 'equal', or 'weak', the mean weak label of the batch; None takes 'equal' for two
            classes and 'weak' for more. What does not divide evenly goes to the largest remainders,
            of equal ones to the lower class.
    Returns:
        (b,) float32, nats per example, not averaged.
    Raises:
        ValueError: shapes differ or are not (b, K), b < 2 (shares of one), alpha, warmup or shares
            out of range.
    Source: Burns et al. 2023, section 4.3.2 and appendix A.4; openai/weak-to-strong takes the
        quantile at the batch's mean weak label, which is 'weak' for two classes.
    """
    check(logits, targets, stacks=True)
    if logits.shape[-2] < 2:
        raise ValueError(
            "confidence loss on a batch of 1; its guesses are shares of a batch, from 2 examples"
        )
    check_share("alpha", alpha)
    if shares not in (None, "equal", "weak"):
        raise ValueError(f"shares {shares!r}; expected 'equal', 'weak' or None")
    a = alpha * ramp(progress, warmup)
    targets = targets.to(logits)
    shares = shares or ("equal" if logits.shape[-1] == 2 else "weak")
    guess = _guess(logits.detach(), targets, shares)
    return cross_entropy(logits, (1 - a) * targets + a * guess)


def _guess(logits: torch.Tensor, targets: torch.Tensor, shares: str) -> torch.Tensor:
    """Returns the student's guesses, (b, K) bool, one True in each row; of stacks (s, b, K)."""
    if logits.ndim == 3 and (logits.shape[-1] > 2 or shares != "equal"):
        return torch.stack([_guess(*each, shares) for each in zip(logits, targets, strict=True)])
    if logits.shape[-1] > 2:
        return _assign(logits.cpu(), targets.cpu(), shares).to(logits.device)
    # of two classes a threshold is the assignment, and a GPU need not wait for the host: P(y = 1)
    # is monotone in the difference of the scores, which does not saturate
    score = logits[..., 1] - logits[..., 0]
    if shares == "equal":
        # torch's median of an even batch is the lower of the middle two: half of it is above
        threshold = score.median(dim=-1, keepdim=True).values
    else:
        # as many are not above the threshold as are guessed to be of class 0
        lowest = score.new_full((1,), -torch.inf)
        ranked = torch.cat([lowest, score.sort().values])
        threshold = ranked.gather(0, _counts(targets, shares)[:1])
    above = score > threshold
    return torch.stack([~above, above], dim=-1)


def _assign(logits: torch.Tensor, targets: torch.Tensor, shares: str) -> torch.Tensor:
    """Returns the guesses (b, K) bool of the largest summed log-probability, of any K; on a CPU.

    A row's normaliser is the same for all classes, so the scores themselves are summed.
    """
    from scipy.optimize import linear_sum_assignment  # a second to import, only needed here

    n, n_classes = logits.shape
    places = np.repeat(np.arange(n_classes), _counts(targets, shares).numpy())
    # scores that are not finite make a loss that is not, of which training tells
    scores = logits.double().nan_to_num(0.0, 0.0, 0.0).numpy()
    _, place_of_row = linear_sum_assignment(scores[:, places], maximize=True)
    guess = torch.zeros(n, n_classes, dtype=torch.bool)
    guess[torch.arange(n), torch.from_numpy(places[place_of_row])] = True
    return guess


def _counts(targets: torch.Tensor, shares: str) -> torch.Tensor:
    """Returns how many of a batch are guessed to be of each class, (K,) int64; they sum to b."""
    n = len(targets)
    weights = torch.ones_like(targets) if shares == "equal" else targets
    weights = weights.sum(dim=0, dtype=torch.float64)
    # sums of float32 labels are off by less than the decimals kept
    quotas = (n * weights / weights.sum()).round(decimals=6)
    whole = quotas.floor()
    order = (quotas - whole).argsort(descending=True, stable=True)
    return (whole + (order.argsort() < n - whole.sum())).long()


@register_loss
def product(logits, targets, *, progress, alpha=1.0, beta=1.0, warmup=0.2):
    """Cross-entropy towards the normalised product of weak label and student's prediction.

    Target proportional to f_w^alpha * f^b, with b rising from 0 to `beta`; no gradient flows
    through the target.

    Args:
        logits: (b, K) float32, student scores, unnormalised.
        targets: (b, K) float32, weak soft labels, rows sum to 1.
        progress: fraction of training done, in [0, 1].
        alpha: exponent of the weak label.
        beta: final exponent of the student's prediction; 0 with alpha 1 gives `xent`.
        warmup: fraction of training over which b rises linearly from 0; > 0.
    Returns:
        (b,) float32, nats per example, not averaged.
    Raises:
        ValueError: shapes differ or are not (b, K), alpha or beta is not finite, or warmup is not
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
        logits: (b, K) float32, student scores, unnormalised.
        targets: (b, K) float32, weak soft labels, rows sum to 1.
        progress: fraction of training done, in [0, 1].
        alpha: final weight of the entropy, in [0, 1]; 0 gives `xent`.
        warmup: fraction of training over which the weight rises linearly from 0; > 0.
    Returns:
        (b,) float32, nats per example, not averaged.
    Raises:
        ValueError: shapes differ or are not (b, K), alpha or warmup out of range.
    Source: Burns et al. 2023, appendix B; EleutherAI/w2s.
    """
    check(logits, targets)
    check_share("alpha", alpha)
    a = alpha * ramp(progress, warmup)
    log_f = F.log_softmax(logits, dim=1)
    return (1 - a) * cross_entropy(logits, targets) - a * (log_f.exp() * log_f).sum(dim=1)


@register_loss
def l2_confidence(logits, targets, *, progress, alpha=0.5, warmup=0.2):
    """Cross-entropy towards the weak label, and a reward for predictions far from 1 / K.

    L = (1 - a) CE(f, f_w) + a (1 - sum_k f_k^2) / 2, with a rising from 0 to `alpha`. Up to a
    constant, which keeps L above 0, that is half the squared distance of f from 1 / K; of two
    classes it is 1/4 - (f - 1/2)^2.

    Args:
        logits: (b, K) float32, student scores, unnormalised.
        targets: (b, K) float32, weak soft labels, rows sum to 1.
        progress: fraction of training done, in [0, 1].
        alpha: final weight of the reward, in [0, 1]; 0 gives `xent`.
        warmup: fraction of training over which the weight rises linearly from 0; > 0.
    Returns:
        (b,) float32, per example, not averaged.
    Raises:
        ValueError: shapes differ or are not (b, K), alpha or warmup out of range.
    Source: Burns et al. 2023, appendix B, which states the term -(f - 1/2)^2 of two classes, and no
        weight.
    """
    check(logits, targets)
    check_share("alpha", alpha)
    a = alpha * ramp(progress, warmup)
    f = F.softmax(logits, dim=1)
    # (1 - sum_k f_k^2) / 2 is the sum of f_j f_k over pairs of classes, which does not cancel
    lower_and_own = torch.stack([f.cumsum(dim=1)[:, :-1], f[:, 1:]], dim=2)
    uncertainty = lower_and_own.prod(dim=2).sum(dim=1)
    return (1 - a) * cross_entropy(logits, targets) + a * uncertainty
