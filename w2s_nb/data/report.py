"""Shows what the splits of a task hold, and below it how many rows were left out and why."""

from __future__ import annotations

import html
from collections.abc import Mapping

import pandas as pd


class SplitReport(pd.DataFrame):
    """A table of the splits of a task that says below it what preparation read and left out.

    `attrs["counts"]` has the same numbers as {what: how many}; `attrs["pictures"]` has images that
    are shown between.
    """

    @property
    def _constructor(self):
        return SplitReport

    def __repr__(self) -> str:
        return f"{super().__repr__()}\n{counted(self.attrs.get('counts', {}))}".rstrip()

    def _repr_html_(self) -> str | None:
        table = super()._repr_html_()
        below = self.attrs.get("pictures", "") + footnote(self.attrs.get("counts", {}))
        return table and table + below


def counted(counts: Mapping[str, int]) -> str:
    """Returns the counts of a task in one line, those of nothing left out.

    >>> counted({"rows read": 1200, "examples": 1190, "dropped with repeated texts": 0})
    'rows read: 1,200; examples: 1,190'
    """
    return "; ".join(f"{what}: {n:,}" for what, n in counts.items() if n)


def footnote(counts: Mapping[str, int], task: str = "") -> str:
    """Returns the counts of a task as HTML, to stand below a table of its examples or results."""
    said = counted(counts)
    return f"<p>{html.escape(f'{task}: {said}' if task else said)}</p>" if said else ""
