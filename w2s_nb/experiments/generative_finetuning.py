"""TODO."""

from __future__ import annotations

from collections.abc import Iterable

from ..common.registry import UnknownName
from ..models.loading import ensure
from ..models.names import resolve
from ..training.language_model import Tuned
from .arms import Arms, Labeller, run_arms

LABELS_ONLY, STUDENT_ON_TEXT, BOTH_ON_TEXT = (
    "labels only",
    "student on text first",
    "both on text first",
)


def run_generative(
    task: str,
    weak: str,
    strong: str,
    *,
    which: Iterable[str] = (LABELS_ONLY, STUDENT_ON_TEXT),
    chosen: Labeller | None = None,
    lm_args: dict | None = None,
    **arms_args,
) -> dict[str, Arms]:
    """Weak-to-strong learning without and with generative finetuning before it.

    The student model learns the texts of the student half, labels unseen, before it becomes student and ceiling; in
    'both on text first' the supervisor too learns the texts of its half.

    Args:
        which: of `LABELS_ONLY`, `STUDENT_ON_TEXT` and `BOTH_ON_TEXT`.
        chosen: (task, None) -> labels of the student half that choose the text of each pair that the student learns;
            None learns both, as the supervisor always does.
        lm_args: of `finetune_lm`, such as {"method": "lora"}.
        arms_args: of `run_arms`.
    Source: Burns et al. 2023, section 5.2.2 and figure 18.
    """
    for model in (weak, strong):
        ensure(resolve(model))
    for name in (which := list(which)):
        if name not in (LABELS_ONLY, STUDENT_ON_TEXT, BOTH_ON_TEXT):
            raise UnknownName(
                "order of learning", str(name), (LABELS_ONLY, STUDENT_ON_TEXT, BOTH_ON_TEXT)
            )
    tuned = Tuned(strong, "student", chosen, lm_args or {})
    models = {
        LABELS_ONLY: (weak, strong),
        STUDENT_ON_TEXT: (weak, tuned),
        BOTH_ON_TEXT: (Tuned(weak, "supervisor", None, lm_args or {}), tuned),
    }
    return {name: run_arms(task, *models[name], **arms_args) for name in which}
