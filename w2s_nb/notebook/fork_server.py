"""Forks kernels from one process that has imported what notebooks need, which takes seconds.

A kernel starts in a process of its own, and what happens in it happens to no other. The server has
one thread, holds no lock, has asked for no GPU and read no registry when it forks. Where a fork
would not be what a fresh process is, the kernel is started afresh: if the kit's files have changed
since the server imported them, or if the kernel is not this Python's.

Run as a script, this file is the server. It ends with the process that started it.
"""

from __future__ import annotations

import builtins
import contextlib
import gc
import importlib
import importlib.machinery
import json
import logging
import os
import select
import signal
import socket
import subprocess
import sys
import traceback
from collections.abc import Iterable, Iterator
from pathlib import Path

import psutil

SWITCH = "W2S_FORK"
_KIT = Path(__file__).resolve().parents[1]
# What notebooks import before their first fit, and kernels before their first cell. None of them
# may leave a thread behind or ask for a device; nor may `_prepare`.
_IMPORTED = (
    "ipykernel.kernelapp",
    "ipykernel.ipkernel",
    "datasets",
    "nbformat",
    "plotly.graph_objects",
    "pyarrow.dataset",
    "scipy.stats",
    "transformers.models.auto.modeling_auto",
    "transformers.models.auto.tokenization_auto",
    "transformers.models.llama.modeling_llama",
    "w2s_nb.experiments.label_sets",
    "w2s_nb.inputs.features",
    "w2s_nb.notebook.exercises",
    "w2s_nb.notebook.setup",
    "w2s_nb.plots",
    "w2s_nb.published.register",
)
_READY_FOR_A_FORK = ("jemalloc_bg_thd",)  # pyarrow's allocator has handlers for forks
_HEADER = 8  # bytes that give the length of an order


def is_supported() -> bool:
    """Tells whether kernels can be forked here: on Linux, unless `W2S_FORK` is 0.

    On macOS system libraries do not survive a fork; Windows has none.
    """
    return sys.platform == "linux" and os.environ.get(SWITCH) != "0"


class ForkServer:
    """A running fork server, from the side of the process that started it.

    Attributes:
        process: the server.
        socket: what orders are sent on. A process that inherits it may send some too.
    """

    def __init__(self, environment: dict[str, str]):
        """Starts a server.

        Args:
            environment: its variables, which decide what imports do; each kernel has its own.
        """
        self.socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, "-P", __file__, str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                env=environment | {"W2S_PLUGINS": ""},
                start_new_session=True,  # Ctrl-C is for the process that started it
            )

    def close(self) -> None:
        """Ends the server and every kernel of it."""
        self.socket.close()
        kill_tree(self.process.pid)
        self.process.wait()


def kill_tree(pid: int) -> None:
    """Kills a process and all that it started, where they still run."""
    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        descendants = process.children(recursive=True)
        for each in (process, *descendants):  # it first, so that it starts no more
            with contextlib.suppress(psutil.NoSuchProcess):
                each.kill()


def order_kernel(
    server: socket.socket, argv: list[str], cwd: str, environment: dict[str, str], files: list[int]
) -> socket.socket:
    """Orders a kernel from a server.

    Args:
        server: `ForkServer.socket`.
        argv: the command that would start it.
        cwd: its folder.
        environment: its variables.
        files: numbers of its standard input, output and error.
    Returns:
        its lifeline, through which `receive_pid` and later the exit code as a text come; the kernel
        is killed when this end is closed.
    Raises:
        OSError: the server is gone.
    """
    ours, theirs = socket.socketpair()
    with theirs:
        socket.send_fds(server, [b"k"], [theirs.fileno()])
    order = json.dumps({"argv": argv, "cwd": cwd, "environment": environment}).encode()
    socket.send_fds(ours, [len(order).to_bytes(_HEADER, "big")], files)
    ours.sendall(order)
    return ours


def receive_pid(lifeline: socket.socket) -> int:
    """Waits for the process id of a kernel that was ordered.

    Raises:
        OSError: the server is gone.
    """
    answer = lifeline.recv(_HEADER, socket.MSG_WAITALL)
    if len(answer) < _HEADER:
        raise ConnectionResetError("the fork server is gone")
    return int.from_bytes(answer, "big")


