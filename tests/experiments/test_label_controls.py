"""Tests of label controls and of ground truth in weak labels: which labels change, and to what."""

from types import SimpleNamespace

import numpy as np
import pytest

import w2s_nb as w2s
from w2s_nb.common.registry import UnknownName
from w2s_nb.labels.soft import SoftLabels


@pytest.fixture
def supervisor(words):
    """Returns a supervisor whose labels are right on four of five examples, surest of the first."""
    parts = (words.student, words.validation)
    ids = np.concatenate([part.ids for part in parts])
    truth = np.concatenate([part.hard_label for part in parts])
    said = np.where(np.arange(len(ids)) % 5 == 0, 1 - truth, truth)
    confidence = np.linspace(0.99, 0.51, len(ids))
    probs = np.where(said[:, None] == [0, 1], confidence[:, None], 1 - confidence[:, None])
    labels = SoftLabels(ids, probs, "made up")
    return SimpleNamespace(label=lambda split: labels)


def changed(words, supervisor, labeller):
    """Returns which labels of the student half a label set changes, and their classes."""
    labels = labeller(words, supervisor)
    before = supervisor.label(words.student).for_split(words.student)
    after = labels.for_split(words.student)
    return (before != after).any(axis=1), after


def test_shuffled_labels_are_the_same_labels_of_other_examples(words, supervisor):
    own = supervisor.label(words.student)
    labels = w2s.shuffled()(words, supervisor)
    for part in (words.student, words.validation):
        before, after = own.for_split(part), labels.for_split(part)
        assert (np.sort(before[:, 1]) == np.sort(after[:, 1])).all()
        assert (before != after).any(axis=1).mean() > 0.8
    right = labels.for_split(words.student).argmax(axis=1) == words.student.hard_label
    assert 0.3 < right.mean() < 0.7


def test_random_labels_are_sure_and_even_and_drawn_by_the_tasks_seed(words, supervisor):
    labels = w2s.random_labels()(words, supervisor)
    assert set(np.unique(labels.probs)) == {0.0, 1.0}
    assert abs(labels.probs[:, 1].mean() - 0.5) < 0.15
    again = w2s.random_labels()(words, supervisor)
    assert labels.fingerprint == again.fingerprint
    other = w2s.load_task("words", seed=1, n_train=96, n_val=32, n_test=64)
    own = SoftLabels(
        np.concatenate([other.student.ids, other.validation.ids]),
        supervisor.label(words.student).probs,
        "made up",
    )
    drawn = w2s.random_labels()(other, SimpleNamespace(label=lambda split: own))
    assert (drawn.probs != labels.probs).any()


def test_constant_labels_name_one_class(words, supervisor):
    for label in (0, 1):
        labels = w2s.constant(label)(words, supervisor)
        assert (labels.hard == label).all() and (labels.confidence == 1).all()


@pytest.mark.parametrize("by", ["random", "doubt", "oracle"])
def test_truth_replaces_its_share_and_a_larger_share_contains_a_smaller(words, supervisor, by):
    smaller, _ = changed(words, supervisor, w2s.with_truth(0.25, by))
    larger, after = changed(words, supervisor, w2s.with_truth(0.5, by))
    assert (smaller.sum(), larger.sum()) == (24, 48)
    assert (smaller <= larger).all()
    truth = np.eye(2)[words.student.hard_label]
    assert (after[larger] == truth[larger]).all()
    _, whole = changed(words, supervisor, w2s.with_truth(1.0, by))
    assert (whole == truth).all()


def test_truth_goes_where_the_supervisor_doubts_or_errs(words, supervisor):
    own = supervisor.label(words.student).for_split(words.student)
    by_doubt, _ = changed(words, supervisor, w2s.with_truth(0.25, "doubt"))
    assert own.max(axis=1)[by_doubt].max() <= own.max(axis=1)[~by_doubt].min()
    wrong = own.argmax(axis=1) != words.student.hard_label
    by_oracle, after = changed(words, supervisor, w2s.with_truth(0.25, "oracle"))
    assert wrong.sum() == 20 and (wrong <= by_oracle).all()
    assert (after.argmax(axis=1) == words.student.hard_label).all()


def test_a_share_that_rounds_to_no_example_is_refused(words, supervisor):
    with pytest.raises(ValueError, match="share 0.001 of 96 examples is none; expected at least"):
        w2s.with_truth(0.001)(words, supervisor)


def test_labels_of_validation_examples_stay_the_supervisors(words, supervisor):
    labels = w2s.with_truth(1.0)(words, supervisor)
    own = supervisor.label(words.student)
    assert (labels.for_split(words.validation) == own.for_split(words.validation)).all()


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: w2s.with_truth(0), r"\(0, 1\]"),
        (lambda: w2s.with_truth(20), r"\(0, 1\]"),
        (lambda: w2s.with_truth(0.1, "oracel"), "Near: .*oracle"),
        (lambda: w2s.constant(-1), "number of a class"),
        (lambda: w2s.constant("red"), "number of a class"),
    ],
    ids=["none", "percent", "way", "negative", "name"],
)
def test_wrong_label_controls_are_refused_when_they_are_named(make, message):
    with pytest.raises((ValueError, UnknownName), match=message):
        make()


def test_a_class_that_the_task_lacks_is_refused_before_training(words, tiny):
    sets = {"constant": w2s.constant(2)}
    with pytest.raises(ValueError, match="label 2; words has the classes"):
        w2s.run_arms(
            "words", f"{tiny}@1", tiny, labels=sets, method="probe", n_train=96, n_val=32, n_test=64
        )


def test_students_learn_from_labels_and_not_from_controls(words, tiny):
    sets = {
        "shuffled": w2s.shuffled(),
        "constant": w2s.constant(),
        "all truth": w2s.with_truth(1.0),
    }
    sizes = dict(n_train=96, n_val=32, n_test=64)
    arms = w2s.run_arms("words", tiny, tiny, labels=sets, method="probe", epochs=20, **sizes)
    chance = arms.test.chance
    # the best of several evaluations, the first of which may come before all predictions are alike
    on_constant = arms.accuracy("student, naive, on constant").value
    assert on_constant == pytest.approx(chance, abs=0.05)
    assert (
        arms.accuracy("student, naive, on shuffled").value < arms.accuracy("student, naive").value
    )
    assert arms.label_accuracy("student, naive, on all truth") == 1
