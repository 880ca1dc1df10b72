"""Files of models: which count in a digest, and those of the hub's cache are checked."""

import hashlib
import shutil

import pytest

from tests.common.test_store import damage
from w2s_nb import models
from w2s_nb.models import loading

COMMIT = "c" * 40


@pytest.fixture
def hub(tiny, tmp_path, monkeypatch):
    """Lays a tiny model out as the hub's cache does; returns its checkpoint and its snapshot."""
    blobs, snapshot = tmp_path / "blobs", tmp_path / "snapshots" / COMMIT
    blobs.mkdir()
    shutil.copytree(tiny, snapshot)
    for file in snapshot.iterdir():
        content = file.read_bytes()
        if file.suffix == ".safetensors":
            name = hashlib.sha256(content).hexdigest()
        else:
            name = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
        file.replace(blobs / name)
        file.symlink_to(blobs / name)
    monkeypatch.setattr(loading, "_from_hub", lambda *args, **options: snapshot)
    return models.resolve("someone/tiny"), snapshot


def test_whole_files_of_the_hub_are_used(hub):
    checkpoint, _ = hub
    assert models.load_lm(models.with_depth(checkpoint)).config.num_hidden_layers == 4
    assert models.digest(checkpoint) == COMMIT[:16]


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json"])
def test_an_altered_file_of_the_hub_is_refused_by_name(name, hub):
    checkpoint, snapshot = hub
    checkpoint = models.with_depth(checkpoint)
    damage((snapshot / name).resolve(), "alter")
    with pytest.raises(models.ModelUnavailable, match=f"{name} .*hf download someone/tiny"):
        models.load_lm(checkpoint)


def test_weights_of_the_hub_are_read_only_where_they_are_used(hub):
    checkpoint, snapshot = hub
    path = (snapshot / "model.safetensors").resolve()
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(bytes(content))
    models.tokenizer(models.folder(checkpoint))
    models.with_depth(checkpoint)


def test_a_copied_cache_without_links_is_used(hub, tmp_path):
    checkpoint, snapshot = hub
    shutil.copytree(snapshot, tmp_path / "copy")  # follows the links
    shutil.rmtree(snapshot)
    shutil.move(tmp_path / "copy", snapshot)
    models.load_lm(models.with_depth(checkpoint))


def test_a_chat_template_counts_in_a_folders_digest(tiny, tmp_path):
    shutil.copytree(tiny, tmp_path / "copy")
    copy = models.resolve(str(tmp_path / "copy"))
    before = models.digest(copy)
    (tmp_path / "copy" / "chat_template.jinja").write_text("{{ messages }}")
    assert models.digest(copy) != before


def test_a_truncated_file_of_weights_is_named(tiny, tmp_path):
    shutil.copytree(tiny, tmp_path / "copy")
    damage(tmp_path / "copy" / "model.safetensors", "truncate")
    with pytest.raises(models.ModelUnavailable, match=r"copy/model\.safetensors"):
        models.with_depth(models.resolve(str(tmp_path / "copy")))
