"""One training on several devices: Ray Train starts the workers, FSDP shards the model over them.

In a worker, `training` takes its part of every batch (`mine`) and sees what all of them predict (`whole`), so that a
loss over a batch is over all of it, whatever the number of devices. Outside of workers these change nothing.
"""

from __future__ import annotations

import functools
import logging
import os
import shutil
import uuid
from collections.abc import Callable

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor

from .device import device
from .paths import cache, data_dir, home

_CARRIED = (
    "HF_",
    "TRANSFORMERS_",
    "PLOTLY_",
    "TQDM_DISABLE",
    "BROWSER_PATH",
    "JUPYTER_PREFER_ENV_PATH",
)
_PATIENCE = 4 * 3600  # s that workers wait for the one that reads the weights


def carried() -> dict[str, str]:
    """What of this process's environment a worker elsewhere must find as it is here; no tokens, folders in full."""
    found = {
        name: value
        for name, value in os.environ.items()
        if name.startswith(_CARRIED) and "TOKEN" not in name
    }
    found |= {"W2S_HOME": str(home()), "W2S_CACHE": str(cache())}
    found |= {"W2S_DATA": str(data_dir())} if data_dir() else {}
    found |= (
        {"W2S_DEVICE": device().type} if os.environ.get("W2S_DEVICE") else {}
    )  # a worker has a cuda:0 of its own
    return found


def need_ray():
    """The module `ray`.

    Raises:
        ModuleNotFoundError: it is not installed; says how.
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
    """Connects to the Ray cluster at an address, or that `RAY_ADDRESS` names, else starts Ray on this machine.

    Returns:
        Whether it was this call that did; whoever is connected already stays so.
    """
    ray = need_ray()
    if ray.is_initialized():
        return False
    address = (
        address or os.environ.get("RAY_ADDRESS") or "local"
    )  # without one, Ray joins what it finds running here
    ray.init(
        address=address,
        include_dashboard=False if address == "local" else None,
        log_to_driver=False,
        configure_logging=False,
    )
    return True


def on_devices(n: int, function: Callable, *arguments):
    """Calls a function in n workers at once, each with a device of its own, and returns what the first one returns.

    On the Ray cluster of `connect`; one that it starts on this machine has the devices that this process may use. On a
    CPU a worker has one core.

    Raises:
        ModuleNotFoundError: Ray is not installed.
        ValueError: the cluster has fewer devices.
        RuntimeError: a worker raised; the message has the error.
    """
    ray = need_ray()
    from ray.train import RunConfig, ScalingConfig, TrainingFailedError
    from ray.train.torch import TorchConfig, TorchTrainer

    mine, scratch, level = (
        connect(),
        home() / "ray" / uuid.uuid4().hex,
        logging.getLogger("ray").level,
    )
    logging.getLogger("ray").setLevel(logging.ERROR)
    try:
        kind = "GPU" if device().type == "cuda" else "CPU"
        there = int(ray.cluster_resources().get(kind, 0))
        if there < n:
            raise ValueError(f"devices = {n}; the Ray cluster has {there} {kind}s")
        free = int(ray.available_resources().get(kind, 0))
        if free < n:
            print(f"waiting for {n} {kind}s of the Ray cluster; {free} of {there} are free")
        if kind == "GPU":
            torch.cuda.empty_cache()  # this process and a worker may share the first device
        result = TorchTrainer(
            lambda: function(*arguments),
            torch_config=TorchConfig(
                backend="nccl" if kind == "GPU" else "gloo", timeout_s=_PATIENCE
            ),
            scaling_config=ScalingConfig(
                num_workers=n, use_gpu=kind == "GPU", resources_per_worker={kind: 1}
            ),
            run_config=RunConfig(
                storage_path=str(scratch),
                worker_runtime_env={"env_vars": carried() | {"W2S_DEVICE": device().type}},
            ),
        ).fit()
    except TrainingFailedError as error:
        raise RuntimeError(f"training on {n} devices failed: {str(error).strip()}") from None
    finally:
        logging.getLogger("ray").setLevel(level)
        shutil.rmtree(scratch, ignore_errors=True)
        if mine:
            ray.shutdown()
    return result.return_value


def size() -> int:
    """Workers of this training; 1 outside of `on_devices`."""
    return dist.get_world_size() if dist.is_initialized() else 1


def rank() -> int:
    """This worker's number, from 0."""
    return dist.get_rank() if dist.is_initialized() else 0


def _cut(n: int, size: int) -> list[int]:
    return [n // size + (r < n % size) for r in range(size)]


def mine(n: int) -> tuple[torch.Tensor, torch.Tensor]:
    """This worker's part of a batch of n: equally long for all, since all take part in every pass.

    Returns:
        positions (k,) in the batch, and which of them count (k,) bool; the others stand in, for as many as are missing.
    """
    return _mine(n, size(), rank())


@functools.lru_cache(maxsize=64)  # asked once a step
def _mine(n: int, size: int, rank: int) -> tuple[torch.Tensor, torch.Tensor]:
    sizes = _cut(n, size)
    start, own = sum(sizes[:rank]), sizes[rank]
    positions = torch.arange(start, start + sizes[0])
    positions[own:] = 0
    return positions, torch.arange(sizes[0]) < own


def whole(part: torch.Tensor, n: int) -> torch.Tensor:
    """(n, ...) of all workers, in the batch's order, from the part (k, ...) of each; gradients reach the own part."""
    if size() == 1:
        return part
    parts = [torch.empty_like(part) for _ in range(size())]
    dist.all_gather(parts, part.detach().contiguous())
    parts[rank()] = part
    return torch.cat([p[:k] for p, k in zip(parts, _cut(n, size()))])


def shard(net: nn.Module, blocks: nn.ModuleList) -> None:
    """Shards a module's weights over the workers, in place: those of each block, and the rest (FSDP, ZeRO stage 3).

    Args:
        net: whole on the CPU in worker 0; in the others its shapes are enough, on the meta device.
        blocks: the transformer blocks in it; one at a time is put together on a device.
    """
    if size() == 1:
        return
    from torch.distributed.checkpoint.state_dict import StateDictOptions, set_model_state_dict
    from torch.distributed.fsdp import fully_shard

    weights = dict(net.state_dict()) if rank() == 0 else {}
    mesh = init_device_mesh(device().type, (size(),))
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


def local(tensor: torch.Tensor) -> torch.Tensor:
    """This worker's shard of a tensor, or the tensor itself."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def full(tensor: torch.Tensor) -> torch.Tensor:
    """A tensor put together from all workers' shards."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor
