"""Embedded assets: corrupt, truncated, missing, by hand, out of reach; and the real ones are
whole.
"""

import hashlib
import io
import tarfile
import zipfile

import pytest

from w2s_nb.common import assets
from w2s_nb.common.assets import Archive, Asset


def nested_archive():
    """A zip that holds a gzipped tar that holds a text: the shape of the snippets' archive."""
    inner = io.BytesIO()
    with tarfile.open(fileobj=inner, mode="w:gz") as tar:
        info = tarfile.TarInfo("folder/text.txt")
        info.size = 5
        tar.addfile(info, io.BytesIO(b"hello"))
    outer = io.BytesIO()
    with zipfile.ZipFile(outer, "w") as opened:
        opened.writestr("deep/inner.tar.gz", inner.getvalue())
        opened.writestr("plain.txt", "plain")
    return outer.getvalue()


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache, an archive of two members, and pip replaced by something that counts calls
    and fails.
    """
    monkeypatch.setenv("W2S_CACHE", str(tmp_path / "cache"))
    content, calls = nested_archive(), []
    archive = Archive("thing==1.0", "thing-1.0.whl", hashlib.sha256(content).hexdigest(), "wheel")
    made = {
        "text": Asset(
            archive, "deep/inner.tar.gz!folder/text.txt", hashlib.sha256(b"hello").hexdigest()
        ),
        "plain": Asset(archive, "plain.txt", hashlib.sha256(b"plain").hexdigest()),
    }
    monkeypatch.setattr(assets, "ASSETS", made)
    monkeypatch.setattr(
        assets, "_run_with_bar", lambda command, label: calls.append(command) or "no network"
    )

    def by_hand(content=content):
        path = tmp_path / "cache" / "archives" / "thing-1.0.whl"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)

    return by_hand, calls, content


def test_an_archive_put_by_hand_is_used_and_pip_is_not_called(cache):
    by_hand, calls, _ = cache
    by_hand()
    assert (
        assets.fetch("text").read_bytes() == b"hello"
        and assets.fetch("plain").read_bytes() == b"plain"
    )
    assert calls == []


def test_no_network_says_what_to_put_where(cache):
    with pytest.raises(
        assets.AssetError,
        match=r"pip download --no-deps .*thing==1.0.* put thing-1.0.whl into .*arch",
    ):
        assets.fetch("text")


def test_pip_is_asked_for_the_pinned_hash_and_no_requirements(cache, monkeypatch):
    with pytest.raises(assets.AssetError):
        assets.fetch("text")
    (command,) = cache[1]
    assert {"--no-deps", "--require-hashes", "--only-binary"} <= set(command)


@pytest.mark.parametrize("damage", [lambda b: b[:3], lambda b: b"jello", lambda b: b""])
def test_a_corrupt_or_truncated_asset_is_fetched_again(cache, damage):
    by_hand, calls, content = cache
    by_hand()
    path = assets.fetch("text")
    path.write_bytes(damage(b"hello"))
    assert assets.fetch("text").read_bytes() == b"hello"


@pytest.mark.parametrize(
    "damage", [lambda b: b[:-20], lambda b: b[:50] + bytes([b[50] ^ 255]) + b[51:]]
)
def test_a_corrupt_archive_is_never_used(cache, damage):
    by_hand, calls, content = cache
    by_hand(damage(content))
    with pytest.raises(assets.AssetError, match="could not fetch"):
        assets.fetch("text")
    assert len(calls) == 1, "the damaged archive was taken"


def test_what_pip_brings_is_checked(cache, monkeypatch):
    content = cache[2]

    def pip(command, label):
        from pathlib import Path

        (Path(command[-1]) / "thing-1.0.whl").write_bytes(content[:-1])
        return ""

    monkeypatch.setattr(assets, "_run_with_bar", pip)
    with pytest.raises(assets.AssetError):
        assets.fetch("text")
    monkeypatch.setattr(
        assets,
        "_run_with_bar",
        lambda command, label: (
            pip(command, label),
            __import__("pathlib").Path(command[-1], "thing-1.0.whl").write_bytes(content),
        )[0],
    )
    assert assets.fetch("text").read_bytes() == b"hello"


@pytest.mark.parametrize("name", assets.EMBEDDED)
def test_the_real_assets_are_whole(name):
    assert hashlib.sha256(assets.fetch(name).read_bytes()).hexdigest() == assets.ASSETS[name].sha256


def test_pips_progress_becomes_a_bar(tmp_path):
    import sys

    log = assets._run_with_bar(
        [sys.executable, "-c", "print('Progress 1 of 2'); print('Saved it')"], "x"
    )
    assert log == "Saved it"


def test_an_asset_in_several_archives_is_joined_in_order_and_its_terms_are_told(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.setenv("W2S_CACHE", str(tmp_path))
    (tmp_path / "archives").mkdir()
    archives = []
    for name, text in (("one", "he"), ("two", "ll"), ("three", "o")):
        file = tmp_path / "archives" / f"{name}.whl"
        with zipfile.ZipFile(file, "w") as opened:
            opened.writestr("part", text)
            opened.writestr("terms", "be good")
        sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
        archives.append(Archive(f"{name}==1", file.name, sha256, "wheel"))
    first, second, third = archives
    sha256 = hashlib.sha256(b"hello").hexdigest()
    more = ((second, "part"), (third, "part"))
    whole = Asset(first, "part", sha256, more, terms="terms", terms_told="Be good")
    terms = Asset(second, "terms", hashlib.sha256(b"be good").hexdigest())
    wrong_order = Asset(first, "part", sha256, more[::-1])
    monkeypatch.setattr(assets, "ASSETS", {"whole": whole, "terms": terms})
    assert assets.fetch("whole").read_bytes() == b"hello"
    assert capsys.readouterr().out == f"Be good: {tmp_path / 'assets' / 'terms'}\n"
    assert (tmp_path / "assets" / "terms").read_bytes() == b"be good"
    assets.fetch("whole")
    assert capsys.readouterr().out == "", "said when it is fetched"
    monkeypatch.setattr(assets, "ASSETS", {"wrong": wrong_order})
    with pytest.raises(assets.AssetError, match="has not the pinned sha256"):
        assets.fetch("wrong")


@pytest.fixture
def make_folder(tmp_path, monkeypatch):
    """Makes a folder of two files once; keeps count of how often it was made."""
    monkeypatch.setenv("W2S_CACHE", str(tmp_path / "cache"))
    made = []

    def fill(folder):
        made.append(folder)
        (folder / "weights.safetensors").write_bytes(bytes(100))
        (folder / "more").mkdir()
        (folder / "more" / "config.json").write_text("{}")

    def call(**options):
        return assets.make_once("models/one", fill, {"source": "a test"}, **options)

    return call, made


def test_a_folder_is_made_once_and_readable_by_others(make_folder):
    call, made = make_folder
    folder = call()
    assert call() == folder and len(made) == 1
    others = [path.stat().st_mode & 0o044 for path in (folder, *folder.rglob("*.*"))]
    assert set(others) == {0o044}
    assert [path.name for path in folder.parent.iterdir() if path.is_dir()] == [folder.name]


@pytest.mark.parametrize("name", ["weights.safetensors", "more/config.json", "whole.json"])
@pytest.mark.parametrize("how", ["alter", "truncate", "empty", "remove"])
def test_an_altered_folder_is_made_again(name, how, make_folder):
    from .test_store import damage

    call, made = make_folder
    folder = call()
    content = (folder / name).read_bytes()
    with open(folder / "weights.safetensors", "rb") as reader:
        damage(folder / name, how)
        assert call() == folder and len(made) == 2
        assert (folder / name).read_bytes() == content
        # who reads the earlier file meanwhile still has it
        assert len(reader.read()) == 100 or name == "weights.safetensors"
    assert call() == folder and len(made) == 2


def test_a_file_put_into_a_made_folder_is_not_used(make_folder):
    call, made = make_folder
    (call() / "adapter_config.json").write_text("{}")
    assert not (call() / "adapter_config.json").exists() and len(made) == 2


def test_large_files_are_checked_when_they_are_asked_for(make_folder):
    call, made = make_folder
    path = call() / "weights.safetensors"
    path.write_bytes(b"altered".ljust(100))
    assert call(unchecked=("*.safetensors",)) == path.parent and len(made) == 1
    assert call() == path.parent and len(made) == 2 and path.read_bytes() == bytes(100)
    path.write_bytes(b"")
    assert call(unchecked=("*.safetensors",)) == path.parent and len(made) == 3


def test_another_record_is_another_folder(make_folder):
    call, _ = make_folder
    other = assets.make_once("models/one", lambda folder: None, {"source": "another"})
    assert call() != other
