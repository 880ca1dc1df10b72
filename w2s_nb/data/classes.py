"""Decides which class probabilities predict: numpy only, for labels, metrics and predictions."""

from __future__ import annotations

import numpy as np


def likeliest(probs) -> np.ndarray:
    """Returns the class of the largest probability, of equal ones the last, int64.

    Of two classes a tie so predicts class 1: a probability of 1/2 counts as "yes".

    Args:
        probs: (..., K), such as (n, K), or (seeds, n, K).
    Returns:
        (...), from 0 to K - 1.

    >>> likeliest([[0.5, 0.5], [0.6, 0.4]]).tolist()
    [1, 0]
    >>> likeliest([[0.4, 0.4, 0.2]]).tolist()
    [1]
    """
    probs = np.asarray(probs)
    # argmax takes the first of equal ones
    return (probs.shape[-1] - 1 - probs[..., ::-1].argmax(axis=-1)).astype(np.int64)


def in_turn(classes: np.ndarray) -> np.ndarray:
    """Returns an order (n,) of examples of some classes (n,) that takes one of each class in turn.

    Those of one class stay in their order. Among the first k, the numbers of two classes differ by
    one at most, unless a class has run out.
    """
    earlier_of_class = np.zeros(len(classes), dtype=np.int64)
    for of_class in np.unique(classes):
        members = np.flatnonzero(classes == of_class)
        earlier_of_class[members] = np.arange(len(members))
    return np.argsort(earlier_of_class, kind="stable")
