"""Tests comparisons: two texts in one sequence, their reward model, and its biases."""

import math
import random

import numpy as np
import pytest
import torch
import transformers
from scipy.stats import spearmanr

import w2s_nb as w2s
from tests.models.test_models import classifier
from w2s_nb import losses, models, plots
from w2s_nb.common.registry import TASKS, UnknownName
from w2s_nb.data.tasks.spec import Example
from w2s_nb.inputs import activations
from w2s_nb.inputs.batches import TokenInputs, TrunkInputs, alike, paired
from w2s_nb.inputs.tokens import Tokens
from w2s_nb.metrics import preference_bias
from w2s_nb.models.classifier import Classifier
from w2s_nb.training import loop

# alike at their beginning, not at all, one the beginning of the other, of length 1, and with
# different ends
PAIRS = [
    ([5, 6, 7, 8, 9], [5, 6, 7, 20, 21, 22, 23]),
    ([30, 31], [40, 41, 42]),
    ([9, 15, 9], [9, 15, 9, 16, 9]),
    ([10], [11]),
    ([0, 0, 12, 13], [0, 0, 12, 14]),
]


def tokens_of(pairs, arity=2):
    ids = tuple(np.array(t, dtype=np.int32) for pair in pairs for t in pair)
    return Tokens(
        ids, np.zeros(len(ids), dtype=bool), tuple(f"{i:016x}" for i in range(len(ids))), arity
    )


def separately(net, pairs):
    """(n, 2) logits by running each text by itself."""
    return torch.stack(
        [
            torch.cat(
                [net.head(net.body(torch.tensor([t])).last_hidden_state[0, -1]) for t in pair]
            )
            for pair in pairs
        ]
    )


def test_a_token_of_each_text_is_never_shared():
    assert [alike(*map(np.array, pair)) for pair in PAIRS] == [3, 0, 2, 0, 3]
    assert len(TokenInputs(tokens_of(PAIRS)).batch([0])["input_ids"][0]) == 3 + 2 + 4


def test_a_pair_in_one_sequence_is_the_two_texts_alone(any_tiny):
    """Logits and gradients, in any batch: no text sees the other, and none the padding."""
    inputs, targets = TokenInputs(tokens_of(PAIRS)), torch.tensor([[0.2, 0.8]]).expand(5, 2)
    gradients = []
    for packed in (True, False):
        net = classifier(any_tiny, arity=2)
        logits = net(**inputs.batch(range(5))) if packed else separately(net, PAIRS)
        losses.LOSSES["xent"](logits, targets, progress=0.0).mean().backward()
        gradients.append({name: p.grad for name, p in net.named_parameters() if p.grad is not None})
        if packed:
            torch.testing.assert_close(logits, separately(net, PAIRS), atol=2e-5, rtol=1e-4)
            for row in range(5):
                torch.testing.assert_close(
                    net(**inputs.batch([row]))[0], logits[row], atol=2e-5, rtol=1e-4
                )
    assert set(gradients[0]) == set(gradients[1])
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradient, gradients[1][name], atol=2e-4, rtol=1e-3, msg=name)


@torch.no_grad()
@pytest.mark.parametrize("top_layers", [1, 4])
def test_pairs_over_a_trunk_equal_the_whole_model(any_tiny, top_layers):
    checkpoint = models.with_depth(models.resolve(any_tiny))
    tokens = tokens_of(PAIRS)
    inputs = TrunkInputs(activations.trunk(checkpoint, 4 - top_layers, tokens), tokens)
    top = classifier(any_tiny, "top", arity=2, top_layers=top_layers)
    torch.testing.assert_close(
        top(**inputs.batch(range(5))),
        separately(classifier(any_tiny, arity=2), PAIRS),
        atol=2e-5,
        rtol=1e-4,
    )


