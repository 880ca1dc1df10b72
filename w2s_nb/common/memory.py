"""Reads how much memory the training device and this machine have, and how much of it is free.

A container or a job of a cluster may have less main memory than its machine: the limits of control
groups are read. Importing this file does not load torch.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import psutil

from .device import device

# where Linux shows control groups, and the groups of this process
_GROUPS = Path("/sys/fs/cgroup")
_GROUPS_OF_THIS_PROCESS = Path("/proc/self/cgroup")


class _Names(NamedTuple):
    """The files of one version of control groups."""

    limit: str
    used: str
    reclaimable: str  # a line of memory.stat: pages of files that the system can take back


_VERSION_1 = _Names("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
_VERSION_2 = _Names("memory.max", "memory.current", "inactive_file")


def device_memory() -> int | None:
    """Returns the bytes of memory of the training device; None on a CPU, which has main memory."""
    import torch

    kind = device().type
    if kind == "cuda":
        return torch.cuda.get_device_properties(device()).total_memory
    if kind == "mps":
        return torch.mps.recommended_max_memory()
    return None


def free_device_memory() -> int | None:
    """Returns the bytes of the training device that this process can still use; None on a CPU.

    What PyTorch holds without a tensor in it counts as free.
    """
    import torch

    kind = device().type
    if kind == "cuda":
        free, _ = torch.cuda.mem_get_info(device())
        held = torch.cuda.memory_reserved(device()) - torch.cuda.memory_allocated(device())
        return free + held
    if kind == "mps":
        return torch.mps.recommended_max_memory() - torch.mps.current_allocated_memory()
    return None


def host_memory() -> int:
    """Returns the bytes of main memory that this process may use at most."""
    limits = [limit for limit, _ in _limits_of_groups()]
    return min([psutil.virtual_memory().total, *limits])


def free_host_memory() -> int:
    """Returns the bytes of main memory that this process can still use.

    Pages of files that the system can take back count as free.
    """
    free = [limit - used for limit, used in _limits_of_groups()]
    return max(0, min([psutil.virtual_memory().available, *free]))


def _limits_of_groups() -> Iterator[tuple[int, int]]:
    """Yields (limit, bytes in use) of each control group of this process that has a limit."""
    try:
        lines = _GROUPS_OF_THIS_PROCESS.read_text().splitlines()
    except OSError:  # not Linux
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            yield from _limits_up_from(_GROUPS, path, _VERSION_2)
        elif "memory" in controllers.split(","):
            yield from _limits_up_from(_GROUPS / "memory", path, _VERSION_1)


def _limits_up_from(root: Path, path: str, names: _Names) -> Iterator[tuple[int, int]]:
    """Yields (limit, bytes in use) of a group and of the groups that it is in."""
    group = root / path.strip("/")
    for folder in (group, *group.parents):
        try:
            limit = int((folder / names.limit).read_text())
            used = int((folder / names.used).read_text())
            statistics = (folder / "memory.stat").read_text().split()
        except (OSError, ValueError):  # not seen from in here, or "max"
            pass
        else:
            values = dict(zip(statistics[::2], statistics[1::2], strict=True))
            yield limit, used - int(values.get(names.reclaimable, 0))
        if folder == root:
            return
