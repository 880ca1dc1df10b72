"""Runs subjects of the bench, each in a process of its own, and writes their ratios as JSON.

Ratios of other subjects that the file has from an earlier run are kept, each with its commit.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from . import FURTHER, REFERENCE, SUBJECTS
from .compare import compare, read
from .measure import ROOT, apart, describe_machine, ratios_of


def main(arguments: list[str] | None = None) -> int:
    """Measures what the command line names; returns 1 where a subject could not be measured."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    everything = [*SUBJECTS, *FURTHER]
    parser.add_argument(
        "subjects",
        nargs="*",
        metavar="SUBJECT",
        help=f"some of {', '.join(everything)}; none takes {', '.join(SUBJECTS)}",
    )
    default_out = ROOT / "papermill_runs" / "bench.json"
    parser.add_argument("--out", type=Path, default=default_out, help="the file that is written")
    options = parser.parse_args(arguments)
    unknown = sorted(set(options.subjects) - set(everything))
    if unknown:
        parser.error(f"no subject {', '.join(unknown)}; there are {', '.join(everything)}")
    subjects = options.subjects or list(SUBJECTS)
    before = read(options.out)["ratios"] if options.out.is_file() else {}
    started = time.perf_counter()
    ratios, failed = measure(subjects)
    seconds = round(time.perf_counter() - started)
    kept = {name: each for name, each in before.items() if name.split(".")[0] not in subjects}
    result = {"date": f"{datetime.now(UTC):%Y-%m-%d}", "seconds": seconds}
    result |= {"machine": describe_machine(), "ratios": kept | ratios, "failed": failed}
    options.out.write_text(json.dumps(result, indent=1) + "\n")
    if REFERENCE.is_file():
        print(compare(read(REFERENCE), result, subjects)[0])
    print(f"\n{seconds} s; written to {options.out}")
    return int(bool(failed))


def measure(subjects: list[str]) -> tuple[dict, dict]:
    """Measures subjects; returns {name: a ratio as a dict, with its commit}, {subject: error}."""
    ratios, failed = {}, {}
    measured = {"commit": commit()}
    for subject in subjects:
        print(f"{subject}: measuring", file=sys.stderr, flush=True)
        with tempfile.TemporaryDirectory() as home:
            try:
                answer = apart(ratios_of, subject, W2S_HOME=f"{home}/store", W2S_DEVICE="cpu")
            except RuntimeError as error:
                failed[subject] = str(error)
                print(f"{subject}: {error}", file=sys.stderr)
                continue
        ratios |= {each.pop("name"): each | measured for each in answer["ratios"]}
    return ratios, failed


def commit() -> str:
    """Returns the commit that is checked out, with `+` where files differ from it; or ""."""
    git = ["git", "-C", str(ROOT)]
    head = subprocess.run([*git, "rev-parse", "--short", "HEAD"], capture_output=True, text=True)
    changed = subprocess.run([*git, "status", "--porcelain"], capture_output=True, text=True)
    return head.stdout.strip() + ("+" if changed.stdout.strip() else "")


if __name__ == "__main__":
    sys.exit(main())
