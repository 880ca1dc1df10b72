"""Tasks of real code, on made rows in the hubs' columns."""

import json

import numpy as np
import pandas as pd
import pytest

import w2s_nb as w2s
from w2s_nb.code_safety import real_code
from w2s_nb.common.registry import TASKS, UnknownName
from w2s_nb.data.sources import rows_of

BEFORE = """def find(name):
    db = connect()
    db.execute("select * from t where n = '%s'" % name)
    return db.fetch()"""
AFTER = BEFORE.replace("= '%s'\" % name", '= ?", [name]')


def fix(repository=0, number=0, ending="py"):
    return {
        "func_name": f"find{number}",
        "func_src_before": BEFORE.replace("find", f"find{number}"),
        "func_src_after": AFTER.replace("find", f"find{number}"),
        "commit_link": f"github.com/someone/project{repository}/commit/{number:040x}",
        "file_name": f"a/b.{ending}",
        "vul_type": "cwe-089",
    }


def made(name, row):
    return list(TASKS[name].examples(row))


@pytest.fixture
def data(tmp_path, monkeypatch):
    monkeypatch.setenv("W2S_DATA", str(tmp_path))
    return tmp_path


def write(folder, split, rows):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{split}.jsonl").write_text("\n".join(map(json.dumps, rows)))


def test_the_version_before_a_fix_is_the_vulnerable_one():
    safe, vulnerable = made("sven", fix())
    assert (safe.label, vulnerable.label) == (0, 1)
    assert "[name]" in safe.texts[0] and "% name" in vulnerable.texts[0]
    assert TASKS["sven"].classes == ("safe", "vulnerable")
    assert safe.themes == ("cwe-089",) and safe.difficulty == 4
    assert safe.keys == vulnerable.keys == ("github.com/someone/project0",)


def test_functions_in_c_are_an_option():
    assert made("sven", fix(ending="c")) == [] and made("sven@c", fix()) == []
    assert len(made("sven@c", fix(ending="cpp"))) == 2


@pytest.mark.parametrize("option", ["pairs", "diffs"])
def test_of_a_pair_the_mended_version_is_the_safe_one(option):
    rows = [fix(number=n) for n in range(60)]
    examples = [made(f"sven@{option}", row)[0] for row in rows]
    assert all("[name]" in e.texts[e.label] and "% name" in e.texts[1 - e.label] for e in examples)
    assert 15 < sum(e.label for e in examples) < 45, "the order is not drawn"
    assert TASKS[f"sven@{option}"].arity == 2


def test_a_diff_window_shows_the_change_and_three_lines_around_it():
    lines = [f"line {n}" for n in range(30)]
    changed = [*lines[:10], "other", *lines[11:25], "new", *lines[25:]]
    before, after = real_code.windows_of_change("\n".join(lines), "\n".join(changed))
    assert before.split("\n") == ["...", *lines[7:14], "...", *lines[22:28], "..."]
    assert after.split("\n") == [
        *("...", *lines[7:10], "other", *lines[11:14], "..."),
        *(*lines[22:25], "new", *lines[25:28], "..."),
    ]


def test_a_diff_window_of_a_short_text_is_the_text():
    assert real_code.windows_of_change("a\nb", "a\nc") == ("a\nb", "a\nc")


