"""Writes files and folders whole or not at all, checks that they still are, writes strict JSON.

What is not whole yet has a name of its own, `.NAME.XXXXXXXX.part`, so that processes which write
the same do not disturb each other, with locks or without.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import hashlib
import json
import math
import os
import shutil
import stat
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from .paths import cache, home

if TYPE_CHECKING:
    import torch

ABANDONED = 24 * 3600  # seconds after which what is not whole is taken for a killed process's
_FULL = (errno.ENOSPC, errno.EDQUOT)


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yields a path to write a file to, which takes its place at the end of the block.

    The file is either whole or as it was, whatever kills the process meanwhile. Who has mapped the
    earlier file keeps it.

    Raises:
        OSError: the disk is full; names the file.
    """
    make_folder(path.parent)
    partial = _beside(path)
    try:
        with naming_full_disk(path):
            yield partial
            _reach_disk(partial)
        share(partial)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def _reach_disk(path: Path) -> None:
    """Waits until a file's content is on the disk."""
    with open(path, "rb") as stream:
        os.fsync(stream.fileno())


@contextlib.contextmanager
def filling(target: Path, stays: Callable[[], bool]) -> Iterator[Path]:
    """Yields a new folder to fill, which becomes `target` at the end of the block.

    Nobody sees it half filled, and of several processes that fill it each completes its own.

    Args:
        stays: () -> whether the folder that is there by then is whole, and kept instead.
    Raises:
        OSError: the disk is full; names the folder.
    """
    make_folder(target.parent)
    partial = _beside(target)
    partial.mkdir()
    try:
        share(partial)
        with naming_full_disk(target):
            yield partial
        _put_in_place(partial, target, stays)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _put_in_place(partial: Path, target: Path, stays: Callable[[], bool]) -> None:
    """Renames a folder; who reads files of one that it replaces keeps them open."""
    while True:
        try:
            os.rename(partial, target)
            return
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
                raise
        if stays():
            return
        replaced = _beside(target)
        with contextlib.suppress(FileNotFoundError):  # another process was faster
            os.rename(target, replaced)
            remove(replaced)


def _beside(path: Path) -> Path:
    """Returns a new path for what becomes `path`; removes what killed processes left beside it."""
    _remove_abandoned(path.parent)
    return path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.part")


@functools.cache  # once per process: a folder may have thousands of files
def _remove_abandoned(folder: Path) -> None:
    for path in folder.glob(".*.part"):
        if is_idle(path):
            remove(path)


def is_idle(path: Path) -> bool:
    """Tells whether a file or folder is there, and nobody has written to it for a day."""
    try:
        newest = max(file.stat().st_mtime for file in (path, *path.rglob("*")))
    except OSError:  # it has another name by now
        return False
    return newest < time.time() - ABANDONED


def remove(path: Path) -> None:
    """Removes a file or a folder, as far as this process may."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
        return
    with contextlib.suppress(OSError):
        path.unlink()


@contextlib.contextmanager
def naming_full_disk(path: Path) -> Iterator[None]:
    """Adds the path to errors in a block that say that the disk is full, whatever raised them."""
    try:
        yield
    except Exception as error:
        number = next((n for n in _FULL if _says(error, n)), None)
        if number is None or getattr(error, "filename", None):
            raise
        reason = f"{os.strerror(number)} (python -m w2s_nb store: what the store holds)"
        raise OSError(number, reason, str(path)) from error


def _says(error: Exception, number: int) -> bool:
    """Tells whether an error is of the system's; writers of tensors say so in words alone."""
    return getattr(error, "errno", None) == number or os.strerror(number) in str(error)


def make_folder(path: Path) -> None:
    """Makes a folder and those above it; see `share`."""
    for folder in (*reversed(path.parents), path):
        with contextlib.suppress(FileExistsError):
            if not folder.is_dir():
                folder.mkdir()
                share(folder)


def is_writable(folder: Path) -> bool:
    """Tells whether files can be written to a folder, whether it exists yet or not."""
    existing = next(path for path in (folder, *folder.parents) if os.path.exists(path))
    return existing.is_dir() and os.access(existing, os.W_OK | os.X_OK)


def share(path: Path) -> None:
    """Gives a new file or folder in the store or cache to those who may write into all of it.

    Where the root may be written by its group, or by all, they may read the file, write into the
    folder, and take the lock. A root that its owner alone may write to changes nothing.
    """
    for root in (home(), cache()):
        if path != root and path.is_relative_to(root):
            root_mode = stat.S_IMODE(root.stat().st_mode)
            if root_mode & (stat.S_IWGRP | stat.S_IWOTH):
                bits = 0o777 if path.is_dir() else 0o666
                path.chmod(stat.S_IMODE(path.stat().st_mode) | (root_mode & bits))
            return


def write_atomic(path: Path, content: bytes) -> None:
    """Writes a file that is either whole or absent, whatever kills the process meanwhile."""
    with replacing(path) as partial:
        partial.write_bytes(content)


def write_named(folder: Path, prefix: str, content: bytes) -> None:
    """Writes a file of tensors named by a prefix and the sha256 of its content."""
    name = f"{prefix}{hashlib.sha256(content).hexdigest()}.safetensors"
    write_atomic(folder / name, content)


def write_tensors(folder: Path, prefix: str, tensors: dict[str, torch.Tensor]) -> None:
    """Writes tensors from where they are, without a copy of them, to a file as `write_named` does.

    Raises:
        OSError: the disk is full; names the folder.
    """
    from safetensors.torch import save_file

    make_folder(folder)
    partial = _beside(folder / f"{prefix}new")
    try:
        partial.touch()
        mode = partial.stat().st_mode
        with naming_full_disk(folder):
            save_file(tensors, partial)
            _reach_disk(partial)
        partial.chmod(mode)  # save_file leaves it to its owner alone
        share(partial)
        os.replace(partial, folder / f"{prefix}{sha256_of(partial)}.safetensors")
    finally:
        partial.unlink(missing_ok=True)


def is_as_named(path: Path) -> bool:
    """Returns whether a file of `write_named` or `write_tensors` is as its name says."""
    return is_whole(path, path.stem.rpartition("-")[2])


def is_whole(path: Path, sha256: str | None) -> bool:
    """Returns whether a file can be read and has that content; see `sha256_of`."""
    try:
        return sha256_of(path) == sha256
    except (FileNotFoundError, IsADirectoryError, PermissionError):
        return False


def sha256_of(path: Path) -> str:
    """Returns the sha256 of a file; hashes it once per process and state of the file."""
    state = path.stat()
    return _sha256(path, state.st_ino, state.st_size, state.st_mtime_ns)


@functools.cache
def _sha256(path: Path, inode: int, size: int, mtime_ns: int) -> str:
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def to_strict_json(value):
    """Returns a value that strict JSON can hold: numpy's become Python's, NaN and infinity None."""
    if isinstance(value, dict):
        return {str(key): to_strict_json(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_strict_json(item) for item in value]
    if hasattr(value, "tolist"):
        return to_strict_json(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def write_json(path: Path, content: dict) -> None:
    """Writes strict JSON atomically; NaN and infinity become null."""
    text = json.dumps(to_strict_json(content), indent=1, allow_nan=False)
    write_atomic(path, (text + "\n").encode())
