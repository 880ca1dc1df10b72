"""Keeps the examples of a task whose formatter takes long in the cache, for every later process."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from ..common.assets import make_once
from ..common.progress import progress
from ..common.store import code_version
from .sources import identity_of, rows_of, with_places
from .tasks import checking
from .tasks.checking import examples_of
from .tasks.spec import Example, TaskSpec, unix_breaks

_FIELDS = {  # of an example, with their types in a file
    "texts": "list",
    "label": "int64",
    "keys": "list",
    "answer": "string",
    "difficulty": "float64",
    "themes": "list",
    "question": "string",
}
_ROWS = b"rows"  # key of their number in the metadata of a file
_TOGETHER = 10_000  # rows that are written at a time


def examples_by_row(spec: TaskSpec) -> dict[str, Iterable[list[Example]]]:
    """Makes the examples of every row, as far as they are not in the cache.

    Where `spec.prepared` says what decides them beside the rows, they are made once for all tasks
    of the same rows and formatter.

    Returns:
        {'train': (one list of examples per row), 'test': ...}, or {'all': ...} where there is one
        labelled split only.
    Raises:
        DataUnavailable, TypeError, ValueError: as `rows_of` and `examples_of`.
    """
    rows_are = identity_of(spec) if spec.prepared else None
    if spec.prepared is None or rows_are is None:
        return {split: _make(spec, split, rows) for split, rows in rows_of(spec).items()}
    record = {
        "rows": rows_are,
        "code": code_version(checking, Example, unix_breaks),
        **spec.prepared(),
    }

    def make(folder: Path) -> None:
        title = f"preparing the examples of {spec.name}, once"
        for split, rows in rows_of(spec).items():
            _write(folder / f"{split}.parquet", progress(_make(spec, split, rows), desc=title))

    folder = make_once(f"examples/{spec.examples.__name__}", make, record)
    return {path.stem: _Stored(path) for path in sorted(folder.glob("*.parquet"))}


def _make(spec: TaskSpec, split: str, rows: Iterable[dict]) -> Iterable[list[Example]]:
    """Returns the examples of each row of a split, with the keys that rows have together."""
    of_rows = (examples_of(spec, row, place) for place, row in with_places(rows, split, spec.name))
    return spec.tie(of_rows) if spec.tie else of_rows


def _write(path: Path, of_rows: Iterable[list[Example]]) -> None:
    """Writes the examples of all rows of a split, and how many rows there were."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    types = {"row": "int64"} | _FIELDS
    schema = pa.schema(
        {name: pa.list_(pa.string()) if t == "list" else t for name, t in types.items()}
    )
    number = 0
    columns: dict[str, list] = {name: [] for name in types}
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for number, examples in enumerate(of_rows, 1):
            for example in examples:
                columns["row"].append(number)
                for name in _FIELDS:
                    columns[name].append(getattr(example, name))
            if number % _TOGETHER == 0:
                writer.write_table(pa.table(columns, schema=schema))
                columns = {name: [] for name in types}
        writer.write_table(pa.table(columns, schema=schema))
        writer.add_key_value_metadata({_ROWS: str(number)})


class _Stored:
    """The examples of a split's rows, as `_write` stored them."""

    def __init__(self, path: Path):
        self.path = path

    def __iter__(self) -> Iterator[list[Example]]:
        import pyarrow.parquet as pq

        with pq.ParquetFile(self.path) as file:
            of_row: list[Example] = []
            at = 1
            for batch in file.iter_batches(_TOGETHER):
                for fields in batch.to_pylist():
                    row = fields.pop("row")
                    while at < row:  # those that gave no example as well
                        yield of_row
                        of_row = []
                        at += 1
                    of_row.append(_example(fields))
            for _ in range(at, int(file.metadata.metadata[_ROWS]) + 1):
                yield of_row
                of_row = []


def _example(fields: dict) -> Example:
    lists = {name: tuple(fields.pop(name)) for name, kind in _FIELDS.items() if kind == "list"}
    return Example(**(fields | lists))
