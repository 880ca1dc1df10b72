"""Puts prompts beside finetuning: zero-shot, few-shot with true or weak labels (section 5.2.1)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import pandas as pd

from ..common.progress import warn_once
from ..common.registry import UnknownName
from ..prompting.prompt import check_shots, one_model, prompt
from ..training.result import Fit
from .arms import CEILING, WEAK, Arms

ZERO_SHOT = "zero-shot"
FEW_GT = "few-shot, ground truth"
FEW_WEAK = "few-shot, weak labels"
KINDS = (ZERO_SHOT, FEW_GT, FEW_WEAK)
# arguments of `prompt` that all prompts of an experiment may be given
_ARGUMENTS = ("source", "balanced", "calibrate", "chat", "wording", "max_len")


def with_prompts(arms: Arms, shots: int, *, only: tuple[str, ...] = KINDS, **prompt_args) -> Arms:
    """Returns a copy of the arms with further students: their strong model, prompted.

    Each seed draws the shots from its student half, the same for both kinds of label; weak labels
    are the supervisor's. Zero-shot answers are the same for every seed.

    Args:
        arms: supervisor, finetuned students and ceiling, of `run_arms`.
        shots: solved examples before a question.
        only: the kinds of prompt that are wanted, of `KINDS`.
        prompt_args: of `prompt`, such as calibrate and chat.
    Raises:
        UnknownName, ValueError, ModelUnavailable: no such kind; as `prompt`.
    Source: Burns et al. 2023, section 5.2.1 and figure 9.
    """
    if isinstance(only, str):
        raise TypeError(f"only = {only!r}; expected several kinds, such as ({only!r},)")
    for kind in only:
        if kind not in KINDS:
            raise UnknownName("kind of prompt", str(kind), KINDS)
    _check_prompts(arms, [shots], prompt_args)
    prompted = {}
    with one_model():
        for kind in only:
            prompted[kind] = _prompt_each_seed(arms, kind, shots, prompt_args)
    return arms.with_students(prompted)


def _check_prompts(arms: Arms, shots: Sequence[int], prompt_args: dict) -> None:
    """Refuses arguments of all prompts before the first is answered."""
    unknown = sorted(set(prompt_args) - set(_ARGUMENTS))
    if unknown:
        raise TypeError(
            f"prompts take no {', '.join(unknown)}; expected some of {', '.join(_ARGUMENTS)}"
        )
    for k in shots:
        for task in arms.tasks:
            source = prompt_args.get("source")
            check_shots(k, task.student if source is None else source)


def _prompt_each_seed(arms: Arms, kind: str, shots: int, prompt_args: dict) -> list[Fit]:
    answers = []
    for task, weak in zip(arms.tasks, arms.fits[WEAK], strict=True):
        labels = weak.label(task.student) if kind == FEW_WEAK else None
        answers.append(
            prompt(
                arms.strong,
                task.test,
                shots=0 if kind == ZERO_SHOT else shots,
                labels=labels,
                seed=task.seed,
                **prompt_args,
            )
        )
    return answers


@warn_once()
def by_shots(arms: Arms, shots: Iterable[int], **prompt_args) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Measures prompts with ground truth against the number of shots.

    More shots are the fewer ones and further examples of the same draw.

    Args:
        arms, prompt_args: as in `with_prompts`.
        shots: numbers of shots.
    Returns:
        Rows (arm, shots, seeds, accuracy, AUROC, PGR by both, with intervals), and rows (arm,
        shots, seed, and the same).
    """
    if isinstance(shots, str) or not isinstance(shots, Iterable):
        raise TypeError(f"shots = {shots!r}; expected several numbers, such as [0, 2, 5]")
    shots = list(shots)
    if not shots:
        raise ValueError("shots is empty; expected numbers of shots, such as [0, 2, 5]")
    _check_prompts(arms, shots, prompt_args)
    rows = []
    rows_by_seed = []
    with one_model():
        for k in shots:
            arm = FEW_GT if k else ZERO_SHOT
            prompted = with_prompts(arms, k, only=(arm,), **prompt_args)
            needed = {name: prompted.fits[name] for name in (WEAK, arm, CEILING)}
            prompted = replace(prompted, fits=needed)
            row = {"arm": arm, "shots": k, "seeds": len(arms.tasks)}
            rows.append(row | prompted.measures(arm))
            by_seed = prompted.by_seed()
            rows_by_seed.append(by_seed[by_seed.arm == arm].assign(shots=k))
    return pd.DataFrame(rows), pd.concat(rows_by_seed, ignore_index=True)
