"""Measures over the tasks of a suite: medians and means, as most figures of the paper have them."""

from __future__ import annotations

from ...experiments.arms import PGR_BY, student_name
from ...metrics.estimate import Estimate
from .setting import Experiments, losses_with


def suite_pgr(
    experiments: Experiments, *, loss: str, how: str = "median", metric: str = "accuracy"
) -> Estimate:
    """Computes the median or mean over tasks of a student's PGR.

    Args:
        how: 'median' or 'mean'.
        metric: 'accuracy' or 'auroc', by which PGR is measured.
    """
    result = experiments.suite(losses_with(loss))
    return result.over(how, PGR_BY[metric], _arm(experiments, loss))


def suite_difference(
    experiments: Experiments, *, loss: str, how: str = "median", of: str = "accuracy"
) -> Estimate:
    """Computes the median or mean over tasks of a student's value minus the naive student's.

    Args:
        how: 'median' or 'mean'.
        of: 'accuracy', 'auroc', 'pgr' or 'pgr_auroc'.
    """
    result = experiments.suite(losses_with(loss))
    arms = (_arm(experiments, loss), _arm(experiments, "xent"))
    return result.difference(*arms, measure=of, how=how)


def _arm(experiments: Experiments, loss: str) -> tuple[str, str, str]:
    setting = experiments.setting
    return setting.weak, setting.strong, student_name(loss)
