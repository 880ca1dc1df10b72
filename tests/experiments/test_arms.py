"""Tests of arms over seeds: what experiments refuse, their tables, how they are shown."""

import dataclasses
import json
import warnings

import numpy as np
import pytest

import w2s_nb as w2s
from w2s_nb import metrics, plots
from w2s_nb.common import paths
from w2s_nb.common.registry import UnknownName
from w2s_nb.data.classes import likeliest
from w2s_nb.experiments.arms import CEILING, WEAK, tables
from w2s_nb.experiments.prompts import FEW_GT, FEW_WEAK, ZERO_SHOT
from w2s_nb.experiments.saliency import LP_GT
from w2s_nb.notebook.widgets import setting_explorer

QUICK = dict(method="probe", epochs=20, n_train=96, n_val=32, n_test=64)


@pytest.fixture
def arms(words, tiny):
    return w2s.run_arms("words", f"{tiny}@1", tiny, seeds=2, **QUICK)


@pytest.mark.parametrize("seeds", [0, True, [], 1.5])
@pytest.mark.parametrize("run", [w2s.run_arms, w2s.run_saliency, w2s.one_setting, w2s.run_chain])
def test_every_experiment_needs_a_seed(run, seeds, words, tiny):
    models = ([tiny, tiny],) if run is w2s.run_chain else (tiny, tiny)
    with pytest.raises(ValueError, match="seeds"):
        run("words", *models, seeds=seeds, n_train=96, n_val=32, n_test=64)
    assert w2s.results().empty


def test_seeds_are_given_by_number_or_one_by_one(arms, words, tiny):
    assert [task.seed for task in arms.tasks] == [0, 1]
    one = w2s.run_arms("words", f"{tiny}@1", tiny, seeds=[1, 1], **QUICK)
    assert [task.seed for task in one.tasks] == [1]
    assert one.fits[WEAK][0].address == arms.fits[WEAK][1].address
    chain = w2s.run_chain("words", [f"{tiny}@1", tiny], seeds=[1], **QUICK)
    assert chain.steps[0][0].address == arms.fits[WEAK][1].address


def test_student_args_are_for_the_students_alone(words, tiny):
    arms = w2s.run_arms("words", f"{tiny}@1", tiny, student_args={"evals": [0.1, 0.5]}, **QUICK)
    assert [len(arms.fits[arm][0].curve) for arm in arms.fits] == [20, 3, 20]


def test_confusion_counts_predictions_of_each_class(three, tiny):
    sizes = dict(n_train=96, n_val=33, n_test=63)
    arms = w2s.run_arms("three", f"{tiny}@1", tiny, method="probe", epochs=30, seeds=2, **sizes)
    confusion = arms.confusion(WEAK)
    assert confusion.index.tolist() == confusion.columns.tolist() == list(three.test.classes)
    predicted = likeliest(arms.probs(WEAK))
    assert confusion.loc["red", "blue"] == (predicted[:, arms.hard_label == 0] == 2).mean()
    assert np.diag(confusion).mean() == pytest.approx(arms.accuracy(WEAK).value)  # balanced
    cells = plots.confusion(confusion, "t").data[0]
    assert np.array(cells.z).tolist() == confusion.to_numpy().tolist()
    assert arms.table().attrs["chance"] == arms.by_seed().attrs["chance"] == 1 / 3


def test_figures_by_task_show_every_arm_and_seed(arms):
    table = arms.table().reset_index().assign(task="words")
    figure = plots.by_task(table, arms.by_seed().assign(task="words"), "t")
    drawn = {t.name: t.y[0] for t in figure.data if t.name}
    assert drawn == dict(zip(table.arm, table.accuracy)) and list(drawn)[-1] == CEILING
    assert sum(len(t.y) for t in figure.data if not t.name) == 6
    assert {LP_GT, ZERO_SHOT, FEW_GT, FEW_WEAK} <= set(plots.COLOURS)


