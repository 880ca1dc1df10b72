"""Measures what a sweep pays for each of its runs beside the fits: kernel, imports, figures."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from .measure import Ratio, apart, ratio, run

MANY = 4
SWEEP = {
    "notebook": "03_conf_loss",
    "parameters": {
        "method": "probe",
        "weak": "SmolLM2-135M@2",
        "strong": "SmolLM2-135M@3",
        "table_seeds": 1,
        "n_train": 100,
        "n_val": 40,
        "n_test": 100,
    },
}


def measure() -> list[Ratio]:
    """Measures a sweep of one run and one of several, whose fits are all stored."""
    imports = [run([sys.executable, "-c", "import torch"]) for _ in range(3)]
    torch = sorted(imports)[1]
    with tempfile.TemporaryDirectory() as folder:
        apart(sweep, f"{folder}/first", MANY)  # stores the fits
        one = apart(sweep, f"{folder}/one", 1)["process_cpu_s"]
        many = apart(sweep, f"{folder}/many", MANY)["process_cpu_s"]
    each = (many - one) / (MANY - 1)
    return [
        ratio(
            "sweeps.each_further_run",
            "what a further run of 03 by probe costs, its fits being stored, over `import torch`, "
            "CPU seconds",
            [each],
            [torch],
            margin=0.15,
            figures={"cpu_s": round(each, 2)},
        ),
        ratio(
            "sweeps.first_run",
            "a sweep of one run of 03 by probe, its fits being stored, with the start of the "
            "process, over `import torch`, CPU seconds",
            [one],
            [torch],
            margin=0.15,
            figures={"cpu_s": round(one, 2)},
        ),
    ]


def sweep(folder: str, n: int) -> dict:
    """Runs n runs of the sweep that differ in alpha, one after another."""
    import w2s_nb as w2s
    from w2s_nb.sweeps import grid

    grid.runs_folder = lambda: Path(folder)  # not among the runs of the checkout
    alphas = [round(0.3 + 0.1 * i, 1) for i in range(n)]
    runs = w2s.run_sweep(SWEEP | {"name": "bench", "axes": {"alpha": alphas}}, jobs=1)
    states = set(runs.state.values())
    if states != {"done"}:
        errors = [outcome["error"] for outcome in runs.outcomes.values()]
        raise RuntimeError(f"runs of the sweep ended as {sorted(states)}: {errors}")
    if not (Path(folder) / "bench" / "runs").is_dir():
        raise RuntimeError(f"the sweep wrote nothing to {folder}")
    return {}
