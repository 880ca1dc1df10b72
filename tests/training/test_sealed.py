"""Training on a task whose truth is sealed: the same model, and no measure of the truth."""

import json
from dataclasses import replace

import numpy as np
import pytest

import w2s_nb as w2s
from w2s_nb.common import store
from w2s_nb.data import sealed as sealed_module
from w2s_nb.data.sealed import SealedSplit, TruthSealed, seal
from w2s_nb.labels.soft import SoftLabels

PROBE = dict(method="probe", epochs=2)
WORDING = w2s.Prompt("{0}", (" w0", " w1", " w2"))


def weak_labels(task, seed=0):
    """Labels of the student half and validation, of which a fifth are wrong."""
    splits = (task.student, task.validation)
    ids = np.concatenate([split.ids for split in splits])
    probs = np.concatenate([SoftLabels.truth(split).probs for split in splits])
    return SoftLabels(ids, probs, "made").flip(0.2, seed=seed)


@pytest.mark.parametrize("name", ["hard_label", "facts", "shares"])
def test_truth_of_three_splits_cannot_be_read(words, name):
    sealed = seal(words)
    for split in (sealed.student, sealed.validation, sealed.test, sealed.test.take([0, 1])):
        with pytest.raises(TruthSealed, match=f"of the {split.name} split is sealed"):
            getattr(split, name)
    assert sealed.supervisor.hard_label.tolist() == words.supervisor.hard_label.tolist()


def test_a_sealed_split_has_the_examples_and_not_their_truth(words):
    sealed = seal(words)
    for before, after in zip(words.splits[1:], sealed.splits[1:], strict=True):
        assert after.ids.tolist() == before.ids.tolist() and after.texts == before.texts
        assert after.group.tolist() == before.group.tolist() and after.chance == before.chance
        assert after.task is sealed and after.fingerprint != before.fingerprint
    assert isinstance(sealed.test.take(slice(5)), SealedSplit) and len(sealed.test.take([3])) == 1
    assert "truth sealed" in repr(sealed.test) and sealed.data_version == ""
    assert seal(sealed).test.fingerprint == sealed.test.fingerprint


def test_a_sealed_fingerprint_does_not_tell_the_truth(words):
    wrong = replace(words.test, hard_label=1 - words.test.hard_label)
    other = replace(words, test=wrong)
    assert other.test.fingerprint != words.test.fingerprint
    assert seal(other).test.fingerprint == seal(words).test.fingerprint


def test_a_process_that_seals_a_task_cannot_load_it(words, monkeypatch):
    monkeypatch.setattr(sealed_module, "_closed", set())
    sealed_module.close("words@an option")
    with pytest.raises(TruthSealed, match="task 'words' is sealed in this process"):
        w2s.load_task("words")
    w2s.load_task("word_pairs", n_train=8, n_val=4, n_test=8)


@pytest.mark.parametrize("method", ["probe", "logistic", "top"])
def test_a_sealed_fit_predicts_what_the_open_one_does(words, tiny, method):
    labels = weak_labels(words)
    settings = dict(method=method, seed=3)
    if method != "logistic":
        settings |= dict(epochs=1)
    opened = w2s.fit(tiny, words.student, labels, **settings)
    sealed_task = seal(words)
    sealed = w2s.fit(tiny, sealed_task.student, labels, **settings)
    assert sealed.stop == opened.stop and sealed.address != opened.address
    for stop in ("last", "validation"):
        assert np.array_equal(
            sealed.predict(sealed_task.test, stop=stop), opened.predict(words.test, stop=stop)
        )
    known = "validation_accuracy_on_labels"
    assert sealed.curve[known].tolist() == opened.curve[known].tolist()


def test_nothing_measured_by_the_truth_is_stored(words, tiny):
    task = seal(words)
    fitted = w2s.fit(tiny, task.student, weak_labels(words), **PROBE)
    record, predictions, curve = store.read(fitted.address)
    assert record["metrics"] == {} and record["summary"]["label_accuracy"] is None
    assert "truth" not in predictions and predictions["oracle"].isna().all()
    assert not [name for name in curve if "test" in name or name == "validation_accuracy"]
    assert fitted.stops == ("last", "validation")
    assert "test accuracy" not in fitted._repr_html_()
    with pytest.raises(ValueError, match="no oracle: the truth of its test is sealed"):
        fitted.predict(task.test, stop="oracle")
    with pytest.raises(TruthSealed):
        fitted.accuracy(task.test)
    assert "accuracy_last" not in json.dumps(record)
    assert len(w2s.results()) == 1 and w2s.all_students().empty


def test_training_on_sealed_truth_is_refused(words, tiny):
    task = seal(words)
    with pytest.raises(TruthSealed):
        w2s.fit(tiny, task.student, **PROBE)
    with pytest.raises(ValueError, match="stop 'oracle' looks at the truth"):
        w2s.fit(tiny, task.student, weak_labels(words), stop="oracle", **PROBE)


def test_three_classes_are_sealed_alike(three, tiny):
    task = seal(three)
    labels = weak_labels(three)
    fitted = w2s.fit(tiny, task.student, labels, **PROBE)
    opened = w2s.fit(tiny, three.student, labels, **PROBE)
    assert np.array_equal(fitted.predict(task.test), opened.predict(three.test))


def test_a_prompt_without_shots_needs_no_truth(three, tiny):
    opened, task = w2s.prompt(tiny, three.test, wording=WORDING), seal(three)
    sealed = w2s.prompt(tiny, task.test, wording=WORDING)
    assert np.array_equal(sealed.predict(task.test), opened.predict(three.test))
    assert not sealed.record.get("metrics")


def test_only_tasks_with_classes_are_sealed(words):
    with pytest.raises(TypeError, match="task is a Split"):
        seal(words.test)
