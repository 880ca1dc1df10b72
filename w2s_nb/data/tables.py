"""Reads tables that people bring: csv of any dialect, jsonl, parquet, DataFrames, datasets.

Errors name the file, the row (counted from 1, without the header), the value, and what is expected.
"""

from __future__ import annotations

import csv
import difflib
import io
import json
import math
import os
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from .tasks.spec import either, unix_breaks, words_of

Row = dict[str, object]

SUFFIXES = (".csv", ".tsv", ".jsonl", ".json", ".parquet")  # all but parquet also compressed
COMPRESSED = (".gz", ".zst", ".bz2")
_SPREADSHEETS = (".xlsx", ".xlsm", ".xls", ".ods", ".numbers")
_NAMED_WRONGLY = " by what it begins with; name it so"
_OTHER_FILES = {
    b"pk\x03\x04": f"a spreadsheet (.xlsx) or an archive{_NAMED_WRONGLY}",
    b"\xd0\xcf\x11\xe0": f"a spreadsheet (.xls){_NAMED_WRONGLY}",
    b"par1": f"a parquet file{_NAMED_WRONGLY}",
    b"\x1f\x8b": f"compressed (.gz){_NAMED_WRONGLY}",
    b"<!doctype": "a web page (HTML), not the file itself: download that",
    b"<html": "a web page (HTML), not the file itself: download that",
    b"version https://git-lfs": "a pointer of git-lfs; `git lfs pull` fetches the file itself",
}
_ADDRESS = re.compile(r"\w{2,}:/")  # such as https://; a Path keeps one of the two bars
_SAVED = ("state.json", "dataset_dict.json")  # in folders that `save_to_disk` wrote
_SEPARATORS = ",;\t|"
_MISSING = ("", "nan", "none", "null", "na", "n/a", "<na>", "nat")
_ENCODINGS = ("cp1256", "cp1252", "cp1251", "gb18030", "shift_jis")  # what a hint tries
_MOST_IN_HINT = 10  # values that a hint takes for the names of classes
_LONGEST_FIELD = 2**31 - 1  # csv refuses texts of more than 131,072 characters otherwise


def read_table(path: str | os.PathLike, encoding: str | None = None) -> list[Row]:
    """Reads a file of rows by its suffix.

    A csv file may have commas, semicolons, tabs or bars between its columns, a byte-order mark and
    line breaks of any system; its values stay texts. Line breaks become those of Unix.

    Args:
        path: ends in .csv, .tsv, .jsonl, .json (a list of objects) or .parquet; in all cases but
            the last .gz, .zst or .bz2 may follow.
        encoding: of the letters, such as "cp1256"; None takes UTF-8, or UTF-16 with its mark.
    Returns:
        n rows {column: value}, n at least 1; a missing value is "" or None.
    Raises:
        FileNotFoundError: no such file.
        ValueError: another suffix, a damaged file, other letters than the encoding's, no rows.
    """
    if _ADDRESS.match(str(path)):
        raise FileNotFoundError(f"no file {path}, but an address; download it, and give its path")
    path = Path(path).expanduser()
    if path.is_dir():
        raise ValueError(
            f"{path} is a folder; expected a file in {', '.join(SUFFIXES)}, or a folder that "
            f"save_to_disk wrote"
        )
    if not path.suffix and not path.exists():
        raise FileNotFoundError(
            f"no file {path}; a data set of the hub is named w2s.Hub('{path}', None)"
        )
    kind = _kind_of(path)
    if not path.is_file():
        raise FileNotFoundError(f"no file {path}")
    if kind == ".parquet":
        rows = _read_parquet(path)
    elif kind in (".csv", ".tsv"):
        rows = _read_csv(_read_text(path, encoding), path.name)
    else:
        rows = _read_json(_read_text(path, encoding), path.name, as_list=kind == ".json")
    if not rows:
        raise ValueError(f"{path.name} has no rows")
    return rows


