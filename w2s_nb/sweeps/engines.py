"""Engines that execute runs: a pool of processes on this machine, or Ray on many. One contract for
both.
"""

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

from ..common.distributed import connect, environment_for_workers, import_ray
from ..common.registry import UnknownName
from ..notebook import fork_server
from . import running
from .grid import ENGINES, Resources


class Engine(Protocol):
    """Submits runs; `running.execute` says what a run and an outcome are."""

    def slots(self) -> int:
        """Returns how many runs can go on at once at this moment."""
        ...

    def submit(self, run: dict) -> Future:
        """Returns the future outcome of a run. A lost worker or node gives an outcome too, with
        state `LOST`.
        """
        ...

    def close(self, *, now: bool = False) -> None:
        """Ends the engine; with `now`, stops the runs under way."""
        ...


def start_engine(
    name: str, resources: Resources, *, jobs: int | None = None, address: str | None = None
) -> Engine:
    """Starts an engine by name.

    Args:
        resources: given to each run.
        jobs: runs at once; local only.
        address: of a Ray cluster; None takes the one that `RAY_ADDRESS` names, or starts Ray on
            this machine.
    Raises:
        UnknownName, ValueError: no such engine, or an argument that it does not take.
        ModuleNotFoundError: Ray is not installed; says how to install it.
    """
    if name not in ENGINES:
        raise UnknownName("engine", str(name), ENGINES)
    whole = isinstance(jobs, int) and not isinstance(jobs, bool) and jobs >= 1
    if jobs is not None and not (name == "local" and whole):
        raise ValueError(
            f"jobs = {jobs!r} with engine {name!r}; expected a whole number from 1, with local"
        )
    if address is not None and name != "ray":
        raise ValueError(f"address {address!r} with engine {name!r}; only ray has one")
    return Ray(resources, address) if name == "ray" else Local(resources, jobs)


def visible_gpus() -> list[str]:
    """Lists the GPUs that this process may use, and initialises none.

    They are those of `CUDA_VISIBLE_DEVICES` where it is set, else all; none with `W2S_DEVICE=cpu`.
    """
    if os.environ.get("W2S_DEVICE") == "cpu":
        return []
    allowed = os.environ.get("CUDA_VISIBLE_DEVICES")
    if allowed is None:
        import torch

        return list(map(str, range(torch.cuda.device_count())))
    names = [name.strip() for name in allowed.split(",")]
    # CUDA reads the names up to the first that is no device.
    return list(itertools.takewhile(_names_a_gpu, names))


def _names_a_gpu(name: str) -> bool:
    return name.isdigit() or name.startswith(("GPU-", "MIG-"))


def device_shares(gpus: list[str], per_run: float) -> list[list[str]]:
    """Returns the devices of each run, for as many runs as there is room for.

    >>> device_shares(["0", "1"], 0.5), device_shares(["0", "1", "2"], 2)
    ([['0'], ['0'], ['1'], ['1']], [['0', '1']])
    """
    if per_run == 0:
        return []
    if per_run < 1:
        runs_per_gpu = int(1 / per_run + 1e-9)
        return [[gpu] for gpu in gpus for _ in range(runs_per_gpu)]
    size = int(per_run)
    return [gpus[i : i + size] for i in range(0, len(gpus) - size + 1, size)]


def jobs_on_this_machine(resources: Resources) -> int:
    """Returns how many runs go on at once here: one per share of the devices, else one per core, 4
    at most.

    Raises:
        ValueError: this machine has fewer devices than one run is to be given.
    """
    gpus = visible_gpus()
    cores = cores_here()
    per_run = gpus_per_run(resources, gpus)
    if resources.cpus:
        by_core = max(1, int(cores / resources.cpus))
    else:
        by_core = cores if per_run else min(4, cores)
    if not per_run:
        return by_core
    shares = device_shares(gpus, per_run)
    if not shares:
        raise ValueError(f"resources: gpus = {per_run:g}; this machine has {len(gpus)}")
    return min(by_core, len(shares))


