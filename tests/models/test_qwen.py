"""The original Qwen series: logits of its published equations, ids of its published vocabulary."""

import base64
import json
import shutil
import unicodedata
from itertools import pairwise
from pathlib import Path

import huggingface_hub
import pytest
import regex
import torch
from safetensors.torch import load_file, save_file

import w2s_nb as w2s
from tests.inputs import test_features
from tests.models import test_models
from tests.training import test_fit
from w2s_nb import models
from w2s_nb.common.registry import MODELS
from w2s_nb.models import loading

from .original_qwen import SPLIT, save_original_qwen

IDS = [39, 68, 507, 78, 0, 16, 17, 831, 555, 0, 294, 220]
TEXTS = {
    "digits": "In 2024 there were 12345 of them, 3.14 each",
    "english": "They've seen the lazy dog; I'd say it's OK!",
    "chinese": "今天我们去公园，天气很好。",
    "persian": "امروز به پارک می‌رویم؛ هوا خوب است.",
    "arabic": "اليوم الطقس جميل",
    "cyrillic": "Сегодня хорошая погода",
    "marks": "cafe\u0301 and A\u030a, \u1e9b\u0323",
    "hangul": "\u1112\u1161\u11ab\u1100\u1173\u11af",
    "emoji": "🎉😀 family 👨‍👩‍👧 flag 🇮🇷",
    "code": "def f(x):\n\treturn  x[0] ** 2\n\n\n",
    "space": "  two  spaces\r\n \n end ",
    "control": "\x00\x07 null",
    "empty": "",
}


@pytest.fixture(scope="session")
def shared(tmp_path_factory):
    """Returns a folder that all tests share."""
    return tmp_path_factory.mktemp("qwen")


@pytest.fixture(autouse=True)
def tokenizers(shared, monkeypatch):
    """Returns the folder where converted tokenizers are kept."""
    monkeypatch.setenv("W2S_CACHE", str(shared / "cache"))
    return shared / "cache" / "tokenizers"


@pytest.fixture(scope="session")
def original(shared):
    """Returns the path of a tiny original Qwen, with remote code that must not run."""
    path = save_original_qwen(shared / "original")
    for part in ("configuration", "modeling", "tokenization"):
        (shared / "original" / f"{part}_qwen.py").write_text("raise SystemExit('remote code ran')")
    return path


def weights_of(path):
    index = json.loads((path / "model.safetensors.index.json").read_text())
    return {
        name: tensor
        for shard in set(index["weight_map"].values())
        for name, tensor in load_file(path / shard).items()
    }


def published(path, ids, layers=None, **changed):
    """Computes logits (t, vocabulary) by the equations of the technical report.

    They are RMSNorm, rotary positions, SwiGLU, and an unembedding that is not tied.
    """
    config = json.loads((path / "config.json").read_text()) | changed
    w = weights_of(path)
    heads = config["num_attention_heads"]
    head_dim = config["kv_channels"]
    t = len(ids)

    def norm(x, name):
        scale = (x.pow(2).mean(-1, keepdim=True) + config["layer_norm_epsilon"]).sqrt()
        return x / scale * w[f"{name}.weight"]

    def rotated(x):
        """Turns the pairs (j, j + head_dim / 2) by position * base^(-2 j / head_dim)."""
        half = head_dim // 2
        speed = config["rotary_emb_base"] ** (-2 * torch.arange(half) / head_dim)
        angle = torch.arange(t)[:, None] * speed
        first, second = x[..., :half], x[..., half:]
        turned_first = first * angle.cos() - second * angle.sin()
        turned_second = first * angle.sin() + second * angle.cos()
        return torch.cat([turned_first, turned_second], -1)

    x = w["transformer.wte.weight"][ids]
    for i in range(layers or config["num_hidden_layers"]):
        at = f"transformer.h.{i}"
        qkv = norm(x, f"{at}.ln_1") @ w[f"{at}.attn.c_attn.weight"].T + w[f"{at}.attn.c_attn.bias"]
        q, k, v = (
            part.view(t, heads, head_dim).transpose(0, 1)
            for part in qkv.split(config["hidden_size"], 1)
        )
        scores = rotated(q) @ rotated(k).transpose(1, 2) / head_dim**0.5
        future = torch.ones(t, t, dtype=torch.bool).triu(1)
        mixed = scores.masked_fill(future, -torch.inf).softmax(-1) @ v
        x = x + mixed.transpose(0, 1).reshape(t, -1) @ w[f"{at}.attn.c_proj.weight"].T
        y = norm(x, f"{at}.ln_2")
        gate = y @ w[f"{at}.mlp.w2.weight"].T
        gated = y @ w[f"{at}.mlp.w1.weight"].T * gate * gate.sigmoid()
        x = x + gated @ w[f"{at}.mlp.c_proj.weight"].T
    return norm(x, "transformer.ln_f") @ w["lm_head.weight"].T


