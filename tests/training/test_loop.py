"""The loop: gradients that no micro-batch changes, batches, memory, NaN, determinism."""

import functools

import numpy as np
import pytest
import torch

import w2s_nb as w2s
from w2s_nb import models
from w2s_nb.common.registry import LOSSES
from w2s_nb.inputs.batches import FeatureInputs, TokenInputs
from w2s_nb.inputs.tokens import tokenize
from w2s_nb.training import loop
from w2s_nb.training.hyperparameters import Hyperparameters


def prepared(tiny, split, method="full"):
    torch.manual_seed(0)
    checkpoint = models.with_depth(models.resolve(tiny))
    net = models.build(
        checkpoint, method, split.arity, head_init="unembedding", device=torch.device("cpu")
    )
    return net, TokenInputs(tokenize(split, checkpoint, 16))


def partial(name, **args):
    return functools.partial(LOSSES[name], **args)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("task", ["words", "word_pairs"])
def test_micro_batches_give_the_same_loss_and_gradient(name, task, words, tiny):
    split = w2s.load_task(task, n_train=32, n_val=16, n_test=16).student
    targets = torch.rand(32, 1, generator=torch.Generator().manual_seed(0))
    targets, found = torch.cat([1 - targets, targets], 1), []
    for micro in (32, 8, 5, 1):
        net, inputs = prepared(tiny, split)
        value, logits = loop.backward(
            net,
            inputs,
            np.arange(32),
            targets,
            partial(name, progress=0.7),
            micro,
            batchwise=LOSSES[name].batchwise,
        )
        assert logits.shape == (32, 2) and not logits.requires_grad
        found.append(
            (value, torch.cat([p.grad.flatten() for p in net.parameters() if p.grad is not None]))
        )
    scale = found[0][1].abs().max()
    assert scale > 1e-4
    for value, gradient in found[1:]:
        assert value == pytest.approx(found[0][0], abs=1e-5)
        assert (gradient - found[0][1]).abs().max() <= 1e-5 * max(1.0, scale)


def test_a_threshold_of_the_micro_batch_would_be_seen(words, tiny):
    """The control of the test above: without the whole batch, the confidence loss has another gradient."""
    net, inputs = prepared(tiny, words.student)
    logits = net(**inputs.batch(range(32))).detach()
    targets = torch.full((32, 2), 0.5)
    whole = LOSSES["confidence"](logits, targets, progress=1.0)
    parts = torch.cat(
        [LOSSES["confidence"](part, targets[:8], progress=1.0) for part in logits.split(8)]
    )
    assert (whole - parts).abs().max() > 1e-3


def test_schedule_visits_every_example_once_an_epoch_in_new_order():
    lengths = np.random.default_rng(0).integers(1, 60, size=1003)
    batches = list(loop.schedule(lengths, 32, 2, seed=0))
    sizes = {len(b) for b in batches}
    assert len(batches) == 2 * 32 and sizes <= {31, 32}
    first, second = np.concatenate(batches[:32]), np.concatenate(batches[32:])
    assert (
        sorted(first) == sorted(second) == list(range(1003)) and first.tolist() != second.tolist()
    )
    padding = sum(lengths[b].max() * len(b) for b in batches) / (2 * lengths.sum())
    assert padding < 1.25, "batches are not sorted by length"
    assert [b.tolist() for b in loop.schedule(lengths, 32, 2, seed=0)] == [
        b.tolist() for b in batches
    ]


@pytest.mark.parametrize("n", [2, 33, 65])
def test_no_batch_is_left_with_one_example(n):
    assert min(len(b) for b in loop.schedule(np.ones(n), 32, 1, seed=0)) >= 2


class Hungry(torch.nn.Module):
    """Runs out of memory on more than `limit` examples."""

    def __init__(self, limit, error):
        super().__init__()
        self.head, self.limit, self.error, self.seen = (
            torch.nn.Linear(3, 2, bias=False),
            limit,
            error,
            [],
        )

    def forward(self, features):
        if len(features) > self.limit:
            raise self.error
        self.seen.append(len(features))
        return self.head(features)


def hungry(limit, error, **options):
    torch.manual_seed(0)
    net, x = Hungry(limit, error), torch.randn(64, 3, generator=torch.Generator().manual_seed(0))
    targets = np.eye(2)[(x[:, 0] > 0).long()]
    fields = {"lr": 0.1, "head_lr": 0.1, "evals": 1}
    fields |= {k: options.pop(k) for k in list(options) if k in Hyperparameters.__annotations__}
    loop.train(
        net,
        FeatureInputs(x, 1),
        targets,
        LOSSES["confidence"],
        Hyperparameters(**fields),
        **{"seed": 0, "evaluate": lambda *a: None, "batchwise": True} | options,
    )
    return net


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory"),
    ],
)
def test_out_of_memory_halves_the_micro_batch_and_changes_nothing_else(error):
    roomy, tight = hungry(64, error), hungry(9, error)
    assert set(tight.seen) == {8} and set(roomy.seen) == {32}
    torch.testing.assert_close(tight.head.weight, roomy.head.weight, atol=1e-5, rtol=1e-5)


