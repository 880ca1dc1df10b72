"""Shows how far long work is, and says what a user should know: bars, listeners, warnings."""

from __future__ import annotations

import contextlib
import contextvars
import os
import sys
import warnings
from collections.abc import Callable, Iterable, Sized

from tqdm import tqdm

# listen(what, done, total); total is None where it is not known
Listener = Callable[[str, int, int | None], None]
_collected: contextvars.ContextVar[list[str] | None] = contextvars.ContextVar("_", default=None)
_listener: contextvars.ContextVar[Listener | None] = contextvars.ContextVar("_", default=None)


def progress(*args, **kwargs) -> tqdm | ReportedProgress:
    """Returns a progress bar: text on a terminal, a widget in a notebook, silent in a log file.

    `TQDM_DISABLE=1` silences it. Inside `report_progress_to` it draws nothing and calls the
    listener.

    Args: as of `tqdm.tqdm`.
    """
    listen = _listener.get()
    if listen:
        return ReportedProgress(listen, *args, **kwargs)
    kernel = "ipykernel" in sys.modules and not sys.stderr.isatty()
    silent = bool(os.environ.get("TQDM_DISABLE")) or not (kernel or sys.stderr.isatty())
    if kernel and not silent:
        from .notebook_bar import PassingBar  # needs ipywidgets, half a second to import

        return PassingBar(*args, **kwargs)
    return tqdm(*args, disable=silent, leave=False, **kwargs)


class ReportedProgress:
    """A progress bar that calls a function at every step. An error of that function ends the
    work.
    """

    def __init__(
        self,
        listen: Listener,
        iterable: Iterable = (),
        *,
        desc: str = "",
        total: int | None = None,
        **looks,  # of tqdm; nothing is drawn here
    ):
        self.listen = listen
        self.iterable = iterable
        self.desc = desc
        self.n = 0
        if total is None and isinstance(iterable, Sized):
            total = len(iterable)
        self.total = total

    def __iter__(self):
        for item in self.iterable:
            yield item
            self.update()

    def __enter__(self) -> ReportedProgress:
        return self

    def __exit__(self, *error) -> None:
        pass

    def update(self, n: int = 1) -> None:
        """Counts n more."""
        self.n += n
        self.listen(self.desc, self.n, self.total)


@contextlib.contextmanager
def report_progress_to(listen: Listener):
    """Lets long work in this block and thread call `listen(what, done, total)` instead of drawing
    bars.

    An error that `listen` raises ends the work: a fit then leaves nothing behind, activations leave
    the shards that are whole.
    """
    token = _listener.set(listen)
    try:
        yield
    finally:
        _listener.reset(token)


def warn(message: str, stacklevel: int | None = 3) -> None:
    """Warns, as from the caller's caller; inside `collect_warnings`, keeps the message instead.

    Args:
        stacklevel: as of `warnings.warn`, called here; None is the first line outside the kit.
    """
    collected = _collected.get()
    if collected is None:
        warnings.warn(message, stacklevel=stacklevel or _level_outside())
    else:
        collected.append(message)


def _level_outside() -> int:
    """Returns the stack level, for a warning of the caller, of the first line outside the kit."""
    kit = __name__.partition(".")[0]
    frame, level = sys._getframe(1), 1
    while frame.f_back and frame.f_globals.get("__name__", "").partition(".")[0] == kit:
        frame, level = frame.f_back, level + 1
    return level


@contextlib.contextmanager
def collect_warnings():
    """Yields a list that takes the messages of `warn` in this block and thread; none is a
    warning.
    """
    messages: list[str] = []
    token = _collected.set(messages)
    try:
        yield messages
    finally:
        _collected.reset(token)


@contextlib.contextmanager
def warn_once():
    """Gives each message of `warn` in a decorated function once, at its end, as from its caller."""
    with collect_warnings() as messages:
        yield
    for message in dict.fromkeys(messages):
        warn(message, stacklevel=5)  # two frames are contextlib's
