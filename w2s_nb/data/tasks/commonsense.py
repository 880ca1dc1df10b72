"""Registers multiple choice that asks for common sense: about events, things and people."""

from __future__ import annotations

import re

from .multiple_choice import prompt_of, right_or_wrong, texts_of
from .spec import Hub, choice_of, register_task

_MARK = re.compile(r"\s*\[(?:header|step|substeps)\]\s*")  # of WikiHow's articles
_TITLE = re.compile(r"([.?!]?)\s*\[title\]\s*")  # a new sentence


def _without_marks(text: str) -> str:
    """Returns a text of HellaSwag without what is left of the layout of its source.

    >>> _without_marks("[header] How to sit [title] Find a chair. [step] Sit down.")
    'How to sit. Find a chair. Sit down.'
    >>> _without_marks("[title] Tired? [title] Sit.")
    'Tired? Sit.'
    """
    in_sentences = _TITLE.sub(lambda mark: f"{mark[1] or '.'} ", text)
    return _MARK.sub(" ", in_sentences).strip().removeprefix(". ")


@register_task(
    "hellaswag",
    max_len=256,
    source=Hub("Rowan/hellaswag", "218ec52e09a7e7462a5400043bb9a69a41d06b76", test="validation"),
    columns=("activity_label", "ctx", "endings", "source_id", "label"),
    prompt=prompt_of("the question how each text goes on"),
)
def hellaswag(row):
    """Does the text go on like this? Wrong endings were written by a model, to mislead models.

    39,905 texts and 10,042 for test, with four endings each. Those of one film or article stay
    together. The label is a text, the number of the right ending.
    Source: Zellers et al. 2019.
    """
    endings = [_without_marks(ending) for ending in texts_of(row["endings"], "endings")]
    right = choice_of(row["label"], len(endings), "label")
    begins = f"{row['activity_label'].strip()}: {_without_marks(row['ctx'])}"
    question = f"{begins}\nQuestion: How does it go on?"
    return right_or_wrong(question, endings, right, (("source", row["source_id"]), begins))


SOLUTIONS = ("sol1", "sol2")


# The hub's main branch holds a loading script; its rows are read from the parquet branch.
@register_task(
    "piqa",
    max_len=256,
    gpu_sizes=(10_000, 1_000, 3_600),
    source=Hub("ybisk/piqa", "2e8ac2dffd59bac8c3c6714948f4c551a0848bb0", test="validation"),
    columns=("goal", *SOLUTIONS, "label"),
    prompt=prompt_of("the question how each goal is reached"),
)
def piqa(row):
    """Does this reach the goal? Ways to do everyday things with one's hands.

    16,113 goals and 1,838 for test, with two solutions each.
    Source: Bisk et al. 2020.
    """
    solutions = [row[solution] for solution in SOLUTIONS]
    right = choice_of(row["label"], len(SOLUTIONS), "label")
    goal = row["goal"].strip()
    return right_or_wrong(f"Goal: {goal}", solutions, right, (goal,))


OF_A_SITUATION = ("answerA", "answerB", "answerC")


# lighteval/siqa has the rows of allenai/social_i_qa, whose main branch holds a loading script.
@register_task(
    "social_i_qa",
    max_len=128,
    gpu_sizes=(10_000, 1_000, 3_800),
    source=Hub("lighteval/siqa", "54c6a1f8cb6daf4f5abf24a601852612fb35eb25", test="validation"),
    columns=("context", "question", *OF_A_SITUATION, "label"),
    prompt=prompt_of("the question about each situation"),
)
def social_i_qa(row):
    """Does this answer the question about people in a situation: why, what next, how they feel?

    33,410 questions and 1,954 for test, with three answers each; those about one situation stay
    together. The label is a text, 1 to 3.
    Source: Sap et al. 2019.
    """
    answers = [row[answer] for answer in OF_A_SITUATION]
    right = choice_of(row["label"], len(answers), "label", first=1)
    context = row["context"].strip()
    question = f"{context}\nQuestion: {row['question'].strip()}"
    return right_or_wrong(question, answers, right, (context,))
