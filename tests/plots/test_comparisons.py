"""Tests of the figure of methods against naive finetuning."""

import numpy as np
import pandas as pd
import pytest

from w2s_nb import plots


def made_table():
    """Returns a table as of `Comparison.table`."""
    return pd.DataFrame(
        {
            "method": ["naive", "good", "lucky", "poor", "constant", "strong ceiling"],
            "kind": ["method", "method", "method", "method", "free", "ceiling"],
            "difference": [0, 0.05, 0.02, -0.01, -0.2, 0.1],
            "difference_low": [0, 0.03, 0.001, -0.03, -0.22, 0.08],
            "difference_high": [0, 0.07, 0.04, 0.01, -0.18, 0.12],
            "p": [np.nan, 0.001, 0.04, 0.6, np.nan, np.nan],
            "p_holm": [np.nan, 0.003, 0.08, 0.6, np.nan, np.nan],
        }
    )


def test_a_mark_tells_what_survives_the_correction():
    figure = plots.gains_over_naive(made_table(), "t")
    drawn = {trace.name: (list(trace.y), trace.marker.symbol) for trace in figure.data}
    assert drawn == {
        "below .05 after correction": (["good"], "circle"),
        "below .05 before it alone": (["lucky"], "circle-open"),
        "not told from naive": (["poor"], "x"),
        "costs nothing: not tested": (["constant"], "diamond"),
    }
    assert figure.layout.yaxis.categoryarray == ("constant", "poor", "lucky", "good")
    assert figure.data[0].error_x.arrayminus[0] == pytest.approx(0.02)


def test_another_table_is_refused():
    with pytest.raises(ValueError, match="no differences to naive"):
        plots.gains_over_naive(made_table().drop(columns="p_holm"), "t")
