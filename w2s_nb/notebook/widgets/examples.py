"""A browser of the test examples on which student and supervisor differ."""

from __future__ import annotations

import html

import ipywidgets
import pandas as pd

from ... import plots
from ...experiments.arms import Arms
from ...experiments.one_setting import differences
from .base import labelled, pages, show

ORDERS = {
    "the student's surest first": "student",
    "the supervisor's surest first": "supervisor",
    "as they were dealt": "",
}


class Disagreements(ipywidgets.VBox):
    """Controls, one example, and where it lies among all; see `disagreements`.

    Attributes:
        rows: every test example, as `exploring.differences` has them.
        right, confidence, order: the controls: who is right, the student's confidence, what comes first.
        previous, onward, where: buttons to page by, and the line between them.
        shown: rows that the controls let through, in their order.
        at: the row of `shown` that is on view, or 0 where there is none.
    """

    def __init__(self, arms: Arms, student: str):
        self.student, self.rows, self.at = student, differences(arms, student), 0
        self.title = f"{arms.tasks[0].name}: {arms.strong} taught by {arms.weak}"
        self._answered = "p_right" in self.rows
        apart = ["student", "supervisor"] + ["neither"] * self._answered
        counts = self.rows.right.value_counts()
        self.right = labelled(
            ipywidgets.Dropdown,
            "right is",
            "either",
            options=[(f"either of them ({sum(counts.get(who, 0) for who in apart[:2])})", "either")]
            + [
                (
                    f"{'nobody, and they differ' if who == 'neither' else f'the {who}'} ({self._count(who)})",
                    who,
                )
                for who in apart
            ],
        )
        ends = (0.0, 1.0) if self._answered else (0.5, 1.0)
        self.confidence = labelled(
            ipywidgets.FloatRangeSlider,
            "confidence",
            ends,
            min=ends[0],
            max=1.0,
            step=0.05,
            readout_format=".2f",
            continuous_update=False,
        )
        self.confidence.tooltip = (
            "what the student gives the true answer"
            if self._answered
            else "the student's, in the class it predicts"
        )
        names = [name for name in ORDERS if not self._answered or ORDERS[name] != "supervisor"]
        self.order = labelled(ipywidgets.Dropdown, "order", names[0], options=names)
        self.previous, self.where, self.onward = pages(self._step)
        self.example, self.figure = ipywidgets.HTML(), ipywidgets.Output()
        for control in (self.right, self.confidence, self.order):
            control.observe(lambda change: self._choose(), "value")
        super().__init__(
            [
                self.right,
                self.confidence,
                self.order,
                ipywidgets.HBox([self.previous, self.where, self.onward]),
                self.example,
                self.figure,
            ]
        )
        self._choose()

    def _differ(self) -> pd.Series:
        if self._answered:
            return self.rows.supervisor != self.rows.student
        return self.rows.right.isin(("student", "supervisor"))

    def _count(self, who: str) -> int:
        return int((self._differ() & (self.rows.right == who)).sum())

    def _sure(self, who: str) -> pd.Series:
        if self._answered:
            return self.rows.p_right
        return self.rows[who].where(self.rows[who] >= 0.5, 1 - self.rows[who])

    def _choose(self) -> None:
        wanted = ("student", "supervisor") if self.right.value == "either" else (self.right.value,)
        low, high = self.confidence.value
        keep = (
            self._differ()
            & self.rows.right.isin(wanted)
            & self._sure("student").between(low - 1e-9, high + 1e-9)
        )
        self.shown = self.rows[keep]
        by = ORDERS[self.order.value]
        if by:
            self.shown = self.shown.loc[
                self._sure(by)[keep].sort_values(ascending=False, kind="stable").index
            ]
        self.at = 0
        self._draw()

    def _step(self, by: int) -> None:
        if len(self.shown):
            self.at = (self.at + by) % len(self.shown)
            self._draw()

    def _draw(self) -> None:
        self.previous.disabled = self.onward.disabled = len(self.shown) < 2
        if not len(self.shown):
            self.where.value = "no test example is like that"
            self.example.value = ""
            return show(self.figure, plots.differences(self.rows, self.title, student=self.student))
        row = self.shown.iloc[self.at]
        self.where.value = f"<span role='status'>{self.at + 1} of {len(self.shown)}</span>"
        self.example.value = (
            self._board(row) if self._answered else plots.card(row, student=self.student)
        )
        show(
            self.figure,
            plots.differences(self.rows, self.title, student=self.student, chosen=row.id),
        )

    def _board(self, row: pd.Series) -> str:
        """A puzzle as a board in a white card, with what everybody says and the game so far."""
        from ...chess.boards import show_boards  # needs the extra [chess]

        try:
            picture = show_boards(pd.DataFrame([row.rename({"truth": "answer"})])).data
        except ValueError:  # a question of something else than chess
            picture = ""
        said = ", ".join(
            f"{who} <b>{html.escape(str(row[name]).strip()) or '(nothing)'}</b>"
            for who, name in (
                ("answer", "truth"),
                ("student", "student"),
                ("supervisor", "supervisor"),
            )
        )
        return (
            f"<div style='color: var(--jp-content-font-color1, #222); max-width: 900px; line-height: 1.45'>"
            f"<div style='background: white; display: inline-block'>{picture}</div>"
            f"<p>{said}; the student gives the answer {row.p_right:.2f}.</p>"
            f"<p style='font-size: 90%'>{html.escape(row.text)}</p></div>"
        )


def disagreements(arms: Arms, student: str | None = None) -> Disagreements:
    """Pages through the test examples that one of supervisor and student gets right and the other wrong, first seed.

    They can be narrowed to those that one of the two is right about, and by how sure the student is: in the class that
    it predicts, or, of a task that is answered, how much it gives the true answer. There, those on which both are
    wrong in different ways can be seen too. A figure shows where the example lies among all.

    Args:
        arms: of `run_arms` or `explore`.
        student: an arm; None takes the first student.
    Raises:
        ValueError: no such student; lists what exists.
    """
    return Disagreements(arms, student or arms.students[0])
