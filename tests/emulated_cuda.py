"""Emulates a GPU on the CPU: where each tensor would be, and where the host would wait for it.

PyTorch's fake tensors on `cuda` cannot run a backward pass in a build without CUDA. Here every
tensor is computed on the CPU, with real numbers; a tensor that would be on the GPU is marked as
such. An operation on tensors of both devices is refused, as CUDA refuses it.
"""

import contextlib
import sys
import traceback
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from torch.multiprocessing.reductions import StorageWeakRef
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import w2s_nb
from w2s_nb.common import device as device_module

GPU = torch.device("cuda")
_PACKAGE = str(Path(w2s_nb.__file__).parent)
aten = torch.ops.aten
_MEMORY = 80 * 10**9
# what PyTorch says of the card
_CARD = {
    "get_device_name": "emulated",
    "get_device_properties": SimpleNamespace(name="emulated", total_memory=_MEMORY),
    "mem_get_info": (_MEMORY, _MEMORY),
    "memory_reserved": 0,
    "memory_allocated": 0,
}
# operations whose result or shape the host reads
_READ_BACK = {
    aten._local_scalar_dense,
    aten.nonzero,
    aten.masked_select,
    aten.equal,
    aten._unique2,
    aten.unique_dim,
    aten.bincount,
    aten.repeat_interleave,
}
# their indices may be on the CPU, from which they are then copied
_ACROSS = {aten.copy_, aten._has_compatible_shallow_copy_type}
_INDEXING = {aten.index, aten.index_put, aten.index_put_, aten._index_put_impl_}


def _storage(tensor: torch.Tensor) -> StorageWeakRef:
    """Returns what tells a tensor's memory from all other memory, also when it is let go of."""
    return StorageWeakRef(tensor.untyped_storage())


class EmulatedCuda:
    """A context in which the kit trains and predicts on an emulated GPU.

    Attributes:
        waits: a list of ("file.function", "what it waits for") of all places, innermost of the kit,
            at which the host waited for the GPU.
    """

    def __init__(self, monkeypatch):
        self.waits: list[tuple[str, str]] = []
        self.is_backward = False  # the last backward pass is one on the GPU
        self._on_gpu: set[StorageWeakRef] = set()
        self._pinned: set[StorageWeakRef] = set()
        self._modes = contextlib.ExitStack()
        cpu_autocast = torch.autocast
        monkeypatch.setattr(device_module, "_device", lambda name: GPU)
        monkeypatch.setenv("W2S_PRECISION", "bf16")
        for name, value in _CARD.items():
            monkeypatch.setattr(torch.cuda, name, lambda *args, value=value, **options: value)
        monkeypatch.setattr(
            torch, "autocast", lambda kind, *args, **options: cpu_autocast("cpu", *args, **options)
        )
        is_autocast_enabled = torch.is_autocast_enabled
        monkeypatch.setattr(
            torch, "is_autocast_enabled", lambda kind=None: is_autocast_enabled("cpu")
        )

    def __enter__(self):
        self._modes.enter_context(_Operations(self))
        self._modes.enter_context(_Calls(self))
        return self

    def __exit__(self, *error):
        return self._modes.__exit__(*error)

    def is_on_gpu(self, tensor) -> bool:
        return _storage(tensor) in self._on_gpu

    def put(self, result):
        """Marks the tensors of a result as being on the GPU, and returns it."""
        for tensor in tree_leaves(result):
            if isinstance(tensor, torch.Tensor):
                self._on_gpu.add(_storage(tensor))
        return result

    def take(self, tensor):
        """Marks a tensor as being on the CPU, and returns it."""
        self._on_gpu.discard(_storage(tensor))
        return tensor

    def pin(self, tensor):
        self._pinned.add(_storage(tensor))
        return tensor

    def is_pinned(self, tensor) -> bool:
        return _storage(tensor) in self._pinned

    def wait(self, what: str) -> None:
        """Notes that the host waits."""
        for frame, _ in traceback.walk_stack(sys._getframe(1)):
            file = frame.f_code.co_filename
            if file.startswith(_PACKAGE):
                function = frame.f_code.co_qualname.split(".<locals>")[0]
                self.waits.append((f"{Path(file).stem}.{function}", what))
                return
        self.waits.append(("", what))


