"""Tests generative finetuning: what is learned, from which texts, and that labels play no part."""

import functools
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

import w2s_nb as w2s
from tests.conftest import save_tiny
from tests.models.test_models import TEXTS, tokens
from w2s_nb import metrics, models, plots
from w2s_nb.common.registry import UnknownName
from w2s_nb.experiments import generative_finetuning
from w2s_nb.experiments.arms import CEILING, WEAK
from w2s_nb.experiments.generative_finetuning import BOTH_ON_TEXT, LABELS_ONLY, STUDENT_ON_TEXT
from w2s_nb.inputs.batches import NextTokens, TokenInputs
from w2s_nb.models.language import LanguageModel
from w2s_nb.training import language_model, loop
from w2s_nb.training.hyperparameters import METHODS
from w2s_nb.training.language_model import Tuned, finetune_lm, perplexity

QUICK = dict(lr=3e-3, epochs=3, batch_size=16, held_out=40)


def nats_by_transformers(lm, ids) -> float:
    """Returns the nats of all tokens of a text but the first, by transformers' own loss."""
    if len(ids) == 1:
        return 0.0
    ids = torch.tensor([list(map(int, ids))])
    return float(lm(input_ids=ids, labels=ids).loss) * (ids.shape[1] - 1)


def load_language_model(path):
    lm = models.load_lm(models.with_depth(models.resolve(path)))
    return lm, LanguageModel(lm.base_model, lm)


@torch.no_grad()
def test_nats_of_padded_texts_are_those_of_transformers(any_tiny):
    """A text of one token has nothing to predict; the padding's id, 0, is a word inside a text."""
    lm, net = load_language_model(any_tiny)
    inputs = NextTokens(TokenInputs(tokens(TEXTS)), tokens(TEXTS).ids)
    together = net(**inputs.batch(range(5)))
    expected = [nats_by_transformers(lm, ids) for ids in TEXTS]
    np.testing.assert_allclose(together[:, 0], expected, rtol=1e-4, atol=1e-4)
    assert together[:, 1].tolist() == [len(ids) - 1 for ids in TEXTS]
    torch.testing.assert_close(net(**inputs.batch([4, 1])), together[[4, 1]], atol=1e-4, rtol=1e-4)


def test_a_micro_batch_of_any_size_trains_the_same(tiny, words):
    """Compares one pass per batch with several: the loss of a batch is over all its tokens."""
    checkpoint = models.with_depth(models.resolve(tiny))
    settings = replace(METHODS["full"], epochs=1, batch_size=16, lr=3e-4, max_len=16, evals=2)
    train_tokens, test_tokens = (
        language_model.tokenize(language_model._as_single_texts(split), checkpoint, 16)
        for split in (words.student, words.test)
    )
    train = functools.partial(
        language_model._train, checkpoint, "full", settings, train_tokens, test_tokens, 0
    )
    whole_weights, whole_curve, *_ = train(micro_batch=16)
    cut_weights, cut_curve, *_ = train(micro_batch=3)
    for name, tensor in whole_weights.items():
        torch.testing.assert_close(cut_weights[name], tensor, atol=1e-4, rtol=1e-3, msg=name)
    np.testing.assert_allclose(cut_curve.train_loss, whole_curve.train_loss, rtol=1e-5)


@pytest.mark.parametrize(
    "architecture, method",
    [
        ("llama", "full"),
        ("llama", "lora"),
        ("llama", "top"),
        ("gpt2", "full"),
        ("gpt2", "top"),
        ("gpt_neox", "full"),
    ],
)
def test_the_named_model_is_the_one_that_was_trained(architecture, method, tmp_path, words):
    """Its perplexity by transformers is the recorded one, and lower than before.

    The unembedding is part of it; that of GPT-2 is tied.
    """
    path = save_tiny(tmp_path / "model", architecture)
    fit = finetune_lm(path, words.student, method=method, top_layers=2, **QUICK)
    rows = np.sort(np.random.default_rng(0).permutation(len(words.test))[:40])
    for name, side in ((path, "before"), (fit.name, "after")):
        checkpoint = models.with_depth(models.resolve(name))
        lm = models.load_lm(checkpoint)
        texts = language_model._as_single_texts(words.test.take(rows))
        with torch.no_grad():
            nats = [
                nats_by_transformers(lm, ids)
                for ids in language_model.tokenize(texts, checkpoint, 16).ids
            ]
        np.testing.assert_allclose(fit.held_out[side], nats, rtol=2e-3, atol=2e-3)
    perplexities = perplexity([fit])
    assert perplexities["after / before"].high < 1
    expected = np.exp(fit.held_out.after.sum() / fit.held_out.tokens.sum())
    after = perplexities["after"].value
    assert after == pytest.approx(expected)
    assert after == pytest.approx(fit.record["metrics"]["perplexity_after"])
    ratio = perplexities["after / before"].value
    assert after / perplexities["before"].value == pytest.approx(ratio)
    assert fit.curve.train_loss.iloc[-1] < fit.curve.train_loss.iloc[0]


