"""Makes a table for reading out of one for machines: a number and its interval in one cell.

A table for machines has a column for each number and its ends (`accuracy`, `accuracy_low`,
`accuracy_high`, and `accuracy_note` where something is held against it). The same table for reading
has one cell for these, at most seven columns, and below it what is the same in all rows.
"""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence

import pandas as pd

from ..common.intervals import interval_cell, is_missing, note_lines
from ..common.registry import UnknownName

MOST_COLUMNS = 7
_TITLES = {
    "accuracy": "test accuracy",
    "auroc": "test AUROC",
    "pgr": "PGR",
    "pgr_auroc": "PGR by AUROC",
    "agreement": "agreement with supervisor",
    "n_test": "test examples",
    "n_train": "training examples",
    "p_holm": "p by Holm",
    "after_over_before": "after / before",
    "accuracy_change": "accuracy, change",
    "pgr_change": "PGR, change",
    "gain_hard": "gain on hard ones",
    "accuracy_all": "accuracy, all",
    "accuracy_hard": "accuracy, hard ones",
    "second_over_half": "second text preferred, over half",
    "pgr_tasks": "tasks with a PGR",
    "median_pgr": "median PGR",
    "mean_pgr": "mean PGR",
    "over_ceiling": "length bias over the ceiling's",
    "lr": "learning rate",
    "weak_lr": "supervisor's learning rate",
}
_WHOLE = ("display.max_colwidth", None)  # pandas cuts texts after 50 letters
_FORMS = {
    "lr": "g",
    "weak_lr": "g",
    "seconds": ".1f",
    "perplexity_before": ",.0f",
    "perplexity_after": ",.0f",
}
_P_VALUES = ("p", "p_holm")
_SMALLEST_P = 0.001  # below it the words, as 0.000 would rule chance out
_NO_BOUNDS = "no bound: in some draws there is no gap between supervisor and ceiling to divide by"


class ReadableTable(pd.DataFrame):
    """A table of texts, and below it what is the same in all rows, notes, and what is left out.

    `attrs["below"]` has those lines. `to_latex` and `to_markdown` of pandas write the table.
    """

    @property
    def _constructor(self):
        return ReadableTable

    @property
    def below(self) -> list[str]:
        """Returns the lines below the table."""
        return self.attrs.get("below", [])

    def __repr__(self) -> str:
        with pd.option_context(*_WHOLE, "display.max_columns", None, "display.width", None):
            return "\n".join([super().__repr__(), *self.below])

    def _repr_html_(self) -> str:
        lines = "".join(f"<p>{html.escape(line)}</p>" for line in self.below)
        numbered = isinstance(self.index, pd.RangeIndex)
        with pd.option_context(*_WHOLE):
            return self.to_html(border=0, index=not numbered) + lines

    def to_latex(self, *args, **kwargs):
        """Returns the table as LaTeX, with the lines below it as comments; arguments as of pandas.

        A text's own %, & and _ are escaped unless `escape=False`.
        """
        kwargs.setdefault("escape", True)
        latex = super().to_latex(*args, **kwargs)
        if latex is None:  # it was written into a file
            return None
        return "".join([latex, *(f"% {line}\n" for line in self.below)])


def readable(
    table: pd.DataFrame,
    columns: Sequence[str] | Mapping[str, str] | None = None,
    *,
    form: str = ".3f",
) -> ReadableTable:
    """Returns a table for reading: "0.738 [0.706, 0.767]", empty where a number is not defined.

    Args:
        table: for machines, such as `Arms.table`; it is not changed.
        columns: names of the table's columns, in order, or {name: title}. None takes those that
            differ between rows, seven at most; what is the same in all rows is told below.
        form: of numbers, such as ".2f".
    Raises:
        UnknownName: a column that the table has not; lists those that it has.
    """
    shown = _without_parts(table)
    rows = table.to_dict("records")
    below: list[str] = []
    titles = dict(columns) if isinstance(columns, Mapping) else {}
    if columns is not None:
        for name in columns:
            if name not in shown:
                raise UnknownName("column of this table", str(name), shown)
        names = list(columns)
    else:
        names, below = _choose(table, shown, form)
    cells = {
        titles.get(name, _title(name)): [_cell(row, name, form) for row in rows] for name in names
    }
    text = ReadableTable(cells, index=table.index, dtype=object)
    text.attrs["below"] = below + note_lines(rows, names)
    if any(
        "[no bound" in cell or "no bound]" in cell for of_name in cells.values() for cell in of_name
    ):
        text.attrs["below"].append(_NO_BOUNDS)
    return text


def _without_parts(table: pd.DataFrame) -> list[str]:
    """Returns the names of the columns that are not an interval's end or a note of another."""
    names = list(table.columns)
    ends = ("_low", "_high", "_note")
    parts = {f"{name}{end}" for name in names for end in ends if f"{name}{end}" in names}
    return [name for name in names if name not in parts]


def _choose(table: pd.DataFrame, shown: list[str], form: str) -> tuple[list[str], list[str]]:
    """Returns the columns to show, and lines on what is the same in all rows and what is left."""
    rows = table.to_dict("records")
    values = {name: {_cell(row, name, form) for row in rows} for name in shown}
    empty = [name for name in shown if values[name] <= {""}]
    same = [name for name in shown if len(values[name]) == 1 and len(rows) > 1]
    same = [name for name in same if name not in empty and f"{name}_low" not in table]
    differ = [name for name in shown if name not in (*same, *empty)]
    below = []
    if same:
        facts = "; ".join(f"{_title(name)} {next(iter(values[name]))}" for name in same)
        below.append(f"in all rows: {facts}")
    if len(differ) > MOST_COLUMNS:
        left = ", ".join(differ[MOST_COLUMNS:])
        below.append(f"further columns of the table itself: {left}")
    return differ[:MOST_COLUMNS], below


def _cell(row: Mapping, name: str, form: str) -> str:
    value = row[name]
    form = _FORMS.get(name, form)
    if f"{name}_low" in row:
        return interval_cell(row, name, form)
    if is_missing(value):
        return ""
    if name in _P_VALUES and value < _SMALLEST_P:
        return f"< {_SMALLEST_P:g}"
    if isinstance(value, float):
        return f"{value:g}" if value.is_integer() else f"{value:{form}}"
    return str(value)


def _title(name: str) -> str:
    return _TITLES.get(name, name.replace("_", " "))
