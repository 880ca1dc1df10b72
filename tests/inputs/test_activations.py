"""Announced deep models read their texts before shallow cuts of them do: `deepest_first`."""

import contextlib

import numpy as np
import pytest

import w2s_nb as w2s
from w2s_nb.inputs import activations
from w2s_nb.inputs.activations import deepest_first
from w2s_nb.models.anatomy import blocks_of


@pytest.fixture
def runs(monkeypatch):
    """Passes through a model: [(its blocks, input ids)]."""
    passes, run = [], activations._run
    activations.code()  # before the function that it hashes is replaced

    def recorded(lm, batch, *rest):
        blocks = blocks_of(lm.base_model)
        passes.append((len(blocks), batch["input_ids"].tolist()))
        return run(lm, batch, *rest)

    monkeypatch.setattr(activations, "_run", recorded)
    return passes


@pytest.fixture
def new_home(monkeypatch, tmp_path):
    """Switches to an empty store."""
    return lambda name: monkeypatch.setenv("W2S_HOME", str(tmp_path / name))


def read_by_student(task):
    return [task.student, task.test, task.validation]


def predictions(fits, task):
    splits = [task.test, task.validation]
    return [fit.predict(split) for fit in fits for split in splits]


@pytest.mark.parametrize("task_name, depth", [("words", 4), ("word_pairs", 3)])
def test_a_supervisor_fitted_first_reads_as_if_the_student_came_first(
    task_name, depth, words, tiny, runs, new_home
):
    task = w2s.load_task(task_name, n_train=96, n_val=32, n_test=64)
    strong, weak = f"{tiny}@{depth}", f"{tiny}@2"

    def fit_all(*, ceiling_first):
        runs.clear()
        options = {"method": "probe", "epochs": 5}
        if ceiling_first:
            w2s.fit(strong, task.student, **options)
        supervisor = w2s.fit(weak, task.supervisor, **options)
        student = w2s.fit(strong, task.student, supervisor.label(task.student), **options)
        ceiling = w2s.fit(strong, task.student, **options)
        return predictions([supervisor, student, ceiling], task), list(runs)

    new_home("ceiling first")
    expected, expected_runs = fit_all(ceiling_first=True)
    new_home("announced")
    with deepest_first({strong: read_by_student(task)}):
        announced, announced_runs = fit_all(ceiling_first=False)
    assert announced_runs == expected_runs
    assert {blocks for blocks, _ in announced_runs} == {2, depth}
    for one, other in zip(announced, expected, strict=True):
        np.testing.assert_array_equal(one, other)

    new_home("not announced")
    _, unannounced_runs = fit_all(ceiling_first=False)
    n_read = [sum(len(ids) for _, ids in passes) for passes in (announced_runs, unannounced_runs)]
    assert n_read[0] < n_read[1], "announcing saved nothing; the test could not fail"


@contextlib.contextmanager
def no_announcement():
    yield


@pytest.mark.parametrize(
    "announced_model, splits, options",
    [
        ("@1", ("student", "test"), {}),
        ("@4", ("test",), {"pool": "mean"}),
        ("@4", ("test",), {"dtype": "float32"}),
        ("@4", ("validation",), {}),
        ("other weights", ("test",), {}),
    ],
)
def test_nothing_is_read_for_an_announcement_that_serves_no_text_that_is_asked_for(
    announced_model, splits, options, words, tiny, runs, new_home, tmp_path
):
    from tests.conftest import save_tiny

    model = f"{tiny}{announced_model}"
    if announced_model == "other weights":
        save_tiny(tmp_path / "other", seed=1)
        model = str(tmp_path / "other")
    announcement = deepest_first({model: [getattr(words, name) for name in splits]})
    passes = []
    for context in (no_announcement(), announcement):
        new_home(f"store {len(passes)}")
        runs.clear()
        with context:
            w2s.features(f"{tiny}@2", words.test, max_len=16, **options)
        passes.append(list(runs))
    assert passes[0] == passes[1]


def test_stored_states_are_not_read_again_for_an_announcement(words, tiny, runs):
    w2s.features(f"{tiny}@2", words.test)
    runs.clear()
    with deepest_first({tiny: [words.test, words.student]}):
        w2s.features(f"{tiny}@2", words.test)
    assert runs == []


def test_an_announcement_ends_with_its_context(words, tiny, runs):
    with deepest_first({tiny: [words.test]}), deepest_first({f"{tiny}@3": [words.test]}):
        pass
    w2s.features(f"{tiny}@2", words.test)
    assert {blocks for blocks, _ in runs} == {2}


def test_of_several_announced_depths_the_deepest_reads(words, tiny, runs):
    with deepest_first({f"{tiny}@3": [words.test], tiny: [words.test]}):
        w2s.features(f"{tiny}@2", words.test)
        w2s.features(f"{tiny}@3", words.test)
    assert {blocks for blocks, _ in runs} == {4}


def test_an_announced_text_beyond_the_context_is_refused(words, tiny, monkeypatch):
    activations.code()
    monkeypatch.setattr(activations, "_load", lambda *a: pytest.fail("a model was loaded"))
    too_long = w2s.load_task("words", n_train=96, n_val=32, n_test=64).student
    long_texts = tuple((70 * "w5 ",) for _ in too_long.texts)
    too_long = type(too_long)(
        "long", too_long.ids, long_texts, too_long.hard_label, too_long.group, task=words
    )
    announced = {tiny: [words.test, too_long]}
    with deepest_first(announced, max_len=100), pytest.raises(ValueError, match="70 tokens"):
        w2s.features(f"{tiny}@2", words.test)
