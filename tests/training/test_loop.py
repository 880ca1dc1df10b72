"""The training loop: gradients of micro-batches, learning rates, batches, memory, NaN."""

import functools

import numpy as np
import pytest
import torch
from torch.optim.optimizer import register_optimizer_step_pre_hook

import w2s_nb as w2s
from w2s_nb import models
from w2s_nb.common.registry import LOSSES
from w2s_nb.inputs import activations, batches
from w2s_nb.inputs.batches import FeatureInputs, TokenInputs, paired
from w2s_nb.inputs.tokens import join, tokenize
from w2s_nb.training import loop
from w2s_nb.training.hyperparameters import Hyperparameters


def prepared(tiny, split, method="full"):
    torch.manual_seed(0)
    checkpoint = models.with_depth(models.resolve(tiny))
    net = models.build(
        checkpoint, method, split.arity, head_init="unembedding", device=torch.device("cpu")
    )
    return net, TokenInputs(tokenize(split, checkpoint, 16))


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("task", ["words", "word_pairs"])
def test_micro_batches_give_the_same_loss_and_gradient(name, task, words, tiny):
    split = w2s.load_task(task, n_train=32, n_val=16, n_test=16).student
    p1 = torch.rand(32, 1, generator=torch.Generator().manual_seed(0))
    targets = torch.cat([1 - p1, p1], 1)
    loss = functools.partial(LOSSES[name], progress=0.7)
    values = []
    gradients = []
    for micro_batch in (32, 8, 5, 1):
        net, inputs = prepared(tiny, split)
        value, logits = loop.backward(
            net,
            inputs,
            np.arange(32),
            targets,
            loss,
            micro_batch,
            batchwise=LOSSES[name].batchwise,
        )
        assert logits.shape == (32, 2) and not logits.requires_grad
        values.append(value.item())
        gradients.append(
            torch.cat([p.grad.flatten() for p in net.parameters() if p.grad is not None])
        )
    scale = gradients[0].abs().max()
    assert scale > 1e-4
    for value, gradient in zip(values[1:], gradients[1:], strict=True):
        assert value == pytest.approx(values[0], abs=1e-5)
        assert (gradient - gradients[0]).abs().max() <= 1e-5 * max(1.0, scale)


def test_a_threshold_of_the_micro_batch_would_be_seen(words, tiny):
    """Control of the test above: the confidence loss of parts is not that of the whole batch."""
    net, inputs = prepared(tiny, words.student)
    logits = net(**inputs.batch(range(32))).detach()
    targets = torch.full((32, 2), 0.5)
    whole = LOSSES["confidence"](logits, targets, progress=1.0)
    parts = torch.cat(
        [LOSSES["confidence"](part, targets[:8], progress=1.0) for part in logits.split(8)]
    )
    assert (whole - parts).abs().max() > 1e-3


def test_schedule_visits_every_example_once_per_epoch_in_a_new_order():
    lengths = np.random.default_rng(0).integers(1, 60, size=1003)
    dealt = list(loop.schedule(lengths, 32, 2, seed=0))
    assert len(dealt) == 2 * 32 and {len(b) for b in dealt} <= {31, 32}
    first = np.concatenate(dealt[:32])
    second = np.concatenate(dealt[32:])
    assert sorted(first) == sorted(second) == list(range(1003))
    assert first.tolist() != second.tolist()
    padding = sum(lengths[b].max() * len(b) for b in dealt) / (2 * lengths.sum())
    assert padding < 1.25, "batches are not sorted by length"
    again = loop.schedule(lengths, 32, 2, seed=0)
    assert [batch.tolist() for batch in again] == [batch.tolist() for batch in dealt]


def lengths_like_texts(n, seed=0):
    return np.random.default_rng(seed).gamma(4, 6, size=n).astype(int).clip(1, 64)


