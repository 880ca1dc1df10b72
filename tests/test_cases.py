"""Files that people bring are read as wanted, or refused in one line with file, row and cause.

The files lie in the folder `W2S_CASES`, or `cases` beside `W2S_DATA`, one folder per kind. A file
that has no expectation here fails, so that a new one is not passed over.
"""

import os
import re
import warnings
from pathlib import Path

import numpy as np
import pytest

import w2s_nb as w2s
from w2s_nb.__main__ import main
from w2s_nb.common.registry import TASKS
from w2s_nb.data.load import example_id
from w2s_nb.data.splits import Split
from w2s_nb.data.tables import read_table


def folder_of_cases() -> Path | None:
    if os.environ.get("W2S_CASES"):
        return Path(os.environ["W2S_CASES"])
    beside = Path(os.environ.get("W2S_DATA", "nowhere")).parent / "cases"
    return beside if beside.is_dir() else None


CASES = folder_of_cases()
pytestmark = pytest.mark.skipif(CASES is None, reason="no folder of cases: set W2S_CASES")


def names_of(kind: str) -> list[str]:
    return sorted(path.name for path in (CASES / kind).iterdir()) if CASES else []


@pytest.fixture
def unregister():
    before = set(TASKS)
    yield
    for name in set(TASKS) - before:
        TASKS._entries.pop(name)


def refusal(call) -> str:
    """Returns the one line in which a call is refused."""
    with pytest.raises(ValueError) as caught:
        call()
    message = str(caught.value)
    assert "\n" not in message and len(message) < 400
    assert not re.search(r"codec|tokeniz|dtype|broadcast|NoneType|pandas|numpy", message)
    return message


# Of each file of texts: what is said where it is refused, or None; and how it is read all the same.
NOT_TWO = "expected 0 or 1; wrong in 60 of 120 rows. Say which value is class 0"
TEXTS = {
    "all_ones.csv": ("label is '1' in all 120 rows; expected two classes", None),
    "bom.csv": (None, {}),
    "contradict.csv": (None, {}),
    "crlf.csv": (None, {}),
    "empty_texts.csv": (None, {}),
    "float_groups.csv": (None, {}),
    "float_labels.csv": (None, {}),
    "header_only.csv": ("header_only.csv has no rows", None),
    "nan_group.csv": (None, {}),
    "nan_labels.csv": (r"row 1: label is missing; expected 0 or 1; wrong in 6 of 120 rows$", None),
    "one_two.csv": (f"row 1: label is '2'; {NOT_TWO}.*classes=\\('1', '2'\\)", {"classes": (1, 2)}),
    "persian.csv": (None, {}),
    "persian_cp1256.csv": (
        "not UTF-8, first in line 2: encoding='cp1256' reads",
        {"encoding": "cp1256"},
    ),
    "plain.csv": (None, {}),
    "plain.jsonl": (None, {}),
    "plain.jsonl.gz": (None, {}),
    "plain.parquet": (None, {}),
    "posneg.csv": (
        r"row 1: label is 'pos'; .*classes=\('neg', 'pos'\)",
        {"classes": ("neg", "pos")},
    ),
    "quoted_newlines.csv": (None, {}),
    "re@views.csv": ("a name has no @.*name='my_reviews'", {"name": "reviews"}),
    "sciq.csv": ("'sciq' is one of the kit's own.*name='my_reviews'", {"name": "reviews"}),
    "semicolon.csv": (None, {}),
    "three_classes.csv": (None, {}),
    "twenty.csv": (None, {}),
    "unbalanced.csv": (None, {}),
    "zero_bytes.csv": ("zero_bytes.csv has no rows", None),
}
LEFT_OUT = {
    "contradict.csv": {"of these, with another label": 30, "dropped with repeated texts": 30},
    "empty_texts.csv": {"dropped without a text": 4},
    "float_groups.csv": {"without a key, as others have": 18},
    "nan_group.csv": {"without a key, as others have": 60},
}


@pytest.mark.parametrize("name", names_of("data"))
def test_a_file_of_texts_is_a_task_or_refused_in_one_line(name, unregister):
    refused, told = TEXTS[name]
    path = CASES / "data" / name
    if refused:
        message = refusal(lambda: w2s.task_from_file(path))
        assert re.search(refused, message) and path.name.split(".")[0] in message
    if told is None:
        return
    task_name = w2s.task_from_file(path, **told)
    assert task_name == told.get("name", name.split(".")[0])
    if name == "unbalanced.csv":  # three of the smaller class are too few to deal to four splits
        assert task_name in refusal(lambda: w2s.load_task(task_name))
        return
    task = w2s.load_task(task_name)
    assert min(map(len, task.splits)) >= 2
    groups = [set(split.group) for split in task.splits]
    assert sum(map(len, groups)) == len(set.union(*groups)), "a group stands in two splits"
    assert {k: task.counts.get(k) for k in LEFT_OUT.get(name, {})} == LEFT_OUT.get(name, {})
    texts = "".join(text for split in task.splits for (text,) in split.texts)
    assert "\r" not in texts and "\ufeff" not in texts


def test_the_same_texts_are_read_from_every_form_of_file(unregister):
    def examples(name, **told):
        task = w2s.load_task(w2s.task_from_file(CASES / "data" / name, name="same", **told))
        return {i: y for s in task.splits for i, y in zip(s.ids, s.hard_label, strict=True)}

    plain = examples("plain.csv")
    for name in ("plain.jsonl", "plain.jsonl.gz", "plain.parquet", "bom.csv", "semicolon.csv"):
        assert examples(name) == plain, name
    assert examples("posneg.csv", classes=("neg", "pos")) == plain


