"""Groups never cross, classes are balanced, and what is used does not depend on the seed."""

import dataclasses

import numpy as np
import pytest

import w2s_nb as w2s
from w2s_nb.common.registry import TASKS
from w2s_nb.data import splitting
from w2s_nb.data.load import count_examples, example_id
from w2s_nb.data.splitting import (
    apportion,
    at_least,
    deal,
    group_ids,
    hash_order,
    most_of,
    shuffle_groups,
)
from w2s_nb.data.tasks.spec import Example


def test_groups_join_through_chains():
    group = group_ids([("a",), ("b",), ("a", "c"), ("c", "b"), ("d",)])
    assert len(set(group[:4])) == 1 and group[4] != group[0]


def test_hash_order_is_stable_when_examples_are_added():
    ids = [f"{hash((i, 1)) & 0xFFFFFFFFFFFF:016x}" for i in range(50)]
    group = np.arange(50) // 2
    full = [ids[r] for r in hash_order(group, ids)]
    part = [ids[:40][r] for r in hash_order(group[:40], ids[:40])]
    assert [i for i in full if i in set(part)] == part


@pytest.mark.parametrize("seed", range(5))
def test_deal_keeps_groups_whole_and_classes_equal(seed):
    rng = np.random.default_rng(seed)
    group = np.sort(rng.integers(60, size=300))
    label = rng.integers(2, size=300)
    rows = shuffle_groups(np.arange(300), group, rng)
    unit = np.arange(300) // 2
    parts = deal(rows, label, group, unit, {"a": [20, 20], "b": [30, 30], "c": [30, 30]})
    for part, n in (("a", 20), ("b", 30), ("c", 30)):
        assert np.bincount(label[parts[part]], minlength=2).tolist() == [n, n]
    groups = [set(group[rows]) for rows in parts.values()]
    assert not (groups[0] & groups[1] | groups[0] & groups[2] | groups[1] & groups[2])


def test_a_question_keeps_its_right_and_its_wrong_answer():
    group = np.repeat(np.arange(10), 6)  # ten passages of three questions of two answers
    label, unit = np.tile([1, 0], 30), np.arange(60) // 2
    parts = deal(np.arange(60), label, group, unit, {"a": [10, 10], "b": [13, 13]})
    for part, n in (("a", 10), ("b", 13)):
        assert (
            len(parts[part]) == 2 * n
            and (np.unique(unit[parts[part]], return_counts=True)[1] == 2).all()
        )


def test_dealing_stops_once_every_part_is_full(monkeypatch):
    label = np.tile([0, 1], 5000)
    group, unit = np.arange(10_000) // 2, np.arange(10_000) // 2
    calls = []
    count = splitting.Counter
    monkeypatch.setattr(splitting, "Counter", lambda of: calls.append(1) or count(of))
    parts = deal(np.arange(10_000), label, group, unit, {"a": [3, 3], "b": [2, 2]})
    assert parts["a"].tolist() == [0, 1, 2, 3, 4, 5] and parts["b"].tolist() == [6, 7, 8, 9]
    assert len(calls) < 20, "it offers further groups to full parts"


def test_shuffle_keeps_groups_contiguous_and_every_row():
    group = np.repeat(np.arange(20), 3)
    rows = shuffle_groups(np.arange(60), group, np.random.default_rng(1))
    assert sorted(rows) == list(range(60)) and (np.diff(group[rows]) != 0).sum() == 19
    assert rows.tolist() != list(range(60))


def test_at_least_does_not_cut_a_group():
    label, group = np.array([0, 1, 0, 1, 0, 1]), np.array([0, 0, 1, 1, 1, 2])
    head, tail = at_least(np.arange(6), label, group, [2, 2])
    assert head.tolist() == [0, 1, 2, 3, 4] and tail.tolist() == [5]


def test_seeds_deal_the_same_examples_differently(words):
    other = w2s.load_task("words", seed=1, n_train=96, n_val=32, n_test=64)

    def used(t):
        return set(t.supervisor.ids) | set(t.student.ids) | set(t.validation.ids)

    assert len(used(words) & used(other)) > 0.9 * len(
        used(words)
    )  # all, but for groups that do not divide evenly
    assert words.test.ids.tolist() == other.test.ids.tolist()
    assert set(words.student.ids) != set(other.student.ids)


