"""Marks published values in figures, small and grey, so that they are not taken for ours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import plotly.graph_objects as go

from .base import GREY, add_points, short_pair, turned

_CAPTION = "published values"  # name of the annotation that explains the marks of a figure
_ROOM = 0.05  # of the y axis, beyond a mark at its end


def paper_mark(
    figure: go.Figure,
    value: Any,
    *,
    x: Any,
    label: str = "",
    arm: str = "",
    row: int | None = None,
    col: int | None = None,
) -> go.Figure:
    """Adds a published value to a figure: a grey diamond that says on hover what it is.

    Several values make a grey curve. A line above the figure explains the diamonds. The y axis
    is made longer where a value lies beyond it.

    Args:
        value: a number or a sequence of numbers in the units of the y axis, or one that the
            register of published results holds, whose spread is drawn too.
        x: the place on the x axis, or a place for each number of a sequence.
        label: what the value is and where it was published; of a value of the register, its own
            words are taken where there is no label.
        arm: of figures in which arms stand side by side, the arm that the mark belongs to.
        row, col: of figures with several panels.
    Returns:
        the figure itself.
    Raises:
        ValueError: a value without a label; a sequence of another length than `x`.
    """
    values, places = _pairs_of(getattr(value, "value", value), x)
    what = label or getattr(value, "about", "")
    where = getattr(value, "where", "")
    if not what:
        raise ValueError(f"the mark at {x!r} has no label; say what {values} is, and whose")
    add_points(
        figure,
        x=places,
        y=values,
        name="paper",
        showlegend=False,
        mode="lines+markers" if len(values) > 1 else "markers",
        line=dict(color=GREY, width=1, dash="dot"),
        # white inside, so that it is seen on a bar of any colour
        marker=dict(color="white", size=8, symbol="diamond", line=dict(color=GREY, width=1.5)),
        hovertext=[_hover(what, each, value, where) for each in values],
        hoverinfo="text",
        offsetgroup=arm or None,
        error_y=_spread_of(value),
        row=row,
        col=col,
    )
    _make_room(figure, values)
    _explain(figure, where or what, above_titles=row is not None)
    return figure


def paper_marks(
    figure: go.Figure,
    numbers: Mapping[Any, Any],
    *,
    arm: str = "",
    row: int | None = None,
    col: int | None = None,
) -> go.Figure:
    """Adds a published value at each place that a figure has; those of other places are left out.

    Args:
        numbers: {place on the x axis: value, as in `paper_mark`}; a pair of models is found by
                their names, too.
        arm: as in `paper_mark`; nothing is drawn where the figure lacks the arm.
        row, col: as in `paper_mark`.
    Returns:
        the figure itself.
    """
    traces = [trace for trace in figure.data if not arm or trace.offsetgroup == arm]
    axis = "y" if turned(figure) else "x"
    places = {place for trace in traces if trace[axis] is not None for place in trace[axis]}
    for x, value in numbers.items():
        if x not in places and isinstance(x, str):
            x = short_pair(x)  # as figures of PGR write it
        if x in places:
            paper_mark(figure, value, x=x, arm=arm, row=row, col=col)
    return figure


def _pairs_of(value, x) -> tuple[list[float], list]:
    """Returns the values and their places, as lists of one length."""
    if np.ndim(value) == 0:
        return [float(value)], [x]
    if isinstance(x, str) or len(x) != len(value):
        raise ValueError(f"{len(value)} published values at x={x!r}; expected a place for each")
    return [float(each) for each in value], list(x)


def _hover(what: str, value: float, number, where: str) -> str:
    """Returns a mark's text on hover: what it is, its value and spread, and where it stands."""
    low, high = getattr(number, "low", None), getattr(number, "high", None)
    spread = "" if low is None or high is None else f" [{low:g}, {high:g}]"
    error = getattr(number, "error", None)
    read = f", read from the figure to within {error:g}" if error else ""
    source = f"<br>{where}{read}" if where else ""
    return f"paper: {what}<br>{value:g}{spread}{source}"


def _spread_of(number) -> dict | None:
    """Returns plotly's error bar for a published spread; None where there is none."""
    low, high = getattr(number, "low", None), getattr(number, "high", None)
    if low is None or high is None:
        return None
    return dict(
        type="data",
        symmetric=False,
        array=[high - number.value],
        arrayminus=[number.value - low],
        color=GREY,
        thickness=1,
        width=3,
    )


def _make_room(figure: go.Figure, values: list[float]) -> None:
    """Makes the y axes of a figure long enough for values; axes without a range see to it."""

    def lengthen(axis):
        if axis.range is None:
            return
        low, high = axis.range
        room = _ROOM * (high - low)
        lowest = min(values) - room if min(values) < low else low
        highest = max(values) + room if max(values) > high else high
        axis.range = [lowest, highest]

    if turned(figure):
        figure.for_each_xaxis(lengthen)
    else:
        figure.for_each_yaxis(lengthen)


def _explain(figure: go.Figure, where: str, *, above_titles: bool) -> None:
    """Adds to the line above a figure, or above its panels' titles, that explains the diamonds."""
    captions = [each for each in figure.layout.annotations if each.name == _CAPTION]
    if not captions:
        figure.add_annotation(
            name=_CAPTION,
            text=f"◇ paper: {where}",
            xref="paper",
            yref="paper",
            x=1,
            y=1,
            xanchor="right",
            yanchor="bottom",
            yshift=22 if above_titles else 0,
            showarrow=False,
            font=dict(color=GREY, size=11),
        )
    elif where not in captions[0].text.removeprefix("◇ paper: ").split("; "):
        captions[0].text += f"; {where}"
