"""TODO."""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd

from ..prompting.prompt import one_model, prompt
from ..training.result import Fit
from .arms import WEAK, Arms

ZERO_SHOT, FEW_GT, FEW_WEAK = "zero-shot", "few-shot, ground truth", "few-shot, weak labels"


def with_prompts(
    arms: Arms, shots: int, *, only: tuple[str, ...] = (ZERO_SHOT, FEW_GT, FEW_WEAK), **prompt_args
) -> Arms:
    """These arms, and their strong model prompted: zero-shot, few-shot with ground truth, few-shot with weak labels.

    A seed draws the shots from its student half, the same for both kinds of label; weak ones are the supervisor's.
    Zero-shot answers are the same for every seed.

    Args:
        arms: supervisor, finetuned students and ceiling, of `run_arms`.
        shots: solved examples before a question.
        only: the kinds wanted.
        prompt_args: of `prompt`, such as calibrate and chat.
    Source: Burns et al. 2023, section 5.2.1 and figure 9.
    """
    kinds = {
        ZERO_SHOT: lambda t, weak: dict(shots=0),
        FEW_GT: lambda t, weak: dict(shots=shots),
        FEW_WEAK: lambda t, weak: dict(shots=shots, labels=weak.label(t.student)),
    }
    with one_model():
        extra_halves: dict[str, list[Fit]] = {
            kind: [
                prompt(arms.strong, t.test, seed=t.seed, **kinds[kind](t, weak), **prompt_args)
                for t, weak in zip(arms.tasks, arms.fits[WEAK])
            ]
            for kind in only
        }
    return arms.with_students(extra_halves)


def by_shots(arms: Arms, shots: Iterable[int], **prompt_args) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Accuracy of prompts with ground truth against the number of shots: more of the same draw at each step.

    Returns:
        Rows (arm, shots, accuracy with interval, PGR with interval), and rows (arm, shots, seed, accuracy).
    """
    rows, dots = [], []
    with one_model():
        for k in shots:
            arm = FEW_GT if k else ZERO_SHOT
            found = with_prompts(arms, k, only=(arm,), **prompt_args)
            rows.append(
                {
                    "arm": arm,
                    "shots": k,
                    "seeds": len(arms.tasks),
                    **found.accuracy(arm).as_dict("accuracy"),
                    **found.pgr(arm).as_dict("pgr"),
                }
            )
            seeds = found.by_seed()
            dots.append(seeds[seeds.arm == arm].assign(shots=k))
    return pd.DataFrame(rows), pd.concat(dots, ignore_index=True)
