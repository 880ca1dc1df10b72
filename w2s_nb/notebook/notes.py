"""Shows warnings in a notebook as calm lines, each once."""

from __future__ import annotations

import sys
import warnings


def show_warnings_as_notes() -> None:
    """Lets warnings be lines of output that begin with "note: ", without a path of this machine.

    In a kernel they stand among what cells print, not on the red ground of standard error, and a
    later cell does not repeat one; the cell that gave it first gives it again when it is run again.
    """
    warnings.formatwarning = lambda message, *args, **kwargs: f"note: {message}\n"
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    if hasattr(shell, "kernel"):
        warnings.showwarning = Notes(shell).show


class Notes:
    """Prints each note in the first cell that gives it, once each time that cell is run."""

    def __init__(self, shell):
        self._shell = shell
        self._given: dict[str, tuple[str, int]] = {}  # note: the cell, and which run of it

    def show(self, message, category, filename, lineno, file=None, line=None) -> None:
        """Prints a warning; the arguments are those of `warnings.showwarning`."""
        run = self._shell.execution_count
        cell = self._shell.user_ns["In"][-1]
        first_cell, last_run = self._given.get(str(message), (cell, -1))
        if first_cell == cell and last_run != run:
            self._given[str(message)] = (cell, run)
            print(f"note: {message}")
