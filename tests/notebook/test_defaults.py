"""What a notebook takes where its parameters leave sizes and methods to the kit."""

from pathlib import Path
from types import SimpleNamespace

import pytest

import w2s_nb as w2s
from w2s_nb.common.registry import TASKS
from w2s_nb.data.load import count_examples
from w2s_nb.data.tasks.spec import register_task
from w2s_nb.notebook import defaults
from w2s_nb.notebook.defaults import Machine, alpha_note, fill
from w2s_nb.notebook.parameters import check
from w2s_nb.notebook.source import defaults_of, kind_of_tasks, own_defaults

NOTEBOOKS = sorted((Path(__file__).parents[2] / "notebooks").glob("*.ipynb"))
CPU, GPU = Machine("cpu"), Machine("cuda", gb=80, has_rows=False)
OPEN = dict(n_train=0, n_val=0, n_test=0, method="auto", weak="gpt2", strong="Qwen-7B")
# what every notebook took on a CPU before sizes and methods were left to the kit
SIZES_ON_A_CPU = {
    "06": (400, 200, 600),
    "07": (400, 100, 120),
    "08": (400, 100, 400),
    "09": (240, 80, 400),
    "10": (240, None, 600),
    "12": (400, 100, 600),
    "14": (3_000, 500, 2_000),
    "15": (600, 200, 800),
    "16": (600, 200, 600),
    "17": (600, 200, 600),
}
TOP, PROBE = dict(method="top"), dict(method="probe")
METHODS_ON_A_CPU = {
    "00": TOP,
    "01": TOP,
    "03": TOP,
    "06": TOP | dict(weak_method="probe"),
    "08": PROBE | dict(finetuning="top"),
    "09": PROBE | dict(lm_method="top"),
    "10": dict(method="full"),
    "13": {},  # says its method: an encoder is never finetuned
}


@pytest.fixture
def fits(monkeypatch):
    """Lets the methods of a set fit, and notes the models that were asked about."""
    asked = []

    def choose(model, methods, machine, options):
        asked.append((model, options))
        method = next(m for m in methods if m in fits.methods.get(model, ("lora", "probe")))
        return SimpleNamespace(method=method, reason=f"{model}: {method}")

    fits = SimpleNamespace(methods={}, asked=asked)
    monkeypatch.setattr(defaults, "choose", choose)
    return fits


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_on_a_cpu_every_notebook_has_the_sizes_and_methods_that_it_had(path):
    number = path.stem[:2]
    kind = kind_of_tasks(path)
    answers = kind.get("answers", False)
    check(path.stem, defaults_of(path), **kind, weights=False)
    filled, why = fill(defaults_of(path), own_defaults(path), answers=answers, machine=CPU)
    check(path.stem, filled, **kind, weights=False)
    sizes = tuple(filled.get(name) for name in ("n_train", "n_val", "n_test"))
    assert sizes == SIZES_ON_A_CPU.get(number, (600, 200, 800))
    chosen = {name: filled[name] for name in why if not name.startswith("n_")}
    assert chosen == METHODS_ON_A_CPU.get(number, PROBE)


def test_on_a_gpu_sizes_are_the_tasks_and_the_method_is_what_fits(fits):
    filled, why = fill(OPEN | {"task": "sciq"}, machine=GPU)
    assert (filled["n_train"], filled["n_test"], filled["method"]) == (9_000, 1_800, "lora")
    assert why["n_train"] == "sciq on a GPU" and why["method"] == "Qwen-7B: lora"
    assert fits.asked == [("Qwen-7B", {"batch": 32, "tokens": 256, "devices": 1})]
    fits.methods["Qwen-7B"] = ("full",)
    assert fill(OPEN | {"task": "sciq"}, machine=GPU)[0]["method"] == "full"


def test_what_is_given_is_kept(fits):
    given = OPEN | {"task": "sciq", "n_train": 50, "method": "top"}
    filled, why = fill(given, machine=GPU)
    assert (filled["n_train"], filled["method"]) == (50, "top")
    assert list(why) == ["n_val", "n_test"] and not fits.asked


