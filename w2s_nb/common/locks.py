"""Lets one of several processes do what all of them want, where the file system grants locks.

Locks save work; nothing that is stored depends on them. Some network file systems grant a lock to
everybody or to nobody: then several processes do the same work, and the first result stays.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock

from .files import is_writable, make_folder, share
from .paths import cache, home
from .progress import warn

# no locks on this file system, or a lock file that another user keeps to himself
_NOT_GRANTED = (
    errno.ENOLCK,
    errno.ENOSYS,
    errno.ENOTSUP,
    errno.EOPNOTSUPP,
    errno.EACCES,
    errno.EPERM,
    errno.ELOOP,
)
_told: set[Path] = set()  # folders of which this process has said that they grant no locks


@contextmanager
def one_at_a_time(lock_file: Path, reason: str, target: Path) -> Iterator[None]:
    """Runs a block while no other process runs one with the same lock; waits for its turn.

    Where no lock is granted the block runs all the same, after a warning.

    Args:
        reason: why the block is run, in a few words, for errors.
        target: the folder that it is written to.
    Raises:
        PermissionError: this process may not write there; says what to do.
    """
    require_writable(target, reason)
    lock = _acquire(lock_file)
    try:
        yield
    finally:
        if lock is not None:
            lock.release()


def _acquire(path: Path) -> FileLock | None:
    """Returns a lock that is held, or None where none is granted."""
    # a soft lock, left by a killed process of another machine, would be held for ever
    lock = FileLock(path, fallback_to_soft=False)
    try:
        make_folder(path.parent)
        is_new = not path.exists()
        lock.acquire()
        if is_new:
            share(path)
    except OSError as error:
        if error.errno not in _NOT_GRANTED:
            raise
        if path.parent not in _told:
            _told.add(path.parent)
            warn(
                f"no locks are granted in {path.parent} ({error.strerror}): processes that want "
                f"the same fit or activations at once each make them",
                stacklevel=6,
            )
        return None
    return lock


def require_writable(folder: Path, reason: str) -> None:
    """Checks that files can be written to a folder, whether it exists yet or not.

    Args:
        reason: why they must be, in a few words.
    Raises:
        PermissionError: they cannot; says what to do.
    """
    if is_writable(folder):
        return
    message = f"{reason}, and this user may not write to {folder}"
    for variable, root in (("W2S_HOME", home()), ("W2S_CACHE", cache())):
        if folder.is_relative_to(root):
            message += (
                f"; set {variable} to a folder of your own (`cp -rs {root} FOLDER` makes one with "
                f"links to all that is stored)"
            )
    raise PermissionError(message)
