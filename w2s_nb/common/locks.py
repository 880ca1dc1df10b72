"""Lets one of several processes do what all of them want, where the file system grants locks.

Locks save work; nothing that is stored depends on them. Some network file systems grant a lock to
everybody or to nobody: then several processes do the same work, and the first result stays.
"""

from __future__ import annotations

import errno
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from .files import is_writable, make_folder, remove, share, write_atomic
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


@contextmanager
def claimed(folder: Path, find: Callable[[], set[str]], reason: str) -> Iterator[set[str]]:
    """Runs a block that makes parts of a folder which no other process makes at that time.

    A process claims the parts that it makes, and waits while another one has claimed any of them.
    A claim is a file of their names beside a lock that the process holds; so whoever fails or is
    killed claims nothing any more. Where no lock is granted nothing is claimed.

    Args:
        find: () -> names of the parts that are lacking. It is called again after each wait, and no
            other process looks at the same time.
        reason: as of `one_at_a_time`.
    Yields:
        what `find` returned at last.
    Raises:
        PermissionError: as `one_at_a_time`.
    """
    own = folder / f"claim-{uuid.uuid4().hex}.lock"
    lock = None
    try:
        while True:
            with one_at_a_time(folder / "lock", reason, folder):
                parts = find()
                claim = _claim_on(folder, parts)
                if claim is None:
                    lock = _acquire(own)
                    if lock is not None:
                        write_atomic(_names_of(own), "\n".join(parts).encode())
                    break
            _wait_for(claim)
        yield parts
    finally:
        remove(_names_of(own))
        if lock is not None:
            lock.release()
            remove(own)


def _names_of(claim: Path) -> Path:
    """Returns the file of the names of what is claimed, which lies beside the claim's lock."""
    return claim.with_suffix(".names")


def _claim_on(folder: Path, parts: set[str]) -> Path | None:
    """Returns the lock of a claim on some of the parts; removes claims that nobody holds."""
    for names in folder.glob("claim-*.names"):
        claim = names.with_suffix(".lock")
        if not _is_held(claim):
            remove(names)
            remove(claim)
        elif not parts.isdisjoint(_read(names)):
            return claim
    return None


def _read(names: Path) -> list[str]:
    try:
        return names.read_text().split("\n")
    except OSError:  # given back at this moment
        return []


def _is_held(path: Path) -> bool:
    lock = FileLock(path, fallback_to_soft=False)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        return True
    except OSError as error:
        if error.errno not in _NOT_GRANTED:
            raise
        return False
    lock.release()
    return False


def _wait_for(claim: Path) -> None:
    lock = _acquire(claim)
    if lock is not None:
        lock.release()
    remove(claim)  # which waiting may have made anew


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
