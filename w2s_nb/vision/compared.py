"""Shows images that the student gets right and the supervisor wrong, and the other way round."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from ..experiments.arms import Arms
from ..experiments.one_setting import differences
from .images import Images


@dataclass(frozen=True)
class Disagreements:
    """Images that one of two models alone gets right, at the first seed.

    Attributes:
        counts: {'student' or 'supervisor': how many images it alone is right on}.
        n_test: test images.
        html: the first of them side by side, each over what is true and what the other said.
    """

    counts: dict[str, int]
    n_test: int
    html: str

    def __repr__(self) -> str:
        said = (
            f"the {who} alone is right on {n} of {self.n_test} images"
            for who, n in self.counts.items()
        )
        return "; ".join(said)

    def _repr_html_(self) -> str:
        return self.html


def disagreements(arms: Arms, student: str | None = None, *, n: int = 16) -> Disagreements:
    """Shows test images that the student alone gets right, then those of the supervisor alone.

    Args:
        arms: of a task of images.
        student: an arm; None takes the first student.
        n: how many of each are shown at most.
    Raises:
        ValueError: no such student, or the task has no images.
    """
    spec = arms.tasks[0].spec
    if spec.images is None:
        raise ValueError(f"{arms.tasks[0].name} has texts; expected a task of images")
    images = cast(Images, spec.images())
    rows = differences(arms, student)
    names = arms.test.classes
    counts, parts = {}, []
    for who, said in (("student", "supervisor_says"), ("supervisor", "student_says")):
        alone = rows[rows.right == who]
        counts[who] = len(alone)
        shown = alone.head(n)
        captions = [
            f"{names[truth]}, not {names[other]}"
            for truth, other in zip(shown.truth, shown[said], strict=True)
        ]
        head = f"<p>The {who} alone is right on {len(alone)} of {len(rows)} images; the first:</p>"
        parts.append(head + images.gallery(shown.text, captions, 56))
    return Disagreements(counts, len(rows), "".join(parts))