class _Kernels:
    """The kernels of a server, by their lifelines."""

    def __init__(self, orders: socket.socket, kit: dict):
        self.orders = orders
        self.kit = kit
        self.owner = os.getppid()
        self.can_fork = not _threads_that_outlive_a_fork()
        self.waiting: list[socket.socket] = []  # lifelines on which no order has come yet
        self.running: dict[socket.socket, int] = {}
        self.killed: set[socket.socket] = set()
        self.ended, self._end_of_child = socket.socketpair()  # has a byte when a kernel has ended
        for end in (self.ended, self._end_of_child):
            end.setblocking(False)

    def serve(self) -> None:
        """Forks kernels until the process that started this one is gone."""
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self._end_of_child.fileno(), warn_on_full_buffer=False)
        while os.getppid() == self.owner:
            open_ones = {self.orders, self.ended, *self.waiting, *self.running} - self.killed
            ready, _, _ = select.select(open_ones, [], [], 1.0)
            if self.ended in ready:
                self.ended.recv(4096)
            self._tell_of_ends()
            for lifeline in self.running.keys() & set(ready):  # nobody wants these any more
                kill_tree(self.running[lifeline])
                self.killed.add(lifeline)
            for lifeline in [each for each in self.waiting if each in ready]:
                self.waiting.remove(lifeline)
                self._start(lifeline)
            if self.orders in ready:
                _, files, _, _ = socket.recv_fds(self.orders, 1, 1)
                if not files:
                    return
                self.waiting.append(socket.socket(fileno=files[0]))

    def _tell_of_ends(self) -> None:
        """Sends the exit codes of kernels that have ended, negative after a signal."""
        for lifeline, pid in list(self.running.items()):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                del self.running[lifeline]
                self.killed.discard(lifeline)
                code = os.waitstatus_to_exitcode(status)
                with contextlib.suppress(OSError):
                    lifeline.sendall(str(code).encode())
                lifeline.close()

    def _start(self, lifeline: socket.socket) -> None:
        """Reads an order and forks its kernel."""
        header, files, _, _ = socket.recv_fds(lifeline, _HEADER, 3, socket.MSG_WAITALL)
        length = int.from_bytes(header, "big")
        content = lifeline.recv(length, socket.MSG_WAITALL)
        if len(content) == length > 0:
            pid = os.fork()
            if pid == 0:
                self._become_kernel(json.loads(content), files)
            self.running[lifeline] = pid
            with contextlib.suppress(OSError):
                lifeline.sendall(pid.to_bytes(_HEADER, "big"))
        else:
            lifeline.close()
        for file in files:
            os.close(file)

    def _become_kernel(self, order: dict, files: list[int]) -> None:
        """Makes this process, which has just been forked, the kernel of an order; never returns."""
        try:
            os.setsid()  # what interrupts the kernel reaches what it starts, and nothing else
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            lifelines = [*self.waiting, *self.running]
            for end in (self.orders, self.ended, self._end_of_child, *lifelines):
                end.close()
            for number, file in enumerate(files):
                os.dup2(file, number)
                os.close(file)
            os.chdir(order["cwd"])
            os.environ.clear()
            os.environ.update(order["environment"])
            os.environ["JPY_PARENT_PID"] = str(os.getppid())
            arguments = _arguments_of_ipykernel(order["argv"])
            if arguments is None or not self._is_as_fresh():
                os.execvp(order["argv"][0], order["argv"])
            _run_kernel(arguments)
        except SystemExit as end:
            _exit(end.code if isinstance(end.code, int) else int(end.code is not None))
        except BaseException:
            traceback.print_exc(file=sys.__stderr__)
            _exit(1)
        _exit(0)

    def _is_as_fresh(self) -> bool:
        """Tells whether a fresh process would import the same files and could use its GPUs."""
        found = importlib.machinery.PathFinder.find_spec("w2s_nb")
        imported = sys.modules.get("w2s_nb")
        places = {str(each.origin) for each in (found, imported and imported.__spec__) if each}
        same_kit = {os.path.realpath(place) for place in places} == {str(_KIT / "__init__.py")}
        torch = sys.modules.get("torch")
        asked_for_gpus = torch is not None and torch.cuda._is_in_bad_fork()
        return self.can_fork and same_kit and self.kit == _files_of_kit() and not asked_for_gpus


def _threads_that_outlive_a_fork() -> list[str]:
    """Lists the threads of this process that a library neither ends before a fork nor has ready
    for it; a lock that such a thread holds would stay locked in the child.
    """
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    threads = [path for path in Path("/proc/self/task").iterdir() if path.name != str(os.getpid())]
    names = [(path / "comm").read_text().strip() for path in threads]
    return [name for name in names if name not in _READY_FOR_A_FORK]


def _files_of_kit() -> dict[str, tuple[int, int]]:
    """Returns {path: (time of change, bytes)} of the kit's source files."""
    files = {}
    for path in _KIT.rglob("*.py"):
        with contextlib.suppress(OSError):
            found = path.stat()
            files[str(path)] = (found.st_mtime_ns, found.st_size)
    return files


