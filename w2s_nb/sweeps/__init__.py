"""Sweeps: a grid of parameters becomes papermill runs on an engine, an index of them, and a
report.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "driver": ["run_sweep"],
        "engines": ["ENGINES", "Engine", "jobs_on_this_machine", "start_engine"],
        "grid": ["Resources", "RunSpec", "Sweep"],
        "reading": ["read_sweep"],
        "report": ["write_report"],
        "state": ["SweepRuns"],
    },
)
