"""Chooses the method and micro-batch of a training by the memory that there is, or refuses it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import psutil

from ...common import memory
from ...common.device import device as training_device
from ...common.device import machine
from ...common.out_of_memory import OutOfMemory
from ..hyperparameters import SHARDED
from .estimate import TRAINED, USABLE, MemoryEstimate, check_gb, estimate

# what `choose_method` tries, the first that fits: on a GPU and on a CPU
METHODS_TRIED = {"cuda": ("full", "lora"), "cpu": ("top", "probe")}
_MOST_DEVICES = 64


@dataclass(frozen=True)
class Room:
    """Memory that a training may use, in bytes.

    Attributes:
        kind: 'cuda' or 'cpu', as `estimate` takes it.
        device: of one device; on a CPU as much as `host`.
        host: main memory; infinity where it is not known.
        name: of the device, for messages.
    """

    kind: str
    device: int
    host: float
    name: str

    @classmethod
    def here(cls) -> Room:
        """Returns all memory of this process's training device and of this machine."""
        host = memory.host_memory()
        of_device = memory.device_memory()
        if of_device is None or training_device().type != "cuda":
            return cls("cpu", host, host, "this machine")
        return cls("cuda", of_device, host, machine())

    @classmethod
    def free(cls) -> Room:
        """Returns what of that memory is free now; main memory that this process holds counts."""
        host = memory.free_host_memory() + psutil.Process().memory_info().rss
        of_device = memory.free_device_memory()
        if of_device is None or training_device().type != "cuda":
            return cls("cpu", host, host, "this machine, now,")
        return cls("cuda", of_device, host, f"{machine()}, now,")

    @classmethod
    def of(cls, gb: float, device: str = "cuda", host_gb: float | None = None) -> Room:
        """Returns a device of `gb` 10^9 bytes, with main memory that is as large as need be.

        Raises:
            ValueError: `gb` or `host_gb` is no number above 0.
        """
        check_gb(gb, "gb")
        if host_gb is not None:
            check_gb(host_gb, "host_gb")
        on_device = int(gb * 1e9)
        host = on_device if device == "cpu" else (host_gb or math.inf) * 1e9
        return cls(device, on_device, host, f"a device of {gb:g} GB")

    def holds(self, needed: MemoryEstimate, share: float = 1.0) -> bool:
        """Tells whether a share of this memory is enough.

        Weights that stay in bf16 are mapped from their file, and take no main memory for long.
        """
        is_mapped = needed.device == "cuda" and needed.method not in ("full", "top")
        host = 0 if is_mapped else needed.host
        return needed.total <= share * self.device and host <= share * self.host


@dataclass(frozen=True)
class Choice:
    """The method that is chosen for a model, and how much memory it takes.

    Attributes:
        method: of `fit`.
        micro_batch: examples in one pass on a device; None leaves it to training, which takes the
            whole batch on a GPU.
        estimate: of that method and micro-batch.
        reason: one phrase.
    """

    method: str
    micro_batch: int | None
    estimate: MemoryEstimate
    reason: str


def choose_method(
    model: str,
    *,
    batch: int = 32,
    tokens: int | None = None,
    device: str | None = None,
    gb: float | None = None,
    host_gb: float | None = None,
    devices: int = 1,
    methods: Sequence[str] | None = None,
) -> Choice:
    """Chooses the first of several methods that fits in memory, and the largest micro-batch of it.

    Args:
        model, batch, tokens, devices: as of `estimate`.
        device: 'cuda' or 'cpu'; None takes that of this process.
        gb: memory of a device, 10^9 bytes; None takes that of this process's, and of this machine.
        host_gb: main memory beside a GPU of `gb`; None takes as much as need be.
        methods: tried in this order; None takes 'full', then 'lora' on a GPU, 'top', then 'probe'
            on a CPU. With several devices only 'full' and 'lora' are tried.
    Raises:
        OutOfMemory: none of them fits; says what they take and what would fit.
        UnknownName, ValueError, ModelUnavailable: as `estimate`.
    """
    room = Room.here() if gb is None else Room.of(gb, device or "cuda", host_gb)
    tried = [
        method
        for method in methods or METHODS_TRIED[room.kind]
        if devices == 1 or method in SHARDED
    ]
    options: dict[str, Any] = {"batch": batch, "tokens": tokens, "devices": devices}
    passed_over: list[str] = []
    for method in tried:
        needed = largest_that_fits(model, method, room, **options)
        if needed:
            whole = math.ceil(batch / devices)
            micro_batch = None if needed.micro_batch >= whole else needed.micro_batch
            reason = "; ".join([*passed_over, _fits(needed, room)])
            return Choice(method, micro_batch, needed, reason)
        least = estimate(model, method, device=room.kind, micro_batch=1, **options)
        passed_over.append(f"{method} takes {in_gb(least.total)}")
    raise OutOfMemory(refusal(model, tried[-1], room, share=USABLE, **options))


