"""Arms compared by what is known of examples; predictions are made, so every number is known."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

import w2s_nb as w2s
from w2s_nb.data.splits import Split
from w2s_nb.data.tasks.spec import Example
from w2s_nb.experiments import stress
from w2s_nb.experiments.arms import CEILING, WEAK, Arms

STUDENT = "student, naive"
#           a danger a danger a safe  a safe  b danger b safe  b safe
TRUTH = [1, 1, 0, 0, 1, 0, 0]
THEMES = [("a",), ("a",), ("a",), ("a",), ("b",), ("b",), ("b",)]
CALLED = {
    WEAK: [[1, 0, 1, 0, 0, 0, 0], [0, 0, 0, 0, 1, 0, 0]],
    STUDENT: [[0, 1, 0, 0, 1, 1, 0], [1, 1, 0, 0, 1, 1, 0]],
    CEILING: [[1, 1, 0, 0, 1, 0, 0], [1, 1, 0, 0, 1, 0, 0]],
}


def arms_of(called, themes=THEMES, difficulty=None):
    """Returns arms of two seeds whose predictions are sure of the classes that they call."""
    n = len(TRUTH)
    facts = pd.DataFrame({"difficulty": difficulty or [1.0] * n, "themes": themes})
    ids = np.array([f"{i:016x}" for i in range(n)])
    test = Split("test", ids, (("x",),) * n, np.array(TRUTH), np.arange(n), facts=facts)
    tasks = [SimpleNamespace(test=test, seed=seed) for seed in range(2)]
    fits = {
        arm: [SimpleNamespace(predict=lambda split, stop=None, p=p: np.eye(2)[p]) for p in seeds]
        for arm, seeds in called.items()
    }
    return Arms("weak", "strong", tasks, fits)


def test_what_is_caught_is_counted_by_theme():
    rows = w2s.caught_by_theme(arms_of(CALLED), STUDENT, least=1).set_index("theme")
    assert rows.index.tolist() == ["a", "b", "all"] and rows.n_dangerous.tolist() == [2, 1, 3]
    a = rows.loc["a"]
    assert (a.caught_weak, a.caught, a.of_missed, a.lost) == (1 / 4, 3 / 4, 1, 1)
    assert (a.alarms_weak, a.alarms) == (1 / 4, 0)
    assert a.accuracy_gain == pytest.approx(7 / 8 - 4 / 8)
    b = rows.loc["b"]
    assert (b.caught_weak, b.caught, b.of_missed, b.lost, b.alarms) == (1 / 2, 1, 1, 0, 1 / 2)
    assert rows.loc["all"].caught == pytest.approx(5 / 6)
    assert ((rows.caught_low <= rows.caught) & (rows.caught <= rows.caught_high)).all()


def test_examples_that_the_student_catches_more_often_come_first():
    rows = w2s.newly_caught(arms_of(CALLED), STUDENT)
    # the third dangerous example is called in one of two seeds by both
    assert rows[["theme", "called_weak", "called"]].to_numpy().tolist() == [
        ["a", 0.0, 1.0],
        ["b", 0.5, 1.0],
    ]
    assert rows.text.tolist() == ["x", "x"]
    assert len(w2s.newly_caught(arms_of(CALLED), STUDENT, n=1)) == 1
    same = w2s.newly_caught(arms_of(CALLED | {STUDENT: CALLED[WEAK]}), STUDENT)
    assert same.empty and list(same) == ["text", "theme", "called_weak", "called"]
    with pytest.raises(ValueError, match="expected a class from 0 to 1"):
        w2s.newly_caught(arms_of(CALLED), STUDENT, positive=2)


def test_a_student_that_is_its_supervisor_gains_nothing():
    same = arms_of(CALLED | {STUDENT: CALLED[WEAK]})
    rows = w2s.caught_by_theme(same, STUDENT, least=1)
    assert (rows.accuracy_gain == 0).all() and (rows.accuracy_gain_high == 0).all()
    assert (rows.caught == rows.caught_weak).all() and rows.of_missed.eq(0).all()


def test_the_other_class_may_be_the_dangerous_one():
    rows = w2s.caught_by_theme(arms_of(CALLED), STUDENT, positive=0, least=1).set_index("theme")
    assert rows.loc["b"].caught == 1 / 2 and rows.loc["b"].alarms == 0


def test_a_theme_without_dangerous_examples_has_no_recall():
    themes = [("a",), ("a",), ("c",), ("a",), ("b",), ("b",), ("b",)]
    rows = w2s.caught_by_theme(arms_of(CALLED, themes), STUDENT, least=1).set_index("theme")
    assert np.isnan(rows.loc["c"].caught) and rows.loc["c"].alarms == 0


def test_rare_themes_have_no_row_and_odd_classes_are_refused():
    arms = arms_of(CALLED)
    assert w2s.caught_by_theme(arms, STUDENT, least=4).theme.tolist() == ["a", "all"]
    for positive in (2, -1, 1.0, True):
        with pytest.raises(ValueError, match="expected a class from 0 to 1"):
            w2s.caught_by_theme(arms, STUDENT, positive=positive)
    with pytest.raises(w2s.common.registry.UnknownName, match="student, naiv"):
        w2s.caught_by_theme(arms, "student, naiv")


def test_accuracy_by_theme_and_difficulty_is_that_of_the_part():
    arms = arms_of(CALLED, difficulty=[1.0, 2.0, 1.0, 2.0, 3.0, np.nan, 3.0])
    themes = w2s.by_theme(arms, least=1).set_index(["arm", "theme"])
    assert themes.loc[(WEAK, "a"), "accuracy"] == 4 / 8 and themes.loc[(WEAK, "b"), "n"] == 3
    bands = w2s.by_difficulty(arms, [2]).set_index(["arm", "difficulty"])
    assert bands.loc[(CEILING, "< 2"), "n"] == 2 and bands.loc[(CEILING, "2 +"), "accuracy"] == 1


@pytest.mark.parametrize("edges", [[], [2, 2], ["two"]])
def test_edges_that_make_no_bands_are_refused_in_words(edges):
    with pytest.raises(ValueError, match="expected different numbers, such as"):
        w2s.by_difficulty(arms_of(CALLED), edges)


def test_a_task_without_facts_is_refused():
    arms = arms_of(CALLED)
    object.__setattr__(arms.test, "facts", None)
    with pytest.raises(ValueError, match="no difficulty and no themes"):
        w2s.by_theme(arms)


@pytest.fixture
def themed():
    """A task in which class 1 ends in w1; every fourth example has the theme `odd`."""
    rng = np.random.default_rng(0)
    words = rng.integers(2, 60, (480, 6))

    @w2s.register_task(
        "themed", lambda: {"all": [{"n": n} for n in range(480)]}, max_len=16, measure="steps"
    )
    def themed(row):
        """Which word stands last?"""
        n = row["n"]
        text = " ".join([*(f"w{word}" for word in words[n]), f"w{n % 2}"])
        theme = "odd" if n // 2 % 4 == 0 else "even"
        yield Example((text,), n % 2, difficulty=1.0, themes=(theme,))

    return w2s.load_task("themed", n_train=80, n_val=20, n_test=100)


def has(split, theme):
    return np.array([theme in themes for themes in split.facts.themes])


def test_a_theme_is_left_out_of_training_and_as_many_of_any_theme_for_comparison(themed):
    unseen = stress.without("odd")
    left, control = unseen.change_task(themed), unseen.control.change_task(themed)
    for name in ("supervisor", "student", "validation"):
        before, after, other = (getattr(task, name) for task in (themed, left, control))
        assert not has(after, "odd").any() and len(after) == (~has(before, "odd")).sum()
        assert (np.bincount(after.hard_label) == np.bincount(other.hard_label)).all()
        assert has(other, "odd").any() and other.among(before.ids).all()
    assert (left.test.ids == themed.test.ids).all() and left.name != control.name


def test_a_theme_that_none_or_all_have_is_refused(themed, tiny):
    with pytest.raises(KeyError, match="unknown theme 'od'. Near: odd"):
        w2s.held_out("themed", f"{tiny}@1", tiny, ["od"], n_train=80, n_val=20, n_test=100)
    task = arms_of(CALLED).test
    everything = stress.without("all").change
    facts = pd.DataFrame({"difficulty": [1.0] * len(task), "themes": [("all",)] * len(task)})
    split = Split("test", task.ids, task.texts, task.hard_label, task.group, facts=facts)
    given = SimpleNamespace(
        name="t", supervisor=split, student=split, validation=split, test=split, extra_halves=()
    )
    with pytest.raises(ValueError, match="without 'all' 'test' of t has 0 examples"):
        everything(given)


def test_what_was_held_out_is_compared_with_the_same_examples_seen(themed, tiny):
    sizes = {"n_train": 80, "n_val": 20, "n_test": 100, "epochs": 5}
    rows = w2s.held_out("themed", f"{tiny}@1", tiny, ["odd"], method="probe", seeds=2, **sizes)
    assert rows.arm.tolist() == [WEAK, STUDENT, CEILING] and set(rows.theme) == {"odd"}
    assert (rows.n_test == has(themed.test, "odd").sum()).all() and (rows.n_train < 80).all()
    for stressed, column in (
        (stress.without("odd"), "accuracy_unseen"),
        (stress.without("odd").control, "accuracy_seen"),
    ):
        arms = w2s.run_arms(
            "themed", f"{tiny}@1", tiny, stress=stressed, method="probe", seeds=2, **sizes
        )
        of_theme = w2s.by_theme(arms, least=1).set_index(["arm", "theme"])
        expected = [of_theme.loc[(arm, "odd"), "accuracy"] for arm in rows.arm]
        assert rows[column].tolist() == pytest.approx(expected)
    np.testing.assert_allclose(rows.change, rows.accuracy_unseen - rows.accuracy_seen, atol=1e-12)
