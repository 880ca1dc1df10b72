"""The page of stored comparisons: what it joins, how it corrects, what it refuses."""

import json
import re

import pytest

from w2s_nb.__main__ import main
from w2s_nb.comparisons.leaderboard import merge, page, write_leaderboard
from w2s_nb.metrics import holm


def row(method, accuracy, p=None, kind="method", **more):
    numbers = {}
    for end, x in {"": 0, "_low": -0.02, "_high": 0.02}.items():
        numbers[f"accuracy{end}"] = None if accuracy is None else accuracy + x
        numbers[f"difference{end}"] = None if accuracy is None else accuracy - 0.7 + x
    return {"method": method, "kind": kind, **numbers, "p": p, "p_holm": p, "seconds": 2.0, **more}


def stored(*rows, weak="small", n_scored=100):
    return {
        "weak": weak,
        "strong": "large",
        "seeds": [0, 1],
        "tasks": {"words": {"n_train": 60, "n_test": 100, "n_scored": n_scored, "data": "d"}},
        "settings": {"supervisor": {}, "others": {"method": "probe"}},
        "about": {each["method"]: f"About {each['method']}." for each in rows},
        "table": [row("naive", 0.7), *rows],
        "by_task": [],
    }


FIRST = stored(row("a", 0.75, 0.02), row("constant", 0.5, kind="free"))
SECOND = stored(row("b", 0.78, 0.03), row("broken", None, error="RuntimeError: no <b>idea</b>"))


def test_comparisons_of_one_setting_share_a_table_and_its_correction():
    rows = merge([FIRST, SECOND])
    assert [each["method"] for each in rows] == ["b", "a", "naive", "constant", "broken"]
    corrected = {each["method"]: each["p_holm"] for each in rows if each["p"] is not None}
    assert corrected == dict(zip(("a", "b"), holm([0.02, 0.03]), strict=True))
    assert FIRST["table"][1]["p_holm"] == 0.02, "what was given is not changed"
    assert page([FIRST, SECOND]).count("<table>") == 1


def test_another_setting_has_a_table_of_its_own():
    assert page([FIRST, stored(row("a", 0.8, 0.01), weak="tiny")]).count("<table>") == 2
    assert page([FIRST, stored(row("a", 0.8, 0.01), n_scored=50)]).count("<table>") == 2


def test_a_method_that_stands_in_two_counts_once_and_the_last_is_shown():
    again = stored(row("a", 0.76, 0.04))
    (of_a,) = [each for each in merge([FIRST, again]) if each["method"] == "a"]
    assert (of_a["accuracy"], of_a["p_holm"]) == (0.76, 0.04)


def test_a_method_of_two_names_counts_once():
    named = stored(row("a", 0.75, 0.02)) | {"canonical": {"naive": "naive", "a": "a@0.5"}}
    again = stored(row("a@.5", 0.76, 0.04)) | {"canonical": {"naive": "naive", "a@.5": "a@0.5"}}
    rows = merge([named, again])
    assert [(each["method"], each["p_holm"]) for each in rows[:1]] == [("a@.5", 0.04)]
    assert len(rows) == 2, "naive, and one method"


def test_texts_of_users_are_escaped_and_nothing_is_fetched():
    evil = stored(row("a", 0.8, 0.5), weak="<script>x</script>")
    text = page([evil, SECOND])
    assert "<script" not in text and "no &lt;b&gt;idea&lt;/b&gt;" in text
    assert not re.search(r"(src|href)=", text)


def test_queries_are_shown_of_sealed_comparisons_alone():
    sealed = stored(row("cheat", 0.71, 0.9, queries=200.0, optimism=0.06), n_scored=50)
    assert "public minus sealed" in page([sealed]) and ">200<" in page([sealed])
    assert "+0.060" in page([sealed])
    sealed["settings"] |= {"queries": 200}
    assert "sealed, 200 queries" in page([sealed]) and "sealed, " not in page([FIRST])
    assert "public minus sealed" not in page([FIRST])


def test_the_command_writes_the_page_beside_the_comparisons(tmp_path, capsys):
    for name, content in (("x", FIRST), ("y", SECOND)):
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    assert main(["leaderboard", str(tmp_path)]) == 0
    written = (tmp_path / "leaderboard.html").read_text()
    assert written == page([FIRST, SECOND]) and "leaderboard.html" in capsys.readouterr().out


@pytest.mark.parametrize(
    "content, message",
    [
        (None, "no stored comparison in "),
        ("{", "x.json is no JSON"),
        ("[]", "x.json is no stored comparison: it has no 'weak'"),
        (json.dumps({"weak": ""}), "it has no 'strong'"),
    ],
)
def test_what_is_no_comparison_is_refused_in_one_line(tmp_path, content, message):
    if content is not None:
        (tmp_path / "x.json").write_text(content)
    with pytest.raises((FileNotFoundError, ValueError), match=message) as error:
        write_leaderboard(tmp_path)
    assert "\n" not in str(error.value)
