"""Notebooks put published claims and numbers beside what they measured."""

import inspect
import json
import re
from pathlib import Path

import pytest

import w2s_nb as w2s
from w2s_nb import published

NOTEBOOKS = sorted((Path(__file__).resolve().parents[2] / "notebooks").glob("*.ipynb"))


def code_of(path: Path) -> str:
    cells = json.loads(path.read_text())["cells"]
    return "\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "code")


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_judges_every_claim_that_names_it(path):
    code, claims = code_of(path), published.claims_of(path.stem)
    assert (f'w2s.paper_claims("{path.stem}"' in code) == bool(claims)
    if "w2s.suite_claims(" in code:  # it has the names of its claims
        code += inspect.getsource(w2s.suite_claims)
    missing = [name for name in claims if f'"{name}"' not in code]
    assert not missing, f"claims that no cell of {path.stem} measures: {missing}"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_states_the_rule_and_judges_before_its_checks(path):
    if not published.claims_of(path.stem):
        return
    cells = ["".join(c["source"]) for c in json.loads(path.read_text())["cells"]]
    table = next(i for i, source in enumerate(cells) if "w2s.paper_claims(" in source)
    checks = next(i for i, source in enumerate(cells) if source.startswith("## Checks"))
    assert checks - 3 < table < checks
    texts = " ".join(cells[table - 3 : table])
    for word in ("agrees", "contradicts", "too noisy to say", "interval"):
        assert word in texts


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_numbers_that_a_notebook_marks_name_it(path):
    code = code_of(path)
    for source in published.sources().values():
        if f'published.numbers("{source.name}"' not in code:
            continue
        for name, number in source.numbers.items():
            named = re.search(rf"[\"']{re.escape(name)}[\"']", code)
            assert not named or path.stem in number.notebooks, f"{source.name}: {name}"
