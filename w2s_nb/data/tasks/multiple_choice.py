"""Registers multiple choice as the paper takes it: pairs of question and answer.

Each question gives as many right as wrong pairs.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from typing import Any

from ...common.registry import UnknownName
from .spec import (
    Example,
    Hub,
    Prompt,
    Sizes,
    UnreadableRow,
    choice_of,
    either,
    need_text,
    question_answer,
    register_task,
)

CORRECT = "{0}\nIs this answer correct?"
DISTRACTORS = ("distractor1", "distractor2", "distractor3")


def prompt_of(what: str) -> Prompt:
    """Returns a prompt that asks whether an answer is right, to what it names."""
    instruction = f"Judge whether the answer to {what} is correct: yes or no."
    return Prompt(CORRECT, ("no", "yes"), instruction)


def right_or_wrong(
    question: str, options: Sequence[str], right: int, keys: tuple[Hashable, ...]
) -> Iterable[Example]:
    """Yields the right and a wrong one of the options of a question, as `question_answer` does.

    White space at the ends of options, which could tell them apart, is left out.
    """
    answers = [need_text(option, "an answer").strip() for option in options]
    answer = answers.pop(right)
    return question_answer(question, answer, answers, keys)


def texts_of(value, column: str) -> list[str]:
    """Returns a list of texts.

    Raises:
        UnreadableRow: the column holds anything else, or one of them is missing.
    """
    if not isinstance(value, list | tuple):
        raise UnreadableRow(f"column {column!r} is {value!r:.60}; expected a list of texts")
    return [need_text(text, f"one of column {column!r}") for text in value]


def lettered(choices, key) -> tuple[list[str], int]:
    """Returns the texts of choices that have letters, and the place of the right one.

    Args:
        choices: {"text": texts, "label": letters}, or a list of {"text": ..., "label": ...}.
        key: the letter of the right one.
    Raises:
        UnreadableRow: there are no such choices, or none has the letter.
    """
    if isinstance(choices, list | tuple):
        choices = {name: [choice[name] for choice in choices] for name in ("text", "label")}
    if not isinstance(choices, dict):
        raise UnreadableRow(
            f"column 'choices' is {choices!r:.60}; expected a list of texts and one of letters"
        )
    texts = texts_of(choices["text"], "choices")
    letters = texts_of(choices["label"], "choices")
    if key not in letters or len(letters) != len(texts):
        hidden = ", as where the labels of a test split are hidden" if key == "" else ""
        raise UnreadableRow(
            f"column 'answerKey' is {key!r}{hidden}; expected one of the letters of its "
            f"{len(texts)} choices, {either(letters)}"
        )
    return texts, letters.index(key)


def _with_support(name: str) -> dict[str, Any]:
    """Returns what the option `@support` changes: passages stand before their questions."""
    if name != "support":
        raise UnknownName("option of sciq", name, ["support"])
    return {
        "examples": sciq_with_support,
        "about": "Is this the right answer to the science question about the passage?",
        "folders": ("sciq",),
        "max_len": 512,
        "gpu_sizes": Sizes(9_000, 1_000, 1_700),
        "prompt": prompt_of("the science question about each passage"),
    }


@register_task(
    "sciq",
    max_len=256,
    gpu_sizes=(9_000, 1_000, 1_800),
    source=Hub("allenai/sciq", "2c94ad3e1aafab77146f384e23536f97a4849815"),
    option=_with_support,
    columns=("question", "correct_answer", *DISTRACTORS, "support"),
    may_be_empty=(*DISTRACTORS, "support"),
    prompt=prompt_of("each science question"),
)
def sciq(row):
    """Is this the right answer to the science question? Without the supporting passage.

    `sciq@support` shows the passage before the question.
    """
    wrong = [row[distractor] for distractor in DISTRACTORS]
    keys = (row["question"], row["support"])  # no support ties nothing
    yield from question_answer(f"Question: {row['question']}", row["correct_answer"], wrong, keys)


def sciq_with_support(row):
    """Is this the right answer to the science question about the passage? Questions without a
    passage, about one in nine, are left out.
    """
    support = (row["support"] or "").strip()
    if support:
        wrong = [row[distractor] for distractor in DISTRACTORS]
        keys = (row["question"], row["support"])
        question = f"Passage: {support}\nQuestion: {row['question']}"
        yield from question_answer(question, row["correct_answer"], wrong, keys)


NONE_OF_THE_ABOVE = "none of the above choices"
ANSWERS = ("answer0", "answer1", "answer2", "answer3")


@register_task(
    "cosmos_qa",
    max_len=256,
    gpu_sizes=(10_000, 1_000, 4_000),
    source=Hub("allenai/cosmos_qa", "ed50fe83db62b355759053b1cd5eef344ee371e0", test="validation"),
    columns=("context", "question", *ANSWERS, "label"),
    prompt=prompt_of("the question about each story"),
)
def cosmos_qa(row):
    """Does this answer the question about the story?

    'None of the above' means nothing alone and is never drawn.
    """
    answers = [row[answer] for answer in ANSWERS]
    right = answers.pop(choice_of(row["label"], len(ANSWERS), "label"))
    wrong = [a for a in answers if not a.lower().startswith(NONE_OF_THE_ABOVE)]
    if not right.lower().startswith(NONE_OF_THE_ABOVE):
        yield from question_answer(
            f"{row['context']}\nQuestion: {row['question']}", right, wrong, (row["context"],)
        )


@register_task(
    "openbookqa",
    max_len=128,
    gpu_sizes=(4_000, 1_000, 1_000),
    source=Hub("allenai/openbookqa", "388097ea7776314e93a529163e0fea805b8a6454", parts=("main",)),
    columns=("question_stem", "choices", "answerKey"),
    prompt=prompt_of("each science question"),
)
def openbookqa(row):
    """Is this the right answer to the elementary science question? Without the book's facts.

    4,957 questions and 500 for test, with four choices each. The key is the letter of a choice.
    Source: Mihaylov et al. 2018.
    """
    texts, right = lettered(row["choices"], row["answerKey"])
    stem = row["question_stem"].strip()
    return right_or_wrong(f"Question: {stem}", texts, right, (stem,))
