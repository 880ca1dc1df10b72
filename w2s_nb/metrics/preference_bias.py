"""Measures what draws a preference model beside quality: a response's length and its place.

Predictions are (n, 2), or (s, n, 2) for several seeds, of the same n pairs; column 1 is P(the
second is better).
"""

from __future__ import annotations

import numpy as np

from .classification import labels_of, paired, probs_of, share
from .estimate import Estimate, of_means


def prefers_longer(probs, longer, *, group=None) -> Estimate:
    """Computes the share of pairs of unequal length in which the longer text is preferred.

    Args:
        probs: (n, 2) or (s, n, 2).
        longer: (n,) `Split.longer`: 1 where the second text is the longer, -1 where the first is, 0
            for equal lengths.
    """
    (p1,) = _second_better(probs)
    longer = _check_longer(longer, p1)
    return share(_prefers_longer(p1, longer), _unequal(longer, p1), group=group)


def length_bias(probs, hard_label, longer, *, group=None) -> Estimate:
    """Computes how often the longer text is preferred, minus how often it is in fact the better.

    Above 0, errors favour length.

    Args:
        probs: (n, 2) or (s, n, 2).
        hard_label: (n,) int, 1 where the second text is the better.
        longer: as in `prefers_longer`.
    """
    (p1,) = _second_better(probs)
    longer = _check_longer(longer, p1)
    longer_is_better = (labels_of(hard_label, probs_of(probs)) == 1) == (longer > 0)
    bias = _prefers_longer(p1, longer) - longer_is_better.astype(float)
    return share(bias, _unequal(longer, p1), group=group)


def length_bias_change(probs, other, longer, *, group=None) -> Estimate:
    """Computes the length bias of one model minus that of another, with a paired interval.

    Both are judged on the same pairs, so the truth cancels.

    Args:
        probs, other: (n, 2) or (s, n, 2).
        longer: as in `prefers_longer`.
    """
    p1, p1_of_other = _second_better(probs, other)
    longer = _check_longer(longer, p1)
    change = _prefers_longer(p1, longer) - _prefers_longer(p1_of_other, longer)
    return share(change, _unequal(longer, p1), group=group)


def order_bias(probs, swapped, *, group=None) -> Estimate:
    """Computes how often the second text is preferred over both orders of each pair, minus 1/2.

    It is 0 where place plays no part, and 0.5 where the second place always wins.

    Args:
        probs: (n, 2) or (s, n, 2).
        swapped: the same for the pairs in reverse order (`task_variants.swapped`); column 1 is
            again the text that stands second.
    """
    # 1 where the second text is preferred, -1 where the first is, 0 for a tie
    p1, p1_of_swapped = _second_better(probs, swapped)
    second = np.sign(p1 - 0.5)
    second_of_swapped = np.sign(p1_of_swapped - 0.5)
    return of_means(lambda a, b: (a + b) / 4, second, second_of_swapped, group=group)


def order_decides(probs, swapped, *, group=None) -> Estimate:
    """Computes the share of pairs in which reversing the order changes which text is preferred.

    Args:
        probs, swapped: as in `order_bias`.
    """
    p1, p1_of_swapped = _second_better(probs, swapped)
    same_place = (p1 - 0.5) * (p1_of_swapped - 0.5) > 0
    return of_means(np.asarray, same_place, group=group)


def _second_better(*probs) -> list[np.ndarray]:
    """Returns P(the second is better), (s, n), of the predictions of one or several models.

    Raises:
        TypeError, ValueError: as `paired`; other predictions than of pairs.
    """
    arrays = paired(*probs)
    if arrays[0].shape[-1] != 2:
        raise ValueError(
            f"predictions of {arrays[0].shape[-1]} classes; expected two, as of pairs of texts"
        )
    return [each[..., 1] for each in arrays]


def _check_longer(longer, p1: np.ndarray) -> np.ndarray:
    """Returns which text of each pair is the longer, (n,), checked against the predictions."""
    longer = np.asarray(longer)
    if longer.shape != p1.shape[-1:] or not np.isin(longer, (-1, 0, 1)).all():
        raise ValueError(
            f"longer has shape {longer.shape} for {p1.shape[-1]} pairs; expected -1, 0 or 1 per "
            f"pair, as Split.longer"
        )
    return longer


def _prefers_longer(p1: np.ndarray, longer) -> np.ndarray:
    """Returns 1.0 where the longer text is preferred, else 0.0, (s, n)."""
    return ((p1 >= 0.5) == (longer > 0)).astype(float)


def _unequal(longer, p1: np.ndarray) -> np.ndarray:
    """Returns whether the two texts differ in length, repeated per seed to the shape of `p1`."""
    return np.broadcast_to(longer != 0, p1.shape)
