"""The table of every stored student, with filters, and PGR by size of the page that is shown."""

from __future__ import annotations

import contextlib
import html

import ipywidgets
import pandas as pd

from ... import plots
from ...common.intervals import interval_cell, note_lines
from ...common.registry import UnknownName
from ...experiments.history import all_students
from .base import BackgroundWorker, Status, labelled, options_with, page_buttons, show_figure
from .picture import PicturedBox

FILTERS = {
    "task": "task",
    "weak": "supervisor",
    "strong": "student",
    "arm": "arm",
    "method": "method",
    "n_train": "n_train",
}  # column: label of its dropdown
ROWS_PER_PAGE = 12
_ALL = "all"
_STYLE = (
    ".w2s-runs {color: var(--jp-content-font-color1, #222); overflow-x: auto; font-size: 12px} "
    ".w2s-runs td, .w2s-runs th "
    "{padding: 2px 10px 2px 0; text-align: left; white-space: nowrap}"
)


class Runs(PicturedBox):
    """Filters, the table page by page, and the figure; see `runs`.

    Attributes:
        rows: of `w2s.all_students`.
        filters: {column: dropdown}.
        selected: the rows that the filters let through.
        refresh: the button that reads the store again.
        previous, page, next: buttons to page by, and the line between them.
    """

    def __init__(self, chosen: dict):
        self.rows = pd.DataFrame()
        self.selected = self.rows
        self.page_number = 0
        self.filters = {
            column: labelled(ipywidgets.Dropdown, label, value, options=options_with(value, [_ALL]))
            for column, label in FILTERS.items()
            for value in [chosen.get(column, _ALL)]
        }
        for control in self.filters.values():
            control.observe(self._select, "value")
        self.status = Status()
        self.table = ipywidgets.HTML()
        self.figure = ipywidgets.Output()
        self.previous, self.page, self.next = page_buttons(self._turn)
        self.refresh = ipywidgets.Button(
            description="Read the store again", layout=ipywidgets.Layout(width="180px")
        )
        self.worker = BackgroundWorker(
            lambda request: all_students(), lambda request, rows: self._read(rows), self.status
        )
        self.refresh.on_click(lambda button: self.worker.ask(()))
        filters = ipywidgets.HBox(
            [*self.filters.values()], layout=ipywidgets.Layout(flex_flow="row wrap")
        )
        paging = ipywidgets.HBox([self.refresh, self.previous, self.page, self.next])
        super().__init__([filters, paging, self.status, self.table, self.figure])
        self.worker.ask(())

    def settle(self, seconds: float) -> None:
        """Waits until the first figure is there, at most so long."""
        with contextlib.suppress(TimeoutError):  # then the picture shows how far it is
            self.worker.wait(seconds)

    def _read(self, rows: pd.DataFrame) -> None:
        """Takes rows over, and offers their values in the filters; chosen values stay chosen."""
        self.rows = rows
        for column, control in self.filters.items():
            chosen = control.value
            # New options choose the first of them, which is no choice of the reader's.
            control.unobserve(self._select, "value")
            control.options = options_with(chosen, [_ALL, *_values_of(rows, column)])
            control.value = chosen
            control.observe(self._select, "value")
        self._select()

    def _select(self, change=None) -> None:
        """Applies the filters, and shows the first page of what they let through."""
        self.selected = self.rows
        self.page_number = 0
        for column, control in self.filters.items():
            if control.value != _ALL and len(self.selected):
                self.selected = self.selected[self.selected[column] == control.value]
        self._draw()

    @property
    def _n_pages(self) -> int:
        full_pages, rest = divmod(len(self.selected), ROWS_PER_PAGE)
        return max(1, full_pages + (rest > 0))

    def _turn(self, pages: int) -> None:
        self.page_number = (self.page_number + pages) % self._n_pages
        self._draw()

    def _draw(self) -> None:
        first = self.page_number * ROWS_PER_PAGE
        self.previous.disabled = self._n_pages < 2
        self.next.disabled = self._n_pages < 2
        self.page.value = (
            f"{len(self.selected)} settings, page {self.page_number + 1} of {self._n_pages}"
        )
        shown = self.selected.iloc[first : first + ROWS_PER_PAGE]
        self.table.value = html_of_rows(shown)
        if len(shown):  # of a whole store nobody could read the lines
            place = f"settings {first + 1} to {first + len(shown)} of {len(self.selected)}"
            show_figure(self.figure, plots.pgr_by_size(shown, place))
        else:
            self.figure.outputs = ()


def _values_of(rows: pd.DataFrame, column: str) -> list:
    """Returns the values of a column in the order of a dropdown: tasks by name, other values as the
    rows have them, which are sorted by size.
    """
    if not len(rows):
        return []
    if column == "task":
        return sorted(rows.task.unique().tolist(), key=str)
    if column == "n_train":
        rows = rows.sort_values("n_train")
    return list(dict.fromkeys(rows[column]))


def html_of_rows(rows: pd.DataFrame) -> str:
    """Returns rows of `w2s.all_students` as HTML, with intervals; undefined values stay empty."""
    if not len(rows):
        return "no student is stored yet that has a supervisor"
    table = pd.DataFrame([_table_row(row) for _, row in rows.iterrows()])
    table = table.map(lambda value: html.escape(str(value)))
    body = table.to_html(index=False, escape=False, border=0)
    notes = note_lines(rows.to_dict("records"), ("pgr", "pgr_auroc"))
    below = "".join(f"<p>{html.escape(line)}</p>" for line in notes)
    return f"<style>{_STYLE}</style><div class='w2s-runs'>{body}{below}</div>"


def _table_row(row: pd.Series) -> dict:
    same_method = row.method == row.weak_method
    return {
        "task": row.task,
        "supervisor → student": pair(row.weak, row.strong),
        "arm": row.arm,
        "method": row.method if same_method else f"{row.weak_method}, {row.method}",
        "labels": row.n_train,
        "setting": row.setting,
        "seeds": row.seeds,
        "test": row.n_test,
        "accuracy": interval_cell(row, "accuracy"),
        "AUROC": interval_cell(row, "auroc"),
        "PGR": interval_cell(row, "pgr"),
        "PGR by AUROC": interval_cell(row, "pgr_auroc"),
        "agreement": interval_cell(row, "agreement"),
    }


def pair(weak: str, strong: str) -> str:
    """Names a supervisor and its student; of one model cut to two depths, the second depth alone.

    >>> pair("SmolLM2-135M@4", "SmolLM2-135M@16"), pair("gpt2", "gpt2-xl")
    ('SmolLM2-135M@4 → @16', 'gpt2 → gpt2-xl')
    """
    weak_base, _, _ = weak.rpartition("@")
    strong_base, _, depth = strong.rpartition("@")
    if weak_base and weak_base == strong_base:
        return f"{weak} → @{depth}"
    return f"{weak} → {strong}"


def runs(**chosen) -> Runs:
    """Shows every stored student with its supervisor and ceiling: a table with filters, and PGR by
    the student's size of the settings on the page.

    The rows are those of `w2s.all_students`; reading a large store takes some seconds, in the
    background.

    Args:
        chosen: what the filters are set to at first, such as `runs(task="boolq")`; see `FILTERS`.

    Raises:
        UnknownName: there is no such filter.
        ValueError: several values for one filter.
    """
    for name, value in chosen.items():
        if name not in FILTERS:
            raise UnknownName("filter of runs", name, FILTERS)
        if pd.api.types.is_list_like(value):
            raise ValueError(f"runs({name}={value!r}): a filter takes one value")
    return Runs(chosen)
