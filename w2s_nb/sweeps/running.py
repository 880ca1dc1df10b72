"""One run of a notebook by papermill, in a process of its own; imports nothing of the kit, so that a worker is small.

A worker reads one run a line on its standard input and answers with one outcome a line: `python -P running.py`.
"""

from __future__ import annotations

import contextlib
import datetime
import io
import json
import os
import re
import socket
import sys
import threading
import time
import traceback
import uuid
import zipfile
from pathlib import Path

import psutil
from filelock import FileLock

DONE, FAILED, DIED, TIMED_OUT, NO_KERNEL, LOST = (
    "done",
    "failed",
    "kernel died",
    "timed out",
    "kernel did not start",
    "worker lost",
)
RETRIED = (DIED, TIMED_OUT, NO_KERNEL, LOST)  # a notebook that raises will raise again
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


def outcome_of(folder: str | Path, address: str) -> dict | None:
    """The outcome written in a run's folder, if it is of this address and, where it says done, its result is whole."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        found = json.loads((Path(folder) / "run.json").read_text())
        if found["address"] == address and (
            found["state"] != DONE or result_of(folder) is not None
        ):
            return found
    return None


def result_of(folder: str | Path) -> dict | None:
    """The table that a run's notebook wrote, with its parameters; None if there is none, or it is damaged."""
    with contextlib.suppress(OSError, ValueError):
        found = json.loads((Path(folder) / "result.json").read_text())
        return found if isinstance(found, dict) and "table" in found else None
    return None


def execute(run: dict) -> dict:
    """Runs a notebook unless it is done already; of two processes that want the same run, the second waits and reads.

    Done is what papermill ended without an error and wrote its table: of a killed kernel all cells read as completed.

    Args:
        run: `folder` of the run, `address`, `notebook` (its name), `source` (its text), `parameters`, `attempt`
            (1, 2, ...), `seconds` after which it is stopped, or None; `cwd`, where relative paths start; `remote` and
            `store` where machines share no folder, see `exchange`.
    Returns:
        address, notebook, parameters, state, attempts, seconds, error (one line), traceback, machine and finished, as
        `run.json` in the folder has them.
    """
    os.environ.pop(
        "RAY_ADDRESS", None
    )  # a model on several devices takes those of its run, not others of the cluster
    try:
        folder = Path(run["folder"])
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / ".lock"), exchange(run):
            found = outcome_of(folder, run["address"])
            if found and found["state"] == DONE:
                return found
            outcome = _fresh(run, folder)
            write(folder, outcome)
        return outcome
    except (
        Exception
    ) as error:  # a disk, an address of `remote`: whatever stops one run, the others go on
        return ended(run, FAILED, f"{type(error).__name__}: {error}", traceback.format_exc())


def ended(
    run: dict, state: str, error: str = "", trace: str = "", seconds: float | None = None
) -> dict:
    """The outcome of a run that ended now."""
    return {
        "address": run["address"],
        "notebook": run["notebook"],
        "parameters": run["parameters"],
        "state": state,
        "attempts": run["attempt"],
        "seconds": seconds,
        "error": next(iter(error.strip().split("\n"))),
        "traceback": trace,
        "machine": socket.gethostname(),
        "finished": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
    }


def _fresh(run: dict, folder: Path) -> dict:
    for stale in ("run.json", "result.json", "notebook.ipynb"):
        (folder / stale).unlink(missing_ok=True)
    started = time.perf_counter()
    with _errors_in(folder / "kernel.log"):
        state, error, trace = _papermill(run, folder)
    if state == DIED:  # nobody else knows why
        trace = (folder / "kernel.log").read_text(errors="replace")[-4000:]
    if state == DONE and result_of(folder) is None:
        state, error = (
            FAILED,
            "the notebook ended without writing its table; its last cell calls run.save(...)",
        )
    if state != DONE:
        (folder / "result.json").unlink(missing_ok=True)  # of a notebook that raised after it wrote
    return ended(run, state, error, trace, round(time.perf_counter() - started, 2))


def write(folder: str | Path, outcome: dict) -> None:
    """Writes a run's outcome, whole or not at all."""
    _write(Path(folder) / "run.json", (json.dumps(outcome, indent=1) + "\n").encode())


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.part")
    partial.write_bytes(content)
    os.replace(partial, path)


