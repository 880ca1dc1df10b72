"""Reads files of labels that anyone gave, one label per row."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from ..common.progress import warn
from ..common.registry import UnknownName
from ..data.splits import Split, list_splits
from ..data.tables import (
    check_classes,
    check_rows,
    class_numbers,
    column_like,
    key_of,
    read_table,
)
from ..data.tasks.spec import unix_breaks, words_of
from .dawid_skene import dawid_skene, votes_of

COMBINE_ROWS = ("mean", "dawid-skene")
_ROUNDED = 0.005 + 1e-9  # by which a probability of two digits misses the exact one


def read_labels(
    path: str | Path,
    splits: Sequence[Split],
    classes: Sequence | None,
    encoding: str | None,
    combine: str,
) -> tuple[np.ndarray, np.ndarray]:
    """Reads a file as `SoftLabels.from_file` takes it.

    Returns:
        (ids of the examples that have a label, (n,); class probabilities, (n, K)).
    Raises: as `SoftLabels.from_file`.
    """
    if not isinstance(path, (str, os.PathLike)):
        raise TypeError(f"path is a {type(path).__name__}; expected the path of a file")
    if combine not in COMBINE_ROWS:
        raise UnknownName("way to combine rows", str(combine), COMBINE_ROWS)
    names = classes_of(list_splits(splits, "splits"))
    path = Path(path)
    table = _LabelTable(path, check_classes(classes, len(names)), names, encoding)
    probs = table.probabilities()
    rows = table.keys()
    ids = _find_ids(rows, splits)
    if "id" in rows and "text" in rows:
        _check_texts(rows, ids, splits, path.name)
    labelled = ids.notna().to_numpy()
    n_examples = sum(map(len, splits))
    if not labelled.any():
        key = "id" if "id" in rows else "text"
        raise ValueError(
            f"{path.name}: none of its {len(rows)} rows has the {key} of one of the "
            f"{n_examples} examples given; its first is {rows[key].iloc[0]!r:.60}"
        )
    workers = table.workers() if combine == "dawid-skene" else None
    known, example = np.unique(ids[labelled].to_numpy(str), return_inverse=True)
    _warn_of_strangers(path.name, rows, splits, int(labelled.sum()), n_examples - len(known))
    if workers is None:
        return known, _mean(probs[labelled], example)
    worker = np.unique(workers[labelled], return_inverse=True)[1]
    return known, dawid_skene(votes_of(probs[labelled]), example, worker)[0]


def classes_of(splits: Sequence[Split]) -> tuple[str, ...]:
    """Returns the names of the classes that splits share.

    Raises:
        ValueError: they have different ones.
    """
    if any(split.classes != splits[0].classes for split in splits):
        named = " and ".join(dict.fromkeys(", ".join(split.classes) for split in splits))
        raise ValueError(f"splits of different classes: {named}; expected those of one task")
    return splits[0].classes


def _mean(probs: np.ndarray, example: np.ndarray) -> np.ndarray:
    """Returns the mean probabilities of each example's rows, (n, K); class 0 is what is left."""
    others = pd.DataFrame(probs[:, 1:]).groupby(example).mean().to_numpy()
    first = (1 - others.sum(axis=1, keepdims=True)).clip(min=0)
    return np.concatenate([first, others], axis=1)


def _warn_of_strangers(
    file: str, rows: pd.DataFrame, splits: Sequence[Split], n_labelled: int, n_unlabelled: int
) -> None:
    """Warns of rows that belong to no example of the splits' tasks, where examples lack a label."""
    # Rows of the task's other splits are left out as is said; others were meant for somebody.
    others = [split for task in {s.task for s in splits if s.task} for split in task.all_splits]
    n_strangers = int(_find_ids(rows, (*splits, *others)).isna().sum())
    if n_strangers and n_unlabelled:
        warn(
            f"{file}: of {len(rows)} rows {n_labelled} are of examples given, {n_strangers} of no "
            f"example given; {n_unlabelled} of the {sum(map(len, splits))} examples given have no "
            f"label"
        )


