"""Without the extra [chess]: the kit works, and a chess task says what is missing."""

import subprocess
import sys

import pytest

# must run before any import of the kit
REFUSE_CHESS = """
import sys

class RefuseChess:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "chess":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, RefuseChess())
"""
# `importlib.util.find_spec` gives None for a package that is not installed.
HIDE_CHESS = """
import importlib.util
find_spec = importlib.util.find_spec
importlib.util.find_spec = lambda name, *args: None if name == "chess" else find_spec(name, *args)
"""


def run_without_chess(code):
    done = subprocess.run(
        [sys.executable, "-c", REFUSE_CHESS + HIDE_CHESS + code], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def test_other_tasks_load_and_are_listed():
    out = run_without_chess(
        "import w2s_nb as w2s\n"
        "print(len(w2s.load_task('movie_snippets', n_train=8, n_val=4, n_test=8).test))\n"
        "print(*w2s.TASKS)\n"
    )
    n, names = out.splitlines()
    assert n == "8"
    assert "boolq" in names.split() and "lichess_puzzles" not in names.split()


@pytest.mark.parametrize("room", ["plots", "exercises", "widgets"])
def test_rooms_that_know_chess_import_without_it(room):
    run_without_chess(f"import w2s_nb as w2s\ndir(w2s.{room})\n")


def test_the_error_says_in_one_line_what_to_install():
    out = run_without_chess(
        "import w2s_nb as w2s\n"
        "try:\n    w2s.TASKS['lichess_puzzles']\n"
        "except ImportError as error:\n    print(error)\n"
    )
    (line,) = out.splitlines()
    assert "'lichess_puzzles' needs the package 'chess'" in line
    assert "pip install 'w2s_nb[chess]'" in line
