"""Recipes: what a text sets, what is refused, and what is published."""

import pytest

from w2s_nb.common.registry import UnknownName
from w2s_nb.training.recipes import RECIPES, describe_recipe, method_of, read_recipe


@pytest.mark.parametrize(
    "text, method, sets",
    [
        ("", "full", {}),
        ("epochs=3, lr=8e-5", "full", {"epochs": 3, "lr": 8e-5}),
        ("evals=(0.5, 1.0), head_init=zero", "top", {"evals": (0.5, 1.0), "head_init": "zero"}),
        ("l2=[1, 10], features=3", "logistic", {"l2": [1, 10], "features": 3}),
        ("head_lr=None, stop='oracle'", "lora", {"head_lr": None, "stop": "oracle"}),
    ],
)
def test_a_text_sets_fields(text, method, sets):
    assert read_recipe(text, method) == sets


def test_a_published_recipe_has_another_rate_for_the_supervisor_and_can_be_changed():
    strong = read_recipe("eleuther-w2s", "lora")
    assert (strong["lr"], strong["beta2"], strong["epochs"]) == (8e-5, 0.95, 3)
    weak = read_recipe("eleuther-w2s", "lora", supervisor=True)
    assert weak == strong | {"lr": 5e-4}
    shorter = read_recipe("eleuther-w2s, epochs=1, lora_rank=32", "lora")
    assert shorter == strong | {"epochs": 1, "lora_rank": 32}
    assert method_of("eleuther-w2s, epochs=1") == "lora" and method_of("epochs=1") is None


@pytest.mark.parametrize("name", RECIPES)
def test_a_published_recipe_can_be_used_and_says_where_it_is_from(name):
    sets = read_recipe(name, RECIPES[name].method)
    line = describe_recipe(sets, [f"{name}, epochs=7"])
    assert "batch_size=32" in line and RECIPES[name].source in line


@pytest.mark.parametrize(
    "text, method, error, says",
    [
        (3, "full", TypeError, "recipe = 3 is a int; expected text such as 'epochs=3"),
        ("openia", "full", UnknownName, "Near: openai"),
        ("openai", "lora", ValueError, "is of method full, and the method is 'lora'"),
        ("epochs=3, openai", "full", ValueError, "expected field=value, each field once"),
        ("epochs=3, epochs=4", "full", ValueError, "expected field=value, each field once"),
        ("epochs=open('x')", "full", ValueError, "expected field=value"),
        ("epochs=3) or dict(lr=1", "full", ValueError, "expected field=value"),
        ("epoch=3", "full", TypeError, "unknown hyper-parameter epoch; expected some of epochs"),
        ("epochs=0", "full", ValueError, "recipe 'epochs=0': epochs = 0; expected a whole number"),
        ("lr=fast", "full", ValueError, "lr = 'fast'; expected a finite number"),
        ("beta2=1", "full", ValueError, "beta2 = 1; expected a finite number from 0 to 0.99"),
        ("stop=best", "full", ValueError, "stop 'best'; expected one of last, validation, oracle"),
        ("lr=1e-4", "probe", ValueError, "sets lr, which plays no part for method 'probe'"),
        ("epochs=3", "logistic", ValueError, "plays no part for method 'logistic'; .* features"),
        ("lora_rank=8", "top", ValueError, "sets lora_rank, which plays no part"),
        ("micro_batch=4", "full", ValueError, "sets micro_batch, which is a parameter of its own"),
    ],
)
def test_what_cannot_be_used_is_refused_in_one_line(text, method, error, says):
    with pytest.raises(error, match=says) as refusal:
        read_recipe(text, method)
    assert "\n" not in str(refusal.value)


def test_fields_of_classifiers_are_refused_where_answers_are_trained():
    assert read_recipe("lr=1e-4, beta2=0.95", "full", on_text=True) == {"lr": 1e-4, "beta2": 0.95}
    with pytest.raises(ValueError, match="sets head_lr, which plays no part for answers"):
        read_recipe("head_lr=1e-4", "full", on_text=True)
