"""Warnings in notebooks: calm lines, each once."""

import warnings
from types import SimpleNamespace

import pytest

from w2s_nb.notebook import notes


@pytest.fixture
def run(monkeypatch):
    """Runs a cell: gives the messages as warnings."""
    shell = SimpleNamespace(kernel=None, execution_count=0, user_ns={"In": [""]})
    monkeypatch.setattr(notes.sys.modules["IPython"], "get_ipython", lambda: shell)

    def run(cell, *messages):
        shell.execution_count += 1
        shell.user_ns["In"].append(cell)
        for message in messages:
            warnings.warn(message, stacklevel=1)

    with warnings.catch_warnings():
        warnings.simplefilter("always")
        notes.show_warnings_as_notes()
        yield run


def test_a_note_is_a_calm_line_once_in_the_first_cell_that_gives_it(run, capsys):
    run("one", "a is small", "a is small", "b is large")
    said = capsys.readouterr()
    assert said.out == "note: a is small\nnote: b is large\n" and not said.err
    run("two", "a is small", "c is red")
    assert capsys.readouterr().out == "note: c is red\n"
    run("one", "a is small")
    assert capsys.readouterr().out == "note: a is small\n", "who runs a cell again is told again"


def test_outside_a_kernel_warnings_stay_warnings(monkeypatch):
    monkeypatch.setattr(notes.sys.modules["IPython"], "get_ipython", lambda: None)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        notes.show_warnings_as_notes()
        warnings.warn("a is small", stacklevel=1)
    assert [str(w.message) for w in caught] == ["a is small"]