@torch.no_grad()
@pytest.mark.parametrize(
    "changed", [{}, {"rotary_emb_base": 50}, {"layer_norm_epsilon": 0.1}, {"seed": 1, "layers": 1}]
)
def test_logits_are_those_of_the_published_equations(changed, tmp_path):
    path = save_original_qwen(tmp_path, **changed)
    logits = models.load_lm(models.resolve(path))(torch.tensor([IDS])).logits[0]
    torch.testing.assert_close(logits, published(tmp_path, IDS), atol=1e-4, rtol=0)
    for other in ({"rotary_emb_base": 1000}, {"layer_norm_epsilon": 1e-2}):
        assert (published(tmp_path, IDS, **other) - logits).abs().max() > 1e-2, (
            "the test could not fail"
        )


@torch.no_grad()
def test_a_cut_in_depth_is_the_first_layers_of_the_published_equations(original, shared):
    cut = models.load_lm(models.resolve(f"{original}@2"))
    expected = published(shared / "original", IDS, layers=2)
    torch.testing.assert_close(cut(torch.tensor([IDS])).logits[0], expected, atol=1e-4, rtol=0)
    block = 3 * 17 * 16 + 16 * 16 + 3 * 24 * 16 + 2 * 16
    assert models.n_params(models.resolve(f"{original}@2")) == 832 * 16 + 2 * block + 16


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("extra", [0, 5])
def test_prediction_is_unchanged_by_padding(original, side, extra):
    test_models.test_prediction_is_unchanged_by_padding(original, side, extra)


@pytest.mark.parametrize(
    "test",
    [
        test_models.test_prediction_is_unchanged_by_batch_and_order,
        test_models.test_the_word_with_id_0_is_read,
        test_models.test_pooling_takes_the_last_token_of_the_mask,
        test_models.test_cut_in_depth_is_the_first_layers,
        test_models.test_features_are_those_of_the_cut_model,
        test_models.test_compact_embedding_trains_as_the_whole_table,
        test_models.test_lora_trains_adapters_and_head_only,
        test_models.test_swapping_a_pair_gives_the_complement,
    ],
    ids=lambda test: test.__name__,
)
def test_it_passes_the_tests_of_the_other_architectures(test, original):
    test(original)


def test_top_layers_over_the_trunk_equal_the_whole_model(original):
    test_models.test_top_layers_over_the_trunk_equal_the_whole_model(original, 3)


def test_the_head_starts_as_the_unembedding_rows_of_0_and_1(original, shared):
    rows = weights_of(shared / "original")["lm_head.weight"]
    torch.testing.assert_close(test_models.classifier(original).head.weight.data, rows[[15, 16]])


@pytest.mark.parametrize(
    "method, options",
    [
        ("full", dict(lr=3e-3)),
        ("lora", dict(lr=1e-2)),
        ("top", dict(lr=1e-2, top_layers=2)),
        ("probe", {}),
    ],
)
def test_every_method_learns(method, options, words, original):
    test_fit.test_every_method_learns_both_kinds_of_task(method, options, "words", words, original)


@pytest.mark.parametrize("method", ["full", "lora", "top"])
def test_a_finetuned_model_is_what_its_fit_predicted(method, words, original):
    test_features.test_a_finetuned_models_features_are_what_its_own_head_saw(
        method, original, words
    )


def encoded(path, text):
    """Returns a text's ids by the definition of byte-pair encoding: merge the pair of lowest rank.

    The text has no special tokens.
    """
    lines = [line.split() for line in (path / "qwen.tiktoken").read_bytes().splitlines()]
    ranks = {base64.b64decode(token): int(rank) for token, rank in lines}
    ids = []
    for piece in regex.findall(SPLIT, unicodedata.normalize("NFC", text)):
        parts = [bytes([b]) for b in piece.encode()]
        while pairs := [
            (ranks[a + b], i) for i, (a, b) in enumerate(pairwise(parts)) if a + b in ranks
        ]:
            _, i = min(pairs)
            parts[i : i + 2] = [parts[i] + parts[i + 1]]
        ids += [ranks[part] for part in parts]
    return ids


