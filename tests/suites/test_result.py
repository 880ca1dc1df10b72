"""What a suite says of numbers over tasks, on made experiments."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from w2s_nb.common.registry import UnknownName
from w2s_nb.experiments.arms import CEILING, WEAK
from w2s_nb.metrics.estimate import Estimate, from_draws
from w2s_nb.suites.claims import suite_claims
from w2s_nb.suites.result import SuiteResult

NAIVE = "student, naive"


def number(value, spread=0.01):
    return from_draws(value, np.random.default_rng(0).normal(value, spread, 200), 100, 2)


class MadeArms:
    """Stands for the arms of one task: supervisor .6, ceiling .8, a student of a given PGR."""

    fits = dict.fromkeys((WEAK, NAIVE, CEILING))
    tasks = (None, None)

    def __init__(self, pgr):
        self._pgr = number(pgr) if pgr is not None else Estimate(np.nan, np.nan, np.nan, 100, 2)
        self.test = OfTwoClasses()

    def accuracy(self, arm):
        student = 0.6 + 0.2 * (0.5 if np.isnan(self._pgr.value) else self._pgr.value)
        return number({WEAK: 0.6, NAIVE: student, CEILING: 0.8}[arm])

    auroc = accuracy

    def pgr(self, arm, measure):
        return self._pgr

    def table(self):
        return pd.DataFrame({"arm": list(self.fits), "accuracy": 0.5}).set_index("arm")


class OfTwoClasses:
    answers = ()
    n_classes = 2

    def __len__(self):
        return 100


def suite_of(**pgr_by_task):
    experiments = {(task, "small", "large"): MadeArms(pgr) for task, pgr in pgr_by_task.items()}
    return SuiteResult("made", experiments, {"gone": "no rows"})


def test_a_task_without_a_gap_is_named_and_left_out_of_the_median_of_pgr():
    result = suite_of(a=0.2, b=0.6, c=None, d=0.4)
    row = result.over_tasks.set_index("arm").loc[NAIVE]
    assert row.median_pgr == pytest.approx(0.4) and row.tasks == 4
    assert (row.pgr_tasks, row.left_out_of_pgr) == (3, "c")
    assert row.median_accuracy == pytest.approx(np.median([0.64, 0.72, 0.7, 0.68]))
    assert result.said() == [
        "left out: gone: no rows",
        "left out of the median of PGR, as the gap is within its error: c (small teaches large)",
    ]
    assert "c (small teaches large)" in result._repr_html_() and "no rows" in repr(result)


def test_supervisor_and_ceiling_have_accuracy_and_no_pgr():
    rows = suite_of(a=0.2, b=0.6).table().set_index("arm")
    assert rows.loc[[WEAK, CEILING], "pgr"].isna().all()
    assert rows.loc[[WEAK, CEILING], "accuracy"].tolist() == pytest.approx([0.6, 0.8])
    assert rows.model.to_dict() == {WEAK: "small", NAIVE: "large", CEILING: "large"}


def test_the_median_of_one_task_is_that_task_and_orders_of_tasks_play_no_part():
    one = suite_of(a=0.3).over("median", "pgr", ("small", "large", NAIVE))
    assert one.value == pytest.approx(0.3) and one.low < 0.3 < one.high
    first, second = suite_of(a=0.2, b=0.6, d=0.4), suite_of(d=0.4, b=0.6, a=0.2)
    assert first.table().pgr_low.tolist()[1] == second.table().pgr_low.tolist()[1]


def test_no_task_with_a_gap_leaves_pgr_undefined_and_says_so():
    result = suite_of(a=None, b=None)
    row = result.over_tasks.set_index("arm").loc[NAIVE]
    assert np.isnan(row.median_pgr) and row.left_out_of_pgr == "a, b"
    difference = result.difference(("small", "large", NAIVE), ("small", "large", NAIVE))
    assert np.isnan(difference.value)


def test_a_table_stands_in_the_order_of_the_models_and_a_pair_has_its_tasks():
    pairs = [("b", "c"), ("a", "c"), ("a", "b")]  # as they are run: the largest student first
    made = {("one", *pair): MadeArms(0.5) for pair in pairs}
    result = SuiteResult("made", made, {})
    rows = result.table(models=["a", "b", "c"])
    naive = rows[rows.arm == NAIVE]
    assert list(zip(naive.weak, naive.strong)) == [("a", "b"), ("a", "c"), ("b", "c")]
    assert result.pair("a", "c") == {"one": made["one", "a", "c"]}
    with pytest.raises(UnknownName, match="unknown model to sort by 'c'"):
        result.table(models=["a", "b"])
    with pytest.raises(UnknownName, match="unknown pair of made 'c teaches a'"):
        result.pair("c", "a")


def test_the_claims_of_a_suite_compare_the_pairs_that_they_name():
    models = ["a", "b", "c"]
    pgr = {("a", "b"): 0.1, ("a", "c"): 0.3, ("b", "c"): 0.6}
    made = {("one", *pair): MadeArms(value) for pair, value in pgr.items()}
    result = SuiteResult("made", made, {})
    claims = suite_claims(result, models)
    assert claims["naive-pgr-positive"]().value == pytest.approx(0.3)
    assert claims["naive-pgr-grows-with-student"]().value == pytest.approx(0.3 - 0.1)
    assert claims["naive-pgr-rises-with-supervisor"]().value == pytest.approx(0.6 - 0.3)
    with pytest.raises(UnknownName, match="student, confidence"):  # "not measured" in the table
        claims["confidence-helps-at-large-gaps"]()
    few = {"naive-pgr-positive", "naive-pgr-about-half", "confidence-helps-at-large-gaps"}
    assert set(suite_claims(result, ["a", "c"])) == few and few < set(claims)
    with pytest.raises(ValueError, match="expected at least two, by size"):
        suite_claims(result, ["a"])


def test_unknown_measures_and_columns_are_refused():
    result = suite_of(a=0.3)
    with pytest.raises(ValueError, match="measure = 'f1'; expected one of accuracy, auroc, pgr"):
        result.over("median", "f1", ("small", "large", NAIVE))
    with pytest.raises(ValueError, match="how = 'mode'; expected 'median' or 'mean'"):
        result.table("mode")


@pytest.mark.parametrize(
    "task, arm, message",
    [
        ("b", ("small", "large", NAIVE), "unknown task of made 'b'"),
        ("a", ("large", "small", NAIVE), "unknown pair of made 'large teaches small'"),
        ("a", ("small", "large", "student, nave"), "unknown arm of made 'student, nave'"),
    ],
)
def test_a_task_a_pair_or_an_arm_that_was_not_run_is_refused_in_one_line(task, arm, message):
    with pytest.raises(UnknownName, match=message):
        suite_of(a=0.3).estimate(task, arm)


def test_a_difference_keeps_what_is_held_against_either_arm():
    result = suite_of(a=0.3, b=0.5)
    weak_at_chance = result.experiments["a", "small", "large"]
    weak_at_chance._pgr = replace(weak_at_chance._pgr, note="supervisor not above chance")
    difference = result.difference(("small", "large", NAIVE), ("small", "large", NAIVE))
    assert difference.note == "a: supervisor not above chance"
