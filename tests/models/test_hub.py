"""Hub models: what the cache holds is used without the hub; what is not there is said at once."""

import shutil
from types import SimpleNamespace

import huggingface_hub
import pytest

from w2s_nb import models
from w2s_nb.common.registry import UnknownName
from w2s_nb.models import hub

COMMIT = "c" * 40
NAME = "someone/tiny"
PINNED = f"{NAME}:{COMMIT}"
WHOLE = ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json")


@pytest.fixture
def cached(tiny, tmp_path, monkeypatch):
    """Puts a tiny model into a hub cache; returns its folder there."""
    repository = tmp_path / "hub" / "models--someone--tiny"
    shutil.copytree(tiny, repository / "snapshots" / COMMIT)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(COMMIT)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    for remembered in (hub.folder_of, hub._commit, hub._ask):
        remembered.cache_clear()
    return repository / "snapshots" / COMMIT


@pytest.fixture
def asked(monkeypatch):
    """Puts a hub of given files in the place of the hub; returns them and what it was asked."""
    state = SimpleNamespace(files=None, questions=[])

    def model_info(self, hub_id, *, revision, timeout):
        state.questions.append((hub_id, revision))
        if state.files is None:
            raise ConnectionError("no network")
        return SimpleNamespace(
            sha=COMMIT, siblings=[SimpleNamespace(rfilename=name) for name in state.files]
        )

    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", model_info)
    return state


def test_a_whole_cache_at_a_commit_is_used_without_asking_the_hub(cached, asked):
    models.ensure(models.resolve(PINNED))
    assert models.folder(models.resolve(PINNED)) == cached
    assert asked.questions == []


def test_without_network_the_hub_is_asked_once_for_what_main_is_now(cached, asked):
    models.ensure(models.resolve(NAME))
    assert models.folder(models.resolve(NAME)) == cached
    assert asked.questions == [(NAME, None)]


@pytest.mark.parametrize("name", [NAME, PINNED])
@pytest.mark.parametrize("lacking", ["model.safetensors", "tokenizer.json"])
def test_half_a_cache_without_network_is_refused_at_once(name, lacking, cached, asked):
    (cached / lacking).unlink()
    said = f"in part, without {lacking.removesuffix('.json')}.*ConnectionError.*Ways out"
    with pytest.raises(models.ModelUnavailable, match=said):
        models.ensure(models.resolve(name))
    assert len(asked.questions) <= 3


def test_half_a_cache_is_enough_where_the_hub_has_the_rest(cached, asked):
    (cached / "model.safetensors").unlink()
    asked.files = WHOLE
    models.ensure(models.resolve(PINNED))


@pytest.mark.parametrize(
    "files, says",
    [
        (("config.json", "pytorch_model.bin", "tokenizer.json"), "but pytorch_model.bin, a format"),
        (("adapter_config.json", "adapter_model.safetensors"), "has adapters.*merge"),
        (("README.md", "tiny.Q4_K_M.gguf"), "but tiny.Q4_K_M.gguf; name that file"),
        (("config.json", "model.safetensors"), "has no tokenizer"),
        (("model.safetensors", "tokenizer.json"), r"has no config\.json"),
        ((), "so no weights"),
    ],
)
def test_a_repository_that_is_no_model_is_refused_by_its_files(
    files, says, cached, asked, monkeypatch
):
    monkeypatch.setattr(hub, "hf_hub_download", None)
    shutil.rmtree(cached)
    asked.files = files
    with pytest.raises(models.ModelUnavailable, match=f"{NAME}.*{says}") as told:
        models.ensure(models.resolve(NAME))
    assert "\n" not in str(told.value)


def test_a_damaged_config_in_the_cache_is_named(cached, asked):
    (cached / "config.json").write_bytes(b"")
    with pytest.raises(models.ModelUnavailable, match=r"config\.json is empty"):
        models.ensure(models.resolve(PINNED))


def test_a_hub_id_that_could_be_a_mistyped_folder_names_those_that_are_here(
    tiny, tmp_path, asked, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(tiny, tmp_path / "saved" / "mymodel")
    with pytest.raises(models.ModelUnavailable, match=r"No folder saved/mymodle.*saved/mymodel\."):
        models.ensure(models.resolve("saved/mymodle"))


@pytest.mark.parametrize(
    "name, says",
    [
        ("Qwen/qwen2.5-7b", r"other capitals.*Near: Qwen/Qwen2\.5-7B"),
        ("https://huggingface.co/Qwen/Qwen2.5-7B", r"web address.*Near: Qwen/Qwen2\.5-7B"),
        ("GPT2", "Near: gpt2"),
        ("x" * 5000, "unknown model"),
        ("owner/" + "y" * 5000, "unknown model"),
    ],
)
def test_names_that_are_nearly_one_of_the_hub_are_refused_with_it(name, says):
    with pytest.raises(UnknownName, match=says) as told:
        models.resolve(name)
    assert len(str(told.value)) < 2000
