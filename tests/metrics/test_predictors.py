"""Predictors of a student's gain, on made data where their values are known."""

import numpy as np
import pytest

from w2s_nb.metrics import imitation, predictors

RNG = np.random.default_rng(0)
N = 200
# orthogonal and centred columns: projections are exact
BASIS = np.linalg.qr(np.column_stack([np.ones(N), RNG.normal(size=(N, 6))]))[0][:, 1:] * np.sqrt(N)


def labels_of(p):
    return np.column_stack([1 - p, p])


def test_cka_is_1_for_a_rotation_shift_and_scale_and_0_for_nothing_in_common():
    x = BASIS[:, :3] * [1, 2, 3]
    rotated = 4 * x @ np.linalg.qr(RNG.normal(size=(3, 3)))[0] + 7
    assert predictors.cka(x, rotated) == pytest.approx(1)
    assert predictors.cka(BASIS[:, :3], BASIS[:, 3:]) == pytest.approx(0, abs=1e-12)


def test_cka_of_two_directions_of_which_one_is_shared():
    weak, strong = BASIS[:, [0]], BASIS[:, [0, 1]]
    assert predictors.cka(weak, strong) == pytest.approx(1 / np.sqrt(2))


@pytest.mark.parametrize("strong, expected", [([0], 0), ([1], 0.04), ([0, 1], 0.04), ([2], 0)])
def test_unreached_is_the_squared_part_of_labels_that_strong_features_alone_express(
    strong, expected
):
    signs = np.sign(BASIS[:, 0]), np.sign(BASIS[:, 1])
    basis = np.linalg.qr(np.column_stack([np.ones(N), *signs, BASIS[:, 2]]))[0][:, 1:] * np.sqrt(N)
    labels = labels_of(0.5 + 0.1 * basis[:, 0] + 0.2 * basis[:, 1])
    value = predictors.unreached(basis[:, [0]], basis[:, strong], labels, ridge=1e-9)
    assert value == pytest.approx(expected, abs=1e-6)


def test_the_ridge_shrinks_a_projection_as_its_formula_says():
    x = np.linalg.qr(np.column_stack([np.ones(N), np.sign(BASIS[:, :2])]))[0][:, 1:] * np.sqrt(N)
    labels = labels_of(0.5 + 0.2 * x[:, 1])
    # the kernel has the eigenvalue 1 once, and so the mean 1 / n
    shrunk = 1 / (1 + 0.5 / N)
    assert predictors.unreached(x[:, [0]], x[:, [1]], labels, ridge=0.5) == pytest.approx(
        (0.2 * shrunk) ** 2
    )


def test_projections_are_the_same_with_more_features_than_texts():
    few = RNG.normal(size=(30, 5))
    wide = np.column_stack([few, np.zeros((30, 40))])
    labels = labels_of(RNG.uniform(size=30))
    assert predictors.unreached(few, few**2, labels) == pytest.approx(
        predictors.unreached(wide, np.column_stack([few**2, np.zeros((30, 40))]), labels)
    )


def test_no_predictor_of_labels_depends_on_which_class_is_which():
    weak, strong = RNG.normal(size=(N, 4)), RNG.normal(size=(N, 8))
    labels = labels_of(RNG.uniform(size=N))
    for function in (predictors.unreached, predictors.rads_mean):
        assert function(weak, strong, labels) == pytest.approx(
            function(weak, strong, labels[:, ::-1])
        )
    assert predictors.overlap_density(labels, strong) == predictors.overlap_density(
        labels[:, ::-1], strong
    )


def test_two_classes_of_three_are_counted_as_two():
    weak, strong = RNG.normal(size=(N, 4)), RNG.normal(size=(N, 8))
    labels = labels_of(RNG.uniform(size=N))
    three = np.column_stack([labels, np.zeros(N)])
    assert predictors.unreached(weak, strong, three) == pytest.approx(
        predictors.unreached(weak, strong, labels)
    )


def test_rads_finds_the_texts_whose_labels_only_strong_features_express():
    weak = RNG.normal(size=(N, 3))
    only_strong = np.zeros(N)
    only_strong[:40] = RNG.choice([-1, 1], 40)
    strong = np.column_stack([weak, only_strong])
    p = 0.5 + 0.05 * weak[:, 0].clip(-2, 2) + 0.3 * only_strong
    scores = predictors.rads(weak, strong, labels_of(p))
    assert scores.shape == (N,) and scores[:40].min() > 5 * np.median(scores[40:])
    again = predictors.rads(weak, strong, labels_of(p), seed=0)
    assert np.array_equal(scores, again)


