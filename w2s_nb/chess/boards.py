"""Chess puzzles: accuracy by difficulty and theme, and boards."""

from __future__ import annotations

from xml.sax.saxutils import escape

import chess
import chess.svg
import pandas as pd
import plotly.graph_objects as go
from IPython.display import SVG

from ..plots.base import colour, figure_of, interval_of
from . import rules

_SIDE, _GAP, _CAPTION = 236, 14, 62  # pixels
_ARROWS = {"supervisor": colour("weak supervisor"), "student": "#0072B2", "answer": "#15781B"}


def accuracy_by_part(table: pd.DataFrame, column: str, title: str, x: str) -> go.Figure:
    """Exact match in parts of the test set, an arm a colour, with 95 % intervals.

    Args:
        table: `solving.by_difficulty` or `solving.by_theme`: rows with arm, n, the column, accuracy and its interval.
    """
    figure = figure_of(title, x, "exact match")
    ticks = {part: f"{part}<br>n = {n}" for part, n in zip(table[column], table.n)}
    for arm, rows in table.groupby("arm", sort=False):
        figure.add_scatter(
            x=rows[column].map(ticks),
            y=rows.accuracy,
            name=arm,
            mode="markers",
            offsetgroup=arm,
            marker=dict(color=colour(arm), size=10),
            error_y=interval_of(rows.accuracy_low, rows.accuracy, rows.accuracy_high),
        )
    figure.update_layout(scattermode="group", scattergap=0.5)
    figure.update_xaxes(type="category")
    figure.update_yaxes(range=[0, min(1.02, table.accuracy_high.max() + 0.05) if len(table) else 1])
    return figure


def show_boards(puzzles: pd.DataFrame) -> SVG:
    """Positions side by side, seen by the side to move, with an arrow a move: green the answer, blue the student's and
    orange the supervisor's where they are wrong and legal.

    Args:
        puzzles: at most eight or so, such as rows of `solving.disagreements`: text, answer, and where there are some
            supervisor and student.
    """
    width, height = _SIDE + _GAP, _SIDE + _CAPTION
    columns = min(4, len(puzzles)) or 1
    drawn = []
    for i, row in enumerate(puzzles.itertuples()):
        board, arrows = rules.board_of(row.text), []
        for who in [
            who for who in _ARROWS if who in puzzles
        ]:  # the answer is drawn last, above the others
            said = getattr(row, who)
            right = rules.bare(said) == rules.bare(row.answer)
            if rules.bare(said) in rules.bare_answers(row.text) and (who == "answer" or not right):
                move = board.parse_san(rules.bare(said).strip())
                arrows.append(chess.svg.Arrow(move.from_square, move.to_square, color=_ARROWS[who]))
        last = board.peek() if board.move_stack else None
        picture = chess.svg.board(
            board,
            orientation=board.turn,
            arrows=arrows,
            lastmove=last,
            size=_SIDE,
            coordinates=False,
        )
        lines = [
            f"{'White' if board.turn else 'Black'} to move: {row.answer.strip()}",
            ", ".join(
                f"{who} {getattr(row, who).strip() or '-'}"
                for who in ("student", "supervisor")
                if who in puzzles
            ),
        ]
        said = "".join(
            f'<text x="0" y="{_SIDE + 18 + 17 * k}" font-size="13" font-family="sans-serif">{escape(line)}'
            f"</text>"
            for k, line in enumerate(lines)
        )
        drawn.append(
            f'<g transform="translate({i % columns * width}, {i // columns * height})">{picture}{said}</g>'
        )
    rows = -(-len(drawn) // columns)
    return SVG(
        f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'width="{columns * width}" height="{rows * height}">{"".join(drawn)}</svg>'
    )
