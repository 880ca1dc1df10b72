"""The trunk's activations, which method 'top' is fed with: stored in shards, or computed anew."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors import safe_open
from transformers import LlamaModel

import w2s_nb as w2s
from w2s_nb.inputs import activations
from w2s_nb.inputs.activations import pooled, trunk, trunk_bytes
from w2s_nb.inputs.tokens import tokenize
from w2s_nb.models.loading import with_depth
from w2s_nb.models.names import resolve
from w2s_nb.training.language_model import finetune_lm

TOP = dict(method="top", top_layers=2, epochs=1, evals=1, lr=1e-3)


@pytest.fixture
def model(tiny):
    return with_depth(resolve(tiny))


@pytest.fixture
def in_bf16(monkeypatch):
    """Computes activations as on CUDA, on the CPU."""
    monkeypatch.setenv("W2S_PRECISION", "bf16")


def shards_in(home):
    return sorted((home / "activations").rglob("*.safetensors"))


def test_shards_of_few_bytes_hold_the_same_numbers_as_one_shard(
    words, model, home, monkeypatch, tmp_path
):
    tokens = tokenize(words.test, model, 16)
    monkeypatch.setitem(activations.MAX_TOKENS, "cpu", 64)
    whole = trunk(model, 2, tokens), pooled(model, tokens).layer(3)
    n_whole = len(shards_in(home))
    monkeypatch.setenv("W2S_HOME", str(tmp_path / "other"))
    monkeypatch.setattr(activations, "SHARD_BYTES", 1000)
    cut = trunk(model, 2, tokens), pooled(model, tokens).layer(3)
    assert len(shards_in(tmp_path / "other")) > n_whole + 4
    assert all(torch.equal(one, other) for one, other in zip(whole[0], cut[0], strict=True))
    np.testing.assert_array_equal(whole[1], cut[1])


def test_streams_are_stored_as_they_are_computed(words, model, home, in_bf16):
    tokens = tokenize(words.test, model, 16)
    streams = trunk(model, 2, tokens)
    assert {stream.dtype for stream in streams} == {torch.bfloat16}
    (path,) = shards_in(home)
    with safe_open(path, framework="pt") as shard:
        states = shard.get_tensor("states")
    assert states.dtype == torch.bfloat16
    assert states.nbytes == trunk_bytes(model, 2, tokens)
    lm = activations._load(model)
    ids = torch.as_tensor(tokens.ids[0], dtype=torch.long)[None]
    batch = {"input_ids": ids, "ends": torch.tensor([[ids.shape[1] - 1]])}
    with torch.no_grad():
        (alone,) = activations._run(lm, batch, lambda stream: stream, [2])
    torch.testing.assert_close(streams[0], alone[0], atol=0.05, rtol=0.05)


def test_blocks_over_a_stream_in_bf16_add_to_it_in_float32(words, model, in_bf16):
    from w2s_nb.models.classifier import build

    net = build(model, "top", 1, head_init="unembedding", top_layers=2, device=torch.device("cpu"))
    tokens = tokenize(words.test, model, 16)
    (inputs,) = activations.trunk_inputs(model, 2, [tokens])
    batch = inputs.batch(np.arange(8))
    assert batch["inputs_embeds"].dtype == torch.bfloat16
    in_float32 = batch | {"inputs_embeds": batch["inputs_embeds"].float()}
    with torch.no_grad():
        assert torch.equal(net(**batch), net(**in_float32))


def test_streams_are_views_of_files_and_outlive_their_removal(words, model, home):
    tokens = tokenize(words.test, model, 16)
    streams = trunk(model, 2, tokens)
    before = [stream.clone() for stream in streams]
    for path in shards_in(home):
        path.unlink()
    assert all(torch.equal(one, other) for one, other in zip(before, streams, strict=True))
    assert len(streams[2:5]) == 3 and torch.equal(streams[2:5][0], before[2])


@pytest.mark.parametrize("task_name", ["words", "word_pairs"])
def test_a_trunk_above_the_bound_is_computed_for_every_batch_and_stored_nowhere(
    task_name, words, tiny, home, monkeypatch, capsys
):
    task = w2s.load_task(task_name, n_train=96, n_val=32, n_test=64)
    stored = w2s.fit(tiny, task.student, **TOP)
    assert shards_in(home)
    for path in shards_in(home):
        path.unlink()
    capsys.readouterr()
    monkeypatch.setenv("W2S_TRUNK_GB", "0")
    recomputed = w2s.fit(tiny, task.student, **TOP)
    assert recomputed.address != stored.address and not shards_in(home)
    np.testing.assert_allclose(recomputed.predict(task.test), stored.predict(task.test), atol=2e-4)
    said = capsys.readouterr()
    assert "after 2 layers would take" in said.out + said.err
    assert "more than W2S_TRUNK_GB = 0" in said.out + said.err


def test_a_language_model_learns_the_same_over_a_trunk_that_is_not_stored(
    words, tiny, home, monkeypatch
):
    options = dict(method="top", top_layers=2, epochs=1, held_out=20)
    stored = finetune_lm(tiny, words.student, **options)
    monkeypatch.setenv("W2S_TRUNK_GB", "0")
    recomputed = finetune_lm(tiny, words.student, **options)
    assert recomputed.address != stored.address
    after = stored.record["metrics"]["perplexity_after"]
    assert recomputed.record["metrics"]["perplexity_after"] == pytest.approx(after, rel=1e-4)


def test_a_trunk_beyond_the_free_disk_is_refused_before_a_model_is_loaded(words, tiny, monkeypatch):
    usage = SimpleNamespace(free=10_000)
    monkeypatch.setattr(activations.shutil, "disk_usage", lambda path: usage)
    activations.code()
    monkeypatch.setattr(activations, "_load", lambda *a: pytest.fail("a model was loaded"))
    with pytest.raises(OSError, match="GB on disk; .* GB free. .*W2S_TRUNK_GB=0"):
        w2s.fit(tiny, words.student, **TOP)


@pytest.mark.parametrize("wrong", ["-1", "much", "nan"])
def test_a_bound_that_is_no_number_is_refused(wrong, words, tiny, monkeypatch):
    monkeypatch.setenv("W2S_TRUNK_GB", wrong)
    with pytest.raises(ValueError, match=f"W2S_TRUNK_GB = '{wrong}'; expected a number from 0"):
        w2s.fit(tiny, words.student, **TOP)


def test_a_trunk_that_does_not_fit_the_device_says_what_to_do(words, tiny, monkeypatch):
    def too_large(*args):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setenv("W2S_TRUNK_GB", "0")
    # of bodies alone: a fit's own module, and a whole model, are moved as before
    monkeypatch.setattr(LlamaModel, "to", too_large)
    with pytest.raises(MemoryError, match="loading the trunk of .*raise W2S_TRUNK_GB"):
        w2s.fit(tiny, words.student, **TOP)
