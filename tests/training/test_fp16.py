"""Cards without bf16 compute in fp16, with a scaled loss; here by autocast on the CPU."""

import functools
import itertools

import numpy as np
import pytest
import torch

import w2s_nb as w2s
from tests.training.test_loop import TwoParts
from tests.training.test_named_fits_in_bf16 import by_name, log_odds
from w2s_nb import models
from w2s_nb.common.registry import LOSSES
from w2s_nb.inputs.batches import FeatureInputs, TokenInputs
from w2s_nb.inputs.tokens import tokenize
from w2s_nb.models import loading
from w2s_nb.training import loop
from w2s_nb.training.hyperparameters import Hyperparameters

SCALE = 2.0**16


@pytest.fixture(autouse=True)
def in_fp16(monkeypatch):
    monkeypatch.setenv("W2S_PRECISION", "fp16")
    # it would compile a kernel for every shape
    monkeypatch.setattr(torch.backends.mkldnn, "enabled", False)


def gradient(tiny, split, name="xent", micro_batch=8, factor=1.0, scale=SCALE):
    """Returns the gradient of a loss times a factor, divided by what the loss was scaled with."""
    torch.manual_seed(0)
    checkpoint = models.with_depth(models.resolve(tiny))
    net = models.build(checkpoint, "full", 1, head_init="unembedding", device=torch.device("cpu"))
    loss = functools.partial(LOSSES[name], progress=0.7)
    p1 = torch.rand(8, 1, generator=torch.Generator().manual_seed(0))
    value, _ = loop.backward(
        net,
        TokenInputs(tokenize(split, checkpoint, 16)),
        np.arange(8),
        torch.cat([1 - p1, p1], 1),
        lambda logits, targets: loss(logits, targets) * factor,
        micro_batch,
        batchwise=LOSSES[name].batchwise,
        scale=lambda values: values * scale,
    )
    body = [p.grad.flatten() for p in net.body.parameters() if p.grad is not None]
    return value, torch.cat(body) / scale / factor


def test_small_gradients_survive_by_the_scale_alone(words, tiny, monkeypatch):
    _, unscaled = gradient(tiny, words.student, factor=1e-5, scale=1.0)
    value, scaled = gradient(tiny, words.student, factor=1e-5)
    monkeypatch.setenv("W2S_PRECISION", "fp32")
    value_in_fp32, expected = gradient(tiny, words.student, factor=1e-5)
    assert value.item() == pytest.approx(value_in_fp32.item(), rel=1e-2)

    def error(found):
        return float((found - expected).norm() / expected.norm())

    assert error(scaled) < 0.02 < 0.2 < error(unscaled)


@pytest.mark.parametrize("name", ["xent", "confidence"])
def test_micro_batches_scale_the_gradient_alike(name, words, tiny):
    whole, of_parts = (
        gradient(tiny, words.student, name, micro_batch)[1] for micro_batch in (8, 3)
    )
    torch.testing.assert_close(of_parts, whole, atol=0.02 * float(whole.abs().max()), rtol=0)


def train_with_factors(factors):
    """Trains for a step per factor, which multiplies the step's loss; returns weights by step."""
    torch.manual_seed(0)
    net = TwoParts()
    weights = [net.head.weight.detach().clone()]
    left = list(factors)

    def loss(logits, targets, *, progress):
        weights.append(net.head.weight.detach().clone())
        return LOSSES["xent"](logits.float(), targets, progress=progress) * left.pop(0)

    loop.train(
        net,
        FeatureInputs(torch.randn(len(factors), 3), 1),
        np.eye(2)[np.arange(len(factors)) % 2],
        loss,
        Hyperparameters(epochs=1, batch_size=1, lr=0.1, head_lr=0.1, evals=1),
        seed=0,
        evaluate=lambda *scores: None,
    )
    return [*weights[2:], net.head.weight.detach()]


def test_a_step_whose_gradient_does_not_fit_is_skipped_and_told():
    with pytest.warns(UserWarning, match=r"2 of 8 steps were skipped.*W2S_PRECISION=fp32"):
        weights = train_with_factors([1, 1, 1e6, 1, 1, 1e6, 1, 1])
    unchanged = [torch.equal(before, after) for before, after in itertools.pairwise(weights)]
    assert unchanged == [False, True, False, False, True, False, False]
    assert all(each.isfinite().all() for each in weights)


def test_gradients_that_fit_at_no_scale_end_training():
    with pytest.raises(FloatingPointError, match="gradients do not fit fp16 .*W2S_PRECISION=fp32"):
        train_with_factors([1e30] * 20)


@pytest.mark.parametrize("method", ["full", "lora"])
def test_fp16_learns_what_fp32_does(words, tiny, monkeypatch, method):
    few = w2s.load_task("words", n_train=24, n_val=20, n_test=20)
    options = dict(method=method, epochs=1, stop="last", lr=1e-2, keep_weights=True, top_layers=2)
    in_fp16 = w2s.fit(tiny, few.student, **options)
    assert in_fp16.record["config"]["precision"] == "fp16"
    of_name = by_name(in_fp16, few.test)
    np.testing.assert_allclose(of_name, log_odds(in_fp16, few.test), atol=2e-3)
    monkeypatch.setenv("W2S_PRECISION", "fp32")
    in_fp32 = w2s.fit(tiny, few.student, **options)
    assert in_fp16.address != in_fp32.address
    difference = log_odds(in_fp16, few.test) - log_odds(in_fp32, few.test)
    assert np.abs(difference).max() < 0.05 < np.ptp(log_odds(in_fp32, few.test))


@pytest.mark.parametrize("load", [models.load_lm, loading.hollow_lm])
def test_linear_layers_alone_are_in_fp16(tiny, load):
    """The sum over blocks may exceed fp16 in models that were trained in bf16."""
    lm = load(models.with_depth(models.resolve(tiny)), torch.float16)
    in_fp16 = {name for name, p in lm.named_parameters() if p.dtype == torch.float16}
    assert in_fp16 == {
        name
        for name, _ in lm.named_parameters()
        if name.endswith("proj.weight") or name == "lm_head.weight"
    }


def test_several_devices_are_refused_before_anything_loads(words):
    with pytest.raises(ValueError, match="devices = 2 in fp16.*W2S_PRECISION=fp32"):
        w2s.fit("gpt2", words.student, devices=2)
