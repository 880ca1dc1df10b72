"""What a student takes over: known values, the theorem behind misfit, the bootstrap of means."""

import numpy as np
import pytest

from w2s_nb import metrics
from w2s_nb.metrics import imitation


def probs(p1):
    p1 = np.asarray(p1, dtype=float)
    return np.stack([1 - p1, p1], axis=-1)


def test_cross_entropy_towards_the_supervisors_answer():
    truth, weak, student = np.array([1, 1, 0]), probs([0.9, 0.2, 0.6]), probs([0.8, 0.7, 0.5])
    expected = -np.log([0.8, 0.3, 0.5])
    assert imitation.cross_entropy(student, weak).value == pytest.approx(expected.mean())
    assert imitation.cross_entropy(student, weak, truth, on="mistakes").value == pytest.approx(
        expected[1:].mean()
    )
    assert imitation.cross_entropy(student, weak, truth, on="correct").value == pytest.approx(
        expected[0]
    )


@pytest.mark.parametrize("tie_of", ["student", "weak"])
def test_a_tie_predicts_class_1_for_student_and_supervisor_alike(tie_of):
    """Agreement and its change count a tie of either model as a prediction of class 1."""
    tie, sure_of_1, sure_of_0 = probs([0.5, 0.5]), probs([0.9, 0.9]), probs([0.1, 0.1])

    def agreement(other):
        student, weak = (tie, other) if tie_of == "student" else (other, tie)
        value = imitation.agreement(student, weak).value
        opposite = probs(1 - student[:, 1])
        change = imitation.agreement_change(opposite, student, weak).value
        # turning a tie round leaves a tie
        assert change == (0 if tie_of == "student" else 2 * value - 1)
        return value

    assert (agreement(sure_of_1), agreement(sure_of_0)) == (1, 0)
    assert imitation.agreement(tie, tie).value == 1


def test_change_of_agreement_is_the_difference_and_its_interval_is_paired():
    rng = np.random.default_rng(0)
    truth, weak = rng.integers(2, size=400), rng.random(400)
    first = np.where(rng.random(400) < 0.9, weak, 1 - weak)
    last = np.where(rng.random(400) < 0.7, first, 1 - first)
    change = imitation.agreement_change(
        probs(first), probs(last), probs(weak), truth, on="mistakes"
    )
    each = [imitation.agreement(probs(p), probs(weak), truth, on="mistakes") for p in (first, last)]
    assert change.value == pytest.approx(each[1].value - each[0].value) and change.high < 0
    nothing = imitation.agreement_change(
        probs(last), probs(last), probs(weak), truth, on="mistakes"
    )
    assert (nothing.low, nothing.high) == (0, 0)


def test_the_gain_is_at_least_the_misfit_for_a_projection_onto_a_class_that_holds_the_truth():
    """Checks theorem 1 of Charikar et al. 2024 under squared loss, with linear students."""
    rng = np.random.default_rng(0)
    x = np.c_[np.ones(500), rng.normal(size=(500, 5)) * 0.02]
    truth = x @ np.array([0.5, 1, -1, 2, 0, 1])
    weak = truth + rng.normal(size=500) * 0.1 + 0.5 * x[:, 4]
    student = x @ np.linalg.lstsq(x, weak, rcond=None)[0]
    predicted = imitation.misfit(probs(student), probs(weak)).value
    seen = np.mean((weak - truth) ** 2) - np.mean((student - truth) ** 2)
    assert predicted > 0.005 and seen == pytest.approx(predicted), (
        "a linear class is convex both ways: equality"
    )
    assert imitation.misfit(probs(weak), probs(weak)).value == 0


def test_gain_is_the_drop_in_brier_score():
    truth, weak, student = np.array([1, 0]), probs([0.6, 0.6]), probs([0.9, 0.5])
    assert imitation.gain(student, weak, truth).value == pytest.approx(
        (0.16 + 0.36 - 0.01 - 0.25) / 2
    )


def test_similarity_of_known_cases():
    truth = np.array([1, 1, 0, 0])
    a, b = probs([0.9, 0.6, 0.4, 0.3]), probs([0.7, 0.2, 0.1, 0.8])
    observed = np.mean(
        [0.9 * 0.7 + 0.1 * 0.3, 0.6 * 0.2 + 0.4 * 0.8, 0.4 * 0.1 + 0.6 * 0.9, 0.3 * 0.8 + 0.7 * 0.2]
    )
    q_a, q_b = np.mean([0.9, 0.6, 0.6, 0.7]), np.mean([0.7, 0.2, 0.9, 0.2])
    chance = q_a * q_b + (1 - q_a) * (1 - q_b)
    assert imitation.similarity(a, b, truth).value == pytest.approx(
        (observed - chance) / (1 - chance)
    )
    wrong_once = probs([0.9, 0.1, 0.1, 0.1])
    assert imitation.similarity(wrong_once, wrong_once, truth, hard=True).value == pytest.approx(1)


