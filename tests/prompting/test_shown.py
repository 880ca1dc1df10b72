"""The texts that are shown are those that a model reads."""

import w2s_nb as w2s
from w2s_nb import models


def test_a_prompt_is_shown_in_plain_text_and_as_a_conversation():
    task = w2s.load_task("movie_snippets", n_train=40, n_val=20, n_test=20)
    shown = w2s.prompt_texts("SmolLM2-135M", task, shots=2)
    assert list(shown) == ["plain text", "chat template"]
    plain = shown["plain text"]
    assert plain.endswith("(answers: ' negative' or ' positive')")
    assert plain.count("Film review:") == 3 and task.test.texts[0][0].rstrip() in plain
    for texts, label in list(zip(task.student.texts, task.student.hard_label, strict=True))[:2]:
        solved = f"{texts[0]}\nSentiment: {('negative', 'positive')[label]}"
        assert solved in plain
    assert "<|im_start|>assistant\n" in shown["chat template"]


def test_a_model_without_a_chat_template_reads_plain_text_only(words, tiny, monkeypatch):
    task = w2s.load_task("movie_snippets", n_train=40, n_val=20, n_test=20)
    assert models.tokenizer(models.folder(models.resolve(tiny))).chat_template is None
    assert list(w2s.prompt_texts(tiny, task, shots=0)) == ["plain text"]