@pytest.mark.parametrize("pool", ["last", "mean"])
def test_features_of_texts_that_begin_alike_are_those_of_each_alone(
    pool, any_tiny, monkeypatch, home
):
    checkpoint, seen, real = models.with_depth(models.resolve(any_tiny)), [], activations._run
    activations.code()  # before what it reads is replaced
    monkeypatch.setattr(
        activations,
        "_run",
        lambda lm, batch, *rest: seen.append(batch["input_ids"].numel()) or real(lm, batch, *rest),
    )
    found = {}
    for least in (2, 0.15):  # two texts never share more than half of their tokens
        monkeypatch.setattr(activations, "LEAST_SHARED", least)
        monkeypatch.setenv("W2S_HOME", str(home / str(least)))
        states = activations.pooled(checkpoint, tokens_of(PAIRS, arity=1), pool, "float32")
        trunk = activations.trunk(checkpoint, 2, tokens_of(PAIRS, arity=1))
        found[least] = [*(states.layer(depth) for depth in range(5)), *trunk], sum(seen)
        seen.clear()
    for alone, shared in zip(found[2][0], found[0.15][0]):
        np.testing.assert_allclose(shared, alone, atol=2e-5, rtol=1e-4)
    assert found[0.15][1] < found[2][1], "nothing was shared; the test could not fail"


def test_texts_are_paired_where_it_saves_and_each_once():
    tokens = tokens_of(
        [([1, 2, 3, 4], [7, 7]), ([1, 2, 3, 5, 6], [1, 2, 3, 9]), ([1, 8], [1, 2, 3, 4, 4])],
        arity=1,
    )
    units = paired(tokens, list(range(6)), 0.3)
    assert sorted(i for unit in units for i in unit) == list(range(6))
    assert {frozenset(unit) for unit in units if len(unit) == 2} == {
        frozenset((2, 3)),
        frozenset((0, 5)),
    }
    assert paired(tokens, [0, 5], 0.9) == [(5,), (0,)]


# --------------------------------------------------------------------------------- the reward model


def utility_rows(n, seed):
    """Pairs of texts whose last word is their utility, compared by Bradley-Terry odds."""
    rng = random.Random(seed)
    for _ in range(n):
        levels = rng.sample(range(2, 32), 2)
        texts = [
            " ".join(
                [*(f"w{rng.randrange(32, 60)}" for _ in range(rng.randrange(1, 6))), f"w{level}"]
            )
            for level in levels
        ]
        yield {
            "texts": texts,
            "label": int(rng.random() < 1 / (1 + math.exp(levels[0] - levels[1]))),
        }


@pytest.fixture
def utilities():
    """A task of pairs whose utilities are known: the number of the last word."""

    @w2s.register_task(
        "utilities", lambda: {"all": list(utility_rows(3000, seed=0))}, max_len=16, arity=2
    )
    def utilities(row):
        """Is the second better?"""
        yield Example(tuple(row["texts"]), row["label"])

    return w2s.load_task("utilities", n_train=512, n_val=32, n_test=64)


def test_a_reward_model_recovers_known_utilities(utilities, tiny):
    utilities = w2s.load_task("utilities", n_train=1000, n_val=32, n_test=64)
    fit = w2s.fit(
        tiny, utilities.student, method="full", lr=1e-2, head_lr=1e-2, epochs=10, keep_weights=True
    )
    levels = list(range(2, 32))
    rewards = w2s.rewards(fit, [f"w{50} w{level}" for level in levels])[:, 0]
    assert spearmanr(rewards, levels).statistic > 0.95
    assert fit.accuracy(utilities.test).value > 0.8
    pairs = w2s.rewards(fit, utilities.test)
    p1 = 1 / (1 + np.exp(pairs[:, 0] - pairs[:, 1]))
    np.testing.assert_allclose(
        p1, fit.predict(utilities.test)[:, 1], atol=5e-3
    )  # states stored as float16


@torch.no_grad()
def test_turning_a_pair_round_turns_its_rewards_round(any_tiny):
    """In one sequence, whichever of the two is whole and whichever the rest."""
    net, turned = classifier(any_tiny, arity=2), [pair[::-1] for pair in PAIRS]
    there, back = (
        net(**TokenInputs(tokens_of(pairs)).batch(range(5))) for pairs in (PAIRS, turned)
    )
    torch.testing.assert_close(there, back.flip(1), atol=2e-5, rtol=1e-4)
    torch.testing.assert_close(there.softmax(1)[:, 1] + back.softmax(1)[:, 1], torch.ones(5))
    assert (there[:, 0] - there[:, 1]).abs().min() > 1e-3, (
        "the texts score alike; the test could not fail"
    )


