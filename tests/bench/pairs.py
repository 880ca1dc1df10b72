"""Measures features of two responses run in one sequence, against each response alone."""

from __future__ import annotations

import tempfile

from .measure import Ratio, apart, ratio, timed

N = 60
MODEL = "SmolLM2-135M@16"
ROUNDS = 2


def measure() -> list[Ratio]:
    """Measures pairs of responses to prompts of six snippets, in turn together and alone."""
    together, alone = [], []
    for _ in range(ROUNDS):
        # no pair saves twice its tokens, so with 2 every text is run alone
        for least_shared, rounds in ((None, together), (2, alone)):
            with tempfile.TemporaryDirectory() as home:
                rounds.append(apart(features_of_pairs, least_shared, W2S_HOME=home))
    return [
        ratio(
            "pairs.together_over_alone",
            f"features of {N} pairs of responses, a pair's prompt run once, over every text run "
            "alone, CPU seconds",
            [each["cpu_s"] for each in together],
            [each["cpu_s"] for each in alone],
            figures={"sum_of_states": together[0]["sum"] - alone[0]["sum"]},
        )
    ]


def features_of_pairs(least_shared: float | None) -> dict:
    """Returns the CPU seconds of the features of N pairs, and the sum of the states."""
    import w2s_nb as w2s
    from w2s_nb.inputs import activations

    if least_shared is not None:
        activations.LEAST_SHARED = least_shared
    task = w2s.load_task("movie_snippets", n_train=8 * N, n_test=100)
    snippets = [text for (text,) in task.student.texts]
    texts = []
    for start in range(0, 8 * N, 8):
        prompt = " ".join(snippets[start : start + 6])
        texts += [f"{prompt}\n\n{response}" for response in snippets[start + 6 : start + 8]]
    w2s.features(MODEL, texts[:1], layers=[16], dtype="float32")  # loads the model
    with timed() as seconds:
        states = w2s.features(MODEL, texts, layers=[16], dtype="float32")[16]
    return {"cpu_s": seconds[0], "sum": float(abs(states).sum())}
