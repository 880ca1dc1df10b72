"""Probes that are trained together: the numbers of each alone, its address, faults of one."""

import functools

import numpy as np
import pandas as pd
import pytest
import torch

import w2s_nb as w2s
from w2s_nb import losses
from w2s_nb.common.out_of_memory import OutOfMemory
from w2s_nb.common.registry import LOSSES
from w2s_nb.inputs.batches import FeatureInputs
from w2s_nb.models.classifier import probe
from w2s_nb.training import fit as fit_module
from w2s_nb.training import fit_many as fit_many_module
from w2s_nb.training import loop, probes
from w2s_nb.training.fit_many import FitArgs, fit_many
from w2s_nb.training.hyperparameters import Hyperparameters

QUICK = {"method": "probe", "epochs": 12, "batch_size": 20, "evals": 4, "head_lr": 0.02}


def label_sets(task):
    """Returns two sets of soft labels of the student half and of validation."""
    ids = np.concatenate([task.student.ids, task.validation.ids])
    truth = np.concatenate([task.student.hard_label, task.validation.hard_label])
    sets = []
    for seed in (0, 1):
        noise = np.random.default_rng(seed).dirichlet(np.ones(task.test.n_classes), len(ids))
        probs = 0.5 * np.eye(task.test.n_classes)[truth] + 0.5 * noise
        sets.append(w2s.SoftLabels(ids, probs, f"set {seed}"))
    return sets


def wanted_of(task, model, names=tuple(LOSSES), seeds=(0, 3), **args):
    """Returns the arguments of one student per loss, label set and seed, and of a ceiling."""
    half = task.student
    students = [
        FitArgs(model, half, labels, {**QUICK, "loss": loss, "seed": seed, **args})
        for loss in names
        for labels in label_sets(task)
        for seed in seeds
    ]
    return [*students, FitArgs(model, half, None, QUICK | args)]


def fit_alone(one):
    return w2s.fit(one.model, one.split, one.labels, **one.args)


def assert_same(together, alone):
    assert together.address == alone.address and together.stop == alone.stop
    for stop in ("last", "validation", "oracle"):
        columns = [c for c in alone.predictions if c.partition("_")[0] == stop]
        difference = (together.predictions[columns] - alone.predictions[columns]).abs().max().max()
        assert difference <= 1e-6, (alone, stop, difference)
    pd.testing.assert_frame_equal(together.curve, alone.curve, atol=1e-6)
    assert together.record["config"] == alone.record["config"]
    assert together.record["metrics"] == pytest.approx(alone.record["metrics"], abs=1e-6)


@pytest.mark.parametrize("name", ["words", "word_pairs", "three"])
def test_probes_together_are_the_same_as_alone(name, words, three, tiny, monkeypatch, tmp_path):
    # 96 examples make batches of 19 and 20, which come in another order for every seed
    n_val = 33 if name == "three" else 32
    task = w2s.load_task(name, n_train=96, n_val=n_val, n_test=60)
    wanted = wanted_of(task, tiny)
    together = fit_many(wanted)
    monkeypatch.setenv("W2S_HOME", str(tmp_path / "other"))
    alone = [fit_alone(one) for one in wanted]
    assert len({one.address for one in alone}) == len(wanted)
    for one, other in zip(together, alone, strict=True):
        assert_same(one, other)
    learned = np.mean([one.accuracy(task.test).value for one in together])
    assert learned > 0.6


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("arity, n_classes", [(1, 2), (2, 2), (1, 3), (1, 20)])
def test_probes_are_trained_as_the_loop_trains_a_head(name, arity, n_classes):
    chosen = Hyperparameters(
        epochs=8, batch_size=12, lr=1e-2, head_lr=1e-2, weight_decay=0.1, warmup=0.2, evals=2
    )
    generator = torch.Generator().manual_seed(0)
    inputs = FeatureInputs(torch.randn(50 * arity, 7, generator=generator), arity)
    targets = torch.rand(50, n_classes, generator=generator).softmax(1).numpy()
    args = losses.loss_args(name)
    by_loop = probe(7, arity, n_classes)
    curves = {"loop": [], "probes": []}
    loop.train(
        by_loop,
        inputs,
        targets,
        functools.partial(losses.values_of, name, **args),
        chosen,
        seed=1,
        evaluate=lambda *scores: curves["loop"].append(scores),
        batchwise=LOSSES[name].batchwise,
        decay=args.get(LOSSES[name].running_average),
    )
    own = probe(7, arity, n_classes)
    state = torch.get_rng_state()
    trained = probes.Probe(
        own.head, inputs, inputs, targets, name, args, 1, state, lambda *scores: 0, "a probe"
    )
    trained.evaluate = lambda *scores: curves["probes"].append(scores[:3])
    probes.train([trained], chosen)
    assert by_loop.head.weight.abs().max() > 1e-2
    for (_, one), (_, other) in zip(
        by_loop.named_parameters(), own.named_parameters(), strict=True
    ):
        torch.testing.assert_close(one.data, other.data, atol=1e-6, rtol=1e-5)
    np.testing.assert_allclose(curves["loop"], curves["probes"], atol=1e-6)


