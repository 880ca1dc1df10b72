"""Examples that are prepared once: what is kept of them, and when they are made again."""

import dataclasses

import pandas as pd
import pytest

import w2s_nb as w2s
from w2s_nb.data import load, prepared, sources
from w2s_nb.data.tasks.spec import Example, Hub

HUB = Hub("me/numbers", "c0ffee", test="train", limit=50)


def numbers(row):
    """Is the number odd?"""
    if row["n"] % 3:
        difficulty = float("nan") if row["n"] == 1 else float(row["n"])
        yield Example(
            (f"n {row['n']}",), 0, (f"k{row['n'] // 4}",), f" {row['n']}", difficulty, ("a", "b")
        )


@pytest.fixture
def spec(registries, tmp_path, monkeypatch):
    """A task of 20 rows in a local file, every third of which gives no example."""
    monkeypatch.setenv("W2S_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("W2S_DATA", str(tmp_path / "data"))
    (tmp_path / "data" / "numbers").mkdir(parents=True)
    pd.DataFrame({"n": range(20)}).to_parquet(tmp_path / "data" / "numbers" / "train.parquet")
    w2s.register_task(
        "numbers",
        HUB,
        max_len=8,
        max_answer=4,
        narrow=lambda most: lambda example: example.difficulty < float(most),
        prepared=lambda: {"code": "1"},
    )(numbers)
    return w2s.TASKS["numbers"]


@pytest.fixture
def made(monkeypatch):
    """Counts the rows whose examples are made."""
    places = []

    def count(spec, row, place):
        places.append(place)
        return list(spec.examples(row))

    monkeypatch.setattr(prepared, "examples_of", count)
    return places


def read(spec) -> list:
    return [list(map(repr, row)) for row in prepared.examples_by_row(spec)["all"]]


def test_they_are_made_once_and_come_back_as_they_were(spec, made):
    usual = read(dataclasses.replace(spec, prepared=None))
    assert len(usual) == 20 and usual[0] == [] and "nan" in usual[1][0]
    assert read(spec) == usual == read(spec)
    assert len(made) == 40, "once without the cache, once for it"
    assert read(w2s.TASKS["numbers@9"]) == usual and len(made) == 40, "a range reads what is there"


def test_a_task_is_dealt_alike_from_prepared_examples(spec):
    usual = dataclasses.replace(spec, prepared=None)
    alike = [load._read_examples.__wrapped__(each, None) for each in (usual, spec, spec)]
    assert [repr(each) for each in alike[1:]] == [repr(alike[0])] * 2
    assert alike[0][4]["rows read"] == 20 and alike[0][4]["rows that gave no example"] == 7


def test_other_rows_or_other_code_are_made_again(spec, made, tmp_path):
    read(spec)
    read(dataclasses.replace(spec, prepared=lambda: {"code": "2"}))
    assert len(made) == 40
    pd.DataFrame({"n": range(10)}).to_parquet(tmp_path / "data" / "numbers" / "train.parquet")
    assert len(read(spec)) == 10 and len(made) == 50


def test_a_row_that_cannot_be_read_leaves_nothing_behind(spec, monkeypatch, tmp_path):
    def fail(spec, row, place):
        raise ValueError(f"cannot read {place}")

    with monkeypatch.context() as patch:
        patch.setattr(prepared, "examples_of", fail)
        with pytest.raises(ValueError, match="cannot read row 1 of numbers/train.parquet"):
            read(spec)
    assert not list((tmp_path / "cache").rglob("*.parquet")) and len(read(spec)) == 20


def test_rows_of_the_hub_are_those_of_a_commit(spec, monkeypatch):
    monkeypatch.delenv("W2S_DATA")
    known = sources.identity_of(spec)
    assert (known["hub"], known["revision"], known["limit"]) == ("me/numbers", "c0ffee", 50)
    newest = dataclasses.replace(spec, source=dataclasses.replace(HUB, revision=None))
    monkeypatch.setattr(sources, "_newest", lambda hub_id: "beef")
    assert sources.identity_of(newest)["revision"] == "beef"
    for answer in (lambda hub_id: None, lambda hub_id: 1 / 0):  # offline, and no connection
        monkeypatch.setattr(sources, "_newest", answer)
        assert sources.identity_of(newest) is None
    assert sources.identity_of(dataclasses.replace(spec, source=dict)) is None


def test_chess_puzzles_of_both_names_are_prepared_once(made, monkeypatch, tmp_path):
    monkeypatch.setenv("W2S_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("W2S_DATA", str(tmp_path / "data"))
    (tmp_path / "data" / "lichess_puzzles").mkdir(parents=True)
    rows = pd.DataFrame({"ctx": ["1. e4 1... e5 2.", "1. e4 1... e4 2."], "target": " Nf3"})
    rows.to_parquet(tmp_path / "data" / "lichess_puzzles" / "train.parquet")
    each = [read(w2s.TASKS[name]) for name in ("chess_puzzles", "lichess_puzzles@1000-")]
    assert each[0] == each[1] and [len(row) for row in each[0]] == [1, 0] and len(made) == 2
