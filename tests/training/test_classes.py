"""`fit` on more than two classes: every method, what permutes, what is refused and read back."""

from dataclasses import replace

import numpy as np
import pytest

import w2s_nb as w2s
from w2s_nb.common import store
from w2s_nb.data.classes import likeliest
from w2s_nb.training.fit import check_fit

FINETUNED = dict(head_init="zero", lr=1e-2, epochs=3)
METHODS = {
    "full": FINETUNED,
    "lora": FINETUNED,
    "top": FINETUNED | dict(top_layers=2),
    "probe": dict(epochs=30),
    "logistic": {},
}


def weak_labels(task, seed=0):
    """Returns soft labels of the student half and of validation, a third of them likely wrong."""
    rng = np.random.default_rng(seed)
    splits = (task.student, task.validation)
    truth = np.concatenate([split.hard_label for split in splits])
    meant = np.where(rng.random(len(truth)) < 0.3, rng.integers(0, 3, len(truth)), truth)
    probs = 0.7 * np.eye(3)[meant] + 0.3 * rng.dirichlet(np.ones(3), len(truth))
    return w2s.SoftLabels(np.concatenate([split.ids for split in splits]), probs, "a test")


@pytest.mark.parametrize("method", METHODS)
def test_every_method_learns_three_classes(method, three, tiny):
    fit = w2s.fit(tiny, three.student, method=method, **METHODS[method])
    for split in (three.test, three.validation):
        probs = fit.predict(split)
        assert probs.shape == (len(split), 3) and probs.min() >= 0
        np.testing.assert_allclose(probs.sum(axis=1), 1, atol=1e-6)
    accuracy = fit.accuracy(three.test)
    assert accuracy.low > 1 / 3 and accuracy.value == fit.record["metrics"][f"accuracy_{fit.stop}"]
    right = likeliest(fit.predict(three.test)) == three.test.hard_label
    assert accuracy.value == right.mean()
    assert fit.curve.train_loss.iloc[-1] < np.log(3)


@pytest.mark.parametrize(
    "method, loss",
    [(method, "xent") for method in METHODS if method != "probe"]
    + [("probe", loss) for loss in ("xent", "confidence", "temporal_ensembling")],
)
def test_permuting_the_classes_of_labels_permutes_predictions(method, loss, three, tiny):
    labels = weak_labels(three)
    order = [2, 0, 1]
    permuted = w2s.SoftLabels(labels.ids, labels.probs[:, order], "permuted")
    args = dict(method=method, loss=loss, stop="last", **METHODS[method])
    there = w2s.fit(tiny, three.student, labels, **args).predict(three.test)
    back = w2s.fit(tiny, three.student, permuted, **args).predict(three.test)
    np.testing.assert_allclose(back, there[:, order], atol=1e-5)
    assert np.abs(there - there[:, order]).mean() > 0.01, "the classes must differ to be permuted"


def test_a_fit_of_three_classes_is_read_back_and_gives_labels_of_three(three, tiny):
    weak = w2s.fit(tiny, three.supervisor, **METHODS["probe"], method="probe")
    stored = store.read(weak.address)[1]
    classes_after_first = ["last", "last_2", "validation", "validation_2", "oracle", "oracle_2"]
    assert list(stored)[4:] == classes_after_first
    assert stored.loc[stored.split != "test", ["oracle", "oracle_2"]].isna().all(axis=None)
    labels = weak.label(three.student)
    assert labels.probs.shape == (len(three.student) + len(three.validation), 3)
    np.testing.assert_allclose(labels.for_split(three.student), weak.predict(three.student))
    student = w2s.fit(tiny, three.student, labels, **METHODS["probe"], method="probe")
    truth = likeliest(labels.for_split(three.student)) == three.student.hard_label
    assert student.record["summary"]["label_accuracy"] == truth.mean()
    assert student.record["chance"] == pytest.approx(1 / 3)
    on_labels = likeliest(student.predict(three.validation)) == likeliest(
        labels.for_split(three.validation)
    )
    assert student.curve.validation_accuracy_on_labels.max() == on_labels.mean()


@pytest.mark.parametrize("method", ["full", "probe", "logistic"])
def test_rewards_of_three_classes_are_log_odds_against_the_first(method, three, tiny):
    fit = w2s.fit(
        tiny, three.student, method=method, stop="last", keep_weights=True, **METHODS[method]
    )
    rewards = w2s.rewards(fit, three.test)
    odds = np.exp(np.column_stack([np.zeros(len(rewards)), rewards]))
    probs = odds / odds.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(probs, fit.predict(three.test), atol=1e-4)
    assert rewards.shape == (len(three.test), 2)
    assert fit.weights()["head.weight"].shape[0] == 3


def test_labels_of_another_number_of_classes_are_refused_before_a_model_is_loaded(three):
    ids = three.student.ids
    two = w2s.SoftLabels(ids, np.full((len(ids), 2), 0.5), "a coin")
    for train in (w2s.fit, check_fit):
        with pytest.raises(ValueError, match="of a coin are of 2 classes; .* red, green, blue"):
            train("gpt2", three.student, two, method="probe")


def test_a_fit_predicts_splits_of_its_own_number_of_classes_alone(three, tiny):
    fit = w2s.fit(tiny, three.student, method="probe", epochs=1)
    rows = three.test.hard_label < 2
    two = replace(three.test.take(rows), classes=("red", "green"))
    with pytest.raises(ValueError, match="predicts 3 classes; the split 'test' has 2: red, green"):
        fit.accuracy(two)


def test_a_head_of_digits_that_are_no_tokens_is_refused_or_starts_at_zero(three, tiny):
    lacking = "has not each of the digits 0 to 2"
    with pytest.raises(ValueError, match=f"{lacking}; expected head_init='zero'"):
        w2s.fit(tiny, three.student, method="full", head_init="unembedding")
    with pytest.warns(UserWarning, match=f"{lacking}; the head starts at zero"):
        fit = w2s.fit(tiny, three.student, method="full", lr=0.0, head_lr=0.0, epochs=1)
    np.testing.assert_allclose(fit.predict(three.test), 1 / 3, atol=1e-6)
    assert (likeliest(fit.predict(three.test)) == 2).all(), "of equal ones the last"
    w2s.fit(tiny, three.student, method="probe", epochs=1)  # without a warning
