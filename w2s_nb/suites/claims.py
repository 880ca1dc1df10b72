"""Measures what the paper claims about pairs of models, as medians over the tasks of a suite."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..experiments.arms import student_name
from ..metrics.estimate import Estimate
from .result import SuiteResult

Quantity = Callable[[], Estimate]


def suite_claims(result: SuiteResult, models: Sequence[str]) -> dict[str, Quantity]:
    """Returns the quantities that the paper's claims on figures 3 and 5 are about.

    Args:
        result: of `run_suite`, of all pairs of these models.
        models: names by size, at least two: the smallest supervisor first, the student last. Of two
            models there are no claims on what grows or falls with size.
    Returns:
        {claim: a function that measures it}, for `paper_claims`. Accuracies are those of a loss
        minus naive, PGRs medians or differences of medians over tasks.
    Raises:
        ValueError: fewer than two models.
    """
    if len(models) < 2:
        raise ValueError(f"models = {list(models)!r}; expected at least two, by size")
    smallest, next_smallest = models[:2]
    closest, strong = models[-2:]
    naive, confident = student_name("xent"), student_name("confidence")
    widest = (smallest, strong, naive)
    widest_confident = (smallest, strong, confident)
    narrow, narrow_confident = (closest, strong, naive), (closest, strong, confident)

    def median_pgr() -> Estimate:
        return result.over("median", "pgr", widest)

    quantities: dict[str, Quantity] = {
        "naive-pgr-positive": median_pgr,
        "naive-pgr-about-half": median_pgr,
        "confidence-helps-at-large-gaps": lambda: result.difference(
            widest_confident, widest, measure="accuracy"
        ),
    }
    if len(models) == 2:
        return quantities
    return quantities | {
        "naive-pgr-grows-with-student": lambda: result.difference(
            widest, (smallest, next_smallest, naive)
        ),
        "naive-pgr-rises-with-supervisor": lambda: result.difference(narrow, widest),
        "confidence-hurts-at-small-gaps": lambda: result.difference(
            narrow_confident, narrow, measure="accuracy"
        ),
        "confidence-pgr-falls-with-supervisor": lambda: result.difference(
            narrow_confident, widest_confident
        ),
    }
