"""Stores fits under the hash of all that decides them, for every process that shares the folder.

A fit lies in `<home>/fits/<address>/`: `predictions.parquet`, `curve.parquet`, optionally
`weights.safetensors`, and `record.json` with the checksums of the others. The folder is filled
beside its place and renamed, so that processes need no lock to share a store, and a store that one
may only read serves all that it holds. A fit without a record of this address that matches its
files does not exist. Weights may be large: they are checked when they are asked for, and of a fit
that is only found their size alone.
"""

from __future__ import annotations

import ast
import contextlib
import datetime
import functools
import hashlib
import inspect
import io
import json
import shutil
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from .device import machine, versions
from .files import (
    filling,
    is_whole,
    remove,
    replacing,
    sha256_of,
    to_strict_json,
    write_atomic,
    write_json,
)
from .locks import one_at_a_time, require_writable
from .paths import home

if TYPE_CHECKING:
    import pandas as pd
    import torch

RECORD = "record.json"
PREDICTIONS = "predictions.parquet"
CURVE = "curve.parquet"
WEIGHTS = "weights.safetensors"


def address(config: dict) -> str:
    """Returns 20 hex digits of a configuration; the order of its keys plays no part."""
    content = json.dumps(config, sort_keys=True, allow_nan=False)
    return hashlib.sha256(content.encode()).hexdigest()[:20]


def code_version(*parts: ModuleType | Callable) -> str:
    """Returns 16 hex digits of what code does.

    Its syntax tree without docstrings is hashed, so comments and layout play no part.

    Raises:
        ValueError: the source of a function cannot be read.
    """
    digest = hashlib.sha256()
    for part in parts:
        try:
            source = inspect.getsource(part)
        except OSError as error:
            raise ValueError(
                f"the source of {part.__name__!r} cannot be read, so a fit with it has no address; "
                f"define it in a file or a notebook cell"
            ) from error
        digest.update(_syntax(inspect.cleandoc("\n" + source)))
    return digest.hexdigest()[:16]


def source_version(source: str) -> str:
    """Returns 16 hex digits of what a module's source does, as `code_version`."""
    return hashlib.sha256(_syntax(source)).hexdigest()[:16]


@functools.lru_cache(maxsize=512)  # the losses' code is asked for at every fit
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
    """Returns the folder of a fit, whether it exists yet or not."""
    return home() / "fits" / address


def lock(address: str) -> contextlib.AbstractContextManager[None]:
    """Returns the lock that is held while a fit is trained.

    Of two processes that want the same fit, one trains it, the other waits and reads it; where the
    file system grants no locks, both train it, and the first that ends is stored.
    """
    lock_file = home() / "locks" / f"{address}.lock"
    return one_at_a_time(lock_file, f"fit {address} is not stored", home() / "fits")


def write(
    address: str,
    record: dict,
    predictions: pd.DataFrame,
    curve: pd.DataFrame,
    weights: dict[str, torch.Tensor] | None = None,
    *,
    replace: bool = True,
) -> None:
    """Stores a fit, all of it at once.

    Args:
        replace: take the place of a fit that is stored whole under this address.
    """
    with filling(folder(address), lambda: not replace and read(address) is not None) as partial:
        for name, table in ((PREDICTIONS, predictions), (CURVE, curve)):
            write_atomic(partial / name, _parquet(table))
        if weights is not None:
            _write_weights(partial / WEIGHTS, weights)
        files = sorted(partial.glob("*.*"))
        record = to_strict_json(
            record
            | {
                "address": address,
                "files": {path.name: sha256_of(path) for path in files},
                "sizes": {path.name: path.stat().st_size for path in files},
            }
        )
        record = json.loads(json.dumps(record))  # as it will be read: the checksum is of that
        write_json(partial / RECORD, record | {"checksum": _digest(record)})


def write_trained(address: str, weights: dict[str, torch.Tensor], curve: pd.DataFrame) -> None:
    """Keeps the training of a fit that is not done: its weights and curve, until `forget_trained`.

    What comes after a training, such as the decoding of answers, may fail or be killed.
    """
    with filling(_trained_folder(address), lambda: False) as partial:
        write_atomic(partial / CURVE, _parquet(curve))
        _write_weights(partial / WEIGHTS, weights)
        checksums = {name: sha256_of(partial / name) for name in (CURVE, WEIGHTS)}
        write_json(partial / RECORD, checksums)


