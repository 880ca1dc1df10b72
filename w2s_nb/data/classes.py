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
