"""Executes one run of a notebook by papermill in a process of its own.

It imports nothing of the kit, so that a worker is small. A worker, `python -P running.py`, reads
one run per line on its standard input and answers with one outcome per line.
"""

from __future__ import annotations

import contextlib
import datetime
import errno
import hashlib
import io
import json
import math
import os
import re
import socket
import sys
import threading
import time
import traceback
import uuid
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import psutil
from filelock import FileLock

DONE = "done"
FAILED = "failed"
DIED = "kernel died"
TIMED_OUT = "timed out"
NO_KERNEL = "kernel did not start"
LOST = "worker lost"
FORK_SERVER = "W2S_FORK_SERVER"  # names a worker the number of a socket of `notebook.fork_server`
ABANDONED = 24 * 3600  # seconds after which a file that is not whole is a killed process's
RETRIED = (DIED, TIMED_OUT, NO_KERNEL, LOST)  # a notebook that raises will raise again
_TYPES = {
    "address": str,
    "notebook": str,
    "parameters": dict,
    "state": str,
    "attempts": int,
    "error": str,
    "traceback": str,
}  # of an outcome, without which it is another version's
_NAME_AT_REMOTE = re.compile(r"[\w-]+")
_UNREADABLE = (OSError, ValueError, RecursionError)  # what a file that is no JSON may raise
_BAD_ZIP = (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, ValueError)
_TERMINAL_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
_kill_others: list[Callable[[], None]] = []  # kill kernels that are no children of this process


def read_outcome(folder: str | Path, address: str) -> dict | None:
    """Returns the outcome in a run's folder; None unless it is as it was written, of this address,
    has what this version writes and, if done, the result that the run wrote.
    """
    with contextlib.suppress(*_UNREADABLE, KeyError, TypeError, AttributeError):
        outcome = json.loads((Path(folder) / "run.json").read_text())
        if not _is_complete(outcome):
            return None
        is_as_written = outcome["checksum"] == _checksum_of(outcome)
        has_result = outcome["state"] != DONE or (
            read_result(folder) is not None and outcome["result"] == _sha256_of_result(folder)
        )
        if is_as_written and has_result and outcome["address"] == address:
            return outcome
    return None


def _is_complete(outcome: dict) -> bool:
    """Tells whether an outcome has all that is read of it, of the type that it is read as."""
    seconds = outcome["seconds"]
    took_time = type(seconds) in (int, float) and math.isfinite(seconds)
    has_all = all(isinstance(outcome[name], kind) for name, kind in _TYPES.items())
    return has_all and (took_time or (seconds is None and outcome["state"] != DONE))


def _checksum_of(outcome: dict) -> str:
    """Returns the sha256 of the other fields of an outcome."""
    content = {key: value for key, value in outcome.items() if key != "checksum"}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _sha256_of_result(folder: str | Path) -> str:
    """Returns the sha256 of the table that a run's notebook wrote; "" without one."""
    path = Path(folder) / "result.json"
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""


def read_result(folder: str | Path) -> dict | None:
    """Returns the table that a run's notebook wrote, with its parameters; None if there is none or
    it is damaged.
    """
    with contextlib.suppress(*_UNREADABLE, KeyError, TypeError, AttributeError):
        result = json.loads((Path(folder) / "result.json").read_text())
        rows_are_dicts = all(isinstance(row, dict) for row in result["table"])
        others = (result["parameters"], result.get("versions", {}))
        if rows_are_dicts and all(isinstance(other, dict) for other in others):
            return result
    return None


