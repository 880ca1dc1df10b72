"""Holds what widgets share: figures in outputs, a line of status, and work in the background."""

from __future__ import annotations

import contextvars
import html
import threading
import time
from collections.abc import Callable, Iterable

import ipywidgets
import plotly.graph_objects as go
import plotly.io

from ...common import progress

# A progress bar that changed at every step would flood the notebook with messages.
_SECONDS_BETWEEN_UPDATES = 0.2


def show_figure(output: ipywidgets.Output, figure: go.Figure) -> None:
    """Puts a figure into an output, in place of what was there; from any thread."""
    data = plotly.io.renderers["plotly_mimetype"].to_mimebundle(figure.to_dict())
    title = figure.layout.title
    data["text/plain"] = "; ".join(filter(None, (title.text, title.subtitle.text)))
    output.outputs = ({"output_type": "display_data", "data": data, "metadata": {}},)


def labelled(kind: type, label: str, value, **options) -> ipywidgets.Widget:
    """Returns a control with a label before it, as wide as its neighbours."""
    return kind(
        value=value,
        description=label,
        style={"description_width": "100px"},
        layout=ipywidgets.Layout(width="340px"),
        **options,
    )


def options_with(chosen, values: Iterable) -> list:
    """Returns the options of a dropdown: the values, after the chosen one if they lack it."""
    options = list(values)
    return options if chosen in options else [chosen, *options]


def page_buttons(
    turn: Callable[[int], None],
) -> tuple[ipywidgets.Button, ipywidgets.HTML, ipywidgets.Button]:
    """Returns a button that calls turn(-1), the line that says which page is shown, and a button
    that calls turn(1).
    """
    width = ipywidgets.Layout(width="110px")
    previous_button = ipywidgets.Button(description="◀ previous", layout=width)
    next_button = ipywidgets.Button(description="next ▶", layout=width)
    previous_button.on_click(lambda button: turn(-1))
    next_button.on_click(lambda button: turn(1))
    return previous_button, ipywidgets.HTML(), next_button


class Cancelled(BaseException):
    """Raised inside work that nobody waits for any more; no `except Exception` stops it."""


class BackgroundWorker:
    """A thread that works on the newest request; a newer one, or `cancel`, ends what is under way.

    Args:
        work: request -> result; its long parts go through `progress.progress`, where it can end.
        done: called with (request, result), in the thread.
        status: where progress and errors are shown.
    """

    def __init__(self, work: Callable, done: Callable, status: Status):
        self.work = work
        self.done = done
        self.status = status
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        # The request that waits, in a tuple, since a request may be None.
        self._waiting: tuple | None = None
        self._outdated = False
        self._last_update = 0.0
        status.cancel.on_click(lambda button: self.cancel())

    def ask(self, request) -> None:
        """Starts work on a request, and ends work on any other."""
        with self._lock:
            self._waiting = (request,)
            self._outdated = True
            if self._thread is None:
                context = contextvars.copy_context()  # the kernel keeps there which cell it answers
                self._thread = threading.Thread(target=context.run, args=(self._run,), daemon=True)
                self._thread.start()

    def cancel(self) -> None:
        """Ends what is under way; what is finished of it stays stored."""
        with self._lock:
            self._waiting = None
            self._outdated = True

    def wait(self, seconds: float = 60.0) -> None:
        """Returns when nothing is under way.

        Raises:
            TimeoutError: it takes longer.
        """
        end = time.monotonic() + seconds
        while (thread := self._thread) is not None:
            thread.join(0.05)
            if time.monotonic() > end:
                raise TimeoutError(f"still at work after {seconds:g} s: {self.status.text}")

    def _run(self) -> None:
        try:
            while True:
                with self._lock:
                    if self._waiting is None:
                        self._thread = None
                        return
                    (request,) = self._waiting
                    self._waiting = None
                    self._outdated = False
                self._answer(request)
        finally:
            # Whatever has happened, the next request must not find a thread that has ended.
            with self._lock:
                if self._thread is threading.current_thread():
                    self._thread = None

    def _answer(self, request) -> None:
        started = time.monotonic()
        self._last_update = 0.0
        self.status.show_progress("starting", 0, None)
        try:
            with (
                progress.report_progress_to(self._show_progress),
                progress.collect_warnings() as messages,
            ):
                self.done(request, self.work(request))
            seconds = time.monotonic() - started
            self.status.say(f"{seconds:.1f} s. {'. '.join(dict.fromkeys(messages))}")
        except Cancelled:
            # If another request waits, the line belongs to that one.
            if self._waiting is None:
                self.status.say("cancelled; what was finished is stored")
        except BaseException as error:  # the line says what is wrong, and the widget goes on
            self.status.say(f"{type(error).__name__}: {error}", is_error=True)

    def _show_progress(self, label: str, n: int, total: int | None) -> None:
        if self._outdated:
            raise Cancelled
        now = time.monotonic()
        if now - self._last_update > _SECONDS_BETWEEN_UPDATES:
            self._last_update = now
            self.status.show_progress(label, n, total)


class Status(ipywidgets.HBox):
    """One line: how far work is, with a button that ends it; or how it ended.

    Attributes:
        text: what the line says.
        cancel: the button.
    """

    def __init__(self):
        self._bar = ipywidgets.IntProgress(max=100, layout=ipywidgets.Layout(width="160px"))
        self._line = ipywidgets.HTML()
        self.cancel = ipywidgets.Button(
            description="Cancel", layout=ipywidgets.Layout(width="90px")
        )
        self.text = ""
        super().__init__([self._bar, self.cancel, self._line])
        self.say("")

    def show_progress(self, label: str, n: int, total: int | None) -> None:
        """Shows that n of total steps are done."""
        self._bar.value = int(100 * n / total) if total else 0
        of_total = f" of {total:,}" if total else ""
        self._write(f"{label}: {n:,}{of_total}" if n else label, working=True)

    def say(self, text: str, *, is_error: bool = False) -> None:
        """Shows how work ended."""
        self._write(text, working=False, is_error=is_error)

    def _write(self, text: str, *, working: bool, is_error: bool = False) -> None:
        self.text = text
        display = "" if working else "none"
        self._bar.layout.display = display
        self.cancel.layout.display = display
        colour = "var(--jp-error-color1, #b00020)" if is_error else "inherit"
        self._line.value = f"<span role='status' style='color: {colour}'>{html.escape(text)}</span>"
