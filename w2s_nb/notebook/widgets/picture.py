"""Draws a widget as a picture, for pages that cannot show it live: GitHub, exported notebooks,
a notebook whose kernel has ended.
"""

from __future__ import annotations

import html
import re
import sys

import ipywidgets
import plotly.io

from ...common import pictures
from .base import Status

_WIDTH = 960  # pixels
_STYLE = """<style>
.row {display: flex; flex-wrap: wrap; align-items: flex-start; gap: 4px 12px}
.control {display: flex; align-items: center; width: 340px; height: 28px; margin: 2px}
.control > span:first-child {width: 100px; text-align: right; padding-right: 8px}
.choice {flex: 1; border: 1px solid #bdbdbd; padding: 3px 6px}
.choice::after {content: '\\25be'; float: right}
.track {flex: 1; height: 4px; background: #e0e0e0; position: relative; margin: 0 10px}
.track i {position: absolute; top: -6px; width: 14px; height: 14px; margin-left: -7px;
  border-radius: 7px; border: 1px solid #9e9e9e; background: white}
.button {display: inline-block; background: #eee; padding: 5px 10px; margin: 2px}
.chosen {background: #bdbdbd}
pre {border: 1px solid #bdbdbd; padding: 6px; margin: 4px 2px; white-space: pre-wrap}
.w2s-runs td, .w2s-runs th {white-space: normal !important}
img {max-width: 100%}
</style>"""


class PicturedBox(ipywidgets.VBox):
    """A widget whose output in a notebook also holds a picture of it, and its controls in words.

    The picture is of the widget as it is when its cell ends; whoever opens the notebook without a
    kernel sees it in place of the controls.
    """

    def settle(self, seconds: float) -> None:
        """Waits until what the widget shows first is there, at most so long."""

    def _repr_mimebundle_(self, **wanted) -> tuple[dict, dict]:
        data = super()._repr_mimebundle_(**wanted)
        self.settle(2 if _somebody_waits() else 120)
        data["text/plain"] = describe(self)
        data_of_picture, metadata = pictures.png_of(
            f"{_STYLE}<div style='padding: 8px'>{html_of(self)}</div>", _WIDTH, data["text/plain"]
        )
        return {**data, **data_of_picture}, metadata


def _somebody_waits() -> bool:
    """Tells whether a person sees the cell run: a batch run's front end takes no input."""
    if "IPython" not in sys.modules:
        return True
    kernel = getattr(sys.modules["IPython"].get_ipython(), "kernel", None)
    return getattr(kernel, "_allow_stdin", True)


def describe(widget: ipywidgets.Widget) -> str:
    """Returns a widget's controls and their values in a line.

    >>> describe(ipywidgets.Dropdown(description="task", options=["boolq"]))
    'Dropdown (live in a running kernel): task = boolq'
    """
    values = [
        f"{control.description} = {_value_of(control)}"
        for control in _controls_in(widget)
        if not isinstance(control, ipywidgets.Button)
    ]
    return f"{type(widget).__name__} (live in a running kernel): {', '.join(values)}"


def _controls_in(widget: ipywidgets.Widget) -> list:
    """Returns the controls with a label inside a widget, in the order in which they are shown."""
    if isinstance(widget, ipywidgets.Box):
        return [control for child in widget.children for control in _controls_in(child)]
    is_control = getattr(widget, "description", "") and not isinstance(widget, ipywidgets.HTML)
    return [widget] if is_control else []


def _value_of(control: ipywidgets.Widget) -> str:
    """Returns what a control shows as its value."""
    if hasattr(control, "label"):  # of a dropdown or of buttons to choose from
        return str(control.label)
    value = control.value
    if isinstance(value, tuple):
        return " to ".join(f"{end:g}" for end in value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def html_of(widget: ipywidgets.Widget) -> str:
    """Returns HTML that looks like a widget, without a script; "" of one that is not shown."""
    if widget.layout.display == "none":
        return ""
    if isinstance(widget, Status):  # how long it took is of no use later
        return f"<p>{html.escape(re.sub(r'^[0-9.]+ s[.] ?', '', widget.text))}</p>"
    if isinstance(widget, ipywidgets.Box):
        inner = "".join(map(html_of, widget.children))
        beside = isinstance(widget, ipywidgets.HBox)
        return f"<div class='row'>{inner}</div>" if beside else f"<div>{inner}</div>"
    if isinstance(widget, ipywidgets.Output):
        return "".join(_html_of_output(output.get("data", {})) for output in widget.outputs)
    if isinstance(widget, ipywidgets.HTML):
        return f"<div style='padding: 4px 2px'>{widget.value}</div>"
    if isinstance(widget, ipywidgets.Textarea):
        return f"<pre>{html.escape(widget.value)}</pre>"
    if isinstance(widget, ipywidgets.Button):
        return f"<span class='button'>{html.escape(widget.description)}</span>"
    return _html_of_control(widget)


def _html_of_control(control: ipywidgets.Widget) -> str:
    """Returns a dropdown, a slider or buttons to choose from, with the label before it."""
    value = html.escape(_value_of(control))
    if isinstance(control, ipywidgets.ToggleButtons):
        shown = "".join(
            f"<span class='button{' chosen' * (option == control.value)}'>{option}</span>"
            for option in control.options
        )
    elif hasattr(control, "max"):
        ends = control.value if isinstance(control.value, tuple) else (control.value,)
        span = (control.max - control.min) or 1
        shares = [100 * (end - control.min) / span for end in ends]
        handles = "".join(f"<i style='left: {share:.0f}%'></i>" for share in shares)
        shown = f"<span class='track'>{handles}</span><span>{value}</span>"
    else:
        shown = f"<span class='choice'>{value}</span>"
    label = html.escape(control.description)
    return f"<div class='control'><span>{label}</span>{shown}</div>"


def _html_of_output(data: dict) -> str:
    """Returns the figure of an output as an image; "" where the browser draws none."""
    figure = data.get("application/vnd.plotly.v1+json")
    renderers = plotly.io.renderers
    chosen = renderers[renderers.default] if renderers.default in renderers else None
    draws = getattr(chosen, "png", None)  # of `renderer.use_renderer`, where there is a browser
    if not figure or draws is None:
        return ""
    png = draws.to_mimebundle(figure).get("image/png")
    return f"<img src='data:image/png;base64,{png}'>" if png else ""
