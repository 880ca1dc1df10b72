"""Probes and prompts beside finetuning: who is trained on what, and figures that show the tables' numbers."""

import numpy as np
import pytest

import w2s_nb as w2s
from w2s_nb import plots
from w2s_nb.common.registry import UnknownName
from w2s_nb.data.tasks.spec import Prompt
from w2s_nb.experiments import saliency
from w2s_nb.experiments.arms import CEILING, WEAK
from w2s_nb.experiments.prompts import FEW_GT, FEW_WEAK, ZERO_SHOT
from w2s_nb.experiments.saliency import FT_WEAK, FT_WEAK_LP_GT, LP_GT, LP_WEAK

SIZES = dict(n_train=96, n_val=32, n_test=64)
PLAIN = Prompt("{0} w40", ("w41", "w42"), "w50 w51")


@pytest.fixture
def bars(words, tiny):
    return w2s.run_saliency(
        "words", f"{tiny}@1", tiny, solver="logistic", top_layers=2, lr=3e-3, seeds=2, **SIZES
    )


def test_every_bar_is_trained_on_the_student_half_with_the_labels_it_names(bars):
    assert list(bars.fits) == [WEAK, LP_WEAK, LP_GT, FT_WEAK, FT_WEAK_LP_GT, CEILING]
    for i, task in enumerate(bars.tasks):
        made = {arm: bars.fits[arm][i].record for arm in bars.fits}
        supervisor = made.pop(WEAK)
        assert set(supervisor["trained_on"]) == set(task.supervisor.ids)
        for arm, record in made.items():
            assert record["trained_on"] == task.student.ids.tolist(), arm
            weak = record["summary"]["labels_address"] == supervisor["address"]
            assert weak == (arm in (LP_WEAK, FT_WEAK)), arm
        assert made[FT_WEAK_LP_GT]["summary"]["model"] == bars.fits[FT_WEAK][i].name
        assert {made[arm]["config"]["method"] for arm in (LP_WEAK, LP_GT, FT_WEAK_LP_GT)} == {
            "logistic"
        }
        assert {made[arm]["config"]["method"] for arm in (FT_WEAK, CEILING)} == {"top"}
    assert bars.table().agreement.notna().tolist() == [False, True, True, True, True, False]


def test_depth_leaves_the_trunk_as_it_was_and_ends_at_the_bars(bars):
    rows, change = w2s.probes_by_depth(bars)
    before, after = (
        rows[rows.arm == when].set_index("layers").accuracy for when in ("before", "after")
    )
    assert list(before.index) == [1, 2, 3, 4]
    assert (before[[1, 2]] == after[[1, 2]]).all() and set(change) <= {"3 layers", "4 layers"}
    assert (
        before[4] == bars.accuracy(LP_GT).value and after[4] == bars.accuracy(FT_WEAK_LP_GT).value
    )
    assert "4 layers" in change, "finetuning changed no prediction; the test could not fail"
    assert change["4 layers"].value == pytest.approx(after[4] - before[4])
    assert change["4 layers"].value == pytest.approx(bars.gain_over(FT_WEAK_LP_GT, LP_GT).value)
    figure = plots.by_depth(rows, "t", trunk=2)
    assert list(figure.data[1].y) == after.tolist() and figure.layout.shapes[0].x0 == 2.5


@pytest.mark.parametrize(
    "change, error, says",
    [
        (dict(method="probe"), ValueError, "finetunes nothing"),
        (dict(solver="full"), UnknownName, "logistic"),
        (dict(loss="confidance"), UnknownName, "confidence"),
        (dict(top_layer=2), TypeError, "top_layers"),
    ],
)
def test_wrong_saliency_is_refused_before_anything_is_trained(change, error, says, words, tiny):
    with pytest.raises(error, match=says):
        w2s.run_saliency("words", f"{tiny}@1", tiny, **SIZES | change)
    assert w2s.results().empty


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


def test_accuracy_against_shots(words, tiny):
    arms = w2s.run_arms("words", f"{tiny}@1", tiny, method="logistic", seeds=2, **SIZES)
    rows, dots = w2s.by_shots(arms, [0, 1, 3], wording=PLAIN)
    assert rows.shots.tolist() == [0, 1, 3] and len(dots) == 6
    assert dots.groupby("shots").accuracy.mean().tolist() == pytest.approx(rows.accuracy.tolist())
    assert rows.accuracy[2] == w2s.with_prompts(arms, 3, wording=PLAIN).accuracy(FEW_GT).value
    figure = plots.by_shots(rows, dots, {WEAK: 0.7}, "t")
    assert list(figure.data[1].y) == rows.accuracy.tolist()


def test_bars_by_task_show_every_arm_and_seed(words, tiny):
    arms = w2s.run_arms("words", f"{tiny}@1", tiny, method="logistic", seeds=2, **SIZES)
    table = arms.table().reset_index().assign(task="words")
    figure = plots.by_task(table, arms.by_seed().assign(task="words"), "t")
    drawn = {t.name: t.y[0] for t in figure.data if t.type == "bar"}
    assert drawn == dict(zip(table.arm, table.accuracy)) and list(drawn)[-1] == CEILING
    assert sum(len(t.y) for t in figure.data if t.type == "box") == 6
    assert saliency.LP_GT in plots.COLOURS and {ZERO_SHOT, FEW_GT, FEW_WEAK} <= set(plots.COLOURS)
