"""Hyper-parameters: what is refused, and what evaluations cost."""

import pytest

from w2s_nb.training.hyperparameters import (
    EVALUATION_SHARE,
    METHODS,
    Hyperparameters,
    choose_hyperparameters,
    examples_per_evaluation,
)


def test_changes_are_applied_to_the_defaults_of_the_method():
    chosen = choose_hyperparameters("probe", {"epochs": 7, "evals": [0.5, 1], "l2": [1, 10]})
    assert (chosen.epochs, chosen.batch_size) == (7, METHODS["probe"].batch_size)
    assert chosen.evals == (0.5, 1.0) and chosen.l2 == (10.0, 1.0)


@pytest.mark.parametrize("evals", [(), (0.0,), (0.5, 1.2), 0])
def test_evaluations_outside_of_training_are_refused(evals):
    with pytest.raises(ValueError, match="evals"):
        choose_hyperparameters("probe", {"evals": evals})


def test_an_unknown_field_is_refused_with_those_that_exist():
    with pytest.raises(TypeError, match="unknown hyper-parameter epoch; expected some of epochs"):
        choose_hyperparameters("full", {"epoch": 3})


@pytest.mark.parametrize(
    "fields, n_train, expected",
    [
        (dict(epochs=2, evals=4), 600, 64),
        (dict(epochs=2, evals=(0.1, 0.2, 0.5, 1.0)), 600, 64),
        (dict(epochs=2, evals=4), 5000, None),
        (dict(epochs=200, evals=20), 600, None),
        (dict(epochs=2, evals=9), 600, 32),
        (dict(epochs=2, evals=1), 600, 592),
    ],
)
def test_evaluations_cost_a_fixed_share_of_training(fields, n_train, expected):
    n_examples = examples_per_evaluation(Hyperparameters(**fields), n_train, 200, 800)
    assert n_examples == expected
    if expected and expected > 32 and fields["evals"] == 4:
        assert 3 * (n_examples + 200) <= EVALUATION_SHARE * 3 * 2 * n_train
