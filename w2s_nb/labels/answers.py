"""Holds the labels of a task that is answered by generating: texts, always hard."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass

import numpy as np

from ..data.splits import Split, need_split
from .soft import html_rows


@dataclass(frozen=True, eq=False)
class Answers:
    """Answers to identified questions, as a supervisor generated them at temperature 0.

    Source: Burns et al. 2023, appendix A.2.

    Attributes:
        ids: (n,) 16 hex digits each, as in `Split.ids`.
        texts: n answers, a space and one word each; "" where nothing was generated.
        source: name of who gave them, for tables: 'ground truth', or the supervisor's name.
        address: the supervisor's fit in the store, if it is one.
    """

    ids: np.ndarray
    texts: tuple[str, ...]
    source: str
    address: str = ""

    def __post_init__(self):
        if len(self.ids) != len(self.texts) or len(set(self.ids)) != len(self.ids):
            raise ValueError(
                f"answers of {self.source}: {len(self.texts)} texts for {len(self.ids)} ids, of "
                f"which {len(set(self.ids))} are different; expected one text per id"
            )

    def __len__(self) -> int:
        return len(self.ids)

    def __repr__(self) -> str:
        examples = f", such as {self.texts[0]!r}" if self.texts else ""
        return f"Answers({len(self)} examples by {self.source}{examples})"

    def _repr_html_(self) -> str:
        most_common = Counter(self.texts).most_common(3)
        rows = {"source": self.source, "examples": len(self)}
        rows["most frequent"] = ", ".join(f"{text.strip()!r} {n}" for text, n in most_common)
        return html_rows(rows)

    @staticmethod
    def truth(split: Split) -> Answers:
        """Returns the true answers of a split.

        Raises:
            ValueError: the split has classes, not answers.
        """
        if not need_split(split, "split").answers:
            raise ValueError(f"{split!r} has classes, not answers; SoftLabels.truth has them")
        return Answers(split.ids, split.answers, "ground truth")

    @property
    def fingerprint(self) -> str:
        """Returns 16 hex digits of ids and texts, for addresses, without the source's name."""
        content = "\x1f".join([*self.ids, *self.texts])
        return hashlib.sha256(content.encode()).hexdigest()[:16]

    def knows(self, split: Split) -> np.ndarray:
        """Returns which examples of the split have an answer here, (n,) bool."""
        return need_split(split, "split").among(self.ids)

    def for_split(self, split: Split) -> tuple[str, ...]:
        """Returns n answers in the split's order.

        Raises:
            ValueError: an example of the split has no answer here.
        """
        need_split(split, "split")
        missing = split.ids[~self.knows(split)]
        if len(missing):
            raise ValueError(
                f"answers of {self.source} lack {len(missing)} of {len(split)} examples of the "
                f"split {split.name!r}, the first {missing[0]}; they hold {len(self)}"
            )
        text_of = dict(zip(self.ids, self.texts, strict=True))
        return tuple(text_of[example] for example in split.ids)
