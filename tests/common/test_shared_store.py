"""A store that many share: without locks, of another user, on a full disk, after kills."""

import contextlib
import errno
import os
import stat
import time
from pathlib import Path

import pandas as pd
import pytest

import w2s_nb as w2s
from tests.common.test_store import ONE, OTHER, write_fit
from tests.conftest import Script
from w2s_nb.common import assets, files, store

LOCKS_FOR_ALL = "import fcntl; fcntl.flock = lambda *a: None\n"
NO_LOCKS = """
import errno, fcntl
def refuse(*a):
    raise OSError(errno.{error}, "no locks here")
fcntl.flock = refuse
"""
MAKE_FITS = """
import os, sys, time, warnings
warnings.simplefilter("ignore")
import pandas as pd
from w2s_nb.common import store
while time.time() < {start}: pass
def make():
    open({log!r}, "a").write("made\\n")
    predictions = pd.DataFrame({{"last": [float(os.getpid())] * 50}})
    return {{"config": {{}}}}, predictions, pd.DataFrame({{"step": [1]}})
got = []
for number in range({n}):
    record, predictions, curve = store.get_or_make(f"{{number:020x}}", make)
    got.append(predictions["last"].tolist()[0])
print(got)
"""


def make_fits(tmp_path, preparation, n=25, processes=4):
    """Lets processes want the same fits at the same moment; returns what they printed."""
    log = str(tmp_path / "log")
    code = preparation + MAKE_FITS.format(start=time.time() + 0.3, log=log, n=n)
    scripts = [Script(code) for _ in range(processes)]
    assert [script.wait() for script in scripts] == [0] * processes, scripts[0].printed()
    return [script.printed()[0] for script in scripts], (tmp_path / "log").read_text().count("made")


def test_processes_with_locks_make_each_fit_once(tmp_path):
    printed, made = make_fits(tmp_path, "", n=10)
    assert made == 10 and len(set(printed)) == 1


@pytest.mark.parametrize(
    "preparation",
    [LOCKS_FOR_ALL, NO_LOCKS.format(error="ENOLCK"), NO_LOCKS.format(error="ENOSYS")],
    ids=["granted to all", "ENOLCK", "ENOSYS"],
)
def test_processes_without_locks_get_the_same_fits(preparation, tmp_path, home):
    printed, made = make_fits(tmp_path, preparation)
    assert len(set(printed)) == 1, "two processes were given different fits for one address"
    assert 25 <= made <= 100
    assert len(store.addresses()) == 25 and all(map(store.read, store.addresses()))
    assert not list((home / "fits").glob(".*")), "an unfinished fit was left"


def test_a_whole_fit_stays_where_another_process_has_made_it_meanwhile():
    def make():
        write_fit(ONE, 0.25, weights=None)  # another process is faster
        return {"config": {}}, pd.DataFrame({"last": [0.75]}), pd.DataFrame({"step": [1]})

    _, predictions, _ = store.get_or_make(ONE, make)
    assert predictions["last"].tolist() == [0.25] and store.addresses() == [ONE]


def test_a_stored_fit_is_found_without_a_lock(monkeypatch, home):
    write_fit(ONE, 0.25)
    monkeypatch.setattr(store, "lock", None)
    _, predictions, _ = store.get_or_make(ONE, None)
    assert predictions["last"].tolist() == [0.25] and not (home / "locks").exists()


# stores and caches of another user


def as_another_user(code, variable="W2S_HOME"):
    """Runs code as a user that owns nothing; skips where this process may not become it.

    All that it imports is imported before, since that user may not be able to read Python's files.
    """
    if os.getuid() != 0:
        pytest.skip("only root can become another user")
    script = Script(AS_ANOTHER, code, variable)
    return script.wait(), script.printed()[0].partition("another user\n")[2], script.printed()[1]


AS_ANOTHER = """
import os, sys
code, variable = sys.argv[1:]
folder = os.environ[variable]
os.environ[variable] = folder + "_to_warm_up"
exec(code, {})
from w2s_nb.inputs import tokens
tokens._tokenize.cache_clear()
os.environ[variable] = folder
os.setgid(65534); os.setuid(65534)
print("another user")
exec(code, {})
"""


@contextlib.contextmanager
def reachable(path):
    """Lets other users reach a folder of this test."""
    modes = {p: p.stat().st_mode for p in path.parents if p.stat().st_uid == os.getuid()}
    for parent in modes:
        parent.chmod(modes[parent] | stat.S_IXOTH)
    try:
        yield
    finally:
        for parent, mode in modes.items():
            parent.chmod(mode)


USE_STORE = """
import sys; sys.path.insert(0, {root!r})
from tests import conftest
import w2s_nb as w2s
conftest.register_words()
task = w2s.load_task("words", n_train=96, n_val=32, n_test=64)
options = dict(method="probe", epochs=3)
fit = w2s.fit({tiny!r}, task.supervisor, **options)
kept = w2s.fit({tiny!r}, task.supervisor, method="top", top_layers=1, epochs=1, keep_weights=True)
print(fit.predict(task.test).tolist(), w2s.features({tiny!r}, task.test)[2].sum())
print(len(kept.weights()), len(w2s.results()), w2s.features(kept.name, task.test)[4].sum())
"""


@pytest.mark.model
def test_another_user_reads_fits_weights_and_features_and_is_told_what_lacks(tiny, home):
    code = USE_STORE.format(root=str(Path(__file__).resolve().parents[2]), tiny=tiny)
    made = Script(code)
    assert made.wait() == 0, made.printed()
    before = sorted(home.rglob("*"))
    with reachable(home), reachable(Path(tiny)):
        exit_code, printed, errors = as_another_user(code)
        assert exit_code == 0, errors
        assert printed == made.printed()[0] and sorted(home.rglob("*")) == before
        exit_code, _, errors = as_another_user(code.replace("epochs=3", "epochs=4"))
    assert exit_code == 1
    last = errors.strip().splitlines()[-1]
    assert last.startswith("PermissionError: fit ") and str(home) in last and "W2S_HOME" in last
    assert sorted(home.rglob("*")) == before


