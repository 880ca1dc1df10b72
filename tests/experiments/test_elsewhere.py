"""Tests of arms that are tested on other tasks too, in and out of distribution."""

import functools
import json
import warnings
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

import w2s_nb as w2s
from tests.conftest import word_rows
from w2s_nb import metrics
from w2s_nb.common import paths
from w2s_nb.common.registry import UnknownName
from w2s_nb.data.load import groups_of
from w2s_nb.data.tasks.spec import Example
from w2s_nb.experiments.arms import CEILING, WEAK
from w2s_nb.experiments.task_variants import with_opinion
from w2s_nb.training.fit import check_fit

SIZES = dict(n_train=96, n_val=32, n_test=64)
QUICK = dict(method="probe", epochs=20, **SIZES)
NAIVE = "student, naive"


@pytest.fixture
def other(words, registries):
    """Registers `other`, whose texts end in the same words after other noise."""

    @w2s.register_task("other", lambda: {"all": list(word_rows(seed=1))}, max_len=16)
    def other(row):
        """Which word stands last?"""
        yield Example((row["text"],), row["label"], (row["passage"],))

    return w2s.load_task("other", **SIZES)


@pytest.fixture
def kinds(words, registries):
    """Registers `kinds`, whose option keeps the long or the short texts; passages have both."""

    def of_length(option):
        return lambda example: (len(example.texts[0].split()) > 6) == (option == "long")

    @w2s.register_task("kinds", lambda: {"all": list(word_rows())}, max_len=16, narrow=of_length)
    def kinds(row):
        """Which word stands last?"""
        yield Example((row["text"],), row["label"], (row["passage"],))


@pytest.fixture
def arms(words, other, tiny):
    return w2s.run_arms("words", f"{tiny}@1", tiny, seeds=2, elsewhere=["other"], **QUICK)


@pytest.mark.parametrize("method", ["probe", "logistic", "full", "lora", "top"])
def test_a_fit_predicts_other_splits_and_is_else_the_same(method, words, other, tiny):
    args = dict(method=method, **({} if method == "logistic" else {"epochs": 2}))
    alone = w2s.fit(f"{tiny}@2", words.student, **args)
    beside = w2s.fit(f"{tiny}@2", words.student, also=[other.test], **args)
    assert alone.address != beside.address
    for split in (words.test, words.validation):
        assert np.allclose(alone.predict(split), beside.predict(split), atol=1e-5)
    assert np.allclose(alone.curve.train_loss, beside.curve.train_loss, atol=1e-5)
    assert list(alone.curve.step) == list(beside.curve.step) and alone.stop == beside.stop
    assert beside.predict(other.test).shape == (64, 2)
    assert len(beside.predictions) - len(alone.predictions) == 64
    assert beside.record["also"] == {"other, test": 64}
    with pytest.raises(ValueError, match="64 of 64 examples of 'test' are not there"):
        alone.predict(other.test)


def test_predictions_elsewhere_are_those_of_the_trained_head(words, other, tiny):
    args = dict(method="probe", epochs=5, keep_weights=True)
    fit = w2s.fit(f"{tiny}@2", words.student, also=other.test, **args)
    weights = {name: tensor.numpy() for name, tensor in fit.weights().items()}
    states = w2s.features(f"{tiny}@2", other.test)[2]
    x = (states - weights["mean"]) / weights["std"]
    logits = x @ weights["head.weight"].T + weights["head.bias"]
    odds = np.exp(logits[:, 1] - logits[:, 0])
    assert np.allclose(fit.predict(other.test)[:, 1], odds / (1 + odds), atol=1e-3)


def test_an_empty_list_of_others_keeps_the_address(words, tiny):
    args = dict(method="probe", epochs=2)
    assert (
        w2s.fit(tiny, words.student, **args).address
        == w2s.fit(tiny, words.student, also=[], **args).address
        == w2s.fit(tiny, words.student, also=[words.test], **args).address
    )


def test_an_example_is_predicted_once(words, other, tiny):
    fit = w2s.fit(
        tiny, words.student, also=[other.test, other.test, words.test], method="probe", epochs=2
    )
    assert not fit.predictions.id.duplicated().any()
    assert fit.predict(other.test).shape == (64, 2)


