"""Tests of label sets: how accurate they are, and which examples they label."""

import pytest

import w2s_nb as w2s

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
    split = w2s.by_labels(arms.table(), own="soft")
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
    ],
)
def test_wrong_label_sets_are_refused_when_they_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()
