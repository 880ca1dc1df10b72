"""Single examples, as supervisor and student see them."""

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
# JupyterLab's colours where there are some, so that both its themes are readable, and others outside of it
_INK, _LINE, _FAINT = (
    "var(--jp-content-font-color1, #222)",
    "var(--jp-border-color1, #bbb)",
    "var(--jp-layout-color2, #eee)",
)


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
    """Student against supervisor, a point a test example; of a task that is answered, how many are right for whom.

    Args:
        rows: of `exploring.differences`.
        student: the arm, whose colour stands for where it alone is right.
        chosen: id of an example to be ringed.
    """
    if "p_right" in rows:
        figure, counts = (
            figure_of(title, "", "test examples", showlegend=False),
            rows.right.value_counts(),
        )
        for who, name in RIGHT.items():
            n = counts.get(who, 0)
            figure.add_bar(x=[name], y=[n], marker_color=_colours(student)[who], text=[n])
        return figure
    figure = figure_of(title, "supervisor's P(y = 1)", "student's P(y = 1)")
    for who, name in RIGHT.items():
        part = rows[rows.right == who]
        figure.add_scatter(
            x=part.supervisor,
            y=part.student,
            mode="markers",
            name=f"{name}: {len(part)}",
            text=[f"truth {y}" for y in part.truth],
            marker=dict(color=_colours(student)[who], symbol=_SYMBOLS[who], size=6),
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
    for line in (figure.add_hline, figure.add_vline):
        line(0.5, line_dash="dot", line_width=1.5)
    figure.update_xaxes(range=[-0.03, 1.03])
    figure.update_yaxes(range=[-0.03, 1.03])
    return figure


def card(row: pd.Series, *, student: str = "student, naive") -> str:
    """An example as HTML: its text or its two, the truth, and how sure supervisor and student are of class 1.

    Args:
        row: of `exploring.differences`, of a task of two classes.
        student: the arm, for its colour.
    """
    if "text" in row:
        boxes, classes = [("", row.text)], ("class 0", "class 1")
        bars = "P(y = 1)"
    else:
        better = ["better" if row.truth == i else "worse" for i in (0, 1)]
        boxes, classes = (
            [(f"first, {better[0]}", row["first"]), (f"second, {better[1]}", row.second)],
            ("the first is better", "the second is better"),
        )
        bars = "P(the second is better)"
    texts = "".join(
        f"<div style='flex: 1 1 280px; border: 1px solid {_LINE}; border-radius: 4px; padding: 8px 12px; max-height: "
        f"260px; overflow-y: auto; white-space: pre-wrap'>{f'<b>{head}</b><br>' if head else ''}{html.escape(text)}</div>"
        for head, text in boxes
    )
    lines = "".join(
        _bar(who, value, shade)
        for who, value, shade in (
            ("supervisor", row.supervisor, colour(WEAK)),
            ("student", row.student, colour(student)),
            ("truth", float(row.truth), colour(CEILING)),
        )
    )
    return (
        f"<div style='color: {_INK}; line-height: 1.45; max-width: 900px'><div style='display: flex; gap: 12px; "
        f"flex-wrap: wrap'>{texts}</div><p style='margin: 8px 0 2px'>Truth: <b>{classes[int(row.truth)]}</b>. "
        f"Right: <b>{RIGHT[row.right]}</b>. {bars}:</p>{lines}</div>"
    )


def _bar(who: str, value: float, shade: str) -> str:
    return (
        f"<div style='display: flex; align-items: center; gap: 8px'><span style='width: 90px'>{who}</span>"
        f"<span style='width: 300px; height: 12px; background: {_FAINT}; border: 1px solid {_LINE}'><span style='"
        f"display: block; height: 100%; width: {100 * value:.1f}%; background: {shade}'></span></span>"
        f"<span>{value:.2f}</span></div>"
    )
