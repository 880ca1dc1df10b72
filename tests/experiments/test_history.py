"""Tests of the table of all stored students."""

import numpy as np
import pytest

import w2s_nb as w2s
from w2s_nb.common import store

SIZES = dict(n_train=96, n_val=32, n_test=64)


def test_every_student_stands_with_the_intervals_of_its_arms(words, tiny):
    # of these random models the shallow one is the better
    arms = w2s.run_arms(
        "words",
        tiny,
        f"{tiny}@1",
        losses=("xent", "confidence"),
        loss_args={"confidence": {"alpha": 0.75}},
        method="probe",
        epochs=30,
        seeds=2,
        **SIZES,
    )
    w2s.run_arms("words", f"{tiny}@2", f"{tiny}@1", method="probe", epochs=30, **SIZES)
    rows = w2s.all_students()
    assert len(rows) == 3 and rows.weak.tolist().count(tiny) == 2
    row = rows[(rows.weak == tiny) & (rows.arm == "student, confidence")].iloc[0]
    assert row.setting == "epochs = 30, alpha = 0.75" and row.seeds == 2 and row.n_train == 96
    table = arms.table()
    for name in ("accuracy", "pgr", "agreement"):
        for end in ("", "_low", "_high"):
            assert row[name + end] == pytest.approx(table.loc["student, confidence", name + end])
    assert row.ceiling_accuracy == table.accuracy["strong ceiling"]


def test_nothing_but_seeds_is_pooled(words, tiny):
    def one_setting(**change):
        return w2s.one_setting(
            "words", tiny, f"{tiny}@1", **dict(n_labels=48, **SIZES) | dict(epochs=5) | change
        )

    one_setting(seeds=[2, 0])
    one_setting(seeds=[1], n_val=20)
    one_setting(seeds=[1], n_train=48)
    rows = w2s.all_students()
    assert (
        sorted(rows.seeds) == [1, 1, 2]
        and (rows.setting.str.contains("supervisor's n_train = 96").sum()) == 2
    )
    two = rows[rows.seeds == 2].iloc[0]
    ordered = one_setting(seeds=[0, 2]).table()
    assert [two[f"accuracy{end}"] for end in ("_low", "_high")] == [
        ordered[f"accuracy{end}"]["student, naive"] for end in ("_low", "_high")
    ], "seeds in their own order"


def test_a_checkpoint_chosen_by_test_labels_is_never_shown(words, tiny):
    supervisor = w2s.fit(tiny, words.supervisor, method="probe", epochs=40)
    student = w2s.fit(
        f"{tiny}@1",
        words.student,
        supervisor.label(words.student),
        method="probe",
        epochs=40,
        stop="oracle",
    )
    by = {stop: student.accuracy(words.test, stop=stop).value for stop in ("oracle", "validation")}
    assert w2s.all_students().accuracy[0] == by["validation"] <= by["oracle"]


def test_a_damaged_seed_costs_itself_only_and_an_older_version_is_left_out(words, tiny):
    arms = w2s.run_arms("words", tiny, f"{tiny}@1", method="probe", epochs=5, seeds=3, **SIZES)
    broken = store.folder(arms.fits["student, naive"][1].address) / "predictions.parquet"
    broken.write_bytes(b"broken")
    assert w2s.all_students().seeds.tolist() == [2]
    first = arms.fits["student, naive"][0].address
    record, predictions, curve = store.read(first)
    older = record | {
        "config": record["config"] | {"code": ["older", "older"]},
        "created": "2020-01-01",
    }
    store.write(first, {k: v for k, v in older.items() if k != "checksum"}, predictions, curve)
    assert w2s.all_students().seeds.tolist() == [1]


def test_a_student_needs_a_supervisor_and_whole_files_but_no_ceiling(words, tiny):
    assert w2s.all_students().empty
    supervisor = w2s.fit(f"{tiny}@1", words.supervisor, method="probe", epochs=5)
    nobody = w2s.SoftLabels(words.student.ids, np.full((96, 2), 0.5), "nobody")
    w2s.fit(tiny, words.student, nobody, method="probe", epochs=5)
    assert w2s.all_students().empty, "labels of nobody"
    student = w2s.fit(
        tiny, words.student, supervisor.label(words.student), method="probe", epochs=5
    )
    assert len(rows := w2s.all_students()) == 1 and np.isnan(rows.pgr[0]) and rows.accuracy[0] > 0
    few = words.student.take(slice(50))
    w2s.fit(tiny, few, method="probe", epochs=5)
    w2s.fit(tiny, words.student, method="probe", epochs=5)
    assert (
        w2s.all_students().ceiling_accuracy[0]
        == w2s.fit(tiny, words.student, method="probe", epochs=5).accuracy(words.test).value
    ), "of two ceilings that on the student's own examples"
    (store.folder(student.address) / "predictions.parquet").write_bytes(b"broken")
    assert w2s.all_students().empty


def test_the_ceiling_is_as_deep_as_the_student(words, tiny):
    # All depths of a model share its weights' digest.
    for strong in (f"{tiny}@1", f"{tiny}@2", f"{tiny}@3"):
        arms = w2s.run_arms("words", tiny, strong, method="probe", epochs=20, **SIZES)
        row = w2s.all_students().set_index("strong").loc[strong]
        assert row.ceiling_accuracy == arms.table().accuracy["strong ceiling"], strong
    ceilings = w2s.all_students().ceiling_accuracy
    assert ceilings.nunique() == 3, "the test could not fail"
