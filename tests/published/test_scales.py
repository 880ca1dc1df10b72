"""The scales of the register: claims name models and tasks that exist and fit on a device."""

import functools

import pytest

from w2s_nb.common.registry import LOSSES, TASKS
from w2s_nb.models.names import resolve, size_order
from w2s_nb.published import register
from w2s_nb.published.measures.memory import GB, memory_line
from w2s_nb.published.measures.setting import Setting
from w2s_nb.published.measures.table import split_arguments
from w2s_nb.training.device_memory import estimate
from w2s_nb.training.device_memory.estimate import USABLE
from w2s_nb.training.recipes import RECIPES

TOKENS = 256


@functools.cache
def settings(scale):
    """Returns {claim: [(setting, the measure's own arguments) of each part]} at a scale."""
    found = {}
    for source in register.sources().values():
        words = source.scales.get(scale)
        for claim in source.claims.values():
            if words is None or scale not in claim.scales:
                continue
            found[f"{source.name} {claim.name}"] = [
                split_arguments(words, part.arguments)
                for part in claim.parts
                if not part.measure.startswith("published_")
            ]
    return found


def all_settings(scale):
    return {setting for parts in settings(scale).values() for setting, _ in parts}


@pytest.mark.parametrize("scale", register.SCALES)
def test_settings_name_tasks_and_models_that_exist_smallest_first(scale):
    for setting in all_settings(scale):
        assert all(TASKS[task].name for task in setting.tasks)
        sizes = [size_order(model) for model in setting.ladder]
        assert sizes == sorted(sizes), setting.ladder
        assert setting.arguments["seeds"] > 1, "one seed cannot be judged"


@pytest.mark.parametrize("scale", register.SCALES)
def test_claims_name_losses_and_models_that_exist(scale):
    for parts in settings(scale).values():
        for setting, own in parts:
            assert own.get("loss", "xent") in LOSSES
            models = [*own.get("students", ()), *own.get("supervisors", ()), own.get("model")]
            for model in filter(None, models):
                resolve(setting.model(model))


@pytest.mark.parametrize("method", ["full", "lora", "top"])
@pytest.mark.parametrize("scale", GB)
def test_the_largest_model_of_a_scale_fits_on_its_device(scale, method):
    settings_by = [each for each in all_settings(scale) if each.method == method]
    largest = max((each.strong for each in settings_by), key=size_order)
    needed = estimate(largest, method, micro_batch=1, tokens=TOKENS, device="cuda")
    assert needed.total <= USABLE * GB[scale] * 1e9, f"{largest}: {needed.total / 1e9:.1f} GB"


def test_the_embedded_scale_needs_nothing_that_does_not_come_with_the_kit():
    for setting in all_settings("cpu"):
        for model in setting.ladder:
            assert resolve(model).hub_id is None, model


def test_a_recipe_gives_the_supervisor_a_rate_of_its_own():
    words = register.source("eleuther-2024").scales["gpu24"]
    arguments = Setting.read(words).arguments
    recipe = RECIPES["eleuther-w2s"]
    assert arguments["lr"] == recipe.all_models["lr"] == 8e-5
    assert arguments["weak_args"] == recipe.supervisor == {"lr": 5e-4}
    assert "weak_args" not in Setting.read(words | {"recipe": ""}).arguments


def test_a_recipe_of_another_method_is_refused():
    words = register.source("eleuther-2024").scales["gpu24"] | {"method": "full"}
    with pytest.raises(ValueError, match="is of method lora"):
        Setting.read(words).arguments  # noqa: B018


def test_models_between_lie_between_what_a_claim_takes_for_its_ends():
    words = register.source("burns-2023").scales["cpu"]
    assert Setting.read(words).ladder[1:3] == ["SmolLM2-135M@8", "SmolLM2-135M@12"]
    shorter = Setting.read(words | {"weak": "first_between", "strong": "SmolLM2-135M@16"})
    assert shorter.ladder == ["SmolLM2-135M@8", "SmolLM2-135M@12", "SmolLM2-135M@16"]
    shorter = Setting.read(words | {"strong": "SmolLM2-135M@12"})
    assert shorter.ladder == ["SmolLM2-135M@4", "SmolLM2-135M@8", "SmolLM2-135M@12"]


def test_a_dry_run_says_what_memory_the_largest_model_takes():
    words = {"task": "sst2", "method": "full", "seeds": 3, "between": ("pythia-160m",)}
    setting = Setting.read(words | {"weak": "pythia-70m", "strong": "pythia-410m@2"})
    line = memory_line(setting, 24)
    assert line.startswith("pythia-410m@2 takes ") and " of 24 GB, 32 at a time" in line
