"""One contract for every registered loss, and the paper's formulas."""

import functools
import itertools

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import w2s_nb as w2s
from w2s_nb.common.registry import LOSSES
from w2s_nb.losses import paper
from w2s_nb.losses.contract import check_loss, loss_args, ramp

CONFIDENCE, XENT = LOSSES["confidence"], LOSSES["xent"]


def batch(b=8, seed=0, n_classes=2):
    generator = torch.Generator().manual_seed(seed)
    if n_classes > 2:
        p = torch.randn(b, n_classes, generator=generator).softmax(1)
        return torch.randn(b, n_classes, generator=generator) * 2, p
    p = torch.rand(b, 1, generator=generator)
    return torch.randn(b, 2, generator=generator) * 2, torch.cat([1 - p, p], dim=1)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("progress", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("n_classes", [2, 3, 7])
def test_every_loss_meets_the_contract(name, progress, n_classes):
    loss, (logits, targets) = LOSSES[name], batch(n_classes=n_classes)
    logits.requires_grad_()
    values = loss(logits, targets, progress=progress)
    assert values.shape == (8,) and values.dtype == torch.float32 and (values >= -1e-6).all()
    values.mean().backward()
    assert torch.isfinite(logits.grad).all() and logits.grad.abs().max() > 0
    order = torch.randperm(8, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(
        loss(logits[order], targets[order], progress=progress), values[order]
    )
    shifted = loss(logits + 3.0, targets, progress=progress)  # both scores by the same
    torch.testing.assert_close(shifted, values)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("order", [(1, 0), (1, 2, 0), (2, 1, 0)])
def test_classes_are_treated_alike(name, order):
    logits, targets = batch(16, n_classes=len(order))
    torch.testing.assert_close(
        LOSSES[name](logits[:, order], targets[:, order], progress=1.0),
        LOSSES[name](logits, targets, progress=1.0),
    )


@pytest.mark.parametrize("name", ["confidence", "product", "entropy"])
def test_warm_up_starts_as_cross_entropy(name):
    logits, targets = batch()
    torch.testing.assert_close(
        LOSSES[name](logits, targets, progress=0.0),
        XENT(logits, targets, progress=0.0),
        atol=1e-5,
        rtol=1e-5,
    )


@pytest.mark.parametrize("name", LOSSES)
def test_extreme_inputs_stay_finite(name):
    logits = torch.tensor([[80.0, -80.0], [-80.0, 80.0], [0.0, 0.0]], requires_grad=True)
    LOSSES[name](
        logits, torch.tensor([[0.0, 1.0], [1.0, 0.0], [1.0, 0.0]]), progress=1.0
    ).sum().backward()
    assert torch.isfinite(logits.grad).all()


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize(
    "shapes", [((4, 2), (3, 2)), ((4, 3), (4, 2)), ((4, 1), (4, 1)), ((4,), (4,)), ((4, 2, 2),) * 2]
)
def test_wrong_shapes_are_named(name, shapes):
    if LOSSES[name].stacks and len(shapes[0]) == 3:
        shapes = [(2, *shape) for shape in shapes]  # a stack of stacks
    with pytest.raises(ValueError, match="expected \\(b, K\\)"):
        LOSSES[name](torch.zeros(shapes[0]), torch.zeros(shapes[1]), progress=0.0)


@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_is_batchwise_exactly_if_registered_so(name):
    logits, targets = batch(16)
    whole = LOSSES[name](logits, targets, progress=1.0)
    in_quarters = torch.cat(
        [
            LOSSES[name](scores, labels, progress=1.0)
            for scores, labels in zip(logits.split(4), targets.split(4), strict=True)
        ]
    )
    assert torch.allclose(whole, in_quarters) != LOSSES[name].batchwise


def before_more_classes(name, logits, targets, a, **args):
    """The losses of two classes as they were written before there were more."""
    if name == "confidence":
        score = (logits[:, 1] - logits[:, 0]).detach()
        above = score > score.median()
        guess = torch.stack([~above, above], dim=1)
        return F.cross_entropy(logits, (1 - a) * targets + a * guess, reduction="none")
    if name == "label_smoothing":
        return F.cross_entropy(logits, 0.9 * targets + 0.1 / 2, reduction="none")
    naive = F.cross_entropy(logits, targets, reduction="none")
    return (1 - a) * naive + a * F.softmax(logits, dim=1).prod(dim=1)


@pytest.mark.parametrize("name", ["confidence", "l2_confidence", "label_smoothing"])
@pytest.mark.parametrize("b", [2, 7, 32])
def test_two_classes_keep_their_losses_and_gradients_to_the_last_digit(name, b):
    for seed in range(10):
        logits, targets = batch(b, seed)
        logits[-1] = logits[0]  # two examples may be alike
        results = []
        for loss in (
            lambda *given: LOSSES[name](*given, progress=0.1),
            lambda *given: before_more_classes(name, *given, a=0.25),
        ):
            scores = logits.clone().requires_grad_()
            values = loss(scores, targets)
            values.mean().backward()
            results.append(torch.cat([values.detach()[:, None], scores.grad], dim=1))
        assert torch.equal(*results)


def guess_of(logits, targets, **args):
    """Returns the guesses (b,) of the confidence loss, from its gradient."""
    logits = logits.clone().requires_grad_()
    CONFIDENCE(logits, targets, progress=1.0, alpha=1.0, **args).sum().backward()
    one_hot = (logits.softmax(1) - logits.grad).detach()
    torch.testing.assert_close(one_hot.max(1).values, torch.ones(len(logits)))
    return one_hot.argmax(1)


@pytest.mark.parametrize("shift", [-5.0, 0.0, 5.0])
def test_each_class_has_its_share_of_the_weak_labels_among_the_guesses(shift):
    logits, targets = batch(32, n_classes=3)
    logits = logits + torch.tensor([0.0, shift, 0.0])
    hard = F.one_hot(torch.tensor([0] * 16 + [1] * 3 + [2] * 13), 3).float()
    assert guess_of(logits, hard).bincount(minlength=3).tolist() == [16, 3, 13]
    soft = guess_of(logits, targets).bincount(minlength=3)
    assert (soft - targets.sum(0)).abs().max() < 1
    equal = guess_of(logits, hard, shares="equal")
    assert equal.bincount(minlength=3).tolist() == [11, 11, 10], "lower classes take what is left"


def test_a_class_that_no_weak_label_names_is_not_guessed():
    logits, _ = batch(9, n_classes=3)
    for n_classes in (2, 3):
        hard = F.one_hot(torch.ones(9, dtype=torch.long), n_classes).float()
        guesses = guess_of(logits[:, :n_classes], hard, shares="weak")
        assert guesses.tolist() == [1] * 9


def test_guesses_have_the_largest_sum_of_log_probabilities_for_their_shares():
    for seed in range(5):
        logits, targets = batch(7, seed, n_classes=3)
        guess = guess_of(logits, targets)
        log_f = logits.log_softmax(1)
        rows = torch.arange(7)
        best = max(
            log_f[rows, torch.tensor(each)].sum()
            for each in set(itertools.permutations(guess.tolist()))
        )
        torch.testing.assert_close(log_f[rows, guess].sum(), best)


@pytest.mark.parametrize("order", list(itertools.permutations(range(3)))[1:])
def test_permuting_the_classes_permutes_the_guesses(order):
    logits, targets = batch(32, n_classes=3)
    order = torch.tensor(order)
    permuted = guess_of(logits[:, order], targets[:, order])
    assert torch.equal(order[permuted], guess_of(logits, targets))


@pytest.mark.parametrize("b", [2, 7, 32])
@pytest.mark.parametrize("shares", ["equal", "weak"])
def test_the_assignment_of_two_classes_is_the_threshold(b, shares):
    for seed in range(10):
        logits, targets = batch(b, seed)
        above = paper._guess(logits, targets, shares)
        assert torch.equal(paper._assign(logits, targets, shares), above)


@pytest.mark.parametrize("b", [2, 7, 32])
def test_shares_of_two_classes_are_one_loss_where_weak_labels_are_balanced(b):
    logits, targets = batch(b)
    half = targets[: b // 2]
    balanced = torch.cat([half, half.flip(1), torch.full((b % 2, 2), 0.5)])
    one, *others = (
        CONFIDENCE(logits, balanced, progress=1.0, shares=shares)
        for shares in (None, "equal", "weak")
    )
    assert torch.equal(one, others[0]) and torch.equal(one, others[1])


def test_the_confidence_loss_of_three_classes_is_its_formula():
    logits, targets = batch(12, n_classes=3)
    guess = F.one_hot(guess_of(logits, targets), 3)
    a = 0.5 * 0.1 / 0.2
    mixed = (1 - a) * targets + a * guess
    expected = -(mixed * logits.log_softmax(1)).sum(1)
    torch.testing.assert_close(CONFIDENCE(logits, targets, progress=0.1), expected)
    logits.requires_grad_()
    CONFIDENCE(logits, targets, progress=0.1).sum().backward()
    torch.testing.assert_close(logits.grad, logits.detach().softmax(1) - mixed)


@pytest.mark.parametrize("b", [2, 7, 32])
@pytest.mark.parametrize("shift", [-5.0, 0.0, 5.0])
def test_half_of_the_batch_is_guessed_1(b, shift):
    logits, targets = batch(b)
    logits = (logits + torch.tensor([0.0, shift])).requires_grad_()
    CONFIDENCE(logits, targets, progress=1.0, alpha=1.0).sum().backward()
    guess = (logits.softmax(1) - logits.grad)[:, 1].round()
    assert guess.sum() == b // 2
    assert logits[guess == 1].diff(dim=1).min() > logits[guess == 0].diff(dim=1).max()


def test_confidence_is_the_formula_of_appendix_a4():
    logits, targets = batch(6)
    f, w = logits.softmax(1)[:, 1], targets[:, 1]
    guess, a = (f.argsort().argsort() >= 3).float(), 0.5 * 0.1 / 0.2  # the upper half, by rank

    def ce(p, q):
        return -(q * p.log() + (1 - q) * (1 - p).log())

    torch.testing.assert_close(
        CONFIDENCE(logits, targets, progress=0.1), (1 - a) * ce(f, w) + a * ce(f, guess)
    )


def test_no_gradient_flows_through_the_guess():
    logits, targets = batch()
    logits.requires_grad_()
    CONFIDENCE(logits, targets, progress=1.0, alpha=0.5).sum().backward()
    score = logits.detach().diff(dim=1).squeeze()
    guess = F.one_hot((score > score.quantile(0.5)).long(), 2)
    torch.testing.assert_close(logits.grad, logits.detach().softmax(1) - 0.5 * (targets + guess))


@pytest.mark.parametrize("n_classes", [2, 3])
def test_alpha_0_is_naive_finetuning(n_classes):
    logits, targets = batch(n_classes=n_classes)
    torch.testing.assert_close(
        CONFIDENCE(logits, targets, progress=1.0, alpha=0.0), XENT(logits, targets, progress=1.0)
    )


@pytest.mark.parametrize("n_classes", [2, 3])
def test_product_multiplies_probabilities(n_classes):
    logits, targets = batch(n_classes=n_classes)
    logits.requires_grad_()
    LOSSES["product"](logits, targets, progress=1.0).sum().backward()
    f = logits.detach().softmax(1)
    expected = f * targets / (f * targets).sum(1, keepdim=True)
    torch.testing.assert_close(logits.grad, f - expected, atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("n_classes", [2, 3])
def test_entropy_at_weight_1_is_the_entropy(n_classes):
    logits, targets = batch(n_classes=n_classes)
    f = logits.softmax(1)
    value = LOSSES["entropy"](logits, targets, progress=1.0, alpha=1.0)
    torch.testing.assert_close(value, -(f * f.log()).sum(1))
    mixed = LOSSES["entropy"](logits, targets, progress=0.1, alpha=0.4)
    naive = -(targets * f.log()).sum(1)
    torch.testing.assert_close(mixed, 0.8 * naive + 0.2 * value)


def test_ramp_is_linear_then_flat_and_never_jumps():
    at = np.linspace(0, 1, 1001)
    weight = np.array([ramp(p, 0.2) for p in at])
    assert weight[0] == 0 and (weight[200:] == 1).all() and np.abs(np.diff(weight)).max() < 0.0051


@pytest.mark.parametrize(
    "call, says",
    [
        (lambda: CONFIDENCE(*batch(1), progress=0.0), "batch of 1"),
        (lambda: CONFIDENCE(*batch(), progress=0.0, alpha=1.5), r"\[0, 1\]"),
        (lambda: CONFIDENCE(*batch(), progress=0.0, warmup=0), "above 0"),
        (
            lambda: CONFIDENCE(*batch(), progress=0.0, shares="even"),
            "'even'; expected 'equal', 'we",
        ),
        (lambda: loss_args("confidence", {"alhpa": 1}), "takes alpha, warmup, shares; given alhpa"),
        (lambda: loss_args("logconf"), "confidence"),
    ],
)
def test_errors_say_what_is_expected(call, says):
    with pytest.raises(ValueError, match=says):
        call()


def test_a_running_average_whose_decay_the_loss_does_not_take_is_refused():
    with pytest.raises(ValueError, match="must take dcay and previous"):

        @w2s.register_loss(running_average="dcay")
        def forgetful(logits, targets, *, progress, previous=None, decay=0.5):
            """Forgets."""


@pytest.mark.parametrize(
    "function, says",
    [
        (lambda logits, targets, *, progress: 0, "given <function <lambda>.*; expected a function"),
        (functools.partial(max), "given functools.partial.*; expected a function, by `def`"),
    ],
)
def test_what_is_no_loss_is_not_registered(function, says):
    with pytest.raises(TypeError, match=says):
        w2s.register_loss(function)


def test_a_loss_of_other_arguments_is_not_registered():
    def no_progress(logits, targets):
        """Lacks an argument."""

    def no_default(logits, targets, *, progress, alpha):
        """Has an argument that nobody gives."""

    with pytest.raises(TypeError, match="takes logits, targets, and lacks progress; expected"):
        w2s.register_loss(no_progress)
    with pytest.raises(TypeError, match="has no default for alpha; expected"):
        w2s.register_loss(no_default)
    assert not {"no_progress", "no_default"} & set(LOSSES)


def test_a_new_loss_is_one_registered_function(words, tiny):
    @w2s.register_loss
    def squared(logits, targets, *, progress, scale=1.0):
        """Squared error."""
        return scale * (logits.softmax(1) - targets).square().sum(1)

    try:
        fit = w2s.fit(
            tiny, words.student, method="probe", loss="squared", loss_args={"scale": 2.0}, epochs=20
        )
        assert fit.record["summary"]["loss_args"] == {"scale": 2.0}
    finally:
        LOSSES._entries.pop("squared")


def gradient(name, logits, targets, **args):
    logits = logits.clone().requires_grad_()
    LOSSES[name](logits, targets, progress=1.0, **args).sum().backward()
    return logits.grad


def test_l2_confidence_at_weight_1_pushes_away_from_one_half():
    logits, targets = batch()
    f = logits.softmax(1)[:, 1]
    value = LOSSES["l2_confidence"](logits, targets, progress=1.0, alpha=1.0)
    torch.testing.assert_close(value, 0.25 - (f - 0.5) ** 2)
    step = logits - 0.1 * gradient("l2_confidence", logits, targets, alpha=1.0)
    assert ((step.softmax(1)[:, 1] - 0.5).abs() >= (f - 0.5).abs()).all()


def test_l2_confidence_of_three_classes_pushes_away_from_one_third():
    logits, targets = batch(n_classes=3)
    f = logits.softmax(1)
    value = LOSSES["l2_confidence"](logits, targets, progress=1.0, alpha=1.0)
    distance = ((f - 1 / 3) ** 2).sum(1)
    torch.testing.assert_close(value, (2 / 3 - distance) / 2)
    step = logits - 0.1 * gradient("l2_confidence", logits, targets, alpha=1.0)
    assert (((step.softmax(1) - 1 / 3) ** 2).sum(1) >= distance).all()


@pytest.mark.parametrize("n_classes", [2, 3])
def test_generalized_cross_entropy_lies_between_cross_entropy_and_absolute_error(n_classes):
    logits, targets = batch(n_classes=n_classes)
    torch.testing.assert_close(
        LOSSES["generalized_xent"](logits, targets, progress=0.0, q=1e-4),
        XENT(logits, targets, progress=0.0),
        atol=1e-3,
        rtol=1e-3,
    )
    hard = F.one_hot(targets.argmax(1), n_classes).float()
    torch.testing.assert_close(
        LOSSES["generalized_xent"](logits, hard, progress=0.0, q=1.0),
        (logits.softmax(1) - hard).abs().sum(1) / 2,
    )


def test_a_confidently_wrong_label_weighs_less_in_generalized_cross_entropy():
    logits, wrong = torch.tensor([[6.0, -6.0]]), torch.tensor([[0.0, 1.0]])
    assert (
        gradient("generalized_xent", logits, wrong).abs().max()
        < 0.01 * gradient("xent", logits, wrong).abs().max()
    )


@pytest.mark.parametrize("best", [[0.05, 0.95], [0.1 / 3, 0.9 + 0.1 / 3, 0.1 / 3]])
def test_label_smoothing_moves_the_best_prediction(best):
    targets = F.one_hot(torch.tensor([1]), len(best)).float()
    best = torch.tensor([best]).log()
    assert gradient("label_smoothing", best, targets, smoothing=0.1).abs().max() < 1e-6
    assert gradient("xent", best, targets).abs().max() > 0.04


@pytest.mark.parametrize("n_classes", [2, 3])
def test_reverse_cross_entropy_is_the_formula_and_seeks_the_likelier_class(n_classes):
    logits, targets = batch(n_classes=n_classes)
    f = logits.softmax(1)
    torch.testing.assert_close(
        LOSSES["reverse_xent"](logits, targets, progress=0.0),
        -(f * targets.clamp(min=1e-4).log()).sum(1),
    )
    toward = -gradient("reverse_xent", logits, targets).gather(1, targets.argmax(1)[:, None])
    assert (toward > 0).all()
    at_label = targets.log()
    assert gradient("xent", at_label, targets).abs().max() < 1e-6
    assert gradient("reverse_xent", at_label, targets).abs().max() > 1e-3, (
        "it goes on past the label"
    )


@pytest.mark.parametrize("n_classes", [2, 3])
def test_temporal_ensembling_mixes_label_and_running_average(n_classes):
    logits, targets = batch(n_classes=n_classes)
    previous = targets.flip(1)
    value = LOSSES["temporal_ensembling"](
        logits, targets, progress=1.0, previous=previous, alpha=0.3
    )
    torch.testing.assert_close(value, XENT(logits, 0.7 * targets + 0.3 * previous, progress=1.0))
    torch.testing.assert_close(
        LOSSES["temporal_ensembling"](logits, targets, progress=1.0),
        XENT(logits, targets, progress=1.0),
    )


@pytest.mark.parametrize(
    "name, args, says",
    [
        ("l2_confidence", {"alpha": -0.1}, "alpha"),
        ("generalized_xent", {"q": 0}, "q 0"),
        ("label_smoothing", {"smoothing": 1.1}, "smoothing"),
        ("reverse_xent", {"floor": 0.0}, "floor"),
        ("temporal_ensembling", {"decay": 1.0}, "decay"),
        ("temporal_ensembling", {"alpha": 2}, "alpha"),
        ("temporal_ensembling", {"decay": "x"}, "decay 'x'"),
        ("temporal_ensembling", {"previous": torch.ones(1, 2)}, r"previous \(1, 2\) and targets"),
        ("product", {"beta": float("nan")}, "beta nan; expected a finite number"),
        ("product", {"alpha": float("inf")}, "alpha inf"),
        ("confidence", {"alpha": "0.5"}, r"alpha '0.5'; expected a number in \[0, 1\]"),
        ("confidence", {"warmup": float("nan")}, "warmup nan"),
        ("reverse_xent", {"floor": "x"}, "floor 'x'"),
        ("generalized_xent", {"q": "x"}, "q 'x'"),
    ],
)
def test_arguments_out_of_range_are_named(name, args, says):
    with pytest.raises(ValueError, match=says):
        LOSSES[name](*batch(), progress=0.5, **args)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("row", [[-0.7, 1.7], [0.6, 1.4], [float("nan"), 0.5], [1.0, float("inf")]])
def test_targets_that_are_no_probabilities_are_named(name, row):
    logits, targets = batch()
    targets[3] = torch.tensor(row)
    with pytest.raises(ValueError, match="targets of example 3 of .*; expected probabilities"):
        LOSSES[name](logits, targets, progress=0.5)


@pytest.mark.parametrize("progress", [float("nan"), -3.0, 1.5, None])
def test_progress_is_a_share_of_training(progress):
    with pytest.raises(ValueError, match=r"progress .*; expected a number in \[0, 1\]"):
        CONFIDENCE(*batch(), progress=progress)


def test_a_loss_takes_tensors():
    with pytest.raises(TypeError, match="logits are a list; expected a tensor"):
        XENT([[0.0, 1.0]], [[0.0, 1.0]], progress=0.0)


OF_ONES_OWN = {
    "a scalar": lambda xent, logits: xent.mean(),
    "(4, 2)": lambda xent, logits: torch.stack([xent, xent], dim=1),
    "(3,)": lambda xent, logits: xent[1:],
    "dtype int64": lambda xent, logits: xent.long(),
    "NoneType": lambda xent, logits: None,
    "not finite": lambda xent, logits: xent * float("nan"),
    "no gradient": lambda xent, logits: xent.detach(),
    "gradient that is not finite": lambda xent, logits: (xent - xent).sqrt(),
    "batchwise=True": lambda xent, logits: xent - xent.mean(),
}


@pytest.fixture
def own_loss():
    """Registers a loss of one's own for a test."""

    def register(function, **contract):
        def own(logits, targets, *, progress, previous=None, decay=0.5):
            """Whatever the function makes of cross-entropy."""
            return function(XENT(logits, targets, progress=progress), logits)

        return w2s.register_loss(own, **contract)

    yield register
    LOSSES._entries.pop("own", None)


@pytest.mark.parametrize("says", OF_ONES_OWN)
def test_a_loss_that_breaks_the_contract_is_refused_before_a_model_is_loaded(
    says, own_loss, words, tiny, monkeypatch
):
    own_loss(OF_ONES_OWN[says])
    monkeypatch.setattr("w2s_nb.models.loading.load_lm", None)
    monkeypatch.setattr("w2s_nb.models.loading.digest", None)
    sizes = dict(n_train=96, n_val=32, n_test=64)
    for call in (
        lambda: w2s.fit(tiny, words.student, loss="own"),
        lambda: w2s.run_arms("words", tiny, tiny, losses=["xent", "own"], **sizes),
    ):
        with pytest.raises(ValueError) as refused:
            call()
        message = str(refused.value)
        assert message.startswith("loss 'own'") and says in message and "\n" not in message
        assert "expected" in message
    assert w2s.results().empty


OF_TWO_CLASSES = {
    "of class 2": lambda logits, targets: F.cross_entropy(
        logits[:, :2], targets[:, 1].long(), reduction="none"
    ),
    "returned (4, 2) for 4 examples": lambda logits, targets: F.binary_cross_entropy_with_logits(
        logits.diff(dim=1), targets[:, 1:], reduction="none"
    ),
    "must match": lambda logits, targets: (logits * torch.tensor([1.0, -1.0])).sum(1),
}


@pytest.mark.parametrize("says", OF_TWO_CLASSES)
def test_a_loss_that_knows_two_classes_only_is_refused_by_its_name_for_three(
    says, registries, three, tiny, monkeypatch
):
    @w2s.register_loss
    def own(logits, targets, *, progress):
        """Knows two classes."""
        return OF_TWO_CLASSES[says](logits, targets).reshape(len(logits), -1).squeeze(1)

    check_loss("own", {})
    monkeypatch.setattr("w2s_nb.models.loading.load_lm", None)
    sizes = dict(n_train=96, n_val=33, n_test=63)
    for call in (
        lambda: w2s.fit(tiny, three.student, loss="own"),
        lambda: w2s.run_arms("three", tiny, tiny, losses=["xent", "own"], **sizes),
    ):
        with pytest.raises(ValueError, match="^loss 'own' on 3 classes") as refused:
            call()
        assert says in str(refused.value) and "\n" not in str(refused.value)
    assert w2s.results().empty


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("n_classes", [3, 10])
def test_the_losses_of_the_kit_take_more_classes(name, n_classes):
    check_loss(name, loss_args(name), n_classes)


def test_a_loss_that_seeks_a_margin_is_taken_though_it_reads_two_scores_of_an_example(own_loss):
    def margin(logits, targets, *, progress):
        """Asks of the label's score to be above the best of the others."""
        label = targets.argmax(1, keepdim=True)
        best = logits.scatter(1, label, -torch.inf).max(dim=1).values
        return F.softplus(best - logits.gather(1, label)[:, 0])

    w2s.register_loss(margin)
    try:
        check_loss("margin", {}, 10)
    finally:
        LOSSES._entries.pop("margin")


@pytest.mark.parametrize("contract", [{}, {"batchwise": True}, {"running_average": "decay"}])
@pytest.mark.parametrize("micro_batch", [None, 8])
def test_a_loss_that_breaks_the_contract_in_training_is_refused_at_that_step(
    contract, micro_batch, own_loss, words, tiny
):
    """It keeps the contract on the four rows that it is tried on, and on no others."""
    own_loss(lambda xent, logits: xent if len(xent) <= 4 else xent.mean(), **contract)
    with pytest.raises(ValueError, match=r"loss 'own' returned a scalar for \d+ .*expected \(\d"):
        w2s.fit(tiny, words.student, loss="own", head_init="zero", micro_batch=micro_batch)
    assert w2s.results().empty


@pytest.mark.parametrize(
    "name, given",
    [
        ("confidence", {"alpha": 2.0}),
        ("confidence", {"alpha": "0.5"}),
        ("confidence", {"alpha": float("nan")}),
        ("confidence", {"warmup": 0}),
        ("product", {"alpha": float("nan")}),
        ("temporal_ensembling", {"decay": 1.0}),
        ("generalized_xent", {"q": 0}),
    ],
)
def test_arguments_of_a_loss_are_refused_before_anything_is_trained(name, given, words, tiny):
    (argument,) = given
    says = f"loss '{name}' with .*{argument} .*expected"
    with pytest.raises(ValueError, match=says):
        w2s.fit(tiny, words.student, loss=name, loss_args=given)
    sizes = dict(n_train=96, n_val=32, n_test=64)
    with pytest.raises(ValueError, match=says):
        w2s.run_arms("words", tiny, tiny, losses=["xent", name], loss_args={name: given}, **sizes)
    assert w2s.results().empty


def test_trying_a_loss_leaves_torchs_random_state_as_it_was(own_loss):
    own_loss(lambda xent, logits: xent + 0 * torch.rand(1))
    state = torch.random.get_rng_state()
    w2s.losses.check_loss("own", {"decay": 0.5})
    assert torch.equal(torch.random.get_rng_state(), state)
