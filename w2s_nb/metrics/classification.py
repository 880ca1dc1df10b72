"""Computes accuracy, AUROC and calibration error, each with the interval of `estimate`.

Predictions are those of one run, (n, K), or of several seeds, (s, n, K), of the same n examples in
K classes.
"""

from __future__ import annotations

import numpy as np

from ..common.seeds import check_count
from ..data.classes import likeliest
from .estimate import Estimate, bootstrap, draw_counts, from_draws, of_means

_NUMBERS_AT_ONCE = 4_000_000  # of examples times draws, of which AUROC holds a few copies


def probs_of(probs) -> np.ndarray:
    """Returns predictions of one run, (n, K), or of several, (s, n, K), as (s, n, K).

    Raises:
        TypeError: no numbers.
        ValueError: another shape, or rows that are no probabilities that sum to 1.
    """
    try:
        probs = np.asarray(probs, dtype=float)
    except (TypeError, ValueError):
        raise TypeError(
            f"probabilities are {str(probs)[:60]!r}; expected an array (n, classes), or (seeds, n, "
            f"classes)"
        ) from None
    if probs.ndim not in (2, 3) or probs.shape[-1] < 2:
        raise ValueError(
            f"probabilities of shape {probs.shape}; expected (n, classes), or (seeds, n, classes), "
            f"of at least two classes"
        )
    # sums may be off by what half precision rounds
    good = (probs >= 0).all(axis=-1) & (np.abs(probs.sum(axis=-1) - 1) <= 1e-2)
    if not good.all():
        raise ValueError(
            f"{(~good).sum()} of {good.size} predictions are no probabilities that sum to 1, the "
            f"first {probs[~good][0].tolist()}"
        )
    return probs[None] if probs.ndim == 2 else probs


def labels_of(hard_label, probs: np.ndarray) -> np.ndarray:
    """Returns true classes, repeated per seed to the shape (s, n) of predictions (s, n, K).

    Raises:
        ValueError: as many labels as predictions are not given, or one is not from 0 to K - 1.
    """
    hard_label = np.asarray(hard_label)
    shape, n_classes = probs.shape[:-1], probs.shape[-1]
    if hard_label.shape not in (shape, shape[-1:]):
        counted = (
            f"{hard_label.shape[0]} labels for"
            if hard_label.ndim == 1
            else (f"labels of shape {hard_label.shape} for")
        )
        raise ValueError(f"{counted} {shape[-1]} predictions; expected one per example")
    bad = ~np.isin(hard_label, np.arange(n_classes))
    if bad.any():
        raise ValueError(
            f"a label is {hard_label[bad].tolist()[0]!r}; expected a whole number from 0 to "
            f"{n_classes - 1}, as there are {n_classes} classes"
        )
    return np.broadcast_to(hard_label, shape).astype(np.int64)


def paired(*probs) -> list[np.ndarray]:
    """Returns the predictions of several models, (s, n, K) each.

    Raises:
        TypeError, ValueError: as `probs_of`; predictions of other seeds, examples or classes.
    """
    arrays = [probs_of(each) for each in probs]
    if len({each.shape for each in arrays}) > 1:
        shapes = " and ".join(str(each.shape) for each in arrays)
        raise ValueError(
            f"predictions of {shapes} (seeds, examples, classes) are compared; expected the same "
            f"of each"
        )
    return arrays


