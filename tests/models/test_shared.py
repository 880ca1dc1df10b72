"""Models that fits start from: read once per process, and only the blocks that are needed."""

import numpy as np
import pytest
import torch

import w2s_nb as w2s
from tests.conftest import save_tiny
from w2s_nb.models import loading, shared
from w2s_nb.models.anatomy import blocks_of
from w2s_nb.models.loading import load_lm, with_depth
from w2s_nb.models.names import resolve
from w2s_nb.models.shared import load_shared

OPTIONS = {
    "full": dict(epochs=1, evals=1, lr=1e-3),
    "top": dict(epochs=1, evals=1, lr=1e-3, top_layers=2),
    "lora": dict(epochs=1, evals=1, lr=1e-3),
}


@pytest.fixture(autouse=True)
def nothing_kept(monkeypatch):
    monkeypatch.setattr(shared, "_kept", {})


@pytest.fixture
def loads(monkeypatch):
    """[(depth, top blocks)] of the models that are read from disk."""
    read = []

    def counted(checkpoint, dtype=torch.float32, *, top=None):
        read.append((checkpoint.layers, top))
        return load_lm(checkpoint, dtype, top=top)

    monkeypatch.setattr(loading, "load_lm", counted)
    return read


def test_fits_of_two_seeds_and_two_losses_read_each_model_once(words, tiny, loads):
    for seed in (0, 1):
        supervisor = w2s.fit(
            f"{tiny}@3", words.supervisor, method="top", seed=seed, **OPTIONS["top"]
        )
        weak = supervisor.label(words.student)
        for labels, loss in [(None, "xent"), (weak, "xent"), (weak, "confidence")]:
            w2s.fit(
                tiny, words.student, labels, loss=loss, method="top", seed=seed, **OPTIONS["top"]
            )
    # of each model the trunk, and the blocks above it
    assert sorted(loads, key=str) == [(1, None), (2, None), (3, 2), (4, 2)]


@pytest.mark.parametrize("method", OPTIONS)
def test_a_fit_leaves_the_model_as_the_next_one_finds_it(method, words, tiny, home, loads):
    def predictions(seed):
        options = OPTIONS[method] | {"method": method, "seed": seed}
        return w2s.fit(tiny, words.student, **options).predict(words.test)

    first = predictions(0)
    predictions(1)
    for path in (home / "fits").glob("*/record.json"):
        path.unlink()
    np.testing.assert_array_equal(predictions(0), first)
    # a fit of all weights on a CPU trains the copy that it reads
    assert len(loads) == {"full": 0, "top": 2, "lora": 1}[method]


def test_a_model_whose_weights_change_is_read_again(tmp_path, loads):
    path = save_tiny(tmp_path / "model", seed=0)
    before = load_shared(with_depth(resolve(path)))
    save_tiny(tmp_path / "model", seed=1)
    after = load_shared(with_depth(resolve(path)))
    assert len(loads) == 2
    assert not torch.equal(before.lm_head.weight, after.lm_head.weight)


def test_models_are_dropped_where_memory_is_short(tiny, loads, monkeypatch):
    shallow, deep = (with_depth(resolve(f"{tiny}@{depth}")) for depth in (2, 3))
    size = shared._n_bytes(load_lm(deep))
    for share_of_both, kept in [(3, 2), (1.2, 1), (0.5, 0)]:
        loads.clear()
        shared._kept.clear()
        free = int(share_of_both * size / shared.SHARE)
        monkeypatch.setattr(shared, "free_host_memory", lambda free=free: free)
        load_shared(shallow)
        load_shared(deep)
        load_shared(deep)
        assert len(shared._kept) == kept
        assert len(loads) == (3 if kept == 0 else 2)


def test_loading_moves_no_random_numbers(tiny):
    """Else a fit would depend on which fits the process made before it."""
    torch.manual_seed(0)
    before = torch.get_rng_state()
    checkpoint = with_depth(resolve(tiny))
    load_shared(checkpoint)
    load_shared(checkpoint, top=2)
    load_shared(checkpoint, torch.bfloat16)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("top", [1, 3, 4, 9])
def test_of_a_model_only_the_blocks_that_are_needed_are_read(any_tiny, top, monkeypatch):
    checkpoint = with_depth(resolve(any_tiny))
    whole = load_lm(checkpoint)
    part = load_lm(checkpoint, top=top)
    blocks = list(zip(blocks_of(whole.base_model), blocks_of(part.base_model), strict=True))
    for number, (expected, block) in enumerate(blocks):
        for one, other in zip(expected.parameters(), block.parameters(), strict=True):
            assert other.is_meta if number < 4 - top else torch.equal(one, other)
    unembedding = part.get_output_embeddings().weight
    assert torch.equal(unembedding, whole.get_output_embeddings().weight)
    is_tied = whole.get_input_embeddings().weight is whole.get_output_embeddings().weight
    assert part.get_input_embeddings().weight.is_meta == (top < 4 and not is_tied)


@pytest.mark.parametrize("first", OPTIONS)
def test_the_top_of_a_finetuned_model_is_read_alone_too(first, words, tiny, monkeypatch):
    options = OPTIONS[first] | {"method": first, "keep_weights": True}
    fit = w2s.fit(tiny, words.student, **options)
    checkpoint = with_depth(resolve(fit.name))
    whole, part = load_lm(checkpoint), load_lm(checkpoint, top=2)
    of_whole = dict(whole.base_model.named_parameters())
    read = {name: p for name, p in part.base_model.named_parameters() if not p.is_meta}
    assert len(blocks_of(part.base_model)) == 4 and len(read) < len(of_whole)
    for name, parameter in read.items():
        if not name.startswith(("layers.0", "layers.1")):
            assert torch.equal(parameter, of_whole[name]), name
    again = w2s.fit(fit.name, words.student, method="top", **OPTIONS["top"])
    monkeypatch.setattr(loading, "_tensors_above", lambda *a: None)
    monkeypatch.setattr(loading, "_forget_unread", lambda *a: None)
    for path in w2s.common.paths.home().glob("fits/*/record.json"):
        if again.address in str(path):
            path.unlink()
    read_whole = w2s.fit(fit.name, words.student, method="top", **OPTIONS["top"])
    np.testing.assert_array_equal(read_whole.predict(words.test), again.predict(words.test))
