"""Says in words what a figure shows, to who cannot see it."""

from __future__ import annotations

import base64
import html
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

_MOST_POINTS = 8  # of a trace whose values are told
_MOST_TRACES = 10
_LONGEST = 900  # letters


def alt_text(figure: Mapping[str, Any]) -> str:
    """Returns an alternative text: title, settings, axes, and the values of short traces.

    Args:
        figure: a plotly figure as a dict, as `Figure.to_dict` gives it.
    """
    layout = figure.get("layout", {})
    title = layout.get("title", {})
    said = [_plain(title.get("text")), _plain(title.get("subtitle", {}).get("text"))]
    axes = [
        _plain(layout.get(axis, {}).get("title", {}).get("text")) for axis in ("yaxis", "xaxis")
    ]
    said.append(" by ".join(filter(None, axes)))
    told = [_tell(trace) for trace in figure.get("data", [])]
    said += [each for each in told if each][:_MOST_TRACES]
    text = ". ".join(filter(None, said)) or "figure"
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1].rstrip() + "…"


def _tell(trace: Mapping[str, Any]) -> str:
    """Returns a trace's name and values; "" of a long one, of one without a name, of circles."""
    name = _plain(trace.get("name"))
    places, values = _values(trace.get("x")), _values(trace.get("y"))
    if not name or not 0 < len(values) <= _MOST_POINTS or len(places) != len(values):
        return ""
    points = [f"{_number(x)} {_number(y)}" for x, y in zip(places, values, strict=True)]
    points = [point.removeprefix(f"{name} ") for point in points]
    return f"{name}: {', '.join(points)}"


def _values(column) -> list:
    """Returns a column of a trace as a list; plotly packs arrays as base64."""
    if isinstance(column, Mapping):
        packed = np.frombuffer(base64.b64decode(column["bdata"]), dtype=column["dtype"])
        return packed.tolist()
    return [] if column is None else list(column)


def _number(value) -> str:
    if isinstance(value, (float, np.floating)):
        return "none" if np.isnan(value) else f"{value:.3g}"
    return "none" if value is None else _plain(str(value))


def _plain(text) -> str:
    """Returns a text without tags, in one line."""
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]*>", " ", text or ""))).strip()
