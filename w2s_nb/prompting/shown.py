"""Shows what a model is asked, as the text that it reads."""

from __future__ import annotations

from ..common.registry import TASKS
from ..data.splits import Task
from ..models.loading import folder, tokenizer
from ..models.names import resolve
from .template import render

PLAIN = "plain text"
CHAT = "chat template"


def prompt_texts(model: str, task: Task, shots: int = 2) -> dict[str, str]:
    """Returns a task's first test question as a model reads it, after the first solved examples.

    Args:
        model: a name; it decides whether there is a chat template.
        task: as a seed deals it; the solved examples are the first of its student half.
        shots: how many solved examples stand before the question.
    Returns:
        {form: text}: 'plain text' and, if the tokenizer has one, 'chat template'; the last line of
        each says which answers may follow.
    Raises:
        UnknownName, ModelUnavailable: the model, or its tokenizer, cannot be had.
    """
    wording = TASKS[task.name].prompt
    half = task.student
    solved = [(half.texts[i], int(half.hard_label[i])) for i in range(shots)]
    tok = tokenizer(folder(resolve(model)))
    forms = {PLAIN: None} | ({CHAT: tok} if tok.chat_template else {})
    texts = {}
    for form, template in forms.items():
        asked = render(wording, solved, template)
        answers = " or ".join(map(repr, asked.answers))
        question = wording.ask(task.test.texts[0])
        texts[form] = f"{asked.head}{question}{asked.tail}\n(answers: {answers})"
    return texts
