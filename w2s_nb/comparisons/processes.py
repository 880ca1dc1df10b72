"""Starts processes for methods, forked from one that has imported the kit and holds no truth."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from typing import IO

_LAST_SECONDS = 10.0  # that a process may take to end after its last message


class MethodProcesses:
    """Starts one process per method; importing takes its seconds once, for the first.

    Args:
        environment: variables of these processes.
    """

    def __init__(self, environment: Mapping[str, str]):
        self._environment = dict(environment)
        self._parent: subprocess.Popen | None = None

    def __enter__(self) -> MethodProcesses:
        return self

    def __exit__(self, *error) -> None:
        self._stop()

    def _start(self) -> None:
        """Starts the process that the others are forked from, and waits until it has imported.

        Raises:
            RuntimeError: it ended; says what it printed last.
        """
        self._control, theirs = socket.socketpair()
        self._printed = tempfile.TemporaryFile("w+", errors="replace")
        self._answers = self._control.makefile("r")
        command = [sys.executable, "-m", f"{__package__}.method_process", str(theirs.fileno())]
        with theirs:
            self._parent = subprocess.Popen(
                command,
                pass_fds=[theirs.fileno()],
                env=self._environment,
                stderr=self._printed,
                start_new_session=True,  # Ctrl-C is this process's to handle
            )
        self._next_answer()

    def _stop(self) -> None:
        """Ends the process that the others are forked from, and them."""
        if self._parent is None:
            return
        self._answers.close()
        self._control.close()  # that it and what it runs end by
        try:
            self._parent.wait(timeout=_LAST_SECONDS)
        except subprocess.TimeoutExpired:
            self._parent.kill()
            self._parent.wait()
        self._printed.close()
        self._parent = None

    def _next_answer(self) -> str:
        """Returns the next line of the process that the others are forked from.

        Raises:
            TimeoutError: none came in time.
            RuntimeError: it ended; says what it printed last.
        """
        try:
            line = self._answers.readline()
        except ConnectionError:
            line = ""
        if line:
            return line.strip()
        said = last_line(self._printed)
        self._stop()
        raise RuntimeError(f"the process that methods are started from ended{said}")

    @contextlib.contextmanager
    def connected(self, printed: IO[str]) -> Iterator[MethodProcess]:
        """Gives a process that waits for its job; ends it where this is left by an error.

        Args:
            printed: a file for what it prints as errors.
        Raises:
            RuntimeError: the process that it would be forked from has ended.
        """
        if self._parent is None:
            self._start()
        ours, theirs = socket.socketpair()
        with ours:
            with theirs:
                try:
                    socket.send_fds(self._control, [b"j"], [theirs.fileno(), printed.fileno()])
                except OSError:
                    self._next_answer()
            process = MethodProcess(ours)
            try:
                yield process
            except BaseException:
                self._end()
                raise
            process.code = self._code()

    def _code(self) -> int:
        """Waits for the end of a process that said its last word, and returns its exit code."""
        self._control.settimeout(_LAST_SECONDS)
        try:
            return int(self._next_answer())
        except TimeoutError:
            return self._end()
        finally:
            if self._parent is not None:
                self._control.settimeout(None)

    def _end(self) -> int:
        """Ends the running process with all that it has started, and returns its exit code."""
        self._control.settimeout(None)
        self._answers = self._control.makefile("r")  # one that timed out is not read again
        self._control.sendall(b"k")
        return int(self._next_answer())


class MethodProcess:
    """A method's process.

    Attributes:
        connection: the socket that it talks over.
        code: its exit code, once it has ended.
    """

    def __init__(self, connection: socket.socket):
        self.connection = connection
        self.code = 0
        self._started = time.perf_counter()

    @property
    def seconds(self) -> float:
        """Returns the seconds since it was started."""
        return time.perf_counter() - self._started


def last_line(printed: IO[str]) -> str:
    """Returns what stands last in a file, behind a colon; "" where it is empty."""
    printed.seek(0)
    said = [line.strip() for line in printed if line.strip()]
    return f": {said[-1]:.200}" if said else ""
