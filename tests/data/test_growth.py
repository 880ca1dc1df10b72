"""What more rows and more seeds cost, in counts of what is done; and that the results are equal."""

import os
import random

import pytest

import w2s_nb as w2s
from w2s_nb.common.registry import TASKS
from w2s_nb.data import load, tables
from w2s_nb.data.tasks import snippets
from w2s_nb.notebook import parameters


class Rating(float):
    """A rating that counts how often it is compared with another."""

    compared = 0

    def __sub__(self, other):
        Rating.compared += 1
        return Rating(float(self) - float(other))


def rated_rows(n):
    """Most near to neutral, some at the ends, many of equal rating."""
    rng = random.Random(n)
    ratings = [round(max(-4.0, min(4.0, rng.gauss(0, 1.5))), 1) for _ in range(n)]
    return [{"text": f"text {i}", "rating": Rating(rating)} for i, rating in enumerate(ratings)]


def first_that_waits(rows, gap):
    """Pairs as the task's docstring says it: with the first row before that is apart enough."""
    waiting, pairs = [], []
    for row in sorted(rows, key=lambda row: snippets.draw(2**64, row["text"])):
        other = next((w for w in waiting if abs(w["rating"] - row["rating"]) >= gap), None)
        if other is None:
            waiting.append(row)
            continue
        waiting.remove(other)
        worse, better = sorted((row, other), key=lambda row: row["rating"])
        pairs.append((worse["text"], better["text"], better["rating"] - worse["rating"]))
    return pairs


@pytest.mark.parametrize("gap", [0.1, 1.0, 6.0, 7.9])
def test_pairs_of_snippets_do_not_cost_the_square_of_the_rows(monkeypatch, gap):
    compared = {}
    for n in (500, 2_000):
        rows = rated_rows(n)
        monkeypatch.setattr(snippets, "rated", lambda asset, rows=rows: {"all": rows})
        Rating.compared = 0
        pairs = snippets._pairs(gap)["all"]
        compared[n] = Rating.compared
        made = [(pair["worse"], pair["better"], pair["gap"]) for pair in pairs]
        assert made == first_that_waits(rows, gap)
    assert compared[2_000] < 8 * compared[500], "four times the rows"


def test_an_example_is_hashed_once_whatever_the_seeds(monkeypatch):
    hashed = []

    def example_id(task, example):
        hashed.append(example.texts)
        return of_kit(task, example)

    of_kit = load.example_id
    monkeypatch.setattr(load, "example_id", example_id)
    rows = [{"text": f"text {i}", "label": i % 2, "group": i // 3} for i in range(120)]
    name = w2s.task_from_file(rows, name="hashed")
    first = w2s.load_task(name, n_train=20, n_val=10, n_test=20)
    assert len(hashed) == len(set(hashed)) == 120
    others = [w2s.load_task(name, seed=seed, n_train=20, n_val=10, n_test=20) for seed in (1, 2)]
    groups = load.groups_of(name)
    assert len(hashed) == 120
    for split in (split for task in (first, *others) for split in task.splits):
        made = [of_kit(name, w2s.Example(texts, 0)) for texts in split.texts]
        assert split.ids.tolist() == made
        assert [groups[example] for example in made] == split.group.tolist()


def test_a_table_is_read_again_only_if_it_changed(tmp_path, monkeypatch):
    read, read_text = [], tables._read_text
    monkeypatch.setattr(tables, "_read_text", lambda *a: read.append(a[0].name) or read_text(*a))
    path = tmp_path / "mine.csv"
    path.write_text("text,label\n" + "".join(f"text {i},{i % 2}\n" for i in range(40)))
    sizes = {"n_train": 8, "n_val": 4, "n_test": 4}
    first = w2s.load_task(w2s.task_from_file(path), **sizes)
    of_first = TASKS.registered("mine")
    w2s.task_from_file(path)
    assert len(read) == 1 and TASKS.registered("mine") is of_first
    times = path.stat()
    path.write_text(path.read_text().replace("text 7", "word 7"))  # as large, and at the same time
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    second = w2s.load_task(w2s.task_from_file(path), **sizes)
    assert len(read) == 2 and first.data_version != second.data_version
    w2s.task_from_file(path, classes=("1", "0"))
    assert len(read) == 3 and TASKS["mine"].classes == ("1", "0")
    w2s.task_from_file([{"text": f"{i}", "label": i % 2} for i in range(40)], name="mine")
    w2s.task_from_file(path, classes=("1", "0"))
    assert len(read) == 4, "a task of that name was registered meanwhile"
    assert TASKS["mine"].classes == ("1", "0")


def test_runs_of_a_sweep_read_a_table_once(tmp_path, monkeypatch):
    read, read_text = [], tables._read_text
    monkeypatch.setattr(tables, "_read_text", lambda *a: read.append(a[0].name) or read_text(*a))
    path = tmp_path / "mine.csv"
    path.write_text("text,label\n" + "".join(f"text {i},{i % 2}\n" for i in range(40)))
    for seeds in range(1, 5):
        assert parameters._check_table({"texts": str(path), "seeds": seeds}) == "mine"
    assert len(read) == 1
