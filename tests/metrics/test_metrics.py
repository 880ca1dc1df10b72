"""Known values, agreement with scikit-learn, and intervals that cover."""

import dataclasses
import warnings

import numpy as np
import pytest
from sklearn.calibration import calibration_curve
from sklearn.metrics import accuracy_score, roc_auc_score

from w2s_nb import metrics
from w2s_nb.common.progress import collect_warnings
from w2s_nb.metrics import imitation


def probs(p1):
    p1 = np.asarray(p1, dtype=float)
    return np.stack([1 - p1, p1], axis=-1)


def answers(accuracy, n=1000):
    """Predictions with exactly this accuracy against all-ones labels."""
    return probs(np.arange(n) < round(accuracy * n))


ONES = np.ones(1000, dtype=int)
ANSWERS = answers(0.8)


def test_accuracy_and_its_interval():
    estimate = metrics.accuracy(answers(0.8), ONES)
    assert estimate.value == 0.8 and (estimate.n, estimate.seeds) == (1000, 1)
    half = 1.96 * np.sqrt(0.8 * 0.2 / 1000)
    assert (estimate.low, estimate.high) == pytest.approx((0.8 - half, 0.8 + half), abs=0.005)
    assert f"{estimate:.2f}".startswith("0.80 [")


def test_intervals_cover_the_truth():
    rng, covered = np.random.default_rng(0), 0
    for _ in range(100):
        e = metrics.accuracy(probs(rng.random(200) < 0.7), np.ones(200), resamples=300)
        covered += e.low <= 0.7 <= e.high
    assert 88 <= covered <= 100


def test_seeds_widen_the_interval():
    rng = np.random.default_rng(0)
    alike = np.stack([answers(0.8)] * 5)
    apart = np.stack(
        [probs(rng.permutation(np.arange(1000) < 1000 * a)) for a in (0.7, 0.75, 0.8, 0.85, 0.9)]
    )
    narrow, wide = metrics.accuracy(alike, ONES), metrics.accuracy(apart, ONES)
    assert narrow.value == pytest.approx(wide.value) and wide.high - wide.low > 1.5 * (
        narrow.high - narrow.low
    )


