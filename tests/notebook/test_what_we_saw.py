"""The numbers in tables "What we saw" are those that the notebook's stored outputs show."""

import json
import re
from pathlib import Path

import pytest

NOTEBOOKS = Path(__file__).resolve().parents[2] / "notebooks"
CHECKED = sorted(path for path in NOTEBOOKS.glob("0[0-5]_*.ipynb"))
INTERVAL = re.compile(r"-?\d\.\d{3} \[-?\d\.\d{3}, -?\d\.\d{3}\]")


def told(cells: list[dict]) -> list[str]:
    """The intervals in the table of a notebook's section."""
    sources = ["".join(cell["source"]) for cell in cells]
    (section,) = [source for source in sources if source.startswith("## What we saw")]
    return INTERVAL.findall("\n".join(re.findall(r"^\|.*", section, re.M)))


def shown(cells: list[dict]) -> str:
    """The texts of a notebook's outputs, without plus signs; "" where its claims were not run."""
    outputs = [o for cell in cells for o in cell.get("outputs", [])]
    texts = ["".join(o.get("text", "")) for o in outputs]
    texts += ["".join(o.get("data", {}).get("text/html", "")) for o in outputs]
    text = "\n".join(texts).replace("+", "")
    return text if "w2s-claims" in text else ""


@pytest.mark.parametrize("path", CHECKED, ids=lambda p: p.stem)
def test_intervals_of_the_text_stand_in_the_outputs(path):
    cells = json.loads(path.read_text())["cells"]
    assert told(cells), "no interval in the table"
    text = shown(cells)
    assert text, f"the claims of {path.name} were not run: make notebooks"
    missing = [interval for interval in told(cells) if interval not in text]
    assert not missing, f"said in {path.name}, and in none of its outputs: {missing}"


def test_a_number_that_no_output_has_is_found():
    table = "## What we saw\n\n| claim | here |\n|---|---|\n| it | 0.123 [-0.456, 0.789] |"
    claims = {"data": {"text/html": ["<table class='w2s-claims'>+0.123 [-0.456, +0.789]"]}}
    cells = [{"source": [table]}, {"source": ["x"], "outputs": [claims]}]
    assert told(cells) == ["0.123 [-0.456, 0.789]"] and told(cells)[0] in shown(cells)
    claims["data"]["text/html"] = ["<table class='w2s-claims'>0.124 [-0.456, 0.789]"]
    assert told(cells)[0] not in shown(cells)
