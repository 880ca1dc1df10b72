"""Tests features, which are computed once whatever kills the run, and probes that are solved."""

import os
import time

import numpy as np
import pytest
import torch

import w2s_nb as w2s
from tests.conftest import Script
from w2s_nb import models
from w2s_nb.common.registry import UnknownName
from w2s_nb.inputs import activations, features
from w2s_nb.inputs.batches import FeatureInputs
from w2s_nb.training import logistic, loop
from w2s_nb.training.hyperparameters import Hyperparameters, choose_hyperparameters

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
TEXTS = [
    "w5 w9 <eos> w7",
    "<eos> <eos> w12",
    "w8",
    "w20 w21 w22 w23 w24 w25 w26 <eos>",
    "w30 w31 <eos>",
]


@pytest.fixture
def passes(monkeypatch):
    """How many texts went through a model, each alone."""
    monkeypatch.setattr(activations, "LEAST_SHARED", 2)
    seen, real = [], activations._run
    monkeypatch.setattr(
        activations,
        "_run",
        lambda lm, batch, *rest: seen.append(len(batch["ends"])) or real(lm, batch, *rest),
    )
    activations.code()  # before what it reads is replaced
    return seen


@torch.no_grad()
def hidden(path, text):
    """(layers + 1, tokens, d) of one text alone, by transformers, through the final norm."""
    checkpoint = models.resolve(path)
    lm, tok = models.load_lm(checkpoint), models.tokenizer(models.folder(checkpoint))
    ids = tok(text)["input_ids"] or [tok.eos_token_id]
    *inner, last = lm.base_model(torch.tensor([ids]), output_hidden_states=True).hidden_states
    return torch.stack(
        [*(models.final_norm(lm.base_model)(state[0]) for state in inner), last[0]]
    ).numpy()


@pytest.mark.parametrize("pool", ["last", "mean"])
def test_features_are_every_hidden_state_of_each_text_alone(pool, any_tiny):
    found = w2s.features(any_tiny, TEXTS, pool=pool, dtype="float32")
    assert (
        found.layers == (0, 1, 2, 3, 4)
        and found[2].shape == (5, 16)
        and found[2].dtype == np.float32
    )
    for row, text in enumerate(TEXTS):
        alone = hidden(any_tiny, text)
        expected = alone[:, -1] if pool == "last" else alone.mean(axis=1)
        np.testing.assert_allclose(
            [found[k][row] for k in found.layers], expected, atol=3e-5, rtol=1e-4
        )


def test_one_pass_serves_all_layers_depths_splits_and_orders_of_examples(words, tiny, passes):
    all_layers = w2s.features(tiny, words.student)
    assert sum(passes) == len(set(words.student.texts))
    passes.clear()
    backwards = words.student.take(np.arange(len(words.student))[::-1])
    np.testing.assert_array_equal(w2s.features(tiny, backwards, layers=[2])[2], all_layers[2][::-1])
    np.testing.assert_array_equal(
        w2s.features(f"{tiny}@2", words.student, layers=[2])[2], all_layers[2]
    )
    w2s.fit(
        f"{tiny}@3", words.student, method="logistic"
    )  # the same features, and those of the splits it predicts
    assert sum(passes) == len(
        {*words.test.texts, *words.validation.texts} - set(words.student.texts)
    )


def test_pairs_have_two_vectors_and_half_precision_loses_little(words, tiny):
    pairs = w2s.load_task("word_pairs", n_train=40, n_val=20, n_test=20)
    half, whole = (w2s.features(tiny, pairs.test, dtype=dtype) for dtype in ("float16", "float32"))
    assert half[4].shape == (20, 2, 16)
    np.testing.assert_allclose(half[4], whole[4], atol=2e-3, rtol=2e-3)
    assert not np.array_equal(half[4], whole[4])
    second = [texts[1] for texts in pairs.test.texts]
    np.testing.assert_array_equal(w2s.features(tiny, second, dtype="float32")[4], whole[4][:, 1])


