"""Writes a sweep as one HTML page: accuracy and PGR of its students; its runs; what failed, and
why.
"""

from __future__ import annotations

import html
from pathlib import Path

import pandas as pd
import plotly.io
import plotly.offline

from .. import plots
from ..common.files import write_atomic
from ..common.intervals import interval_cell
from .grid import RunSpec
from .state import SweepRuns
from .students import medians, students

_STYLE = """:root {color-scheme: light dark; --line: #ddd; --block: #f6f6f6}
@media (prefers-color-scheme: dark) {:root {--line: #444; --block: #2a2a2a}
body {background: #1b1b1b; color: #e4e4e4} a {color: #8ab4f8}
.js-plotly-plot .main-svg text {fill: #e4e4e4 !important}}
body {font: 15px/1.5 system-ui, sans-serif; max-width: 1300px; margin: 2em auto;
padding: 0 1em} table {border-collapse: collapse; font-size: 13px} th, td {padding: 3px 9px;
border-bottom: 1px solid var(--line); text-align: left; vertical-align: top}
.wide {overflow-x: auto}
.students td {white-space: nowrap}
pre {background: var(--block); padding: 1em; overflow-x: auto; font-size: 12px}"""
_ROW = 32  # pixels per student in a figure that has them one below another
_AROUND = 210  # pixels for a figure's title, axis and legend


def write_report(runs: SweepRuns) -> Path:
    """Writes `report.html` in the sweep's folder, and plotly once for all sweeps beside it: the
    page opens without a network; sent alone, it takes plotly from its CDN.
    """
    sweep = runs.sweep
    rows = students(runs)
    title = html.escape(sweep.name)
    body = [f"<h1>Sweep {title}</h1>", f"<p>{html.escape(runs.summary())}. {_made_by(runs)}</p>"]
    figures = _figures(rows)
    if figures:
        body.append(_plotly_beside(sweep.folder.parent))
    body += [_figure_html(figure) for figure in figures]
    body += _undefined_pgr(rows)
    body += _marked_pgr(rows)
    body += _failures(runs)
    if len(rows):
        body += ["<h2>Students</h2>", _shared_fits(rows), _table(_student_cells(rows), "students")]
    body += ["<h2>Runs</h2>", _table(_run_cells(runs))]
    page = (
        f"<!doctype html><html lang='en'><head><meta charset='utf-8'><title>{title}</title>"
        f"<style>{_STYLE}</style></head><body>{''.join(body)}</body></html>"
    )
    write_atomic(sweep.folder / "report.html", page.encode())
    return sweep.folder / "report.html"


def _plotly_beside(folder: Path) -> str:
    """Writes plotly's script into a folder, unless it is there; returns the HTML that loads it."""
    name = f"plotly-{plotly.offline.get_plotlyjs_version()}.min.js"
    if not (folder / name).is_file():
        write_atomic(folder / name, plotly.offline.get_plotlyjs().encode())
    cdn = f"<script src='https://cdn.plot.ly/{name}'><\\/script>"
    return (
        f'<script charset="utf-8" src="../{name}"></script>'
        f'<script>window.Plotly || document.write("{cdn}")</script>'
    )


def _figures(rows: pd.DataFrame) -> list:
    """Returns the figures: accuracy and PGR by pair for each task, PGR by loss, and by task where
    there are several.
    """
    if not len(rows):
        return []
    no_dots = pd.DataFrame(columns=["arm", "pgr", "pair"])
    figures = []
    for task, of_task in rows.groupby("task", sort=False):
        settings = _settings(task, of_task)
        figures.append(_high(plots.accuracies(of_task, settings), of_task))
        figures.append(_high(plots.pgr(of_task, no_dots, settings, x="pair"), of_task))
    settings = "{} by {}: a circle per student, the bar their median with its 95 % interval"
    by = {"arm": "loss", "task": "task"} if rows.task.nunique() > 1 else {"arm": "loss"}
    for measure, pgr in {"accuracy": "PGR", "auroc": "PGR by AUROC"}.items():
        if measure == "auroc" and rows.pgr_auroc.isna().all():  # no task with classes, or old runs
            continue
        for x, name in by.items():
            bars = medians(rows, x, measure)
            figures.append(
                plots.spread(
                    rows, bars, settings.format(pgr, name), x=x, hover="pair", measure=measure
                )
            )
    return figures