def test_labels_that_weak_features_express_leave_nothing():
    weak = RNG.normal(size=(N, 3))
    labels = labels_of(0.5 + 0.1 * weak[:, 0].clip(-4, 4))
    strong = np.column_stack([weak, RNG.normal(size=(N, 3))])
    assert predictors.rads_mean(weak, strong, labels, ridge=1e-6) < 1e-3


def test_a_change_point_splits_with_the_least_squares():
    values = np.sort(RNG.uniform(size=40))
    costs = [values[:k].var() * k + values[k:].var() * (40 - k) for k in range(2, 39)]
    assert predictors.change_point(values) == 2 + int(np.argmin(costs))


def test_overlap_finds_easy_texts_that_look_like_hard_ones():
    easy_only, hard_only = np.eye(4)[[0, 0, 1, 1]], np.eye(4)[[2, 2, 3, 3]]
    both = np.array([[1, 0, 3, 0], [0, 1, 0, 3.0]])
    states = np.concatenate([easy_only, both, hard_only])
    p = np.array([0.95, 0.05, 0.94, 0.06, 0.93, 0.07, 0.55, 0.45, 0.52, 0.48])
    scores = predictors.overlap(labels_of(p), states)
    assert scores[6:].tolist() == [0, 0, 0, 0] and scores[:4].tolist() == [1, 1, 1, 1]
    assert scores[4:6] == pytest.approx(1 + 3 / np.sqrt(10))
    assert predictors.overlap_density(labels_of(p), states) == 0.2


@pytest.mark.parametrize("n_hard", [1, 5])
def test_texts_of_the_same_confidence_are_hard_together_in_any_order(n_hard):
    p = np.array([0.6] * n_hard + [0.9] * (30 - n_hard))
    states = RNG.normal(size=(30, 5))
    order = RNG.permutation(30)
    scores = predictors.overlap(labels_of(p), states)
    assert (scores == 0).tolist() == (p == 0.6).tolist()
    assert predictors.overlap(labels_of(p[order]), states[order]) == pytest.approx(scores[order])


def test_pairs_of_texts_are_the_difference_of_their_features():
    first, second = RNG.normal(size=(2, N, 4))
    pairs = np.stack([first, second], axis=1)
    labels = labels_of(RNG.uniform(size=N))
    assert predictors.cka(pairs, BASIS) == pytest.approx(predictors.cka(second - first, BASIS))
    assert predictors.rads(BASIS, pairs, labels) == pytest.approx(
        predictors.rads(BASIS, second - first, labels)
    )


def test_confidence_and_capa_need_no_truth():
    student = labels_of(np.array([0.9, 0.2, 0.6]))
    assert predictors.confidence(student) == pytest.approx((0.9 + 0.8 + 0.6) / 3)
    weak = labels_of(np.array([0.7, 0.4, 0.8]))
    as_if_true = np.array([1, 0, 1])
    assert predictors.capa(student, weak) == pytest.approx(
        imitation.similarity(student, weak, as_if_true).value
    ), "both predict these classes: their confidence is then their accuracy by them"
    certain = labels_of(np.array([1.0, 0.0]))
    assert np.isnan(predictors.capa(certain, certain))


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: predictors.cka(np.zeros((5, 2)), np.ones((4, 2))), r"expected \(5, d\)"),
        (lambda: predictors.cka(np.ones((5, 2)), np.ones((5, 2))), "all texts are the same"),
        (lambda: predictors.cka(np.full((5, 2), np.nan), np.ones((5, 2))), "not finite"),
        (lambda: predictors.overlap(labels_of(np.ones(3)), np.ones((3, 2))), "at least 4"),
        (
            lambda: predictors.overlap(labels_of(np.tile([0.0, 1.0], 9)), RNG.normal(size=(18, 2))),
            "labels of all 18 texts have the confidence 1; expected soft labels",
        ),
        (
            lambda: predictors.unreached(BASIS, BASIS, labels_of(np.ones(3))),
            r"labels of shape \(3, 2\)",
        ),
        (
            lambda: predictors.unreached(BASIS, BASIS, labels_of(np.ones(N)), ridge=0),
            "ridge = 0; expected a number above 0",
        ),
        (
            lambda: predictors.rads(BASIS[:3], BASIS[:3], labels_of(np.ones(3))),
            "folds = 5 of 3 texts",
        ),
    ],
)
def test_what_cannot_be_computed_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
