"""Folders of the kit: where stored fits, downloads and local data lie."""

from __future__ import annotations

import os
from pathlib import Path


def home() -> Path:
    """Returns the folder of fits, activations and tokens.

    It is `W2S_HOME` where that is set, else `store` in `runs_folder`.
    """
    if os.environ.get("W2S_HOME"):
        return Path(os.environ["W2S_HOME"]).expanduser().resolve()
    return runs_folder() / "store"


def runs_folder() -> Path:
    """Returns `papermill_runs` of the checkout, or of the current folder: runs write there."""
    return (checkout() or Path.cwd()) / "papermill_runs"


def checkout() -> Path | None:
    """Returns the folder that this package is run from, if it is a checkout of the project."""
    root = Path(__file__).resolve().parents[2]
    return root if (root / "pyproject.toml").is_file() else None


def short_path(path: Path) -> str:
    """Returns a path as notebooks print it: relative to the checkout, or to the user's home."""
    path = Path(path).absolute()
    root = checkout()
    if root and path.is_relative_to(root):
        return str(path.relative_to(root))
    if path.is_relative_to(Path.home()):
        return f"~/{path.relative_to(Path.home())}"
    return str(path)


def cache() -> Path:
    """Returns the folder of the embedded model, texts and puzzles, which all checkouts share.

    It is `W2S_CACHE` where that is set, else `w2s_nb` in the user's cache folder.
    """
    if os.environ.get("W2S_CACHE"):
        return Path(os.environ["W2S_CACHE"]).expanduser().resolve()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "w2s_nb"


def data_dir() -> Path | None:
    """Returns `W2S_DATA`, the folder of local dataset files `<task>/<split>.parquet`, or None.

    Its files are used before the hub.

    Raises:
        NotADirectoryError: `W2S_DATA` names something that is not a folder.
    """
    folder = os.environ.get("W2S_DATA")
    if not folder:
        return None
    if not Path(folder).expanduser().is_dir():
        raise NotADirectoryError(
            f"W2S_DATA is {folder!r}, which is not a folder; expected <task>/<split>.parquet in it"
        )
    return Path(folder).expanduser().resolve()
