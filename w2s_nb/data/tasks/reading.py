"""Registers multiple choice about what one reads: dialogues, passages, sentences of science.

Questions about one of them stay together.
"""

from .multiple_choice import lettered, prompt_of, right_or_wrong, texts_of
from .spec import Hub, UnreadableRow, choice_of, register_task


# The commit is of the parquet branch, as the hub's main branch holds a loading script.
@register_task(
    "dream",
    max_len=256,
    gpu_sizes=(5_000, 1_000, 4_000),
    source=Hub("dataset-org/dream", "ca4c45feaf089ecfc37579eb2c594375f70dbfd5"),
    columns=("dialogue", "question", "choice", "answer"),
    prompt=prompt_of("the question about each dialogue"),
)
def dream(row):
    """Does this answer the question about the dialogue?

    6,116 questions and 2,041 for test, with three choices each, from exams of English as a foreign
    language. The answer is the text of the right choice.
    Source: Sun et al. 2019.
    """
    choices = texts_of(row["choice"], "choice")
    if row["answer"] not in choices:
        raise UnreadableRow(
            f"column 'answer' is {row['answer']!r:.60}; expected one of the texts of 'choice', "
            f"{choices!r:.60}"
        )
    dialogue = "\n".join(texts_of(row["dialogue"], "dialogue"))
    question = f"{dialogue}\nQuestion: {row['question'].strip()}"
    return right_or_wrong(question, choices, choices.index(row["answer"]), (dialogue,))


@register_task(
    "quail",
    max_len=512,
    gpu_sizes=(9_000, 1_000, 4_000),
    source=Hub("textmachinelab/quail", None, test="validation"),
    columns=("context", "question", "answers", "correct_answer_id"),
    prompt=prompt_of("the question about each passage"),
)
def quail(row):
    """Does this answer the question about the passage? 'Not enough information' can be right.

    10,246 questions and 2,164 for test, with four answers each, about fiction, news, blogs and
    personal stories.
    Source: Rogers et al. 2020.
    """
    answers = texts_of(row["answers"], "answers")
    right = choice_of(row["correct_answer_id"], len(answers), "correct_answer_id")
    passage = row["context"].strip()
    question = f"Passage: {passage}\nQuestion: {row['question'].strip()}"
    return right_or_wrong(question, answers, right, (passage,))


@register_task(
    "quartz",
    max_len=256,
    gpu_sizes=(2_000, 500, 1_500),
    source=Hub("allenai/quartz", "28c1dbb56caf81799296cb17892fa73402e23464"),
    columns=("question", "choices", "answerKey", "para"),
    prompt=prompt_of("the question about each passage"),
)
def quartz(row):
    """Does this answer the question, by the law that the passage states?

    2,696 questions and 784 for test, with two choices each, about how one quantity moves another.
    The key is the letter of a choice.
    Source: Tafjord et al. 2019.
    """
    texts, right = lettered(row["choices"], row["answerKey"])
    passage = row["para"].strip()
    question = f"Passage: {passage}\nQuestion: {row['question'].strip()}"
    return right_or_wrong(question, texts, right, (passage,))
