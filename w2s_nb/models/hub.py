"""Finds the files of hub models in the hub's cache, and downloads what it lacks."""

from __future__ import annotations

import functools
import hashlib
import re
from pathlib import Path

from huggingface_hub import HfApi, hf_hub_download, snapshot_download, try_to_load_from_cache
from huggingface_hub.errors import LocalEntryNotFoundError

from ..common.files import sha256_of
from . import files
from .files import READ, ModelUnavailable
from .names import ways_out

_WANTED = [f"*{suffix}" for suffix in READ]
_SECONDS = 10  # that the hub may take to answer


@functools.cache
def folder_of(hub_id: str, revision: str | None, only_config: bool = False) -> Path:
    """Returns the folder of a hub repository at one commit; downloads what the cache lacks.

    Where the revision is a commit and the cache holds what is needed, the hub is not asked. Where
    the hub is out of reach, it is asked once, without retries.

    Raises:
        ModelUnavailable: it cannot be had, or it is no model that is read.
    """
    try:
        commit = _commit(hub_id, revision)
        cached = _cached(hub_id, commit)
        if cached and (only_config or _is_whole(cached, hub_id)):
            return cached
        try:
            require_files(hub_id, commit)
        except ModelUnavailable:
            if cached and files.is_downloaded(cached, hub_id):
                return cached
            raise
        if only_config:
            config = hf_hub_download(hub_id, "config.json", revision=commit, etag_timeout=_SECONDS)
            return Path(config).parent
        return Path(
            snapshot_download(
                hub_id, revision=commit, allow_patterns=_WANTED, etag_timeout=_SECONDS
            )
        )
    except ModelUnavailable:
        raise
    except Exception as error:  # the hub's errors share no base class
        raise _out_of_reach(hub_id, revision, error) from error


def _is_whole(folder: Path, hub_id: str) -> bool:
    """Returns whether all of a model's files are in its folder of the cache, as far as it knows."""
    try:
        snapshot_download(
            hub_id, revision=folder.name, allow_patterns=_WANTED, local_files_only=True
        )
    except LocalEntryNotFoundError:
        return False
    return files.is_downloaded(folder, hub_id)


def require_files(hub_id: str, revision: str | None) -> None:
    """Checks by their names that a repository's files are those of a model; downloads none.

    Raises:
        ModelUnavailable: they are not, or the hub is out of reach.
    """
    try:
        _, names = _ask(hub_id, revision)
    except Exception as error:
        raise _out_of_reach(hub_id, revision, error) from error
    files.require_weights(names, hub_id, hub_id)
    for needed, is_there in (
        ("config.json", "config.json" in names),
        ("tokenizer", files.has_tokenizer(names)),
    ):
        if not is_there:
            raise ModelUnavailable(f"model {hub_id}: its repository on the hub has no {needed}")


def check_files(path: Path, hub_id: str, for_weights: bool) -> None:
    """Checks files of the hub's cache, which are links to files named by their checksum.

    A checksum is the sha256, or git's sha1 of a small file. Copies that are no links have none.

    Raises:
        ModelUnavailable: names a file that is not as it was fetched.
    """
    for link in sorted(path.iterdir()):
        file = link.resolve()
        if file.parent.name != "blobs" or link.suffix not in READ or not file.is_file():
            continue
        if link.suffix == ".safetensors" and not for_weights:
            continue
        is_git = len(file.name) == 40
        found = _git_sha1(file, file.stat().st_mtime_ns) if is_git else sha256_of(file)
        if found != file.name:
            raise ModelUnavailable(
                f"model {hub_id}: {link} is not as it was fetched: it has not the checksum in the "
                f"hub's cache. Delete {file} and run `hf download {hub_id}`"
            )


@functools.cache
def _git_sha1(path: Path, mtime_ns: int) -> str:
    """Returns the name that git gives a file's content; the time is there for the cache."""
    content = path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


@functools.cache
def _commit(hub_id: str, revision: str | None) -> str:
    """Returns the commit of a revision, or of `main`, now; offline, the one in the local cache."""
    if revision and re.fullmatch(r"[0-9a-f]{40}", revision):
        return revision
    try:
        return _ask(hub_id, revision)[0]
    except Exception:
        if cached := _cached(hub_id, revision):
            return cached.name
        raise


@functools.cache
def _ask(hub_id: str, revision: str | None) -> tuple[str, frozenset[str]]:
    """Asks the hub, once, for the commit of a revision and the names of its files."""
    info = HfApi().model_info(hub_id, revision=revision, timeout=_SECONDS)
    return str(info.sha), frozenset(file.rfilename for file in info.siblings or ())


def _cached(hub_id: str, revision: str | None) -> Path | None:
    """Returns the folder of the hub's cache that holds the config of a revision, or None."""
    config = try_to_load_from_cache(hub_id, "config.json", revision=revision)
    return Path(config).parent if isinstance(config, str) else None


def _out_of_reach(hub_id: str, revision: str | None, error: Exception) -> ModelUnavailable:
    """Returns the error for a model that could not be fetched, with what the cache has of it."""
    cached = _cached(hub_id, revision)
    have = "is not in the local hub cache"
    if cached:
        lacking = [f.name for f in files.files_of_weights(cached, hub_id) if not f.is_file()]
        have = f"is in the local hub cache in part, without {', '.join(lacking) or 'tokenizer'},"
    beside = files.models_beside(Path(hub_id))
    folders = f" No folder {hub_id} is here, but {', '.join(beside[:5])}." if beside else ""
    return ModelUnavailable(
        f"model {hub_id} (revision {revision or 'main'}) {have} and could not be fetched: "
        f"{type(error).__name__}.{folders} {ways_out(hub_id)}"
    )
