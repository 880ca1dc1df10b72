"""Without the extra [vision]: the kit works, and a task of images says what is missing."""

import subprocess
import sys

HIDE_PILLOW = """
import importlib.util
find_spec = importlib.util.find_spec
importlib.util.find_spec = lambda name, *args: None if name == "PIL" else find_spec(name, *args)
"""


def test_other_tasks_are_listed_and_the_error_says_in_one_line_what_to_install():
    code = (
        "import w2s_nb as w2s\n"
        "print(*w2s.TASKS)\n"
        "try:\n    w2s.TASKS['mnist_5k']\n"
        "except ImportError as error:\n    print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", HIDE_PILLOW + code], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]
    names, error = done.stdout.splitlines()
    assert "boolq" in names.split() and "mnist_5k" not in names.split()
    assert "'mnist_5k' needs the package 'PIL'" in error
    assert "pip install 'w2s_nb[vision]'" in error
