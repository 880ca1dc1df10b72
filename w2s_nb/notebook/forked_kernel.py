"""Lets what runs notebooks (papermill, nbclient, nbval) have its kernels from a fork server.

It imports nothing heavy: a process that only runs papermill stays small.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
from importlib.metadata import EntryPoint
from typing import Any, ClassVar

from jupyter_client.connect import KernelConnectionInfo
from jupyter_client.provisioning import KernelProvisionerFactory, LocalProvisioner

from .fork_server import order_kernel, receive_pid

_NAME = "w2s-forked"
_STREAMS = ("stdin", "stdout", "stderr")


def use(server: socket.socket) -> None:
    """Has every kernel that this process starts forked by a server.

    Args:
        server: `ForkServer.socket`.
    """
    factory = KernelProvisionerFactory.instance()
    where = f"{__name__}:{ForkedKernel.__name__}"
    factory.provisioners[_NAME] = EntryPoint(_NAME, where, factory.GROUP_NAME)
    factory.default_provisioner_name = _NAME
    ForkedKernel.server = server


def kill_all() -> None:
    """Kills the kernels that servers forked for this process."""
    for process in list(_Process.running):
        with contextlib.suppress(OSError):  # it has just ended
            process.lifeline.shutdown(socket.SHUT_RDWR)


class ForkedKernel(LocalProvisioner):
    """A kernel that a fork server starts; without a server that answers, a fresh process."""

    server: socket.socket | None = None

    async def launch_kernel(self, cmd: list[str], **kwargs: Any) -> KernelConnectionInfo:
        """Starts a kernel; arguments and result are those of jupyter_client's provisioners."""
        process = None if kwargs.get("independent") else self._order(cmd, kwargs)
        if process is None:
            return await super().launch_kernel(cmd, **kwargs)
        self.process = process  # type: ignore[assignment]  # has what is used of a Popen
        self.pid = self.pgid = process.pid
        self.cwd = kwargs.get("cwd") or os.getcwd()
        return self.connection_info

    def _order(self, cmd: list[str], kwargs: dict) -> _Process | None:
        """Has a kernel forked; returns None if no server answers, or a stream is to be a pipe."""
        streams = [_file_number(kwargs.get(name), number) for number, name in enumerate(_STREAMS)]
        numbers = [number for number in streams if number is not None]
        if self.server is None or len(numbers) < len(streams):
            return None
        cwd = str(kwargs.get("cwd") or os.getcwd())
        environment = dict(kwargs.get("env") or os.environ)
        with open(os.devnull) as nothing:
            if kwargs.get("stdin") is None:
                numbers[0] = nothing.fileno()  # a kernel reads nothing from a terminal
            try:
                return _Process(order_kernel(self.server, cmd, cwd, environment, numbers))
            except OSError:  # the server was killed
                return None


def _file_number(stream: object, default: int) -> int | None:
    """Returns the number of a file that is given as to `subprocess.Popen`; None of a pipe."""
    if stream is None:
        return default
    if isinstance(stream, int):
        return stream if stream >= 0 else None
    return stream.fileno()  # type: ignore[attr-defined]


class _Process:
    """A forked kernel with the methods of `subprocess.Popen` that provisioners use."""

    stdin = stdout = stderr = None
    running: ClassVar[set[_Process]] = set()

    def __init__(self, lifeline: socket.socket):
        self.lifeline = lifeline
        self.returncode: int | None = None
        self.running.add(self)
        try:
            self.pid = receive_pid(lifeline)
        except OSError:
            self._end(-signal.SIGKILL)
            raise

    def poll(self) -> int | None:
        """Returns the exit code, negative after a signal; None as long as it runs."""
        return self._read(socket.MSG_DONTWAIT)

    def wait(self) -> int | None:
        """Waits for the end and returns the exit code."""
        return self._read(0)

    def _read(self, flags: int) -> int | None:
        if self.returncode is None:
            try:
                answer = self.lifeline.recv(16, flags)
            except BlockingIOError:
                return None
            except OSError:
                answer = b""
            # Without an answer the server was killed, and a kernel ends when its parent has.
            self._end(int(answer) if answer else -signal.SIGKILL)
        return self.returncode

    def _end(self, code: int) -> None:
        self.returncode = code
        self.lifeline.close()
        self.running.discard(self)

    def send_signal(self, number: int) -> None:
        """Sends a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """Asks it to end."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Ends it."""
        self.send_signal(signal.SIGKILL)
