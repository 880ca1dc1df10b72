"""A plug-in of pytest: nbval's kernels are forked from a process that has imported the kit.

Use it by `pytest -p tests.forked_notebooks --nbval-lax`. Each notebook has a fresh kernel as
before, in a process of its own, and needs 7 CPU seconds less.
"""

import os

from w2s_nb.notebook import fork_server, forked_kernel

_servers: list[fork_server.ForkServer] = []


def pytest_configure(config):
    """Starts a server in each process that runs notebooks."""
    only_distributes = getattr(config.option, "numprocesses", None) and not hasattr(
        config, "workerinput"
    )
    if fork_server.is_supported() and not only_distributes:
        _servers.append(fork_server.ForkServer(dict(os.environ)))
        forked_kernel.use(_servers[0].socket)


def pytest_unconfigure():
    """Ends the server, and its kernels."""
    for server in _servers:
        server.close()
