"""Trains small language models on chess games: `python -m w2s_nb.chess.pretraining --help`."""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import itertools
import random
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TextIO, cast

import chess
import chess.engine
import chess.pgn
import numpy as np
import torch
import transformers
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from ..common import files
from ..common.device import device, machine, versions
from ..common.progress import progress, warn
from ..common.registry import MODELS, UnknownName
from ..inputs.batches import NextTokens, TokenInputs
from ..inputs.tokens import Tokens
from ..models.language import LanguageModel
from ..training import loop
from ..training.hyperparameters import Hyperparameters
from ..training.language_model import train_language_model
from . import puzzles, rules

# name: width, layers, width of a head, learning rate
SIZES = {
    "chess-0.1M": (64, 2, 16, 3e-3),
    "chess-0.4M": (96, 4, 16, 3e-3),
    "chess-1M": (128, 5, 32, 2e-3),
    "chess-3M": (192, 6, 32, 1e-3),
    "chess-10M": (320, 8, 32, 6e-4),
}
FINETUNING_LR = 5e-4  # the default where such a model is named
CONTEXT = 512  # tokens; about 220 half-moves
HELD_OUT = 500  # games
BATCH = 32  # games
_BOS = "<game>"
_EOS = "<end>"
_UNKNOWN = "<?>"


def tokenizer() -> transformers.PreTrainedTokenizerFast:
    """Returns the tokenizer of moves; the numbers of a game's half-moves are dropped.

    A token is a part of a move: piece, file or rank that tells pieces apart, x, square, promotion,
    + or #. A token that begins a move has a space before it, so that moves need no separator:
    ' N', 'f6', ' e', 'x', 'd5', '+'. What is no move becomes '<?>'.
    """
    ids = {word: i for i, word in enumerate(_vocabulary())}
    tok = Tokenizer(models.WordLevel(ids, unk_token=_UNKNOWN))
    tok.normalizer = normalizers.Sequence(
        [
            normalizers.Replace(Regex(r"(^|(?<= ))\d+\.+( |$)"), ""),
            normalizers.Strip(left=False, right=True),
            normalizers.Replace(Regex(r"^(?=[KQRBNOa-h])"), " "),
        ]
    )
    part_of_move = r" (O-O-O|O-O|[KQRBN]|[a-h][1-8]|[a-h])|[a-h][1-8]|[a-h]|[1-8]|x|=[QRBN]|\+|#"
    tok.pre_tokenizer = pre_tokenizers.Split(Regex(part_of_move), behavior="isolated")
    tok.post_processor = processors.TemplateProcessing(
        single=f"{_BOS} $A", special_tokens=[(_BOS, 1)]
    )
    tok.decoder = decoders.Fuse()
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=tok,
        bos_token=_BOS,
        eos_token=_EOS,
        pad_token=_EOS,
        unk_token=_UNKNOWN,
        model_max_length=CONTEXT,
    )


def _vocabulary() -> list[str]:
    """Returns the 170 tokens in the order of their ids."""
    files_of_board = [*"abcdefgh"]
    squares = [file + rank for file in files_of_board for rank in "12345678"]
    first_of_move = [*"KQRBN", *squares, *files_of_board, "O-O", "O-O-O"]
    return [
        _EOS,
        _BOS,
        _UNKNOWN,
        "0",
        "1",  # a rank too
        *(f" {part}" for part in first_of_move),
        "x",
        *files_of_board,
        *"2345678",
        *squares,
        *("=Q", "=R", "=B", "=N"),
        *("+", "#"),
    ]


def _play_game(job: tuple[str, frozenset[str]]) -> list[str] | None:
    """Returns the moves of one game; None if it passes through a held-out position with a mate.

    Args:
        job: the key that fixes the game, and the held-out positions as EPD.
    """
    key, held_out = job
    for board, mates in rules.self_play(random.Random(key)):
        if mates and board.epd() in held_out:
            return None
    return rules.sans(board)


def self_played(n: int, *, seed: int = 0, processes: int | None = 1) -> Iterator[list[str]]:
    """Yields n games of `rules.self_play`, their moves in SAN.

    None of them passes through a position of the task `mate_in_one`.
    """
    held_out = frozenset(row["position"] for row in puzzles.mates()["all"])
    jobs = ((f"pretraining {seed}/{i}", held_out) for i in itertools.count())
    with rules.play_in(processes) as map_games:
        while True:
            for moves in map_games(_play_game, itertools.islice(jobs, 4096)):
                if moves:
                    yield moves
                    n -= 1
                if not n:
                    return


class _Builder(chess.pgn.GameBuilder):
    """Keeps the errors of a game with it, without logging them."""

    def handle_error(self, error: Exception) -> None:
        self.game.errors.append(error)


_COMPRESSED = (b"\x1f\x8b", b"BZh", b"\x28\xb5\x2f\xfd", b"PK\x03\x04", b"\xfd7zXZ")
_LETTER_OF_FIGURE = dict(zip("♔♕♖♗♘♙♚♛♜♝♞♟", [*"KQRBN", "", *"KQRBN", ""], strict=True))


