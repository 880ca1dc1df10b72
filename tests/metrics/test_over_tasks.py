"""Median and mean over tasks: known values, invariances, coverage, and tasks that are left out."""

import warnings

import numpy as np
import pytest

from w2s_nb import metrics
from w2s_nb.common.progress import collect_warnings
from w2s_nb.metrics import Estimate, over_tasks


def probs(p1):
    p1 = np.asarray(p1, dtype=float)
    return np.stack([1 - p1, p1], axis=-1)


def accuracy_of(share, seed, n=100, seeds=2):
    rng = np.random.default_rng(seed)
    return metrics.accuracy(probs(rng.random((seeds, n)) < share), np.ones(n, dtype=int))


TASKS = {
    name: accuracy_of(share, i)
    for i, (name, share) in enumerate(
        {"boolq": 0.9, "wic": 0.5, "sst2": 0.7, "cola": 0.65, "paws": 0.8}.items()
    )
}


def test_the_value_is_the_median_or_mean_of_the_tasks_values():
    values = [estimate.value for estimate in TASKS.values()]
    median, mean = over_tasks("median", TASKS), over_tasks("mean", TASKS)
    assert (median.value, mean.value) == (np.median(values), pytest.approx(np.mean(values)))
    assert (median.n, median.seeds, median.note) == (500, 2, "")
    assert min(values) < mean.low < mean.value < mean.high < max(values)


@pytest.mark.parametrize("how", ["median", "mean"])
def test_over_one_task_it_is_that_tasks_own_number_and_interval(how):
    alone = TASKS["sst2"]
    estimate = over_tasks(how, {"sst2": alone})
    assert estimate == alone and sorted(estimate.draws) == sorted(alone.draws)


@pytest.mark.parametrize("how", ["median", "mean"])
def test_the_order_of_tasks_plays_no_part(how):
    turned = dict(reversed(TASKS.items()))
    assert over_tasks(how, turned) == over_tasks(how, TASKS)


def test_tasks_that_differ_widen_the_interval():
    alike = {name: accuracy_of(0.7, i) for i, name in enumerate(TASKS)}
    narrow, wide = over_tasks("mean", alike), over_tasks("mean", TASKS)
    assert wide.high - wide.low > 2 * (narrow.high - narrow.low)


@pytest.mark.parametrize("how", ["median", "mean"])
def test_intervals_cover_the_number_of_all_tasks_that_there_could_be(how):
    """22 tasks are drawn from many whose accuracies are normal about 0.7; examples err too."""
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(200):
        true = rng.normal(0.7, 0.1, size=22)
        seen = rng.normal(true, 0.03)
        tasks = {
            f"task {i}": Estimate(value, 0, 1, 300, draws=rng.normal(value, 0.03, size=1000))
            for i, value in enumerate(seen)
        }
        estimate = over_tasks(how, tasks)
        covered += estimate.low <= 0.7 <= estimate.high
    assert 181 <= covered <= 199  # of 200; 190 are 95 %


def test_where_tasks_are_alike_the_interval_is_too_wide_by_at_most_a_root_of_two():
    rng = np.random.default_rng(0)
    tasks = {
        f"task {i}": Estimate(value, 0, 1, 300, draws=rng.normal(value, 0.03, size=1000))
        for i, value in enumerate(rng.normal(0.7, 0.03, size=200))
    }
    estimate = over_tasks("mean", tasks)
    exact = 2 * 1.96 * 0.03 / np.sqrt(200)
    assert 1.2 < (estimate.high - estimate.low) / exact < 1.6


def test_two_tasks_that_took_the_same_seeds_are_drawn_independently():
    """Two tasks whose seeds err alike, draw by draw, would seem to have no error in difference."""
    draws = np.random.default_rng(0).normal(0, 1, size=1000)
    opposite = {
        "one": Estimate(0.0, -2, 2, 9, draws=draws),
        "other": Estimate(0.0, -2, 2, 9, draws=-draws),
    }
    estimate = over_tasks("mean", opposite)
    assert estimate.high - estimate.low == pytest.approx(2 * 1.96 / np.sqrt(2), rel=0.15)


