"""Stored fits: what is checked, when, and that nothing of another fit is given."""

import shutil
import tracemalloc

import numpy as np
import pandas as pd
import pytest
import torch

import w2s_nb as w2s
from w2s_nb.common import files, store
from w2s_nb.models.loading import load_lm
from w2s_nb.models.names import resolve

ONE, OTHER = "0" * 20, "1" * 20
KEPT = {"weight": torch.arange(1000.0), "transposed": torch.arange(6.0).reshape(2, 3).T}


def write_fit(address, value=0.5, weights=KEPT):
    """Stores a fit of one example."""
    predictions = pd.DataFrame({"id": ["a"], "last": [value]})
    store.write(address, {"config": {}}, predictions, pd.DataFrame({"step": [1]}), weights)
    return store.folder(address) / "weights.safetensors"


def damage(path, how):
    """Alters one byte in the middle of a file, cuts it in half, empties or removes it."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    half = content[: len(content) // 2]
    if how == "remove":
        path.unlink()
    else:
        path.write_bytes(bytes({"alter": content, "truncate": half, "empty": b""}[how]))


DAMAGES = ("alter", "truncate", "empty", "remove")


def test_kept_weights_are_read_as_they_were_written():
    path = write_fit(ONE)
    assert path.stat().st_mode == path.with_name("curve.parquet").stat().st_mode
    assert store.weights(ONE).keys() == KEPT.keys()
    assert all(store.weights(ONE)[name].equal(KEPT[name]) for name in KEPT)


@pytest.mark.parametrize("how", DAMAGES)
def test_damaged_weights_are_never_given_and_named(how):
    path = write_fit(ONE)
    store.weights(ONE)
    damage(path, how)
    for _ in range(2):
        with pytest.raises(OSError, match=str(path)):
            store.weights(ONE)
    assert store.read(ONE) is None, "the fit would not be made again"


def test_a_fit_without_weights_says_how_to_keep_them():
    write_fit(ONE, weights=None)
    with pytest.raises(FileNotFoundError, match="keep_weights=True"):
        store.weights(ONE)


def test_finding_a_fit_does_not_read_its_weights(monkeypatch):
    path = write_fit(ONE)
    hashed = []
    monkeypatch.setattr(store, "is_whole", lambda *a: hashed.append(a) or True)
    path.chmod(0)  # readable by root, so what is read is watched too
    opened, read_bytes = [], type(path).read_bytes
    monkeypatch.setattr(type(path), "read_bytes", lambda p: opened.append(p.name) or read_bytes(p))
    record, predictions, _ = store.read(ONE)
    assert predictions["last"].tolist() == [0.5] and "weights.safetensors" in record["files"]
    assert sorted(opened) == ["curve.parquet", "predictions.parquet"] and not hashed


def test_tables_come_back_as_pandas_reads_them():
    predictions = pd.DataFrame(
        {
            "split": ["test", "student"],
            "truth": [0, 1],
            "last": np.array([0.25, np.nan], dtype=np.float32),
            "answer": ["سلام", None],
            "right": [True, False],
        },
        index=[7, 3],
    )
    curve = pd.DataFrame({"step": [], "train_loss": []})
    store.write(ONE, {"config": {}}, predictions, curve)
    _, *tables = store.read(ONE)
    for name, table in zip(("predictions", "curve"), tables, strict=True):
        by_pandas = pd.read_parquet(store.folder(ONE) / f"{name}.parquet")
        pd.testing.assert_frame_equal(table, by_pandas, check_exact=True)
    pd.testing.assert_frame_equal(store.predictions(ONE), tables[0])
    damage(store.folder(ONE) / "curve.parquet", "alter")
    assert store.predictions(ONE) is None and store.read(ONE) is None


@pytest.mark.parametrize("how", ["truncate", "empty", "remove"])
def test_a_fit_whose_weights_have_not_their_size_is_made_again(how):
    damage(write_fit(ONE), how)
    assert store.read(ONE) is None


def test_writing_weights_holds_no_copy_of_them():
    weights = {f"w{i}": torch.zeros(2**18) for i in range(16)}  # 16 MB
    tracemalloc.start()
    try:
        write_fit(ONE, weights=weights)
        assert tracemalloc.get_traced_memory()[1] < 4e6
    finally:
        tracemalloc.stop()
    assert store.weights(ONE)["w3"].equal(weights["w3"])


def test_a_file_is_hashed_once_per_process_and_again_when_it_changed(tmp_path, monkeypatch):
    path = tmp_path / "file"
    path.write_bytes(b"one")
    calls, digest = [], files.hashlib.file_digest
    monkeypatch.setattr(files.hashlib, "file_digest", lambda *a: calls.append(1) or digest(*a))
    one = files.sha256_of(path)
    assert files.is_whole(path, one) and files.is_whole(path, one) and len(calls) == 1
    path.write_bytes(b"another")
    assert not files.is_whole(path, one) and len(calls) == 2
    path.unlink()
    assert not files.is_whole(path, one)


def test_a_fit_copied_under_another_address_is_not_given_for_it():
    write_fit(ONE, 0.25)
    shutil.copytree(store.folder(ONE), store.folder(OTHER))
    assert store.read(OTHER) is None and store.record(OTHER) is None
    with pytest.raises(FileNotFoundError):
        store.weights(OTHER)
    _, predictions, _ = store.get_or_make(
        OTHER, lambda: ({}, pd.DataFrame({"last": [0.75]}), pd.DataFrame({"step": [1]}))
    )
    assert predictions["last"].tolist() == [0.75] and store.read(ONE) is not None


def test_an_altered_finetuned_model_is_refused_and_made_again(words, tiny):
    options = dict(method="top", top_layers=1, epochs=1, keep_weights=True)
    fit = w2s.fit(tiny, words.student, **options)
    whole = load_lm(resolve(fit.name)).state_dict()
    path = store.folder(fit.address) / "weights.safetensors"
    damage(path, "alter")
    with pytest.raises(OSError, match="weights.safetensors"):
        w2s.features(fit.name, words.test)
    again = w2s.fit(tiny, words.student, **options)
    np.testing.assert_array_equal(again.predict(words.test), fit.predict(words.test))
    again_whole = load_lm(resolve(again.name)).state_dict()
    assert all(again_whole[name].equal(whole[name]) for name in whole)
