"""Labels of a task that is answered by generating: texts, always hard."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np

from ..data.splits import Split


@dataclass(frozen=True, eq=False)
class Answers:
    """Answers to identified questions, as a supervisor generated them at temperature 0 (appendix A.2).

    Attributes:
        ids: (n,) 16 hex digits each, as in `Split.ids`.
        texts: n answers, a space and one word each; "" where nothing was generated.
        source: who gave them, for tables: 'ground truth', or the supervisor's name.
        address: the supervisor's fit in the store, if it is one.
    """

    ids: np.ndarray
    texts: tuple[str, ...]
    source: str
    address: str = ""

    def __post_init__(self):
        if len(self.ids) != len(self.texts) or len(set(self.ids)) != len(self.ids):
            raise ValueError(
                f"answers of {self.source}: {len(self.texts)} texts for {len(self.ids)} ids, of which "
                f"{len(set(self.ids))} are different; expected one text an id"
            )

    def __len__(self) -> int:
        return len(self.ids)

    @staticmethod
    def truth(split: Split) -> Answers:
        """The true answers of a split.

        Raises:
            ValueError: the split's task is one of classes.
        """
        if not split.answers:
            raise ValueError(f"{split!r} has classes, not answers; SoftLabels.truth has them")
        return Answers(split.ids, split.answers, "ground truth")

    @property
    def fingerprint(self) -> str:
        """16 hex digits of ids and texts, for addresses; the source's name plays no part."""
        return hashlib.sha256("\x1f".join([*self.ids, *self.texts]).encode()).hexdigest()[:16]

    def knows(self, split: Split) -> np.ndarray:
        """(n,) bool, the examples of the split that have an answer here."""
        return split.among(self.ids)

    def for_split(self, split: Split) -> tuple[str, ...]:
        """n answers in the split's order.

        Raises:
            ValueError: an example of the split has no answer here.
        """
        missing = split.ids[~self.knows(split)]
        if len(missing):
            raise ValueError(
                f"answers of {self.source} lack {len(missing)} of {len(split)} examples of the split "
                f"{split.name!r}, the first {missing[0]}; they hold {len(self)}"
            )
        return tuple(map(dict(zip(self.ids, self.texts)).get, split.ids))
