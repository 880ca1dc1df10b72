"""Tests of finding classes without labels, on made states whose classes are known."""

import itertools

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import DotProduct, WhiteKernel
from sklearn.preprocessing import StandardScaler

from w2s_nb.training import unsupervised
from w2s_nb.training.unsupervised import METHODS, Coherence, Scaling, orient, search_labels


def made(n=200, d=12, size=2.0, seed=0):
    """Returns states (n, d) of two classes that differ along all features, and the classes."""
    rng = np.random.default_rng(seed)
    classes = rng.permutation(np.arange(n) % 2)
    shift = size * np.where(np.arange(d) % 2, 1, -1) / 2
    return rng.normal(size=(n, d)) + np.outer(2 * classes - 1, shift), classes


def made_contrasts(n=200, d=12, seed=0):
    """Returns states (n, 2, d) in which the answer, a topic and the answer's truth show, and the
    classes.
    """
    rng = np.random.default_rng(seed)
    classes = rng.permutation(np.arange(n) % 2)
    answer, topic, truth = 5 * np.eye(d)[:3]
    topics = rng.choice([-1, 1], size=n)
    states = rng.normal(size=(n, 2, d))
    for k in (0, 1):
        right = np.where(classes == k, 1, -1)
        states[:, k] += (2 * k - 1) * answer + np.outer(topics, topic) + np.outer(right, truth) / 2
    return states, classes


def accuracy(probs, classes):
    """Returns the accuracy of P(class 1) in the better of its two senses."""
    share = np.mean((probs > 0.5) == classes)
    return max(share, 1 - share)


@pytest.mark.parametrize("name", METHODS)
def test_planted_classes_are_found_and_hold_for_new_examples(name):
    make = made_contrasts if METHODS[name].contrast else made
    (learnt, classes), (new, classes_of_new) = make(seed=1), make(seed=2)
    predict = METHODS[name].learn(learnt, 0)
    assert accuracy(predict(learnt), classes) > 0.95
    assert accuracy(predict(new), classes_of_new) > 0.95
    assert ((predict(new) >= 0) & (predict(new) <= 1)).all()


@pytest.mark.parametrize("name", METHODS)
def test_units_and_origin_of_features_play_no_part(name):
    states, _ = (made_contrasts if METHODS[name].contrast else made)(n=60)
    units = np.geomspace(0.01, 100, states.shape[-1])
    moved = states * units + 3 * units
    before, after = (METHODS[name].learn(each, 0)(each) for each in (states, moved))
    np.testing.assert_allclose(after, before, atol=2e-3)


@pytest.mark.parametrize("name", METHODS)
def test_the_same_seed_gives_the_same_classes(name):
    states, _ = (made_contrasts if METHODS[name].contrast else made)(n=60)
    first, again = (METHODS[name].learn(states, 3)(states) for _ in range(2))
    np.testing.assert_array_equal(first, again)


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("n, d", [(4, 6), (9, 2), (5, 1)])
def test_few_examples_few_features_and_a_constant_one_give_probabilities(name, n, d):
    states, _ = (made_contrasts if METHODS[name].contrast else made)(n=n, d=max(d, 3))
    states = states[..., :d].copy()
    states[..., 0] = 7.0
    probs = METHODS[name].learn(states, 0)(states)
    assert probs.shape == (n,) and np.isfinite(probs).all()


@pytest.mark.parametrize("name", ["first_component", "mutual_predictability"])
def test_the_other_order_of_a_pair_is_the_other_class(name):
    texts, classes = made(n=120)
    other, _ = made(n=120, seed=5)
    pairs = np.stack([texts, texts + (other - texts) * 2], axis=1)
    predict = METHODS[name].learn(pairs, 0)
    np.testing.assert_allclose(predict(pairs[:, ::-1]), 1 - predict(pairs), atol=1e-9)


def test_the_first_component_is_that_of_scikit_learn():
    states, _ = made(n=50, d=80)
    standard = StandardScaler().fit_transform(states)
    expected = PCA(n_components=1).fit_transform(standard)[:, 0]
    probs = unsupervised.first_component(states)(states)
    scores = np.log(probs / (1 - probs))
    assert abs(np.corrcoef(scores, expected)[0, 1]) == pytest.approx(1, abs=1e-9)
    assert np.mean(scores**2) == pytest.approx(1)


