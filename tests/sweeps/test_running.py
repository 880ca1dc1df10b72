"""Runs in folders without locks, on a full disk, and after killed processes."""

import errno
import fcntl
import os
import time

import pytest

from w2s_nb.sweeps import engines, grid, running


def run_in(folder, monkeypatch):
    """Executes a run whose notebook writes its table at once; returns the outcome."""

    def papermill(run, folder):
        running._write_atomic(folder / "result.json", b'{"table": [], "parameters": {}}')
        return running.DONE, "", ""

    monkeypatch.setattr(running, "_papermill", papermill)
    run = {"folder": str(folder), "address": "0" * 20, "notebook": "quick", "source": ""}
    return running.execute(run | {"parameters": {}, "attempt": 1, "seconds": None})


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, None])
def test_a_run_needs_no_lock(number, tmp_path, monkeypatch):
    def flock(*arguments):
        if number:
            raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", flock)
    outcome = run_in(tmp_path, monkeypatch)
    assert outcome["state"] == running.DONE, outcome["error"]
    assert running.read_outcome(tmp_path, "0" * 20)["state"] == running.DONE


def test_a_full_disk_is_said_with_the_file(tmp_path, monkeypatch):
    def full(*arguments):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(type(tmp_path), "write_bytes", full)
    outcome = run_in(tmp_path, monkeypatch)
    assert outcome["state"] == running.FAILED
    assert "No space left" in outcome["error"] and str(tmp_path) in outcome["error"]
    assert not list(tmp_path.glob(".*.part"))


def test_what_a_killed_process_left_goes_a_day_later(tmp_path, monkeypatch):
    old = tmp_path / ".run.json.0123abcd.part"
    new = tmp_path / ".run.json.4567abcd.part"
    for path in (old, new):
        path.write_bytes(b"half")
    os.utime(old, (time.time() - 2 * 24 * 3600,) * 2)
    run_in(tmp_path, monkeypatch)
    assert not old.exists() and new.exists()


@pytest.mark.parametrize("chosen", ["plotly_mimetype+png", "", None])
def test_runs_draw_no_png_unless_asked(chosen, monkeypatch):
    """Their stored figures stay interactive, and exported as HTML they load plotly from its CDN."""
    monkeypatch.delenv("PLOTLY_RENDERER", raising=False)
    if chosen is not None:
        monkeypatch.setenv("PLOTLY_RENDERER", chosen)
    engine = engines.Local(grid.Resources(gpus=0), jobs=1)
    engine.close()
    expected = chosen or "plotly_mimetype+notebook_connected"
    assert engine._environment["PLOTLY_RENDERER"] == expected


def test_the_pipes_of_a_worker_that_died_are_closed(monkeypatch):
    monkeypatch.setenv("W2S_FORK", "0")
    engine = engines.Local(grid.Resources(gpus=0), jobs=1)
    try:
        first = engine._worker(0, {})
        first.kill()
        first.wait()
        assert engine._worker(0, {}) is not first
        assert first.stdin.closed and first.stdout.closed
    finally:
        engine.close()
