"""Writes a number with its interval as one text, the same in tables, figures and on a terminal."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

# after a number that is not to be relied on; a line below the table says why
MARK = "†"


def interval_text(
    value: float | None, low: float | None, high: float | None, form: str = ".3f", note: str = ""
) -> str:
    """Returns "value [low, high]", and the mark where there is a note; "" where it is not defined.

    Args:
        value: None or NaN where it is not defined, as JSON and tables have it.
        low, high: ends of the interval; an infinite one, None in JSON, is without a bound; NaN says
            that no interval was computed.
        form: of the three numbers.
        note: why the number means little; "" if nothing is held against it.

    >>> interval_text(0.7375, 0.70625, 0.7675), interval_text(2.0, None, 3.5, ".1f", "within noise")
    ('0.738 [0.706, 0.767]', '2.0 [no bound, 3.5] †')
    """
    if is_missing(value):
        return ""
    ends = [math.inf if end is None else end for end in (low, high)]
    texts = ["no bound" if math.isinf(end) else f"{end:{form}}" for end in ends]
    interval = "" if any(map(math.isnan, ends)) else f" [{', '.join(texts)}]"
    if all(map(math.isinf, ends)):
        interval = " [no bounds]"
    return f"{value:{form}}{interval}" + (f" {MARK}" if note else "")


def interval_cell(row: Mapping[str, Any], name: str, form: str = ".3f") -> str:
    """Returns `interval_text` of a table's row, whose columns are name, name_low, name_high and,
    if there is one, name_note; without an interval in the row, the number alone.
    """
    value = row.get(name)
    note = row.get(f"{name}_note")
    note = note if isinstance(note, str) else ""
    low = row.get(f"{name}_low", math.nan)
    high = row.get(f"{name}_high", math.nan)
    return interval_text(value, low, high, form, note)


def note_lines(rows: Iterable[Mapping[str, Any]], names: Iterable[str]) -> list[str]:
    """Returns what the marks of a table stand for, a line per note, each once.

    Args:
        rows: of the table; a note stands in the column <name>_note.
        names: of the columns that are shown.
    """
    columns = [f"{name}_note" for name in names]
    notes = [row.get(column) for row in rows for column in columns]
    return [f"{MARK} {note}" for note in dict.fromkeys(notes) if isinstance(note, str) and note]


def is_missing(value: object) -> bool:
    """Tells whether a cell of a table has no value: None, NaN or a missing one of pandas."""
    return value is None or value != value or str(value) == "<NA>"
