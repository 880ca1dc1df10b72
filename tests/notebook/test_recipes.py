"""Recipes in notebooks: which fits a run gives them to, and what it says of them."""

import pytest

import w2s_nb as w2s
from w2s_nb.experiments.arms import CEILING, WEAK
from w2s_nb.experiments.saliency import FT_WEAK, LP_GT
from w2s_nb.notebook import setup
from w2s_nb.notebook.setup import Run

SIZES = dict(n_train=24, n_val=8, n_test=16)


@pytest.fixture
def run(words, tiny):
    def make(**changes):
        parameters = dict(task="words", weak=f"{tiny}@1", strong=tiny, method="top", seeds=1)
        return Run("a", parameters | SIZES | changes)

    return make


def trained(fits) -> tuple:
    """Returns epochs, learning rate and the decay of squares of the first seed's fit."""
    chosen = fits[0].record["config"]["hyperparameters"]
    return chosen["epochs"], chosen["lr"], chosen["beta2"]


def test_the_recipe_is_for_all_models_and_the_weak_recipe_changes_the_supervisors(run):
    arms = run(recipe="epochs=1, lr=2e-3, beta2=0.9", weak_recipe="lr=3e-3").arms()
    assert trained(arms.fits[WEAK]) == (1, 3e-3, 0.9)
    assert trained(arms.fits["student, naive"]) == trained(arms.fits[CEILING]) == (1, 2e-3, 0.9)


@pytest.fixture
def given(monkeypatch):
    """Returns a run's call of `run_arms`, as arguments, in place of arms."""
    monkeypatch.setattr(setup, "run_arms", lambda task, weak, strong, **arguments: arguments)


def test_fits_by_another_method_are_as_that_has_it(run, given):
    finetuned = run(recipe="epochs=1, lr=2e-3", weak_recipe="beta2=0.9", micro_batch=4)
    probed = finetuned.arms(method="probe")
    assert probed["weak_args"] == probed["strong_args"] == {"method": "probe"}
    by_probe = finetuned.arms(weak_args={"method": "probe", "features": 3})
    assert by_probe["weak_args"] == {"method": "probe", "features": 3}
    assert by_probe["strong_args"] == finetuned.strong_args


def test_an_argument_of_a_call_stands_above_the_recipe(run, given):
    arguments = run(recipe="epochs=2, lr=2e-3").arms(epochs=1)
    assert arguments["epochs"] == 1
    assert arguments["weak_args"] == arguments["strong_args"] == {"method": "top", "lr": 2e-3}


def test_the_second_experiment_of_reward_models_has_the_recipe_and_the_first_has_not(run, given):
    rewards = run(method="probe", finetuning="top", recipe="epochs=1", weak_recipe="epochs=50")
    tuned = rewards.arms(method="top", weak_args={"method": "probe"})
    assert tuned["weak_args"] == {"method": "probe", "epochs": 50}
    assert tuned["strong_args"] == {"method": "top", "epochs": 1}
    assert rewards.arms()["strong_args"] == {"method": "probe"}


def test_a_chain_gives_the_weak_recipe_to_its_first_supervisor(run, tiny):
    parameters = dict(method="probe", recipe="epochs=2", weak_recipe="epochs=3")
    chain = run(**parameters).chain([f"{tiny}@1", f"{tiny}@2", tiny])
    assert [trained(step)[0] for step in chain.steps] == [3, 2, 2]
    assert trained(chain.ceiling)[0] == 2


def test_saliency_gives_the_recipe_to_finetuning_and_the_weak_recipe_to_the_supervisor(run):
    probing = run(recipe="epochs=1, lr=2e-3", weak_recipe="epochs=3", weak_method="probe")
    bars = probing.saliency(weak_method="probe", top_layers=1)
    assert [trained(bars.fits[arm])[0] for arm in (WEAK, FT_WEAK, LP_GT, CEILING)] == [3, 1, 200, 1]
    alike = run(recipe="epochs=1, lr=2e-3", weak_recipe="lr=3e-3", weak_method="top")
    assert alike.weak_args == {"method": "top", "epochs": 1, "lr": 3e-3}


