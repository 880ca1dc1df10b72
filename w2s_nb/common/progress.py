"""Where things live, on what device and in what precision; everything the environment can set is read here."""

from __future__ import annotations

import contextlib
import contextvars
import os
import sys
import warnings
from collections.abc import Callable, Iterable

from tqdm import tqdm

_notes: contextvars.ContextVar[list[str] | None] = contextvars.ContextVar("notes", default=None)
_listener: contextvars.ContextVar[Callable | None] = contextvars.ContextVar("teller", default=None)


def progress(*args, **kwargs) -> tqdm | ReportedProgress:
    """A text progress bar on a terminal and in a notebook, none in a log file; `TQDM_DISABLE=1` silences it.

    Inside `told` it draws nothing, and tells.
    """
    if _listener.get():
        return ReportedProgress(_listener.get(), *args, **kwargs)
    kernel = "ipykernel" in sys.modules and not sys.stderr.isatty()
    silent = bool(os.environ.get("TQDM_DISABLE")) or not (kernel or sys.stderr.isatty())
    return tqdm(*args, disable=silent, leave=False, mininterval=2.0 if kernel else 0.1, **kwargs)


class ReportedProgress:
    """A progress bar that tells a function how far it is, and that this function can end: what it raises goes on."""

    def __init__(
        self,
        tell: Callable[[str, int, int | None], None],
        iterable: Iterable = (),
        *,
        desc: str = "",
        total: int | None = None,
        **looks,
    ):
        self.tell, self.iterable, self.desc, self.n = tell, iterable, desc, 0
        self.total = len(iterable) if total is None and hasattr(iterable, "__len__") else total

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
        self.tell(self.desc, self.n, self.total)


@contextlib.contextmanager
def report_progress_to(tell: Callable[[str, int, int | None], None]):
    """In this block, and thread, long work calls `tell(what, done, total)` at every step, in the place of bars.

    Whatever `tell` raises ends the work: a fit leaves nothing behind, activations what is whole of them.
    """
    token = _listener.set(tell)
    try:
        yield
    finally:
        _listener.reset(token)


def warn(message: str) -> None:
    """Warns, as from the caller's caller; inside `noted`, keeps the message."""
    if _notes.get() is None:
        warnings.warn(message, stacklevel=3)
    else:
        _notes.get().append(message)


@contextlib.contextmanager
def collect_warnings():
    """In this block, and thread, what `note` says goes into the list that the block is given, and is no warning."""
    found: list[str] = []
    token = _notes.set(found)
    try:
        yield found
    finally:
        _notes.reset(token)
