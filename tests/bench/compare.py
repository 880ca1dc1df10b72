"""Compares a result of the bench with the committed one: `make bench-compare`."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from . import REFERENCE
from .measure import ROOT

BETTER, EQUAL, WORSE, NEW, LACKING = "better", "", "WORSE", "new", "not measured"


def read(path: Path) -> dict:
    """Returns a result as `python -m tests.bench` wrote it.

    Raises:
        SystemExit: there is no such file, or it holds something else; in one line.
    """
    try:
        result = json.loads(path.read_text())
        if not all({"value", "margin", "least"} <= set(each) for each in result["ratios"].values()):
            raise KeyError("value, margin or least of a ratio")
    except FileNotFoundError:
        raise SystemExit(f"{path} is not there; `make bench` writes it") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise SystemExit(f"{path} is no result of `make bench`: {error!r}") from None
    return result


def judge(before: dict | None, after: dict | None) -> str:
    """Says how a ratio has moved; it is worse where it grew by more than its margin.

    Args:
        before, after: the ratio's dict in each result, None where one lacks it. The margin is that
            of `before`, which is committed: a new result cannot widen it.
    """
    if before is None or after is None:
        return NEW if before is None else LACKING
    room = max(before["margin"] * before["value"], before["least"])
    change = after["value"] - before["value"]
    # a value that is no number has not stayed within anything
    if not change <= room:
        return WORSE
    return BETTER if change < -room else EQUAL


def compare(reference: dict, result: dict, subjects: list[str] | None = None) -> tuple[str, bool]:
    """Returns a table of both results' ratios, and whether one is worse or could not be measured.

    Args:
        subjects: those that were asked for; None takes all. Ratios of others are left out.
    """
    before, after = reference["ratios"], result["ratios"]
    names = [*before, *(name for name in after if name not in before)]
    rows = [("ratio", "reference", "now", "change", "margin", "")]
    bad = False
    for name in names:
        if subjects is not None and name.split(".")[0] not in subjects:
            continue
        old, new = before.get(name), after.get(name)
        verdict = judge(old, new)
        bad |= verdict == WORSE
        rows.append((name, _value(old), _value(new), _change(old, new), _margin(old), verdict))
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
    for subject, error in result.get("failed", {}).items():
        bad = True
        lines.append(f"{subject}: could not be measured: {error.splitlines()[-1]}")
    return "\n".join([*lines, *_differences(reference, result)]), bad


def _value(each: dict | None) -> str:
    return "" if each is None else f"{each['value']:.3f}"


def _change(old: dict | None, new: dict | None) -> str:
    if old is None or new is None or not old["value"]:
        return ""
    return f"{new['value'] / old['value'] - 1:+.1%}"


def _margin(old: dict | None) -> str:
    if old is None:
        return ""
    least = f"{old['least']:g}" if old["least"] else ""
    return " or ".join(filter(None, [f"{old['margin']:.0%}" if old["margin"] else "", least]))


def _differences(reference: dict, result: dict) -> list[str]:
    """Returns a line for each thing in which the two machines differ."""
    before, after = reference.get("machine", {}), result.get("machine", {})
    lines = []
    if before.get("cpu") != after.get("cpu"):
        lines.append(f"another processor: {before.get('cpu')} then, {after.get('cpu')} now")
    old, new = before.get("versions", {}), after.get("versions", {})
    moved = [
        f"{k} {old.get(k)} -> {new.get(k)}" for k in sorted(old | new) if old.get(k) != new.get(k)
    ]
    return lines + ([f"other versions: {', '.join(moved)}"] if moved else [])


def main(arguments: list[str] | None = None) -> int:
    """Prints the table; returns 1 where a ratio is worse or a subject failed, else 0."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.compare", description=__doc__)
    default = ROOT / "papermill_runs" / "bench.json"
    parser.add_argument("result", nargs="?", type=Path, default=default)
    parser.add_argument("--reference", type=Path, default=REFERENCE)
    options = parser.parse_args(arguments)
    table, bad = compare(read(options.reference), read(options.result))
    print(table)
    return int(bad)


if __name__ == "__main__":
    sys.exit(main())
