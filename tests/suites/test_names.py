"""Suites: named lists of tasks."""

import subprocess
import sys

import pytest

from w2s_nb.__main__ import main
from w2s_nb.common.registry import TASKS, UnknownName
from w2s_nb.suites.names import SUITES, suite_of


def test_suites_have_as_many_tasks_as_their_sources_report():
    assert {name: len(suite.tasks) for name, suite in SUITES.items()} == {
        "laptop": 5,
        "paper": 22,
        "eleuther": 21,
        "openai": 5,
    }
    for suite in SUITES.values():
        tasks = (*suite.tasks, *suite.where_local)
        assert len(set(tasks)) == len(tasks), f"{suite.name} has a task twice"


@pytest.mark.parametrize("name", SUITES)
def test_every_task_of_a_suite_is_registered_and_has_two_classes(name):
    suite = suite_of(name)
    for task in (*suite.tasks, *suite.where_local):
        assert TASKS[task].n_classes == 2, task


def test_an_unknown_suite_is_refused_with_those_there_are():
    with pytest.raises(UnknownName, match=r"unknown suite 'papers'. Near: paper. Known: eleuther"):
        suite_of("papers")


def test_names_of_suites_load_nothing_heavy():
    heavy = ("torch", "pandas", "transformers", "datasets", "plotly")
    code = f"import sys, w2s_nb.suites.names; print([n for n in {heavy!r} if n in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_the_command_prints_the_suites_and_refuses_unknown_ones_in_one_line(capsys):
    assert main(["suite"]) == 0
    printed = capsys.readouterr().out
    assert all(f"{suite.name}: {suite.about}" in printed for suite in SUITES.values())
    assert "sciq, boolq, cosmos_qa, amazon_polarity, anthropic_hh" in printed
    for given in (["suite", "papers"], ["suite", "openai", "--losses", "xemt"]):
        assert main(given) == 2
        error = capsys.readouterr().err
        assert error.startswith("UnknownName: unknown") and error.count("\n") == 1
