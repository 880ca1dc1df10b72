"""Measures what it costs to start: importing the kit, its first use, and `--help`."""

from __future__ import annotations

import sys

from .measure import Ratio, ratio, run

ROUNDS = 5
COMMANDS = {
    "torch": ["-c", "import torch"],
    "import": ["-c", "import w2s_nb"],
    "help": ["-m", "w2s_nb", "--help"],
    "fit": ["-c", "import w2s_nb; w2s_nb.fit"],
}


def measure() -> list[Ratio]:
    """Measures processes that do nothing else, in turn; each over one that imports torch."""
    seconds: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for command in COMMANDS.values():
        run([sys.executable, *command])  # writes what Python keeps of its modules
    for _ in range(ROUNDS):
        for name, command in COMMANDS.items():
            seconds[name].append(run([sys.executable, *command]))
    what = {
        "import": "`import w2s_nb`",
        "help": "`python -m w2s_nb --help`",
        "fit": "`import w2s_nb; w2s_nb.fit`, which imports all that trains",
    }
    return [
        ratio(
            f"startup.{name}",
            f"{sentence} over `import torch`, processes from start to end, CPU seconds",
            seconds[name],
            seconds["torch"],
            least=0.02,
            figures={"cpu_s": round(sorted(seconds[name])[ROUNDS // 2], 3)},
        )
        for name, sentence in what.items()
    ]