def test_tables_join_experiments_by_models_or_by_name(arms, words, tiny):
    other = w2s.run_arms("words", f"{tiny}@2", tiny, **QUICK)
    table, by_seed = tables([arms, other])
    assert list(table.weak) == [f"{tiny}@1"] * 3 + [f"{tiny}@2"] * 3 and set(table.strong) == {tiny}
    assert table.pair[3] == f"{tiny}@2 -> {tiny}" and set(by_seed.pair) == set(table.pair)
    assert len(by_seed) == 6 + 3 and list(table.accuracy[:3]) == list(arms.table().accuracy)
    named, by_seed = tables({"one": arms, "two": other}, "kind")
    assert list(named.kind) == ["one"] * 3 + ["two"] * 3 and "weak" not in named
    assert list(by_seed.kind) == ["one"] * 6 + ["two"] * 3
    with pytest.raises(TypeError, match="names"):
        tables([arms], "kind")


def test_joined_arms_have_the_students_of_both(arms, words, tiny):
    pair = ("words", f"{tiny}@1", tiny)
    other = w2s.run_arms(*pair, seeds=2, losses=["confidence", "xent"], **QUICK)
    both = arms.join(other)
    assert both.students == ["student, naive", "student, confidence"]
    assert list(both.fits)[-1] == CEILING
    assert both.fits["student, naive"] is arms.fits["student, naive"]
    gains = both.gains_over("student, naive").set_index("arm")
    gain = both.gain_over("student, confidence", "student, naive")
    assert gains.loc["student, confidence"].tolist() == [gain.value, gain.low, gain.high]
    rows, dots = both.by_loss()
    names = ["weak supervisor", "naive", "confidence", "strong ceiling"]
    assert rows.loss.tolist() == names and dots.loss.tolist() == np.repeat(names, 2).tolist()
    with pytest.raises(ValueError, match="weak supervisor of the two experiments is not the same"):
        arms.join(w2s.run_arms(*pair, seeds=1, **QUICK))
    with pytest.raises(UnknownName, match="unknown arm"):
        both.gains_over("naive")


def test_label_sets_stand_in_a_column_with_their_accuracy(words, tiny):
    sets = {"constant": w2s.constant(), "own again": lambda task, fit: fit.label(task.student)}
    arms = w2s.run_arms("words", f"{tiny}@1", tiny, seeds=2, labels=sets, **QUICK)
    table, dots = arms.by_labels(own="own")
    assert table.labels.tolist() == ["own", "constant", "own again"]
    assert set(table.arm) == {"student, naive"} and set(dots.labels) == set(table.labels)
    accuracy = table.set_index("labels").label_accuracy
    assert accuracy["constant"] == 0.5 and accuracy["own"] == accuracy["own again"] > 0.5


def test_agreements_have_a_row_per_student_and_kind_of_examples(arms):
    rows = arms.agreements()
    assert rows.on.tolist() == ["all", "mistakes", "correct"]
    found = arms.agreement("student, naive", on="mistakes")
    assert rows.loc[1, ["value", "low", "high"]].tolist() == [found.value, found.low, found.high]


def test_changes_of_agreement_and_pgr_are_paired_with_another_experiment(arms, words, tiny):
    naive = "student, naive"
    smaller = w2s.run_arms("words", f"{tiny}@1", f"{tiny}@2", seeds=2, **QUICK)
    change = arms.agreement_change(naive, naive, others=smaller, on="mistakes")
    larger, lower = (a.agreement(naive, on="mistakes").value for a in (arms, smaller))
    assert change.value == pytest.approx(larger - lower) and change.low < change.high
    same = arms.agreement_change(naive, naive)
    assert (same.value, same.low, same.high) == (0, 0, 0)
    ends = {WEAK: arms.fits[CEILING], CEILING: arms.fits[WEAK]}  # so that there is a gap
    turned = dataclasses.replace(arms, fits={**arms.fits, **ends})
    stops = turned.pgr_over(turned, naive, stop="oracle", other_stop="last")
    of_both = [turned.pgr(naive, stop=stop).value for stop in ("oracle", "last")]
    assert stops.value == pytest.approx(of_both[0] - of_both[1])
    assert turned.pgr_over(turned, naive, stop="last").value == 0


def test_imitation_of_several_sizes_is_one_table(arms, words, tiny):
    smaller = w2s.run_arms("words", f"{tiny}@1", f"{tiny}@2", seeds=2, **QUICK)
    rows = w2s.imitation_of([smaller, arms])
    assert rows.pair.tolist() == [f"{tiny}@1 -> {tiny}@2", f"{tiny}@1 -> {tiny}"]
    assert rows.misfit[1] == arms.imitation().misfit[0]
    with pytest.raises(ValueError, match="no experiment"):
        w2s.imitation_of([])


