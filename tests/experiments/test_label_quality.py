"""Tests of tables of label quality, lists of mistakes, and labels by a rule or a file."""

import numpy as np
import pandas as pd
import pytest

import w2s_nb as w2s
from w2s_nb import metrics

QUICK = dict(method="probe", epochs=20)


def test_label_quality_is_measured_by_groups_on_the_student_half(words, tiny):
    table = w2s.label_quality({f"{tiny}@1": QUICK, tiny: QUICK}, [words])
    assert table.index.tolist() == [(f"{tiny}@1", words.seed), (tiny, words.seed)]
    probs = w2s.fit(tiny, words.supervisor, seed=words.seed, **QUICK).predict(words.student)
    half = words.student
    error = metrics.calibration_error(probs, half.hard_label, group=half.group)
    row = table.loc[(tiny, words.seed)]
    assert row[["ECE", "ECE_low", "ECE_high"]].tolist() == [error.value, error.low, error.high]
    assert row.accuracy == metrics.accuracy(probs, half.hard_label).value
    with pytest.raises(ValueError, match="epochs"):
        w2s.label_quality({tiny: {"method": "probe", "epochs": -1}}, [words])


def test_surest_mistakes_come_in_order_and_name_the_truth(words):
    half = words.student
    p1 = np.linspace(0, 1, len(half))
    labels = w2s.SoftLabels(half.ids, np.stack([1 - p1, p1], axis=1), "a ramp")
    listed = w2s.surest_mistakes(labels, half, 5)
    wrong = (p1 >= 0.5) != half.hard_label
    surest = np.sort(np.maximum(p1, 1 - p1)[wrong])[::-1][:5]
    first, second = half.classes
    shown = listed[f"P({second})"].astype(float)
    assert np.maximum(shown, 1 - shown).tolist() == pytest.approx(surest.tolist(), abs=0.006)
    assert set(listed.truth) <= {first, second} and listed.text[0] in {t[0] for t in half.texts}
    assert all((p > 0.5) != (truth == second) for p, truth in zip(shown, listed.truth))
    with pytest.raises(ValueError, match="n = 0"):
        w2s.surest_mistakes(labels, half, 0)


def test_texts_of_a_table_are_shown_whole_and_escaped(words):
    half = words.student
    labels = w2s.SoftLabels(half.ids, np.tile([0.9, 0.1], (len(half), 1)), "sure of the first")
    listed = w2s.surest_mistakes(labels, half, 1)
    listed.loc[0, "text"] = "<b>" + "long " * 30 + "end"
    assert "end" in listed._repr_html_() and "&lt;b&gt;" in listed._repr_html_()
    assert listed.loc[0, "text"] in repr(listed)


def test_labels_of_a_rule_go_through_a_file(words, tiny, tmp_path):
    rule = {text: 0.25 for split in words.splits for (text,) in split.texts}
    file = w2s.write_labels(tmp_path / "rule.csv", rule.__getitem__, [words, words])
    written = pd.read_csv(file)
    assert len(written) == sum(map(len, words.splits)) and set(written.probability) == {0.25}
    labels = w2s.labels_from_file(file)(words, None)
    assert labels.for_split(words.student)[:, 1].tolist() == [0.25] * len(words.student)
    with pytest.raises(ValueError, match="the rule gives 2"):
        w2s.write_labels(tmp_path / "rule.csv", lambda text: 2, [words])
    missing = {"rule": w2s.labels_from_file(tmp_path / "none.csv")}
    with pytest.raises(FileNotFoundError, match=r"none\.csv"):
        w2s.run_arms("words", f"{tiny}@1", tiny, labels=missing, n_train=96, n_val=32, n_test=64)


def test_a_rule_of_more_classes_is_refused(three, tmp_path):
    with pytest.raises(ValueError, match="3 classes; expected two"):
        w2s.write_labels(tmp_path / "rule.csv", lambda text: 0.5, [three])
