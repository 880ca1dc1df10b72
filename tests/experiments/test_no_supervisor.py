"""Tests of rows without a supervisor: what decides them, what does not, and what is refused."""

from dataclasses import replace

import numpy as np
import pytest

import w2s_nb as w2s
from w2s_nb.common.registry import TASKS, UnknownName
from w2s_nb.data.tasks.spec import Prompt
from w2s_nb.experiments.arms import CEILING, WEAK
from w2s_nb.experiments.no_supervisor import arm_name, find_classes, predict_test
from w2s_nb.prompting.contrast import contrast_features
from w2s_nb.training import unsupervised
from w2s_nb.training.unsupervised import METHODS

SIZES = dict(n_train=96, n_val=32, n_test=64)
PLAIN = Prompt("{0} w40", ("w41", "w42"), "w50 w51")


PAIR = Prompt("{0} w44 {1} w40", ("w41", "w42"))


@pytest.fixture(autouse=True)
def short_search(monkeypatch):
    monkeypatch.setattr(unsupervised, "_STEPS", 50)


@pytest.fixture
def words(words, registries):
    """Asks about the made tasks in words that the tiny model's tokenizer knows."""
    for name, prompt in {"words": PLAIN, "word_pairs": PAIR}.items():
        TASKS._entries[name] = replace(TASKS[name], prompt=prompt)
    return words


@pytest.fixture
def arms(words, tiny):
    return w2s.run_arms("words", f"{tiny}@1", tiny, method="logistic", seeds=2, **SIZES)


def test_rows_without_supervisor_stand_beside_the_arms(arms):
    methods = ["first_component", "contrast_consistent"]
    both = w2s.with_no_supervisor(arms, methods)
    names = [arm_name(method, sign) for method in methods for sign in ("supervisor", "prompt")]
    assert list(both.fits) == [WEAK, "student, naive", *names, CEILING]
    table = both.table()
    assert (table.n_train == 96).all() and table.loc[names, "accuracy"].between(0, 1).all()
    assert all(np.isnan(both.label_accuracy(name)) for name in names)
    for by_supervisor, by_prompt in zip(names[::2], names[1::2]):
        first, second = both.probs(by_supervisor), both.probs(by_prompt)
        for one, other in zip(first, second):
            assert np.allclose(one, other) or np.allclose(one, other[:, ::-1])


@pytest.mark.parametrize("method", METHODS)
def test_labels_decide_the_sign_and_nothing_else(method, words, tiny):
    half = words.student
    truth = w2s.SoftLabels.truth(half)
    wrong = w2s.SoftLabels(half.ids, truth.probs[:, ::-1], "liar")
    few = truth.select(half, np.arange(20))
    told = [w2s.no_supervisor(tiny, half, method, each) for each in (truth, wrong, few)]
    right, turned, by_few = (fit.predict(words.test) for fit in told)
    np.testing.assert_allclose(right, turned[:, ::-1], atol=1e-9)
    assert np.allclose(by_few, right) or np.allclose(by_few, turned)
    assert told[1].record["sign"]["agreement"] == pytest.approx(told[0].record["sign"]["agreement"])
    agree = np.mean(told[0].predict(half).argmax(1) == half.hard_label)
    assert agree == pytest.approx(told[0].record["sign"]["agreement"])
    assert agree >= 0.5 and told[1].record["sign"]["by"] == "liar"


@pytest.mark.parametrize("method", METHODS)
def test_the_truth_plays_no_part(method, words, tiny):
    labels = w2s.fit(f"{tiny}@1", words.supervisor, method="logistic").label(words.student)
    expected = w2s.no_supervisor(tiny, words.student, method, labels).predict(words.test)
    student, test = (
        replace(split, hard_label=np.zeros_like(split.hard_label))
        for split in (words.student, words.test)
    )
    blind = replace(words, student=student, test=test)
    np.testing.assert_allclose(predict_test(tiny, blind, method, labels), expected, atol=1e-9)


def test_without_labels_the_zero_shot_answers_decide_the_sign(words, tiny):
    answers = w2s.prompt(tiny, words.student).predict(words.student)
    fit = w2s.no_supervisor(tiny, words.student, "first_component")
    agree = np.mean(fit.predict(words.student).argmax(1) == answers.argmax(1))
    assert fit.record["sign"] == {"by": "prompt", "agreement": pytest.approx(agree)}
    assert agree >= 0.5