def test_out_of_memory_with_one_example_says_what_to_do():
    with pytest.raises(MemoryError, match="lower max_len"):
        hungry(0, torch.OutOfMemoryError("CUDA out of memory"))


def test_other_errors_are_not_taken_for_memory():
    with pytest.raises(RuntimeError, match="shapes"):
        hungry(0, RuntimeError("mat1 and mat2 shapes cannot be multiplied"))


def test_nan_stops_with_a_message():
    with pytest.raises(FloatingPointError, match="nan at step 2 of 4; lower lr"):
        hungry(64, None, head_lr=float("nan"))


def test_evaluations_are_evenly_spaced_and_the_last_is_at_the_end():
    steps = []
    hungry(
        64,
        None,
        evals=3,
        epochs=6,
        evaluate=lambda step, progress, loss: steps.append((step, progress)),
    )
    assert steps == [(4, 1 / 3), (8, 2 / 3), (12, 1.0)]


def test_evaluations_at_chosen_fractions_and_always_at_the_end():
    steps = []
    hungry(
        64,
        None,
        evals=(0.01, 0.25),
        epochs=6,
        evaluate=lambda step, progress, loss: steps.append(step),
    )
    assert steps == [1, 3, 12]


@pytest.mark.parametrize("micro", [32, 9])
def test_memory_is_the_average_over_epochs_of_the_examples_own_predictions(micro):
    """Every example, known by its target, is given the average of its own predictions, while the net changes."""
    seen = {i: [] for i in range(64)}

    def loss(logits, targets, *, progress, previous):
        for one, before, now in zip(targets[:, 1], previous, logits.detach().softmax(1)):
            seen[round(float(one) * 100)].append((before.clone(), now))
        return torch.nn.functional.cross_entropy(logits, targets, reduction="none")

    net, x = Hungry(64, None), torch.randn(64, 3, generator=torch.Generator().manual_seed(0))
    p1 = np.arange(64) / 100
    targets = np.stack([1 - p1, p1], axis=1)
    loop.train(
        net,
        FeatureInputs(x, 1),
        targets,
        loss,
        Hyperparameters(epochs=4, lr=0.3, head_lr=0.3, evals=1),
        seed=0,
        evaluate=lambda *a: None,
        decay=0.25,
        micro_batch=micro,
    )
    changed = 0.0
    for i, steps in seen.items():
        (first, now), *later = steps
        assert len(steps) == 4 and first.tolist() == pytest.approx(targets[i].tolist()), (
            "first, the target"
        )
        average = now
        for before, now in later:
            torch.testing.assert_close(before, average)
            changed += float((now - average).abs().sum())
            average = 0.25 * average + 0.75 * now
    assert changed > 1, "the test needs predictions that change"


def test_weights_are_put_back(words, tiny):
    net, inputs = prepared(tiny, words.student)
    kept, before = loop.copy_weights(net), loop.predict(net, inputs)
    with torch.no_grad():
        net.head.weight.add_(1.0).mul_(torch.randn(2, 1))
    assert np.abs(loop.predict(net, inputs) - before).max() > 1e-3
    loop.load_weights(net, None)
    assert np.abs(loop.predict(net, inputs) - before).max() > 1e-3, (
        "None leaves the module as it is"
    )
    loop.load_weights(net, kept)
    np.testing.assert_array_equal(loop.predict(net, inputs), before)


def test_chosen_examples_are_predicted_in_the_order_asked(words, tiny):
    net, inputs = prepared(tiny, words.student)
    rows = np.array([7, 0, 33])
    np.testing.assert_allclose(
        loop.predict(net, inputs, rows), loop.predict(net, inputs)[rows], atol=1e-6
    )


def test_predictions_keep_the_order_of_examples(words, tiny):
    net, inputs = prepared(tiny, words.student)
    together = loop.predict(net, inputs)
    one_by_one = np.concatenate(
        [net(**inputs.batch([i])).softmax(1).detach().numpy() for i in range(len(inputs))]
    )
    np.testing.assert_allclose(together, one_by_one, atol=1e-5)
    np.testing.assert_allclose(together.sum(1), 1, atol=1e-6)
