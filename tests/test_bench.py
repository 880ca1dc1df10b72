"""The bench: what it divides, what it compares, and that a worse ratio is seen."""

import ast
import copy
import importlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.bench import FURTHER, REFERENCE, SUBJECTS, compare, measure
from tests.bench import __main__ as main

FILES = sorted(Path(compare.__file__).parent.glob("*.py"))


def result_of(**values):
    ratios = {name: {"value": v, "margin": 0.1, "least": 0.0} for name, v in values.items()}
    return {"machine": {"cpu": "X", "versions": {"torch": "1"}}, "ratios": ratios, "failed": {}}


@pytest.mark.parametrize("subject", [*SUBJECTS, *FURTHER])
def test_every_subject_can_be_asked_for(subject):
    assert callable(importlib.import_module(f"tests.bench.{subject}").measure)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_functions_of_the_bench_are_short(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef):
            first = node.body[ast.get_docstring(node) is not None :][0]
            assert node.end_lineno - first.lineno < 52, node.name


def test_a_ratio_is_the_median_of_rounds_measured_in_turn():
    made = measure.ratio("a.b", "a over b", [2.0, 9.0, 3.0], [1.0, 3.0, 3.0], margin=0.2)
    assert made.value == 2.0 and made.rounds == [2.0, 3.0, 1.0] and made.margin == 0.2
    with pytest.raises(ValueError):
        measure.ratio("a.b", "a over b", [1.0], [])


@pytest.mark.parametrize(
    "before, after, verdict",
    [
        (1.0, 1.09, compare.EQUAL),
        (1.0, 1.11, compare.WORSE),
        (1.0, 0.89, compare.BETTER),
        (1.0, float("nan"), compare.WORSE),
        (1.0, None, compare.LACKING),
        (None, 1.0, compare.NEW),
    ],
)
def test_a_ratio_is_worse_beyond_its_margin_alone(before, after, verdict):
    before, after = (
        None if value is None else result_of(a=value)["ratios"]["a"] for value in (before, after)
    )
    assert compare.judge(before, after) == verdict


def test_a_new_result_cannot_widen_the_margin_and_small_ratios_have_their_own():
    before = {"value": 0.01, "margin": 0.1, "least": 0.02}
    assert compare.judge(before, {"value": 0.029}) == compare.EQUAL
    assert compare.judge(before, {"value": 0.031, "margin": 9.0, "least": 9.0}) == compare.WORSE


def run_compare(tmp_path, before, after):
    paths = []
    for name, content in (("before", before), ("after", after)):
        paths.append(tmp_path / f"{name}.json")
        paths[-1].write_text(content if isinstance(content, str) else json.dumps(content))
    return compare.main([str(paths[1]), "--reference", str(paths[0])])


def test_the_exit_code_says_whether_something_got_worse(tmp_path, capsys):
    before = result_of(**{"padding.training": 0.06, "startup.help": 0.2})
    assert run_compare(tmp_path, before, before) == 0
    worse = copy.deepcopy(before)
    worse["ratios"]["startup.help"]["value"] = 0.3
    assert run_compare(tmp_path, before, worse) == 1
    printed = capsys.readouterr().out
    (line,) = [line for line in printed.splitlines() if "WORSE" in line]
    assert line.split() == ["startup.help", "0.200", "0.300", "+50.0%", "10%", "WORSE"]


def test_a_subject_that_failed_is_told_and_one_that_was_not_asked_for_is_not(tmp_path, capsys):
    before = result_of(**{"padding.training": 0.06, "startup.help": 0.2})
    part = result_of(**{"padding.training": 0.06})
    assert run_compare(tmp_path, before, part) == 0
    assert "not measured" in capsys.readouterr().out
    table, bad = compare.compare(before, part, ["padding"])
    assert not bad and "startup" not in table
    failed = part | {"failed": {"startup": "a process ended with 1:\nKeyError: 'x'"}}
    assert run_compare(tmp_path, before, failed) == 1
    assert "startup: could not be measured: KeyError: 'x'" in capsys.readouterr().out


