"""Writes a sweep as one HTML page: PGR by pair, loss and task; its runs; what failed, and why."""

from __future__ import annotations

import html
import math
from pathlib import Path

import numpy as np
import pandas as pd
import plotly.io

from .. import metrics, plots
from ..common.files import write_atomic
from ..common.intervals import interval_cell
from ..models.names import size_order
from ..plots.base import by_measure, short
from .grid import RunSpec
from .state import SweepRuns

_PGR = ("pgr", "pgr_low", "pgr_high")
_NOTES = ("pgr_note", "pgr_auroc_note")
_STYLE = """body {font: 15px/1.5 system-ui, sans-serif; max-width: 1100px; margin: 2em auto;
padding: 0 1em} table {border-collapse: collapse; font-size: 13px} th, td {padding: 3px 9px;
border-bottom: 1px solid #ddd; text-align: left; vertical-align: top} td.number {text-align: right}
.wide {overflow-x: auto}
pre {background: #f6f6f6; padding: 1em; overflow-x: auto; font-size: 12px}"""


def write_report(runs: SweepRuns) -> Path:
    """Writes `report.html` in the sweep's folder, plotly included, so that it opens without a
    network.
    """
    sweep = runs.sweep
    rows = students(runs)
    title = html.escape(sweep.name)
    body = [f"<h1>Sweep {title}</h1>", f"<p>{html.escape(runs.summary())}. {_made_by(runs)}</p>"]
    body += [_figure_html(figure, first=i == 0) for i, figure in enumerate(_figures(rows))]
    body += _undefined_pgr(rows)
    body += _marked_pgr(rows)
    body += _failures(runs)
    if len(rows):
        body += ["<h2>Students</h2>", _table(_student_cells(rows))]
    body += ["<h2>Runs</h2>", _table(_run_cells(runs))]
    page = (
        f"<!doctype html><html lang='en'><head><meta charset='utf-8'><title>{title}</title>"
        f"<style>{_STYLE}</style></head><body>{''.join(body)}</body></html>"
    )
    write_atomic(sweep.folder / "report.html", page.encode())
    return sweep.folder / "report.html"


def _figures(rows: pd.DataFrame) -> list:
    """Returns the figures: PGR by pair for each task, by loss, and by task where there are
    several.
    """
    if not len(rows):
        return []
    no_dots = pd.DataFrame(columns=["arm", "pgr", "pair"])
    figures = [
        plots.pgr(of_task, no_dots, f"{task}: PGR by pair, with 95 % interval", x="pair")
        for task, of_task in rows.groupby("task", sort=False)
    ]
    title = "{} by {}, one dot per run, the bar their median with 95 % interval over runs"
    by = {"arm": "loss", "task": "task"} if rows.task.nunique() > 1 else {"arm": "loss"}
    for measure, pgr in {"accuracy": "PGR", "auroc": "PGR by AUROC"}.items():
        if measure == "auroc" and rows.pgr_auroc.isna().all():  # no task with classes, or old runs
            continue
        for x, name in by.items():
            bars = medians(rows, x, measure)
            figures.append(
                plots.spread(
                    rows, bars, title.format(pgr, name), x=x, hover="pair", measure=measure
                )
            )
    return figures


def medians(rows: pd.DataFrame, x: str, measure: str = "accuracy") -> pd.DataFrame:
    """Computes the median PGR of the students of each arm by column `x`, without those that have a
    pgr_note.

    Args:
        measure: 'accuracy', or 'auroc' for PGR by AUROC.
    Returns:
        Columns arm, the column `x`, pgr, pgr_low, pgr_high: the 95 % interval of drawing the runs
        again; of a single run, its own.
    """
    rows = by_measure(rows, measure)
    unmarked = rows[rows.pgr.notna() & (rows.pgr_note == "")]
    computed = []
    for (arm, place), runs in unmarked.groupby(["arm", unmarked[x].rename("x")], sort=False):
        row = {"arm": arm, x: place}
        if len(runs) > 1:
            row |= metrics.bootstrap(np.median, runs.pgr.to_numpy()[None]).as_dict("pgr")
        else:
            row |= runs[list(_PGR)].iloc[0].to_dict()
        computed.append(row)
    return pd.DataFrame(computed, columns=list(dict.fromkeys(("arm", x, *_PGR))))


def _figure_html(figure, *, first: bool) -> str:
    """Returns a figure as HTML; the first one brings plotly itself."""
    legend = {"y": 1.0, "yanchor": "bottom", "x": 1.0, "xanchor": "right"}
    figure.update_layout(width=1000, height=520, legend=legend)
    figure.update_xaxes(automargin=True, title="")  # the names below may be long
    return plotly.io.to_html(figure, full_html=False, include_plotlyjs=first)


def _undefined_pgr(rows: pd.DataFrame) -> list[str]:
    undefined = int(rows.pgr.isna().sum()) if len(rows) else 0
    if not undefined:
        return []
    return [
        "<p>PGR is not defined where the ceiling is not above its supervisor by more than the "
        f"gap's standard error: {undefined} of {len(rows)} students.</p>"
    ]


def _marked_pgr(rows: pd.DataFrame) -> list[str]:
    if not len(rows):
        return []
    counts = rows.pgr_note[rows.pgr.notna() & (rows.pgr_note != "")].value_counts()
    return [
        f"<p>† {html.escape(note)}: {n} of {len(rows)} students. Medians leave them out.</p>"
        for note, n in counts.items()
    ]