def test_a_store_that_its_owner_opened_to_all_serves_two_users(home, tmp_path):
    home.mkdir()
    home.chmod(0o777)
    make_fits(tmp_path, "import os; os.umask(0o077)\n", n=1, processes=1)
    code = """
import pandas as pd
from w2s_nb.common import store
def make():
    return {"config": {}}, pd.DataFrame({"last": [2.0]}), pd.DataFrame({"step": [1]})
with store.lock("0" * 20): pass
print([store.get_or_make(f"{i:020x}", make)[1]["last"].tolist() for i in range(2)])
"""
    with reachable(home):
        exit_code, printed, errors = as_another_user(code)
    assert exit_code == 0 and not errors and len(store.addresses()) == 2, errors
    assert printed.strip().endswith("[2.0]]") and not printed.startswith("[[2.0]")


def test_a_private_store_stays_private(home):
    umask = os.umask(0o077)
    try:
        write_fit(ONE)
        with store.lock(ONE):
            pass
    finally:
        os.umask(umask)
    assert all(path.stat().st_mode & 0o077 == 0 for path in (home, *home.rglob("*")))


def test_a_fit_that_cannot_be_stored_is_refused_before_it_is_made(monkeypatch):
    write_fit(ONE)
    monkeypatch.setattr(files.os, "access", lambda path, mode: False)
    with pytest.raises(PermissionError, match=f"{OTHER}.*W2S_HOME"):
        store.get_or_make(OTHER, lambda: pytest.fail("was made"))


def test_a_cache_of_another_user_serves(tmp_path, monkeypatch):
    monkeypatch.setenv("W2S_CACHE", str(tmp_path / "cache"))
    code = """
from w2s_nb.common.assets import make_once
def make(folder):
    (folder / "weights").write_text("heavy"); (folder / "weights").chmod(0o600)
print((make_once("models/m", make, {{"of": {of}}}) / "weights").read_text())
"""
    owner = Script("import os; os.umask(0o022)\n" + code.format(of=1))
    assert owner.wait() == 0, owner.printed()
    with reachable(tmp_path / "cache"):
        exit_code, printed, errors = as_another_user(code.format(of=1), "W2S_CACHE")
        assert (exit_code, printed) == (0, "heavy\n"), errors
        exit_code, _, errors = as_another_user(code.format(of=2), "W2S_CACHE")
    assert exit_code == 1 and "W2S_CACHE" in errors.strip().splitlines()[-1]


@pytest.mark.parametrize("preparation", ["", LOCKS_FOR_ALL], ids=["locks", "none"])
def test_processes_that_fill_one_folder_of_the_cache_all_get_it(preparation, tmp_path, monkeypatch):
    monkeypatch.setenv("W2S_CACHE", str(tmp_path / "cache"))
    code = (
        preparation
        + f"""
import time
from w2s_nb.common.assets import make_once
def make(folder):
    (folder / "sub").mkdir()
    for name in ("a", "sub/b"):
        (folder / name).write_text(name); time.sleep(0.02)
while time.time() < {time.time() + 0.3}: pass
for number in range(5):
    folder = make_once(f"models/m{{number}}", make, {{"of": 1}})
    assert (folder / "sub/b").read_text() == "sub/b"
"""
    )
    scripts = [Script(code) for _ in range(4)]
    assert [script.wait() for script in scripts] == [0] * 4, [s.printed() for s in scripts]
    assert len(list((tmp_path / "cache/models").glob("m*-????????"))) == 5
    assert not list((tmp_path / "cache/models").glob(".*"))


# killed processes and full disks


def test_what_killed_processes_left_is_removed_after_a_day(home):
    write_fit(ONE)
    fits = home / "fits"
    for name in (f".{OTHER}.0123abcd.part", f".{OTHER}.4567abcd.part"):
        (fits / name).mkdir()
        (fits / name / "predictions.parquet").write_bytes(b"half")
    (fits / f".{OTHER}.89ababcd.part").write_bytes(b"half")
    old = time.time() - 2 * 24 * 3600
    for path in [*fits.glob(".*.0123abcd.part/*"), *fits.glob(".*.0123*"), *fits.glob(".*.89ab*")]:
        os.utime(path, (old, old))
    files._remove_abandoned.cache_clear()
    assert store.addresses() == [ONE] and len(w2s.results()) <= 1
    write_fit(OTHER)
    assert sorted(path.name for path in fits.iterdir()) == [f".{OTHER}.4567abcd.part", ONE, OTHER]


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_said_with_the_path(error, monkeypatch, home):
    def full(*args):
        raise OSError(error, os.strerror(error))

    monkeypatch.setattr(type(home), "write_bytes", full)
    with pytest.raises(OSError, match=str(home / "fits")) as raised:
        write_fit(ONE)
    assert raised.value.errno == error
    with pytest.raises(OSError, match=str(home / "tokens")):
        files.write_named(home / "tokens", "", b"content")
    assert not list(home.rglob("*.part")) and not store.addresses()


def test_a_full_disk_is_said_with_the_path_by_writers_of_tensors(monkeypatch, home):
    import safetensors
    import safetensors.torch

    def full(*args):
        raise safetensors.SafetensorError("I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(safetensors.torch, "save_file", full)
    with pytest.raises(OSError, match="weights.safetensors"):
        write_fit(ONE)
    with pytest.raises(OSError, match="models"):
        assets.make_once("models/m", full, {})
