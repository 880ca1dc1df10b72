"""Exercises and their solutions have the same checks in the same order, and all are answered."""

import json
import re
from pathlib import Path

import pytest

NOTEBOOKS = Path(__file__).resolve().parents[2] / "notebooks"
SOLUTIONS = NOTEBOOKS / "solutions"
STATEMENT = re.compile(
    r"(?:## Exercises\n\n)?(\d)\. \*\*(easy|medium|hard), (\d+) minutes\.\*\* \S"
)
HINT = re.compile(r"<details><summary>Hint</summary>\n\n(.+)\n\n</details>", re.S)


def cells_of(path: Path) -> list[tuple[str, str, dict]]:
    """Of each cell its type, source and the whole of it."""
    return [
        (c["cell_type"], "".join(c["source"]), c) for c in json.loads(path.read_text())["cells"]
    ]


def exercises_of(path: Path) -> list[tuple[str, str, dict]]:
    """The cells from the exercises on; none where a notebook has no exercises."""
    cells = cells_of(path)
    return cells[
        next(
            (i for i, (_, source, _) in enumerate(cells) if source.startswith("## Exercises")),
            len(cells),
        ) :
    ]


WITH_EXERCISES = [path for path in sorted(NOTEBOOKS.glob("*.ipynb")) if exercises_of(path)]


def test_the_notebooks_of_the_paper_have_exercises():
    assert [path.stem[:2] for path in WITH_EXERCISES][:11] == [f"{n:02d}" for n in range(11)]
    assert {path.name for path in WITH_EXERCISES} == {
        path.name for path in SOLUTIONS.glob("*.ipynb")
    }


@pytest.mark.parametrize("path", WITH_EXERCISES, ids=lambda p: p.stem)
def test_an_exercise_has_a_statement_a_stub_and_a_hint(path):
    cells, kinds, numbers = exercises_of(path), "", []
    for kind, source, cell in cells:
        if kind == "code":
            kinds += "c"
            said = "".join(text for o in cell["outputs"] for text in o.get("text", []))
            assert "return None" in source and said.startswith("not yet: "), (
                f"no stub, or one not run:\n{source}"
            )
        elif "hint" in cell["metadata"].get("tags", []):
            kinds += "h"
            assert 1 <= len(HINT.fullmatch(source)[1].splitlines()) <= 4, (
                f"a folded hint of up to 4 lines:\n{source}"
            )
        elif cell is not cells[-1][2]:
            kinds += "s"
            assert STATEMENT.match(source), f"no number, difficulty and minutes:\n{source}"
            numbers.append(int(STATEMENT.match(source)[1]))
    assert re.fullmatch("(sc?h){2,4}", kinds) and kinds.count("c") >= 2, (
        f"cells of the exercises: {kinds}"
    )
    assert numbers == list(range(1, len(numbers) + 1))
    last = cells[-1][1]
    assert last.startswith(f"[Solutions](solutions/{path.name})\n\n## References\n")
    counts = [cell["execution_count"] for kind, _, cell in cells_of(path) if kind == "code"]
    run = [count for count in counts if count]  # a cell that is new waits for `make notebooks`
    assert run == list(range(1, len(run) + 1)) and len(counts) - len(run) <= 3


def checks(source: str, asserted: str = "") -> list[str]:
    return re.findall(rf"^{asserted}exercises\.(check_\w+)\(", source, re.M)


@pytest.mark.parametrize("path", WITH_EXERCISES, ids=lambda p: p.stem)
def test_every_exercise_has_its_solution_and_every_solution_its_exercise(path):
    asked = [
        check
        for kind, source, _ in exercises_of(path)
        if kind == "code"
        for check in checks(source)
    ]
    solution = cells_of(SOLUTIONS / path.name)
    answered = [
        check
        for kind, source, _ in solution
        if kind == "code"
        for check in checks(source, "assert ")
    ]
    assert asked == answered and len(set(asked)) == len(asked)
    sources = "\n".join(source for _, source, _ in solution)
    statements = [STATEMENT.match(source) for _, source, _ in exercises_of(path)]
    numbers = [statement[1] for statement in statements if statement]
    assert re.findall(r"^## (\d)\. ", sources, re.M) == numbers
    stubs, solved = (
        {
            name
            for kind, source, _ in cells
            if kind == "code"
            for name in re.findall(r"^def (my_\w+\(.*\)):", source, re.M)
        }
        for cells in (exercises_of(path), solution)
    )
    assert stubs <= solved, "the solution has the stub's own name and arguments"
    assert f"](../{path.name})" in solution[0][1] and solution[0][1].startswith("# Solutions: ")


@pytest.mark.parametrize("path", sorted(SOLUTIONS.glob("*.ipynb")), ids=lambda p: p.stem)
def test_a_solution_has_been_run_and_ends_in_what_was_seen(path):
    import papermill

    given, cells = papermill.inspect_notebook(str(path)), cells_of(path)
    assert {"task", "weak", "strong", "method", "seeds", "n_train"} <= set(given)
    assert all(
        p["inferred_type_name"] in ("str", "int", "float") and p["help"] for p in given.values()
    )
    code = "\n".join(
        source
        for kind, source, cell in cells
        if kind == "code" and "parameters" not in cell["metadata"].get("tags", [])
    )
    assert all(re.search(rf"\b{name}\b", code) for name in given), "a parameter that nothing uses"
    assert all(cell["execution_count"] for kind, _, cell in cells if kind == "code")
    assert cells[-1][1].startswith("**What we saw.** ") and re.search(r"\[-?\.?\d", cells[-1][1]), (
        "no interval"
    )
    assert any(cell["outputs"] for kind, _, cell in cells[-4:] if kind == "code")
