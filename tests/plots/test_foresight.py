"""Tests of the figure of predictors against the gain."""

import numpy as np
import pandas as pd
import pytest

from w2s_nb import plots


def made_points():
    """Returns points as of `Foresight.points`: two tasks, two pairs, two seeds."""
    rng = np.random.default_rng(0)
    rows = [
        {"task": task, "pair": f"m@2 -> m@{depth}", "seed": seed}
        for task in ("films", "tweets")
        for depth in (4, 8)
        for seed in (0, 1)
    ]
    numbers = {name: rng.random(len(rows)) for name in ("gain", "cka", "misfit", "gap")}
    return pd.DataFrame(rows).assign(**numbers)


def made_table():
    """Returns a table as of `Foresight.table`."""
    rows = [
        {"predictor": "cka", "needs": "features", "correlation": -0.4},
        {"predictor": "misfit", "needs": "a student", "correlation": 0.1},
        {"predictor": "gap", "needs": "the truth", "correlation": 0.6},
    ]
    table = pd.DataFrame(rows).set_index("predictor")
    return table.assign(correlation_low=[-0.6, -0.2, 0.2], correlation_high=[-0.1, 0.3, 0.9])


def test_every_predictor_has_a_panel_with_all_points_and_its_correlation():
    figure = plots.predictors(made_points(), made_table(), "probe, 2 seeds")
    assert figure.layout.title.text == "1 of 2 predictors can be told from no correlation"
    assert figure.layout.title.subtitle.text == "probe, 2 seeds"
    titles = [note.text for note in figure.layout.annotations]
    assert titles[0] == "cka<br>-0.40 [-0.60, -0.10]" and len(titles) == 3
    assert titles[2].startswith("gap (needs the truth)<br>")
    for panel in ("x", "x2", "x3"):
        assert sum(len(trace.x) for trace in figure.data if trace.xaxis == panel) == 8
    assert [trace.name for trace in figure.data if trace.showlegend] == ["films", "tweets"]
    assert figure.data[0].text[0] == "2 → 4, seed 0"


def test_no_predictor_told_apart_is_said():
    table = made_table().assign(correlation_low=-0.7)
    figure = plots.predictors(made_points(), table, "")
    assert figure.layout.title.text.startswith("1 of 2")
    figure = plots.predictors(made_points(), table.assign(correlation_high=0.9), "")
    assert figure.layout.title.text.startswith("None of 2")


@pytest.mark.parametrize(
    "points, table, message",
    [
        (made_points().drop(columns="gain"), made_table(), "no column 'gain'; expected Foresight"),
        (made_points().drop(columns="cka"), made_table(), "no column 'cka'"),
        (made_points(), made_table().drop(columns="correlation"), "no column 'correlation'"),
    ],
)
def test_other_tables_are_refused(points, table, message):
    with pytest.raises(ValueError, match=message):
        plots.predictors(points, table, "")
