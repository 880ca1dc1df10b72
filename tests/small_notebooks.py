"""Writes copies of the notebooks with small parameters, for nbval.

Run it by `python -m tests.small_notebooks FOLDER`. `make notebooks` and papermill run the
defaults; in the copies every cell runs, on few examples and seeds.
"""

import sys
from pathlib import Path

import nbformat
from papermill.inspection import inspect_notebook
from papermill.iorw import load_notebook_node
from papermill.parameterize import parameterize_notebook

NOTEBOOKS = Path(__file__).resolve().parents[1] / "notebooks"
SMALL = {
    "seeds": 2,
    "table_seeds": 2,
    "n_train": 40,
    "n_val": 20,
    "n_test": 60,
    "strong": "SmolLM2-135M@8",
    "between": "SmolLM2-135M@5, SmolLM2-135M@6",
}
# The checks of 02 and 05 need a student that is better than its supervisor; in 07 every question
# goes through the model.
SMALLER = {
    "00_tour": {"seeds": 1},
    "01_weak_labels": {"supervisors": "SmolLM2-135M@3, SmolLM2-135M@5", "seeds": 1},
    "02_naive_finetuning": {
        "n_train": 60,
        "n_test": 80,
        "strong": "SmolLM2-135M@16",
        "between": "SmolLM2-135M@8",
    },
    "03_conf_loss": {"seeds": 1},
    "05_imitation": {
        "n_train": 60,
        "seeds": 1,
        "n_test": 80,
        "strong": "SmolLM2-135M@16",
        "between": "SmolLM2-135M@8",
    },
    "06_saliency": {"strong": "SmolLM2-135M@6", "top_layers": 1},
    "07_prompting": {
        "n_test": 20,
        "tasks": "movie_snippets, tweet_snippets",
        "shots": 2,
        "more_shots": "0, 2",
        "strong": "SmolLM2-135M@6",
    },
    "08_reward_modelling": {"n_test": 20, "strong": "SmolLM2-135M@6", "seeds": 1},
    "09_generative_finetuning": {
        "n_train": 24,
        "n_val": 12,
        "n_test": 40,
        "strong": "SmolLM2-135M@6",
        "top_layers": 1,
        "seeds": 1,
    },
    "10_chess": {"n_test": 40, "between": "chess-0.1M", "strong": "chess-0.4M", "seeds": 1},
    "13_vision": {
        "strong": "efficientnet-lite2@5",
        "supervisors": "efficientnet-lite0@1, efficientnet-lite0@2",
    },
    "14_suite": {
        "n_train": 60,
        "n_test": 80,
        "suite": "movie_snippets, tweet_snippets",
        "between": "SmolLM2-135M@6",
    },
    "15_code_safety": {
        "kinds": "link",
        "elsewhere": "movie_snippets, tweet_snippets",
        "stresses": "0.1 of class 1, 0.2 impossible",
    },
    "16_compare": {
        "n_train": 60,
        "suite": "movie_snippets, tweet_snippets",
        "filters": "confident@0.5, hard_labels",
        "own_ceilings": 0,
        "recipe": "epochs=5",
    },
    "17_foresight": {
        "n_train": 60,
        "suite": "movie_snippets, tweet_snippets",
        "recipe": "epochs=5",
    },
}

# Solutions train little that the notebooks do not: by probe what is finetuned there, and less of
# the rest.
SOLUTIONS = {
    "00_tour": {"method": "probe", "seeds": 1},
    "01_weak_labels": {"method": "probe"},
    "02_naive_finetuning": {"method": "probe"},
    "06_saliency": {
        "n_train": 40,
        "n_val": 20,
        "n_test": 40,
        "seeds": 1,
        "top_layers": 1,
        "between": "SmolLM2-135M@5",
        "strong": "SmolLM2-135M@6",
    },
    "13_vision": {"strong": "efficientnet-lite2@5"},
    "14_suite": {"n_train": 60, "n_test": 80, "task": "movie_snippets, tweet_snippets"},
    "16_compare": {"n_train": 60},
    "17_foresight": {"n_train": 60},
}


def small(path: Path) -> dict:
    """Returns the parameters of a notebook's small copy."""
    chosen = SMALL | SMALLER.get(path.stem, {})
    known = inspect_notebook(str(path))
    if path.parent.name == "solutions":
        chosen |= SOLUTIONS.get(path.stem, {})
    return {name: value for name, value in chosen.items() if name in known}


def write(folder: Path) -> None:
    """Writes a small copy of each notebook, and of each solution into the subfolder `solutions`."""
    for part in ("", "solutions"):
        (folder / part).mkdir(parents=True, exist_ok=True)
        for stale in (folder / part).glob("*.ipynb"):
            stale.unlink()
        for path in sorted((NOTEBOOKS / part).glob("*.ipynb")):
            nbformat.write(
                parameterize_notebook(load_notebook_node(str(path)), small(path)),
                folder / part / path.name,
            )


if __name__ == "__main__":
    write(Path(sys.argv[1]))
