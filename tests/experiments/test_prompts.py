"""Tests of prompts beside finetuning: which shots and labels they are given, accuracy by shots."""

import numpy as np
import pytest

import w2s_nb as w2s
from w2s_nb import plots
from w2s_nb.common.registry import UnknownName
from w2s_nb.data.tasks.spec import Prompt
from w2s_nb.experiments.arms import CEILING, WEAK
from w2s_nb.experiments.prompts import FEW_GT, FEW_WEAK, ZERO_SHOT

SIZES = dict(n_train=96, n_val=32, n_test=64)
PLAIN = Prompt("{0} w40", ("w41", "w42"), "w50 w51")


def test_prompts_stand_beside_finetuning(words, tiny):
    arms = w2s.run_arms("words", f"{tiny}@1", tiny, method="logistic", seeds=2, **SIZES)
    both = w2s.with_prompts(arms, 3, wording=PLAIN)
    assert list(both.fits) == [WEAK, "student, naive", ZERO_SHOT, FEW_GT, FEW_WEAK, CEILING]
    zero, truth, weak = (both.fits[arm] for arm in (ZERO_SHOT, FEW_GT, FEW_WEAK))
    assert zero[0].address == zero[1].address and truth[0].address != truth[1].address
    for task, of_truth, of_weak, supervisor in zip(arms.tasks, truth, weak, arms.fits[WEAK]):
        assert of_truth.record["trained_on"] == of_weak.record["trained_on"]
        assert set(of_truth.record["trained_on"]) < set(task.student.ids)
        shown = task.student.take(task.student.among(of_weak.record["trained_on"]))
        right = (supervisor.predict(shown).argmax(1) == shown.hard_label).mean()
        assert of_weak.record["summary"]["label_accuracy"] == pytest.approx(right)
    table = both.table()
    assert table.n_train.tolist() == [96, 96, 0, 3, 3, 96] and table.loc[
        FEW_GT, "accuracy"
    ] == pytest.approx(np.mean([f.accuracy(arms.tasks[0].test).value for f in truth]))


def test_accuracy_by_shots_is_that_of_the_prompts(words, tiny):
    arms = w2s.run_arms("words", f"{tiny}@1", tiny, method="logistic", seeds=2, **SIZES)
    rows, dots = w2s.by_shots(arms, [0, 1, 3], wording=PLAIN)
    assert rows.shots.tolist() == [0, 1, 3] and len(dots) == 6
    assert dots.groupby("shots").accuracy.mean().tolist() == pytest.approx(rows.accuracy.tolist())
    assert rows.accuracy[2] == w2s.with_prompts(arms, 3, wording=PLAIN).accuracy(FEW_GT).value
    figure = plots.by_shots(rows, dots, {WEAK: 0.7}, "t")
    assert list(figure.data[1].y) == rows.accuracy.tolist()


def test_an_unknown_kind_of_prompt_is_refused(words, tiny):
    arms = w2s.run_arms("words", f"{tiny}@1", tiny, method="logistic", **SIZES)
    with pytest.raises(UnknownName, match="zero-shot"):
        w2s.with_prompts(arms, 3, only=("zero shot",), wording=PLAIN)


def test_prompts_of_three_classes_show_each_class_and_stand_beside_finetuning(three, tiny):
    sizes = dict(n_train=96, n_val=33, n_test=63)
    arms = w2s.run_arms("three", f"{tiny}@1", tiny, method="probe", epochs=5, seeds=2, **sizes)
    wording = Prompt("{0} w40", ("w41", "w42", "w43"))
    both = w2s.with_prompts(arms, 4, wording=wording, max_len=4)
    for task, truth, weak, supervisor in zip(
        arms.tasks, both.fits[FEW_GT], both.fits[FEW_WEAK], arms.fits[WEAK]
    ):
        assert truth.record["trained_on"] == weak.record["trained_on"]
        shown = task.student.take(task.student.among(truth.record["trained_on"]))
        assert sorted(np.bincount(shown.hard_label)) == [1, 1, 2]
        right = (supervisor.predict(shown).argmax(1) == shown.hard_label).mean()
        assert weak.record["summary"]["label_accuracy"] == right
    assert both.probs(FEW_GT).shape == (2, 63, 3)
    assert both.table().loc[ZERO_SHOT, "accuracy"] == both.accuracy(ZERO_SHOT).value
    drawn = w2s.with_prompts(arms, 4, only=(FEW_GT,), wording=wording, max_len=4, balanced=False)
    order = np.random.default_rng(1).permutation(96)[:4]
    trained_on = drawn.fits[FEW_GT][1].record["trained_on"]
    assert trained_on == arms.tasks[1].student.ids[order].tolist()