def test_two_long_texts_fit_in_a_context_that_holds_each(any_tiny):
    """Of 64 positions; beside a short pair, whose padding would run past them."""
    rng = np.random.default_rng(0)
    pairs = [
        tuple(rng.integers(4, 64, size=60).tolist() for _ in range(2)),
        ([5, 6, 7, 8], [9, 10, 11, 12, 13]),
    ]
    net = classifier(any_tiny, arity=2)
    torch.testing.assert_close(
        net(**TokenInputs(tokens_of(pairs)).batch([0, 1])),
        separately(net, pairs),
        atol=5e-5,
        rtol=1e-3,
    )


_SHAPE = dict(
    vocab_size=64,
    hidden_size=16,
    intermediate_size=24,
    num_hidden_layers=4,
    num_attention_heads=4,
    num_key_value_heads=2,
    sliding_window=8,
    max_position_embeddings=64,
)
OTHERS = {
    "gemma2": lambda: transformers.Gemma2Config(
        **_SHAPE, head_dim=4
    ),  # eager attention, a sliding window
    "mistral": lambda: transformers.MistralConfig(**_SHAPE),
}


@torch.no_grad()
@pytest.mark.parametrize(
    "name, attention", [("gemma2", "eager"), ("mistral", "eager"), ("mistral", "sdpa")]
)
def test_pairs_are_right_with_any_attention_and_refused_beyond_a_sliding_window(name, attention):
    torch.manual_seed(0)
    lm = transformers.AutoModelForCausalLM.from_config(
        OTHERS[name](), attn_implementation=attention
    ).eval()
    for parameter in lm.parameters():
        if parameter.ndim > 1:
            parameter.mul_(8)
    net = Classifier(lm.base_model, models.classifier.head_for(lm, 2, "unembedding", [1, 2]))
    torch.testing.assert_close(
        net(**TokenInputs(tokens_of(PAIRS)).batch(range(5))),
        separately(net, PAIRS),
        atol=1e-4,
        rtol=1e-3,
    )
    long = [(list(range(4, 14)), list(range(20, 30)))]
    with pytest.raises(ValueError, match="sliding window of 8"):
        net(**TokenInputs(tokens_of(long)).batch([0]))


@pytest.mark.parametrize("method", ["probe", "logistic", "top"])
def test_flipping_every_label_turns_every_reward_over(method, utilities, tiny):
    args = dict(method=method, keep_weights=True, stop="last") | (
        dict(head_init="zero", lr=1e-3)
        if method == "top"
        else dict(epochs=5)
        if method == "probe"
        else {}
    )
    truth = w2s.SoftLabels.truth(utilities.student)
    flipped = w2s.SoftLabels(truth.ids, truth.probs[:, ::-1], "flipped")
    there, back = (
        w2s.rewards(w2s.fit(tiny, utilities.student, labels, **args), utilities.test)
        for labels in (truth, flipped)
    )
    assert np.abs(there[:, 0] - there[:, 1]).max() > 0.05
    np.testing.assert_allclose(there, -back, atol=1e-4)


@pytest.mark.parametrize("method", ["probe", "top"])
def test_turning_a_pair_round_gives_the_complement(method, utilities, tiny):
    """The reward of a text is its own, so no order bias either."""
    fit = w2s.fit(tiny, utilities.student, method=method, keep_weights=True, lr=3e-3)
    there, back = (w2s.rewards(fit, s) for s in (utilities.test, w2s.swapped(utilities.test)))
    np.testing.assert_array_equal(there, back[:, ::-1])
    p1, round_ = (1 / (1 + np.exp(r[:, 0] - r[:, 1])) for r in (there, back))
    both = [np.stack([1 - p, p], axis=1) for p in (p1, round_)]
    np.testing.assert_allclose(p1 + round_, 1, atol=1e-12)
    assert (
        preference_bias.order_bias(*both).value == 0
        and preference_bias.order_decides(*both).value == 0
    )


