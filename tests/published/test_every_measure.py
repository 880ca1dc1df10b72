"""Every measure that a claim names gives a number, run here with tiny models."""

import functools
import math
from dataclasses import replace

import pytest

from w2s_nb.common.progress import collect_warnings
from w2s_nb.metrics import Estimate
from w2s_nb.published import register
from w2s_nb.published.measures.setting import Experiments
from w2s_nb.published.measures.table import MEASURES, needs_experiments, split_arguments
from w2s_nb.suites.names import SUITES, Suite

from ..conftest import register_words

SIZES = {"n_train": 48, "n_val": 32, "n_test": 64, "seeds": 2}
# those whose claims have tasks or models of their own, which other tests run
ELSEWHERE = (
    "saliency_difference",  # below
    "generative_gain",
    "zero_shot_over_chance",
    "similarity_correlation",
)


def first_claims():
    """Returns {measure: arguments of the first claim that it judges by the embedded models}."""
    found = {}
    for source in register.sources().values():
        for claim in source.claims.values():
            for part in claim.parts if "cpu" in claim.scales else ():
                if needs_experiments(part.measure) and part.measure not in ELSEWHERE:
                    found.setdefault(part.measure, part.arguments)
    return found


@pytest.fixture(scope="module")
def estimates(tiny, tmp_path_factory):
    """Returns {measure: its number by tiny models}; experiments and fits are shared."""
    register_words()
    scale = {
        "task": "words",
        "weak": f"{tiny}@1",
        "between": (f"{tiny}@3",),
        "strong": tiny,
        "method": "probe",
        "recipe": "epochs=2",
        "suite": "tiny",
    } | SIZES
    shared = functools.cache(Experiments)
    with pytest.MonkeyPatch.context() as patch, collect_warnings():
        patch.setenv("W2S_HOME", str(tmp_path_factory.mktemp("home")))
        patch.setitem(SUITES, "tiny", Suite("tiny", "made up", ("words", "word_pairs")))
        found = {}
        for name, arguments in first_claims().items():
            setting, own = split_arguments(scale, arguments | {"task": "words"} | SIZES)
            if arguments.get("task") == "suite":
                setting = replace(setting, task="suite")
            found[name] = MEASURES[name](shared(setting), **own)
    return found


@pytest.mark.parametrize("name", first_claims())
def test_every_measure_of_a_claim_gives_a_number(name, estimates):
    estimate = estimates[name]
    assert isinstance(estimate, Estimate)
    assert math.isnan(estimate.value) or estimate.low <= estimate.value <= estimate.high


def saliency_parts():
    """Returns {part: arguments} of every claim about probes against finetuning."""
    return {
        part.name: part.arguments
        for source in register.sources().values()
        for claim in source.claims.values()
        for part in claim.parts
        if part.measure == "saliency_difference"
    }


@pytest.mark.model
def test_every_part_of_the_saliency_claims_names_arms_that_exist(tiny, tmp_path, monkeypatch):
    monkeypatch.setenv("W2S_HOME", str(tmp_path))
    register_words()
    scale = {"task": "words", "weak": f"{tiny}@1", "strong": tiny, "recipe": "epochs=1"}
    tested = Experiments(split_arguments(scale | SIZES, {"method": "top", "top_layers": 1})[0])
    with collect_warnings():
        for name, arguments in saliency_parts().items():
            arms = {"arm": arguments["arm"], "other": arguments["other"]}
            assert MEASURES["saliency_difference"](tested, **arms).seeds == 2, name