def execute(run: dict) -> dict:
    """Runs a notebook unless it is done already; of two processes that want one run, the second
    waits and reads.

    A run is done if papermill ended without an error and the notebook wrote its table. A killed
    kernel leaves a notebook whose cells all read as completed, so the notebook itself proves
    nothing.

    Args:
        run: `folder` of the run, `address`, `notebook` (its name), `source` (its text),
            `parameters`, `plugins` ({path: sha256} of the files of the user's own that its kernel
            imports), `attempt` (1, 2, ...), `seconds` after which it is stopped, or None;
            `cwd`, where relative paths start; `remote` and `store` where machines share no folder,
            see `exchange`.
    Returns:
        address, notebook, parameters, state, attempts, seconds, error (one line), traceback,
        machine and finished, as `run.json` in the folder has them.
    """
    # A model on several devices uses the devices of its run, not others of the cluster.
    os.environ.pop("RAY_ADDRESS", None)
    try:
        folder = Path(run["folder"])
        folder.mkdir(parents=True, exist_ok=True)
        with _lock(folder / ".lock"), exchange(run):
            earlier = read_outcome(folder, run["address"])
            if earlier and earlier["state"] == DONE:
                return earlier
            _hand_plugins_over(run.get("plugins", {}))
            outcome = _execute_afresh(run, folder)
            write_outcome(folder, outcome)
        return outcome
    except Exception as error:  # a full disk, an address of `remote`: the other runs go on
        message = f"{type(error).__name__}: {error}"
        if isinstance(error, OSError) and error.filename is None:
            message += f" (in {run['folder']})"
        return make_outcome(run, FAILED, message, traceback.format_exc())


@contextlib.contextmanager
def _lock(path: Path):
    """Holds a lock; where the file system grants none, two may do the same work, and no harm."""
    lock = FileLock(path, fallback_to_soft=False)
    try:
        lock.acquire()
    except OSError as error:
        if error.errno not in (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EACCES):
            raise
    try:
        yield
    finally:
        lock.release()


def make_outcome(
    run: dict, state: str, error: str = "", trace: str = "", seconds: float | None = None
) -> dict:
    """Returns the outcome of a run that ended now; keys as of `execute`."""
    return {
        "address": run["address"],
        "notebook": run["notebook"],
        "parameters": run["parameters"],
        "state": state,
        "attempts": run["attempt"],
        "seconds": seconds,
        "error": error.strip().split("\n")[0],
        "traceback": trace,
        "machine": socket.gethostname(),
        "finished": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }


def _hand_plugins_over(files: dict[str, str]) -> None:
    """Names plug-ins to the kernel, as they were when the sweep was read.

    Raises:
        ValueError: one is not here, or has changed.
    """
    for path, sha256 in files.items():
        if not os.path.isfile(path):
            raise ValueError(f"plug-in {path} is not on {socket.gethostname()}")
        if hashlib.sha256(Path(path).read_bytes()).hexdigest() != sha256:
            raise ValueError(f"plug-in {path} has changed since the sweep began; start it again")
    os.environ["W2S_PLUGINS"] = ",".join(files)


def _execute_afresh(run: dict, folder: Path) -> dict:
    for stale in ("run.json", "result.json", "notebook.ipynb"):
        (folder / stale).unlink(missing_ok=True)
    for partial in folder.glob(".*.part"):
        with contextlib.suppress(OSError):
            if partial.stat().st_mtime < time.time() - ABANDONED:
                partial.unlink()
    started = time.perf_counter()
    with _errors_in(folder / "kernel.log"):
        state, error, trace = _papermill(run, folder)
    if state == DIED:  # only the kernel's own output says why
        trace = (folder / "kernel.log").read_text(errors="replace")[-4000:]
    if state == DONE and read_result(folder) is None:
        state = FAILED
        error = "the notebook ended without writing its table; its last cell calls run.save(...)"
    if state != DONE:
        # A notebook that raised after it wrote its table leaves no result.
        (folder / "result.json").unlink(missing_ok=True)
    return make_outcome(run, state, error, trace, round(time.perf_counter() - started, 2))


def write_outcome(folder: str | Path, outcome: dict) -> None:
    """Writes a run's outcome, whole or not at all, with checksums of it and of the run's result."""
    outcome = outcome | {"result": _sha256_of_result(folder)}
    outcome |= {"checksum": _checksum_of(outcome)}
    _write_atomic(Path(folder) / "run.json", (json.dumps(outcome, indent=1) + "\n").encode())


