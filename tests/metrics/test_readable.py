"""A table for reading has a number and its interval in one cell."""

import math

import pandas as pd
import pytest

import w2s_nb as w2s


@pytest.fixture
def table():
    rows = {
        "seeds": [5, 5],
        "accuracy": [0.75, 0.8],
        "accuracy_low": [0.7, 0.7755],
        "accuracy_high": [0.8, 0.85],
        "pgr": [math.nan, 0.5],
        "pgr_low": [math.nan, -math.inf],
        "pgr_high": [math.nan, 0.75],
        "pgr_note": ["", "supervisor not above chance"],
        "lr": [1e-3, 5e-5],
        "agreement": [math.nan, math.nan],
    }
    return pd.DataFrame(rows, index=pd.Index(["weak supervisor", "student, naive"], name="arm"))


def test_each_number_has_its_interval_and_what_is_the_same_stands_below(table):
    before = table.copy()
    text = w2s.readable(table)
    assert text.to_dict("list") == {
        "test accuracy": ["0.750 [0.700, 0.800]", "0.800 [0.775, 0.850]"],
        "PGR": ["", "0.500 [no bound, 0.750] †"],
        "learning rate": ["0.001", "5e-05"],
    }
    no_bound = "no bound: in some draws there is no gap between supervisor and ceiling to divide by"
    assert text.below == ["in all rows: seeds 5", "† supervisor not above chance", no_bound]
    assert list(text.index) == list(table.index)
    pd.testing.assert_frame_equal(table, before)


def test_the_lines_below_are_shown_in_text_html_and_latex(table):
    text = w2s.readable(table)
    for shown in (repr(text), text._repr_html_(), text.to_latex()):
        assert "supervisor not above chance" in shown and "0.750 [0.700, 0.800]" in shown


def test_latex_escapes_what_would_break_a_paper(tmp_path):
    table = pd.DataFrame({"arm": ["generalized_xent, 5%"], "accuracy": [0.5]})
    text = w2s.readable(table, {"arm": "method & loss", "accuracy": "accuracy"})
    assert "generalized\\_xent, 5\\%" in text.to_latex()
    assert "method \\& loss" in text.to_latex()
    text.to_latex(tmp_path / "table.tex")
    assert "generalized\\_xent" in (tmp_path / "table.tex").read_text()


def test_seven_columns_are_shown_and_the_others_named():
    wide = pd.DataFrame({f"column_{i}": [i, i + 1] for i in range(9)})
    text = w2s.readable(wide)
    assert list(text) == [f"column {i}" for i in range(7)]
    assert text.below == ["further columns of the table itself: column_7, column_8"]


def test_columns_are_chosen_in_order_with_titles_and_a_form(table):
    text = w2s.readable(table, ["pgr", "accuracy"], form=".2f")
    assert list(text) == ["PGR", "test accuracy"]
    assert text["test accuracy"].iloc[1] == "0.80 [0.78, 0.85]"
    with pytest.raises(w2s.common.registry.UnknownName, match="acuracy.*accuracy"):
        w2s.readable(table, ["acuracy"])


def test_one_row_shows_everything():
    text = w2s.readable(pd.DataFrame({"seeds": [5], "accuracy": [0.5]}))
    assert list(text) == ["seeds", "test accuracy"] and text.below == []


def test_a_part_of_a_readable_table_is_readable(table):
    assert "0.500" in w2s.readable(table).loc[["student, naive"]]._repr_html_()


def test_a_small_p_value_is_not_written_as_zero():
    text = w2s.readable(pd.DataFrame({"p": [0.0001, 0.0306], "p_holm": [0.0004, 0.09]}))
    assert list(text["p"]) == ["< 0.001", "0.031"]
    assert list(text["p by Holm"]) == ["< 0.001", "0.090"]


def test_perplexities_are_whole_numbers_and_ratios_are_not():
    table = pd.DataFrame({"perplexity_after": [301809.4], "after_over_before": [0.00139]})
    for name in list(table):
        table[f"{name}_low"] = table[f"{name}_high"] = table[name]
    assert w2s.readable(table).iloc[0].tolist() == [
        "301,809 [301,809, 301,809]",
        "0.001 [0.001, 0.001]",
    ]
