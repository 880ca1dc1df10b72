"""The alternative text of a figure says its title, its settings and its values."""

import numpy as np
import plotly.graph_objects as go

from w2s_nb import plots
from w2s_nb.plots.base import figure_of


def made_figure(**trace):
    figure = figure_of("Up &amp; <b>down</b>", "size", "share", settings="probe<br>5 seeds")
    return figure.add_scatter(**trace).to_dict()


def test_title_settings_axes_and_values_are_said_without_tags():
    figure = made_figure(x=["4 layers", "16 layers"], y=np.array([0.5, 0.61234]), name="naive")
    assert plots.alt_text(figure) == (
        "Up & down. probe 5 seeds. share by size. naive: 4 layers 0.5, 16 layers 0.612"
    )


def test_a_point_of_the_arm_that_the_axis_names_is_named_once():
    figure = made_figure(x=["naive"], y=[0.5], name="naive")
    assert plots.alt_text(figure).endswith(". naive: 0.5")


def test_long_traces_and_circles_of_seeds_are_left_out():
    assert plots.alt_text(made_figure(x=list(range(9)), y=[0.1] * 9, name="a")).endswith("by size")
    assert plots.alt_text(made_figure(x=[1, 2], y=[0.1] * 2)).endswith("by size")


def test_an_undefined_value_is_said_and_a_figure_without_a_title_too():
    assert plots.alt_text(made_figure(x=["a"], y=[float("nan")], name="b")).endswith("b: a none")
    assert plots.alt_text(go.Figure().to_dict()) == "figure"


def test_a_text_has_an_end():
    figure = figure_of("t" * 3000, "", "").to_dict()
    assert len(plots.alt_text(figure)) == 900 and plots.alt_text(figure).endswith("…")
