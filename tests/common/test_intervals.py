"""A number and its interval are written alike everywhere."""

import math

import numpy as np
import pytest

from w2s_nb.common.intervals import interval_cell, interval_text, note_lines
from w2s_nb.metrics.estimate import Estimate


@pytest.mark.parametrize(
    "low, high, text",
    [
        (0.25, 1.0, "0.500 [0.250, 1.000]"),
        (None, 1.0, "0.500 [no bound, 1.000]"),
        (-math.inf, math.inf, "0.500 [no bounds]"),
        (math.nan, math.nan, "0.500"),
    ],
)
def test_an_end_may_be_without_a_bound_or_not_computed(low, high, text):
    """JSON has null for an infinite end; a number without draws has NaN."""
    assert interval_text(0.5, low, high) == text
    assert interval_cell({"x": 0.5, "x_low": low, "x_high": high}, "x") == text


@pytest.mark.parametrize("missing", [None, math.nan, np.float64("nan")])
def test_what_is_not_defined_is_empty(missing):
    assert interval_text(missing, 0.1, 0.2) == interval_cell({"x": missing}, "x") == ""
    assert interval_cell({}, "x") == ""


def test_an_estimate_is_written_as_its_row_of_a_table_is():
    """Half of a thousandth is rounded one way in figure, table and text."""
    estimate = Estimate(0.7375, 0.7065, 0.7675, 800)
    assert interval_cell(estimate.as_dict("accuracy"), "accuracy") == format(estimate)


def test_a_note_marks_its_number_and_stands_once_below():
    rows = [{"pgr": 0.1, "pgr_note": "noise"}, {"pgr": 0.2, "pgr_note": "noise"}]
    rows += [{"pgr": 0.3, "pgr_note": ""}, {"pgr": 0.4, "pgr_note": math.nan}]
    assert [interval_cell(row, "pgr", ".1f") for row in rows] == ["0.1 †", "0.2 †", "0.3", "0.4"]
    assert note_lines(rows, ["pgr", "other"]) == ["† noise"]
