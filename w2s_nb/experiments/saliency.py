"""Baselines beside finetuning on weak labels: probes (section 5.2.3) and prompts (section 5.2.1)."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd

from .. import metrics
from ..common.registry import UnknownName
from ..data.load import load_task
from ..losses.contract import loss_args as check_loss_args
from ..metrics.estimate import Estimate
from ..models.loading import ensure
from ..models.names import resolve
from ..training.fit import fit
from ..training.hyperparameters import PROBES, choose_hyperparameters
from .arms import CEILING, WEAK, Arms

LP_WEAK, LP_GT, FT_WEAK, FT_WEAK_LP_GT, FT_GT = (
    "lp(weak)",
    "lp(gt)",
    "ft(weak)",
    "ft(weak) + lp(gt)",
    "ft(gt)",
)


def run_saliency(
    task: str,
    weak: str,
    strong: str,
    *,
    method: str = "top",
    weak_method: str = "probe",
    solver: str = "probe",
    loss: str = "xent",
    loss_args: dict | None = None,
    seeds: int = 1,
    n_train: int | None = None,
    n_val: int | None = None,
    n_test: int | None = None,
    **ft_args,
) -> Arms:
    """Linear probes and finetuning of one strong model, on weak labels and on ground truth.

    All are trained on the student half: lp(weak) and lp(gt) probe the pretrained model's last layer, ft(weak) is the
    student, ft(weak) + lp(gt) a probe with ground truth on the student's last layer, and the ceiling is ft(gt).

    Args:
        method: of finetuning: 'full', 'lora' or 'top'.
        weak_method: of the supervisor.
        solver: of the probes: 'probe', trained as in appendix D.2, or 'logistic'.
        loss, loss_args: of ft(weak).
        seeds, n_train, n_val, n_test: as in `run_arms`.
        ft_args: of finetuning, such as top_layers.
    Raises:
        UnknownName, TypeError, ValueError: as `fit`, before any model is loaded.
    Source: Burns et al. 2023, section 5.2.3 and figure 11.
    """
    if method in PROBES:
        raise ValueError(f"method {method!r} finetunes nothing; expected full, lora or top")
    if solver not in PROBES:
        raise UnknownName("solver of probes", str(solver), PROBES)
    choose_hyperparameters(method, ft_args)
    choose_hyperparameters(weak_method, {})
    for model in (weak, strong):
        ensure(resolve(model))
    check_loss_args(loss, loss_args)
    tasks = [
        load_task(task, seed=s, n_train=n_train, n_val=n_val, n_test=n_test) for s in range(seeds)
    ]
    fits = {arm: [] for arm in (WEAK, LP_WEAK, LP_GT, FT_WEAK, FT_WEAK_LP_GT, CEILING)}
    for t in tasks:
        of_gt = fit(
            strong, t.student, method=solver, seed=t.seed
        )  # the deepest model's activations first
        supervisor = fit(weak, t.supervisor, method=weak_method, seed=t.seed)
        labels = supervisor.label(t.student)
        student = fit(
            strong,
            t.student,
            labels,
            loss=loss,
            loss_args=loss_args,
            method=method,
            seed=t.seed,
            keep_weights=True,
            **ft_args,
        )
        made = (
            supervisor,
            fit(strong, t.student, labels, method=solver, seed=t.seed),
            of_gt,
            student,
            fit(student.name, t.student, method=solver, seed=t.seed),
            fit(strong, t.student, method=method, seed=t.seed, **ft_args),
        )
        for arm, one in zip(fits, made):
            fits[arm].append(one)
    return Arms(weak, strong, tasks, fits)


def probes_by_depth(
    arms: Arms, depths: Iterable[int] | None = None, *, arm: str = FT_WEAK, solver: str = "logistic"
) -> tuple[pd.DataFrame, dict[str, Estimate]]:
    """Test accuracy of probes with ground truth at every depth, before and after finetuning.

    Args:
        arms: of `run_saliency`.
        depths: numbers of layers; None takes all.
        arm: whose finetuned models are probed.
        solver: as in `run_saliency`; training 200 epochs a depth takes longer than solving.
    Returns:
        Rows (arm: 'before' or 'after', layers, accuracy with interval), and at each depth where the two differ the
        accuracy after minus before, paired by example and seed, under the depth's name.
    """
    full = arms.fits[arm][0].record["summary"]["layers"]
    depths = list(range(1, full + 1)) if depths is None else list(depths)
    truth, group = arms.hard_label, arms.tasks[0].test.group
    names = {
        "before": [f"{resolve(arms.strong).base}"] * len(arms.tasks),
        "after": [f.name for f in arms.fits[arm]],
    }
    probs: dict[tuple[str, int], np.ndarray] = {}
    for depth in sorted(depths, reverse=True):
        for when, models in names.items():
            probs[when, depth] = np.stack(
                [
                    fit(f"{model}@{depth}", t.student, method=solver, seed=t.seed).predict(t.test)
                    for model, t in zip(models, arms.tasks)
                ]
            )
    rows = pd.DataFrame(
        [
            {
                "arm": when,
                "layers": depth,
                "seeds": len(arms.tasks),
                **metrics.accuracy(probs[when, depth], truth, group=group).as_dict("accuracy"),
            }
            for when in names
            for depth in depths
        ]
    )
    change = {
        f"{depth} layers": metrics.difference(
            probs["after", depth], probs["before", depth], truth, group=group
        )
        for depth in depths
        if not np.array_equal(probs["after", depth], probs["before", depth])
    }
    return rows, change
