"""Runs a method in a process that does not have the truth, and answers its questions.

The truth of the test stays in this process. The method's process gets the task without it, weak
labels, and a socket; it may ask at most `queries` times how accurate predictions are on the public
half of the test. What counts is the accuracy on the other half, which is never told. Each question
is logged in `queries.jsonl`. A method that runs longer than it may is ended.

This is a discipline and no jail. It keeps a method from reading the truth by mistake or by the
kit's own ways: the splits that it is given, `load_task`, stored fits, the environment. It does not
keep code from opening the data set's own files, from asking the network, or from reading another
process of the same user.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import socket
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

import numpy as np

from ..common import plugins
from ..common.paths import home
from ..common.registry import LOSSES
from ..common.seeds import check_count, check_number
from ..data.splits import Split, Task
from ..labels.soft import SoftLabels
from ..metrics.classification import correct
from ..models.names import resolve
from .blind import labels_to_json, task_to_json
from .methods import Method, check_predictions, describe
from .processes import MethodProcesses, last_line
from .result import MethodRun

MOST_QUERIES = 100_000
LEAST_SECONDS = 0.1  # of a time limit
_SHARED = ("activations", "tokens")  # of the store: they are of texts, not of their truth


def public_half(test: Split, seed: int = 0) -> np.ndarray:
    """Chooses the public half of a test split: whole groups, about half of the examples.

    Args:
        seed: of the choice; the same for all methods.
    Returns:
        (n,) bool.
    Raises:
        ValueError: fewer than two groups.
    """
    groups, group_of, counts = np.unique(test.group, return_inverse=True, return_counts=True)
    if len(groups) < 2:
        raise ValueError(f"{test!r} has {len(groups)} group; expected two or more to seal half")
    order = np.random.default_rng(seed).permutation(len(groups))
    before = counts[order].cumsum() - counts[order]
    is_public = np.zeros(len(groups), dtype=bool)
    is_public[order[before + counts[order] / 2 <= len(test) / 2]] = True
    if is_public.all() or not is_public.any():
        is_public[order[0]] = not is_public[order[0]]
    return is_public[group_of]


@dataclass
class Scorer:
    """Answers questions about the public half, as many as a method may ask, and logs them.

    Attributes:
        test: the test split, with its truth.
        public: (n,) bool, the public half.
        queries: how many questions are answered.
        about: written with every question: task, seed, method.
        asked: how many were answered; one with wrong predictions counts.
    """

    test: Split
    public: np.ndarray
    queries: int
    about: dict
    asked: int = 0

    def answer(self, given: list) -> dict:
        """Returns the message that answers a question, `given` (n, K) as lists."""
        if self.asked >= self.queries:
            spent = f"all {self.queries} questions about the test are spent"
            self._log(self.asked + 1, None, spent)
            return {"spent": spent}
        self.asked += 1
        try:
            probs = check_predictions(given, self.test)
        except (TypeError, ValueError) as error:
            self._log(self.asked, None, describe(error))
            return {"error": describe(error)}
        right = correct(probs, self.test.hard_label)[0]
        accuracy = float(right[self.public].mean())
        self._log(self.asked, accuracy)
        return {"accuracy": accuracy}

    def _log(self, query: int, accuracy: float | None, refused: str = "") -> None:
        line = {"time": time.time(), **self.about, "query": query, "accuracy": accuracy}
        if refused:
            line["refused"] = refused
        path = log_file()
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")


def log_file() -> Path:
    """Returns the file that all questions are logged in, a line of JSON each."""
    return home() / "comparisons" / "queries.jsonl"


def check_limits(queries: int | None, time_limit: float | None) -> None:
    """Refuses a number of questions that is none, and a time limit that nothing could hold to.

    Raises:
        ValueError: says what is expected.
    """
    if queries is not None:
        check_count(queries, "queries", low=0)
        if queries > MOST_QUERIES:
            raise ValueError(f"queries = {queries}; expected at most {MOST_QUERIES}")
    if time_limit is None:
        return
    check_number(time_limit, "time_limit", low=LEAST_SECONDS)
    if queries is None:
        raise ValueError(
            f"time_limit = {time_limit}, and methods run in this process, which none can end; "
            f"expected queries too (0 answers none): methods then have processes of their own"
        )


def check_sealed(strong: str, methods: Iterable[Method] = (), tasks: Iterable[Task] = ()) -> None:
    """Refuses what a sealed comparison cannot run; trains nothing.

    That is a strong model that only the open store has, methods, losses and tasks that a cell of a
    notebook defines, and a test of one group.

    Raises:
        ValueError: says what is expected.
    """
    if resolve(strong).fit:
        raise ValueError(
            f"strong is {strong}, a fit of this store, which a sealed method cannot read; expected "
            f"a model by its own name"
        )
    for method in methods:
        function = LOSSES[method.loss] if method.loss else method.function
        _need_file(function, f"method {method.name!r}")
    for task in tasks:
        _need_file(task.spec.examples, f"task {task.name!r}")
        public_half(task.test)


def _need_file(function: Callable, what: str) -> None:
    """Refuses a function of a notebook's cell or a script, which no other process has."""
    if getattr(function, "__module__", "") == "__main__":
        raise ValueError(
            f"{what} is defined in this session alone, and a sealed method runs in a process of "
            f"its own; put it into a file, and name that as a plug-in"
        )


