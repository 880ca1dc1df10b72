"""Estimates true classes from several workers' votes, by how each worker errs."""

from __future__ import annotations

import numpy as np

from ..common.progress import warn

MOST_ROUNDS = 2000
_CONVERGED = 1e-4  # the largest change of a probability in a round
_LEAST = 1e-10  # of a probability whose logarithm is taken


def dawid_skene(
    votes: np.ndarray, example: np.ndarray, worker: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Finds the most likely classes of examples by expectation maximisation.

    Each worker has a matrix of confusion, P(vote | true class), and the classes have shares; both
    are estimated together with the true classes, from the shares of the votes on. No ground truth
    is used. A vote may be shared by a few classes and then counts as parts of votes; probabilities
    of unsure workers are no votes (`votes_of` makes some), as the estimates of all examples would
    fall on one class.

    Args:
        votes: (r, K), a row per vote: class probabilities that sum to 1.
        example: (r,) int, which example the vote is on, from 0 to n - 1, each at least once.
        worker: (r,) int, who gave the vote, from 0 to w - 1, each at least once.
    Returns:
        (class probabilities of the examples, (n, K); P(vote | true class) of each worker,
        (w, true K, voted K), rows sum to 1).
    Source: Dawid and Skene 1979, which estimates from shares of votes as here. A library,
        crowd-kit, has it too, but brings nltk and scikit-learn.
    """
    classes = _sums(votes, example)
    classes /= classes.sum(axis=1, keepdims=True)
    for _ in range(MOST_ROUNDS):
        before = classes
        confusion = _confusion(votes, classes[example], worker)
        likelihood = np.einsum("rk,rck->rc", votes, np.log(confusion.clip(_LEAST))[worker])
        log_joint = np.log(classes.mean(axis=0).clip(_LEAST)) + _sums(likelihood, example)
        joint = np.exp(log_joint - log_joint.max(axis=1, keepdims=True))
        classes = joint / joint.sum(axis=1, keepdims=True)
        if np.abs(classes - before).max() < _CONVERGED:
            break
    else:
        warn(f"dawid-skene: classes still change after {MOST_ROUNDS} rounds")
    return classes, _confusion(votes, classes[example], worker)


def votes_of(probs: np.ndarray) -> np.ndarray:
    """Returns one vote per row, (n, K), shared by the classes that are equally likely."""
    tied = probs == probs.max(axis=1, keepdims=True)
    return tied / tied.sum(axis=1, keepdims=True)


def _sums(rows: np.ndarray, group: np.ndarray) -> np.ndarray:
    """Returns the sum of rows, (r, K), over each group, (g, K)."""
    sums = np.zeros((group.max() + 1, rows.shape[1]))
    np.add.at(sums, group, rows)
    return sums


def _confusion(votes: np.ndarray, classes: np.ndarray, worker: np.ndarray) -> np.ndarray:
    """Returns P(vote | true class), (w, K, K), given true classes of the votes, (r, K)."""
    n_classes = votes.shape[1]
    pairs = np.einsum("rc,rk->rck", classes, votes).reshape(len(votes), -1)
    counts = _sums(pairs, worker).reshape(-1, n_classes, n_classes)
    # a class that a worker never saw says nothing: every vote is as likely
    seen = counts.sum(axis=2, keepdims=True)
    return np.where(seen > 0, counts / np.where(seen > 0, seen, 1), 1 / n_classes)