def test_splits_are_disjoint_balanced_and_grouped(words):
    ids = [set(s.ids) for s in words.splits]
    assert sum(map(len, ids)) == len(set.union(*ids)) == 96 + 96 + 32 + 64
    assert all(s.hard_label.mean() == 0.5 for s in words.splits)
    groups = [set(s.group) for s in words.splits]
    assert sum(map(len, groups)) == len(set.union(*groups))
    assert all(len(i) == 16 and int(i, 16) >= 0 for i in words.student.ids)


def test_a_bigger_test_set_contains_the_smaller(words):
    bigger = w2s.load_task("words", n_train=96, n_val=32, n_test=100)
    assert set(words.test.ids) <= set(bigger.test.ids)


def test_ids_do_not_change():
    assert example_id("words", Example(("w5 w1",), 1)) == "a1f7f6d5806bad51"


@pytest.mark.parametrize(
    "sizes",
    [
        dict(n_train=97),
        dict(n_train=0),
        dict(n_test=True),
        dict(n_val=3.0),
        dict(n_train=10_000),
        dict(n_test=5_000),
    ],
)
def test_impossible_sizes_are_refused_with_what_exists(words, sizes):
    with pytest.raises(
        ValueError,
        match="task .words.(: n_.*expected an even whole number| has .*balanced examples)",
    ):
        w2s.load_task("words", **sizes)


def test_everything_is_used_when_no_size_is_given(words):
    task = w2s.load_task("words")
    assert abs(len(task.supervisor) - len(task.student)) <= 4
    assert sum(len(s) for s in task.splits) > 0.85 * task.counts["examples"]


def test_repeats_and_test_ties_are_dropped_and_counted():
    rows = {
        "train": [
            dict(q="a", t="x", y=0),
            dict(q="a", t="x", y=0),
            dict(q="z", t="tied", y=1),
            *[dict(q=f"q{i}", t=f"t{i}", y=i % 2) for i in range(40)],
        ],
        "test": [
            dict(q="z", t="u", y=1),
            *[dict(q=f"v{i}", t=f"s{i}", y=i % 2) for i in range(21)],
        ],
    }

    @w2s.register_task("tied", lambda: rows, max_len=8)
    def tied(row):
        """Test."""
        yield Example((row["t"],), row["y"], (row["q"],))

    task = w2s.load_task("tied", n_train=8, n_val=4, n_test=6)
    assert task.counts["dropped with repeated texts"] == 1
    assert task.counts["training examples tied to the test split"] == 1


@pytest.fixture
def unregister():
    """Removes the task that a test registers as `answers`."""
    yield
    TASKS._entries.pop("answers", None)


def answer_rows(n=240, seed=0):
    """Yields rows of answers, each right or wrong, of questions on 80 passages.

    A question has one to seven answers, about three in ten of them right; some questions have
    only right or only wrong ones.
    """
    rng = np.random.default_rng(seed)
    for question in range(n):
        for answer in range(rng.integers(1, 8)):
            right = int(rng.random() < 0.3)
            passage = f"passage {question // 3}"
            yield dict(passage=passage, question=f"{passage} q{question}", a=answer, right=right)


def question_of(split):
    return np.array([text.partition("\n")[0] for (text,) in split.texts])


def share_of_one_sided(split):
    """Returns the share of examples whose question has only right or only wrong answers."""
    question = question_of(split)
    means = {q: split.hard_label[question == q].mean() for q in set(question)}
    return np.mean([means[q] in (0, 1) for q in question])


def register_answers(rows):
    @w2s.register_task("answers", lambda: rows, max_len=16)
    def answers(row):
        """Is the answer right?"""
        text = f"{row['question']}\n{row['a']}"
        yield Example((text,), row["right"], (row["passage"],), question=row["question"])


@pytest.mark.parametrize("sizes", [{}, dict(n_train=50, n_val=18, n_test=30, extra_halves=1)])
@pytest.mark.parametrize("seed", range(3))
def test_a_question_whose_answers_are_rows_keeps_as_many_right_as_wrong(sizes, seed, unregister):
    register_answers({"all": list(answer_rows())})
    task = w2s.load_task("answers", seed=seed, **sizes)
    for split in task.all_splits:
        assert share_of_one_sided(split) == 0
        question = question_of(split)
        for q in set(question):
            assert split.hard_label[question == q].mean() == 0.5
    groups = [set(split.group) for split in task.all_splits]
    assert sum(map(len, groups)) == len(set.union(*groups))
    assert task.counts["left out to balance questions"] > 100


