"""Seeds and counts that would give other results silently are refused, before any model loads."""

import numpy as np
import pytest

import w2s_nb as w2s
from w2s_nb.experiments.prepare import list_seeds
from w2s_nb.metrics.estimate import bootstrap, of_means

NO_SEEDS = [None, True, 2**70, [0, 1], "0", 1.5, -1, float("nan"), np.float64(1)]
HALVES = np.zeros((1, 4))
CALLS = {
    "load_task": lambda task, seed: w2s.load_task(task.name, seed=seed),
    "fit": lambda task, seed: w2s.fit("SmolLM2-135M@1", task.student, seed=seed),
    "finetune_lm": lambda task, seed: w2s.finetune_lm("SmolLM2-135M@1", task.student, seed=seed),
    "prompt": lambda task, seed: w2s.prompt("SmolLM2-135M@1", task.test, seed=seed),
    "simulate": lambda task, seed: w2s.simulate("random", task.student, 0.7, seed=seed),
    "flip": lambda task, seed: w2s.SoftLabels.truth(task.student).flip(0.1, seed=seed),
    "list_seeds": lambda task, seed: list_seeds([0, seed]),
    "bootstrap": lambda task, seed: bootstrap(np.mean, HALVES, seed=seed),
    "of_means": lambda task, seed: of_means(np.asarray, HALVES, seed=seed),
}


@pytest.mark.parametrize("call", CALLS)
def test_a_seed_that_is_no_whole_number_from_0_is_refused(call, words):
    for seed in NO_SEEDS:
        with pytest.raises(ValueError, match="expected a whole number from 0"):
            CALLS[call](words, seed)


@pytest.mark.parametrize("seeds", [None, True, "3", 2.5, -1, 0, [], [1, None], [True]])
def test_seeds_of_an_experiment_are_a_count_or_a_list(seeds):
    with pytest.raises(ValueError, match="seed"):
        list_seeds(seeds)


def test_seeds_of_numpy_are_seeds(words):
    sizes = dict(n_train=96, n_val=32, n_test=64)
    task = w2s.load_task("words", seed=np.int64(1), **sizes)
    assert type(task.seed) is int and list_seeds(np.int64(2)) == [0, 1]
    assert list_seeds(np.arange(2)) == [0, 1] and type(list_seeds(np.arange(2))[0]) is int
    assert task.student.fingerprint == w2s.load_task("words", seed=1, **sizes).student.fingerprint


@pytest.mark.parametrize("extra", [-1, 1.5, "2", None, True])
def test_a_number_of_extra_halves_is_a_whole_number_from_0(extra, words):
    with pytest.raises(ValueError, match=r"extra_halves = .*expected a whole number from 0"):
        w2s.load_task("words", extra_halves=extra)
