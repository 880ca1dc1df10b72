"""Registers chess puzzles, answered by generating the first move (section 4.1, appendix A.2)."""

from __future__ import annotations

import functools
import json
import math
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import chess
from tqdm import tqdm

from ..common.assets import make_once
from ..common.store import code_version
from ..data.tasks.spec import Example, Hub, UnreadableRow, register_task
from . import rules

N_MATES = 2400  # puzzles of mate_in_one
GAME = 24  # half-moves from the start by which two puzzles are held to be of one game
CHESS: dict[str, Any] = {
    "max_answer": 12,
    "options": rules.bare_answers,
    "bare": rules.bare,
    "stop": "last",
    "cpu_sizes": (240, 48, 600),
    "hyperparameters": {"epochs": 5, "batch_size": 32},
}


@functools.cache
def rated(option: str):
    """Returns a filter of puzzles in a range of difficulty, both ends included.

    Args:
        option: '1000-1500', '-1000' or '2000-'.

    Raises:
        ValueError: no such range.
    """
    low, dash, high = option.partition("-")
    if not dash or not (low or high) or not all(end.isdigit() for end in (low, high) if end):
        raise ValueError(
            f"difficulty {option!r}; expected a range such as 1000-1500, -1000 or 2000-"
        )
    at_least, at_most = float(low or -math.inf), float(high or math.inf)

    def keep(example: Example) -> bool:
        return at_least <= example.difficulty <= at_most  # never where that is not known

    return keep


def puzzle(row: dict) -> Iterator[Example]:
    """Which move solves the puzzle? The first move of the solution, in SAN.

    Takes the rows of either hub set: {ctx, target}, the game's moves in figure 14's form and the
    answer; or {FEN, Moves}, the position before the opponent's last move, and that move and the
    solution's in UCI. Puzzles of one game stay together: by its address, or by the first `GAME`
    half-moves where both have as many. A row that is not legal chess gives no example.
    """
    if "ctx" in row:
        prompt, answer = row["ctx"].strip(), row["target"].strip()
        key = " ".join(prompt.split()[: 2 * GAME])
    elif "FEN" in row:
        prompt, answer = _from_fen(row["FEN"], _words(row["Moves"]))
        address_of_game = row.get("GameUrl")  # not a text where it is missing
        game = address_of_game if isinstance(address_of_game, str) else row["FEN"]
        key = game.partition("#")[0].removesuffix("/black")
    else:
        raise UnreadableRow(
            f"a chess puzzle has columns ctx and target, or FEN and Moves; got {', '.join(row)}"
        )
    rating = row.get("Rating")
    try:
        board = rules.board_of(prompt)
        if board.san(board.parse_san(answer)) == answer:
            difficulty = math.nan if rating is None else float(rating)
            themes = _words(row.get("Themes"))
            yield Example((prompt,), 0, (key,), f" {answer}", difficulty, themes)
    except ValueError:
        return


def _decides() -> dict:
    """Returns what decides the examples of `puzzle` beside its rows."""
    return {
        "chess": chess.__version__,
        "game": GAME,
        "code": code_version(puzzle, _words, _from_fen, rules),
    }


def _words(value) -> tuple[str, ...]:
    """Returns the words of a text or of a list; none of a missing value."""
    if isinstance(value, str):
        return tuple(value.split())
    return tuple(map(str, value)) if isinstance(value, Iterable) else ()


def _from_fen(fen: str, moves: tuple[str, ...]) -> tuple[str, str]:
    """Returns the question after the opponent's move, and its answer; empty if one is illegal."""
    try:
        board = chess.Board(fen)
        board.push(board.parse_uci(moves[0]))
        return rules.fen_prompt(board), board.san(board.parse_uci(moves[1]))
    except (ValueError, IndexError):
        return "", ""


# The set has one labelled split: a quarter of the games is put aside for the test
register_task(
    "chess_puzzles",
    Hub(
        "EleutherAI/lichess-puzzles",
        "787a704697824359fceb7aca8be2ea23dce2f463",
        test="train",
        limit=400_000,
    ),
    max_len=1024,
    gpu_sizes=(10_000, 500, 2_000),
    folders=("chess_puzzles", "lichess_puzzles"),
    narrow=rated,
    measure="Elo rating",
    prepared=_decides,  # the games are replayed, a millisecond each
    **CHESS,
)(puzzle)
register_task(
    "lichess_puzzles",
    Hub("Lichess/chess-puzzles", None, test="train", limit=400_000),
    max_len=128,
    gpu_sizes=(10_000, 500, 2_000),
    narrow=rated,
    folders=("lichess_puzzles",),
    measure="Elo rating",
    prepared=_decides,
    **CHESS,
)(puzzle)


def mates() -> dict[str, list[dict]]:
    """Returns `N_MATES` puzzles of `rules.mate_in_one` at seed 0 as the rows of one split.

    They are generated once, in about a minute, and then read from the cache.
    """

    def generate(folder: Path) -> None:
        (folder / "rows.json").write_text(json.dumps(_generated()))

    record = {
        "n": N_MATES,
        "chess": chess.__version__,
        "players": [rules.CAPTURES, rules.CHECKS, rules.SEES_MATE],
        "code": code_version(
            rules.mate_in_one, rules.self_play, rules.checks_and_mates, rules._puzzle
        ),
    }
    folder = make_once("puzzles/mate_in_one", generate, record)
    return {"all": json.loads((folder / "rows.json").read_text())}


def _generated() -> list[dict]:
    """Generates the puzzles in a new process; its workers import no main module of the caller."""
    tqdm.write("generating the puzzles of mate_in_one, once, in about a minute", file=sys.stderr)
    done = subprocess.run(
        [sys.executable, "-m", "w2s_nb", "mates", str(N_MATES)], stdout=subprocess.PIPE, check=True
    )
    return json.loads(done.stdout)


# few enough for the further parts that bootstrapping takes
@register_task(
    "mate_in_one",
    mates,
    max_len=512,
    gpu_sizes=(240, 48, 600),
    narrow=rated,
    measure="half-moves before the mate",
    **CHESS,
)
def mate_in_one(row):
    """Which move mates? Positions of careless games with exactly one mating move.

    Themes: what moves, and how.
    """
    san = row["answer"]
    moves = row["moves"].split()
    piece = {
        "K": "king",
        "Q": "queen",
        "R": "rook",
        "B": "bishop",
        "N": "knight",
        "O": "castling",
    }.get(san[0], "pawn")
    themes = (piece, *(["capture"] * ("x" in san)), *(["promotion"] * ("=" in san)))
    yield Example((rules.prompt_of(moves),), 0, (), f" {san}", len(moves), themes)