@pytest.mark.parametrize("positive", range(60, 63))
def test_a_test_split_is_never_empty(positive, unregister):
    @w2s.register_task("answers", lambda: {"all": [{"i": i} for i in range(63)]}, max_len=16)
    def answers(row):
        """Is i large?"""
        yield Example((f"text {row['i']}",), int(row["i"] < positive))

    try:
        assert len(w2s.load_task("answers").test) >= 2
    except ValueError as error:
        assert "balanced examples for training and validation" in str(error)


def test_a_question_in_both_official_splits_is_balanced_in_each(unregister):
    rows = {"train": [], "test": []}
    for row in answer_rows():
        cut = int(row["passage"].split()[1]) < 40
        rows["test" if cut and row["a"] % 2 else "train"].append(row)
    register_answers(rows)
    task = w2s.load_task("answers")
    assert all(share_of_one_sided(split) == 0 for split in task.splits)
    assert task.counts["training examples tied to the test split"] > 0


@pytest.mark.parametrize("n_train", [20, 50, None])
def test_a_row_of_one_right_and_three_wrong_answers_gives_one_of_each(n_train, unregister):
    @w2s.register_task(
        "answers", lambda: {"all": [{"q": f"question {i}"} for i in range(120)]}, max_len=16
    )
    def answers(row):
        """Is the answer right?"""
        for i in range(4):
            yield Example((f"{row['q']}\nanswer {i}",), int(i == 2))

    task = w2s.load_task("answers", n_train=n_train, n_val=10, n_test=20)
    for split in task.splits:
        assert share_of_one_sided(split) == 0 and len(set(question_of(split))) == len(split) / 2
    wrong = [text[-1] for s in task.splits for (text,) in s.texts if not text.endswith("2")]
    assert set(wrong) == {"0", "1", "3"}, "the wrong answer's place gives it away"
    again = w2s.load_task("answers", n_train=n_train, n_val=10, n_test=20, seed=1)
    used = {i for split in task.splits for i in split.ids}
    assert sum(i in used for split in again.splits for i in split.ids) > 0.9 * len(used)


def test_several_right_and_wrong_answers_of_one_row_fill_any_size(unregister):
    @w2s.register_task(
        "answers", lambda: {"all": [{"q": f"question {i}"} for i in range(60)]}, max_len=16
    )
    def answers(row):
        """Is the answer right?"""
        for i in range(5):
            yield Example((f"{row['q']}\nanswer {i}",), int(i < 2))

    task = w2s.load_task("answers", n_train=50, n_val=6, n_test=10)
    assert [len(split) for split in task.splits] == [50, 50, 6, 10]
    assert all(share_of_one_sided(split) == 0 for split in task.splits)


def test_questions_without_a_right_and_a_wrong_answer_are_named(unregister):
    @w2s.register_task("answers", lambda: {"all": [{"i": i} for i in range(60)]}, max_len=16)
    def answers(row):
        """Is the answer right?"""
        yield Example((f"text {row['i']}",), row["i"] % 2, question=f"question {row['i']}")

    with pytest.raises(ValueError, match="no question with a right and a wrong answer"):
        w2s.load_task("answers")


@pytest.mark.parametrize("seed", range(4))
def test_halves_of_all_examples_are_balanced_whatever_their_groups(seed, unregister):
    rng = np.random.default_rng(seed)
    rows = [(i, int(rng.random() < 0.4), int(g)) for i, g in enumerate(rng.integers(40, size=400))]

    @w2s.register_task("answers", lambda: {"all": [{"row": row} for row in rows]}, max_len=16)
    def answers(row):
        """Is the text positive?"""
        i, label, group = row["row"]
        yield Example((f"text {i}",), label, (f"group {group}",))

    task = w2s.load_task("answers", seed=seed)
    assert [split.hard_label.mean() for split in task.splits] == [0.5] * 4
    assert len(task.supervisor) > 90 and len(task.student) > 90


def test_the_two_labels_of_one_text_are_counted(unregister):
    rows = [dict(t=f"text {i % 50}", y=int(i % 2 == (i >= 90))) for i in range(100)]

    @w2s.register_task("answers", lambda: {"all": rows}, max_len=16)
    def answers(row):
        """Is y one?"""
        yield Example((row["t"],), row["y"])

    counts = w2s.load_task("answers").counts
    assert counts["dropped with repeated texts"] == 50
    assert counts["of these, with another label"] == 10