def _settings(task: str, rows: pd.DataFrame) -> str:
    """Returns a task, the model whose layers the pairs name, and what all students have alike."""
    bases = {name.rpartition("@")[0] for name in (*rows.weak, *rows.strong)}
    cut = f"layers of {bases.pop()}" if len(bases) == 1 and "" not in bases else ""
    alike = [
        f"{name} {rows[name].iloc[0]}"
        for name in ("method", "seeds", "n_train", "n_test")
        if name in rows and rows[name].map(repr).nunique() == 1
    ]
    return ", ".join(filter(None, [task, cut, *alike]))


def _high(figure, rows: pd.DataFrame):
    """Returns a figure with room for each student."""
    return figure.update_layout(height=max(figure.layout.height, _AROUND + _ROW * len(rows)))


def _figure_html(figure) -> str:
    """Returns a figure as HTML that finds plotly loaded."""
    figure.update_layout(width=max(1000, figure.layout.width))
    figure.update_xaxes(automargin=True)
    figure.update_yaxes(automargin=True)  # the names there may be long
    return plotly.io.to_html(figure, full_html=False, include_plotlyjs=False)


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


def _made_by(runs: SweepRuns) -> str:
    """Returns seconds, machines and versions, from the records of the done runs."""
    results = [runs.result_of(run) for run in runs.done]
    machines = sorted({str(result.get("machine")) for result in results})
    versions = sorted({_line_of(result.get("versions", {})) for result in results})
    seconds = sum(runs.outcomes[run.address]["seconds"] for run in runs.done)
    return html.escape(f"{seconds:.0f} s of runs. {'; '.join(machines)}. {'; '.join(versions)}")


def _line_of(versions: dict[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in versions.items())


def _shared_fits(rows: pd.DataFrame) -> str:
    """Returns a sentence on the students that several runs share; "" if none do."""
    shared = int((rows.runs > 1).sum())
    if not shared:
        return ""
    return (
        f"<p>{len(rows)} students. A student whose numbers are the same in several runs, which "
        f"shared its fit, is listed, drawn and counted once: {shared} of them.</p>"
    )


def _student_cells(rows: pd.DataFrame) -> pd.DataFrame:
    """Returns the students' table as text: names, then accuracy beside that of supervisor and
    ceiling, PGR and, where a run has it, AUROC, with their intervals; no empty columns.
    """
    names = {
        "task": rows.task,
        "supervisor": rows.weak,
        "student": rows.strong,
        "settings": rows.settings,
        "arm": rows.arm,
        **{name: rows[name] for name in ("seeds", "n_test") if name in rows},
        "runs": rows.runs,
    }
    columns = {
        "accuracy of supervisor": "supervisor",
        "accuracy": "accuracy",
        "of ceiling": "ceiling",
        "PGR": "pgr",
        "AUROC": "auroc",
        "PGR by AUROC": "pgr_auroc",
    }
    cells = pd.DataFrame(names).astype(str).map(html.escape)
    numbers = rows.to_dict("records")
    for title, name in columns.items():
        cells[title] = [interval_cell(row, name) for row in numbers]
    empty = [name for name in cells if (cells[name] == "").all()]
    if (rows.runs == 1).all():
        empty.append("runs")
    return cells.drop(columns=empty)


def _run_cells(runs: SweepRuns) -> pd.DataFrame:
    """Returns the index as text, with links to the executed notebooks."""
    index = runs.index()
    links = index.output.map(lambda path: f'<a href="{path}">notebook</a>' if path else "")
    cells = index.drop(columns=["notebook"]).astype(object).fillna("")
    return cells.map(lambda value: html.escape(str(value))).assign(output=links)


def _table(frame: pd.DataFrame, kind: str = "") -> str:
    table = frame.to_html(index=False, escape=False, border=0)
    return f"<div class='wide {kind}'>{table}</div>"
