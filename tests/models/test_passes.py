"""Passes without gradient take as many tokens as fit in the device's free memory."""

import numpy as np
import pytest
import torch
from transformers import DynamicCache

import w2s_nb as w2s
from w2s_nb import models
from w2s_nb.common import distributed
from w2s_nb.inputs import activations
from w2s_nb.inputs.batches import Inputs, NextTokens, TokenInputs
from w2s_nb.inputs.tokens import tokenize
from w2s_nb.models import passes
from w2s_nb.models.language import LanguageModel
from w2s_nb.models.passes import affordable_tokens, bytes_of_token
from w2s_nb.training import loop
from w2s_nb.training.device_memory import simulation
from w2s_nb.training.device_memory.estimate import architecture_of

CPU = torch.device("cpu")
MOST = {"cpu": 4096}


def give_free_memory(monkeypatch, n_bytes):
    monkeypatch.setattr(passes, "free_device_memory", lambda: n_bytes)


def config_of(path):
    return models.load_lm(models.resolve(path)).config


def test_a_pass_takes_a_power_of_two_of_tokens_where_memory_is_short(tiny, monkeypatch):
    config = config_of(tiny)
    of_token = bytes_of_token(config, 20)
    for free, expected in [
        (None, 4096),
        (10**12, 4096),
        (101 * of_token / 0.6, 64),
        (64.1 * of_token / 0.6, 64),
        (63.9 * of_token / 0.6, 32),
        (1, 1),
    ]:
        give_free_memory(monkeypatch, free)
        assert affordable_tokens(config, MOST, longest=20) == expected
    give_free_memory(monkeypatch, 64.1 * of_token / 0.6 + 1000)
    assert affordable_tokens(config, MOST, longest=20, reserved=1000) == 64
    assert affordable_tokens(config, MOST, longest=20, logits=1) == 32
    assert affordable_tokens(config, MOST, longest=20, keeps_keys=True) == 32
    give_free_memory(monkeypatch, 1000)
    assert affordable_tokens(config, MOST, longest=20, reserved=2000) == 1


def peak_of(run, *modules):
    """Returns the most bytes that a function takes at one time beside the weights of modules."""
    kept = [t for module in modules for t in (*module.parameters(), *module.buffers())]
    live = simulation._LiveBytes(t.untyped_storage() for t in kept)
    with torch.no_grad(), live:
        run()
    return live.take_peak()


def test_a_pass_takes_no_more_than_is_counted(any_tiny, words):
    pairs = w2s.load_task("word_pairs", n_train=16, n_val=8, n_test=8)
    checkpoint = models.resolve(any_tiny)
    net = models.build(checkpoint, "full", 1, head_init="zero", device=CPU)
    config = net.body.config
    for split in (words.student, pairs.student):
        inputs = TokenInputs(tokenize(split, checkpoint, 64))
        batch = inputs.batch(np.argsort(-inputs.lengths)[:8])
        n_tokens = batch["input_ids"].numel()
        counted = n_tokens * bytes_of_token(config, int(inputs.lengths.max()))
        assert counted / 4 < peak_of(lambda batch=batch: net(**batch), net) < counted


def test_logits_and_keys_take_no_more_than_is_counted(any_tiny, words):
    checkpoint = models.resolve(any_tiny)
    lm = models.load_lm(checkpoint)
    tokens = tokenize(words.student, checkpoint, 64)
    inputs = NextTokens(TokenInputs(tokens), tokens.ids)
    batch = inputs.batch(np.arange(8))
    ids = batch["input_ids"]
    net = LanguageModel(lm.base_model, lm)
    with_logits = ids.numel() * bytes_of_token(lm.config, ids.shape[1], logits=1)
    assert peak_of(lambda: net(**batch), net, lm) < with_logits
    cache = DynamicCache()
    with_keys = ids.numel() * bytes_of_token(lm.config, ids.shape[1], keeps_keys=True)
    run = peak_of(lambda: lm.base_model(ids, past_key_values=cache, use_cache=True), lm)
    assert run < with_keys


@pytest.mark.parametrize("name", ["gpt2", "Qwen-7B", "pythia-410m"])
def test_a_frozen_pass_in_bf16_takes_no_more_than_is_counted(name, monkeypatch):
    monkeypatch.setenv("W2S_PRECISION", "bf16")
    architecture = architecture_of(models.resolve(name))
    peak = simulation.simulate_frozen(architecture, 1, 2, 256, True)["peak"]
    config = simulation.config_of(architecture)
    counted = 512 * bytes_of_token(config, 256)
    assert counted / 3 < peak < counted


@pytest.fixture
def budgets(monkeypatch):
    """The tokens of a pass that were asked for."""
    asked = []
    by_length = Inputs.by_length

    def remember(self, max_tokens, *args, **options):
        asked.append(max_tokens)
        return by_length(self, max_tokens, *args, **options)

    monkeypatch.setattr(Inputs, "by_length", remember)
    return asked


def test_little_memory_makes_small_passes_of_all_frozen_models_and_the_same_results(
    tiny, words, budgets, monkeypatch, tmp_path
):
    checkpoint = models.with_depth(models.resolve(tiny))
    tokens = tokenize(words.test, checkpoint, 64)
    net = models.build(checkpoint, "full", 1, head_init="unembedding", device=CPU)
    lm = models.load_lm(checkpoint)
    text_model = LanguageModel(lm.base_model, lm)
    texts = NextTokens(TokenInputs(tokens), tokens.ids)

    def results(home):
        monkeypatch.setenv("W2S_HOME", str(tmp_path / home))  # computed anew
        budgets.clear()
        return [
            loop.predict(net, TokenInputs(tokens)),
            loop.lm_losses(text_model, texts),
            activations.pooled(checkpoint, tokens).layer(2),
            torch.cat(list(activations.trunk(checkpoint, 2, tokens))).numpy(),
            w2s.prompt(tiny, words.test).predictions.log_p1.to_numpy(),
        ]

    whole = results("whole")
    assert budgets == [1024, 4096, 1024, 1024, 4096]
    give_free_memory(monkeypatch, 100_000)
    small = results("small")
    assert len(budgets) == 5 and max(budgets) <= 128
    for one, other in zip(whole, small, strict=True):
        np.testing.assert_allclose(one, other, atol=2e-3)


def test_several_devices_run_the_same_passes_whatever_is_free_on_each(tiny, words, monkeypatch):
    net = models.build(models.resolve(tiny), "full", 1, head_init="zero", device=CPU)
    inputs = TokenInputs(tokenize(words.test, models.resolve(tiny), 64))
    give_free_memory(monkeypatch, 1)
    assert loop._tokens_of_prediction(net, inputs) == 1
    monkeypatch.setattr(distributed, "n_workers", lambda: 3)
    assert loop._tokens_of_prediction(net, inputs) == 3 * 1024


def test_weights_that_autocast_copies_take_from_the_memory_of_a_prediction(tiny, monkeypatch):
    net = models.build(models.resolve(tiny), "full", 1, head_init="zero", device=CPU)
    assert loop._bytes_of_copies(net) == 0
    monkeypatch.setenv("W2S_PRECISION", "bf16")
    assert loop._bytes_of_copies(net) == 2 * sum(p.numel() for p in net.parameters())
    net.body.requires_grad_(False)
    assert loop._bytes_of_copies(net) == 2 * net.head.weight.numel()
