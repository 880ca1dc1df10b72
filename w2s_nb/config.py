"""Where things live, on what device and in what precision; everything the environment can set is read here."""
from __future__ import annotations

import contextlib
import contextvars
import functools
import json
import math
import os
import platform
import sys
import uuid
import warnings
from collections.abc import Callable, Iterable
from importlib.metadata import version
from pathlib import Path

import torch
from tqdm import tqdm

VERSIONED = ("w2s_nb", "torch", "transformers", "datasets", "peft", "accelerate", "scikit-learn", "chess")
_notes: contextvars.ContextVar[list[str] | None] = contextvars.ContextVar("notes", default=None)
_teller: contextvars.ContextVar[Callable | None] = contextvars.ContextVar("teller", default=None)


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
    root = Path(__file__).resolve().parents[1]
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
        raise NotADirectoryError(f"W2S_DATA is {given!r}, which is not a folder; expected <task>/<split>.parquet in it")
    return Path(given).expanduser().resolve()


def device() -> torch.device:
    """`W2S_DEVICE` if set (cpu, cuda, cuda:1, mps), else cuda where there is one, else cpu."""
    return _device(os.environ.get("W2S_DEVICE"))


@functools.cache  # asked several times a step
def _device(given: str | None) -> torch.device:
    return torch.device(given or ("cuda" if torch.cuda.is_available() else "cpu"))


def precision() -> str:
    """'bf16' on CUDA (autocast over float32 master weights), 'fp32' elsewhere."""
    return "bf16" if device().type == "cuda" else "fp32"


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that decide a result."""
    return {"python": platform.python_version()} | {name: version(name) for name in VERSIONED}


@functools.cache
def machine() -> str:
    """One line: device name and threads, for records."""
    if device().type == "cuda":
        return torch.cuda.get_device_name(device())
    return f"{device().type}, {torch.get_num_threads()} threads ({platform.machine()})"


def progress(*args, **kwargs) -> tqdm | Told:
    """A text progress bar on a terminal and in a notebook, none in a log file; `TQDM_DISABLE=1` silences it.

    Inside `told` it draws nothing, and tells.
    """
    if _teller.get():
        return Told(_teller.get(), *args, **kwargs)
    kernel = "ipykernel" in sys.modules and not sys.stderr.isatty()
    silent = bool(os.environ.get("TQDM_DISABLE")) or not (kernel or sys.stderr.isatty())
    return tqdm(*args, disable=silent, leave=False, mininterval=2.0 if kernel else 0.1, **kwargs)


class Told:
    """A progress bar that tells a function how far it is, and that this function can end: what it raises goes on."""

    def __init__(self, tell: Callable[[str, int, int | None], None], iterable: Iterable = (), *, desc: str = "",
                 total: int | None = None, **looks):
        self.tell, self.iterable, self.desc, self.n = tell, iterable, desc, 0
        self.total = len(iterable) if total is None and hasattr(iterable, "__len__") else total

    def __iter__(self):
        for item in self.iterable:
            yield item
            self.update()

    def __enter__(self) -> Told:
        return self

    def __exit__(self, *error) -> None:
        pass

    def update(self, n: int = 1) -> None:
        """Counts n more."""
        self.n += n
        self.tell(self.desc, self.n, self.total)


@contextlib.contextmanager
def told(tell: Callable[[str, int, int | None], None]):
    """In this block, and thread, long work calls `tell(what, done, total)` at every step, in the place of bars.

    Whatever `tell` raises ends the work: a fit leaves nothing behind, activations what is whole of them.
    """
    token = _teller.set(tell)
    try:
        yield
    finally:
        _teller.reset(token)


def note(message: str) -> None:
    """Warns, as from the caller's caller; inside `noted`, keeps the message."""
    if _notes.get() is None:
        warnings.warn(message, stacklevel=3)
    else:
        _notes.get().append(message)


@contextlib.contextmanager
def noted():
    """In this block, and thread, what `note` says goes into the list that the block is given, and is no warning."""
    found: list[str] = []
    token = _notes.set(found)
    try:
        yield found
    finally:
        _notes.reset(token)


def write_atomic(path: Path, content: bytes) -> None:
    """Writes a file that is either whole or absent, whatever kills the process meanwhile."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.part")
    try:
        with open(partial, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def strict(value):
    """A value as strict JSON takes it: numpy's become Python's, NaN and infinity become None."""
    if isinstance(value, dict):
        return {str(k): strict(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [strict(v) for v in value]
    if hasattr(value, "tolist"):
        return strict(value.tolist())
    return None if isinstance(value, float) and not math.isfinite(value) else value


def write_json(path: Path, content: dict) -> None:
    """Writes strict JSON atomically; NaN and infinity become null."""
    write_atomic(path, (json.dumps(strict(content), indent=1, allow_nan=False) + "\n").encode())


@contextlib.contextmanager
def threads(n: int | None):
    """Runs a block on n CPU threads; None leaves them as they are.

    A probe's matrices are too small for two threads: alone they gain nothing, beside another process they wait for each
    other, at a tenth of the speed.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(n or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
