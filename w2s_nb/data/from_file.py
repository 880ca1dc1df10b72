"""Makes a task of a table that somebody brings, in one line."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..common.registry import TASKS
from ..common.store import address
from .sources import rows_of, with_places
from .tables import (
    COMPRESSED,
    SUFFIXES,
    check_classes,
    check_rows,
    class_numbers,
    column_like,
    count_numbered,
    find_column,
    key_of,
    splits_in,
)
from .tasks.checking import is_missing
from .tasks.spec import EQUAL, Example, Hub, Prompt, TaskSpec, check_name, either, register_task


def task_from_file(
    source,
    *,
    text: str = "text",
    label: str = "label",
    classes: Sequence | None = None,
    group: str | None = None,
    name: str | None = None,
    max_len: int = 128,
    prompt: Prompt | None = None,
    encoding: str | None = None,
    balance: str = EQUAL,
) -> str:
    """Registers the rows of a table as a task of texts to classify.

    Rows without a text are left out and counted; everything else that cannot be used is refused,
    with the row. What is read now is used, also where the file changes later. A further call reads
    the file again only if its content or an argument is another.

    Args:
        source: the path of a csv, tsv, jsonl, json or parquet file, see `tables.read_table`, or of
            a folder that `save_to_disk` wrote; a DataFrame of pandas, polars or pyarrow; a
            `Dataset` or `DatasetDict`; a list of rows; a `w2s.Hub`; or a dict of
            splits "train" and "test" of these. Without a split "test" a quarter of the groups is
            for test.
        text, label: names of the columns; capitals may differ.
        classes: the values that mean class 0, class 1 and so on, such as ("bad", "good"); None
            takes the whole numbers from 0 that stand in the column, or False and True.
        group: name of the column that says which texts belong together, and so never stand in two
            splits; capitals, white space around and how a number is written make no difference in
            it; None takes the column `group` where there is one. A row without a group is one
            of its own.
        name: of the task; None takes the file's, or the dataset's on the hub.
        max_len: tokens kept of a text, counted from its end.
        prompt: the words in which a language model is asked; None names the classes.
        encoding: of the letters of a text file; None takes UTF-8, or UTF-16 with its mark.
        balance: "equal" takes as many texts of each class; "as is" keeps the shares that the
            classes have in the table.
    Returns:
        The task's name, for `load_task`, `run_arms` and every notebook.
    Raises:
        FileNotFoundError, DataUnavailable: no such file, or the hub's dataset cannot be had.
        ValueError: the file cannot be read; no such column; a label that is missing or no class,
            with its row; a class without a row; a name that is one of the kit's own.
    """
    for what, column in {"text": text, "label": label, "group": group or ""}.items():
        if not isinstance(column, str):
            raise TypeError(f"{what} = {column!r}; expected the name of a column")
    name = name or _name_of(source)
    named = check_classes(classes, n_classes=None)

    def examples(row):
        yield Example((row["text"],), row["label"], (row["group"],))

    try:
        check_name(name, examples)
    except ValueError as error:
        raise ValueError(f"{error}, as in name='my_reviews'") from None
    how = repr((text, label, classes, group, max_len, prompt, encoding, balance))
    content = _content_of(source)
    if content and _made.get(name) == (content, how, TASKS.registered(name)):
        return name
    tables = _tables_of(source, name, encoding, (text, label, group))
    labels = [row[table.label] for table in tables.values() for _, row in table.placed]
    n_classes = len(named) if named else count_numbered(labels)
    cleaned = {
        split: _clean(table, named, None if named else n_classes) for split, table in tables.items()
    }
    if n_classes and n_classes > 2:
        names = tuple(map(str, named or range(n_classes)))
        examples.__doc__ = f"Which {label} is it?"
    else:
        names = None  # the words of the prompt
        _, positive = named or (0, 1)
        examples.__doc__ = f"Is the {label} {positive}?"
    register = register_task(
        name,
        lambda: cleaned,
        max_len=max_len,
        prompt=prompt or (_prompt_of(label, named) if named else None),
        classes=names,
        balance=balance,
        version=address(cleaned),
    )
    register(examples)
    if content and content == _content_of(source):  # it has not changed while it was read
        _made[name] = (content, how, TASKS.registered(name))
    return name


# {name: the file that a task was made of, how, and the task}
_made: dict[str, tuple[str, str, TaskSpec]] = {}


def _content_of(source) -> str:
    """Returns a file's path and sha256, whatever its time of change; "" of other sources."""
    path = Path(source).expanduser() if isinstance(source, (str, os.PathLike)) else None
    if path is None or not path.is_file():
        return ""
    with path.open("rb") as stream:
        return f"{path} {hashlib.file_digest(stream, 'sha256').hexdigest()}"


