"""Advice on a table of arms: what is wrong with it, and what to change."""

from types import SimpleNamespace

import pandas as pd
import pytest

from w2s_nb.common.progress import collect_warnings
from w2s_nb.experiments.advice import tell


def fitted(on_labels=(0.6, 0.7, 0.65), losses=(0.7, 0.5, 0.4), stop="validation", method="top"):
    curve = pd.DataFrame({"train_loss": losses, "validation_accuracy_on_labels": on_labels})
    record = {"summary": {"method": method}}
    return SimpleNamespace(curve=curve, stop=stop, record=record)


def said(students, ceiling=None, answered=False):
    fits = {"supervisor": [fitted(stop="last")], **students, "ceiling": ceiling or [fitted()]}
    with collect_warnings() as messages:
        tell(fits, "ceiling", answered=answered)
    return messages


def test_a_sound_experiment_is_passed_over():
    assert said({"naive": [fitted(), fitted()]}) == []


def test_a_ceiling_that_ends_above_the_loss_of_guessing_is_told_of():
    unlearned = [fitted(losses=(1.7, 0.9, 0.71)), fitted(losses=(0.9, 0.8, 0.69))]
    (message,) = said({}, ceiling=unlearned)
    assert "ended at 0.700, not below the 0.693 of guessing; to change it: another" in message
    assert said({}, ceiling=unlearned, answered=True) == []


RISING = (0.6, 0.65, 0.7)


@pytest.mark.parametrize(
    "fits, message",
    [
        ([fitted(RISING), fitted(RISING)], "naive: the last evaluation was the best in every seed"),
        ([fitted(RISING, method="logistic")], "weakest penalty was the best.*smaller penalties"),
    ],
)
def test_a_best_evaluation_at_the_end_of_training_is_told_of(fits, message):
    (told,) = said({"naive": fits})
    assert pd.Series([told]).str.contains(message, regex=True).all()


@pytest.mark.parametrize(
    "fits",
    [
        [fitted(RISING), fitted()],  # not in every seed
        [fitted(RISING, stop="last")],  # nothing was chosen
        [fitted((0.7,), (0.5,))],  # one evaluation
        [fitted((0.6, 0.7, 0.7))],  # no better than the one before
    ],
)
def test_other_ends_of_training_are_passed_over(fits):
    assert said({"naive": fits}) == []
