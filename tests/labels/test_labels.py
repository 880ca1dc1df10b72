"""Soft labels: what is refused, and what turning, hardening and choosing do exactly."""

import csv
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

import w2s_nb as w2s
from w2s_nb import labels as labels_module
from w2s_nb.data.load import example_id
from w2s_nb.data.splits import Split
from w2s_nb.labels.dawid_skene import dawid_skene

IDS = np.array([f"{i:016x}" for i in range(100)])
PROBS = np.stack([np.linspace(0, 1, 100), 1 - np.linspace(0, 1, 100)], axis=1)


def labels(ids=IDS, probs=PROBS):
    return w2s.SoftLabels(ids, probs, "a test")


@pytest.mark.parametrize(
    "ids, probs, says",
    [
        (IDS[:5], PROBS[:4], r"shape \(4, 2\), expected \(5, K\)"),
        (IDS[:5], np.ones((5, 1)), r"shape \(5, 1\), .* for each of at least two classes"),
        (IDS[:2], np.array([[0.5, 0.6], [0.5, 0.5]]), "1 of 2 rows are not probabilities"),
        (IDS[:1], np.array([[np.nan, 0.5]]), "not probabilities"),
        (IDS[:1], np.array([[-0.5, 1.5]]), "not probabilities"),
        (IDS[[0, 0]], PROBS[:2], "1 ids stand twice"),
        (IDS[:1], [["a", "b"]], r"of a test: probs is \[\['a', 'b'\]\]; expected \(n, K\) numbers"),
        (IDS[:2], [[0.1, 0.9], [1]], r"of a test: probs is \[\[0.1, 0.9\], \[1\]\]; expected"),
    ],
)
def test_rows_that_are_no_probabilities_and_repeated_ids_are_refused(ids, probs, says):
    with pytest.raises(ValueError, match=says):
        labels(ids, probs)


def test_what_is_no_file_and_no_split_is_named(words, tmp_path):
    pd.DataFrame({"id": words.student.ids, "label": 1}).to_csv(tmp_path / "a.csv", index=False)
    read = w2s.SoftLabels.from_file
    with pytest.raises(TypeError, match="path is a DataFrame; expected the path of a file"):
        read(pd.DataFrame(), words.student)
    with pytest.raises(TypeError, match="splits is a Task; expected one of its splits"):
        read(tmp_path / "a.csv", words)
    with pytest.raises(TypeError, match="splits is a list; expected a split"):
        read(tmp_path / "a.csv", [words.student])
    with pytest.raises(TypeError, match="no split is given; expected .* task.student"):
        read(tmp_path / "a.csv")


@pytest.mark.parametrize("rate", [0.0, 0.137, 0.5, 1.0])
def test_flip_turns_round_exactly_the_share_asked_for(rate):
    flipped = labels().flip(rate, seed=1)
    changed = ~np.isclose(flipped.probs, PROBS).all(axis=1)
    assert changed.sum() == round(100 * rate)
    np.testing.assert_allclose(flipped.probs[changed], PROBS[changed][:, ::-1])
    np.testing.assert_array_equal(flipped.probs, labels().flip(rate, seed=1).probs)


def test_a_flip_rate_out_of_range_is_refused():
    with pytest.raises(ValueError, match=r"share in \[0, 1\]"):
        labels().flip(1.2)


def test_harden_keeps_the_likelier_class():
    hard = labels().harden()
    assert set(hard.probs.ravel()) == {0.0, 1.0}
    np.testing.assert_array_equal(hard.hard, labels().hard)
    assert (hard.confidence == 1).all()


def test_select_keeps_labels_of_other_splits(words):
    made = w2s.SoftLabels.truth(words.student)
    both = w2s.SoftLabels(
        np.concatenate([made.ids, words.validation.ids]),
        np.concatenate([made.probs, np.eye(2)[words.validation.hard_label]]),
        "a test",
    )
    keep = words.student.hard_label == 1
    chosen = both.select(words.student, keep)
    assert len(chosen) == keep.sum() + len(words.validation) and "48 of 96" in chosen.source
    assert chosen.covers(words.validation) and chosen.covers(words.student.take(keep))
    assert not chosen.covers(words.student) and chosen.fingerprint != both.fingerprint


def test_readme_examples_run(tmp_path, monkeypatch):
    import re
    from pathlib import Path

    import torch

    from w2s_nb.common.registry import LOSSES, TASKS

    blocks = re.findall(
        r"```python\n(.*?)```",
        (Path(__file__).resolve().parents[2] / "notebooks" / "pages" / "adding.md").read_text(),
        re.S,
    )
    task, loss = (
        next(b for b in blocks if word in b) for word in ('"my_reviews"', "register_loss")
    )
    monkeypatch.chdir(tmp_path)
    with open("reviews.csv", "w", newline="") as stream:
        writer = csv.DictWriter(stream, ["text", "again", "author"])
        writer.writeheader()
        writer.writerows(
            {"text": f"review {i}", "again": ["yes", "no"][i % 2], "author": f"a{i}"}
            for i in range(80)
        )
    try:
        exec(task, {"w2s": w2s, "csv": csv})
        exec(loss, {"w2s": w2s})
        assert len(w2s.load_task("my_reviews", n_train=16, n_val=8, n_test=8).student) == 16
        value = LOSSES["focal"](
            torch.zeros(2, 2), torch.tensor([[0.0, 1.0], [1.0, 0.0]]), progress=0.0
        )
        torch.testing.assert_close(value, torch.full((2,), 2.0).log() / 4)
    finally:
        TASKS._entries.pop("my_reviews", None)
        LOSSES._entries.pop("focal", None)


