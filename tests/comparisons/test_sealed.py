"""Sealed comparisons: what a method's process can read, ask and break, and what asking buys."""

import contextlib
import json
import os
import pathlib
from dataclasses import replace

import numpy as np
import pytest

import w2s_nb as w2s
from tests.conftest import register_words, save_tiny
from w2s_nb.__main__ import main
from w2s_nb.common import plugins
from w2s_nb.common.registry import METHODS
from w2s_nb.comparisons import run as run_module
from w2s_nb.comparisons.blind import labels_from_json, labels_to_json, task_from_json, task_to_json
from w2s_nb.comparisons.methods import Budget, QueriesSpent, method_of
from w2s_nb.comparisons.result import MethodRun
from w2s_nb.comparisons.scorer import (
    Scorer,
    check_limits,
    check_sealed,
    log_file,
    public_half,
    sealed_runner,
)
from w2s_nb.data.sealed import TruthSealed

SIZES = dict(n_train=60, n_val=20, n_test=80)
pytestmark = pytest.mark.model
PLUGIN = '''
import json
import os
from dataclasses import replace
import sys

import numpy as np

import w2s_nb as w2s
from tests.conftest import register_words
from w2s_nb.common import paths

register_words()


def reads(what):
    try:
        return what()
    except Exception as error:
        return type(error).__name__


@w2s.register_method
def spy(labels, task, strong, seed, budget):
    """Tries to read the truth, asks 201 questions, and reports; then does as naive does."""
    tried = {
        "hard_label": lambda: task.test.hard_label,
        "facts": lambda: task.validation.facts,
        "student": lambda: task.student.shares,
        "load_task": lambda: w2s.load_task("words", n_train=8, n_val=4, n_test=8),
        "results": lambda: len(w2s.results()),
        "data": lambda: paths.data_dir(),
        "fits": lambda: sorted(path.name for path in paths.home().glob("fits/*")),
        "queries": lambda: (paths.home() / "comparisons").exists(),
        "supervisor": lambda: len(task.supervisor.hard_label),
        "asked": lambda: [budget.ask(labels.for_split(task.test)) for _ in range(201)],
    }
    report = {name: reads(what) for name, what in tried.items()}
    with open(os.environ["SPY_REPORT"], "w") as file:
        json.dump(report, file)
    return budget.fit(strong, task.student, labels, seed=seed).predict(task.test)


@w2s.register_method
def dies(labels, task, strong, seed, budget):
    """Ends its process."""
    budget.ask(labels.for_split(task.test))
    print("last words", file=sys.stderr, flush=True)
    os._exit(7)


@w2s.register_method
def never_ends(labels, task, strong, seed, budget):
    """Starts a process of its own, and waits for ever."""
    import subprocess
    import time

    budget.ask(labels.for_split(task.test))
    started = subprocess.Popen(["sleep", "600"])
    with open(os.environ["SPY_REPORT"], "w") as file:
        file.write(str(started.pid))
    while True:
        time.sleep(0.1)
'''


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return save_tiny(tmp_path_factory.mktemp("models") / "llama")


@pytest.fixture
def task(registries, tmp_path, monkeypatch):
    """Loads `words` as a plug-in registers it, which every method's process imports too."""
    before = dict(METHODS)
    path = tmp_path / "spies.py"
    path.write_text(PLUGIN)
    root = os.path.dirname(os.path.dirname(os.path.dirname(__file__)))
    monkeypatch.setenv("PYTHONPATH", root)
    monkeypatch.setattr(plugins, "_imported", {})
    plugins.load([str(path)])
    yield w2s.load_task("words", **SIZES)
    METHODS._entries.clear()
    METHODS._entries.update(before)


def labels_of(task, seed=0):
    """Returns labels of student half, validation and test, right on about three of four."""
    rng = np.random.default_rng(seed)
    splits = (task.student, task.validation, task.test)
    truth = np.concatenate([split.hard_label for split in splits])
    second = np.where((rng.random(len(truth)) < 0.75) == (truth == 1), 0.8, 0.2)
    ids = np.concatenate([split.ids for split in splits])
    return w2s.SoftLabels(ids, np.column_stack([1 - second, second]), "made")


def run(method, task, model, queries, **fit_args):
    given = (labels_of(task), task, model, 0, {"method": "probe", "epochs": 2, **fit_args})
    with sealed_runner(queries) as run_one:
        return run_one(method_of(method), *given)


