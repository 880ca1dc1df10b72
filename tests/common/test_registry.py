"""Registries: filled when they are first read, by rooms and wings that may be missing."""

import importlib.util
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

import w2s_nb as w2s
from w2s_nb.common.registry import MissingExtra, Registry, UnknownName


@pytest.fixture
def shapes(tmp_path, monkeypatch):
    """A registry of two modules: its room, and a wing that needs the package `wingspan`."""
    monkeypatch.syspath_prepend(str(tmp_path))
    registry = Registry("shape")
    monkeypatch.setattr("builtins._shapes", registry, raising=False)
    for module, name in (("room_of_shapes", "square"), ("wing_of_shapes", "circle")):
        monkeypatch.delitem(sys.modules, module, raising=False)
        text = f"import builtins\nbuiltins._shapes.register({name!r}, {name!r})\n"
        (tmp_path / f"{module}.py").write_text(text)
    registry.provide("room_of_shapes")
    registry.provide("wing_of_shapes", ("circle",), package="wingspan", extra="wings")
    return registry


def install(monkeypatch, *packages):
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: name in packages or find_spec(name)
    )


def test_nothing_is_imported_before_the_registry_is_read(shapes):
    assert "room_of_shapes" not in sys.modules
    assert shapes["square"] == "square" and "room_of_shapes" in sys.modules


def test_a_wing_is_imported_for_its_own_names_and_for_lists(shapes, monkeypatch):
    install(monkeypatch, "wingspan")
    assert shapes["square"] and "wing_of_shapes" not in sys.modules
    assert shapes["circle"] == "circle" and list(shapes) == ["square", "circle"]


def test_a_wing_without_its_package_says_how_to_install_it(shapes):
    message = r"^shape 'circle' needs the package 'wingspan', .* pip install 'w2s_nb\[wings\]'$"
    with pytest.raises(MissingExtra, match=message):
        shapes["circle"]
    assert "circle" not in shapes and list(shapes) == ["square"]


def test_an_unknown_name_lists_near_and_known_names(shapes, monkeypatch):
    install(monkeypatch, "wingspan")
    with pytest.raises(UnknownName, match="unknown shape 'squar'. Near: square. Known: circle"):
        shapes["squar"]


def test_an_option_of_an_entry_without_options_is_refused(shapes):
    with pytest.raises(UnknownName, match="square@2"):
        shapes["square@2"]


def test_an_own_entry_is_not_replaced_by_a_wing_that_is_imported_later(shapes, monkeypatch):
    install(monkeypatch, "wingspan")
    shapes.register("circle", "mine")
    assert shapes["circle"] == "mine" and shapes["square"] == "square"
    shapes.register("square", "mine too")
    assert shapes["square"] == "mine too"


def test_threads_that_read_first_at_once_all_find_what_they_ask_for(shapes, tmp_path, monkeypatch):
    install(monkeypatch, "wingspan")
    wing = tmp_path / "wing_of_shapes.py"
    wing.write_text("import time\ntime.sleep(0.2)\n" + wing.read_text())
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(shapes.__getitem__, ["circle"] * 8)) == ["circle"] * 8


def test_registries_show_themselves_shortly():
    assert repr(w2s.LOSSES).startswith("losses: xent, confidence, ")
    assert repr(w2s.TASKS).startswith("tasks: ") and "mate_in_one" in repr(w2s.TASKS)
    assert "<code>xent</code>" in w2s.LOSSES._repr_html_()
