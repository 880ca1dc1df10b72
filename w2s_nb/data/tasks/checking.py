"""Checks every example on its way in; names the row, the field, what was given and expected."""

from __future__ import annotations

import math
import numbers
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import replace

import numpy as np

from .spec import Example, TaskSpec, UnreadableRow, either, unix_breaks

_MISSING = ("", "None", "nan", "NaN", "NaT", "<NA>")  # what Python and pandas write for no value


def examples_of(spec: TaskSpec, row, place: str) -> list[Example]:
    """Makes the examples of a row, and checks each; texts get the line breaks of Unix.

    Args:
        row: as the task's source gives it, mostly {column: value}.
        place: names the row in messages, such as 'row 3 of train'.
    Raises:
        ValueError: a column is missing or empty, a label is none of the task's classes, the
            number of texts is not the task's, or the formatter fails.
        TypeError: a field of an example has another type.
    """
    where = f"task {spec.name!r}, {place}"
    return [_check(example, spec, where) for example in _format(spec, row, where)]


def is_missing(value) -> bool:
    """Tells whether a value is what Python or pandas has in the place of none: None, NaN, "".

    So is a pair (kind, name) without a name.
    """
    if isinstance(value, tuple):
        return not value or is_missing(value[-1])
    return str(value).strip() in _MISSING


def _format(spec: TaskSpec, row, where: str) -> list:
    """Returns what the formatter makes of a row; says what it cannot read."""
    try:
        _check_columns(spec, row)
        made = spec.examples(row)
        if isinstance(made, Example) or not isinstance(made, Iterable):
            raise UnreadableRow(
                f"the formatter returned {_short(made)}; expected `yield Example(...)`, or a list "
                f"of examples, empty where the row is left out"
            )
        return list(made)
    except UnreadableRow as error:
        raise ValueError(f"{where}: {error}") from error
    except (OSError, ImportError):
        raise  # a file or a package is missing, whatever the row
    except Exception as error:
        raise ValueError(f"{where}: {_describe(error, spec, row)}") from error


def _check_columns(spec: TaskSpec, row) -> None:
    """Refuses a row without one of the task's columns, or with nothing in one that has to be
    filled.
    """
    for column in spec.columns:
        if column not in row:
            raise UnreadableRow(_no_column(column, spec, row))
        value = row[column]
        empty = value is None or (isinstance(value, float) and math.isnan(value))
        if empty and column not in spec.may_be_empty:
            raise UnreadableRow(f"column {column!r} is empty ({value})")


def _no_column(column, spec: TaskSpec, row: Mapping) -> str:
    expected = f"; expected {', '.join(spec.columns)}" if spec.columns else ""
    return f"no column {column!r} in {', '.join(map(str, row))}{expected}"


def _describe(error: Exception, spec: TaskSpec, row) -> str:
    """Says in one line why a formatter failed on a row."""
    if isinstance(row, Mapping) and isinstance(error, KeyError) and error.args[0] not in row:
        return _no_column(error.args[0], spec, row)
    formatter = getattr(spec.examples, "__name__", "of the task")
    given = _short(row)
    if isinstance(row, Mapping):
        given = ", ".join(f"{name} {_short(value)}" for name, value in list(row.items())[:8])
    return f"the formatter {formatter} fails: {in_one_line(error)}; the row: {given}"


def in_one_line(error: BaseException) -> str:
    """Returns an error's type and message, without line breaks."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}".removesuffix(": ")


def _check(example, spec: TaskSpec, where: str) -> Example:
    """Returns an example in the form that the kit works with."""
    if not isinstance(example, Example):
        raise TypeError(
            f"{where}: the formatter gave {_short(example)}; expected Example(texts, label)"
        )
    texts = _check_texts(example.texts, spec.arity, where)
    checked = replace(
        example,
        texts=tuple(map(unix_breaks, texts)),
        label=_check_label(example.label, spec.n_classes, f"{where}, text {texts[0]!r:.60}"),
        keys=tuple(key for key in _check_keys(example.keys, where) if not is_missing(key)),
        question=_check_question(example.question, where),
    )
    _check_answer(checked, spec, where)
    return checked


def _check_texts(texts, arity: int, where: str) -> tuple[str, ...]:
    one_or_two = "(text,), with its comma" if arity == 1 else "(first, second)"
    if not isinstance(texts, tuple | list):
        raise TypeError(f"{where}: texts is {_short(texts)}; expected a tuple, {one_or_two}")
    if len(texts) != arity:
        raise ValueError(
            f"{where}: {len(texts)} texts, the task's arity is {arity}; expected {one_or_two}"
        )
    for text in texts:
        if isinstance(text, str):
            _check_characters(text, where)
            continue
        if isinstance(text, list | tuple) and text and isinstance(text[0], Mapping):
            hint = "; join its messages into one"
        else:
            hint = ", none is missing" if is_missing(text) else ""
        raise TypeError(
            f"{where}: a text is {_short(text)}, a {type(text).__name__}; expected a str{hint}"
        )
    return tuple(texts)


def _check_characters(text: str, where: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        half = text[error.start]
        raise ValueError(
            f"{where}: the text {_short(text)} has {half!r}, half of a character, where it was "
            f"cut; expected whole ones: text.encode(errors='ignore').decode() leaves it out"
        ) from None


def _check_label(label, n_classes: int, where: str) -> int:
    """Returns a label as int; takes 1.0, True and numpy's numbers for what they are."""
    number = isinstance(label, numbers.Real | np.bool_)
    if number and label in range(n_classes):
        return int(label)
    expected = either(map(str, range(n_classes)))
    if is_missing(label):
        given = f"the label is missing ({label!r})"
    elif number and label == -1:
        given = "the label is -1, as where the labels of a test split are hidden"
    else:
        given = f"the label is {_short(label)}"
        if isinstance(label, str):
            given += ", a text"
            expected = f"the number {expected}"
    raise ValueError(f"{where}: {given}; expected {expected}")


def _check_keys(keys, where: str) -> tuple[Hashable, ...]:
    if not isinstance(keys, tuple | list | set | frozenset):
        raise TypeError(
            f"{where}: keys is {_short(keys)}; expected a tuple of names, such as (author,), with "
            f"its comma"
        )
    for key in keys:
        if not isinstance(key, Hashable):
            raise TypeError(
                f"{where}: a key is {_short(key)}; expected a name, or a pair (kind, name)"
            )
    return tuple(keys)


def _check_question(question, where: str) -> str:
    if is_missing(question):
        return ""
    if not isinstance(question, str | numbers.Integral):
        raise TypeError(f"{where}: the question is {_short(question)}; expected a str")
    return str(question)


def _check_answer(example: Example, spec: TaskSpec, where: str) -> None:
    if not isinstance(example.answer, str):
        raise TypeError(f"{where}: the answer is {_short(example.answer)}; expected a str")
    if bool(example.answer.strip()) != bool(spec.max_answer):
        given = f"the answer is {example.answer!r}, max_answer of the task {spec.max_answer}"
        raise ValueError(f"{where}: {given}; expected both, or neither in a task of classes")
    if not isinstance(example.difficulty, numbers.Real):
        raise TypeError(
            f"{where}: the difficulty is {_short(example.difficulty)}; expected a number"
        )
    if not isinstance(example.themes, tuple | list):
        raise TypeError(f"{where}: themes is {_short(example.themes)}; expected a tuple of names")


def _short(value) -> str:
    """Returns a value as Python writes it, on one line of at most 60 characters."""
    text = " ".join(repr(value).split())
    return text if len(text) <= 60 else f"{text[:57]}..."
