"""Soft labels: what is refused, and what turning, hardening and choosing do exactly."""
import numpy as np
import pytest

import w2s_nb as w2s

IDS = np.array([f"{i:016x}" for i in range(100)])
PROBS = np.stack([np.linspace(0, 1, 100), 1 - np.linspace(0, 1, 100)], axis=1)


def labels(ids=IDS, probs=PROBS):
    return w2s.SoftLabels(ids, probs, "a test")


@pytest.mark.parametrize("ids, probs, says", [
    (IDS[:5], PROBS[:4], r"shape \(4, 2\), expected \(5, 2\)"),
    (IDS[:2], np.array([[0.5, 0.6], [0.5, 0.5]]), "1 of 2 rows are not probabilities"),
    (IDS[:1], np.array([[np.nan, 0.5]]), "not probabilities"),
    (IDS[:1], np.array([[-0.5, 1.5]]), "not probabilities"),
    (IDS[[0, 0]], PROBS[:2], "1 ids stand twice")])
def test_what_are_no_labels_is_refused(ids, probs, says):
    with pytest.raises(ValueError, match=says):
        labels(ids, probs)


@pytest.mark.parametrize("rate", [0.0, 0.137, 0.5, 1.0])
def test_flip_turns_exactly_the_asked_share(rate):
    flipped = labels().flip(rate, seed=1)
    changed = ~np.isclose(flipped.probs, PROBS).all(axis=1)
    assert changed.sum() == round(100 * rate)
    np.testing.assert_allclose(flipped.probs[changed], PROBS[changed][:, ::-1])
    np.testing.assert_array_equal(flipped.probs, labels().flip(rate, seed=1).probs)


def test_flip_out_of_range():
    with pytest.raises(ValueError, match=r"share in \[0, 1\]"):
        labels().flip(1.2)


def test_harden_keeps_the_likelier_class():
    hard = labels().harden()
    assert set(hard.probs.ravel()) == {0.0, 1.0}
    np.testing.assert_array_equal(hard.hard, labels().hard)
    assert (hard.confidence == 1).all()


def test_select_keeps_labels_of_other_splits(words):
    made = w2s.SoftLabels.truth(words.student)
    both = w2s.SoftLabels(np.concatenate([made.ids, words.validation.ids]),
                          np.concatenate([made.probs, np.eye(2)[words.validation.hard_label]]), "a test")
    keep = words.student.hard_label == 1
    chosen = both.select(words.student, keep)
    assert len(chosen) == keep.sum() + len(words.validation) and "48 of 96" in chosen.source
    assert chosen.covers(words.validation) and chosen.covers(words.student.take(keep))
    assert not chosen.covers(words.student) and chosen.fingerprint != both.fingerprint


def test_readme_examples_run(tmp_path, monkeypatch):
    import csv
    import re
    from pathlib import Path

    import torch

    from w2s_nb.registry import LOSSES, TASKS

    blocks = re.findall(r"```python\n(.*?)```", (Path(__file__).resolve().parents[1] / "README.md").read_text(), re.S)
    task, loss = (next(b for b in blocks if word in b) for word in ("register_task", "register_loss"))
    monkeypatch.chdir(tmp_path)
    with open("reviews.csv", "w", newline="") as stream:
        writer = csv.DictWriter(stream, ["text", "again", "author"])
        writer.writeheader()
        writer.writerows({"text": f"review {i}", "again": ["yes", "no"][i % 2], "author": f"a{i}"} for i in range(80))
    try:
        exec(task, {"w2s": w2s, "csv": csv})
        exec(loss, {"w2s": w2s})
        assert len(w2s.load_task("my_reviews", n_train=16, n_val=8, n_test=8).student) == 16
        value = LOSSES["label_smoothing"](torch.zeros(2, 2), torch.tensor([[0.0, 1.0], [1.0, 0.0]]), progress=0.0)
        torch.testing.assert_close(value, torch.full((2,), 2.0).log())
    finally:
        TASKS._entries.pop("my_reviews", None)
        LOSSES._entries.pop("label_smoothing", None)