def strong_labels(words, wrong=()):
    """Labels more and more sure of the truth along each split, and wrong at the rows `wrong`."""
    splits = (words.student, words.validation)
    rows = []
    for split in splits:
        sure = np.linspace(0.55, 0.99, len(split))
        if split.name == "student":
            sure[list(wrong)] = 0.2
        rows.append(np.where(split.hard_label == 1, sure, 1 - sure))
    p1 = np.concatenate(rows)
    return w2s.SoftLabels(
        np.concatenate([s.ids for s in splits]), np.stack([1 - p1, p1], axis=1), "a strong model"
    )


@pytest.mark.parametrize("errors", labels_module.ERRORS)
@pytest.mark.parametrize("accuracy", [1.0, 0.93, 0.682, 0.5])
def test_simulated_labels_have_exactly_the_accuracy_asked_for(errors, accuracy, words):
    made = w2s.simulate(
        errors, (words.student, words.validation), accuracy, strong=strong_labels(words)
    )
    for split in (words.student, words.validation):
        wrong = (made.for_split(split).argmax(1) != split.hard_label).sum()
        assert abs(wrong - (1 - accuracy) * len(split)) <= 0.5 + 1e-9
    assert set(made.probs.ravel()) <= {0.0, 1.0} and made.covers(words.validation)


def wrong_rows(errors, words, accuracy=0.75, **more):
    made = w2s.simulate(errors, words.student, accuracy, **more)
    return made.for_split(words.student).argmax(1) != words.student.hard_label


def test_simulated_errors_have_the_structure_asked_for():
    from tests.conftest import register_words

    register_words()
    words = w2s.load_task("words", n_train=96, n_val=32, n_test=64)
    length = np.array([len(t[0]) for t in words.student.texts])
    longest, shortest = wrong_rows("longest", words), wrong_rows("shortest", words)
    assert (
        length[longest].min() >= length[~longest].max()
        and length[shortest].max() <= length[~shortest].min()
    )
    strong = strong_labels(words, wrong=(90, 91))
    sure = np.where(words.student.hard_label == 1, *strong.for_split(words.student).T[::-1])
    confident, unsure = (wrong_rows(e, words, strong=strong) for e in ("confident", "unconfident"))
    assert (
        sure[confident].min() >= sure[~confident & (sure >= 0.5)].max()
        and not confident[[90, 91]].any()
    )
    assert unsure[:24].all() and not unsure[24:].any(), (
        "the least sure right answers first, wrong answers last"
    )
    everything = wrong_rows("unconfident", words, accuracy=0.0, strong=strong)
    assert everything.all()
    random = wrong_rows("random", words, seed=1)
    assert (random == wrong_rows("random", words, seed=1)).all()
    assert (random != wrong_rows("random", words, seed=2)).any()
    assert random.sum() == 24


@pytest.mark.parametrize(
    "call, says",
    [
        (lambda t: w2s.simulate("long", t.student, 0.7), "Near: .*longest"),
        (lambda t: w2s.simulate("random", t.student, 1.2), r"\[0, 1\]"),
        (lambda t: w2s.simulate("confident", t.student, 0.7), "give strong="),
        (
            lambda t: w2s.simulate(
                "confident", t.student, 0.1, strong=strong_labels(t, wrong=range(20))
            ),
            "right on only 76",
        ),
        (lambda t: w2s.combine([w2s.SoftLabels.truth(t.student)]), "at least two"),
        (
            lambda t: w2s.combine([w2s.SoftLabels.truth(t.student), w2s.SoftLabels.truth(t.test)]),
            "0 in common",
        ),
        (lambda t: w2s.combine([w2s.SoftLabels.truth(t.student)] * 2, "median"), "majority"),
        (
            lambda t: w2s.combine([w2s.SoftLabels.truth(t.student)] * 2, "weighted"),
            "needs validation",
        ),
        (lambda t: w2s.SoftLabels.truth(t.student).confident(t.student, 0.0), r"\(0, 1\]"),
    ],
)
def test_wrong_arguments_are_named(call, says, words):
    with pytest.raises(ValueError, match=says):
        call(words)


def test_mean_and_majority_of_known_supervisors():
    ids = IDS[:3]
    p = [np.array([0.9, 0.6, 0.4]), np.array([0.2, 0.7, 0.45]), np.array([0.4, 0.8, 0.9])]
    sets = [w2s.SoftLabels(ids, np.stack([1 - x, x], axis=1), str(i)) for i, x in enumerate(p)]
    sets[1] = w2s.SoftLabels(ids[::-1], sets[1].probs[::-1], "another order")
    np.testing.assert_allclose(w2s.combine(sets).probs[:, 1], np.mean(p, axis=0))
    np.testing.assert_allclose(w2s.combine(sets, "majority").probs[:, 1], [1 / 3, 1, 1 / 3])