@pytest.mark.parametrize("name", ["contrast_component", "contrast_consistent"])
def test_what_every_answer_adds_is_not_taken_for_the_class(name):
    states, _ = made_contrasts(n=80)
    before = METHODS[name].learn(states, 0)(states)
    states[:, 1] += 100 * np.ones(12)
    np.testing.assert_allclose(METHODS[name].learn(states, 0)(states), before, atol=2e-3)


def test_the_search_for_consistency_ends_near_no_loss():
    states, _ = made_contrasts()
    zero, one = (torch.from_numpy(Scaling.of(x)(x)).float() for x in np.moveaxis(states, 1, 0))
    weights, bias = unsupervised._search_consistent(zero, one, 0)
    p = [1 / (1 + np.exp(-(x.numpy() @ weights.numpy() + bias.item()))) for x in (zero, one)]
    loss = np.mean((p[0] + p[1] - 1) ** 2 + np.minimum(*p) ** 2)
    assert loss < 0.1, "of an answer that says .5 always it is .25"


def test_coherence_is_the_likelihood_of_each_label_given_all_others():
    x, classes = made(n=14, d=6)
    rng = np.random.default_rng(0)
    coherence = Coherence(x)

    def by_hand(labels):
        total = 0.0
        for i in range(len(x)):
            others = np.arange(len(x)) != i
            kernel = DotProduct(0, "fixed") + WhiteKernel(1, "fixed")
            model = GaussianProcessRegressor(kernel, alpha=0, optimizer=None)
            model.fit(x[others] / np.sqrt(6), labels[others])
            mean, sd = model.predict(x[[i]] / np.sqrt(6), return_std=True)
            # scikit-learn counts the noise of a new example among its variance
            total += -0.5 * (labels[i] - mean[0]) ** 2 / sd[0] ** 2 - np.log(sd[0])
        return total

    first, second = 2.0 * classes - 1, rng.choice([-1.0, 1.0], size=14)
    expected = by_hand(first) - by_hand(second)
    assert coherence(first) - coherence(second) == pytest.approx(expected, rel=1e-6)


def test_the_weights_are_those_of_ridge_regression():
    x, classes = made(n=30, d=6)
    labels = 2.0 * classes - 1
    x6 = x / np.sqrt(6)
    expected = np.linalg.solve(x6.T @ x6 + np.eye(6), x6.T @ labels)
    np.testing.assert_allclose(Coherence(x).weights(labels), expected, rtol=1e-8)


def test_the_search_finds_the_most_coherent_of_all_labels():
    x, _ = made(n=10, d=5, size=0.5)
    coherence = Coherence(x - x.mean(axis=0))
    every = [coherence(np.array(labels)) for labels in itertools.product([-1.0, 1.0], repeat=10)]
    found = [coherence(search_labels(coherence, np.random.default_rng(s))) for s in range(3)]
    assert max(found) == pytest.approx(max(every))


def test_one_label_for_all_is_the_least_coherent_of_centred_states():
    x, classes = made(n=60, size=0.5)
    x -= x.mean(axis=0)
    coherence = Coherence(x)
    alike, random = np.ones(60), np.random.default_rng(0).choice([-1.0, 1.0], size=60)
    assert coherence(alike) < coherence(random) < coherence(2.0 * classes - 1)


def test_of_many_examples_a_part_is_searched_and_all_are_predicted(monkeypatch):
    monkeypatch.setattr(unsupervised, "MOST_SEARCHED", 50)
    states, classes = made(n=300)
    probs = unsupervised.mutual_predictability(states)(states)
    assert probs.shape == (300,) and accuracy(probs, classes) > 0.95


def test_the_sense_is_that_which_agrees_and_how_often_is_told():
    found = np.array([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7], [0.1, 0.9]])
    assert orient(found, found) == (1, 1.0)
    assert orient(found, found[:, ::-1]) == (-1, 1.0)
    three_of_four = np.eye(2)[[0, 0, 1, 0]]
    assert orient(found, three_of_four) == (1, 0.75)
    assert orient(found, three_of_four[:, ::-1]) == (-1, 0.75)
    assert orient(found, np.eye(2)[[0, 1, 0, 1]]) == (1, 0.5), "a tie keeps the sense"
