"""Hyper-parameters: what is changed, and what is refused."""

import pytest

from w2s_nb.training.hyperparameters import (
    METHODS,
    choose_hyperparameters,
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
