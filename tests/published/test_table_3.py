"""The paper's table 3 stands beside our numbers, in the same columns."""

import pytest

import w2s_nb as w2s
from w2s_nb.experiments.arms import CEILING, WEAK
from w2s_nb.published.table_3 import beside_table_3


def test_the_papers_rows_come_first_and_ours_have_intervals(words, tiny):
    sizes = dict(n_train=96, n_val=32, n_test=64)
    arms = w2s.run_arms("words", f"{tiny}@1", tiny, method="probe", epochs=5, **sizes)
    table = beside_table_3({f"{tiny}@1": arms})
    assert table.of.tolist() == ["paper", "paper", "words"]
    assert table.weak[:2].tolist() == [0.566, 0.566]
    assert [round(100 * pgr, 1) for pgr in table.pgr[:2]] == [57.7, 41.5], "of rounded accuracies"
    ours = table.iloc[2]
    assert (ours.weak, ours.ceiling) == (arms.accuracy(WEAK).value, arms.accuracy(CEILING).value)
    assert ours.naive_low == pytest.approx(arms.accuracy("student, naive").low)
    text = w2s.readable(table, ["weak", "naive"])
    assert text.iloc[0].tolist() == ["0.566", "0.607"]
