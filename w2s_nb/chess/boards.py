"""Draws accuracy by difficulty or theme, and boards."""

from __future__ import annotations

from xml.sax.saxutils import escape

import chess
import chess.svg
import pandas as pd
import plotly.graph_objects as go

from ..common.pictures import Drawing
from ..data.splits import Split
from ..plots.base import colour, figure_of, interval_of, name_places
from ..plots.findings import say_parts
from . import rules

# pixels
_SIDE = 236
_GAP = 14
_CAPTION = 62
# The last arrow is drawn above the others.
_ARROWS = {"supervisor": colour("weak supervisor"), "student": "#0072B2", "answer": "#15781B"}


def accuracy_by_part(
    table: pd.DataFrame, column: str, settings: str, x: str, *, title: str = ""
) -> go.Figure:
    """Draws exact match in parts of the test set, a colour per arm, with 95 % intervals.

    Args:
        table: of `by_difficulty` or `by_theme`: rows with arm, n, the column, accuracy and its
            interval.
        column: 'difficulty' or 'theme'.
        settings: what was run; it stands below the title.
        x: title of the x axis.
        title: "" says in which part the first student is best, and in which worst.
    """
    title = title or say_parts(table.reset_index(drop=True), column)
    figure = figure_of(title, x, "exact match", settings=settings)
    ticks = {part: f"{part}<br>n = {n}" for part, n in zip(table[column], table.n, strict=True)}
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
    names = list(dict.fromkeys(ticks.values()))
    name_places(figure.layout.xaxis, names)
    figure.update_xaxes(range=[-0.5, max(1, len(names)) - 0.5])
    top = min(1.02, table.accuracy_high.max() + 0.05) if len(table) else 1
    figure.update_yaxes(range=[-0.02 * top, top])
    return figure


def show_boards(puzzles: pd.DataFrame | Split) -> Drawing:
    """Draws positions side by side, seen by the side to move, with an arrow per move.

    In a notebook it is a picture on white ground, which needs no trust to be seen.

    The answer's arrow is green. The student's is blue and the supervisor's orange; they are drawn
    where the move is wrong and legal.

    Args:
        puzzles: at most eight or so: examples of a task of chess, or rows of `disagreements`:
            columns text and answer, and supervisor and student where there are such.
    """
    if isinstance(puzzles, Split):
        texts = [text for (text,) in puzzles.texts]
        puzzles = pd.DataFrame({"text": texts, "answer": list(puzzles.answers or [])})
    columns = min(4, len(puzzles)) or 1
    boards, captions = [], []
    for i, (_, row) in enumerate(puzzles.iterrows()):
        x = i % columns * (_SIDE + _GAP)
        y = i // columns * (_SIDE + _CAPTION)
        boards.append(f'<g transform="translate({x}, {y})">{_board(row)}</g>')
        captions.append(". ".join(_captions(row)))
    width = columns * (_SIDE + _GAP) - _GAP
    height = -(-len(boards) // columns) * (_SIDE + _CAPTION)
    return Drawing(
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'width="{width}" height="{height}"><rect width="100%" height="100%" fill="white"/>'
        f"{''.join(boards)}</svg>",
        f"{len(boards)} chess boards: {'; '.join(captions)}",
        width,
    )


def _board(row: pd.Series) -> str:
    """Returns one position with its arrows and captions as SVG."""
    board = rules.board_of(row.text)
    picture = chess.svg.board(
        board,
        orientation=board.turn,
        arrows=_arrows(board, row),
        lastmove=board.peek() if board.move_stack else None,
        size=_SIDE,
        coordinates=True,
    )
    texts = []
    for i, caption in enumerate(_captions(row)):
        texts.append(
            f'<text x="0" y="{_SIDE + 18 + 17 * i}" font-size="13" font-family="sans-serif">'
            f"{escape(caption)}</text>"
        )
    return picture + "".join(texts)


def _captions(row: pd.Series) -> list[str]:
    """Returns the lines below a board: whose move it is and the answer; what the models said."""
    side = "White" if rules.board_of(row.text).turn else "Black"
    said = [f"{who} {row[who].strip() or '-'}" for who in ("student", "supervisor") if who in row]
    return [f"{side} to move: {row.answer.strip()}", *([", ".join(said)] if said else [])]


def _arrows(board: chess.Board, row: pd.Series) -> list[chess.svg.Arrow]:
    """Returns the arrow of the answer, and those of other moves that are legal and wrong."""
    legal = rules.bare_answers(row.text)
    arrows = []
    for column, shade in _ARROWS.items():
        if column not in row:
            continue
        bare_move = rules.bare(row[column])
        wrong = bare_move != rules.bare(row.answer)
        if bare_move in legal and (wrong or column == "answer"):
            move = board.parse_san(bare_move.strip())
            arrows.append(chess.svg.Arrow(move.from_square, move.to_square, color=shade))
    return arrows
