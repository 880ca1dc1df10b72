"""Makes a task of a table that somebody brings, in one line."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from ..common.store import address
from .sources import rows_of, with_places
from .tables import (
    COMPRESSED,
    SUFFIXES,
    check_classes,
    check_rows,
    class_numbers,
    column_like,
    find_column,
    key_of,
    splits_in,
)
from .tasks.checking import is_missing
from .tasks.spec import Example, Hub, Prompt, TaskSpec, check_name, register_task


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
) -> str:
    """Registers the rows of a table as a task of texts to classify.

    Rows without a text are left out and counted; everything else that cannot be used is refused,
    with the row. What is read now is used, also where the file changes later.

    Args:
        source: the path of a csv, tsv, jsonl, json or parquet file, see `tables.read_table`, or of
            a folder that `save_to_disk` wrote; a DataFrame of pandas, polars or pyarrow; a
            `Dataset` or `DatasetDict`; a list of rows; a `w2s.Hub`; or a dict of
            splits "train" and "test" of these. Without a split "test" a quarter of the groups is
            for test.
        text, label: names of the columns; capitals may differ.
        classes: the two values that mean class 0 and class 1, such as ("bad", "good"); None takes 0
            and 1, or False and True.
        group: name of the column that says which texts belong together, and so never stand in two
            splits; capitals, white space around and how a number is written make no difference in
            it; None takes the column `group` where there is one. A row without a group is one
            of its own.
        name: of the task; None takes the file's, or the dataset's on the hub.
        max_len: tokens kept of a text, counted from its end.
        prompt: the words in which a language model is asked; None names the two classes.
        encoding: of the letters of a text file; None takes UTF-8, or UTF-16 with its mark.
    Returns:
        The task's name, for `load_task`, `run_arms` and every notebook.
    Raises:
        FileNotFoundError, DataUnavailable: no such file, or the hub's dataset cannot be had.
        ValueError: the file cannot be read; no such column; a label that is missing or neither
            class, with its row; labels of one class only; a name that is one of the kit's own.
    """
    for what, column in {"text": text, "label": label, "group": group or ""}.items():
        if not isinstance(column, str):
            raise TypeError(f"{what} = {column!r}; expected the name of a column")
    name = name or _name_of(source)
    classes = check_classes(classes)

    def examples(row):
        yield Example((row["text"],), row["label"], (row["group"],))

    _, positive = classes or (0, 1)
    examples.__doc__ = f"Is the {label} {positive}?"
    try:
        check_name(name, examples)
    except ValueError as error:
        raise ValueError(f"{error}, as in name='my_reviews'") from None
    where = _shown(source, name)
    cleaned = {}
    for split, rows in _splits_of(source, name, encoding).items():
        placed = [(f"{where}, {place}", row) for place, row in with_places(rows, split, name)]
        table = where if split == "all" else f"{where}, split {split!r}"
        cleaned[split] = _clean(placed, table, (text, label, group), classes)
    prompt = prompt or (_prompt_of(label, classes) if classes else None)
    register = register_task(
        name, lambda: cleaned, max_len=max_len, prompt=prompt, version=address(cleaned)
    )
    register(examples)
    return name


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


def _clean(
    placed: list[tuple[str, dict]],
    where: str,
    columns: tuple[str, str, str | None],
    classes: tuple | None,
) -> list[dict]:
    """Returns rows {text, label 0 or 1, group or ""}.

    Args:
        placed: (place, row), such as ("mine.csv, row 3 of train", {...}).
        where: the source and, if it has several, the split.
        columns: of text, label and group; the last may be None.
    """
    places = [place for place, _ in placed]
    rows = [row for _, row in placed]
    check_rows(rows, where)
    text, label = (find_column(rows, column, where) for column in columns[:2])
    group = column_like(rows, "group", where)
    if columns[2] is not None:
        group = find_column(rows, columns[2], where)
    labels = class_numbers([row[label] for row in rows], classes, places.__getitem__, label)
    if len(set(labels)) == 1:
        raise ValueError(
            f"{where}: {label} is {rows[0][label]!r:.60} in all {len(rows)} rows; expected two "
            f"classes"
        )
    return [
        {
            "text": _text_of(row[text], f"{place}: {text}"),
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
    first, second = map(str, classes)
    asked = label.capitalize().replace("{", "{{").replace("}", "}}")
    return Prompt(f"{{0}}\n{asked}:", (first, second), f"Answer with {first} or {second}.")
