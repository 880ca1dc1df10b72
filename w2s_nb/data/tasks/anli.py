"""ANLI: what follows from a passage (natural-language inference), written to mislead models."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ...common.registry import UnknownName
from .spec import Example, Hub, Prompt, Sizes, choice_of, register_task

CLASSES = ("entailment", "neutral", "contradiction")
ROUNDS = ("r1", "r2", "r3")  # each collected against a stronger model
BINARY = "binary"
OPTIONS = (*ROUNDS, BINARY, *(f"{name}-{BINARY}" for name in ROUNDS))


def _source(of_round: str) -> Hub:
    """Returns the rows of one round: 16,946, 45,460 or 100,459, and 1,000, 1,000 or 1,200 for
    test.
    """
    revision = "8e4813d81f46d313dac7892e1c28076917cfcdf9"
    return Hub("facebook/anli", revision, f"train_{of_round}", f"test_{of_round}")


def _option(name: str) -> dict[str, Any]:
    """Returns what an option changes: `r1`, `r2` or `r3` names a round, `binary` takes neutral and
    contradiction as one, `r1-binary` does both. Files of all rounds lie in one folder.
    """
    if name not in OPTIONS:
        raise UnknownName("option of anli", name, OPTIONS)
    of_round = "r2" if name == BINARY else name.partition("-")[0]
    changes = {"source": _source(of_round), "folders": ("anli",)}
    if name in ROUNDS:
        return changes
    return changes | {
        "examples": follows,
        "about": "Does the hypothesis follow from the premise?",
        "classes": ("no", "yes"),
        "prompt": Prompt(
            "{0}\nAnswer:",
            ("no", "yes"),
            "Does the hypothesis follow from the premise? Answer yes or no.",
        ),
        "cpu_sizes": Sizes(600, 200, 600),
        "gpu_sizes": Sizes(10_000, 1_000, 660),  # fewer where the rows have fewer
    }


@register_task(
    "anli",
    max_len=256,
    classes=CLASSES,
    gpu_sizes=(9_999, 999, 900),
    source=_source("r2"),
    option=_option,
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

    Burns et al. 2023, appendix A.1, take neutral and contradiction as one: `anli@binary`.

    Source: Nie et al. 2020.
    """
    label = choice_of(row["label"], len(CLASSES), "label")
    text = f"Premise: {row['premise'].strip()}\nHypothesis: {row['hypothesis'].strip()}"
    yield Example((text,), label, (row["premise"],))


def follows(row: dict):
    """Does the hypothesis follow from the premise?"""
    for example in anli(row):
        yield replace(example, label=int(example.label == CLASSES.index("entailment")))