def test_a_sealed_method_cannot_read_the_truth_nor_ask_too_often(task, model, monkeypatch, home):
    w2s.fit(model, task.student, method="probe", epochs=2)  # the open store has the truth
    monkeypatch.setenv("W2S_DATA", str(home))
    monkeypatch.setenv("SPY_REPORT", str(home / "report.json"))
    answer = run("spy", task, model, queries=200)
    assert json.loads((home / "report.json").read_text()) == {
        "hard_label": "TruthSealed",
        "facts": "TruthSealed",
        "student": "TruthSealed",
        "load_task": "TruthSealed",
        "results": 0,
        "data": None,
        "fits": [],
        "queries": False,
        "supervisor": 60,
        "asked": "QueriesSpent",
    }
    # the 201st question is refused, and every question is logged
    assert answer.queries == 200
    lines = [json.loads(line) for line in log_file().read_text().splitlines()]
    assert [line["query"] for line in lines] == list(range(1, 202))
    assert lines.pop()["refused"] == "all 200 questions about the test are spent"
    assert {(line["task"], line["method"], line["seed"]) for line in lines} == {("words", "spy", 0)}
    right = labels_of(task).for_split(task.test).argmax(axis=1) == task.test.hard_label
    assert {line["accuracy"] for line in lines} == {right[public_half(task.test)].mean()}
    # and it trains what it would train in the open
    budget = Budget({"method": "probe", "epochs": 2})
    opened = method_of("naive")(labels_of(task), task, model, 0, budget)
    np.testing.assert_allclose(answer.probs, opened, atol=1e-12)
    assert answer.error == "" and answer.seconds > 0
    # states are shared with the open store, by links that stay right where the store is moved
    moved = home.rename(home.with_name("moved"))
    assert any((moved / "sealed" / "activations").iterdir())


def test_a_process_that_dies_is_told(task, model):
    answer = run("dies", task, model, queries=1)
    assert answer.error == (
        "the method's process ended with code 7 before it gave predictions: last words"
    )
    assert answer.queries == 1 and answer.probs is None


def is_running(process):
    try:
        return pathlib.Path(f"/proc/{process}/stat").read_text().split()[2] != "Z"
    except FileNotFoundError:
        return False


def test_a_method_that_never_ends_is_ended_and_the_others_go_on(task, model, monkeypatch, home):
    monkeypatch.setenv("SPY_REPORT", str(home / "process"))
    given = (labels_of(task), task, model, 0, {"method": "probe", "epochs": 2})
    with sealed_runner(1, time_limit=8) as run_one:
        answer = run_one(method_of("never_ends"), *given)
        assert answer.error == "ended after time_limit = 8 seconds, without predictions"
        assert (answer.probs, answer.queries, answer.seconds) == (None, 1, 8)
        assert not is_running((home / "process").read_text()), "nor what it started"
        died = run_one(method_of("dies"), *given)
        assert died.error.startswith("the method's process ended with code 7"), "its own question"
        quick = run_one(method_of("constant"), *given)
        assert quick.error == "" and quick.probs.shape == (80, 2) and quick.seconds < 8


def test_a_process_that_cannot_import_is_told(task, model, monkeypatch, tmp_path):
    (tmp_path / "spies.py").write_text("raise RuntimeError('no such day')")
    answer = run("naive", task, model, queries=1)
    assert answer.error.startswith("the process that methods are started from ended: ")
    assert "no such day" in answer.error and "\n" not in answer.error


@contextlib.contextmanager
def in_this_process(queries, time_limit=None):
    """Runs methods here, with the scorer that a sealed comparison has."""

    def run_here(method, labels, task, strong, seed, fit_args):
        scorer = Scorer(task.test, public_half(task.test), queries, {"method": method.name})

        def ask(probs):
            answer = scorer.answer(np.asarray(probs).tolist())
            if "spent" in answer:
                raise QueriesSpent(answer["spent"])
            return answer["accuracy"]

        probs = method(labels, task, strong, seed, Budget(fit_args, ask))
        return MethodRun(probs, 0.0, scorer.asked)

    yield run_here


def test_a_planted_cheat_rises_on_the_public_half_and_not_on_the_sealed_one(
    registries, model, monkeypatch
):
    register_words()
    monkeypatch.setattr(run_module, "sealed_runner", in_this_process)
    sizes = SIZES | {"n_test": 200}
    c = w2s.compare(
        ["best_of_guesses"], "words", f"{model}@1", model, seeds=3, queries=200, epochs=2,
        own_ceilings=False, **sizes,
    )  # fmt: skip
    runs = c.by_task["words"]
    public, test = runs.public, runs.tasks[0].test
    assert 0.4 < public.mean() < 0.6
    right = {
        name: w2s.metrics.correct(runs.all_probs(name), test.hard_label)
        for name in ("naive", "best_of_guesses")
    }
    gain = right["best_of_guesses"].astype(float) - right["naive"]
    assert gain[:, public].mean() > 0.03, "the cheat rises where it may ask"
    assert gain[:, ~public].mean() < 0.01, "and not where it may not"
    row = c.table().set_index("method").loc["best_of_guesses"]
    assert row.queries == 200 and row.accuracy == right["best_of_guesses"][:, ~public].mean()
    share = right["best_of_guesses"]
    assert row.optimism == pytest.approx(share[:, public].mean() - share[:, ~public].mean())


