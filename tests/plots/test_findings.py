"""Titles say what the numbers of a figure show, and no more."""

import itertools
import math

import pandas as pd
import pytest

from w2s_nb import plots
from w2s_nb.plots import findings


def estimates(column, values, **others):
    """Returns rows of {column, column_low, column_high} of (value, low, high), and others."""
    ends = zip(*values, strict=True)
    return pd.DataFrame(
        {f"{column}{end}": each for end, each in zip(("", "_low", "_high"), ends, strict=True)}
        | others
    )


def test_students_below_their_supervisor_are_said_to_be():
    rows = estimates("pgr", [(0.5, 0.3, 0.7), (-0.4, -0.6, -0.2)], arm=["student, a", "student, b"])
    assert findings.say_recovered(rows) == (
        "Students recover -40 to 50 % of the gap; 1 of 2 beyond the error; 1 below the supervisor"
    )
    assert findings.say_recovered(rows[1:]) == "The student is worse than the supervisor"
    assert findings.say_above(rows).endswith("; 1 fell below the supervisor")


def test_gain_is_as_predicted_only_where_intervals_meet():
    rows = estimates("gain", [(0.1, 0.0, 0.2), (0.1, 0.05, 0.15), (0.6, 0.5, 0.7)])
    predicted = estimates("misfit", [(0.15, 0.1, 0.3), (0.3, 0.2, 0.4), (0.2, 0.1, 0.3)])
    said = findings.say_gain(rows.join(predicted))
    assert said == (
        "Within its error the gain is as predicted for 1 of 3 students, below it for 1, "
        "above it for 1"
    )


def test_a_change_by_shots_has_its_intervals():
    rows = estimates("accuracy", [(0.5, 0.4, 0.6), (0.7, 0.6, 0.8)], shots=[0, 16])
    assert findings.say_by_shots(rows) == (
        "From 0 to 16 shots accuracy goes from 0.50 [0.40, 0.60] to 0.70 [0.60, 0.80]"
    )


def test_students_and_the_best_other_monitor_are_named_at_a_budget():
    names = ["length", "words", "student, naive", "strong ceiling"]
    rows = pd.DataFrame(
        {"monitor": names * 2, "budget": [0.01] * 4 + [0.5] * 4, "recall": [0.1, 0.2, 0.3, 1] * 2}
    )
    said = findings.say_caught(rows, 0.02)
    assert said == "Within a budget of 1 % the harm found is: naive 30 %, words 20 %"


def test_survivors_and_new_mistakes_of_a_chain_are_counted():
    counts = pd.DataFrame(
        [
            (0, "right", "right", 50),
            (0, "passed on", "passed on", 12),
            (0, "passed on", "right", 8),
            (1, "passed on", "passed on", 7),
            (1, "passed on", "right", 5),
            (1, "right", "new", 4),
        ],
        columns=["step", "before", "after", "examples"],
    )
    said = findings.say_survived(counts, "4 layers", "16 layers")
    assert said == "Of 20 mistakes at 4 layers, 7 are left at 16 layers, and 4 are new"


def test_a_class_is_named_with_what_it_is_taken_for():
    table = pd.DataFrame([[0.9, 0.1, 0], [0.3, 0.2, 0.5], [0, 0.1, 0.9]], ["a", "b", "c"])
    table.columns = ["a", "b", "c"]
    said = findings.say_confused(table)
    assert said == '"b" is recognised least (0.20), and mostly taken for "c" (0.50)'


def test_home_and_elsewhere_are_counted_apart():
    rows = estimates(
        "pgr",
        [(0.5, 0.3, 0.7), (0.2, -0.1, 0.5), (math.nan,) * 3],
        tested_on=["film", "goods", "tweets"],
    )
    said = findings.say_elsewhere(rows, "film")
    assert said == "PGR above 0 beyond the error: 1 of 1 at home, 0 of 2 elsewhere"


@pytest.mark.parametrize(
    "draw",
    [
        lambda: plots.lines({"a": ([0, 1], [0.2, 0.4])}, "probe, 5 seeds", "x", "share"),
        lambda: plots.flow(
            pd.DataFrame({"step": 0, "before": ["right"], "after": ["right"], "examples": [3]}),
            ["a", "b"],
            "probe, 5 seeds",
        ),
        lambda: plots.confusion(pd.DataFrame([[1.0]], ["a"], ["a"]), "probe, 5 seeds"),
    ],
)
def test_what_was_run_stands_below_what_is_seen(draw):
    title = draw().layout.title
    assert title.subtitle.text == "probe, 5 seeds" and title.text != "probe, 5 seeds"


def test_names_of_lines_that_lie_close_together_are_moved_apart():
    """They covered one another, and points, when they stood inside the plot."""
    from w2s_nb.plots.base import figure_of, name_lines

    figure = figure_of("t", "x", "y")
    name_lines(figure, {"a": 0.70, "b": 0.701, "c": 0.99, "d": 1.0}, (0.0, 1.0))
    places = [note.y for note in figure.layout.annotations]
    assert {note.xref for note in figure.layout.annotations} == {"paper"}
    assert all(after - before > 0.05 for before, after in itertools.pairwise(places))
    assert max(places) <= 1.0 and [shape.y0 for shape in figure.layout.shapes][:2] == [0.70, 0.701]


def test_a_long_title_takes_more_lines_and_height():
    from w2s_nb.plots.base import figure_of

    short, long = figure_of("t", "x", "y"), figure_of("word " * 40, "x", "y")
    assert "<br>" in long.layout.title.text
    assert long.layout.height - long.layout.margin.t == short.layout.height - short.layout.margin.t


def test_lines_say_their_ends_and_of_many_the_one_that_changes_most():
    series = {"student, a": ([0, 1], pd.Series([0.2, 0.4], index=[5, 6]))}
    assert findings.say_line(series, "share") == "Share from 0.2 to 0.4"
    series |= {"b": ([0, 1], [0.5, 0.1])}
    assert findings.say_line(series, "share") == "Share: a from 0.2 to 0.4, b from 0.5 to 0.1"
    series |= {"c": ([0, 1], [0.5, 0.5]), "d": ([0, 1], [0.5, 0.5])}
    assert findings.say_line(series, "share") == "Share changes most for b: 0.5 to 0.1"
    assert findings.say_line({"a": ([], [])}, "share") == "Share"
