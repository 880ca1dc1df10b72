"""Computes accuracy, AUROC and calibration error, each with the interval of `estimate`.

Predictions are those of one run, (n, 2), or of several seeds, (s, n, 2), of the same n examples.
"""

from __future__ import annotations

import numpy as np

from ..common.seeds import check_count
from .estimate import Estimate, bootstrap, of_means


def p1_of(probs) -> np.ndarray:
    """Returns P(y = 1), (s, n), of probabilities (n, 2) or (s, n, 2).

    Raises:
        TypeError: no numbers.
        ValueError: another shape, or rows that are no probabilities that sum to 1.
    """
    try:
        probs = np.asarray(probs, dtype=float)
    except (TypeError, ValueError):
        raise TypeError(
            f"probabilities are {str(probs)[:60]!r}; expected an array (n, 2), or (seeds, n, 2)"
        ) from None
    if probs.ndim not in (2, 3) or probs.shape[-1] != 2:
        raise ValueError(f"probabilities of shape {probs.shape}; expected (n, 2), or (seeds, n, 2)")
    # sums may be off by what half precision rounds
    good = (probs >= 0).all(axis=-1) & (np.abs(probs.sum(axis=-1) - 1) <= 1e-2)
    if not good.all():
        raise ValueError(
            f"{(~good).sum()} of {good.size} predictions are no probabilities that sum to 1, the "
            f"first {probs[~good][0].tolist()}"
        )
    return probs[None, ..., 1] if probs.ndim == 2 else probs[..., 1]


def labels_of(hard_label, p1: np.ndarray) -> np.ndarray:
    """Returns true classes, repeated per seed to the shape (s, n) of `p1`.

    Raises:
        ValueError: as many labels as predictions are not given, or one is not 0 or 1.
    """
    hard_label = np.asarray(hard_label)
    if hard_label.shape not in (p1.shape, p1.shape[-1:]):
        counted = (
            f"{hard_label.shape[0]} labels for"
            if hard_label.ndim == 1
            else (f"labels of shape {hard_label.shape} for")
        )
        raise ValueError(f"{counted} {p1.shape[-1]} predictions; expected one per example")
    bad = ~np.isin(hard_label, (0, 1))
    if bad.any():
        raise ValueError(f"a label is {hard_label[bad].tolist()[0]!r}; expected 0 or 1")
    return np.broadcast_to(hard_label, p1.shape)


def paired(*probs) -> list[np.ndarray]:
    """Returns P(y = 1), (s, n), of the predictions of several models.

    Raises:
        TypeError, ValueError: as `p1_of`; predictions of other seeds or examples.
    """
    p1 = [p1_of(each) for each in probs]
    if len({each.shape for each in p1}) > 1:
        shapes = " and ".join(str(each.shape) for each in p1)
        raise ValueError(
            f"predictions of {shapes} (seeds, examples) are compared; expected the same of each"
        )
    return p1


def correct(probs, hard_label) -> np.ndarray:
    """Returns whether the likelier class is the true one, (s, n) bool; a tie predicts class 1."""
    p1 = p1_of(probs)
    return (p1 >= 0.5) == (labels_of(hard_label, p1) == 1)


def accuracy(probs, hard_label, *, group=None, resamples: int = 1000) -> Estimate:
    """Computes the share of right predictions.

    Args:
        probs: (n, 2) or (s, n, 2), rows sum to 1.
        hard_label: (n,) int, 0 or 1.
    """
    return of_means(np.asarray, correct(probs, hard_label), group=group, resamples=resamples)


def difference(probs, other, hard_label, *, group=None) -> Estimate:
    """Computes the accuracy of one model minus that of another, with a paired interval.

    Args:
        probs, other: (n, 2) or (s, n, 2), of the same examples and seeds.
        hard_label: (n,) int, 0 or 1.
    """
    paired(probs, other)
    change = correct(probs, hard_label).astype(int) - correct(other, hard_label)
    return of_means(np.asarray, change, group=group)


def share(what: np.ndarray, among: np.ndarray, *, group=None) -> Estimate:
    """Computes the mean of `what` over the examples `among`; NaN where there are none.

    Args:
        what: (s, n) float or bool.
        among: (s, n) bool; how many there are varies with the draw.
    Raises:
        ValueError: arrays of different shapes.
    """
    what, among = np.asarray(what), np.asarray(among)
    if what.shape != among.shape:
        raise ValueError(
            f"values of shape {what.shape} among examples of shape {among.shape}; expected one "
            f"(seeds, examples)"
        )
    return of_means(np.divide, what * among, among, group=group)


def auroc(probs, hard_label, *, group=None, resamples: int = 1000) -> Estimate:
    """Computes the area under the ROC curve, mean over seeds; NaN where one class is missing.

    It is the probability that a random example of class 1 scores above one of class 0; ties count
    half.
    """
    from scipy.stats import rankdata  # over a second to import, and only needed here

    p1 = p1_of(probs)

    def area(score, label):
        positive = label == 1
        n1 = positive.sum(axis=1)
        n0 = (~positive).sum(axis=1)
        rank_sum = (rankdata(score, axis=1) * positive).sum(axis=1)
        with np.errstate(invalid="ignore", divide="ignore"):
            return float(np.mean((rank_sum - n1 * (n1 + 1) / 2) / (n1 * n0)))

    return bootstrap(area, p1, labels_of(hard_label, p1), group=group, resamples=resamples)


def calibration_error(
    probs, hard_label, *, bins: int = 10, group=None, resamples: int = 1000
) -> Estimate:
    """Computes the expected calibration error.

    It is the mean gap between confidence and accuracy over bins of confidence of equal width.

    Args:
        bins: number of bins of the likelier class's probability over [0.5, 1].
    Source: Guo et al. 2017, equation 3.
    """
    check_count(bins, "bins")
    p1 = p1_of(probs)
    confidence = np.maximum(p1, 1 - p1)

    def error(right, confidence):
        bin_of = np.minimum(((confidence - 0.5) * 2 * bins).astype(int), bins - 1).ravel()
        gap_sums = np.bincount(bin_of, (right - confidence).ravel(), bins)
        return float(np.abs(gap_sums).sum() / confidence.size)

    right = correct(probs, hard_label)
    return bootstrap(error, right, confidence, group=group, resamples=resamples)
