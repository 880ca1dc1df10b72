"""Multiple choice from rows in the hub's columns: openbookqa, hellaswag, piqa, social_i_qa, dream,
quail, quartz, and sciq with its passages; on real files where `W2S_DATA` has them.
"""

import itertools
import os

import datasets
import numpy as np
import pandas as pd
import pytest

import w2s_nb as w2s
from w2s_nb.common.registry import TASKS, UnknownName
from w2s_nb.data import sources
from w2s_nb.data.sources import DataUnavailable

ROWS = {  # a row in the hub's columns, and its right answer
    "openbookqa": (
        {
            "id": "7-980",
            "question_stem": "The sun is responsible for",
            "choices": {
                "text": ["puppies learning", "people ageing", "flowers wilting", "plants growing"],
                "label": ["A", "B", "C", "D"],
            },
            "answerKey": "D",
        },
        "plants growing",
    ),
    "hellaswag": (
        {
            "ind": 4,
            "activity_label": "Removing ice from car",
            "ctx_a": "A man clears his car.",
            "ctx_b": "then",
            "ctx": "[header] A man clears his car. [title] Then",
            "endings": [", he eats it.", " he [step] scrapes the windscreen.", "it flies.", "no."],
            "source_id": "activitynet~v_-1IBHYS3L-Y",
            "split": "train",
            "split_type": "indomain",
            "label": "1",
        },
        "he scrapes the windscreen.",
    ),
    "piqa": (
        {"goal": "Boil water.", "sol1": "Put it in a fridge.", "sol2": "Heat it. ", "label": 1},
        "Heat it.",
    ),
    "social_i_qa": (
        {
            "context": "Cameron had a barbecue.",
            "question": "How would Jordan feel?",
            "answerA": "like going home",
            "answerB": "hungry",
            "answerC": "glad",
            "label": "3",
        },
        "glad",
    ),
    "dream": (
        {
            "id": 0,
            "dialogue_id": "5-510",
            "dialogue": ["M: I am tired.", "W: Then sleep."],
            "question": "What should the man do?",
            "choice": ["Sleep.", "Eat.", "Run."],
            "answer": "Sleep.",
        },
        "Sleep.",
    ),
    "quail": (
        {
            "id": "f001_0",
            "context_id": "f001",
            "question_id": "0",
            "domain": "fiction",
            "metadata": {"author": "a", "title": "t", "url": "u"},
            "context": "Rain fell on the town.",
            "question": "What fell?",
            "question_type": "Factual",
            "answers": ["not enough information", "snow", "rain", "stars"],
            "correct_answer_id": 2,
        },
        "rain",
    ),
    "quartz": (
        {
            "id": "QRQA-10385-4",
            "answerKey": "B",
            "choices": {"text": ["longer", "shorter"], "label": ["A", "B"]},
            "para": "A sunscreen with a higher SPF protects longer.",
            "para_id": "QRSent-10385",
            "para_anno": {},
            "question": "With a lower SPF, protection is",
            "question_anno": {},
        },
        "shorter",
    ),
    "sciq@support": (
        {
            "question": "What do plants breathe?",
            "distractor1": "iron",
            "distractor2": "salt",
            "distractor3": "oil",
            "correct_answer": "air",
            "support": "Plants need air.",
        },
        "air",
    ),
}
PASSAGE = {  # the columns that several questions share
    "hellaswag": ("source_id",),
    "social_i_qa": ("context",),
    "dream": ("dialogue",),
    "quail": ("context",),
    "quartz": ("para",),
    "sciq@support": ("support",),
}
SHOWN = {"hellaswag": "ctx", "openbookqa": "question_stem", "piqa": "goal"}


def made(name, **changed):
    return list(TASKS[name].examples(ROWS[name][0] | changed))


def answer_of(example):
    return example.texts[0].rpartition("\nAnswer: ")[2]


@pytest.mark.parametrize("name", ROWS)
def test_a_row_gives_its_right_answer_and_one_wrong(name):
    row, answer = ROWS[name]
    assert set(TASKS[name].columns) <= set(row), "the columns are the hub's"
    right, wrong = made(name)
    assert (right.label, wrong.label) == (1, 0)
    assert answer_of(right) == answer != answer_of(wrong)
    prefix = os.path.commonprefix([right.texts[0], wrong.texts[0]])  # noqa: RUF071 (of letters)
    assert prefix.endswith("Answer: "), "the form of the answer gives the label away"
    assert right.keys == wrong.keys and made(name) == [right, wrong]


@pytest.mark.parametrize("name", ROWS)
def test_every_wrong_answer_is_drawn_for_some_question_and_none_for_most(name):
    column = SHOWN.get(name, "question")
    wrong = [answer_of(made(name, **{column: f"question {i}"})[1]) for i in range(200)]
    counts = pd.Series(wrong).value_counts()
    others = {"quartz": 1, "piqa": 1, "dream": 2, "social_i_qa": 2}.get(name, 3)
    assert len(counts) == others and counts.min() > 0.6 * 200 / others


