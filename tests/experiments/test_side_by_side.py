"""Tests of arms side by side: which numbers stand where, and what is paired with what."""

import pytest

import w2s_nb as w2s
from w2s_nb.common.registry import UnknownName
from w2s_nb.experiments.arms import CEILING, WEAK

QUICK = dict(method="probe", epochs=5, n_train=96, n_val=32, n_test=64)
NAIVE = "student, naive"


@pytest.fixture
def two(words, tiny):
    """Returns two experiments that differ in the student."""
    return {
        name: w2s.run_arms("words", f"{tiny}@1", strong, seeds=2, **QUICK)
        for name, strong in (("whole", tiny), ("cut", f"{tiny}@2"))
    }


def test_accuracies_stand_in_a_row_per_experiment(two):
    table = w2s.accuracies(two, "student")
    assert table.index.name == "student" and list(table.index) == ["whole", "cut"]
    assert table.loc["cut", NAIVE] == two["cut"].accuracy(NAIVE).value
    text = w2s.readable(w2s.accuracies(two, "student", [CEILING, WEAK]))
    assert list(text) == [CEILING, WEAK]
    assert text.loc["whole", WEAK] == f"{two['whole'].accuracy(WEAK)}"
    with pytest.raises(UnknownName, match="unknown arm 'naive'"):
        w2s.accuracies(two, "student", ["naive"])
    with pytest.raises(ValueError, match="no experiment given"):
        w2s.accuracies({}, "student")


def test_gains_are_those_of_the_pairs_in_order(two):
    arms = two["whole"]
    rows = w2s.gains(arms, [(NAIVE, WEAK), (WEAK, NAIVE)])
    gain = arms.gain_over(NAIVE, WEAK)
    assert rows.loc[0].tolist() == [NAIVE, WEAK, gain.value, gain.low, gain.high]
    assert rows.gain[1] == -rows.gain[0]


def test_changes_are_from_the_base_arm_by_arm(two):
    whole, cut = two.values()
    rows = w2s.changes({"cut": cut, "same": whole}, whole, "student").set_index(["student", "arm"])
    assert len(rows) == 6
    change = cut.gain_over(NAIVE, NAIVE, others=whole)
    row = rows.loc["cut", NAIVE]
    assert (row.accuracy_change, row.accuracy_change_low) == (change.value, change.low)
    assert row.accuracy_change == pytest.approx(row.accuracy - whole.accuracy(NAIVE).value)
    assert (rows.loc["same"].accuracy_change == 0).all()
    assert (rows.loc["same"].same_answer == 1).all() and row.same_answer < 1
    assert rows.loc["cut", WEAK].isna().pgr_change, "a supervisor has no PGR"
    by_name = w2s.changes({"cut": cut}, {"cut": cut}, arms=[WEAK])
    assert by_name.arm.tolist() == [WEAK] and by_name.accuracy_change[0] == 0
    assert "experiment" not in w2s.changes(cut, whole)


def test_changes_refuse_what_cannot_be_paired(two, words, tiny):
    whole = two["whole"]
    one_seed = w2s.run_arms("words", f"{tiny}@1", tiny, seeds=1, **QUICK)
    with pytest.raises(ValueError, match="cannot be paired with the other: expected the same test"):
        w2s.changes(one_seed, whole)
    with pytest.raises(UnknownName, match="unknown experiment to compare with 'a'"):
        w2s.changes({"a": whole}, {"b": whole})


def test_stops_of_experiments_are_one_table_with_changes_from_the_base(two):
    rows = w2s.stops_of(two, "student", base="whole")
    expected = [*two["whole"].stops().pgr, *two["cut"].stops().pgr]
    assert rows.pgr.tolist() == pytest.approx(expected, nan_ok=True)
    assert rows[rows.student == "whole"].pgr_change.isna().all()
    last = rows[(rows.student == "cut") & (rows.stop == "last")].iloc[0]
    moved = two["cut"].pgr_over(two["whole"], NAIVE, stop="last")
    assert last.pgr_change == pytest.approx(moved.value, nan_ok=True)
    with pytest.raises(UnknownName, match="unknown experiment to compare with 'all'"):
        w2s.stops_of(two, "student", base="all")


def test_what_is_above_chance_is_a_mean_over_tasks(two):
    found = w2s.above_chance(two, NAIVE)
    each = [arms.accuracy(NAIVE).value - 0.5 for arms in two.values()]
    assert found.value == pytest.approx(sum(each) / 2) and found.low <= found.value <= found.high
