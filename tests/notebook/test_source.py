"""Notebooks' files, as they are read without nbformat or papermill."""

import json
from pathlib import Path

import pytest

from w2s_nb.common.registry import UnknownName
from w2s_nb.notebook.source import check_types, defaults_of, kind_of_tasks, notebook_path

NOTEBOOKS = sorted((Path(__file__).resolve().parents[2] / "notebooks").glob("*.ipynb"))


def write(path: Path, *sources: str, tag: str = "parameters") -> Path:
    """Writes a notebook of code cells, the first of them tagged."""
    cells = [
        {"cell_type": "code", "metadata": {}, "source": source, "outputs": []} for source in sources
    ]
    cells[0]["metadata"] = {"tags": [tag]}
    path.write_text(json.dumps({"nbformat": 4, "metadata": {}, "cells": cells}))
    return path


def test_the_kind_of_tasks_is_read_from_the_call_of_setup():
    kinds = {path.stem: kind_of_tasks(path) for path in NOTEBOOKS}
    assert kinds.pop("08_reward_modelling") == {"comparisons": True}
    assert kinds.pop("10_chess") == {"answers": True}
    assert len(kinds) == 16 and not any(kinds.values())


def test_cells_that_are_no_python_are_passed_over(tmp_path):
    path = write(
        tmp_path / "some.ipynb", "x = 1", "%pip setup(", "run = w2s.setup('a', answers=True, x=x)"
    )
    assert kind_of_tasks(path) == {"answers": True}


def test_defaults_are_those_of_the_tagged_cell(tmp_path):
    path = write(tmp_path / "some.ipynb", "n: int = 3\nname = 'a'\nmade = max(1, 2)", "m = 4")
    assert defaults_of(path) == {"n": 3, "name": "a", "made": None}
    with pytest.raises(ValueError, match="some.ipynb has no parameters; tag the cell"):
        defaults_of(write(tmp_path / "some.ipynb", "n = 3", tag="other"))


@pytest.mark.parametrize(
    "given, error, message",
    [
        ({"sedes": 3}, UnknownName, "unknown parameter of some 'sedes'. Near: seeds"),
        ({"seeds": "3"}, TypeError, "seeds = '3' is a str; some expects a int, such as 1"),
        ({"alpha": "1e-1"}, TypeError, "YAML takes 1.0e-4 for a number, 1e-4 for a text"),
        ({"seeds": True}, TypeError, "seeds = True is a bool"),
        ({"seeds": [0, 1]}, TypeError, "such as 1; it counts them: 3 for the seeds 0, 1 and 2"),
        ({"more_shots": 8}, TypeError, "more_shots = 8 is a int; some expects a str"),
    ],
)
def test_a_parameter_of_another_name_or_type_is_refused(given, error, message):
    defaults = {"seeds": 1, "alpha": 0.5, "more_shots": "0, 2", "any": None}
    check_types("some", {"seeds": 2, "alpha": 1, "more_shots": "8", "any": []}, defaults)
    with pytest.raises(error) as raised:
        check_types("some", given, defaults)
    assert message in str(raised.value)


def test_a_notebook_is_found_by_its_name_and_by_its_path(tmp_path):
    own = write(tmp_path / "own.ipynb", "x = 1")
    assert notebook_path("03_conf_loss") == next(p for p in NOTEBOOKS if p.stem == "03_conf_loss")
    assert notebook_path(str(own)) == own
    with pytest.raises(UnknownName, match="unknown notebook '03_conf_los'. Near: 03_conf_loss"):
        notebook_path("03_conf_los")