@pytest.mark.parametrize("n, batch_size", [(600, 32), (500, 32), (240, 32), (1003, 32), (45, 7)])
def test_batches_of_an_epoch_have_each_example_once_and_equal_sizes(n, batch_size):
    lengths = lengths_like_texts(n)
    n_batches = -(-n // batch_size)
    for seed in range(3):
        dealt = list(loop.schedule(lengths, batch_size, 3, seed))
        assert len(dealt) == 3 * n_batches
        for epoch in range(3):
            here = dealt[epoch * n_batches : (epoch + 1) * n_batches]
            assert sorted(np.concatenate(here)) == list(range(n))
            sizes = [len(batch) for batch in here]
            assert max(sizes) - min(sizes) <= 1


def test_long_batches_come_no_sooner_or_later_than_short_ones():
    lengths = lengths_like_texts(600)
    correlations = []
    for seed in range(200):
        dealt = list(loop.schedule(lengths, 32, 1, seed))
        mean_lengths = [lengths[batch].mean() for batch in dealt]
        correlations.append(np.corrcoef(np.arange(len(dealt)), mean_lengths)[0, 1])
    # of 19 batches in random order a correlation has the standard deviation 1 / sqrt(18)
    assert abs(np.mean(correlations)) < 4 / np.sqrt(18 * 200)
    assert 0.7 < np.std(correlations) * np.sqrt(18) < 1.3


def test_who_shares_a_batch_changes_with_epoch_and_seed():
    lengths = lengths_like_texts(600)

    def batchmates(batches):
        return {(a, b) for batch in batches for a in batch for b in batch if a < b}

    first, second = np.split(np.array(list(loop.schedule(lengths, 30, 2, 0))), 2)
    (other,) = np.split(np.array(list(loop.schedule(lengths, 30, 1, 1))), 1)
    assert first.tolist() != other.tolist()
    for again in (second, other):
        shared = len(batchmates(first) & batchmates(again)) / len(batchmates(first))
        assert shared < 0.5, "the same examples are always together"


def test_without_lengths_batches_are_a_plain_shuffle():
    """Probes have them: features are of one length."""
    rng = np.random.default_rng(3)
    order = rng.permutation(100)
    expected = [np.array_split(order, 4)[i].tolist() for i in rng.permutation(4)]
    dealt = loop.schedule(np.ones(100), 32, 1, 3)
    assert [batch.tolist() for batch in dealt] == expected


@pytest.mark.parametrize("n", [2, 33, 65])
def test_no_batch_is_left_with_one_example(n):
    assert min(len(b) for b in loop.schedule(np.ones(n), 32, 1, seed=0)) >= 2


@pytest.mark.parametrize("task", ["words", "word_pairs"])
def test_a_batch_in_several_passes_gives_the_same_loss_and_gradient(task, words, tiny, monkeypatch):
    split = w2s.load_task(task, n_train=32, n_val=16, n_test=16).student
    p1 = torch.rand(32, 1, generator=torch.Generator().manual_seed(0))
    targets = torch.cat([1 - p1, p1], 1)
    loss = functools.partial(LOSSES["confidence"], progress=0.7)
    results = []
    for cost in (10**6, 0):
        monkeypatch.setitem(batches.PASS_COST, "cpu", cost)
        net, inputs = prepared(tiny, split)
        # training again takes the examples in another order than their lengths have
        rows = np.random.default_rng(0).permutation(32)
        n_passes = len(loop.passes_of(inputs, rows))
        assert n_passes == 1 if cost else n_passes > 2
        value, logits = loop.backward(
            net, inputs, rows, targets, loss, micro_batch=32, batchwise=True
        )
        gradients = [p.grad.flatten() for p in net.parameters() if p.grad is not None]
        results.append((value, logits, torch.cat(gradients)))
    for one, several in zip(*results, strict=True):
        torch.testing.assert_close(one, several, atol=1e-5, rtol=1e-4)


def share_of_padding(passes):
    """Takes the lengths of the texts of each pass."""
    padded = sum(len(lengths) * lengths.max() for lengths in passes)
    return 1 - sum(lengths.sum() for lengths in passes) / padded


@pytest.mark.parametrize(
    "name, n_test",
    [
        ("movie_snippets", 800),
        ("amazon_snippets", 600),
        ("tweet_snippets", 500),
        ("editorial_snippets", 500),
        ("snippet_preferences", 800),
    ],
)
def test_little_of_what_is_computed_on_the_embedded_texts_is_padding(name, n_test):
    n_train = 500 if name == "tweet_snippets" else 600
    task = w2s.load_task(name, n_train=n_train, n_val=200, n_test=n_test)
    checkpoint = models.resolve("SmolLM2-135M")
    of_split = {
        split.name: tokenize(split, checkpoint, task.max_len)
        for split in (task.student, task.test, task.validation)
    }
    training = TokenInputs(of_split["student"])
    in_training = [
        training.lengths[rows[positions]]
        for rows in loop.schedule(training.lengths, 32, 1, seed=0)
        for positions in loop.passes_of(training, rows)
    ]
    assert share_of_padding(in_training) < 0.06
    # an evaluation, and all that is predicted at the end
    for names in (["test", "validation"], ["test", "validation", "student"]):
        predicted = TokenInputs(join([of_split[name] for name in names]))
        passes = predicted.by_length(loop.MAX_TOKENS["cpu"])
        assert share_of_padding([predicted.lengths[rows] for rows in passes]) < 0.04
    # features, of the texts of each shard
    tokens = join(list(of_split.values()))
    units = paired(tokens, list(range(len(tokens.ids))), activations.LEAST_SHARED)
    in_features = []
    while units:
        texts = TokenInputs(tokens, units=units[: activations.SHARD])
        units = units[activations.SHARD :]
        passes = texts.by_length(activations.MAX_TOKENS["cpu"])
        in_features += [texts.lengths[rows] for rows in passes]
    assert share_of_padding(in_features) < 0.04


class Hungry(torch.nn.Module):
    """A linear module that runs out of memory on more than `limit` examples."""

    def __init__(self, limit, error):
        super().__init__()
        self.head = torch.nn.Linear(3, 2, bias=False)
        self.limit = limit
        self.error = error
        self.batch_sizes = []

    def forward(self, features):
        if len(features) > self.limit:
            raise self.error
        self.batch_sizes.append(len(features))
        return self.head(features)


def train_hungry(limit=64, error=None, evaluate=lambda *scores: None, **hyperparameters):
    torch.manual_seed(0)
    net = Hungry(limit, error)
    x = torch.randn(64, 3, generator=torch.Generator().manual_seed(0))
    loop.train(
        net,
        FeatureInputs(x, 1),
        np.eye(2)[(x[:, 0] > 0).long()],
        LOSSES["confidence"],
        Hyperparameters(**{"lr": 0.1, "head_lr": 0.1, "evals": 1} | hyperparameters),
        seed=0,
        evaluate=evaluate,
        batchwise=True,
    )
    return net


class TwoParts(torch.nn.Module):
    """A body and a head, each one linear layer."""

    def __init__(self):
        super().__init__()
        self.body = torch.nn.Linear(3, 3)
        self.head = torch.nn.Linear(3, 2, bias=False)

    def forward(self, features):
        return self.head(self.body(features))


def test_weight_decay_and_beta2_reach_the_optimiser():
    chosen = Hyperparameters(lr=0.1, head_lr=0.2, weight_decay=0.3, beta2=0.95)
    for group in loop._optimizer(TwoParts(), chosen).param_groups:
        assert (group["weight_decay"], group["betas"]) == (0.3, (0.9, 0.95))


def rates_of_a_run(lr, head_lr, warmup):
    """Returns the rates (40, 2) that the optimiser used for body and head, a row per step."""
    rates = []

    def record(optimizer, *_):
        rates.append([group["lr"] for group in optimizer.param_groups])

    handle = register_optimizer_step_pre_hook(record)
    try:
        loop.train(
            TwoParts(),
            FeatureInputs(torch.randn(64, 3), 1),
            np.eye(2)[np.arange(64) % 2],
            LOSSES["xent"],
            Hyperparameters(
                epochs=20, batch_size=32, lr=lr, head_lr=head_lr, warmup=warmup, evals=1
            ),
            seed=0,
            evaluate=lambda *scores: None,
        )
    finally:
        handle.remove()
    return np.array(rates)


@pytest.mark.parametrize("warmup, steps", [(0.25, 10), (0.1, 4), (0.0, 1)])
def test_the_learning_rate_rises_linearly_over_the_warmup(warmup, steps):
    body, _ = rates_of_a_run(lr=0.2, head_lr=0.03, warmup=warmup).T
    np.testing.assert_allclose(body[:steps], 0.2 * np.arange(1, steps + 1) / steps)
    assert body.max() == 0.2


@pytest.mark.parametrize("warmup, steps", [(0.25, 10), (0.1, 4), (0.0, 1)])
def test_the_learning_rate_falls_linearly_to_zero_after_the_warmup(warmup, steps):
    body, _ = rates_of_a_run(lr=0.2, head_lr=0.03, warmup=warmup).T
    assert len(body) == 40
    # the line reaches 0 one step after the last, so that the last step still trains
    np.testing.assert_allclose(body[steps:], 0.2 * np.arange(40 - steps, 0, -1) / (40 - steps))


def test_body_and_head_have_their_own_peak_and_one_schedule():
    body, head = rates_of_a_run(lr=0.2, head_lr=0.03, warmup=0.25).T
    assert (body.max(), head.max()) == (0.2, 0.03)
    np.testing.assert_allclose(body / 0.2, head / 0.03)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory"),
    ],
)
def test_out_of_memory_halves_the_micro_batch_and_changes_nothing_else(error):
    roomy = train_hungry(64, error)
    tight = train_hungry(9, error)
    assert set(tight.batch_sizes) == {8} and set(roomy.batch_sizes) == {32}
    torch.testing.assert_close(tight.head.weight, roomy.head.weight, atol=1e-5, rtol=1e-5)