@contextlib.contextmanager
def sealed_runner(
    queries: int, time_limit: float | None = None
) -> Iterator[Callable[..., MethodRun]]:
    """Gives a runner of methods in processes of their own, see `run_sealed`; ends them at the end.

    Args:
        queries: how many questions each run of a method may ask.
        time_limit: seconds that each run may take; None sets no limit.
    """

    def run(
        method: Method, labels: SoftLabels, task: Task, strong: str, seed: int, fit_args: dict
    ) -> MethodRun:
        about = {"task": task.name, "seed": seed, "method": method.name, "labels": labels.source}
        scorer = Scorer(task.test, public_half(task.test), queries, about)
        job = {
            "method": method.name,
            "labels": labels_to_json(labels),
            "task": task_to_json(task),
            "strong": strong,
            "seed": seed,
            "fit_args": fit_args,
        }
        return run_sealed(job, scorer, processes, time_limit)

    with MethodProcesses(_environment()) as processes:
        yield run


def run_sealed(
    job: dict, scorer: Scorer, processes: MethodProcesses, time_limit: float | None = None
) -> MethodRun:
    """Runs a method in a process without the truth.

    Args:
        job: what `method_process` reads: method, labels, task, strong, seed and fit_args.
        scorer: answers its questions.
        processes: start the method's.
        time_limit: seconds after which the process is ended; None lets it run.
    Returns:
        Its predictions; or why it failed: it raised, sent no predictions of these texts, ended, or
        took too long.
    """
    seconds = 0.0
    with tempfile.TemporaryFile("w+", errors="replace") as printed:
        try:
            with processes.connected(printed) as process:
                deadline = math.inf if time_limit is None else time.monotonic() + time_limit
                answer = _converse(process.connection, job, scorer, deadline)
                seconds = process.seconds
        except TimeoutError:
            why = f"ended after time_limit = {time_limit:g} seconds, without predictions"
            return MethodRun(None, cast(float, time_limit), scorer.asked, why)
        except RuntimeError as error:
            return MethodRun(None, seconds, scorer.asked, str(error))
        if answer is None:
            answer = {
                "error": f"the method's process ended with code {process.code} before it gave "
                f"predictions{last_line(printed)}"
            }
    seconds = answer.get("seconds", seconds) + answer.get("saved", 0.0)
    if "error" in answer:
        return MethodRun(None, seconds, scorer.asked, answer["error"])
    return MethodRun(np.array(answer["probs"]), seconds, scorer.asked)


def _converse(connection: socket.socket, job: dict, scorer: Scorer, deadline: float) -> dict | None:
    """Sends the job, answers questions, and returns the last message; None where none came.

    Raises:
        TimeoutError: the deadline has passed, in seconds of the monotonic clock.
    """
    try:
        with connection.makefile("rw", encoding="utf-8") as lines:
            _wait_until(connection, deadline)
            _send(lines, job)
            for line in iter(lines.readline, ""):
                message = json.loads(line)
                if "ask" not in message:
                    return _checked(message, scorer.test)
                _send(lines, scorer.answer(message["ask"]))
                _wait_until(connection, deadline)
    except TimeoutError:
        raise
    except OSError:  # the process is gone
        return None
    except (ValueError, TypeError, AttributeError, KeyError) as error:
        return {"error": f"sent no answer that can be read: {error}"}
    return None


def _wait_until(connection: socket.socket, deadline: float) -> None:
    """Lets the next message of a connection come until the deadline, and no later."""
    if deadline < math.inf:
        connection.settimeout(max(deadline - time.monotonic(), 0.001))


def _send(lines: IO[str], message: dict) -> None:
    lines.write(json.dumps(message) + "\n")
    lines.flush()


def _checked(message: dict, test: Split) -> dict:
    """Returns the last message; in the place of wrong predictions what is wrong with them."""
    if "error" in message:
        return message
    try:
        check_predictions(message["probs"], test)
    except (TypeError, ValueError) as error:
        return message | {"error": describe(error)}
    return message


def _environment() -> dict[str, str]:
    """Returns the variables of a method's process: a store of its own, and no data sets' folder.

    Activations and tokens are shared with the open store; fits, which hold the truth, are not.
    """
    store = home() / "sealed"
    store.mkdir(parents=True, exist_ok=True)
    for name in _SHARED:
        (home() / name).mkdir(parents=True, exist_ok=True)
        if not (store / name).exists():
            with contextlib.suppress(FileExistsError):  # another process made it meanwhile
                (store / name).symlink_to(Path("..", name), target_is_directory=True)
    environment = {name: value for name, value in os.environ.items() if name != "W2S_DATA"}
    files = [str(plugin.path) for plugin in plugins.imported()]
    return environment | {"W2S_HOME": str(store), plugins.VARIABLE: ",".join(files)}
