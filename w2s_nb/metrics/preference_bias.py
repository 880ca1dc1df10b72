"""What a model of preferences is drawn to beside quality: the length of a response, and its place.

Predictions are (n, 2), or (s, n, 2) for several seeds, of the same n pairs; column 1 is P(the second is better).
"""

from __future__ import annotations

import numpy as np

from .classification import labels_of, p1_of, share
from .estimate import Estimate, of_means


def prefers_longer(probs, longer, *, group=None) -> Estimate:
    """Share of pairs of unequal length in which the longer text is preferred.

    Args:
        probs: (n, 2) or (s, n, 2).
        longer: (n,) 1 where the second text is the longer, -1 where the first is, 0 for equal ones: `Split.longer`.
    """
    p1 = p1_of(probs)
    return share(_says_longer(p1, longer), _unequal(longer, p1), group=group)


def length_bias(probs, hard_label, longer, *, group=None) -> Estimate:
    """How much oftener the longer text is preferred than it is the better one: above 0, errors favour length.

    Args:
        probs: (n, 2) or (s, n, 2).
        hard_label: (n,) int, 1 where the second text is the better.
        longer: as in `prefers_longer`.
    """
    p1 = p1_of(probs)
    truth = (labels_of(hard_label, p1) == 1) == (np.asarray(longer) > 0)
    return share(_says_longer(p1, longer) - truth.astype(float), _unequal(longer, p1), group=group)


def length_bias_change(probs, other, longer, *, group=None) -> Estimate:
    """Length bias of one model minus that of another, paired: both are judged on the same pairs, so the truth cancels.

    Args:
        probs, other: (n, 2) or (s, n, 2).
        longer: as in `prefers_longer`.
    """
    p1, p2 = p1_of(probs), p1_of(other)
    return share(
        _says_longer(p1, longer) - _says_longer(p2, longer), _unequal(longer, p1), group=group
    )


def order_bias(probs, swapped, *, group=None) -> Estimate:
    """How much oftener than half the second text is preferred, over both orders of each pair: 0 where place plays no
    part, 0.5 where it decides alone.

    Args:
        probs: (n, 2) or (s, n, 2).
        swapped: the same for the pairs turned round, `variants.swapped`; column 1 is again the text that stands second.
    """
    return of_means(
        lambda a, b: (a + b) / 4, *(np.sign(p1_of(p) - 0.5) for p in (probs, swapped)), group=group
    )


def order_decides(probs, swapped, *, group=None) -> Estimate:
    """Share of pairs of which another text is preferred when they are turned round.

    Args:
        probs, swapped: as in `order_bias`.
    """
    return of_means(np.asarray, (p1_of(probs) - 0.5) * (p1_of(swapped) - 0.5) > 0, group=group)


def _says_longer(p1: np.ndarray, longer) -> np.ndarray:
    return ((p1 >= 0.5) == (np.asarray(longer) > 0)).astype(float)


def _unequal(longer, like: np.ndarray) -> np.ndarray:
    return np.broadcast_to(np.asarray(longer) != 0, like.shape)
