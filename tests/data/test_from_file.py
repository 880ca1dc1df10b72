"""A table that somebody brings is a task in one line."""

import pkgutil
import sys

import datasets
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import w2s_nb as w2s
from w2s_nb.common.registry import TASKS
from w2s_nb.data import load, tasks
from w2s_nb.data.sources import DataUnavailable

FRAME = pd.DataFrame({"text": [f"text {i}" for i in range(80)], "label": np.arange(80) % 2})


@pytest.fixture(autouse=True)
def unregister():
    before = set(TASKS)
    yield
    for name in set(TASKS) - before:
        TASKS._entries.pop(name)


def examples_of(task: str) -> dict[str, int]:
    """Returns the label of each example."""
    splits = w2s.load_task(task).splits
    return {i: y for s in splits for i, y in zip(s.ids, s.hard_label.tolist(), strict=True)}


def test_a_file_is_a_task_under_its_name(tmp_path):
    named = FRAME.rename(columns={"text": "Review", "label": "sentiment"})
    named["sentiment"] = named.sentiment.map({0: "bad", 1: "good"})
    named.to_csv(tmp_path / "my.reviews.csv.gz", index=False)
    name = w2s.task_from_file(
        str(tmp_path / "my.reviews.csv.gz"),
        text="review",
        label="sentiment",
        classes=("bad", "good"),
        max_len=7,
    )
    assert name == "my.reviews" and name in TASKS
    task = w2s.load_task(name)
    assert all(
        y == int(t.split()[1]) % 2 for s in task.splits for (t,), y in zip(s.texts, s.hard_label)
    )
    assert task.max_len == 7 and task.counts["rows read"] == 80
    assert TASKS[name].prompt.ask(("so",)) == "so\nSentiment:"
    assert TASKS[name].prompt.words == ("bad", "good")
    assert TASKS[name].about == "Is the sentiment good?"


