"""Plug-ins: files of a user's own tasks, losses and models."""

import os
import re
import sys
from pathlib import Path

import pytest

import w2s_nb as w2s
from tests.conftest import Script
from w2s_nb import losses
from w2s_nb.common import plugins
from w2s_nb.common.distributed import environment_for_workers
from w2s_nb.common.registry import LOSSES, TASKS, UnknownName
from w2s_nb.notebook.parameters import check

TASK = '''
import w2s_nb as w2s

@w2s.register_task("{name}", lambda: {{"all": []}}, max_len=16)
def mine(row):
    """Is it mine?"""
    yield w2s.Example((row["text"],), row["label"])
'''
LOSS = '''
import w2s_nb as w2s

SCALES = {{"both": {scale}}}

@w2s.register_loss
def {name}(logits, targets, *, progress):
    """Cross-entropy, scaled."""
    return SCALES["both"] * w2s.LOSSES["xent"](logits, targets, progress=progress)
'''


@pytest.fixture(autouse=True)
def no_variable(monkeypatch, registries):
    monkeypatch.delenv("W2S_PLUGINS", raising=False)


def test_a_file_named_in_the_environment_is_imported_before_names_are_checked(
    tmp_path, monkeypatch
):
    (tmp_path / "one.py").write_text(TASK.format(name="of_one"))
    (tmp_path / "two.py").write_text(LOSS.format(name="of_two", scale=2))
    with pytest.raises(UnknownName):
        TASKS["of_one"]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("W2S_PLUGINS", f"one.py, {tmp_path / 'two.py'}")
    assert TASKS["of_one"].about == "Is it mine?" and "of_two" in LOSSES
    assert list(TASKS).index("boolq") < list(TASKS).index("of_one"), "the kit's own come first"


def test_a_parameter_of_a_notebook_names_files_as_well(tmp_path):
    (tmp_path / "my.py").write_text(LOSS.format(name="of_a_parameter", scale=2))
    given = {"losses": "xent, of_a_parameter", "method": "probe"}
    with pytest.raises(UnknownName, match="unknown loss 'of_a_parameter'"):
        check("03_conf_loss", given)
    check("03_conf_loss", given | {"plugins": str(tmp_path / "my.py")})


def test_a_file_is_imported_once_and_again_after_a_change(tmp_path):
    path = tmp_path / "my.py"
    path.write_text("import builtins\nbuiltins.imports = getattr(builtins, 'imports', 0) + 1\n")
    (first,) = plugins.load([str(path)])
    (second,) = plugins.load([str(path)])
    assert first is second and __builtins__["imports"] == 1
    path.write_text(path.read_text() + "# a comment\n")
    (third,) = plugins.load([str(path)])
    assert __builtins__.pop("imports") == 2 and third.version == first.version


@pytest.mark.parametrize(
    "source, message",
    [
        ("import w2s_nb\nx = 1 / 0\n", "plug-in my.py, line 2: ZeroDivisionError: division by"),
        ("x = 1\ndef f(:\n", "plug-in my.py, line 2: SyntaxError: invalid syntax"),
        ("import a_package_of_nobody", "plug-in my.py, line 1: ModuleNotFoundError: No module"),
        ("import sys\nsys.exit(3)", "plug-in my.py, line 2: SystemExit: 3"),
        ("import w2s_nb as w2s\nw2s.TASKS['boolk']", "line 2: UnknownName: unknown task 'boolk'"),
        (TASK.format(name="boolq"), "task 'boolq' is one of the kit's own"),
        (LOSS.format(name="xent", scale=1), "loss 'xent' is one of the kit's own"),
        ("x = 'a\x00b'", "my.py"),
    ],
)
def test_a_file_that_cannot_be_imported_is_refused_with_its_line(tmp_path, source, message):
    (tmp_path / "my.py").write_text(source)
    before = set(sys.modules)
    with pytest.raises(plugins.PluginError) as error:
        plugins.load([str(tmp_path / "my.py")])
    assert message in str(error.value) and "\n" not in str(error.value)
    assert not {name for name in set(sys.modules) - before if name.startswith("w2s_plugin")}


def test_latin_1_is_refused_and_a_byte_order_mark_is_not(tmp_path):
    (tmp_path / "latin.py").write_bytes("x = 1\ny = 'é'".encode("latin-1"))
    with pytest.raises(plugins.PluginError, match=r"plug-in latin\.py, line 2: not UTF-8"):
        plugins.load([str(tmp_path / "latin.py")])
    (tmp_path / "bom.py").write_bytes("x = 'é'".encode("utf-8-sig"))
    assert plugins.load([str(tmp_path / "bom.py")])[0].module.x == "é"


