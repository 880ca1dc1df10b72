"""Trains one model on several devices: Ray Train starts the workers, FSDP shards the model over
them.

In a worker, the training loop takes its share of every batch (`my_share`) and sees what all workers
predict (`gather`), so that a loss over a batch is over all of it, whatever the number of devices.
Outside of workers these functions change nothing.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import re
import shutil
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor

from . import plugins
from .device import device
from .out_of_memory import OutOfMemory
from .paths import cache, data_dir, home

_SHARED_VARIABLES = (
    "HF_",
    "TRANSFORMERS_",
    "PLOTLY_",
    "TQDM_DISABLE",
    "BROWSER_PATH",
    "JUPYTER_PREFER_ENV_PATH",
)
_PATIENCE = 4 * 3600  # seconds that workers wait for the one that reads the weights


def environment_for_workers() -> dict[str, str]:
    """Returns the variables that a worker elsewhere must find as they are here.

    Folders are given in full; tokens are left out.
    """
    variables = {
        name: value
        for name, value in os.environ.items()
        if name.startswith(_SHARED_VARIABLES) and "TOKEN" not in name
    }
    variables["W2S_HOME"] = str(home())
    variables["W2S_CACHE"] = str(cache())
    if data_dir():
        variables["W2S_DATA"] = str(data_dir())
    if plugins.named_in_environment():
        variables[plugins.VARIABLE] = ",".join(plugins.named_in_environment())
    if os.environ.get("W2S_DEVICE"):
        # Without a number, for a worker has its own cuda:0; this process may have none.
        variables["W2S_DEVICE"] = os.environ["W2S_DEVICE"].partition(":")[0]
    if os.environ.get("W2S_PRECISION"):
        variables["W2S_PRECISION"] = os.environ["W2S_PRECISION"]
    return variables


def import_ray():
    """Imports Ray.

    Raises:
        ModuleNotFoundError: it is not installed; says how to install it.
    """
    try:
        import ray
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "several machines, or several devices for one model, need Ray: pip install -r "
            "requirements-cluster.txt in a checkout, or pip install 'w2s_nb[cluster]'"
        ) from error
    return ray


def connect(address: str | None = None) -> bool:
    """Connects to a Ray cluster: the one at `address`, else the one that `RAY_ADDRESS` names.

    Without either, Ray is started on this machine.

    Returns:
        True if this call made the connection; False if there was one already, which is kept.
    Raises:
        ModuleNotFoundError: Ray is not installed.
        ConnectionError: no cluster answers there, or Ray did not start in time.
    """
    ray = import_ray()
    if ray.is_initialized():
        return False
    # Without an address, Ray would join any cluster that runs here.
    address = address or os.environ.get("RAY_ADDRESS") or "local"
    try:
        ray.init(
            address=address,
            include_dashboard=False if address == "local" else None,
            log_to_driver=False,
            configure_logging=False,
        )
    except Exception as error:  # Ray raises a plain Exception where its start takes too long
        ray.shutdown()  # what it started before that
        place = "on this machine" if address == "local" else f"at {address!r}"
        reason = str(error).strip().split("\n")[0]
        raise ConnectionError(
            f"Ray did not answer {place}: {reason} A busy machine may need a second try."
        ) from error
    return True


def on_devices(n: int, function: Callable, *arguments):
    """Calls a function in n workers at once, each with a device of its own.

    The workers run on the Ray cluster of `connect`; one that it starts on this machine has the
    devices that this process may use. On a CPU a worker has one core.

    Returns:
        what the first worker's call returns.
    Raises:
        ModuleNotFoundError: Ray is not installed.
        ValueError: the cluster has fewer devices.
        OutOfMemory: memory ran out in a worker.
        RuntimeError: a worker raised another error, which the message has.
    """
    ray = import_ray()
    from ray.train import TrainingFailedError

    kind = "GPU" if device().type == "cuda" else "CPU"
    for plugin in plugins.imported():  # a worker cannot import it by its name
        ray.cloudpickle.register_pickle_by_value(plugin.module)
    with _quiet_ray(ray) as scratch:
        _check_devices(ray, n, kind)
        if kind == "GPU":
            torch.cuda.empty_cache()  # this process and a worker may share the first device
        try:
            trainer = _trainer(n, kind, scratch, function, arguments)
            return trainer.fit().return_value
        except TrainingFailedError as error:
            raise _error_of_workers(n, str(error).strip()) from None


def _error_of_workers(n: int, said: str) -> Exception:
    """Returns the error of a training that failed: one line where memory ran out in a worker."""
    memory = re.search(r"OutOfMemory: (.*)", said)
    if memory:
        return OutOfMemory(f"on {n} devices: {memory[1]}")
    return RuntimeError(f"training on {n} devices failed: {said}")


@contextlib.contextmanager
def _quiet_ray(ray) -> Iterator[Path]:
    """Connects to Ray for a block, with errors alone in its log; yields a folder to write to."""
    started_here = connect()
    scratch = home() / "ray" / uuid.uuid4().hex
    level = logging.getLogger("ray").level
    logging.getLogger("ray").setLevel(logging.ERROR)
    try:
        yield scratch
    finally:
        logging.getLogger("ray").setLevel(level)
        shutil.rmtree(scratch, ignore_errors=True)
        if started_here:
            ray.shutdown()


def _check_devices(ray, n: int, kind: str) -> None:
    in_all = int(ray.cluster_resources().get(kind, 0))
    if in_all < n:
        raise ValueError(f"devices = {n}; the Ray cluster has {in_all} {kind}s")
    free = int(ray.available_resources().get(kind, 0))
    if free < n:
        print(f"waiting for {n} {kind}s of the Ray cluster; {free} of {in_all} are free")


def _trainer(n: int, kind: str, scratch: Path, function: Callable, arguments: tuple):
    from ray.train import RunConfig, ScalingConfig
    from ray.train.torch import TorchConfig, TorchTrainer

    variables = environment_for_workers() | {"W2S_DEVICE": device().type}
    backend = "nccl" if kind == "GPU" else "gloo"
    return TorchTrainer(
        lambda: function(*arguments),
        torch_config=TorchConfig(backend=backend, timeout_s=_PATIENCE),
        scaling_config=ScalingConfig(
            num_workers=n, use_gpu=kind == "GPU", resources_per_worker={kind: 1}
        ),
        run_config=RunConfig(  # type: ignore[call-arg]  # Ray's types are of its older RunConfig
            storage_path=str(scratch), worker_runtime_env={"env_vars": variables}
        ),
    )


def n_workers() -> int:
    """Returns the number of workers of this training; 1 outside of `on_devices`."""
    return dist.get_world_size() if dist.is_initialized() else 1


def rank() -> int:
    """Returns this worker's number, from 0."""
    return dist.get_rank() if dist.is_initialized() else 0


