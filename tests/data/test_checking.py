"""Every example is checked on its way in: one line names the row, the field, what was given."""

import numpy as np
import pytest

import w2s_nb as w2s
from w2s_nb.common.registry import TASKS

GOOD = [{"text": f"text {i}", "label": i % 2, "group": f"author {i}"} for i in range(40)]
SIZES = {"n_train": 8, "n_val": 4, "n_test": 6}


@pytest.fixture
def load():
    """Returns a function that loads a task of 40 rows whose third is as given."""

    def load_with(row, formatter=None, **fields):
        rows = [*GOOD[:2], GOOD[2] | row, *GOOD[3:]]

        def mine(row):
            """Is it so?"""
            yield w2s.Example((row["text"],), row["label"], (row["group"],))

        w2s.register_task("mine", lambda: {"all": rows}, max_len=8, **fields)(formatter or mine)
        return w2s.load_task("mine", **SIZES)

    yield load_with
    TASKS._entries.pop("mine", None)


def message_of(error):
    text = str(error.value)
    assert text.startswith("task 'mine', row 3") and "\n" not in text
    return text


@pytest.mark.parametrize(
    "label, says",
    [
        (2, "the label is 2; expected 0 or 1"),
        (-1, "the label is -1, as where the labels of a test split are hidden; expected 0 or 1"),
        ("1", "the label is '1', a text; expected the number 0 or 1"),
        ("good", "the label is 'good', a text; expected the number 0 or 1"),
        (0.5, "the label is 0.5; expected 0 or 1"),
        (None, "the label is missing (None); expected 0 or 1"),
        (float("nan"), "the label is missing (nan); expected 0 or 1"),
        ([0, 1], "the label is [0, 1]; expected 0 or 1"),
    ],
)
def test_a_label_that_is_no_class_is_refused_with_its_row_and_text(load, label, says):
    with pytest.raises(ValueError) as error:
        load({"label": label})
    assert message_of(error) == f"task 'mine', row 3, text 'text 2': {says}"


@pytest.mark.parametrize("kind", [float, bool, np.int64, np.bool_, np.float32])
def test_numbers_that_mean_a_class_are_taken_for_it(load, kind):
    usual = load({})

    def mine(row):
        """Is it so?"""
        yield w2s.Example((row["text"],), kind(row["label"]), (row["group"],))

    task = load({}, mine)
    assert [split.fingerprint for split in task.splits] == [s.fingerprint for s in usual.splits]
    assert all(split.hard_label.dtype == np.int64 for split in task.splits)


@pytest.mark.parametrize(
    "text, says",
    [
        (None, "a text is None, a NoneType; expected a str, none is missing"),
        (float("nan"), "a text is nan, a float; expected a str, none is missing"),
        (5, "a text is 5, a int; expected a str"),
        (
            [{"role": "user", "content": "Why?"}],
            "a text is [{'role': 'user', 'content': 'Why?'}], a list; expected a str; join its "
            "messages into one",
        ),
    ],
)
def test_a_text_that_is_none_is_refused_with_its_row(load, text, says):
    with pytest.raises(TypeError) as error:
        load({"text": text})
    assert message_of(error) == f"task 'mine', row 3: {says}"


@pytest.mark.parametrize(
    "make, kind, says",
    [
        (
            lambda row: [w2s.Example((row["text"]), row["label"])],
            TypeError,
            "texts is 'text 0'; expected a tuple, (text,), with its comma",
        ),
        (
            lambda row: [w2s.Example((row["text"],), row["label"], (row["group"]))],
            TypeError,
            "keys is 'author 0'; expected a tuple of names, such as (author,), with its comma",
        ),
        (
            lambda row: [w2s.Example((row["text"],), row["label"], ({"a": 1},))],
            TypeError,
            "a key is {'a': 1}; expected a name, or a pair (kind, name)",
        ),
        (
            lambda row: [w2s.Example((row["text"], "b"), row["label"])],
            ValueError,
            "2 texts, the task's arity is 1; expected (text,), with its comma",
        ),
        (
            lambda row: w2s.Example((row["text"],), row["label"]),
            ValueError,
            "expected `yield Example(...)`, or a list of examples, empty where the row is left out",
        ),
        (lambda row: None, ValueError, "the formatter returned None; expected `yield Example("),
        (
            lambda row: [(row["text"], row["label"])],
            TypeError,
            "the formatter gave ('text 0', 0); expected Example(texts, label)",
        ),
        (
            lambda row: [w2s.Example((row["text"],), 0, answer=" yes")],
            ValueError,
            "the answer is ' yes', max_answer of the task 0; expected both, or neither",
        ),
    ],
)
def test_a_field_of_another_form_is_refused_with_the_form(load, make, kind, says):
    with pytest.raises(kind) as error:
        load({}, make)
    assert str(error.value).startswith("task 'mine', row 1") and says in str(error.value)