def test_the_pair_loss_is_bradley_terry_and_its_gradient_is_right():
    generator = torch.Generator().manual_seed(0)
    rewards = torch.randn(6, 2, 1, dtype=torch.float64, generator=generator, requires_grad=True)
    y = torch.rand(6, dtype=torch.float64, generator=generator)
    net = Classifier(None, torch.nn.Linear(1, 1, bias=False))
    net.head.weight.data.fill_(1.0)

    def loss(r):
        logits = r.reshape(-1, 2)
        return losses.LOSSES["xent"](logits, torch.stack([1 - y, y], dim=1), progress=0.0)

    assert torch.autograd.gradcheck(loss, (rewards,))
    difference = (rewards[:, 1] - rewards[:, 0])[:, 0]
    formula = -(
        y * torch.nn.functional.logsigmoid(difference)
        + (1 - y) * torch.nn.functional.logsigmoid(-difference)
    )
    torch.testing.assert_close(loss(rewards), formula)
    (gradient,) = torch.autograd.grad(loss(rewards).sum(), rewards)
    torch.testing.assert_close(gradient[:, 1, 0], torch.sigmoid(difference.detach()) - y)
    torch.testing.assert_close(gradient.sum(dim=1), torch.zeros(6, 1, dtype=torch.float64))
    seen = net(
        features=rewards.detach().flatten(0, 1)
    )  # the module hands the loss an example's two rewards
    torch.testing.assert_close(seen, rewards.detach()[..., 0].float())


@pytest.mark.parametrize("loss", sorted(losses.LOSSES))
def test_micro_batches_of_pairs_change_nothing(loss, tiny, utilities):
    inputs = TokenInputs(tokens_of(PAIRS))
    targets = torch.tensor([[0.1, 0.9], [0.6, 0.4], [0.5, 0.5], [0.9, 0.1], [0.3, 0.7]])
    if losses.LOSSES[loss].running_average:
        targets = torch.cat([targets, targets.flip(1)], dim=1)
    found = []
    for micro in (5, 2, 1):
        net = classifier(tiny, arity=2)

        def at_step(logits, both, progress=0.5):
            more = {"previous": both[:, 2:]} if losses.LOSSES[loss].running_average else {}
            return losses.LOSSES[loss](logits, both[:, :2], progress=progress, **more)

        batchwise = losses.LOSSES[loss].batchwise
        loop.backward(net, inputs, np.arange(5), targets, at_step, micro, batchwise=batchwise)
        found.append(torch.cat([p.grad.flatten() for p in net.parameters() if p.grad is not None]))
    torch.testing.assert_close(found[0], found[1], atol=1e-4, rtol=1e-3)
    torch.testing.assert_close(found[0], found[2], atol=1e-4, rtol=1e-3)


def test_every_verb_takes_pairs_as_it_takes_texts(utilities, tiny):
    quick = dict(method="probe", epochs=20, n_train=96, n_val=32, n_test=64)
    arms = w2s.run_arms(
        "utilities",
        f"{tiny}@1",
        tiny,
        losses=("xent", "confidence"),
        seeds=2,
        labels={
            "longer": w2s.matched("longer", tiny),
            "both": w2s.taught_by(f"{tiny}@1", tiny, method="probe", epochs=20),
            "few": w2s.confident(0.5),
        },
        **quick,
    )
    table = arms.table()
    assert len(table) == 2 + 2 * 4 and table.accuracy.between(0, 1).all()
    assert (
        arms.imitation().agreement_all.notna().all()
        and arms.length_bias().over_ceiling.iloc[-1] == 0
    )
    rows = arms.length_bias().assign(labels="all")
    figure = plots.length_bias(rows, "t")
    assert [(t.name, t.y[0]) for t in figure.data] == list(zip(rows.arm, rows.length_bias))
    assert [t.y[0] - t.error_y.arrayminus[0] for t in figure.data] == pytest.approx(
        rows.length_bias_low.tolist()
    )
    chain = w2s.run_chain("utilities", [f"{tiny}@1", f"{tiny}@2", tiny], data="fresh", **quick)
    assert len(chain.table()) == 4
    saliency = w2s.run_saliency(
        "utilities", f"{tiny}@1", tiny, top_layers=2, n_train=96, n_val=32, n_test=64
    )
    assert len(w2s.probes_by_depth(saliency)[0]) == 8
    supervisor = arms.fits["weak supervisor"][0]
    report_progress_to = w2s.with_opinion(arms.tasks[0], supervisor)
    assert report_progress_to.stop == arms.tasks[0].stop and report_progress_to.student.texts[0][
        1
    ].endswith("think?")
    asked = w2s.prompt(tiny, w2s.swapped(utilities.test.take(range(4))), shots=2)
    assert asked.predict(w2s.swapped(utilities.test.take(range(4)))).shape == (4, 2)
    assert set(w2s.results().task) == {"utilities"}


