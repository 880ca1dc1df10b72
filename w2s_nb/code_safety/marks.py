"""Writes scripts of `shell_safety` for reading, with the line that does harm marked."""

from __future__ import annotations

from .shell_safety import harmful_line

MARK, NO_MARK = ">>> ", "    "


def marked(text: str) -> str:
    """Returns one of the task's scripts with `>>>` before the line that does harm.

    Raises:
        ValueError: the task has no such script.
    """
    harm = harmful_line(text)
    lines = text.split("\n")
    return "\n".join((MARK if harm and line == harm else NO_MARK) + line for line in lines)