def test_out_of_memory_with_one_example_says_what_to_do():
    with pytest.raises(MemoryError, match="lower max_len"):
        train_hungry(0, torch.OutOfMemoryError("CUDA out of memory"))


def test_other_errors_are_not_taken_for_memory():
    with pytest.raises(RuntimeError, match="shapes"):
        train_hungry(0, RuntimeError("mat1 and mat2 shapes cannot be multiplied"))


def test_a_loss_that_is_not_finite_stops_training_with_a_message():
    with pytest.raises(FloatingPointError, match="nan at step 2 of 4; lower lr"):
        train_hungry(head_lr=float("nan"))


def train_with_losses(factors, evaluate=lambda *scores: None, evals=1):
    """Trains for as many steps as there are factors in the list; each is taken out at its step and
    multiplies the loss.
    """

    def loss(logits, targets, *, progress):
        return (logits * targets).sum(dim=1).abs() * factors.pop(0)

    loop.train(
        TwoParts(),
        FeatureInputs(torch.randn(len(factors), 3), 1),
        np.eye(2)[np.arange(len(factors)) % 2],
        loss,
        Hyperparameters(epochs=1, batch_size=1, lr=0.0, head_lr=0.0, evals=evals),
        seed=0,
        evaluate=evaluate,
    )


