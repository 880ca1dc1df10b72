"""Computes values with their 95 % intervals."""

from . import imitation, predictors, preference_bias
from .classification import (
    accuracy,
    auroc,
    calibration_error,
    correct,
    difference,
    labels_of,
    probs_of,
    share,
)
from .correlation import LeftOut, correlation, left_out
from .estimate import Estimate, bootstrap, of_means
from .gap import pgr, pgr_difference
from .many_comparisons import crossed_test, holm, mean_test, paired_test, sign_flip_test
from .monitoring import (
    monitoring_table,
    most_at_budget,
    recall_at_budget,
    recall_curve,
    recall_difference,
)
from .over_tasks import over_tasks

__all__ = [
    "Estimate",
    "LeftOut",
    "accuracy",
    "auroc",
    "bootstrap",
    "calibration_error",
    "correct",
    "correlation",
    "crossed_test",
    "difference",
    "holm",
    "imitation",
    "labels_of",
    "left_out",
    "mean_test",
    "monitoring_table",
    "most_at_budget",
    "of_means",
    "over_tasks",
    "paired_test",
    "pgr",
    "pgr_difference",
    "predictors",
    "preference_bias",
    "probs_of",
    "recall_at_budget",
    "recall_curve",
    "recall_difference",
    "share",
    "sign_flip_test",
]
