"""Tasks of the paper on sentences and candidate answers, on made rows in the hub's columns."""

import numpy as np
import pandas as pd
import pytest

import w2s_nb as w2s
from w2s_nb.common.registry import TASKS, UnknownName
from w2s_nb.data import sources

N = 240
SIZES = {"n_train": 40, "n_val": 12, "n_test": 40}


def sentence(split, i):
    return {"sentence": f"{split} sentence {i} . ", "label": i % 2, "idx": i}


def tweet(split, i):
    return {"text": f"@{split} tweet {i}", "label": i % 2}


def paraphrase(split, i):
    first, second = f"{split} first {i // 3} .", f"{split} second {i} ."
    return {"id": i, "sentence1": first, "sentence2": second, "label": i % 2}


def sense(split, i):
    """Every sentence but the first stands second in one pair, first in the next; 4 pairs a word."""
    row = {f"sentence{k + 1}": f"{split} use {i + k + i // 4}" for k in range(2)}
    starts = {"start1": 0, "start2": 0, "end1": 4, "end2": 4, "idx": i}
    return row | starts | {"word": f"{split}word{i // 4}", "label": i % 2}


def plausible(split, i):
    """Three questions about each sentence, each with one plausible answer of four."""
    return {
        "sentence": f"{split} story {i // 12}.",
        "question": f"How long did it take, {i // 4 % 3}?",
        "answer": f"{i % 4} hours",
        "label": int(i % 4 == 0),
        "category": 0,
    }


