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
