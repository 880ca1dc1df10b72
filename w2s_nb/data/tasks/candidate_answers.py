"""Registers tasks whose rows are answers to judge, several of them right: MC-TACO and MultiRC.

Of each question as many right as wrong answers are used, and a passage stands in one split.
"""

from .spec import Example, Hub, Prompt, need_text, register_task


# The hub's main branch holds a loading script; its rows are read from the parquet branch.
@register_task(
    "mc_taco",
    max_len=256,
    cpu_sizes=(600, 200, 800),
    gpu_sizes=(2_000, 400, 1_500),
    source=Hub("CogComp/mc_taco", None, train="test", test="validation"),  # test is the larger
    columns=("sentence", "question", "answer", "label"),
    prompt=Prompt(
        "{0}\nPlausible:",
        ("no", "yes"),
        "Judge whether the answer to the question about the sentence is plausible: yes or no.",
    ),
)
def mc_taco(row):
    """Is the answer to the question about time plausible? A third of the answers are.

    The hub's test split, of 9,442 answers, is for training, and its validation split, of 3,783,
    for test.

    Source: Zhou et al. 2019.
    """
    yield from _judged(row["sentence"].strip(), row)


@register_task(
    "multirc",
    max_len=512,
    gpu_sizes=(8_000, 1_000, 3_000),
    source=Hub(
        "aps/super_glue",
        "3de24cf8022e94f4ee4b9d55a6f539891524d646",
        test="validation",
        parts=("multirc",),
    ),
    folders=("multirc", "super_glue/multirc"),
    columns=("paragraph", "question", "answer", "label"),
    prompt=Prompt(
        "{0}\nIs this answer correct?",
        ("no", "yes"),
        "Judge whether the answer to the question about each passage is correct: yes or no.",
    ),
)
def multirc(row):
    """Is the answer to the question about the passage right? Several answers may be.

    27,243 answers are for training and 4,848 for test.

    Source: Khashabi et al. 2018.
    """
    yield from _judged(f"Passage: {row['paragraph'].strip()}", row)


def _judged(passage: str, row: dict):
    """Yields the example of an answer to a question about a passage; none where it is empty."""
    question = f"{passage}\nQuestion: {row['question'].strip()}"
    answer = need_text(row["answer"], "the answer").strip()
    if answer:
        text = f"{question}\nAnswer: {answer}"
        yield Example((text,), row["label"], (passage,), question=question)