def candidate(split, i):
    """Two questions about each paragraph, with the same words in all; three right of five."""
    return {
        "paragraph": f"{split} paragraph {i // 10}.",
        "question": f"Who? {i // 5 % 2}",
        "answer": f"person {i % 5}",
        "idx": {"paragraph": i // 10, "question": i // 5, "answer": i},
        "label": int(i % 5 < 3),
    }


# task: rows, folder of its files, names of its splits for training and for test
TASKS_HERE = {
    "cola": (sentence, "cola", "train", "validation"),
    "sst2": (sentence, "sst2", "train", "validation"),
    "twitter_sentiment": (tweet, "twitter_sentiment", "train", "test"),
    "paws": (paraphrase, "paws/labeled_final", "train", "test"),
    "wic": (sense, "super_glue/wic", "train", "validation"),
    "mc_taco": (plausible, "mc_taco/default", "test", "validation"),
    "multirc": (candidate, "multirc", "train", "validation"),
}


@pytest.fixture
def data(tmp_path, monkeypatch):
    monkeypatch.setenv("W2S_DATA", str(tmp_path))
    return tmp_path


def write(data, folder, split, rows):
    (data / folder).mkdir(parents=True, exist_ok=True)
    pd.DataFrame(rows).to_parquet(data / folder / f"{split}-00000-of-00001.parquet")


def write_task(data, name):
    """Writes both splits of a task, and for others than these one whose labels are hidden."""
    row_of, folder, train, test = TASKS_HERE[name]
    for split in (train, test):
        write(data, folder, split, [row_of(split, i) for i in range(N)])
    if "test" not in (train, test):
        write(data, folder, "test", [row_of("test", i) | {"label": -1} for i in range(N)])


@pytest.mark.parametrize("name", TASKS_HERE)
def test_rows_in_the_hubs_columns_load_balanced_and_disjoint(name, data):
    write_task(data, name)
    row_of, _, train, test = TASKS_HERE[name]
    task = w2s.load_task(name, **SIZES)
    assert task.counts["rows read"] == 2 * N
    of_text = {}
    for split in (train, test):
        for i in range(N):
            (example,) = TASKS[name].examples(row_of(split, i))
            of_text[example.texts] = (split, row_of(split, i)["label"])
    for split in task.splits:
        origins, labels = zip(*(of_text[texts] for texts in split.texts), strict=True)
        assert set(origins) == {test if split.name == "test" else train}
        assert list(labels) == split.hard_label.tolist() and np.mean(labels) == 0.5
    groups = [set(split.group) for split in task.splits]
    assert sum(map(len, groups)) == len(set.union(*groups))


@pytest.mark.parametrize("name", TASKS_HERE)
def test_hidden_labels_and_nulls_are_refused_with_words(name, data):
    row_of, folder, train, _ = TASKS_HERE[name]
    column = TASKS[name].columns[0]
    for changed, says in (
        ({"label": -1}, "the label is -1, as where the labels of a test split are hidden"),
        ({"label": None}, "column 'label' is empty"),
        ({column: None}, f"column '{column}' is empty (None)"),
    ):
        write(data, folder, train, [row_of(train, 0), row_of(train, 1) | changed])
        with pytest.warns(UserWarning, match=f"have the split '{train}' alone"):
            with pytest.raises(ValueError) as error:
                w2s.load_task(name)
        assert f"task '{name}', row 2 of " in str(error.value) and says in str(error.value)


@pytest.mark.parametrize("name", ["mc_taco", "multirc"])
def test_of_a_question_as_many_right_as_wrong_answers_are_used(name, data):
    write_task(data, name)
    task = w2s.load_task(name, **SIZES)
    passage_in = {}
    for split in task.splits:
        labels = {}
        for (text,), label in zip(split.texts, split.hard_label, strict=True):
            labels.setdefault(text.rpartition("\nAnswer: ")[0], []).append(label)
            passage = text.partition("\nQuestion: ")[0]
            assert passage_in.setdefault(passage, split.name) == split.name
        assert all(np.mean(each) == 0.5 for each in labels.values())
    assert (
        task.counts["left out to balance questions"] == {"mc_taco": N, "multirc": 2 * N // 5}[name]
    )


@pytest.mark.parametrize("name", ["mc_taco", "multirc"])
def test_an_empty_answer_gives_no_example(name):
    row = TASKS_HERE[name][0]("train", 0)
    assert list(TASKS[name].examples(row | {"answer": " "})) == []


@pytest.mark.parametrize("name", ["paws", "wic"])
def test_pairs_with_a_sentence_in_common_stay_in_one_split(name, data):
    write_task(data, name)
    split_of = {}
    for split in w2s.load_task(name, **SIZES).splits:
        for (text,) in split.texts:
            for line in text.splitlines()[:2]:
                shared = line.partition(": ")[2]
                assert split_of.setdefault(shared, split.name) == split.name
    assert len(split_of) > 60


def test_what_a_model_reads_of_each_task():
    read = {name: TASKS[name].examples(each[0]("a", 1)) for name, each in TASKS_HERE.items()}
    assert {name: next(iter(examples)).texts[0] for name, examples in read.items()} == {
        "cola": "a sentence 1 .",
        "sst2": "a sentence 1 .",
        "twitter_sentiment": "@a tweet 1",
        "paws": "Sentence 1: a first 0 .\nSentence 2: a second 1 .",
        "wic": "Sentence 1: a use 1\nSentence 2: a use 2\nWord: aword0",
        "mc_taco": "a story 0.\nQuestion: How long did it take, 0?\nAnswer: 1 hours",
        "multirc": "Passage: a paragraph 0.\nQuestion: Who? 0\nAnswer: person 1",
    }


def test_a_set_in_the_folder_of_its_collection_is_not_taken_for_another(data):
    write(data, "glue/sst2", "train", [sentence("phrase", i) for i in range(N)])
    write(data, "glue/sst2", "validation", [sentence("whole", i) for i in range(N)])
    task = w2s.load_task("sst2", **SIZES)
    assert all(text.startswith("phrase") for (text,) in task.student.texts)
    with pytest.raises(sources.DataUnavailable, match=r"nyu-mll/glue .*W2S_DATA/cola/"):
        w2s.load_task("cola")


def test_tweets_sorted_by_label_are_refused_where_the_first_are_of_one_class(data):
    write(data, "twitter_sentiment", "train", [tweet("a", i) | {"label": 0} for i in range(N)])
    write(data, "twitter_sentiment", "test", [tweet("b", i) for i in range(N)])
    with pytest.raises(ValueError, match="task 'twitter_sentiment' has 0 balanced examples"):
        w2s.load_task("twitter_sentiment")


def anli_rows(split):
    for i in range(90):
        texts = {"premise": f"{split}, passage {i // 3}", "hypothesis": f"claim {i}"}
        yield {"uid": str(i), **texts, "label": i % 3, "reason": ""}


def test_anli_takes_neutral_and_contradiction_as_one_by_option(data):
    for split in ("train_r2", "test_r2", "train_r3", "test_r3"):
        write(data, "anli", split, anli_rows(split))
    sizes = {"n_train": 20, "n_val": 6, "n_test": 30}
    three = w2s.load_task("anli")
    for name, of_round in (("binary", "r2"), ("r2-binary", "r2"), ("r3-binary", "r3")):
        spec = TASKS[f"anli@{name}"]
        task = w2s.load_task(f"anli@{name}", **sizes)
        assert spec.classes == spec.prompt.words == task.test.classes == ("no", "yes")
        assert spec.about == spec.examples.__doc__
        for split in task.splits:
            assert split.hard_label.mean() == 0.5
            texts = [text for (text,) in split.texts]
            assert all(f"_{of_round}, passage" in text for text in texts)
            entailed = [int(int(text.split()[-1]) % 3 == 0) for text in texts]
            assert entailed == split.hard_label.tolist()
        others = [int(t.split()[-1]) % 3 for (t,) in task.test.texts if int(t.split()[-1]) % 3]
        assert set(others) == {1, 2}, "neutral and contradicting claims are the class no"
        same = set(task.test.ids) & set(three.test.ids)
        assert bool(same) == (of_round == "r2"), "one text has one id, whatever is asked of it"
    with pytest.raises(UnknownName, match=r"option of anli 'r4-binary'.*r3, r3-binary"):
        TASKS["anli@r4-binary"]


def test_a_label_of_anli_that_is_none_of_three_is_refused(data):
    rows = [*anli_rows("train_r2")][:2]
    write(data, "anli", "train_r2", [rows[0], rows[1] | {"label": -1}])
    write(data, "anli", "test_r2", rows)
    with pytest.raises(
        ValueError,
        match="row 2 of anli/train_r2.*'label' is -1, as where .* hidden; expected a number",
    ):
        w2s.load_task("anli@binary")
