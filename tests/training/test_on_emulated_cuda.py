"""On a GPU no step mixes devices, and the host waits for it only where it is listed here.

A wait lets the GPU idle until the host has given it new work.
"""

import numpy as np
import pytest
import torch

import w2s_nb as w2s
from tests.emulated_cuda import GPU, EmulatedCuda
from w2s_nb import models
from w2s_nb.models import decoding

# {place: why the host waits there}
ONCE = {
    "classifier.build": "weights are copied to the GPU",
    "classifier.compact_embedding": "the tokens that are used are copied",
    "activations._fill": "weights are copied to the GPU",
    "activations._load_trunk": "weights are copied to the GPU",
    "language_model.load_trainable": "weights are copied to the GPU",
    "prompt._load": "weights are copied to the GPU",
    "loop.train": "labels are copied to the GPU",
    "loop.copy_weights": "trained weights are copied back",
    "loop._read_at_end": "predictions of all batches are copied back",
}
LOOKS = {
    "loop._StepLosses._read": "losses are checked, every 32 steps",
    "language_model.train_language_model": "sums are read at an evaluation",
}
# per pass without gradient; the next one cannot begin before
PASSES = {
    "activations._pooled_states": "states are copied back",
    "activations._trunk_places": "states are copied back",
    "prompt.answer_log_probs": "log-probabilities are copied back",
    "decoding.greedy": "generated tokens are read, to know when a text ends",
    "decoding._log_probs_of_trees": "log-probabilities are copied back",
}
LISTED = {*ONCE, *LOOKS, *PASSES}


@pytest.fixture
def gpu(monkeypatch):
    return EmulatedCuda(monkeypatch)


def check(gpu):
    waits = {place for place, _ in gpu.waits}
    assert waits <= LISTED


def small(task):
    return w2s.load_task(task, n_train=30, n_val=6, n_test=18)


@pytest.mark.parametrize(
    "method, task",
    [
        ("full", "words"),
        ("full", "word_pairs"),
        ("lora", "words"),
        ("top", "word_pairs"),
        ("full", "three"),
    ],
)
def test_the_host_waits_for_a_fit_where_it_is_listed(gpu, words, three, tiny, method, task):
    given = dict(lr=1e-3, epochs=1, evals=1) | (dict(head_init="zero") if task == "three" else {})
    with gpu:
        fit = w2s.fit(tiny, small(task).student, method=method, **given)
    check(gpu)
    assert fit.record["config"]["precision"] == "bf16"


@pytest.mark.parametrize("method", ["probe", "logistic"])
def test_the_host_waits_for_a_probe_where_it_is_listed(gpu, words, tiny, method):
    with gpu:
        w2s.fit(tiny, small("words").student, method=method)
    check(gpu)


def test_the_host_waits_for_no_trunk_that_is_recomputed(gpu, words, tiny, monkeypatch):
    monkeypatch.setenv("W2S_TRUNK_GB", "0")
    with gpu:
        w2s.fit(tiny, small("word_pairs").student, method="top", lr=1e-3, epochs=1, evals=1)
    waits = {place for place, _ in gpu.waits}
    assert waits <= {*ONCE, *LOOKS}


@pytest.mark.parametrize(
    "loss, args",
    [("confidence", {}), ("confidence", {"shares": "weak"}), ("temporal_ensembling", {})],
)
def test_the_host_waits_for_no_loss(gpu, words, tiny, loss, args):
    quick = dict(lr=1e-3, epochs=2, evals=1, micro_batch=16)
    with gpu:
        w2s.fit(tiny, small("words").student, loss=loss, loss_args=args, **quick)
    check(gpu)


def test_the_host_waits_for_no_loss_but_the_guesses_of_three_classes(gpu, three, tiny):
    """Which guesses have the largest sum is found on the host, once per step."""
    given = dict(head_init="zero", lr=1e-3, epochs=2, evals=1)
    with gpu:
        w2s.fit(tiny, small("three").student, loss="temporal_ensembling", **given)
        check(gpu)
        w2s.fit(tiny, small("three").student, loss="confidence", **given)
    assert {place for place, _ in gpu.waits} - LISTED == {"paper._guess"}


def test_the_host_waits_for_a_language_model_where_it_is_listed(gpu, words, tiny):
    with gpu:
        w2s.finetune_lm(tiny, small("words").student, method="full", lr=1e-3, epochs=1)
    check(gpu)


def test_the_host_waits_for_frozen_models_where_it_is_listed(gpu, words, tiny):
    with gpu:
        w2s.features(tiny, small("words").test, pool="mean")
        w2s.prompt(tiny, small("words").test)
    check(gpu)


def test_the_host_waits_for_answers_where_it_is_listed(gpu, tiny):
    lm = models.load_lm(models.resolve(tiny))
    prompts = [np.array([5, 9, 7]), np.array([8])]
    with gpu:
        lm.to(GPU)
        gpu.waits.clear()
        decoding.greedy(lm, prompts, most=3, end=0)
        decoding.log_probs(lm, prompts, [[[1], [2, 5]]] * 2)
    check(gpu)


def test_tensors_of_two_devices_are_refused(gpu):
    with gpu:
        with pytest.raises(RuntimeError, match="on the CPU and on the GPU"):
            torch.ones(2, device="cuda") + torch.ones(2)
        assert (torch.ones(2, device="cuda") + torch.tensor(1.0)).device == GPU
        assert not gpu.waits
        (torch.ones(2, device="cuda") > 0).nonzero()
        torch.ones(2).to("cuda", non_blocking=True)
        assert [what for _, what in gpu.waits] == ["nonzero", "a copy between devices"]
        torch.ones(2).pin_memory().to("cuda", non_blocking=True)
        assert len(gpu.waits) == 2
