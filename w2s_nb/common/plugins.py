"""Imports plug-ins: Python files of a user's own, which register tasks, losses and models.

Those that `W2S_PLUGINS` names are imported when a registry is first read, in every process;
notebooks and sweeps name further ones.
"""

from __future__ import annotations

import hashlib
import importlib.util
import linecache
import os
import sys
import threading
import traceback
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType

from .store import address, source_version

VARIABLE = "W2S_PLUGINS"


class PluginError(ImportError, ValueError):
    """A plug-in that cannot be imported; the message says at which of its lines, and why."""


@dataclass(frozen=True)
class Plugin:
    """A file as it was imported.

    Attributes:
        path: in full.
        source: its text at that time; the file may have changed since.
        sha256: of its bytes at that time.
        module: what it defines.
    """

    path: Path
    source: str = field(repr=False)
    sha256: str
    module: ModuleType = field(repr=False)

    @property
    def version(self) -> str:
        """Returns 16 hex digits of what the file does."""
        return source_version(self.source)


_imported: dict[Path, Plugin] = {}
_from_environment = ""  # the value of W2S_PLUGINS whose files are imported
_lock = threading.RLock()


def load(names: Iterable[str]) -> list[Plugin]:
    """Imports files, each once in a process, and again if it changed.

    Raises:
        FileNotFoundError: there is no such Python file.
        PluginError: a file raises when it is imported.
    """
    with _lock:
        return [_load_one(find(name)) for name in names]


def load_from_environment() -> None:
    """Imports the files that `W2S_PLUGINS` names; a file may itself read a registry meanwhile.

    Raises:
        As `load`.
    """
    global _from_environment
    with _lock:
        value = os.environ.get(VARIABLE, "")
        if value == _from_environment:
            return
        earlier = _from_environment
        _from_environment = value
        try:
            load(named_in_environment())
        except BaseException:
            _from_environment = earlier
            raise


def named_in_environment() -> list[str]:
    """Returns the full paths of the files that `W2S_PLUGINS` names, separated by commas.

    Raises:
        FileNotFoundError: there is no such Python file.
    """
    names = [name.strip() for name in os.environ.get(VARIABLE, "").split(",")]
    return [str(find(name)) for name in names if name]


def find(name: str) -> Path:
    """Returns the full path of a plug-in.

    Raises:
        FileNotFoundError: there is no such Python file.
        ValueError: the path has a comma.
    """
    path = Path(name).expanduser()
    if path.suffix != ".py" or not path.is_file():
        raise FileNotFoundError(
            f"plug-in {str(name)!r} is no Python file; expected the path of one, such as my.py, "
            f"in full or from {Path.cwd()}"
        )
    path = path.resolve()
    if "," in str(path):
        raise ValueError(f"plug-in {str(path)!r} has a comma, which separates files; rename it")
    return path


def defining(function) -> Plugin | None:
    """Returns the plug-in that a function is defined in, or None."""
    named = (p for p in _imported.values() if p.module.__name__ == function.__module__)
    return next(named, None)


def imported() -> list[Plugin]:
    """Lists the plug-ins that this process has imported."""
    return list(_imported.values())


def _load_one(path: Path) -> Plugin:
    content = path.read_bytes()
    sha256 = hashlib.sha256(content).hexdigest()
    known = _imported.get(path)
    if known and known.sha256 == sha256:
        return known
    source = _decode(content, path.name)
    # A name of its own for each path: two folders may both have a my.py.
    module = ModuleType(f"w2s_plugin_{path.stem}_{address({'path': str(path)})[:8]}")
    module.__file__ = str(path)
    # What is hashed for addresses must be the text that runs here, not a later one of the file.
    linecache.cache[str(path)] = (len(source), None, source.splitlines(True), str(path))
    before = sys.modules.get(module.__name__)
    sys.modules[module.__name__] = module
    try:
        exec(compile(source, str(path), "exec"), module.__dict__)
    except (Exception, SystemExit) as error:
        _put_back(module.__name__, before)
        raise PluginError(_describe(path, error)) from error
    _imported[path] = Plugin(path, source, sha256, module)
    return _imported[path]


def _put_back(name: str, module: ModuleType | None) -> None:
    del sys.modules[name]
    if module:
        sys.modules[name] = module


def _decode(content: bytes, name: str) -> str:
    try:
        return importlib.util.decode_source(content)
    except SyntaxError as error:  # an encoding that it names is unknown
        raise PluginError(f"plug-in {name}: {error.msg}") from error
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise PluginError(f"plug-in {name}, line {line}: not UTF-8; save it as UTF-8") from error


def _describe(path: Path, error: BaseException) -> str:
    """Returns one line that says where a plug-in failed, and why."""
    lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename == str(path)]
    line = error.lineno if isinstance(error, SyntaxError) else (lines or [None])[-1]
    where = f", line {line}" if line else ""
    message = error.msg if isinstance(error, SyntaxError) else str(error)
    first_line = (message or "").strip().split("\n")[0]
    return f"plug-in {path.name}{where}: {type(error).__name__}: {first_line}"