def test_what_cannot_be_tested_elsewhere_is_refused_before_training(words, other, three, tiny):
    pairs = w2s.load_task("word_pairs", **SIZES)
    none = other.test.take(slice(0, 0))
    for also, said in {
        pairs.test: "word_pairs has two texts per example; expected one text, as words has",
        three.test: "three has the classes red, green, blue; expected those of words: no, yes",
        words.student: "96 of 96 examples of words, student are trained on",
        none: "other, test has no examples",
    }.items():
        for run in (w2s.fit, check_fit):
            with pytest.raises(ValueError, match=said):
                run(tiny, words.student, also=[also], method="probe")
    with pytest.raises(TypeError, match="also is a str; expected a split"):
        w2s.fit(tiny, words.student, also="other", method="probe")
    with pytest.raises(TypeError, match="also is a Task; expected one of its splits"):
        w2s.fit(tiny, words.student, also=[other], method="probe")
    with pytest.raises(ValueError, match="stop 'oracle' with also"):
        w2s.fit(tiny, words.student, also=[other.test], method="probe", stop="oracle")
    assert w2s.results().empty


def test_names_elsewhere_are_checked_before_training(words, other, tiny):
    for elsewhere, error, said in [
        ("other", TypeError, "expected several names"),
        ([3], TypeError, "expected the name of a task"),
        (["othr"], UnknownName, "other"),
        (["words"], ValueError, "which is trained on"),
        (["word_pairs"], ValueError, "two texts"),
    ]:
        with pytest.raises(error, match=said):
            w2s.run_arms("words", f"{tiny}@1", tiny, elsewhere=elsewhere, **QUICK)
    with pytest.raises(TypeError, match=r"which elsewhere=\[names of tasks\] decides"):
        w2s.run_arms("words", f"{tiny}@1", tiny, also=[other.test], **QUICK)
    assert w2s.results().empty


def test_a_view_measures_the_same_fits_on_the_other_test_split(arms, other):
    there = arms.on("other")
    assert arms.elsewhere == ["other"] and there.test.ids.tolist() == other.test.ids.tolist()
    probs = np.stack([fit.predict(other.test) for fit in arms.fits[NAIVE]])
    expected = metrics.accuracy(probs, other.test.hard_label, group=other.test.group)
    assert there.accuracy(NAIVE) == expected
    assert there.table().loc[NAIVE, "accuracy"] == expected.value
    assert len(there.by_seed()) == 6 and there.agreement(NAIVE).n == 64
    assert set(there.stops().stop) == {"last", "validation"}
    with pytest.raises(UnknownName, match="other"):
        arms.on("othr")


def test_in_distribution_nothing_changes(arms, words, tiny):
    alone = w2s.run_arms("words", f"{tiny}@1", tiny, seeds=2, **QUICK)
    assert alone.elsewhere == []
    assert np.allclose(alone.probs(NAIVE), arms.probs(NAIVE), atol=1e-6)


def test_the_table_has_each_arm_in_and_out_of_distribution(arms):
    table = arms.table_elsewhere()
    assert list(table.tested_on) == ["words"] * 3 + ["other"] * 3
    assert list(table.arm) == [WEAK, NAIVE, CEILING] * 2
    inside, outside = table.iloc[:3], table.iloc[3:]
    assert inside.accuracy_change.isna().all()
    assert table.attrs["chance"] == {"words": 0.5, "other": 0.5}
    change = outside.accuracy.to_numpy() - inside.accuracy.to_numpy()
    assert outside.accuracy_change.to_numpy() == pytest.approx(change)
    assert (outside.accuracy_change_low <= change).all()
    moved = outside.auroc.to_numpy() - inside.auroc.to_numpy()
    assert outside.auroc_change.to_numpy() == pytest.approx(moved)
    assert {"pgr_change", "pgr_auroc_change"} <= set(table)
    student, before = outside[outside.arm == NAIVE].iloc[0], inside[inside.arm == NAIVE].iloc[0]
    if not np.isnan(student.pgr + before.pgr):
        assert student.pgr_change == pytest.approx(student.pgr - before.pgr)


@pytest.mark.filterwarnings("ignore:.*of words that its tokenizer does not know")
def test_an_arm_that_was_not_asked_elsewhere_is_left_out_there(arms, tiny):
    wording = w2s.Prompt("{0} w40", ("w41", "w42"))
    both = w2s.with_prompts(arms, 2, only=("zero-shot",), wording=wording)
    assert list(both.on("other").fits) == list(arms.fits)
    table = both.table_elsewhere()
    assert table[table.arm == "zero-shot"].tested_on.tolist() == ["words"]
    assert (table.groupby("arm").size().drop("zero-shot") == 2).all()


