"""Tests of the figure of arms under stresses."""

import numpy as np
import pandas as pd
import pytest

from w2s_nb import plots

ARMS = {
    "weak supervisor": 0.60,
    "student, naive": 0.65,
    "student, confidence": 0.66,
    "student, entropy": 0.67,
    "student, product": 0.64,
    "strong ceiling": 0.80,
}


def made_table(cost: float = 0.1, gain: float = 0.04) -> pd.DataFrame:
    """Returns a table as of `Stressed.table`: no stress, a stress with a control, and another.

    Args:
        cost: of accuracy, under the last stress.
        gain: of the confidence loss over naive under it.
    """
    rows = []
    stresses = {"none": "", "fair": "none", "rare": "fair", "distractor": "none"}
    for stress, control in stresses.items():
        for arm, accuracy in ARMS.items():
            accuracy -= cost if stress == "distractor" else 0
            if stress == "distractor" and arm == "student, product":
                accuracy += 0.1
            over, change = np.nan, np.nan
            if arm.startswith("student") and arm != "student, naive":
                over = gain if (stress, arm) == ("distractor", "student, confidence") else 0.0
            if control:
                change = -cost if stress == "distractor" else 0.0
            row = {"stress": stress, "arm": arm, "control": control}
            for name, value in {"accuracy": accuracy, "over_naive": over, "change": change}.items():
                row |= {name: value, f"{name}_low": value - 0.02, f"{name}_high": value + 0.03}
            rows.append(row)
    return pd.DataFrame(rows)


def drawn(figure, panel: str) -> dict:
    """Returns {arm: {stress: value}} of a panel, 'x' or 'x2'."""
    return {
        trace.name: dict(zip(trace.y, trace.x, strict=True))
        for trace in figure.data
        if trace.xaxis == panel
    }


def test_each_arm_has_a_point_under_each_stress():
    figure = plots.under_stress(made_table(), "settings")
    accuracy = drawn(figure, "x")
    assert list(accuracy) == [
        "weak supervisor",
        "student, naive",
        "student, confidence",
        "best other loss",
        "strong ceiling",
    ]
    assert accuracy["student, naive"] == pytest.approx(
        {"none": 0.65, "fair": 0.65, "rare": 0.65, "distractor": 0.55}
    )
    assert accuracy["best other loss"] == pytest.approx(
        {"none": 0.67, "fair": 0.67, "rare": 0.67, "distractor": 0.64}
    )
    naive = figure.data[1]
    assert list(naive.error_x.array) == pytest.approx([0.03] * 4)
    assert list(naive.error_x.arrayminus) == pytest.approx([0.02] * 4)
    best = next(trace for trace in figure.data if trace.name == "best other loss")
    names = {place: text.split("<br>")[0] for place, text in zip(best.y, best.hovertext)}
    assert names["rare"] == "student, entropy" and names["distractor"] == "student, product"


def test_the_second_panel_has_gains_over_the_naive_student():
    gains = drawn(plots.under_stress(made_table(), ""), "x2")
    assert list(gains) == ["student, confidence", "best other loss"]
    assert gains["student, confidence"] == {"none": 0, "fair": 0, "rare": 0, "distractor": 0.04}


def test_places_keep_their_order_and_name_what_is_compared_with():
    axis = plots.under_stress(made_table(), "").layout.yaxis
    assert axis.categoryarray == ("none", "fair", "rare", "distractor")
    assert axis.ticktext == ("no stress", "fair<br>(to compare with)", "rare", "distractor")
    assert axis.range[0] > axis.range[1]  # the first on top


@pytest.mark.parametrize(
    ("cost", "gain", "title"),
    [
        (0.1, 0.04, "1 of 2 stresses cost the naive student accuracy beyond the error; "
         "another loss is better under 1"),
        (0.0, 0.01, "0 of 2 stresses cost the naive student accuracy beyond the error; "
         "another loss is better under none"),
    ],
)  # fmt: skip
def test_the_title_counts_stresses_without_their_controls(cost, gain, title):
    figure = plots.under_stress(made_table(cost, gain), "settings")
    assert figure.layout.title.text.replace("<br>", " ") == title
    assert figure.layout.title.subtitle.text == "settings"
    assert plots.under_stress(made_table(), "", title="mine").layout.title.text == "mine"


def test_chance_is_drawn_where_the_table_has_it():
    table = made_table()
    assert len(plots.under_stress(table, "").layout.shapes) == 1
    table.attrs["chance"] = 0.5
    lines = plots.under_stress(table, "").layout.shapes
    assert [line.x0 for line in lines] == [0.5, 0]


def test_a_table_without_a_further_loss_is_drawn():
    table = made_table()
    table = table[~table.arm.isin(("student, entropy", "student, product"))]
    assert "best other loss" not in drawn(plots.under_stress(table, ""), "x")


def test_another_table_is_refused():
    with pytest.raises(ValueError, match=r"expected that of run_stress\(...\).table\(\)"):
        plots.under_stress(made_table().drop(columns="control"), "t")
