"""Registers multiple choice as the paper takes it: pairs of question and answer.

Each question gives as many right as wrong pairs.
"""

from .spec import Hub, Prompt, question_answer, register_task

CORRECT = "{0}\nIs this answer correct?"


@register_task(
    "sciq",
    max_len=256,
    source=Hub("allenai/sciq", "2c94ad3e1aafab77146f384e23536f97a4849815"),
    prompt=Prompt(
        CORRECT,
        ("no", "yes"),
        "Judge whether the answer to each science question is correct: yes or no.",
    ),
)
def sciq(row):
    """Is this the right answer to the science question? Without the supporting passage."""
    wrong = [row[f"distractor{i}"] for i in (1, 2, 3)]
    support = (row["support"],) if row["support"].strip() else ()
    yield from question_answer(
        f"Question: {row['question']}", row["correct_answer"], wrong, (row["question"], *support)
    )


NONE_OF_THE_ABOVE = "none of the above choices"


@register_task(
    "cosmos_qa",
    max_len=256,
    source=Hub("allenai/cosmos_qa", "ed50fe83db62b355759053b1cd5eef344ee371e0", test="validation"),
    prompt=Prompt(
        CORRECT,
        ("no", "yes"),
        "Judge whether the answer to the question about each story is correct: yes or no.",
    ),
)
def cosmos_qa(row):
    """Does this answer the question about the story?

    'None of the above' means nothing alone and is never drawn.
    """
    if row["label"] not in range(4):  # the hub's test split has -1
        return
    answers = [row[f"answer{i}"] for i in range(4)]
    right = answers.pop(row["label"])
    wrong = [a for a in answers if not a.lower().startswith(NONE_OF_THE_ABOVE)]
    if not right.lower().startswith(NONE_OF_THE_ABOVE):
        yield from question_answer(
            f"{row['context']}\nQuestion: {row['question']}", right, wrong, (row["context"],)
        )