def test_weights_are_the_log_odds_of_validation_accuracy(words):
    def voter(n_wrong):
        hard = words.validation.hard_label.copy()
        hard[:n_wrong] ^= 1
        return w2s.SoftLabels(words.validation.ids, np.eye(2)[hard] * 0.8 + 0.1, f"{n_wrong} wrong")

    good, bad, chance = voter(4), voter(12), voter(16)  # of 32
    made = w2s.combine([good, bad, chance], "weighted", validation=words.validation)
    weight = np.log(np.array([28 / 4, 20 / 12, 1.0]))
    expected = np.average([one.probs[:, 1] for one in (good, bad, chance)], axis=0, weights=weight)
    np.testing.assert_allclose(made.probs[:, 1], expected)
    with pytest.raises(ValueError, match="better than chance"):
        w2s.combine([chance, voter(20)], "weighted", validation=words.validation)


def test_a_majority_of_independent_supervisors_beats_each():
    rng = np.random.default_rng(0)
    truth = rng.integers(2, size=2000)
    ids = np.array([f"{i:016x}" for i in range(2000)])
    hard = [np.where(rng.random(2000) < 0.7, truth, 1 - truth) for _ in range(5)]
    made = w2s.combine([w2s.SoftLabels(ids, np.eye(2)[h], "one") for h in hard], "majority")
    assert (made.hard == truth).mean() > 0.8  # 0.837 expected of five independent ones


def test_the_most_confident_share_of_each_predicted_class_is_kept(words):
    n = len(words.student)
    p1 = np.r_[np.linspace(0.5, 0.9, n - 20), np.linspace(0.0, 0.4, 20)]
    made = w2s.SoftLabels(words.student.ids, np.stack([1 - p1, p1], axis=1), "a test")
    keep = made.confident(words.student, 0.1)
    assert keep.sum() == round(0.1 * (n - 20)) + 2 and keep[n - 20 : n - 18].all() and keep[n - 21]
    assert made.confident(words.student, 1.0).all()


@pytest.mark.filterwarnings("ignore:labels")  # of the unknown row
@pytest.mark.parametrize("suffix", ["csv", "parquet", "jsonl"])
@pytest.mark.parametrize("key", ["id", "text"])
@pytest.mark.parametrize("value", ["label", "probability"])
def test_labels_from_a_file(suffix, key, value, words, tmp_path):
    split = words.student
    keys = split.ids if key == "id" else [t[0] for t in split.texts]
    given = split.hard_label if value == "label" else np.linspace(0, 1, len(split))
    frame = pd.DataFrame({"note": "x", key: keys, value: given}).sample(frac=1, random_state=0)
    frame = pd.concat([frame, pd.DataFrame({key: ["unknown"], value: [1], "note": ["y"]})])
    path = tmp_path / f"labels.{suffix}"
    write = {
        "csv": lambda: frame.to_csv(path, index=False),
        "parquet": lambda: frame.to_parquet(path),
        "jsonl": lambda: frame.to_json(path, orient="records", lines=True),
    }
    write[suffix]()
    made = w2s.SoftLabels.from_file(path, split, words.validation)
    assert len(made) == len(split) and made.source == path.name
    np.testing.assert_allclose(made.for_split(split)[:, 1], given, atol=1e-9)


def test_several_labels_of_one_example_are_averaged_and_unlabelled_examples_named(
    words, tmp_path, tiny
):
    ids = words.student.ids
    path = tmp_path / "crowd.csv"
    rows = [f"{i},{int(k < 3)}" for i in ids[:40] for k in range(4)]  # four workers, three say 1
    path.write_text("id,label\n" + "\n".join(rows))
    made = w2s.SoftLabels.from_file(path, words.student)
    assert (made.probs[:, 1] == 0.75).all() and made.knows(words.student).sum() == 40
    with pytest.raises(ValueError, match=r"lack 56 of 96.*split.take\(labels.knows\(split\)\)"):
        w2s.fit(tiny, words.student, made, method="probe", epochs=5)
    fit = w2s.fit(
        tiny, words.student.take(made.knows(words.student)), made, method="probe", epochs=5
    )
    assert fit.stop == "last" and len(fit.record["trained_on"]) == 40


@pytest.mark.parametrize(
    "name, text, error, says",
    [
        ("a.txt", "id,label", ValueError, "expected one of .csv, .tsv, .jsonl, .json, .parquet"),
        ("none.csv", None, FileNotFoundError, "none.csv"),
        ("a.csv", "key,label\n1,1\n", ValueError, "has columns key, label; expected id or text"),
        (
            "a.csv",
            "id,label\nx,2\n",
            ValueError,
            "a.csv, row 1: label is '2'; expected 0 or 1; wrong in 1 of 1 rows",
        ),
        (
            "a.csv",
            "id,probability\nx,0.5\nx,1.5\n",
            ValueError,
            r"row 2: probability is '1.5'; expected a number in \[0, 1\]",
        ),
        ("a.csv", "id,label\nx,maybe\n", ValueError, "row 1: label is 'maybe'"),
        ("a.csv", "id,label\nx,\n", ValueError, "row 1: label is missing; expected 0 or 1"),
        (
            "a.csv",
            "id,label\nx,1\n",
            ValueError,
            "none of its 1 rows has the id of one of the 96 examples",
        ),
    ],
)
def test_files_that_hold_no_labels_are_refused(name, text, error, says, words, tmp_path):
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(error, match=says):
        w2s.SoftLabels.from_file(tmp_path / name, words.student)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_texts_that_look_like_numbers_dates_or_missing_values_stay_texts(suffix, tmp_path):
    odd = ["null", "007", "1e5", "NA", "true", "nan", "2020-01-01", "1577836800000", "", "1.50"]
    n = len(odd)
    ids = IDS[:n]
    split = Split(
        "odd", ids, tuple((text,) for text in odd), np.arange(n) % 2, np.arange(n), task=None
    )
    path = tmp_path / f"odd.{suffix}"
    frame = pd.DataFrame({"text": odd, "label": split.hard_label})
    if suffix == "csv":
        frame.to_csv(path, index=False)
    else:
        frame.to_json(path, orient="records", lines=True)
    read = w2s.SoftLabels.from_file(path, split)
    assert read.covers(split)
    np.testing.assert_array_equal(read.for_split(split)[:, 1], split.hard_label)


