"""Chess puzzles, answered by generating the first move (section 4.1, appendix A.2)."""
from __future__ import annotations

import functools
import json
import math

import chess
from filelock import FileLock

from .. import games
from ..config import cache, write_atomic
from ..store import code_version
from .base import Example, Hub, register_task

N_MATES = 2400  # puzzles of mate_in_one
GAME = 24  # half-moves from the start by which two puzzles are held to be of one game
CHESS = {"max_answer": 12, "options": games.bare_answers, "bare": games.bare, "stop": "last",
         "recipe": {"epochs": 5, "batch_size": 32}}


@functools.cache
def rated(option: str):
    """Which puzzles lie in a range of difficulty, both ends included: '1000-1500', '-1000', '2000-'.

    Raises:
        ValueError: no such range.
    """
    low, dash, high = option.partition("-")
    if not dash or not (low or high) or not all(end.isdigit() for end in (low, high) if end):
        raise ValueError(f"difficulty {option!r}; expected a range such as 1000-1500, -1000 or 2000-")
    at_least, at_most = float(low or -math.inf), float(high or math.inf)

    def keep(example: Example) -> bool:
        if math.isnan(example.difficulty):
            raise ValueError(f"the puzzle {example.texts[0]!r} has no rating, so none can be chosen by it; "
                             f"lichess_puzzles has ratings, as have local files with a column Rating")
        return at_least <= example.difficulty <= at_most
    return keep


def puzzle(row: dict):
    """Which move solves the puzzle? The first move of the solution, in SAN.

    Takes the rows of either hub set: {ctx, target}, the game's moves in figure 14's form and the answer; or {FEN,
    Moves}, the position before the opponent's last move, and that move and the solution's in UCI. Puzzles of one game
    stay together. A row that is not legal chess gives none.
    """
    themes = row.get("Themes") or ()
    about = {"difficulty": float(row["Rating"]) if row.get("Rating") is not None else math.nan,
             "themes": tuple(themes.split() if isinstance(themes, str) else themes)}
    if "ctx" in row:
        prompt, answer = row["ctx"].strip(), f" {row['target'].strip()}"
        key = " ".join(prompt.split()[:2 * GAME])
    elif "FEN" in row:
        opponents, answers, *_ = *row["Moves"].split(), ""
        try:
            board = chess.Board(row["FEN"])
            board.push(board.parse_uci(opponents))
            answer = f" {board.san(board.parse_uci(answers))}"
        except ValueError:
            return
        # a position alone is the prompt; the move that led to it is no part of it
        prompt, key = games.fen_prompt(board), (row.get("GameUrl") or row["FEN"]).partition("#")[0].removesuffix("/black")
    else:
        raise ValueError(f"a chess puzzle has columns ctx and target, or FEN and Moves; got {', '.join(row)}")
    try:
        legal = answer in games.legal_answers(prompt)
    except ValueError:
        return
    if legal:
        yield Example((prompt,), 0, (key,), answer, **about)


# with one labelled split, a quarter of the games is put aside for the test
register_task("chess_puzzles", Hub("EleutherAI/lichess-puzzles",
              "787a704697824359fceb7aca8be2ea23dce2f463", test="train", limit=400_000), max_len=1024,
              folders=("chess_puzzles", "lichess_puzzles"), narrow=rated, measure="Elo rating", **CHESS)(puzzle)
register_task("lichess_puzzles", Hub("Lichess/chess-puzzles", None, test="train", limit=400_000), max_len=128,
              narrow=rated, folders=("lichess_puzzles",), measure="Elo rating", **CHESS)(puzzle)


def mates() -> dict[str, list[dict]]:
    """`games.mate_in_one`, `N_MATES` of them at seed 0: generated once in about a minute, then read from the cache."""
    version = code_version(games.mate_in_one, games.self_play, games.checks_and_mates, games._puzzle)
    path = cache() / "puzzles" / f"mate_in_one-{version}-{N_MATES}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{path}.lock"):
        try:
            return {"all": json.loads(path.read_text())}
        except (OSError, ValueError):  # not there yet, or damaged
            rows = games.mate_in_one(N_MATES)
            write_atomic(path, json.dumps(rows).encode())
            return {"all": rows}


@register_task("mate_in_one", mates, max_len=160, narrow=rated, measure="half-moves before the mate", **CHESS)
def mate_in_one(row):
    """Which move mates? Positions of careless games with exactly one mating move; themes: what moves, and how."""
    san, moves = row["answer"], row["moves"].split()
    piece = {"K": "king", "Q": "queen", "R": "rook", "B": "bishop", "N": "knight", "O": "castling"}.get(san[0], "pawn")
    themes = (piece, *(["capture"] * ("x" in san)), *(["promotion"] * ("=" in san)))
    yield Example((games.prompt_of(moves),), 0, (), f" {san}", len(moves), themes)