def test_states_beyond_half_precision_are_refused_and_fit_in_float32(tiny, tmp_path, monkeypatch):
    activations.code()  # before what it hashes is replaced

    def large(checkpoint):
        lm = models.load_lm(checkpoint)
        models.final_norm(lm.base_model).weight.data.mul_(1e5)
        return lm

    monkeypatch.setattr(activations, "_load", large)
    with pytest.raises(FloatingPointError, match="take float32"):
        w2s.features(tiny, TEXTS)
    assert np.abs(w2s.features(tiny, TEXTS, dtype="float32")[4]).max() > 65504


@pytest.mark.parametrize(
    "change, error, says",
    [
        (dict(model="gpt3"), UnknownName, "gpt2"),
        (dict(layers=[5]), ValueError, "0 to 4"),
        (dict(layers=[]), ValueError, "0 to 4"),
        (dict(layers="last"), ValueError, "0 to 4"),
        (dict(pool="first"), ValueError, "last, mean"),
        (dict(dtype="int8"), ValueError, "float16, float32"),
        (dict(max_len=0), ValueError, "max_len = 0; expected a whole number from 1"),
        (dict(dataset=[]), ValueError, "at least one text"),
        (dict(dataset="w1 w2"), ValueError, "list"),
        (dict(dataset=[70 * "w5 "]), ValueError, "70 tokens.*takes 64"),
        (dict(model="fit:abc"), UnknownName, "finetuned model"),
    ],
)
def test_wrong_features_are_refused_before_a_model_is_loaded(
    change, error, says, tiny, monkeypatch
):
    activations.code()
    monkeypatch.setattr(activations, "_load", lambda *a: pytest.fail("a model was loaded"))
    with pytest.raises(error, match=says):
        w2s.features(**dict(model=tiny, dataset=TEXTS) | change)
    with pytest.raises(KeyError, match="layer 3; there are 1, 2"):
        features.Features(np.array([]), (1, 2), 1, None)[3]


SCRIPT = """
import sys, time; sys.path.insert(0, {root!r})
from tests import conftest
import w2s_nb as w2s
from w2s_nb.inputs import activations
conftest.register_words()
activations.code()
activations.SHARD, activations.LEAST_SHARED, real = 8, 2, activations._run  # a sequence a text
def run(lm, batch, *rest):
    open({log!r}, "a").write(len(batch["ends"]) * "x")
    time.sleep({pause})
    return real(lm, batch, *rest)
activations._run = run
task = w2s.load_task("words", n_train=96, n_val=32, n_test=64)
print(w2s.features({tiny!r}, task.student)[4].sum())
"""


def process(tiny, log, pause):
    code = SCRIPT.format(root=ROOT, tiny=tiny, log=str(log), pause=pause)
    return Script(code)


def test_a_killed_run_goes_on_after_its_finished_shards(words, tiny, tmp_path, home):
    victim, deadline = process(tiny, tmp_path / "log", pause=0.3), time.time() + 90
    while time.time() < deadline and len(list(home.glob("activations/*/*.safetensors"))) < 4:
        assert victim.poll() is None, victim.printed()
        time.sleep(0.02)
    victim.kill()
    finished = 8 * len(list(home.glob("activations/*/*.safetensors")))
    texts = len(set(words.student.texts))
    assert 32 <= finished < texts
    (tmp_path / "log").unlink()
    again = process(tiny, tmp_path / "log", pause=0)
    assert again.wait() == 0, again.printed()
    assert len((tmp_path / "log").read_text()) == texts - finished
    assert float(again.printed()[0]) == pytest.approx(w2s.features(tiny, words.student)[4].sum())