def texts_split(texts, name="student"):
    """Returns a split of these texts, with the ids of a task `a`."""
    ids = np.array([example_id("a", w2s.Example((text,), 0)) for text in texts])
    n = len(texts)
    return Split(name, ids, tuple((t,) for t in texts), np.arange(n) % 2, np.arange(n))


def write_labels(path, texts):
    rows = pd.DataFrame({"text": texts, "label": np.arange(len(texts)) % 2})
    rows.to_csv(path, index=False, quoting=csv.QUOTE_ALL)
    return path


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    "change",
    [
        lambda t: t.replace("\n", "\r\n"),
        lambda t: t.replace("\n", "\r"),
        lambda t: t.replace("\n", " "),
        lambda t: f"  {t}\n",
        lambda t: t.replace("\n", "\n\n "),
    ],
)
def test_texts_find_their_examples_whatever_their_white_space(change, tmp_path):
    split = texts_split([f"line one of {i}\nline two" for i in range(6)])
    path = write_labels(tmp_path / "labels.csv", [change(t) for (t,) in split.texts])
    read = w2s.SoftLabels.from_file(path, split)
    np.testing.assert_array_equal(read.for_split(split)[:, 1], split.hard_label)


def test_texts_that_differ_by_white_space_alone_are_told_apart_or_left_out(tmp_path):
    split = texts_split(["if a:\n  b", "if a:\nb", "else"])
    path = write_labels(tmp_path / "labels.csv", ["if a:\r\n  b", "if a: b", "else"])
    with pytest.warns(UserWarning, match="1 of no example given.* 1 of the 3 examples"):
        read = w2s.SoftLabels.from_file(path, split)
    assert read.knows(split).tolist() == [True, False, True]


@pytest.mark.parametrize("key", ["id", "text"])
def test_rows_that_find_no_example_are_counted(key, tmp_path):
    split, other = texts_split(list("abcde")), texts_split(list("uvw"), "test")
    rows = [*split.ids[:3], *other.ids] if key == "id" else list("abcuvw")
    path = tmp_path / "labels.csv"
    pd.DataFrame({key: [*rows, rows[0]], "label": 1}).to_csv(path, index=False)
    says = "labels.csv: of 7 rows 4 are of examples given, 3 of no example given; 2 of the 5 exam"
    with pytest.warns(UserWarning, match=says):
        w2s.SoftLabels.from_file(path, split)


@pytest.mark.filterwarnings("error")
def test_rows_of_other_splits_of_the_task_are_no_surprise(words, tmp_path):
    path = tmp_path / "labels.csv"
    ids = np.concatenate([words.supervisor.ids, words.student.ids[:40]])
    pd.DataFrame({"id": ids, "label": 1}).to_csv(path, index=False)
    assert len(w2s.SoftLabels.from_file(path, words.student)) == 40


@pytest.mark.parametrize(
    "columns, says",
    [
        (
            {"id": ["x", "y"], "label": [1, 0], "probability": [0.9, 0.2]},
            "has both label and probability; keep the one that is meant",
        ),
        (
            {"text": ["a", "c"], "label": [1, 0]},
            "text of 1 of 2 rows is not that of its id, first in row 2: 'c'",
        ),
    ],
)
def test_two_columns_that_could_be_meant_are_refused(columns, says, tmp_path):
    split = texts_split(["a", "b"])
    path = tmp_path / "labels.csv"
    pd.DataFrame({"id": split.ids} | columns).to_csv(path, index=False)
    with pytest.raises(ValueError, match=says):
        w2s.SoftLabels.from_file(path, split)


def test_an_undecided_supervisor_gives_half_a_vote_to_each():
    sets = [w2s.SoftLabels(IDS[:1], np.array([[1 - p, p]]), "one") for p in (0.5, 0.9, 0.2)]
    np.testing.assert_allclose(w2s.combine(sets, "majority").probs, [[0.5, 0.5]])


def test_labels_and_answers_are_shown_shortly(words):
    soft = w2s.SoftLabels(words.student.ids, np.eye(2)[words.student.hard_label], "<me>")
    assert repr(soft) == "SoftLabels(96 examples by <me>, 50% of class 1)"
    assert repr(soft.select(words.student, [])).endswith("0 of 96, none)")
    assert "&lt;me&gt;" in soft._repr_html_() and "1.000" in soft._repr_html_()
    answers = labels_module.Answers(IDS[:3], (" e4", " e4", " d4"), "a model")
    assert repr(answers) == "Answers(3 examples by a model, such as ' e4')"
    assert "&#x27;e4&#x27; 2, &#x27;d4&#x27; 1" in answers._repr_html_()
    nothing = labels_module.Answers(IDS[:0], (), "nobody")
    assert repr(nothing) == "Answers(0 examples by nobody)" and nothing._repr_html_()