def test_an_answered_task_needs_answers(load):
    with pytest.raises(ValueError, match="row 1: the answer is '', max_answer of the task 2; exp"):
        load({}, lambda row: [w2s.Example((row["text"],), 0)], max_answer=2)


@pytest.mark.parametrize(
    "make, says",
    [
        (lambda row: [w2s.Example((row["review"],), 0)], "no column 'review' in text, label, gr"),
        (
            lambda row: [w2s.Example((row["text"],), int(row["label"] + "x"))],
            "fails: TypeError: unsupported operand type(s) for +: 'int' and 'str'; the row: text "
            "'text 0', label 0, group 'author 0'",
        ),
    ],
)
def test_a_formatter_that_fails_names_the_row_and_what_stands_in_it(load, make, says):
    with pytest.raises(ValueError) as error:
        load({}, make)
    assert str(error.value).startswith("task 'mine', row 1: ") and says in str(error.value)
    assert error.value.__cause__ is not None


@pytest.mark.parametrize(
    "make, says",
    [
        (lambda row: w2s.comparison(None, row["text"]), "the chosen text is None; expected a text"),
        (
            lambda row: w2s.question_answer("Why?", None, ["a"]),
            "the right answer is None; expected a text",
        ),
        (
            lambda row: w2s.question_answer("Why?", "so", "abc"),
            "the wrong answers are 'abc', one text; expected a list",
        ),
        (lambda row: (next(iter([])) for _ in "a"), "fails: RuntimeError: generator raised"),
        (lambda row: [w2s.Example((f"\ud83d {row}",), 0)], "has '\\ud83d', half of a character"),
        (lambda row: [w2s.Example(("a",), 0, question=["a"])], "the question is ['a']; expected"),
    ],
)
def test_helpers_and_texts_that_cannot_be_stored_are_refused_with_the_row(load, make, says):
    with pytest.raises((ValueError, TypeError)) as error:
        load({}, make)
    assert str(error.value).startswith("task 'mine', row 1: ") and says in str(error.value)


def test_a_source_that_fails_says_of_which_task(load):
    for source in (lambda split: [], lambda: {}["train"]):
        w2s.register_task("mine", source, max_len=8)(lambda row: [])
        with pytest.raises(ValueError, match="task 'mine': its source fails: (Type|Key)Error: "):
            w2s.load_task("mine")


def test_a_source_that_breaks_off_says_after_which_row(load):
    def rows():
        yield from GOOD[:3]
        raise UnicodeDecodeError("utf-8", b"\xe9", 0, 1, "invalid byte")

    w2s.register_task("mine", lambda: {"train": rows()}, max_len=8)(lambda row: [])
    with pytest.raises(ValueError, match="task 'mine': after 3 rows its source fails: Unicode"):
        w2s.load_task("mine")


def test_a_pair_of_one_text_twice_is_left_out_and_counted(load):
    def mine(row):
        """Is it so?"""
        second = row["text"] if row["text"] < "text 2" else f"other {row['text']}"
        yield w2s.Example((row["text"], second), row["label"])

    task = load({}, mine, arity=2)
    with pytest.raises(ValueError, match="40 are tied into one group, mostly by the text 'same';"):
        load({}, lambda row: [w2s.Example((row["text"], "same"), row["label"])], arity=2)
    assert task.counts["dropped, as both texts are one"] == 12
    assert all(one != other for split in task.splits for one, other in split.texts)


