"""Chess by its rules: prompts, puzzles, tasks, and the models' tokens and pretraining."""

import base64
import hashlib
import json
import os
import random
import re
import shutil
import subprocess
import sys

import chess
import numpy as np
import pandas as pd
import pytest
import safetensors.torch

import w2s_nb as w2s
from w2s_nb import models
from w2s_nb.chess import pretraining, puzzles, rules
from w2s_nb.chess.models import WEIGHTS
from w2s_nb.common import pictures
from w2s_nb.common.registry import MODELS, TASKS

GAME = ["e4", "e5", "Qh5", "Nc6", "Bc4", "Nf6"]  # and Qxf7 mates


@pytest.fixture(scope="module")
def mates():
    return rules.mate_in_one(24, seed=1)


def test_every_half_move_has_its_number_as_in_the_papers_figure():
    assert rules.prompt_of(["d4", "Nf6", "Nf3", "d5"]) == "1. d4 1... Nf6 2. Nf3 2... d5 3."
    assert rules.prompt_of(["d4"]) == "1. d4 1..." and rules.prompt_of([]) == "1."


def test_a_prompt_is_the_position_that_its_moves_lead_to():
    board = chess.Board()
    for san in GAME:
        board.push_san(san)
    assert (
        rules.board_of(rules.prompt_of(GAME)) == board
        and rules.board_of(rules.fen_prompt(board)) == board
    )
    assert rules.sans(rules.board_of(rules.prompt_of(GAME))) == GAME


@pytest.mark.parametrize(
    "prompt, says",
    [
        ("1. d4 Nf6 2.", "every half-move"),
        ("1. d4 1... Nf6", "every half-move"),
        ("", "every half-move"),
        ("1. d4 1... Nf6 3.", "every half-move"),
        ("1. d5 1...", "illegal san"),
        (rules.FEN_HEAD + "8/8/8/8/8/8/8/8 w - - 0 1" + rules.FEN_TAIL, "no legal position"),
    ],
)
def test_prompts_that_are_not_chess_are_refused(prompt, says):
    with pytest.raises(ValueError, match=says):
        rules.board_of(prompt)


def test_legal_answers_are_those_of_the_rules():
    assert len(rules.legal_answers("1.")) == 20 and " Nf3" in rules.legal_answers("1.")
    answers = rules.legal_answers(rules.fen_prompt(chess.Board("4k3/P7/8/8/8/8/8/R3K3 w Q - 0 1")))
    assert {" O-O-O", " a8=Q+", " a8=N"} <= set(answers) and " O-O" not in answers


def test_options_do_not_give_away_which_move_mates(mates):
    for row in mates[:5]:
        prompt = rules.prompt_of(row["moves"].split())
        options = TASKS["mate_in_one"].options(prompt)
        assert rules.bare(f" {row['answer']}") in options and len(set(options)) == len(options)
        assert not any(mark in option for option in options for mark in "+#")


def test_every_answer_mates_and_no_other_move_does(mates):
    assert len(mates) == 24
    for row in mates:
        board = rules.board_of(rules.prompt_of(row["moves"].split()))
        ends = []
        for move in board.legal_moves:
            after = board.copy()
            after.push(move)
            ends += [board.san(move)] * after.is_checkmate()
        assert ends == [row["answer"]] and board.epd() == row["position"]


def test_no_position_occurs_twice_and_the_seed_decides_the_puzzles(mates):
    assert len({row["position"] for row in mates}) == 24
    assert rules.mate_in_one(2, seed=1) == mates[:2] and rules.mate_in_one(2, seed=2) != mates[:2]


def test_self_play_keeps_to_the_rules_and_to_its_length():
    boards = [(board.copy(), mates) for board, mates in rules.self_play(random.Random(0), most=30)]
    assert [len(board.move_stack) for board, _ in boards] == list(range(len(boards))) and len(
        boards
    ) <= 31
    last, _ = boards[-1]
    assert last.is_game_over() or len(last.move_stack) == 30


