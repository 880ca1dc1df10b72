"""What the command `store` lists and removes: on a store with fits of today's and of other code."""

import os
import time

import pytest

import w2s_nb as w2s
from tests.experiments.test_history import store_altered
from w2s_nb.__main__ import main
from w2s_nb.common import store
from w2s_nb.experiments import store_contents as contents
from w2s_nb.inputs.tokens import _tokenize
from w2s_nb.training import job

OPTIONS = dict(method="probe", epochs=2)


def age(home):
    """Makes everything in the store two days old."""
    old = time.time() - 2 * 24 * 3600
    for path in [*home.rglob("*"), home]:
        os.utime(path, (old, old))


@pytest.fixture
def stored(words, tiny, home, monkeypatch):
    """Stores fits of today's code and a finetuned model, and things that nothing uses."""
    _tokenize.cache_clear()
    fit = w2s.fit(tiny, words.supervisor, **OPTIONS)
    student = w2s.fit(tiny, words.student, fit.label(words.student), **OPTIONS)
    kept = w2s.fit(tiny, words.student, method="top", top_layers=1, epochs=1, keep_weights=True)
    w2s.features(kept.name, words.test)
    used = {path for path in home.rglob("*") if path.is_file()}
    unused = []
    for name in ("activations/last-float16-0123-fp32-89abcdef", "tokens/0123-89abcdef"):
        unused.append(home / name / "1-2-34.safetensors")
    code = next((home / "activations").glob("last-*")).name.rpartition("-")[2]
    unused.append(
        home / f"activations/last-float16-fedcba9876543210-fp32-{code}/1-2-34.safetensors"
    )
    unused += [home / "fits/.0123.4567.part/curve.parquet", home / "ray/0123/checkpoint"]
    for path in unused:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * 1000)
    store_altered(fit, "0" * 20, lambda record: record["config"].update(code=["other", "code"]))
    store_altered(fit, "1" * 20, lambda record: record["config"].update(versions={"torch": "0"}))
    age(home)
    return {"used": used, "unused": unused, "fits": (fit, student, kept)}


def answer(monkeypatch, text):
    def ask(prompt):
        assert prompt.startswith("remove ") and prompt.endswith("? [y/N] ")
        if text is None:
            raise EOFError
        return text

    monkeypatch.setattr("builtins.input", ask)


def test_the_store_is_listed_by_kind_size_and_use(stored, home, capsys, tiny):
    assert main(["store"]) == 0
    printed = capsys.readouterr().out
    lines = {line[2:20].strip(): line for line in printed.splitlines()}
    assert "  5 " in lines["fits"] and "2 (" in lines["fits"] and contents.EARLIER in lines["fits"]
    assert "  1 " in lines["weights of fits"] and lines["weights of fits"].endswith("-")
    assert f"1 (1 kB) {contents.EARLIER}" in lines["activations"]
    assert f"1 (1 kB) {contents.NO_FIT}" in lines["activations"]
    assert f"1 (1 kB) {contents.EARLIER}" in lines["tokens"]
    assert f"2 (2 kB) {contents.KILLED}" in lines["unfinished files"]
    assert tiny in printed and f"fit:{stored['fits'][2].address}" in printed
    sizes = sum(path.lstat().st_size for path in home.rglob("*") if path.is_file())
    assert sum(item.size for item in contents.list_store()) == sizes


@pytest.mark.parametrize("text", ["", "n", None])
def test_nothing_is_removed_without_a_yes(text, stored, home, monkeypatch, capsys):
    before = sorted(home.rglob("*"))
    answer(monkeypatch, text)
    assert main(["store", "prune"]) == 0
    assert "nothing removed" in capsys.readouterr().out and sorted(home.rglob("*")) == before


def test_prune_removes_what_no_fit_of_todays_code_uses_and_nothing_else(
    stored, home, monkeypatch, words, tiny, capsys
):
    answer(monkeypatch, "y")
    main(["store", "prune"])
    assert "removed 5 kB" in capsys.readouterr().out
    assert not any(path.exists() for path in stored["unused"])
    assert all(path.exists() for path in stored["used"]) and len(w2s.results()) == 5
    monkeypatch.setattr(job, "carry_out", None)  # nothing is trained again
    assert w2s.fit(tiny, words.supervisor, **OPTIONS).address == stored["fits"][0].address
    main(["store", "prune"])
    assert "nothing to remove" in capsys.readouterr().out
    main(["store", "prune", "--fits"])
    assert store.addresses() == sorted(fit.address for fit in stored["fits"])
    assert all(path.exists() for path in stored["used"])


def test_what_fits_of_today_depend_on_stays(stored, monkeypatch):
    """An earlier supervisor of a student of today's code, and a finetuned model that one is of."""
    fit, student, _ = stored["fits"]
    store_altered(
        student, "2" * 20, lambda record: record["summary"].update(labels_address="0" * 20)
    )
    store_altered(student, "3" * 20, lambda record: record["config"].update(model="1" * 20))
    age(store.folder("2" * 20).parent.parent)
    assert not contents.unused_items(contents.list_store(), fits=True)[5:]
    kinds = {item.kind for item in contents.unused_items(contents.list_store(), fits=True)}
    assert "fits" not in kinds


def test_what_is_found_without_a_supervisor_is_of_todays_code(words, tiny, home):
    labels = w2s.SoftLabels.truth(words.student)
    w2s.no_supervisor(tiny, words.student, "first_component", labels)
    age(home)
    assert [item.unused for item in contents.list_store() if item.kind == "fits"] == [""]


def test_what_was_written_today_is_not_removed(stored, monkeypatch):
    for path in stored["unused"]:
        path.write_bytes(b"new")
    assert contents.unused_items(contents.list_store()) == []


def test_an_empty_store_is_listed(home, capsys):
    assert main(["store", "prune"]) == 0
    assert "nothing to remove" in capsys.readouterr().out and not home.exists()
