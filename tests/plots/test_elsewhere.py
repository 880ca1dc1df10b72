"""Tests of the figure of arms in and out of distribution."""

import numpy as np
import pandas as pd
import pytest

from w2s_nb import plots

ARMS = ("weak supervisor", "student, naive", "strong ceiling")


def made_table():
    """Returns a table as of `Arms.table_elsewhere`; PGR is not defined on the last task."""
    rows = []
    for i, place in enumerate(["films", "goods", "tweets"]):
        for k, arm in enumerate(ARMS):
            accuracy = 0.6 + 0.1 * k - 0.05 * i
            pgr = 0.5 if arm == "student, naive" and place != "tweets" else np.nan
            rows.append(
                {
                    "tested_on": place,
                    "arm": arm,
                    "accuracy": accuracy,
                    "accuracy_low": accuracy - 0.02,
                    "accuracy_high": accuracy + 0.03,
                    "pgr": pgr,
                    "pgr_low": pgr - 0.1,
                    "pgr_high": pgr + 0.2,
                }
            )
    return pd.DataFrame(rows)


def test_each_arm_is_drawn_where_it_is_tested_with_its_interval():
    figure = plots.in_and_out(made_table(), "t")
    accuracy, pgr = (
        [trace for trace in figure.data if trace.xaxis == axis] for axis in ("x", "x2")
    )
    assert [trace.name for trace in accuracy] == list(ARMS)
    naive = accuracy[1]
    assert list(naive.x) == ["films<br>(trained on)", "goods", "tweets"]
    assert list(naive.y) == pytest.approx([0.7, 0.65, 0.6])
    assert list(naive.error_y.array) == pytest.approx([0.03] * 3)
    assert list(naive.error_y.arrayminus) == pytest.approx([0.02] * 3)
    assert [trace.name for trace in pgr] == ["student, naive"]
    assert len(pgr[0].y) == 2  # where it is defined
    assert figure.layout.xaxis2.categoryarray == ("films<br>(trained on)", "goods", "tweets")


def test_a_table_of_one_task_is_refused():
    with pytest.raises(ValueError, match="expected that of Arms.table_elsewhere"):
        plots.in_and_out(made_table().drop(columns="tested_on"), "t")
