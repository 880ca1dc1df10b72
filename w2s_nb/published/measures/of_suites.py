"""Measures over the tasks of a suite."""

from __future__ import annotations

from ...experiments.arms import PGR_BY, student_name
from ...metrics.estimate import Estimate
from .setting import Experiments


def suite_pgr(
    experiments: Experiments, *, suite: str, loss: str, how: str, metric: str
) -> Estimate:
    """Computes the median or mean over a suite's tasks of a student's PGR.

    Args:
        suite: its name, as `run_suite` takes it; the setting's models and training.
        how: 'median' or 'mean'.
        metric: 'accuracy' or 'auroc', by which PGR is measured.
    """
    setting = experiments.setting
    pair = (setting.model("weak"), setting.model("strong"))
    result = experiments.suite(suite)
    return result.over(how, PGR_BY[metric], (*pair, student_name(loss)))