def test_two_processes_that_want_the_same_features_compute_them_once(words, tiny, tmp_path):
    both = [process(tiny, tmp_path / "log", pause=0.05) for _ in range(2)]
    assert [p.wait() for p in both] == [0, 0], [p.printed() for p in both]
    assert both[0].printed()[0] == both[1].printed()[0] != ""
    assert len((tmp_path / "log").read_text()) == len(set(words.student.texts))


@pytest.mark.parametrize("method", ["full", "lora", "top"])
def test_a_finetuned_models_features_are_what_its_own_head_saw(method, any_tiny, words):
    """Features of a fit, under the head that was trained with it, give the fit's predictions."""
    fit = w2s.fit(
        any_tiny,
        words.student,
        method=method,
        lr=3e-3,
        top_layers=2,
        stop="last",
        keep_weights=True,
    )
    found = w2s.features(fit.name, words.test, dtype="float32")
    logits = torch.from_numpy(found[4]) @ fit.weights()["head.weight"].T
    np.testing.assert_allclose(logits.softmax(1), fit.predict(words.test), atol=2e-4)
    before = w2s.features(any_tiny, words.test, dtype="float32")
    assert np.abs(found[4] - before[4]).max() > 0.05, (
        "finetuning changed nothing; the test could not fail"
    )
    base, tuned = (
        dict(models.load_lm(models.resolve(name)).base_model.named_parameters())
        for name in (any_tiny, fit.name)
    )
    # adapters stay beside the weights, which are then called base_layer
    adapters = {name: tensor for name, tensor in tuned.items() if "lora_" in name}
    weights = {name.replace(".base_layer", ""): tuned[name] for name in tuned.keys() - adapters}
    changed = {name for name in base if not torch.equal(base[name], weights[name])}
    if method == "lora":
        assert not changed and not any(tensor.requires_grad for tensor in adapters.values())
        changed = {name for name, tensor in adapters.items() if "lora_B" in name and tensor.any()}
    assert all(tensor.requires_grad for tensor in weights.values()), (
        "a finetuned model cannot be finetuned further"
    )
    blocks = {int(name.split(".")[1]) for name in changed if name.startswith(("layers.", "h."))}
    assert blocks == ({2, 3} if method == "top" else {0, 1, 2, 3})
    np.testing.assert_array_equal(
        w2s.features(f"{fit.name}@3", words.test, dtype="float32")[3], found[3]
    )


def test_a_finetuned_model_is_a_model_like_any_other(words, tiny):
    student = w2s.fit(tiny, words.student, method="top", top_layers=2, lr=3e-3, keep_weights=True)
    assert (
        models.resolve(f"{student.name}@2")
        == models.resolve(f"{tiny}@2")
        != models.resolve(f"{student.name}@3")
    )
    probe = w2s.fit(student.name, words.student, method="probe", epochs=20)
    assert probe.address != w2s.fit(tiny, words.student, method="probe", epochs=20).address
    assert probe.record["summary"]["model"] == student.name
    extra_halves = w2s.fit(
        student.name,
        words.student,
        method="full",
        lr=1e-9,
        head_lr=1e-9,
        head_init="zero",
        keep_weights=True,
    )
    same, pretrained = (w2s.features(model, words.test)[4] for model in (student.name, tiny))
    found = w2s.features(extra_halves.name, words.test)[
        4
    ]  # trained at next to no learning rate, it stays what it was
    np.testing.assert_allclose(found, same, atol=5e-3)
    assert np.abs(found - pretrained).max() > 0.05
    assert models.size_order(extra_halves.name) == models.size_order(tiny)


