"""Reads the rows of a task: a dataset of the hub from local files, where there are some."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from ..common.files import sha256_of
from ..common.paths import data_dir
from ..common.progress import warn
from .tables import splits_in
from .tasks.checking import in_one_line
from .tasks.spec import Hub, TaskSpec

JOINED = "+"  # stands between the names of splits that are read as one
_SCRIPT = "scripts are no longer supported"
_CONVERTED = "refs/convert/parquet"
_SUFFIXES = {
    ".parquet": "parquet",
    ".jsonl": "json",
    ".jsonl.gz": "json",
    ".json": "json",
    ".json.gz": "json",
    ".csv": "csv",
    ".csv.gz": "csv",
    ".csv.zst": "csv",
}
_NO_ROWS = "corresponds to no data"  # so datasets says of a csv that has its header alone
_SHARD = re.compile(r"(.+)-\d{5}-of-\d{5}(-[0-9a-f]+)?")  # as the hub names parts of a split
_SAVED = "state.json"  # in a folder of one split that `save_to_disk` wrote
_ABOUT = (_SAVED, "dataset_dict.json", "dataset_info.json", "dataset_infos.json")


class DataUnavailable(OSError):
    """A task's rows cannot be had here; the message says what to put where."""


def rows_of(spec: TaskSpec) -> dict[str, Iterable[dict]]:
    """Reads the raw rows of a task.

    Returns:
        {'train': rows, 'test': rows}, or {'all': rows} where there is one labelled split only.
    Raises:
        DataUnavailable: neither local files nor the dataset on the hub can be read.
    """
    local = _local_files(spec)
    if local:
        limit = spec.source.limit if isinstance(spec.source, Hub) else None
        splits = {name: LocalRows(tuple(files), limit) for name, files in local.items()}
        return _two_or_all(spec, splits)
    source = spec.source
    if not isinstance(source, Hub):
        return _two_or_all(spec, splits_in(_call(source, spec.name)))
    try:
        if source.train == source.test:
            return {"all": _from_hub(source, source.train)}
        return {
            "train": _from_hub(source, source.train),
            "test": _from_hub(source, source.test),
        }
    except Exception as error:  # errors of the hub and of datasets share no base class
        raise DataUnavailable(_ways_out(spec, source, error)) from error


def identity_of(spec: TaskSpec) -> dict | None:
    """Returns what decides a task's raw rows: contents of local files, or a commit of the hub.

    None where that is not known: rows of a function, and those of a hub that does not answer.

    Raises:
        DataUnavailable: as `rows_of`.
    """
    hub = spec.source
    if not isinstance(hub, Hub):
        return None
    taken: dict = {"splits": [hub.train, hub.test], "limit": hub.limit}
    local = _local_files(spec)
    if local:
        return taken | {"files": {split: _contents(paths) for split, paths in local.items()}}
    try:
        revision = hub.revision or _newest(hub.id)
    except Exception:  # errors of the hub share no base class; `rows_of` says what is wrong
        revision = None
    if revision is None:
        return None
    if hub.config:
        taken["config"] = hub.config
    return taken | {"hub": hub.id, "parts": list(hub.parts), "revision": revision}


def _contents(paths: Iterable[Path]) -> list[str]:
    """Returns the sha256 of every file, and of every file in a folder."""
    files = [
        file for path in paths for file in ([path] if path.is_file() else sorted(path.iterdir()))
    ]
    return [sha256_of(file) for file in files]


def _call(source: Callable[[], object], task: str) -> object:
    """Returns what a source gives; says of which task it is where it fails."""
    try:
        return source()
    except (OSError, ValueError, ImportError):
        raise
    except Exception as error:  # of the user's own reading
        raise ValueError(f"task {task!r}: its source fails: {in_one_line(error)}") from error


def _ways_out(spec: TaskSpec, hub: Hub, error: Exception) -> str:
    """Says in one line what is missing and what to do about it."""
    names = [*hub.train.split(JOINED), *hub.test.split(JOINED)]
    files = " and ".join(dict.fromkeys(f"{name}.parquet" for name in names))
    return (
        f"task {spec.name!r}: dataset {hub.id} (revision {hub.revision or 'main'}) is not in the "
        f"local cache and could not be fetched: {type(error).__name__}: {str(error)[:200]}. Ways "
        f"out: put {files} (or .jsonl.gz, or the hub's folder as it is, in its own columns) into "
        f"$W2S_DATA/{spec.folders[0]}/ (W2S_DATA is {data_dir() or 'not set'}); or fill HF_HOME on "
        f"a machine with network and set HF_HUB_OFFLINE=1; or use an embedded task: "
        f"movie_snippets, amazon_snippets, tweet_snippets, editorial_snippets, "
        f"snippet_preferences, mate_in_one."
    )