def test_arms_and_chains_are_shown_briefly(arms, tiny):
    assert repr(arms).splitlines() == [
        f"Arms: {tiny}@1 teaches {tiny}, words, seeds 0, 1, 64 test examples",
        "  weak supervisor; student, naive; strong ceiling",
    ]
    many = arms.with_students({f"student, {i}": arms.fits[CEILING] for i in range(20)})
    assert repr(many).endswith("student, 4; 15 more students; strong ceiling")
    chain = w2s.run_chain("words", [f"{tiny}@1", tiny], seeds=2, **QUICK)
    assert len(repr(chain).splitlines()) == 2 and "seeds 0, 1" in repr(chain)
    for shown in (arms, chain):
        accuracy = format(arms.accuracy(CEILING))
        assert accuracy in shown._repr_html_() and "accuracy_low" not in shown._repr_html_()
        assert "<p>words: rows read: 600; " in shown._repr_html_(), (
            "it says nothing of rows left out"
        )


def test_numbers_are_read_with_their_intervals(arms):
    text = w2s.readable(arms.table())
    assert text["test accuracy"]["student, naive"] == format(arms.accuracy("student, naive"))
    assert "training examples 96" in text.below[0]
    assert w2s.readable(arms.table(), ["accuracy", "pgr"]).PGR[WEAK] == ""
    assert not [column for column in text if column.endswith(("_low", "_high"))]
    assert np.isnan(arms.table().pgr[WEAK])


NOTE = "supervisor not above chance"


@pytest.fixture
def at_chance(arms):
    """The arms with a supervisor that guesses, and a student that is right on two of three."""

    def predicting(fit, share_right, seed):
        right = np.random.default_rng(seed).random(len(fit.predictions)) < share_right
        p1 = np.where(right == (fit.predictions.truth == 1), 0.9, 0.1)
        return dataclasses.replace(
            fit, predictions=fit.predictions.assign(last=p1, validation=p1, oracle=p1)
        )

    fits = dict(arms.fits)
    for seed, (arm, share_right) in enumerate({WEAK: 0.5, "student, naive": 0.67}.items()):
        fits[arm] = [predicting(fit, share_right, seed) for fit in fits[arm]]
    return dataclasses.replace(arms, fits=fits)


def test_pgr_over_a_supervisor_at_chance_is_marked_wherever_it_is_shown(at_chance, arms):
    assert "pgr_note" not in arms.table()
    assert "not above chance" not in arms._repr_html_()
    naive = "student, naive"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert at_chance.pgr(naive).note == NOTE
        assert w2s.pgr(*at_chance.fits.values(), at_chance.test).note == NOTE
        assert at_chance.pgr_over(at_chance, naive).note == NOTE
        for rows in (
            at_chance.table().reset_index(),
            at_chance.stops(),
            at_chance.imitation(),
            at_chance.by_seed(),
            tables({"one": at_chance}, "name")[0],
        ):
            assert (rows.pgr_note[rows.arm == naive] == NOTE).all()
        assert w2s.readable(at_chance.table()).PGR[naive].endswith("] †")
        assert NOTE in at_chance._repr_html_()
        chain = dataclasses.replace(
            w2s.run_chain("words", [arms.weak, arms.strong], seeds=2, **QUICK),
            steps=list(at_chance.fits.values())[:2],
        )
        assert chain.table().pgr_note[1] == NOTE and NOTE in chain._repr_html_()
        assert NOTE in setting_explorer.html_of_metrics(at_chance)


def test_a_marked_table_warns_once_in_one_line(at_chance):
    two = at_chance.with_students({"student, other": at_chance.fits["student, naive"]})
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        two.table()
    [warning] = caught
    assert warning.filename == __file__
    assert str(warning.message).startswith(f"PGR is marked: {NOTE}")
    pair = f"({two.weak} teaches {two.strong})"
    assert str(warning.message).endswith(pair), "of several tables one must know which"