def largest_that_fits(
    model: str, method: str, room: Room, *, micro_batch: int | None = None, **options
) -> MemoryEstimate | None:
    """Returns the estimate with the largest micro-batch that fits in the usable share of memory.

    Args:
        micro_batch: the largest that is tried; None takes what training takes by default.
        options: of `estimate`, but `device` and `micro_batch`.
    Returns:
        None where one example at a time does not fit.
    """
    for each in _micro_batches(model, method, room, micro_batch, options):
        if room.holds(each, USABLE):
            return each
    return None


def _micro_batches(
    model: str, method: str, room: Room, micro_batch: int | None, options: dict
) -> Iterator[MemoryEstimate]:
    """Yields estimates of the largest micro-batch and of half as many examples each time."""
    needed = estimate(model, method, device=room.kind, micro_batch=micro_batch, **options)
    yield needed
    while method in TRAINED and needed.micro_batch > 1:
        half = needed.micro_batch // 2
        needed = estimate(model, method, device=room.kind, micro_batch=half, **options)
        yield needed


def refusal(model: str, method: str, room: Room, *, share: float = 1.0, **options) -> str:
    """Returns one line: what a method takes at least, what there is, and what would fit.

    Args:
        share: of the memory, that could be used.
        options: of `estimate`, but `device` and `micro_batch`.
    """
    needed = estimate(model, method, device=room.kind, micro_batch=1, **options)
    ways = _ways_out(model, method, room, options)
    usable = "" if share == 1 else f", {in_gb(share * room.device)} of them to be used"
    there = f"{room.name} has {in_gb(room.device)}{usable}"
    on_each = f" on each of {needed.devices} devices" if needed.devices > 1 else ""
    takes = f"at least {in_gb(needed.total)}{on_each}"
    if needed.total <= share * room.device:
        takes = f"{in_gb(needed.host)} of main memory while it loads"
        there = f"there are {in_gb(room.host)}"
    return (
        f"{model} with method {method!r} takes {takes}; {there}. What would fit: "
        f"{', '.join(ways) or 'a smaller model'}"
    )


def _ways_out(model: str, method: str, room: Room, options: dict) -> list[str]:
    """Returns what takes less and fits: other methods, more devices, shorter texts."""
    ways = []
    alone = options | {"devices": 1, "vocabulary": None}
    for other in ("lora", "top", "probe"):
        needed = estimate(model, other, device=room.kind, micro_batch=1, **alone)
        if other != method and room.holds(needed, USABLE):
            ways.append(f"method={other!r} ({in_gb(needed.total)})")
    if room.kind == "cuda" and method in SHARDED:
        devices = options.get("devices", 1)
        while (devices := 2 * devices) <= _MOST_DEVICES:
            more = options | {"devices": devices}
            needed = estimate(model, method, device=room.kind, micro_batch=1, **more)
            if room.holds(needed, USABLE):
                ways.append(f"devices={devices} ({in_gb(needed.total)} each)")
                break
    shorter = options | {"tokens": 64}
    if options.get("tokens", 64) != 64 and room.holds(
        estimate(model, method, device=room.kind, micro_batch=1, **shorter), USABLE
    ):
        ways.append("a smaller max_len")
    return ways


def _fits(needed: MemoryEstimate, room: Room) -> str:
    at_a_time = f", {needed.micro_batch} at a time" if needed.method in TRAINED else ""
    return f"{needed.method} takes {in_gb(needed.total)}{at_a_time}, of {in_gb(room.device)}"


def in_gb(n: float) -> str:
    """Returns bytes as people read them.

    >>> in_gb(127_140_000_000), in_gb(8_500_000)
    ('127.1 GB', '0.01 GB')
    """
    gb = n / 1e9
    return f"{gb:.1f} GB" if gb >= 0.95 else f"{gb:.2f} GB"
