"""Measures of other labels: what an experiment is asked for, and what is compared."""

import inspect

import numpy as np
import pytest

from w2s_nb.metrics import Estimate
from w2s_nb.published.measures import MEASURES, setting
from w2s_nb.published.measures.estimates import over_chance
from w2s_nb.published.measures.setting import CONTROLS, Experiments, Setting
from w2s_nb.published.register import source

CPU = source("burns-2023").scales["cpu"]


class Arms:
    """Arms that say which two were compared."""

    class test:
        chance = 0.5

    def __init__(self, labels):
        self.labels = labels

    def accuracy(self, arm):
        return Estimate(0.6, 0.55, 0.65, 100, 5, draws=np.array([0.55, 0.65]))

    def gain_over(self, arm, other, *, others=None):
        return arm, other, others and sorted(others.labels)


@pytest.fixture
def asked(monkeypatch):
    """The label sets of every experiment that runs."""
    calls = []

    def run_arms(task, weak, strong, *, losses, labels, variant, **arguments):
        calls.append({name: getattr(made, "name", name) for name, made in labels.items()})
        return Arms(labels)

    monkeypatch.setattr(setting, "run_arms", run_arms)
    return calls


@pytest.fixture
def experiments():
    return Experiments(Setting.read(CPU))


def test_three_controls_share_one_experiment(asked, experiments):
    for control in CONTROLS:
        estimate = MEASURES["label_control_over_chance"](experiments, control=control)
        assert estimate.value == pytest.approx(0.1)
    real = MEASURES["label_control_difference"](experiments, control="shuffled")
    assert real[:2] == ("student, naive", "student, naive, on shuffled")
    assert asked == [{"shuffled": "shuffled", "random": "random", "constant": "constant"}]


def test_ground_truth_is_compared_with_none_or_with_as_much_put_elsewhere(asked, experiments):
    gain = MEASURES["truth_budget_gain"](experiments, share=0.25, by="oracle")
    assert gain[1:2] == ("student, naive",)
    first, second, _ = MEASURES["truth_budget_difference"](
        experiments, share=0.25, by="oracle", other="random"
    )
    assert gain[0] == first != second
    made = [list(sets.values()) for sets in asked]
    assert made == [["25% truth by oracle"], ["25% truth by oracle", "25% truth by random"]]


def test_accuracy_over_chance_is_shifted_whole():
    shifted = over_chance(Arms({}).accuracy("student"), 0.5)
    assert [shifted.low, shifted.value, shifted.high] == pytest.approx([0.05, 0.1, 0.15])
    assert shifted.draws == pytest.approx([0.05, 0.15])


def test_every_measure_takes_experiments_or_published_names_alone():
    for name, function in MEASURES.items():
        kinds = {p.name: p.kind for p in inspect.signature(function).parameters.values()}
        kinds.pop("experiments", None)
        assert set(kinds.values()) <= {inspect.Parameter.KEYWORD_ONLY}, name
