"""Paired tests and their correction, against scipy, by hand, and by their rate of errors."""

import numpy as np
import pytest
from scipy import stats

from w2s_nb import metrics
from w2s_nb.metrics.many_comparisons import (
    crossed_test,
    holm,
    mean_test,
    paired_test,
    sign_flip_test,
)


def test_holm_by_hand():
    assert np.allclose(holm([0.01, 0.04, 0.03, 0.005]), [0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.7]).tolist() == [1, 1] and holm([]).tolist() == []


def test_holm_is_between_bonferroni_and_no_correction_and_keeps_the_order():
    p = np.random.default_rng(0).uniform(size=40) ** 3
    corrected = holm(p)
    assert (corrected >= p).all() and (corrected <= np.minimum(p * 40, 1)).all()
    assert (np.diff(corrected[np.argsort(p)]) >= 0).all()
    assert (corrected <= 0.05).sum() <= (stats.false_discovery_control(p) <= 0.05).sum()


def test_a_test_that_was_not_made_is_not_counted_by_holm():
    assert np.allclose(holm([0.01, np.nan, 0.03]), [0.02, np.nan, 0.03], equal_nan=True)


def test_holm_refuses_what_is_no_p_value():
    with pytest.raises(ValueError, match="numbers from 0 to 1"):
        holm([0.5, 1.5])


def test_all_sign_flips_give_scipys_exact_p():
    values = np.random.default_rng(1).normal(0.4, 1, 12)
    exact = stats.permutation_test(
        (values,), np.mean, permutation_type="samples", n_resamples=np.inf
    )
    assert sign_flip_test(values).p == pytest.approx(exact.pvalue)


def test_random_sign_flips_come_near_scipys():
    values = np.random.default_rng(2).choice([-1, 0, 1], 300, p=[0.1, 0.75, 0.15])
    theirs = stats.permutation_test(
        (values,), np.mean, permutation_type="samples", n_resamples=9_999, rng=0
    )
    assert sign_flip_test(values, flips=20_000).p == pytest.approx(theirs.pvalue, abs=0.015)


def test_groups_are_flipped_whole():
    values = np.array([1.0, 1, 1, 1, 1, 1])
    assert sign_flip_test(values).p == 2 / 64
    assert sign_flip_test(values, group=[0, 0, 1, 1, 2, 2]).p == 2 / 8


def test_several_seeds_of_an_example_are_flipped_together():
    values = np.ones((5, 4))
    assert sign_flip_test(values).p == 2 / 16


def test_no_difference_at_all_is_no_evidence():
    for values in (np.zeros(10), np.zeros((3, 10))):
        assert paired_test(values).p == 1
        assert paired_test(values).value == 0


def mean_squares(d):
    """Computes mean squares of seeds, groups and rest by regression on indicators."""
    n_seeds, n_groups = d.shape
    seed, group = np.indices(d.shape).reshape(2, -1)
    columns = [np.ones(d.size), *(seed == k for k in range(1, n_seeds))]
    by_seed = np.column_stack(columns).astype(float)
    both = np.column_stack([by_seed, *(group == k for k in range(1, n_groups))]).astype(float)

    def residual(x):
        return float(np.square(d.ravel() - x @ np.linalg.lstsq(x, d.ravel())[0]).sum())

    total, with_seed, with_both = (residual(x) for x in (np.ones((d.size, 1)), by_seed, both))
    of_seed, of_group = total - with_seed, with_seed - with_both
    rest = (n_seeds - 1) * (n_groups - 1)
    return of_seed / (n_seeds - 1), of_group / (n_groups - 1), with_both / rest


def test_the_variance_over_seeds_and_groups_is_that_of_an_analysis_of_variance():
    rng = np.random.default_rng(3)
    d = rng.normal(0.3, 0.2, (4, 1)) + rng.normal(0, 0.5, (1, 9)) + rng.normal(0, 0.3, (4, 9))
    ms = mean_squares(d)
    assert ms[0] > ms[2], "seeds differ here"
    test = crossed_test(d)
    assert np.allclose(test.parts, [(ms[1] / 36, 8), (ms[0] / 36, 3)])
    assert test.se == pytest.approx(np.sqrt((ms[0] + ms[1]) / 36))
    # at its p-value, the mean stands as far from 0 as the quantiles of both allow
    far = stats.t.isf(test.p / 2, 8) ** 2 * ms[1] + stats.t.isf(test.p / 2, 3) ** 2 * ms[0]
    assert d.mean() ** 2 == pytest.approx(far / 36)
    assert test.margin(test.p) == pytest.approx(abs(d.mean())) and test.margin() > test.margin(0.1)


def test_where_only_seeds_differ_it_is_scipys_t_test_of_their_means():
    means = np.array([0.1, 0.3, 0.2, 0.5, -0.1])
    d = np.repeat(means[:, None], 7, axis=1)
    assert crossed_test(d).p == pytest.approx(stats.ttest_1samp(means, 0).pvalue)


def test_where_only_examples_differ_it_is_scipys_t_test_of_the_examples():
    of_example = np.random.default_rng(4).normal(0.5, 1, 30)
    d = np.repeat(of_example[None], 5, axis=0)
    assert crossed_test(d).p == pytest.approx(stats.ttest_1samp(of_example, 0).pvalue)