class _Operations(TorchDispatchMode):
    """Follows tensors through operations, those of the backward pass included."""

    def __init__(self, gpu: EmulatedCuda):
        super().__init__()
        self.gpu = gpu

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        tensors = [x for x in tree_leaves((args, kwargs)) if isinstance(x, torch.Tensor)]
        there = [self.gpu.is_on_gpu(x) for x in tensors]
        # what a backward pass makes anew is where its result is
        is_backward = self.gpu.is_backward and torch._C._current_graph_task_id() != -1
        if any(there):
            self._check(func, args, tensors, there)
        result = func(*args, **kwargs)
        return self.gpu.put(result) if any(there) or (is_backward and not tensors) else result

    def _check(self, func, args, tensors, there):
        """Refuses tensors of two devices; notes what the host waits for."""
        packet = func.overloadpacket
        here = [x for x, is_there in zip(tensors, there, strict=True) if not is_there and x.dim()]
        indices = tree_leaves(args[1]) if packet in _INDEXING else []
        here_alone = [x for x in here if not any(x is index for index in indices)]
        if here_alone and packet not in _ACROSS:
            raise RuntimeError(f"{func}: tensors on the CPU and on the GPU, {here_alone[0].shape}")
        if packet is aten.copy_ and here and not (len(args) > 2 and args[2]):
            self.gpu.wait("a copy between devices")
        if len(here) > len(here_alone):
            self.gpu.wait("indices on the CPU")
        if packet in _READ_BACK:
            self.gpu.wait(packet.__name__)
        is_mask = [isinstance(x, torch.Tensor) and x.dtype == torch.bool for x in indices]
        # with one value, a mask is filled without a look at it
        if any(is_mask) and (packet is aten.index or args[2].numel() > 1):
            self.gpu.wait("a mask as index")


class _Calls(TorchFunctionMode):
    """Stands for CUDA at the calls that name a device."""

    def __init__(self, gpu: EmulatedCuda):
        super().__init__()
        self.gpu = gpu

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        gpu = self.gpu
        if func == torch.Tensor.device.__get__:
            return GPU if gpu.is_on_gpu(args[0]) else func(*args)
        if func == torch.Tensor.is_cuda.__get__:
            return gpu.is_on_gpu(args[0])
        if func in (torch.Tensor.backward, torch.autograd.backward, torch.autograd.grad):
            gpu.is_backward = gpu.is_on_gpu(tree_leaves(args[0])[0])
        if func is torch.Tensor.pin_memory:
            return gpu.pin(args[0].clone())
        if func is torch.Tensor.is_pinned:
            return gpu.is_pinned(args[0])
        if func is torch.Tensor.cpu:
            return self._move(args[0], torch.device("cpu"), {})
        if func in (torch.Tensor.tolist, torch.Tensor.numpy):
            return self._read(func, args, kwargs)
        if func is torch.Tensor.to:
            return self._to(*args, **kwargs)
        target = kwargs.get("device")
        if target is None or torch.device(target).type != "cuda":
            return func(*args, **kwargs)
        kwargs["device"] = torch.device("cpu")
        data = args[0] if args else None
        is_data = isinstance(data, (list, np.ndarray)) and len(data)
        if func in (torch.tensor, torch.as_tensor) and is_data:
            gpu.wait("a copy between devices")
        return gpu.put(func(*args, **kwargs))

    def _read(self, func, args, kwargs):
        """Reads a tensor into Python or NumPy."""
        if self.gpu.is_on_gpu(args[0]):
            if func is torch.Tensor.numpy and not kwargs.get("force"):
                raise TypeError("a tensor on the GPU cannot be a NumPy array; copy it first")
            self.gpu.wait(func.__name__)
        return func(*args, **kwargs)

    def _to(self, tensor, *args, copy=False, **kwargs):
        if args and isinstance(args[0], torch.Tensor):
            kwargs |= {
                "dtype": args[0].dtype,
                "device": GPU if self.gpu.is_on_gpu(args[0]) else "cpu",
            }
            args = args[1:]
        target, dtype, non_blocking, layout = torch._C._nn._parse_to(*args, **kwargs)
        options = {"copy": copy} | ({"dtype": dtype} if dtype else {})
        if layout is not None:
            options["memory_format"] = layout
        if target is None or target.type == "meta" or tensor.is_meta:
            return tensor.to(target, **options) if target else tensor.to(**options)
        return self._move(tensor, target, options, non_blocking)

    def _move(self, tensor, target, options, non_blocking=False):
        is_there = self.gpu.is_on_gpu(tensor)
        if is_there == (target.type == "cuda"):
            return tensor.to(**options)
        # a copy from memory that is not pinned waits for all that the GPU has still to do
        if is_there or not (non_blocking and self.gpu.is_pinned(tensor)):
            self.gpu.wait("a copy between devices")
        moved = tensor.to(**options | {"copy": True})
        return self.gpu.put(moved) if target.type == "cuda" else self.gpu.take(moved)