@pytest.fixture
def few(monkeypatch, tmp_path):
    """A cache of its own, with few puzzles to generate."""
    monkeypatch.setenv("W2S_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(puzzles, "N_MATES", 6)
    monkeypatch.setattr(puzzles, "_generated", lambda: rules.mate_in_one(6))


def test_puzzles_are_generated_once_and_again_if_the_file_is_damaged(few, monkeypatch, tmp_path):
    rows = puzzles.mates()["all"]
    with monkeypatch.context() as patch:
        patch.setattr(puzzles, "_generated", lambda: pytest.fail("generated again"))
        assert puzzles.mates()["all"] == rows
    path = next((tmp_path / "cache" / "puzzles").glob("*/rows.json"))
    for damaged in (path.read_text()[:100], path.read_text().replace("e", "d"), "[]"):
        path.write_text(damaged)
        assert puzzles.mates()["all"] == rows
    monkeypatch.setattr(rules, "SEES_MATE", 0.9)  # other players, other games
    monkeypatch.setattr(puzzles, "_generated", lambda: ["new"])
    assert puzzles.mates()["all"] == ["new"]


def test_a_script_without_a_main_guard_gets_the_same_puzzles_from_all_cores(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "import json\nfrom w2s_nb.chess import puzzles\npuzzles.N_MATES = 3\n"
        "print(json.dumps(puzzles._generated()))\n"
    )
    done = subprocess.run(
        [sys.executable, str(script)], cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert json.loads(done.stdout) == rules.mate_in_one(3)


def fen_row(**changes):
    """A puzzle in the columns of the Lichess set: the position before the opponent's mistake."""
    board = rules.board_of(rules.prompt_of(GAME[:-1]))
    return {
        "PuzzleId": "x",
        "FEN": board.fen(),
        "Moves": "g8f6 h5f7",
        "Rating": 500,
        "Themes": "mateIn1 short",
        "GameUrl": "https://lichess.org/abcdefgh/black#6",
    } | changes


def pgn_row(**changes):
    return {"id": "x", "ctx": rules.prompt_of(GAME), "target": " Qxf7#"} | changes


def test_the_opponents_move_is_applied_and_is_not_the_answer():
    (example,) = puzzles.puzzle(fen_row())
    assert (
        example.answer == " Qxf7#"
        and example.difficulty == 500
        and example.themes == ("mateIn1", "short")
    )
    assert rules.board_of(example.texts[0]).fen() == rules.board_of(rules.prompt_of(GAME)).fen()
    assert example.keys == ("https://lichess.org/abcdefgh",)


def test_both_hub_forms_give_the_same_question():
    fen, pgn = (next(iter(puzzles.puzzle(row))) for row in (fen_row(), pgn_row()))
    assert pgn.texts == (rules.prompt_of(GAME),) and pgn.answer == fen.answer
    assert rules.legal_answers(pgn.texts[0]) == rules.legal_answers(fen.texts[0])


@pytest.mark.parametrize(
    "row",
    [
        fen_row(Moves="g8f6 h5f8"),
        fen_row(Moves="g8f6"),
        fen_row(Moves="a1a5 h5f7"),
        fen_row(FEN="nothing"),
        fen_row(Moves=""),
        fen_row(Moves=["g8f6"]),
        pgn_row(target=" Qxf7+"),
        pgn_row(target=" Qxf8#"),
        pgn_row(ctx="1. e4 e5 2."),
        pgn_row(ctx="1. e4 1... e4 2."),
    ],
    ids=lambda r: str(r)[:60],
)
def test_rows_that_are_not_legal_give_no_example(row):
    assert list(puzzles.puzzle(row)) == []


@pytest.mark.parametrize(
    "themes, expected",
    [
        (["mate", "short"], ("mate", "short")),
        (np.array(["mate"]), ("mate",)),
        (None, ()),
        (float("nan"), ()),
    ],
)
def test_columns_may_be_of_other_types_or_missing(themes, expected):
    (example,) = puzzles.puzzle(
        fen_row(Themes=themes, Rating=None, GameUrl=float("nan"), Moves=["g8f6", "h5f7"])
    )
    assert (
        example.themes == expected
        and example.difficulty != example.difficulty
        and example.answer == " Qxf7#"
    )
    with pytest.raises(ValueError, match="ctx and target, or FEN and Moves; got text"):
        list(puzzles.puzzle({"text": "x"}))


def write_puzzles(folder, rows):
    folder.mkdir(parents=True)
    pd.DataFrame(rows).to_parquet(folder / "train.parquet")


@pytest.fixture
def local(mates, tmp_path, monkeypatch):
    """W2S_DATA with 24 puzzles in the Lichess columns, ratings 1000, 1010, ..."""
    rows = []
    for i, row in enumerate(mates):
        moves = row["moves"].split()
        board = rules.board_of(rules.prompt_of(moves))
        answer, last = board.parse_san(row["answer"]), board.pop()
        rows.append(
            fen_row(
                FEN=board.fen(),
                Moves=f"{last.uci()} {answer.uci()}",
                Rating=1000 + 10 * i,
                GameUrl=f"https://lichess.org/game{i // 2}#9",
            )
        )
    write_puzzles(tmp_path / "data" / "lichess_puzzles", rows)
    monkeypatch.setenv("W2S_DATA", str(tmp_path / "data"))
    return rows


def test_local_files_serve_both_tasks_and_puzzles_of_a_game_stay_together(local):
    for name in ("chess_puzzles", "lichess_puzzles"):
        task = w2s.load_task(name, n_train=8, n_val=2, n_test=4)
        assert [len(s) for s in task.splits] == [8, 8, 2, 4] and set(task.test.hard_label) == {1}
        halves = [set(s.group) for s in task.splits]
        assert sum(map(len, halves)) == len(set.union(*halves))


@pytest.mark.parametrize(
    "option, low, high", [("1000-1120", 1000, 1120), ("-1150", 0, 1150), ("1100-", 1100, 9999)]
)
def test_a_rating_range_has_both_ends(local, option, low, high):
    task = w2s.load_task(f"chess_puzzles@{option}", n_val=2)
    difficulties = sorted(d for s in task.splits for d in s.facts.difficulty)
    assert (
        low <= difficulties[0]
        and difficulties[-1] <= high
        and task.counts["examples"] == sum(low <= row["Rating"] <= high for row in local)
    )


@pytest.mark.parametrize("option", ["", "-", "easy", "1000", "10.5-20", "1000-1200-1300"])
def test_options_that_are_no_range_are_refused(option):
    with pytest.raises(ValueError, match="1000-1500"):
        TASKS[f"chess_puzzles@{option}"]


def test_a_range_of_puzzles_without_ratings_is_refused(tmp_path, monkeypatch):
    write_puzzles(tmp_path / "data" / "chess_puzzles", [pgn_row()])
    monkeypatch.setenv("W2S_DATA", str(tmp_path / "data"))
    with pytest.raises(ValueError, match="none in its range, in which none without a difficulty"):
        w2s.load_task("chess_puzzles@-1000")


def test_set_up_refuses_a_model_that_cannot_read_the_questions(local):
    given = dict(
        task="chess_puzzles",
        weak="SmolLM2-135M@4",
        strong="chess-3M",
        method="full",
        seeds=1,
        n_train=8,
        n_test=4,
        results="",
    )
    with pytest.raises(ValueError, match="chess-3M has no tokens for 4 of 4 questions"):
        w2s.setup("10_chess", answers=True, **given)
    w2s.setup("10_chess", answers=True, **given | {"strong": "SmolLM2-135M@8"})


def test_without_files_the_error_names_the_folder_and_an_embedded_task(tmp_path, monkeypatch):
    monkeypatch.setenv("W2S_DATA", str(tmp_path))
    with pytest.raises(
        OSError, match=r"EleutherAI/lichess-puzzles.*train.parquet.*chess_puzzles/.*mate_in_one"
    ):
        w2s.load_task("chess_puzzles")


def test_real_puzzles_are_legal_and_round_trip(real_data):
    path = real_data / "lichess_puzzles" / "train.parquet"
    if not path.is_file():
        pytest.skip(f"no {path.name} of lichess_puzzles in W2S_DATA")
    rows = pd.read_parquet(path).sample(300, random_state=0).to_dict("records")
    examples = [list(puzzles.puzzle(row)) for row in rows]
    assert all(len(each) == 1 for each in examples)
    for row, (example,) in zip(rows, examples, strict=True):
        board, (opponents, answer) = chess.Board(row["FEN"]), row["Moves"].split()[:2]
        board.push_uci(opponents)
        asked = rules.board_of(example.texts[0])
        assert (
            asked.fen() == board.fen() and asked.parse_san(example.answer.strip()).uci() == answer
        )


def test_extra_halves_leave_the_halves_as_they_are_and_share_no_puzzle():
    sizes = dict(n_train=40, n_val=10, n_test=30, seed=1)
    without, task = (
        w2s.load_task("mate_in_one", **sizes),
        w2s.load_task("mate_in_one", **sizes, extra_halves=2),
    )
    assert [s.fingerprint for s in without.splits] == [s.fingerprint for s in task.splits]
    ids = [i for s in (*task.splits, *task.extra_halves) for i in s.ids]
    assert [len(s) for s in task.extra_halves] == [40, 40] and len(set(ids)) == len(ids)
    other = w2s.load_task("mate_in_one", **sizes | {"seed": 2}, extra_halves=2)
    assert (
        0 < sum(other.extra_halves[0].among(task.extra_halves[0].ids)) < 40
    )  # a seed deals them too
    with pytest.raises(ValueError, match=r"asked for 99 \* n_train"):
        w2s.load_task("mate_in_one", **sizes, extra_halves=97)


def test_tokens_are_parts_of_moves_and_decode_to_the_moves(mates):
    tok = pretraining.tokenizer()
    assert tok.convert_ids_to_tokens(tok("1. d4 1... Nbxd2+ 2. e8=Q# 2...")["input_ids"]) == [
        "<game>",
        " d4",
        " N",
        "b",
        "x",
        "d2",
        "+",
        " e8",
        "=Q",
        "#",
    ]
    for row in mates:
        ids = tok(rules.prompt_of(row["moves"].split()))["input_ids"]
        assert tok.decode(ids[1:]) == f" {row['moves']}" and tok.unk_token_id not in ids
        answer = tok(f" {row['answer']}", add_special_tokens=False)["input_ids"]
        whole = tok(rules.move_list([*row["moves"].split(), row["answer"]]))["input_ids"]
        assert ids + answer == whole  # the answer's tokens are those it has in a game
    assert tok.unk_token_id in tok(rules.fen_prompt(chess.Board()))["input_ids"]


@pytest.fixture
def few_games(monkeypatch):
    monkeypatch.setitem(pretraining.SIZES, "tiny", (32, 1, 16, 1e-2))
    monkeypatch.setattr(pretraining, "HELD_OUT", 8)
    return [
        rules.sans(list(rules.self_play(random.Random(f"test {i}"), most=12))[-1][0])
        for i in range(80)
    ]


def test_pretraining_repeats_itself_and_learns(few_games, tmp_path):
    first, again = (pretraining.pretrain("tiny", few_games, tmp_path / name) for name in "ab")
    weights = [safetensors.torch.load_file(tmp_path / name / "model.safetensors") for name in "ab"]
    assert all((weights[0][name] == tensor).all() for name, tensor in weights[1].items())
    assert (
        first["curve"] == again["curve"]
        and first["curve"][-1]["held_out_nats"] < first["curve"][0]["held_out_nats"]
    )
    assert (
        pretraining.pretrain("tiny", few_games, tmp_path / "c", seed=1)["curve"] != first["curve"]
    )
    checkpoint = models.resolve(str(tmp_path / "a"))
    assert (
        models.load_lm(checkpoint).config.num_hidden_layers == 1
        and models.tokenizer(tmp_path / "a").eos_token_id == 0
    )
    with pytest.raises(ValueError, match="expected at least 16"):
        pretraining.pretrain("tiny", few_games[:15], tmp_path / "d")


def test_self_played_games_avoid_the_puzzles(few, monkeypatch):
    played = list(pretraining.self_played(6, processes=1))
    through = {board.epd() for moves in played for board in _positions(moves)}
    assert not through & {row["position"] for row in puzzles.mates()["all"]}
    mated = (
        (f"pretraining 0/{i}", board.epd())
        for i in range(99)
        for board, mates in rules.self_play(random.Random(f"pretraining 0/{i}"))
        if mates
    )
    key, position = next(mated)
    assert pretraining._play_game((key, frozenset())) and not pretraining._play_game(
        (key, frozenset([position]))
    )


def _positions(moves):
    board = chess.Board()
    for san in moves:
        board.push_san(san)
        yield board


def test_moves_of_a_pgn_file_may_have_figures_of_pieces(tmp_path):
    path = tmp_path / "games.pgn"
    for encoding in ("utf-8", "utf-16"):
        path.write_text("1. e4 e5 2. \u2655h5 \u265ec6 3. \u2659d3 \u265eh6 *\n", encoding=encoding)
        assert list(pretraining.from_pgn(path, 9)) == [["e4", "e5", "Qh5", "Nc6", "d3", "Nh6"]]


@pytest.mark.parametrize("start", [b"\x1f\x8b", b"BZh9", b"\x28\xb5\x2f\xfd", b"PK\x03\x04"])
def test_a_compressed_pgn_file_is_refused(tmp_path, start):
    path = tmp_path / "games.pgn.zst"
    path.write_bytes(start + b"\0" * 40)
    with pytest.raises(ValueError, match="games.pgn.zst is compressed; unpack it"):
        next(pretraining.from_pgn(path, 1))


def test_games_are_read_from_a_pgn_file(tmp_path):
    path = tmp_path / "games.pgn"
    path.write_text(
        '[Event "a"]\n\n1. e4 e5 (1... c5 2. Nf3) 2. Qh5 {a comment} Nc6 3. Bc4 Nf6 4. Qxf7# 1-0\n'
        "\n"
        '[Event "b"]\n[FEN "4k3/8/8/8/8/8/8/4K2R w K - 0 1"]\n[SetUp "1"]\n\n1. O-O *\n\n'
        '[Event "c"]\n\n1. d4 d5 *\n'
    )
    with pytest.warns(UserWarning, match="2 games are used; left out: 1 from another position"):
        assert list(pretraining.from_pgn(path, 9)) == [[*GAME, "Qxf7#"], ["d4", "d5"]]
    assert len(list(pretraining.from_pgn(path, 1))) == 1
    with pytest.raises(FileNotFoundError, match="no.pgn"):
        next(pretraining.from_pgn("no.pgn", 1))


def test_an_engine_plays_the_same_games_twice():
    engine = shutil.which("stockfish", path=f"{os.environ['PATH']}:/usr/games")
    if not engine:
        pytest.skip("no stockfish on this machine")
    first, again = (list(pretraining.by_engine(engine, 2, nodes=50, most=12)) for _ in range(2))
    assert first == again and first[0] != first[1] and all(len(moves) <= 12 for moves in first)
    for moves in first:
        rules.board_of(rules.prompt_of(moves))


@pytest.mark.parametrize("name", [name for name in MODELS if name.startswith("chess-")])
def test_registered_models_agree_with_their_weights_and_records(name):
    checkpoint, spec = models.resolve(name), MODELS[name]
    record = json.loads((WEIGHTS / name / "pretraining.json").read_text())
    assert (
        models.n_params(checkpoint) == spec.n_params
        and checkpoint.layers == spec.n_layers == record["layers"]
    )
    positions = sorted(row["position"] for row in puzzles.mates()["all"])
    assert record["avoided_sha256"] == hashlib.sha256("\n".join(positions).encode()).hexdigest(), (
        "trained on puzzles"
    )
    assert record["curve"][-1]["held_out_nats"] == min(
        row["held_out_nats"] for row in record["curve"]
    )
    assert models.tokenizer(WEIGHTS / name).get_vocab() == pretraining.tokenizer().get_vocab()


def test_weights_are_small_enough_for_the_repository_and_larger_models_are_better():
    records = [json.loads(path.read_text()) for path in sorted(WEIGHTS.glob("*/pretraining.json"))]
    assert sum(path.stat().st_size for path in WEIGHTS.rglob("*") if path.is_file()) < 12e6
    by_size = sorted(records, key=lambda record: record["parameters"])
    nats = [record["curve"][-1]["held_out_nats"] for record in by_size]
    assert nats == sorted(nats, reverse=True)


def test_boards_show_the_legal_moves_of_answers():
    rows = pd.DataFrame(
        {
            "text": [rules.prompt_of(GAME)] * 2,
            "answer": [" Qxf7#"] * 2,
            "student": [" Qxf7#", " Qxe5++"],
            "supervisor": [" a5", " d3"],
        }
    )
    boards = w2s.chess.show_boards(rows)
    svg = boards.data
    assert (
        svg.count("<svg ") == 3
        and svg.count("White to move: Qxf7#") == 2
        and "supervisor a5" in svg
    )
    assert svg.count('class="arrow"') == 2 * (
        1 + 2 + 1
    )  # a5 is not legal; an arrow is a line and a head


def test_boards_are_pictures_where_nothing_is_trusted_or_run(monkeypatch):
    rows = pd.DataFrame({"text": [rules.prompt_of(GAME)], "answer": [" Qxf7#"]})
    boards = w2s.chess.show_boards(rows)
    words = "1 chess boards: White to move: Qxf7#"
    monkeypatch.setattr(pictures, "_draw", None)  # as where no browser is
    plain, _ = boards._repr_mimebundle_()
    examples = w2s.load_task("mate_in_one", n_train=8, n_val=2, n_test=4).test.take(range(2))
    of_split = pd.DataFrame({"text": [t for (t,) in examples.texts], "answer": examples.answers})
    assert w2s.chess.show_boards(examples).data == w2s.chess.show_boards(of_split).data
    assert set(plain) == {"text/plain", "text/html"}, "an SVG of its own is shown if trusted only"
    assert plain["text/plain"] == words == repr(boards)
    content = re.search(r'src="data:image/svg\+xml;base64,([^"]+)"', plain["text/html"])[1]
    drawn = base64.b64decode(content).decode()
    assert drawn == boards.data and '<rect width="100%" height="100%" fill="white"/>' in drawn
    asked = []

    def draw(page, width, scale):
        asked.append((page, width))
        return b"png", (width, 300)

    monkeypatch.setattr(pictures, "_draw", draw)
    monkeypatch.setattr(pictures, "_smaller", lambda png: png)
    data, metadata = boards._repr_mimebundle_()
    assert data == {"text/plain": words, "image/png": base64.b64encode(b"png").decode()}
    assert metadata["image/png"] == {"width": boards.width, "height": 300, "alt": words}
    assert asked == [(plain["text/html"], boards.width)]
