"""A browser of the test examples on which student and supervisor differ."""

from __future__ import annotations

import html
from typing import Any

import ipywidgets
import pandas as pd

from ... import plots
from ...experiments.arms import WEAK, Arms
from ...experiments.one_setting import differences
from .base import labelled, page_buttons, show_figure
from .picture import PicturedBox

# {option of the dropdown: the model by whose confidence examples are sorted}
ORDERS = {
    "the student's surest first": "student",
    "the supervisor's surest first": "supervisor",
    "as they were dealt": "",
}


class Disagreements(PicturedBox):
    """Controls, one example, and where it lies among all; see `disagreements`.

    Attributes:
        rows: every test example, as `w2s.differences` has them.
        probs: {"supervisor" and "student": (n, K)} of them; of answers, whether each is right.
        right, confidence, order: the controls: who is right, the student's confidence, and which
            example comes first.
        previous, page, next: buttons to page by, and the line between them.
        selected: rows that the controls let through, in their order.
        position: of the row of `selected` that is shown, from 0; 0 where there is none.
    """

    def __init__(self, arms: Arms, student: str):
        self.student = student
        self.rows = differences(arms, student)
        self._test = arms.test
        self.probs = {
            "supervisor": arms.probs(WEAK)[0],
            "student": arms.probs(student or arms.students[0])[0],
        }
        self.selected = self.rows
        self.position = 0
        self.title = f"{arms.tasks[0].name}: {arms.strong} taught by {arms.weak}"
        self._answered = "p_right" in self.rows
        self.right = labelled(
            ipywidgets.Dropdown, "right is", "either", options=self._options_of_right()
        )
        self.confidence = self._make_slider()
        # Of a task that is answered, the supervisor's confidence is not stored.
        orders = [
            order for order, model in ORDERS.items() if not self._answered or model != "supervisor"
        ]
        self.order = labelled(ipywidgets.Dropdown, "order", orders[0], options=orders)
        self.previous, self.page, self.next = page_buttons(self._turn)
        self.example = ipywidgets.HTML()
        self.figure = ipywidgets.Output()
        controls = [self.right, self.confidence, self.order]
        for control in controls:
            control.observe(lambda change: self._select(), "value")
        paging = ipywidgets.HBox([self.previous, self.page, self.next])
        super().__init__([*controls, paging, self.example, self.figure])
        self._select()

    def _options_of_right(self) -> list[tuple[str, str]]:
        """Returns (label with a count, value) of each option of the control `right`."""
        counts = self.rows.right.value_counts()
        n_either = counts.get("student", 0) + counts.get("supervisor", 0)
        options = [(f"either of them ({n_either})", "either")]
        for model in ("student", "supervisor"):
            options.append((f"the {model} ({self._count(model)})", model))
        if self._answered or self.probs["student"].shape[1] > 2:
            options.append((f"nobody, and they differ ({self._count('neither')})", "neither"))
        return options

    def _make_slider(self) -> ipywidgets.FloatRangeSlider:
        # The class that a model predicts has a probability of at least 1/K.
        low = 0.0 if self._answered else 1 / self.probs["student"].shape[1]
        slider = labelled(
            ipywidgets.FloatRangeSlider,
            "confidence",
            (low, 1.0),
            min=low,
            max=1.0,
            step=0.05,
            readout_format=".2f",
            continuous_update=False,
        )
        if self._answered:
            slider.tooltip = "what the student gives the true answer"
        else:
            slider.tooltip = "the student's, in the class it predicts"
        return slider

    def _differ(self) -> pd.Series:
        """Returns for each row whether student and supervisor differ."""
        if self._answered:
            return self.rows.supervisor != self.rows.student
        return self.rows.supervisor_says != self.rows.student_says

    def _count(self, right: str) -> int:
        return int((self._differ() & (self.rows.right == right)).sum())

    def _confidence_of(self, model: str) -> pd.Series:
        """Returns for each row the probability of the predicted class, or of the true answer."""
        if self._answered:
            return self.rows.p_right
        return pd.Series(self.probs[model].max(axis=1), self.rows.index)

    def _select(self) -> None:
        """Applies the controls, and shows the first row that they let through."""
        right = self.right.value
        right_values = ("student", "supervisor") if right == "either" else (right,)
        low, high = self.confidence.value
        # The slider's ends are sums of steps, a little off the values that they stand for.
        in_range = self._confidence_of("student").between(low - 1e-9, high + 1e-9)
        chosen = self._differ() & self.rows.right.isin(right_values) & in_range
        self.selected = self.rows[chosen]
        model = ORDERS[self.order.value]
        if model:
            confidence = self._confidence_of(model)[chosen]
            surest_first = confidence.sort_values(ascending=False, kind="stable").index
            self.selected = self.selected.loc[surest_first]
        self.position = 0
        self._draw()

    def _turn(self, pages: int) -> None:
        if len(self.selected):
            self.position = (self.position + pages) % len(self.selected)
            self._draw()

    def _draw(self) -> None:
        n = len(self.selected)
        self.previous.disabled = n < 2
        self.next.disabled = n < 2
        if n == 0:
            self.page.value = "no test example is like that"
            self.example.value = ""
            chosen = None
        else:
            row = self.selected.iloc[self.position]
            self.page.value = f"<span role='status'>{self.position + 1} of {n}</span>"
            if self._answered:
                self.example.value = _answers_card(row)
            else:
                place = self.rows.index.get_loc(row.name)
                probs = {model: p[place] for model, p in self.probs.items()}
                self.example.value = plots.card(
                    row, student=self.student, probs=probs, picture=self._picture_of(row)
                )
            chosen = row.id
        figure = plots.differences(self.rows, self.title, student=self.student, chosen=chosen)
        show_figure(self.figure, figure)

    def _picture_of(self, row: pd.Series) -> str:
        """Returns the image of an example as HTML; "" of a text."""
        lookup = self._test.task.spec.images if self._test.task else None
        if lookup is None:
            return ""
        images: Any = lookup()
        return images.picture(row.text, f"an image of class {self._test.classes[row.truth]}", 168)