def test_losses_read_late_name_the_step_that_was_not_finite(monkeypatch):
    """On a GPU losses are read some steps at a time; what is raised is the same."""
    messages = []
    for every, left in [(1, 6), (3, 5), (100, 0)]:
        monkeypatch.setitem(loop.READ_EVERY, "cpu", every)
        factors = [1.0, float("inf"), 1.0, 1.0, 1.0, 1.0, 1.0, 1.0]
        with pytest.raises(FloatingPointError, match="inf at step 2 of 8; lower lr") as caught:
            train_with_losses(factors)
        assert len(factors) == left
        messages.append(str(caught.value))
    assert len(set(messages)) == 1


def test_losses_are_read_before_an_evaluation(monkeypatch):
    """A model whose loss was not finite is never evaluated; the mean is of all steps since."""
    means = []
    for every in (1, 3, 100):
        monkeypatch.setitem(loop.READ_EVERY, "cpu", every)
        torch.manual_seed(0)
        means.append([])
        train_with_losses(
            [1.0, 2.0, 3.0, 4.0], lambda step, at, mean: means[-1].append(mean), evals=2
        )
        with pytest.raises(FloatingPointError, match="nan at step 2 of 4"):
            train_with_losses([1.0, float("nan"), 1.0, 1.0], lambda *scores: pytest.fail(), evals=2)
    assert means[0] == means[1] == means[2] and len(means[0]) == 2