def test_what_one_way_stored_the_other_finds(words, tiny, monkeypatch):
    wanted = wanted_of(words, tiny, names=("xent", "confidence"))
    alone = [fit_alone(one) for one in wanted[:4]]
    together = fit_many(wanted)
    assert [fit.record["created"] for fit in together[:4]] == [
        fit.record["created"] for fit in alone
    ]
    monkeypatch.setattr(fit_many_module, "train_together", None)  # would raise if called
    monkeypatch.setattr(fit_module.training_job, "carry_out", None)
    assert [fit_alone(one).address for one in wanted] == [fit.address for fit in together]
    assert [fit.address for fit in fit_many(wanted)] == [fit.address for fit in together]


def test_models_splits_and_other_methods_in_one_call(words, tiny):
    """Each fit comes back in its place, whatever it can be trained with."""
    wanted = [
        FitArgs(f"{tiny}@2", words.supervisor, None, QUICK),
        FitArgs(tiny, words.student, None, {"method": "logistic"}),
        FitArgs(tiny, words.student, None, QUICK),
        FitArgs(tiny, words.student, None, QUICK),
        FitArgs(tiny, words.student, None, QUICK | {"epochs": 5}),
        FitArgs(tiny, words.student, None, {**QUICK, "keep_weights": True, "features": 9}),
        FitArgs(tiny, words.student, None, {**QUICK, "label_training_examples": True}),
    ]
    fits = fit_many(wanted)
    assert [fit.address for fit in fits] == [fit_alone(one).address for one in wanted]
    assert fits[2].address == fits[3].address and len({fit.address for fit in fits}) == 6
    assert fits[-1].label(words.student, training_examples=True).probs.shape == (128, 2)
    weights = w2s.fit(tiny, words.student, keep_weights=True, features=9, **QUICK).weights()
    assert weights["head.weight"].shape == (2, 9) and weights["head.weight"].abs().max() > 0


def fails_late(kind):
    def loss(logits, targets, *, progress, at=2.0):
        values = losses.cross_entropy(logits, targets)
        if progress > at and kind == "raises":
            raise RuntimeError("a fault of mine")
        return values * float("nan") if progress > at else values

    loss.__name__ = loss.__qualname__ = f"fails_{kind}"
    return loss


@pytest.mark.parametrize(
    "kind, error, message",
    [
        ("nan", FloatingPointError, "the loss is nan at step 37 of 60"),
        ("raises", RuntimeError, "a fault of mine"),
    ],
)
def test_a_failing_student_keeps_none_of_the_others(
    kind, error, message, words, tiny, registries, monkeypatch
):
    w2s.register_loss(fails_late(kind))
    # progress 1 is checked before anything is trained, so the fault comes after step 36 alone
    monkeypatch.setattr(losses, "check_loss", lambda *given: None)
    name = f"fails_{kind}"
    good = wanted_of(words, tiny, names=("xent",))
    sound = FitArgs(tiny, words.student, None, {**QUICK, "loss": name})
    bad = FitArgs(tiny, words.student, None, {**QUICK, "loss": name, "loss_args": {"at": 0.59}})
    with pytest.raises(error, match=message) as raised:
        fit_many([bad, *good, sound])
    assert "fails" in str(raised.value) or kind == "raises"
    monkeypatch.setattr(fit_module.training_job, "carry_out", None)
    for one in (*good, sound):
        assert fit_alone(one).accuracy(words.test).value > 0.4
    assert len(w2s.results()) == len(good) + 1


def test_a_loss_that_draws_has_the_numbers_it_has_alone(words, tiny, registries, monkeypatch):
    @w2s.register_loss(batchwise=True)
    def noisy(logits, targets, *, progress):
        noise = 0.1 * torch.rand(len(targets), 1)
        return losses.cross_entropy(logits, (1 - noise) * targets + noise / targets.shape[1])

    wanted = wanted_of(words, tiny, names=("noisy", "xent"))
    together = fit_many(wanted)
    monkeypatch.setenv("W2S_HOME", f"{w2s.common.paths.home()}-other")
    for one, other in zip(together, map(fit_alone, wanted), strict=True):
        assert_same(one, other)


def test_where_memory_does_not_suffice_probes_are_trained_one_by_one(words, tiny, monkeypatch):
    train, sizes = probes.train, []

    def short(together, hyperparameters):
        sizes.append(len(together))
        if len(together) > 1 or together[0].loss == "confidence":
            raise MemoryError("Unable to allocate")
        train(together, hyperparameters)

    monkeypatch.setattr(probes, "train", short)
    wanted = wanted_of(words, tiny, names=("xent", "confidence"), seeds=(0,))
    with pytest.raises(OutOfMemory, match="confidence seed 0"):
        fit_many(wanted)
    assert sizes == [5, 1, 1, 1, 1, 1] and len(w2s.results()) == 3


def test_an_interrupt_leaves_nothing_half_done(words, tiny, monkeypatch):
    def interrupted(*given):
        raise KeyboardInterrupt

    wanted = wanted_of(words, tiny, names=("xent",))
    with monkeypatch.context() as patch:
        patch.setattr(loop, "evaluation_steps", interrupted)
        with pytest.raises(KeyboardInterrupt):
            fit_many(wanted)
    assert not len(w2s.results())
    assert len(fit_many(wanted)) == len(wanted)
