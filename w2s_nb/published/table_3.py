"""Puts the paper's table 3, on images, beside ours."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from ..common.progress import collect_warnings
from ..experiments.arms import CEILING, WEAK, Arms
from ..metrics.gap import recovered
from .register import numbers

_PAPER = {"DINO ResNet-50": "vision-resnet50-naive", "DINO ViT-B/8": "vision-vitb8-naive"}


def beside_table_3(taught: Mapping[str, Arms]) -> pd.DataFrame:
    """Returns the rows of the paper's table 3, and ours below them.

    Args:
        taught: {supervisor: arms}; the first student of each is the naive one.
    Returns:
        A row per pair of models: of (the paper, or our task), supervisor, student; the accuracies
        of supervisor, naive student and ceiling, and naive PGR. Ours have 95 % intervals.
    Source: Burns et al. 2023, appendix D.1 and table 3.
    """
    rows: list[dict] = []
    for student, number in numbers("burns-2023", _PAPER).items():
        row = {"of": "paper", "supervisor": "AlexNet", "student": student}
        accuracies = {"weak": number.weak, "naive": number.value, "ceiling": number.ceiling}
        pgr = recovered(number.weak, number.value, number.ceiling)
        rows.append(row | accuracies | {"pgr": float(pgr)})
    for supervisor, arms in taught.items():
        naive = arms.students[0]
        row = {"of": arms.tasks[0].name, "supervisor": supervisor, "student": arms.strong}
        for column, arm in (("weak", WEAK), ("naive", naive), ("ceiling", CEILING)):
            row |= arms.accuracy(arm).as_dict(column)
        with collect_warnings():  # the table of these arms says what is held against a PGR
            row |= arms.pgr(naive).as_dict("pgr")
        rows.append(row)
    return pd.DataFrame(rows)
