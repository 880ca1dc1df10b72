"""Measures times, padding and memory, each as a ratio, and tests nothing: `make bench`.

A subject is a file here with a function `measure() -> list[Ratio]`. A ratio compares two things
that were measured in one run on one machine, in CPU seconds at one thread, so that it means the
same on another machine and beside other processes. The committed ratios are in `REFERENCE`.
"""

from pathlib import Path

REFERENCE = Path(__file__).resolve().parents[2] / "papermill_runs" / "reference" / "bench.json"
# what `make bench` measures, in this order: about 15 minutes on two cores
SUBJECTS = ("padding", "startup", "sweeps", "probes", "features", "finetuning")
# what is measured when it is asked for
FURTHER = ("pairs", "shots", "looks", "precision", "estimates", "explorer")