def test_a_student_starts_from_the_weights_that_were_finetuned_on_text(words, tiny):
    """Features and further finetuning see the trained weights, above the same frozen blocks."""
    fit = finetune_lm(tiny, words.student, method="top", top_layers=2, **QUICK)
    before, after = (w2s.features(name, words.test, dtype="float32") for name in (tiny, fit.name))
    np.testing.assert_allclose(after[2], before[2], atol=1e-5)
    assert np.abs(after[3] - before[3]).max() > 0.05
    student = w2s.fit(
        fit.name,
        words.student,
        method="top",
        top_layers=2,
        head_init="zero",
        lr=1e-9,
        head_lr=1e-9,
        keep_weights=True,
    )
    np.testing.assert_allclose(
        w2s.features(student.name, words.test, dtype="float32")[4], after[4], atol=1e-4
    )


def test_the_figure_shows_perplexities(words, tiny):
    perplexities = perplexity([finetune_lm(tiny, words.student, **QUICK)])
    rows = pd.DataFrame(
        [
            {
                "model": "m",
                "when": when,
                "value": perplexities[when].value,
                "low": perplexities[when].low,
                "high": perplexities[when].high,
            }
            for when in ("before", "after")
        ]
    )
    (line,) = plots.perplexity(rows, "t").data
    assert list(line.y) == [perplexities["before"].value, perplexities["after"].value]
    assert line.y[1] + line.error_y.array[1] == pytest.approx(perplexities["after"].high)


def test_a_learning_rate_of_0_learns_nothing(words, tiny):
    record = finetune_lm(tiny, words.student, **QUICK | dict(lr=0, epochs=1)).record
    assert record["config"]["hyperparameters"]["lr"] == 0
    assert record["metrics"]["perplexity_after"] == record["metrics"]["perplexity_before"]


def test_labels_play_no_part_and_a_second_run_finds_the_first(words, tiny, monkeypatch):
    fit = finetune_lm(tiny, words.student, **QUICK)
    monkeypatch.setattr(loop, "train", lambda *a, **k: pytest.fail("trained twice"))
    flipped = replace(words.student, hard_label=1 - words.student.hard_label)
    assert finetune_lm(tiny, flipped, **QUICK).address == fit.address
    row = w2s.results().set_index("address").loc[fit.address]
    assert (row.loss, row.n_train, row.labels) == ("language model", 96, "")
    assert row.perplexity_after == fit.record["metrics"]["perplexity_after"]


def test_both_texts_of_a_pair_are_learned_or_the_chosen_one(words, tiny):
    pairs = w2s.load_task("word_pairs", n_train=40, n_val=20, n_test=20)
    truth = w2s.SoftLabels.truth(pairs.student)
    both = language_model._as_single_texts(pairs.student)
    better = language_model._as_single_texts(pairs.student, truth.for_split(pairs.student))
    assert both.texts == tuple((t,) for pair in pairs.student.texts for t in pair)
    assert all(text.endswith("w1") for (text,) in better.texts) and len(better) == 40
    fits = [finetune_lm(tiny, pairs.student, chosen=chosen, **QUICK) for chosen in (None, truth)]
    assert (
        fits[0].address != fits[1].address and fits[1].record["summary"]["labels"] == "ground truth"
    )
    with pytest.raises(ValueError, match="one text per example"):
        finetune_lm(tiny, words.student, chosen=w2s.SoftLabels.truth(words.student))


