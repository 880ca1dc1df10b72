"""One notebook run from the command line as papermill runs it."""

import json
import resource
import subprocess
import sys
from pathlib import Path

import nbformat
import papermill
import papermill.cli
import pytest

from w2s_nb.__main__ import main, parse
from w2s_nb.notebook import execution, listing
from w2s_nb.notebook.parameters import _losses_of_the_kit

ROOT = Path(__file__).resolve().parents[2]
CODE = """import json, os, pathlib, sys
if mode == "raise":
    raise ValueError("no such thing\\nand more of it")
if mode == "die":
    os.write(2, b"out of everything\\n"), os.kill(os.getpid(), 9)
if mode == "exit":
    sys.exit(0)
print("said by a cell")
pathlib.Path("seen.json").write_text(json.dumps([n, x, name, mode]))"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    """Writes a notebook of no second, and goes to its folder; runs go below it."""
    kernel = {"name": "python3", "display_name": "p", "language": "python"}
    notebook = nbformat.v4.new_notebook(metadata={"kernelspec": kernel})
    notebook.cells = [
        nbformat.v4.new_code_cell(
            'n: int = 1\nx: float = 0.5\nname: str = "a"\nmode: str = "ok"  # what happens',
            metadata={"tags": ["parameters"]},
        ),
        nbformat.v4.new_code_cell(CODE),
    ]
    nbformat.write(notebook, tmp_path / "own.ipynb")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(execution, "runs_folder", lambda: tmp_path / "runs")
    return tmp_path


@pytest.fixture
def no_kernel(monkeypatch):
    def started(*arguments, **options):
        raise AssertionError("a kernel was started")

    monkeypatch.setattr(papermill, "execute_notebook", started)


def outputs(path: Path) -> str:
    return json.dumps(nbformat.read(path, 4))


def test_parameters_arrive_as_papermill_gives_them(own, capsys):
    (own / "some.yaml").write_text("n: 3\nname: from the file\n")
    given = ["-f", "some.yaml", "-y", "{n: 4, x: 2}", "-p", "n", "5", "-r", "name", "7"]
    assert main(["run", "own.ipynb", "out.ipynb", *given]) == 0
    assert json.loads((own / "seen.json").read_text()) == [5, 2, "7", "ok"]
    assert "said by a cell" in outputs(own / "out.ipynb")
    assert capsys.readouterr().out.strip().endswith("out.ipynb")


@pytest.mark.parametrize(
    "text", ["3", "-3", "1_000", "0.5", "1e-3", "nan", "True", "true", "None", "", " 7 ", "a b"]
)
def test_a_value_means_what_it_means_to_papermill(text):
    ours = execution.collect_parameters(named=[("x", text)])["x"]
    theirs = papermill.cli._resolve_type(text)
    assert repr(ours) == repr(theirs)


@pytest.fixture
def targets(monkeypatch):
    """Collects where notebooks would be written, and runs none."""
    written: list[str] = []
    monkeypatch.setattr(
        papermill, "execute_notebook", lambda path, target, **options: written.append(target)
    )
    return written


def test_the_output_may_stand_behind_the_options_and_hold_parameters(own, targets):
    options = parse(["run", "own.ipynb", "-p", "n", "5", "made_{n}.ipynb"])
    assert options["output"] == "made_{n}.ipynb" and options["given"]["named"] == [["n", "5"]]
    assert main(["run", "own.ipynb", "-p", "n", "5", "made_{n}.ipynb"]) == 0
    assert targets == [str(own / "made_5.ipynb")]


def test_without_an_output_each_choice_of_parameters_has_a_file_of_its_own(own, targets):
    for given in ([], ["-p", "n", "2"], ["-p", "n", "3"], ["-p", "n", "3"]):
        assert main(["run", "own.ipynb", *given]) == 0
    assert targets[0] == str(own / "runs" / "notebooks" / "own.ipynb")
    assert len(set(targets)) == 3 and targets[2] == targets[3]


def test_a_cell_that_raises_is_told_in_one_line_and_the_notebook_has_the_traceback(own, capfd):
    assert main(["run", "own.ipynb", "out.ipynb", "-p", "mode", "raise"]) == 1
    (line,) = capfd.readouterr().err.strip().split("\n")
    assert line.startswith("ValueError: no such thing (In [3], traceback in ")
    assert line.endswith("out.ipynb)")
    assert "Traceback (most recent call last)" in outputs(own / "out.ipynb")
    assert "and more of it" in outputs(own / "out.ipynb")


def test_a_dead_kernel_has_the_exit_code_that_papermill_gives_it(own, capfd):
    assert main(["run", "own.ipynb", "out.ipynb", "-p", "mode", "die"]) == 138
    (line,) = capfd.readouterr().err.strip().split("\n")
    assert line.startswith("the kernel died: out of everything (the cells before are in ")
    assert main(["run", "own.ipynb", "out.ipynb", "-p", "mode", "exit"]) == 0
    assert main(["run", "own.ipynb", "out.ipynb", "-k", "no_such_kernel"]) == 1
    assert "no_such_kernel" in capfd.readouterr().err.strip().split("\n")[-1]


def test_a_notebook_runs_in_the_folder_that_is_named(own):
    (own / "there").mkdir()
    assert main(["run", "own.ipynb", "out.ipynb", "--cwd", "there"]) == 0
    assert (own / "there" / "seen.json").is_file() and (own / "out.ipynb").is_file()


@pytest.mark.parametrize(
    "given, message",
    [
        (["own.ipynb", "-p", "m", "3"], "unknown parameter of own 'm'"),
        (["own.ipynb", "-p", "n", "many"], "n = 'many' is a str; own expects a int, such as 1"),
        (["own.ipynb", "-p", "name", "5"], "name = 5 is a int; own expects a str"),
        (["own.ipynb", "-p", "x", "nan"], "x = nan; expected a finite number"),
        (["own.ipynb", "-y", "n: [1"], "-y, line 1, column 6:"),
        (["own.ipynb", "-y", "seeds"], "-y is a str; expected parameters with values"),
        (["own.ipynb", "-f", "none.yaml"], "-f 'none.yaml' is no file"),
        (["own.ipynb", "n=3"], "output 'n=3' is no .ipynb; a parameter is given by -p NAME VALUE"),
        (["own.ipynb", "no/out.ipynb"], "there is no folder"),
        (["own.ipynb", "{m}.ipynb"], "has a brace; expected {name} of a parameter that is given"),
        (["own.ipynb", "--cwd", "no"], "cwd 'no' is no folder"),
        (["owm.ipynb"], "unknown notebook 'owm.ipynb'"),
        (["03_conf_loss", "-p", "seedz", "3"], "'seedz'. Near: seeds"),
        (["03_conf_loss", "-p", "task", "moovie_snippets"], "Near: movie_snippets"),
        (["03_conf_loss", "-p", "n_train", "61"], "n_train = 61; expected an even number from 2"),
        (["03_conf_loss", "-p", "method", "prob"], "unknown method 'prob'. Near: probe"),
        (["03_conf_loss", "-p", "losses", "xemt"], "unknown loss 'xemt'. Near: xent"),
        (["03_conf_loss", "-p", "strong", "gpt3"], "unknown model 'gpt3'. Near: gpt2"),
        (["03_conf_loss", "-p", "plugins", "my.py"], "plug-in 'my.py' is no Python file"),
        (["03_conf_loss", "-p", "n_train", "60000"], "asked for"),
        (["08_reward_modelling", "-p", "task", "boolq"], "compares two: "),
        (["10_chess", "-p", "method", "probe"], "method 'probe' learns classes"),
    ],
)
def test_what_is_wrong_is_said_in_one_line_before_a_kernel_starts(
    own, no_kernel, capsys, given, message
):
    assert main(["run", *given]) == 2
    (line,) = capsys.readouterr().err.strip().split("\n")
    assert message in line
    assert not (own / "runs").exists()


def test_a_refusal_takes_a_second():
    command = [sys.executable, "-m", "w2s_nb", "run", "03_conf_loss", "-p", "losses", "xemt"]
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before < 1.5  # about .4 s


def test_the_losses_of_the_kit_are_known_without_importing_them():
    from w2s_nb.common.registry import LOSSES

    of_the_kit = {n for n, f in LOSSES.items() if f.__module__.startswith("w2s_nb.")}
    assert set(_losses_of_the_kit()) == of_the_kit


def test_the_parameters_of_a_notebook_are_shown(capsys):
    assert main(["run", "03_conf_loss", "--help-notebook"]) == 0
    assert "seeds: int = 1  # how many;" in capsys.readouterr().out


@pytest.mark.parametrize("kind", listing.KINDS)
def test_everything_that_can_be_named_is_listed(kind, capsys, tmp_path, registries):
    plugin = tmp_path / "my.py"
    plugin.write_text(
        "from w2s_nb.common.registry import MODELS\n"
        "import dataclasses, w2s_nb as w2s\n"
        "@w2s.register_task('listed_task', lambda: {'all': []}, max_len=8)\n"
        "def listed_task(row):\n    'Is it listed?'\n"
        "@w2s.register_loss\n"
        "def listed_loss(logits, targets, *, progress, rate=0.5):\n    'A loss.'\n"
        "@w2s.register_method\n"
        "def listed_method(labels, task, strong, seed, budget, *, share=0.5):\n    'A method.'\n"
        "MODELS.register('listed_model', dataclasses.replace(MODELS['gpt2'], n_layers=3))\n"
    )
    assert main(["list", kind, "--plugins", str(plugin)]) == 0
    printed = capsys.readouterr().out.strip().split("\n")
    found = {line.split()[0]: line for line in printed}
    expected = {
        "tasks": ("boolq", "mate_in_one", "listed_task"),
        "models": ("gpt2", "chess-3M", "listed_model"),
        "losses": ("xent", "confidence", "listed_loss"),
        "methods": ("naive", "confident", "listed_method"),
        "recipes": ("openai", "eleuther-w2s"),
    }[kind]
    assert set(expected) <= set(found) and len(found) == len(printed)
    about_last = {
        "tasks": "Is it listed?",
        "models": "3 layers",
        "losses": "rate=0.5",
        "methods": "share=0.5",
        "recipes": "supervisor: lr=0.0005; epochs=3",
    }
    assert about_last[kind] in found[expected[-1]]


def test_a_question_of_two_lines_is_listed_whole():
    (line,) = [line for line in listing.lines("tasks") if line.startswith("snippet_preferences")]
    assert line.endswith("By at least 1 of 8 points; `snippet_preferences@2` asks for 2.")


def test_the_number_of_classes_is_listed_where_it_is_not_two(three):
    lines = [" ".join(line.split()) for line in listing.lines("tasks")]
    assert "three classify 3 here Which of three words stands last?" in lines


def test_an_encoder_is_listed_with_where_it_comes_from():
    lines = {line.split()[0]: " ".join(line.split()[2:]) for line in listing.lines("models")}
    assert lines["dino-vitb8"] == "12 blocks, of images hub: facebook/dino-vitb8"
    assert lines["efficientnet-lite0"] == "16 blocks, of images package index"
    assert lines["SmolLM2-135M"] == "30 layers package index"
    assert lines["alexnet"] == "7 blocks, of images the file alexnet-owt-7be5be79.pth"


def test_a_task_of_images_is_listed_with_its_question_and_where_it_comes_from():
    lines = [" ".join(line.split()) for line in listing.lines("tasks")]
    assert "mnist_5k classify 10 images here Which digit is on the image?" in lines
    assert "cifar10 classify 10 images hub, or files What is on the image?" in lines


def test_a_list_with_a_wrong_plug_in_says_so_in_one_line(capsys, tmp_path):
    (tmp_path / "my.py").write_text("1 / 0")
    assert main(["list", "losses", "--plugins", str(tmp_path / "my.py")]) == 2
    assert capsys.readouterr().err == (
        "PluginError: plug-in my.py, line 1: ZeroDivisionError: division by zero\n"
    )
