"""Processes that compute states of one model: at once where their texts differ, else in turn."""

import hashlib
import threading
import time

import pytest
import torch

from tests.conftest import Script
from w2s_nb.common import files
from w2s_nb.inputs import shards

TASK, OTHER = (
    [hashlib.sha256(f"{name}{i}".encode()).hexdigest() for i in range(3)] for name in "ab"
)
ENDLESS = """import sys, time
from pathlib import Path
from w2s_nb.inputs import shards
def fill(missing):
    print("computing", flush=True)
    time.sleep(600)
shards.stored(Path(sys.argv[1]), "a model", 4, sys.argv[2:], fill)"""


class Computing(threading.Thread):
    """Asks for the states of texts, and writes them once it may.

    Attributes:
        started: set when it is asked to compute.
        computed: the keys that it was asked for.
    """

    def __init__(self, folder, keys, may_end=None):
        super().__init__(daemon=True)
        self.folder, self.keys = folder, keys
        self.started, self.may_end = threading.Event(), may_end
        self.computed, self.places, self.error = [], None, None
        self.start()

    def run(self):
        try:
            self.places = shards.stored(self.folder, "a model", 4, self.keys, self.fill)
        except Exception as error:
            self.error = error

    def fill(self, missing):
        self.computed += [self.keys[i] for i in missing]
        self.started.set()
        if self.may_end is not None and not self.may_end.wait(20):
            raise TimeoutError("nobody said that it may end")
        rows = [list(bytes.fromhex(self.keys[i])) for i in missing]
        files.write_tensors(self.folder, "0-4-", {"keys": torch.tensor(rows, dtype=torch.uint8)})


@pytest.fixture
def folder(home):
    return home / "activations" / "some"


def test_texts_of_another_task_are_computed_meanwhile(folder):
    may_end = threading.Event()
    one = Computing(folder, TASK, may_end)
    assert one.started.wait(20)
    other = Computing(folder, OTHER)
    other.join(10)
    assert other.places is not None, "it waited for texts that it does not want"
    may_end.set()
    one.join(20)
    assert one.computed == TASK and other.computed == OTHER and one.error is None
    assert not list(folder.glob("claim*"))


def test_texts_that_another_process_computes_are_waited_for(folder):
    may_end = threading.Event()
    one = Computing(folder, TASK, may_end)
    assert one.started.wait(20)
    other = Computing(folder, TASK[1:] + OTHER)
    assert not other.started.wait(1)
    may_end.set()
    other.join(20)
    assert one.computed == TASK and other.computed == OTHER and len(other.places) == 2
    assert not list(folder.glob("claim*"))


def test_who_fails_or_is_killed_claims_nothing_any_more(folder, home):
    failing = Computing(folder, ["no key"])
    failing.join(20)
    assert isinstance(failing.error, ValueError) and not list(folder.glob("claim*"))
    killed = Script(ENDLESS, str(folder), *TASK, W2S_HOME=str(home))
    until = time.time() + 60
    while not killed.printed()[0] and time.time() < until:
        time.sleep(0.05)
    killed.kill()
    next_one = Computing(folder, TASK)
    next_one.join(20)
    assert next_one.computed == TASK and next_one.places is not None
    assert not list(folder.glob("claim*"))
