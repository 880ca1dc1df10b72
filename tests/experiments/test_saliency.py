"""Tests of probes beside finetuning: who is trained on what, and probes by depth."""

import pytest

import w2s_nb as w2s
from w2s_nb import plots
from w2s_nb.common.registry import UnknownName
from w2s_nb.experiments.arms import CEILING, WEAK
from w2s_nb.experiments.saliency import FT_GT, FT_WEAK, FT_WEAK_LP_GT, LP_GT, LP_WEAK

SIZES = dict(n_train=96, n_val=32, n_test=64)


@pytest.fixture
def bars(words, tiny):
    return w2s.run_saliency(
        "words", f"{tiny}@1", tiny, solver="logistic", top_layers=2, lr=3e-3, seeds=2, **SIZES
    )


def test_every_arm_is_trained_on_the_student_half_with_the_labels_it_names(bars):
    assert list(bars.fits) == [WEAK, LP_WEAK, LP_GT, FT_WEAK, FT_WEAK_LP_GT, CEILING]
    for i, task in enumerate(bars.tasks):
        records = {arm: bars.fits[arm][i].record for arm in bars.fits}
        supervisor = records.pop(WEAK)
        assert set(supervisor["trained_on"]) == set(task.supervisor.ids)
        for arm, record in records.items():
            assert record["trained_on"] == task.student.ids.tolist(), arm
            weak = record["summary"]["labels_address"] == supervisor["address"]
            assert weak == (arm in (LP_WEAK, FT_WEAK)), arm
        assert records[FT_WEAK_LP_GT]["summary"]["model"] == bars.fits[FT_WEAK][i].name
        assert {records[arm]["config"]["method"] for arm in (LP_WEAK, LP_GT, FT_WEAK_LP_GT)} == {
            "logistic"
        }
        assert {records[arm]["config"]["method"] for arm in (FT_WEAK, CEILING)} == {"top"}
    assert bars.table().agreement.notna().tolist() == [False, True, True, True, True, False]


def test_tables_of_bars_call_the_ceiling_by_its_bar(bars):
    table, by_seed = w2s.saliency_tables(bars)
    assert list(table.index) == [WEAK, LP_WEAK, LP_GT, FT_WEAK, FT_WEAK_LP_GT, FT_GT]
    assert table.accuracy[FT_GT] == bars.accuracy(CEILING).value
    assert set(by_seed.arm) == set(table.index)


def test_finetuning_leaves_the_trunk_as_it_was_and_probes_end_at_the_bars(bars):
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
    "change, error, message",
    [
        (dict(method="probe"), ValueError, "finetunes nothing"),
        (dict(solver="full"), UnknownName, "logistic"),
        (dict(loss="confidance"), UnknownName, "confidence"),
        (dict(top_layer=2), TypeError, "top_layers"),
    ],
)
def test_wrong_arguments_are_refused_before_anything_is_trained(
    change, error, message, words, tiny
):
    with pytest.raises(error, match=message):
        w2s.run_saliency("words", f"{tiny}@1", tiny, **SIZES | change)
    assert w2s.results().empty


def test_probes_beside_finetuning_know_three_classes(three, tiny):
    sizes = dict(n_train=96, n_val=33, n_test=63)
    bars = w2s.run_saliency(
        "three",
        f"{tiny}@1",
        tiny,
        solver="logistic",
        head_init="zero",
        top_layers=1,
        epochs=1,
        lr=3e-3,
        **sizes,
    )
    assert all(bars.probs(arm).shape == (1, 63, 3) for arm in bars.fits)
    assert bars.accuracy(LP_GT).value > 0.6
    rows, change = w2s.probes_by_depth(bars, [4])
    assert rows.accuracy.tolist() == [bars.accuracy(arm).value for arm in (LP_GT, FT_WEAK_LP_GT)]
    assert change["4 layers"].value == pytest.approx(rows.accuracy[1] - rows.accuracy[0])
