"""Where runs execute: a pool of processes on this machine, or Ray on many. One contract for both."""

from __future__ import annotations

import contextlib
import itertools
import json
import math
import os
import queue
import subprocess
import sys
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Protocol

import psutil
import torch

from ..common.distributed import carried, connect, need_ray
from ..common.registry import UnknownName
from . import running
from .grid import Resources

ENGINES = ("local", "ray")


class Engine(Protocol):
    """Submits runs; `running.execute` says what a run and an outcome are."""

    def slots(self) -> int:
        """How many runs go on at once, now."""

    def submit(self, run: dict) -> Future:
        """The future outcome of a run. A worker or node that is lost gives an outcome too, with state `LOST`."""

    def close(self, *, now: bool = False) -> None:
        """Ends the engine; with `now`, what runs is stopped."""


def engine_of(
    name: str, resources: Resources, *, jobs: int | None = None, address: str | None = None
) -> Engine:
    """An engine by name.

    Args:
        jobs: runs at once; local only.
        address: of a Ray cluster; None takes the one that `RAY_ADDRESS` names, or starts Ray on this machine.
    Raises:
        UnknownName, ValueError: no such engine, or an argument that it does not take.
        ModuleNotFoundError: Ray is not installed; says how.
    """
    if name not in ENGINES:
        raise UnknownName("engine", str(name), ENGINES)
    if jobs is not None and (
        name != "local" or isinstance(jobs, bool) or not isinstance(jobs, int) or jobs < 1
    ):
        raise ValueError(
            f"jobs = {jobs!r} with engine {name!r}; expected a whole number from 1, with local"
        )
    if address is not None and name != "ray":
        raise ValueError(f"address {address!r} with engine {name!r}; only ray has one")
    return Ray(resources, address) if name == "ray" else Local(resources, jobs)


def visible_gpus() -> list[str]:
    """Devices that this process may use: of `CUDA_VISIBLE_DEVICES` where it is set, else all; none is initialised."""
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    if os.environ.get("W2S_DEVICE") == "cpu":
        return []
    if given is None:
        return list(map(str, range(torch.cuda.device_count())))
    named = [
        name.strip() for name in given.split(",")
    ]  # as CUDA reads it: up to the first that is no device
    return list(
        itertools.takewhile(lambda name: name.isdigit() or name.startswith(("GPU-", "MIG-")), named)
    )


def shares_of(gpus: list[str], each: float) -> list[list[str]]:
    """The devices of each run, as many runs as there is room for.

    >>> shares_of(["0", "1"], 0.5), shares_of(["0", "1", "2"], 2)
    ([['0'], ['0'], ['1'], ['1']], [['0', '1']])
    """
    if 0 < each < 1:
        return [[gpu] for gpu in gpus for _ in range(int(1 / each + 1e-9))]
    return (
        [gpus[i : i + int(each)] for i in range(0, len(gpus) - int(each) + 1, int(each))]
        if each
        else []
    )


def jobs_here(resources: Resources) -> int:
    """How many runs go on at once on this machine: one a share of the devices, else a core each, 4 at most.

    Raises:
        ValueError: this machine has fewer devices than one run is to be given.
    """
    gpus, cores = visible_gpus(), cores_here()
    each = gpus_each(resources, gpus)
    by_core = (
        max(1, int(cores / resources.cpus)) if resources.cpus else cores if each else min(4, cores)
    )
    shares = shares_of(gpus, each)
    if each and not shares:
        raise ValueError(f"resources: gpus = {each:g}; this machine has {len(gpus)}")
    return min(by_core, len(shares)) if each else by_core


def cores_here() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def gpus_each(resources: Resources, gpus: list) -> float:
    """Devices of one run: as asked for, else one where there are any."""
    return min(1, len(gpus)) if resources.gpus is None else resources.gpus