def _local_files(spec: TaskSpec) -> dict[str, list[Path]]:
    """Finds {split: files} below `$W2S_DATA/<task>`, or the folders of its parts there.

    Files are called by their split, also with the number of a shard, as the hub has them; a folder
    that `save_to_disk` wrote counts as one file. Only splits that carry labels are taken.
    """
    hub = spec.source if isinstance(spec.source, Hub) else None
    roots = _local_folders(spec)
    if not roots:
        return {}
    files: dict[str, list[Path]] = {}
    for path in [path for root in roots for path in _all_below(root)]:
        named = _suffix(path) in _SUFFIXES and path.name not in _ABOUT
        if named and path.is_symlink() and not path.exists():
            raise DataUnavailable(f"{_below_data(path)} is a link to {path.readlink()}: no file")
        if (named and path.is_file()) or (path / _SAVED).is_file():
            files.setdefault(_split_of(path), []).append(path)
    if hub and JOINED in hub.train and hub.train == hub.test:
        files = {hub.train: [path for paths in files.values() for path in paths]} if files else {}
    if hub and hub.train != hub.test:
        labelled = {
            split: paths for split, paths in files.items() if split in (hub.train, hub.test)
        }
        files = labelled or files
    if not files:
        raise DataUnavailable(
            f"{' and '.join(map(str, roots))} holds no file named <split>"
            f"{' or <split>'.join(_SUFFIXES)}, and no folder <split> that save_to_disk wrote"
        )
    return files


def _all_below(root: Path) -> list[Path]:
    """Returns a folder and all that it holds, without what Jupyter, macOS and the hub's client keep
    beside, whose names begin with a dot.
    """
    below = sorted(root.rglob("*"))
    hidden = [any(part.startswith(".") for part in path.relative_to(root).parts) for path in below]
    return [root, *(path for path, is_hidden in zip(below, hidden, strict=True) if not is_hidden)]


def _suffix(path: Path) -> str:
    """Returns the end of a file's name from its first dot."""
    return path.name[len(path.name.partition(".")[0]) :]


def _split_of(path: Path) -> str:
    """Returns the split that a file belongs to: train of train.csv, train-00000-of-00002.parquet,
    train/0000.parquet.
    """
    name = path.name.partition(".")[0]
    shard = _SHARD.fullmatch(name)
    if shard:
        return shard[1]
    return path.parent.name if name.isdigit() else name


def has_local_files(spec: TaskSpec) -> bool:
    """Tells whether `W2S_DATA` has a folder of a task's; it may hold no file that can be read."""
    return bool(_local_folders(spec))


def _local_folders(spec: TaskSpec) -> list[Path]:
    """Returns the first folder that exists of the local files of a dataset on the hub, or in it
    those of the task's parts: others beside them hold other rows.
    """
    data = data_dir()
    if data is None or not isinstance(spec.source, Hub):
        return []  # a function is the only source of its rows
    folder = next((data / name for name in spec.folders if (data / name).is_dir()), None)
    if folder is None:
        return []
    parts = [folder / part for part in spec.source.parts if (folder / part).is_dir()]
    return parts or [folder]


@dataclass(frozen=True)
class LocalRows:
    """Rows of one split in local files, one file after the other.

    Attributes:
        limit: rows that are read; None reads all.
    """

    files: tuple[Path, ...]
    limit: int | None = None

    def __iter__(self) -> Iterator[dict]:
        return (row for _, row in self.with_places())

    def with_places(self) -> Iterator[tuple[str, dict]]:
        """Yields each row with its place, such as 'row 3 of sciq/train.csv'.

        Raises:
            DataUnavailable: a file cannot be read, or all are empty.
        """
        return islice(self._with_places(), self.limit)

    def _with_places(self) -> Iterator[tuple[str, dict]]:
        n_rows = 0
        for path in self.files:
            name = _below_data(path)
            for number, row in enumerate(_read(path, name), 1):
                n_rows += 1
                yield f"row {number} of {name}", row
        if not n_rows:
            raise DataUnavailable(f"no rows in {', '.join(map(_below_data, self.files))}")


