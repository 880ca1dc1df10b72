"""Suites run on tiny models: pairs, sizes, what is left out, and numbers over the tasks."""

import math

import numpy as np
import pytest

import w2s_nb as w2s
from tests.conftest import register_words, save_tiny, word_rows
from w2s_nb.common.registry import UnknownName
from w2s_nb.data.sources import DataUnavailable
from w2s_nb.data.tasks.spec import Example
from w2s_nb.experiments.arms import CEILING, WEAK, run_arms
from w2s_nb.metrics import over_tasks
from w2s_nb.suites.run import run_suite

NAIVE, CONFIDENCE = "student, naive", "student, confidence"
SIZES = dict(n_train=60, n_val=20, n_test=40, epochs=2)
pytestmark = [pytest.mark.model, pytest.mark.filterwarnings("ignore:.*more warnings of this kind")]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return save_tiny(tmp_path_factory.mktemp("models") / "llama")


@pytest.fixture
def tasks(registries):
    register_words()

    @w2s.register_task("few_words", lambda: {"all": list(word_rows(120, 1))}, max_len=16)
    def few_words(row):
        """Which word stands last, of few texts?"""
        yield Example((row["text"],), row["label"])

    return ["words", "few_words"]


def test_each_task_is_run_for_each_pair_whose_student_is_larger(model, tasks):
    weak, middle = f"{model}@1", f"{model}@2"
    result = run_suite(tasks, [weak, middle], [middle, model], seeds=1, **SIZES)
    assert result.pairs == [(middle, model), (weak, model), (weak, middle)], "deepest first"
    assert result.tasks == tasks and not result.left_out
    assert result.arms == [WEAK, NAIVE, CONFIDENCE, CEILING]
    by_task = result.by_task
    assert len(by_task) == 2 * 3 * 4 and (by_task.seeds == 1).all()
    n_train = by_task.groupby("task").n_train.unique()
    assert n_train["words"].tolist() == [60]
    assert len(n_train["few_words"]) == 1 and 10 < n_train["few_words"][0] < 60, "what it has"

    few = result.experiments["few_words", weak, model]
    sizes = {
        f"n_{part}": len(getattr(few.tasks[0], split))
        for part, split in (("train", "student"), ("val", "validation"), ("test", "test"))
    }
    alone = run_arms(
        "few_words",
        weak,
        model,
        losses=("xent", "confidence"),
        seeds=1,
        method="probe",
        epochs=2,
        **sizes,
    )
    addresses = [[fit.address for fit in arms.fits[NAIVE]] for arms in (few, alone)]
    assert addresses[0] == addresses[1], "a suite's fits are those of run_arms, by probe on a CPU"

    over = result.over_tasks.set_index(["weak", "strong", "arm"])
    assert len(over) == 3 * 4 and (over.tasks == 2).all()
    row = over.loc[weak, model, NAIVE]
    by_hand = {task: result.experiments[task, weak, model].accuracy(NAIVE) for task in tasks}
    number = over_tasks("median", by_hand)
    assert [row.median_accuracy, row.median_accuracy_low, row.median_accuracy_high] == [
        number.value,
        number.low,
        number.high,
    ]
    assert math.isclose(row.mean_accuracy, np.mean([each.value for each in by_hand.values()]))
    assert result.table("mean").accuracy.tolist() == result.over_tasks.mean_accuracy.tolist()
    gain = result.difference((weak, model, CONFIDENCE), (weak, model, NAIVE), measure="accuracy")
    paired = {
        task: result.experiments[task, weak, model].gain_over(CONFIDENCE, NAIVE) for task in tasks
    }
    expected = over_tasks("median", paired)
    assert np.allclose(
        [gain.value, gain.low, gain.high], [expected.value, expected.low, expected.high]
    )


def test_tasks_that_cannot_be_had_are_left_out_and_named(model, tasks, registries, monkeypatch):
    monkeypatch.delenv("W2S_DATA", raising=False)
    with pytest.warns(UserWarning, match="sst2 is left out of the suite: task 'sst2': dataset"):
        result = run_suite(
            ["words", "sst2"], f"{model}@1", model, losses=["xent"], seeds=1, **SIZES
        )
    assert result.tasks == ["words"] and list(result.left_out) == ["sst2"]
    assert "left out: sst2: task 'sst2': dataset" in repr(result)
    with pytest.raises(DataUnavailable, match="sst2: task 'sst2'.*\n?.*wic: task 'wic'"):
        run_suite(["sst2", "wic"], f"{model}@1", model, seeds=1, **SIZES)


def test_a_suite_takes_local_files_of_tasks_that_it_names(model, tasks, tmp_path, monkeypatch):
    from w2s_nb.suites import names, run

    suite = names.Suite("mine", "two of mine", ("words",), ("sst2", "wic"))
    monkeypatch.setitem(names.SUITES, "mine", suite)
    monkeypatch.setenv("W2S_DATA", str(tmp_path))
    assert run.choose_tasks("mine") == (["words"], {})
    (tmp_path / "sst2").mkdir()
    assert run.choose_tasks("mine") == (["words", "sst2"], {})


@pytest.mark.parametrize(
    "changes, says",
    [
        (dict(suite="papers"), "unknown suite 'papers'. Near: paper"),
        (dict(suite=["words", "wordz"]), "unknown task 'wordz'. Near: .*words"),
        (dict(suite=[]), "suite is empty; expected one name or more"),
        (dict(weak=3), "weak = 3; expected a name, or a list of names"),
        (dict(losses=["xemt"]), "unknown loss 'xemt'"),
        (dict(n_train=1), "n_train = 1"),
        (dict(engine="cloud"), "unknown engine 'cloud'"),
        (dict(engine="local", seeds=[0, 2]), r"seeds = \[0, 2\]; with an engine, expected seeds"),
        (dict(engine="local", student_args={"evals": 3}), "student_args is no parameter of 03_c"),
    ],
)
def test_wrong_input_is_refused_before_anything_is_trained(changes, says, model, tasks, home):
    given = dict(suite="words", weak=f"{model}@1", strong=model) | changes
    if changes.get("suite") is None:
        given["suite"] = ["words"]
    with pytest.raises((UnknownName, ValueError, TypeError), match=says):
        run_suite(**given)
    assert not list(home.rglob("record.json"))


def test_a_student_no_larger_than_its_supervisor_and_an_answered_task_are_refused(model, tasks):
    with pytest.raises(ValueError, match="no student is larger than its supervisor: weak = .*@2"):
        run_suite(["words"], f"{model}@2", [f"{model}@1", f"{model}@2"])

    @w2s.register_task("spelled", lambda: {"all": list(word_rows())}, max_len=16, max_answer=2)
    def spelled(row):
        """Which word?"""
        yield Example((row["text"],), 0, answer=" w1")

    with pytest.raises(ValueError, match="task 'spelled' is answered by generating"):
        run_suite(["words", "spelled"], f"{model}@1", model)