def rows_in(table, encoding: str | None = None) -> Iterable[Row]:
    """Returns the rows of a file, a DataFrame (of pandas, polars or pyarrow), a dataset, or any
    other iterable of rows.

    Raises:
        TypeError: it is none of these.
        ValueError: a file cannot be read, or two columns have one name.
    """
    table = _load_saved(table)
    if isinstance(table, (str, os.PathLike)):
        return read_table(table, encoding)
    pandas, datasets = map(sys.modules.get, ("pandas", "datasets"))
    if pandas is not None and isinstance(table, pandas.DataFrame):
        columns = [str(column) for column in table.columns]
        if len(set(columns)) < len(columns):
            twice = next(column for column in columns if columns.count(column) > 1)
            raise ValueError(f"the DataFrame has {columns.count(twice)} columns {twice!r}")
        values = table.astype(object).where(table.notna(), None)
        return values.set_axis(columns, axis=1).to_dict("records")
    if datasets is not None and isinstance(table, (datasets.Dataset, datasets.IterableDataset)):
        return table.with_format(None)  # as Python's own values, not as tensors
    for method in ("to_pylist", "to_dicts"):  # of pyarrow's and polars' tables
        if hasattr(table, method):
            return getattr(table, method)()
    if isinstance(table, Iterable) and not isinstance(table, (bytes, Mapping)):
        return table
    raise TypeError(
        f"a table is {_in_a_line(table)}, a {type(table).__name__}; expected the path of a file, a "
        f"DataFrame, a Dataset or a list of rows"
    )


def splits_in(source, encoding: str | None = None) -> dict[str, Iterable[Row]]:
    """Returns {split: rows} of a table, which is then the split `all`, or of {split: table}."""
    source = _load_saved(source)
    if isinstance(source, Mapping):
        return {str(split): rows_in(table, encoding) for split, table in source.items()}
    return {"all": rows_in(source, encoding)}


def _load_saved(source):
    """Returns the dataset in a folder that `save_to_disk` wrote; anything else as it is."""
    if not isinstance(source, (str, os.PathLike)):
        return source
    folder = Path(source).expanduser()
    if not any((folder / name).is_file() for name in _SAVED):
        return source
    import datasets

    return datasets.load_from_disk(str(folder))


def check_rows(rows: Sequence, where: str) -> None:
    """Refuses rows that are none, no mappings, or that lack a column of the first.

    Raises:
        ValueError: names the row.
    """
    if not rows:
        raise ValueError(f"{where} has no rows")
    for number, row in enumerate(rows, start=1):
        if not isinstance(row, Mapping):
            raise ValueError(
                f"{where}, row {number}: {_in_a_line(row)}; expected a mapping of columns to "
                f"values, such as pandas.DataFrame makes of records, tuples or columns"
            )
        missing = [column for column in rows[0] if column not in row]
        if missing:
            raise ValueError(f"{where}, row {number} lacks the column {missing[0]!r}")


def find_column(rows: Sequence[Mapping], name: str, where: str) -> str:
    """Returns the column of that name; capitals and white space around may differ.

    Raises:
        ValueError: no such column, or two; lists the columns.
    """
    column = column_like(rows, name, where)
    if column is not None:
        return column
    columns = list(rows[0])
    near = difflib.get_close_matches(name, map(str, columns), n=1)
    raise ValueError(
        f"{where} has no column {name!r}, but {', '.join(map(repr, columns))}"
        + (f"; near: {near[0]!r}" if near else "")
    )


def column_like(rows: Sequence[Mapping], name: str, where: str) -> str | None:
    """Returns the column of that name, as `find_column` finds it, or None.

    Raises:
        ValueError: two columns have the name.
    """
    if name in rows[0]:
        return name
    like = [column for column in rows[0] if _folded(column) == _folded(name)]
    if len(like) > 1:
        raise ValueError(f"{where} has {len(like)} columns {name!r}: {', '.join(map(repr, like))}")
    return like[0] if like else None


def class_numbers(
    values: Sequence,
    classes: Sequence | None,
    place: Callable[[int], str],
    column: str = "label",
    n_classes: int | None = 2,
) -> list[int]:
    """Returns the class of each of n values, from 0 to K - 1.

    Capitals, white space around, and how a number is written make no difference: 1, 1.0 and "1"
    are one.

    Args:
        classes: as of `check_classes`; None takes the numbers from 0, and of two classes False and
            True.
        place: function from a position to the name of its row, for the error.
        n_classes: K, where no classes are named; None is two, and more may be named.
    Raises:
        ValueError: a value that is none of them; names the first such row.
    """
    named = range(n_classes or 2) if classes is None else classes
    number_of = {key_of(value): number for number, value in enumerate(named)}
    if classes is None and len(named) == 2:
        number_of |= {"false": 0, "true": 1}
    keys = [key_of(value) for value in values]
    bad = [row for row, key in enumerate(keys) if key not in number_of]
    if bad:
        value = values[bad[0]]
        given = "missing" if keys[bad[0]] in _MISSING else f"{value!r:.60}"
        hint = _hint(values, keys, number_of, n_classes)
        raise ValueError(
            f"{place(bad[0])}: {column} is {given}; expected {either(map(repr, named))}; wrong in "
            f"{len(bad)} of {len(keys)} rows{hint}"
        )
    return [number_of[key] for key in keys]


