"""Measures few-shot prompts with the keys and values of the shots kept, and without."""

from __future__ import annotations

from .measure import Ratio, apart, ratio, timed

SHOTS = (5, 20)
ROUNDS = 1


def measure() -> list[Ratio]:
    """Measures 60 questions after 5 and 20 shots, in turn with and without."""
    ratios = []
    for shots in SHOTS:
        rounds = [apart(prompts, shots) for _ in range(ROUNDS)]
        ratios.append(
            ratio(
                f"shots.kept_over_read_again_{shots}",
                f"60 questions after {shots} shots, the shots' keys and values kept, over the "
                "shots read again for every question, CPU seconds",
                [each["kept"] for each in rounds],
                [each["again"] for each in rounds],
                figures={"largest_difference_nats": rounds[0]["difference"]},
            )
        )
    return ratios


def prompts(shots: int) -> dict:
    """Returns the CPU seconds of both ways, and how far their log-probabilities differ."""
    import numpy as np

    import w2s_nb as w2s
    from w2s_nb import models
    from w2s_nb.prompting import prompt

    checkpoint = models.with_depth(models.resolve("SmolLM2-135M"))
    tokenizer = models.tokenizer(models.folder(checkpoint))
    task = w2s.load_task("movie_snippets", n_train=100, n_test=60)
    template = w2s.TASKS["movie_snippets"].prompt
    asked = [template.ask(texts) for texts in task.test.texts]
    examples = list(zip(task.student.texts, map(int, task.student.hard_label), strict=True))
    order = prompt.render(template, examples[:shots]).encode(tokenizer, asked)
    seconds, log_probs = {}, {}
    prompt.answer_log_probs(checkpoint, order[0], order[1][:1], order[2])  # loads the model
    for name, reuse in (("kept", True), ("again", False)):
        with timed() as used:
            log_probs[name] = prompt.answer_log_probs(checkpoint, *order, reuse=reuse)
        seconds[name] = used[0]
    difference = float(np.abs(log_probs["kept"] - log_probs["again"]).max())
    return seconds | {"difference": difference}
