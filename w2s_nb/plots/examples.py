"""Draws single examples, as supervisor and student see them."""

from __future__ import annotations

import html
from collections.abc import Mapping

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from .base import CEILING, LINE, WEAK, colour, figure_of, name_places
from .findings import say_confused, say_right_by

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
_MOST_CLASSES = 10  # of which a card shows every probability; of more, the largest
_MOST_CLASSES_WITH_NUMBERS = 20  # in the cells of `confusion`


def _colours(student: str) -> dict[str, str]:
    return {
        "both": "#BBBBBB",
        "student": colour(student),
        "supervisor": colour(WEAK),
        "neither": LINE,  # seen on a light and on a dark ground
    }


def differences(
    rows: pd.DataFrame,
    settings: str,
    *,
    title: str = "",
    student: str = "student, naive",
    chosen: str | None = None,
) -> go.Figure:
    """Draws the student's probability of class 1 against the supervisor's, a point per test
    example; of more than two classes, of the true class.

    The dotted lines are at 1/K of K classes. For a task that is answered by generating, draws how
    many answers are right by whom.

    Args:
        rows: of `one_setting.differences`; `rows.attrs["classes"]` names the classes, two where
            there is none.
        settings: what was run; it stands below the title.
        title: "" says how many examples supervisor and student alone get right.
        student: the arm, whose colour marks the examples that it alone gets right.
        chosen: id of an example to be ringed.
    """
    title = title or say_right_by(rows.right.value_counts())
    if "p_right" in rows:
        return _right_answers(rows, title, settings, student)
    classes = rows.attrs.get("classes", ("0", "1"))
    quantity = "P(y = 1)" if len(classes) == 2 else "P(true class)"
    axes = (f"supervisor's {quantity}", f"student's {quantity}")
    figure = figure_of(title, *axes, settings=settings)
    for who_is_right, name in RIGHT.items():
        points = rows[rows.right == who_is_right]
        figure.add_scatter(
            x=points.supervisor,
            y=points.student,
            mode="markers",
            name=f"{name}: {len(points)}",
            text=_on_hover(points, classes),
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
        add_line(1 / len(classes), line_dash="dot", line_width=1.5, line_color=LINE)
    figure.update_xaxes(range=[-0.03, 1.03])
    figure.update_yaxes(range=[-0.03, 1.03])
    return figure


def _on_hover(points: pd.DataFrame, classes: tuple[str, ...]) -> list[str]:
    """Returns the truth of each point and, of more than two classes, what each model predicts."""
    if len(classes) == 2:
        return [f"truth {y}" for y in points.truth]
    columns = zip(points.truth, points.supervisor_says, points.student_says, strict=True)
    return [
        f"truth {classes[truth]}<br>supervisor {classes[weak]}<br>student {classes[strong]}"
        for truth, weak, strong in columns
    ]


def _right_answers(rows: pd.DataFrame, title: str, settings: str, student: str) -> go.Figure:
    """Draws a bar per value of the column `right`: how many test examples have it."""
    figure = figure_of(title, "", "test examples", settings=settings, showlegend=False)
    counts = rows.right.value_counts()
    for who_is_right, name in RIGHT.items():
        n = counts.get(who_is_right, 0)
        figure.add_bar(
            x=[name],
            y=[n],
            marker_color=_colours(student)[who_is_right],
            text=[n],
            textposition="outside",
            cliponaxis=False,
        )
    return figure


def card(
    row: pd.Series,
    *,
    student: str = "student, naive",
    probs: Mapping[str, np.ndarray] | None = None,
    picture: str = "",
) -> str:
    """Returns an example as HTML: its texts, the truth, and both models' probabilities.

    Args:
        row: of `one_setting.differences`, of a task with classes, whose names are
            `row.attrs["classes"]`.
        student: the arm, for its colour.
        probs: {"supervisor" and "student": (K,)}, of more than two classes.
        picture: an image as HTML, in place of its name.
    """
    classes = row.attrs.get("classes", ("0", "1"))
    bars = [
        _bar("supervisor", row.supervisor, colour(WEAK)),
        _bar("student", row.student, colour(student)),
    ]
    if len(classes) > 2:
        boxes = [picture or _box("", row.text)]
        names = [html.escape(name) for name in classes]
        quantity = "P(true class)"
        if probs:
            quantity = "Probabilities"
            bars = _bars_of_classes(int(row.truth), names, probs, student)
    elif "text" in row:
        boxes = [picture or _box("", row.text)]
        names = _two_names(classes)
        quantity = "P(y = 1)"
        bars.append(_bar("truth", float(row.truth), colour(CEILING)))
    else:
        first, second = ("better", "worse") if row.truth == 0 else ("worse", "better")
        boxes = [
            _box(f"first, {first}", row["first"]),
            _box(f"second, {second}", row.second),
        ]
        names = ["the first is better", "the second is better"]
        quantity = "P(the second is better)"
        bars.append(_bar("truth", float(row.truth), colour(CEILING)))
    return _card(boxes, row, names[int(row.truth)], quantity, bars)


def _two_names(classes: tuple[str, ...]) -> list[str]:
    """Returns what a card calls each of two classes: its number and its name, if it has one."""
    named = [
        "" if name == str(number) else f", {html.escape(name)}"
        for number, name in enumerate(classes)
    ]
    return [f"class {number}{name}" for number, name in enumerate(named)]


def _bars_of_classes(
    truth: int, names: list[str], probs: Mapping[str, np.ndarray], student: str
) -> list[str]:
    """Returns the probabilities of the classes as HTML, of one model after the other.

    Of many classes the truth is shown, and those that either model finds likeliest.
    """
    shown = set(range(len(names)))
    if len(names) > _MOST_CLASSES:
        shown = {truth}
        for of_model in probs.values():
            shown |= set(np.argsort(-of_model)[: _MOST_CLASSES // 2].tolist())
    shades = {"supervisor": colour(WEAK), "student": colour(student)}
    bars = []
    for model, of_model in probs.items():
        bars.append(f"<div><b>{model}</b></div>")
        for number in sorted(shown):
            bars.append(_bar(names[number], float(of_model[number]), shades[model]))
    hidden = len(names) - len(shown)
    return [*bars, f"<div>{hidden} further classes are not shown</div>"] if hidden else bars


def _card(boxes: list[str], row: pd.Series, truth: str, quantity: str, bars: list[str]) -> str:
    return (
        f"<div style='color: {_INK}; line-height: 1.45; max-width: 900px'>"
        f"<div style='display: flex; gap: 12px; flex-wrap: wrap'>{''.join(boxes)}</div>"
        f"<p style='margin: 8px 0 2px'>Truth: <b>{truth}</b>. "
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


def confusion(table: pd.DataFrame, settings: str, *, title: str = "") -> go.Figure:
    """Draws which class is predicted for examples of each class, as shares of the true class.

    Args:
        table: of `Arms.confusion`: a row per true class, a column per predicted class.
        settings: what was run; it stands below the title.
        title: "" says which class is recognised least, and what it is taken for.
    """
    few = len(table) <= _MOST_CLASSES_WITH_NUMBERS
    figure = figure_of(
        title or say_confused(table),
        "predicted class",
        "true class",
        settings=settings,
        height=max(430, 200 + 26 * len(table)) if few else 760,
    )
    figure.add_heatmap(
        x=table.columns,
        y=table.index,
        z=table,
        zmin=0,
        zmax=1,
        colorscale="Blues",
        texttemplate="%{z:.2f}" if few else None,
        hovertemplate="%{y} predicted as %{x}: %{z:.3f}<extra></extra>",
        colorbar=dict(title="share", outlinewidth=0),
    )
    figure.update_xaxes(type="category")
    if few:
        name_places(figure.layout.xaxis, [str(name) for name in table.columns])
    # the first class above, as in the table
    figure.update_yaxes(type="category", autorange="reversed", showgrid=False)
    return figure