def count_numbered(values: Iterable) -> int | None:
    """Returns K, at least 2, where every whole number from 0 to K - 1 stands in the values, and
    nothing else but missing ones; else None.

    >>> count_numbered(["0", "2", 1.0]), count_numbered([0, 2]), count_numbered([0, 0])
    (3, None, None)
    """
    keys = set(map(key_of, values)) - set(_MISSING)
    return len(keys) if len(keys) > 1 and keys == set(map(str, range(len(keys)))) else None


def check_classes(classes: Sequence | None, n_classes: int | None = 2) -> tuple | None:
    """Returns the values that mean class 0, class 1 and so on, or None.

    Args:
        n_classes: as many are expected; None takes any number from two.
    Raises:
        ValueError: they are not as many different values.
    """
    if classes is None:
        return None
    listed = isinstance(classes, (list, tuple))
    if listed and len(set(map(key_of, classes))) == len(classes) >= 2:
        if n_classes in (None, len(classes)):
            return tuple(classes)
    number = {None: "at least two", 2: "two"}.get(n_classes, n_classes)
    which = "that of class 0 and that of class 1" if n_classes == 2 else "in the order of classes"
    such = ("bad", "good") if n_classes == 2 else ("bad", "fair", "good")
    raise ValueError(
        f"classes = {classes!r}; expected {number} different values, {which}, such as {such}"
    )


def key_of(value) -> str:
    """Returns a value as it is compared: a text by its words without capitals, a number in one
    form.

    >>> key_of(" Anna  B"), key_of(1.0), key_of("1"), key_of("1_0")
    ('anna b', '1', '1', '1_0')
    """
    if value is None:
        return ""
    text = words_of(str(value)).casefold()
    if "_" in text:  # which Python takes for a part of a number
        return text
    try:
        number = float(text)
    except ValueError:
        return text
    return f"{number:.15g}" if math.isfinite(number) else text


def _hint(
    values: Sequence, keys: list[str], number_of: dict[str, int], n_classes: int | None
) -> str:
    """Says what to do about values that are no classes; "" where they are but missing.

    Args:
        n_classes: how many classes there must be; None lets them be as many as the values.
    """
    value_of = {key: value for value, key in zip(values, keys, strict=True) if key not in _MISSING}
    if set(value_of) <= set(number_of):
        return ""
    n_values = len(value_of)
    named = tuple(value_of[key] for key in sorted(value_of, key=_order))
    if n_values == 2 and n_classes in (None, 2):
        return f". Say which value is class 0 and which is class 1: classes={named!r}"
    # a text of its own in each row names no class
    repeated = 2 * n_values <= len(values) and 2 < n_values <= _MOST_IN_HINT
    if "-1" in value_of and n_values != 2:
        is_class = f"; or, if it is a class, say classes={named!r}" if repeated else ""
        return (
            ". -1 is what datasets write where test labels are hidden: leave these rows out, or "
            f"name a split that has labels{is_class}"
        )
    if repeated and n_classes in (None, n_values):
        return f". Say which value is which class, from class 0: classes={named!r}"
    shown = [f"{value!r:.30}" for value in named]
    return f". Values: {', '.join(shown[:5])}{', ...' if n_values > 5 else ''}"


def _order(key: str) -> tuple[float, str]:
    """Puts numbers before texts, by their value."""
    try:
        return float(key), key
    except ValueError:
        return math.inf, key


def _in_a_line(value) -> str:
    """Returns a value as Python writes it, in at most 60 characters of one line."""
    return f"{' '.join(f'{value!r:.200}'.split()):.60}"


def _folded(column) -> str:
    return words_of(str(column)).casefold()


