"""Without the extra [code]: the kit works, and the task says what is missing."""

import subprocess
import sys

WITHOUT = """
import importlib.util, sys
find_spec = importlib.util.find_spec
importlib.util.find_spec = lambda name, *args: None if name == "bashlex" else find_spec(name, *args)
sys.modules["bashlex"] = None
import w2s_nb as w2s
"""


def run_without_bashlex(code):
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT + code], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def test_other_tasks_are_listed_and_the_error_says_in_one_line_what_to_install():
    out = run_without_bashlex(
        "names = list(w2s.TASKS)\n"
        "print('boolq' in names, 'shell_safety' in names)\n"
        "try:\n    w2s.TASKS['shell_safety']\n"
        "except ImportError as error:\n    print(error)\n"
        "from w2s_nb.code_safety import tree\n"
        "try:\n    w2s.code_safety.run_script('ls', tree.Tree(), '/')\n"
        "except ImportError as error:\n    print(error)\n"
    )
    listed, of_task, of_script = out.splitlines()
    assert listed == "True False"
    assert "needs the package 'bashlex'" in of_task and "pip install 'w2s_nb[code]'" in of_task
    assert "needs the package 'bashlex'" in of_script and "pip install" in of_script