@pytest.mark.parametrize("first, second", [(2, 2), (3, 2), (2, 3)])
def test_top_layers_finetuned_twice(first, second, words, tiny):
    """Features of a model finetuned twice come from the stored activations of three models."""
    once = w2s.fit(tiny, words.student, method="top", top_layers=first, lr=3e-3, keep_weights=True)
    twice = w2s.fit(
        once.name,
        words.student,
        method="top",
        top_layers=second,
        lr=3e-3,
        seed=1,
        stop="last",
        keep_weights=True,
    )
    found = w2s.features(twice.name, words.test, dtype="float32")
    logits = torch.from_numpy(found[4]) @ twice.weights()["head.weight"].T
    np.testing.assert_allclose(logits.softmax(1), twice.predict(words.test), atol=2e-4)
    for layer in found.layers:
        cut = w2s.features(f"{twice.name}@{layer}", words.test, dtype="float32") if layer else found
        np.testing.assert_allclose(found[layer], cut[layer], atol=1e-5)


def test_a_finetuned_model_is_not_put_into_other_weights(words, tiny, tmp_path):
    import shutil

    from tests.conftest import save_tiny

    shutil.copytree(tiny, tmp_path / "base")
    student = w2s.fit(str(tmp_path / "base"), words.student, method="top", keep_weights=True)
    save_tiny(tmp_path / "base", seed=1)
    with pytest.raises(models.ModelUnavailable, match="not the same any more"):
        w2s.features(student.name, words.test)


def test_a_fit_without_finetuned_weights_is_no_model(words, tiny):
    with pytest.raises(ValueError, match="keep_weights=True"):
        w2s.fit(w2s.fit(tiny, words.student, method="full").name, words.student)
    with pytest.raises(ValueError, match="method probe.*no finetuned weights"):
        models.resolve(
            w2s.fit(tiny, words.student, method="probe", epochs=2, keep_weights=True).name
        )


def solved(x, targets, l2, arity=1):
    head = models.probe(x.shape[1], arity).head
    loss = logistic.solve(
        head, torch.from_numpy(x).float(), np.stack([1 - targets, targets], axis=1), l2
    )
    net = models.Classifier(None, head)
    p1 = loop.predict(net, FeatureInputs(torch.from_numpy(x).float(), arity))[:, 1]
    return head, loss, p1


@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("arity", [1, 2])
def test_the_logistic_probe_is_at_the_optimum_of_its_formula(soft, arity):
    rng = np.random.default_rng(0)
    x, truth = rng.normal(size=(200 * arity, 6)), rng.random(200)
    targets = truth if soft else (truth > 0.5).astype(float)
    head, loss, p1 = solved(x, targets, 0.7, arity)
    seen = x if arity == 1 else x[1::2] - x[::2]
    w = head.weight.detach().numpy()
    w = w[0] if arity == 2 else w[1] - w[0]
    np.testing.assert_allclose(seen.T @ (p1 - targets) + 0.7 * w, 0, atol=2e-3)
    if arity == 1:
        assert abs((p1 - targets).sum()) < 2e-3  # the intercept is not penalised
    entropy = -(targets * np.log(p1) + (1 - targets) * np.log(1 - p1)).mean()
    assert loss == pytest.approx(entropy, abs=1e-5)


@pytest.mark.parametrize("l2", [100.0, 1.0, 0.01])
def test_on_hard_labels_the_logistic_probe_is_scikit_learns(l2):
    from sklearn.linear_model import LogisticRegression

    rng = np.random.default_rng(3)
    x, label = (
        rng.normal(size=(60, 90)).astype(np.float32),
        rng.integers(2, size=60),
    )  # more weights than examples
    expected = (
        LogisticRegression(C=1 / l2, tol=1e-8, max_iter=10_000).fit(x, label).predict_proba(x)[:, 1]
    )
    np.testing.assert_allclose(solved(x, label.astype(float), l2)[2], expected, atol=1e-4)


def test_the_optimum_does_not_depend_on_where_the_search_starts():
    rng = np.random.default_rng(4)
    x, targets = torch.from_numpy(rng.normal(size=(50, 8)).astype(np.float32)), rng.random((50, 1))
    head = models.probe(8, 1).head
    with torch.no_grad():
        head.weight.copy_(30 * torch.randn(2, 8, generator=torch.Generator().manual_seed(0)))
    far = logistic.solve(head, x, np.c_[1 - targets, targets], 1.0)
    assert far == pytest.approx(solved(x.numpy(), targets[:, 0], 1.0)[1], abs=1e-5)