@pytest.mark.parametrize("kind", TEXTS)
def test_token_ids_are_those_of_byte_pair_encoding(kind, original, shared):
    tok, text = models.tokenizer(shared / "original"), TEXTS[kind]
    ids = tok(text)["input_ids"]
    assert ids == encoded(shared / "original", text)
    assert tok.decode(ids) == unicodedata.normalize("NFC", text)


def test_digits_are_tokens_and_special_tokens_are_read(original, shared):
    tok = models.tokenizer(shared / "original")
    assert tok.convert_ids_to_tokens(tok("year 2024")["input_ids"])[-4:] == ["2", "0", "2", "4"]
    assert tok.eos_token_id == tok.pad_token_id == 556 and len(tok) == 556 + 208
    assert tok.convert_tokens_to_ids(
        ["<|im_start|>", "<|im_end|>", "<|extra_0|>", "<|extra_204|>"]
    ) == [557, 558, 559, 763]
    inside = tok("<|im_start|>user 1<|endoftext|>")["input_ids"]
    assert inside == [557, *encoded(shared / "original", "user 1"), 556]
    assert tok.decode(inside, skip_special_tokens=True) == "user 1"


def test_a_vocabulary_is_converted_once(tokenizers, tmp_path, monkeypatch):
    from w2s_nb.models import qwen

    path = save_original_qwen(tmp_path / "model")
    first, before = models.tokenizer(tmp_path / "model"), set(tokenizers.iterdir())
    monkeypatch.setattr(qwen, "_Converter", None)  # would raise if called
    shutil.copytree(path, tmp_path / "copy")
    assert (
        models.tokenizer(tmp_path / "copy")("今天 12")["input_ids"] == first("今天 12")["input_ids"]
    )
    assert set(tokenizers.iterdir()) == before and {p.suffix for p in before} == {"", ".lock"}


def test_a_fast_tokenizer_in_the_folder_is_used(original, shared, tmp_path):
    shutil.copytree(original, tmp_path / "model")
    (tmp_path / "model" / "qwen.tiktoken").unlink()
    models.tokenizer(shared / "original").backend_tokenizer.save(
        str(tmp_path / "model" / "tokenizer.json")
    )
    tok = models.tokenizer(tmp_path / "model")
    assert (
        tok("dog 1")["input_ids"] == encoded(shared / "original", "dog 1")
        and tok.eos_token_id == 556
    )


@pytest.mark.parametrize("content", [b"IQ== 0\nIg== 2\n", b"IQ== 0\nIg== 0\n", b"IQ==\n", b"{}"])
def test_a_vocabulary_of_another_form_is_refused(content, tmp_path):
    save_original_qwen(tmp_path, layers=1)
    (tmp_path / "qwen.tiktoken").write_bytes(content)
    with pytest.raises(models.ModelUnavailable, match="tokenizer cannot be loaded"):
        models.tokenizer(tmp_path)


def test_a_folder_without_a_vocabulary_names_the_file(tmp_path):
    save_original_qwen(tmp_path, layers=1)
    (tmp_path / "qwen.tiktoken").unlink()
    with pytest.raises(models.ModelUnavailable, match="has none .*qwen.tiktoken"):
        models.tokenizer(tmp_path)


@pytest.mark.parametrize(
    "changed, says",
    [
        ({"rotary_pct": 0.25}, "rotary_pct 0.25"),
        ({"no_bias": False}, "no_bias False"),
        ({"kv_channels": 8}, "not 4"),
        ({"tie_word_embeddings": True}, "tie_word"),
        ({"quantization_config": {"bits": 4}}, "quantization_config"),
    ],
)
def test_a_configuration_that_qwen2_cannot_express_is_refused(changed, says, tmp_path):
    path = save_original_qwen(tmp_path, layers=1, **changed)
    with pytest.raises((models.ModelUnavailable, ValueError), match=says):
        models.load_lm(models.resolve(path))


def test_a_configuration_without_its_context_is_refused(tmp_path):
    path = save_original_qwen(tmp_path, layers=1)
    config = json.loads((tmp_path / "config.json").read_text())
    del config["seq_length"]
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(models.ModelUnavailable, match="without seq_length"):
        models.with_depth(models.resolve(path))


