"""Tests that the default learning rate is that of what a model is, whatever it is called."""

import json
import shutil
import warnings

import pytest
import transformers

import w2s_nb as w2s
from w2s_nb import models
from w2s_nb.common.registry import MODELS
from w2s_nb.models import loading
from w2s_nb.models.names import EncoderSpec, learning_rate
from w2s_nb.notebook.setup import Run
from w2s_nb.training.language_model import finetune_lm

PYTHIA = dict(vocab_size=50304, hidden_size=512, intermediate_size=2048, num_attention_heads=8)
QWEN = dict(vocab_size=152064, hidden_size=3584, intermediate_size=18944, num_attention_heads=28)
SMOLLM = dict(vocab_size=49152, hidden_size=576, intermediate_size=1536, num_attention_heads=9)
CONFIGS = {
    "gpt2": transformers.GPT2Config(),
    "gpt2-xl": transformers.GPT2Config(n_embd=1600, n_layer=48, n_head=25),
    "pythia-70m": transformers.GPTNeoXConfig(num_hidden_layers=6, **PYTHIA),
    "Qwen2.5-7B": transformers.Qwen2Config(num_hidden_layers=28, num_key_value_heads=4, **QWEN),
    "SmolLM2-135M-base": transformers.LlamaConfig(
        num_hidden_layers=30, num_key_value_heads=3, tie_word_embeddings=True, **SMOLLM
    ),
}


def rate(name):
    """Returns the learning rate of a model by name, read without its weights."""
    return loading.with_learning_rate(models.resolve(str(name))).lr


@pytest.mark.parametrize("alias", CONFIGS)
def test_a_model_has_one_rate_whatever_the_form_of_its_name(alias, tmp_path, monkeypatch):
    spec = MODELS[alias]
    folder = tmp_path / "any name"
    CONFIGS[alias].save_pretrained(folder)  # no weights
    monkeypatch.setattr(loading.hub, "folder_of", lambda *_, **__: folder)
    names = (alias, f"{alias}@2", spec.hub_id, f"{spec.hub_id}:main", f"{spec.hub_id}:main@2")
    names += (folder, f"{folder}@2", "someone/copy-of-it", "someone/copy-of-it:v2")
    assert {str(name): rate(name) for name in names} == dict.fromkeys(map(str, names), spec.lr)


def test_rates_of_known_models_follow_their_size_with_four_exceptions():
    # encoders are never finetuned
    others = [s for s in MODELS.values() if not s.folder and not isinstance(s, EncoderSpec)]
    exceptions = {
        spec.name for spec in others if learning_rate("unknown", 0, spec.n_params)[0] != spec.lr
    }
    assert exceptions == {"SmolLM2-135M", "SmolLM2-135M-base", "SmolLM2-360M", "SmolLM2-1.7B"}


@pytest.mark.parametrize(
    "n_params, expected",
    [(2e6, 5e-4), (3e7, 1e-4), (1.3e8, 5e-5), (5e8, 3e-5), (1e9, 1e-5), (7e10, 1e-5)],
)
def test_an_unknown_model_has_the_rate_of_its_size(n_params, expected):
    assert learning_rate("llama", 5, int(n_params))[0] == expected


def test_a_fallback_is_told_with_the_rate_and_a_chosen_one_is_not(tiny, words):
    def warned(**options):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            fit = w2s.fit(tiny, words.student, epochs=1, **options)
        return fit, [str(w.message) for w in caught if "learning rate" in str(w.message)]

    fit, (told,) = warned(method="lora")
    assert "llama" in told and "4 layers" in told and "0.005" in told and "\n" not in told
    assert fit.record["summary"]["lr"] == 0.005
    assert warned(method="lora", lr=0.01)[1] == []
    assert warned(method="probe")[1] == []


def test_a_finetuned_model_has_the_rate_of_the_model_that_it_started_from(tmp_path, words, tiny):
    folder = tmp_path / "tiny"
    shutil.copytree(tiny, folder)
    (folder / "pretraining.json").write_text(json.dumps({"finetuning_lr": 7e-4}))
    first = w2s.fit(str(folder), words.student, method="top", epochs=1, keep_weights=True)
    second = w2s.fit(first.name, words.student, method="top", epochs=1)
    assert first.record["summary"]["lr"] == second.record["summary"]["lr"] == 7e-4


def test_the_rate_stands_in_results_and_in_what_a_notebook_says_of_its_run(words, tiny):
    w2s.fit("SmolLM2-135M@1", words.student, method="top", epochs=1)
    w2s.fit("SmolLM2-135M@1", words.student, method="probe", epochs=1)
    finetune_lm("SmolLM2-135M@1", words.student, method="lora", held_out=2)
    rates = w2s.results().set_index("method").lr
    assert (
        rates["top"] == 3e-4
        and rates["lora"] == pytest.approx(3e-3)
        and rates[["probe"]].isna().all()
    )
    parameters = dict(task="words", weak="SmolLM2-135M@4", strong=tiny, method="top")
    facts = Run("a", parameters).describe()["this run"]
    assert facts["learning rate"] == f"0.0003 (SmolLM2-135M@4), 0.0005 by size ({tiny})"
    assert "learning rate" not in Run("a", parameters | {"method": "probe"}).describe().index