def split_of(classes, n=300, name="student", seed=0):
    """Returns a split of n texts in these classes, of random lengths and labels."""
    rng = np.random.default_rng(seed)
    texts = tuple(("a" * length,) for length in rng.integers(1, 40, size=n))
    ids = np.array([f"{name[0]}{i:015x}" for i in range(n)])
    hard_label = rng.integers(len(classes), size=n)
    return Split(name, ids, texts, hard_label, np.arange(n), classes=tuple(classes))


def random_labels(split, right=0.6, seed=0):
    """Returns soft labels of a split that give the true class this much more than the others."""
    rng = np.random.default_rng(seed)
    truth = np.eye(split.n_classes)[split.hard_label]
    noise = rng.dirichlet(np.ones(split.n_classes), size=len(split))
    return w2s.SoftLabels(split.ids, right * truth + (1 - right) * noise, f"supervisor {seed}")


def test_labels_of_three_classes_are_hardened_shown_and_measured_by_the_likeliest():
    probs = np.array([[0.2, 0.5, 0.3], [0.4, 0.2, 0.4], [0.8, 0.1, 0.1], [0, 0.1, 0.9]])
    made = w2s.SoftLabels(IDS[:4], probs, "me")
    assert made.n_classes == 3 and made.hard.tolist() == [1, 2, 0, 2]
    assert made.confidence.tolist() == [0.5, 0.4, 0.8, 0.9]
    np.testing.assert_array_equal(made.harden().probs, np.eye(3)[[1, 2, 0, 2]])
    assert repr(made) == "SoftLabels(4 examples by me, 25% of class 1, 50% of class 2)"
    assert "share of class 2</th><td>0.500" in made._repr_html_()
    many = w2s.SoftLabels(IDS, np.eye(100), "many")
    assert len(repr(many)) < 200 and len(many._repr_html_()) < 1000


def test_labels_of_other_classes_than_the_splits_are_refused():
    three, two = split_of("abc"), split_of("ab")
    with pytest.raises(ValueError, match="are of 2 classes; the split 'student' has 3: a, b, c"):
        w2s.SoftLabels.truth(two).for_split(three)
    with pytest.raises(ValueError, match="not of the same classes: 2 and 3"):
        w2s.combine([w2s.SoftLabels.truth(three), w2s.SoftLabels.truth(two)])
    with pytest.raises(ValueError, match="splits of different classes: a, b, c and a, b; expected"):
        w2s.simulate("random", (three, two), 0.9)
    np.testing.assert_array_equal(
        w2s.SoftLabels.truth(three).for_split(three), np.eye(3)[three.hard_label]
    )


@pytest.mark.parametrize("rate", [0.3, 1.0])
def test_flip_moves_the_likeliest_class_evenly_to_the_others(rate):
    split = split_of("abcd", n=3000)
    made = random_labels(split)
    flipped = made.flip(rate, seed=1)
    moved = flipped.hard != made.hard
    assert moved.sum() == round(3000 * rate)
    np.testing.assert_allclose(np.sort(flipped.probs, axis=1), np.sort(made.probs, axis=1))
    assert ((~np.isclose(flipped.probs, made.probs)).sum(axis=1) == 2 * moved).all()
    steps = np.bincount((flipped.hard - made.hard)[moved] % 4, minlength=4)
    assert (np.abs(steps[1:] / moved.sum() - 1 / 3) < 0.06).all()


@pytest.mark.parametrize("errors", labels_module.ERRORS)
def test_simulated_errors_of_three_classes_are_as_many_as_asked_for_and_of_either_other_class(
    errors,
):
    split, validation = split_of("abc", n=900), split_of("abc", n=60, name="validation")
    strong_of = [random_labels(one, 0.9) for one in (split, validation)]
    strong = w2s.SoftLabels(
        np.concatenate([one.ids for one in strong_of]),
        np.concatenate([one.probs for one in strong_of]),
        "a strong model",
    )
    made = w2s.simulate(errors, (split, validation), 0.7, strong=strong, seed=1)
    for one in (split, validation):
        moved = (made.for_split(one).argmax(1) - one.hard_label) % 3
        assert (moved > 0).sum() == round(0.3 * len(one))
    steps = np.bincount((made.for_split(split).argmax(1) - split.hard_label) % 3)
    assert abs(steps[1] / 270 - 0.5) < 0.1
    assert w2s.simulate(errors, split, 0.0, strong=strong).for_split(split).argmax(1).max() == 2


def test_errors_of_three_classes_fall_where_the_strong_model_is_confident_or_not():
    split = split_of("abc")
    # the likeliest class has less than one half in a third of the rows, and is the true one
    p = np.linspace(0.36, 0.99, len(split))[:, None]
    truth = np.eye(3)[split.hard_label]
    strong = w2s.SoftLabels(split.ids, p * truth + (1 - p) / 2 * (1 - truth), "a strong model")
    for errors, expected in (("unconfident", slice(None, 60)), ("confident", slice(-60, None))):
        made = w2s.simulate(errors, split, 0.8, strong=strong)
        wrong = made.for_split(split).argmax(1) != split.hard_label
        assert wrong[expected].all() and wrong.sum() == 60


def test_the_most_confident_share_of_each_of_three_predicted_classes_is_kept():
    split = split_of("abc")
    made = random_labels(split, 0.3)
    keep = made.confident(split, 0.2)
    for number in range(3):
        of_class = made.hard == number
        assert (keep & of_class).sum() == round(0.2 * of_class.sum())
        assert made.confidence[keep & of_class].min() >= made.confidence[of_class & ~keep].max()


