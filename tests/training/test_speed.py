"""How fast a training ran: tokens, operations, and the share of a card's peak."""

import time

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

import w2s_nb as w2s
from w2s_nb import models
from w2s_nb.common import device
from w2s_nb.inputs.tokens import tokenize
from w2s_nb.training import speed
from w2s_nb.training.speed import Speed, SpeedMeter, model_flops


@pytest.mark.parametrize("method", ["full", "lora"])
def test_operations_are_those_that_pytorch_counts(method, tiny):
    checkpoint = models.with_depth(models.resolve(tiny))
    cpu = torch.device("cpu")
    net = models.build(checkpoint, method, 1, head_init="unembedding", device=cpu)
    # it does not count the fused attention of a CPU
    net.body.config._attn_implementation = "eager"
    for name, parameter in net.named_parameters():
        if "lora_B" in name:  # at zero no gradient goes through
            torch.nn.init.ones_(parameter)
    ids = torch.full((4, 30), 5)
    with FlopCounterMode(display=False) as counter:
        net(torch.ones_like(ids), input_ids=ids).sum().backward()
    expected = counter.get_total_flops()
    assert model_flops(net, np.full(4, 30)) == pytest.approx(expected, rel=0.03)


def test_the_time_of_evaluations_does_not_count(monkeypatch, tiny):
    now = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    monkeypatch.setattr(speed, "peak_flops", lambda: None)
    meter = SpeedMeter()
    evaluate = meter.leave_out(lambda seconds: now.__setitem__(0, now[0] + seconds))
    now[0] += 4
    evaluate(100)
    measured = meter.speed(torch.nn.Linear(2, 2), np.array([30, 50]))
    assert measured == Speed(4.0, 20.0, None)
    assert str(measured) == "20 tokens a second"


def test_the_share_of_the_peak_is_told_in_one_line(monkeypatch, tiny, capsys):
    checkpoint = models.with_depth(models.resolve(tiny))
    net = models.build(checkpoint, "full", 1, head_init="zero", device=torch.device("cpu"))
    lengths = np.full(10, 20)
    now = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    monkeypatch.setattr(speed, "peak_flops", lambda: model_flops(net, lengths))
    monkeypatch.setattr(speed, "machine", lambda: "NVIDIA L4")
    meter = SpeedMeter()
    now[0] = 4.0
    measured = meter.speed(net, lengths)
    assert measured.model_flops_utilisation == pytest.approx(0.25)
    speed.tell("gpt2 xent seed 0", measured)
    assert capsys.readouterr().out == "", "a CPU's speed is in the record alone"
    monkeypatch.setattr(speed, "device", lambda: torch.device("cuda"))
    speed.tell("gpt2 xent seed 0", measured)
    line = "gpt2 xent seed 0: 50 tokens a second, 25% of the peak of NVIDIA L4"
    assert capsys.readouterr().out.splitlines() == [line]


@pytest.mark.parametrize(
    "name, expected",
    [
        ("NVIDIA H100 80GB HBM3", 989e12),
        ("NVIDIA H100 PCIe", 756e12),
        ("NVIDIA A100-SXM4-80GB", 312e12),
        ("Tesla V100-SXM2-16GB", 125e12),
        ("NVIDIA RTX A1000", None),
        ("NVIDIA RTX A4000", None),
    ],
)
def test_a_card_is_known_by_whole_words_of_its_name(monkeypatch, name, expected):
    monkeypatch.setattr(device, "device", lambda: torch.device("cuda"))
    monkeypatch.setattr(device, "machine", lambda: name)
    monkeypatch.setattr(device, "precision", lambda: "bf16")
    assert device.peak_flops() == expected
    monkeypatch.setattr(device, "precision", lambda: "fp32")
    assert device.peak_flops() is None


def test_a_fit_keeps_its_speed(tiny, words):
    fit = w2s.fit(tiny, words.student, epochs=2)
    kept = fit.record["speed"]
    checkpoint = models.with_depth(models.resolve(tiny))
    max_len = fit.record["config"]["hyperparameters"]["max_len"]
    n_tokens = 2 * tokenize(words.student, checkpoint, max_len).lengths.sum()
    assert kept["tokens_per_second"] * kept["seconds"] == pytest.approx(n_tokens)
    assert kept["model_flops_utilisation"] is None, "of a CPU"
    probe = w2s.fit(tiny, words.student, method="probe", epochs=1)
    assert "speed" not in probe.record