def test_examples_of_a_group_are_drawn_together():
    right = np.repeat(
        np.random.default_rng(0).random(100) < 0.7, 10
    )  # a hundred reviews, ten alike snippets each
    alone, together = (
        metrics.accuracy(probs(right), np.ones(1000), group=g)
        for g in (None, np.arange(1000) // 10)
    )
    assert together.value == alone.value
    assert (together.high - together.low) / (alone.high - alone.low) == pytest.approx(
        10**0.5, rel=0.15
    )
    singles = metrics.accuracy(probs(right), np.ones(1000), group=np.arange(1000))
    assert (singles.low, singles.high) == (alone.low, alone.high)


@pytest.mark.parametrize("decimals", [0, 1, 8])  # many, some, no ties
def test_auroc_is_sklearns(decimals):
    rng = np.random.default_rng(decimals)
    label, score = rng.integers(2, size=300), rng.random(300).round(decimals)
    assert metrics.auroc(probs(score), label, resamples=0).value == pytest.approx(
        roc_auc_score(label, score)
    )


def test_auroc_of_one_class_is_not_defined():
    assert np.isnan(metrics.auroc(probs([0.2, 0.7]), np.array([1, 1]), resamples=0).value)


def test_calibration_error_of_known_cases():
    label = np.array([1] * 6 + [0] * 4)
    assert metrics.calibration_error(probs([0.6] * 10), label, resamples=0).value == pytest.approx(
        0.0
    )
    assert metrics.calibration_error(probs([1.0] * 10), label, resamples=0).value == pytest.approx(
        0.4
    )
    assert metrics.calibration_error(probs([0.2] * 10), label, resamples=0).value == pytest.approx(
        0.4
    )


def test_pgr_of_known_cases():
    for weak, student, ceiling, expected in (
        (0.6, 0.7, 0.8, 0.5),
        (0.6, 0.85, 0.8, 1.25),
        (0.6, 0.55, 0.8, -0.25),
    ):
        e = metrics.pgr(answers(weak), answers(student), answers(ceiling), ONES)
        assert e.value == pytest.approx(expected) and e.low < e.value < e.high


@pytest.mark.parametrize("ceiling", [0.60, 0.55, 0.601])
def test_pgr_is_refused_where_the_gap_is_noise(ceiling):
    rng = np.random.default_rng(0)
    noisy = probs(rng.permutation(np.arange(1000) < 1000 * ceiling))
    with pytest.warns(UserWarning, match="PGR is not defined"):
        e = metrics.pgr(answers(0.6), answers(0.7), noisy, ONES)
    assert np.isnan(e.value) and str(e) == "not defined"


def test_pgr_interval_is_unbounded_where_the_gap_could_vanish():
    rng = np.random.default_rng(1)
    noisy = probs(rng.permutation(np.arange(1000) < 630))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        e = metrics.pgr(answers(0.6), answers(0.62), noisy, ONES)
    assert np.isinf(e.low) or np.isinf(e.high)


def test_agreement_by_who_is_right():
    truth = np.array([1, 1, 1, 1, 0, 0])
    weak, student = probs([1, 1, 0, 0, 0, 1]), probs([1, 0, 0, 1, 0, 0])
    assert imitation.agreement(student, weak).value == pytest.approx(3 / 6)
    assert imitation.agreement(student, weak, truth, on="mistakes").value == pytest.approx(1 / 3)
    assert imitation.agreement(student, weak, truth, on="correct").value == pytest.approx(2 / 3)


def test_order_of_examples_plays_no_part():
    rng = np.random.default_rng(0)
    p, label, order = rng.random(300), rng.integers(2, size=300), rng.permutation(300)
    for metric in (metrics.accuracy, metrics.auroc, metrics.calibration_error):
        assert metric(probs(p), label, resamples=0).value == pytest.approx(
            metric(probs(p[order]), label[order], resamples=0).value
        )


@pytest.mark.parametrize(
    "call, says",
    [
        (lambda: metrics.accuracy(np.ones((3, 1)), np.zeros(3)), r"expected \(n, classes\)"),
        (lambda: metrics.accuracy(np.zeros((3, 3)), np.zeros(3)), "3 of 3 predictions are no prob"),
        (lambda: metrics.accuracy(np.eye(3), [0, 1, 3]), "a label is 3; .* from 0 to 2, as there"),
        (lambda: metrics.difference(np.eye(3), probs([1.0] * 3), [0, 1, 1]), r"\(1, 3, 2\) "),
        (lambda: metrics.preference_bias.prefers_longer(np.eye(3), [1, 1, 1]), "of 3 classes; exp"),
        (lambda: metrics.accuracy(probs([1.0] * 3), np.zeros(4)), "4 labels for 3"),
        (lambda: imitation.agreement(probs([1.0]), probs([1.0]), on="mistakes"), "expected 'all'"),
        (
            lambda: metrics.pgr(answers(0.5), answers(0.5)[None].repeat(2, 0), answers(0.6), ONES),
            "the same of each",
        ),
        (lambda: metrics.accuracy(np.zeros((0, 2)), np.zeros(0)), "not"),
        (
            lambda: metrics.accuracy(probs([0.9, np.nan, np.nan]), np.ones(3)),
            r"2 of 3 predictions .* sum to 1, the first \[nan, nan\]",
        ),
        (lambda: metrics.auroc(np.array([[-1.5, 2.0], [0.4, 0.6]]), np.ones(2)), "1 of 2 pred"),
        (lambda: metrics.calibration_error(np.full((1, 3, 2), 0.9), np.ones(3)), "3 of 3 pred"),
        (lambda: imitation.misfit(probs([1.0]), np.array([[3.0, -2.0]])), "1 of 1 pred"),
        (lambda: metrics.accuracy(probs([1.0] * 3), np.array([0, 1, 2])), "a label is 2; expec"),
        (lambda: metrics.accuracy(probs([1.0] * 2), np.array([0.5, 1])), "a label is 0.5; expec"),
        (lambda: metrics.accuracy(probs([1.0] * 2), np.array(["0", "1"])), "a label is '0'"),
        (lambda: metrics.accuracy(probs([1.0] * 2), [np.nan, 1]), "a label is nan; expec"),
        (lambda: metrics.accuracy(probs([1.0] * 2), 1), r"labels of shape \(\) for 2 predictions"),
        (lambda: metrics.accuracy(probs([1.0] * 2), np.ones((2, 2))), "expected one per example"),
        (lambda: metrics.accuracy(ANSWERS, ONES, resamples=10**7), "0 to 100000 for 1000"),
        (lambda: metrics.accuracy(ANSWERS, ONES, resamples=1.5), "resamples = 1.5; expected"),
        (lambda: metrics.auroc(ANSWERS, ONES, resamples=-1), "resamples = -1; expected"),
        (lambda: metrics.accuracy(ANSWERS, ONES, group="group"), r"groups of shape \(\)"),
        (lambda: metrics.accuracy(ANSWERS, ONES, group=ONES * np.nan), "1000 of 1000 groups are"),
        (lambda: metrics.difference(ANSWERS, ANSWERS[:3], ONES), r"\(1, 1000, 2\) and \(1, 3, 2\)"),
        (lambda: metrics.difference(ANSWERS, ANSWERS[None].repeat(2, 0), ONES), "the same of each"),
        (lambda: imitation.misfit(ANSWERS, ANSWERS[:3]), "the same of each"),
        (lambda: imitation.similarity(ANSWERS, ANSWERS[:3], ONES), "the same of each"),
        (lambda: metrics.pgr(ANSWERS, ANSWERS, ANSWERS, ONES, chance=np.nan), "chance = nan"),
        (lambda: metrics.calibration_error(ANSWERS, ONES, bins=0), "bins = 0; expected"),
        (
            lambda: metrics.share(np.ones((1, 3)), np.ones((1, 4))),
            r"examples of shape \(1, 4",
        ),
        (lambda: metrics.of_means(np.asarray, [1, 2]), r"arrays of shape \(2,\)"),
        (lambda: metrics.preference_bias.prefers_longer(ANSWERS, ["a"] * 1000), "Split.longer"),
        (lambda: metrics.preference_bias.order_bias(ANSWERS, ANSWERS[:3]), "the same of each"),
    ],
)
def test_wrong_input_is_named(call, says):
    with pytest.raises(ValueError, match=says):
        call()


@pytest.mark.parametrize("wrong", ["abc", [["a", "b"]], {"p": 1}])
def test_predictions_are_numbers(wrong):
    with pytest.raises(TypeError, match=r"probabilities are .*; expected an array \(n, classes\)"):
        metrics.accuracy(wrong, ONES)


def right_of(accuracies, n=400, seed=0):
    """Returns predictions (n, 2) per accuracy, where class 1 is true; errors are independent."""
    rng = np.random.default_rng(seed)
    return [probs(rng.permutation(np.arange(n) < round(n * a))) for a in accuracies]


@pytest.mark.parametrize(
    "weak, student, ceiling, note",
    [
        (0.44, 0.62, 0.66, "supervisor not above chance"),  # utilitarianism
        (0.473, 0.53, 0.56, "supervisor not above chance"),  # Social IQa
        (0.40, 0.45, 0.52, "supervisor and ceiling not above chance"),
        (0.60, 0.65, 0.70, ""),
    ],
)
def test_pgr_is_marked_where_there_is_nothing_to_recover_from(weak, student, ceiling, note):
    arms = right_of((weak, student, ceiling))
    ones = np.ones(400)
    with collect_warnings() as warnings_given:
        marked = metrics.pgr(*arms, ones)
        unmarked = metrics.pgr(*arms, ones, chance=0)
    assert marked.note == note and unmarked.note == ""
    assert marked.value == pytest.approx((student - weak) / (ceiling - weak), abs=0.01)
    assert marked == dataclasses.replace(unmarked, note=note), "value and interval stay"
    assert str(marked) == str(unmarked) + (f" ({note})" if note else "")
    assert marked.as_dict("pgr").get("pgr_note", "") == note
    assert len(warnings_given) == bool(note)
    if note:
        accuracy = f"{metrics.accuracy(arms[0], ones)}"
        assert warnings_given[0].startswith(f"PGR is marked: {note}")
        assert f"supervisor {accuracy}" in warnings_given[0] and "\n" not in warnings_given[0]
        assert "; to change it: more training examples, more epochs" in warnings_given[0]


def test_an_arm_at_chance_is_told_of_where_pgr_is_not_defined_too():
    with collect_warnings() as warnings_given:
        metrics.pgr(*right_of((0.52, 0.55, 0.53)), np.ones(400))
        metrics.pgr(*right_of((0.7, 0.65, 0.69)), np.ones(400))
    at_chance, above = warnings_given
    assert "PGR is not defined" in at_chance and "PGR is not defined" in above
    assert "supervisor and ceiling not above chance, 0.5: supervisor 0.520 [" in at_chance
    assert "to change it: more training examples" in at_chance and "to change" not in above


def test_answers_that_are_generated_are_above_chance_where_any_is_right():
    arms = right_of((0.05, 0.1, 0.3))
    assert metrics.pgr(*arms, np.ones(400), chance=0).note == ""
    none_right = right_of((0, 0.1, 0.3))
    with collect_warnings():
        assert "supervisor" in metrics.pgr(*none_right, np.ones(400), chance=0).note


def test_a_difference_of_pgrs_is_marked_where_either_is():
    ones = np.ones(400)
    at_chance, above = right_of((0.45, 0.6, 0.7)), right_of((0.6, 0.65, 0.75))
    with collect_warnings():
        assert metrics.pgr_difference(above, at_chance, ones).note == "supervisor not above chance"
        assert metrics.pgr_difference(at_chance, above, ones).note == "supervisor not above chance"
        assert metrics.pgr_difference(above, above, ones).note == ""


def three_classes(accuracies, n=240, seed=0):
    """Returns predictions (2, n, 3) per accuracy, of two seeds, and the true classes (n,)."""
    rng = np.random.default_rng(seed)
    truth = rng.permutation(np.arange(n) % 3)
    models = []
    for right in accuracies:
        sure = np.eye(3)[np.where(rng.random((2, n)) < right, truth, rng.integers(3, size=(2, n)))]
        models.append(0.5 * sure + 0.5 * rng.dirichlet(np.ones(3), size=(2, n)))
    return *models, truth


def test_accuracy_and_auroc_of_three_classes_are_sklearns():
    some, truth = three_classes([0.5])
    assert metrics.accuracy(some, truth).value == pytest.approx(
        np.mean([accuracy_score(truth, seed.argmax(1)) for seed in some])
    )
    assert metrics.auroc(some, truth, resamples=0).value == pytest.approx(
        np.mean([roc_auc_score(truth, seed, multi_class="ovr") for seed in some])
    )
    without_class_2 = np.where(truth == 2, 1, truth)
    assert np.isnan(metrics.auroc(some, without_class_2, resamples=0).value)


@pytest.mark.parametrize("bins", [1, 4, 10])
def test_calibration_of_the_likeliest_of_three_classes_is_that_of_equal_bins(bins):
    some = three_classes([0.7])[0][0]
    truth = three_classes([0.7])[1]
    confidence, right = some.max(1), some.argmax(1) == truth
    on_unit_range = (confidence - 1 / 3) * 1.5  # scikit-learn's bins lie on [0, 1]
    of_bin, mean = calibration_curve(right, on_unit_range, n_bins=bins)
    size = np.histogram(on_unit_range, bins, (0, 1))[0]
    expected = np.abs(of_bin - (mean / 1.5 + 1 / 3)) @ size[size > 0] / len(truth)
    estimate = metrics.calibration_error(some, truth, bins=bins, resamples=0)
    assert estimate.value == pytest.approx(expected)
    even = np.full((2, 3), 1 / 3)
    assert metrics.calibration_error(even, [2, 0], bins=1000, resamples=0).value == pytest.approx(
        1 / 6
    )


def test_pgr_of_three_classes_is_the_share_of_the_gap_and_knows_their_chance():
    n = 3000
    truth = np.arange(n) % 3

    def model(accuracy):
        right = np.arange(n) % 1000 < round(1000 * accuracy)
        return np.eye(3)[np.where(right, truth, (truth + 1 + np.arange(n) % 2) % 3)]

    recovered = metrics.pgr(model(0.4), model(0.5), model(0.8), truth)
    assert recovered.value == pytest.approx(0.25) and recovered.note == ""
    with collect_warnings() as warnings_given:
        assert metrics.pgr(model(0.4), model(0.5), model(0.8), truth, chance=0.5).note
        at_chance = metrics.pgr(model(0.33), model(0.5), model(0.8), truth)
    assert at_chance.note == "supervisor not above chance"
    assert "not above chance, 0.333:" in warnings_given[1]


def test_intervals_of_three_classes_cover_what_was_simulated():
    """Draws predictions whose accuracies are known, and counts intervals that hold the PGR."""
    rng, covered = np.random.default_rng(0), 0
    for _ in range(60):
        truth = rng.integers(3, size=400)
        arms = []
        for accuracy in (0.5, 0.6, 0.9):
            wrong = (truth + rng.integers(1, 3, size=400)) % 3
            arms.append(np.eye(3)[np.where(rng.random(400) < accuracy, truth, wrong)])
        recovered = metrics.pgr(*arms, truth)
        covered += recovered.low <= 0.25 <= recovered.high
    assert 52 <= covered <= 60


def test_permuting_the_classes_changes_no_metric():
    weak, student, ceiling, truth = three_classes([0.3, 0.5, 0.8], n=120)
    order = np.array([2, 0, 1])  # of the new classes, which old one each is

    def every_metric(weak, student, ceiling, truth):
        yield metrics.accuracy(student, truth)
        yield metrics.auroc(student, truth, resamples=50)
        yield metrics.calibration_error(student, truth, resamples=50)
        yield metrics.pgr(weak, student, ceiling, truth)
        yield imitation.agreement(student, weak, truth, on="mistakes")
        yield imitation.cross_entropy(student, weak)
        yield imitation.misfit(student, weak)
        yield imitation.gain(student, weak, truth)
        yield imitation.similarity(student, weak, truth)
        yield imitation.similarity(student, weak, truth, hard=True)

    permuted = [probs[..., order] for probs in (weak, student, ceiling)]
    as_before = every_metric(weak, student, ceiling, truth)
    for before, after in zip(
        as_before, every_metric(*permuted, order.argsort()[truth]), strict=True
    ):
        before, after = (dataclasses.replace(e, draws=None) for e in (before, after))
        assert dataclasses.astuple(after) == pytest.approx(dataclasses.astuple(before))


def test_two_classes_keep_the_numbers_that_they_had_before_there_were_more():
    rng = np.random.default_rng(0)
    truth = rng.integers(2, size=200)
    truth[:2] = 0, 1

    def model(right):
        p1 = np.where(rng.random((3, 200)) < right, truth, 1 - truth) * 0.6
        return probs((p1 + 0.4 * rng.random((3, 200))).round(2))

    weak, student, ceiling = model(0.6), model(0.7), model(0.85)
    known = {
        metrics.accuracy(student, truth): (0.715, 0.6483333333333333, 0.785),
        metrics.auroc(student, truth, resamples=200): (
            0.6976094276094277,
            0.5977272727272728,
            0.7837865259740259,
        ),
        metrics.calibration_error(student, truth, bins=7, resamples=200): (
            0.13095000000000004,
            0.09221666666666668,
            0.2057,
        ),
        metrics.pgr(weak, student, ceiling, truth): (
            0.43712574850299374,
            0.19999999999999993,
            0.6762589928057552,
        ),
        imitation.cross_entropy(student, weak, truth, on="mistakes"): (
            1.4634156635425422,
            1.1589251914372494,
            1.891352738874302,
        ),
        imitation.misfit(student, weak): (0.194988, 0.17319316666666668, 0.21962266666666663),
        imitation.gain(student, weak, truth): (
            0.06360299999999999,
            0.015237166666666664,
            0.11617466666666668,
        ),
        imitation.similarity(student, weak, truth): (
            -0.0069579470467161795,
            -0.05167331209556167,
            0.036889802040469474,
        ),
        imitation.similarity(student, weak, truth, hard=True): (
            -0.025659611481588938,
            -0.1393188854489165,
            0.08975444538526649,
        ),
    }
    for estimate, values in known.items():
        ends = (estimate.value, estimate.low, estimate.high)
        assert ends == pytest.approx(values, rel=1e-12)