def test_a_tie_of_a_majority_of_three_classes_is_split_evenly():
    rows = [[0.4, 0.4, 0.2], [0.1, 0.2, 0.7], [0.5, 0.3, 0.2]]
    sets = [w2s.SoftLabels(IDS[:1], np.array([row]), "one") for row in rows]
    np.testing.assert_allclose(w2s.combine(sets, "majority").probs, [[0.5, 1 / 6, 1 / 3]])
    np.testing.assert_allclose(w2s.combine(sets).probs, np.mean(rows, axis=0)[None])


def test_weights_of_three_classes_are_above_0_from_an_accuracy_of_a_third():
    validation = split_of("abc", n=100, name="validation")

    def voter(n_wrong):
        hard = validation.hard_label.copy()
        hard[:n_wrong] = (hard[:n_wrong] + 1) % 3
        return w2s.SoftLabels(validation.ids, np.eye(3)[hard] * 0.7 + 0.1, f"{n_wrong} wrong")

    made = w2s.combine([voter(20), voter(60), voter(70)], "weighted", validation=validation)
    weights = np.log([2 * 0.8 / 0.2, 2 * 0.4 / 0.6, 1])
    expected = np.average(
        [voter(n).probs for n in (20, 60, 70)], axis=0, weights=weights * [1, 1, 0]
    )
    np.testing.assert_allclose(made.probs, expected)
    with pytest.raises(ValueError, match="better than chance"):
        w2s.combine([voter(70), voter(67)], "weighted", validation=validation)


def test_permuting_the_classes_permutes_combined_labels():
    split = split_of("abc")
    sets = [random_labels(split, 0.3, seed) for seed in range(3)]
    order = np.array([2, 0, 1])
    permuted = [w2s.SoftLabels(one.ids, one.probs[:, order], one.source) for one in sets]
    for how in ("mean", "majority"):
        np.testing.assert_allclose(
            w2s.combine(permuted, how).probs, w2s.combine(sets, how).probs[:, order]
        )


def test_two_classes_keep_the_labels_that_they_had_before_there_were_more():
    rng = np.random.default_rng(0)
    truth = rng.integers(2, size=200)
    truth[:2] = 0, 1

    def split(name, letter, hard_label, step, turn):
        n = len(hard_label)
        ids = np.array([f"{letter}{i:015x}" for i in range(n)])
        texts = tuple((letter + letter * (i * step % turn),) for i in range(n))
        return Split(name, ids, texts, hard_label, np.arange(n))

    student = split("student", "0", truth, 7, 31)
    validation = split("validation", "v", np.arange(40) % 2, 5, 13)

    def supervisor(seed, right):
        rng = np.random.default_rng(seed)
        y = np.concatenate([truth, validation.hard_label])
        p1 = np.where(rng.random(240) < right, y, 1 - y) * 0.4 + 0.6 * rng.random(240)
        probs = np.stack([1 - p1.round(2), p1.round(2)], axis=1)
        return w2s.SoftLabels(np.concatenate([student.ids, validation.ids]), probs, f"s{seed}")

    each = [supervisor(1, 0.9), supervisor(2, 0.7), supervisor(3, 0.8)]
    splits = (student, validation)
    made = {
        errors: w2s.simulate(errors, splits, 0.737, strong=each[0], seed=3).fingerprint
        for errors in labels_module.ERRORS
    }
    made |= {
        how: w2s.combine(each, how, validation=validation).fingerprint
        for how in labels_module.COMBINE[:3]
    }
    made["flip"] = each[1].flip(0.3, seed=2).fingerprint
    made["harden"] = each[1].harden().fingerprint
    assert made == {
        "random": "888e2210509b9a2d",
        "longest": "d372607953a76cfb",
        "shortest": "c813e1022c71c55e",
        "unconfident": "9e45cbfbdeca06f2",
        "confident": "3ac5262fed3fef75",
        "mean": "a2b8432d4dcfcee6",
        "majority": "f48a5802a1af6eeb",
        "weighted": "d2940f15b19c596d",
        "flip": "18ca1efcc557a994",
        "harden": "54ecea05752a9637",
    }
    kept = np.flatnonzero(each[1].confident(student, 0.1))
    assert kept.tolist()[:6] == [1, 5, 25, 36, 50, 53] and len(kept) == 20


# Table 1 of Dawid and Skene 1979: 45 patients, seen by observer 1 three times and by observers 2 to
# 5 once; the class that each gave, from 1
ANAESTHETISTS = """
1111111 3334334 1122122 2223121 2223222 2223322 1222111 3333433 2222223 2322223 4444444 2223343
1111111 2223212 1211111 1112111 1111111 1111111 2222221 2221322 2222222 2222221 2223222 2212222
1111111 1111111 2322222 1111111 1111111 1121121 1111111 3333233 1111111 2222222 2223232 4334343
2212232 2323233 3333432 1111111 1111111 1212111 2322222 1211111 2222222
"""
OBSERVER = np.array([0, 0, 0, 1, 2, 3, 4])


def anaesthetists_votes():
    """Returns votes (r, 4), patients (r,) and observers (r,) of `ANAESTHETISTS`."""
    given = np.array([[int(vote) - 1 for vote in row] for row in ANAESTHETISTS.split()])
    patient = np.repeat(np.arange(45), 7)
    return np.eye(4)[given.ravel()], patient, np.tile(OBSERVER, 45)


