"""Tests of one setting at a time: which fits it is made of, and what it refuses."""

import numpy as np
import pytest

import w2s_nb as w2s
from w2s_nb.common.registry import UnknownName
from w2s_nb.experiments.one_setting import epochs, sizes_of

SIZES = dict(n_train=96, n_val=32, n_test=64)


@pytest.fixture
def setting(words, tiny):
    return dict(task="words", weak=f"{tiny}@1", strong=tiny, **SIZES)


def test_a_setting_with_few_labels_has_as_many_of_each_class(setting):
    for n_labels in (6, 40):
        arms = w2s.one_setting(**setting, n_labels=n_labels, seeds=[0, 3], epochs=1)
        for task, fits in zip(arms.tasks, zip(*arms.fits.values(), strict=True), strict=True):
            for fit in fits[1:]:
                trained_on = task.student.among(fit.record["trained_on"])
                counts = np.bincount(task.student.hard_label[trained_on], minlength=2)
                assert counts.tolist() == [n_labels / 2, n_labels / 2]


def test_a_setting_is_three_fits_on_the_first_labels_of_each_class(setting, words, tiny):
    arms = w2s.one_setting(
        **setting, n_labels=40, seeds=[3], loss="confidence", loss_args={"alpha": 0.25}, epochs=5
    )
    task = w2s.load_task("words", seed=3, **SIZES)
    supervisor = w2s.fit(f"{tiny}@1", task.supervisor, method="probe", seed=3, epochs=5)
    of_class = [np.flatnonzero(task.student.hard_label == c)[:20] for c in (0, 1)]
    some = task.student.take(np.sort(np.concatenate(of_class)))
    student = w2s.fit(
        tiny,
        some,
        supervisor.label(task.student),
        method="probe",
        seed=3,
        loss="confidence",
        loss_args={"alpha": 0.25},
        epochs=5,
    )
    ceiling = w2s.fit(tiny, some, method="probe", seed=3, epochs=5)
    assert [fits[0].address for fits in arms.fits.values()] == [
        f.address for f in (supervisor, student, ceiling)
    ]
    assert arms.pgr("student, confidence") == w2s.pgr(supervisor, student, ceiling, task.test)


def test_sizes_that_are_not_given_are_multiples_of_the_classes(three, words):
    assert sizes_of("three", None, None, 99) == (600, 198, 99)
    assert sizes_of("words", None, 32, None) == (600, 32, 800)


@pytest.mark.parametrize(
    "n, passes", [(20, 200), (600, 200), (640, 200), (641, 166), (3000, 41), (200_000, 1)]
)
def test_a_probe_makes_no_more_than_a_thousand_steps(n, passes):
    assert epochs(n) == passes and (passes == 1 or passes * -(-n // 128) <= 1000)


@pytest.mark.parametrize(
    "change, error, message",
    [
        (
            dict(n_labels=97),
            ValueError,
            "n_labels = 97; expected a whole number from 2 to n_train, 96",
        ),
        (dict(n_labels=True), ValueError, "n_labels = True"),
        (dict(task="word"), UnknownName, "Near: word"),
        (dict(loss="confidense"), UnknownName, "Near: confidence"),
        (dict(strong="SmolLM-135M"), UnknownName, "SmolLM2-135M"),
        (dict(loss_args={"alfa": 1}), ValueError, "alfa"),
    ],
)
def test_wrong_settings_are_refused(setting, change, error, message):
    with pytest.raises(error, match=message):
        w2s.one_setting(**setting | change)


@pytest.mark.parametrize("task", ["amazon_snippets", "tweet_snippets", "tweet_snippets@three"])
def test_a_setting_without_sizes_takes_those_that_its_task_has_examples_for(task):
    sizes = sizes_of(task, None, None, None)
    assert sizes == w2s.TASKS[task].cpu_sizes
    assert len(w2s.load_task(task, **sizes._asdict()).test) == sizes.n_test