def test_one_setting_takes_other_arguments_for_the_supervisor(words, tiny):
    arms = w2s.one_setting("words", f"{tiny}@1", tiny, epochs=1, weak_args={"epochs": 2}, **SIZES)
    assert [trained(arms.fits[arm])[0] for arm in (WEAK, CEILING)] == [2, 1]


def test_seeds_begin_at_the_first(run):
    later = run(method="probe", first_seed=3, seeds=2, recipe="epochs=2")
    assert later.seeds() == [3, 4] and later.seeds(1) == [3] and later.load().seed == 3
    arms = later.arms()
    assert [task.seed for task in arms.tasks] == [3, 4] == list(arms.by_seed().seed.unique())
    assert [task.seed for task in later.arms(seeds=1).tasks] == [3]


def test_micro_batch_and_devices_go_where_they_are_used(run):
    big = run(method="lora", micro_batch=2, devices=4)
    assert big.strong_args == {"method": "lora", "micro_batch": 2, "devices": 4}
    assert big._arguments({"method": "probe"})["strong_args"] == {"method": "probe"}
    assert run(method="lora", micro_batch=0).strong_args == {"method": "lora"}


def test_a_run_says_what_its_recipes_set_and_which_rates_follow(run, tiny):
    facts = run(method="lora", recipe="eleuther-w2s", weak_recipe="epochs=1").describe()["this run"]
    assert "epochs=3" in facts["recipe, student and ceiling"]
    assert "epochs=1" in facts["recipe, supervisor"] and "lr=0.0005" in facts["recipe, supervisor"]
    assert "EleutherAI/w2s" in facts["recipe, supervisor"]
    assert (
        facts["learning rate"] == f"0.0005 by the recipe ({tiny}@1), 8e-05 by the recipe ({tiny})"
    )
    assert not [row for row in run(micro_batch=4).describe().index if "recipe" in row]


def test_a_published_recipe_decides_the_method_that_is_left_to_the_kit(words, tiny):
    left_open = dict(task="words", weak=f"{tiny}@1", strong=tiny, method="auto", seeds=1)
    run = w2s.setup("a", on_cpu={"method": "top"}, recipe="eleuther-w2s", **left_open, **SIZES)
    assert run.parameters["method"] == "lora" and run.weak_args["lr"] == 5e-4
    assert run.describe()["this run"]["method"].startswith("lora (that of the recipe; ")


@pytest.mark.parametrize(
    "change, error, says",
    [
        (dict(recipe="epochs"), ValueError, "unknown recipe"),
        (dict(recipe="lr=1e-4"), ValueError, "plays no part for method 'probe'"),
        (dict(method="top", recipe="top_layers=2", top_layers=3), ValueError, "its own here"),
        (dict(weak_recipe="epochs=0"), ValueError, "weak_recipe 'epochs=0': epochs = 0"),
        (dict(recipe=8e-5), TypeError, "recipe = 8e-05 is a float; expected text"),
        (dict(first_seed=-1), ValueError, "first_seed = -1; expected a number from 0"),
        (dict(first_seed=2**63), ValueError, "first_seed = .* below 2"),
        (dict(micro_batch=2.0), TypeError, "micro_batch = 2.0"),
    ],
)
def test_setup_refuses_recipes_before_anything_is_loaded(monkeypatch, tiny, change, error, says):
    monkeypatch.setattr(setup, "load_task", lambda *a, **k: pytest.fail("a task was loaded"))
    good = dict(task="movie_snippets", weak=f"{tiny}@1", strong=tiny, method="probe", seeds=1)
    with pytest.raises(error, match=says):
        w2s.setup("03_conf_loss", **good | SIZES | change)
