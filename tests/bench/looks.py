"""Measures what the looks of early stopping cost during finetuning."""

from __future__ import annotations

import time

from .measure import Ratio, apart, ratio
from .padding import true_labels

MODEL = "SmolLM2-135M@16"
SIZES = {"n_train": 600, "n_val": 200, "n_test": 800}
ROUNDS = 3


def measure() -> list[Ratio]:
    """Measures two epochs of method top with four looks and with one, without the last one."""
    done = apart(trainings)
    return [
        ratio(
            "looks.four_over_one",
            f"finetuning of {MODEL} by top, 600 examples, 2 epochs, with three looks before its "
            "end over none, both without what is predicted at the end, CPU seconds",
            done["4"],
            done["1"],
            figures={"cpu_s": round(min(done["4"]), 1)},
        )
    ]


def trainings() -> dict:
    """Trains with each number of evaluations, in turn; returns their CPU seconds."""
    import w2s_nb as w2s
    from w2s_nb.training import loop

    task = w2s.load_task("movie_snippets", **SIZES)
    labels = true_labels(task.student, task.validation)
    seconds: dict[str, list[float]] = {"1": [], "4": []}
    train = loop.train

    def train_timed(net, inputs, targets, loss, hyperparameters, *, evaluate, **options):
        started = time.process_time()

        def evaluate_and_stop_the_clock(step, progress, train_loss):
            if progress >= 1:
                seconds[str(hyperparameters.evals)].append(time.process_time() - started)
            evaluate(step, progress, train_loss)

        options["evaluate"] = evaluate_and_stop_the_clock
        return train(net, inputs, targets, loss, hyperparameters, **options)

    w2s.fit(MODEL, task.student, labels, method="top", epochs=1, seed=100)  # stores the trunk
    seconds["4"].clear()
    loop.train = train_timed
    for seed in range(ROUNDS):
        for evals in (1, 4):
            w2s.fit(MODEL, task.student, labels, method="top", evals=evals, seed=seed)
    return seconds
