"""ANLI: what follows from a passage (natural-language inference), written to mislead models."""

from __future__ import annotations

from typing import Any

from ...common.registry import UnknownName
from .spec import Example, Hub, Prompt, choice_of, register_task

CLASSES = ("entailment", "neutral", "contradiction")
ROUNDS = ("r1", "r2", "r3")  # each collected against a stronger model


def _source(of_round: str) -> Hub:
    """Returns the rows of one round: 16,946, 45,460 or 100,459, and 1,000, 1,000 or 1,200 for
    test.
    """
    revision = "8e4813d81f46d313dac7892e1c28076917cfcdf9"
    return Hub("facebook/anli", revision, f"train_{of_round}", f"test_{of_round}")


def _round(name: str) -> dict[str, Any]:
    """Returns what the option `@r1`, `@r2` or `@r3` changes; files of all rounds lie in one
    folder.
    """
    if name not in ROUNDS:
        raise UnknownName("option of anli", name, ROUNDS)
    return {"source": _source(name), "folders": ("anli",)}


@register_task(
    "anli",
    max_len=256,
    classes=CLASSES,
    gpu_sizes=(9_999, 999, 900),
    source=_source("r2"),
    option=_round,
    columns=("premise", "hypothesis", "label"),
    prompt=Prompt(
        "{0}\nAnswer:",
        ("yes", "maybe", "no"),
        "Does the hypothesis follow from the premise? Answer yes, maybe (it may be true or false) "
        "or no (it contradicts the premise).",
    ),
)
def anli(row):
    """Does the hypothesis follow from the premise, contradict it, or neither? Round 2, the paper's.

    Source: Nie et al. 2020. Burns et al. 2023, appendix A.1, take neutral and contradiction as one.
    """
    label = choice_of(row["label"], len(CLASSES), "label")
    text = f"Premise: {row['premise'].strip()}\nHypothesis: {row['hypothesis'].strip()}"
    yield Example((text,), label, (row["premise"],))