def read_trained(address: str) -> tuple[dict[str, torch.Tensor], pd.DataFrame] | None:
    """Reads what `write_trained` kept; None if there is nothing, or it is damaged."""
    import pandas as pd
    from safetensors.torch import load_file

    place = _trained_folder(address)
    try:
        checksums = json.loads((place / RECORD).read_text())
        if any(sha256_of(place / name) != checksums.get(name) for name in (CURVE, WEIGHTS)):
            return None
    except (OSError, ValueError):
        return None
    return load_file(place / WEIGHTS), pd.read_parquet(place / CURVE)


def forget_trained(address: str) -> None:
    """Removes what `write_trained` kept of a fit."""
    remove(_trained_folder(address))


def _trained_folder(address: str) -> Path:
    return home() / "trained" / address


def _write_weights(path: Path, weights: dict[str, torch.Tensor]) -> None:
    """Writes tensors from where they are, without a copy of them all."""
    from safetensors.torch import save_file

    with replacing(path) as partial:
        save_file({name: tensor.contiguous() for name, tensor in weights.items()}, partial)
        shutil.copymode(path.with_name(CURVE), partial)  # else only its owner might read it


def _digest(record: dict) -> str:
    """Returns the checksum of a record's other fields."""
    return address({k: v for k, v in record.items() if k != "checksum"})


def _parquet(frame: pd.DataFrame) -> bytes:
    buffer = io.BytesIO()
    frame.to_parquet(buffer, index=False)
    return buffer.getvalue()


def read(address: str) -> tuple[dict, pd.DataFrame, pd.DataFrame] | None:
    """Returns (record, predictions, curve) of a fit; None if there is none or a file is damaged."""
    whole = _contents(address)
    if whole is None:
        return None
    stored, predictions, curve = whole
    return stored, _table(predictions), _table(curve)


def predictions(address: str) -> pd.DataFrame | None:
    """Returns the predictions of a fit, as `read`, in half the time."""
    whole = _contents(address)
    return None if whole is None else _table(whole[1])


def _contents(address: str) -> tuple[dict, bytes, bytes] | None:
    """Returns the record of a fit and its two tables as they are stored; None as `read`."""
    stored = record(address)
    if stored is None:
        return None
    checksums = stored.get("files", {})
    if WEIGHTS in checksums and not _has_size(address, stored, WEIGHTS):
        return None
    tables = {}
    for name in (PREDICTIONS, CURVE):
        try:
            tables[name] = (folder(address) / name).read_bytes()
        except OSError:
            return None
        if hashlib.sha256(tables[name]).hexdigest() != checksums.get(name):
            return None
    return stored, tables[PREDICTIONS], tables[CURVE]


def _table(content: bytes) -> pd.DataFrame:
    """Reads a table of `_parquet`, in half the time of `pandas.read_parquet`.

    That takes it for a data set of several files.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    return pq.ParquetFile(pa.BufferReader(content)).read().to_pandas()


def _has_size(address: str, record: dict, name: str) -> bool:
    path = folder(address) / name
    return path.is_file() and path.stat().st_size == record.get("sizes", {}).get(name)


def weights(address: str) -> dict[str, torch.Tensor]:
    """Reads the trained tensors of a fit that kept them, by name.

    Their file is checked once per process. One that is damaged is removed, where this process may
    do so, and the same `fit` makes it again.

    Raises:
        FileNotFoundError: the fit was made without `keep_weights=True`, or is not in the store.
        OSError: the file is gone or is not the one that was stored.
    """
    from safetensors.torch import load_file

    path = folder(address) / WEIGHTS
    # another process may put a whole fit in the place of a damaged one: look twice
    if not _weights_are_whole(address) and not _weights_are_whole(address):
        with contextlib.suppress(OSError):
            path.unlink()
        raise OSError(
            f"{path} is damaged or gone: it has not the sha256 in the fit's record. The same fit "
            f"with keep_weights=True makes it again"
        )
    return load_file(path)


def _weights_are_whole(address: str) -> bool:
    stored = record(address)
    if stored is None or WEIGHTS not in stored.get("files", {}):
        raise FileNotFoundError(
            f"fit {address} kept no weights, or is not in the store; fit again with "
            f"keep_weights=True"
        )
    return is_whole(folder(address) / WEIGHTS, stored["files"][WEIGHTS])


def record(address: str) -> dict | None:
    """Reads the record of a stored fit; None if there is none, or it is damaged or another's."""
    try:
        stored = json.loads((folder(address) / RECORD).read_text())
        is_its_own = stored["address"] == address
        return stored if is_its_own and stored["checksum"] == _digest(stored) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def addresses() -> list[str]:
    """Lists the addresses of all stored fits, damaged ones too."""
    return sorted(path.name for path in (home() / "fits").glob("[!.]*"))


