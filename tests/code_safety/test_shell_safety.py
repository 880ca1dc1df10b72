"""The task shell_safety: pairs that only a run tells apart, and what is known of each script."""

import dataclasses
import re
from collections import Counter

import numpy as np
import pytest

pytest.importorskip("bashlex")

import w2s_nb as w2s
from w2s_nb.code_safety import marks, shell_safety
from w2s_nb.code_safety.interpreter import run_script
from w2s_nb.code_safety.scripts import script_pairs
from w2s_nb.code_safety.traps import TRAPS
from w2s_nb.data.load import _make_pools

from ..conftest import ARCHITECTURES, WORDS, save_tiny

N = 240  # pairs, 30 of each kind


@pytest.fixture(scope="module")
def rows():
    return shell_safety.rows_of(N)


@pytest.fixture
def few(monkeypatch, rows):
    """The tasks, with few pairs."""
    monkeypatch.setattr(shell_safety, "shell_scripts", lambda: {"all": rows})
    sources = {
        "shell_safety": lambda: {"all": rows},
        "shell_pairs": shell_safety.shell_script_pairs,
    }
    for name, source in sources.items():
        small = dataclasses.replace(w2s.TASKS[name], source=source)
        monkeypatch.setitem(w2s.TASKS._entries, name, small)
    _make_pools.cache_clear()
    yield rows
    _make_pools.cache_clear()


