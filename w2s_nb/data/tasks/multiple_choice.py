"""Registers multiple choice as the paper takes it: pairs of question and answer.

Each question gives as many right as wrong pairs.
"""

from .spec import Hub, Prompt, choice_of, question_answer, register_task

CORRECT = "{0}\nIs this answer correct?"
DISTRACTORS = ("distractor1", "distractor2", "distractor3")


@register_task(
    "sciq",
    max_len=256,
    gpu_sizes=(9_000, 1_000, 1_800),
    source=Hub("allenai/sciq", "2c94ad3e1aafab77146f384e23536f97a4849815"),
    columns=("question", "correct_answer", *DISTRACTORS, "support"),
    may_be_empty=(*DISTRACTORS, "support"),
    prompt=Prompt(
        CORRECT,
        ("no", "yes"),
        "Judge whether the answer to each science question is correct: yes or no.",
    ),
)
def sciq(row):
    """Is this the right answer to the science question? Without the supporting passage."""
    wrong = [row[distractor] for distractor in DISTRACTORS]
    keys = (row["question"], row["support"])  # no support ties nothing
    yield from question_answer(f"Question: {row['question']}", row["correct_answer"], wrong, keys)


NONE_OF_THE_ABOVE = "none of the above choices"
ANSWERS = ("answer0", "answer1", "answer2", "answer3")


@register_task(
    "cosmos_qa",
    max_len=256,
    gpu_sizes=(10_000, 1_000, 4_000),
    source=Hub("allenai/cosmos_qa", "ed50fe83db62b355759053b1cd5eef344ee371e0", test="validation"),
    columns=("context", "question", *ANSWERS, "label"),
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
    if row["label"] == -1:  # the hub's test split, whose labels are hidden
        return
    answers = [row[answer] for answer in ANSWERS]
    right = answers.pop(choice_of(row["label"], len(ANSWERS), "label"))
    wrong = [a for a in answers if not a.lower().startswith(NONE_OF_THE_ABOVE)]
    if not right.lower().startswith(NONE_OF_THE_ABOVE):
        yield from question_answer(
            f"{row['context']}\nQuestion: {row['question']}", right, wrong, (row["context"],)
        )