def get_or_make(address: str, make: Callable[[], tuple]) -> tuple[dict, pd.DataFrame, pd.DataFrame]:
    """Reads the fit of an address, or makes and stores it while other processes wait.

    Args:
        make: returns what `write` takes after the address; the record also gets versions, machine,
            seconds and the time of creation.
    Returns:
        record, predictions, curve.
    Raises:
        PermissionError: the fit is not stored and cannot be; before it is made.
        OSError: the fit was stored and cannot be read again.
    """
    stored = read(address)
    if stored is None:
        with lock(address):
            stored = read(address) or _make_and_store(address, make)
    return stored


def make_together(
    addresses: Iterable[str], make: Callable[[list[str]], Iterable[tuple[str, tuple]]]
) -> dict[str, tuple[dict, pd.DataFrame, pd.DataFrame]]:
    """Makes the fits of several addresses together, less those that are stored by then.

    Other processes that want one of them wait until all are stored.

    Args:
        make: takes the addresses that are lacking; yields each that it could make, with what
            `get_or_make` takes of its `make`. What was yielded is stored before the next is asked
            for.
    Returns:
        {address: record, predictions, curve} of those that were stored or could be made.
    Raises: as `get_or_make`.
    """
    wanted = list(dict.fromkeys(addresses))
    fits = {}
    lacking = []
    with contextlib.ExitStack() as locks:
        for address in sorted(wanted):  # in one order, so that no two processes wait for each other
            locks.enter_context(lock(address))
        for address in wanted:
            stored = read(address)
            if stored is None:
                _require_place(address)
                lacking.append(address)
            else:
                fits[address] = stored
        started = time.perf_counter()
        seconds = None
        installed = versions()
        for address, made in make(lacking):
            if seconds is None:  # the work is done, and each has its share of it
                seconds = (time.perf_counter() - started) / len(lacking)
            fits[address] = _store_made(address, made, seconds, installed)
    return fits


def _make_and_store(
    address: str, make: Callable[[], tuple]
) -> tuple[dict, pd.DataFrame, pd.DataFrame]:
    _require_place(address)
    started = time.perf_counter()
    made = make()
    return _store_made(address, made, time.perf_counter() - started, versions())


def _require_place(address: str) -> None:
    """Refuses a fit that could not be stored after it is made."""
    place = folder(address)
    if place.is_dir():  # damaged, or another user's
        require_writable(place, f"fit {address} cannot be read")


def _store_made(
    address: str, made: tuple, seconds: float, installed: dict[str, str]
) -> tuple[dict, pd.DataFrame, pd.DataFrame]:
    """Stores a fit that took some seconds with installed versions; returns it as it is read."""
    record, *tables = made
    record = record | {
        "versions": installed,
        "machine": machine(),
        "seconds": round(seconds, 2),
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds"),
    }
    for _ in range(3):  # another process, without a lock, may just be replacing a damaged fit
        write(address, record, *tables, replace=False)
        stored = read(address)
        if stored is not None:
            return stored
    raise OSError(f"fit {address} was stored in {folder(address)} and cannot be read again")


def results() -> pd.DataFrame:
    """Lists all stored fits in one table, one row per fit.

    Its columns are task, model, method, loss, labels, seed, sizes, stop (the checkpoint that the
    fit was made for), and test accuracy at each checkpoint that it has. `address` identifies a fit,
    and `labels_address` the supervisor whose labels it was trained on (empty for ground truth), so
    a student's row joins its supervisor's. A fit of another version of the kit has what its record
    says.
    """
    import pandas as pd

    rows = []
    for stored in map(record, addresses()):
        if stored:
            row = {"address": stored["address"]}
            row |= _fields(stored, "summary") | {"stop": stored.get("stop")}
            row |= _fields(stored, "metrics")
            row |= {name: stored.get(name) for name in ("seconds", "created")}
            rows.append(row)
    return pd.DataFrame(rows)


def _fields(record: dict, name: str) -> dict:
    """Returns a part of a record; {} where another version of the kit wrote none."""
    part = record.get(name)
    return part if isinstance(part, dict) else {}
