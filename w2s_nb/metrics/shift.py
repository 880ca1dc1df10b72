"""Compares a measure out of distribution with the same measure in distribution.

The two rest on different test examples and on the same seeds. A draw takes seeds once for both, and
examples (whole groups) of each for itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from .classification import areas_of_draws, correct, paired
from .estimate import Estimate, draw_counts, from_draws
from .gap import check_measure, recovered

# predictions (s, n, K) of each arm, true classes (n,), groups (n,) or None
Tested = tuple[Sequence[np.ndarray], np.ndarray, np.ndarray | None]


def change(
    outside: Tested, inside: Tested, *, measure: str = "accuracy", resamples: int = 1000
) -> Estimate:
    """Computes an arm's accuracy or AUROC out of distribution minus that in distribution.

    Args:
        outside, inside: ([probs (s, n, K)], hard_label (n,), group (n,) or None) each, of the same
            s seeds.
        measure: 'accuracy' or 'auroc'.
        resamples: draws of the interval.
    Returns:
        The difference with its interval, paired by seed; n is the number of examples outside.
    Raises:
        ValueError: another measure, other numbers of seeds, predictions and labels that do not fit.
    """
    return _compare(lambda value: value, outside, inside, measure, resamples)


def pgr_change(
    outside: Tested, inside: Tested, *, measure: str = "accuracy", resamples: int = 1000
) -> Estimate:
    """Computes PGR out of distribution minus that in distribution.

    A draw without a gap has no value, as in `metrics.pgr`; whether either PGR is defined at all is
    left to the caller.

    Args:
        outside, inside: ([weak, student, ceiling], hard_label, group) each; the others are those of
            `change`.
    Raises: as `change`.
    """
    return _compare(recovered, outside, inside, measure, resamples)


def _compare(
    function: Callable[..., np.ndarray],
    outside: Tested,
    inside: Tested,
    measure: str,
    resamples: int,
) -> Estimate:
    """Computes a function of each arm's measure, outside minus inside.

    Args:
        function: takes the measure of each arm, a float or (resamples,), and returns the same
            shape.
    """
    check_measure(measure)
    there, here = (paired(*tested[0]) for tested in (outside, inside))
    n_seeds, n_outside, _ = there[0].shape
    if n_seeds != len(here[0]):
        raise ValueError(
            f"{n_seeds} seeds out of distribution and {len(here[0])} in it; expected the same ones"
        )
    by_seed, by_inside = draw_counts(n_seeds, here[0].shape[1], inside[2], resamples, 0)
    # another stream for the other examples: they are drawn for themselves
    _, by_outside = draw_counts(n_seeds, n_outside, outside[2], resamples, 1)
    of_arm = areas_of_draws if measure == "auroc" else _accuracies_of_draws
    values, draws = [], []
    for arms, hard_label, by_example in (
        (there, outside[1], by_outside),
        (here, inside[1], by_inside),
    ):
        of_arms = [of_arm(probs, hard_label, by_seed, by_example) for probs in arms]
        values.append(float(function(*(np.float64(value) for value, _ in of_arms))))
        draws.append(function(*(each for _, each in of_arms)))
    return from_draws(values[0] - values[1], draws[0] - draws[1], n_outside, n_seeds)


def _accuracies_of_draws(
    probs: np.ndarray, hard_label, by_seed: np.ndarray, by_example: np.ndarray
) -> tuple[float, np.ndarray]:
    """Computes accuracy, and the same in each draw, (resamples,)."""
    right = correct(probs, hard_label)
    size = by_seed.sum(axis=1) * by_example.sum(axis=1)
    return float(right.mean()), ((by_seed @ right) * by_example).sum(axis=1) / size