def test_a_text_of_both_official_splits_counts_as_test():
    shared = [dict(t=f"both {i}", y=i % 2) for i in range(8)]
    rows = {
        "train": [*shared, *[dict(t=f"train {i}", y=i % 2) for i in range(40)]],
        "test": [*shared, *[dict(t=f"test {i}", y=i % 2) for i in range(12)]],
    }

    @w2s.register_task("both", lambda: rows, max_len=8)
    def both(row):
        """Is y one?"""
        yield Example((row["t"],), row["y"])

    task = w2s.load_task("both")
    assert len(task.test) == 20
    assert {row["t"] for row in shared} <= {text for (text,) in task.test.texts}
    trained = [text for split in task.splits[:3] for (text,) in split.texts]
    assert not [text for text in trained if text.startswith("both")]


def test_a_task_made_from_another_has_splits_of_its_own(words):
    other = dataclasses.replace(words, seed=7)
    assert other.student.task is other and other.student.task.seed == 7
    assert words.seed == 0 and words.student.task is words
    assert other.student.ids is words.student.ids


def test_extra_halves_leave_the_halves_as_they_are(words):
    more = w2s.load_task("words", n_train=48, n_val=16, n_test=64, extra_halves=2)
    plain = w2s.load_task("words", n_train=48, n_val=16, n_test=64)
    for one, other in zip(plain.splits, more.splits):
        assert one.ids.tolist() == other.ids.tolist()
    groups = [set(split.group) for split in more.all_splits]
    assert [len(split) for split in more.extra_halves] == [48, 48]
    assert sum(map(len, groups)) == len(set.union(*groups))


def test_a_task_shows_itself_shortly(words):
    sizes = "supervisor 96, student 96, validation 32, test 64"
    assert repr(words) == f"Task(words, seed 0: {sizes})"
    assert "<table" in words._repr_html_() and "words, seed 0" in words._repr_html_()


def register_rows(rows):
    """Registers (text, label, key) rows as the task `answers`."""

    @w2s.register_task("answers", lambda: {"all": rows}, max_len=16)
    def answers(row):
        """Is it so?"""
        text, label, key = row
        yield Example((text,), label, (key,))


