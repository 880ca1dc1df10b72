"""Reads classes out of probabilities."""

import numpy as np


def likeliest(probs) -> np.ndarray:
    """Returns the class of the largest probability; of equal ones the last.

    So of two classes a tie predicts class 1.

    Args:
        probs: (..., K).
    Returns:
        (...) int64, in 0..K-1.

    >>> likeliest([[0.5, 0.5], [0.6, 0.4]]), likeliest([0.2, 0.4, 0.4])
    (array([1, 0]), 2)
    """
    probs = np.asarray(probs)
    return probs.shape[-1] - 1 - np.argmax(probs[..., ::-1], axis=-1)