def test_dawid_skene_gives_the_published_estimates():
    classes, confusion = dawid_skene(*anaesthetists_votes())
    np.testing.assert_allclose(classes.mean(axis=0), [0.40, 0.42, 0.11, 0.07], atol=0.005)
    np.testing.assert_allclose(classes[6], [0.98, 0.02, 0, 0], atol=0.005)
    assert classes[1].argmax() == 3, "patient 2 had 3 five times and 4 twice"
    published = {
        0: [[0.89, 0.11, 0, 0], [0.07, 0.88, 0.05, 0], [0, 0.34, 0.66, 0], [0, 0, 0.56, 0.44]],
        1: [[0.83, 0.17, 0, 0], [0.05, 0.63, 0.32, 0], [0, 0, 1, 0], [0, 0, 0, 1]],
        4: [[1, 0, 0, 0], [0.16, 0.73, 0.11, 0], [0, 0.21, 0.79, 0], [0, 0, 0.33, 0.67]],
    }
    for observer, expected in published.items():
        np.testing.assert_allclose(confusion[observer], expected, atol=0.006)


def test_dawid_skene_permutes_with_the_classes_and_the_workers():
    votes, patient, observer = anaesthetists_votes()
    classes, confusion = dawid_skene(votes, patient, observer)
    order, of_workers = np.array([2, 0, 3, 1]), np.array([4, 2, 0, 1, 3])
    rows = np.random.default_rng(0).permutation(len(votes))
    again, confusion_again = dawid_skene(
        votes[rows][:, order], patient[rows], of_workers[observer][rows]
    )
    np.testing.assert_allclose(again, classes[:, order], atol=1e-9)
    np.testing.assert_allclose(
        confusion_again[of_workers], confusion[:, order][:, :, order], atol=1e-9
    )


def workers_of(truth, rights, seed=0):
    """Returns a set of labels per worker, right as often as given; the last always says 1."""
    rng = np.random.default_rng(seed)
    n = len(truth)
    ids = np.array([f"{i:016x}" for i in range(n)])
    voted = [
        np.where(rng.random(n) < right, truth, (truth + rng.integers(1, 3, size=n)) % 3)
        for right in rights
    ]
    return [w2s.SoftLabels(ids, np.eye(3)[v], "one") for v in [*voted, np.full(n, 1)]]


def test_dawid_skene_beats_the_majority_where_workers_differ_and_one_is_constant():
    truth = np.random.default_rng(1).integers(3, size=600)
    sets = workers_of(truth, (0.9, 0.8, 0.5, 0.4, 0.4))
    accuracy = {
        how: (w2s.combine(sets, how).hard == truth).mean() for how in ("majority", "dawid-skene")
    }
    assert accuracy["dawid-skene"] > accuracy["majority"] + 0.1


def crowd_file(path, split, columns, **more):
    pd.DataFrame({"id": split.ids} | columns).to_csv(path, index=False)
    return w2s.SoftLabels.from_file(path, split, **more)


THREE = ("negative", "neutral", "positive")


@pytest.mark.parametrize(
    "given, classes",
    [
        (lambda y: np.array(THREE)[y], None),
        (lambda y: [f" {THREE[k].upper()}" for k in y], None),
        (lambda y: y, None),
        (lambda y: [float(k) for k in y], None),
        (lambda y: np.array(["bad", "so", "good"])[y], ("bad", "so", "good")),
        (lambda y: np.array([2, 0, 1])[y], (2, 0, 1)),
    ],
)
def test_labels_of_three_classes_are_read_by_name_or_number(given, classes, tmp_path):
    split = split_of(THREE, n=30)
    made = crowd_file(
        tmp_path / "a.csv", split, {"label": given(split.hard_label)}, classes=classes
    )
    np.testing.assert_array_equal(made.for_split(split), np.eye(3)[split.hard_label])


def test_classes_that_are_called_by_numbers_are_read_by_their_names(tmp_path):
    split = split_of(("1", "2", "3"), n=30)
    stars = crowd_file(tmp_path / "a.csv", split, {"label": split.hard_label + 1})
    np.testing.assert_array_equal(stars.hard[stars.ids.argsort()], split.hard_label)
    numbers = crowd_file(tmp_path / "b.csv", split, {"label": split.hard_label})
    np.testing.assert_array_equal(numbers.probs, stars.probs)


@pytest.mark.parametrize(
    "name", [lambda k: f"probability_{THREE[k]}", lambda k: THREE[k], lambda k: f"probability_{k}"]
)
def test_probabilities_of_three_classes_are_read_from_a_column_each(name, tmp_path):
    split = split_of(THREE, n=30)
    probs = random_labels(split).for_split(split)
    columns = {name(k): probs[:, k].round(3) for k in (2, 0, 1)}  # in any order
    made = crowd_file(tmp_path / "a.csv", split, columns)
    np.testing.assert_allclose(made.for_split(split), probs, atol=2e-3)


@pytest.mark.parametrize("thirds", [(0.33, 0.33, 0.33), (0.34, 0.34, 0.33)])
def test_probabilities_may_be_rounded_to_two_digits(thirds, tmp_path):
    split = split_of(THREE, n=3)
    columns = dict(zip(THREE, np.array([thirds, (1, 0, 0), (0, 1, 0)]).T, strict=True))
    made = crowd_file(tmp_path / "a.csv", split, columns).for_split(split)
    np.testing.assert_allclose(made.sum(axis=1), 1)
    np.testing.assert_allclose(made[0], np.array(thirds) / sum(thirds))


