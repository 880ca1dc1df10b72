"""Correlations over the points of a grid: known values, what is drawn whole, tasks left out."""

import itertools

import numpy as np
import pytest
from scipy.stats import pearsonr, spearmanr
from sklearn.linear_model import LinearRegression

from w2s_nb import metrics

GRID = np.array(list(itertools.product(range(5), range(4), range(5))))  # task, pair, seed


def made(seed=0, n=40):
    return np.random.default_rng(seed).normal(size=(3, n))


def test_it_is_that_of_pearson_and_of_ranks_that_of_spearman():
    x, y, _ = made()
    y = y + x
    assert metrics.correlation(x, y).value == pytest.approx(pearsonr(x, y)[0])
    assert metrics.correlation(x, y, ranks=True).value == pytest.approx(spearmanr(x, y)[0])


def test_the_partial_one_is_that_of_the_residuals():
    x, y, z = made()
    x, y = x + 2 * z, y - z
    rest = [
        column - LinearRegression().fit(z[:, None], column).predict(z[:, None]) for column in (x, y)
    ]
    value = metrics.correlation(x, y, given=z).value
    assert value == pytest.approx(pearsonr(*rest)[0])
    assert metrics.correlation(x, z).value > 0.8 > abs(value)


def test_it_does_not_depend_on_shift_scale_or_what_the_tasks_are_called():
    x, y, _ = made(n=100)
    estimate = metrics.correlation(x, y, draw=GRID.T)
    named = [np.array([f"number {i}" for i in labels]) for labels in GRID.T]
    other = metrics.correlation(2 * x + 9, y, draw=named)
    assert (other.low, other.high) == pytest.approx((estimate.low, estimate.high))


def test_points_of_one_task_are_no_independent_witnesses():
    """A number that is the same for all points of a task gets a far wider interval so."""
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=(2, 5))[:, GRID[:, 0]] + 0.1 * rng.normal(size=(2, 100))
    alone = metrics.correlation(x, y)
    whole = metrics.correlation(x, y, draw=GRID.T)
    assert whole.high - whole.low > 2 * (alone.high - alone.low)
    assert whole.low < 0 < whole.high


def test_whole_tasks_and_pairs_drawn_cover_no_correlation():
    """Of 60 grids whose numbers have nothing in common but structure, few exclude 0."""
    wrong = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        x, y = (
            sum(rng.normal(size=9)[GRID[:, k]] for k in range(3)) + rng.normal(size=100)
            for _ in range(2)
        )
        estimate = metrics.correlation(x, y, draw=GRID.T, resamples=200)
        wrong += not estimate.low <= 0 <= estimate.high
    assert wrong <= 9


def test_a_number_that_does_not_vary_has_no_correlation():
    x, y, _ = made()
    assert np.isnan(metrics.correlation(np.full(40, 0.1), y).value)
    assert np.isnan(metrics.correlation(x, y, given=2 * x).value)


def test_a_law_that_holds_in_all_tasks_predicts_the_one_left_out():
    x = made(n=100)[:2].T
    y = 3 + x @ [1.0, -2.0]
    found = metrics.left_out(x, y, GRID[:, 0], draw=GRID.T)
    np.testing.assert_allclose(found.predicted, y)
    assert found.r_squared.value == pytest.approx(1)


def test_a_law_of_its_own_in_each_task_is_worse_than_the_mean():
    x = made(n=100)[0]
    y = x * np.array([2, -2, 2, -2, 2])[GRID[:, 0]]
    assert metrics.left_out(x[:, None], y, GRID[:, 0]).r_squared.value < 0


def test_predictions_for_a_task_are_those_of_a_regression_on_the_others():
    x, y, _ = made(n=100)
    numbers = np.column_stack([x, x**2, np.ones(100)])
    found = metrics.left_out(numbers, y, GRID[:, 0], resamples=0)
    others = GRID[:, 0] != 2
    model = LinearRegression().fit(numbers[others], y[others])
    np.testing.assert_allclose(found.predicted[~others], model.predict(numbers[~others]))


def test_wrong_input_is_refused_in_words():
    x, y, _ = made()
    for call, told in [
        (lambda: metrics.correlation(x, y[:9]), r"shape \(40,\), \(9,\); expected one"),
        (lambda: metrics.correlation(x[:2], y[:2]), "at least 3"),
        (lambda: metrics.correlation(x * np.nan, y), "numbers of 40 of 40 points"),
        (lambda: metrics.correlation(x, y, draw=[x[:3]]), r"labels of shape \(3,\)"),
        (lambda: metrics.left_out(x[:, None], y, np.zeros(40)), "40 points are of one task"),
        (lambda: metrics.left_out(x, y, y), "shape"),
    ]:
        with pytest.raises(ValueError, match=told):
            call()