def test_independent_models_have_similarity_0():
    rng = np.random.default_rng(0)
    truth = rng.integers(2, size=20000)
    models = [
        probs(np.where(rng.random(20000) < accuracy, truth, 1 - truth)) for accuracy in (0.7, 0.9)
    ]
    assert abs(imitation.similarity(*models, truth, hard=True).value) < 0.02
    assert imitation.agreement(*models).value > 0.6, (
        "by accuracy alone they agree on more than half"
    )


@pytest.mark.parametrize("grouped", [False, True])
def test_the_bootstrap_of_means_is_the_bootstrap(grouped):
    rng = np.random.default_rng(0)
    a, b = rng.random((3, 60)), rng.random((3, 60)) < 0.5
    group = np.arange(60) // 4 if grouped else None
    fast = metrics.of_means(lambda x, y: x / y, a, b, group=group, resamples=200)
    slow = metrics.bootstrap(
        lambda x, y: float(x.mean() / y.mean()), a, b, group=group, resamples=200
    )
    for end in ("value", "low", "high"):
        assert getattr(fast, end) == pytest.approx(getattr(slow, end))
    wider = metrics.of_means(lambda x, y: x / y, a, b, group=np.arange(60) // 20)
    assert wider.high - wider.low != pytest.approx(fast.high - fast.low)


def test_difference_is_paired():
    rng = np.random.default_rng(0)
    p, truth = rng.random((3, 500)), rng.integers(2, size=500)
    better = p.copy()
    better[:, :25] = truth[:25]
    e = metrics.difference(probs(better), probs(p), truth)
    each = metrics.accuracy(probs(p), truth)
    assert 0 < e.low < e.value < e.high and e.high - e.low < 0.5 * (each.high - each.low)


THREE = np.array([[[0.6, 0.3, 0.1], [0.2, 0.5, 0.3], [0.2, 0.2, 0.6], [0.1, 0.8, 0.1]]])
WEAK_THREE = np.array([[[0.5, 0.1, 0.4], [0.7, 0.2, 0.1], [0.1, 0.3, 0.6], [0.4, 0.3, 0.3]]])
TRUTH_THREE = np.array([0, 1, 2, 1])


def test_imitation_of_three_classes_has_known_values():
    on_weak_answer = [0.6, 0.2, 0.6, 0.1]
    assert imitation.agreement(THREE, WEAK_THREE).value == 0.5
    assert imitation.cross_entropy(THREE, WEAK_THREE).value == pytest.approx(
        -np.log(on_weak_answer).mean()
    )
    assert imitation.cross_entropy(
        THREE, WEAK_THREE, TRUTH_THREE, on="mistakes"
    ).value == pytest.approx(-np.log([0.2, 0.1]).mean())
    difference = THREE - WEAK_THREE
    assert imitation.misfit(THREE, WEAK_THREE).value == pytest.approx(
        (difference**2).sum(-1).mean() / 2
    )


def test_gain_in_three_classes_is_half_the_drop_in_sklearns_brier_score():
    from sklearn.metrics import brier_score_loss

    def half_brier(probs):
        return brier_score_loss(TRUTH_THREE, probs[0], scale_by_half=True, labels=[0, 1, 2])

    assert imitation.gain(THREE, WEAK_THREE, TRUTH_THREE).value == pytest.approx(
        half_brier(WEAK_THREE) - half_brier(THREE)
    )


def test_similarity_in_three_classes_takes_wrong_answers_to_fall_on_all_others_alike():
    observed = (THREE * WEAK_THREE).sum(-1).mean()
    q, q_weak = np.mean([0.6, 0.5, 0.6, 0.8]), np.mean([0.5, 0.2, 0.6, 0.3])
    chance = q * q_weak + (1 - q) * (1 - q_weak) / 2
    assert imitation.similarity(THREE, WEAK_THREE, TRUTH_THREE).value == pytest.approx(
        (observed - chance) / (1 - chance)
    )
    rng = np.random.default_rng(1)
    truth = rng.integers(4, size=4000)
    wrong = (truth + rng.integers(1, 4, size=(2, 4000))) % 4
    independent = np.eye(4)[np.where(rng.random((2, 4000)) < [[0.5], [0.7]], truth, wrong)]
    similarity = imitation.similarity(*independent, truth, hard=True)
    assert abs(similarity.value) < 0.05 and similarity.low < 0 < similarity.high
    assert imitation.similarity(
        independent[0], independent[0], truth, hard=True
    ).value == pytest.approx(1)
