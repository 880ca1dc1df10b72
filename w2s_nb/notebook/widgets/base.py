"""What widgets share: figures in outputs, a line of status, and work in the background of which the newest counts."""

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

_EVERY = 0.2  # seconds between two looks of a progress bar


def show(output: ipywidgets.Output, figure: go.Figure) -> None:
    """Puts a figure into an output, in the place of what was there; from any thread."""
    data = plotly.io.renderers["plotly_mimetype"].to_mimebundle(figure.to_dict())
    data["text/plain"] = figure.layout.title.text or ""
    output.outputs = ({"output_type": "display_data", "data": data, "metadata": {}},)


def labelled(kind: type, name: str, value, **options) -> ipywidgets.Widget:
    """A control with its name before it, as wide as its neighbours."""
    return kind(
        value=value,
        description=name,
        style={"description_width": "100px"},
        layout=ipywidgets.Layout(width="340px"),
        **options,
    )


def choices(values: Iterable, chosen) -> list:
    """Options of a dropdown: the values, and the chosen one first if it is not among them."""
    values = list(values)
    return values if chosen in values else [chosen, *values]


def pages(
    step: Callable[[int], None],
) -> tuple[ipywidgets.Button, ipywidgets.HTML, ipywidgets.Button]:
    """Buttons that call step(-1) and step(1), and the line between them that says where one is."""
    back, onward = (
        ipywidgets.Button(description=name, layout=ipywidgets.Layout(width="110px"))
        for name in ("◀ previous", "next ▶")
    )
    back.on_click(lambda button: step(-1))
    onward.on_click(lambda button: step(1))
    return back, ipywidgets.HTML(), onward


class Cancelled(BaseException):
    """Raised inside work that nobody waits for any more; no `except Exception` on the way keeps it."""


class Latest:
    """Does the newest request in a background thread; a newer one, or `cancel`, ends what is under way at its next step.

    Args:
        work: request -> result; long parts of it go through `config.progress`.
        done: called with (request, result), in the thread.
        status: where progress and errors are shown.
    """

    def __init__(self, work: Callable, done: Callable, status: Status):
        self.work, self.done, self.status = work, done, status
        self._lock, self._thread, self._wanted, self._over = threading.Lock(), None, None, False
        status.cancel.on_click(lambda button: self.cancel())

    def ask(self, request) -> None:
        """Wants this done, and nothing else any more."""
        with self._lock:
            self._wanted, self._over = (request,), True
            if self._thread is None:
                context = contextvars.copy_context()  # the kernel keeps there which cell it answers
                self._thread = threading.Thread(target=context.run, args=(self._run,), daemon=True)
                self._thread.start()

    def cancel(self) -> None:
        """Ends what is under way; what is finished of it stays stored."""
        with self._lock:
            self._wanted, self._over = None, True

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
                    if self._wanted is None:
                        self._thread = None
                        return
                    (request,), self._wanted, self._over = self._wanted, None, False
                self._do(request)
        finally:
            with self._lock:  # whatever has happened, the next request finds no thread that is gone
                if self._thread is threading.current_thread():
                    self._thread = None

    def _do(self, request) -> None:
        started, self._told = time.monotonic(), 0.0
        self.status.show_progress("starting", 0, None)
        try:
            with progress.report_progress_to(self._tell), progress.collect_warnings() as notes:
                self.done(request, self.work(request))
            self.status.say(
                f"{time.monotonic() - started:.1f} s. {'. '.join(dict.fromkeys(notes))}"
            )
        except Cancelled:
            if self._wanted is None:  # else the next request has its own say
                self.status.say("cancelled; what was finished is stored")
        except (
            BaseException
        ) as error:  # what is wrong with a setting is said, and the widget goes on
            self.status.say(f"{type(error).__name__}: {error}", wrong=True)

    def _tell(self, what: str, n: int, total: int | None) -> None:
        if self._over:
            raise Cancelled
        now = time.monotonic()
        if now - self._told > _EVERY:
            self._told = now
            self.status.show_progress(what, n, total)


class Status(ipywidgets.HBox):
    """One line: how far work is, with a button that ends it; or how it ended.

    Attributes:
        text: what it says.
        cancel: the button.
    """

    def __init__(self):
        self._bar = ipywidgets.IntProgress(max=100, layout=ipywidgets.Layout(width="160px"))
        self._said = ipywidgets.HTML()
        self.cancel = ipywidgets.Button(
            description="Cancel", layout=ipywidgets.Layout(width="90px")
        )
        self.text = ""
        super().__init__([self._bar, self.cancel, self._said])
        self.say("")

    def show_progress(self, what: str, n: int, total: int | None) -> None:
        """Work is at n of total."""
        self._bar.value = int(100 * n / total) if total else 0
        self._put(f"{what}: {n:,}{f' of {total:,}' if total else ''}" if n else what, working=True)

    def say(self, text: str, *, wrong: bool = False) -> None:
        """Work has ended, and this is to be said of it."""
        self._put(text, working=False, wrong=wrong)

    def _put(self, text: str, *, working: bool, wrong: bool = False) -> None:
        self.text = text
        self._bar.layout.display = self.cancel.layout.display = "" if working else "none"
        colour = "var(--jp-error-color1, #b00020)" if wrong else "inherit"
        self._said.value = f"<span role='status' style='color: {colour}'>{html.escape(text)}</span>"
