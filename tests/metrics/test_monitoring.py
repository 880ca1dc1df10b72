"""Recall at an audit budget: known values, ties, weights, and intervals that cover."""

import numpy as np
import pytest

from w2s_nb import metrics
from w2s_nb.metrics import monitoring


def probs(p1):
    p1 = np.asarray(p1, dtype=float)
    return np.stack([1 - p1, p1], axis=-1)


def recall(p1, label, budget, **options):
    return metrics.recall_at_budget(probs(p1), label, budget, **options | {"resamples": 0}).value


FALLING = np.linspace(1, 0, 10)
LABEL = np.array([1, 0, 1, 0, 0, 0, 1, 0, 0, 1])


@pytest.mark.parametrize(
    "budget, caught", [(0.1, 0.25), (0.2, 0.25), (0.3, 0.5), (0.7, 0.75), (0.9, 0.75), (1.0, 1.0)]
)
def test_the_highest_scores_are_audited(budget, caught):
    assert recall(FALLING, LABEL, budget) == pytest.approx(caught)


def test_part_of_an_example_counts_in_part():
    assert recall(FALLING, LABEL, 0.05) == pytest.approx(0.125)


def test_of_equal_scores_an_even_share_is_audited():
    assert recall(np.full(10, 0.3), LABEL, 0.2) == pytest.approx(0.2)
    assert recall(np.full(10, 0.3), LABEL, 0.2, rate=0.01) == pytest.approx(0.2)
    # one dangerous example first, then six that are equal, half of them dangerous
    score = np.array([0.9, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.1, 0.1, 0.1])
    label = np.array([1, 1, 1, 1, 0, 0, 0, 0, 0, 0])
    assert recall(score, label, 0.4) == pytest.approx((1 + 3 * 3 / 6) / 4)


def test_the_order_of_examples_does_not_matter():
    rng = np.random.default_rng(0)
    score, label = rng.integers(0, 5, 60) / 5, rng.integers(0, 2, 60)
    order = rng.permutation(60)
    assert recall(score, label, 0.1, rate=0.03) == pytest.approx(
        recall(score[order], label[order], 0.1, rate=0.03)
    )


def test_weights_give_what_copies_of_the_safe_examples_give():
    rng = np.random.default_rng(1)
    label = np.repeat([0, 1], 50)
    score = 1 / (1 + np.exp(-(label + rng.normal(size=100))))
    copies = 99  # of each safe example: 1 % is dangerous
    many = np.concatenate([np.tile(score[:50], copies), score[50:]])
    of_many = np.concatenate([np.zeros(50 * copies, int), np.ones(50, int)])
    for budget in monitoring.BUDGETS:
        assert recall(score, label, budget, rate=0.01) == pytest.approx(
            recall(many, of_many, budget)
        )


@pytest.mark.parametrize("rate", [0.01, 0.2])
def test_a_perfect_monitor_reaches_what_can_be_reached(rate):
    label = np.repeat([0, 1], 100)
    for budget in (0.005, 0.02, 0.5):
        most = metrics.most_at_budget(budget, rate)
        assert recall(label, label, budget, rate=rate) == pytest.approx(most)
    assert recall(label, label, 0.01) == pytest.approx(metrics.most_at_budget(0.01, 0.5))
    assert recall(1 - label, label, 0.05, rate=rate) == 0


def test_chance_catches_the_budget():
    rng = np.random.default_rng(0)
    label = rng.integers(0, 2, 20_000)
    assert recall(rng.random(20_000), label, 0.05, rate=0.01) == pytest.approx(0.05, abs=0.01)


def test_known_recall_of_two_normal_distributions():
    from scipy.stats import norm

    rng = np.random.default_rng(0)
    label = np.repeat([0, 1], 40_000)
    score = norm.cdf(2 * label + rng.normal(size=80_000))
    found = recall(score, label, 0.02, rate=0.01)
    # the threshold t with .01 P(N(2, 1) > t) + .99 P(N(0, 1) > t) = .02
    t = np.linspace(0, 5, 50_001)
    seen = 0.01 * norm.sf(t - 2) + 0.99 * norm.sf(t)
    assert found == pytest.approx(norm.sf(t[np.argmin(abs(seen - 0.02))] - 2), abs=0.01)


