"""Files of models: which count in a digest, and those of the hub's cache are checked."""

import hashlib
import json
import re
import shutil
import warnings

import pytest
import transformers

import w2s_nb as w2s
from tests.common.test_store import damage
from w2s_nb import models
from w2s_nb.common.registry import UnknownName
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
    monkeypatch.setattr(loading.hub, "folder_of", lambda *args, **options: snapshot)
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


def test_a_changed_config_is_read_again_and_loading_changes_none(tiny, tmp_path):
    shutil.copytree(tiny, tmp_path / "copy")
    copy = models.resolve(str(tmp_path / "copy"))
    for layers in (4, 2):
        cut = models.with_depth(models.resolve(f"{tmp_path / 'copy'}@{layers}"))
        assert models.load_lm(cut).config.num_hidden_layers == layers
        assert models.with_depth(copy).layers == 4 and loading.context_of(cut) == 64
    file = tmp_path / "copy" / "config.json"
    file.write_text(file.read_text().replace('"vocab_size": 64', '"vocab_size": 65'))
    with pytest.raises(models.ModelUnavailable, match="has another shape than"):
        models.with_depth(copy)


def test_a_truncated_file_of_weights_is_named(tiny, tmp_path):
    shutil.copytree(tiny, tmp_path / "copy")
    damage(tmp_path / "copy" / "model.safetensors", "truncate")
    with pytest.raises(models.ModelUnavailable, match=r"copy/model\.safetensors"):
        models.with_depth(models.resolve(str(tmp_path / "copy")))


POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"
NOT_THE_FILE = {
    "a git-lfs pointer": (POINTER, "git-lfs pointer.*git lfs pull"),
    "nothing": (b"", "is empty"),
    "a web page": (b"<!DOCTYPE html><html>Sign in</html>", "is a web page"),
    "what torch.save writes": (b"PK\x03\x04" + bytes(100), "is a zip archive.*torch.save"),
    "half of it": (None, "damaged or cut short"),
}
READ_BY_ENSURE = ("config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors")


def spoiled(tiny, folder, change):
    """Returns a copy of a tiny Llama whose files `change` has changed."""
    shutil.copytree(tiny, folder)
    change(folder)
    return str(folder)


def refusal(name):
    """Returns the one line that `ensure` refuses a model with."""
    with pytest.raises((models.ModelUnavailable, ValueError)) as told:
        models.ensure(models.resolve(name))
    assert "\n" not in str(told.value)
    return str(told.value)