def test_the_letter_is_looked_up_among_the_labels_and_not_counted():
    choices = {"text": ["one", "two", "three"], "label": ["C", "A", "B"]}
    for name in ("openbookqa", "quartz"):
        for key, answer in (("A", "two"), ("B", "three"), ("C", "one")):
            right, wrong = made(name, choices=choices, answerKey=key)
            assert answer_of(right) == answer
            assert answer_of(wrong) in {"one", "two", "three"} - {answer}
    listed = [{"text": text, "label": label} for text, label in zip(*choices.values(), strict=True)]
    assert made("quartz", choices=listed, answerKey="A") == made(
        "quartz", choices=choices, answerKey="A"
    )


def test_marks_of_the_layout_are_left_out_of_texts_of_hellaswag():
    right, _ = made("hellaswag")
    assert right.texts[0].startswith("Removing ice from car: A man clears his car. Then\n")
    assert "[" not in right.texts[0]


def test_sciq_with_support_shows_the_passage_and_leaves_out_questions_without_one():
    right, _ = made("sciq@support")
    assert right.texts[0].startswith("Passage: Plants need air.\nQuestion: What do plants breathe?")
    assert made("sciq@support", support="") == made("sciq@support", support=None) == []
    assert TASKS["sciq@support"].folders == ("sciq",)
    with pytest.raises(UnknownName, match="option of sciq 'suport'.*support"):
        TASKS["sciq@suport"]


@pytest.mark.parametrize("label", ["1", 1, np.int64(1)])
def test_numbers_of_answers_may_be_texts(label):
    for name, column in (("piqa", "label"), ("hellaswag", "label"), ("quail", "correct_answer_id")):
        assert made(name, **{column: label}) == made(name, **{column: 1})
    assert answer_of(made("social_i_qa", label=label)[0]) == "like going home"


HIDDEN = "as where the labels of a test split are hidden; expected"


@pytest.mark.parametrize(
    "name, changed, says",
    [
        ("hellaswag", {"label": ""}, f"column 'label' is '', {HIDDEN} a number from 0 to 3"),
        ("piqa", {"label": -1}, f"column 'label' is -1, {HIDDEN} a number from 0 to 1"),
        ("social_i_qa", {"label": ""}, f"column 'label' is '', {HIDDEN} a number from 1 to 3"),
        ("social_i_qa", {"label": "0"}, "column 'label' is '0'; expected a number from 1 to 3"),
        ("openbookqa", {"answerKey": ""}, f"column 'answerKey' is '', {HIDDEN} one of the letters"),
        ("quartz", {"answerKey": "C"}, "'C'; expected one of the letters of its 2 choices, A or B"),
        ("quartz", {"choices": "A or B"}, "column 'choices' is 'A or B'; expected a list of texts"),
        ("quail", {"correct_answer_id": 4}, "'correct_answer_id' is 4; expected a number from 0"),
        ("quail", {"answers": ["a", None]}, "one of column 'answers' is None; expected a text"),
        ("dream", {"answer": "Swim."}, "column 'answer' is 'Swim.'; expected one of the texts of"),
        ("dream", {"dialogue": "M: No."}, "'dialogue' is 'M: No.'; expected a list of texts"),
        ("piqa", {"sol2": None}, "column 'sol2' is empty (None)"),
        ("hellaswag", {"endings": None}, "column 'endings' is empty (None)"),
    ],
)
@pytest.mark.filterwarnings("ignore:.*local files have the split")
def test_what_cannot_be_read_is_said_in_one_line_with_its_row(
    name, changed, says, tmp_path, monkeypatch
):
    monkeypatch.setenv("W2S_DATA", str(tmp_path))
    (tmp_path / name).mkdir()
    rows = [ROWS[name][0] | changed]
    split = TASKS[name].source.train
    pd.DataFrame(rows).to_json(tmp_path / name / f"{split}.jsonl", orient="records", lines=True)
    with pytest.raises(ValueError) as error:
        w2s.load_task(name)
    text = str(error.value)
    assert text.startswith(f"task '{name}', row 1 of {name}/{split}.jsonl: ")
    assert says in text and "\n" not in text


def test_a_question_whose_right_answer_is_blank_gives_no_example():
    assert made("piqa", sol2=" ") == made("quail", answers=["a", "b", "", "c"]) == []


def write_rows(folder, name):
    """Writes rows in the hub's columns to parquet, three questions to a passage, 60 for training
    and 30 for test.
    """
    spec, (row, _) = TASKS[name], ROWS[name]
    of_passage = PASSAGE.get(name, ())
    numbers = itertools.count()
    for split, n in ((spec.source.train, 60), (spec.source.test, 30)):
        rows = []
        for i in itertools.islice(numbers, n):
            changed = {SHOWN.get(name, "question"): f"question {i}"}
            for column in of_passage:
                passage = f"passage {i // 3}"
                changed[column] = [passage] if isinstance(row[column], list) else passage
            rows.append({k: v for k, v in (row | changed).items() if v != {}})
        datasets.Dataset.from_list(rows).to_parquet(folder / f"{split}.parquet")