def test_both_splits_are_joined_and_a_repository_stays_in_one_part(data):
    rows = [fix(repository=n // 2, number=n) for n in range(100)]
    write(data / "sven", "train", rows[:90])
    write(data / "sven", "validation", rows[90:])
    task = w2s.load_task("sven", n_train=30, n_val=10, n_test=30)
    assert task.counts["rows read"] == 100
    parts = (task.supervisor, task.student, task.validation, task.test)
    seen = [set(part.group) for part in parts]
    assert sum(map(len, seen)) == len(set().union(*seen))
    assert all(np.mean(part.hard_label) == 0.5 for part in parts)
    pairs = w2s.load_task("sven@pairs", n_train=20, n_val=6, n_test=12)
    assert len(pairs.test.texts[0]) == 2


def test_a_folder_as_the_hub_has_it_is_read(data):
    folder = data / "sven" / "data"
    folder.mkdir(parents=True)
    for split, numbers in (("train", range(40)), ("val", range(40, 50))):
        pd.DataFrame([fix(n, n) for n in numbers]).to_parquet(
            folder / f"{split}-00000-of-00001-23ea0a39e451d835.parquet"
        )
    assert len(list(rows_of(TASKS["sven"])["all"])) == 50


def test_joined_splits_and_a_configuration_are_asked_of_the_hub(monkeypatch):
    import datasets

    asked = []
    monkeypatch.delenv("W2S_DATA", raising=False)
    monkeypatch.setattr(
        datasets, "load_dataset", lambda hub, **where: asked.append((hub, where)) or []
    )
    monkeypatch.setattr("w2s_nb.data.sources._newest", lambda hub: "abc")
    assert list(rows_of(TASKS["sven"])) == ["all"]
    assert list(rows_of(TASKS["primevul"])) == ["train", "test"]
    assert [where["split"] for _, where in asked] == ["train+val", "train", "test"]
    assert "name" not in asked[0][1] and asked[1][1]["name"] == "paired"


def test_what_no_option_of_sven_is_is_refused():
    with pytest.raises(UnknownName, match=r"java.*c-diffs"):
        TASKS["sven@java"]


def test_functions_in_c_that_the_files_lack_are_said(data):
    write(data / "sven", "train", [fix(n, n) for n in range(20)])
    with pytest.raises(ValueError, match="sven@c.*no examples"):
        w2s.load_task("sven@c")


COMMANDS = {f"command_{n}": f"echo {n}" for n in range(10)}


@pytest.mark.parametrize("label", [True, False, 1, 0])
def test_ten_commands_stand_below_their_task(label):
    row = {"task_description": "List files. ", "label": label, **COMMANDS}
    (example,) = made("ctrl_z", row)
    assert example.texts[0].startswith("Task: List files.\n\nCommands:\n1. echo 0\n2. echo 1")
    assert example.texts[0].endswith("10. echo 9")
    assert example.label == int(label) and example.keys == ("List files.",)


def problem(solutions, backdoors):
    return {
        "problem_id": 7,
        "question": "Add two numbers.",
        "solutions": [{"code": code, "passes_tests": passes} for code, passes in solutions],
        "backdoors": [
            {"backdoor_code": code, "backdoor_works": works} for code, works in backdoors
        ],
    }


def test_only_solutions_that_pass_and_backdoors_that_work_are_taken():
    row = problem([("bad", False), ("good", True)], [("dud", False), ("hidden", True)])
    honest, hidden = made("apps_backdoors", row)
    assert honest.texts[0].endswith("Program:\ngood") and honest.label == 0
    assert hidden.texts[0].endswith("Program:\nhidden") and hidden.label == 1
    assert honest.keys == hidden.keys
    assert made("apps_backdoors", problem([("bad", False)], [("hidden", True)])) == []
    assert made("apps_backdoors", problem([("good", True)], [("dud", False)])) == []


def test_lists_of_programs_may_be_columns():
    row = problem([("good", True)], [("hidden", True)])
    columns = row | {
        "solutions": {"code": ["good"], "passes_tests": [True]},
        "backdoors": {"backdoor_code": ["hidden"], "backdoor_works": [True]},
    }
    assert made("apps_backdoors", columns) == made("apps_backdoors", row)


@pytest.mark.parametrize("name", ["primevul", "devign"])
@pytest.mark.parametrize("target", [True, 1, False, 0])
def test_functions_of_one_commit_stay_together(name, target):
    row = {"func": "int f(){\r\n}", "target": target, "commit_id": "abc", "cwe": ["CWE-787"]}
    (example,) = made(name, row)
    assert example.label == int(target) and example.keys == ("abc",)
    assert example.texts == ("int f(){\n}",)


@pytest.mark.parametrize(
    "name, row, said",
    [
        ("devign", {"func": None, "target": 1, "commit_id": "a"}, "'func' is None"),
        ("devign", {"func": "f", "target": -1, "commit_id": "a"}, "'target' is -1.*hidden"),
        ("apps_backdoors", problem([], []) | {"solutions": "code"}, "list of programs"),
        ("ctrl_z", {"task_description": "t", "label": 1, **COMMANDS, "command_3": 3}, "command_3"),
    ],
    ids=["no function", "hidden label", "no list", "no command"],
)
def test_a_row_that_cannot_be_read_says_why(name, row, said):
    with pytest.raises(ValueError, match=said):
        made(name, row)