def _answers_card(row: pd.Series) -> str:
    """Returns a puzzle as HTML: its board, the true answer, both models' answers, and the game."""
    answers = []
    for label, column in (
        ("answer", "truth"),
        ("student", "student"),
        ("supervisor", "supervisor"),
    ):
        answer = html.escape(str(row[column]).strip()) or "(nothing)"
        answers.append(f"{label} <b>{answer}</b>")
    return (
        f"<div style='color: var(--jp-content-font-color1, #222); max-width: 900px; "
        f"line-height: 1.45'>"
        f"{_board(row)}"
        f"<p>{', '.join(answers)}; the student gives the answer {row.p_right:.2f}.</p>"
        f"<p style='font-size: 90%'>{html.escape(row.text)}</p></div>"
    )


def _board(row: pd.Series) -> str:
    """Returns the position as an image in HTML; an empty text where the question is no game."""
    from ...chess.boards import show_boards  # needs the extra [chess]

    try:
        return show_boards(pd.DataFrame([row.rename({"truth": "answer"})])).to_html()
    except ValueError:
        return ""


def disagreements(arms: Arms, student: str | None = None) -> Disagreements:
    """Pages through the test examples of the first seed that one of supervisor and student gets
    right and the other wrong.

    They can be narrowed to those that one of the two is right about, and by how sure the student
    is: in the class that it predicts, or, of a task that is answered, how much it gives the true
    answer. Of such a task, and of more than two classes, those on which both are wrong in different
    ways can be seen too. A figure shows where the example lies among all.

    Args:
        arms: of `run_arms` or `one_setting`.
        student: an arm; None takes the first student.
    Raises:
        ValueError: no such student; lists what exists.
    """
    return Disagreements(arms, arms.students[0] if student is None else student)