def test_a_model_of_unknown_size_is_asked_about_beside_the_largest(fits, monkeypatch):
    monkeypatch.setattr(defaults, "size_order", lambda name: (0 if name == "mine" else 5, 1))
    fits.methods = {"gpt2": ("full",), "mine": ("lora",)}
    given = OPEN | {"task": "sciq", "strong": "gpt2", "weak": "mine"}
    assert fill(given, machine=GPU)[0]["method"] == "lora"
    assert [model for model, _ in fits.asked] == ["gpt2", "mine"]


def test_several_devices_share_only_what_can_be_sharded(fits):
    given = OPEN | {"task": "sciq", "devices": 4}
    own = {"cpu": {"method": "probe"}}
    assert fill(given, own, machine=Machine("cpu", gb=64, has_rows=False))[0]["method"] == "lora"
    assert fits.asked[-1][1]["devices"] == 4


@pytest.mark.parametrize(
    "recipe, method",
    [
        ("openai", "full"),
        ("eleuther-w2s, epochs=1", "lora"),
        ("lora_rank=16", "lora"),
        ("top_layers=2", "top"),
        ("features=10", "probe"),
        ("epochs=1, lr=1e-4", "lora"),
    ],
)
def test_a_recipe_is_given_the_method_that_it_is_for(recipe, method, fits):
    fits.methods["Qwen-7B"] = (method,)
    given = OPEN | {"task": "sciq", "recipe": recipe}
    check("03_conf_loss", given, weights=False)
    filled, _ = fill(given, machine=GPU)
    assert filled["method"] == method
    check("03_conf_loss", filled, weights=False)


def test_a_recipes_batch_and_length_are_what_memory_is_asked_for(fits):
    given = OPEN | {"task": "anthropic_hh", "recipe": "batch_size=64, max_len=100"}
    fill(given, machine=GPU)
    assert fits.asked[0][1] == {"batch": 64, "tokens": 200, "devices": 1}


@pytest.fixture
def small_task():
    rows = [{"text": f"text {i}", "label": i % 2} for i in range(400)]

    def examples(row):
        """Is it odd?"""
        yield w2s.Example((row["text"],), row["label"])

    register_task("odd_numbers", rows, max_len=8, gpu_sizes=[90, 20, 600])(examples)
    yield "odd_numbers"
    TASKS._entries.pop("odd_numbers", None)


def test_sizes_are_cut_to_the_rows_that_there_are(small_task):
    given = {"task": small_task, "n_train": 0, "n_val": 0, "n_test": 0}
    most, most_test = count_examples(small_task)  # about 300 for training, 100 for test
    filled, why = fill(given, machine=CPU)
    used = 2 * filled["n_train"] + filled["n_val"]
    assert 0.85 * most < used <= 0.9 * most and 0.85 * most_test < filled["n_test"] < most_test
    assert filled["n_train"] > 3 * filled["n_val"] - 10
    assert why["n_val"] == f"odd_numbers has {most} examples for training and {most_test} for test"
    w2s.load_task(small_task, **{name: filled[name] for name in why})
    filled, why = fill(given, machine=Machine("cuda"))
    assert (filled["n_train"], filled["n_val"]) == (90, 20) and filled["n_test"] < most_test
    assert why["n_train"] == "odd_numbers on a GPU"


def test_sizes_of_three_classes_are_multiples_of_three_and_that_is_told(small_task):
    given = {"task": "tweet_snippets@three", "n_train": 0, "n_val": 0, "n_test": 0}
    filled, why = fill(given, machine=CPU)
    assert (filled["n_train"], filled["n_val"], filled["n_test"]) == (600, 198, 600)
    assert why["n_val"] == "tweet_snippets@three on a CPU"
    filled, why = fill(given, {"cpu": {"n_train": 50, "n_test": 31}}, machine=CPU)
    assert (filled["n_train"], filled["n_test"]) == (48, 30)
    assert why["n_train"] == "this notebook on a CPU, 50 down to a multiple of 3"
    given = given | {"task": "", "tasks": f"tweet_snippets@three, {small_task}"}
    filled, _ = fill(given, machine=CPU)
    assert all(filled[name] % 6 == 0 for name in ("n_train", "n_val", "n_test"))
    for task in ("tweet_snippets@three", small_task):
        w2s.load_task(task, **{name: filled[name] for name in ("n_train", "n_val", "n_test")})


