"""Copies of the notebooks with small parameters, for nbval: `python -m tests.small_notebooks FOLDER`.

Their defaults are what `make notebooks` and papermill run; here every cell runs, on few examples and seeds.
"""
import sys
from pathlib import Path

import nbformat
from papermill.inspection import inspect_notebook
from papermill.iorw import load_notebook_node
from papermill.parameterize import parameterize_notebook

NOTEBOOKS = Path(__file__).resolve().parents[1] / "notebooks"
SMALL = {"seeds": 2, "table_seeds": 2, "n_train": 120, "n_val": 40, "n_test": 160}
# every question of 07 goes through the whole model
SMALLER = {"07_prompting": {"n_train": 40, "n_val": 20, "n_test": 40, "tasks": "movie_snippets, tweet_snippets",
                            "shots": 2, "more_shots": "0, 2"},
           "08_reward_modelling": {"n_train": 60, "n_val": 40, "n_test": 30, "strong": "SmolLM2-135M@6"},
           "09_generative_finetuning": {"n_train": 40, "n_val": 40, "n_test": 60, "strong": "SmolLM2-135M@6",
                                        "top_layers": 1, "seeds": 1},
           "10_chess": {"n_train": 40, "n_test": 40, "between": "chess-0.1M", "strong": "chess-0.4M"}}


def write(folder: Path) -> None:
    """Writes a small copy of each notebook."""
    folder.mkdir(parents=True, exist_ok=True)
    for stale in folder.glob("*.ipynb"):
        stale.unlink()
    for path in sorted(NOTEBOOKS.glob("*.ipynb")):
        known = inspect_notebook(str(path))
        small = {name: value for name, value in (SMALL | SMALLER.get(path.stem, {})).items() if name in known}
        nbformat.write(parameterize_notebook(load_notebook_node(str(path)), small), folder / path.name)


if __name__ == "__main__":
    write(Path(sys.argv[1]))