def test_a_fit_is_found_again_and_its_accuracy_is_stored(words, tiny):
    labels = w2s.SoftLabels.truth(words.student)
    first, again = (w2s.no_supervisor(tiny, words.student, labels=labels) for _ in range(2))
    assert first.address == again.address and first.stops == ("last", "validation", "oracle")
    accuracy = first.accuracy(words.test).value
    assert first.record["metrics"]["accuracy_last"] == pytest.approx(accuracy)
    row = w2s.results().set_index("address").loc[first.address]
    assert row.method == "contrast_consistent" and row.labels == "none, sign by ground truth"
    other = w2s.no_supervisor(tiny, words.student, labels=labels, seed=1)
    assert other.address != first.address


def test_contrasts_are_the_states_of_each_text_with_each_answer(words, tiny):
    states = contrast_features(tiny, words.test, PLAIN)
    assert states.shape == (64, 2, 16)
    texts = [f"{words.test.texts[5][0]} w40 {word}" for word in ("w41", "w42")]
    by_hand = w2s.features(tiny, texts, layers=[4])[4]
    np.testing.assert_allclose(states[5], by_hand, atol=2e-3)


def test_pairs_are_told_apart_by_either_representation(words, tiny):
    pairs = w2s.load_task("word_pairs", **SIZES)
    labels = w2s.SoftLabels.truth(pairs.student)
    for method in METHODS:
        fit = w2s.no_supervisor(tiny, pairs.student, method, labels)
        assert fit.predict(pairs.test).shape == (64, 2)
    both_orders = [pairs.test, w2s.swapped(pairs.test)]
    first, second = find_classes(tiny, pairs.student, both_orders, "first_component")
    np.testing.assert_allclose(first, second[:, ::-1], atol=1e-6)


def test_answers_that_the_tokenizer_does_not_tell_apart_are_refused(words, tiny):
    labels = w2s.SoftLabels.truth(words.student)
    unknown = Prompt("{0} w40", ("good", "bad"))
    with pytest.raises(ValueError, match=r"\('good', 'bad'\) are the same tokens"):
        w2s.no_supervisor(tiny, words.student, labels=labels, wording=unknown)


def of_others(split):
    return w2s.SoftLabels(np.array(["0" * 16]), np.array([[0.5, 0.5]]), "a stranger")


@pytest.mark.parametrize(
    "call, error, says",
    [
        (lambda m, t: w2s.no_supervisor(m, t.student, "ccs"), UnknownName, "contrast_consistent"),
        (lambda m, t: w2s.no_supervisor(m, t), TypeError, "split is a Task"),
        (lambda m, t: w2s.no_supervisor(m, t.student, labels=t), TypeError, "expected SoftLabels"),
        (
            lambda m, t: w2s.no_supervisor(m, t.student, labels=of_others(t.student)),
            ValueError,
            "a stranger know none of the 96 examples of 'student'",
        ),
        (
            lambda m, t: w2s.no_supervisor(m, t.student.take(np.arange(3))),
            ValueError,
            "needs 4 examples or more",
        ),
        (lambda m, t: w2s.no_supervisor(m, t.student, wording="?"), TypeError, "w2s.Prompt"),
        (lambda m, t: w2s.no_supervisor(m, t.student, seed=-1), ValueError, "seed = -1"),
    ],
    ids=["method", "task", "labels", "strangers", "few", "wording", "seed"],
)
def test_wrong_input_is_refused_in_words(call, error, says, words, tiny):
    with pytest.raises(error, match=says):
        call(tiny, words)


def test_more_than_two_classes_are_refused(three, tiny):
    with pytest.raises(ValueError, match="first_component finds two classes; three has 3"):
        w2s.no_supervisor(tiny, three.student, "first_component")


@pytest.mark.parametrize(
    "wrong, error, says",
    [
        (dict(methods="first_component"), TypeError, "expected several"),
        (dict(signs=("truth",)), UnknownName, "supervisor"),
        (dict(methods=["first component"]), UnknownName, "first_component"),
    ],
    ids=["one method", "sign", "method"],
)
def test_unknown_rows_are_refused_before_the_first_is_made(wrong, error, says, arms):
    with pytest.raises(error, match=says):
        w2s.with_no_supervisor(arms, **wrong)