class _LabelTable:
    """The rows of a file of labels, and which of its columns is what."""

    def __init__(
        self, path: Path, classes: tuple | None, names: tuple[str, ...], encoding: str | None
    ):
        self.file = path.name
        self.classes = classes
        self.names = names
        self.rows: Sequence[Mapping] = read_table(path, encoding)
        check_rows(self.rows, self.file)
        if self.column("id") is None and self.column("text") is None:
            raise ValueError(
                f"{self.file} has columns {self.told()}; expected id or text, and {self.expected()}"
            )

    def told(self) -> str:
        """Returns the names of the columns in a line."""
        return ", ".join(map(str, self.rows[0]))

    def expected(self) -> str:
        """Says which columns may hold labels."""
        if len(self.names) == 2:
            return "probability or label"
        return f"label or {', '.join(f'probability_{name}' for name in self.classes or self.names)}"

    def column(self, name: str) -> str | None:
        """Returns the column of that name, or None."""
        return column_like(self.rows, name, self.file)

    def values(self, column: str) -> list:
        """Returns the values of a column."""
        return [row[column] for row in self.rows]

    def keys(self) -> pd.DataFrame:
        """Returns `id` or `text` of the rows, or both."""
        columns = {name: self.column(name) for name in ("id", "text")}
        return pd.DataFrame(
            {name: list(map(str, self.values(c))) for name, c in columns.items() if c is not None}
        )

    def probabilities(self) -> np.ndarray:
        """Returns the class probabilities that the rows give, (rows, K)."""
        given = {name: self.column(name) for name in ("label", "probability")}
        ways = [name for name, column in given.items() if column is not None]
        of_classes = self._class_columns(alone=not ways)
        if of_classes:
            ways.append(", ".join(of_classes))
        if not ways:
            raise ValueError(
                f"{self.file} has columns {self.told()}; expected id or text, and {self.expected()}"
            )
        if len(ways) > 1:
            raise ValueError(
                f"{self.file} has both {ways[0]} and {ways[1]}; keep the one that is meant"
            )
        if of_classes:
            return self._by_columns(of_classes)
        if given["label"] is not None:
            return np.eye(len(self.names))[self._labels(given["label"])]
        if len(self.names) > 2:
            raise ValueError(
                f"{self.file} has a column probability, which is that of the second of two "
                f"classes; these examples have {len(self.names)}: expected {self.expected()}"
            )
        p1 = self._numbers(str(given["probability"]))
        return np.stack([1 - p1, p1], axis=1)

    def workers(self) -> np.ndarray:
        """Returns who gave each row's label, (rows,) texts."""
        column = self.column("worker")
        if column is None:
            raise ValueError(
                f"{self.file} has columns {self.told()}; combine='dawid-skene' needs worker"
            )
        names = [key_of(value) for value in self.values(column)]
        missing = [row for row, name in enumerate(names) if not name]
        if missing:
            raise ValueError(
                f"{self.file}, row {missing[0] + 1}: worker is missing; in {len(missing)} of "
                f"{len(names)} rows"
            )
        return np.array(names)

    def _labels(self, column: str) -> list[int]:
        """Returns the class of each row by the column `label`."""
        values = self.values(column)
        classes = self.classes
        if classes is None:
            numbers = list(map(str, range(len(self.names))))
            named = set(map(key_of, self.names))
            keys = set(map(key_of, values))
            if len(keys & named) >= max(1, len(keys & set(numbers))) and named != set(numbers):
                classes = self.names
        where = f"{self.file}, row"
        return class_numbers(
            values, classes, lambda row: f"{where} {row + 1}", n_classes=len(self.names)
        )

    def _class_columns(self, alone: bool) -> list[str]:
        """Returns the columns that hold the probability of each class; none if there are none.

        Args:
            alone: nothing else says the labels: the classes' names alone are looked for too.
        Raises:
            ValueError: there are columns of some classes, but not of all, and nothing else.
        """
        for prefix in ("probability_", "") if alone else ("probability_",):
            for names in (self.classes or self.names, range(len(self.names))):
                columns = {f"{prefix}{name}": self.column(f"{prefix}{name}") for name in names}
                found = [column for column in columns.values() if column is not None]
                if len(found) == len(columns):
                    return found
                if found and prefix and alone:
                    lacking = [name for name, column in columns.items() if column is None]
                    raise ValueError(
                        f"{self.file} has {', '.join(found)}, but not {', '.join(lacking)}"
                    )
        return []

    def _by_columns(self, columns: list[str]) -> np.ndarray:
        """Returns class probabilities from a column per class, (rows, K).

        Raises:
            ValueError: a value is no probability, or a row does not sum to 1.
        """
        probs = np.stack([self._numbers(column) for column in columns], axis=1)
        total = probs.sum(axis=1, keepdims=True)
        bad = np.abs(total[:, 0] - 1) > _ROUNDED * len(columns)
        if bad.any():
            first = int(bad.argmax())
            raise ValueError(
                f"{self.file}, row {first + 1}: {', '.join(columns)} sum to "
                f"{total[first, 0]:.3g}; expected 1; wrong in {bad.sum()} of {len(bad)} rows"
            )
        return probs / total

    def _numbers(self, column: str) -> np.ndarray:
        """Returns the numbers of a column, in [0, 1].

        Raises:
            ValueError: a value is missing, no number, or out of range; names its row.
        """
        values = self.values(column)
        numbers = pd.to_numeric(pd.Series(values, dtype=object), errors="coerce").to_numpy(float)
        bad = ~((numbers >= 0) & (numbers <= 1))
        if bad.any():
            first = int(bad.argmax())
            given = "missing" if values[first] in (None, "") else repr(values[first])
            raise ValueError(
                f"{self.file}, row {first + 1}: {column} is {given:.60}; expected a number in "
                f"[0, 1]; wrong in {bad.sum()} of {len(bad)} rows"
            )
        return numbers