def test_tasks_without_a_gap_are_named_and_left_out_and_marks_are_kept():
    known = dict(zip(("sst2", "wic"), list(TASKS.values())[:2], strict=True))
    gapless = Estimate(np.nan, np.nan, np.nan, 100, 2)
    marked = Estimate(0.4, 0.1, 0.7, 100, 2, "supervisor not above chance", known["wic"].draws)
    estimate = over_tasks("median", known | {"cola": gapless, "anli_r2": gapless, "paws": marked})
    same = over_tasks("median", known | {"paws": marked})
    assert (estimate.value, estimate.low, estimate.high) == (same.value, same.low, same.high)
    assert estimate.note == (
        "not defined on anli_r2, cola, left out; paws: supervisor not above chance"
    )


def test_without_any_task_left_it_is_not_defined():
    estimate = over_tasks("median", {"cola": Estimate(np.nan, np.nan, np.nan, 100)})
    assert str(estimate) == "not defined" and estimate.note == "not defined on cola, left out"


def test_a_gap_that_could_vanish_leaves_an_end_of_the_interval_open():
    """Half the draws of either task have no gap: a median of them could be anything."""
    draws = np.where(np.arange(1000) % 2, 0.5, np.nan)
    tasks = {name: Estimate(0.5, 0, 1, 9, draws=draws) for name in ("one", "other")}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for how in ("median", "mean"):
            estimate = over_tasks(how, tasks)
            assert (estimate.low, estimate.high) == (-np.inf, np.inf)


@pytest.mark.parametrize(
    "how, tasks, says",
    [
        ("middle", TASKS, "how = 'middle'; expected 'median' or 'mean'"),
        ("mean", {}, "no task given; expected at least one"),
        ("mean", {"wic": Estimate(0.5, 0.4, 0.6, 9)}, "of task 'wic' has no draws"),
        (
            "mean",
            {"wic": TASKS["wic"], "cola": Estimate(0.5, 0, 1, 9, draws=np.ones(9))},
            "numbers of draws by task are {'cola': 9, 'wic': 1000}; expected the same",
        ),
    ],
)
def test_what_cannot_be_joined_is_refused_with_words(how, tasks, says):
    with pytest.raises(ValueError) as error:
        over_tasks(how, tasks)
    assert says in str(error.value)


@pytest.mark.parametrize("tasks", [[TASKS["wic"]], {"wic": 0.5}, {3: TASKS["wic"]}])
def test_anything_but_estimates_by_task_is_refused(tasks):
    with pytest.raises(TypeError, match=r"expected \{task: Estimate\}"):
        over_tasks("mean", tasks)


def scores(truth, strength, seed):
    """Predictions whose AUROC grows with strength."""
    rng = np.random.default_rng(seed)
    noise = rng.normal(size=(3, len(truth)))
    return probs(1 / (1 + np.exp(-(noise + strength * (2 * truth - 1)))))


TRUTH = np.arange(600) % 2
WEAK, STUDENT, CEILING = (scores(TRUTH, strength, i) for i, strength in enumerate((0.4, 0.7, 1.2)))


def test_pgr_by_auroc_is_the_share_of_the_gap_between_aurocs():
    weak, student, ceiling = (
        metrics.auroc(p, TRUTH, resamples=0).value for p in (WEAK, STUDENT, CEILING)
    )
    estimate = metrics.pgr(WEAK, STUDENT, CEILING, TRUTH, measure="auroc")
    assert estimate.value == pytest.approx((student - weak) / (ceiling - weak))
    assert estimate.low < estimate.value < estimate.high and estimate.note == ""
    by_accuracy = metrics.pgr(WEAK, STUDENT, CEILING, TRUTH)
    assert by_accuracy == metrics.pgr(WEAK, STUDENT, CEILING, TRUTH, measure="accuracy")
    assert by_accuracy.value != estimate.value


