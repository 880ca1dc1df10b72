"""Soft labels: what everything is trained on, whoever gave them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from ..data.splits import Split


@dataclass(frozen=True, eq=False)
class SoftLabels:
    """Class probabilities of identified examples.

    Attributes:
        ids: (n,) 16 hex digits each, as in `Split.ids`.
        probs: (n, 2) float64, rows sum to 1; column 1 is P(y = 1).
        source: who gave them, for tables: 'ground truth', or the supervisor's name.
        address: the supervisor's fit in the store, if it is one.
    """

    ids: np.ndarray
    probs: np.ndarray
    source: str
    address: str = ""

    def __post_init__(self):
        probs = np.asarray(self.probs, dtype=np.float64)
        if probs.shape != (len(self.ids), 2):
            raise ValueError(
                f"labels of {self.source}: probs have shape {probs.shape}, expected ({len(self.ids)}, 2)"
            )
        bad = (
            ~np.isfinite(probs).all(axis=1)
            | (probs < 0).any(axis=1)
            | (np.abs(probs.sum(axis=1) - 1) > 1e-4)
        )
        if bad.any():
            raise ValueError(
                f"labels of {self.source}: {bad.sum()} of {len(probs)} rows are not probabilities that "
                f"sum to 1, the first at {self.ids[bad.argmax()]}: {probs[bad.argmax()].tolist()}"
            )
        if len(set(self.ids)) != len(self.ids):
            raise ValueError(
                f"labels of {self.source}: {len(self.ids) - len(set(self.ids))} ids stand twice"
            )
        object.__setattr__(self, "probs", probs / probs.sum(axis=1, keepdims=True))

    def __len__(self) -> int:
        return len(self.ids)

    @staticmethod
    def truth(split: Split) -> SoftLabels:
        """The ground truth of a split, as probabilities 0 and 1."""
        return SoftLabels(split.ids, np.eye(2)[split.hard_label], "ground truth")

    @staticmethod
    def from_file(path: str | Path, *splits: Split) -> SoftLabels:
        """Labels that anyone gave: crowd workers, rules, a language model.

        A csv, parquet or jsonl file with one label a row, in the columns

        - `id`, as in `Split.ids`, or `text`, the example's text, letter by letter (an example of one text);
        - `probability`, P(y = 1) in [0, 1], or `label`, 0 or 1.

        Several rows of one example, such as several workers' answers, are averaged; rows of other examples left out.
        Examples without a row have no label: train on `split.take(labels.knows(split))`.

        Args:
            path: ends in .csv, .parquet or .jsonl.
            splits: the examples that may be labelled, such as `task.student, task.validation`.
        Raises:
            FileNotFoundError: no such file.
            ValueError: another suffix, columns missing, a value out of range, or no row of any of these examples.
        """
        path = Path(path)
        read = {
            ".csv": pd.read_csv,
            ".parquet": pd.read_parquet,
            ".jsonl": lambda path, **options: pd.read_json(path, lines=True, **options),
        }
        if path.suffix not in read:
            raise ValueError(
                f"{path.name}: suffix {path.suffix!r}; expected one of {', '.join(read)}"
            )
        if not path.is_file():
            raise FileNotFoundError(f"no file {path}")
        # ids of digits alone, and texts such as "null", stay strings
        options = {
            ".csv": dict(
                dtype={"id": str, "text": str},
                keep_default_na=False,
                na_values={"label": [""], "probability": [""]},
            ),
            ".jsonl": dict(dtype=False, convert_dates=False),
        }.get(path.suffix, {})
        rows = read[path.suffix](path, **options)
        key, value = (
            next((c for c in pair if c in rows), None)
            for pair in (("id", "text"), ("probability", "label"))
        )
        if key is None or value is None:
            raise ValueError(
                f"{path.name} has columns {', '.join(map(str, rows.columns))}; expected id or text, and "
                f"probability or label"
            )
        p1 = pd.to_numeric(
            rows[value].map(lambda v: int(v) if isinstance(v, bool) else v), errors="coerce"
        )
        bad = ~p1.between(0, 1) | ((value == "label") & ~p1.isin([0, 1]))
        if bad.any():
            first = int(bad.to_numpy().argmax())
            raise ValueError(
                f"{path.name}: {value} of {bad.sum()} of {len(rows)} rows is not "
                f"{'0 or 1' if value == 'label' else 'in [0, 1]'}, first in row {first + 1}: "
                f"{rows[value].iloc[first]}"
            )
        known = {
            i if key == "id" else texts[0]: i
            for s in splits
            for i, texts in zip(s.ids, s.texts)
            if key == "id" or len(texts) == 1
        }
        mean = p1.groupby(rows[key].map(known)).mean()
        if not len(mean):
            raise ValueError(
                f"{path.name}: none of its {len(rows)} rows has the {key} of one of the {len(known)} "
                f"examples given; its first is {rows[key].iloc[0] if len(rows) else 'missing'!r}"
            )
        return SoftLabels(mean.index.to_numpy(), np.stack([1 - mean, mean], axis=1), path.name)

    @property
    def fingerprint(self) -> str:
        """16 hex digits of ids and probabilities (to 1e-6), for addresses; the source's name plays no part."""
        return hashlib.sha256(
            "".join(self.ids).encode() + self.probs.round(6).tobytes()
        ).hexdigest()[:16]

    @property
    def hard(self) -> np.ndarray:
        """(n,) int64, the likelier class; 1 where both are equally likely."""
        return (self.probs[:, 1] >= 0.5).astype(np.int64)

    @property
    def confidence(self) -> np.ndarray:
        """(n,) probability of the likelier class, in [0.5, 1]."""
        return self.probs.max(axis=1)

    def for_ids(self, ids: np.ndarray) -> np.ndarray:
        """(len(ids), 2) probabilities of these examples; KeyError where one has no label here."""
        row = {i: r for r, i in enumerate(self.ids)}
        return self.probs[[row[i] for i in ids]]

    def for_split(self, split: Split) -> np.ndarray:
        """(n, 2) probabilities in the split's order.

        Raises:
            ValueError: an example of the split has no label here.
        """
        missing = split.ids[~self.knows(split)]
        if len(missing):
            raise ValueError(
                f"labels of {self.source} lack {len(missing)} of {len(split)} examples of the split "
                f"{split.name!r}, the first {missing[0]}; they hold {len(self)}. "
                f"split.take(labels.knows(split)) has those that are labelled"
            )
        return self.for_ids(split.ids)

    def knows(self, split: Split) -> np.ndarray:
        """(n,) bool, the examples of the split that have a label here."""
        return split.among(self.ids)

    def covers(self, split: Split) -> bool:
        """Whether every example of the split has a label here."""
        return bool(self.knows(split).all())

    def harden(self) -> SoftLabels:
        """The likelier class with probability 1."""
        return replace(self, probs=np.eye(2)[self.hard], source=f"{self.source}, hard")

    def confident(self, split: Split, share: float) -> np.ndarray:
        """(n,) bool, the examples of the split with the most confident labels: this share of either predicted class,
        at least one.

        Filter with `labels.select(split, keep)` and `split.take(keep)`.

        Raises:
            ValueError: a share outside (0, 1].
        Source: Burns et al. 2023, appendix B: confidence thresholding, the top 5 to 20 % of each class.
        """
        if not 0 < share <= 1:
            raise ValueError(f"share {share!r}; expected one in (0, 1]")
        probs, keep = self.for_split(split), np.zeros(len(split), dtype=bool)
        for rows in (np.flatnonzero((probs[:, 1] >= 0.5) == c) for c in (False, True)):
            keep[
                rows[
                    np.argsort(-probs[rows].max(axis=1), kind="stable")[
                        : max(1, round(share * len(rows)))
                    ]
                ]
            ] = True
        return keep

    def flip(self, rate: float, *, seed: int = 0) -> SoftLabels:
        """The labels with a share `rate` of all n, drawn at random, turned over: round(rate * n) rows, no more."""
        if not 0 <= rate <= 1:
            raise ValueError(f"flip rate {rate!r}; expected a share in [0, 1]")
        rows = np.random.default_rng(seed).permutation(len(self))[: round(rate * len(self))]
        probs = self.probs.copy()
        probs[rows] = probs[rows, ::-1]
        return replace(self, probs=probs, source=f"{self.source}, {rate:.0%} flipped")

    def select(self, split: Split, keep) -> SoftLabels:
        """The labels without those of a split's examples outside `keep`, an index or mask (n,) of the split.

        Labels of other examples, such as the validation split's, stay. Train on them with `split.take(keep)`.
        """
        kept = split.take(keep)
        rows = ~np.isin(self.ids, split.ids) | np.isin(self.ids, kept.ids)
        return replace(
            self,
            ids=self.ids[rows],
            probs=self.probs[rows],
            source=f"{self.source}, {len(kept)} of {len(split)}",
        )