def _find_ids(rows: pd.DataFrame, splits: Iterable[Split]) -> pd.Series:
    """Returns the id of each row's example among the splits, by `id` or else by `text`.

    A text is found by its words where it is not found as it is, unless several examples have them.
    """
    if "id" in rows:
        return rows["id"].map({example: example for split in splits for example in split.ids})
    exact: dict[str, str] = {}
    by_words: dict[str, set[str]] = {}
    for split in splits:
        for example, texts in zip(split.ids, split.texts, strict=True):
            if len(texts) == 1:
                exact[unix_breaks(texts[0])] = example
                by_words.setdefault(words_of(texts[0]), set()).add(example)
    ids = rows["text"].map(lambda text: exact.get(unix_breaks(str(text))))
    only = {words: next(iter(found)) for words, found in by_words.items() if len(found) == 1}
    return ids.fillna(rows["text"].map(lambda text: only.get(words_of(text))))


def _check_texts(rows: pd.DataFrame, ids: pd.Series, splits: Iterable[Split], file: str) -> None:
    """Refuses rows whose text is not the text of the example that their id names."""
    text_of = {
        example: words_of(texts[0])
        for split in splits
        for example, texts in zip(split.ids, split.texts, strict=True)
        if len(texts) == 1
    }
    expected = ids.map(text_of)
    differs = expected.notna() & (expected != rows["text"].map(words_of))
    if differs.any():
        first = int(differs.to_numpy().argmax())
        raise ValueError(
            f"{file}: the text of {differs.sum()} of {len(rows)} rows is not that of its id, first "
            f"in row {first + 1}: {rows['text'].iloc[first]!r}"
        )
