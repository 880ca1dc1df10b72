"""Code on the pages: every call is of a name that exists, with arguments that it takes."""

import ast
import inspect
import re
from pathlib import Path

import pytest

import w2s_nb as w2s

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    *(ROOT / "notebooks" / "pages").glob("*.md"),
    *(ROOT / "notebooks").glob("README.md"),
    *ROOT.glob("README*.md"),
]
BLOCK = re.compile(r"^```python\n(.*?)^```", re.M | re.S)
WITH_CODE = [path for path in PAGES if BLOCK.search(path.read_text())]


def dotted(node: ast.expr) -> str:
    """The name of a call's function, `w2s.metrics.pgr`, or nothing where it is no such name."""
    parts = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return ".".join([node.id, *parts[::-1]]) if isinstance(node, ast.Name) else ""


def problem(call: ast.Call) -> str:
    """What is wrong with a call of the kit's face, or nothing."""
    name = dotted(call.func)
    if not name.startswith("w2s."):
        return ""
    function = w2s
    for part in name.split(".")[1:]:
        if not hasattr(function, part):
            return f"{name} does not exist"
        function = getattr(function, part)
    keywords = {each.arg: None for each in call.keywords if each.arg}
    try:
        inspect.signature(function).bind_partial(*call.args, **keywords)
    except TypeError as error:
        return f"{name}: {error}"
    return ""


@pytest.mark.parametrize("path", WITH_CODE, ids=lambda path: path.name)
def test_code_on_a_page_calls_what_exists(path):
    blocks = BLOCK.findall(path.read_text())
    calls = [
        node
        for block in blocks
        for node in ast.walk(ast.parse(block))
        if isinstance(node, ast.Call)
    ]
    assert not list(filter(None, map(problem, calls)))


@pytest.mark.parametrize(
    "code, seen", [("w2s.fitt(1)", "does not exist"), ("w2s.pgr(1, 2, 3, 4, tset=5)", "tset")]
)
def test_a_wrong_name_or_argument_would_be_seen(code, seen):
    [statement] = ast.parse(code).body
    assert seen in problem(statement.value)
