"""On CUDA, the model that a fit's name loads computes what its training predicted.

The path is emulated on the CPU: autocast to bf16, and LoRA's frozen weights in bf16.
"""

import sys

import numpy as np
import pytest
import torch

import w2s_nb as w2s
from tests.conftest import register_words, save_tiny
from tests.training.test_answers import register_last_word
from w2s_nb import models
from w2s_nb.inputs import activations
from w2s_nb.models import anatomy, decoding, loading
from w2s_nb.prompting.prompt import answer_log_probs
from w2s_nb.training.language_model import finetune_lm
from w2s_nb.training.rewards import rewards

# LoRA moves weights by less than half a step of bf16, the others by about a step
RATES = {"lora": 3e-4, "full": 1e-3, "top": 1e-3}
QUICK = dict(epochs=1, held_out=20)


@pytest.fixture(autouse=True)
def emulated_cuda(monkeypatch):
    """Makes every module compute as on CUDA, on the CPU."""
    for name, module in list(sys.modules.items()):
        if name.startswith("w2s_nb") and "precision" in vars(module):
            monkeypatch.setattr(module, "precision", lambda: "bf16")
    # it would compile a kernel for every shape
    monkeypatch.setattr(torch.backends.mkldnn, "enabled", False)


@pytest.fixture
def few():
    """Loads the task `words` with very small splits: matrix products in bf16 are slow on a CPU."""
    register_words()
    return w2s.load_task("words", n_train=40, n_val=20, n_test=30)


@pytest.fixture(params=["llama", "gpt2"])
def path(request, tmp_path):
    return save_tiny(tmp_path / "model", request.param)


def train(model, split, method, seed=0, **changes):
    options = dict(lr=RATES[method], stop="last", top_layers=2, keep_weights=True, seed=seed)
    return w2s.fit(model, split, method=method, **options | changes)


def log_odds(fit, split):
    p1 = fit.predict(split)[:, 1].astype(np.float64)
    return np.log(p1) - np.log1p(-p1)


def by_name(fit, split):
    """Returns the log-odds (n,) of a fit's head on features of the model that its name loads."""
    states = w2s.features(fit.name, split, dtype="float32")[4].astype(np.float64)
    head = fit.weights()["head.weight"].numpy()
    return states @ (head[1] - head[0])


@pytest.mark.parametrize("method", ["lora", "full", "top"])
def test_the_named_model_gives_what_its_fit_predicted(method, path, few):
    fit = train(path, few.student, method)
    np.testing.assert_allclose(by_name(fit, few.test), log_odds(fit, few.test), atol=2e-5)
    scores = rewards(fit, few.test)[:, 0]
    # features are stored in float16, whose steps are finer than those of bf16
    np.testing.assert_allclose(scores, log_odds(fit, few.test), atol=5e-3)


@pytest.mark.parametrize(
    "methods",
    [("lora", "lora", "lora"), ("lora", "full", "lora"), ("top", "lora", "top")],
    ids="-".join,
)
def test_a_fit_on_top_of_fits_is_what_it_predicted_too(methods, few, tiny):
    """Adapters of earlier fits stay beside the weights, and later training leaves them alone."""
    name, adapters = tiny, {}
    for seed, method in enumerate(methods):
        fit = train(name, few.student, method, seed, lora_rank=2 + seed)
        trained = {key for key in fit.weights() if "lora_" in key}
        assert bool(trained) == (method == "lora") and not trained & set(adapters)
        adapters |= {key: fit.weights()[key] for key in trained}
        name = fit.name
    np.testing.assert_allclose(by_name(fit, few.test), log_odds(fit, few.test), atol=2e-5)
    lm = models.load_lm(models.with_depth(models.resolve(name)), torch.bfloat16)
    loaded = {f"body.{key}": value for key, value in lm.base_model.named_parameters()}
    assert {key for key in loaded if "lora_" in key} == set(adapters)
    for key, tensor in adapters.items():
        assert loaded[key].dtype == torch.float32 and not loaded[key].requires_grad
        assert torch.equal(loaded[key], tensor), key


@pytest.mark.parametrize(
    "first, second", [("lora", "lora"), ("full", "lora"), ("full", "full"), ("top", "top")]
)
def test_further_training_begins_where_the_last_one_ended(first, second, few, tiny):
    once = finetune_lm(tiny, few.student, method=first, lr=RATES[first], top_layers=2, **QUICK)
    again = finetune_lm(once.name, few.student, method=second, lr=1e-9, top_layers=2, **QUICK)
    assert np.abs(once.held_out.after - once.held_out.before).max() > 0.05
    # in nats of a whole text
    np.testing.assert_allclose(again.held_out.before, once.held_out.after, atol=1e-4)