def test_a_seeds_numbers_have_intervals_too(arms, words):
    rows = arms.by_seed()
    one_seed = dataclasses.replace(
        arms, tasks=arms.tasks[:1], fits={arm: fits[:1] for arm, fits in arms.fits.items()}
    )
    alone = one_seed.table().reset_index()
    first = rows[rows.seed == 0].reset_index(drop=True)
    for name in ("accuracy", "auroc", "pgr", "pgr_auroc"):
        for end in ("", "_low", "_high"):
            assert first[name + end].equals(alone[name + end])


def test_tables_have_auroc_beside_accuracy_and_pgr_by_both(arms):
    table = arms.table()
    columns = [name for name in table if not name.endswith(("_low", "_high", "_note"))]
    assert columns[-5:] == ["accuracy", "auroc", "pgr", "pgr_auroc", "agreement"]
    truth, group = arms.hard_label, arms.test.group
    for arm in arms.fits:
        area = metrics.auroc(arms.probs(arm), truth, group=group)
        assert table.loc[arm, ["auroc", "auroc_low", "auroc_high"]].tolist() == [
            area.value,
            area.low,
            area.high,
        ]
    probs = [arms.probs(arm) for arm in (WEAK, "student, naive", CEILING)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        recovered = metrics.pgr(*probs, truth, group=group, measure="auroc")
        by_auroc = arms.pgr("student, naive", measure="auroc")
    assert str(recovered) == str(by_auroc)
    np.testing.assert_equal(table.pgr_auroc["student, naive"], recovered.value)
    with pytest.raises(ValueError, match="measure = 'f1'; expected 'accuracy' or 'auroc'"):
        arms.pgr("student, naive", measure="f1")


def test_auroc_of_very_many_classes_is_left_out_of_tables(three, tiny, monkeypatch):
    sizes = dict(n_train=48, n_val=33, n_test=63)
    arms = w2s.run_arms("three", f"{tiny}@1", tiny, method="probe", epochs=5, **sizes)
    assert "auroc" in arms.table() and "pgr_auroc" in arms.by_seed()
    monkeypatch.setattr("w2s_nb.experiments.arms.MANY_CLASSES", 2)
    assert "auroc" not in arms.table() and "pgr_auroc" not in arms.by_seed()
    assert 0 <= arms.auroc(WEAK).value <= 1, "it can still be asked for"


REFERENCE = sorted((paths.checkout() / "papermill_runs" / "reference").glob("[01]*.json"))


@pytest.mark.parametrize("path", REFERENCE, ids=lambda path: path.stem)
def test_no_default_of_a_notebook_teaches_from_chance(path):
    """Tables of the notebooks; a ceiling or supervisor of other tables is a row of these."""
    result = json.loads(path.read_text())
    chance = 0 if result["parameters"]["task"] == "mate_in_one" else 0.5
    # a suite's main table has medians over tasks
    for row in result.get("by_task", result["table"]):
        if row.get("arm") in (WEAK, CEILING):  # comparisons and predictors have no arms
            assert row["accuracy_low"] > chance, row["arm"]


def test_every_arms_row_says_which_stopping_rule_was_applied(words, tiny):
    tuned = QUICK | dict(method="top", top_layers=1, lr=1e-2, head_init="zero", epochs=2)
    arms = w2s.run_arms("words", f"{tiny}@1", tiny, seeds=2, weak_args={"method": "probe"}, **tuned)
    assert arms.table().stop.tolist() == ["validation", "validation", "last"]
    asked = w2s.run_arms("words", f"{tiny}@1", tiny, stop="validation", **tuned)
    assert asked.table().stop.tolist() == ["validation"] * 3
    assert all(len(fits[0].curve) == 4 for fits in asked.fits.values())
    chain = w2s.run_chain("words", [f"{tiny}@1", tiny], **tuned)
    assert chain.table().stop.tolist() == ["last", "validation", "last"]
    assert set(w2s.results().stop) == {"last", "validation"}


def test_stopping_rules_that_a_student_lacks_have_no_row(words, tiny):
    def rules(**student_args):
        arms = w2s.run_arms("words", f"{tiny}@1", tiny, student_args=student_args, **QUICK)
        return arms.stops().stop.tolist()

    assert rules() == ["last", "validation", "oracle"]
    assert rules(curve_test=16) == ["last", "validation"]
