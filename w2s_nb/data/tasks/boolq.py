"""BoolQ: yes or no questions about a passage."""

from .spec import Example, Hub, Prompt, register_task


@register_task(
    "boolq",
    max_len=512,
    gpu_sizes=(2_500, 400, 2_000),
    source=Hub("google/boolq", "35b264d03638db9f4ce671b711558bf7ff0f80d5", test="validation"),
    columns=("question", "passage", "answer"),
    prompt=Prompt(
        "{0}\nAnswer:", ("no", "yes"), "Answer each question about its passage with yes or no."
    ),
)
def boolq(row):
    """Is the answer to the question about the passage yes?"""
    question = row["question"].strip().rstrip("?")
    yield Example(
        (f"Passage: {row['passage']}\nQuestion: {question}?",),
        row["answer"],
        (row["passage"], question),
    )
