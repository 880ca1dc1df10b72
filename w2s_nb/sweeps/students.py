"""Collects the students of a sweep's runs, each once, beside their supervisors and ceilings."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from .. import metrics
from ..models.names import size_order
from ..plots.base import CEILING, WEAK, by_measure
from .state import SweepRuns

REFERENCES = {"supervisor": WEAK, "ceiling": CEILING}
NOTES = ("pgr_note", "pgr_auroc_note")
_ENDS = {"": math.nan, "_low": -math.inf, "_high": math.inf}  # what a missing one is
_PGR = ("pgr", "pgr_low", "pgr_high")
_PLACE = ["run", "task", "weak", "strong"]  # of one supervisor and ceiling


def students(runs: SweepRuns) -> pd.DataFrame:
    """Returns the rows of a sweep's results that have a PGR, or are students' without one, from
    small to large models.

    A student that several runs share, with the same numbers in every column of their tables, is one
    row: `runs` counts them. Columns supervisor and ceiling, with their intervals, are accuracies of
    the same run, NaN where its table has none. Column `settings` names the other parameters that
    the sweep varies, and the text columns that tell a run's own rows apart, such as a stopping
    rule; `pair` is models and settings. An interval's end that JSON has as null is infinite.
    """
    rows = runs.results()
    if rows.empty or "arm" not in rows:
        return pd.DataFrame()
    of_tables = {name for run in runs.done for row in runs.result_of(run)["table"] for name in row}
    rows = _beside_references(_with_numbers(rows))
    rows = rows[rows.pgr.notna() | rows.arm.str.startswith("student")].reset_index(drop=True)
    settings = _distinguishing_columns(rows, runs.sweep.varied)
    rows = _each_once(rows, list(of_tables | {"task", "weak", "strong"}), settings)
    rows["pair"] = [
        ", ".join(filter(None, [f"{row.weak} -> {row.strong}", row.settings]))
        for row in rows.itertuples()
    ]
    sizes = {i: (_size(rows.strong[i]), _size(rows.weak[i])) for i in rows.index}
    return rows.loc[sorted(rows.index, key=lambda i: sizes[i])]


def medians(rows: pd.DataFrame, x: str, measure: str = "accuracy") -> pd.DataFrame:
    """Computes the median PGR of the students of each arm by column `x`, without those that have a
    pgr_note.

    Args:
        measure: 'accuracy', or 'auroc' for PGR by AUROC.
    Returns:
        Columns arm, the column `x`, pgr, pgr_low, pgr_high: the 95 % interval of drawing the
        students again; of a single student, its own.
    """
    rows = by_measure(rows, measure)
    unmarked = rows[rows.pgr.notna() & (rows.pgr_note == "")]
    computed = []
    for (arm, place), drawn in unmarked.groupby(["arm", unmarked[x].rename("x")], sort=False):
        row = {"arm": arm, x: place}
        if len(drawn) > 1:
            row |= metrics.bootstrap(np.median, drawn.pgr.to_numpy()[None]).as_dict("pgr")
        else:
            row |= drawn[list(_PGR)].iloc[0].to_dict()
        computed.append(row)
    table = pd.DataFrame(computed, columns=list(dict.fromkeys(("arm", x, *_PGR))))
    return table.astype(dict.fromkeys(_PGR, float))  # also where there are none


def _with_numbers(rows: pd.DataFrame) -> pd.DataFrame:
    """Returns the rows with names as text, and with accuracy, AUROC, PGR by both and their
    intervals as floats.
    """
    for name in ("task", "weak", "strong"):
        rows[name] = rows[name].fillna("").astype(str) if name in rows else ""
    for suffix, missing in _ENDS.items():
        for measure in ("accuracy", "auroc", "pgr", "pgr_auroc"):
            column = rows.get(measure + suffix, pd.Series(math.nan, rows.index))
            rows[measure + suffix] = pd.to_numeric(column, errors="coerce").fillna(missing)
    for note in NOTES:
        rows[note] = rows.get(note, pd.Series("", rows.index)).fillna("")
    return rows


def _beside_references(rows: pd.DataFrame) -> pd.DataFrame:
    """Returns the rows with the accuracies of the supervisor and the ceiling of the same run, task
    and models; of several, as of several stopping rules, none.
    """
    for role, arm in REFERENCES.items():
        of_arm = rows[rows.arm == arm]
        only = of_arm[~of_arm.duplicated(_PLACE, keep=False)]
        names = {f"accuracy{end}": f"{role}{end}" for end in _ENDS}
        only = only[[*_PLACE, *names]].rename(columns=names)
        rows = rows.merge(only, how="left", on=_PLACE)
    return rows


def _distinguishing_columns(rows: pd.DataFrame, varied: list[str]) -> list[str]:
    """Returns what else varies: parameters of the sweep, and text columns that differ within a
    run.
    """
    named_already = ("task", "weak", "strong", "loss", "losses", "notebook")
    others = [name for name in varied if name not in named_already]
    for name in rows.columns[rows.map(lambda value: isinstance(value, str)).all()]:
        if name in (*others, "arm", "model", "task", "weak", "strong", *NOTES):
            continue
        if rows.groupby("run")[name].nunique().max() > 1:
            others.append(name)
    return others


def _each_once(rows: pd.DataFrame, identity: list[str], settings: list[str]) -> pd.DataFrame:
    """Returns one row per student, with columns `runs`, their number, and `settings`, as text.

    A setting that has each of its values among the runs of one student does not concern it, and is
    left out; of several values but not all, each is named.
    """
    values = {name: set(rows[name].map(repr)) for name in settings}
    same = rows[identity].map(repr).agg("\n".join, axis=1)
    merged = []
    for _, shared in rows.groupby(same, sort=False):
        texts = []
        for name in settings:
            here = dict(zip(shared[name].map(repr), shared[name].map(str), strict=True))
            if len(here) == 1 or len(here) < len(values[name]):
                texts.append(f"{name} {' or '.join(here.values())}")
        row = shared.iloc[0].to_dict()
        merged.append(row | {"runs": shared.run.nunique(), "settings": ", ".join(texts)})
    return pd.DataFrame(merged, columns=[*rows.columns, "runs", "settings"])


def _size(name: str) -> tuple:
    try:
        return size_order(name)
    except ValueError:  # a model that a notebook knows and this process does not
        return math.inf, name
