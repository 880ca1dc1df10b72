"""Errors of memory: which they are, what is halved, and what is said."""

import errno
import gc
import subprocess
import sys
import weakref

import numpy as np
import pytest
import torch

from w2s_nb.common.out_of_memory import (
    OutOfMemory,
    explain_out_of_memory,
    is_out_of_memory,
    run_batches,
)

ERRORS = {
    "CUDA": torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 86.00 MiB. GPU 0 has"),
    "CUDA without words": torch.OutOfMemoryError("Allocation on device"),
    "driver": RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be reported"),
    "cuBLAS": RuntimeError(
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"
    ),
    "cuSOLVER": RuntimeError("cusolver error: CUSOLVER_STATUS_ALLOC_FAILED"),
    "Apple": RuntimeError("MPS backend out of memory (MPS allocated: 18.00 GB"),
    "CPU": RuntimeError("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate"
                        " memory: you tried to allocate 4 bytes. Error code 12"),
    "NumPy": MemoryError("Unable to allocate 38.1 GiB for an array with shape (1, 2)"),
    "Python": MemoryError(),
    "mapping a file": OSError(errno.ENOMEM, "Cannot allocate memory"),
}  # fmt: skip


def raises(error):
    raise error


@pytest.mark.parametrize("name", ERRORS)
def test_every_way_to_run_out_of_memory_is_recognised(name):
    assert is_out_of_memory(ERRORS[name])


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("mat1 and mat2 shapes cannot be multiplied"),
        RuntimeError("CUDA error: device-side assert triggered"),
        FileNotFoundError(errno.ENOENT, "No such file"),
        ValueError("out of memory"),
    ],
)
def test_other_errors_are_not_errors_of_memory(error):
    assert not is_out_of_memory(error)


@pytest.mark.parametrize("name", ERRORS)
def test_an_error_of_memory_becomes_one_line_that_says_what_to_do(name):
    with pytest.raises(OutOfMemory) as caught, explain_out_of_memory("testing", "try less"):
        raises(ERRORS[name])
    message = str(caught.value)
    assert message.startswith("out of memory while testing (") and message.endswith("; try less")
    assert "\n" not in message
    assert caught.value.__suppress_context__, "the first error is printed above it"


def test_an_explained_error_keeps_its_explanation():
    with pytest.raises(OutOfMemory, match="^inner$"), explain_out_of_memory("testing", "try less"):
        raises(OutOfMemory("inner"))


def test_an_explained_error_lets_go_of_what_the_block_held():
    class Model:
        pass

    held = []

    def train():
        model = Model()
        held.append(weakref.ref(model))
        raises(torch.OutOfMemoryError("CUDA out of memory"))

    with pytest.raises(OutOfMemory), explain_out_of_memory("testing", "try less"):
        train()
    gc.collect()
    assert held[0]() is None


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 100])
def test_batches_are_halved_until_they_fit_and_every_row_is_run_once(limit):
    sizes = []

    def run(rows):
        if len(rows) > limit:
            raise torch.OutOfMemoryError("CUDA out of memory")
        sizes.append(len(rows))
        return rows * 10

    batches = [np.arange(13), np.arange(13, 16), np.arange(16, 41)]
    results = list(run_batches(batches, run))
    assert np.concatenate([rows for rows, _ in results]).tolist() == list(range(41))
    assert all((result == rows * 10).all() for rows, result in results)
    assert max(sizes) <= limit
    if limit == 100:
        assert sizes == [13, 3, 25]


def test_a_batch_after_one_that_was_halved_starts_halved():
    tried = []

    def run(rows):
        tried.append(len(rows))
        if len(rows) > 4:
            raise torch.OutOfMemoryError("CUDA out of memory")

    list(run_batches([np.arange(8)] * 3, run))
    assert tried == [8, 4, 4, 4, 4, 4, 4]


def test_one_row_that_does_not_fit_raises_the_error():
    def run(rows):
        raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(torch.OutOfMemoryError):
        list(run_batches([np.arange(8)], run))


def test_an_error_of_another_kind_is_not_halved():
    tried = []

    def run(rows):
        tried.append(len(rows))
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    with pytest.raises(RuntimeError, match="shapes"):
        list(run_batches([np.arange(8)], run))
    assert tried == [8]


def test_the_module_does_not_load_torch():
    code = "import sys, w2s_nb.common.out_of_memory; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
