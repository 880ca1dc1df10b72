"""The chess ladder: small language models pretrained on games, `python -m w2s_nb.chess.pretraining --help`."""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import itertools
import random
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import chess
import chess.engine
import chess.pgn
import numpy as np
import torch
import transformers
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from ..common import files
from ..common.device import device, machine, versions
from ..common.progress import progress
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
_BOS, _EOS = "<game>", "<end>"


def tokenizer() -> transformers.PreTrainedTokenizerFast:
    """Tokens of moves: piece, file or rank that tells pieces apart, x, square, promotion, + or #. Numbers are dropped.

    A token that begins a move has a space before it, so that moves need no separator: ' N', 'f6', ' e', 'x', 'd5', '+'.
    What is no move becomes '<?>'.
    """
    squares = [file + rank for file in "abcdefgh" for rank in "12345678"]
    first = [*"KQRBN", *squares, *"abcdefgh", "O-O", "O-O-O"]
    words = [
        _EOS,
        _BOS,
        "<?>",
        "0",
        "1",
        *(f" {part}" for part in first),
        "x",
        *"abcdefgh",
        *"2345678",
        *squares,
        "=Q",
        "=R",
        "=B",
        "=N",
        "+",
        "#",
    ]  # "1" stands already
    tok = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<?>"))
    tok.normalizer = normalizers.Sequence(
        [
            normalizers.Replace(Regex(r"(^|(?<= ))\d+\.+( |$)"), ""),
            normalizers.Strip(left=False, right=True),
            normalizers.Replace(Regex(r"^(?=[KQRBNOa-h])"), " "),
        ]
    )
    part = r" (O-O-O|O-O|[KQRBN]|[a-h][1-8]|[a-h])|[a-h][1-8]|[a-h]|[1-8]|x|=[QRBN]|\+|#"
    tok.pre_tokenizer = pre_tokenizers.Split(Regex(part), behavior="isolated")
    tok.post_processor = processors.TemplateProcessing(
        single=f"{_BOS} $A", special_tokens=[(_BOS, 1)]
    )
    tok.decoder = decoders.Fuse()
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=tok,
        bos_token=_BOS,
        eos_token=_EOS,
        pad_token=_EOS,
        unk_token="<?>",
        model_max_length=CONTEXT,
    )


def _self_played(job: tuple[str, frozenset[str]]) -> list[str] | None:
    key, held_out = job
    for board, mates in rules.self_play(random.Random(key)):
        if mates and board.epd() in held_out:
            return None
    return rules.sans(board)


def self_played(n: int, *, seed: int = 0, processes: int | None = 1) -> Iterator[list[str]]:
    """n games of `games.self_play`, their moves in SAN; none passes through a position of the task `mate_in_one`."""
    held_out = frozenset(row["position"] for row in puzzles.mates()["all"])
    jobs = ((f"pretraining {seed}/{i}", held_out) for i in itertools.count())
    with rules.play_in(processes) as spread:
        while True:
            for moves in spread(_self_played, itertools.islice(jobs, 4096)):
                if moves:
                    yield moves
                    n -= 1
                if not n:
                    return


def from_pgn(path: str | Path, n: int) -> Iterator[list[str]]:
    """The first n games of a PGN file that begin at the usual position, their main line in SAN."""
    if not Path(path).is_file():
        raise FileNotFoundError(f"no PGN file {path}")
    with open(path, encoding="utf-8", errors="replace") as stream:
        while n and (game := chess.pgn.read_game(stream)):
            board = game.end().board()
            if board.move_stack and board.root() == chess.Board():
                n -= 1
                yield rules.sans(board)


