"""Draws single examples, as supervisor and student see them."""

from __future__ import annotations

import html

import pandas as pd
import plotly.graph_objects as go

from .base import CEILING, WEAK, colour, figure_of

RIGHT = {
    "both": "both right",
    "student": "student alone right",
    "supervisor": "supervisor alone right",
    "neither": "both wrong",
}
_SYMBOLS = {"both": "circle", "student": "diamond", "supervisor": "square", "neither": "x"}
# JupyterLab's colours where there are some, so that both its themes are readable, and others
# outside of it
_INK = "var(--jp-content-font-color1, #222)"
_LINE = "var(--jp-border-color1, #bbb)"
_FAINT = "var(--jp-layout-color2, #eee)"


def _colours(student: str) -> dict[str, str]:
    return {
        "both": "#BBBBBB",
        "student": colour(student),
        "supervisor": colour(WEAK),
        "neither": "#222222",
    }


def differences(
    rows: pd.DataFrame, title: str, *, student: str = "student, naive", chosen: str | None = None
) -> go.Figure:
    """Draws the student's probability of class 1 against the supervisor's, a point per test
    example.

    For a task that is answered by generating, draws how many answers are right by whom.

    Args:
        rows: of `one_setting.differences`.
        student: the arm, whose colour marks the examples that it alone gets right.
        chosen: id of an example to be ringed.
    """
    if "p_right" in rows:
        return _right_answers(rows, title, student)
    figure = figure_of(title, "supervisor's P(y = 1)", "student's P(y = 1)")
    for who_is_right, name in RIGHT.items():
        points = rows[rows.right == who_is_right]
        figure.add_scatter(
            x=points.supervisor,
            y=points.student,
            mode="markers",
            name=f"{name}: {len(points)}",
            text=[f"truth {y}" for y in points.truth],
            marker=dict(
                color=_colours(student)[who_is_right], symbol=_SYMBOLS[who_is_right], size=6
            ),
        )
    ringed = rows[rows.id == chosen]
    figure.add_scatter(
        x=ringed.supervisor,
        y=ringed.student,
        mode="markers",
        showlegend=False,
        hoverinfo="skip",
        marker=dict(size=17, color="#D55E00", symbol="circle-open", line_width=3),
    )
    for add_line in (figure.add_hline, figure.add_vline):
        add_line(0.5, line_dash="dot", line_width=1.5)
    figure.update_xaxes(range=[-0.03, 1.03])
    figure.update_yaxes(range=[-0.03, 1.03])
    return figure


def _right_answers(rows: pd.DataFrame, title: str, student: str) -> go.Figure:
    """Draws a bar per value of the column `right`: how many test examples have it."""
    figure = figure_of(title, "", "test examples", showlegend=False)
    counts = rows.right.value_counts()
    for who_is_right, name in RIGHT.items():
        n = counts.get(who_is_right, 0)
        figure.add_bar(x=[name], y=[n], marker_color=_colours(student)[who_is_right], text=[n])
    return figure


def card(row: pd.Series, *, student: str = "student, naive") -> str:
    """Returns an example as HTML: its texts, the truth, and each P(y = 1).

    Args:
        row: of `one_setting.differences`, of a task of two classes.
        student: the arm, for its colour.
    """
    if "text" in row:
        boxes = [_box("", row.text)]
        classes = ("class 0", "class 1")
        quantity = "P(y = 1)"
    else:
        first, second = ("better", "worse") if row.truth == 0 else ("worse", "better")
        boxes = [
            _box(f"first, {first}", row["first"]),
            _box(f"second, {second}", row.second),
        ]
        classes = ("the first is better", "the second is better")
        quantity = "P(the second is better)"
    bars = [
        _bar("supervisor", row.supervisor, colour(WEAK)),
        _bar("student", row.student, colour(student)),
        _bar("truth", float(row.truth), colour(CEILING)),
    ]
    return (
        f"<div style='color: {_INK}; line-height: 1.45; max-width: 900px'>"
        f"<div style='display: flex; gap: 12px; flex-wrap: wrap'>{''.join(boxes)}</div>"
        f"<p style='margin: 8px 0 2px'>Truth: <b>{classes[int(row.truth)]}</b>. "
        f"Right: <b>{RIGHT[row.right]}</b>. {quantity}:</p>{''.join(bars)}</div>"
    )


def _box(head: str, text: str) -> str:
    """Returns a text in a frame as HTML, under a head unless that is empty."""
    head_line = f"<b>{head}</b><br>" if head else ""
    return (
        f"<div style='flex: 1 1 280px; border: 1px solid {_LINE}; border-radius: 4px; "
        "padding: 8px 12px; max-height: 260px; overflow-y: auto; white-space: pre-wrap'>"
        f"{head_line}{html.escape(text)}</div>"
    )


def _bar(name: str, probability: float, shade: str) -> str:
    """Returns a named probability as HTML: a bar of that length, and the number."""
    return (
        "<div style='display: flex; align-items: center; gap: 8px'>"
        f"<span style='width: 90px'>{name}</span>"
        f"<span style='width: 300px; height: 12px; background: {_FAINT}; "
        f"border: 1px solid {_LINE}'>"
        f"<span style='display: block; height: 100%; width: {100 * probability:.1f}%; "
        f"background: {shade}'></span></span>"
        f"<span>{probability:.2f}</span></div>"
    )