def at(probs: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Returns the probability, (s, n), of one class per example: (s, n) classes of (s, n, K)."""
    return np.take_along_axis(probs, classes[..., None], axis=-1)[..., 0]


def correct(probs, hard_label) -> np.ndarray:
    """Returns whether the likeliest class is the true one, (s, n) bool; of equal ones the last."""
    probs = probs_of(probs)
    return likeliest(probs) == labels_of(hard_label, probs)


def accuracy(probs, hard_label, *, group=None, resamples: int = 1000) -> Estimate:
    """Computes the share of right predictions.

    Args:
        probs: (n, K) or (s, n, K), rows sum to 1.
        hard_label: (n,) int, from 0 to K - 1.
    """
    return of_means(np.asarray, correct(probs, hard_label), group=group, resamples=resamples)


def difference(probs, other, hard_label, *, group=None) -> Estimate:
    """Computes the accuracy of one model minus that of another, with a paired interval.

    Args:
        probs, other: (n, K) or (s, n, K), of the same examples and seeds.
        hard_label: (n,) int, from 0 to K - 1.
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
    """Computes the area under the ROC curve, mean over seeds; NaN where a class is missing.

    Of two classes it is the probability that a random example of class 1 scores above one of class
    0; ties count half. Of more it is the mean over the classes of the area of one against the rest.
    The interval is the one that `bootstrap` gives, a hundred times faster.

    Source: Provost and Domingos 2000, for more than two classes, without weights.
    """
    probs = probs_of(probs)
    n_seeds, n_examples, _ = probs.shape
    by_seed, by_example = draw_counts(n_seeds, n_examples, group, resamples, 0)
    value, draws = areas_of_draws(probs, hard_label, by_seed, by_example)
    return from_draws(value, draws, n_examples, n_seeds)


def areas_of_draws(
    probs: np.ndarray, hard_label, by_seed: np.ndarray, by_example: np.ndarray
) -> tuple[float, np.ndarray]:
    """Computes the area under the ROC curve, and the same in each draw, (resamples,).

    Args:
        probs: (s, n, K).
        by_seed, by_example: (resamples, s) and (resamples, n), as `draw_counts` gives them.
    """
    label = labels_of(hard_label, probs)
    n_seeds, n_examples, n_classes = probs.shape
    # of two classes, one against the rest is the other against the rest
    classes = range(n_classes) if n_classes > 2 else (1,)

    def areas(counts):
        """Returns the area of each class and seed in each draw, (classes, s, draws)."""
        return np.stack([_areas(probs[..., k], label == k, counts) for k in classes])

    value = float(np.mean(areas(np.ones((n_examples, 1)))))
    at_once = max(1, _NUMBERS_AT_ONCE // n_examples)
    parts = [
        areas(np.ascontiguousarray(by_example[start : start + at_once].T)).mean(axis=0)
        for start in range(0, len(by_example), at_once)
    ]
    of_seed = np.concatenate([np.empty((n_seeds, 0)), *parts], axis=1).T
    # the area of a seed that a draw does not have may be undefined
    draws = np.where(by_seed > 0, by_seed * of_seed, 0).sum(axis=1) / n_seeds
    return value, draws


def _areas(score: np.ndarray, positive: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Computes the area under the ROC curve of each seed in each draw; ties count half.

    Args:
        score, positive: (s, n) each.
        counts: (n, draws) how often a draw has each example.
    Returns:
        (s, draws), NaN where a draw lacks positive or negative examples.
    """
    areas = np.empty((len(score), counts.shape[1]))
    for area, of_seed, is_positive in zip(areas, score, positive, strict=True):
        positives, negatives = np.flatnonzero(is_positive), np.flatnonzero(~is_positive)
        # the scores that positives have, from low to high, and a last one above all
        levels, place = np.unique(of_seed[positives], return_inverse=True)
        below = np.searchsorted(levels, of_seed[negatives], "left")
        up_to = np.searchsorted(levels, of_seed[negatives], "right")
        at_level = _sums(place, positives, counts, len(levels) + 1)
        # a negative counts from the first level above it on, and half at a level of its own score
        halves = np.concatenate([below, up_to])
        lost = _sums(halves, np.tile(negatives, 2), counts, len(levels) + 1).cumsum(axis=0) / 2
        won = np.einsum("ld,ld->d", at_level, lost)
        with np.errstate(invalid="ignore", divide="ignore"):
            area[:] = won / (at_level.sum(axis=0) * lost[-1])
    return areas


def _sums(place: np.ndarray, examples: np.ndarray, counts: np.ndarray, n: int) -> np.ndarray:
    """Sums the counts of examples, rows of (n, draws), by the place of each, from 0 to n - 1."""
    from scipy import sparse  # a tenth of a second to import, and only needed here

    ones = np.ones(len(examples))
    return sparse.csr_array((ones, (place, examples)), shape=(n, len(counts))) @ counts


def calibration_error(
    probs, hard_label, *, bins: int = 10, group=None, resamples: int = 1000
) -> Estimate:
    """Computes the expected calibration error of the likeliest class.

    It is the mean gap between confidence and accuracy over bins of confidence of equal width.

    Args:
        bins: number of bins of the likeliest class's probability over [1/K, 1].
    Source: Guo et al. 2017, equation 3.
    """
    check_count(bins, "bins")
    probs = probs_of(probs)
    confidence = probs.max(axis=-1)
    least = 1 / probs.shape[-1]

    def error(right, confidence):
        share_of_range = (confidence - least) / (1 - least)
        bin_of = (share_of_range * bins).astype(int).clip(0, bins - 1).ravel()
        gap_sums = np.bincount(bin_of, (right - confidence).ravel(), bins)
        return float(np.abs(gap_sums).sum() / confidence.size)

    right = correct(probs, hard_label)
    return bootstrap(error, right, confidence, group=group, resamples=resamples)
