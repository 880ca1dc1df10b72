"""Tests of measures out of distribution minus in distribution."""

import numpy as np
import pytest

from w2s_nb.metrics import accuracy, shift


def made(right, truth=None):
    """Returns predictions (s, n, 2) of class 1 that are right as told, and the true classes."""
    right = np.asarray(right, dtype=bool)
    truth = np.ones(right.shape[1], dtype=int)
    return np.stack([1 - right, right], axis=-1).astype(float), truth


def test_accuracy_change_is_the_difference_of_the_two_accuracies():
    rng = np.random.default_rng(0)
    outside, truth_outside = made(rng.random((3, 200)) < 0.6)
    inside, truth_inside = made(rng.random((3, 300)) < 0.8)
    change = shift.accuracy_change(([outside], truth_outside, None), ([inside], truth_inside, None))
    expected = accuracy(outside, truth_outside).value - accuracy(inside, truth_inside).value
    assert change.value == pytest.approx(expected)
    assert change.low < expected < change.high and change.seeds == 3 and change.n == 200


def test_a_seed_that_is_bad_everywhere_changes_nothing_out_of_distribution():
    """Seeds are drawn once for both, so what a seed does alike in both cancels."""
    right = np.repeat([[True], [False]], 400, axis=1)
    probs, truth = made(right)
    change = shift.accuracy_change(([probs], truth, None), ([probs], truth, None))
    assert (change.value, change.low, change.high) == (0, 0, 0)


def test_examples_of_the_two_are_drawn_each_for_itself():
    """The variance of a difference of independent means is the sum of their variances."""
    rng = np.random.default_rng(1)
    probs, truth = made(rng.random((1, 400)) < 0.7)
    tested = ([probs], truth, None)
    spread = np.std(shift.accuracy_change(tested, tested, resamples=4000).draws)
    share = probs[0, :, 1].mean()
    assert spread == pytest.approx(np.sqrt(2 * share * (1 - share) / 400), rel=0.06)


def test_groups_are_drawn_whole_on_both_sides():
    rng = np.random.default_rng(2)
    right = np.repeat(rng.random((1, 60)) < 0.5, 5, axis=1)
    probs, truth = made(right)
    grouped = ([probs], truth, np.repeat(np.arange(60), 5))
    alone = ([probs], truth, None)
    width = np.std(shift.accuracy_change(grouped, alone).draws)
    assert width > 1.4 * np.std(shift.accuracy_change(alone, alone).draws)


def test_pgr_change_of_known_accuracies():
    n = 100
    arms = {0.5: 50, 0.6: 60, 0.7: 70, 1.0: 100}
    predictions = {share: made([np.arange(n) < count])[0] for share, count in arms.items()}
    truth = np.ones(n, dtype=int)
    outside = ([predictions[0.5], predictions[0.6], predictions[1.0]], truth, None)
    inside = ([predictions[0.5], predictions[0.7], predictions[1.0]], truth, None)
    change = shift.pgr_change(outside, inside)
    assert change.value == pytest.approx(0.1 / 0.5 - 0.2 / 0.5)
    assert change.low < change.value < change.high


def test_other_seeds_are_refused():
    outside, truth = made(np.ones((2, 10)))
    inside, _ = made(np.ones((3, 10)))
    with pytest.raises(ValueError, match="2 seeds out of distribution and 3 in it"):
        shift.accuracy_change(([outside], truth, None), ([inside], truth, None))