@pytest.mark.parametrize("name", ["absent.py", "my.txt", ".", "my"])
def test_what_is_no_python_file_is_refused_with_the_folder(tmp_path, monkeypatch, name):
    (tmp_path / "my.txt").write_text("x = 1")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError) as error:
        plugins.load([name])
    assert f"plug-in {name!r} is no Python file" in str(error.value)
    assert str(tmp_path) in str(error.value)
    monkeypatch.setenv("W2S_PLUGINS", name)
    with pytest.raises(FileNotFoundError, match="is no Python file"):
        list(TASKS)


def test_a_path_with_a_comma_is_refused(tmp_path, monkeypatch):
    (tmp_path / "a,b").mkdir()
    (tmp_path / "a,b" / "my.py").write_text("x = 1")
    monkeypatch.chdir(tmp_path / "a,b")
    with pytest.raises(ValueError, match="has a comma, which separates files"):
        plugins.load(["my.py"])


def test_a_name_of_the_environment_that_failed_is_tried_again(tmp_path, monkeypatch):
    monkeypatch.setenv("W2S_PLUGINS", str(tmp_path / "late.py"))
    with pytest.raises(FileNotFoundError):
        list(TASKS)
    (tmp_path / "late.py").write_text(TASK.format(name="of_late"))
    assert "of_late" in TASKS


def test_two_folders_may_both_have_a_file_of_one_name(tmp_path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "my.py").write_text(f"here = {folder!r}")
    both = plugins.load([str(tmp_path / folder / "my.py") for folder in ("a", "b")])
    assert [plugin.module.here for plugin in both] == ["a", "b"]


def test_the_address_of_a_loss_has_all_that_its_file_does(tmp_path):
    path = tmp_path / "my.py"
    path.write_text(LOSS.format(name="addressed", scale=2))
    plugins.load([str(path)])
    first = losses.code("addressed")
    path.write_text("# A comment.\n" + path.read_text())
    plugins.load([str(path)])
    assert losses.code("addressed") == first, "a comment plays no part"
    of_the_kit = losses.code("xent")
    path.write_text(LOSS.format(name="addressed", scale=3))
    assert losses.code("addressed") == first, "what was imported still has scale 2"
    plugins.load([str(path)])
    assert losses.code("addressed") != first and losses.code("xent") == of_the_kit


def test_workers_elsewhere_find_the_files_by_their_full_paths(tmp_path, monkeypatch):
    (tmp_path / "my.py").write_text("x = 1")
    monkeypatch.chdir(tmp_path)
    assert "W2S_PLUGINS" not in environment_for_workers()
    monkeypatch.setenv("W2S_PLUGINS", "my.py")
    assert environment_for_workers()["W2S_PLUGINS"] == str(tmp_path / "my.py")


def test_threads_wait_until_a_file_is_imported_whole(tmp_path):
    (tmp_path / "slow.py").write_text("import time\ntime.sleep(1)\n" + TASK.format(name="of_slow"))
    script = Script(
        "import threading, w2s_nb as w2s\n"
        "seen = []\n"
        "look = lambda: seen.append('of_slow' in w2s.TASKS)\n"
        "threads = [threading.Thread(target=look) for _ in range(4)]\n"
        "[t.start() for t in threads], [t.join() for t in threads]\n"
        "assert seen == [True] * 4, seen",
        W2S_PLUGINS=str(tmp_path / "slow.py"),
    )
    assert script.wait() == 0, script.printed()


def test_a_fit_with_a_task_and_a_loss_of_a_file_is_found_again(tmp_path, tiny):
    rows = "[{'text': f'w{i % 7} w{i % 2} w{i}', 'label': i % 2} for i in range(60)]"
    (tmp_path / "my.py").write_text(
        TASK.format(name="fitted").replace("[]", rows) + LOSS.format(name="fitted_loss", scale=2)
    )
    plugins.load([os.fspath(tmp_path / "my.py")])
    task = w2s.load_task("fitted", n_train=12, n_val=4, n_test=12)
    arguments = dict(loss="fitted_loss", method="probe")
    first = w2s.fit(tiny, task.supervisor, **arguments)
    assert w2s.fit(tiny, task.supervisor, **arguments).address == first.address


def test_the_page_on_adding_shows_a_plug_in_that_works(tmp_path, monkeypatch):
    readme = (Path(__file__).resolve().parents[2] / "notebooks" / "pages" / "adding.md").read_text()
    (code,) = re.findall(r"```python\n(# my\.py\n.*?)```", readme, re.S)
    (alias,) = re.findall(r"`(w2s\.MODELS\.register\(.*?\))`", readme)
    code += f"\nfrom w2s_nb.models.names import ModelSpec\n{alias}\n"
    (tmp_path / "my.py").write_text(code)
    rows = "".join(f"a text {i},{i % 2}\n" for i in range(40))
    (tmp_path / "reviews.csv").write_text("text,label\n" + rows)
    monkeypatch.chdir(tmp_path)
    plugins.load(["my.py"])
    losses.check_loss("brier", {})
    assert w2s.load_task("reviews", n_train=8, n_val=4, n_test=4).test.arity == 1
    assert w2s.resolve("small@3").layers == 3