def test_half_of_each_kind_is_dangerous_and_no_script_comes_twice(rows):
    assert len({row["text"] for row in rows}) == 2 * N
    counts = Counter((row["kind"], row["label"]) for row in rows)
    assert counts == {(kind, label): N // len(TRAPS) for kind in TRAPS for label in (0, 1)}
    assert {effect for row in rows for effect in row["effects"]} == {
        "deleted",
        "overwritten",
        "opened",
        "sent",
    }
    assert all(bool(row["effects"]) == row["label"] for row in rows)
    assert {row["n_facts"] for row in rows} == {1, 2, 3}


def test_scripts_depend_on_the_seed_alone(rows):
    assert shell_safety.rows_of(8) == rows[:16]
    assert not {r["text"] for r in shell_safety.rows_of(8, seed=1)} & {r["text"] for r in rows}


def test_the_comments_tell_what_is_there(rows):
    for row in rows[:20]:
        run_in, here, above = row["text"].split("\n")[:3]
        assert run_in.startswith("# run in /home/") and run_in.endswith("without arguments")
        assert " -> ../" in here and run_in.split("/")[3].split(" without")[0] + "/" in above


def word_counts(texts, vocabulary):
    counts = np.zeros((len(texts), len(vocabulary)))
    for i, text in enumerate(texts):
        for word in re.findall(r"\w+", text):
            if word in vocabulary:
                counts[i, vocabulary[word]] += 1
    return counts


def accuracy_of_words(train, test):
    """Accuracy of a logistic regression on counts of words."""
    from sklearn.linear_model import LogisticRegression

    words = sorted({word for row in train for word in re.findall(r"\w+", row["text"])})
    vocabulary = {word: i for i, word in enumerate(words)}
    model = LogisticRegression(max_iter=200)
    model.fit(word_counts([r["text"] for r in train], vocabulary), [r["label"] for r in train])
    said = model.predict(word_counts([r["text"] for r in test], vocabulary))
    return float(np.mean(said == [r["label"] for r in test]))


def test_a_bag_of_words_and_the_length_are_at_chance(rows):
    assert accuracy_of_words(rows[:320], rows[320:]) <= 0.60
    for safe, dangerous in zip(rows[::2], rows[1::2]):
        assert Counter(safe["text"]) == Counter(dangerous["text"])


def test_a_bag_of_words_would_see_a_word_that_gives_the_label_away(rows):
    marked = [row | {"text": row["text"] + "harm" * row["label"]} for row in rows]
    assert accuracy_of_words(marked[:320], marked[320:]) > 0.95


def test_twins_stand_in_one_half_and_facts_come_with_the_examples(few):
    task = w2s.load_task("shell_safety", n_train=120, n_val=40, n_test=80)
    for split in task.splits:
        assert all(size == 2 for size in Counter(split.group.tolist()).values())
        assert split.hard_label.mean() == 0.5
        assert {len(themes) for themes in split.facts.themes} <= {1, 2, 3, 4}
        harmful = split.facts.themes.map(len).to_numpy() > 1
        assert (harmful == (split.hard_label == 1)).all()
    assert split.facts.difficulty.between(1, 3).all()
    assert task.spec.classes == ("safe", "dangerous")


def test_two_versions_of_a_script_are_compared(few):
    task = w2s.load_task("shell_pairs", n_train=60, n_val=20, n_test=40)
    assert task.spec.arity == 2
    for split in task.splits:
        assert len(set(split.group)) == len(split) and split.hard_label.mean() == 0.5
        for texts, second_is_safe in zip(split.texts, split.hard_label, strict=True):
            safe, dangerous = texts[::-1] if second_is_safe else texts
            assert Counter(safe) == Counter(dangerous)
            label = {row["text"]: row["label"] for row in few}
            assert (label[safe], label[dangerous]) == (0, 1)
        assert split.facts.themes.map(len).min() > 1, "the kind of harm, and what was done"
    only = w2s.load_task("shell_pairs@quote", n_train=6, n_val=2, n_test=6)
    assert {themes[0] for split in only.splits for themes in split.facts.themes} == {"quote"}


def test_an_option_keeps_or_leaves_out_a_kind(few):
    one = w2s.load_task("shell_safety@link", n_train=10, n_val=4, n_test=8)
    others = w2s.load_task("shell_safety@not-link", n_train=100, n_val=20, n_test=60)
    assert {themes[0] for split in one.splits for themes in split.facts.themes} == {"link"}
    left = {themes[0] for split in others.splits for themes in split.facts.themes}
    assert left == set(TRAPS) - {"link"}
    with pytest.raises(KeyError, match="lnk"):
        w2s.load_task("shell_safety@lnk")


def test_the_line_that_does_harm_is_known(few, monkeypatch, rows):
    monkeypatch.setattr(shell_safety, "shell_scripts", lambda: {"all": rows})
    shell_safety._harmful_lines.cache_clear()
    for safe, dangerous in zip(rows[::2], rows[1::2]):
        assert shell_safety.harmful_line(safe["text"]) == ""
        line = shell_safety.harmful_line(dangerous["text"])
        assert line and not line.startswith(("#", "set ", "mkdir "))
        shown = marks.marked(dangerous["text"]).split("\n")
        assert [row[4:] for row in shown] == dangerous["text"].split("\n")
        assert {row for row in shown if row.startswith(">>> ")} == {f">>> {line}"}
        assert ">>> " not in marks.marked(safe["text"])
    with pytest.raises(ValueError, match="expected a text of the task"):
        shell_safety.harmful_line("ls")
    shell_safety._harmful_lines.cache_clear()


def test_the_label_is_what_a_run_gives(rows):
    for twins in script_pairs(16):
        for script in twins:
            outcome = run_script(script.text, script.tree, script.folder, script.home)
            assert bool(outcome.harms) == script.is_dangerous
            lines = script.text.split("\n")
            kept = [lines[: script.line], lines[: script.line - 1]] if script.line else []
            runs = ["\n".join(part) for part in kept]
            done = [run_script(r, script.tree, script.folder, script.home).harms for r in runs]
            assert not done or (done[0] and not done[1])


@pytest.mark.model
def test_arms_are_told_apart_by_kind_and_by_difficulty(few, rows, tmp_path):
    words = [*WORDS, *sorted({word for row in rows for word in row["text"].split()} - set(WORDS))]
    config = ARCHITECTURES["llama"]()
    config.vocab_size = len(words)
    model = save_tiny(tmp_path / "tiny", config=config, words=words)
    sizes = {"n_train": 120, "n_val": 40, "n_test": 80, "max_len": 64}
    arms = w2s.run_arms("shell_safety", f"{model}@1", model, seeds=1, method="probe", **sizes)
    by_kind = w2s.by_theme(arms, least=1)
    assert set(TRAPS) | {"deleted", "opened"} <= set(by_kind.theme)
    kinds = by_kind[by_kind.theme.isin(TRAPS)].groupby("arm").n.sum()
    assert (kinds == 80).all() and by_kind.accuracy.between(0, 1).all()
    by_facts = w2s.by_difficulty(arms, [2, 3])
    assert by_facts.groupby("arm").n.sum().eq(80).all()
