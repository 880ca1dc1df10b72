"""Tests of the table of all stored students."""

import contextlib
import copy

import numpy as np
import pytest

import w2s_nb as w2s
from tests.training.test_answers import register_last_word
from w2s_nb.common import store
from w2s_nb.models.names import resolve

SIZES = dict(n_train=96, n_val=32, n_test=64)


def store_altered(fit, address, alter):
    """Stores a copy of a fit under another address, newest of all, as `alter(record)` changes it;
    it predicts the opposite.
    """
    record, predictions, curve = store.read(fit.address)
    record = copy.deepcopy(record) | {"created": "2099-01-01"}
    alter(record)
    predictions = predictions.assign(
        **{stop: 1 - predictions[stop] for stop in ("last", "validation", "oracle")}
    )
    store.write(address, {k: v for k, v in record.items() if k != "checksum"}, predictions, curve)


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
    assert w2s.all_students(weak=tiny).equals(rows[rows.weak == tiny].reset_index(drop=True))
    arms_wanted = ["student, confidence", "no such arm"]
    assert w2s.all_students(task="words", arm=arms_wanted).weak.tolist() == [tiny]
    assert w2s.all_students(task="other").empty
    for both in (rows.strong.unique(), set(rows.strong), rows.strong):
        assert len(w2s.all_students(strong=both)) == 3
    with pytest.raises(ValueError, match="unknown column of students 'size'.*Known: .*n_train"):
        w2s.all_students(size=3)
    row = rows[(rows.weak == tiny) & (rows.arm == "student, confidence")].iloc[0]
    assert row.setting == "epochs = 30, alpha = 0.75" and row.seeds == 2 and row.n_train == 96
    table = arms.table()
    for name in ("accuracy", "auroc", "pgr", "pgr_auroc", "agreement"):
        for end in ("", "_low", "_high"):
            assert row[name + end] == pytest.approx(table.loc["student, confidence", name + end])
    assert row.ceiling_accuracy == table.accuracy["strong ceiling"]
    assert row.ceiling_auroc == table.auroc["strong ceiling"]
    assert row.weak_auroc == table.auroc["weak supervisor"]


def test_students_of_three_classes_stand_with_the_intervals_of_their_arms(three, tiny):
    args = dict(method="probe", epochs=30, seeds=2, n_train=96, n_val=33, n_test=63)
    # of these random models the shallow one is the better
    arms = w2s.run_arms("three", tiny, f"{tiny}@1", **args)
    row = w2s.all_students().iloc[0]
    naive = arms.table().loc["student, naive"]
    for name in ("accuracy", "auroc", "pgr", "pgr_auroc", "agreement"):
        for end in ("", "_low", "_high"):
            np.testing.assert_equal(row[name + end], naive[name + end])
    assert np.isfinite(row.pgr) and row.pgr_note == arms.pgr("student, naive").note
    assert row.weak_accuracy == arms.accuracy("weak supervisor").value


def test_a_fit_stored_before_chance_was_is_of_two_balanced_classes(words, tiny):
    args = dict(method="probe", epochs=30, **SIZES)
    arms = w2s.run_arms("words", f"{tiny}@1", tiny, **args)
    before = w2s.all_students()
    for fits in arms.fits.values():
        record, predictions, curve = store.read(fits[0].address)
        kept = {k: v for k, v in record.items() if k not in ("chance", "checksum")}
        store.write(fits[0].address, kept, predictions, curve)
    assert "chance" not in store.read(arms.fits["student, naive"][0].address)[0]
    np.testing.assert_array_equal(w2s.all_students().pgr, before.pgr)
    assert w2s.all_students().pgr_note.tolist() == before.pgr_note.tolist()


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


def test_seeds_on_examples_from_before_a_change_are_not_pooled(words, tiny):
    rows = [
        {"text": text, "label": int(label)}
        for split in words.splits
        for (text,), label in zip(split.texts, split.hard_label, strict=True)
    ]
    test, train = rows[:64], rows[64:]

    def register():
        @w2s.register_task("revised", lambda: {"train": train, "test": test}, max_len=24)
        def revised(row):
            """Is it so?"""
            yield w2s.Example((row["text"],), row["label"])

    def run(seed):
        sizes = dict(n_train=48, n_val=16, n_test=32)
        w2s.run_arms("revised", tiny, f"{tiny}@1", method="probe", epochs=5, seeds=[seed], **sizes)

    register()
    run(0)
    run(1)
    assert w2s.all_students().seeds.tolist() == [2]
    train.reverse()  # the same examples
    register()
    run(2)
    assert w2s.all_students().seeds.tolist() == [3]
    for row in train:
        row["label"] = 1 - row["label"]
    register()
    run(0)
    assert w2s.all_students().seeds.tolist() == [1]


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
    row = w2s.all_students().iloc[0]
    assert row.accuracy == by["validation"] <= by["oracle"] and row.stop == "validation"