def _kind_of(path: Path) -> str:
    """Returns the suffix that says how a file is read."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes and suffixes[-1] in COMPRESSED:
        suffixes.pop()
    kind = suffixes[-1] if suffixes else ""
    if kind in _SPREADSHEETS:
        raise ValueError(
            f"{path.name} is a spreadsheet: save it there as csv (in Excel 'CSV UTF-8')"
        )
    if kind not in SUFFIXES:
        raise ValueError(f"{path.name}: suffix {kind!r}; expected one of {', '.join(SUFFIXES)}")
    return kind


def _read_text(path: Path, encoding: str | None) -> str:
    """Reads a text file, compressed or not, with line breaks as those of Unix."""
    import pyarrow as pa

    try:
        with pa.input_stream(str(path)) as stream:  # the suffix says how it is compressed
            content = stream.read()
    except OSError as error:
        raise ValueError(f"{path.name} cannot be read: {error}") from None
    _check_beginning(path.name, content)
    if encoding is None:
        marked = content.startswith((b"\xff\xfe", b"\xfe\xff"))
        encoding = "utf-16" if marked else "utf-8"
    try:
        text = content.decode(encoding).removeprefix("\ufeff")
    except LookupError:
        raise ValueError(
            f"encoding = {encoding!r}; expected a name that Python knows, such as 'utf-8', "
            f"'latin-1' or 'cp1256'"
        ) from None
    except UnicodeDecodeError as error:
        if b"\0" in content:
            raise ValueError(_has_nul(path.name, content)) from None
        raise ValueError(_wrong_encoding(path.name, content, error)) from None
    if "\0" in text:
        raise ValueError(_has_nul(path.name, content))
    return unix_breaks(text)


def _check_beginning(file: str, content: bytes) -> None:
    """Refuses a file of another kind than its name says, by its first letters."""
    beginning = content[:200].lstrip().lower()
    for start, what in _OTHER_FILES.items():
        if beginning.startswith(start):
            raise ValueError(f"{file} is {what}")


def _has_nul(file: str, content: bytes) -> str:
    if content.startswith((b"\xff\xfe\0\0", b"\0\0\xfe\xff")):
        return f"{file} is UTF-32 by its mark: say encoding='utf-32'"
    return f"{file} has NUL characters, as UTF-16 without a mark has: say encoding='utf-16-le'"


def _wrong_encoding(file: str, content: bytes, error: UnicodeDecodeError) -> str:
    """Says how the first line that cannot be read would read in other encodings."""
    start = content.rfind(b"\n", 0, error.start) + 1
    line = content[start:].partition(b"\n")[0].strip()
    number = content.count(b"\n", 0, error.start) + 1
    guesses = []
    for encoding in _ENCODINGS:
        try:
            guesses.append(f"encoding={encoding!r} reads {line.decode(encoding)!r:.50}")
        except UnicodeDecodeError:
            continue
    ways = "; ".join(guesses) or "say the right one by encoding="
    return f"{file} is not {error.encoding.upper()}, first in line {number}: {ways}"


def _read_csv(text: str, file: str) -> list[Row]:
    """Reads the rows of a csv file; the row after the header is row 1."""
    first_line, _, rest = text.partition("\n")
    if first_line.strip('" ').lower().startswith("sep=") and len(first_line.strip('" ')) == 5:
        separator, text = first_line.strip('" ')[4], rest  # Excel's own line
    else:
        separator = _separator_of(text)
    csv.field_size_limit(_LONGEST_FIELD)
    spaced = _has_spaces(text, separator)
    lines = io.StringIO(text, newline="\n")
    reader = csv.reader(lines, delimiter=separator, skipinitialspace=spaced, strict=True)
    rows: list[Row] = []
    header: list[str] | None = None
    try:
        for fields in reader:
            if not any(field.strip() for field in fields) and len(fields) < 2:
                continue  # an empty line
            if separator == "\t" and any(map(_holds_rows, fields)):
                raise csv.Error
            if header is None:
                header = _check_header(fields, file)
            else:
                rows.append(_row_of(fields, header, separator, f"{file}, row {len(rows) + 1}"))
    except csv.Error:
        raise ValueError(
            f"{file}, row {len(rows) + 1}: a quotation mark is not closed, or text follows one "
            f"that closes; inside quotation marks a mark is written twice. Where marks mean "
            f"themselves, pandas.read_csv(path, sep={separator!r}, quoting=3) reads the table"
        ) from None
    while rows and not any(str(value).strip() for value in rows[-1].values()):
        rows.pop()  # spreadsheets write rows without a value at the end
    return rows


def _holds_rows(field: str) -> bool:
    """Tells whether a value is rows of tabs between two quotation marks that mean themselves.

    Tabs that indent a line are none.
    """
    with_tab = ["\t" in line.lstrip() for line in field.split("\n")]
    return len(with_tab) > 1 and (all(with_tab[:-1]) or all(with_tab[1:]))


def _has_spaces(text: str, separator: str) -> bool:
    """Tells whether a space follows each separator of the header, as in `text, label`."""
    header = next(csv.reader(io.StringIO(text, newline="\n"), delimiter=separator), [])
    return len(header) > 1 and all(name.startswith(" ") for name in header[1:])


def _separator_of(text: str) -> str:
    """Returns what stands between columns: what cuts the header into most of them."""

    def columns(separator: str) -> int:
        lines = io.StringIO(text, newline="\n")
        return len(next(csv.reader(lines, delimiter=separator), ()))

    return max(_SEPARATORS, key=columns)


def _check_header(fields: list[str], file: str) -> list[str]:
    """Returns the names of the columns.

    Raises:
        ValueError: a name stands twice.
    """
    header = [field.strip() for field in fields]
    twice = next((name for name in header if name and header.count(name) > 1), None)
    if twice:
        raise ValueError(f"{file} has {header.count(twice)} columns {twice!r}")
    return header


def _row_of(fields: list[str], header: list[str], separator: str, where: str) -> Row:
    """Returns a row; what a short line lacks is missing, columns without a name are left out.

    Raises:
        ValueError: more values than columns.
    """
    surplus = fields[len(header) :]
    if any(field.strip() for field in surplus):
        raise ValueError(
            f"{where} has {len(fields)} values for {len(header)} columns "
            f"({', '.join(header):.60}), the last "
            f"{fields[-1]!r:.60}; a text with {separator!r} in it stands in quotation marks, "
            f"and a column of row numbers has a name in the header"
        )
    fields += [""] * (len(header) - len(fields))
    return {name: field for name, field in zip(header, fields, strict=False) if name}


def _read_json(text: str, file: str, *, as_list: bool) -> list[Row]:
    """Reads objects, one per line or, where that is possible, in one list; line breaks in texts
    become those of Unix.
    """
    rows = _list_in(text, file) if as_list else None
    if rows is None:
        lines = enumerate(text.split("\n"), start=1)
        rows = [_parse(line, file, number) for number, line in lines if line.strip()]
    for row, value in enumerate(rows, start=1):
        if not isinstance(value, dict):
            raise ValueError(
                f"{file}, row {row}: {value!r:.60}; expected an object such as "
                f'{{"text": "...", "label": 1}}'
            )
    columns = list(dict.fromkeys(name for row in rows for name in row))
    return [{name: _unix(row.get(name)) for name in columns} for row in rows]


def _list_in(text: str, file: str) -> list | None:
    """Returns the rows of a file that is one list; None where it may have an object per line."""
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        if not text.lstrip().startswith("["):
            return None
        raise ValueError(f"{file}, line {error.lineno}: no JSON: {error.msg}") from None
    except (ValueError, RecursionError):
        raise ValueError(f"{file}: a number is too long, or lists are nested too deeply") from None
    if isinstance(value, dict) and any(isinstance(each, (dict, list)) for each in value.values()):
        raise ValueError(
            f"{file} has one object with the columns {', '.join(map(repr, value))}; expected a "
            f"list of objects, one per row (pandas writes it with orient='records')"
        )
    return value if isinstance(value, list) else None


def _parse(line: str, file: str, number: int):
    try:
        return json.loads(line)
    except (ValueError, RecursionError):  # no JSON, a number of 5,000 digits, 10^5 brackets
        raise ValueError(
            f"{file}, line {number}: {line.strip()[:60]!r}; expected an object in JSON on each line"
        ) from None


def _read_parquet(path: Path) -> list[Row]:
    import pyarrow as pa
    import pyarrow.parquet

    with path.open("rb") as stream:
        start = stream.read(200)
    if not start.startswith(b"PAR1"):
        _check_beginning(path.name, start)
    try:
        rows = pyarrow.parquet.read_table(str(path)).to_pylist()
    except (pa.ArrowException, OSError) as error:
        words = " ".join(str(error).split()).replace(str(path), path.name)
        raise ValueError(f"{path.name} cannot be read as parquet: {words[:200]}") from None
    return [{name: _unix(value) for name, value in row.items()} for row in rows]


def _unix(value):
    return unix_breaks(value) if isinstance(value, str) else value