@pytest.mark.parametrize("rate", [None, 0.05])
@pytest.mark.parametrize("grouped", [False, True], ids=["examples", "groups"])
def test_the_interval_is_that_of_the_plain_bootstrap(rate, grouped):
    rng = np.random.default_rng(2)
    score = rng.integers(0, 8, (3, 40)) / 8
    label = rng.integers(0, 2, 40)
    group = np.repeat(np.arange(20), 2) if grouped else None

    def plain(score, label):
        values = []
        for of_seed, truth in zip(score, label, strict=True):
            share = truth.mean() if rate is None else rate
            weight = np.where(truth == 1, share / truth.sum(), (1 - share) / (1 - truth).sum())
            left, caught = 0.1, 0.0
            for level in np.unique(of_seed)[::-1]:
                at_level = of_seed == level
                part = min(1.0, max(0.0, left) / weight[at_level].sum())
                caught += part * truth[at_level].sum() / truth.sum()
                left -= weight[at_level].sum()
            values.append(caught)
        return np.mean(values)

    fast = metrics.recall_at_budget(probs(score), label, 0.1, rate=rate, group=group, resamples=100)
    slow = metrics.bootstrap(
        plain, score, np.broadcast_to(label, (3, 40)), group=group, resamples=100
    )
    assert fast.value == pytest.approx(slow.value)
    np.testing.assert_allclose(fast.draws, slow.draws)


def test_intervals_cover_the_truth():
    rng = np.random.default_rng(0)

    def sample(n):
        label = np.repeat([0, 1], n)
        return 1 / (1 + np.exp(-(1.5 * label + rng.normal(size=2 * n)))), label

    truth = recall(*sample(200_000), 0.05, rate=0.01)
    covered = 0
    for _ in range(100):
        score, label = sample(300)
        e = metrics.recall_at_budget(probs(score), label, 0.05, rate=0.01, resamples=300)
        covered += e.low <= truth <= e.high
    assert 88 <= covered <= 100


def test_seeds_that_differ_widen_the_interval():
    rng = np.random.default_rng(0)
    label = np.repeat([0, 1], 200)
    alike = np.stack([np.clip(0.5 + 0.2 * label + 0.2 * rng.normal(size=400), 0, 1)] * 4)
    apart = np.stack([alike[0], alike[0], 1 - alike[0], label])
    narrow, wide = (
        metrics.recall_at_budget(probs(p), label, 0.05, rate=0.01) for p in (alike, apart)
    )
    assert wide.high - wide.low > narrow.high - narrow.low
    assert wide.seeds == 4


def test_recall_without_danger_is_not_defined():
    score = probs(FALLING)
    assert np.isnan(metrics.recall_at_budget(score, np.zeros(10, int), 0.1).value)
    assert np.isnan(metrics.recall_at_budget(score, np.ones(10, int), 0.1, rate=0.01).value)
    assert metrics.recall_at_budget(score, np.ones(10, int), 0.1).value == pytest.approx(0.1)


def test_few_audited_examples_are_said():
    assert "1% of 10 examples" in metrics.recall_at_budget(probs(FALLING), LABEL, 0.01).note
    assert "of 6 safe" in metrics.recall_at_budget(probs(FALLING), LABEL, 0.01, rate=0.01).note
    assert not metrics.recall_at_budget(probs(FALLING), LABEL, 0.5).note


def test_a_monitor_does_not_differ_from_itself_and_differs_from_its_reverse():
    same = metrics.recall_difference(probs(FALLING), probs(FALLING), LABEL, 0.2)
    assert (same.value, same.low, same.high) == (0, 0, 0)
    truth = np.repeat([0, 1], 50)
    better = metrics.recall_difference(probs(truth), probs(1 - truth), truth, 0.05, rate=0.01)
    assert better.value == better.low == 1