def test_arms_without_a_supervisor_are_tested_elsewhere_too(arms, other, tiny):
    both = w2s.with_no_supervisor(arms, ["first_component"], signs=["supervisor"])
    arm = "first component, sign by supervisor"
    there = both.on("other")
    assert arm in there.fits and there.probs(arm).shape == (2, 64, 2)
    inside = replace(arms, tests_elsewhere={})
    plain = w2s.with_no_supervisor(inside, ["first_component"], signs=["supervisor"])
    assert plain.fits[arm][0].address != both.fits[arm][0].address
    assert np.array_equal(plain.probs(arm), both.probs(arm))
    first = both.fits[arm][0].predict(other.test)
    swapped = w2s.no_supervisor(
        tiny,
        arms.tasks[0].student,
        "first_component",
        arms.fits[WEAK][0].label(arms.tasks[0].student),
        also=[other.test.take(slice(None, None, -1))],
    ).predict(other.test)
    np.testing.assert_allclose(swapped, first, atol=1e-9)


def test_a_variant_of_the_task_leaves_other_test_examples_as_they_are(words, other, tiny):
    variant = functools.partial(with_opinion, template="{label}", words=["w3", "w4"])
    arms = w2s.run_arms("words", f"{tiny}@1", tiny, elsewhere=["other"], variant=variant, **QUICK)
    assert arms.on("other").test.texts == other.test.texts
    assert arms.on("other").table().accuracy.notna().all()


def test_no_example_of_a_seen_text_or_group_is_left_elsewhere(kinds, tiny):
    sizes = SIZES | {"n_test": 40}
    args = dict(method="probe", epochs=5, seeds=2, **sizes)
    with pytest.warns(UserWarning, match=r"\d+ of 40 test examples of kinds@short are left out"):
        arms = w2s.run_arms("kinds@long", f"{tiny}@1", tiny, elsewhere=["kinds@short"], **args)
    left = arms.on("kinds@short").test
    assert 2 <= len(left) < 40
    group = groups_of("kinds")
    seen = [split for task in arms.tasks for split in task.all_splits if split.name != "test"]
    assert not {group[i] for i in left.ids} & {group[i] for split in seen for i in split.ids}


def test_texts_of_another_task_that_are_trained_on_are_left_out(words, registries, tiny):
    shared = words.student.texts[0][0]
    rows = [*word_rows(seed=1)]

    def source():
        return {"train": rows[:500], "test": [{**rows[500], "text": f" {shared} "}, *rows[501:]]}

    @w2s.register_task("twin", source, max_len=16)
    def twin(row):
        """Which word stands last?"""
        yield Example((row["text"],), row["label"])

    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        arms = w2s.run_arms(
            "words", f"{tiny}@1", tiny, elsewhere=["twin"], **QUICK | {"n_test": None}
        )
    assert any("share a text or a group" in str(each.message) for each in said)
    assert all(shared != text.strip() for (text,) in arms.on("twin").test.texts)


def test_the_kept_table_has_three_tasks_each_tested_on_all():
    kept = json.loads((paths.checkout() / "papermill_runs/reference/elsewhere.json").read_text())
    table = pd.DataFrame(kept["table"])
    tasks = kept["parameters"]["tasks"]
    places = set(zip(table.trained_on, table.tested_on))
    assert places == {(trained, tested) for trained in tasks for tested in tasks}
    moved = table[table.trained_on != table.tested_on]
    inside = table[table.trained_on == table.tested_on].set_index(["trained_on", "arm"]).accuracy
    before = inside.loc[list(zip(moved.trained_on, moved.arm))].to_numpy()
    assert moved.accuracy_change.to_numpy() == pytest.approx(moved.accuracy.to_numpy() - before)
    # as the README says
    students = moved[moved.arm.str.startswith("student")]
    assert len(students) == 12
    assert ((students.pgr_change_low < 0) & (students.pgr_change_high > 0)).all()
    by_auroc = (students.pgr_auroc_change_low < 0) & (students.pgr_auroc_change_high > 0)
    assert by_auroc.sum() == 10
    assert (students.accuracy_change.round(2).max(), students.accuracy_change.round(2).min()) == (
        -0.05,
        -0.17,
    )