def with_places(rows: Iterable, split: str, task: str) -> Iterator[tuple[str, dict]]:
    """Yields each row with its place: the number of the row, from 1, and its split or file.

    Raises:
        ValueError: the rows break off, as where letters are of another encoding.
    """
    if isinstance(rows, LocalRows):
        yield from rows.with_places()
        return
    of_split = "" if split == "all" else f" of {split}"
    number = 0
    try:
        for number, row in enumerate(rows, 1):
            yield f"row {number}{of_split}", row
    except (OSError, ImportError):
        raise
    except Exception as error:  # of the user's own reading
        raise ValueError(
            f"task {task!r}: after {number} rows{of_split} its source fails: {in_one_line(error)}"
        ) from error


def _below_data(path: Path) -> str:
    """Returns a path as seen from `W2S_DATA`."""
    data = data_dir()
    return str(path.relative_to(data) if data and path.is_relative_to(data) else path)


def _read(path: Path, name: str) -> Iterator[dict]:
    """Yields the rows of a file, or of a folder that `save_to_disk` wrote.

    Raises:
        DataUnavailable: the file is damaged or is no such file; gives its name.
    """
    try:
        yield from _read_compressed(path) if path.suffix == ".zst" else _read_dataset(path)
    except StopIteration:
        return  # of a file without a byte
    except Exception as error:  # errors of pyarrow, pandas and datasets share no base class
        words = in_one_line(error.__cause__ or error)
        if _NO_ROWS in words:
            return
        raise DataUnavailable(
            f"{name} cannot be read as {_SUFFIXES.get(_suffix(path), 'a saved data set')}: "
            f"{words[:200]}"
        ) from error


def _read_dataset(path: Path) -> Iterable[dict]:
    import datasets

    if path.is_dir():
        return datasets.load_from_disk(str(path))
    return datasets.load_dataset(_SUFFIXES[_suffix(path)], data_files=str(path), split="train")


def _read_compressed(path: Path) -> Iterator[dict]:
    """Yields the rows of a csv that zstandard compressed; pyarrow has a reader of it."""
    import pandas as pd
    import pyarrow as pa

    with pa.input_stream(str(path), compression="zstd") as stream:
        for rows in pd.read_csv(stream, chunksize=10_000):
            yield from rows.to_dict("records")


def _two_or_all(spec: TaskSpec, splits: Mapping[str, Iterable[dict]]) -> dict[str, Iterable[dict]]:
    """Names the splits train and test, or all where there is one."""
    train, test = "train", "test"
    if isinstance(spec.source, Hub) and spec.source.train != spec.source.test:
        train, test = spec.source.train, spec.source.test
    if train in splits and test in splits:
        return {"train": splits[train], "test": splits[test]}
    if len(splits) == 1:
        if isinstance(spec.source, Hub) and spec.source.train != spec.source.test:
            warn(
                f"task {spec.name!r}: local files have the split {next(iter(splits))!r} alone, "
                f"not {train!r} and {test!r}: a quarter of its groups is for test",
                stacklevel=5,
            )
        return {"all": next(iter(splits.values()))}
    raise DataUnavailable(
        f"task {spec.name!r}: got splits {sorted(splits)}; expected one split, or {train} and "
        f"{test}"
    )


@functools.cache
def _newest(hub_id: str) -> str | None:
    """Returns the commit that `main` is at; None in offline mode, where the local cache decides."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import OfflineModeIsEnabled

    try:
        return HfApi().dataset_info(hub_id, timeout=10).sha
    except OfflineModeIsEnabled:
        return None


def _from_hub(hub: Hub, split: str) -> list[dict]:
    """Reads the rows of one split at the pinned commit.

    A repository with a loading script is read from its parquet branch, since no remote code is run.
    """
    import datasets

    def load(**where):
        if hub.config:
            where["name"] = hub.config
        return datasets.load_dataset(hub.id, split=split, streaming=hub.limit is not None, **where)

    rows: list[dict] = []
    revision = hub.revision or _newest(hub.id)
    for part in hub.parts or (None,):
        try:
            loaded = load(revision=revision, data_dir=part)
        except RuntimeError as error:
            if _SCRIPT not in str(error):
                raise
            loaded = load(revision=_CONVERTED, data_dir=part)
        rows += list(islice(loaded, hub.limit)) if hub.limit else list(loaded)
    return rows
