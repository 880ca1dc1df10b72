"""Files of activations and tokens: checked before they are used, made again where damaged."""

import random
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open

import w2s_nb as w2s
from tests.common.test_store import DAMAGES, damage
from tests.conftest import Script
from w2s_nb.common import files
from w2s_nb.inputs import activations
from w2s_nb.inputs.activations import pooled, trunk
from w2s_nb.inputs.shards import depths_of, look_up
from w2s_nb.inputs.tokens import _tokenize, tokenize
from w2s_nb.models.loading import with_depth
from w2s_nb.models.names import resolve


@pytest.fixture(autouse=True)
def nothing_tokenized():
    """Lets every test read its tokens from its own store."""
    _tokenize.cache_clear()


@pytest.fixture
def shards(monkeypatch):
    """Writes shards of 16 texts."""
    activations.code()  # before what it hashes is replaced
    monkeypatch.setattr(activations, "SHARD", 16)


def read_pooled(model, tokens):
    return pooled(model, tokens).layer(2)


def read_trunk(model, tokens):
    return torch.cat(list(trunk(model, 2, tokens))).numpy()


def files_of(home, kind):
    return sorted((home / kind).rglob("*.safetensors"))


def shards_in(names):
    return [name for name in names if "/activations/" in name]


@pytest.mark.parametrize("read", [read_pooled, read_trunk])
@pytest.mark.parametrize("how", DAMAGES)
def test_a_damaged_shard_of_activations_is_made_again(
    read, how, words, tiny, home, shards, monkeypatch
):
    model = with_depth(resolve(tiny))
    tokens = tokenize(words.test, model, 16)
    whole = read(model, tokens)
    paths = files_of(home, "activations")
    assert len(paths) >= 4
    damage(paths[1], how)
    computed, write = [], activations._write_shards
    monkeypatch.setattr(
        activations, "_write_shards", lambda *a: computed.append(a[-2]) or write(*a)
    )
    np.testing.assert_array_equal(read(model, tokens), whole)
    assert len(computed) == 1, "more than the damaged shard was made again"
    assert len(files_of(home, "activations")) == len(paths), "the damaged shard was left"
    np.testing.assert_array_equal(read(model, tokens), whole)
    assert len(computed) == 1


def test_a_shard_is_hashed_once_per_process_and_only_where_it_is_used(
    words, tiny, home, shards, monkeypatch
):
    model = with_depth(resolve(tiny))
    whole, few = (tokenize(split, model, 16) for split in (words.test, words.test.take([0])))
    read_pooled(model, whole)
    files._sha256.cache_clear()
    hashed, digest = [], files.hashlib.file_digest

    def counted(stream, *args):
        hashed.append(stream.name)
        return digest(stream, *args)

    monkeypatch.setattr(files.hashlib, "file_digest", counted)
    read_pooled(model, few)
    assert len(shards_in(hashed)) == 1
    read_pooled(model, whole)
    read_pooled(model, whole)
    assert len(shards_in(hashed)) == len(files_of(home, "activations"))


def test_a_fit_on_damaged_files_is_the_fit_on_whole_ones(words, tiny, home):
    options = dict(method="probe", epochs=3)
    whole = w2s.fit(tiny, words.student, **options).predict(words.test)
    for kind in ("activations", "tokens"):
        for path in files_of(home, kind):
            damage(path, "empty")
    for path in (home / "fits").glob("*/record.json"):
        path.unlink()
    _tokenize.cache_clear()
    again = w2s.fit(tiny, words.student, **options).predict(words.test)
    np.testing.assert_array_equal(again, whole)


@pytest.mark.parametrize("how", DAMAGES)
def test_a_damaged_file_of_tokens_is_made_again(how, words, tiny, home):
    model = with_depth(resolve(tiny))
    whole = tokenize(words.test, model, 16)
    (path,) = files_of(home, "tokens")
    content = path.read_bytes()
    damage(path, how)
    _tokenize.cache_clear()
    again = tokenize(words.test, model, 16)
    assert again.keys == whole.keys and (again.truncated == whole.truncated).all()
    assert files_of(home, "tokens") == [path] and path.read_bytes() == content


def test_a_text_stored_at_two_depths_is_read_where_it_was_read_before(words, tiny, monkeypatch):
    """States that a deeper model stores later change nothing of what a shallow one reads."""
    activations.code()
    run = activations._run
    shift = [0.0]

    def shifted(*args):
        return [stream + shift[0] for stream in run(*args)]

    monkeypatch.setattr(activations, "_run", shifted)
    tokens = tokenize(words.test, with_depth(resolve(tiny)), 16)
    models = {depth: with_depth(resolve(f"{tiny}@{depth}")) for depth in (1, 2, 3, 4)}
    first = {}
    for depth in (2, 3, 4):
        shift[0] += 1.0  # so that the depths of a text's shards can be told apart
        first[depth] = pooled(models[depth], tokens).layer(1)
    for depth, states in first.items():
        np.testing.assert_array_equal(pooled(models[depth], tokens).layer(1), states)
    np.testing.assert_array_equal(pooled(models[1], tokens).layer(1), first[2])
    assert not np.array_equal(first[2], first[4])


READ_FEATURES = """
import sys; sys.path.insert(0, {root!r})
import fcntl; fcntl.flock = lambda *a: None
import time
from tests import conftest
import w2s_nb as w2s
conftest.register_words()
task = w2s.load_task("words", n_train=96, n_val=32, n_test=64)
while time.time() < {start}: pass
print(w2s.features({tiny!r}, task.test)[2].sum().item())
"""


def test_processes_without_locks_mend_damaged_files_together(words, tiny, home):
    whole = w2s.features(tiny, words.test)[2].sum().item()
    damaged = [path for kind in ("activations", "tokens") for path in files_of(home, kind)]
    for path in damaged:
        damage(path, "alter")
    root = str(Path(__file__).resolve().parents[2])
    code = READ_FEATURES.format(root=root, tiny=tiny, start=time.time() + 2)
    scripts = [Script(code) for _ in range(4)]
    assert [script.wait() for script in scripts] == [0] * 4, [s.printed() for s in scripts]
    assert {script.printed()[0] for script in scripts} == {f"{whole}\n"}
    after = [path for kind in ("activations", "tokens") for path in files_of(home, kind)]
    assert after == damaged and all(map(files.is_as_named, after))


def test_texts_are_found_in_the_shallowest_of_many_shards(tmp_path):
    rng = random.Random(0)
    keys = [f"{rng.getrandbits(64):016x}" for _ in range(60)]
    for last in (2, 2, 4, 4, 6, 6):
        raw = [list(bytes.fromhex(key)) for key in rng.sample(keys, 8)]
        states = torch.full((8, last + 1, 1), rng.random())
        tensors = {"keys": torch.tensor(raw, dtype=torch.uint8), "states": states}
        files.write_tensors(tmp_path, f"0-{last}-", tensors)
    rows = []
    for path in sorted(tmp_path.iterdir(), key=lambda path: (depths_of(path), path.name)):
        with safe_open(path, framework="numpy") as shard:
            keys_here = [bytes(key).hex() for key in shard.get_tensor("keys")]
        rows += [(depths_of(path)[1], key, (path, row)) for row, key in enumerate(keys_here)]
    for depth in (0, 3, 6, 7):
        expected: dict = {}
        for last, key, place in rows:
            if last >= depth:
                expected.setdefault(key, place)
        assert look_up(tmp_path, depth, keys) == (expected, [])
    assert look_up(tmp_path, 0, []) == ({}, [])
