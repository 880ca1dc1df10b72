"""Writes files whole or not at all, checks that they still are, and writes strict JSON."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import math
import os
import uuid
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yields a path to write a file to, which takes its place at the end of the block.

    The file is either whole or as it was, whatever kills the process meanwhile. Who has mapped the
    earlier file keeps it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.part")
    try:
        yield partial
        with open(partial, "rb") as stream:
            os.fsync(stream.fileno())
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def write_atomic(path: Path, content: bytes) -> None:
    """Writes a file that is either whole or absent, whatever kills the process meanwhile."""
    with replacing(path) as partial:
        partial.write_bytes(content)


def write_named(folder: Path, prefix: str, content: bytes) -> None:
    """Writes a file of tensors named by a prefix and the sha256 of its content."""
    name = f"{prefix}{hashlib.sha256(content).hexdigest()}.safetensors"
    write_atomic(folder / name, content)


def is_as_named(path: Path) -> bool:
    """Returns whether a file of `write_named` has the content that its name says."""
    return is_whole(path, path.stem.rpartition("-")[2])


def is_whole(path: Path, sha256: str | None) -> bool:
    """Returns whether a file is there and has that content; see `sha256_of`."""
    try:
        return sha256_of(path) == sha256
    except (FileNotFoundError, IsADirectoryError):
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
