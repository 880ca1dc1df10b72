"""One contract for every registered loss, and the paper's formulas."""

import functools

import numpy as np
import pytest
import torch

import w2s_nb as w2s
from w2s_nb.common.registry import LOSSES
from w2s_nb.losses.contract import loss_args, ramp

CONFIDENCE, XENT = LOSSES["confidence"], LOSSES["xent"]


def batch(b=8, seed=0):
    generator = torch.Generator().manual_seed(seed)
    p = torch.rand(b, 1, generator=generator)
    return torch.randn(b, 2, generator=generator) * 2, torch.cat([1 - p, p], dim=1)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("progress", [0.0, 0.1, 1.0])
def test_every_loss_meets_the_contract(name, progress):
    loss, (logits, targets) = LOSSES[name], batch()
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
def test_classes_are_treated_alike(name):
    logits, targets = batch()
    torch.testing.assert_close(
        LOSSES[name](logits.flip(1), targets.flip(1), progress=1.0),
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
@pytest.mark.parametrize("shapes", [((4, 2), (3, 2)), ((4, 3), (4, 3)), ((4,), (4,))])
def test_wrong_shapes_are_named(name, shapes):
    with pytest.raises(ValueError, match="expected \\(b, 2\\)"):
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
    guess = torch.nn.functional.one_hot((score > score.quantile(0.5)).long(), 2)
    torch.testing.assert_close(logits.grad, logits.detach().softmax(1) - 0.5 * (targets + guess))


def test_alpha_0_is_naive_finetuning():
    logits, targets = batch()
    torch.testing.assert_close(
        CONFIDENCE(logits, targets, progress=1.0, alpha=0.0), XENT(logits, targets, progress=1.0)
    )


def test_product_multiplies_probabilities():
    logits, targets = batch()
    logits.requires_grad_()
    LOSSES["product"](logits, targets, progress=1.0).sum().backward()
    f = logits.detach().softmax(1)
    expected = f * targets / (f * targets).sum(1, keepdim=True)
    torch.testing.assert_close(logits.grad, f - expected, atol=1e-6, rtol=1e-4)


def test_entropy_at_weight_1_is_the_entropy():
    logits, targets = torch.zeros(3, 2), torch.tensor([[1.0, 0.0]] * 3)
    torch.testing.assert_close(
        LOSSES["entropy"](logits, targets, progress=1.0, alpha=1.0), torch.full((3,), 2.0).log()
    )


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
        (lambda: loss_args("confidence", {"alhpa": 1}), "takes alpha, warmup; given alhpa"),
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


def test_generalized_cross_entropy_lies_between_cross_entropy_and_absolute_error():
    logits, targets = batch()
    torch.testing.assert_close(
        LOSSES["generalized_xent"](logits, targets, progress=0.0, q=1e-4),
        XENT(logits, targets, progress=0.0),
        atol=1e-3,
        rtol=1e-3,
    )
    hard = torch.nn.functional.one_hot(targets.argmax(1), 2).float()
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


def test_label_smoothing_moves_the_best_prediction():
    targets = torch.tensor([[0.0, 1.0]])
    best = torch.tensor([[0.05, 0.95]]).log()
    assert gradient("label_smoothing", best, targets, smoothing=0.1).abs().max() < 1e-6
    assert gradient("xent", best, targets).abs().max() > 0.04


def test_reverse_cross_entropy_is_the_formula_and_seeks_the_likelier_class():
    logits, targets = batch()
    f = logits.softmax(1)
    torch.testing.assert_close(
        LOSSES["reverse_xent"](logits, targets, progress=0.0),
        -(f * targets.clamp(min=1e-4).log()).sum(1),
    )
    step = logits - gradient("reverse_xent", logits, targets)
    toward = (step - logits).diff(dim=1)[:, 0] > 0
    assert (toward == (targets[:, 1] > 0.5)).all()
    at_label = targets.log()
    assert gradient("xent", at_label, targets).abs().max() < 1e-6
    assert gradient("reverse_xent", at_label, targets).abs().max() > 1e-3, (
        "it goes on past the label"
    )


def test_temporal_ensembling_mixes_label_and_running_average():
    logits, targets = batch()
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