def solved_classes(x, targets, l2, start=0.0):
    head = models.probe(x.shape[1], 1, targets.shape[1]).head
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        head.weight.copy_(start * torch.randn(head.weight.shape, generator=generator))
    loss = logistic.solve(head, torch.from_numpy(x).float(), targets, l2)
    with torch.no_grad():
        return head, loss, head(torch.from_numpy(x).float()).softmax(1).numpy()


@pytest.mark.parametrize("n, d, l2", [(60, 90, 100.0), (60, 90, 1.0), (60, 90, 0.01), (90, 5, 0.5)])
def test_the_logistic_probe_of_three_classes_is_scikit_learns(n, d, l2):
    from sklearn.linear_model import LogisticRegression

    rng = np.random.default_rng(3)
    x = rng.normal(size=(n, d)).astype(np.float32)
    label = rng.choice(3, p=[0.5, 0.3, 0.2], size=n)
    exact = x.astype(np.float64)
    expected = LogisticRegression(C=1 / l2, tol=1e-8, max_iter=10_000).fit(exact, label)
    head, _, probs = solved_classes(x, np.eye(3)[label], l2)
    np.testing.assert_allclose(probs, expected.predict_proba(exact), atol=1e-5)
    np.testing.assert_allclose(head.weight.detach(), expected.coef_, atol=5e-4)


def test_the_logistic_probe_of_soft_labels_of_four_classes_is_at_its_optimum():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 6)).astype(np.float32)
    targets = rng.dirichlet(np.ones(4), size=200)
    head, loss, probs = solved_classes(x, targets, 0.7)
    slope = (probs - targets).T @ x + 0.7 * head.weight.detach().numpy()
    np.testing.assert_allclose(slope, 0, atol=2e-3)
    np.testing.assert_allclose((probs - targets).sum(0), 0, atol=2e-3)
    assert loss == pytest.approx(-(targets * np.log(probs)).sum(1).mean(), abs=1e-5)
    far = solved_classes(x, targets, 0.7, start=30.0)
    np.testing.assert_allclose(far[2], probs, atol=1e-4)


@pytest.mark.parametrize("order", [[1, 2, 0], [2, 1, 0]])
def test_permuting_the_classes_permutes_the_predictions_of_the_logistic_probe(order):
    rng = np.random.default_rng(1)
    x = rng.normal(size=(50, 70)).astype(np.float32)
    targets = rng.dirichlet(np.ones(3), size=50)
    probs = solved_classes(x, targets, 1.0)[2]
    np.testing.assert_allclose(
        solved_classes(x, targets[:, order], 1.0)[2], probs[:, order], atol=1e-5
    )


def test_the_logistic_probe_learns_three_classes_and_takes_labels_of_one(three, tiny):
    fit = w2s.fit(f"{tiny}@3", three.student, method="logistic")
    assert fit.accuracy(three.test).low > 0.5
    ids = np.concatenate([three.student.ids, three.validation.ids])
    last = w2s.SoftLabels(ids, np.tile([0.0, 0.0, 1.0], (len(ids), 1)), "always 2")
    fit = w2s.fit(tiny, three.student, last, method="logistic")
    assert fit.accuracy(three.test).value == pytest.approx(1 / 3)


def test_swapping_pairs_gives_the_complement_of_the_logistic_probe():
    rng = np.random.default_rng(1)
    x, targets = rng.normal(size=(80, 5)), rng.random(40)
    swapped = x.reshape(40, 2, 5)[:, ::-1].reshape(80, 5).copy()
    np.testing.assert_allclose(
        solved(x, targets, 1.0, 2)[2], 1 - solved(swapped, 1 - targets, 1.0, 2)[2], atol=1e-5
    )