# ------------------------------------------------------------------------------ what a task may set


def test_a_task_sets_hyperparameters_of_finetuning_and_not_of_probes(utilities, tiny):
    @w2s.register_task(
        "rm",
        lambda: {"all": list(utility_rows(900, seed=1))},
        max_len=16,
        arity=2,
        hyperparameters=TASKS["anthropic_hh"].hyperparameters,
        stop=TASKS["anthropic_hh"].stop,
    )
    def rm(row):
        """Is the second better?"""
        yield Example(tuple(row["texts"]), row["label"])

    task = w2s.load_task("rm", n_train=256, n_val=32, n_test=64)
    labels = w2s.fit(f"{tiny}@1", task.supervisor, method="probe").label(task.student)
    tuned = w2s.fit(tiny, task.student, labels, method="top")
    hyperparameters = tuned.record["config"]["hyperparameters"]
    assert (hyperparameters["epochs"], hyperparameters["batch_size"]) == (1, 220)
    assert tuned.stop == "last"
    assert tuned.curve.step.max() == 2  # 256 examples in batches of at most 220
    probe = w2s.fit(tiny, task.student, labels, method="probe")
    assert (probe.record["config"]["hyperparameters"]["epochs"], probe.stop) == (200, "validation")
    own = w2s.fit(tiny, task.student, labels, method="top", batch_size=32, stop="oracle")
    assert (
        own.record["config"]["hyperparameters"]["batch_size"],
        own.record["config"]["hyperparameters"]["epochs"],
        own.stop,
    ) == (32, 1, "oracle")


@pytest.mark.parametrize(
    "name", ["anthropic_hh", "summarize_from_feedback", "shp", "ultrafeedback"]
)
def test_the_papers_reward_model_settings_are_the_tasks_own(name):
    assert TASKS[name].hyperparameters == {"epochs": 1, "batch_size": 220}
    assert TASKS[name].stop == "last"


def test_the_gap_between_ratings_is_a_tasks_option():
    for name, gap in (("snippet_preferences", 1), ("snippet_preferences@2.5", 2.5)):
        rows = TASKS[name].source()["all"]
        assert min(row["gap"] for row in rows) >= gap
        texts = [row[side] for row in rows for side in ("better", "worse")]
        assert len(texts) == len(set(texts)), "a snippet stands in two pairs"
        task = w2s.load_task(name, n_train=200, n_val=40, n_test=200)
        parts = [{t for pair in split.texts for t in pair} for split in task.splits]
        assert sum(map(len, parts)) == len(set().union(*parts)) == 2 * 640
        assert task.name == name
    with pytest.raises(ValueError, match="no examples: no rows"):
        w2s.load_task("snippet_preferences@7.9")
    for option in ("x", "0", "8", "", "nan"):
        with pytest.raises(ValueError, match="number in"):
            TASKS[f"snippet_preferences@{option}"]
    with pytest.raises(ValueError, match="boolq has no options"):
        w2s.load_task("boolq@2")


