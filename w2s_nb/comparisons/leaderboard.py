"""Writes stored comparisons as one HTML page that needs no network: the best method on top.

Comparisons of one setting (models, tasks, seeds, sizes and training) share a table. Its p-values
are corrected for all methods of the table, so that a method added later counts against the earlier.
"""

from __future__ import annotations

import html
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from ..common.files import write_atomic
from ..common.intervals import interval_cell
from ..common.paths import runs_folder, short_path
from ..metrics.many_comparisons import holm

_SETTING = ("weak", "strong", "seeds", "tasks", "settings")
_NEEDED = (*_SETTING, "table", "about")
_COLUMNS = ("method", "accuracy", "minus naive", "p", "p by Holm", "PGR", "PGR, own ceiling")
_OF_SEALED = ("queries", "public minus sealed")
_STYLE = """body {font: 15px/1.5 system-ui, sans-serif; max-width: 1200px; margin: 2em auto;
padding: 0 1em} table {border-collapse: collapse; font-size: 13px} th, td {padding: 3px 9px;
border-bottom: 1px solid #ddd; text-align: left; vertical-align: top} .wide {overflow-x: auto}
tr.free td, tr.ceiling td {color: #666} tr.method td:first-child {font-weight: bold}"""
_RULE = (
    "Accuracy comes first. A method is compared with naive finetuning on the same labels, paired "
    "by example and seed; its p-value is of examples and seeds, corrected by Holm's method for all "
    "methods of a table. Rows in grey cost nothing, or are the ceiling: they stand beside the "
    "methods and are not tested. Brackets are 95 % intervals; † marks a PGR whose supervisor or "
    "ceiling is not above chance. Of a sealed comparison all numbers are of the half of the test "
    "that no question was answered on."
)
_WIDTH = 160  # pixels of a drawing


def write_leaderboard(
    comparisons: str | Path | Iterable[str | Path] | None = None, out: str | Path | None = None
) -> Path:
    """Writes the page of stored comparisons, and returns where.

    Args:
        comparisons: files that `Comparison.write` wrote, or a folder of them; None takes
            papermill_runs/comparisons.
        out: the page; None takes leaderboard.html beside the first file.
    Raises:
        FileNotFoundError: no such file, or none in the folder.
        ValueError: a file that is no stored comparison.
    """
    files = _list_files(comparisons)
    path = Path(out).expanduser() if out else files[0].parent / "leaderboard.html"
    write_atomic(path, page([_read(file) for file in files]).encode())
    return path


def page(stored: Sequence[Mapping]) -> str:
    """Returns the page of comparisons, as `Comparison.as_dict` gives them."""
    settings: dict[str, list[Mapping]] = {}
    for each in stored:
        key = json.dumps([each[name] for name in _SETTING], sort_keys=True)
        settings.setdefault(key, []).append(each)
    sections = "".join(map(_section, settings.values()))
    return (
        "<!doctype html><html lang='en'><head><meta charset='utf-8'><title>Methods compared</title>"
        f"<style>{_STYLE}</style></head><body><h1>Methods compared</h1><p>{_text(_RULE)}</p>"
        f"{sections}</body></html>"
    )


def merge(stored: Sequence[Mapping]) -> list[dict]:
    """Joins the tables of comparisons of one setting.

    Returns:
        A row per method, of one that stands in several, by whichever name, the last; the most
        accurate first, failed ones last; p_holm is corrected for all methods that were tested.
    """
    rows = {}
    for each in stored:
        canonical = each.get("canonical", {})
        for row in each["table"]:
            rows[canonical.get(row["method"], row["method"])] = dict(row)
    tested = [row for row in rows.values() if row["p"] is not None]
    for row, corrected in zip(tested, holm([row["p"] for row in tested]), strict=True):
        row["p_holm"] = float(corrected)
    worst = -math.inf
    return sorted(
        rows.values(),
        key=lambda row: worst if row["accuracy"] is None else row["accuracy"],
        reverse=True,
    )


def _section(stored: Sequence[Mapping]) -> str:
    """Returns the heading, what was run, and the table of one setting."""
    first = stored[-1]
    rows = merge(stored)
    about = {name: text for each in stored for name, text in each["about"].items()}
    is_sealed = any(row.get("queries") is not None for row in rows)
    columns = [*_COLUMNS, *(_OF_SEALED if is_sealed else ()), "seconds", "error"]
    gains = [row[f"difference{end}"] for row in rows for end in ("_low", "", "_high")]
    reach = max((abs(gain) for gain in gains if gain is not None), default=1) or 1
    lines = "".join(_line(row, about, is_sealed, reach) for row in rows)
    head = "".join(f"<th>{_text(column)}</th>" for column in columns)
    pair = f"{first['weak']} teaches {first['strong']}"
    return (
        f"<h2>{_text(pair)}</h2><p>{_described(first)}</p>"
        f"<div class='wide'><table><tr>{head}</tr>{lines}</table></div>"
    )


