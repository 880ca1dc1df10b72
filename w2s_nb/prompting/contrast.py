"""Reads the hidden states of examples with each of their possible answers written below them."""

from __future__ import annotations

from typing import cast

import numpy as np

from ..common.registry import TASKS
from ..data.splits import Split
from ..data.tasks.spec import Prompt
from ..inputs.features import features
from ..models.encoders import require_kind
from ..models.loading import folder, tokenizer, with_depth
from ..models.names import resolve
from ..training.result import task_of
from .prompt import check_words
from .template import cut


def wording_of(split: Split, wording: Prompt | None = None) -> Prompt:
    """Returns the words in which examples are asked about: the task's own if none are given.

    Raises:
        TypeError: `wording` is no `Prompt`.
        ValueError: other than one word per class; the split has no task.
    """
    if not isinstance(wording, Prompt | None):
        raise TypeError(f"wording = {wording!r}; expected a w2s.Prompt(template, words)")
    task = task_of(split)
    wording = wording or TASKS[task.name.partition(",")[0]].prompt
    check_words(wording, task)
    return wording


def contrast_features(model: str, split: Split, wording: Prompt | None = None) -> np.ndarray:
    """Computes or finds the states of a frozen model for each example with each answer.

    An example is written as the prompt without instruction, and a word of the wording after it; its
    state is that of the word's last token. Models cut in depth serve as well.

    Args:
        model: a name that `models.resolve` takes.
        wording: template and answers; None takes the task's own.
    Returns:
        (n, K, d) float32, the classes in their order.
    Raises:
        TypeError, ValueError: as `wording_of`; an encoder; answers whose tokens are the same; a
            text longer than the model's context.
        ModelUnavailable: the weights cannot be had here.
    Source: the contrast pairs of Burns et al. 2022 (arXiv 2212.03827), section 2.2.
    """
    wording = wording_of(split, wording)
    task = task_of(split)
    checkpoint = with_depth(require_kind(resolve(model), task.spec))
    coder = tokenizer(folder(checkpoint))
    _check_answers_differ(coder, wording, model)
    questions = [wording.ask(cut(coder, texts, task.max_len)) for texts in split.texts]
    written = [f"{question} {word}" for question in questions for word in wording.words]
    depth = cast(int, checkpoint.layers)  # filled in by with_depth
    states = features(model, written, layers=[depth])[depth]
    return states.reshape(len(split), len(wording.words), -1)


def _check_answers_differ(coder, wording: Prompt, model: str) -> None:
    """Refuses answers that a tokenizer does not tell apart; they have the same states."""
    ids = [tuple(coder(f" {word}", verbose=False)["input_ids"]) for word in wording.words]
    if len(set(ids)) < len(ids):
        raise ValueError(
            f"the answers {wording.words!r} are the same tokens to {model}; give wording=, a "
            f"w2s.Prompt whose words its tokenizer knows"
        )
