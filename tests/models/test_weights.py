"""Weights that are not those of the config are refused with their names, before any training."""

import json
import shutil
from pathlib import Path

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

import w2s_nb as w2s
from tests.conftest import save_tiny
from w2s_nb import models

LAST_LAYER = "model.layers.3."


def changed(tiny, folder, change=None, config=None):
    """A copy of a tiny Llama with other tensors, or another configuration."""
    shutil.copytree(tiny, folder)
    if change:
        file = folder / "model.safetensors"
        save_file(change(load_file(file)), file, metadata={"format": "pt"})
    if config:
        file = folder / "config.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | config))
    return str(folder)


def without(start):
    return lambda tensors: {k: v for k, v in tensors.items() if not k.startswith(start)}


def with_further(name, shape):
    return lambda tensors: tensors | {name: torch.zeros(shape)}


def load(path):
    return models.load_lm(models.resolve(path))


@pytest.fixture
def headless(tiny, tmp_path):
    """Returns a folder as a reward model leaves it: a body and a score."""
    return changed(
        tiny,
        tmp_path / "headless",
        lambda tensors: without("lm_head")(tensors) | {"score.weight": torch.zeros(1, 16)},
    )


NOT_WHOLE = {
    "a layer is missing": (without(LAST_LAYER), None, rf"lacks 9 tensors, {LAST_LAYER}"),
    "a norm is missing": (without("model.norm"), None, "lacks model.norm.weight"),
    "the embedding is missing": (without("model.embed"), None, "lacks model.embed_tokens.weight"),
    "other names": (
        lambda tensors: {f"wrong.{name}": tensor for name, tensor in tensors.items()},
        None,
        "lacks 38 tensors.*has no place for 39 tensors, wrong.lm_head.weight",
    ),
    "a config of 6 layers": (None, {"num_hidden_layers": 6}, r"6 layers\): lacks 18 tensors"),
    "a config of 2 layers": (None, {"num_hidden_layers": 2}, "has no place for 18 tensors"),
    "a bias too many": (
        with_further("model.layers.0.self_attn.q_proj.bias", 16),
        None,
        "has no place for model.layers.0.self_attn.q_proj.bias",
    ),
    "another shape": (
        with_further("model.norm.weight", 17),
        None,
        "another shape than model.norm.weight",
    ),
}


@pytest.mark.parametrize("fault", NOT_WHOLE)
def test_weights_that_are_not_those_of_the_config_are_refused_by_every_verb(
    fault, tiny, words, tmp_path
):
    change, config, says = NOT_WHOLE[fault]
    path = changed(tiny, tmp_path / "model", change, config)
    verbs = [
        lambda: models.ensure(models.resolve(path)),
        lambda: load(path),
        lambda: w2s.features(f"{path}@2", ["w1"]),
        lambda: w2s.fit(path, words.student, method="probe"),
        lambda: w2s.fit(path, words.student, method="full"),
        lambda: w2s.prompt(path, words.test),
        lambda: w2s.finetune_lm(path, words.student),
        lambda: w2s.run_arms("words", tiny, path, method="probe", n_train=96, n_val=32, n_test=64),
    ]
    for verb in verbs:
        with pytest.raises(models.ModelUnavailable, match=says):
            verb()
    assert not list(w2s.results().index), "nothing was trained"


def test_a_missing_file_of_several_is_named(tiny, tmp_path):
    path = Path(changed(tiny, tmp_path / "model"))
    load(str(path)).save_pretrained(path, max_shard_size="4KB")
    (path / "model.safetensors").unlink()
    assert models.ensure(models.resolve(str(path))) is None
    shard = sorted(path.glob("*.safetensors"))[1]
    shard.unlink()
    with pytest.raises(models.ModelUnavailable, match=f"lacks {shard.name}"):
        models.ensure(models.resolve(str(path)))


