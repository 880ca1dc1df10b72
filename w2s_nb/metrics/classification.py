"""Accuracy, PGR, AUROC and calibration, each with a bootstrap interval.

Predictions are one run's, (n, 2), or several seeds', (s, n, 2), of the same n examples. The bootstrap draws examples
(whole groups of them, given `group`) and, where there are several, seeds; what is compared is drawn together, so every
interval is paired. The variance between s seeds is understated by a factor (s - 1) / s: few seeds, narrow intervals.
"""

from __future__ import annotations

import numpy as np

from .estimate import Estimate, bootstrap, of_means


def p1_of(probs) -> np.ndarray:
    """(s, n) P(y = 1) of probabilities (n, 2) or (s, n, 2)."""
    probs = np.asarray(probs, dtype=float)
    if probs.ndim not in (2, 3) or probs.shape[-1] != 2:
        raise ValueError(f"probabilities of shape {probs.shape}; expected (n, 2), or (seeds, n, 2)")
    return probs[None, ..., 1] if probs.ndim == 2 else probs[..., 1]


def labels_of(hard_label, like: np.ndarray) -> np.ndarray:
    """(s, n) true classes beside probabilities of that shape."""
    hard_label = np.asarray(hard_label)
    if hard_label.shape[-1:] != like.shape[-1:]:
        raise ValueError(f"{hard_label.shape[-1]} labels for {like.shape[-1]} predictions")
    return np.broadcast_to(hard_label, like.shape)


def correct(probs, hard_label) -> np.ndarray:
    """(s, n) bool, whether the likelier class is the true one; a tie predicts class 1."""
    p1 = p1_of(probs)
    return (p1 >= 0.5) == (labels_of(hard_label, p1) == 1)


def accuracy(probs, hard_label, *, group=None, resamples: int = 1000) -> Estimate:
    """Share of right predictions.

    Args:
        probs: (n, 2) or (s, n, 2), rows sum to 1.
        hard_label: (n,) int, 0 or 1.
    """
    return of_means(np.asarray, correct(probs, hard_label), group=group, resamples=resamples)


def difference(probs, other, hard_label, *, group=None) -> Estimate:
    """Accuracy of one minus accuracy of the other, both (n, 2) or (s, n, 2), with a paired interval."""
    return of_means(
        np.asarray, correct(probs, hard_label).astype(int) - correct(other, hard_label), group=group
    )


def share(what: np.ndarray, among: np.ndarray, *, group=None) -> Estimate:
    """Mean of `what` over the examples `among`, both (s, n), with its interval; NaN where there are none.

    Args:
        what: float or bool.
        among: bool; how many there are varies with the draw.
    """
    return of_means(np.divide, what * among, among, group=group)


def auroc(probs, hard_label, *, group=None, resamples: int = 1000) -> Estimate:
    """Probability that a random example of class 1 scores above one of class 0, ties counted half; mean over seeds.

    NaN where one class is missing.
    """
    from scipy.stats import rankdata  # over a second to import, and only needed here

    p1 = p1_of(probs)

    def area(score, label):
        positive = label == 1
        n1, n0 = positive.sum(axis=1), (~positive).sum(axis=1)
        ranks = rankdata(score, axis=1)
        with np.errstate(invalid="ignore", divide="ignore"):
            return float(np.mean(((ranks * positive).sum(axis=1) - n1 * (n1 + 1) / 2) / (n1 * n0)))

    return bootstrap(area, p1, labels_of(hard_label, p1), group=group, resamples=resamples)


def calibration_error(
    probs, hard_label, *, bins: int = 10, group=None, resamples: int = 1000
) -> Estimate:
    """Expected calibration error: mean gap between confidence and accuracy over equal-width bins of confidence.

    Args:
        bins: bins of the likelier class's probability over [0.5, 1].
    Source: Guo et al. 2017, equation 3.
    """
    p1 = p1_of(probs)
    sure = np.maximum(p1, 1 - p1)

    def error(right, sure):
        where = np.minimum(((sure - 0.5) * 2 * bins).astype(int), bins - 1).ravel()
        return float(np.abs(np.bincount(where, (right - sure).ravel(), bins)).sum() / sure.size)

    return bootstrap(error, correct(probs, hard_label), sure, group=group, resamples=resamples)
