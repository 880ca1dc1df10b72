"""Tests of predictors beside realised gains, over tasks, pairs and seeds."""

import json

import numpy as np
import pandas as pd
import pytest

import w2s_nb as w2s
from tests.conftest import register_three
from w2s_nb.common import paths
from w2s_nb.common.registry import UnknownName
from w2s_nb.experiments.arms import CEILING, WEAK
from w2s_nb.experiments.foresight import NAIVE, PREDICTORS, Foresight, run_foresight
from w2s_nb.metrics import imitation

QUICK = dict(method="probe", epochs=5, n_train=60, n_val=24, n_test=30)


def test_a_point_has_the_gain_of_run_arms_and_predictors_without_truth(words, registries, tiny):
    register_three()
    run = run_foresight(["words", "three"], [f"{tiny}@1", tiny], seeds=2, **QUICK)
    assert len(run.points) == 4 and run.points[list(PREDICTORS)].notna().all(axis=None)
    assert "4 points, 2 tasks, 1 pairs, 2 seeds" in repr(run)
    arms = w2s.run_arms("words", f"{tiny}@1", tiny, seeds=2, **QUICK)
    point = run.points[(run.points.task == "words") & (run.points.seed == 1)].iloc[0]
    accuracy = {arm: arms.fits[arm][1].accuracy(arms.test).value for arm in arms.fits}
    assert point.gain == pytest.approx(accuracy[NAIVE] - accuracy[WEAK])
    assert point.gap == pytest.approx(accuracy[CEILING] - accuracy[WEAK])
    both = arms.probs(NAIVE)[1], arms.probs(WEAK)[1]
    assert point.misfit == pytest.approx(imitation.misfit(*both).value)
    half, labels = arms.tasks[1].student, arms.fits_of(WEAK)[1].label(arms.tasks[1].student)
    of_pair = w2s.predictors_of_pair(f"{tiny}@1", tiny, half, labels)
    assert of_pair == pytest.approx(point[list(of_pair)].to_dict())
    table = run.table()
    assert list(table.index) == [*PREDICTORS, "gap"]
    assert table.correlation.dropna().between(-1, 1).all()
    left_out = run.left_out()
    assert left_out.r_squared.isna().all(), "two points of another task are fewer than needed"
    with pytest.raises(UnknownName, match="misfit"):
        run.correlation("misfits")


def test_tables_tell_a_predictor_from_one_that_only_follows_the_gap():
    rng = np.random.default_rng(0)
    grid = [(f"t{t}", f"p{p}", s) for t in range(4) for p in range(3) for s in range(5)]
    points = pd.DataFrame(grid, columns=["task", "pair", "seed"])
    noise = pd.DataFrame(rng.normal(size=(60, len(PREDICTORS))), columns=list(PREDICTORS))
    points = points.join(noise).assign(gap=rng.normal(size=60))
    points["gain"] = points.gap + points.cka
    points["misfit"] = points.gap + 0.1 * points.misfit
    run = Foresight(points)
    table = run.table()
    assert table.correlation_low["misfit"] > 0.3 and table.given_gap_low["misfit"] < 0.2
    assert table.given_gap_low["cka"] > 0.7 and table.correlation_low["rads"] < 0
    left_out = run.left_out().r_squared
    assert left_out["both and the gap (truth)"] > 0.9 > left_out["features alone"] > 0.2


def test_wrong_input_is_refused_before_anything_is_trained(words, tiny):
    models = [f"{tiny}@1", tiny]
    with pytest.raises(TypeError, match="expected several names"):
        run_foresight("words", models, **QUICK)
    with pytest.raises(ValueError, match="at least two"):
        run_foresight(["words"], models, **QUICK)
    with pytest.raises(TypeError, match="losses"):
        run_foresight(["words", "word_pairs"], models, losses=["xent"], **QUICK)
    assert w2s.results().empty


def test_the_kept_table_follows_from_its_points():
    kept = json.loads((paths.checkout() / "papermill_runs/reference/17_foresight.json").read_text())
    run = Foresight(pd.DataFrame(kept["points"]))
    assert "150 points, 5 tasks, 6 pairs, 5 seeds" in repr(run)
    table = pd.DataFrame(kept["table"]).set_index("predictor")
    pd.testing.assert_frame_equal(run.table(), table, atol=1e-4, check_dtype=False)