def test_labels_by_name_are_the_classes_in_the_order_that_is_given():
    names = ("bad", "fair", "good")
    table = FRAME.assign(label=[names[i % 3].upper() for i in range(80)])
    w2s.task_from_file(table, name="mine", classes=names)
    task = w2s.load_task("mine")
    spec = TASKS["mine"]
    assert task.test.classes == spec.classes == spec.prompt.words == names
    assert spec.about == "Which label is it?"
    assert spec.prompt.instruction == "Answer with bad, fair or good."
    for split in task.splits:
        assert np.bincount(split.hard_label).tolist() == [len(split) // 3] * 3
        labels = [int(text.split()[1]) % 3 for (text,) in split.texts]
        assert labels == split.hard_label.tolist()


def test_whole_numbers_from_0_are_as_many_classes_as_there_are():
    w2s.task_from_file(FRAME.assign(label=[f"{i % 4}.0" for i in range(80)]), name="mine")
    assert w2s.load_task("mine").test.classes == ("0", "1", "2", "3")
    assert TASKS["mine"].prompt.instruction == "Which label is it? Answer 0, 1, 2 or 3."


def test_numbers_0_and_1_are_answered_with_no_and_yes():
    w2s.task_from_file(FRAME, name="mine")
    spec = TASKS["mine"]
    assert spec.classes == spec.prompt.words == ("no", "yes")
    assert spec.prompt.instruction == "Is the label 1? Answer yes or no."


@pytest.mark.parametrize(
    "table",
    [
        FRAME,
        FRAME.set_index("label", drop=False).iloc[:, :2],
        FRAME.assign(label=FRAME.label.astype(bool)),
        FRAME.assign(label=FRAME.label.astype(float)),
        FRAME.assign(label=FRAME.label.astype("Int64").astype("category")),
        FRAME.to_dict("records"),
        datasets.Dataset.from_pandas(FRAME),
        datasets.DatasetDict(train=datasets.Dataset.from_pandas(FRAME)),
        (row for row in FRAME.to_dict("records")),
        pa.Table.from_pandas(FRAME),
        datasets.Dataset.from_pandas(FRAME).with_format("torch"),
        datasets.Dataset.from_pandas(FRAME).with_format("pandas"),
        datasets.Dataset.from_pandas(FRAME).to_iterable_dataset(),
    ],
    ids="frame index bool float category rows dataset dict generator arrow tensors frames "
    "stream".split(),
)
def test_every_kind_of_table_gives_the_same_examples(table):
    assert w2s.task_from_file(table, name="mine") == "mine"
    examples = examples_of("mine")
    w2s.task_from_file(FRAME, name="mine")
    assert examples == examples_of("mine")


@pytest.mark.parametrize("with_splits", [True, False])
def test_a_folder_that_save_to_disk_wrote_is_a_table(tmp_path, with_splits):
    data = datasets.Dataset.from_pandas(FRAME)
    if with_splits:
        data = datasets.DatasetDict(train=data.select(range(60)), test=data.select(range(60, 80)))
    data.save_to_disk(tmp_path / "saved")
    assert w2s.task_from_file(str(tmp_path / "saved")) == "saved"
    texts = [text for (text,) in w2s.load_task("saved").test.texts]
    assert all(int(text.split()[1]) >= 60 for text in texts) == with_splits


def test_splits_of_its_own_are_kept_and_unlabelled_ones_not_read():
    test = FRAME.assign(text=FRAME.text + " for test")
    hidden = FRAME.assign(label=-1)
    w2s.task_from_file({"train": FRAME, "test": test, "unsupervised": hidden}, name="mine")
    task = w2s.load_task("mine")
    assert {t for (t,) in task.test.texts} == set(test.text)
    assert not {t for (t,) in task.student.texts} & set(test.text)
    with pytest.raises(
        ValueError, match="mine, row 1 of test: label is -1.*hidden: .*name a split"
    ):
        w2s.task_from_file({"train": FRAME, "test": hidden}, name="mine")
    with pytest.raises(DataUnavailable, match=r"\['train', 'validation'\]; expected one split"):
        w2s.task_from_file({"train": FRAME, "validation": test}, name="mine")


@pytest.mark.filterwarnings("ignore:.*local files have the split")
def test_a_dataset_of_the_hub_is_a_task_by_its_name(tmp_path, monkeypatch):
    (tmp_path / "reviews").mkdir()
    FRAME.to_parquet(tmp_path / "reviews" / "train.parquet")
    monkeypatch.setenv("W2S_DATA", str(tmp_path))
    assert w2s.task_from_file(w2s.Hub("somebody/reviews", None)) == "reviews"
    assert len(w2s.load_task("reviews").test) > 0
    FRAME.assign(label=FRAME.label + 1).to_parquet(tmp_path / "reviews" / "train.parquet")
    says = r"somebody/reviews, row 2 of reviews/train.parquet: label is 2; .*classes=\(1, 2\)"
    with pytest.raises(ValueError, match=says):
        w2s.task_from_file(w2s.Hub("somebody/reviews", None))
    monkeypatch.setenv("W2S_DATA", str(tmp_path / "reviews"))
    with pytest.raises(DataUnavailable, match="somebody/reviews"):
        w2s.task_from_file(w2s.Hub("somebody/reviews", None))


def test_groups_are_one_however_they_are_written():
    train = [float(i // 8) if i else None for i in range(60)]  # a gap makes floats of numbers
    tables = {"train": FRAME[:60].assign(group=train), "test": FRAME[60:].assign(group=[0, 1] * 10)}
    task = w2s.load_task(w2s.task_from_file(tables, name="mine"))
    assert task.counts["training examples tied to the test split"] == 15
    names = [f"Jos\u00e9 {i // 8}" for i in range(80)]
    spoilt = [
        f" {n.upper()}" if i % 2 else n.replace("\u00e9", "e\u0301") for i, n in enumerate(names)
    ]
    task = w2s.load_task(w2s.task_from_file(FRAME.assign(group=spoilt), name="mine"))
    assert len({g for split in task.splits for g in split.group.tolist()}) <= 10


@pytest.mark.parametrize("column", ["group", "author"])
def test_texts_of_one_group_stand_in_one_split(column):
    groups = [f"a{i // 4}" if i % 10 else None for i in range(80)]
    table = FRAME.assign(**{column: groups})
    w2s.task_from_file(table, name="mine", group=None if column == "group" else column)
    task = w2s.load_task("mine")
    split_of = {}
    for split in task.splits:
        for (text,) in split.texts:
            group = groups[int(text.split()[1])]
            if group:
                assert split_of.setdefault(group, split.name) == split.name
    assert task.counts["without a key, as others have"] == 8


@pytest.mark.parametrize(
    "table, options, error, says",
    [
        (FRAME, {}, ValueError, "a DataFrame has no name; say the task's, name='mine'"),
        (FRAME, {"name": "sciq"}, ValueError, "'sciq' is one of the kit's own"),
        (FRAME, {"name": "mate_in_one"}, ValueError, "'mate_in_one' is one of the kit's own"),
        (FRAME, {"name": "a, b"}, ValueError, "task 'a, b': a name has no comma.*='my_reviews'"),
        (FRAME, {"name": "boolq "}, ValueError, "task 'boolq ': a name has no comma.* no white sp"),
        ({"test": FRAME, "train": FRAME[["text"]]}, {"name": "m"}, ValueError, "'train' has no co"),
        (FRAME, {"name": "a@b"}, ValueError, "a name has no @.*name='my_reviews'"),
        (FRAME, {"name": "m", "text": "txt"}, ValueError, "m has no column 'txt', but 'text', 'l"),
        (FRAME, {"name": "m", "group": "who"}, ValueError, "m has no column 'who'"),
        (FRAME, {"name": "m", "label": 1}, TypeError, "label = 1; expected the name of a column"),
        (
            FRAME,
            {"name": "m", "classes": "01"},
            ValueError,
            "classes = '01'; expected at least two",
        ),
        (FRAME.iloc[:0], {"name": "m"}, ValueError, "m has no rows"),
        (
            FRAME.assign(label=1),
            {"name": "m"},
            ValueError,
            "m: label is 1 in all 80 rows; expected",
        ),
        (
            FRAME.assign(label=0),
            {"name": "m"},
            ValueError,
            "m: label is 0 in all 80 rows; expected two classes",
        ),
        (
            FRAME,
            {"name": "m", "classes": (0, 1, 2)},
            ValueError,
            "m: label is 2 in none of 80 rows; expected 3 classes",
        ),
        (
            {"train": FRAME.assign(label=FRAME.index % 3), "test": FRAME},
            {"name": "m"},
            ValueError,
            "m, split 'test': label is 2 in none of 80 rows; expected 3 classes",
        ),
        (
            FRAME.assign(label=[("bad", "good", "fair")[i % 3] for i in range(80)]),
            {"name": "m"},
            ValueError,
            r"row 1: label is 'bad'; .*which class, from .*: classes=\('bad', 'fair', 'good'\)",
        ),
        (
            FRAME.assign(label=[1 + i % 10 for i in range(80)]),
            {"name": "m"},
            ValueError,
            r"row 2: label is 2; .*classes=\(1, 2, 3, 4, 5, 6, 7, 8, 9, 10\)",
        ),
        (
            FRAME.assign(label=[(0, 1, 3)[i % 3] for i in range(80)]),
            {"name": "m"},
            ValueError,
            r"row 3: label is 3; expected 0 or 1; wrong in 26 .*classes=\(0, 1, 3\)",
        ),
        (
            FRAME.assign(text=FRAME.index),
            {"name": "m"},
            ValueError,
            "m, row 1: text is 0; expected",
        ),
        (
            [{"text": "a", "label": 1}, {"text": "b"}],
            {"name": "m"},
            ValueError,
            "row 2 lacks the c",
        ),
        ([{"text": "a", "label": 1}, "b"], {"name": "m"}, ValueError, "row 2: 'b'; expected a map"),
        (FRAME.to_dict("list"), {"name": "m"}, TypeError, "row 1 is 'text 0'.*pandas.DataFrame"),
        ([("text", 1)], {"name": "m"}, TypeError, r"row 1 is \('text', 1\).*pandas.DataFrame"),
    ],
)
def test_a_table_that_is_no_task_is_refused_before_anything_is_registered(
    table, options, error, says
):
    before = {name: TASKS[name] for name in ("sciq", "mate_in_one")}
    with pytest.raises(error, match=says):
        w2s.task_from_file(table, **options)
    assert "m" not in TASKS and before == {name: TASKS[name] for name in before}


def test_a_task_of_ones_own_takes_the_same_tables(tmp_path):
    FRAME.to_csv(tmp_path / "a.csv", index=False, sep=";")
    splits = {"train": FRAME, "test": FRAME.assign(text=FRAME.text + " for test")}
    for source in (
        tmp_path / "a.csv",
        FRAME,
        iter(FRAME.to_dict("records")),
        lambda: FRAME,
        splits,
    ):

        @w2s.register_task("mine", source, max_len=8)
        def mine(row):
            """Is it so?"""
            yield w2s.Example((row["text"],), int(row["label"]))

        tests = [set(w2s.load_task("mine").test.ids)]
        load._read_examples.cache_clear()
        tests.append(set(w2s.load_task("mine").test.ids))  # the rows are there a second time
        assert tests[0] == tests[1] and (len(tests[0]) == 80) == (source is splits)


def test_every_file_in_the_folder_of_tasks_registers_itself():
    files = {file.name for file in pkgutil.iter_modules(tasks.__path__)}
    assert {"boolq", "snippets"} <= files
    assert all(f"{tasks.__name__}.{file}" in sys.modules for file in files)


def test_the_helpers_of_tasks_are_public():
    right, wrong = w2s.question_answer("2 + 2?", "4", ["5", "4", "6"], ("sums",))
    assert (right.texts, right.label) == (("2 + 2?\nAnswer: 4",), 1) and right.keys == ("sums",)
    assert wrong.label == 0 and wrong.texts[0][-1] in "56"
    assert list(w2s.question_answer("2 + 2?", "4", ["4", " "])) == []
    (pair,) = w2s.comparison("better", "worse")
    assert pair.texts[pair.label] == "better"
    assert {w2s.draw(3, str(i)) for i in range(20)} == {0, 1, 2} and w2s.draw(9, "a") == w2s.draw(
        9, "a"
    )
