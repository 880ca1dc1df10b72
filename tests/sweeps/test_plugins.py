"""Sweeps with files of a user's own, and what is refused in a grid before anything starts."""

import json
import os

import pytest

from tests.sweeps.test_sweeps import quick, starts, states  # noqa: F401
from w2s_nb import sweeps
from w2s_nb.__main__ import main
from w2s_nb.common.plugins import PluginError
from w2s_nb.sweeps import grid, running

OWN = '''import json, os, pathlib
import w2s_nb as w2s

@w2s.register_task("{name}", lambda: {{"all": []}}, max_len=8)
def mine(row):
    """Is it mine?"""
'''


@pytest.fixture(autouse=True)
def no_variable(monkeypatch, registries):
    monkeypatch.delenv("W2S_PLUGINS", raising=False)
    monkeypatch.setattr(grid, "kit_version", lambda: "this one")  # takes a second each time


@pytest.fixture
def of_one_run(quick, tmp_path, monkeypatch):  # noqa: F811
    """(a sweep of one run with a plug-in, its log, the plug-in's path)."""
    given, log = quick
    path = tmp_path / "my.py"
    path.write_text(OWN.format(name="of_a_sweep"))
    monkeypatch.chdir(tmp_path)
    return given | {"plugins": "my.py", "axes": {"n": [0]}}, log, path


def address(given: dict) -> str:
    return sweeps.read_sweep(given).runs[0].address


def test_the_address_of_a_run_has_what_its_plug_ins_do(of_one_run, monkeypatch):
    given, _, path = of_one_run
    first = address(given)
    assert address(given | {"plugins": ["my.py"]}) == first
    path.write_text(path.read_text() + "# A comment.\n")
    assert address(given) == first
    path.write_text(path.read_text() + "more = 1\n")
    assert address(given) != first
    without = {key: value for key, value in given.items() if key != "plugins"}
    changed = address(given)
    monkeypatch.setenv("W2S_PLUGINS", "my.py")
    assert address(without) == changed == address(given), "named once, wherever"
    monkeypatch.delenv("W2S_PLUGINS")
    assert address(without) not in (first, changed)


def test_names_of_a_plug_in_are_known_when_the_grid_is_checked(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("w2s_nb.models.loading.ensure", lambda checkpoint: None)
    (tmp_path / "my.py").write_text(OWN.format(name="of_a_grid"))
    content = {"notebook": "03_conf_loss", "axes": {"task": ["of_a_grid"]}}
    (tmp_path / "some.yaml").write_text(json.dumps(content))
    monkeypatch.chdir(tmp_path)
    assert main(["sweep", "some.yaml", "--dry-run"]) == 2
    assert "unknown task 'of_a_grid'" in capsys.readouterr().err
    (tmp_path / "some.yaml").write_text(json.dumps(content | {"plugins": "my.py"}))
    assert main(["sweep", "some.yaml", "--dry-run"]) == 2
    assert "task 'of_a_grid' has no examples" in capsys.readouterr().err, "its rows were asked for"


def test_a_kernel_finds_the_plug_ins_of_its_sweep(of_one_run):
    given, _, path = of_one_run
    path.write_text("import pathlib\npathlib.Path('seen').write_text('by the driver')\n")
    sweeps.read_sweep(given)
    path.write_text("import os, pathlib\npathlib.Path('seen').write_text(str(os.getpid()))\n")
    source = json.loads(open(given["notebook"]).read())
    source["cells"][1]["source"] = [
        "import w2s_nb as w2s; assert w2s.TASKS['boolq']\n",
        *source["cells"][1]["source"],
    ]
    open(given["notebook"], "w").write(json.dumps(source))
    runs = sweeps.run_sweep(given)
    assert states(runs) == {0: "done"}
    (kernel,) = [line.split()[1] for line in given_log(given).splitlines()]
    assert (path.parent / "seen").read_text() == kernel != str(os.getpid())


def given_log(given: dict) -> str:
    return open(given["parameters"]["log"]).read()


def test_a_plug_in_that_changed_or_is_gone_stops_the_run_with_the_reason(of_one_run, tmp_path):
    given, log, path = of_one_run
    (run,) = sweeps.read_sweep(given).runs
    order = {
        "folder": str(tmp_path / "run"),
        "address": run.address,
        "notebook": "quick",
        "source": run.source,
        "parameters": run.parameters,
        "plugins": run.plugins,
        "attempt": 1,
        "seconds": None,
        "cwd": str(tmp_path),
        "remote": "",
        "store": "",
    }
    path.write_text(path.read_text() + "\n")
    outcome = running.execute(order)
    assert outcome["state"] == "failed" and "has changed since the sweep began" in outcome["error"]
    path.unlink()
    assert f"my.py is not on {outcome['machine']}" in running.execute(order)["error"]
    assert starts(log) == []


@pytest.mark.parametrize(
    "change, error, message",
    [
        ({"plugins": "none.py"}, FileNotFoundError, "plug-in 'none.py' is no Python file"),
        ({"plugins": ["my.py", 5]}, TypeError, "expected Python files, such as my.py"),
        ({"plugins": "wrong.py"}, PluginError, "plug-in wrong.py, line 1: NameError"),
        ({"parameters": {"plugins": "my.py"}}, ValueError, "name the files at the top"),
        ({"notebook": 5}, TypeError, "notebook = 5; expected a text"),
        ({"axes": {"notebook": [5]}}, TypeError, "notebook = 5; expected a text"),
        ({"remote": ["a"]}, TypeError, r"remote = \['a'\]; expected a text"),
        ({"axes": None}, TypeError, "axes = None; expected names with values"),
        ({"exclude": "n"}, TypeError, "exclude = 'n'; expected a list"),
        ({"axes": {1: [2]}}, TypeError, "1 is a int; expected a parameter's name"),
        ({"exclude": [{1: 2}]}, ValueError, "unknown parameter in exclude '1'"),
        ({"axes": {"n": [float("nan")]}}, ValueError, "has nan; expected a finite number"),
        ({"parameters": {"log": object}}, ValueError, "expected a finite number, a text"),
        ({"resources": {1: 2}}, ValueError, "unknown resource '1'"),
    ],
)
def test_a_grid_of_the_wrong_kind_is_refused(of_one_run, tmp_path, change, error, message):
    given, _, _ = of_one_run
    (tmp_path / "wrong.py").write_text("nothing_of_this_name")
    with pytest.raises(error, match=message):
        sweeps.read_sweep(given | change)