@pytest.mark.parametrize(
    "architecture, method",
    [("llama", "lora"), ("llama", "full"), ("llama", "top"), ("gpt2", "full")],
)
def test_prompts_see_what_was_learned(architecture, method, few, tmp_path):
    """A prompted model's log-probabilities are those of its weights in float32, up to bf16."""
    path = save_tiny(tmp_path / "model", architecture)
    fit = finetune_lm(path, few.student, method=method, lr=3e-3, top_layers=2, **QUICK)
    checkpoint = models.with_depth(models.resolve(fit.name))
    head, questions, answers = [5, 6, 7], [[8, 9], [10], [11, 12, 13]], [[4], [5, 6]]
    reused, again = (
        answer_log_probs(checkpoint, head, questions, answers, reuse=reuse)
        for reuse in (True, False)
    )
    np.testing.assert_allclose(reused, again, atol=0.1)
    lm = models.load_lm(checkpoint)
    for question, row in zip(questions, again, strict=True):
        with torch.no_grad():
            log_p = lm(torch.tensor([[*head, *question, 5]])).logits[0].log_softmax(1)
        expected = [log_p[-2, 4], log_p[-2, 5] + log_p[-1, 6]]
        np.testing.assert_allclose(row, expected, atol=0.1)


def test_a_model_without_weights_has_the_shapes_and_types_of_the_loaded_one(few, tiny):
    name = tiny
    for seed, method in enumerate(("lora", "top", "lora")):
        name = train(name, few.student, method, seed).name
    checkpoint = models.with_depth(models.resolve(name))
    for dtype in (torch.float32, torch.bfloat16):
        whole, hollow = (
            {
                name: (parameter.shape, parameter.dtype, parameter.requires_grad)
                for name, parameter in load(checkpoint, dtype).named_parameters()
            }
            for load in (models.load_lm, loading.hollow_lm)
        )
        assert whole == hollow
    pretrained = models.with_depth(models.resolve(tiny))
    assert models.n_params(checkpoint) == models.n_params(pretrained), "adapters are not counted"


def test_frozen_passes_of_the_named_model_run_in_bf16(few, tiny):
    """Only what training held in float32 and autocast leaves so: norms, embedding."""
    name = train(tiny, few.student, "full").name
    lm = activations._load(models.with_depth(models.resolve(name)))
    in_bf16 = {name for name, p in lm.named_parameters() if p.dtype == torch.bfloat16}
    assert in_bf16 == {
        name
        for name, _ in lm.named_parameters()
        if name.endswith("proj.weight") or name == "lm_head.weight"
    }


@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
@pytest.mark.parametrize("n_fits", [1, 2])
def test_what_a_small_adapter_adds_is_not_rounded_off(architecture, n_fits, tmp_path):
    """The outputs of weights and adapters are added up before they are rounded to bf16."""
    path = save_tiny(tmp_path / "model", architecture)
    body = models.load_lm(models.resolve(path), torch.bfloat16).base_model
    for _ in range(n_fits):
        anatomy.add_adapters(body, 4)
    layer = next(module for module in body.modules() if hasattr(module, "lora_A"))
    x = torch.randn(400, 16, generator=torch.Generator().manual_seed(0)).bfloat16()
    with torch.no_grad():
        weights = layer.base_layer(x).float()
        added = torch.zeros_like(weights)
        for name in layer.lora_A:
            torch.nn.init.normal_(layer.lora_B[name].weight, std=weights.std() / 3000)
            added += 2 * x.float() @ (layer.lora_B[name].weight @ layer.lora_A[name].weight).T
        with torch.autocast("cpu", torch.bfloat16):
            difference = layer(x).float() - weights
    # nearly all of it is below half a step of bf16
    share = (difference * added).sum() / (added**2).sum()
    assert share.item() == pytest.approx(1, abs=0.2)


def test_answers_are_decoded_with_logits_in_float32(path):
    """In bf16 logits two tokens would tie, and which of them is first would decide."""
    checkpoint = models.with_depth(models.resolve(path))
    prompts = [np.array([4 + i, 9, 17]) for i in range(6)]
    options = [[[7], [8, 9]]] * 6
    exact = decoding.log_probs(loading.load_lm(checkpoint), prompts, options)
    lm = decoding.prepare(loading.load_lm(checkpoint, torch.bfloat16))
    rounded = decoding.log_probs(lm, prompts, options)
    np.testing.assert_allclose(rounded, exact, atol=0.5)
    states = torch.randn(64, lm.config.hidden_size, generator=torch.Generator().manual_seed(0))
    with decoding._autocast():
        logits = anatomy.logits(lm, states.bfloat16())
    assert logits.dtype == torch.float32 and (logits != logits.bfloat16().float()).any()
    assert len(decoding.greedy(lm, prompts, most=3, end=1)) == 6


@pytest.mark.parametrize("method", ["full", "lora"])
def test_a_finetuned_model_answers_in_bf16_as_it_was_trained(path, method):
    register_last_word()
    task = w2s.load_task("last_word", n_train=40, n_val=4, n_test=12)
    fit = w2s.fit(path, task.supervisor, method=method, lr=1e-2, epochs=2, batch_size=16)
    test = fit.predictions[fit.predictions.split == "test"]
    assert test.p_right.between(0, 1).all() and test.p_right.nunique() > 6
    assert fit.record["config"]["precision"] == "bf16"
