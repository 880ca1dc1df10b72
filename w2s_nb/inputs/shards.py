"""Finds the states of texts or images that shards hold, and has the others computed.

A shard's name has the first and the last depth of its states, and the sha256 of its content.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from safetensors import SafetensorError, safe_open

from ..common.files import is_as_named, remove
from ..common.locks import claimed

# {shard: (positions of texts, their rows in the shard)}
Places = dict[Path, tuple[list[int], list[int]]]


def stored(
    folder: Path, model: str, depth: int, keys: Sequence[str], fill: Callable[[list[int]], None]
) -> Places:
    """Returns where the states of texts or images are stored; has those computed that are not.

    Args:
        model: its name, for messages.
        depth: of the model; a shard must be as deep.
        keys: one per text.
        fill: positions of the texts that are lacking -> None; writes their shards.
    Raises:
        OSError: they were stored and cannot be read again.
    """
    index, _ = look_up(folder, depth, keys)
    if not index.keys() >= set(keys):
        reason = f"activations of {model} are not stored for all of these texts"
        with claimed(folder, lambda: _lacking(folder, depth, keys), reason) as missing:
            if missing:
                last_of_equals = {key: i for i, key in enumerate(keys) if key in missing}
                fill(list(last_of_equals.values()))
        index, _ = look_up(folder, depth, keys)
        if not index.keys() >= set(keys):
            raise OSError(f"activations were stored in {folder} and cannot be read again")
    places: Places = defaultdict(lambda: ([], []))
    for position, key in enumerate(keys):
        path, row = index[key]
        positions, rows = places[path]
        positions.append(position)
        rows.append(row)
    return places


def _lacking(folder: Path, depth: int, keys: Sequence[str]) -> set[str]:
    """Returns the texts that no whole shard has; removes damaged shards, which have them or not."""
    index, damaged = look_up(folder, depth, keys)
    for path in damaged:
        if not is_as_named(path):  # else it was written again meanwhile
            remove(path)
    return set(keys) - index.keys()


def depths_of(path: Path) -> tuple[int, int]:
    """Returns the first and last depth of a shard's states, from its name."""
    first, last, _ = path.stem.split("-")
    return int(first), int(last)


def look_up(
    folder: Path, depth: int, keys: Iterable[str]
) -> tuple[dict[str, tuple[Path, int]], list[Path]]:
    """Looks up texts, or images, in all shards that are deep enough.

    Where several have a text, the shallowest is taken. It is the one that was written first, since
    a text is read again only for a model deeper than all its shards. So what one depth reads of a
    text does not depend on what others store later.

    Returns:
        {key: (shard, row)} of the texts that are stored, and the damaged shards.
    """
    wanted = set(keys)
    found: dict[str, tuple[Path, int]] = {}
    damaged = []
    for path in sorted(folder.glob("*.safetensors"), key=lambda path: (depths_of(path), path.name)):
        if depths_of(path)[1] < depth:
            continue
        rows = _rows_of(path)
        texts_here = wanted.intersection(rows or ())
        if rows is None or (texts_here and not is_as_named(path)):
            damaged.append(path)
        else:
            found |= {key: (path, rows[key]) for key in texts_here}
            wanted -= texts_here
    return found, damaged


def _rows_of(path: Path) -> dict[str, int] | None:
    """Returns {text key: row} of a shard, or None if it cannot be read."""
    try:
        with safe_open(path, framework="numpy") as shard:
            keys = shard.get_tensor("keys")
    except (OSError, SafetensorError):
        return None
    # of all at once: a model may have 100,000 texts, and every fit looks them up
    digits = keys.tobytes().hex()
    width = 2 * keys.shape[1]
    return {digits[i : i + width]: row for row, i in enumerate(range(0, len(digits), width))}
