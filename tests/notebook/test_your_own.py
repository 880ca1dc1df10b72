"""The page's lines on one's own texts give a result: in Python, and in notebook 12_your_own."""

import csv
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

import w2s_nb as w2s
from w2s_nb.common.registry import TASKS
from w2s_nb.data.tasks.snippets import rated

ROOT = Path(__file__).resolve().parents[2]
SMALL = {"SmolLM2-135M@4": "SmolLM2-135M@2", "SmolLM2-135M@16": "SmolLM2-135M@4"}


@pytest.fixture
def texts(tmp_path, monkeypatch):
    """A csv of 300 texts and labels, in the current folder."""
    rows = [
        r for r in rated("amazonReviewSnippets_GroundTruth.txt")["all"] if abs(r["rating"]) >= 1
    ][:300]
    with open(tmp_path / "mine.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["review", "sentiment"])
        writer.writerows([r["text"], "good" if r["rating"] > 0 else "bad"] for r in rows)
    monkeypatch.chdir(tmp_path)
    yield {r["text"] for r in rows}
    TASKS._entries.pop("mine", None)


def test_the_pages_lines_on_ones_own_texts(texts, capsys):
    section = (
        (ROOT / "notebooks" / "pages" / "adding.md").read_text().partition("## Your own texts")[2]
    )
    lines = re.search(r"```python\n(.*?)```", section, re.S)[1]
    assert len(lines.strip().splitlines()) <= 15
    for large, small in SMALL.items():
        assert large in lines
        lines = lines.replace(large, small)
    exec(compile(lines, "adding.md", "exec"), {})
    assert "student, naive" in capsys.readouterr().out
    rows = w2s.all_students()
    assert rows.task.tolist() == ["mine"] and rows.seeds[0] == 3 and 0 < rows.accuracy[0] <= 1
    assert set(text for (text,) in w2s.load_task("mine").test.texts) <= texts


def test_the_pages_command_on_ones_own_texts(texts, tmp_path):
    page = (ROOT / "notebooks" / "pages" / "adding.md").read_text()
    block = re.search(r"^papermill notebooks/12_your_own.ipynb [^`]*", page, re.M)[0]
    command = shlex.split(block.replace("\\\n", " "))
    given = dict(zip(command[4::3], command[5::3]))
    columns = {"columns": "review, sentiment", "classes": "bad, good"}
    sizes = {"n_train": "300", "n_val": "100", "n_test": "200"}
    assert given == {"texts": "mine.csv"} | columns | sizes
    given |= {
        "n_train": "40",
        "n_val": "20",
        "n_test": "40",
        "weak": "SmolLM2-135M@2",
        "between": "SmolLM2-135M@3",
        "strong": "SmolLM2-135M@4",
        "seeds": "1",
        "results": "out.json",
    }
    words = [part for name, value in given.items() for part in ("-p", name, value)]
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "papermill",
            "--no-progress-bar",
            str(ROOT / command[1]),
            command[2],
            *words,
        ],
        env=os.environ | {"PLOTLY_RENDERER": "plotly_mimetype"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    result = json.loads((tmp_path / "out.json").read_text())
    assert [row["arm"] for row in result["table"]][1:3] == ["student, naive", "student, focal"]
    assert {row["task"] for row in result["beside"]} == {
        "mine",
        "movie_snippets",
    }  # the file's name
    assert "rows read: 300; examples: 300" in (tmp_path / "out.ipynb").read_text()