@pytest.mark.parametrize(
    "change, error, says",
    [
        (dict(model="gpt3"), UnknownName, "gpt2"),
        (dict(method="probe"), ValueError, "full, lora or top"),
        (dict(method="ful"), UnknownName, "Near: full"),
        (dict(epoch=1), TypeError, "epochs"),
        (dict(head_lr=1.0), TypeError, "does not use head_lr; expected some of epochs"),
        (dict(micro_batch=0), ValueError, "micro_batch = 0; expected a whole number from 1"),
        (dict(held_out=0), ValueError, "from 2"),
        (dict(held_out=True), ValueError, "from 2"),
    ],
)
def test_wrong_input_is_refused_before_a_model_is_loaded(
    change, error, says, words, tiny, monkeypatch
):
    monkeypatch.setattr(
        language_model, "trainable", lambda *a, **k: pytest.fail("a model was loaded")
    )
    with pytest.raises(error, match=says):
        finetune_lm(**dict(model=tiny, split=words.student) | change)
    monkeypatch.setattr(
        generative_finetuning, "run_arms", lambda *a, **k: pytest.fail("an experiment was begun")
    )
    for change, error, says in (
        (dict(which=["both"]), UnknownName, "both on text first"),
        (dict(strong="gpt3"), UnknownName, "gpt2"),
        (dict(lm_args={"method": "ful"}), UnknownName, "Near: full"),
        (dict(lm_args={"epochs": 0}), ValueError, "from 1"),
    ):
        with pytest.raises(error, match=says):
            w2s.run_generative(**dict(task="words", weak=tiny, strong=tiny) | change)
    with pytest.raises(ValueError, match="student or supervisor"):
        Tuned(tiny, "test")


def test_each_model_reads_its_own_half_and_the_ceiling_starts_as_the_student_does(words, tiny):
    """A model that does not read is the same in all experiments."""
    arms = w2s.run_generative(
        "words",
        f"{tiny}@2",
        tiny,
        which=(LABELS_ONLY, STUDENT_ON_TEXT, BOTH_ON_TEXT),
        lm_args=dict(method="top", top_layers=2) | QUICK,
        method="probe",
        epochs=20,
        seeds=2,
        n_train=96,
        n_val=32,
        n_test=64,
    )
    for i, task in enumerate(arms[LABELS_ONLY].tasks):
        models_of = {
            name: {arm: one.fits[arm][i].record["summary"]["model"] for arm in one.fits}
            for name, one in arms.items()
        }
        student = Tuned(tiny, "student", None, dict(method="top", top_layers=2) | QUICK).fit(task)
        table, rows = w2s.perplexities({tiny: [student]})
        found = w2s.perplexity([student])
        assert table.after_over_before[tiny] == found["after / before"].value
        assert rows.value.tolist() == [found["before"].value, found["after"].value]
        supervisor = Tuned(
            f"{tiny}@2", "supervisor", None, dict(method="top", top_layers=2) | QUICK
        ).fit(task)
        assert student.record["trained_on"] == task.student.ids.tolist()
        assert supervisor.record["trained_on"] == task.supervisor.ids.tolist()
        assert models_of[LABELS_ONLY] == {WEAK: f"{tiny}@2", "student, naive": tiny, CEILING: tiny}
        assert models_of[STUDENT_ON_TEXT] == {
            WEAK: f"{tiny}@2",
            "student, naive": student.name,
            CEILING: student.name,
        }
        assert models_of[BOTH_ON_TEXT] == {
            WEAK: supervisor.name,
            "student, naive": student.name,
            CEILING: student.name,
        }
    addresses = [one.fits[WEAK][0].address for one in arms.values()]
    assert addresses[0] == addresses[1] != addresses[2]
    assert arms[STUDENT_ON_TEXT].strong == f"{tiny}, on text"


def test_the_difference_of_two_pgrs_is_paired():
    rng = np.random.default_rng(0)
    truth = rng.integers(2, size=400)

    def probs_with(accuracy):
        right = rng.random((2, 400)) < accuracy
        p1 = np.where(right, truth, 1 - truth)
        return np.stack([1 - p1, p1], axis=-1)

    weak, ceiling, low, high = map(probs_with, (0.6, 0.9, 0.65, 0.8))
    difference = metrics.pgr_difference((weak, high, ceiling), (weak, low, ceiling), truth)
    pgrs = [metrics.pgr(weak, student, ceiling, truth) for student in (high, low)]
    assert difference.value == pytest.approx(pgrs[0].value - pgrs[1].value)
    assert metrics.pgr_difference((weak, high, ceiling), (weak, high, ceiling), truth).high == 0
    with pytest.warns(UserWarning, match="not defined"):
        assert np.isnan(
            metrics.pgr_difference((ceiling, high, weak), (weak, low, ceiling), truth).value
        )
