"""Says in a sentence what a figure shows, from the numbers that it draws."""

from __future__ import annotations

import pandas as pd

from .base import CEILING, WEAK

NO_GAP = "There is no gap between supervisor and ceiling beyond its error"


def say_recovered(table: pd.DataFrame) -> str:
    """Says how much of the gap the students of a table recover.

    Args:
        table: rows with pgr, pgr_low; arms as index or in the column arm.
    """
    rows = table if "arm" in table else table.rename_axis("arm").reset_index()
    rows = rows[~rows.arm.isin((WEAK, CEILING))]
    if not len(rows) or "pgr" not in rows:
        return "Test accuracy"
    rows = rows.dropna(subset=["pgr"])
    if not len(rows):
        return NO_GAP
    who, verb = ("The student", "recovers") if len(rows) == 1 else ("Students", "recover")
    said = f"{who} {verb} {_share(rows.pgr)} of the gap"
    sure = int((rows.pgr_low > 0).sum())
    if sure == len(rows):
        return said
    if sure:
        return f"{said}; {sure} of {len(rows)} beyond the error"
    return f"{said}, not beyond the error"


def say_above(rows: pd.DataFrame) -> str:
    """Says for how many of several PGRs the interval is above 0.

    Args:
        rows: columns pgr, pgr_low; those without a PGR count as none.
    """
    known = rows.dropna(subset=["pgr"])
    if not len(known):
        return NO_GAP
    if len(known) == 1:
        return say_recovered(known.assign(arm="student"))
    sure = int((known.pgr_low > 0).sum())
    if sure == len(known):
        return f"All {sure} students recover a part of the gap: {_share(known.pgr)}"
    if not sure:
        return f"None of {len(known)} students recovers more of the gap than the error"
    return f"{sure} of {len(known)} students recover a part of the gap beyond the error"


def say_repeated(rows: pd.DataFrame) -> str:
    """Says how many of the supervisor's mistakes the students repeat.

    Args:
        rows: columns arm, on, value.
    """
    repeated = rows[rows.on == "mistakes"].dropna(subset=["value"])
    if not len(repeated):
        return "Agreement with the supervisor"
    who, verb = ("The student", "repeats") if len(repeated) == 1 else ("Students", "repeat")
    return f"{who} {verb} {_share(repeated.value)} of the supervisor's mistakes"


def say_told_apart(table: pd.DataFrame, level: float) -> str:
    """Says how many methods are told from naive finetuning after correction.

    Args:
        table: columns difference, p_holm; rows without p_holm are not tested.
        level: below which a p-value counts.
    """
    tested = table.dropna(subset=["p_holm"])
    found = tested[tested.p_holm < level]
    better = int((found.difference > 0).sum())
    said = f"{better} of {len(tested)} methods beat naive finetuning, corrected for their number"
    worse = len(found) - better
    return f"{said}; {worse} {'is' if worse == 1 else 'are'} worse" if worse else said


def say_by_size(rows: pd.DataFrame, ticks: dict[str, str]) -> str:
    """Says what arms gain from the smallest to the largest student.

    Args:
        rows: columns arm, strong, accuracy, ordered by size.
        ticks: {model: its short name}.
    """
    models = list(dict.fromkeys(rows.strong))
    if len(models) < 2:
        return "Test accuracy"
    gains = []
    for arm, of_arm in rows[rows.arm != WEAK].groupby("arm", sort=False):
        by_model = of_arm.set_index("strong").accuracy
        if {models[0], models[-1]} <= set(by_model.index):
            gain = 100 * (by_model[models[-1]] - by_model[models[0]])
            gains.append(f"{arm} {gain:+.1f}")
    if not gains:
        return "Test accuracy by the student's size"
    first, last = ticks[models[0]], ticks[models[-1]]
    first = first.removesuffix(" layers") if last.endswith(" layers") else first
    return f"From {first} to {last}, in points: {'; '.join(gains[:3])}"


def _share(shares: pd.Series) -> str:
    low, high = (round(100 * end) for end in (shares.min(), shares.max()))
    return f"{low} %" if low == high else f"{low} to {high} %"
