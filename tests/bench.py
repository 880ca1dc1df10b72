"""Timings, not tests: `make bench`. Run it on an otherwise idle machine."""
import os
import tempfile
import time

os.environ.setdefault("TQDM_DISABLE", "1")
os.environ["W2S_HOME"] = tempfile.mkdtemp()

import w2s_nb as w2s
from w2s_nb import training
from w2s_nb.config import machine

STRONG, SIZES = "SmolLM2-135M@16", dict(n_train=600, n_val=200, n_test=800)


def looks() -> None:
    """What looking at a finetuning in training costs it: four looks against the one at the end."""
    task, seconds, train = w2s.load_task("movie_snippets", **SIZES), {}, training.train
    labels = w2s.fit("SmolLM2-135M@4", task.supervisor, method="probe").label(task.student)

    def timed(*args, evaluate, **options):
        ended = []

        def look(step, progress, loss):
            ended.append(time.perf_counter())
            if progress < 1:  # the last look predicts all splits, and is made in any case
                evaluate(step, progress, loss)

        started = time.perf_counter()
        try:
            train(*args, evaluate=look, **options)
        finally:
            seconds[options["evals"]] = min(seconds.get(options["evals"], 1e9), ended[-1] - started)
        evaluate(1, 1.0, 0.0)

    training.train = timed
    for seed in range(3):
        for evals in (1, 4):
            w2s.fit(STRONG, task.student, labels, method="top", evals=evals, seed=seed)
    training.train = train
    print(f"finetuning of {STRONG}, top, 600 examples, 2 epochs: {seconds[1]:.1f} s; with three looks at validation "
          f"and some test examples before the end {seconds[4]:.1f} s ({seconds[4] / seconds[1] - 1:+.0%})")


def probes() -> None:
    """A student by probe, from stored features: what an interactive change costs."""
    task = w2s.load_task("movie_snippets", **SIZES)
    labels = w2s.fit("SmolLM2-135M@4", task.supervisor, method="probe").label(task.student)
    w2s.fit(STRONG, task.student, labels, method="probe", seed=100)
    started = time.perf_counter()
    for seed in range(5):
        w2s.fit(STRONG, task.student, labels, method="probe", seed=seed)
    print(f"a student by probe, 600 examples, 200 epochs: {(time.perf_counter() - started) / 5:.2f} s")


if __name__ == "__main__":
    print(machine())
    probes()
    looks()
