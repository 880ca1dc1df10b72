"""The registry of methods: what may be registered, how a method is named, what it predicts."""

from dataclasses import replace

import numpy as np
import pytest

import w2s_nb as w2s
from w2s_nb.common.registry import METHODS, UnknownName
from w2s_nb.comparisons.methods import Budget, QueriesSpent, method_of
from w2s_nb.data.tasks.spec import Example


def labels_for(task, accuracy=0.75):
    """Returns labels of student half, validation and test, right on a share of them."""
    rng = np.random.default_rng(0)
    splits = (task.student, task.validation, task.test)
    ids = np.concatenate([split.ids for split in splits])
    truth = np.concatenate([split.hard_label for split in splits])
    right = rng.uniform(size=len(truth)) < accuracy
    p = np.where(right == (truth == 1), 1, 0) * 0.6 + 0.2 + rng.uniform(-0.1, 0.1, len(truth))
    return w2s.SoftLabels(ids, np.column_stack([1 - p, p]), "made")


def free(name, task, labels):
    return method_of(name)(labels, task, "no model", task.seed, Budget())


def test_the_kit_names_methods_and_every_loss_is_one():
    assert {"naive", "confident", "chain", "ensemble", "zero_shot", "supervisor"} <= set(METHODS)
    assert method_of("confidence").name == "confidence"
    assert method_of("xent").name == "naive" and not method_of("xent").free
    assert method_of("generalized_xent@0.5").options == {"q": 0.5}
    assert method_of("confident@0.3").options == {"share": 0.3}
    assert method_of("chain@SmolLM2-135M@8").options == {"through": "SmolLM2-135M@8"}


def test_a_method_has_one_name_whatever_it_is_called():
    names = ["confident", "confident@0.5", "confident@.5", "generalized_xent"]
    names += ["chain", "chain@SmolLM2-135M@8", "naive"]
    strong = "SmolLM2-135M@16"
    told = [method_of(name).canonical(strong) for name in names]
    half = "chain@SmolLM2-135M@8"
    assert told == [*["confident@0.5"] * 3, "generalized_xent@0.7", half, half, "naive"]
    assert method_of("confident@0.3").canonical(strong) == "confident@0.3"
    ensembles = [method_of(name).canonical(strong) for name in ("ensemble@03", "ensemble")]
    assert ensembles == ["ensemble@3"] * 2
    whole = [method_of(f"chain@SmolLM2-135M{cut}").canonical(strong) for cut in ("", "@30")]
    assert whole == ["chain@SmolLM2-135M@30"] * 2


@pytest.mark.parametrize(
    "name, kind, message",
    [
        ("confidnt", UnknownName, "unknown method 'confidnt'. Near: .*confident"),
        ("confident@most", ValueError, "takes share = 0.5; given 'most'"),
        ("naive@2", ValueError, "has no options; given '2'"),
        ("ensemble@2.5", ValueError, "takes students = 3; given '2.5'"),
    ],
)
def test_a_name_that_is_none_is_refused_in_one_line(name, kind, message):
    with pytest.raises(kind, match=message) as error:
        method_of(name)
    assert "\n" not in str(error.value)


def test_a_users_function_is_registered_under_its_name(registries, words):
    @w2s.register_method
    def sure(labels, task, strong, seed, budget, *, p=0.9):
        """Says class 1 with one probability."""
        return np.tile([1 - p, p], (len(task.test), 1))

    method = method_of("sure@0.7")
    assert method.about == "Says class 1 with one probability." and not method.free
    assert np.allclose(method(labels_for(words), words, "", 0, Budget())[:, 1], 0.7)


def test_what_is_no_method_is_not_registered(registries):
    def too_few(labels, task):
        return None

    def no_default(labels, task, strong, seed, budget, share):
        return None

    def confidence(labels, task, strong, seed, budget):
        return None

    with pytest.raises(TypeError, match="takes labels, task; expected \\(labels, task, strong"):
        w2s.register_method(too_few)
    with pytest.raises(TypeError, match="options with defaults"):
        w2s.register_method(no_default)
    with pytest.raises(TypeError, match="expected a function, by `def`"):
        w2s.register_method(lambda labels, task, strong, seed, budget: None)
    with pytest.raises(ValueError, match="is a loss"):
        w2s.register_method(confidence)


def test_the_supervisor_and_a_constant_say_what_the_labels_say(words):
    labels = labels_for(words)
    assert np.array_equal(free("supervisor", words, labels), labels.for_split(words.test))
    commonest = np.bincount(labels.for_split(words.student).argmax(axis=1)).argmax()
    constant = free("constant", words, labels)
    assert (constant.argmax(axis=1) == commonest).all() and constant.shape == (len(words.test), 2)


def test_the_longer_text_of_a_pair_is_preferred_and_a_tie_is_half_of_each(words):
    task = w2s.load_task("word_pairs", n_train=20, n_val=10, n_test=20)
    assert np.allclose(free("longest", task, labels_for(task)), 0.5), "both texts are as long"
    longer = replace(task.test, texts=tuple((a, b + " w5") for a, b in task.test.texts))
    task = replace(task, test=longer)
    assert (free("longest", task, labels_for(task))[:, 1] == 1).all()


def test_single_texts_get_the_class_whose_length_is_nearest(registries):
    @w2s.register_task("lengths", lambda: {"all": [{"n": n} for n in range(2, 202)]}, max_len=8)
    def lengths(row):
        """Is the text long?"""
        yield Example((" ".join(["w"] * row["n"]),), int(row["n"] >= 100))

    task = w2s.load_task("lengths", n_train=60, n_val=20, n_test=40)
    right = free("longest", task, labels_for(task, 0.9)).argmax(axis=1) == task.test.hard_label
    assert right.mean() > 0.8


def test_no_method_reads_the_truth_of_the_test_where_it_is_changed(words):
    labels = labels_for(words)
    other = replace(words, test=replace(words.test, hard_label=1 - words.test.hard_label))
    for name in ("supervisor", "constant", "longest"):
        assert np.array_equal(free(name, words, labels), free(name, other, labels))


def test_questions_are_refused_where_nobody_answers(words):
    with pytest.raises(QueriesSpent, match="answers no questions"):
        Budget().ask(np.full((len(words.test), 2), 0.5))