def by_engine(
    command: str, n: int, *, seed: int = 0, nodes: int = 200, most: int = 120
) -> Iterator[list[str]]:
    """n games of a UCI engine, such as Debian's stockfish, with itself after 4 random half-moves.

    Args:
        nodes: searched a move; with one thread and an empty table, an engine then plays the same game every time.
        most: half-moves after which a game is broken off.
    """
    with contextlib.closing(chess.engine.SimpleEngine.popen_uci(command)) as engine:
        engine.configure({"Threads": 1})
        for i in range(n):
            rng, board = random.Random(f"engine {seed}/{i}"), chess.Board()
            for _ in range(4):
                board.push(rng.choice(list(board.legal_moves)))
            while not board.is_game_over(claim_draw=True) and len(board.move_stack) < most:
                board.push(engine.play(board, chess.engine.Limit(nodes=nodes), game=i).move)
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
    """Trains a model of the ladder on games and writes it as a folder that transformers reads, weights in fp16.

    Args:
        name: of `SIZES`.
        played: games, moves in SAN; the first `HELD_OUT` of them measure the model and train none.
        data, avoided: where the games are from, and the positions that none of them passes through, for the record.
        out: the folder; `pretraining.json` in it says what was run, with the curve.
    Returns:
        What `pretraining.json` holds.
    """
    if name not in SIZES:
        raise UnknownName("model of the ladder", name, SIZES)
    (width, layers, head, lr), tok = SIZES[name], tokenizer()
    torch.manual_seed(seed)
    lm = transformers.LlamaForCausalLM(
        transformers.LlamaConfig(
            vocab_size=len(tok),
            hidden_size=width,
            intermediate_size=-(-8 * width // 3 // 16) * 16,
            num_hidden_layers=layers,
            num_attention_heads=width // head,
            num_key_value_heads=width // head,
            max_position_embeddings=CONTEXT,
            tie_word_embeddings=True,
            bos_token_id=1,
            eos_token_id=0,
            pad_token_id=0,
        )
    )
    texts = [rules.move_list(moves) for moves in played]
    if len(texts) < 2 * HELD_OUT:
        raise ValueError(
            f"{len(texts)} games; expected at least {2 * HELD_OUT}, {HELD_OUT} of which are held out"
        )
    ends = [
        [0] if text.endswith("#") else [] for text in texts
    ]  # a game that was broken off has none
    ids = [
        np.array(i + end, dtype=np.int32)[:CONTEXT] for i, end in zip(tok(texts)["input_ids"], ends)
    ]
    parts = [
        Tokens(tuple(part), np.zeros(len(part), dtype=bool), ("",) * len(part), 1)
        for part in (ids[:HELD_OUT], ids[HELD_OUT:])
    ]
    held_out, own = (NextTokens(TokenInputs(part), part.ids) for part in parts)
    net = LanguageModel(lm.base_model, lm.get_output_embeddings()).to(device())
    curve = []

    def evaluate(step: int, progress: float, train_loss: float, nats_per_token: float) -> None:
        nats = loop.lm_losses(net, held_out).sum(axis=0)
        curve.append(
            {
                "step": step,
                "games": round(progress * epochs * len(own)),
                "train_nats": round(train_loss, 4),
                "held_out_nats": round(float(nats[0] / nats[1]), 4),
            }
        )
        print(f"{name} {curve[-1]}", flush=True)

    train_language_model(
        net,
        own,
        Hyperparameters(
            epochs=epochs, batch_size=BATCH, lr=lr, weight_decay=0.01, warmup=0.03, evals=10
        ),
        seed=seed,
        evaluate=evaluate,
        label=name,
        tokens_per_text=float(np.mean(own.lengths - 1)),
    )
    lm.to("cpu", torch.float16).save_pretrained(out)
    tok.save_pretrained(out)
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
        "games": len(own),
        "tokens": int((own.lengths - 1).sum()),
        "held_out_games": HELD_OUT,
        "machine": machine(),
        "versions": versions(),
        "curve": curve,
    }
    files.write_json(out / "pretraining.json", record)
    return record


def _sha256(lines: list[str]) -> str:
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def main() -> None:
    """The command line."""
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
        "--seed", type=int, default=0, help="of games, initialisation and order (%(default)s)"
    )
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--pgn", help="a PGN file to read games from, in the place of self-play")
    source.add_argument(
        "--engine", help="a UCI engine that plays the games, such as /usr/games/stockfish"
    )
    given = parser.parse_args()
    sizes = re.findall(r"[^, ]+", given.sizes)
    for name in sizes:
        if name not in SIZES:
            raise UnknownName("model of the ladder", name, SIZES)
    if given.pgn:
        data, played = f"PGN file {Path(given.pgn).name}", from_pgn(given.pgn, given.games)
    elif given.engine:
        data, played = (
            f"self-play of {Path(given.engine).name}",
            by_engine(given.engine, given.games, seed=given.seed),
        )
    else:
        data, played = (
            "self-play of games.self_play",
            self_played(given.games, seed=given.seed, processes=None),
        )
    avoided = (
        () if given.pgn or given.engine else [row["position"] for row in puzzles.mates()["all"]]
    )
    played = list(progress(played, desc="games", total=given.games))
    for name in sizes:
        pretrain(
            name,
            played,
            given.out / name,
            data=f"{data}, seed {given.seed}",
            avoided=avoided,
            seed=given.seed,
            epochs=given.epochs,
        )


if __name__ == "__main__":
    main()
