"""The figure of recall against the audit budget."""

import numpy as np

from w2s_nb import metrics, plots


def test_every_monitor_has_a_line_with_intervals_and_the_budgets_are_marked():
    rng = np.random.default_rng(0)
    label = np.repeat([0, 1], 50)
    p1 = rng.random(100)
    curve = metrics.recall_curve({"student, naive": np.stack([1 - p1, p1], -1)}, label)
    figure = plots.recall_by_budget(curve, "title", marked=(0.01, 0.05))
    line, perfect, random = figure.data
    assert [trace.name for trace in figure.data] == ["student, naive", "perfect", "at random"]
    own = curve[curve.monitor == "student, naive"]
    assert list(line.y) == own.recall.tolist() and list(line.x) == own.budget.tolist()
    np.testing.assert_allclose(line.error_y.array, own.recall_high - own.recall)
    assert perfect.error_y.array is None and list(random.y) == list(random.x)
    assert [shape.x0 for shape in figure.layout.shapes] == [0.01, 0.05]
    assert figure.layout.xaxis.type == "log" and "1 %" in figure.layout.xaxis.ticktext


def test_baselines_and_arms_have_different_colours():
    names = ["length", "bag of words", "neighbouring words", "bandit", "weak supervisor"]
    names += ["student, naive", "student, confidence", "strong ceiling"]
    assert len({plots.colour(name) for name in names}) == len(names)