def test_pgr_by_auroc_has_the_interval_of_the_bootstrap():
    def recovered(label, *scores):
        areas = [metrics.auroc(probs(s), label, resamples=0).value for s in scores]
        return (areas[1] - areas[0]) / (areas[2] - areas[0])

    rng = np.random.default_rng(0)
    some = np.sort(rng.choice(600, 60, replace=False))
    group = np.arange(60) // 3
    label = np.broadcast_to(TRUTH[some], (3, 60))
    arms = [p[:, some] for p in (WEAK, STUDENT, CEILING)]
    slow = metrics.bootstrap(recovered, label, *(p[..., 1] for p in arms), group=group)
    fast = metrics.pgr(*arms, TRUTH[some], group=group, measure="auroc")
    assert fast.value == pytest.approx(slow.value)
    assert fast.draws == pytest.approx(slow.draws, nan_ok=True)


def test_any_monotone_change_of_the_scores_keeps_pgr_by_auroc():
    squared = [probs(p[..., 1] ** 3) for p in (WEAK, STUDENT, CEILING)]
    before = metrics.pgr(WEAK, STUDENT, CEILING, TRUTH, measure="auroc")
    assert metrics.pgr(*squared, TRUTH, measure="auroc") == before


def test_the_auroc_of_guessing_is_a_half_whatever_the_commonest_class():
    with pytest.warns(UserWarning, match=r"PGR by AUROC is marked: supervisor .* chance, 0.5: "):
        marked = metrics.pgr(
            scores(TRUTH, 0.0, 5), STUDENT, CEILING, TRUTH, chance=0.2, measure="auroc"
        )
    assert marked.note == "supervisor not above chance"
    assert metrics.pgr(WEAK, STUDENT, CEILING, TRUTH, chance=0.9, measure="auroc").note == ""


def test_pgr_by_auroc_is_refused_where_the_gap_is_noise():
    with pytest.warns(UserWarning, match="PGR by AUROC is not defined: the ceiling is"):
        assert np.isnan(metrics.pgr(STUDENT, WEAK, STUDENT, TRUTH, measure="auroc").value)
    with collect_warnings():
        one_class = metrics.pgr(WEAK, STUDENT, CEILING, np.ones_like(TRUTH), measure="auroc")
    assert np.isnan(one_class.value)


def test_a_difference_of_pgrs_by_auroc_is_paired():
    ours = (WEAK, STUDENT, CEILING)
    same = metrics.pgr_difference(ours, ours, TRUTH, measure="auroc")
    assert (same.low, same.value, same.high) == (0, 0, 0)
    more = metrics.pgr_difference(ours, (WEAK, WEAK, CEILING), TRUTH, measure="auroc")
    assert more.value == metrics.pgr(*ours, TRUTH, measure="auroc").value


def test_another_measure_is_refused():
    with pytest.raises(ValueError, match="measure = 'f1'; expected 'accuracy' or 'auroc'"):
        metrics.pgr(WEAK, STUDENT, CEILING, TRUTH, measure="f1")


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("grouped", [False, True])
def test_the_interval_of_auroc_is_that_of_the_bootstrap_with_sklearn(n_classes, grouped):
    from sklearn.metrics import roc_auc_score

    rng = np.random.default_rng(n_classes)
    truth = rng.integers(n_classes, size=90)
    some = rng.dirichlet(np.ones(n_classes), size=(2, 90)).round(2)  # with ties
    some[..., 0] = 1 - some[..., 1:].sum(axis=-1)
    some = some.clip(0, 1)
    group = np.arange(90) // 3 if grouped else None

    def area(label, *of_class):
        each = []
        for seed, labels in enumerate(label):
            if n_classes == 2:
                each.append(roc_auc_score(labels, of_class[1][seed]))
            else:
                each += [roc_auc_score(labels == k, of_class[k][seed]) for k in range(n_classes)]
        return float(np.mean(each))

    label = np.broadcast_to(truth, (2, 90))
    columns = [some[..., k] for k in range(n_classes)]
    slow = metrics.bootstrap(area, label, *columns, group=group, resamples=60)
    fast = metrics.auroc(some, truth, group=group, resamples=60)
    assert fast.draws == pytest.approx(slow.draws)
    assert fast.value == pytest.approx(slow.value)