@pytest.mark.parametrize("missing", ["lr", "evals"])
def test_training_needs_a_learning_rate_and_evaluations(missing):
    with pytest.raises(ValueError, match="lr and evals are None"):
        train_hungry(**{missing: None})


@pytest.mark.parametrize(
    "evals, expected", [(3, [4, 8, 12]), (1, [12]), ((0.01, 0.25), [1, 3, 12])]
)
def test_evaluations_come_evenly_or_at_fractions_and_always_at_the_end(evals, expected):
    steps = []
    progress = []

    def evaluate(step, at, train_loss):
        steps.append(step)
        progress.append(at)

    train_hungry(evaluate=evaluate, evals=evals, epochs=6)
    assert steps == expected
    assert progress == [step / 12 for step in expected]


@pytest.mark.parametrize("micro", [32, 9])
def test_previous_is_the_average_over_epochs_of_an_examples_own_predictions(micro):
    """Every example is known by its target; the module changes all the time."""
    seen = {i: [] for i in range(64)}

    def loss(logits, targets, *, progress, previous):
        probs = logits.detach().softmax(1)
        for p1, before, now in zip(targets[:, 1], previous, probs, strict=True):
            seen[round(float(p1) * 100)].append((before.clone(), now))
        return torch.nn.functional.cross_entropy(logits, targets, reduction="none")

    net = Hungry(64, None)
    x = torch.randn(64, 3, generator=torch.Generator().manual_seed(0))
    p1 = np.arange(64) / 100
    targets = np.stack([1 - p1, p1], axis=1)
    loop.train(
        net,
        FeatureInputs(x, 1),
        targets,
        loss,
        Hyperparameters(epochs=4, lr=0.3, head_lr=0.3, evals=1),
        seed=0,
        evaluate=lambda *scores: None,
        decay=0.25,
        micro_batch=micro,
    )
    changed = 0.0
    for i, steps in seen.items():
        (first, average), *later = steps
        assert len(steps) == 4
        assert first.tolist() == pytest.approx(targets[i].tolist()), "at first the target"
        for before, now in later:
            torch.testing.assert_close(before, average)
            changed += float((now - average).abs().sum())
            average = 0.25 * average + 0.75 * now
    assert changed > 1, "the test needs predictions that change"


def test_weights_are_put_back(words, tiny):
    net, inputs = prepared(tiny, words.student)
    weights = loop.copy_weights(net)
    before = loop.predict(net, inputs)
    with torch.no_grad():
        net.head.weight.add_(1.0).mul_(torch.randn(2, 1))
    assert np.abs(loop.predict(net, inputs) - before).max() > 1e-3
    loop.load_weights(net, None)
    after_none = loop.predict(net, inputs)
    assert np.abs(after_none - before).max() > 1e-3, "None leaves the module as it is"
    loop.load_weights(net, weights)
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