def _write_atomic(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.part")
    try:
        partial.write_bytes(content)
        os.replace(partial, path)
    except OSError as error:
        error.filename = error.filename or str(path)  # a full disk is said without
        raise
    finally:
        partial.unlink(missing_ok=True)


@contextlib.contextmanager
def exchange(run: dict):
    """Takes the fits that others put at `remote` into `store` before a run, and puts there what the
    run made.

    `remote` is an fsspec address, with a zip file per fit in `fits/` and per run in `runs/`, each
    written at once; without it nothing is done. A damaged file is passed over, and put there anew.
    There are no locks between machines that share no folder: two that want the same fit at once
    both train it, and the one that is there first stays.
    """
    if not run.get("remote"):
        yield
        return
    import fsspec

    filesystem, root = fsspec.url_to_fs(run["remote"])
    fits = Path(run["store"]) / "fits"
    locks = Path(run["store"]) / "locks"
    damaged = _take_fits(filesystem, f"{root}/fits", fits, locks)
    try:
        yield
    finally:
        there = _names_at(filesystem, f"{root}/fits") - damaged
        for path in fits.glob("[!.]*/record.json"):
            if path.parent.name not in there:
                _put(filesystem, f"{root}/fits/{path.parent.name}.zip", path.parent)
        _put(filesystem, f"{root}/runs/{run['address']}.zip", Path(run["folder"]))


def _take_fits(filesystem, remote_fits: str, fits: Path, locks: Path) -> set[str]:
    """Unpacks the fits at a remote folder that the store lacks, under the store's own locks.

    Returns:
        the names of those that are damaged.
    """
    damaged = set()
    locks.mkdir(parents=True, exist_ok=True)
    here = {path.parent.name for path in fits.glob("[!.]*/record.json")}
    for address in _names_at(filesystem, remote_fits) - here:
        with _lock(locks / f"{address}.lock"):
            is_here = (fits / address / "record.json").is_file()
            path = f"{remote_fits}/{address}.zip"
            if not is_here and not _unpack(filesystem, path, fits / address):
                damaged.add(address)
    return damaged


def fetch(remote: str, addresses: list[str], runs: str | Path) -> None:
    """Copies what runs left at an fsspec address, as far as it is there and whole, into their
    folders in `runs`.
    """
    import fsspec

    filesystem, root = fsspec.url_to_fs(remote)
    for address in _names_at(filesystem, f"{root}/runs").intersection(addresses):
        _unpack(filesystem, f"{root}/runs/{address}.zip", Path(runs) / address)


def _names_at(filesystem, folder: str) -> set[str]:
    """Returns the names of the zip files in a folder, without suffix; names such as `..` are no
    run's and no fit's.
    """
    if not filesystem.exists(folder):
        return set()
    paths = filesystem.ls(folder, detail=False, refresh=True)
    names = {Path(path).stem for path in paths if path.endswith(".zip")}
    return {name for name in names if _NAME_AT_REMOTE.fullmatch(name)}


def _put(filesystem, path: str, folder: Path) -> None:
    """Writes a folder's files as one zip file that is either whole or absent."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(folder.iterdir()):
            if file.suffix not in (".part", ".lock") and file.name != ".lock":
                archive.write(file, file.name)
    filesystem.makedirs(path.rpartition("/")[0], exist_ok=True)
    partial = f"{path}.{uuid.uuid4().hex[:8]}.part"
    filesystem.pipe_file(partial, packed.getvalue())
    filesystem.mv(partial, path)


def _unpack(filesystem, path: str, folder: Path) -> bool:
    """Writes the files of a zip file at a remote address into a folder; returns False, says so and
    writes nothing where it is damaged.

    The record that says they are whole comes last.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(filesystem.cat_file(path))) as archive:
            files = {
                Path(member.filename).name: archive.read(member)
                for member in archive.infolist()
                if not member.is_dir()
            }
    except _BAD_ZIP as error:
        print(f"note: {path} is damaged ({error}), so it is made again", file=sys.stderr)
        return False
    for name in sorted(files, key=lambda n: (n in ("record.json", "run.json"), n)):
        _write_atomic(folder / name, files[name])
    return True


