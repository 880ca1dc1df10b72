"""Reads the rows of a task: a dataset of the hub from local files, where there are some."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from ..common.paths import data_dir
from .tables import splits_in
from .tasks.spec import Hub, TaskSpec

if TYPE_CHECKING:
    import datasets

_SCRIPT = "scripts are no longer supported"
_CONVERTED = "refs/convert/parquet"
_SUFFIXES = {
    ".parquet": "parquet",
    ".jsonl": "json",
    ".jsonl.gz": "json",
    ".json": "json",
    ".json.gz": "json",
    ".csv": "csv",
}


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
        return _two_or_all(spec, {name: _read(files) for name, files in local.items()})
    source = spec.source
    if not isinstance(source, Hub):
        return _two_or_all(spec, splits_in(source()))
    try:
        if source.train == source.test:
            return {"all": _from_hub(source, source.train)}
        return {
            "train": _from_hub(source, source.train),
            "test": _from_hub(source, source.test),
        }
    except Exception as error:  # errors of the hub and of datasets share no base class
        raise DataUnavailable(_ways_out(spec, source, error)) from error


def _ways_out(spec: TaskSpec, hub: Hub, error: Exception) -> str:
    """Says in one line what is missing and what to do about it."""
    files = " and ".join(dict.fromkeys([f"{hub.train}.parquet", f"{hub.test}.parquet"]))
    return (
        f"task {spec.name!r}: dataset {hub.id} (revision {hub.revision or 'main'}) is not in the "
        f"local cache and could not be fetched: {type(error).__name__}: {str(error)[:200]}. Ways "
        f"out: put {files} (or .jsonl.gz, in the hub's own columns) into "
        f"$W2S_DATA/{_folder(spec)}/ (W2S_DATA is {data_dir() or 'not set'}); or fill HF_HOME on a "
        f"machine with network and set HF_HUB_OFFLINE=1; or use an embedded task: movie_snippets, "
        f"amazon_snippets, tweet_snippets, snippet_preferences, mate_in_one."
    )


def _folder(spec: TaskSpec) -> str:
    """Returns the folder of local files below `W2S_DATA`: the task's, or that of its part."""
    base, _, option = spec.name.partition("@")
    return f"{base}/{option}" if option and not spec.narrow else spec.folders[0]


def _local_files(spec: TaskSpec) -> dict[str, list[Path]]:
    """Finds {split: files} below `$W2S_DATA/<task>`, or the folder of its part there.

    Only splits that carry labels are taken.
    """
    hub = spec.source if isinstance(spec.source, Hub) else None
    root = _local_folder(spec)
    if root is None:
        return {}
    files: dict[str, list[Path]] = {}
    for path in sorted(root.rglob("*")):
        split, dot, suffix = path.name.partition(".")
        if dot + suffix in _SUFFIXES and path.is_file():
            files.setdefault(split, []).append(path)
    if hub and hub.train != hub.test:
        labelled = {
            split: paths for split, paths in files.items() if split in (hub.train, hub.test)
        }
        files = labelled or files
    if not files:
        raise DataUnavailable(f"{root} holds no file named <split>{' or <split>'.join(_SUFFIXES)}")
    return files


def _local_folder(spec: TaskSpec) -> Path | None:
    """Returns the first folder that exists of the local files of a dataset on the hub."""
    data = data_dir()
    if data is None or not isinstance(spec.source, Hub):
        return None  # a function is the only source of its rows
    names = [_folder(spec)]
    if spec.narrow or "@" not in spec.name:
        names += spec.folders
    return next((data / name for name in names if (data / name).is_dir()), None)


def _read(files: list[Path]) -> datasets.Dataset:
    import datasets

    suffix = files[0].name.partition(".")[2]
    kind = _SUFFIXES["." + suffix]
    return datasets.load_dataset(kind, data_files=[str(f) for f in files], split="train")


def _two_or_all(spec: TaskSpec, splits: dict[str, Iterable[dict]]) -> dict[str, Iterable[dict]]:
    """Names the splits train and test, or all where there is one."""
    train, test = "train", "test"
    if isinstance(spec.source, Hub) and spec.source.train != spec.source.test:
        train, test = spec.source.train, spec.source.test
    if train in splits and test in splits:
        return {"train": splits[train], "test": splits[test]}
    if len(splits) == 1:
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
