"""Sweeps: a grid of parameters becomes papermill runs on an engine, an index of them, and a report."""

from .driver import run_sweep
from .engines import ENGINES, Engine, engine_of, jobs_here
from .grid import Resources, RunSpec, Sweep
from .reading import read
from .report import report
from .state import SweepRuns

__all__ = [
    "ENGINES",
    "Engine",
    "Resources",
    "RunSpec",
    "Sweep",
    "SweepRuns",
    "engine_of",
    "jobs_here",
    "read",
    "report",
    "run_sweep",
]