def _name_of(source) -> str:
    """Returns the name of a file without its suffixes, or that of a dataset on the hub."""
    if isinstance(source, Hub):
        return source.id.rpartition("/")[2]
    if not isinstance(source, (str, os.PathLike)):
        raise ValueError(f"a {type(source).__name__} has no name; say the task's, name='mine'")
    stem = Path(source).name
    while Path(stem).suffix.lower() in (*SUFFIXES, *COMPRESSED):
        stem = Path(stem).stem
    return stem


def _shown(source, name: str) -> str:
    """Returns the name of a source as errors say it."""
    if isinstance(source, Hub):
        return source.id
    return Path(source).name if isinstance(source, (str, os.PathLike)) else name


def _splits_of(source, name: str, encoding: str | None) -> dict[str, Iterable[dict]]:
    """Reads {'train': rows, 'test': rows} or {'all': rows}."""
    tables = None if isinstance(source, Hub) else splits_in(source, encoding)
    for rows in (tables or {}).values():
        if isinstance(rows, (list, tuple)) and rows and not isinstance(rows[0], Mapping):
            raise TypeError(
                f"row 1 is {rows[0]!r:.60}; expected {{column: value}}. pandas.DataFrame makes a "
                f"table of columns or of tuples"
            )
    given = source if tables is None else lambda: tables
    spec = TaskSpec(name, given, lambda row: (), 1, 0, "", Prompt("", ("", "")), folders=(name,))
    return rows_of(spec)


@dataclass(frozen=True)
class _Table:
    """The rows of one split, and which columns are read.

    Attributes:
        where: the source and, if it has several, the split.
        placed: (place, row), such as ("mine.csv, row 3 of train", {...}).
        text, label, group: names of columns as the rows have them; the last may be None.
    """

    where: str
    placed: list[tuple[str, dict]]
    text: str
    label: str
    group: str | None


def _tables_of(
    source, name: str, encoding: str | None, columns: tuple[str, str, str | None]
) -> dict[str, _Table]:
    """Reads {split: table}.

    Args:
        columns: of text, label and group, as the caller names them; the last may be None.
    """
    shown = _shown(source, name)
    tables = {}
    for split, split_rows in _splits_of(source, name, encoding).items():
        placed = [(f"{shown}, {place}", row) for place, row in with_places(split_rows, split, name)]
        where = shown if split == "all" else f"{shown}, split {split!r}"
        rows = [row for _, row in placed]
        check_rows(rows, where)
        text, label = (find_column(rows, column, where) for column in columns[:2])
        group = column_like(rows, "group", where)
        if columns[2] is not None:
            group = find_column(rows, columns[2], where)
        tables[split] = _Table(where, placed, text, label, group)
    return tables


def _clean(table: _Table, classes: tuple | None, n_classes: int | None) -> list[dict]:
    """Returns rows {text, label from 0 to K - 1, group or ""}.

    Args:
        n_classes: K where classes are numbers from 0; None where they are named or not known.
    """
    places = [place for place, _ in table.placed]
    rows = [row for _, row in table.placed]
    values = [row[table.label] for row in rows]
    labels = class_numbers(values, classes, places.__getitem__, table.label, n_classes)
    names = classes or range(n_classes or 2)
    present = set(labels)
    missing = [name for number, name in enumerate(names) if number not in present]
    if len(names) - len(missing) == 1:
        number = {2: "two"}.get(len(names), len(names))
        raise ValueError(
            f"{table.where}: {table.label} is {values[0]!r:.60} in all {len(rows)} rows; expected "
            f"{number} classes"
        )
    if missing:
        raise ValueError(
            f"{table.where}: {table.label} is {either(map(repr, missing))} in none of {len(rows)} "
            f"rows; expected {len(names)} classes"
        )
    group = table.group
    return [
        {
            "text": _text_of(row[table.text], f"{place}: {table.text}"),
            "label": of_class,
            "group": "" if group is None or is_missing(row[group]) else key_of(row[group]),
        }
        for place, row, of_class in zip(places, rows, labels, strict=True)
    ]


def _text_of(value, where: str) -> str:
    """Returns a text, "" where it is missing.

    Raises:
        ValueError: something else stands there.
    """
    if isinstance(value, str):
        return value
    if value is None or value != value:  # NaN
        return ""
    raise ValueError(f"{where} is {value!r:.60}; expected a text")


def _prompt_of(label: str, classes: tuple) -> Prompt:
    """Returns a prompt that asks for the name of the class."""
    names = tuple(map(str, classes))
    asked = label.capitalize().replace("{", "{{").replace("}", "}}")
    return Prompt(f"{{0}}\n{asked}:", names, f"Answer with {either(names)}.")