def test_an_oracle_without_validation_labels_is_shown_at_its_last_step(words, tiny):
    supervisor = w2s.fit(tiny, words.supervisor, method="probe", epochs=40)
    labels = supervisor.label(words.student).select(words.validation, slice(0))
    student = w2s.fit(tiny, words.student, labels, method="probe", stop="oracle")
    row = w2s.all_students().iloc[0]
    assert row.accuracy == student.accuracy(words.test, stop="last").value and row.stop == "last"


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


def test_no_other_model_stands_in_for_the_ceiling(words, tiny):
    """Every difference that makes a fit no ceiling of the student, one at a time."""
    arms = w2s.run_arms("words", tiny, f"{tiny}@1", method="probe", epochs=20, **SIZES)
    ceiling = arms.fits["strong ceiling"][0]
    right = w2s.all_students().ceiling_accuracy[0]
    differences = {
        "model": lambda r: r["config"].update(model="other"),
        "layers": lambda r: r["config"].update(layers=2),
        "method": lambda r: [r[of].update(method="logistic") for of in ("config", "summary")],
        "seed": lambda r: r["summary"].update(seed=1),
        "precision": lambda r: r["config"].update(precision="other"),
        "loss": lambda r: [r[of].update(loss="confidence") for of in ("config", "summary")],
        "task": lambda r: r["summary"].update(task="other"),
        "labels": lambda r: r["summary"].update(labels="somebody"),
        "test split": lambda r: r["config"]["splits"].__setitem__(1, "other"),
        "validation split": lambda r: r["config"]["splits"].__setitem__(2, "other"),
        "examples": lambda r: r["config"]["splits"].__setitem__(0, "other"),
        "code": lambda r: r["config"]["code"].__setitem__(0, "other"),
    }
    for name in ("features", "top_layers", "lora_rank", "head_init", "max_len", "lr", "epochs"):
        differences[name] = lambda r, name=name: r["config"]["hyperparameters"].update({name: 7})
    store_altered(
        ceiling, "0" * 20, lambda record: record["summary"].update(loss_args={"power": 2})
    )
    for difference, alter in differences.items():
        store_altered(ceiling, "1" * 20, alter)
        assert w2s.all_students().ceiling_accuracy[0] == right, difference


def test_a_student_on_some_of_its_half_stands_with_the_ceiling_on_all_of_it(words, tiny):
    arms = w2s.run_arms(
        "words",
        tiny,
        f"{tiny}@1",
        labels={"confident": w2s.confident(0.5)},
        method="probe",
        epochs=20,
        **SIZES,
    )
    before = w2s.all_students()
    assert before.ceiling_accuracy.tolist() == [arms.table().accuracy["strong ceiling"]] * 2
    for later in (dict(n_train=160), dict(n_labels=72)):
        w2s.one_setting("words", tiny, f"{tiny}@1", epochs=20, **SIZES | later)
    rows = w2s.all_students()
    assert len(rows) == 4
    same = rows[rows.created.isin(before.created) & ~rows.n_train.isin((72, 160))]
    assert same.reset_index(drop=True).equals(before)


def test_a_first_student_without_ceiling_hides_no_other(words, tiny):
    supervisor = w2s.fit(tiny, words.supervisor, method="probe", epochs=20)
    labels = supervisor.label(words.student)
    for strong in (f"{tiny}@1", f"{tiny}@2"):
        w2s.fit(strong, words.student, labels, method="probe", epochs=20)
    alone = w2s.all_students()
    assert alone.ceiling_accuracy.isna().all() and alone.ceiling_accuracy_low.isna().all()
    ceiling = w2s.fit(f"{tiny}@2", words.student, method="probe", epochs=20)
    rows = w2s.all_students()
    assert rows.strong.tolist() == [f"{tiny}@1", f"{tiny}@2"]
    assert np.isnan(rows.ceiling_accuracy[0])
    assert rows.ceiling_accuracy[1] == ceiling.accuracy(words.test).value


