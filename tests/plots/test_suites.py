"""Figures of suites show the medians that they are given, and published ones beside them."""

import pandas as pd
import pytest

from w2s_nb import plots
from w2s_nb.published import register

ARMS = ("weak supervisor", "student, naive", "student, confidence", "strong ceiling")
SIZES = {"m@4": 4, "m@8": 8, "m@12": 12, "m@16": 16}


@pytest.fixture
def rows():
    """Returns made medians of every pair of four models, the smallest student first."""
    made = []
    for strong, depth in SIZES.items():
        for weak, height in SIZES.items():
            for i, arm in enumerate(ARMS if height < depth else ()):
                accuracy = {0: 0.5 + height / 50, 3: 0.6 + depth / 50}.get(i, 0.6 + i / 50)
                row = {"weak": weak, "strong": strong, "arm": arm}
                recovered = i / 4 + height / 100 if i in (1, 2) else float("nan")
                for name, value in {"accuracy": accuracy, "pgr": recovered}.items():
                    row |= {name: value, f"{name}_low": value - 0.1, f"{name}_high": value + 0.1}
                made.append(row)
    return pd.DataFrame(made)


def test_a_panel_per_student_has_a_line_per_supervisor(rows):
    figure = plots.by_pair(rows, "title")
    assert [note.text for note in figure.layout.annotations[:2]] == list(ARMS[1:3])
    lines = {(trace.xaxis, trace.name): trace for trace in figure.data}
    assert len(lines) == len(figure.data) == 6
    naive = rows[(rows.arm == "student, naive") & (rows.weak == "m@4")]
    line = lines["x", "taught by 4 layers"]
    assert list(line.y) == naive.pgr.tolist()
    assert list(line.x) == ["8 layers", "12 layers", "16 layers"]
    assert len({trace.line.color for trace in figure.data}) == 3
    assert [trace.showlegend for trace in figure.data] == [True] * 3 + [False] * 3


def test_accuracies_stand_between_supervisors_and_ceiling(rows):
    figure = plots.by_pair(rows, "title", measure="accuracy")
    dashes = [trace.line.dash for trace in figure.data if trace.xaxis == "x"]
    assert dashes.count("dot") == 3 and dashes.count("dash") == 1
    ceiling = next(trace for trace in figure.data if trace.line.dash == "dash")
    assert list(ceiling.x) == ["8 layers", "12 layers", "16 layers"], "each student's once"
    assert list(ceiling.y) == pytest.approx([0.76, 0.84, 0.92])


def test_the_papers_curve_stands_beside_ours_in_grey(rows):
    numbers = [register.number("burns-2023", f"naive-pgr-supervisor-{i}") for i in range(1, 7)]
    figure = plots.by_supervisor(
        rows[rows.strong == "m@16"], "title", paper={"student, naive": numbers}
    )
    ours, beside = ([t for t in figure.data if t.xaxis == axis] for axis in ("x", "x2"))
    assert [t.name for t in ours] == list(ARMS[1:3])
    assert list(ours[0].y) == pytest.approx([0.29, 0.33, 0.37])
    assert list(beside[0].y) == [number.value for number in numbers]
    assert "figure 3d" in beside[0].hovertext[0]
    named = [note for note in figure.layout.annotations if note.text == "student, naive"]
    assert [(note.x, note.y) for note in named] == [(0, 0.27)], "at the first of its places"


def test_without_a_paper_there_is_one_panel(rows):
    figure = plots.by_supervisor(rows[rows.strong == "m@16"], "title")
    assert {trace.xaxis for trace in figure.data} == {"x"}


def test_a_pair_without_a_pgr_has_no_point(rows):
    rows.loc[(rows.weak == "m@12"), ["pgr", "pgr_low", "pgr_high"]] = float("nan")
    figure = plots.by_pair(rows, "title")
    assert [len(trace.x) for trace in figure.data] == [3, 2, 0] * 2