@pytest.mark.parametrize(
    "rows, says",
    [
        (
            [(f"text {i}", int(i < 3), None) for i in range(63)],
            "each of its splits needs 2. Of its 63 examples 3 are of class 1",
        ),
        (
            [(f"text {i}", 1, None) for i in range(60)],
            "has 0 balanced examples for training and validation and 0 for test; each of its "
            "splits needs 2. Of its 60 examples 0 are of class 0",
        ),
        (
            [(f"text {i}", i % 2, "site" if i else None) for i in range(60)],
            "Of its 60 examples 59 are tied into one group, mostly by the key 'site'; no group "
            "stands in two splits",
        ),
        (
            [(f"text {i}", i % 2, f"half {i // 30}") for i in range(60)],
            "whole groups leave 0 examples for supervisor where 2 are needed. Of its 60 examples "
            "30 are tied into one group",
        ),
        (
            [(f"text {i}", i % 2, ("half", i // 30)) for i in range(60)],
            "30 are tied into one group, mostly by the key ('half', 0); no group stands in two",
        ),
        ([(f"text {i}", i % 2, None) for i in range(4)], "each of its splits needs 2"),
        ([], "task 'answers' has no examples: no rows"),
    ],
)
def test_what_keeps_a_small_set_from_four_splits_is_said(rows, says, unregister):
    register_rows(rows)
    with pytest.raises(ValueError) as error:
        w2s.load_task("answers")
    assert says in str(error.value) and "-2" not in str(error.value)


@pytest.mark.parametrize("seed", range(30))
def test_no_split_of_a_small_set_is_empty_or_unbalanced(seed, unregister):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(8, 80))
    positive = rng.random(n) < rng.choice([0.5, 0.3, 0.1])
    groups = rng.integers(rng.integers(1, n), size=n)
    register_rows([(f"text {i}", int(positive[i]), f"group {groups[i]}") for i in range(n)])
    try:
        task = w2s.load_task("answers", seed=seed)
    except ValueError as error:
        assert "needs 2" in str(error) or "2 are needed" in str(error)
        return
    assert all(len(split) >= 2 and split.hard_label.mean() == 0.5 for split in task.splits)


@pytest.mark.parametrize("seed", range(10))
def test_a_rare_class_is_in_the_test_split_too(seed, unregister):
    rng = np.random.default_rng(seed)
    register_rows([(f"text {seed} {i} {rng.random()}", int(i < 8), None) for i in range(68)])
    try:
        assert len(w2s.load_task("answers").test) >= 2
    except ValueError as error:
        assert "and 0 for test" not in str(error)


def test_a_report_says_what_was_left_out_and_why(unregister):
    rows = [(f"text {i % 50}", int(i % 2 == (i >= 90)), None) for i in range(100)]
    register_rows([*rows, (" ", 1, None), ("<b>bold</b>", 0, None)])
    task = w2s.load_task("answers", n_train=8, n_val=4, n_test=6)
    said = (
        "rows read: 102; examples: 102; dropped without a text: 1; dropped with repeated texts: "
        "50; of these, with another label: 10; left over by balance and size: 25"
    )
    report = task.report()
    for shown in (report.round(2), report[["examples", "groups"]]):
        assert repr(shown).endswith(f"\n{said}")
        assert shown._repr_html_().endswith(f"<p>{said}</p>")
    assert task._repr_html_().endswith(f"<p>{said}</p>")
    assert report.loc["test", "examples"] == 6 and report.attrs["counts"] == task.counts


def test_rows_of_which_no_example_is_made_are_counted(unregister):
    @w2s.register_task("answers", lambda: {"all": [{"i": i} for i in range(60)]}, max_len=16)
    def answers(row):
        """Is i odd? Only of the first 40."""
        return [Example((f"text {row['i']}",), row["i"] % 2)] if row["i"] < 40 else []

    assert w2s.load_task("answers").counts["rows that gave no example"] == 20


def register_classes(rows, classes=("negative", "neutral", "positive"), **fields):
    """Registers (text, label, key) rows as the task `rated`."""

    @w2s.register_task("rated", lambda: {"all": rows}, max_len=16, classes=classes, **fields)
    def rated(row):
        """How is it rated?"""
        text, label, key = row
        yield Example((text,), label, (key,))


SKEWED = [(f"text {i}", min(2, i % 10 // 3), i // 2) for i in range(600)]  # 30, 30 and 40 %


@pytest.mark.parametrize("seed", range(3))
def test_splits_of_three_classes_have_as_many_of_each_and_whole_groups(seed, unregister):
    register_classes(SKEWED)
    task = w2s.load_task("rated", seed=seed, n_train=99, n_val=30, n_test=60, extra_halves=1)
    for split, n in zip(task.all_splits, (99, 99, 30, 60, 99), strict=True):
        assert np.bincount(split.hard_label).tolist() == [n // 3] * 3
        assert split.classes == ("negative", "neutral", "positive") and split.n_classes == 3
        assert split.chance == pytest.approx(1 / 3) == split.take(range(5)).chance
    groups = [set(split.group) for split in task.all_splits]
    assert sum(map(len, groups)) == len(set.union(*groups))


def test_the_order_of_the_classes_does_not_change_which_examples_are_used(unregister):
    register_classes(SKEWED)
    before = w2s.load_task("rated", n_train=99)
    turned = [(text, (label + 1) % 3, key) for text, label, key in SKEWED]
    register_classes(turned, classes=("positive", "negative", "neutral"))
    after = w2s.load_task("rated", n_train=99)
    for one, other in zip(before.splits, after.splits, strict=True):
        assert one.ids.tolist() == other.ids.tolist()
        assert ((one.hard_label + 1) % 3 == other.hard_label).all()


@pytest.mark.parametrize(
    "sizes, says",
    [
        (dict(n_train=100), "n_train = 100; expected a multiple of 3.*such as 99 or 102$"),
        (dict(n_val=2), "n_val = 2; expected a multiple of 3, .* such as 3 or 6$"),
        (dict(n_test=3.0), "n_test = 3.0; expected a multiple of 3"),
        (dict(n_train=3000), "has 405 balanced examples.*asked for 2 . n_train 3000"),
    ],
)
def test_sizes_of_three_classes_are_multiples_of_three(sizes, says, unregister):
    register_classes(SKEWED)
    with pytest.raises(ValueError, match=says):
        w2s.load_task("rated", **sizes)


def test_a_rare_class_is_named(unregister):
    register_classes([(f"text {i}", int(i > 2) + i % 2 * (i > 2), None) for i in range(60)])
    with pytest.raises(ValueError, match=r"each of its splits needs 3. .* 3 are of class 0 \(neg"):
        w2s.load_task("rated")


@pytest.mark.parametrize("seed", range(3))
def test_classes_as_is_keep_their_shares_in_every_split(seed, unregister):
    register_classes(SKEWED, balance="as is")
    task = w2s.load_task("rated", seed=seed, n_train=101, n_val=50, n_test=70)
    for split, n in zip(task.splits, (101, 101, 50, 70), strict=True):
        shares = np.bincount(split.hard_label) / n
        assert len(split) == n and abs(shares - [0.3, 0.3, 0.4]).max() < 0.03
        assert split.chance == shares.max()
    assert task.counts["classes with the shares of the data"] == 3
    assert "classes with the shares of the data: 3" in repr(task.report())


def test_all_examples_can_be_used_where_classes_keep_their_shares(unregister):
    alone = [(text, label, None) for text, label, _ in SKEWED]
    register_classes(alone, balance="as is")
    task = w2s.load_task("rated")
    n_train, n_test = count_examples("rated")
    assert n_train == 450 and n_test == len(task.test) > 110
    assert len(task.supervisor) == len(task.student)
    assert sum(map(len, task.splits)) - n_test > 440
    two = [(text, int(label > 0), None) for text, label, _ in alone]
    register_classes(two, classes=("low", "high"), balance="as is")
    assert [split.chance for split in w2s.load_task("rated").splits] == pytest.approx(
        [0.7] * 4, abs=0.02
    )


def test_a_class_without_an_example_has_no_share(unregister):
    register_classes([(f"text {i}", i % 2, None) for i in range(60)], balance="as is")
    with pytest.raises(ValueError, match=r"has 0 examples.* 0 are of class 2 \(positive\)"):
        w2s.load_task("rated")


def test_a_report_names_the_shares_of_more_than_two_classes(unregister):
    register_classes(SKEWED)
    task = w2s.load_task("rated", n_train=99, n_val=30, n_test=60)
    columns = ["share of negative", "share of neutral", "share of positive"]
    assert (task.report()[columns].round(6) == round(1 / 3, 6)).all(axis=None)
    assert repr(task.test) == "Split(test, 60 examples, 33% negative, 33% neutral, 33% positive)"
    many = [(f"text {i}", i % 20, None) for i in range(600)]
    register_classes(many, classes=[f"class {i}" for i in range(20)])
    task = w2s.load_task("rated")
    assert task.report()["largest share"].tolist() == pytest.approx([0.05] * 4)
    assert "of 20 classes" in repr(task.test)


def test_parts_by_largest_remainder_add_up_and_follow_the_classes():
    rng = np.random.default_rng(0)
    for _ in range(100):
        weights = rng.integers(0, 9, size=rng.integers(2, 6)) + (np.arange(1) == 0)
        n = int(rng.integers(0, 50))
        parts, exact = apportion(n, weights), n * weights / weights.sum()
        assert (
            parts.sum() == n
            and (np.floor(exact) <= parts).all()
            and (parts <= np.ceil(exact)).all()
        )
    assert apportion(5, np.array([1, 1])).tolist() == [3, 2]  # a tie is the lower class's
    assert (
        apportion(10, np.array([1, 2, 4])).tolist()
        == apportion(10, np.array([4, 2, 1]))[::-1].tolist()
    )
    assert most_of(np.array([7, 3]), np.array([1, 1]), 2) == 6


# of the code before classes were more than two
@pytest.mark.parametrize(
    "name, sizes, fingerprints",
    [
        (
            "movie_snippets",
            {},
            "5223fb2c16293e4e b3424f9d98ff535e 14b0f9c0afc1c670 ccdd39c176290438",
        ),
        (
            "tweet_snippets",
            dict(seed=1, n_train=500, n_val=200, n_test=500),
            "fa9306a0ebbbf2ef d8982337c42cb6a2 081d20a09a9e1759 47616e837cff5be0",
        ),
        (
            "snippet_preferences",
            dict(seed=2, n_train=100, extra_halves=1),
            "8b8d1344b83cf8c4 9c846b1ad09d83e7 d99c7cdced145984 aa7111d5f0b4d183 7b082afdbef3c509",
        ),
    ],
)
def test_splits_of_two_classes_stay_as_they_were(name, sizes, fingerprints):
    task = w2s.load_task(name, **sizes)
    assert " ".join(split.fingerprint for split in task.all_splits) == fingerprints
