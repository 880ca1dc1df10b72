"""Runs generative finetuning before weak-to-strong learning (section 5.2.2)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import pandas as pd

from ..common.registry import TASKS, UnknownName
from ..data.splits import Task
from ..labels.soft import SoftLabels
from ..models.loading import require_unembedding
from ..models.names import resolve
from ..training.language_model import LanguageFit, Tuned, perplexity
from .arms import Arms, run_arms
from .prepare import Model, check_names

LABELS_ONLY = "labels only"
STUDENT_ON_TEXT = "student on text first"
BOTH_ON_TEXT = "both on text first"
ORDERS = (LABELS_ONLY, STUDENT_ON_TEXT, BOTH_ON_TEXT)


def run_generative(
    task: str,
    weak: str,
    strong: str,
    *,
    which: Iterable[str] = (LABELS_ONLY, STUDENT_ON_TEXT),
    chosen: Callable[[Task, None], SoftLabels] | None = None,
    lm_args: dict | None = None,
    **arms_args,
) -> dict[str, Arms]:
    """Runs weak-to-strong learning without and with generative finetuning before it.

    The student model learns the texts of the student half, without their labels, before it becomes
    student and ceiling; in 'both on text first' the supervisor too learns the texts of its half.

    Args:
        which: of `LABELS_ONLY`, `STUDENT_ON_TEXT` and `BOTH_ON_TEXT`.
        chosen: (task, None) -> labels of the student half that choose the text of each pair that
            the student learns; None learns both, as the supervisor always does.
        lm_args: of `finetune_lm`, such as {"method": "lora"}.
        arms_args: of `run_arms`.
    Returns:
        {name in `which`: its arms}.
    Raises:
        UnknownName, ValueError, ModelUnavailable: before any model is loaded.
    Source: Burns et al. 2023, section 5.2.2 and figure 18.
    """
    check_names([weak, strong])
    if isinstance(which, str):
        raise TypeError(f"which = {which!r}; expected several names, such as ({which!r},)")
    which = list(which)
    for name in which:
        if name not in ORDERS:
            raise UnknownName("order of learning", str(name), ORDERS)
    if BOTH_ON_TEXT in which:
        require_unembedding(resolve(weak), "finetune_lm")
    if set(which) - {LABELS_ONLY}:
        require_unembedding(resolve(strong), "finetune_lm")
    weak_on_text = Tuned(weak, "supervisor", None, lm_args or {})
    strong_on_text = Tuned(strong, "student", chosen, lm_args or {})
    if chosen is not None and TASKS[task].arity != 2:
        raise ValueError(f"chosen= picks one of two texts; {task} has one text per example")
    models: dict[str, tuple[Model, Model]] = {
        LABELS_ONLY: (weak, strong),
        STUDENT_ON_TEXT: (weak, strong_on_text),
        BOTH_ON_TEXT: (weak_on_text, strong_on_text),
    }
    return {name: run_arms(task, *models[name], **arms_args) for name in which}


def perplexities(
    fits: Mapping[str, Sequence[LanguageFit]],
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Returns the perplexity of several models on held-out texts, before and after they read.

    Args:
        fits: {model: its generative finetunings, one per seed}.
    Returns:
        A row per model: perplexity_before, perplexity_after and after_over_before, with their 95 %
        intervals; and rows (model, when, value, low, high), as `plots.perplexity` draws them.
    Raises:
        TypeError, ValueError: as `w2s.perplexity`.
    """
    wide, long = [], []
    for model, of_model in fits.items():
        found = perplexity(of_model)
        row: dict = {"model": model}
        for when in ("before", "after"):
            estimate = found[when]
            row |= estimate.as_dict(f"perplexity_{when}")
            ends = {"value": estimate.value, "low": estimate.low, "high": estimate.high}
            long.append({"model": model, "when": when, **ends})
        wide.append(row | found["after / before"].as_dict("after_over_before"))
    return pd.DataFrame(wide).set_index("model"), pd.DataFrame(long)