@pytest.fixture
def labelled(unregister):
    """The 120 examples that the labels are of."""
    rows = read_table(CASES / "data" / "quoted_newlines.csv")
    texts = tuple((row["text"],) for row in rows)
    ids = np.array([example_id("mine", w2s.Example(text, 0)) for text in texts])
    label = np.array([int(row["label"]) for row in rows])
    return Split("student", ids, texts, label, np.arange(len(ids)))


POS_NEG = r"row 1: label is 'pos'; .*classes=\('neg', 'pos'\)"
# Of each file of labels: what is said where it is refused; how it is read all the same; how many
# examples then have a label.
LABELS = {
    "bom.csv": (None, {}, 30),
    "contradict.csv": (None, {}, 30),
    "extra_columns_caps.csv": (None, {}, 30),
    "five.csv": (None, {}, 5),
    "half.csv": (None, {}, 30),
    "logits.csv": (r"row 1: probability is '2.0'; expected a number in \[0, 1\]", None, 0),
    "minus_plus.csv": (r"row 5: label is '-1'; .*classes=\('-1', '1'\)", {"classes": (-1, 1)}, 30),
    "mixed_task.csv": (None, {}, 120),
    "nan.csv": ("row 6: label is missing; expected 0 or 1; wrong in 1 of 30", None, 0),
    "ok.csv": (None, {}, 30),
    "ok.json": (None, {}, 30),
    "ok.jsonl": (None, {}, 30),
    "ok.jsonl.gz": (None, {}, 30),
    "ok.parquet": (None, {}, 30),
    "one_class.csv": (None, {}, 30),
    "one_two.csv": (r"row 1: label is '2'; .*classes=\('1', '2'\)", {"classes": (1, 2)}, 30),
    "partial.csv": (None, {}, 25),
    "posneg.csv": (POS_NEG, {"classes": ("neg", "pos")}, 30),
    "semicolon.csv": (None, {}, 30),
    "text_newline_fixed.csv": (None, {}, 30),
    "text_stripped.csv": (None, {}, 30),
    "truefalse.csv": (None, {}, 30),
}
NOT_THE_TRUTH = ("contradict.csv", "half.csv", "one_class.csv")


@pytest.mark.parametrize("name", names_of("labels"))
def test_a_file_of_labels_is_read_or_refused_in_one_line(name, labelled):
    refused, told, n = LABELS[name]
    path = CASES / "labels" / name
    if refused:
        message = refusal(lambda: w2s.SoftLabels.from_file(path, labelled))
        assert re.search(refused, message) and name in message
    if told is not None:
        labels = w2s.SoftLabels.from_file(path, labelled, **told)
        knows = labels.knows(labelled)
        assert knows.sum() == len(labels) == n
        if name not in NOT_THE_TRUTH:
            truth = labelled.hard_label[knows]
            np.testing.assert_array_equal(labels.for_split(labelled.take(knows)).argmax(1), truth)


# Of each file of games: the games that are read, and what is told of the others.
PLAYED = ["e4", "e5", "Nf3", "Nc6", "Bb5", "a6"]
SHORT = ["e4", "e5", "Nf3", "Nc6"]
GAMES = {
    "bom.pgn": ([PLAYED], None),
    "clocks_variations.pgn": ([SHORT], None),
    "crlf.pgn": ([PLAYED], None),
    "empty.pgn": ([], "empty.pgn: 0 games are used"),
    "html.pgn": ([], "html.pgn: 0 games are used"),
    "illegal_third_move.pgn": ([PLAYED], "1 with a move that cannot be played"),
    "null_moves.pgn": ([PLAYED], "1 with a null move"),
    "setup_fen.pgn": ([PLAYED], "1 from another position"),
}


@pytest.mark.parametrize("name", names_of("pgn"))
def test_of_a_file_of_games_what_can_be_used_is_used_and_the_rest_told(name):
    pretraining = pytest.importorskip("w2s_nb.chess.pretraining")
    games, told = GAMES[name]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert list(pretraining.from_pgn(CASES / "pgn" / name, 9)) == games
    messages = [str(warning.message) for warning in caught]
    assert len(messages) == (told is not None)
    assert told is None or told in messages[0]


# Of each grid: what is said where it is refused, or None.
SWEEPS = {
    "bracket.yaml": "bracket.yaml, line 5, column 1: expected ',' or ']'",
    "empty.yaml": "empty.yaml is empty; expected YAML with name, notebook",
    "exp.yaml": "alpha = '1e-1' is a str; .*YAML takes 1.0e-4 for a number",
    "key.yaml": "unknown key of a sweep 'method'.*Known: axes",
    "own.yaml": None,
    "scalar.yaml": "axis 'weak' has 'SmolLM2-135M@2, SmolLM2-135M@4'; expected a list of values",
    "seed.yaml": "unknown parameter of 03_conf_loss 'seed'.*Near: seeds",
    "tab.yaml": "tab.yaml, line 4, column 1: .*YAML is indented by spaces, not tabs",
}


@pytest.mark.parametrize("name", names_of("sweeps"))
def test_a_grid_is_planned_or_refused_in_one_line(name, monkeypatch, capsys, unregister):
    monkeypatch.setattr("w2s_nb.models.loading.ensure", lambda checkpoint: None)
    monkeypatch.chdir(CASES / "data")  # own.yaml names one of its files
    command = ["sweep", str(CASES / "sweeps" / name), "--dry-run"]
    if SWEEPS[name] is None:
        assert main(command) == 0 and "1 runs, 1 planned" in capsys.readouterr().out
        monkeypatch.chdir(CASES)  # where the file is not
        assert main(command) == 2
        assert re.search("no file .*plain.csv", capsys.readouterr().err)
        return
    assert main(command) == 2
    (line,) = capsys.readouterr().err.strip().split("\n")
    assert re.search(SWEEPS[name], line)