class _Lines:
    """The lines of a PGN file; figures of pieces, which python-chess passes over, are letters."""

    def __init__(self, stream: TextIO):
        self._stream = stream

    def readline(self) -> str:
        """Returns the next line."""
        return self._stream.readline().translate(str.maketrans(_LETTER_OF_FIGURE))


def from_pgn(path: str | Path, n: int) -> Iterator[list[str]]:
    """Yields the first n games of a PGN file that can be used, their main line in SAN.

    They begin at the usual position, and all their moves can be played. A warning at the end counts
    the others.

    Raises:
        FileNotFoundError, ValueError: no such file, or a compressed one.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise FileNotFoundError(f"no PGN file {path}")
    with path.open("rb") as file:
        start = file.read(6)
    if start.startswith(_COMPRESSED):
        raise ValueError(f"{path.name} is compressed; unpack it, and give the path of its games")
    encoding = "utf-16" if start.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8"
    used = 0
    left_out: Counter[str] = Counter()
    with open(path, encoding=encoding, errors="replace") as stream:
        lines = cast(TextIO, _Lines(stream))
        while used < n and (game := chess.pgn.read_game(lines, Visitor=_Builder)):
            why = _why_not(game)
            if why:
                left_out[why] += 1
            else:
                used += 1
                yield rules.sans(game.end().board())
    if left_out or not used:
        others = ", ".join(f"{count} {why}" for why, count in left_out.items())
        warn(f"{path.name}: {used} games are used; left out: {others or 'none'}")


def _why_not(game: chess.pgn.Game) -> str:
    """Says why a game cannot be used; "" where it can."""
    moves = list(game.mainline_moves())
    if game.errors:
        return "with a move that cannot be played"
    if game.board() != chess.Board():
        return "from another position"
    if not all(moves):
        return "with a null move"
    return "" if moves else "without moves"


def by_engine(
    command: str, n: int, *, seed: int = 0, nodes: int = 200, most: int = 120
) -> Iterator[list[str]]:
    """Yields n games of a UCI engine, such as Debian's stockfish, with itself.

    The first 4 half-moves of a game are random.

    Args:
        nodes: that the engine searches per move; with one thread and an empty table it then plays
            the same game every time.
        most: half-moves after which a game is broken off.
    """
    with contextlib.closing(chess.engine.SimpleEngine.popen_uci(command)) as engine:
        engine.configure({"Threads": 1})
        for i in range(n):
            rng = random.Random(f"engine {seed}/{i}")
            board = chess.Board()
            for _ in range(4):
                board.push(rng.choice(list(board.legal_moves)))
            while not board.is_game_over(claim_draw=True) and len(board.move_stack) < most:
                choice = engine.play(board, chess.engine.Limit(nodes=nodes), game=i)
                if choice.move is None:
                    raise ValueError(f"{command} gave no move in the position {board.fen()}")
                board.push(choice.move)
            yield rules.sans(board)


def pretrain(
    name: str,
    played: Iterable[list[str]],
    out: Path,
    *,
    data: str = "",
    avoided: Iterable[str] = (),
    seed: int = 0,
    epochs: int = 1,
) -> dict:
    """Trains a chess model on games and writes it as a folder that transformers reads.

    The weights are written in fp16; `pretraining.json` in the folder says what was run.

    Args:
        name: of `SIZES`.
        played: games, moves in SAN; the first `HELD_OUT` of them measure the model and train none.
        out: the folder.
        data: where the games are from, for the record.
        avoided: the positions that none of the games passes through, for the record.
        seed: of the first weights and of the order of games.
    Returns:
        What `pretraining.json` holds, with the curve.
    Raises:
        UnknownName: no such model in `SIZES`.
        ValueError: too few games.
    """
    _check_size(name)
    tok = tokenizer()
    torch.manual_seed(seed)
    lm = _new_model(name, len(tok))
    texts = [rules.move_list(moves) for moves in played]
    held_out, training = _tokenize(tok, texts)
    curve = _train(name, lm, training, held_out, seed, epochs)
    # the annotation of `to` in transformers knows no device alone
    lm.to("cpu", torch.float16).save_pretrained(out)  # type: ignore[arg-type]
    tok.save_pretrained(out)
    width, layers, _, lr = SIZES[name]
    record = {
        "name": name,
        "parameters": sum(p.numel() for p in lm.parameters()),
        "width": width,
        "layers": layers,
        "lr": lr,
        "finetuning_lr": FINETUNING_LR,
        "seed": seed,
        "epochs": epochs,
        "data": data,
        "data_sha256": _sha256(texts),
        "avoided_sha256": _sha256(sorted(avoided)),
        "games": len(training),
        "tokens": int((training.lengths - 1).sum()),
        "held_out_games": HELD_OUT,
        "machine": machine(),
        "versions": versions(),
        "curve": curve,
    }
    files.write_json(out / "pretraining.json", record)
    return record


def _check_size(name: str) -> None:
    if name not in SIZES:
        raise UnknownName("chess model", name, SIZES)


def _new_model(name: str, n_tokens: int) -> transformers.LlamaForCausalLM:
    """Returns the model with random weights."""
    width, layers, head, _ = SIZES[name]
    # 8/3 of the width, as in Llama, rounded up to a multiple of 16
    intermediate = -(-8 * width // 3 // 16) * 16
    config = transformers.LlamaConfig(
        vocab_size=n_tokens,
        hidden_size=width,
        intermediate_size=intermediate,
        num_hidden_layers=layers,
        num_attention_heads=width // head,
        num_key_value_heads=width // head,
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=True,
        bos_token_id=1,
        eos_token_id=0,
        pad_token_id=0,
    )
    return transformers.LlamaForCausalLM(config)


def _tokenize(
    tok: transformers.PreTrainedTokenizerFast, texts: list[str]
) -> tuple[NextTokens, NextTokens]:
    """Returns the tokens of the games that measure the model, and of those that train it."""
    if len(texts) < 2 * HELD_OUT:
        raise ValueError(
            f"{len(texts)} games; expected at least {2 * HELD_OUT}, "
            f"{HELD_OUT} of which are held out"
        )
    games = []
    for text, ids in zip(texts, tok(texts)["input_ids"], strict=True):
        # a game that was broken off before the mate has no end
        end = [0] if text.endswith("#") else []
        games.append(np.array(ids + end, dtype=np.int32)[:CONTEXT])
    return _next_tokens(games[:HELD_OUT]), _next_tokens(games[HELD_OUT:])


def _next_tokens(games: list[np.ndarray]) -> NextTokens:
    none_truncated = np.zeros(len(games), dtype=bool)
    tokens = Tokens(tuple(games), none_truncated, ("",) * len(games), 1)
    return NextTokens(TokenInputs(tokens), tokens.ids)


def _train(
    name: str,
    lm: transformers.LlamaForCausalLM,
    training: NextTokens,
    held_out: NextTokens,
    seed: int,
    epochs: int,
) -> list[dict]:
    """Trains the model in place; returns its curve, a row per evaluation, and prints it."""
    net = LanguageModel(lm.base_model, lm).to(device())
    curve: list[dict] = []

    def evaluate(step: int, progress: float, train_loss: float, nats_per_token: float) -> None:
        nats, n_tokens = loop.lm_losses(net, held_out).sum(axis=0)
        curve.append(
            {
                "step": step,
                "games": round(progress * epochs * len(training)),
                "train_nats": round(train_loss, 4),
                "held_out_nats": round(float(nats / n_tokens), 4),
            }
        )
        print(f"{name} {curve[-1]}", flush=True)

    lr = SIZES[name][3]
    train_language_model(
        net,
        training,
        Hyperparameters(
            epochs=epochs, batch_size=BATCH, lr=lr, weight_decay=0.01, warmup=0.03, evals=10
        ),
        seed=seed,
        evaluate=evaluate,
        label=name,
        tokens_per_text=float(np.mean(training.lengths - 1)),
    )
    return curve


def _sha256(lines: list[str]) -> str:
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m w2s_nb.chess.pretraining", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder of the models' folders")
    parser.add_argument(
        "--sizes",
        default=", ".join(name for name in SIZES if name in MODELS),
        help=f"of {', '.join(SIZES)} (%(default)s)",
    )
    parser.add_argument("--games", type=int, default=80_000, help="how many (%(default)s)")
    parser.add_argument("--epochs", type=int, default=1, help="(%(default)s)")
    parser.add_argument(
        "--seed", type=int, default=0, help="of games, first weights and order (%(default)s)"
    )
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--pgn", help="a PGN file to read games from, in the place of self-play")
    source.add_argument(
        "--engine", help="a UCI engine that plays the games, such as /usr/games/stockfish"
    )
    return parser


def _games(args: argparse.Namespace) -> tuple[str, Iterator[list[str]], list[str]]:
    """Returns where the games are from, the games, and the positions that they avoid."""
    if args.pgn:
        return f"PGN file {Path(args.pgn).name}", from_pgn(args.pgn, args.games), []
    if args.engine:
        played = by_engine(args.engine, args.games, seed=args.seed)
        return f"self-play of {Path(args.engine).name}", played, []
    played = self_played(args.games, seed=args.seed, processes=None)
    return (
        "self-play of rules.self_play",
        played,
        [row["position"] for row in puzzles.mates()["all"]],
    )


def main() -> None:
    """Reads the command line, plays or reads the games, and trains one model after the other."""
    args = _parser().parse_args()
    sizes = re.findall(r"[^, ]+", args.sizes)
    for name in sizes:
        _check_size(name)
    data, games, avoided = _games(args)
    played = list(progress(games, desc="games", total=args.games))
    for name in sizes:
        pretrain(
            name,
            played,
            args.out / name,
            data=f"{data}, seed {args.seed}",
            avoided=avoided,
            seed=args.seed,
            epochs=args.epochs,
        )


if __name__ == "__main__":
    main()
