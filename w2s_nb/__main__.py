"""`python -m w2s_nb assets` fetches the embedded model and texts; `python -m w2s_nb demo` runs the main result;
`python -m w2s_nb mates N` prints N puzzles of mate_in_one."""
from __future__ import annotations

import argparse
import json
import math
import os
import time
from pathlib import Path

from . import config

DEMO = ("00_tour", "03_conf_loss")


def assets() -> None:
    """Fetches and checks every embedded asset and converts the model, saying where they are."""
    from .assets import ASSETS, fetch
    from .models import folder, resolve
    from .models.names import EMBEDDED

    for name in ASSETS:
        fetch(name)
    print(f"embedded model: {folder(resolve(EMBEDDED))}\nembedded texts: {config.cache() / 'assets'}")


def mates(n: int) -> None:
    """Prints n puzzles of `games.mate_in_one` as JSON; all cores play."""
    from .games import mate_in_one

    print(json.dumps(mate_in_one(n, processes=None)))


def demo() -> None:
    """Executes the demo's notebooks with their defaults by papermill, and prints the last one's table."""
    import papermill

    notebooks = Path(__file__).resolve().parents[1] / "notebooks"
    out = config.home().parent / "demo"
    out.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("PLOTLY_RENDERER", "plotly_mimetype+notebook_connected")  # no wait for a browser
    started = time.perf_counter()
    for name in DEMO:
        print(f"{name}: running")
        papermill.execute_notebook(notebooks / f"{name}.ipynb", out / f"{name}.ipynb", kernel_name="python3",
                                   parameters={"results": str(out / f"{name}.json")}, cwd=out)
    show(json.loads((out / f"{DEMO[-1]}.json").read_text()))
    print(f"\n{time.perf_counter() - started:.0f} s. Executed notebooks:")
    print("\n".join(f"  {out / name}.ipynb" for name in DEMO))


def show(result: dict) -> None:
    """Prints a notebook's result: accuracy and PGR of each arm with their 95 % intervals."""
    def cell(row: dict, name: str) -> str:
        if row.get(name) is None:
            return ""
        low, high = row[f"{name}_low"], row[f"{name}_high"]  # null where the interval is unbounded
        return f"{row[name]:.3f} [{-math.inf if low is None else low:.3f}, {math.inf if high is None else high:.3f}]"

    p, rows = result["parameters"], result["table"]
    print(f"\n{p['task']}, supervisor {p['weak']}, student {p['strong']}, method {p['method']}: {p['n_train']} "
          f"training examples a half, {rows[0]['n_test']} test examples, {rows[0]['seeds']} seed(s);\n"
          f"value [95 % interval]\n")
    print(f"{'arm':<22}{'test accuracy':<24}{'PGR':<26}{'agreement with supervisor'}")
    for row in rows:
        print(f"{row['arm']:<22}{cell(row, 'accuracy'):<24}{cell(row, 'pgr'):<26}{cell(row, 'agreement')}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m w2s_nb", description=__doc__)
    parser.add_argument("command", choices=["assets", "demo", "mates"])
    parser.add_argument("n", type=int, nargs="?", default=100, help="of mates: how many (%(default)s)")
    given = parser.parse_args()
    {"assets": assets, "demo": demo, "mates": lambda: mates(given.n)}[given.command]()
