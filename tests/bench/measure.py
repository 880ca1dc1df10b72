"""Measures CPU seconds and memory of this process and of others, and makes ratios of them."""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
SUBREAPER = 36  # PR_SET_CHILD_SUBREAPER of prctl: whose parent ends becomes a child of ours


@dataclass(frozen=True)
class Ratio:
    """A ratio of two things measured in one run; less is better.

    Attributes:
        name: subject and short name, such as `padding.training`.
        what: what is divided by what, in a sentence.
        value: the ratio; of several rounds, the median of theirs.
        margin: share of the reference by which it may grow before it counts as worse.
        least: what it may grow by in any case, for ratios near 0.
        rounds: the ratio of each round.
        figures: {name with its unit: what was measured}, for the reader alone.
    """

    name: str
    what: str
    value: float
    margin: float = 0.1
    least: float = 0.0
    rounds: list[float] = field(default_factory=list)
    figures: dict[str, float] = field(default_factory=dict)


def ratio(name: str, what: str, above: list[float], below: list[float], **options) -> Ratio:
    """Returns the median ratio of rounds that measured both in turn.

    Args:
        above, below: a value per round, such as CPU seconds; of one length.
        options: margin, least and figures of the ratio.
    """
    rounds = [a / b for a, b in zip(above, below, strict=True)]
    rounded = [round(each, 4) for each in rounds]
    return Ratio(name, what, round(float(np.median(rounds)), 4), rounds=rounded, **options)


def ratios_of(subject: str) -> dict:
    """Returns {"ratios": the ratios of a subject as dicts}; it runs in a process of its own."""
    ratios: list[Ratio] = importlib.import_module(f"{__package__}.{subject}").measure()
    return {"ratios": [asdict(each) for each in ratios]}


def cpu_seconds() -> float:
    """Returns the CPU seconds that this process and its ended descendants have used."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


@contextlib.contextmanager
def timed() -> Iterator[list[float]]:
    """Gives a list that holds the CPU seconds of the block after its end."""
    seconds: list[float] = []
    started = cpu_seconds()
    yield seconds
    seconds.append(cpu_seconds() - started)


def peak_mb() -> float:
    """Returns the most memory that this process has held at once, in 10^6 bytes."""
    kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return kilobytes * (1 if sys.platform == "darwin" else 1024) / 1e6


def rest_mb() -> float:
    """Returns the memory that this process holds now, in 10^6 bytes."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) * 1024 / 1e6


def apart(function: Callable, *arguments, **environment: str) -> dict:
    """Calls a function of this package in a process of its own, at one thread.

    Args:
        arguments: what JSON can write.
        environment: variables that the process has beside ours.
    Returns:
        What the function returned, a dict, with `process_cpu_s`: all CPU seconds of the process and
        its descendants, from start to end.
    """
    code = (
        "import importlib, json, sys; module, name, arguments, out = sys.argv[1:]; "
        "done = getattr(importlib.import_module(module), name)(*json.loads(arguments)); "
        "open(out, 'w').write(json.dumps(done))"
    )
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "answer.json"
        order = [function.__module__, function.__name__, json.dumps(arguments), str(out)]
        seconds = run([sys.executable, "-c", code, *order], **environment)
        return json.loads(out.read_text()) | {"process_cpu_s": seconds}


def run(command: list[str], **environment: str) -> float:
    """Runs a command from the checkout at one thread; returns the CPU seconds of all its processes.

    Raises:
        RuntimeError: it failed; with the last lines that it wrote.
    """
    adopt_orphans()
    started = cpu_seconds()
    one_thread = {"OMP_NUM_THREADS": "1", "TQDM_DISABLE": "1", "TOKENIZERS_PARALLELISM": "false"}
    done = subprocess.run(
        command,
        check=False,
        env=os.environ | one_thread | {"HF_HUB_OFFLINE": "1"} | environment,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if done.returncode:
        last = "\n".join(done.stdout.splitlines()[-15:])
        raise RuntimeError(f"a process ended with {done.returncode}:\n{last}")
    wait_for_orphans()
    return cpu_seconds() - started


def adopt_orphans() -> None:
    """Makes processes whose parents end children of this one, so that their seconds are counted."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(SUBREAPER, 1, 0, 0, 0)


def wait_for_orphans(seconds: float = 20) -> None:
    """Waits until no child is left, for some time at most."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            ended, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if not ended:
            time.sleep(0.05)


def matrix_rate(dtype: str = "float32", seconds: float = 1.0) -> float:
    """Measures the floating-point operations of large matrix products, 10^9 a CPU second."""
    import torch

    a, b = (torch.randn(1024, 1024).to(getattr(torch, dtype)) for _ in range(2))
    a @ b  # the first one sets up what the others use
    n = 0
    started = time.process_time()
    while time.process_time() < started + seconds:
        a @ b
        n += 1
    return 2 * 1024**3 * n / (time.process_time() - started) / 1e9


def describe_machine() -> dict:
    """Returns what ratios depend on least, and absolute figures most: processor and versions."""
    from w2s_nb.common.device import versions

    cpu = platform.processor() or platform.machine()
    memory_gb = None
    with contextlib.suppress(OSError):
        names = [s for s in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in s]
        cpu = names[0].partition(":")[2].strip() if names else cpu
        memory = Path("/proc/meminfo").read_text().split()[1]
        memory_gb = round(int(memory) * 1024 / 1e9, 1)
    return {
        "cpu": cpu,
        "cores": os.cpu_count(),
        "memory_gb": memory_gb,
        "system": f"{platform.system()} {platform.machine()}",
        "float32_gflop_per_cpu_s": round(matrix_rate(), 1),
        "versions": versions(),
    }