@pytest.mark.parametrize("name", ROWS)
def test_a_task_is_balanced_by_question_and_keeps_passages_together(name, tmp_path, monkeypatch):
    monkeypatch.setenv("W2S_DATA", str(tmp_path))
    folder = tmp_path / TASKS[name].folders[-1]
    folder.mkdir()
    write_rows(folder, name)
    task = w2s.load_task(name, n_train=24, n_val=12, n_test=60)
    assert task.counts["rows read"] == 90 and task.counts["examples"] == 180
    assert not task.counts.get("rows that gave no example")
    owner = {}
    for split in task.splits:
        questions = {}
        for (text,), label in zip(split.texts, split.hard_label, strict=True):
            number = int(text.partition("question ")[2].split()[0])
            assert (number >= 60) == (split.name == "test")
            questions.setdefault(number, []).append(label)
        assert all(sorted(labels) == [0, 1] for labels in questions.values())
        for number in questions:
            together = number // 3 if name in PASSAGE else number
            assert owner.setdefault(together, split.name) == split.name


def test_parts_of_the_hub_are_read_from_a_folder_or_config_of_their_name(tmp_path, monkeypatch):
    """A card that names several configs stands beside, as in allenai/openbookqa."""
    whole = tmp_path / "openbookqa"
    for part in ("additional", "main"):
        (whole / part).mkdir(parents=True)
        write_rows(whole / part, "openbookqa")
    pd.DataFrame([{"fact": "f"}]).to_parquet(whole / "additional" / "train.parquet")
    monkeypatch.setenv("W2S_DATA", str(tmp_path))
    assert w2s.load_task("openbookqa").counts["rows read"] == 90
    configs = "".join(
        f"- config_name: {part}\n  data_files:\n  - split: train\n    path: {part}/train.parquet\n"
        for part in ("additional", "main")
    )
    (whole / "README.md").write_text(f"---\nconfigs:\n{configs}---\n")
    rows = datasets.load_dataset(str(whole), data_dir="main", split="train")
    assert len(rows) == 60 and "question_stem" in rows.column_names


def test_social_i_qa_and_dream_are_read_at_commits_without_a_script(monkeypatch):
    asked = []

    def load_dataset(id, *, split, streaming, revision, data_dir):
        asked.append((id, revision, data_dir))
        return [ROWS[name][0]]

    monkeypatch.delenv("W2S_DATA", raising=False)
    monkeypatch.setattr("datasets.load_dataset", load_dataset)
    for name in ("social_i_qa", "dream", "hellaswag", "quartz", "openbookqa"):
        sources.rows_of(TASKS[name])
    assert all(len(revision) == 40 for _, revision, _ in asked)
    assert {(id, part) for id, _, part in asked if part} == {("allenai/openbookqa", "main")}


def dialogue(*replies, opening="q"):
    turns = [f"\n\nHuman: {opening}"]
    for reply in replies:
        turns += [f"\n\nAssistant: {reply}", "\n\nHuman: and then?"]
    return "".join(turns[:-1])


def test_single_turns_of_hh_are_an_option_with_a_folder_of_their_own(tmp_path, monkeypatch):
    for kind, parts in (("helpful", 3), ("harmless", 1)):
        spec = TASKS[f"anthropic_hh@{kind}-single"]
        assert len(spec.source.parts) == parts and spec.arity == 2
        assert all(part.startswith(kind) for part in spec.source.parts)
        once = {"chosen": dialogue("good"), "rejected": dialogue("bad")}
        twice = {"chosen": dialogue("a", "good"), "rejected": dialogue("a", "bad")}
        assert list(spec.examples(once)) == list(TASKS["anthropic_hh"].examples(once))
        plays_on = {"chosen": dialogue("good"), "rejected": dialogue("a\n\nAssistant: bad")}
        assert list(spec.examples(twice)) == []
        assert len(list(spec.examples(plays_on))) == 1
    with pytest.raises(UnknownName, match="part of anthropic_hh 'single'.*helpful-single"):
        TASKS["anthropic_hh@single"]
    monkeypatch.setenv("W2S_DATA", str(tmp_path))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    folder = tmp_path / "anthropic_hh"
    for part, n in (("harmless-base", 30), ("helpful-single", 60)):
        (folder / part).mkdir(parents=True)
        for split in ("train", "test"):
            asked = [f"{part} {split} {i}" for i in range(n)]
            rows = [
                {name: dialogue(name, opening=opening) for name in ("chosen", "rejected")}
                for opening in asked
            ]
            pd.DataFrame(rows).to_json(
                folder / part / f"{split}.jsonl", orient="records", lines=True
            )
    assert w2s.load_task("anthropic_hh@helpful-single").counts["rows read"] == 120


@pytest.mark.parametrize("name", ["openbookqa", "anthropic_hh@helpful-single", "sciq@support"])
@pytest.mark.filterwarnings("ignore:.*local files have the split")
def test_real_files_are_balanced_and_disjoint(name, real_data):
    try:
        task = w2s.load_task(name, n_train=200, n_val=50, n_test=200)
    except DataUnavailable:
        pytest.skip("no such files")
    groups = [set(split.group) for split in task.splits]
    assert all(split.hard_label.mean() == 0.5 for split in task.splits)
    assert sum(map(len, groups)) == len(set.union(*groups))