class Local:
    """A bounded pool of papermill processes, each with its share of the devices, or of the cores.

    A process runs one notebook after another, since importing papermill takes seconds; one that dies is replaced.
    """

    def __init__(self, resources: Resources, jobs: int | None = None):
        self.jobs, gpus = jobs or jobs_here(resources), visible_gpus()
        each = gpus_each(resources, gpus)
        shares = shares_of(gpus, each)
        if each and self.jobs > len(shares):
            raise ValueError(
                f"{self.jobs} jobs of {each:g} GPUs each; this machine has {len(gpus)}"
            )
        threads = max(1, int(resources.cpus or cores_here() / self.jobs))
        self._free, self._workers, self._closing = queue.SimpleQueue(), {}, threading.Event()
        for i in range(self.jobs):
            held = ",".join(shares[i]) if each else ""
            self._free.put((i, {"CUDA_VISIBLE_DEVICES": held} if gpus else {}))
        self._environment = {"OMP_NUM_THREADS": str(threads)} | os.environ | carried()
        self._pool = ThreadPoolExecutor(self.jobs)

    def slots(self) -> int:
        """As many as there are processes."""
        return self.jobs

    def submit(self, run: dict) -> Future:
        """Hands a run to a free process."""
        return self._pool.submit(self._ask, run)

    def _ask(self, run: dict) -> dict:
        slot = i, environment = self._free.get()
        try:
            if self._closing.is_set():
                return running.ended(run, running.LOST, "the sweep was stopped")
            if i not in self._workers or self._workers[i].poll() is not None:
                self._workers[i] = subprocess.Popen(
                    [sys.executable, "-P", running.__file__],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                    env=self._environment | environment,
                    start_new_session=True,
                )  # Ctrl-C is for the driver alone
            worker = self._workers[i]
            with contextlib.suppress(BrokenPipeError):
                print(json.dumps(run), file=worker.stdin, flush=True)
            line = worker.stdout.readline()
            if line.endswith("\n"):
                return json.loads(line)
            return running.ended(run, running.LOST, f"its process ended with {worker.wait()}")
        finally:
            self._free.put(slot)

    def close(self, *, now: bool = False) -> None:
        """Ends the processes: after their runs, or now; a kernel ends when its process has."""
        if now:
            self._closing.set()
            for worker in self._workers.values():
                with contextlib.suppress(psutil.NoSuchProcess):
                    for process in [*psutil.Process(worker.pid).children(recursive=True), worker]:
                        process.kill()
        self._pool.shutdown()
        for worker in self._workers.values():
            with contextlib.suppress(BrokenPipeError):
                worker.stdin.close()
            worker.wait()


class Ray:
    """Ray: one machine or many, fractions of a device, Slurm and Kubernetes; a run is a task with papermill in it."""

    def __init__(self, resources: Resources, address: str | None = None):
        ray = need_ray()
        self._ray, self._mine, self._references = ray, connect(address), []
        self.cpus = resources.cpus or 1
        self.gpus = (
            min(1, ray.cluster_resources().get("GPU", 0))
            if resources.gpus is None
            else resources.gpus
        )
        if resources.gpus is None and not self.gpus:
            print(
                "the Ray cluster has no GPU at this moment, so runs use cores; resources: {gpus: 1} waits for one"
            )
        environment = carried() | (
            {} if self.gpus else {"CUDA_VISIBLE_DEVICES": ""}
        )  # Ray alone would not hide them
        ray.cloudpickle.register_pickle_by_value(
            running
        )  # a worker then imports papermill, not the kit
        # the driver retries, the same for both engines; a fresh process a run on a GPU gives its memory back
        self._task = ray.remote(running.execute).options(
            num_cpus=self.cpus,
            num_gpus=self.gpus,
            max_retries=0,
            runtime_env={"env_vars": environment},
        )

    def slots(self) -> int:
        """As many runs as the cluster's nodes have room for at this moment, and one that waits: it makes a cluster that
        grows by demand grow."""
        room = 0
        for node in self._ray.nodes():
            if node["Alive"]:
                of = node["Resources"]
                room += int(
                    min(
                        of.get("CPU", 0) / self.cpus,
                        of.get("GPU", 0) / self.gpus if self.gpus else math.inf,
                    )
                )
        return room + 1

    def submit(self, run: dict) -> Future:
        """Hands a run to the cluster."""
        reference, outcome = self._task.remote(run), Future()
        self._references.append(reference)

        def answer(future):
            error = future.exception()
            outcome.set_result(
                running.ended(run, running.LOST, f"{type(error).__name__}: {error}")
                if error
                else future.result()
            )

        reference.future().add_done_callback(answer)
        return outcome

    def close(self, *, now: bool = False) -> None:
        """Stops what runs, with `now`; leaves a cluster that was there before as it is."""
        for reference in self._references if now else []:
            self._ray.cancel(reference, force=True)
        if self._mine:
            self._ray.shutdown()
