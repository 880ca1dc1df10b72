"""Measures of the register: settings, and published numbers judged against their own noise."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import ttest_ind_from_stats

from w2s_nb.common.registry import UnknownName
from w2s_nb.metrics import Estimate
from w2s_nb.published.measures import experiments_of, measure, of_grids
from w2s_nb.published.measures.of_grids import _pearson, similarity_correlation
from w2s_nb.published.measures.of_published import difference_from_published
from w2s_nb.published.measures.setting import Setting
from w2s_nb.published.measures.table import split_arguments
from w2s_nb.published.register import source
from w2s_nb.published.verdict import AGREES, TOO_NOISY, Range, judge

CPU = source("burns-2023").scales["cpu"]


def test_places_in_the_setting_name_its_models():
    setting = Setting.read(CPU)
    assert setting.model("first_between") == "SmolLM2-135M@8"
    assert setting.model("last_between") == "SmolLM2-135M@12"
    assert setting.model("strong") == "SmolLM2-135M@16"
    assert setting.model("pythia-1b") == "pythia-1b"


def test_a_claim_may_change_a_model_of_the_setting_by_its_place():
    setting, own = split_arguments(CPU, {"weak": "last_between", "loss": "confidence"})
    assert (setting.weak, setting.strong) == ("SmolLM2-135M@12", "SmolLM2-135M@16")
    assert own == {"loss": "confidence"}


def test_models_of_another_series_have_models_between_of_their_own():
    setting, _ = split_arguments(CPU, {"task": "mate_in_one", "weak": "chess-0.1M@1"})
    assert setting.between == ()


def test_words_that_neither_setting_nor_measure_takes_are_refused():
    with pytest.raises(UnknownName, match="argument of naive_pgr"):
        measure("naive_pgr", CPU, {"epoch": 3})
    with pytest.raises(UnknownName, match="naive_pgr"):
        measure("naiv_pgr", CPU, {})
    with pytest.raises(UnknownName, match="word of a setting"):
        measure("naive_pgr", {**CPU, "epoch": 3}, {})


def test_published_baselines_of_2026_are_within_each_others_spread():
    arguments = {"source": "anthropic-2026", "first": "confident-pgr", "second": "vanilla-pgr"}
    change = measure("published_difference", CPU, arguments)
    assert judge(change.low, change.high, Range(low=0)) == TOO_NOISY
    arguments["first"], arguments["second"] = "vanilla-pgr", "zero-shot-pgr"
    change = measure("published_difference", CPU, arguments)
    assert judge(change.low, change.high, Range(low=0)) == AGREES


def test_the_interval_of_a_published_difference_is_welchs():
    numbers = source("anthropic-2026").numbers
    first, second = numbers["confident-pgr"], numbers["vanilla-pgr"]
    test = ttest_ind_from_stats(
        first.value, first.sd, 5, second.value, second.sd, 5, equal_var=False
    )
    arguments = {"source": "anthropic-2026", "first": first.name, "second": second.name}
    change = measure("published_difference", CPU, arguments)
    # the half width over the standard error is the quantile of Welch's freedom
    error = (change.value) / test.statistic
    assert np.isclose((change.high - change.value) / error, 2.3084, atol=0.01)


def test_sets_of_a_published_comparison_are_paired():
    arguments = {"source": "eleuther-2024", "first": "pgr-confidence", "second": "pgr-naive"}
    change = measure("published_paired_difference", CPU, arguments)
    assert change.n == 21
    assert np.isclose(change.value, 0.481 - 0.456, atol=0.002)
    assert change.low < 0 < change.high, "the report says p = .135, one-sided"


def test_a_number_without_a_spread_has_no_published_difference():
    with pytest.raises(ValueError, match="no sd over seeds"):
        arguments = {"source": "openai-2023", "first": "sciq-naive-median-pgr"}
        measure("published_difference", CPU, arguments | {"second": "sciq-ceiling-gpt2"})


def test_a_partial_correlation_takes_out_what_a_third_quantity_explains():
    rng = np.random.default_rng(0)
    gap = rng.normal(size=400)
    alike, gain = -gap + 0.1 * rng.normal(size=400), gap + 0.1 * rng.normal(size=400)
    points = np.stack([alike, gain, gap], axis=1)
    assert _pearson(points, partial=False) < -0.9
    assert abs(_pearson(points, partial=True)) < 0.2


class Made:
    """Experiments whose supervisor, student and ceiling reach .6, .7 and .8 by both measures."""

    def arms(self, **_):
        return self

    def accuracy(self, arm):
        return Estimate(0.7, 0.68, 0.72, 100, 5)

    auroc = accuracy

    def pgr(self, arm, measure):
        return Estimate(0.5, 0.4, 0.6, 100, 5)


def difference(source_name, published, baselines="own"):
    return difference_from_published(
        Made(), source=source_name, published=published, baselines=baselines
    )


def test_a_difference_from_a_published_value_has_both_spreads():
    theirs = source("anthropic-2026").numbers["vanilla-pgr"]
    ours = difference("anthropic-2026", "vanilla-pgr")
    half = np.hypot(0.1, 2.776 * theirs.sd / np.sqrt(5))
    expected = [0.5 - theirs.value + shift for shift in (0, -half, half)]
    assert np.allclose([ours.value, ours.low, ours.high], expected, atol=1e-3)


def test_published_baselines_give_another_pgr_of_the_same_student():
    theirs = source("anthropic-2026").numbers["vanilla-pgr"]
    ours = difference("anthropic-2026", "vanilla-pgr", "published")
    recovered = (0.7 - theirs.weak) / (theirs.ceiling - theirs.weak)
    assert np.isclose(ours.value, recovered - theirs.value)


def test_an_accuracy_has_no_baselines_and_a_gain_is_no_students():
    theirs = source("anthropic-2026").numbers["vanilla-accuracy"]
    for baselines in ("own", "published"):
        ours = difference("anthropic-2026", "vanilla-accuracy", baselines)
        assert np.isclose(ours.value, 0.7 - theirs.value)
    with pytest.raises(ValueError, match="no baselines"):
        difference("openai-2023", "sciq-naive-median-pgr", "published")
    with pytest.raises(ValueError, match="is a gain"):
        difference("mayankmahajan24", "gain-1-percent")
    with pytest.raises(ValueError, match="expected 'own' or 'published'"):
        difference("anthropic-2026", "vanilla-pgr", "theirs")


def test_points_of_one_seed_are_not_taken_for_independent_ones(monkeypatch):
    """With one pair that differs, no number of seeds makes a correlation certain."""

    class Ladder:
        setting = Setting.read(CPU)

        def arms(self, weak, strong):
            return weak, strong

    rng = np.random.default_rng(0)

    def points(pair):
        apart = pair == ("SmolLM2-135M@4", "SmolLM2-135M@16")
        noise = 0.01 * rng.normal(size=(50, 3))
        return (np.array([0.2 if apart else 0.5, 0.1 if apart else 0.0, 0.1]) + noise).tolist()

    monkeypatch.setattr(of_grids, "_points", points)
    correlation = similarity_correlation(Ladder(), partial=False)
    assert correlation.value < -0.9 and correlation.n == 6 and correlation.seeds == 50
    assert correlation.high > -0.3, "a third of the draws lack the pair that differs"


@pytest.mark.model
def test_answers_that_are_generated_are_learned_by_their_one_loss():
    pytest.importorskip("chess")
    small = {"n_train": 20, "n_test": 20, "seeds": 1, "strong": "chess-0.4M"}
    setting, _ = split_arguments(CPU, {"task": "mate_in_one", "weak": "chess-0.1M@1", **small})
    arms = experiments_of(replace(setting, method="full")).arms(losses=("xent", "confidence"))
    assert arms.students == ["student, naive"]


def test_a_suite_in_place_of_a_task_names_the_tasks_of_the_scale():
    setting = Setting.read(CPU | {"task": "suite"})
    assert setting.tasks[:2] == ("movie_snippets", "amazon_snippets")
    assert str(setting).startswith("suite laptop, SmolLM2-135M@4 → SmolLM2-135M@16")
    assert Setting.read(CPU).tasks == ("movie_snippets",)
    with pytest.raises(UnknownName, match="suite"):
        Setting.read(CPU | {"task": "suite", "suite": "laptops"}).tasks  # noqa: B018
