"""Tests of stresses: what each changes, what it leaves, and what the table compares."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

import w2s_nb as w2s
from w2s_nb.common import paths
from w2s_nb.experiments import stress
from w2s_nb.experiments.arms import CEILING, WEAK
from w2s_nb.experiments.stress import NONE, Stress
from w2s_nb.experiments.under_stress import Stressed, _difference

SETTINGS = dict(method="probe", epochs=5, n_train=96, n_val=40, n_test=64, seeds=2)


def last_words(split):
    """Returns which of the words w0 and w1 stands last, which is the truth of the task `words`."""
    return np.array([text[-1][-1] == "1" for text in split.texts], dtype=int)


@pytest.mark.parametrize("share, n_rare", [(0.25, 12), (0.05, 2)])
def test_a_rare_class_is_rare_in_training_and_the_test_examples_stay(words, share, n_rare):
    rare = stress.imbalanced(share).change_task(words)
    equal = stress.imbalanced(share).control.change_task(words)
    for name in ("supervisor", "student"):
        half, of_control = getattr(rare, name), getattr(equal, name)
        assert np.bincount(half.hard_label).tolist() == [48 - n_rare, n_rare]
        assert np.bincount(of_control.hard_label).tolist() == [24, 24]
        assert half.among(getattr(words, name).ids).all() and half.task is rare
    assert np.bincount(rare.validation.hard_label)[1] == round(share * 16)
    assert (rare.test.ids == words.test.ids).all()
    left_out = [n for what, n in rare.counts.items() if f"a share {share:g} of class yes" in what]
    assert left_out == [(96 + 96 + 32) // 2]


def test_a_rarer_class_keeps_some_of_the_same_examples(words):
    some, few = (stress.imbalanced(share).change_task(words).student for share in (0.25, 0.05))
    kept = [set(half.ids[half.hard_label == 1]) for half in (some, few)]
    assert kept[1] < kept[0]


def test_of_three_classes_the_others_keep_their_proportions(three):
    half = stress.imbalanced(0.1, rare=2).change_task(three).student
    assert np.bincount(half.hard_label).tolist() == [22, 21, 5]
    equal = stress.imbalanced(0.1, rare=2).control.change_task(three).student
    assert np.bincount(equal.hard_label).tolist() == [16, 16, 16]


def test_impossible_items_are_the_same_for_every_seed_and_hide_their_text(words):
    made = stress.impossible(0.3, text="hidden {id}")
    for seed in (0, 1):
        dealt = w2s.load_task("words", seed=seed, n_train=96, n_val=32, n_test=64)
        task = made.change_task(dealt)
        assert (task.supervisor.ids == dealt.supervisor.ids).all()
        for old, new in zip(dealt.splits[1:], task.splits[1:]):
            hidden = made.unknowable(old)
            assert (hidden == (old.ids != new.ids)).all() and 0.1 < hidden.mean() < 0.5
            assert (old.hard_label == new.hard_label).all() and len(set(new.ids)) == len(new)
            starts = np.array([text[0].startswith("hidden ") for text in new.texts])
            assert (starts == hidden).all()
        assert (made.unknowable(words.test) == made.unknowable(dealt.test)).all()


def test_the_distractor_agrees_with_the_truth_in_the_supervisors_half_alone(words):
    task = stress.distractor(["w40", "w41"], agrees=0.9).change_task(words)
    said = {split.name: last_words(split) for split in task.splits}
    assert 0.8 < (said["supervisor"] == task.supervisor.hard_label).mean() < 1
    for split in task.splits[1:]:
        assert 0.3 < (said[split.name] == split.hard_label).mean() < 0.7
    assert [text[0].rpartition(" ")[0] for text in task.test.texts] == [
        text[0] for text in words.test.texts
    ]
    always = stress.distractor(["w40", "w41"], agrees=1).change_task(words).supervisor
    assert (last_words(always) == always.hard_label).all()


def test_a_sentence_that_is_empty_leaves_text_and_id(words):
    task = stress.distractor(["", "w9 w9 w9"]).change_task(words)
    same = np.array([new == old for new, old in zip(task.test.texts, words.test.texts)])
    assert (same == (task.test.ids == words.test.ids)).all() and 0.3 < same.mean() < 0.7


def test_the_better_text_of_a_pair_gets_the_second_sentence(words):
    pairs = w2s.load_task("word_pairs", n_train=40, n_val=20, n_test=20)
    half = stress.distractor(["w40", "w41"], agrees=1).change_task(pairs).supervisor
    for texts, better in zip(half.texts, half.hard_label):
        assert texts[better].endswith(" w41") and texts[1 - better].endswith(" w40")


def test_errors_move_to_the_slice_and_the_supervisor_stays_as_accurate_and_as_sure(words, tiny):
    weak = w2s.fit(f"{tiny}@1", words.supervisor, method="probe", epochs=2)
    moved = stress.errs_on(stress.n_characters, "the longest").change_supervisor(words, weak)
    for split in words.splits[1:]:
        before, after = weak.predict(split), moved.predict(split)
        was_wrong = before.argmax(1) != split.hard_label
        is_wrong = after.argmax(1) != split.hard_label
        length = stress.n_characters(split)
        assert is_wrong.sum() == was_wrong.sum() > 0
        assert length[is_wrong].min() >= length[~is_wrong].max()
        np.testing.assert_allclose(np.sort(after), np.sort(before))
    assert moved.label(words.student).address == ""
    assert weak.label(words.student).address and "errors on" not in repr(weak)


def test_all_of_a_slice_given_as_bool_is_wrong_and_nothing_else(three, tiny):
    weak = w2s.fit(f"{tiny}@1", three.supervisor, method="probe", epochs=2)

    def short(split):
        return stress.n_characters(split) < 12

    moved = stress.errs_on(short).change_supervisor(three, weak)
    for split in three.splits[1:]:
        is_wrong = moved.predict(split).argmax(1) != split.hard_label
        assert (is_wrong == short(split)).all() and 0 < is_wrong.sum() < len(split)


def test_the_table_compares_each_arm_with_its_control_and_with_the_naive_student(words, tiny):
    stresses = [stress.imbalanced(0.1), stress.impossible(0.3, text="hidden {id}")]
    losses = ("xent", "confidence")
    run = w2s.run_stress("words", f"{tiny}@1", tiny, stresses=stresses, losses=losses, **SETTINGS)
    assert list(run.arms) == [
        "none",
        "equal shares, half the examples",
        "0.1 of class 1",
        "0.3 impossible",
    ]
    table = run.table().set_index(["stress", "arm"])
    assert table.attrs["chance"] == 0.5
    assert table.loc["none"].change.isna().all()
    rare = table.loc["0.1 of class 1"]
    assert set(rare.control) == {"equal shares, half the examples"} and set(rare.n_train) == {48}
    equal = table.loc["equal shares, half the examples"]
    np.testing.assert_allclose(rare.change, rare.accuracy - equal.accuracy)
    np.testing.assert_allclose(rare.change_auroc, rare.auroc - equal.auroc)
    students = rare.index[1:-1]
    of_naive = rare.accuracy["student, naive"]
    np.testing.assert_allclose(
        rare.over_naive[students[1:]], rare.accuracy[students[1:]] - of_naive
    )
    hidden = stresses[1].unknowable(words.test)
    impossible = table.loc["0.3 impossible"]
    assert set(impossible.n_test) == {int((~hidden).sum())}
    plain = run.arms["none"]
    right = plain.probs(CEILING).argmax(-1) == plain.hard_label
    expected = impossible.accuracy[CEILING] - right[:, ~hidden].mean()
    assert impossible.change[CEILING] == pytest.approx(expected)
    said = run.unknowable().set_index("arm")
    assert set(said.n) == {int(hidden.sum())}
    np.testing.assert_allclose(said.says_no + said.says_yes, 1)
    assert np.isnan(said.agreement[WEAK]) and said.confidence.between(0.5, 1).all()
    assert "none, equal shares" in repr(run)


def test_the_supervisor_arm_errs_where_its_labels_do(words, tiny):
    made = stress.errs_on(stress.n_characters)
    arms = w2s.run_arms("words", f"{tiny}@1", tiny, stress=made, **SETTINGS | {"seeds": 1})
    plain = w2s.run_arms("words", f"{tiny}@1", tiny, **SETTINGS | {"seeds": 1})
    assert arms.accuracy(WEAK).value == plain.accuracy(WEAK).value
    wrong = arms.probs(WEAK)[0].argmax(1) != arms.hard_label
    length = stress.n_characters(arms.test)
    assert length[wrong].min() >= length[~wrong].max()
    of_labels = [arms.label_accuracy("student, naive"), plain.label_accuracy("student, naive")]
    assert of_labels[0] == of_labels[1]


def test_an_auroc_difference_is_paired(words, tiny):
    arms = w2s.run_arms("words", f"{tiny}@1", tiny, **SETTINGS)
    nothing = _difference(arms.auroc(WEAK), arms.auroc(WEAK))
    assert (nothing.value, nothing.low, nothing.high) == (0, 0, 0)


@pytest.mark.parametrize(
    "make, says",
    [
        (lambda: stress.imbalanced(0), "share = 0; expected one between 0 and 1"),
        (lambda: stress.imbalanced("0.1"), "share = '0.1'"),
        (lambda: stress.imbalanced(0.1, rare=-1), "rare = -1"),
        (lambda: stress.impossible(1), "share = 1; expected one between"),
        (lambda: stress.impossible(0.1, text="gone"), "'gone' does not say where"),
        (lambda: stress.distractor(["a", "a"]), "expected different ones"),
        (lambda: stress.distractor("ab"), "expected different ones"),
        (lambda: stress.distractor(agrees=2), "agrees = 2"),
        (lambda: stress.errs_on("long"), "slice_of is 'long'; expected a function"),
    ],
)
def test_a_stress_that_cannot_be_is_refused_at_once(make, says):
    with pytest.raises((TypeError, ValueError), match=says):
        make()


@pytest.mark.parametrize(
    "made, says",
    [
        (stress.imbalanced(0.1, rare=2), "words has the classes no, yes, numbered from 0"),
        (stress.imbalanced(0.001), "asks for 0, expected at least 1"),
        (stress.impossible(1e-6), "of 64 test examples is none"),
        (stress.distractor(["a", "b", "c"]), "3 sentences; expected 2"),
        (stress.errs_on(lambda split: [1.0]), r"has shape \(1,\); expected \(96,\)"),
        (stress.errs_on(lambda split: [np.nan] * len(split)), "'student' has 96 numbers that are"),
        (stress.errs_on(lambda split: split.texts), "expected a number or a bool per example"),
    ],
)
def test_a_stress_that_does_not_fit_the_task_is_refused_before_training(words, tiny, made, says):
    with pytest.raises(ValueError, match=says):
        w2s.run_arms("words", f"{tiny}@1", tiny, stress=made, **SETTINGS)
    assert w2s.results().empty


def test_images_and_wrong_arguments_are_refused(words, tiny):
    images = replace(words.test, texts=tuple((f"image:{i}",) for i in words.test.ids))
    for made in (stress.impossible(), stress.distractor()):
        with pytest.raises(ValueError, match="needs texts; the examples of words are images"):
            made.change_task(replace(words, test=images))
    for given, says in [
        (dict(stress="imbalanced"), "stress is 'imbalanced'; expected one such as"),
        (dict(stress=stress.opinion(), variant=w2s.with_opinion), "expected one"),
    ]:
        with pytest.raises(TypeError, match=says):
            w2s.run_arms("words", f"{tiny}@1", tiny, **given)
    for given, says in [
        (dict(stresses=stress.opinion()), "stresses is one"),
        (dict(stresses="opinion"), "stresses is one, 'opinion'"),
        (dict(losses="xent"), "losses = 'xent'; expected several names"),
        (dict(stresses=["opinion"]), "unknown stress 'opinion'.*supervisor's opinion"),
        (dict(stresses=[3]), "stresses has 3; expected stresses such as"),
        (dict(stresses=[stress.opinion(), stress.opinion()]), "two stresses are named"),
        (dict(losses=["confidence"]), "expected 'xent' among them"),
        (dict(stress=NONE), "stresses= decides"),
    ]:
        with pytest.raises((TypeError, ValueError), match=says):
            w2s.run_stress("words", f"{tiny}@1", tiny, **given)
    assert Stress("mine").change_task(words) is words


def test_a_stress_of_the_default_is_named(words, tiny):
    settings = SETTINGS | {"seeds": 1}
    run = w2s.run_stress("words", f"{tiny}@1", tiny, stresses=["distractor"], **settings)
    assert list(run.arms) == ["none", "distractor"]
    with pytest.raises(ValueError, match="two stresses are named 'distractor'"):
        w2s.run_stress("words", f"{tiny}@1", tiny, stresses=["distractor", stress.distractor()])


def test_no_stress_is_run_where_one_does_not_fit_the_task(words, tiny):
    with pytest.raises(ValueError, match="asks for 0, expected at least 1"):
        w2s.run_stress("words", f"{tiny}@1", tiny, stresses=[stress.imbalanced(0.001)], **SETTINGS)
    assert w2s.results().empty
    with pytest.raises(ValueError, match="no label is unknowable under none"):
        Stressed([NONE], {"none": None}).unknowable()


def test_validation_may_be_left_without_the_rare_class(words):
    task = stress.imbalanced(0.02).change_task(words)
    assert task.student.shares[1] == 1 / 48 and task.validation.shares[1] == 0


def test_braces_in_the_text_that_says_nothing_are_text(words):
    task = stress.impossible(0.5, text='{"id": {id}, "text": null}').change_task(words)
    (new,) = (set(task.test.texts) - set(words.test.texts)).pop()
    assert new.startswith('{"id": ') and new.endswith(', "text": null}') and "{id}" not in new


def test_a_task_with_answers_is_left_as_it_is_where_nothing_is_changed():
    pytest.importorskip("chess")
    puzzles = w2s.load_task("mate_in_one", n_train=20, n_val=20, n_test=20)
    assert NONE.change_task(puzzles) is puzzles
    with pytest.raises(ValueError, match="needs classes; mate_in_one is answered by generating"):
        stress.imbalanced(0.25).change_task(puzzles)


def test_the_kept_table_compares_with_controls_and_says_what_the_readme_does():
    kept = json.loads((paths.checkout() / "papermill_runs/reference/stress.json").read_text())
    table = pd.DataFrame(kept["table"]).set_index(["stress", "arm"])
    rare, control = table.loc["0.1 of class 1"], table.loc["equal shares, half the examples"]
    np.testing.assert_allclose(rare.change, rare.accuracy - control.accuracy, atol=1e-9)
    assert set(rare.control) == {"equal shares, half the examples"}
    students = [arm for arm in rare.index if arm.startswith("student")]
    assert len(students) == 3
    moved = table.loc["errors on the longest texts"]
    assert moved.change[WEAK] == 0 and (moved.change_high[students] < 0).all()
    assert sorted(moved.change[students].round(2)) == [-0.07, -0.06, -0.06]
    few = table.loc["0.01 of class 1"].accuracy[students].round(2)
    assert (few.min(), few.max()) == (0.53, 0.58)
    said = pd.DataFrame(kept["unknowable"]).set_index("arm")
    assert (said.agreement[students] == 1).all()
    assert (said.confidence > said.confidence_elsewhere)[students].all()
    surest = said.confidence[students].round(2)
    assert (surest.min(), surest.max(), said.confidence[CEILING].round(2)) == (0.82, 0.96, 0.55)