def _share_sizes(n: int, workers: int) -> list[int]:
    return [n // workers + (worker < n % workers) for worker in range(workers)]


def my_share(n: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns this worker's share of a batch of n examples.

    All shares are equally long, since all workers take part in every pass.

    Returns:
        positions (k,) in the batch, and `counts` (k,) bool: False marks padding, added where this
        worker has fewer examples than others.
    """
    return _share(n, n_workers(), rank())


@functools.lru_cache(maxsize=64)  # asked once a step
def _share(n: int, workers: int, worker: int) -> tuple[torch.Tensor, torch.Tensor]:
    sizes = _share_sizes(n, workers)
    start = sum(sizes[:worker])
    longest = sizes[0]
    positions = torch.arange(start, start + longest)
    positions[sizes[worker] :] = 0
    return positions, torch.arange(longest) < sizes[worker]


def gather(share: torch.Tensor, n: int) -> torch.Tensor:
    """Joins the shares (k, ...) of all workers to (n, ...), in the batch's order.

    Gradients reach this worker's own share.
    """
    if n_workers() == 1:
        return share
    shares = [torch.empty_like(share) for _ in range(n_workers())]
    dist.all_gather(shares, share.detach().contiguous())
    shares[rank()] = share
    sizes = _share_sizes(n, n_workers())
    return torch.cat([each[:size] for each, size in zip(shares, sizes, strict=True)])


def shard(net: nn.Module, blocks: nn.ModuleList) -> None:
    """Shards a module's weights over the workers, in place (FSDP, ZeRO stage 3).

    Args:
        net: whole on the CPU in worker 0; in the others its shapes are enough, on the meta device.
        blocks: the transformer blocks in it; one at a time is put together on a device.
    """
    if n_workers() == 1:
        return
    from torch.distributed.checkpoint.state_dict import StateDictOptions, set_model_state_dict
    from torch.distributed.fsdp import fully_shard

    weights = dict(net.state_dict()) if rank() == 0 else {}
    mesh = init_device_mesh(device().type, (n_workers(),))
    for block in blocks:
        fully_shard(block, mesh=mesh)
    fully_shard(net, mesh=mesh)
    if rank() > 0:
        net.to_empty(device=device())
    set_model_state_dict(
        net, weights, options=StateDictOptions(full_state_dict=True, broadcast_from_rank0=True)
    )
    for buffer in net.buffers():  # some are computed, not stored, such as the rotary frequencies
        dist.broadcast(buffer, 0)


def local_shard(tensor: torch.Tensor) -> torch.Tensor:
    """Returns this worker's shard of a tensor, or the tensor itself where it is not sharded."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def full_tensor(tensor: torch.Tensor) -> torch.Tensor:
    """Returns a tensor put together from all workers' shards."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor
