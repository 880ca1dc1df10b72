"""Notebooks keep to one template, and their outputs change in commits of their own."""

import json
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
SOLUTIONS = sorted((ROOT / "notebooks" / "solutions").glob("*.ipynb"))


@pytest.mark.parametrize("path", NOTEBOOKS + SOLUTIONS, ids=lambda p: "/".join(p.parts[-2:]))
def test_notebooks_keep_to_the_template(path):
    notebook = json.loads(path.read_text())
    assert (
        notebook["metadata"]["kernelspec"]["name"] == "python3" and path.stat().st_size < 1_000_000
    )
    assert "widgets" not in notebook["metadata"] and "papermill" not in notebook["metadata"]
    code = [c for c in notebook["cells"] if c["cell_type"] == "code"]
    tags = [t for c in code for t in c["metadata"].get("tags", [])]
    assert tags.count("parameters") == 1 and "raises-exception" not in tags
    assert tags.count("checks") >= 1 or path in SOLUTIONS  # whose checks are those of the exercises
    for cell in code:
        metadata = cell["metadata"]
        if "checks" in metadata.get("tags", []):
            assert metadata.get("jupyter") == {"source_hidden": True}, "checks are no lesson: fold"
        source = "".join(cell["source"])
        most = 20 if "parameters" in cell["metadata"].get("tags", []) else 12
        assert len(source.splitlines()) <= most, f"a cell of more than {most} lines:\n{source}"
        assert not re.search(r"^\s*(class |%cd|!|%pip)|sys\.path|['\"](/|\.\./)", source, re.M), (
            source
        )
        assert source.count(".style.") == source.count('escape="html"'), "texts are data, not HTML"
        assert not any(o["output_type"] == "error" for o in cell["outputs"])
        for output in cell["outputs"]:
            text = json.dumps(output)
            text = text.replace("# run in /home/", "")  # a script of shell_safety
            assert not re.search(r'"[^"]*(/root/|/home/|/work/|/tmp/)', text), (
                f"a path of one machine: {text[:300]}"
            )


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_papermill_understands_every_parameter(path):
    import papermill

    given = papermill.inspect_notebook(str(path))
    assert {"task", "weak", "strong", "method", "seeds", "n_train", "n_test", "results"} <= set(
        given
    )
    assert all(
        p["inferred_type_name"] in ("str", "int", "float") and p["help"] for p in given.values()
    )
    cells = [c for c in json.loads(path.read_text())["cells"] if c["cell_type"] == "code"]
    names = [line.partition(":")[0] for line in "".join(cells[0]["source"]).splitlines()]
    assert names == list(given), "papermill skips a line with a second = sign, in a comment too"
    setup = next(c for c in cells if "w2s.setup(" in "".join(c["source"]))
    assert cells.index(setup) == 1, "set-up comes right after the parameters"
    for name in given:
        assert re.search(rf"\b{name}={name}\b", "".join(setup["source"])), (
            f"{name} is not passed to setup"
        )


def git(*arguments) -> str:
    run = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True)
    return run.stdout if run.returncode == 0 else ""


def sources_and_outputs(commit: str, path: str) -> tuple[list, list] | None:
    """Sources and outputs of a notebook's cells in a commit; None where it does not exist.

    A new cell that has not run has no outputs, and changes none.
    """
    text = git("show", f"{commit}:{path}")
    if not text:
        return None
    cells = json.loads(text)["cells"]
    # a source may be written as one text or as its lines
    return ["".join(c["source"]) for c in cells], [c["outputs"] for c in cells if c.get("outputs")]


def commits_under_the_rule() -> list[str]:
    """The last commits that changed notebooks and whose parent already had CONTRIBUTING.md."""
    commits = git("log", "-20", "--no-merges", "--format=%H", "--", "notebooks").split()
    return [c for c in commits if git("cat-file", "-t", f"{c}^:CONTRIBUTING.md").strip() == "blob"]


def test_outputs_of_notebooks_change_in_commits_of_their_own():
    for commit in commits_under_the_rule():
        changed = git("diff", "--name-only", "--diff-filter=M", f"{commit}^", commit).split("\n")
        kinds = set()
        for path in (name for name in changed if name.endswith(".ipynb")):
            before, after = (sources_and_outputs(c, path) for c in (f"{commit}^", commit))
            kinds |= {"sources"} if before[0] != after[0] else set()
            kinds |= {"outputs"} if before[1] != after[1] else set()
        assert len(kinds) < 2, f"{commit[:7]} changes both sources and outputs of notebooks"
