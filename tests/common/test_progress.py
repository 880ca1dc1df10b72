"""Progress bars: text on a terminal, a passing widget in a notebook, silence in a log."""

import sys
from types import SimpleNamespace

import ipykernel
import pytest
from tqdm import tqdm

from w2s_nb.common import notebook_bar, progress


@pytest.fixture
def shown(monkeypatch):
    """What a kernel's front end is sent: (widget, updates of its place) of each bar."""
    bars = []

    def display(widget, display_id):
        assert display_id
        updates = []
        bars.append((widget, updates))
        return SimpleNamespace(update=lambda data, raw: updates.append(data))

    monkeypatch.delenv("TQDM_DISABLE")
    monkeypatch.setitem(sys.modules, "ipykernel", ipykernel)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: False, raising=False)
    monkeypatch.setattr(notebook_bar, "display", display)
    monkeypatch.setattr(notebook_bar, "_DELAY", 0.0)
    return bars


def test_a_notebook_has_a_bar_that_is_gone_when_work_is_done(shown, capsys):
    for n in progress.progress(range(3), desc="work"):
        widget, updates = shown[0]
        assert len(shown) == 1 and not updates
        assert widget.children[0].value.startswith("work") and widget.children[1].max == 3, n
    assert updates == [{"text/plain": ""}], "a saved notebook shows no dead widget"
    out = capsys.readouterr()
    assert not out.out.strip() and not out.err, "nothing on red"


def test_work_that_fails_leaves_its_bar_where_it_stopped(shown):
    with pytest.raises(ZeroDivisionError):
        with progress.progress(total=4) as bar:
            bar.update(1)
            raise ZeroDivisionError
    ((widget, updates),) = shown
    assert widget.children[1].bar_style == "danger" and not updates


def test_short_work_leaves_no_trace(shown, monkeypatch):
    monkeypatch.setattr(notebook_bar, "_DELAY", 60.0)
    assert list(progress.progress(range(3))) == [0, 1, 2] and not shown


def test_a_log_and_tqdm_disable_have_no_bar(shown, monkeypatch):
    monkeypatch.setenv("TQDM_DISABLE", "1")
    assert progress.progress([1]).disable and not shown
    monkeypatch.delenv("TQDM_DISABLE")
    monkeypatch.delitem(sys.modules, "ipykernel")
    bar = progress.progress([1])
    assert type(bar) is tqdm and bar.disable
