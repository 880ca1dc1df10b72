"""Runs methods on tasks whose truth is sealed: `python -m w2s_nb.comparisons.method_process`.

`processes.MethodProcesses` starts it. It imports the kit once, and forks a process for each method,
which talks to `scorer.run_sealed` in lines of JSON over a socket of its own. The truth of the
student half, validation and test is in neither of them, and `load_task` does not give it.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import sys
import time
from typing import IO

import numpy as np

from ..common.progress import collect_warnings
from ..common.registry import METHODS
from ..data import sealed
from .blind import labels_from_json, task_from_json
from .methods import Budget, QueriesSpent, check_predictions, describe, method_of

_LOOK = 0.02  # seconds between two looks at a process that runs


def serve(descriptor: int) -> None:
    """Forks a process for each job that comes over a socket, and answers with its exit code.

    A job is one byte with two descriptors: the socket that the method talks over, and the file for
    what it prints as an error. Any byte that comes while it runs ends it, and so does the socket's
    end. A first line says that everything is imported.

    Args:
        descriptor: number of the inherited socket.
    """
    list(METHODS)  # imports the plug-ins
    with socket.socket(fileno=descriptor) as control:
        control.sendall(b"ready\n")
        while True:
            received, inherited, _, _ = socket.recv_fds(control, 16, 2)
            if not received:
                return
            if not inherited:  # a wish to end a process that had ended by itself
                continue
            process = os.fork()
            if process == 0:
                control.close()
                _run_forked(*inherited)
            for number in inherited:
                os.close(number)
            control.sendall(b"%d\n" % _wait(process, control))


def _run_forked(connection: int, errors: int) -> None:
    """Runs a job in a forked process, and ends the process."""
    code = 1
    try:
        os.setsid()  # so that it is ended with all that it has started
        os.dup2(errors, sys.stderr.fileno())
        main(connection)
        code = 0
    except BaseException as error:  # nothing may return into the loop that forks
        print(describe(error), file=sys.stderr)
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _wait(process: int, control: socket.socket) -> int:
    """Waits for a process, ends it where `control` has anything to read, returns its exit code."""
    while True:
        ended, status = os.waitpid(process, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        if select.select([control], [], [], _LOOK)[0]:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process, signal.SIGKILL)
            return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


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
    serve(int(sys.argv[1]))