def test_the_context_is_the_length_trained_on(tmp_path):
    path = save_original_qwen(tmp_path, seq_length=32)
    assert w2s.features(path, ["1" * 32])[4].shape == (1, 16)
    with pytest.raises(ValueError, match="33 tokens; .* takes 32"):
        w2s.features(path, ["1" * 33])


def test_a_checkpoint_with_missing_weights_is_refused(tmp_path):
    path = save_original_qwen(tmp_path)
    shard = tmp_path / "model-00002-of-00002.safetensors"
    tensors = load_file(shard)
    del tensors["transformer.h.3.mlp.w1.weight"]
    save_file(tensors, shard, metadata={"format": "pt"})
    with pytest.raises(models.ModelUnavailable, match="model.layers.3.mlp.up_proj.weight"):
        models.load_lm(models.resolve(path))


def test_pickled_weights_are_not_read(tmp_path):
    path = save_original_qwen(tmp_path)
    for k, shard in enumerate(sorted(tmp_path.glob("*.safetensors")), start=1):
        shard.rename(tmp_path / f"pytorch_model-{k:05}-of-00002.bin")
    with pytest.raises(models.ModelUnavailable, match="lacks model-00001-of-00002.safetensors"):
        models.ensure(models.resolve(path))


def test_a_model_that_transformers_saved_is_read_again(original, tmp_path):
    lm = models.load_lm(models.resolve(original))
    lm.save_pretrained(tmp_path)
    again = models.load_lm(models.resolve(str(tmp_path)))
    assert all(torch.equal(a, b) for a, b in zip(lm.parameters(), again.parameters()))


def test_digest_follows_the_vocabulary(original, tmp_path):
    shutil.copytree(original, tmp_path / "copy")
    same = models.digest(models.resolve(str(tmp_path / "copy")))
    assert same == models.digest(models.resolve(original))
    (tmp_path / "copy" / "qwen.tiktoken").write_bytes(
        (tmp_path / "copy" / "qwen.tiktoken").read_bytes()[:-8]
    )
    assert models.digest(models.resolve(str(tmp_path / "copy"))) != same


@pytest.fixture
def hub(shared, original, tmp_path, monkeypatch):
    """Makes a hub cache of Qwen-7B at its pinned revision, with the tiny model's files."""
    revision = MODELS["Qwen-7B"].revision
    repository = tmp_path / "hub" / "models--Qwen--Qwen-7B"
    shutil.copytree(original, repository / "snapshots" / revision)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    yield revision
    loading.hub.folder_of.cache_clear()


@torch.no_grad()
def test_the_hub_cache_is_read(hub, original, shared):
    checkpoint = models.with_depth(models.resolve("Qwen-7B@2"))
    models.ensure(checkpoint)
    assert models.digest(checkpoint) != hub[:16], "how the weights are read is part of it"
    assert checkpoint.full_layers == 4
    logits = models.load_lm(checkpoint)(torch.tensor([IDS])).logits[0]
    torch.testing.assert_close(
        logits, published(shared / "original", IDS, layers=2), atol=1e-4, rtol=0
    )
    assert len(models.tokenizer(models.folder(checkpoint))) == 764


def test_the_vocabulary_is_among_what_is_downloaded():
    from fnmatch import fnmatch

    files = [
        "config.json",
        "model-00001-of-00008.safetensors",
        "model.safetensors.index.json",
        "qwen.tiktoken",
    ]
    assert all(any(fnmatch(name, pattern) for pattern in loading.hub._WANTED) for name in files)


def test_a_notebook_runs_with_an_original_checkpoint(tmp_path, monkeypatch):
    import papermill

    monkeypatch.setenv("PLOTLY_RENDERER", "plotly_mimetype")
    monkeypatch.delenv("W2S_CACHE")  # of the embedded texts
    path = save_original_qwen(tmp_path / "tiny", seq_length=512)
    papermill.execute_notebook(
        Path(__file__).resolve().parents[2] / "notebooks" / "03_conf_loss.ipynb",
        tmp_path / "out.ipynb",
        kernel_name="python3",
        progress_bar=False,
        cwd=tmp_path,
        parameters={
            "weak": f"{path}@1",
            "strong": str(path),
            "n_train": 40,
            "n_val": 20,
            "n_test": 40,
            "table_seeds": 1,
            "results": str(tmp_path / "out.json"),
        },
    )
    table = json.loads((tmp_path / "out.json").read_text())["table"]
    assert [row["model"] for row in table] == [f"{path}@1", *[str(path)] * 3]
