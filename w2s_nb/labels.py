"""Soft labels: what everything is trained on, whoever gave them."""
from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

import numpy as np

from .data import Split


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
            raise ValueError(f"labels of {self.source}: probs have shape {probs.shape}, expected ({len(self.ids)}, 2)")
        bad = ~np.isfinite(probs).all(axis=1) | (probs < 0).any(axis=1) | (np.abs(probs.sum(axis=1) - 1) > 1e-4)
        if bad.any():
            raise ValueError(f"labels of {self.source}: {bad.sum()} of {len(probs)} rows are not probabilities that "
                             f"sum to 1, the first at {self.ids[bad.argmax()]}: {probs[bad.argmax()].tolist()}")
        if len(set(self.ids)) != len(self.ids):
            raise ValueError(f"labels of {self.source}: {len(self.ids) - len(set(self.ids))} ids stand twice")
        object.__setattr__(self, "probs", probs / probs.sum(axis=1, keepdims=True))

    def __len__(self) -> int:
        return len(self.ids)

    @staticmethod
    def truth(split: Split) -> SoftLabels:
        """The ground truth of a split, as probabilities 0 and 1."""
        return SoftLabels(split.ids, np.eye(2)[split.hard_label], "ground truth")

    @property
    def fingerprint(self) -> str:
        """16 hex digits of ids and probabilities (to 1e-6), for addresses; the source's name plays no part."""
        return hashlib.sha256("".join(self.ids).encode() + self.probs.round(6).tobytes()).hexdigest()[:16]

    @property
    def hard(self) -> np.ndarray:
        """(n,) int64, the likelier class; 1 where both are equally likely."""
        return (self.probs[:, 1] >= 0.5).astype(np.int64)

    @property
    def confidence(self) -> np.ndarray:
        """(n,) probability of the likelier class, in [0.5, 1]."""
        return self.probs.max(axis=1)

    def of(self, split: Split) -> np.ndarray:
        """(n, 2) probabilities in the split's order.

        Raises:
            ValueError: an example of the split has no label here.
        """
        row = {i: r for r, i in enumerate(self.ids)}
        missing = [i for i in split.ids if i not in row]
        if missing:
            raise ValueError(f"labels of {self.source} lack {len(missing)} of {len(split)} examples of the split "
                             f"{split.name!r}, the first {missing[0]}; they hold {len(self)}")
        return self.probs[[row[i] for i in split.ids]]

    def covers(self, split: Split) -> bool:
        """Whether every example of the split has a label here."""
        return set(split.ids) <= set(self.ids)

    def harden(self) -> SoftLabels:
        """The likelier class with probability 1."""
        return replace(self, probs=np.eye(2)[self.hard], source=f"{self.source}, hard")

    def flip(self, rate: float, *, seed: int = 0) -> SoftLabels:
        """The labels with a share `rate` of all n, drawn at random, turned over: round(rate * n) rows, no more."""
        if not 0 <= rate <= 1:
            raise ValueError(f"flip rate {rate!r}; expected a share in [0, 1]")
        rows = np.random.default_rng(seed).permutation(len(self))[:round(rate * len(self))]
        probs = self.probs.copy()
        probs[rows] = probs[rows, ::-1]
        return replace(self, probs=probs, source=f"{self.source}, {rate:.0%} flipped")

    def select(self, split: Split, keep) -> SoftLabels:
        """The labels without those of a split's examples outside `keep`, an index or mask (n,) of the split.

        Labels of other examples, such as the validation split's, stay. Train on them with `split.take(keep)`.
        """
        kept = split.take(keep)
        rows = ~np.isin(self.ids, split.ids) | np.isin(self.ids, kept.ids)
        return replace(self, ids=self.ids[rows], probs=self.probs[rows],
                       source=f"{self.source}, {len(kept)} of {len(split)}")
