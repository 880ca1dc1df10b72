"""Published values stand in figures small and grey, named, and without moving what is ours."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from w2s_nb import plots

NUMBER = SimpleNamespace(
    value=0.27, low=0.2, high=0.4, error=0.01, about="naive PGR", where="figure 3d"
)


def figure_of_two_arms():
    rows = pd.DataFrame(
        {
            "arm": ["student, naive", "student, confidence"],
            "strong": ["a", "a"],
            "pgr": [0.1, 0.3],
            "pgr_low": [0.0, 0.2],
            "pgr_high": [0.2, 0.4],
        }
    )
    return plots.pgr(rows, rows.assign(seed=0), "t", x="strong")


def marks_of(figure):
    return [trace for trace in figure.data if trace.name == "paper"]


def captions_of(figure):
    return [each.text for each in figure.layout.annotations if "paper" in each.text]


def test_a_mark_has_its_value_its_place_and_its_spread():
    figure = plots.paper_mark(figure_of_two_arms(), NUMBER, x="a", arm="student, naive")
    (mark,) = marks_of(figure)
    assert list(mark.x) == ["a"] and list(mark.y) == [0.27]
    assert mark.error_y.array[0] == pytest.approx(0.13)
    assert mark.error_y.arrayminus[0] == pytest.approx(0.07)
    assert mark.offsetgroup == "student, naive", "it stands beside the arm that it is compared with"


def test_a_mark_says_what_it_is_how_it_was_read_and_where():
    (mark,) = marks_of(plots.paper_mark(figure_of_two_arms(), NUMBER, x="a"))
    for word in ("naive PGR", "0.27", "[0.2, 0.4]", "figure 3d", "0.01"):
        assert word in mark.hovertext[0]
    printed = plots.paper_mark(figure_of_two_arms(), 0.5, x="a", label="half of the gap, section 1")
    assert marks_of(printed)[0].hovertext[0] == "paper: half of the gap, section 1<br>0.5"


def test_marks_of_one_figure_share_one_caption():
    figure = figure_of_two_arms()
    for where in ("figure 3d", "figure 5b", "figure 3d"):
        number = SimpleNamespace(value=0.5, about="PGR", where=where)
        plots.paper_mark(figure, number, x="a")
    assert captions_of(figure) == ["◇ paper: figure 3d; figure 5b"]


def test_a_mark_is_grey_small_and_leaves_colours_and_legend_alone():
    before = figure_of_two_arms()
    figure = plots.paper_mark(figure_of_two_arms(), 0.5, x="a", label="half")
    ours = [trace for trace in figure.data if trace.name != "paper"]
    assert [t.to_plotly_json() for t in ours] == [t.to_plotly_json() for t in before.data]
    (mark,) = marks_of(figure)
    assert mark.marker.line.color not in plots.COLOURS.values() and mark.showlegend is False
    assert mark.marker.size < min(t.marker.size for t in ours if t.mode == "markers+text")


@pytest.mark.parametrize("value", [-3.0, 0.5, 4.0])
def test_the_axis_reaches_a_mark_and_is_never_shortened(value):
    low, high = figure_of_two_arms().layout.yaxis.range
    figure = plots.paper_mark(figure_of_two_arms(), value, x="a", label="a value")
    first, last = figure.layout.yaxis.range
    assert first <= min(low, value) and last >= max(high, value)
    assert (first, last) == (low, high) or not low <= value <= high


def test_several_values_make_a_curve():
    figure = plots.paper_mark(
        figure_of_two_arms(), [0.2, 0.6], x=["a", "b"], label="the paper's curve"
    )
    (mark,) = marks_of(figure)
    assert "lines" in mark.mode and list(mark.y) == [0.2, 0.6] and list(mark.x) == ["a", "b"]
    assert [text.split("<br>")[1] for text in mark.hovertext] == ["0.2", "0.6"]
    assert isinstance(
        plots.paper_mark(figure, np.array([0.2, 0.6]), x=["a", "b"], label="l"), type(figure)
    )


def test_a_mark_stands_in_the_panel_that_is_named():
    rows = pd.DataFrame({"arm": ["student, naive"], "strong": ["a"]})
    for on in ("all", "mistakes", "correct"):
        rows = rows.assign(**{f"agreement_{on}{end}": 0.5 for end in ("", "_low", "_high")})
    figure = plots.paper_mark(
        plots.by_size(rows, "agreement", "t"), 0.9, x="a", label="agreement", row=1, col=2
    )
    (mark,) = marks_of(figure)
    panel_2 = [t for t in figure.data if t.name != "paper"][1]
    assert mark.xaxis == panel_2.xaxis and mark.yaxis == panel_2.yaxis
    assert figure.layout.yaxis2.range[1] > 0.9 and figure.layout.yaxis.range[1] > 0.9


@pytest.mark.parametrize(
    "value, x, label, words",
    [
        (0.5, "a", "", "has no label"),
        ([0.5, 0.6], ["a"], "two", "a place for each"),
        ([0.5, 0.6], "ab", "two", "a place for each"),
    ],
    ids=["no label", "too few places", "a word for places"],
)
def test_a_mark_that_says_too_little_is_refused(value, x, label, words):
    with pytest.raises(ValueError, match=words):
        plots.paper_mark(figure_of_two_arms(), value, x=x, label=label)


def test_marks_stand_only_where_the_figure_has_the_place_and_the_arm():
    numbers = {"a": NUMBER, "elsewhere": NUMBER}
    figure = plots.paper_marks(figure_of_two_arms(), numbers, arm="student, naive")
    assert [list(mark.x) for mark in marks_of(figure)] == [["a"]]
    assert not marks_of(plots.paper_marks(figure_of_two_arms(), numbers, arm="student, entropy"))
    assert not captions_of(plots.paper_marks(figure_of_two_arms(), {"elsewhere": NUMBER}))


def test_a_mark_of_a_pair_finds_its_place_by_the_models_names():
    pair = "SmolLM2-135M@4 -> SmolLM2-135M@16"
    rows = pd.DataFrame(
        {"arm": ["student, naive"], "pair": [pair], "pgr": [0.1], "pgr_low": [0], "pgr_high": [0.2]}
    )
    figure = plots.pgr(rows, rows.assign(seed=0), "t", x="pair")
    (mark,) = marks_of(plots.paper_marks(figure, {pair: NUMBER, "a -> b": NUMBER}))
    assert list(mark.x) == ["4 → 16"]
