"""TODO."""

from __future__ import annotations

import os
from pathlib import Path


def home() -> Path:
    """Folder of fits, activations and tokens: `W2S_HOME`, else `papermill_runs/store` of the checkout (or of here)."""
    if os.environ.get("W2S_HOME"):
        return Path(os.environ["W2S_HOME"]).expanduser().resolve()
    return runs_folder() / "store"


def runs_folder() -> Path:
    """Where runs leave what they make: `papermill_runs` of the checkout, or of the current folder."""
    return (checkout() or Path.cwd()) / "papermill_runs"


def checkout() -> Path | None:
    """The folder this package is run from, if it is a checkout of the project."""
    root = Path(__file__).resolve().parents[2]
    return root if (root / "pyproject.toml").is_file() else None


def shown(path: Path) -> str:
    """A path as notebooks print it: relative to the checkout or to the home folder where it lies below one."""
    path = Path(path).absolute()
    if checkout() and path.is_relative_to(checkout()):
        return str(path.relative_to(checkout()))
    return f"~/{path.relative_to(Path.home())}" if path.is_relative_to(Path.home()) else str(path)


def cache() -> Path:
    """Folder of the embedded model, texts and puzzles, shared by all checkouts: `W2S_CACHE`, else `~/.cache/w2s_nb`."""
    if os.environ.get("W2S_CACHE"):
        return Path(os.environ["W2S_CACHE"]).expanduser().resolve()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "w2s_nb"


def data_dir() -> Path | None:
    """Folder of local dataset files `<task>/<split>.parquet`, used before the hub: `W2S_DATA`, or None.

    Raises:
        NotADirectoryError: `W2S_DATA` names something that is not a folder.
    """
    given = os.environ.get("W2S_DATA")
    if not given:
        return None
    if not Path(given).expanduser().is_dir():
        raise NotADirectoryError(
            f"W2S_DATA is {given!r}, which is not a folder; expected <task>/<split>.parquet in it"
        )
    return Path(given).expanduser().resolve()