def test_names_and_columns_of_two_classes_are_read_too(tmp_path):
    split = split_of(("no", "yes"), n=20)
    truth = np.eye(2)[split.hard_label]
    by_name = crowd_file(
        tmp_path / "a.csv", split, {"label": np.array(["no", "yes"])[split.hard_label]}
    )
    by_column = crowd_file(tmp_path / "b.csv", split, {"yes": truth[:, 1], "no": truth[:, 0]})
    for made in (by_name, by_column):
        np.testing.assert_array_equal(made.for_split(split), truth)
    beside = crowd_file(tmp_path / "c.csv", split, {"label": split.hard_label, "no": 7, "yes": 3})
    np.testing.assert_array_equal(beside.for_split(split), truth)


@pytest.mark.parametrize(
    "columns, more, says",
    [
        ({"label": [0, 1, 3]}, {}, "a.csv, row 3: label is '3'; expected 0, 1 or 2"),
        (
            {"label": ["neutral", "bad", "bad"]},
            {},
            "row 2: label is 'bad'; expected 'negative', 'n",
        ),
        ({"label": [0, 1, 2]}, {"classes": ("bad", "good")}, "expected 3 different values"),
        ({"probability": [0.5, 0.1, 1]}, {}, "have 3: expected label or probability_negative, pro"),
        ({"score": [0.5, 0.1, 1]}, {}, "expected id or text, and label or probability_negative,"),
        ({"probability_neutral": [0.5, 0.1, 1]}, {}, "but not probability_negative, probability_p"),
        (
            {"negative": [0.5, 0.1, 1], "neutral": [0.5, 0.1, 0], "positive": [0, 0.7, 0]},
            {},
            "row 2: negative, neutral, positive sum to 0.9; expected 1; wrong in 1 of 3 rows",
        ),
        (
            {"negative": [0.5, "", 1], "neutral": [0.5, 0.1, 0], "positive": [0, 0.7, 0]},
            {},
            r"row 2: negative is missing; expected a number in \[0, 1\]",
        ),
        ({"label": [0, 1, 2]}, {"combine": "dawid-skene"}, "combine='dawid-skene' needs worker"),
        (
            {"label": [0, 1, 2], "worker": ["a", "", "b"]},
            {"combine": "dawid-skene"},
            "row 2: worker is missing; in 1 of 3 rows",
        ),
        ({"label": [0, 1, 2]}, {"combine": "dawidskene"}, "Near: .*dawid-skene"),
    ],
)
def test_files_that_hold_no_labels_of_three_classes_are_refused(columns, more, says, tmp_path):
    split = split_of(THREE, n=3)
    with pytest.raises(ValueError, match=says):
        crowd_file(tmp_path / "a.csv", split, columns, **more)


def test_rows_of_workers_are_combined_by_how_each_errs(tmp_path):
    split = split_of(THREE, n=600)
    sets = workers_of(split.hard_label, (0.9, 0.8, 0.5, 0.4, 0.4))
    rows = [
        {"id": example, "worker": f" W{number}", "label": THREE[voted]}
        for number, one in enumerate(sets)
        for example, voted in zip(split.ids, one.hard, strict=True)
        if number < 5 or voted == 1
    ]
    path = tmp_path / "crowd.csv"
    pd.DataFrame(rows).sample(frac=1, random_state=0).to_csv(path, index=False)
    weighed = w2s.SoftLabels.from_file(path, split, combine="dawid-skene")
    averaged = w2s.SoftLabels.from_file(path, split)
    combined = w2s.combine(sets, "dawid-skene")
    np.testing.assert_allclose(weighed.for_split(split), combined.probs, atol=1e-3)
    np.testing.assert_allclose(averaged.for_split(split), w2s.combine(sets).probs, atol=1e-9)
    assert (weighed.for_split(split).argmax(1) == split.hard_label).mean() > 0.87
    some = w2s.SoftLabels.from_file(path, split.take(np.arange(5)), combine="dawid-skene")
    assert some.knows(split).sum() == 5


def test_unsure_workers_are_combined_by_the_classes_that_they_find_likeliest(tmp_path):
    split = split_of(THREE, n=300)
    sets = workers_of(split.hard_label, (0.9, 0.8, 0.7))
    sure, unsure = [
        crowd_file(
            tmp_path / f"{p}.csv",
            split.take(np.tile(np.arange(300), 3)),
            {"worker": np.repeat([0, 1, 2], 300)}
            | {
                name: np.concatenate([np.where(one.hard == k, p, (1 - p) / 2) for one in sets[:3]])
                for k, name in enumerate(THREE)
            },
            combine="dawid-skene",
        )
        for p in (1, 0.5)
    ]
    np.testing.assert_allclose(unsure.probs, sure.probs)
    assert (unsure.for_split(split).argmax(1) == split.hard_label).mean() > 0.85


@pytest.mark.parametrize("errors", ["longest", "shortest"])
def test_errors_by_length_are_of_texts_not_of_images(errors):
    split = split_of("abc", n=4)
    images = replace(split, texts=tuple((f"image:{i:032x}",) for i in range(4)))
    with pytest.raises(ValueError, match=f"errors '{errors}' needs texts; the examples of s"):
        w2s.simulate(errors, images, 0.5)
    assert len(w2s.simulate("random", images, 0.5)) == 4
