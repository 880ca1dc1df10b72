"""Runs one method on a task whose truth is sealed: `python -m w2s_nb.comparisons.method_process`.

`scorer.run_sealed` starts it, and talks to it in lines of JSON over an inherited socket. The truth
of the student half, validation and test is not in this process, and `load_task` does not give it.
"""

from __future__ import annotations

import json
import socket
import sys
import time
from typing import IO

import numpy as np

from ..common.progress import collect_warnings
from ..data import sealed
from .blind import labels_from_json, task_from_json
from .methods import Budget, QueriesSpent, check_predictions, describe, method_of


def main(descriptor: int) -> None:
    """Runs the method that the other side of the socket names, and sends what it predicts.

    Args:
        descriptor: number of the inherited socket.
    """
    with socket.socket(fileno=descriptor) as connection, connection.makefile("rw") as lines:
        job = json.loads(lines.readline())
        started = time.perf_counter()
        try:
            probs, saved = _run(job, lines)
        except (Exception, SystemExit) as error:  # whatever a method does, the others go on
            answer: dict = {"error": describe(error)}
        else:
            answer = {"probs": probs, "saved": saved}
        _send(lines, answer | {"seconds": time.perf_counter() - started})


def _run(job: dict, lines: IO[str]) -> tuple[list, float]:
    """Returns the method's predictions as lists, and the seconds that stored trainings saved it."""
    task = task_from_json(job["task"])
    sealed.close(task.name.partition(",")[0])

    def ask(probs: np.ndarray) -> float:
        _send(lines, {"ask": check_predictions(probs, task.test).tolist()})
        answer = json.loads(lines.readline())
        if "spent" in answer:
            raise QueriesSpent(answer["spent"])
        if "error" in answer:
            raise ValueError(answer["error"])
        return answer["accuracy"]

    budget = Budget(job["fit_args"], ask)
    labels = labels_from_json(job["labels"])
    method = method_of(job["method"])
    with collect_warnings():
        probs = method(labels, task, job["strong"], job["seed"], budget)
    return check_predictions(probs, task.test).tolist(), budget.seconds_saved


def _send(lines: IO[str], message: dict) -> None:
    lines.write(json.dumps(message) + "\n")
    lines.flush()


if __name__ == "__main__":
    main(int(sys.argv[1]))
