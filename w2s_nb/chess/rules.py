"""Holds the rules of chess: prompts of games and positions, self-play, puzzles with one mate."""

from __future__ import annotations

import contextlib
import functools
import itertools
import multiprocessing
import random
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor

import chess

FEN_HEAD = "Chess position in FEN: "
FEN_TAIL = "\nBest move:"
# how often a player of ours takes, gives check, and sees a mate
CAPTURES = 0.3
CHECKS = 0.3
SEES_MATE = 0.5
_WORTH = {
    chess.PAWN: 1,
    chess.KNIGHT: 3,
    chess.BISHOP: 3,
    chess.ROOK: 5,
    chess.QUEEN: 9,
    chess.KING: 0,
}
_CHUNK = 64  # games that a process is given at a time


def move_list(moves: list[str]) -> str:
    """Returns moves from the start in SAN, each half-move with its number, as in figure 14.

    >>> move_list(["d4", "Nf6", "Nf3"])
    '1. d4 1... Nf6 2. Nf3'
    """
    return " ".join(f"{_number(i)} {san}" for i, san in enumerate(moves))


def prompt_of(moves: list[str]) -> str:
    """Returns the moves of a game and the next number, which a model continues with the answer.

    >>> prompt_of(["d4", "Nf6"])
    '1. d4 1... Nf6 2.'
    """
    return f"{move_list(moves)} {_number(len(moves))}".lstrip()


def _number(half_move: int) -> str:
    return f"{half_move // 2 + 1}.{'..' if half_move % 2 else ''}"


def fen_prompt(board: chess.Board) -> str:
    """Returns a position without its game as a prompt."""
    return f"{FEN_HEAD}{board.fen()}{FEN_TAIL}"


def board_of(prompt: str) -> chess.Board:
    """Returns the position that a prompt of either form asks about, with its moves if it has them.

    Raises:
        ValueError: the prompt is of neither form, or one of its moves is not legal.
    """
    if prompt.startswith(FEN_HEAD) and prompt.endswith(FEN_TAIL):
        board = chess.Board(prompt.removeprefix(FEN_HEAD).removesuffix(FEN_TAIL))
        if not board.is_valid():
            raise ValueError(f"no legal position: {board.fen()}")
        return board
    words = prompt.split()
    numbers = words[::2]
    if numbers != [_number(i) for i in range(len(numbers))] or len(words) % 2 == 0:
        raise ValueError(
            f"expected '1. d4 1... Nf6 2.', every half-move with its number and the next number "
            f"last, or a FEN between {FEN_HEAD!r} and {FEN_TAIL!r}; got {prompt[:80]!r}"
        )
    board = chess.Board()
    for san in words[1::2]:
        board.push_san(san)
    return board


@functools.lru_cache(maxsize=50_000)
def legal_answers(prompt: str) -> tuple[str, ...]:
    """Returns all legal moves of a prompt's position, in alphabetical order.

    They are in SAN, with a leading space.
    """
    board = board_of(prompt)
    return tuple(sorted(f" {board.san(move)}" for move in board.legal_moves))


def bare(answer: str) -> str:
    """Returns a move without its mark of check or mate.

    The mark tells what the move does, not which move it is.

    >>> bare(" Qxc1+"), bare(" e8=Q#")
    (' Qxc1', ' e8=Q')
    """
    return answer.rstrip("+#")


def bare_answers(prompt: str) -> tuple[str, ...]:
    """Returns `legal_answers` without marks, so that the list does not show which move mates."""
    return tuple(bare(answer) for answer in legal_answers(prompt))


def sans(board: chess.Board) -> list[str]:
    """Returns the moves that led to a position, in SAN."""
    replay = board.root()
    moves = []
    for move in board.move_stack:
        moves.append(replay.san_and_push(move))
    return moves


def checks_and_mates(board: chess.Board) -> tuple[list[chess.Move], list[chess.Move]]:
    """Returns the legal moves that give check, and those of them that mate."""
    checks = [move for move in board.legal_moves if board.gives_check(move)]
    mates = []
    for move in checks:
        board.push(move)
        if board.is_checkmate():
            mates.append(move)
        board.pop()
    return checks, mates


def self_play(
    rng: random.Random, *, most: int = 60
) -> Iterator[tuple[chess.Board, list[chess.Move]]]:
    """Plays a game of two careless players; yields the position and its mating moves.

    There is one pair before each half-move, and one at the end.

    A player who sees a mate, `SEES_MATE` of the time, plays it. Otherwise the most valuable capture
    (`CAPTURES` of the time), a check (`CHECKS`), or any legal move; where there is no such move,
    any.

    Args:
        most: half-moves after which a game is broken off.
    """
    board = chess.Board()
    while True:
        moves = list(board.legal_moves)
        checks, mates = checks_and_mates(board)
        yield board, mates
        if not moves or len(board.move_stack) >= most:
            return
        mood = rng.random()
        pool: list[chess.Move] = []
        if mates and rng.random() < SEES_MATE:
            pool = mates
        elif mood < CAPTURES:
            worth = {
                m: _WORTH[board.piece_type_at(m.to_square) or chess.PAWN]
                for m in moves
                if board.is_capture(m)
            }
            pool = [move for move in worth if worth[move] == max(worth.values())]
        elif mood < CAPTURES + CHECKS:
            pool = checks
        board.push(rng.choice(pool or moves))


def _puzzle(key: str) -> dict | None:
    """Returns the first position of a game with a mate; None unless it has exactly one mate there.

    Args:
        key: fixes the game.
    Returns:
        {moves, answer, position} as of `mate_in_one`.
    """
    for board, mates in self_play(random.Random(key)):
        if len(mates) > 1:
            return None
        if mates:
            return {
                "moves": " ".join(sans(board)),
                "answer": board.san(mates[0]),
                "position": board.epd(),
            }
    return None


def mate_in_one(n: int, *, seed: int = 0, processes: int | None = 1) -> list[dict]:
    """Makes puzzles from self-play: positions with exactly one mating move, no position twice.

    Args:
        n: how many.
        seed: fixes every game, whatever the number of processes.
        processes: None takes the machine's cores, and needs a main module that can be imported; 1
            starts none.
    Returns:
        n rows {moves: SAN of the game so far, answer: SAN of the mate, position: EPD}.
    """
    puzzles: dict[str, dict] = {}
    keys = (f"{seed}/{i}" for i in itertools.count())
    with play_in(processes) as map_games:
        while True:
            for puzzle in map_games(_puzzle, itertools.islice(keys, 16 * _CHUNK)):
                if puzzle:
                    puzzles.setdefault(puzzle["position"], puzzle)
                if len(puzzles) == n:
                    return list(puzzles.values())


@contextlib.contextmanager
def play_in(processes: int | None) -> Iterator[Callable]:
    """Gives a `map` over games that runs in processes and keeps their order.

    Args:
        processes: how many; None takes the machine's cores, 1 starts none.
    """
    if processes == 1:
        yield map
        return
    with ProcessPoolExecutor(processes, mp_context=multiprocessing.get_context("spawn")) as pool:
        try:
            yield functools.partial(pool.map, chunksize=_CHUNK)
        finally:
            pool.shutdown(cancel_futures=True)  # what is still to be played is not needed
