"""bf16 and memory on a CUDA device. Skipped without one; `pytest -m gpu` runs these alone."""

import gc

import numpy as np
import pytest
import torch

import w2s_nb as w2s
from w2s_nb import models
from w2s_nb.common import device
from w2s_nb.inputs.batches import TokenInputs
from w2s_nb.inputs.tokens import tokenize
from w2s_nb.training import loop
from w2s_nb.training.hyperparameters import Hyperparameters

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]
GPU = torch.device("cuda")


@pytest.fixture(autouse=True)
def on_gpu(monkeypatch):
    """Leaves the choice of the device to the kit, and frees what a test left on it."""
    monkeypatch.delenv("W2S_DEVICE", raising=False)
    yield
    gc.collect()
    torch.cuda.empty_cache()


def net_of(task):
    checkpoint = w2s.resolve("SmolLM2-135M@4")
    net = models.build(checkpoint, "full", 1, head_init="zero", device=GPU)
    return net, tokenize(task.student, checkpoint, 64)


def train_one_epoch(net, tokens, n, **options):
    """Trains for one epoch on the first n examples."""
    loop.train(
        net,
        TokenInputs(tokens.take(range(n))),
        np.eye(2)[np.arange(n) % 2],
        w2s.LOSSES["xent"],
        Hyperparameters(epochs=1, lr=1e-4, evals=1),
        seed=0,
        evaluate=lambda *a: None,
        **options,
    )


@pytest.fixture(scope="module")
def snippets():
    return w2s.load_task("movie_snippets", n_train=128, n_val=40, n_test=100)


@pytest.mark.parametrize("method", ["full", "lora", "top", "probe"])
def test_bf16_learns_what_fp32_does(words, tiny, monkeypatch, method):
    options = {"method": method, "epochs": 6}
    if method != "probe":
        options["lr"] = 1e-2
    on_gpu = w2s.fit(tiny, words.student, **options)
    assert on_gpu.record["config"]["precision"] == device.precision() == "bf16"
    monkeypatch.setenv("W2S_DEVICE", "cpu")
    on_cpu = w2s.fit(tiny, words.student, **options)
    assert on_gpu.address != on_cpu.address
    assert abs(on_gpu.accuracy(words.test).value - on_cpu.accuracy(words.test).value) < 0.1


def test_master_weights_are_fp32_and_attention_is_sdpa(snippets):
    net, _ = net_of(snippets)
    assert {p.dtype for p in net.parameters()} == {torch.float32}
    assert net.body.config._attn_implementation == "sdpa"


def test_out_of_memory_halves_the_micro_batch_and_goes_on(snippets, capsys):
    net, tokens = net_of(snippets)
    train_one_epoch(net, tokens, 32, micro_batch=4)
    torch.cuda.reset_peak_memory_stats()
    train_one_epoch(net, tokens, 32, micro_batch=4)
    enough = (
        torch.cuda.max_memory_allocated() * 1.1 / torch.cuda.get_device_properties(GPU).total_memory
    )
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(min(1.0, enough))
    try:
        train_one_epoch(net, tokens, 128, micro_batch=32)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert "micro-batch 32 -> 16" in "".join(capsys.readouterr())


def test_recomputed_activations_take_less_memory(snippets, monkeypatch):
    peaks = []
    for threshold in (models.classifier.CHECKPOINTED, 0):
        monkeypatch.setattr(models.classifier, "CHECKPOINTED", threshold)
        net, tokens = net_of(snippets)
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        train_one_epoch(net, tokens, 64)
        peaks.append(torch.cuda.max_memory_allocated() - before)
        del net
    assert peaks[1] < peaks[0]