def _described(stored: Mapping) -> str:
    """Returns tasks with their sizes, seeds and training in one line."""
    tasks = ", ".join(
        f"{task} ({n['n_train']} to train on, {n['n_scored']} of {n['n_test']} test texts scored)"
        for task, n in stored["tasks"].items()
    )
    arguments = stored["settings"].get("others", {})
    training = ", ".join(f"{name} {value}" for name, value in arguments.items())
    if "queries" in stored["settings"]:
        training += f"; sealed, {stored['settings']['queries']} queries per method, task and seed"
    return _text(f"{tasks}; seeds {', '.join(map(str, stored['seeds']))}; {training}")


def _line(row: Mapping, about: Mapping[str, str], is_sealed: bool, reach: float) -> str:
    method = row["method"]
    title = html.escape(about.get(method, ""), quote=True)
    cells = [
        f"<span title='{title}'>{_text(method)}</span>",
        _interval(row, "accuracy", ".3f"),
        _interval(row, "difference", "+.3f") + _strip(row, reach),
        _number(row["p"], ".3f"),
        _number(row.get("p_holm"), ".3f"),
        _interval(row, "pgr", ".2f"),
        _interval(row, "pgr_own", ".2f"),
    ]
    if is_sealed:
        cells += [_number(row.get("queries"), ".0f"), _interval(row, "optimism", "+.3f")]
    cells += [_number(row.get("seconds"), ".1f"), _text(row.get("error") or "")]
    kind = html.escape(row["kind"], quote=True)
    return f"<tr class='{kind}'>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"


def _strip(row: Mapping, reach: float) -> str:
    """Returns a small drawing of the difference to naive and its interval; a line stands at 0."""
    low, value, high = (row[f"difference{end}"] for end in ("_low", "", "_high"))
    if low is None or value is None or high is None:
        return ""

    def x(gain: float) -> float:
        return _WIDTH * (0.5 + 0.48 * gain / reach)

    return (
        f"<br><svg width='{_WIDTH}' height='12' role='img' aria-label='difference to naive'>"
        f"<path d='M{x(0):.1f} 0V12' stroke='#bbb'/>"
        f"<path d='M{x(low):.1f} 6H{x(high):.1f}' stroke='#333' stroke-width='1.5'/>"
        f"<circle cx='{x(value):.1f}' cy='6' r='3' fill='#333'/></svg>"
    )


def _interval(row: Mapping, name: str, form: str) -> str:
    """Returns "value [low, high]", with the number's note as its title; "" of no number."""
    text = _text(interval_cell(row, name, form))
    note = row.get(f"{name}_note")
    return f"<span title='{html.escape(note, quote=True)}'>{text}</span>" if note else text


def _number(value: float | None, form: str) -> str:
    return "" if value is None else f"{value:{form}}"


def _text(value: object) -> str:
    return html.escape(str(value))


def _list_files(comparisons: str | Path | Iterable[str | Path] | None) -> list[Path]:
    """Returns the files of stored comparisons, of a folder all, by name.

    Raises:
        FileNotFoundError: there is none.
    """
    if comparisons is None:
        comparisons = runs_folder() / "comparisons"
    if isinstance(comparisons, (str, Path)):
        path = Path(comparisons).expanduser()
        files = [path] if path.is_file() else sorted(path.glob("*.json"))
    else:
        files = [Path(file).expanduser() for file in comparisons]
        path = files[0] if files else Path()
    if not files:
        raise FileNotFoundError(
            f"no stored comparison in {short_path(path)}; python -m w2s_nb compare writes one"
        )
    return files


def _read(file: Path) -> Mapping:
    """Reads a stored comparison.

    Raises:
        ValueError: it is none; names what it lacks.
    """
    try:
        stored = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{short_path(file)} is no JSON: {error}") from None
    missing = [name for name in _NEEDED if not isinstance(stored, dict) or name not in stored]
    if missing:
        raise ValueError(f"{short_path(file)} is no stored comparison: it has no {missing[0]!r}")
    return stored
