"""Measures of other ways to bring out what a strong model knows: steps, probes, prompts, texts."""

from __future__ import annotations

import numpy as np

from ... import metrics
from ...data.load import load_task
from ...experiments.arms import CEILING, student_name
from ...experiments.generative_finetuning import LABELS_ONLY, STUDENT_ON_TEXT
from ...experiments.saliency import FT_GT
from ...metrics.estimate import Estimate
from ...prompting.prompt import prompt
from .estimates import over_chance
from .setting import Experiments


def chain_gain(experiments: Experiments, *, data: str = "same") -> Estimate:
    """Computes the test accuracy by bootstrapping minus that by direct supervision.

    Args:
        data: examples of each step, as in `run_chain`.
    """
    direct = experiments.chain(direct=True, data=data)
    return experiments.chain(direct=False, data=data).gain_over(direct)


def saliency_difference(experiments: Experiments, *, arm: str, other: str) -> Estimate:
    """Computes the test accuracy of one arm of `run_saliency` minus that of another.

    Args:
        arm, other: as figure 11 of the paper names them, such as lp(gt); ft(gt) is the ceiling.
    """
    first, second = (CEILING if name == FT_GT else name for name in (arm, other))
    return experiments.saliency().gain_over(first, second)


def generative_gain(experiments: Experiments) -> Estimate:
    """Computes the PGR of naive finetuning after generative finetuning minus that without it."""
    by_order = experiments.generative()
    return by_order[STUDENT_ON_TEXT].pgr_over(by_order[LABELS_ONLY], student_name("xent"))


def zero_shot_over_chance(experiments: Experiments) -> Estimate:
    """Computes the strong model's test accuracy without examples minus that of guessing.

    Nothing is trained, so that answers are the same for every seed.
    """
    setting = experiments.setting
    sizes = {name: getattr(setting, name) for name in ("n_train", "n_val", "n_test")}
    test = load_task(setting.task, **sizes).test
    probs = prompt(setting.model("strong"), test, shots=0).predict(test)
    accuracy = metrics.accuracy(
        np.stack([probs] * setting.seeds), test.hard_label, group=test.group
    )
    return over_chance(accuracy, test.chance)
