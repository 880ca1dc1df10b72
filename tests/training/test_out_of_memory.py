"""Memory that runs out anywhere is halved or explained; the error is raised by hand."""

import numpy as np
import pytest
import torch

import w2s_nb as w2s
from w2s_nb import models
from w2s_nb.common import distributed, store
from w2s_nb.common.out_of_memory import OutOfMemory
from w2s_nb.inputs import activations
from w2s_nb.inputs.batches import NextTokens, TokenInputs
from w2s_nb.inputs.tokens import tokenize
from w2s_nb.models import decoding, loading
from w2s_nb.models.language import LanguageModel
from w2s_nb.prompting import prompt
from w2s_nb.training import job, language_model, logistic, loop
from w2s_nb.training.language_model import finetune_lm

QUICK = dict(epochs=1, batch_size=16, lr=1e-3)


def out_of_memory(*arguments, **more):
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 86.00 MiB. GPU 0 has")


def no_workspace(*arguments, **more):
    raise RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`")


def limited(function, size, limit):
    """Returns a function that runs out of memory where a call is larger than a limit."""

    def run(*arguments, **more):
        if size(*arguments, **more) > limit:
            out_of_memory()
        return function(*arguments, **more)

    return run


def fails_at_call(function, number):
    """Returns a function that runs out of memory in one call, counted from 1, in training."""
    calls = []

    def run(net, *arguments):
        if net.training:
            calls.append(1)
            if len(calls) == number:
                out_of_memory()
        return function(net, *arguments)

    return run


def fit(model, task, method="full", **changes):
    changes = changes if method in ("probe", "logistic") else QUICK | changes
    return w2s.fit(model, task.student, method=method, seed=0, **changes)


@pytest.mark.parametrize(
    "method, owner, name, way_out",
    [
        ("full", job, "build", "lora"),
        ("full", torch.optim.AdamW, "step", "two numbers per trained weight"),
        ("full", loop, "forward", "lower max_len"),
        ("full", loop, "predict", "lower max_len"),
        ("full", loop, "copy_weights", "smaller model"),
        ("top", activations, "load_shared", "smaller model"),
        ("probe", activations, "_run", "smaller model"),
        ("probe", job, "probe", "smaller model"),
        ("logistic", logistic, "_minimise", "smaller model"),
    ],
)
def test_a_fit_without_memory_says_what_to_change(
    method, owner, name, way_out, words, tiny, monkeypatch
):
    monkeypatch.setattr(owner, name, no_workspace if name == "forward" else out_of_memory)
    with pytest.raises(OutOfMemory, match=f"^out of memory while .*; .*{way_out}") as caught:
        fit(tiny, words, method, keep_weights=True)
    assert "\n" not in str(caught.value)
    assert not store.addresses(), "a part of the fit was stored"


@pytest.mark.parametrize("owner, name", [(language_model, "trainable"), (loop, "forward")])
def test_a_language_model_without_memory_says_what_to_change(owner, name, words, tiny, monkeypatch):
    monkeypatch.setattr(owner, name, out_of_memory)
    with pytest.raises(OutOfMemory, match="^out of memory while .*; lower max_len"):
        finetune_lm(tiny, words.student, held_out=8, **QUICK)


def test_prompts_without_memory_say_what_to_change(words, tiny, monkeypatch):
    monkeypatch.setattr(prompt, "_hidden", out_of_memory)
    checkpoint = models.with_depth(models.resolve(tiny))
    with pytest.raises(OutOfMemory, match="^out of memory while prompting.*; give fewer shots"):
        prompt.answer_log_probs(checkpoint, [3], [[4, 5], [6]], [[7], [8]])


def rows_of(net, inputs, rows):
    return len(rows)


def test_predictions_in_smaller_batches_are_the_same(words, tiny, monkeypatch):
    checkpoint = models.with_depth(models.resolve(tiny))
    net = models.build(checkpoint, "full", 1, head_init="unembedding", device=torch.device("cpu"))
    inputs = TokenInputs(tokenize(words.test, checkpoint, 16))
    roomy = loop.predict(net, inputs)
    monkeypatch.setattr(loop, "forward", limited(loop.forward, rows_of, 5))
    np.testing.assert_allclose(loop.predict(net, inputs), roomy, atol=1e-5)


def test_activations_in_smaller_batches_are_the_same(words, tiny, monkeypatch, tmp_path):
    roomy = w2s.features(tiny, words.test, dtype="float32")
    few = limited(activations._run, lambda lm, batch, keep, depths: len(batch["input_ids"]), 5)
    monkeypatch.setattr(activations, "_run", few)
    monkeypatch.setattr(activations, "code", lambda: "elsewhere")
    monkeypatch.setenv("W2S_HOME", str(tmp_path / "another"))
    tight = w2s.features(tiny, words.test, dtype="float32")
    np.testing.assert_allclose(tight[4], roomy[4], atol=1e-3)


def test_perplexity_in_smaller_batches_is_the_same(words, tiny, monkeypatch):
    checkpoint = models.with_depth(models.resolve(tiny))
    lm = loading.load_lm(checkpoint)
    tokens = tokenize(words.test, checkpoint, 16)
    texts = NextTokens(TokenInputs(tokens), tokens.ids)
    net = LanguageModel(lm.base_model, lm)
    roomy = loop.lm_losses(net, texts)
    monkeypatch.setattr(loop, "forward", limited(loop.forward, rows_of, 5))
    np.testing.assert_allclose(loop.lm_losses(net, texts), roomy, rtol=1e-4)


def test_a_halved_micro_batch_counts_no_text_twice(words, tiny, monkeypatch):
    few = dict(held_out=2, epochs=1, batch_size=8, lr=1e-3)
    split = words.student.take(np.arange(16))
    roomy = finetune_lm(tiny, split, micro_batch=8, **few)
    monkeypatch.setattr(loop, "forward", fails_at_call(loop.forward, 3))
    tight = finetune_lm(tiny, split, micro_batch=2, weight_decay=1e-12, **few)
    assert tight.address != roomy.address
    np.testing.assert_allclose(tight.curve.train_loss, roomy.curve.train_loss, rtol=1e-4)


def test_prompts_in_smaller_batches_get_the_same_answers(tiny, monkeypatch):
    checkpoint = models.with_depth(models.resolve(tiny))
    questions = [[4 + i] * (i % 5 + 1) for i in range(13)]
    roomy = prompt.answer_log_probs(checkpoint, [3], questions, [[7], [8, 9]])
    few = limited(prompt._hidden, lambda lm, batch, head: len(batch["input_ids"]), 4)
    monkeypatch.setattr(prompt, "_hidden", few)
    tight = prompt.answer_log_probs(checkpoint, [3], questions, [[7], [8, 9]])
    np.testing.assert_allclose(tight, roomy, atol=1e-4)


def test_decoding_in_smaller_batches_gives_the_same_answers(tiny, monkeypatch):
    lm = loading.load_lm(models.with_depth(models.resolve(tiny)))
    prompts = [np.array([4 + i] * (i % 5 + 1)) for i in range(13)]
    options = [[[7], [8, 9]]] * len(prompts)
    roomy = decoding.greedy(lm, prompts, most=3, end=1)
    roomy_scores = decoding.log_probs(lm, prompts, options)
    few = limited(lm.generate, lambda input_ids, **more: len(input_ids), 4)
    monkeypatch.setattr(lm, "generate", few)
    monkeypatch.setattr(
        decoding, "_states", limited(decoding._states, lambda lm, trees: len(trees), 4)
    )
    assert decoding.greedy(lm, prompts, most=3, end=1) == roomy
    np.testing.assert_allclose(decoding.log_probs(lm, prompts, options), roomy_scores, atol=1e-4)


def test_several_devices_start_again_with_half_the_micro_batch(words, tiny, monkeypatch):
    """Stands in for Ray: the workers run out of memory above a micro-batch of 4."""
    tried = []

    def on_devices(n, function, loss, a_job, micro_batch):
        tried.append(micro_batch)
        if micro_batch is None or micro_batch > 4:
            said = (
                f"Training failed due to worker errors:\n[Rank 1 Error Snippet]:\nTraceback\n"
                f"w2s_nb.common.out_of_memory.OutOfMemory: out of memory while training with a "
                f"micro-batch of {micro_batch or 16} (CUDA out of memory); lower max_len\n"
            )
            raise distributed._error_of_workers(n, said)
        return function(loss, a_job, micro_batch)

    monkeypatch.setattr(distributed, "on_devices", on_devices)
    result = fit(tiny, words, devices=2)
    assert tried == [None, 8, 4]
    assert len(result.predictions)


@pytest.mark.parametrize(
    "said, expected",
    [
        ("OutOfMemory: out of memory while updating the weights (CUDA); x", "updating the weights"),
        ("OutOfMemory: out of memory while training with a micro-batch of 1 (CUDA); x", "of 1 "),
    ],
)
def test_several_devices_stop_where_a_smaller_pass_cannot_help(
    said, expected, words, tiny, monkeypatch
):
    tried = []

    def on_devices(n, *arguments):
        tried.append(n)
        raise distributed._error_of_workers(n, f"Traceback\n{said}\nmore")

    monkeypatch.setattr(distributed, "on_devices", on_devices)
    with pytest.raises(OutOfMemory, match=f"^on 2 devices: out of memory .*{expected}.*; x$"):
        fit(tiny, words, devices=2)
    assert tried == [2]


def test_other_errors_of_workers_are_shown_whole():
    error = distributed._error_of_workers(2, "Traceback\nValueError: no such split")
    assert type(error) is RuntimeError and "ValueError: no such split" in str(error)
