"""Tests of measures out of distribution minus in distribution."""

import numpy as np
import pytest

from w2s_nb.metrics import accuracy, auroc, shift


def made(right, truth=None):
    """Returns predictions (s, n, 2) of class 1 that are right as told, and the true classes."""
    right = np.asarray(right, dtype=bool)
    truth = np.ones(right.shape[1], dtype=int)
    return np.stack([1 - right, right], axis=-1).astype(float), truth


def test_accuracy_change_is_the_difference_of_the_two_accuracies():
    rng = np.random.default_rng(0)
    outside, truth_outside = made(rng.random((3, 200)) < 0.6)
    inside, truth_inside = made(rng.random((3, 300)) < 0.8)
    change = shift.change(([outside], truth_outside, None), ([inside], truth_inside, None))
    expected = accuracy(outside, truth_outside).value - accuracy(inside, truth_inside).value
    assert change.value == pytest.approx(expected)
    assert change.low < expected < change.high and change.seeds == 3 and change.n == 200


def test_a_seed_that_is_bad_everywhere_changes_nothing_out_of_distribution():
    """Seeds are drawn once for both, so what a seed does alike in both cancels."""
    right = np.repeat([[True], [False]], 400, axis=1)
    probs, truth = made(right)
    change = shift.change(([probs], truth, None), ([probs], truth, None))
    assert (change.value, change.low, change.high) == (0, 0, 0)


def test_examples_of_the_two_are_drawn_each_for_itself():
    """The variance of a difference of independent means is the sum of their variances."""
    rng = np.random.default_rng(1)
    probs, truth = made(rng.random((1, 400)) < 0.7)
    tested = ([probs], truth, None)
    spread = np.std(shift.change(tested, tested, resamples=4000).draws)
    share = probs[0, :, 1].mean()
    assert spread == pytest.approx(np.sqrt(2 * share * (1 - share) / 400), rel=0.06)


def test_groups_are_drawn_whole_on_both_sides():
    rng = np.random.default_rng(2)
    right = np.repeat(rng.random((1, 60)) < 0.5, 5, axis=1)
    probs, truth = made(right)
    grouped = ([probs], truth, np.repeat(np.arange(60), 5))
    alone = ([probs], truth, None)
    width = np.std(shift.change(grouped, alone).draws)
    assert width > 1.4 * np.std(shift.change(alone, alone).draws)


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
        shift.change(([outside], truth, None), ([inside], truth, None))


def test_auroc_and_its_intervals_are_those_of_each_split():
    rng = np.random.default_rng(3)
    truth = np.repeat([0, 1], 150)
    both = []
    for apart in (1, 2):
        score = 1 / (1 + np.exp(-(rng.normal(size=(2, 300)) + apart * truth)))
        both.append(np.stack([1 - score, score], axis=-1))
    outside, inside = both
    moved = shift.change(([outside], truth, None), ([inside], truth, None), measure="auroc")
    of_each = [auroc(probs, truth) for probs in (outside, inside)]
    assert moved.value == pytest.approx(of_each[0].value - of_each[1].value)
    # seeds hardly differ here, so the two are nearly independent
    widths = [np.std(each.draws) for each in of_each]
    assert np.std(moved.draws) == pytest.approx(np.hypot(*widths), rel=0.15)


def test_a_moved_threshold_changes_accuracy_and_not_auroc():
    rng = np.random.default_rng(4)
    truth = np.repeat([0, 1], 200)
    logit = rng.normal(size=(1, 400)) + 2 * truth - 1
    inside, outside = (1 / (1 + np.exp(-(logit + moved))) for moved in (0, 3))
    tested = [([np.stack([1 - p, p], axis=-1)], truth, None) for p in (outside, inside)]
    assert shift.change(*tested, measure="auroc").value == pytest.approx(0)
    assert shift.change(*tested).high < -0.1


@pytest.mark.parametrize("n", [100, 400])
def test_intervals_cover_the_true_change(n):
    """Of 200 made experiments about 95 % have the true change in their interval."""
    rng = np.random.default_rng(n)
    covered = 0
    for _ in range(200):
        outside, inside = (made(rng.random((1, n)) < share) for share in (0.65, 0.8))
        moved = shift.change(([outside[0]], outside[1], None), ([inside[0]], inside[1], None))
        covered += moved.low <= -0.15 <= moved.high
    assert 180 <= covered <= 199


def test_another_measure_is_refused():
    probs, truth = made(np.ones((1, 10)))
    with pytest.raises(ValueError, match="expected 'accuracy' or 'auroc'"):
        shift.change(([probs], truth, None), ([probs], truth, None), measure="f1")