def _arguments_of_ipykernel(argv: list[str]) -> list[str] | None:
    """Returns the arguments of this Python's ipykernel in a command; None if it starts another.

    >>> _arguments_of_ipykernel([sys.executable, "-m", "ipykernel_launcher", "-f", "a.json"])
    ['-f', 'a.json']
    >>> _arguments_of_ipykernel(["R", "--slave"])
    """
    if _environment_of(argv[0]) != _environment_of(sys.executable):
        return None
    options = argv[1:]
    if options[:1] == ["-Xfrozen_modules=off"]:  # matters to debuggers alone
        options = options[1:]
    return options[2:] if options[:2] == ["-m", "ipykernel_launcher"] else None


def _environment_of(python: str) -> tuple[str, str]:
    """Returns the folder of a Python, which has a link there, and the file that it links to."""
    return os.path.realpath(os.path.dirname(python)), os.path.realpath(python)


def _run_kernel(arguments: list[str]) -> None:
    """Runs a kernel to its end, in a process that was forked from one that has imported it."""
    from ipykernel.kernelapp import IPKernelApp

    launcher = importlib.util.find_spec("ipykernel_launcher")
    sys.argv = [str(launcher and launcher.origin), *arguments]
    _seed_afresh()
    printed_to = sys.stderr
    app = IPKernelApp.instance(parent_handle=os.getppid())
    app.initialize(arguments)
    for logger in (logging.root, *logging.root.manager.loggerDict.values()):
        for handler in getattr(logger, "handlers", ()):
            if isinstance(handler, logging.StreamHandler) and handler.stream is printed_to:
                handler.setStream(sys.stderr)  # what libraries log is shown in the cell
    app.start()


def _seed_afresh() -> None:
    """Gives libraries the random state of a fresh process, which no two share; the module random
    does so by itself after a fork.
    """
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed()
    if "torch" in sys.modules:
        sys.modules["torch"].default_generator.seed()


def _exit(code: int) -> None:
    """Ends a forked process as a fresh one ends, but takes nothing apart that goes with it."""
    import atexit
    import threading

    with contextlib.suppress(Exception):
        threading._shutdown()  # type: ignore[attr-defined]  # waits for threads that are no daemons
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):
            stream.flush()
    os._exit(code)


def _import_all(names: Iterable[str]) -> None:
    """Imports modules, from where a kernel would."""
    # IPython lets a kernel import from its folder, before installed packages.
    installed = (i for i, path in enumerate(sys.path) if Path(path).name == "site-packages")
    sys.path.insert(next(installed, 0), "")
    for name in names:
        # A package that is missing or broken is met by the kernel that imports it.
        with contextlib.suppress(Exception):
            importlib.import_module(name)


@contextlib.contextmanager
def _as_in_a_kernel() -> Iterator[None]:
    """Lets a block see that it runs in a kernel, by which pandas and tqdm decide at their import
    how they show tables and bars.
    """
    from ipykernel.zmqshell import ZMQInteractiveShell
    from IPython.core.getipython import get_ipython
    from traitlets.config import Config

    shell = ZMQInteractiveShell.__new__(ZMQInteractiveShell)
    shell.config.IPKernelApp = Config()
    for each in ZMQInteractiveShell._walk_mro():
        each._instance = shell  # type: ignore[assignment]
    builtins.get_ipython = get_ipython  # type: ignore[attr-defined]
    try:
        yield
    finally:
        del builtins.get_ipython  # type: ignore[attr-defined]
        ZMQInteractiveShell.clear_instance()


def _prepare() -> None:
    """Does what every kernel would do anew, and what depends on code alone."""
    with contextlib.suppress(Exception):
        from plotly.graph_objects import Figure, Scatter

        from w2s_nb.inputs import tokens
        from w2s_nb.training import job

        job.code()  # reads the kit's sources
        tokens.code()
        Figure(Scatter(x=[0], y=[0])).to_plotly_json()
    gc.collect()
    gc.freeze()  # a kernel's collections leave these pages alone, which all kernels share


def main() -> None:
    """Serves orders on the socket whose number is the script's argument."""
    kit = _files_of_kit()  # before they are read
    try:
        with _as_in_a_kernel():
            _import_all(_IMPORTED)
            _prepare()
        is_ready = True
    except Exception:  # kernels are then started afresh
        traceback.print_exc()
        is_ready = False
    kernels = _Kernels(socket.socket(fileno=int(sys.argv[1])), kit)
    kernels.can_fork &= is_ready
    kernels.serve()
    for pid in kernels.running.values():
        kill_tree(pid)


if __name__ == "__main__":
    main()