def test_the_command_seals_and_the_stored_comparison_says_so(
    registries, model, monkeypatch, tmp_path
):
    register_words()
    asked = []

    @contextlib.contextmanager
    def runner(queries, time_limit):
        def run_and_count(method, *given):
            asked.append((method.name, queries, time_limit))
            return run_here(method, *given)

        with in_this_process(queries) as run_here:
            yield run_and_count

    monkeypatch.setattr(run_module, "sealed_runner", runner)
    out = tmp_path / "sealed.json"
    command = f"compare best_of_guesses@3 --on words --weak {model}@1 --strong {model} --seeds 1"
    command += f" --n-train 60 --n-val 20 --n-test 80 --queries 3 --time-limit 9 --out {out}"
    assert main(command.split()) == 0
    stored = json.loads(out.read_text())
    assert stored["settings"]["queries"] == 3
    assert 30 <= stored["tasks"]["words"]["n_scored"] <= 50
    rows = {row["method"]: row for row in stored["table"]}
    assert rows["best_of_guesses@3"]["queries"] == 3 and rows["naive"]["queries"] == 0
    assert set(asked) == {("naive", 3, 9), ("best_of_guesses@3", 3, 9)}, "the free rows are ours"


def test_halves_hold_whole_groups_and_about_half_of_the_examples(task):
    public = public_half(task.test)
    assert abs(public.mean() - 0.5) <= 0.03
    assert not set(task.test.group[public]) & set(task.test.group[~public])
    assert np.array_equal(public, public_half(task.test))
    assert not np.array_equal(public, public_half(task.test, seed=1))
    for n in (2, 3):
        few = public_half(task.test.take(np.unique(task.test.group, return_index=True)[1][:n]))
        assert 0 < few.sum() < n
    with pytest.raises(ValueError, match="has 1 group; expected two or more"):
        public_half(task.test.take([0]))


def test_a_task_comes_through_json_without_its_truth(task):
    text = json.dumps(task_to_json(task))
    blind = task_from_json(json.loads(text))
    for before, after in zip(task.splits, blind.splits):
        assert after.ids.tolist() == before.ids.tolist() and after.texts == before.texts
        assert after.group.tolist() == before.group.tolist()
    assert np.array_equal(blind.supervisor.hard_label, task.supervisor.hard_label)
    with pytest.raises(TruthSealed):
        _ = blind.test.hard_label
    assert text.count("hard_label") == 1, "of the supervisor half alone"
    labels = labels_of(task)
    again = labels_from_json(json.loads(json.dumps(labels_to_json(labels))))
    assert again.fingerprint == labels.fingerprint


def test_wrong_predictions_cost_a_question_and_are_told(task):
    scorer = Scorer(task.test, public_half(task.test), 2, {"method": "made"})
    assert "expected (80, 2)" in scorer.answer([[0.5, 0.5]])["error"]
    assert "error" in scorer.answer("hello") and scorer.asked == 2
    assert "all 2 questions" in scorer.answer([[0.5, 0.5]] * 80)["spent"]
    lines = [json.loads(line) for line in log_file().read_text().splitlines()]
    assert [line["query"] for line in lines] == [1, 2, 3], "every question is logged"
    assert all(line["accuracy"] is None and line["refused"] for line in lines)


def test_what_cannot_be_sealed_is_refused(task, model):
    for queries in (-1, 1.5, True, 10**6):
        with pytest.raises(ValueError, match="queries = "):
            check_limits(queries, None)
    for seconds in (0, -1, True, float("nan"), "60"):
        with pytest.raises(ValueError, match="time_limit = "):
            check_limits(3, seconds)
    with pytest.raises(ValueError, match="methods run in this process.*expected queries too"):
        w2s.compare(["confident"], "words", f"{model}@1", model, time_limit=60)
    kept = w2s.fit(model, task.student, method="top", top_layers=1, epochs=1, keep_weights=True)
    with pytest.raises(ValueError, match="a fit of this store, which a sealed method cannot read"):
        check_sealed(kept.name)


def test_what_a_cell_defines_is_refused_before_anything_is_trained(task, model, monkeypatch):
    def no_training(*given, **settings):
        raise AssertionError("trains before it refuses")

    monkeypatch.setattr(run_module, "fit_many", no_training)

    def in_a_cell(labels, task, strong, seed, budget):
        return labels.for_split(task.test)

    def loss_in_a_cell(logits, targets, *, progress):
        return -(targets * logits.log_softmax(-1)).sum(-1)

    in_a_cell.__module__ = loss_in_a_cell.__module__ = "__main__"
    w2s.register_method(in_a_cell)
    w2s.register_loss(loss_in_a_cell)
    for name in ("in_a_cell", "loss_in_a_cell"):
        with pytest.raises(ValueError, match=f"method {name!r} is defined in this session alone"):
            w2s.compare([name], "words", f"{model}@1", model, seeds=1, queries=3, **SIZES)


def test_a_test_of_one_group_is_refused_before_anything_is_trained(task, model):
    one = replace(task, test=task.test.take([0]))
    with pytest.raises(ValueError, match="has 1 group; expected two or more"):
        check_sealed(model, [], [one])