@contextlib.contextmanager
def _errors_in(path: Path):
    """Sends what this process and its kernel print as errors to a file."""
    standard_error = os.dup(2)
    with open(path, "wb") as stream:
        os.dup2(stream.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(standard_error, 2)
        os.close(standard_error)


def _papermill(run: dict, folder: Path) -> tuple[str, str, str]:
    """Executes the notebook; returns (state, error, traceback)."""
    import nbformat
    import papermill
    from papermill.exceptions import PapermillExecutionError

    time_is_up = threading.Event()

    has_ended = threading.Event()

    def stop() -> None:
        time_is_up.set()
        _kill_children()
        while not has_ended.wait(1):  # a kernel may have been about to start
            _kill_children()

    timer = threading.Timer(run["seconds"] or 0, stop)
    if run["seconds"]:
        timer.start()
    try:
        papermill.execute_notebook(
            nbformat.reads(run["source"], as_version=4),
            # papermill takes the path for a template
            str(folder / "notebook.ipynb").replace("{", "{{").replace("}", "}}"),
            parameters=run["parameters"] | {"results": str(folder / "result.json")},
            kernel_name="python3",
            cwd=run["cwd"] if os.path.isdir(run["cwd"]) else str(folder),
            progress_bar=False,
            start_timeout=120,
        )
        return DONE, "", ""
    except PapermillExecutionError as error:
        lines = _TERMINAL_COLOURS.sub("", "\n".join(error.traceback))
        return FAILED, f"{error.ename}: {error.evalue}".split("\n")[0], lines
    except Exception as error:  # whatever stops this run, the others go on
        if time_is_up.is_set():
            return TIMED_OUT, f"stopped after {run['seconds']:g} s", traceback.format_exc()
        message = f"{type(error).__name__}: {error}".split("\n")[0]
        return _state_after(error, folder), message, traceback.format_exc()
    finally:
        timer.cancel()
        has_ended.set()
        if timer.is_alive():
            timer.join()  # lest it kill the next run's kernel


def _state_after(error: Exception, folder: Path) -> str:
    """Tells a kernel that died, or did not start, from other failures."""
    from nbclient.exceptions import DeadKernelError

    if isinstance(error, DeadKernelError):
        return DIED
    return FAILED if _a_cell_was_executed(folder) else NO_KERNEL


def _a_cell_was_executed(folder: Path) -> bool:
    """Tells whether the notebook, which papermill saves after each cell, holds an executed cell."""
    with contextlib.suppress(OSError, ValueError, KeyError):
        cells = json.loads((folder / "notebook.ipynb").read_text())["cells"]
        return any(cell.get("execution_count") for cell in cells)
    return False


def _kill_children() -> None:
    """Kills the kernel, and what it started."""
    for kill in _kill_others:
        kill()
    for child in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            child.kill()


def _end_with(parent: int) -> None:
    """Ends this process, and its kernel, once its parent is gone."""
    while os.getppid() == parent:
        time.sleep(0.5)
    _kill_children()
    os._exit(1)


def _use_fork_server(number: int) -> None:
    """Has kernels forked by the server that listens on an inherited socket."""
    sys.path.append(str(Path(__file__).resolve().parents[2]))  # where the kit is, if not installed
    from w2s_nb.notebook import forked_kernel

    forked_kernel.use(socket.socket(fileno=number))
    _kill_others.append(forked_kernel.kill_all)


def serve() -> None:
    """Answers runs until standard input ends. What papermill or a library prints goes to standard
    error.
    """
    threading.Thread(target=_end_with, args=[os.getppid()], daemon=True).start()
    if FORK_SERVER in os.environ:
        _use_fork_server(int(os.environ.pop(FORK_SERVER)))
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        print(json.dumps(execute(json.loads(line))), file=answers, flush=True)


if __name__ == "__main__":
    serve()
