"""Tests of easy-to-hard: difficulty by a ladder, who is trained on what, and where it is tested."""

import numpy as np
import pytest

import w2s_nb as w2s
from w2s_nb import metrics
from w2s_nb.experiments.arms import CEILING, WEAK
from w2s_nb.experiments.easy_to_hard import AS_MANY, EASY, WEAK_AS_MANY, difficulty, easiest

from ..conftest import register_words

QUICK = dict(method="probe", epochs=20, n_train=96, n_val=32, n_test=64)
NAIVE = "student, naive"


@pytest.fixture(scope="module")
def run(tiny, tmp_path_factory):
    """Returns easy-to-hard on `words`, on a ladder of three rungs, over two seeds."""
    register_words()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("W2S_HOME", str(tmp_path_factory.mktemp("home")))
        return w2s.run_easy_to_hard("words", [f"{tiny}@1", f"{tiny}@2", tiny], seeds=2, **QUICK)


def test_difficulty_is_the_smallest_rung_from_which_all_larger_ones_are_right():
    right = {
        (1, 1, 1): 0,
        (0, 1, 1): 1,
        (0, 0, 1): 2,
        (1, 0, 1): 2,  # the smallest is right by luck: a larger one is wrong
        (1, 1, 0): 3,
        (0, 0, 0): 3,
    }
    levels = difficulty(np.array(list(right)).T)
    assert levels.tolist() == list(right.values())


def test_a_ladder_without_rungs_has_no_difficulty():
    for wrong in (np.ones(4), np.ones((0, 4))):
        with pytest.raises(ValueError, match=r"expected \(rungs, examples\)"):
            difficulty(wrong)


def test_the_easy_part_is_the_easiest_share_of_each_class():
    rng = np.random.default_rng(0)
    levels = rng.integers(4, size=400)
    label = (rng.random(400) < 0.3).astype(int)
    chosen = easiest(levels, label, 0.5, seed=1)
    for number in (0, 1):
        of_class = label == number
        assert chosen[of_class].sum() == round(0.5 * of_class.sum())
        assert levels[of_class & chosen].max() <= levels[of_class & ~chosen].min()


def test_a_draw_decides_among_equally_difficult_examples():
    label = np.repeat([0, 1], 50)
    same = np.zeros(100, dtype=int)
    first = easiest(same, label, 0.5, seed=0)
    np.testing.assert_array_equal(first, easiest(same, label, 0.5, seed=0))
    assert (first != easiest(same, label, 0.5, seed=1)).any()


def test_difficulty_comes_from_models_that_never_saw_the_examples(run):
    task = run.arms.tasks[0]
    rungs = [
        w2s.fit(model, task.supervisor, method="probe", epochs=20, seed=0) for model in run.ladder
    ]
    for split, levels in ((task.test, run.levels[0]), (task.student, run.training_levels[0])):
        right = np.stack([f.predict(split).argmax(1) == split.hard_label for f in rungs])
        np.testing.assert_array_equal(levels, difficulty(right))
        assert not set(split.ids) & set(rungs[0].record["trained_on"])


def test_students_are_trained_on_the_easy_part_or_on_as_many(run):
    for seed, task in enumerate(run.arms.tasks):
        records = {arm: fits[seed].record for arm, fits in run.arms.fits.items()}
        n_easy = sum(task.student.hard_label == 0) / 2 + sum(task.student.hard_label == 1) / 2
        for arm in (EASY, AS_MANY, WEAK_AS_MANY):
            assert len(records[arm]["trained_on"]) == n_easy
            assert set(records[arm]["trained_on"]) <= set(task.student.ids)
        assert records[AS_MANY]["trained_on"] == records[WEAK_AS_MANY]["trained_on"]
        easy = task.student.among(records[EASY]["trained_on"])
        np.testing.assert_array_equal(
            easy, easiest(run.training_levels[seed], task.student.hard_label, 0.5, task.seed)
        )
        weak = run.arms.fits[WEAK][seed].address
        assert records[WEAK_AS_MANY]["summary"]["labels_address"] == weak
        assert records[NAIVE]["summary"]["labels_address"] == weak
        for arm in (EASY, AS_MANY, CEILING):
            assert records[arm]["summary"]["label_accuracy"] == 1


def test_accuracy_of_parts_adds_up_to_the_accuracy_of_all(run):
    table = run.table().set_index("arm")
    share = run.hard.mean()
    both = share * table.accuracy_hard + (1 - share) * table.accuracy_easy
    np.testing.assert_allclose(both, table.accuracy_all)
    for arm in table.index:
        assert table.accuracy_all[arm] == pytest.approx(run.arms.accuracy(arm).value)
        levels = run.by_difficulty().set_index("arm").loc[arm]
        assert levels.share.sum() == pytest.approx(1)
        assert (levels.share * levels.accuracy.fillna(0)).sum() == pytest.approx(
            table.accuracy_all[arm]
        )
        assert run.curves()[arm] == (levels.rung.tolist(), levels.accuracy.tolist())
    gain = run.gain(EASY, on="hard")
    of_parts = run.accuracy(EASY, on="hard").value - run.accuracy(NAIVE, on="hard").value
    assert gain.value == pytest.approx(of_parts) and gain.low <= gain.value <= gain.high
    assert "hard" in repr(run) and "gain_hard" in run._repr_html_()


def test_hard_examples_are_harder_for_the_ladder(run):
    assert run.levels[run.hard].mean() >= run.levels[~run.hard].mean()
    smallest = run.accuracy(WEAK, on="hard").value
    assert smallest <= run.accuracy(WEAK, on="easy").value
    assert isinstance(run.gain(CEILING), metrics.Estimate)


@pytest.mark.parametrize(
    "wrong, message",
    [
        (dict(ladder="gpt2"), "at least two models"),
        (dict(ladder=["gpt2"]), "at least two models"),
        (dict(easy=1.0), r"share in \(0, 1\)"),
        (dict(easy="half"), r"share in \(0, 1\)"),
        (dict(losses="xent"), "expected several names"),
        (dict(loss="xent"), "losses= decides"),
        (dict(losses=["xnt"]), "xnt"),
        (dict(epochs=0), "epochs"),
    ],
)
def test_wrong_input_is_refused_before_anything_is_trained(wrong, message, words, tiny):
    arguments = {"task": "words", "ladder": [f"{tiny}@1", tiny]} | QUICK | wrong
    with pytest.raises((ValueError, TypeError), match=message):
        w2s.run_easy_to_hard(**arguments)
    assert w2s.results().empty


def test_a_ladder_that_does_not_rise_is_refused(words, tiny):
    with pytest.raises(
        ValueError, match=r"@2 before .*@1, which is smaller; expected the smallest"
    ):
        w2s.run_easy_to_hard("words", [f"{tiny}@2", f"{tiny}@1", tiny], **QUICK)
    assert w2s.results().empty


def test_parts_of_the_test_examples_have_names(run):
    with pytest.raises(ValueError, match="hardest"):
        run.accuracy(EASY, on="hardest")