def test_another_machine_is_told(tmp_path, capsys):
    before, after = result_of(**{"a.b": 1.0}), result_of(**{"a.b": 1.0})
    after["machine"] = {"cpu": "Y", "versions": {"torch": "2"}}
    assert run_compare(tmp_path, before, after) == 0
    printed = capsys.readouterr().out
    assert "another processor: X then, Y now" in printed and "torch 1 -> 2" in printed


@pytest.mark.parametrize("content", ["no JSON", "[]", '{"ratios": {"a": {"value": 1}}}'])
def test_a_file_that_is_no_result_is_refused_in_one_line(tmp_path, content):
    with pytest.raises(SystemExit, match=r"no result of `make bench`") as refusal:
        run_compare(tmp_path, result_of(a=1.0), content)
    assert "\n" not in str(refusal.value)
    with pytest.raises(SystemExit, match="make bench` writes it"):
        compare.read(tmp_path / "none.json")


def test_a_subject_is_renewed_and_the_others_are_kept(tmp_path, monkeypatch, capsys):
    path = tmp_path / "bench.json"
    old = result_of(**{"padding.training": 0.06, "padding.gone": 0.3, "startup.help": 0.2})
    path.write_text(json.dumps(old))
    new = {"name": "padding.training", "value": 0.05, "margin": 0.0, "least": 0.002}
    monkeypatch.setattr(main, "apart", lambda *_, **__: {"ratios": [dict(new)]})
    monkeypatch.setattr(main, "describe_machine", lambda: {"cpu": "X", "versions": {}})
    assert main.main(["padding", "--out", str(path)]) == 0
    ratios = compare.read(path)["ratios"]
    assert {name: each["value"] for name, each in ratios.items()} == {
        "padding.training": 0.05,
        "startup.help": 0.2,
    }
    assert ratios["padding.training"]["commit"] == main.commit()
    path.write_text("no JSON")
    with pytest.raises(SystemExit, match="no result of `make bench`"):
        main.main(["padding", "--out", str(path)])

    def fail(*_, **__):
        raise RuntimeError("a process ended with 1:\nKeyError: 'x'")

    monkeypatch.setattr(main, "apart", fail)
    path.unlink()
    assert main.main(["padding", "--out", str(path)]) == 1
    assert "padding: could not be measured: KeyError: 'x'" in capsys.readouterr().out


def run_apart(code):
    """Runs `measure.run` on code, in a process of its own: it waits for all children there are."""
    call = (
        "import sys; from tests.bench import measure; "
        f"print(measure.run([sys.executable, '-c', {code!r}]))"
    )
    return subprocess.run(
        [sys.executable, "-c", call], capture_output=True, text=True, cwd=measure.ROOT
    )


def test_cpu_seconds_of_a_process_and_of_what_it_leaves_behind_are_counted():
    burn = "import time\nwhile time.process_time() < {}: pass\n"
    assert 0.4 < float(run_apart(burn.format(0.5)).stdout) < 2
    # a grandchild whose parent has ended
    late = burn.format(1.5)
    orphan = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {late!r}])"
    assert float(run_apart(orphan).stdout) > 1.4
    failed = run_apart("1 / 0")
    assert failed.returncode == 1
    assert re.search("RuntimeError: a process ended with 1:(.|\n)*ZeroDivision", failed.stderr)


def test_an_unknown_subject_is_refused_with_those_there_are():
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench", "paddings"],
        capture_output=True,
        text=True,
        cwd=measure.ROOT,
        env=os.environ,
    )
    assert done.returncode == 2
    assert "no subject paddings; there are padding, startup" in done.stderr


def test_the_committed_result_has_every_ratio_of_make_bench():
    reference = compare.read(REFERENCE)
    assert {name.split(".")[0] for name in reference["ratios"]} >= set(SUBJECTS)
    assert not reference["failed"] and reference["machine"]["versions"]["torch"]
    for name, each in reference["ratios"].items():
        assert np.isfinite(each["value"]) and each["value"] > 0, name
        assert each["margin"] or each["least"], name
