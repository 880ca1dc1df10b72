"""Rows of a task: from local files first, else from the task's own source."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from itertools import islice
from pathlib import Path

import datasets
from huggingface_hub import HfApi
from huggingface_hub.errors import OfflineModeIsEnabled

from ..common.paths import data_dir
from .tasks.spec import Hub, TaskSpec

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
    """Raw rows, {'train': ..., 'test': ...} or {'all': ...} where there is one labelled split only.

    Raises:
        DataUnavailable: neither local files nor the task's source can be read.
    """
    local = _local_files(spec)
    if local:
        return _two_or_all(spec, {name: _read(files) for name, files in local.items()})
    if not isinstance(spec.source, Hub):
        return _two_or_all(spec, spec.source())
    try:
        if spec.source.train == spec.source.test:
            return {"all": _from_hub(spec.source, spec.source.train)}
        return {
            "train": _from_hub(spec.source, spec.source.train),
            "test": _from_hub(spec.source, spec.source.test),
        }
    except (
        Exception
    ) as error:  # the hub's and datasets' errors share no base class; each one ends here
        raise DataUnavailable(
            f"task {spec.name!r}: dataset {spec.source.id} (revision {spec.source.revision or 'main'}) is not in the "
            f"local cache and could not be fetched: {type(error).__name__}: {str(error)[:200]}. Ways out: put "
            f"{' and '.join(dict.fromkeys([f'{spec.source.train}.parquet', f'{spec.source.test}.parquet']))} (or "
            f".jsonl.gz, in the hub's own columns) into $W2S_DATA/{_folder(spec)}/ (W2S_DATA is "
            f"{data_dir() or 'not set'}); or fill HF_HOME on a machine with network and set HF_HUB_OFFLINE=1; or use "
            f"an embedded task: movie_snippets, amazon_snippets, tweet_snippets, snippet_preferences, mate_in_one."
        ) from error


def _folder(spec: TaskSpec) -> str:
    """The folder of local files, below `W2S_DATA`: of the task, or of its part."""
    base, _, option = spec.name.partition("@")
    return f"{base}/{option}" if option and not spec.narrow else spec.folders[0]


def _local_files(spec: TaskSpec) -> dict[str, list[Path]]:
    """{split: files} below `$W2S_DATA/<task>`, or its part's folder there; only splits that carry labels."""
    hub = isinstance(spec.source, Hub)
    if not data_dir() or "@" in spec.name and not hub and not spec.narrow:
        return {}  # the option chooses among the task's own rows
    folders = [_folder(spec), *(spec.folders if "@" not in spec.name or spec.narrow else ())]
    root = next((path for name in folders if (path := data_dir() / name).is_dir()), None)
    if root is None:
        return {}
    labelled = (
        {spec.source.train, spec.source.test}
        if hub and spec.source.train != spec.source.test
        else None
    )
    found: dict[str, list[Path]] = {}
    for path in sorted(root.rglob("*")):
        split, dot, suffix = path.name.partition(".")
        if dot + suffix in _SUFFIXES and path.is_file():
            found.setdefault(split, []).append(path)
    usable = {s: f for s, f in found.items() if labelled is None or s in labelled} or found
    if not usable:
        raise DataUnavailable(f"{root} holds no file named <split>{' or <split>'.join(_SUFFIXES)}")
    return usable


def _read(files: list[Path]) -> datasets.Dataset:
    suffix = files[0].name.partition(".")[2]
    return datasets.load_dataset(
        _SUFFIXES["." + suffix], data_files=[str(f) for f in files], split="train"
    )


def _two_or_all(spec: TaskSpec, splits: dict[str, Iterable[dict]]) -> dict[str, Iterable[dict]]:
    hub = (
        spec.source
        if isinstance(spec.source, Hub) and spec.source.train != spec.source.test
        else None
    )
    train, test = (hub.train, hub.test) if hub else ("train", "test")
    if train in splits and test in splits:
        return {"train": splits[train], "test": splits[test]}
    if len(splits) == 1:
        return {"all": next(iter(splits.values()))}
    raise DataUnavailable(
        f"task {spec.name!r}: got splits {sorted(splits)}; expected one split, or {train} and {test}"
    )


@functools.cache
def _newest(hub_id: str) -> str | None:
    """The commit that `main` is at; None, what the local cache holds, in offline mode, where nothing is downloaded."""
    try:
        return HfApi().dataset_info(hub_id, timeout=10).sha
    except OfflineModeIsEnabled:
        return None


def _from_hub(hub: Hub, split: str) -> list[dict]:
    """Rows of one split at the pinned commit; a repository with a script is read from its parquet branch."""

    def load(**where):
        return datasets.load_dataset(hub.id, split=split, streaming=hub.limit is not None, **where)

    rows, revision = [], hub.revision or _newest(hub.id)
    for part in hub.parts or (None,):
        try:
            loaded = load(revision=revision, data_dir=part)
        except RuntimeError as error:
            if _SCRIPT not in str(error):
                raise
            loaded = load(revision=_CONVERTED, data_dir=part)
        rows += list(islice(loaded, hub.limit)) if hub.limit else list(loaded)
    return rows
