"""A sweep as one HTML page: PGR by pair, loss and task; its runs; what failed, and why."""

from __future__ import annotations

import html
import math
from pathlib import Path

import pandas as pd
import plotly.io

from .. import plots
from ..common.files import write_atomic
from ..models.names import size_order
from ..plots.base import short
from .running import DONE, result_of
from .state import SweepRuns

_STYLE = """body {font: 15px/1.5 system-ui, sans-serif; max-width: 1100px; margin: 2em auto; padding: 0 1em}
table {border-collapse: collapse; font-size: 13px} th, td {padding: 3px 9px; border-bottom: 1px solid #ddd;
text-align: left; vertical-align: top} td.number {text-align: right} .wide {overflow-x: auto}
pre {background: #f6f6f6; padding: 1em; overflow-x: auto; font-size: 12px}"""


def report(runs: SweepRuns) -> Path:
    """Writes `report.html` in the sweep's folder, plotly included, so that it opens without a network."""
    sweep, index, rows = runs.sweep, runs.index(), students(runs)
    parts = [
        f"<h1>Sweep {html.escape(sweep.name)}</h1>",
        f"<p>{html.escape(runs.summary())}. {_made_by(runs)}</p>",
    ]
    figures = []
    for task, part in rows.groupby("task", sort=False) if len(rows) else []:
        none = pd.DataFrame(columns=["arm", "pgr", "pair"])
        figures.append(plots.pgr(part, none, f"{task}: PGR by pair, with 95 % interval", x="pair"))
    if len(rows):
        figures.append(
            plots.spread(
                rows, "PGR by loss, a dot a run, the bar their median", x="arm", hover="pair"
            )
        )
        if rows.task.nunique() > 1:
            figures.append(
                plots.spread(
                    rows, "PGR by task, a dot a run, the bar their median", x="task", hover="pair"
                )
            )
    for i, figure in enumerate(figures):  # the names below may be long
        figure.update_layout(
            width=1000, height=520, legend=dict(y=1.0, yanchor="bottom", x=1.0, xanchor="right")
        )
        figure.update_xaxes(automargin=True, title="")
        parts.append(plotly.io.to_html(figure, full_html=False, include_plotlyjs=i == 0))
    undefined = rows[rows.pgr.isna()] if len(rows) else rows
    if len(undefined):
        parts.append(
            f"<p>PGR is not defined where the ceiling is not above its supervisor by more than the gap's "
            f"standard error: {len(undefined)} of {len(rows)} students.</p>"
        )
    failed = [run for run in sweep.runs if runs.outcomes.get(run.address, {}).get("error")]
    if failed:
        parts.append(f"<h2>Runs that did not end well: {len(failed)}</h2>")
    for run in failed:
        found = runs.outcomes[run.address]
        trace = "\n".join(found["traceback"].strip().splitlines()[-25:])
        parts.append(
            f"<h3>{html.escape(sweep.short(run))}</h3><p>{html.escape(found['state'])} after "
            f"{found['attempts']} attempt(s): {html.escape(found['error'])}</p>"
        )
        parts += [f"<pre>{html.escape(trace)}</pre>"] if trace else []
    if len(rows):
        parts += ["<h2>Students</h2>", _table(_shown(rows))]
    links = index.output.map(lambda path: f'<a href="{path}">notebook</a>' if path else "")
    parts += [
        "<h2>Runs</h2>",
        _table(
            index.drop(columns=["notebook"])
            .astype(object)
            .fillna("")
            .map(lambda value: html.escape(str(value)))
            .assign(output=links)
        ),
    ]
    page = (
        f"<!doctype html><html lang='en'><head><meta charset='utf-8'><title>{html.escape(sweep.name)}</title>"
        f"<style>{_STYLE}</style></head><body>{''.join(parts)}</body></html>"
    )
    write_atomic(sweep.folder / "report.html", page.encode())
    return sweep.folder / "report.html"


def students(runs: SweepRuns) -> pd.DataFrame:
    """The rows of a sweep's results that have a PGR, or are students' without one, from small to large models.

    Column `pair` names the models, what else the sweep varies, and what else tells a run's own rows apart, such as a
    stopping rule. An interval's end that JSON has as null is infinite.
    """
    rows = runs.results()
    if rows.empty or "arm" not in rows:
        return pd.DataFrame()
    for name in ("task", "weak", "strong"):
        rows[name] = rows[name].fillna("").astype(str) if name in rows else ""
    for name, unbounded in (("", math.nan), ("_low", -math.inf), ("_high", math.inf)):
        for measure in ("accuracy", "pgr"):
            column = rows.get(measure + name, pd.Series(math.nan, rows.index))
            rows[measure + name] = pd.to_numeric(column, errors="coerce").fillna(unbounded)
    rows = rows[rows.pgr.notna() | rows.arm.str.startswith("student")].reset_index(drop=True)
    others = [
        n
        for n in runs.sweep.varied
        if n not in ("task", "weak", "strong", "loss", "losses", "notebook")
    ]
    others += [
        c
        for c in rows.columns[rows.map(lambda value: isinstance(value, str)).all()]
        if c not in (*others, "arm", "model", "task", "weak", "strong")
        and rows.groupby("run")[c].nunique().max() > 1
    ]
    rows["pair"] = [
        " → ".join(short([row.weak, row.strong])) + "".join(f", {n} {row[n]}" for n in others)
        for _, row in rows.iterrows()
    ]
    return rows.loc[sorted(rows.index, key=lambda i: (_size(rows.strong[i]), _size(rows.weak[i])))]


def _size(name: str) -> tuple:
    try:
        return size_order(name)
    except ValueError:  # of a model that a notebook knows and this process does not
        return math.inf, name


def _made_by(runs: SweepRuns) -> str:
    """Machines, versions and seconds, from the records of the runs."""
    done = [run for run in runs.sweep.runs if runs.state[run.address] == DONE]
    results = [result_of(runs.folder_of(run)) for run in done]
    machines = sorted({str(r.get("machine")) for r in results})
    versions = sorted(
        {", ".join(f"{k} {v}" for k, v in r.get("versions", {}).items()) for r in results}
    )
    seconds = sum(runs.outcomes[run.address]["seconds"] for run in done)
    return html.escape(f"{seconds:.0f} s of runs. {'; '.join(machines)}. {'; '.join(versions)}")


def _shown(rows: pd.DataFrame) -> pd.DataFrame:
    def cell(name):
        return [
            (
                ""
                if pd.isna(r[name])
                else f"{r[name]:.3f} [{r[f'{name}_low']:.3f}, {r[f'{name}_high']:.3f}]"
            )
            for _, r in rows.iterrows()
        ]

    named = rows[[c for c in ("task", "pair", "arm", "seeds", "n_test") if c in rows]]
    return named.astype(str).map(html.escape).assign(accuracy=cell("accuracy"), PGR=cell("pgr"))


def _table(frame: pd.DataFrame) -> str:
    return f"<div class='wide'>{frame.to_html(index=False, escape=False, border=0)}</div>"