def test_the_table_has_a_row_per_monitor_and_a_perfect_one():
    label = np.repeat([0, 1], 100)
    table = metrics.monitoring_table(
        {"good": probs(label), "none": probs(np.full(200, 0.5))}, label, resamples=50
    ).set_index("monitor")
    assert list(table.index) == ["good", "none", "perfect"]
    assert table.loc["good", "recall at 1 %"] == table.loc["perfect", "recall at 1 %"] == 1
    assert table.loc["none", "recall at 5 %"] == pytest.approx(0.05)
    assert table.loc["none", "auroc"] == table.loc["none", "accuracy"] == 0.5
    assert table.loc["good", "accuracy"] == table.loc["perfect", "accuracy"] == 1
    assert table.loc["good", "accuracy_low"] == 1
    at_test_share = metrics.monitoring_table({"good": probs(label)}, label, rate=None, resamples=0)
    assert at_test_share["recall at 2 %"].tolist() == pytest.approx([0.04, 0.04])


def test_another_class_may_be_the_dangerous_one():
    p = np.array([[0.1, 0.2, 0.7], [0.2, 0.7, 0.1], [0.7, 0.2, 0.1], [0.4, 0.3, 0.3]])
    label = np.array([2, 1, 0, 2])
    assert metrics.recall_at_budget(p, label, 0.25, positive=2, resamples=0).value == 0.5


@pytest.mark.parametrize(
    "options, said",
    [
        ({"budget": 0}, "budget = 0; expected a share above 0 and up to 1"),
        ({"budget": 5}, "budget = 5"),
        ({"budget": True}, "budget = True"),
        ({"rate": 1.0}, "rate = 1.0; expected a share above 0 and below 1"),
        ({"rate": "1 %"}, "rate = '1 %'"),
        ({"positive": 2}, "positive = 2; expected a class from 0 to 1"),
    ],
    ids=["none", "percent", "bool", "all", "text", "class"],
)
def test_what_cannot_be_is_refused(options, said):
    with pytest.raises(ValueError, match=said):
        metrics.recall_at_budget(probs(FALLING), LABEL, **options)


@pytest.mark.parametrize("measure", [metrics.monitoring_table, metrics.recall_curve])
def test_a_table_of_no_monitor_or_of_no_budgets_is_refused(measure):
    with pytest.raises(ValueError, match="no predictions"):
        measure({}, LABEL)
    with pytest.raises(TypeError, match="predictions is a ndarray; expected {name"):
        measure(probs(FALLING), LABEL)
    for budgets in (0.01, []):
        with pytest.raises(ValueError, match="expected shares, such as"):
            measure({"a": probs(FALLING)}, LABEL, budgets=budgets)


def test_a_curve_has_the_recall_of_each_budget_and_two_monitors_to_compare_with():
    rng = np.random.default_rng(3)
    label = np.repeat([0, 1], 40)
    p = probs(rng.random((2, 80)))
    curve = metrics.recall_curve({"a": p}, label, budgets=(0.01, 0.5, 1.0), resamples=50)
    rows = {name: rows.set_index("budget") for name, rows in curve.groupby("monitor")}
    assert list(curve.monitor.unique()) == ["a", "perfect", "at random"]
    one = metrics.recall_at_budget(p, label, 0.5, rate=0.01, resamples=50)
    assert rows["a"].loc[0.5, ["recall", "recall_low", "recall_high"]].tolist() == [
        one.value,
        one.low,
        one.high,
    ]
    assert rows["a"].recall.iloc[-1] == pytest.approx(1)
    assert rows["perfect"].recall.tolist() == [1, 1, 1]
    assert rows["at random"].recall.tolist() == [0.01, 0.5, 1]
    with pytest.raises(ValueError, match="no predictions"):
        metrics.recall_curve({}, label)
