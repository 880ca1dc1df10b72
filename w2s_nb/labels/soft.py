"""Holds soft labels, which everything is trained on, whoever gave them."""

from __future__ import annotations

import hashlib
import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ..common.seeds import check_seed
from ..data.classes import likeliest
from ..data.splits import Split, need_split
from .from_file import read_labels

MOST_TOLD = 6  # classes whose shares are shown


def need_labels(given, name: str) -> SoftLabels:
    """Returns what an argument was given, if that is labels.

    Raises:
        TypeError: it is something else, such as a fit, whose `label` gives labels.
    """
    if isinstance(given, SoftLabels):
        return given
    raise TypeError(
        f"{name} is a {type(given).__name__}; expected SoftLabels, such as a fit's label(...)"
    )


@dataclass(frozen=True, eq=False)
class SoftLabels:
    """Class probabilities of identified examples.

    Attributes:
        ids: (n,) 16 hex digits each, as in `Split.ids`.
        probs: (n, K) float64, a column per class; rows sum to 1.
        source: name of who gave them, for tables: 'ground truth', or the supervisor's name.
        address: the supervisor's fit in the store, if it is one.
        stop: the checkpoint of that fit which gave them.
    """

    ids: np.ndarray
    probs: np.ndarray
    source: str
    address: str = ""
    stop: str = ""

    def __post_init__(self):
        try:
            probs = np.asarray(self.probs, dtype=np.float64)
        except (ValueError, TypeError):
            given = " ".join(repr(self.probs).split())
            raise ValueError(
                f"labels of {self.source}: probs is {given:.60}; expected (n, K) numbers"
            ) from None
        if probs.ndim != 2 or len(probs) != len(self.ids) or probs.shape[1] < 2:
            raise ValueError(
                f"labels of {self.source}: probs have shape {probs.shape}, expected "
                f"({len(self.ids)}, K), a column for each of at least two classes"
            )
        not_finite = ~np.isfinite(probs).all(axis=1)
        negative = (probs < 0).any(axis=1)
        bad = not_finite | negative | (np.abs(probs.sum(axis=1) - 1) > 1e-4)
        if bad.any():
            first = bad.argmax()
            raise ValueError(
                f"labels of {self.source}: {bad.sum()} of {len(probs)} rows are not probabilities "
                f"that sum to 1, the first at {self.ids[first]}: {probs[first].tolist()}"
            )
        if len(set(self.ids)) != len(self.ids):
            raise ValueError(
                f"labels of {self.source}: {len(self.ids) - len(set(self.ids))} ids stand twice"
            )
        # sums may be off by 1e-4: files round
        object.__setattr__(self, "probs", probs / probs.sum(axis=1, keepdims=True))

    def __len__(self) -> int:
        return len(self.ids)

    def __repr__(self) -> str:
        shares = self._shares() if len(self) else {}
        told = [f"{share:.0%} of class {number}" for number, share in shares.items()]
        return f"SoftLabels({len(self)} examples by {self.source}, {', '.join(told) or 'none'})"

    def _repr_html_(self) -> str:
        rows = {"source": self.source, "examples": len(self)}
        if len(self):
            for number, share in self._shares().items():
                rows[f"share of class {number}"] = f"{share:.3f}"
            rows["mean confidence"] = f"{self.confidence.mean():.3f}"
        return html_rows(rows)

    def _shares(self) -> dict[int, float]:
        """Returns {class: its share of the hard labels}; class 0 has the rest.

        Of more than `MOST_TOLD` classes it returns the most frequent ones.
        """
        shares = np.bincount(self.hard, minlength=self.n_classes) / len(self)
        classes = range(1, self.n_classes)
        if self.n_classes > MOST_TOLD:
            classes = np.argsort(-shares, kind="stable")[:MOST_TOLD].tolist()
        return {number: float(shares[number]) for number in classes}

    @staticmethod
    def truth(split: Split) -> SoftLabels:
        """Returns the ground truth of a split, as probabilities 0 and 1."""
        need_split(split, "split")
        return SoftLabels(split.ids, np.eye(split.n_classes)[split.hard_label], "ground truth")

    @staticmethod
    def from_file(
        path: str | Path,
        *splits: Split,
        classes: Sequence | None = None,
        encoding: str | None = None,
        combine: str = "mean",
    ) -> SoftLabels:
        """Reads labels that anyone gave: crowd workers, rules, a language model.

        The file is csv, jsonl or parquet, as `data.tables.read_table` takes it, with one label per
        row, in the columns

        - `id`, as in `Split.ids`, or `text`, the example's text (an example of one text; line
          breaks and other white space may differ, where no other example has the same words);
        - `label`, a class by its name or by its number from 0; or the probability of each class, in
          columns such as `probability_negative`, `probability_neutral` and `probability_positive`,
          or named as the classes alone; or, of two classes, `probability`, P(y = 1) in [0, 1].

        Several rows of one example, such as the answers of several workers, are averaged, or
        combined by 'dawid-skene'; rows of other examples are left out. Examples without a row have
        no label: train on `split.take(labels.knows(split))`. A warning counts both, where there are
        rows that belong to no example of the task.

        Args:
            path: ends in .csv, .tsv, .jsonl, .json or .parquet.
            splits: the examples that may be labelled, such as `task.student, task.validation`.
            classes: the values that mean class 0, class 1 and so on, such as ("bad", "good"); None
                takes the names of the splits' classes or, where the values are no such names, the
                numbers from 0, and of two classes False and True.
            encoding: of the letters of a text file; None takes UTF-8, or UTF-16 with its mark.
            combine: what becomes of several rows of one example: their 'mean', or 'dawid-skene',
                which takes each row for a vote for its likeliest class and weighs workers, named
                in the column `worker`, by how each errs.
        Raises:
            FileNotFoundError: no such file.
            TypeError: no path; no split.
            UnknownName: no such way to combine.
            ValueError: another suffix, no rows, columns missing, both probability and label, a
                value that is missing or out of range, with its row, a text that is not its id's, no
                row of any of these examples, or splits of different classes.
        Source: Dawid and Skene 1979, for 'dawid-skene'.
        """
        if not splits:
            raise TypeError("no split is given; expected some to be labelled, such as task.student")
        ids, probs = read_labels(path, splits, classes, encoding, combine)
        return SoftLabels(ids, probs, Path(path).name)

    @property
    def fingerprint(self) -> str:
        """Returns 16 hex digits of ids and probabilities (to 1e-6), for addresses.

        The source's name plays no part.
        """
        content = "".join(self.ids).encode() + self.probs.round(6).tobytes()
        return hashlib.sha256(content).hexdigest()[:16]

    @property
    def n_classes(self) -> int:
        """Returns K, the number of classes."""
        return self.probs.shape[1]

    @property
    def hard(self) -> np.ndarray:
        """Returns the likeliest classes, (n,) int64; of equally likely ones the last."""
        return likeliest(self.probs)

    @property
    def confidence(self) -> np.ndarray:
        """Returns the probability of the likeliest class, (n,), in [1/K, 1]."""
        return self.probs.max(axis=1)

    def for_ids(self, ids: np.ndarray) -> np.ndarray:
        """Returns the probabilities of these examples, (len(ids), K).

        Raises:
            KeyError: an example has no label here.
        """
        row_of = {example: row for row, example in enumerate(self.ids)}
        return self.probs[[row_of[example] for example in ids]]

    def for_split(self, split: Split) -> np.ndarray:
        """Returns the probabilities, (n, K), in the split's order.

        Raises:
            ValueError: the split has other classes, or an example without a label here.
        """
        need_split(split, "split")
        if self.n_classes != split.n_classes:
            raise ValueError(
                f"labels of {self.source} are of {self.n_classes} classes; the split "
                f"{split.name!r} has {split.n_classes}: {', '.join(split.classes)}"
            )
        missing = split.ids[~self.knows(split)]
        if len(missing):
            raise ValueError(
                f"labels of {self.source} lack {len(missing)} of {len(split)} examples of the "
                f"split {split.name!r}, the first {missing[0]}; they hold {len(self)}. "
                f"split.take(labels.knows(split)) has those that are labelled"
            )
        return self.for_ids(split.ids)

    def knows(self, split: Split) -> np.ndarray:
        """Returns which examples of the split have a label here, (n,) bool."""
        return need_split(split, "split").among(self.ids)

    def covers(self, split: Split) -> bool:
        """Returns whether every example of the split has a label here."""
        return bool(self.knows(split).all())

    def harden(self) -> SoftLabels:
        """Returns labels that give the likeliest class probability 1."""
        return replace(self, probs=np.eye(self.n_classes)[self.hard], source=f"{self.source}, hard")

    def confident(self, split: Split, share: float) -> np.ndarray:
        """Returns the examples of the split with the most confident labels, (n,) bool.

        They are this share of the examples of each predicted class, and at least one of each.
        Filter with `labels.select(split, keep)` and `split.take(keep)`.

        Raises:
            ValueError: a share outside (0, 1].
        Source: Burns et al. 2023, appendix B: confidence thresholding, the top 5 to 20 % of each
            class.
        """
        if not 0 < share <= 1:
            raise ValueError(f"share {share!r}; expected one in (0, 1]")
        probs = self.for_split(split)
        keep = np.zeros(len(split), dtype=bool)
        predicted = likeliest(probs)
        for number in range(self.n_classes):
            rows = np.flatnonzero(predicted == number)
            most_confident = np.argsort(-probs[rows].max(axis=1), kind="stable")
            n_kept = max(1, round(share * len(rows)))
            keep[rows[most_confident[:n_kept]]] = True
        return keep

    def flip(self, rate: float, *, seed: int = 0) -> SoftLabels:
        """Returns the labels with round(rate * n) of the n rows, drawn at random, turned over.

        Such a row gives the probability of its likeliest class to another class, drawn evenly among
        the K - 1 others, and takes that one's: of two classes the row is turned round.
        """
        if not 0 <= rate <= 1:
            raise ValueError(f"flip rate {rate!r}; expected a share in [0, 1]")
        rng = np.random.default_rng(check_seed(seed))
        rows = rng.permutation(len(self))[: round(rate * len(self))]
        likely = self.hard[rows]
        other = other_classes(likely, self.n_classes, rng)
        probs = self.probs.copy()
        probs[rows, likely] = self.probs[rows, other]
        probs[rows, other] = self.probs[rows, likely]
        return replace(self, probs=probs, source=f"{self.source}, {rate:.0%} flipped")

    def select(self, split: Split, keep) -> SoftLabels:
        """Returns the labels without those of a split's examples outside `keep`.

        Labels of other examples, such as the validation split's, stay. Train on them with
        `split.take(keep)`.

        Args:
            keep: an index or mask (n,) of the split.
        """
        chosen = split.take(keep)
        rows = ~np.isin(self.ids, split.ids) | np.isin(self.ids, chosen.ids)
        return replace(
            self,
            ids=self.ids[rows],
            probs=self.probs[rows],
            source=f"{self.source}, {len(chosen)} of {len(split)}",
        )


def other_classes(classes: np.ndarray, n_classes: int, rng: np.random.Generator) -> np.ndarray:
    """Returns another class for each of n, (n,) int64, drawn evenly among the K - 1 others."""
    return (classes + rng.integers(1, n_classes, size=len(classes))) % n_classes


def html_rows(rows: Mapping[str, object]) -> str:
    """Returns a small HTML table of names and values, as a notebook shows an object."""
    cells = "".join(
        f"<tr><th>{html.escape(name)}</th><td>{html.escape(str(value))}</td></tr>"
        for name, value in rows.items()
    )
    return f"<table class='tex2jax_ignore mathjax_ignore'>{cells}</table>"  # $ is no formula