def test_an_index_that_names_a_file_outside_of_its_folder_is_refused(tiny, tmp_path):
    path = Path(changed(tiny, tmp_path / "model"))
    (path / "model.safetensors").rename(path / "other.safetensors")
    index = {"metadata": {}, "weight_map": {"model.norm.weight": "../secret.safetensors"}}
    (path / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(models.ModelUnavailable, match="../secret.safetensors', outside"):
        models.ensure(models.resolve(str(path)))


def test_a_folder_with_adapters_is_refused(tiny, tmp_path):
    path = changed(tiny, tmp_path / "model")
    (Path(path) / "adapter_config.json").write_text("{}")
    with pytest.raises(models.ModelUnavailable, match="adapters .*merge"):
        models.ensure(models.resolve(path))


@pytest.mark.parametrize(
    "rename",
    [
        lambda name: f"_orig_mod.{name}",
        lambda name: f"module.{name}",
        lambda name: f"module._orig_mod.{name}",
        lambda name: name.replace("layers.1.", "layers.1._orig_mod."),
        lambda name: name.replace(
            "model.", "model._fsdp_wrapped_module._checkpoint_wrapped_module."
        ),
    ],
)
def test_prefixes_of_wrappers_are_taken_off_and_said(rename, tiny, tmp_path):
    path = changed(
        tiny, tmp_path / "model", lambda tensors: {rename(k): v for k, v in tensors.items()}
    )
    with pytest.warns(UserWarning, match="prefix .*(_orig_mod|module).*read without it"):
        models.ensure(models.resolve(path))
    expected = load(tiny).state_dict()
    for name, tensor in load(path).state_dict().items():
        torch.testing.assert_close(tensor, expected[name], atol=0, rtol=0)


def test_what_is_loaded_does_not_depend_on_torchs_generator(any_tiny, headless):
    for path in (any_tiny, headless):
        states = []
        for seed in (0, 1):
            torch.manual_seed(seed)
            states.append(load(path).state_dict())
        for name, tensor in states[0].items():
            torch.testing.assert_close(tensor, states[1][name], atol=0, rtol=0, equal_nan=True)


def test_comparing_weights_leaves_torchs_generator_as_it_is(tiny, headless):
    torch.manual_seed(0)
    before = torch.get_rng_state()
    models.ensure(models.resolve(headless))
    assert torch.equal(torch.get_rng_state(), before)


def test_old_masks_and_rotary_frequencies_in_a_file_are_passed_over(tiny, tmp_path):
    further = {
        "model.layers.0.self_attn.rotary_emb.inv_freq": torch.zeros(2),
        "model.layers.0.attention.masked_bias": torch.zeros(()),
    }
    path = changed(tiny, tmp_path / "model", lambda tensors: tensors | further)
    models.ensure(models.resolve(path))


def test_a_folder_without_unembedding_is_probed_as_with_it(tiny, headless):
    ours, whole = (w2s.features(path, ["w1 w2", "w3"]) for path in (headless, tiny))
    assert (ours[4] == whole[4]).all()


@pytest.mark.parametrize("method", ["full", "lora", "top"])
def test_without_unembedding_the_head_starts_at_zero_and_it_is_said(method, headless, words):
    with pytest.warns(UserWarning, match="no unembedding; the head starts at zero"):
        fit = w2s.fit(headless, words.student, method=method, lr=0.0, head_lr=0.0, epochs=1)
    assert (fit.predict(words.test) == 0.5).all()
    assert fit.record["config"]["hyperparameters"]["head_init"] == "zero"
    with pytest.raises(models.ModelUnavailable, match="head_init 'unembedding' needs"):
        w2s.fit(headless, words.student, method=method, head_init="unembedding")


def test_what_predicts_tokens_refuses_a_folder_without_unembedding(headless, words):
    verbs = [
        lambda: w2s.prompt(headless, words.test),
        lambda: w2s.finetune_lm(headless, words.student),
        lambda: w2s.run_generative("words", headless, headless, n_train=96, n_val=32, n_test=64),
    ]
    for verb in verbs:
        with pytest.raises(models.ModelUnavailable, match="needs a model's unembedding"):
            verb()


def test_a_classifiers_own_folder_is_read_as_its_body(tiny, tmp_path):
    body = transformers.AutoModel.from_pretrained(tiny)
    shutil.copytree(tiny, tmp_path / "body")
    body.save_pretrained(tmp_path / "body")  # names without the prefix `model.`
    ours, whole = (w2s.features(str(path), ["w1 w2"]) for path in (tmp_path / "body", tiny))
    assert (ours[4] == whole[4]).all()


def test_a_tied_unembedding_is_not_missing(tmp_path):
    config = transformers.LlamaConfig(
        vocab_size=64,
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=4,
        num_attention_heads=4,
        tie_word_embeddings=True,
    )
    path = save_tiny(tmp_path / "tied", config=config)
    assert "lm_head.weight" not in load_file(f"{path}/model.safetensors")
    assert not models.loading.lacks_unembedding(models.resolve(path))


@pytest.mark.parametrize("kind", [torch.int8, torch.float8_e4m3fn])
def test_weights_that_are_no_floating_point_numbers_are_refused(kind, tiny, tmp_path):
    path = changed(
        tiny,
        tmp_path / "model",
        lambda tensors: {k: v.to(kind) if v.ndim > 1 else v for k, v in tensors.items()},
    )
    with pytest.raises(models.ModelUnavailable, match="lm_head.weight as .*quantised"):
        models.ensure(models.resolve(path))


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf")])
def test_weights_that_are_no_numbers_are_named_before_training(number, tiny, words, tmp_path):
    name = "model.layers.2.mlp.up_proj.weight"

    def put(tensors):
        tensors[name][3, 3] = number
        return tensors

    path = changed(tiny, tmp_path / "model", put)
    for method in ("probe", "full"):
        with pytest.raises(models.ModelUnavailable, match=f"{name} hold NaN or infinity"):
            w2s.fit(path, words.student, method=method)
