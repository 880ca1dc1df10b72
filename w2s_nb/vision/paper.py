"""Runs the paper's experiment on images: probes on DINO's features of ImageNet (appendix D.1)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from .. import metrics
from ..data.load import load_task
from ..data.splits import Split, Task
from ..data.tasks.spec import Sizes
from ..experiments.arms import CEILING, WEAK, student_name
from ..training.fit import fit
from .own_classifier import own_labels, own_predictions

# 39,900 examples to train on, of both halves; nothing is chosen on the few for validation
SIZES = Sizes(19_950, 100, 10_000)


def table_3(
    strong: str,
    *,
    weak: str = "alexnet",
    epochs: int = 20,
    losses: Sequence[str] = ("xent",),
    task: str = "imagenet",
    sizes: Sizes = SIZES,
    seed: int = 0,
) -> pd.DataFrame:
    """Teaches probes on an encoder's features by what another's own classifier says.

    Supervisor: the classifier of `weak`, as it was trained on ImageNet. Student and ceiling: probes
    on all that the kit's two halves have, after the last step; Adam at 1e-3, batch 128, no weight
    decay. In the released code the rate falls by a cosine; here it stays.

    Args:
        strong: an encoder: dino-resnet50, or dino-vitb8 with `epochs=5`.
        weak: an encoder with a classifier.
        losses: one student for each.
        task: of ImageNet's 1,000 classes.
        sizes: examples of each split.
    Returns:
        A row per arm: accuracy and, of students, PGR, with their 95 % intervals.
    Raises:
        DataUnavailable, ModelUnavailable: images or weights cannot be had here.
        ValueError: as of `load_task`, `own_labels` and `fit`.
    Source: Burns et al. 2023, appendix D.1 and table 3; openai/weak-to-strong, vision.
    """
    dealt = load_task(
        task, seed=seed, n_train=sizes.n_train, n_val=sizes.n_val, n_test=sizes.n_test
    )
    dealt = join_halves(dealt)
    labels = own_labels(weak, dealt.student)
    probs = {WEAK: own_predictions(weak, dealt.test)}
    settings: dict[str, Any] = {"method": "probe", "epochs": epochs, "seed": seed, "stop": "last"}
    for loss in losses:
        student = fit(strong, dealt.student, labels, loss=loss, **settings)
        probs[student_name(loss)] = student.predict(dealt.test)
    probs[CEILING] = fit(strong, dealt.student, **settings).predict(dealt.test)
    rows = {arm: _row_of(arm, probs, dealt.test) for arm in probs}
    return pd.DataFrame(rows).T.rename_axis("arm")


def _row_of(arm: str, probs: dict[str, np.ndarray], test: Split) -> dict[str, float]:
    """Returns an arm's accuracy and, of a student, its PGR."""
    found = {"accuracy": metrics.accuracy(probs[arm], test.hard_label, group=test.group)}
    if arm not in (WEAK, CEILING):
        found["pgr"] = metrics.pgr(
            probs[WEAK],
            probs[arm],
            probs[CEILING],
            test.hard_label,
            group=test.group,
            chance=test.chance,
        )
    row: dict[str, float] = {}
    for name, estimate in found.items():
        row |= {name: estimate.value, f"{name}_low": estimate.low, f"{name}_high": estimate.high}
    return row


def join_halves(task: Task) -> Task:
    """Returns a task whose student half has the supervisor's examples too.

    It is for supervisors that are not trained on the task, such as an encoder's own classifier.
    """
    halves = (task.student, task.supervisor)
    joined = replace(
        task.student,
        ids=np.concatenate([half.ids for half in halves]),
        texts=tuple(texts for half in halves for texts in half.texts),
        hard_label=np.concatenate([half.hard_label for half in halves]),
        group=np.concatenate([half.group for half in halves]),
    )
    return replace(task, student=joined)
