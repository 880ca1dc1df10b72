"""Advice on a table of arms: what is wrong with it, and what to change."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from w2s_nb.common.progress import collect_warnings
from w2s_nb.experiments.advice import tell


def fitted(on_labels=(0.6, 0.7, 0.65), losses=(0.7, 0.5, 0.4), stop="validation", method="top"):
    curve = pd.DataFrame({"train_loss": losses, "validation_accuracy_on_labels": on_labels})
    record = {"summary": {"method": method}}
    return SimpleNamespace(curve=curve, stop=stop, record=record)


class Dealt(SimpleNamespace):
    """A test split of classes, as many of each as it is told."""

    def __init__(self, *counts, answers=()):
        super().__init__(hard_label=np.repeat(np.arange(len(counts)), counts), answers=answers)

    def __len__(self):
        return len(self.hard_label)


BALANCED = Dealt(8, 8)


def said(students, ceiling=None, test=BALANCED):
    fits = {"supervisor": [fitted(stop="last")], **students, "ceiling": ceiling or [fitted()]}
    with collect_warnings() as messages:
        tell(fits, "ceiling", test)
    return messages


def test_a_sound_experiment_is_passed_over():
    assert said({"naive": [fitted(), fitted()]}) == []


def test_a_ceiling_that_ends_above_the_loss_of_guessing_is_told_of():
    unlearned = [fitted(losses=(1.7, 0.9, 0.71)), fitted(losses=(0.9, 0.8, 0.69))]
    (message,) = said({}, ceiling=unlearned)
    assert "ended at 0.700, not below the 0.693 of guessing; to change it: another" in message
    assert said({}, ceiling=unlearned, test=Dealt(16, answers=("4",))) == []


@pytest.mark.parametrize(
    "counts, nats", [((7, 7, 7), "1.099"), ((5, 5, 10), "1.040"), ((6,), "0.000")]
)
def test_the_loss_of_guessing_is_that_of_the_shares_of_the_classes(counts, nats):
    def ceiling(loss):
        return [fitted(losses=(1.7, 1.2, loss))]

    (message,) = said({}, ceiling=ceiling(float(nats) + 0.01), test=Dealt(*counts))
    assert f"not below the {nats} of guessing" in message
    assert said({}, ceiling=ceiling(float(nats) - 0.01), test=Dealt(*counts)) == []


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
