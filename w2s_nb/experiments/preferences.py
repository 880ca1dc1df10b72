"""Measures what draws preference models beside quality: the length of a text, and its place."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ..data.splits import Split
from ..metrics import preference_bias
from ..metrics.estimate import Estimate
from ..prompting.prompt import one_model, prompt
from ..training.result import Fit
from ..training.rewards import rewards
from .arms import CEILING, WEAK, Arms, Labeller, by_labels
from .task_variants import swapped


def length_bias_by_labels(arms: Arms, own: str = "supervisor's own") -> pd.DataFrame:
    """Returns `Arms.length_bias` with the labels that each arm was trained on in a column.

    Args:
        own: what the supervisor's labels are called there.
    Returns:
        Supervisor and ceiling first, whose labels are ground truth; then a row per student and
        label set: arm, labels, and the columns of `Arms.length_bias`.
    """
    rows = arms.length_bias()
    taught_by_truth = rows[rows.arm.isin((WEAK, CEILING))].assign(labels="ground truth")
    table = pd.concat([taught_by_truth, by_labels(rows, own)], ignore_index=True)
    table.insert(1, "labels", table.pop("labels"))
    return table


def length_bias_of_labels(arms: Arms, labels: Labeller) -> Estimate:
    """Computes the length bias of a label set itself, on the student half of the first seed.

    Args:
        labels: the label set, as `run_arms` takes it.
    """
    task = arms.tasks[0]
    half = task.student
    given = labels(task, arms.fits[WEAK][0]).for_split(half)
    return preference_bias.length_bias(given, half.hard_label, half.longer, group=half.group)


def order_effects(
    reward_model: Fit, language_model: str, pairs: Split, *, max_len: int = 256
) -> pd.DataFrame:
    """Measures how far the order of two texts decides which of them is preferred.

    A reward model scores each text by itself; a language model is asked which of two is better,
    once as it is and once calibrated. All are given the same pairs twice, the second time in
    reverse order.

    Args:
        reward_model: a fit on comparisons with its weights kept, see `w2s.rewards`.
        language_model: a model's name.
        pairs: the comparisons.
        max_len: most tokens of a question.
    Returns:
        A row per way to judge: judge, pairs; second_over_half, how often the second text is
        preferred minus one half; order_decides, the share of pairs in which the reverse order
        changes which text is preferred; both with 95 % intervals.
    Source: `metrics.preference_bias`.
    """
    orders = (pairs, swapped(pairs))
    model = reward_model.record["summary"]["model"]
    answers = {f"{model}, rewards": [_preferred(reward_model, split) for split in orders]}
    with one_model():
        for judge, calibrate in (("asked", False), ("asked, calibrated", True)):
            answers[f"{language_model}, {judge}"] = [
                prompt(language_model, split, calibrate=calibrate, max_len=max_len).predict(split)
                for split in orders
            ]
    rows = []
    for judge, two in answers.items():
        bias = preference_bias.order_bias(*two)
        decides = preference_bias.order_decides(*two)
        row = {"judge": judge, "pairs": len(pairs), **bias.as_dict("second_over_half")}
        rows.append(row | decides.as_dict("order_decides"))
    return pd.DataFrame(rows)


def _preferred(reward_model: Fit, pairs: Split) -> np.ndarray:
    """Returns (n, 2) 1.0 at the text with the higher reward, 0.0 at the other."""
    of_pairs = rewards(reward_model, pairs)
    second = (of_pairs[:, 1] > of_pairs[:, 0]).astype(float)
    return np.stack([1 - second, second], axis=1)
