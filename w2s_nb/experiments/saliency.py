"""Compares linear probes with finetuning, on weak labels and on ground truth (section 5.2.3)."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd

from .. import metrics
from ..common.registry import UnknownName
from ..data.splits import Task
from ..metrics.estimate import Estimate
from ..models.names import resolve
from ..training.fit import check_fit, fit
from ..training.hyperparameters import PROBES
from ..training.result import Fit
from .arms import CEILING, WEAK, Arms
from .prepare import args_of, ceiling_reads_first, prepare, refuse_own, tell_swapped

LP_WEAK = "lp(weak)"
LP_GT = "lp(gt)"
FT_WEAK = "ft(weak)"
FT_WEAK_LP_GT = "ft(weak) + lp(gt)"
FT_GT = "ft(gt)"
# arguments of `fit` that run_saliency gives each fit, and its own argument that decides them
_OWN = {
    "model": "strong",
    "split": "task",
    "labels": "weak",
    "seed": "seeds=",
    "keep_weights": "the student",
}
_OWN_OF_SUPERVISOR = {
    "model": "weak",
    "split": "task",
    "labels": "the task",
    "method": "weak_method=",
    "seed": "seeds=",
}


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
    seeds: int | Iterable[int] = 1,
    n_train: int | None = None,
    n_val: int | None = None,
    n_test: int | None = None,
    weak_args: dict | None = None,
    **ft_args,
) -> Arms:
    """Trains linear probes and finetunes one strong model, on weak labels and on ground truth.

    All are trained on the student half: lp(weak) and lp(gt) probe the pretrained model's last
    layer, ft(weak) is the student, ft(weak) + lp(gt) a probe with ground truth on the student's
    last layer, and the ceiling is ft(gt).

    Args:
        method: of finetuning: 'full', 'lora' or 'top'.
        weak_method: of the supervisor.
        solver: of the probes: 'probe', trained as in appendix D.2, or 'logistic'.
        loss, loss_args: of ft(weak).
        seeds, n_train, n_val, n_test: as in `run_arms`.
        weak_args: arguments of the supervisor's `fit` beside weak_method.
        ft_args: of finetuning, such as top_layers.
    Raises:
        UnknownName, TypeError, ValueError: as `fit`, before any model is loaded.
    Source: Burns et al. 2023, section 5.2.3 and figure 11.
    """
    if method in PROBES:
        raise ValueError(f"method {method!r} finetunes nothing; expected full, lora or top")
    if solver not in PROBES:
        raise UnknownName("solver of probes", str(solver), PROBES)
    refuse_own(ft_args, "run_saliency", _OWN)
    supervisor_args = {"method": weak_method} | args_of(weak_args, "weak_args", _OWN_OF_SUPERVISOR)
    ft_args = {"method": method, **ft_args}
    tasks = prepare(
        task,
        [weak, strong],
        losses=[loss],
        loss_args={loss: loss_args or {}},
        seeds=seeds,
        n_train=n_train,
        n_val=n_val,
        n_test=n_test,
    )
    loss_of_student: dict = {"loss": loss, "loss_args": loss_args}
    _check_fits(tasks[0], weak, strong, supervisor_args, solver, loss_of_student, ft_args)
    tell_swapped([weak, strong])
    fits: dict[str, list[Fit]] = {}
    for dealt in tasks:
        seed = dealt.seed
        half = dealt.student
        with ceiling_reads_first(strong, half, {"method": solver}):
            supervisor = fit(weak, dealt.supervisor, seed=seed, **supervisor_args)
            labels = supervisor.label(half)
            student = fit(
                strong, half, labels, seed=seed, keep_weights=True, **loss_of_student, **ft_args
            )
            arms = {
                WEAK: supervisor,
                LP_WEAK: fit(strong, half, labels, method=solver, seed=seed),
                LP_GT: fit(strong, half, method=solver, seed=seed),
                FT_WEAK: student,
                FT_WEAK_LP_GT: fit(student.name, half, method=solver, seed=seed),
                CEILING: fit(strong, half, seed=seed, **ft_args),
            }
        for arm, one_fit in arms.items():
            fits.setdefault(arm, []).append(one_fit)
    return Arms(weak, strong, tasks, fits)


def _check_fits(
    task: Task,
    weak: str,
    strong: str,
    supervisor_args: dict,
    solver: str,
    loss_of_student: dict,
    ft_args: dict,
) -> None:
    """Refuses a fit of `run_saliency` before the first is trained."""
    task.test.need_classes("run_saliency")
    check_fit(weak, task.supervisor, **supervisor_args)
    check_fit(strong, task.student, weak=True, **loss_of_student, **ft_args)
    check_fit(strong, task.student, weak=True, method=solver)
    check_fit(strong, task.student, **ft_args)


def saliency_tables(arms: Arms) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Returns `Arms.table` and `Arms.by_seed`, in which the ceiling is called ft(gt).

    Args:
        arms: of `run_saliency`.
    """
    return arms.table().rename(index={CEILING: FT_GT}), arms.by_seed().replace({CEILING: FT_GT})


def probes_by_depth(
    arms: Arms,
    depths: Iterable[int] | None = None,
    *,
    arm: str = FT_WEAK,
    solver: str = "logistic",
) -> tuple[pd.DataFrame, dict[str, Estimate]]:
    """Measures probes with ground truth at every depth, before and after finetuning.

    Args:
        arms: of `run_saliency`.
        depths: numbers of layers; None takes all.
        arm: whose finetuned models are probed.
        solver: as in `run_saliency`; training 200 epochs per depth takes longer than solving.
    Returns:
        Rows (arm: 'before' or 'after', layers, seeds, test accuracy with interval); and for each
        depth where the two differ {"<depth> layers": accuracy after minus before}, paired by
        example and seed.
    """
    all_layers = arms.fits_of(arm)[0].record["summary"]["layers"]
    depths = list(range(1, all_layers + 1)) if depths is None else list(depths)
    models = {
        "before": [f"{resolve(arms.strong).base}"] * len(arms.tasks),
        "after": [f.name for f in arms.fits[arm]],
    }
    probs: dict[tuple[str, int], np.ndarray] = {}
    # The deepest first: its activations serve the shallower ones.
    for depth in sorted(depths, reverse=True):
        for when, names in models.items():
            probs[when, depth] = _probe(arms, [f"{name}@{depth}" for name in names], solver)
    truth = arms.hard_label
    group = arms.test.group
    rows = []
    for when in models:
        for depth in depths:
            row = {"arm": when, "layers": depth, "seeds": len(arms.tasks)}
            accuracy = metrics.accuracy(probs[when, depth], truth, group=group)
            rows.append(row | accuracy.as_dict("accuracy"))
    changes = {}
    for depth in depths:
        before = probs["before", depth]
        after = probs["after", depth]
        if not np.array_equal(after, before):
            changes[f"{depth} layers"] = metrics.difference(after, before, truth, group=group)
    return pd.DataFrame(rows), changes


def _probe(arms: Arms, models: list[str], solver: str) -> np.ndarray:
    """Returns (seeds, n_test, K) predictions of probes with ground truth, one model per seed."""
    probs = []
    for model, task in zip(models, arms.tasks, strict=True):
        probe = fit(model, task.student, method=solver, seed=task.seed)
        probs.append(probe.predict(task.test))
    return np.stack(probs)
