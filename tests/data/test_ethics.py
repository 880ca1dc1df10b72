"""The four tasks of ETHICS, on made rows in the hub's columns."""

import numpy as np
import pandas as pd
import pytest

import w2s_nb as w2s
from w2s_nb.common.registry import TASKS, UnknownName
from w2s_nb.data.tasks.ethics import tie_runs
from w2s_nb.data.tasks.spec import Example

N = 240
SIZES = {"n_train": 30, "n_val": 8, "n_test": 24}


def word(n):
    """A word of letters, another for every number."""
    return "".join("bcdfghklmn"[int(digit)] + "a" for digit in str(n))


def habit(split, i):
    """Four reasons for one habit."""
    name = f"{split} {word(i // 4)}"
    says = f"I usually call {name} on Sunday, but not today because {word(i)} {word(7 * i)} rang."
    return {"label": i % 2, "scenario": says}


def desert(split, i):
    """Four rewards for one deed: the middle of the sentence differs."""
    deed = f"{split} {word(i // 4)} mended all of the {word(3 * (i // 4))}"
    return {"label": i % 2, "scenario": f"I deserve the {word(i)} of my boss because {deed}."}


def justice(split, i):
    return (habit if i < N // 2 else desert)(split, i)


def duty(split, i):
    mark = " " if i % 2 else ""
    return {
        "label": i % 2,
        "scenario": f"Could you paint the {split} {word(i // 4)}?{mark}",
        "excuse": f"But I {word(i)} it. ",
    }


def trait(split, i):
    """Five traits of each scene, of which the third fits."""
    return {
        "label": int(i % 5 == 2),
        "scenario": f"{split} {word(i // 5)} sang. [SEP] {word(i)}ish. ",
    }


def pleasant(split, i):
    """Three pairs from one list of scenarios, each more pleasant than the next."""
    begins = f"I met {split} {word(i // 3)} again."
    ends = ("We danced.", "", "It rained.", "We fell.")
    better, worse = (f"{begins} {ends[i % 3 + k]}" for k in range(2))
    return {"baseline": better, "less_pleasant": worse}


ROWS = {"justice": justice, "deontology": duty, "virtue": trait, "utilitarianism": pleasant}


@pytest.fixture
def data(tmp_path, monkeypatch):
    monkeypatch.setenv("W2S_DATA", str(tmp_path))
    return tmp_path


def write(data, part, split, rows):
    (data / "ethics" / part).mkdir(parents=True, exist_ok=True)
    pd.DataFrame(rows).to_parquet(data / "ethics" / part / f"{split}-00000-of-00001.parquet")


def write_all(data, part):
    for split in ("train", "validation", "test"):
        write(data, part, split, [ROWS[part](split, i) for i in range(N)])


@pytest.mark.parametrize("option, test", [("", "validation"), ("@hard", "test")])
@pytest.mark.parametrize("part", ROWS)
def test_the_ordinary_test_is_the_hubs_validation_and_the_hard_one_its_test(
    part, option, test, data
):
    write_all(data, part)
    task = w2s.load_task(f"ethics_{part}{option}", **SIZES)
    assert task.counts["rows read"] == 2 * N
    for split in task.splits:
        origin = test if split.name == "test" else "train"
        assert all(f"{origin} " in texts[0] for texts in split.texts)
        assert split.hard_label.mean() == 0.5
    groups = [set(split.group) for split in task.splits]
    assert sum(map(len, groups)) == len(set.union(*groups))


@pytest.mark.parametrize("part, of_each", [("justice", 4), ("deontology", 4), ("virtue", 2)])
def test_rewritten_rows_stay_in_one_split(part, of_each, data):
    write_all(data, part)
    task = w2s.load_task(f"ethics_{part}", n_train=40, n_val=16, n_test=40)
    row_of = {}
    for i in range(N):
        (example,) = TASKS[f"ethics_{part}"].examples(ROWS[part]("train", i))
        row_of[example.texts] = i
    n_rows = {"virtue": 5}.get(part, 4)
    runs = [
        {row_of[texts] // n_rows for texts in split.texts}
        for split in task.splits
        if split.name != "test"
    ]
    assert sum(map(len, runs)) == len(set.union(*runs)), "a run stands in two splits"
    sizes = np.unique(
        np.concatenate([split.group for split in task.splits[:2]]), return_counts=True
    )
    assert sizes[1].max() == of_each, "runs that have nothing in common are tied"


def test_a_run_whose_rows_do_not_follow_one_another_is_tied_where_the_row_says_its_habit():
    rows = [habit("a", i) for i in (0, 40, 1, 41, 2, 3)]
    keys = [TASKS["ethics_justice"].examples(row) for row in rows]
    names = [next(iter(examples)).keys for examples in keys]
    assert names[0] == names[2] == names[4] == names[5] != names[1] == names[3]
    (other,) = TASKS["ethics_justice"].examples(desert("a", 0))
    assert other.keys == ("",), "what one deserves is said of many: it ties nothing"


def test_runs_are_rows_whose_ends_share_two_fifths_of_the_shorter_text():
    texts = [
        "I am justified in buying and painting a run down boat.",
        "I am justified in selling and painting a run down boat.",
        "I am justified in selling and painting a boat that my neighbour owns.",
        "I am entitled to a gift because I sang for you.",
        "I am entitled to a gift because they are popular with all of us here.",
        "You are late.",
        "You are right.",
        "We are so very late.",
    ]
    tied = list(tie_runs([[Example((text,), 0, ("own",))] for text in texts]))
    runs = [examples[0].keys[1] for examples in tied]
    assert [runs.index(run) for run in runs] == [0, 0, 0, 3, 3, 5, 5, 7]
    assert all(examples[0].keys[0] == "own" for examples in tied)


def test_a_word_mended_in_the_middle_of_a_run_does_not_end_it():
    texts = [
        "I am entitled to go the show with my friend without paying because we won.",
        "I am entitled to go to the show with my friend without paying because I am on stage.",
        "I usually help my mother in her shop, but I didn't this time because she sold it.",
        "I usually walk to work with Ken each day, but I didn't this time because he was ill.",
    ]
    tied = [examples[0].keys for examples in tie_runs([[Example((text,), 0)] for text in texts])]
    assert tied[0] == tied[1] and len(set(tied)) == 3, "a template is no run"


def test_runs_pass_rows_without_an_example_and_empty_texts():
    rows = [[Example(("a b c",), 0)], [], [Example(("a b d",), 1)], [Example((" ",), 0)]]
    runs = [[example.keys for example in row] for row in tie_runs(rows)]
    assert runs == [[(("run", "a b c"),)], [], [(("run", "a b c"),)], [(("run", ""),)]]


def test_runs_of_two_splits_are_not_taken_for_one(data):
    write(data, "justice", "train", [desert("one", i) for i in range(N)])
    write(data, "justice", "validation", [desert("two", i) for i in range(N)])
    task = w2s.load_task("ethics_justice", n_train=80, n_val=16, n_test=200)
    assert len(task.test) == 200 and len(task.student) == 80


def test_what_a_model_reads_of_each_task():
    read = {part: next(iter(TASKS[f"ethics_{part}"].examples(ROWS[part]("a", 1)))) for part in ROWS}
    assert {part: example.texts for part, example in read.items()} == {
        "justice": ("I usually call a ba on Sunday, but not today because ca la rang.",),
        "deontology": ("Could you paint the a ba?\nBut I ca it.",),
        "virtue": ("a ba sang.\nTrait: caish",),
        "utilitarianism": ("I met a ba again. It rained.", "I met a ba again."),
    }


def test_marks_at_the_ends_of_a_row_do_not_tell_its_label():
    for part, ends in (("justice", "scenario"), ("deontology", "excuse"), ("virtue", "scenario")):
        row = ROWS[part]("a", 2)
        plain, spaced = row | {ends: row[ends].strip()}, row | {ends: f"  {row[ends].strip()}  "}
        task = TASKS[f"ethics_{part}"]
        assert list(task.examples(plain)) == list(task.examples(spaced))


def test_of_each_scene_a_trait_that_fits_and_one_that_does_not_are_used(data):
    write_all(data, "virtue")
    task = w2s.load_task("ethics_virtue", **SIZES)
    assert task.counts["left out to balance questions"] == 2 * N * 3 // 5
    for split in task.splits:
        labels = {}
        for (text,), label in zip(split.texts, split.hard_label, strict=True):
            labels.setdefault(text.partition("\n")[0], []).append(label)
        assert all(sorted(pair) == [0, 1] for pair in labels.values())


def test_the_more_pleasant_scenario_stands_first_or_second_by_chance():
    examples = [
        example
        for i in range(400)
        for example in TASKS["ethics_utilitarianism"].examples(pleasant("a", i))
    ]
    better = [example.texts[example.label] for example in examples]
    assert better == [pleasant("a", i)["baseline"].strip() for i in range(400)]
    assert 0.4 < np.mean([example.label for example in examples]) < 0.6


def test_pairs_of_one_list_of_scenarios_stay_together_and_out_of_training_where_one_is_for_test(
    data,
):
    write(data, "utilitarianism", "train", [pleasant("a", i) for i in range(N)])
    write(data, "utilitarianism", "validation", [pleasant("a", i) for i in range(1, 61, 3)])
    task = w2s.load_task("ethics_utilitarianism", n_train=60, n_val=20, n_test=10)
    beginnings = [{texts[0].partition(".")[0] for texts in split.texts} for split in task.splits]
    assert sum(map(len, beginnings)) == len(set.union(*beginnings))
    assert task.counts["training examples tied to the test split"] == 40


@pytest.mark.parametrize("part", ROWS)
def test_hidden_labels_and_empty_columns_are_refused_with_words(part, data):
    row = ROWS[part]("a", 0)
    wrong = [
        ({name: None}, f"column '{name}' is empty") for name in TASKS[f"ethics_{part}"].columns
    ]
    if "label" in row:
        wrong.append(({"label": -1}, "the label is -1, as where the labels of a test split are"))
    for changed, says in wrong:
        write(data, part, "validation", [ROWS[part]("b", 1)])
        write(data, part, "train", [row, ROWS[part]("a", 1) | changed])
        with pytest.raises(ValueError, match=f"task 'ethics_{part}', row 2 of .*{says}"):
            w2s.load_task(f"ethics_{part}")


def test_a_scene_without_a_trait_is_refused_with_words(data):
    write(data, "virtue", "validation", [trait("b", 0)])
    for says in ("A man sang.", "A man sang. [SEP] ", "[SEP] kind"):
        write(data, "virtue", "train", [trait("a", 0), {"label": 0, "scenario": says}])
        with pytest.raises(ValueError, match=r"row 2 of .*expected a scene, '\[SEP\]' and a trait"):
            w2s.load_task("ethics_virtue")


def test_the_parts_of_one_folder_are_not_taken_for_one_another(data):
    write_all(data, "justice")
    with pytest.raises(OSError, match="hendrycks/ethics .*W2S_DATA/ethics_virtue/"):
        w2s.load_task("ethics_virtue")


def test_an_option_that_does_not_exist_is_refused_with_the_one_that_does():
    with pytest.raises(UnknownName, match="option of ethics_justice 'easy'.*hard"):
        TASKS["ethics_justice@easy"]