@pytest.mark.filterwarnings("ignore:.*local files have the split")
def test_an_option_chooses_one_part_of_a_dataset(tmp_path, monkeypatch):
    import datasets

    for part, n in (("helpful-base", 60), ("harmless-base", 80)):
        rows = [
            dict(
                chosen=f"\n\nHuman: {part} {i}\n\nAssistant: good",
                rejected=f"\n\nHuman: {part} {i}\n\nAssistant: bad",
            )
            for i in range(n)
        ]
        (tmp_path / "anthropic_hh" / part).mkdir(parents=True)
        datasets.Dataset.from_list(rows).to_parquet(
            tmp_path / "anthropic_hh" / part / "test.parquet"
        )
    monkeypatch.setenv("W2S_DATA", str(tmp_path))
    whole, one = (
        w2s.load_task(f"anthropic_hh{option}", n_val=4, n_test=8)
        for option in ("", "@helpful-base")
    )
    assert (whole.counts["rows read"], one.counts["rows read"]) == (140, 60)
    assert all("helpful" in texts[0] for split in one.splits for texts in split.texts)
    ids = {i for split in whole.splits for i in split.ids}
    assert sum(i in ids for split in one.splits for i in split.ids) > 20, (
        "the same example has another id"
    )
    with pytest.raises(UnknownName, match="Near: helpful-base"):
        w2s.load_task("anthropic_hh@helpful")


# ------------------------------------------------------------------------------------------- biases


def both(p1):
    p1 = np.array(p1)
    return np.stack([1 - p1, p1], axis=-1)


def test_length_bias_and_order_bias_of_known_cases():
    longer, truth = np.array([1, 1, -1, -1, 0, 1]), np.array([1, 0, 0, 1, 1, 0])
    always = both([0.9, 0.8, 0.2, 0.3, 0.1, 0.7])  # prefers the longer of every pair that has one
    assert preference_bias.prefers_longer(always, longer).value == 1
    assert preference_bias.length_bias(always, truth, longer).value == pytest.approx(1 - 2 / 5)
    right = both(truth.astype(float))
    assert preference_bias.length_bias(right, truth, longer).value == 0
    assert preference_bias.length_bias_change(always, right, longer).value == pytest.approx(3 / 5)
    assert preference_bias.length_bias_change(right, always, longer).value == pytest.approx(-3 / 5)
    first = both([0.9, 0.9, 0.1, 0.6])
    assert preference_bias.order_bias(first, first).value == pytest.approx(0.25)
    assert preference_bias.order_decides(first, first).value == 1
    assert (
        preference_bias.order_bias(first, 1 - first).value == 0
        and preference_bias.order_decides(first, 1 - first).value == 0
    )


def test_only_pairs_have_a_longer_text(words, utilities):
    with pytest.raises(ValueError, match="has one text"):
        _ = words.test.longer
    with pytest.raises(ValueError, match="has one text"):
        w2s.swapped(words.test)
    with pytest.raises(ValueError, match="of comparisons"):
        w2s.simulate("longer", words.student, 0.8)
    pair = utilities.test.take([0])
    assert pair.longer[0] == np.sign(len(pair.texts[0][1]) - len(pair.texts[0][0]))


def test_simulated_errors_longer_all_prefer_the_longer_text(utilities):
    split = utilities.student
    labels = w2s.simulate("longer", split, 0.7)
    wrong = labels.for_split(split)[:, 1].astype(int) != split.hard_label
    assert wrong.sum() == round(0.3 * len(split))
    assert (split.longer[wrong] == np.where(split.hard_label[wrong] == 1, -1, 1)).all()
    bias = preference_bias.length_bias(labels.for_split(split), split.hard_label, split.longer)
    assert bias.value == pytest.approx(wrong.sum() / (split.longer != 0).sum())
    assert w2s.simulate("longer", split, 0.7, seed=1).fingerprint != labels.fingerprint
    short = (split.longer == 1 - 2 * split.hard_label).sum()
    many = w2s.simulate("longer", split, 0.3).for_split(split)[:, 1].astype(int) != split.hard_label
    assert many.sum() == round(0.7 * len(split)) > short
    assert many[split.longer == 1 - 2 * split.hard_label].all()