def test_examples_of_one_group_count_as_one():
    d = np.repeat(np.random.default_rng(5).normal(0.2, 1, (1, 20)), 3, axis=0)
    doubled = np.repeat(d, 2, axis=1)
    grouped = crossed_test(doubled, group=np.repeat(np.arange(20), 2))
    assert grouped.p == pytest.approx(crossed_test(d).p)
    assert crossed_test(doubled).p < grouped.p


def test_a_mean_over_tasks_has_the_summed_variance():
    rng = np.random.default_rng(6)
    tests = [crossed_test(rng.normal(0.1, 1, (5, 50))) for _ in range(3)]
    joint = mean_test(tests)
    assert joint.value == pytest.approx(np.mean([test.value for test in tests]))
    assert joint.se == pytest.approx(np.sqrt(sum(test.se**2 for test in tests)) / 3)
    assert joint.margin() < np.mean([test.margin() for test in tests])
    assert mean_test(tests[:1]) == tests[0]


def test_sign_flips_have_no_standard_error_and_no_part_in_a_mean():
    flips = sign_flip_test([1, 1, -1, 1])
    assert np.isnan(flips.se) and np.isnan(flips.margin())
    with pytest.raises(ValueError, match="each with a standard error"):
        mean_test([flips])


def test_a_difference_as_large_as_no_chance_has_the_smallest_p():
    d = np.ones((3, 50)) + np.random.default_rng(12).normal(0, 1e-90, (3, 50))
    assert 0 <= crossed_test(d).p <= 1e-100 and crossed_test(np.ones((3, 50))).p == 0


@pytest.mark.parametrize("seeds", [2, 3, 5])
@pytest.mark.parametrize("of_seed, of_example", [(0, 0.5), (0.13, 0), (0.3, 0.5), (1, 0.5)])
def test_few_seeds_without_a_difference_reject_in_at_most_five_of_a_hundred(
    seeds, of_seed, of_example
):
    rng = np.random.default_rng(7)
    n, rejected = 1000, 0
    for _ in range(n):
        d = rng.normal(0, of_seed, (seeds, 1)) + rng.normal(0, of_example, 60)
        d = d + rng.normal(0, 1, (seeds, 60))
        rejected += crossed_test(d).p < 0.05
    assert rejected / n <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / n)


def test_flips_of_examples_do_not_see_that_seeds_differ():
    rng = np.random.default_rng(7)
    each = rng.normal(0, 0.3, (150, 5, 1)) + rng.normal(0, 1, (150, 5, 60))
    assert np.mean([sign_flip_test(d, flips=200).p < 0.05 for d in each]) > 0.2
    assert np.mean([crossed_test(d).p < 0.05 for d in each]) < 0.09


@pytest.mark.parametrize("seeds", [2, 3])
@pytest.mark.parametrize("of_seed", [[0, 0, 0], [1, 0, 0], [1, 0.5, 0.2]])
def test_a_mean_over_tasks_rejects_no_more_where_seeds_differ_on_one_task(seeds, of_seed):
    rng = np.random.default_rng(10)
    n, rejected = 600, 0
    for _ in range(n):
        tasks = [rng.normal(0, s, (seeds, 1)) + rng.normal(0, 1, (seeds, 40)) for s in of_seed]
        rejected += mean_test([crossed_test(d) for d in tasks]).p < 0.05
    assert rejected / n <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / n)


def test_right_minus_right_of_two_equal_methods_rejects_in_at_most_five_of_a_hundred():
    """Differences that are -1, 0 or 1, of students whose seeds are good or bad as a whole."""
    rng = np.random.default_rng(11)
    n, rejected = 600, 0
    for _ in range(n):
        hard = rng.uniform(-1, 1, 200)
        sure = rng.normal(1, 0.3, (2, 3, 1)) + hard
        right = rng.uniform(size=(2, 3, 200)) < 1 / (1 + np.exp(-2 * sure))
        rejected += crossed_test(right[0].astype(int) - right[1]).p < 0.05
    assert rejected / n <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / n)


def test_the_chance_of_any_false_discovery_among_twelve_methods_is_at_most_five_in_a_hundred():
    rng = np.random.default_rng(8)
    n, with_any, uncorrected = 400, 0, 0
    for _ in range(n):
        naive = rng.normal(0, 0.2, (5, 1)) + rng.normal(size=(5, 60))
        methods = rng.normal(0, 0.2, (12, 5, 1)) + rng.normal(size=(12, 5, 60))
        p = [paired_test(method - naive).p for method in methods]
        with_any += holm(p).min() < 0.05
        uncorrected += min(p) < 0.05
    assert with_any / n <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / n)
    assert uncorrected / n > 0.15


def test_a_real_difference_is_found():
    d = np.random.default_rng(9).choice([-1, 0, 1], (5, 500), p=[0.06, 0.82, 0.12])
    assert metrics.paired_test(d).p < 0.001


@pytest.mark.parametrize(
    "values, group, message",
    [
        (np.zeros((2, 2, 2)), None, "expected"),
        ([np.nan, 1], None, "finite"),
        (np.zeros((2, 3)), [0, 1], "2 groups for 3 examples"),
        (np.zeros((2, 3)), [0, 0, 0], "at least 2"),
    ],
)
def test_what_cannot_be_tested_is_refused(values, group, message):
    with pytest.raises(ValueError, match=message):
        paired_test(values, group=group)