@pytest.mark.parametrize(
    "fields, says",
    [
        ({"max_len": 0}, "task 'mine': max_len = 0; expected a whole number from 1"),
        ({"arity": 3}, "task 'mine': arity = 3; expected 1 or 2 texts per example"),
        ({"colums": ("a",)}, "unknown field of task 'mine' 'colums'. Near: columns"),
        ({"columns": "text"}, "columns = 'text'; expected a tuple of names"),
        ({"may_be_empty": ("a",)}, "may_be_empty names ['a'], which are no columns"),
        ({"hyperparameters": 3}, "hyperparameters = 3; expected a dict"),
        ({"max_answer": -1}, "max_answer = -1; expected a whole number from 0"),
        ({"prompt": "Is it {0}?"}, "prompt = 'Is it {0}?'; expected Prompt(template, words)"),
        ({"prompt": w2s.Prompt("Is it so?", ("no", "yes"))}, "'Is it so?'; expected {0} where"),
        ({"prompt": w2s.Prompt("{text}?", ("no", "yes"))}, "'{text}?'; expected {0} where"),
        (
            {"arity": 2, "prompt": w2s.Prompt("{0}?", ("A", "B"))},
            "'{0}?'; expected {0} and {1} where the text goes",
        ),
        (
            {"prompt": w2s.Prompt("{0}", ("yes", "yes"))},
            "words are ('yes', 'yes'); expected 2 that",
        ),
        (
            {"prompt": w2s.Prompt("{0}", ("no", "yes")), "classes": ("a", "b", "c")},
            "words are ('no', 'yes'); expected 3 that differ, one per class",
        ),
        ({"classes": ("a",)}, "classes = ('a',); expected at least two different names"),
        ({"classes": ("a", "a", "b")}, "expected at least two different names"),
        ({"classes": "abc"}, "classes = 'abc'; expected at least two different names"),
        ({"classes": ("a", "b", "c"), "arity": 2}, "3 classes of comparisons; expected two"),
        ({"classes": ("a", "b"), "max_answer": 3}, "answered by generating; expected none"),
        (
            {"classes": ("a", "b", "c"), "cpu_sizes": (90, 30, 100)},
            "cpu_sizes = (90, 30, 100); expected three multiples of 3, the number of classes",
        ),
        ({"balance": "none"}, "balance = 'none'; expected 'equal' or 'as is'"),
        ({"balance": "as is", "arity": 2}, "balance = 'as is'; expected 'equal' of comparisons"),
    ],
)
def test_what_no_task_can_have_is_refused_when_it_is_registered(fields, says):
    with pytest.raises(ValueError) as error:
        w2s.register_task("mine", {"all": GOOD}, **{"max_len": 8} | fields)
    assert says in str(error.value)


def test_rows_are_counted_within_their_split(load):
    rows = {"train": GOOD[:20], "test": [*GOOD[20:30], GOOD[30] | {"label": 7}]}

    @w2s.register_task("mine", lambda: rows, max_len=8)
    def mine(row):
        """Is it so?"""
        yield w2s.Example((row["text"],), row["label"])

    with pytest.raises(ValueError, match="row 11 of test, text 'text 30': the label is 7; exp"):
        w2s.load_task("mine")


def test_texts_keys_and_themes_may_be_lists(load):
    def mine(row):
        """Is it so?"""
        return [w2s.Example([row["text"]], row["label"], [row["group"]])]

    usual = load({})
    assert [s.ids.tolist() for s in load({}, mine).splits] == [s.ids.tolist() for s in usual.splits]


def test_a_key_that_reads_like_a_text_ties_nothing(load):
    """Names of functions are keys of some examples and texts of others."""

    def mine(row):
        """Is it so?"""
        yield w2s.Example((row["text"],), row["label"], (f"text {int(row['text'][5:]) // 2}",))

    task = load({}, mine)
    groups = np.concatenate([split.group for split in task.splits])
    assert np.unique(groups, return_counts=True)[1].max() == 2


def test_a_pair_of_kind_and_name_ties_only_its_kind(load):
    def mine(row):
        """Is it so?"""
        i = int(row["text"][5:])
        keys = (("author", i // 2), ("place", 0 if i == 39 else None))
        yield w2s.Example((row["text"],), row["label"], keys)

    task = load({}, mine)
    groups = np.concatenate([split.group for split in task.splits])
    assert np.unique(groups, return_counts=True)[1].max() == 2
    assert len(groups) == 26
