"""Tests of label sets: how accurate they are, and which examples they label."""

from dataclasses import replace

import numpy as np
import pytest

import w2s_nb as w2s
from tests.conftest import register_three, register_words
from w2s_nb.experiments.arms import by_labels
from w2s_nb.experiments.label_sets import keep_best, states_of
from w2s_nb.metrics import predictors

QUICK = dict(method="probe", epochs=20, n_train=96, n_val=32, n_test=64)


def test_every_label_set_teaches_one_student_per_loss(words, tiny):
    sets = {
        "random": w2s.matched("random", tiny, method="probe", epochs=20),
        "confident": w2s.matched("confident", tiny, method="probe", epochs=20),
        "own": w2s.matched("own", tiny),
        "both": w2s.taught_by(f"{tiny}@1", tiny, method="probe", epochs=20),
        "the surest half": w2s.confident(0.5),
    }
    arms = w2s.run_arms(
        "words",
        f"{tiny}@1",
        tiny,
        losses=["xent", "entropy"],
        labels=sets,
        weak_args={"features": 4},
        **QUICK | dict(epochs=5),
    )
    assert len(arms.students) == 2 * (1 + len(sets))
    own = arms.label_accuracy("student, naive")
    for name in ("random", "confident", "own"):
        assert arms.label_accuracy(f"student, naive, on {name}") == pytest.approx(own, abs=1 / 96)
    surest = arms.fits["student, naive, on the surest half"][0]
    assert len(surest.record["trained_on"]) == pytest.approx(48, abs=1)
    split = by_labels(arms.table(), own="soft")
    assert set(split.labels) == {"soft", *sets} and set(split.arm) == {
        "student, naive",
        "student, entropy",
    }


def test_label_sets_of_three_classes_are_as_accurate_as_their_supervisor(three, tiny):
    sets = {
        "random": w2s.matched("random", tiny),
        "unconfident": w2s.matched("unconfident", tiny, method="probe", epochs=5),
        "own": w2s.matched("own", tiny),
        "crowd": w2s.taught_by(
            f"{tiny}@1", tiny, tiny, how="dawid-skene", method="probe", epochs=5
        ),
        "the surest third": w2s.confident(1 / 3),
    }
    sizes = dict(n_train=96, n_val=33, n_test=63)
    arms = w2s.run_arms("three", f"{tiny}@1", tiny, labels=sets, method="probe", epochs=5, **sizes)
    own = arms.label_accuracy("student, naive")
    for name in ("random", "unconfident", "own"):
        assert arms.label_accuracy(f"student, naive, on {name}") == pytest.approx(own, abs=1 / 96)
    surest = arms.fits["student, naive, on the surest third"][0]
    assert len(surest.record["trained_on"]) == pytest.approx(32, abs=2)
    crowd = arms.fits["student, naive, on crowd"][0]
    assert crowd.predict(arms.tasks[0].test).shape == (63, 3)


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: w2s.matched("longst", "gpt2"), "Near: .*longest"),
        (lambda: w2s.taught_by("gpt2", how="median"), "majority"),
        (lambda: w2s.taught_by("gpt3"), "gpt2"),
        (lambda: w2s.taught_by(), "named"),
        (lambda: w2s.confident(20), r"\(0, 1\]"),
        (lambda: w2s.best_by("rads", 0, "gpt2"), r"\(0, 1\]"),
        (lambda: w2s.best_by("rds", 0.5, "gpt2"), "Near: rads"),
        (lambda: w2s.best_by("rads", 0.5, "gpt3"), "gpt2"),
    ],
)
def test_wrong_label_sets_are_refused_when_they_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("score", ["rads", "overlap"])
@pytest.mark.parametrize("task", ["words", "word_pairs", "three"])
def test_the_best_scored_share_of_each_predicted_class_is_trained_on(score, task, tiny, registries):
    register_words()
    register_three()
    dealt = w2s.load_task(task, n_train=60, n_val=24, n_test=30)
    supervisor = w2s.fit(f"{tiny}@1", dealt.supervisor, method="probe", epochs=2)
    labels = supervisor.label(dealt.student)
    kept = w2s.best_by(score, 0.5, tiny)(dealt, supervisor)
    known = kept.knows(dealt.student)
    predicted = labels.for_split(dealt.student).argmax(axis=1)
    for number in np.unique(predicted):
        among = predicted == number
        assert known[among].sum() == max(1, round(0.5 * among.sum()))
    assert kept.covers(dealt.validation)
    assert np.array_equal(kept.for_split(dealt.validation), labels.for_split(dealt.validation))
    states = states_of(tiny, dealt.student)
    assert states.shape == (60, 16)
    scores = (
        predictors.overlap(labels.for_split(dealt.student), states)
        if score == "overlap"
        else predictors.rads(
            states_of(f"{tiny}@1", dealt.student), states, labels.for_split(dealt.student), seed=0
        )
    )
    for number in np.unique(predicted):
        among = predicted == number
        if (among & ~known).any():
            assert scores[among & known].min() >= scores[among & ~known].max()


def test_a_score_does_not_look_at_the_truth(words, tiny):
    supervisor = w2s.fit(f"{tiny}@1", words.supervisor, method="probe", epochs=2)
    kept = w2s.best_by("rads", 0.5, tiny)(words, supervisor)
    wrong = replace(words, student=replace(words.student, hard_label=1 - words.student.hard_label))
    again = w2s.best_by("rads", 0.5, tiny)(wrong, supervisor)
    assert np.array_equal(kept.ids, again.ids)


def test_labels_of_nobody_have_no_weak_features(words, tiny):
    truth = w2s.SoftLabels.truth(words.student)
    with pytest.raises(ValueError, match="ground truth"):
        keep_best("rads", 0.5, tiny, truth, words)
