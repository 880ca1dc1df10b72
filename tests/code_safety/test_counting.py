"""Baselines that read no meaning: length, words, and the findings of bandit."""

import importlib.util

import numpy as np
import pytest
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression

import w2s_nb as w2s
from w2s_nb import metrics
from w2s_nb.code_safety.counting import bandit_findings, baselines


@pytest.fixture(scope="module")
def words_task():
    """Class 1 says `yes` more often; both classes are as long."""
    rng = np.random.default_rng(0)
    rows = []
    for n in range(240):
        label = n % 2
        word = "yes" if rng.random() < 0.3 + 0.4 * label else "not"
        other = " ".join(f"w{k}" for k in rng.integers(10, 99, 6))
        rows.append({"text": f"{n:03d} {word} {other}", "label": label})
    return task_of(rows, "made_words")


@pytest.fixture(scope="module")
def length_task():
    """Class 1 is the longer one."""
    rows = [{"text": f"{n:03d}" + " a" * (5 + 5 * (n % 2)), "label": n % 2} for n in range(240)]
    return task_of(rows, "made_lengths")


def task_of(rows, name):
    w2s.task_from_file({"train": rows[:160], "test": rows[160:]}, name=name)
    return w2s.load_task(name, n_train=60, n_val=20, n_test=80)


def test_length_tells_the_classes_apart_where_one_is_longer(length_task):
    p = baselines(length_task)["length"]
    assert metrics.accuracy(p, length_task.test.hard_label).value == 1


def test_length_is_no_better_than_chance_where_both_are_as_long(words_task):
    p = baselines(words_task)["length"]
    assert metrics.auroc(p, words_task.test.hard_label).value == pytest.approx(0.5, abs=0.1)


def test_the_bag_of_words_is_scikit_learns(words_task):
    train, test = words_task.supervisor, words_task.test
    ours = baselines(words_task)["bag of words"]
    count = CountVectorizer(token_pattern=r"\w+|[^\w\s]", lowercase=False)
    x = np.log1p(count.fit_transform([text for (text,) in train.texts]).toarray())
    x_test = np.log1p(count.transform([text for (text,) in test.texts]).toarray())
    model = LogisticRegression(C=1.0, tol=1e-8, max_iter=1000).fit(x, train.hard_label)
    np.testing.assert_allclose(ours, model.predict_proba(x_test), atol=1e-3)


def test_neighbouring_words_tell_the_order_of_words():
    """Class 1 says `a b`, class 0 `b a`, among words of no meaning."""
    rng = np.random.default_rng(0)
    rows = []
    for n in range(240):
        others = " ".join(f"w{k}" for k in rng.integers(10, 99, 6))
        rows.append({"text": f"{n:03d} {'a b' if n % 2 else 'b a'} {others}", "label": n % 2})
    task = task_of(rows, "made_order")
    predictions = baselines(task)
    assert metrics.accuracy(predictions["neighbouring words"], task.test.hard_label).value == 1
    assert metrics.accuracy(predictions["bag of words"], task.test.hard_label).value < 0.7


def test_predictions_of_several_seeds_stand_side_by_side(words_task):
    both = baselines([words_task, words_task])
    assert both["length"].shape == (2, 80, 2)
    np.testing.assert_array_equal(both["length"][0], both["length"][1])


def test_pairs_are_read_side_by_side(tmp_path, monkeypatch):
    from .test_real_code import fix, write

    monkeypatch.setenv("W2S_DATA", str(tmp_path))
    write(tmp_path / "sven", "train", [fix(n, n) for n in range(80)])
    task = w2s.load_task("sven@pairs", n_train=20, n_val=6, n_test=14)
    p = baselines(task)["bag of words"]
    assert metrics.accuracy(p, task.test.hard_label).value == 1
    with pytest.raises(ValueError, match="one at a time"):
        baselines(task, rule=True)


def test_what_is_no_task_of_texts_in_two_classes_is_refused(words_task, length_task):
    for given in ([], None, "sven", 3):
        with pytest.raises(TypeError, match="expected a task"):
            baselines(given)
    with pytest.raises(ValueError, match="tests of the 2 tasks differ"):
        baselines([words_task, length_task])


@pytest.mark.skipif(importlib.util.find_spec("bandit") is None, reason="needs bandit")
def test_bandit_finds_a_shell_and_no_text_is_run(tmp_path):
    mark = tmp_path / "ran"
    texts = [
        "    import subprocess\n    subprocess.call(name, shell=True)",
        "def f(a):\n    return a + 1",
        f"open({str(mark)!r}, 'w')",
    ]
    score = bandit_findings(texts)
    assert score[0] > score[1] == 0 and not mark.exists()


def test_without_bandit_the_rule_says_what_to_install(words_task, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"w2s_nb\[code\]"):
        baselines(words_task, rule=True)
