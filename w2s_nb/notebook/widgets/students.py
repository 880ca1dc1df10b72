"""The table of every stored student, with filters, and PGR by size."""

from __future__ import annotations

import html

import ipywidgets
import pandas as pd

from ... import plots
from ...experiments.history import all_students
from .base import Latest, Status, labelled, pages, show

FILTERS = ("task", "weak", "strong", "arm", "method", "n_train")
PAGE = 12  # rows
_ALL = "all"
_STYLE = (
    ".w2s-runs {color: var(--jp-content-font-color1, #222); overflow-x: auto; font-size: 12px} .w2s-runs td, "
    ".w2s-runs th {padding: 2px 10px 2px 0; text-align: left; white-space: nowrap}"
)


class Runs(ipywidgets.VBox):
    """Filters, the table page by page, and the figure; see `runs`.

    Attributes:
        rows: of `stored.recovered`.
        filters: {column: dropdown}.
        shown: the rows that the filters let through.
        refresh: the button that reads the store again.
    """

    def __init__(self):
        self.rows, self.shown, self.page = pd.DataFrame(), pd.DataFrame(), 0
        self.filters = {
            name: labelled(
                ipywidgets.Dropdown,
                name.replace("weak", "supervisor").replace("strong", "student"),
                _ALL,
                options=[_ALL],
            )
            for name in FILTERS
        }
        self.status, self.table, self.figure = Status(), ipywidgets.HTML(), ipywidgets.Output()
        self.previous, self.where, self.onward = pages(self._step)
        self.refresh = ipywidgets.Button(
            description="Read the store again", layout=ipywidgets.Layout(width="180px")
        )
        self.latest = Latest(
            lambda asked: all_students(), lambda asked, rows: self._read(rows), self.status
        )
        self.refresh.on_click(lambda button: self.latest.ask(()))
        for control in self.filters.values():
            control.observe(self._choose, "value")
        super().__init__(
            [
                ipywidgets.HBox(
                    [*self.filters.values()], layout=ipywidgets.Layout(flex_flow="row wrap")
                ),
                ipywidgets.HBox([self.refresh, self.previous, self.where, self.onward]),
                self.status,
                self.table,
                self.figure,
            ]
        )
        self.latest.ask(())

    def _read(self, rows: pd.DataFrame) -> None:
        self.rows = rows
        for name, control in self.filters.items():
            known = (
                sorted(rows[name].unique().tolist(), key=str)
                if name == "task"
                else list(
                    dict.fromkeys(
                        rows.sort_values("n_train")[name] if name == "n_train" else rows[name]
                    )
                )
                if len(rows)
                else []
            )
            kept = control.value if control.value in known else _ALL
            control.unobserve(self._choose, "value")  # new options choose the first
            control.options = [_ALL, *known]
            control.value = kept
            control.observe(self._choose, "value")
        self._choose()

    def _choose(self, change=None) -> None:
        self.shown, self.page = self.rows, 0
        for name, control in self.filters.items():
            if control.value != _ALL and len(self.shown):
                self.shown = self.shown[self.shown[name] == control.value]
        self._draw()
        if len(self.shown):
            show(
                self.figure,
                plots.pgr_by_size(
                    self.shown, f"PGR by the student's size, {len(self.shown)} settings"
                ),
            )
        else:
            self.figure.outputs = ()

    def _step(self, by: int) -> None:
        self.page = (self.page + by) % max(1, -(-len(self.shown) // PAGE))
        self._draw()

    def _draw(self) -> None:
        part, last = (
            self.shown.iloc[self.page * PAGE : (self.page + 1) * PAGE],
            -(-len(self.shown) // PAGE),
        )
        self.previous.disabled = self.onward.disabled = last < 2
        self.where.value = f"{len(self.shown)} settings, page {self.page + 1} of {max(1, last)}"
        self.table.value = table(part)


def table(rows: pd.DataFrame) -> str:
    """Rows of `stored.recovered` as HTML, with intervals; what is not defined stays empty."""
    if not len(rows):
        return "no student is stored yet that has a supervisor"

    def cell(row: pd.Series, name: str) -> str:
        return (
            ""
            if pd.isna(row[name])
            else f"{row[name]:.3f} [{row[f'{name}_low']:.3f}, {row[f'{name}_high']:.3f}]"
        )

    shown = pd.DataFrame(
        [
            {
                "task": r.task,
                "supervisor → student": pair(r.weak, r.strong),
                "arm": r.arm,
                "method": r.method
                if (r.method == r.weak_method)
                else f"{r.weak_method}, {r.method}",
                "labels": r.n_train,
                "setting": r.setting,
                "seeds": r.seeds,
                "test": r.n_test,
                "accuracy": cell(r, "accuracy"),
                "PGR": cell(r, "pgr"),
                "agreement": cell(r, "agreement"),
            }
            for _, r in rows.iterrows()
        ]
    ).map(lambda value: html.escape(str(value)))
    return f"<style>{_STYLE}</style><div class='w2s-runs'>{shown.to_html(index=False, escape=False, border=0)}</div>"


def pair(weak: str, strong: str) -> str:
    """A supervisor and its student, of one model cut to two depths the second depth alone.

    >>> pair("SmolLM2-135M@4", "SmolLM2-135M@16"), pair("gpt2", "gpt2-xl")
    ('SmolLM2-135M@4 → @16', 'gpt2 → gpt2-xl')
    """
    (base, _, _), (same, _, depth) = weak.rpartition("@"), strong.rpartition("@")
    return f"{weak} → @{depth}" if base and base == same else f"{weak} → {strong}"


def runs() -> Runs:
    """Every stored student with its supervisor and ceiling: a table with filters, and PGR by the student's size.

    The rows are those of `recovered`; reading a large store takes some seconds, in the background.
    """
    return Runs()
