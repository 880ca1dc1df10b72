"""The class that probabilities predict, and orders by class."""

import numpy as np
import pytest

from w2s_nb.data.classes import in_turn, likeliest


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_of_two_classes_one_half_and_more_predicts_class_1(dtype):
    near = np.nextafter(dtype(0.5), dtype(0)), np.nextafter(dtype(0.5), dtype(1))
    p1 = np.r_[np.random.default_rng(0).random(1000), 0, 0.5, near, 1].astype(dtype)
    predicted = likeliest(np.stack([1 - p1, p1], axis=1))
    assert predicted.dtype == np.int64
    np.testing.assert_array_equal(predicted, p1 >= 0.5)


def test_of_equal_probabilities_the_last_class_is_predicted():
    assert likeliest([[0.4, 0.4, 0.2], [0.3, 0.4, 0.3], [0.4, 0.2, 0.4]]).tolist() == [1, 1, 2]
    assert likeliest(np.full((2, 5, 4), 0.25)).tolist() == [[3] * 5] * 2
    assert likeliest(np.zeros((0, 3))).shape == (0,)


def test_permuting_the_classes_permutes_the_predictions():
    rng = np.random.default_rng(0)
    probs, order = rng.dirichlet(np.ones(5), size=200), rng.permutation(5)
    np.testing.assert_array_equal(order[likeliest(probs[:, order])], likeliest(probs))


def test_all_shots_can_be_shown_where_a_class_has_run_out():
    assert in_turn(np.array([0, 0, 2, 0, 1, 1])).tolist() == [0, 2, 4, 1, 5, 3]
    assert in_turn(np.array([1, 1])).tolist() == [0, 1]