@contextlib.contextmanager
def exchange(run: dict):
    """Around a run: takes the fits that others put at `remote` into `store`, then puts there what this run made.

    `remote` is an fsspec address, with a zip file a fit in `fits/` and a run in `runs/`, each written at once; without
    it nothing is done. There are no locks between machines that share no folder: two that want the same fit at once
    both train it, and the one that is there first stays.
    """
    if not run.get("remote"):
        yield
        return
    import fsspec

    far, root = fsspec.url_to_fs(run["remote"])
    fits, locks = Path(run["store"]) / "fits", Path(run["store"]) / "locks"
    locks.mkdir(parents=True, exist_ok=True)
    for address in _there(far, f"{root}/fits") - {
        path.parent.name for path in fits.glob("*/record.json")
    }:
        with FileLock(locks / f"{address}.lock"):  # the store's own
            if not (fits / address / "record.json").is_file():
                _unpack(far.cat_file(f"{root}/fits/{address}.zip"), fits / address)
    try:
        yield
    finally:
        there = _there(far, f"{root}/fits")
        for path in fits.glob("*/record.json"):
            if path.parent.name not in there:
                _put(far, f"{root}/fits/{path.parent.name}.zip", path.parent)
        _put(far, f"{root}/runs/{run['address']}.zip", Path(run["folder"]))


def fetch(remote: str, addresses: list[str], runs: str | Path) -> None:
    """Copies what runs left at an fsspec address, those that are there, into their folders in `runs`."""
    import fsspec

    far, root = fsspec.url_to_fs(remote)
    for address in _there(far, f"{root}/runs").intersection(addresses):
        _unpack(far.cat_file(f"{root}/runs/{address}.zip"), Path(runs) / address)


def _there(far, folder: str) -> set[str]:
    found = far.ls(folder, detail=False, refresh=True) if far.exists(folder) else []
    return {Path(path).stem for path in found if path.endswith(".zip")}


def _put(far, path: str, folder: Path) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(folder.iterdir()):
            if file.suffix not in (".part", ".lock") and file.name != ".lock":
                archive.write(file, file.name)
    far.makedirs(path.rpartition("/")[0], exist_ok=True)
    partial = f"{path}.{uuid.uuid4().hex[:8]}.part"
    far.pipe_file(partial, packed.getvalue())
    far.mv(partial, path)


def _unpack(packed: bytes, folder: Path) -> None:
    """Writes the files of an archive; the record that says they are whole comes last."""
    with zipfile.ZipFile(io.BytesIO(packed)) as archive:
        for name in sorted(archive.namelist(), key=lambda n: (n in ("record.json", "run.json"), n)):
            _write(folder / Path(name).name, archive.read(name))


@contextlib.contextmanager
def _errors_in(path: Path):
    """Sends what this process and its kernel print as errors to a file."""
    kept = os.dup(2)
    with open(path, "wb") as stream:
        os.dup2(stream.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def _papermill(run: dict, folder: Path) -> tuple[str, str, str]:
    """(state, error, traceback) of executing the notebook."""
    import nbformat
    import papermill
    from nbclient.exceptions import DeadKernelError
    from papermill.exceptions import PapermillExecutionError

    over = threading.Event()
    timer = threading.Timer(run["seconds"] or 0, lambda: (over.set(), _kill_children()))
    if run["seconds"]:
        timer.start()
    try:
        output = (
            str(folder / "notebook.ipynb").replace("{", "{{").replace("}", "}}")
        )  # papermill takes it for a template
        papermill.execute_notebook(
            nbformat.reads(run["source"], as_version=4),
            output,
            parameters=run["parameters"] | {"results": str(folder / "result.json")},
            kernel_name="python3",
            cwd=run["cwd"] if os.path.isdir(run["cwd"]) else str(folder),
            progress_bar=False,
            start_timeout=120,
        )
        return DONE, "", ""
    except PapermillExecutionError as error:
        lines = _COLOURS.sub("", "\n".join(error.traceback))
        return FAILED, f"{error.ename}: {error.evalue}".split("\n")[0], lines
    except Exception as error:  # whatever stops one run, the others go on
        state = (
            TIMED_OUT
            if over.is_set()
            else DIED
            if isinstance(error, DeadKernelError)
            else NO_KERNEL
            if _before_the_first_cell(folder)
            else FAILED
        )
        what = (
            f"stopped after {run['seconds']:g} s"
            if over.is_set()
            else f"{type(error).__name__}: {error}"
        )
        return state, what.split("\n")[0], traceback.format_exc()
    finally:
        timer.cancel()


def _before_the_first_cell(folder: Path) -> bool:
    """Whether papermill gave up before it ran anything: its notebook, saved after each cell, has no executed one."""
    with contextlib.suppress(OSError, ValueError, KeyError):
        cells = json.loads((folder / "notebook.ipynb").read_text())["cells"]
        return not any(cell.get("execution_count") for cell in cells)
    return True


def _kill_children() -> None:
    """Kills the kernel, and what it started."""
    for child in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            child.kill()


def _end_with(parent: int) -> None:
    """Ends this process, and its kernel, once its parent is gone."""
    while os.getppid() == parent:
        time.sleep(0.5)
    _kill_children()
    os._exit(1)


def serve() -> None:
    """Answers runs until standard input ends. What papermill or a library prints goes to standard error."""
    threading.Thread(target=_end_with, args=[os.getppid()], daemon=True).start()
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        print(json.dumps(execute(json.loads(line))), file=answers, flush=True)


if __name__ == "__main__":
    serve()