def test_training_as_in_the_paper_and_solving_agree_where_there_is_one_optimum():
    """Compares Adam as in appendix D.2, on soft labels, with the solution without penalty."""
    rng = np.random.default_rng(2)
    x = rng.normal(size=(3000, 5)).astype(np.float32)
    targets = 1 / (1 + np.exp(-(x @ rng.normal(size=5) * 0.5 + 0.3)))
    net, inputs = models.probe(5, 1), FeatureInputs(torch.from_numpy(x), 1)

    def loss(logits, t, progress):
        return torch.nn.functional.cross_entropy(logits, t, reduction="none")

    loop.train(
        net,
        inputs,
        np.stack([1 - targets, targets], axis=1),
        loss,
        Hyperparameters(epochs=200, batch_size=128, lr=0, warmup=0.01, evals=1),
        seed=0,
        evaluate=lambda *a: None,
    )
    np.testing.assert_allclose(
        loop.predict(net, inputs)[:, 1], solved(x, targets, 0.0)[2], atol=0.01
    )


def test_a_logistic_fit_ignores_the_order_of_examples_and_takes_no_other_loss(
    words, tiny, monkeypatch
):
    one = w2s.fit(tiny, words.student, method="logistic")
    other = w2s.fit(tiny, words.student.take(np.arange(96)[::-1]), method="logistic")
    np.testing.assert_allclose(one.predict(words.test), other.predict(words.test), atol=1e-4)
    assert one.accuracy(words.test).low > 0.7
    with pytest.raises(ValueError, match="needs method 'probe'"):
        w2s.fit(tiny, words.student, method="logistic", loss="confidence")
    with pytest.raises(ValueError, match="l2 = -1"):
        w2s.fit(tiny, words.student, method="logistic", l2=-1)


def test_the_penalty_is_chosen_as_a_stopping_epoch_is(words, tiny):
    noisy = w2s.SoftLabels.truth(words.student).flip(0.3)
    clean = w2s.SoftLabels.truth(words.validation)
    labels = w2s.SoftLabels(np.r_[noisy.ids, clean.ids], np.r_[noisy.probs, clean.probs], "noisy")
    path = w2s.fit(tiny, words.student, labels, method="logistic", l2=(1.0, 1e4, 50.0))
    alone = {
        l2: w2s.fit(tiny, words.student, labels, method="logistic", l2=l2)
        for l2 in (1e4, 50.0, 1.0)
    }
    on_labels = [
        (f.predict(words.validation).argmax(1) == words.validation.hard_label).mean()
        for f in alone.values()
    ]
    assert (
        path.curve.validation_accuracy_on_labels.tolist() == pytest.approx(on_labels)
        and path.stop == "validation"
    )
    on_test = [
        (f.predict(words.test).argmax(1) == words.test.hard_label).mean() for f in alone.values()
    ]
    assert path.curve.test_accuracy.tolist() == pytest.approx(on_test), (
        "looked at a part of the test examples"
    )
    chosen = list(alone.values())[int(np.argmax(on_labels))]
    np.testing.assert_allclose(path.predict(words.test), chosen.predict(words.test), atol=1e-6)
    np.testing.assert_allclose(
        path.predict(words.test, stop="last"), alone[1.0].predict(words.test), atol=1e-6
    )
    assert len(set(on_labels)) > 1, "every penalty is as good; the test could not fail"
    assert choose_hyperparameters("logistic", {}).l2 == (1e4, 1e3, 1e2, 10.0, 1.0)


def test_the_logistic_probe_can_be_fitted_to_labels_of_one_class(words, tiny):
    ids = np.concatenate([words.student.ids, words.validation.ids])
    ones = w2s.SoftLabels(ids, np.tile([0.0, 1.0], (len(ids), 1)), "always 1")
    assert w2s.fit(tiny, words.student, ones, method="logistic").accuracy(words.test).value == 0.5