@pytest.mark.parametrize("content", NOT_THE_FILE)
@pytest.mark.parametrize("name", READ_BY_ENSURE)
def test_a_file_that_is_not_what_its_name_says_is_named_by_ensure(name, content, tiny, tmp_path):
    other, says = NOT_THE_FILE[content]

    def put(folder):
        whole = (folder / name).read_bytes()
        (folder / name).write_bytes(whole[: len(whole) // 2] if other is None else other)

    said = refusal(spoiled(tiny, tmp_path / "model", put))
    assert re.search(f"model/{name} .*{says}", said), said


def write_config(**fields):
    def change(folder):
        file = folder / "config.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | fields))

    return change


@pytest.mark.parametrize(
    "fields, says",
    [
        ({"num_hidden_layers": 10**6}, "says 1000000 layers; expected 1 to 1000"),
        ({"num_hidden_layers": 0}, "says 0 layers"),
        ({"num_hidden_layers": -1}, "says -1 layers"),
        ({"num_hidden_layers": "4"}, "config.json cannot be read.*num_hidden_layers"),
        ({"num_hidden_layers": None}, "config.json cannot be read.*num_hidden_layers"),
        ({"num_attention_heads": 3}, "config.json cannot be read.*not a multiple"),
        ({"num_attention_heads": 0}, "config.json cannot be read"),
        ({"hidden_act": "nosuch"}, "cannot build the model of .*config.json.*nosuch"),
        ({"dtype": "float17"}, "config.json cannot be read.*float17"),
        ({"hidden_size": 10**9}, "another shape than"),
        ({"quantization_config": {"quant_method": "gptq", "bits": 4}}, "gptq.*quantised weights"),
    ],
)
def test_a_config_that_no_model_can_have_is_refused_in_one_line(fields, says, tiny, tmp_path):
    said = refusal(spoiled(tiny, tmp_path / "model", write_config(**fields)))
    assert re.search(says, said), said


def test_a_config_that_is_no_object_is_refused(tiny, tmp_path):
    def put(folder):
        (folder / "config.json").write_text("[]")

    assert "holds a list; expected fields" in refusal(spoiled(tiny, tmp_path / "model", put))


@pytest.mark.parametrize(
    "index, says",
    [
        ("{", "index.json is damaged"),
        ("{}", "has no weight_map"),
        ('{"weight_map": [1]}', "has no weight_map"),
        ('{"weight_map": {}}', "has no weight_map"),
        ('{"weight_map": {"model.norm.weight": 1}}', "has no weight_map"),
        ('{"weight_map": {"model.norm.weight": []}}', "has no weight_map"),
        (POINTER.decode(), "index.json is a git-lfs pointer"),
    ],
)
def test_an_index_of_files_that_is_none_is_named(index, says, tiny, tmp_path):
    def put(folder):
        (folder / "model.safetensors").rename(folder / "model-00001-of-00001.safetensors")
        (folder / "model.safetensors.index.json").write_text(index)

    assert says in refusal(spoiled(tiny, tmp_path / "model", put))


@pytest.mark.parametrize(
    "name, says",
    [
        ("pytorch_model.bin", "pytorch_model.bin, a format that is not read.*from_pretrained"),
        ("tf_model.h5", "tf_model.h5, a format that is not read"),
        ("model.gguf", "model.gguf; name that file itself"),
        ("model-00001-of-00002.safetensors", "model-00001-of-00002.*copy or download the rest"),
        ("model.safetensors.incomplete", "so no weights"),
    ],
)
def test_weights_in_another_file_are_named_with_what_to_do(name, says, tiny, tmp_path):
    def put(folder):
        (folder / "model.safetensors").rename(folder / name)

    said = refusal(spoiled(tiny, tmp_path / "model", put))
    assert re.search(f"has neither model.safetensors nor .*{says}", said), said
    assert "hf download" not in said, "it is no model of the hub"


def keep(*kept):
    def change(folder):
        for file in folder.iterdir():
            if file.name not in kept:
                file.unlink()

    return change


def put_adapters(folder):
    keep()(folder)
    (folder / "adapter_config.json").write_text('{"base_model_name_or_path": "gpt2"}')


def put_gguf(folder):
    keep()(folder)
    (folder / "tiny.gguf").write_bytes(b"GGUF")


def put_into_folder(folder):
    files = list(folder.iterdir())
    (folder / "checkpoint-500").mkdir()
    for file in files:
        file.rename(folder / "checkpoint-500" / file.name)


def put_dangling_link(folder):
    (folder / "config.json").unlink()
    (folder / "config.json").symlink_to("/nowhere/config.json")


@pytest.mark.parametrize(
    "change, says",
    [
        (put_adapters, "holds adapters for gpt2 .*merge"),
        (put_gguf, r"but tiny\.gguf; name that file itself"),
        (put_into_folder, "its folder checkpoint-500 has one"),
        (put_dangling_link, "links to /nowhere/config.json, which is not there"),
        (keep(), r"without config\.json, empty"),
        (keep("tokenizer.json"), r"without config\.json\)"),
    ],
)
def test_a_folder_without_config_is_refused_with_what_it_holds(change, says, tiny, tmp_path):
    said = refusal(spoiled(tiny, tmp_path / "model", change))
    assert re.search(says, said), said


@pytest.mark.parametrize("name", ["./mymodle", "../here/mymodle", "mymodle", "./mymodle@2"])
def test_a_mistyped_folder_is_no_hub_model_and_near_ones_are_named(
    name, tiny, tmp_path, monkeypatch
):
    shutil.copytree(tiny, tmp_path / "here" / "mymodel")
    monkeypatch.chdir(tmp_path / "here")
    with pytest.raises(UnknownName, match="Near: .*mymodel"):
        models.resolve(name)


def test_a_file_of_a_model_is_refused_with_its_folder(tiny):
    with pytest.raises(UnknownName, match=f"its folder is {tiny}"):
        models.resolve(f"{tiny}/model.safetensors")


def test_a_link_to_a_model_folder_is_that_model(tiny, tmp_path):
    (tmp_path / "link").symlink_to(tiny)
    link, model = models.resolve(str(tmp_path / "link@2")), models.resolve(tiny)
    models.ensure(link)
    assert models.digest(link) == models.digest(model)


@pytest.mark.parametrize("link", ["/nowhere/model.safetensors", "model.safetensors"])
def test_a_dangling_or_circular_link_to_weights_is_named(link, tiny, tmp_path):
    def put(folder):
        (folder / "model.safetensors").unlink()
        (folder / "model.safetensors").symlink_to(link)

    assert "lacks model.safetensors" in refusal(spoiled(tiny, tmp_path / "model", put))


def change_tokenizer(folder, change):
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    change(tokenizer)
    tokenizer.save_pretrained(folder)


def test_a_folder_without_tokenizer_is_refused_by_ensure_and_by_fit(tiny, words, tmp_path):
    path = spoiled(tiny, tmp_path / "model", keep("config.json", "model.safetensors"))
    assert "the folder has none" in refusal(path)
    with pytest.raises(models.ModelUnavailable, match="the folder has none"):
        w2s.fit(path, words.student, method="probe")


def test_a_tokenizer_with_code_of_its_own_is_refused(tiny, tmp_path):
    def put(folder):
        file = folder / "tokenizer_config.json"
        own = {"auto_map": {"AutoTokenizer": ["own.Own", None]}, "tokenizer_class": "Own"}
        file.write_text(json.dumps(json.loads(file.read_text()) | own))

    said = refusal(spoiled(tiny, tmp_path / "model", put))
    assert "code of its own, which is not run" in said and "trust_remote_code" not in said


def test_tokens_added_without_rows_of_the_embedding_are_refused_by_every_verb(
    tiny, words, tmp_path
):
    path = spoiled(
        tiny,
        tmp_path / "model",
        lambda folder: change_tokenizer(folder, lambda t: t.add_tokens(["w98", "w99"])),
    )
    says = r"2 tokens beyond the 64 rows of the embedding, the first 'w98' \(64\), 'w99' \(65\)"
    assert re.search(says, refusal(path))
    for verb in (w2s.fit, w2s.prompt):
        with pytest.raises(models.ModelUnavailable, match=says):
            verb(path, words.student)


def test_a_special_token_without_row_is_refused_where_a_text_has_it(tiny, words, tmp_path):
    path = spoiled(
        tiny,
        tmp_path / "model",
        lambda folder: change_tokenizer(
            folder, lambda t: t.add_special_tokens({"additional_special_tokens": ["<image>"]})
        ),
    )
    models.ensure(models.resolve(path))
    w2s.features(path, ["w1 w2"])
    with pytest.raises(ValueError, match=r"token '<image>' \(64\).*no row; it has 64"):
        w2s.features(path, ["w1 <image> w2"])


def test_an_empty_text_needs_an_end_of_text(tiny, tmp_path):
    def put(folder):
        change_tokenizer(folder, lambda t: setattr(t, "eos_token", None))

    with pytest.raises(ValueError, match="text 1 has no tokens.*eos_token"):
        w2s.features(spoiled(tiny, tmp_path / "model", put), ["w1", ""])


def test_a_tokenizer_that_was_mended_is_read_again(tiny, tmp_path):
    path = spoiled(tiny, tmp_path / "model", lambda folder: None)
    folder = models.folder(models.resolve(path))
    before = models.tokenizer(folder)
    assert models.tokenizer(folder) is before
    change_tokenizer(folder, lambda t: setattr(t, "eos_token", "w7"))
    assert models.tokenizer(folder).eos_token == "w7", "its digest is another one as well"


def test_texts_that_a_tokenizer_does_not_know_are_told(tiny):
    with pytest.warns(UserWarning, match="67% of the tokens .* does not know"):
        w2s.features(tiny, ["w1 dog cat"])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        w2s.features(tiny, ["w1 w2 w3 w4 w5 w6 w7 w8 w9 w10 dog"])