def test_sizes_are_cut_to_the_rows_of_three_classes(registries):
    rows = [{"text": f"text {i}", "label": i % 3} for i in range(400)]

    @w2s.register_task("thirds", rows, max_len=8, classes=("a", "b", "c"))
    def thirds(row):
        """Which is it?"""
        yield w2s.Example((row["text"],), row["label"])

    filled, _ = fill({"task": "thirds", "n_train": 0, "n_val": 0, "n_test": 0}, machine=CPU)
    sizes = {name: filled[name] for name in ("n_train", "n_val", "n_test")}
    assert all(n % 3 == 0 for n in sizes.values()) and 90 < sizes["n_train"] < 150
    w2s.load_task("thirds", **sizes)


def test_a_run_tells_that_classes_keep_their_shares(registries):
    rows = [{"text": f"text {i}", "label": int(i % 10 > 2)} for i in range(400)]

    @w2s.register_task("skewed", rows, max_len=8, balance="as is")
    def skewed(row):
        """Is it so?"""
        yield w2s.Example((row["text"],), row["label"])

    given = dict(task="skewed", weak="SmolLM2-135M@2", strong="SmolLM2-135M@3", method="probe")
    run = w2s.setup("mine", **given, seeds=1, n_train=61, n_val=21, n_test=31)
    assert run.describe()["this run"]["classes"] == "as in the data, not as many of each (skewed)"
    assert run.load().test.chance == pytest.approx(0.7, abs=0.02)
    with pytest.raises(ValueError, match="n_val = 1; expected a number from 2 for skewed, or 0"):
        w2s.setup("mine", **given, seeds=1, n_train=61, n_val=1, n_test=31)


def test_sizes_that_are_given_are_left_to_be_refused(small_task):
    filled, _ = fill({"task": small_task, "n_train": 120, "n_val": 0, "n_test": 0}, machine=CPU)
    assert filled["n_train"] == 120 and filled["n_val"] <= 60
    filled, _ = fill({"task": small_task, "n_train": 1000, "n_val": 0}, machine=CPU)
    assert filled["n_train"] == 1000


@pytest.mark.parametrize("sizes", [(600, 200), (601, 200, 800), (600, 0, 800), "600", None])
def test_sizes_of_a_task_are_three_even_numbers(sizes):
    with pytest.raises(ValueError, match="expected three even numbers from 2: n_train, n_val"):
        register_task("mine", [], max_len=8, cpu_sizes=sizes)


def test_alpha_is_told_of_where_the_student_is_much_larger():
    given = dict(alpha=0.5, losses="xent, confidence", weak="gpt2", strong="Qwen-7B")
    assert "Qwen-7B has 62 times the parameters of gpt2, and the paper took 0.75" in alpha_note(
        given
    )
    for change in ({"alpha": 0.75}, {"losses": "xent"}, {"strong": "gpt2-xl"}):
        assert alpha_note(given | change) == ""


def test_set_up_fills_in_tells_and_keeps_what_was_chosen():
    run = w2s.setup(
        "mine",
        on_cpu={"n_test": 40},
        task="movie_snippets",
        weak="SmolLM2-135M@2",
        strong="SmolLM2-135M@3",
        method="auto",
        seeds=1,
        n_train=60,
        n_val=0,
        n_test=0,
    )
    assert run.values("n_train", "n_val", "n_test", "method") == (60, 200, 40, "top")
    told = run.describe()["this run"]
    assert told["n_val"] == "200 (movie_snippets on a CPU)" and "n_train" not in told
    assert told["n_test"] == "40 (this notebook on a CPU)"
    assert told["method"] == "top (first choice on a CPU, and it fits in memory)"
    shown = run.describe()
    assert "it fits in memory)" in shown._repr_html_() and "it fits in memory)" in repr(shown)
    assert run.load().counts and run.parameters["n_test"] == 40