def _failures(runs: SweepRuns) -> list[str]:
    """Returns HTML of the runs that did not end well, each with the end of its traceback."""
    failed = [run for run in runs.sweep.runs if runs.outcomes.get(run.address, {}).get("error")]
    if not failed:
        return []
    blocks = [f"<h2>Runs that did not end well: {len(failed)}</h2>"]
    for run in failed:
        blocks += _failure(run, runs)
    return blocks


def _failure(run: RunSpec, runs: SweepRuns) -> list[str]:
    outcome = runs.outcomes[run.address]
    what = f"{outcome['state']} after {outcome['attempts']} attempt(s): {outcome['error']}"
    blocks = [f"<h3>{html.escape(runs.sweep.short(run))}</h3><p>{html.escape(what)}</p>"]
    trace = "\n".join(outcome["traceback"].strip().splitlines()[-25:])
    if trace:
        blocks.append(f"<pre>{html.escape(trace)}</pre>")
    return blocks


def students(runs: SweepRuns) -> pd.DataFrame:
    """Returns the rows of a sweep's results that have a PGR, or are students' without one, from
    small to large models.

    Column `pair` names the models, the other parameters that the sweep varies, and the text columns
    that tell a run's own rows apart, such as a stopping rule. An interval's end that JSON has as
    null is infinite.
    """
    rows = runs.results()
    if rows.empty or "arm" not in rows:
        return pd.DataFrame()
    rows = _with_numbers(rows)
    rows = rows[rows.pgr.notna() | rows.arm.str.startswith("student")].reset_index(drop=True)
    others = _distinguishing_columns(rows, runs.sweep.varied)
    rows["pair"] = [_pair(row, others) for _, row in rows.iterrows()]
    sizes = {i: (_size(rows.strong[i]), _size(rows.weak[i])) for i in rows.index}
    return rows.loc[sorted(rows.index, key=lambda i: sizes[i])]


def _with_numbers(rows: pd.DataFrame) -> pd.DataFrame:
    """Returns the rows with names as text, and with accuracy, AUROC, PGR by both and their
    intervals as floats.
    """
    for name in ("task", "weak", "strong"):
        rows[name] = rows[name].fillna("").astype(str) if name in rows else ""
    for suffix, missing in (("", math.nan), ("_low", -math.inf), ("_high", math.inf)):
        for measure in ("accuracy", "auroc", "pgr", "pgr_auroc"):
            column = rows.get(measure + suffix, pd.Series(math.nan, rows.index))
            rows[measure + suffix] = pd.to_numeric(column, errors="coerce").fillna(missing)
    for note in _NOTES:
        rows[note] = rows.get(note, pd.Series("", rows.index)).fillna("")
    return rows


def _distinguishing_columns(rows: pd.DataFrame, varied: list[str]) -> list[str]:
    """Returns what else varies: parameters of the sweep, and text columns that differ within a
    run.
    """
    named_already = ("task", "weak", "strong", "loss", "losses", "notebook")
    others = [name for name in varied if name not in named_already]
    for name in rows.columns[rows.map(lambda value: isinstance(value, str)).all()]:
        if name in (*others, "arm", "model", "task", "weak", "strong", *_NOTES):
            continue
        if rows.groupby("run")[name].nunique().max() > 1:
            others.append(name)
    return others


def _pair(row: pd.Series, others: list[str]) -> str:
    models = " → ".join(short([row.weak, row.strong]))
    return models + "".join(f", {name} {row[name]}" for name in others)


def _size(name: str) -> tuple:
    try:
        return size_order(name)
    except ValueError:  # a model that a notebook knows and this process does not
        return math.inf, name


def _made_by(runs: SweepRuns) -> str:
    """Returns seconds, machines and versions, from the records of the done runs."""
    results = [runs.result_of(run) for run in runs.done]
    machines = sorted({str(result.get("machine")) for result in results})
    versions = sorted({_line_of(result.get("versions", {})) for result in results})
    seconds = sum(runs.outcomes[run.address]["seconds"] for run in runs.done)
    return html.escape(f"{seconds:.0f} s of runs. {'; '.join(machines)}. {'; '.join(versions)}")


def _line_of(versions: dict[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in versions.items())


def _student_cells(rows: pd.DataFrame) -> pd.DataFrame:
    """Returns the students' table as text: names, then accuracy, PGR and, where a run has it,
    AUROC, with their intervals.
    """
    names = rows[[c for c in ("task", "pair", "arm", "seeds", "n_test") if c in rows]]
    cells = names.astype(str).map(html.escape)
    columns = {"accuracy": "accuracy", "AUROC": "auroc", "PGR": "pgr", "PGR by AUROC": "pgr_auroc"}
    if rows.auroc.isna().all() and rows.pgr_auroc.isna().all():
        columns = {"accuracy": "accuracy", "PGR": "pgr"}
    numbers = rows.to_dict("records")
    return cells.assign(
        **{title: [interval_cell(row, name) for row in numbers] for title, name in columns.items()}
    )


def _run_cells(runs: SweepRuns) -> pd.DataFrame:
    """Returns the index as text, with links to the executed notebooks."""
    index = runs.index()
    links = index.output.map(lambda path: f'<a href="{path}">notebook</a>' if path else "")
    cells = index.drop(columns=["notebook"]).astype(object).fillna("")
    return cells.map(lambda value: html.escape(str(value))).assign(output=links)


def _table(frame: pd.DataFrame) -> str:
    return f"<div class='wide'>{frame.to_html(index=False, escape=False, border=0)}</div>"
