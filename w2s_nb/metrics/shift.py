"""Compares a measure out of distribution with the same measure in distribution.

The two rest on different test examples and on the same seeds. A draw takes seeds once for both, and
examples (whole groups) of each for itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from .classification import correct
from .estimate import Estimate, draw_counts, from_draws
from .gap import _recovered

# predictions (s, n, K) of each arm, true classes (n,), groups (n,) or None
Tested = tuple[Sequence[np.ndarray], np.ndarray, np.ndarray | None]


def accuracy_change(outside: Tested, inside: Tested, *, resamples: int = 1000) -> Estimate:
    """Computes an arm's accuracy out of distribution minus that in distribution.

    Args:
        outside, inside: ([probs (s, n, K)], hard_label (n,), group (n,) or None) each, of the same
            s seeds.
        resamples: draws of the interval.
    Returns:
        The difference with its interval, paired by seed; n is the number of examples outside.
    Raises:
        ValueError: other numbers of seeds; predictions and labels that do not fit.
    """
    return change(lambda accuracy: accuracy, outside, inside, resamples=resamples)


def pgr_change(outside: Tested, inside: Tested, *, resamples: int = 1000) -> Estimate:
    """Computes PGR by accuracy out of distribution minus that in distribution.

    A draw without a gap has no value, as in `metrics.pgr`; whether either PGR is defined at all is
    left to the caller.

    Args:
        outside, inside: ([weak, student, ceiling], hard_label, group) each; the others are those of
            `accuracy_change`.
    Raises: as `accuracy_change`.
    """
    return change(_recovered, outside, inside, resamples=resamples)


def change(
    function: Callable[..., np.ndarray], outside: Tested, inside: Tested, *, resamples: int = 1000
) -> Estimate:
    """Computes a function of accuracies out of distribution minus the same in distribution.

    Args:
        function: takes the accuracy of each arm, a float or (resamples,), and returns the same
            shape.
        The others are those of `accuracy_change`.
    Raises: as `accuracy_change`.
    """
    right_outside, group_outside = _right(outside)
    right_inside, group_inside = _right(inside)
    n_seeds = len(right_outside[0])
    if n_seeds != len(right_inside[0]):
        raise ValueError(
            f"{n_seeds} seeds out of distribution and {len(right_inside[0])} in it; expected the "
            f"same ones"
        )
    n_outside, n_inside = right_outside[0].shape[1], right_inside[0].shape[1]
    by_seed, by_inside = draw_counts(n_seeds, n_inside, group_inside, resamples, 0)
    # another stream for the other examples: they are drawn for themselves
    _, by_outside = draw_counts(n_seeds, n_outside, group_outside, resamples, 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        values = [
            function(*(np.float64(each.mean()) for each in right))
            for right in (right_outside, right_inside)
        ]
        draws = [
            function(*(_means(each, by_seed, by_example) for each in right))
            for right, by_example in ((right_outside, by_outside), (right_inside, by_inside))
        ]
    return from_draws(float(values[0] - values[1]), draws[0] - draws[1], n_outside, n_seeds)


def _right(tested: Tested) -> tuple[list[np.ndarray], np.ndarray | None]:
    """Returns what each arm predicts right, (s, n) each, and the groups."""
    arms, hard_label, group = tested
    right = [np.atleast_2d(correct(np.asarray(probs), hard_label)) for probs in arms]
    return right, group


def _means(right: np.ndarray, by_seed: np.ndarray, by_example: np.ndarray) -> np.ndarray:
    """Returns the accuracy in each draw, (resamples,)."""
    size = by_seed.sum(axis=1) * by_example.sum(axis=1)
    return ((by_seed @ right) * by_example).sum(axis=1) / size