def test_supervisors_of_different_losses_are_not_pooled(words, tiny):
    supervisors = [
        w2s.fit(tiny, words.supervisor, loss=loss, method="probe", epochs=20)
        for loss in ("xent", "product")
    ]
    for supervisor in supervisors:
        labels = supervisor.label(words.student)
        w2s.fit(f"{tiny}@1", words.student, labels, method="probe", epochs=20)
    rows = w2s.all_students()
    accuracies = [supervisor.accuracy(words.test).value for supervisor in supervisors]
    assert sorted(rows.weak_accuracy) == sorted(accuracies)
    assert sum("supervisor's loss = product" in text for text in rows.setting) == 1


def test_each_fit_is_read_once_and_not_again_while_its_files_are_the_same(words, tiny, monkeypatch):
    losses = ("xent", "confidence", "product")
    arms = w2s.run_arms(
        "words", tiny, f"{tiny}@1", losses=losses, method="probe", epochs=5, **SIZES
    )
    read, of_store = [], store.predictions
    monkeypatch.setattr(store, "predictions", lambda a: read.append(a) or of_store(a))
    first = w2s.all_students()
    assert len(first) == 3 and sorted(read) == sorted(f.address for [f] in arms.fits.values())
    read.clear()
    assert w2s.all_students().equals(first) and not read
    student = store.folder(arms.fits["student, naive"][0].address)
    (student / "predictions.parquet").write_bytes(b"broken")
    assert len(w2s.all_students()) == 2 and student.name in read


def test_intervals_of_answered_tasks_are_over_groups(tiny):
    register_last_word()
    sizes = dict(n_train=16, n_val=8, n_test=48)
    arms = w2s.run_arms("last_word", tiny, f"{tiny}@1", method="top", epochs=1, **sizes)
    assert len(set(arms.test.group)) < len(arms.test), "the test could not fail"
    row = w2s.all_students().iloc[0]
    agreement = arms.agreement("student, naive")
    assert (row.agreement_low, row.agreement_high) == (agreement.low, agreement.high)


def test_a_supervisor_at_chance_marks_the_stored_student(words, tiny):
    arms = w2s.run_arms("words", tiny, f"{tiny}@1", method="probe", epochs=20, **SIZES)
    assert w2s.all_students().pgr_note.tolist() == [""]

    def write_guesses(record):
        record["created"] = "2000-01-01"

    store_altered(
        arms.fits["weak supervisor"][0], arms.fits["weak supervisor"][0].address, write_guesses
    )
    assert w2s.all_students().pgr_note.tolist() == ["supervisor not above chance"]


def test_a_supervisor_stands_at_the_checkpoint_that_gave_the_labels(words, tiny):
    probe = dict(method="probe", epochs=10, evals=4, head_lr=0.03, batch_size=16)
    first = w2s.fit(tiny, words.supervisor, **probe)
    again = w2s.fit(tiny, words.supervisor, stop="last", **probe)
    assert first.address == again.address and first.record["stop"] == "validation"
    by = {fit.stop: fit.accuracy(words.test).value for fit in (first, again)}
    assert by["last"] != by["validation"], "the test could not fail"
    w2s.fit(f"{tiny}@1", words.student, again.label(words.student), method="probe", epochs=5)
    assert w2s.all_students().weak_accuracy.tolist() == [by["last"]]


def test_records_of_another_version_raise_nowhere(words, tiny):
    """Copies of a supervisor and its student lack a field each, or have another thing in it."""
    options = dict(method="probe", epochs=2)
    weak = w2s.fit(tiny, words.supervisor, **options)
    student = w2s.fit(tiny, words.student, weak.label(words.student), **options)
    alone = w2s.all_students()
    record = student.record
    places = [(name,) for name in record if name not in ("address", "files", "sizes", "checksum")]
    places += [(part, name) for part in ("config", "summary", "metrics") for name in record[part]]

    def alter(record, place, value):
        record["created"] = "2001-01-01"
        *path, name = place
        part = record[path[0]] if path else record
        if value is None:
            del part[name]
        else:
            part[name] = value

    for number, place in enumerate(places):
        for kind, value in enumerate((None, "1 of another version")):
            address = f"{number:019x}{kind}"
            store_altered(student, address, lambda r, p=place, v=value: alter(r, p, v))
    rows = w2s.results()
    assert len(rows) == 2 * len(places) + 2 and rows.address.is_unique
    assert rows.set_index("address").loc[student.address, "seconds"] == record["seconds"]
    students = w2s.all_students()
    assert students.created.eq(alone.created[0]).any()
    for address in rows.address:
        with contextlib.suppress(ValueError):  # one line, as a wrong name gets
            resolve(f"fit:{address}")
