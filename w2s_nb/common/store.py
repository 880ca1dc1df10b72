"""Content-addressed records of fits: found again by every notebook, process and machine that shares the folder.

A fit lives in `<home>/fits/<address>/`: `predictions.parquet`, `curve.parquet`, optionally `weights.safetensors`, and
`record.json`, written last with the checksums of the others. Without a record that matches, nothing is there.
"""

from __future__ import annotations

import ast
import datetime
import hashlib
import inspect
import io
import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pandas as pd
import safetensors.torch
import torch
from filelock import FileLock

from .device import machine, versions
from .files import strict, write_atomic, write_json
from .paths import home

RECORD = "record.json"


def address(config: dict) -> str:
    """20 hex digits of a configuration; equal exactly for equal content, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(config, sort_keys=True, allow_nan=False).encode()).hexdigest()[
        :20
    ]


def code_version(*parts: ModuleType | Callable) -> str:
    """16 hex digits of what code does: its syntax tree without docstrings, so comments and layout play no part."""
    whole = hashlib.sha256()
    for part in parts:
        try:
            source = inspect.getsource(part)
        except OSError as error:
            raise ValueError(
                f"the source of {part.__name__!r} cannot be read, so a fit with it has no address; define "
                f"it in a file or a notebook cell"
            ) from error
        whole.update(_syntax(inspect.cleandoc("\n" + source)))
    return whole.hexdigest()[:16]


def source_version(source: str) -> str:
    """16 hex digits of what a module's source does, as `code_version`."""
    return hashlib.sha256(_syntax(source)).hexdigest()[:16]


def _syntax(source: str) -> bytes:
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if (
            isinstance(node, (ast.Module, ast.FunctionDef, ast.ClassDef))
            and ast.get_docstring(node) is not None
        ):
            node.body = node.body[1:] or [ast.Pass()]
    return ast.dump(tree).encode()


def folder(address: str) -> Path:
    """Where the fit of an address lives, or will."""
    return home() / "fits" / address


def lock(address: str) -> FileLock:
    """Held while a fit is trained or read: of two processes that want it, one trains, the other waits and reads."""
    (home() / "locks").mkdir(parents=True, exist_ok=True)
    return FileLock(home() / "locks" / f"{address}.lock")


def write(
    at: str,
    record: dict,
    predictions: pd.DataFrame,
    curve: pd.DataFrame,
    weights: dict[str, torch.Tensor] | None = None,
) -> None:
    """Stores a fit; the record comes last. Call it with the lock held."""
    target = folder(at)
    (target / RECORD).unlink(missing_ok=True)
    shutil.rmtree(target, ignore_errors=True)
    files = {"predictions.parquet": _parquet(predictions), "curve.parquet": _parquet(curve)}
    if weights is not None:
        files["weights.safetensors"] = safetensors.torch.save(
            {k: v.contiguous() for k, v in weights.items()}
        )
    for name, content in files.items():
        write_atomic(target / name, content)
    checksums = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    record = json.loads(json.dumps(strict(record | {"address": at, "files": checksums})))
    write_json(target / RECORD, record | {"checksum": _digest(record)})


def _digest(record: dict) -> str:
    return address({k: v for k, v in record.items() if k != "checksum"})


def _parquet(frame: pd.DataFrame) -> bytes:
    buffer = io.BytesIO()
    frame.to_parquet(buffer, index=False)
    return buffer.getvalue()


def read(address: str) -> tuple[dict, pd.DataFrame, pd.DataFrame] | None:
    """(record, predictions, curve) of a whole fit, or None if there is none, or a file is damaged."""
    found = record(address)
    if found is None:
        return None
    contents = {}
    for name, checksum in found["files"].items():
        path = folder(address) / name
        if not path.is_file():
            return None
        contents[name] = path.read_bytes()
        if hashlib.sha256(contents[name]).hexdigest() != checksum:
            return None
    frames = (
        pd.read_parquet(io.BytesIO(contents[name]))
        for name in ("predictions.parquet", "curve.parquet")
    )
    return found, *frames


def weights(address: str) -> dict[str, torch.Tensor]:
    """The trained tensors of a fit that kept them.

    Raises:
        FileNotFoundError: the fit was made without `keep_weights=True`.
    """
    path = folder(address) / "weights.safetensors"
    if not path.is_file():
        raise FileNotFoundError(f"fit {address} kept no weights; fit again with keep_weights=True")
    return safetensors.torch.load_file(path)


def record(address: str) -> dict | None:
    """The record of a stored fit, or None if there is none, or it is damaged."""
    try:
        found = json.loads((folder(address) / RECORD).read_text())
        return found if found["checksum"] == _digest(found) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def addresses() -> list[str]:
    """Addresses of all stored fits, whole or not."""
    return sorted(path.name for path in (home() / "fits").glob("*"))


def get_or_make(address: str, make: Callable[[], tuple]) -> tuple[dict, pd.DataFrame, pd.DataFrame]:
    """(record, predictions, curve) of an address: found, or made by one process while others wait.

    Args:
        make: () -> what `write` takes after the address; the record gets versions, machine, seconds and time here.
    """
    with lock(address):
        found = read(address)
        if found is None:
            started = time.perf_counter()
            made, *tables = make()
            write(
                address,
                made
                | {
                    "versions": versions(),
                    "machine": machine(),
                    "seconds": round(time.perf_counter() - started, 2),
                    "created": datetime.datetime.now(datetime.timezone.utc).isoformat(
                        timespec="seconds"
                    ),
                },
                *tables,
            )
            found = read(address)
    return found


def results() -> pd.DataFrame:
    """One row a stored fit: task, model, method, loss, labels, seed, sizes, test accuracy at each checkpoint.

    `address` identifies a fit and `labels_address` the supervisor whose labels it was trained on, empty for ground
    truth; so a student's row joins its supervisor's.
    """
    records = [record(address) for address in addresses()]
    rows = [
        {
            "address": r["address"],
            **r["summary"],
            **r["metrics"],
            "seconds": r["seconds"],
            "created": r["created"],
        }
        for r in records
        if r
    ]
    return pd.DataFrame(rows)