def cores_here() -> int:
    """Returns the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def gpus_per_run(resources: Resources, gpus: list) -> float:
    """Returns the devices of one run: as many as asked for, else one where there are any."""
    return min(1, len(gpus)) if resources.gpus is None else resources.gpus


def _environment_of_runs() -> dict[str, str]:
    """Returns what a run finds as it is here, and the renderer of its figures: without PNGs, which
    take a browser's seconds in every run, unless `PLOTLY_RENDERER` asks for them.
    """
    renderer = os.environ.get("PLOTLY_RENDERER") or "plotly_mimetype+notebook_connected"
    return environment_for_workers() | {"PLOTLY_RENDERER": renderer}


class Local:
    """A bounded pool of papermill processes, each with its share of the devices, or of the cores.

    A process runs one notebook after another, since importing papermill takes seconds. A process
    that dies is replaced. Each notebook has a kernel of its own; where `fork_server.is_supported`,
    kernels are forked from one process, which imports the kit once for all of them.
    """

    def __init__(self, resources: Resources, jobs: int | None = None):
        gpus = visible_gpus()
        per_run = gpus_per_run(resources, gpus)
        shares = device_shares(gpus, per_run)
        self.jobs = jobs_on_this_machine(resources) if jobs is None else jobs
        if per_run and self.jobs > len(shares):
            raise ValueError(
                f"{self.jobs} jobs of {per_run:g} GPUs each; this machine has {len(gpus)}"
            )
        self._workers: dict[int, subprocess.Popen] = {}
        self._closing = threading.Event()
        self._free: queue.SimpleQueue = queue.SimpleQueue()
        for slot in range(self.jobs):
            devices = ",".join(shares[slot]) if per_run else ""
            self._free.put((slot, {"CUDA_VISIBLE_DEVICES": devices} if gpus else {}))
        threads = max(1, int(resources.cpus or cores_here() / self.jobs))
        self._environment = {"OMP_NUM_THREADS": str(threads)} | os.environ | _environment_of_runs()
        self._fork_server: fork_server.ForkServer | None = None
        self._server_of: dict[int, fork_server.ForkServer | None] = {}  # of each slot's process
        self._starting = threading.Lock()
        self._pool = ThreadPoolExecutor(self.jobs)

    def slots(self) -> int:
        """Returns the number of processes."""
        return self.jobs

    def submit(self, run: dict) -> Future:
        """Hands a run to a free process."""
        return self._pool.submit(self._ask, run)

    def _ask(self, run: dict) -> dict:
        """Waits for a free slot, sends the run to its process, and returns the outcome that it
        answers.
        """
        slot, environment = self._free.get()
        try:
            if self._closing.is_set():
                return running.make_outcome(run, running.LOST, "the sweep was stopped")
            worker = self._worker(slot, environment)
            with contextlib.suppress(BrokenPipeError):
                print(json.dumps(run), file=worker.stdin, flush=True)
            answer = worker.stdout.readline() if worker.stdout else ""
            if answer.endswith("\n"):
                return json.loads(answer)
            message = f"its process ended with {worker.wait()}"
            return running.make_outcome(run, running.LOST, message)
        finally:
            self._free.put((slot, environment))

    def _worker(self, slot: int, environment: dict[str, str]) -> subprocess.Popen:
        """Returns the living process of a slot, a new one where there is none."""
        server = self._living_fork_server()
        worker = self._workers.get(slot)
        if worker and server is not self._server_of.get(slot):
            fork_server.kill_tree(worker.pid)  # its fork server was killed
            worker.wait()
        if worker and worker.poll() is not None:
            _end(worker)
            worker = None
        if worker is None:
            self._server_of[slot] = server
            number = {running.FORK_SERVER: str(server.socket.fileno())} if server else {}
            worker = self._workers[slot] = subprocess.Popen(
                [sys.executable, "-P", running.__file__],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                env=self._environment | environment | number,
                pass_fds=[server.socket.fileno()] if server else [],
                start_new_session=True,  # Ctrl-C is for the driver alone
            )
        return worker

    def _living_fork_server(self) -> fork_server.ForkServer | None:
        """Returns the fork server, a new one where it was killed; None where nothing is forked."""
        with self._starting:
            server = self._fork_server
            if server is not None and server.process.poll() is not None:
                server.close()
                server = None
            if server is None and fork_server.is_supported() and not self._closing.is_set():
                server = fork_server.ForkServer(self._environment)
            self._fork_server = server
        return server

    def close(self, *, now: bool = False) -> None:
        """Ends the processes after their runs, or at once with `now`; a kernel ends when its
        process has.
        """
        if now:
            self._closing.set()
            for worker in self._workers.values():
                fork_server.kill_tree(worker.pid)
        self._pool.shutdown()
        for worker in self._workers.values():
            _end(worker)
        if self._fork_server:
            self._fork_server.close()


def _end(worker: subprocess.Popen) -> None:
    """Waits for the end of a process, which its standard input tells of, and closes its pipes."""
    if worker.stdin:
        with contextlib.suppress(BrokenPipeError):
            worker.stdin.close()
    worker.wait()
    if worker.stdout:
        worker.stdout.close()


class Ray:
    """Ray: one machine or many, fractions of a device, Slurm and Kubernetes; a run is a task with
    papermill in it.
    """

    def __init__(self, resources: Resources, address: str | None = None):
        ray = import_ray()
        self._ray = ray
        self._started_here = connect(address)
        self._references: list = []
        self.cpus = resources.cpus or 1
        self.gpus = self._gpus_per_run(resources)
        environment = _environment_of_runs()
        if not self.gpus:  # Ray alone would not hide them
            environment["CUDA_VISIBLE_DEVICES"] = ""
        # By value: a worker then imports papermill, not the kit.
        ray.cloudpickle.register_pickle_by_value(running)
        # The driver retries, as with the local engine. Each run on a GPU has a fresh process, which
        # gives
        # its memory back.
        self._task = ray.remote(running.execute).options(
            num_cpus=self.cpus,
            num_gpus=self.gpus,
            max_retries=0,
            runtime_env={"env_vars": environment},
        )

    def _gpus_per_run(self, resources: Resources) -> float:
        if resources.gpus is not None:
            return resources.gpus
        gpus = min(1, self._ray.cluster_resources().get("GPU", 0))
        if not gpus:
            print(
                "the Ray cluster has no GPU at this moment, so runs use cores; "
                "resources: {gpus: 1} waits for one"
            )
        return gpus

    def slots(self) -> int:
        """Returns the number of runs that the nodes have room for now, and one more.

        The one more waits, and so makes a cluster that grows by demand grow.
        """
        room = 0
        for node in self._ray.nodes():
            if node["Alive"]:
                resources = node["Resources"]
                by_cpu = resources.get("CPU", 0) / self.cpus
                by_gpu = resources.get("GPU", 0) / self.gpus if self.gpus else math.inf
                room += int(min(by_cpu, by_gpu))
        return room + 1

    def submit(self, run: dict) -> Future:
        """Hands a run to the cluster."""
        reference = self._task.remote(run)
        outcome: Future = Future()
        self._references.append(reference)

        def answer(future):
            error = future.exception()
            if error:
                message = f"{type(error).__name__}: {error}"
                outcome.set_result(running.make_outcome(run, running.LOST, message))
            else:
                outcome.set_result(future.result())

        reference.future().add_done_callback(answer)
        return outcome

    def close(self, *, now: bool = False) -> None:
        """Stops the runs under way with `now`; leaves a cluster that was there before as it is."""
        if now:
            for reference in self._references:
                self._ray.cancel(reference, force=True)
        if self._started_here:
            self._ray.shutdown()
