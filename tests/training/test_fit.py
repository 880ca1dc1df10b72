"""`fit`: what is learnt, refused and found again; where it stops; the store under faults."""

import inspect
import os
import textwrap
import time

import numpy as np
import pandas as pd
import pytest

import w2s_nb as w2s
from tests.conftest import Script
from w2s_nb.common import store
from w2s_nb.common.registry import UnknownName
from w2s_nb.training import job, loop
from w2s_nb.training.fit import choose_settings

QUICK = dict(method="probe", epochs=30)


@pytest.mark.parametrize(
    "method, options",
    [
        ("full", dict(lr=3e-3)),
        ("lora", dict(lr=1e-2)),
        ("top", dict(lr=1e-2, top_layers=2)),
        ("probe", {}),
    ],
)
@pytest.mark.parametrize("task", ["words", "word_pairs"])
def test_every_method_learns_both_kinds_of_task(method, options, task, words, tiny):
    task = w2s.load_task(task, n_train=160, n_val=32, n_test=100)
    if method != "probe":
        options = options | dict(epochs=6)
    fit = w2s.fit(tiny, task.student, method=method, **options)
    assert fit.accuracy(task.test).low > 0.7, fit.accuracy(task.test)


def test_a_fit_is_trained_once_and_found_again(words, tiny, monkeypatch):
    first = w2s.fit(tiny, words.supervisor, **QUICK)
    monkeypatch.setattr(job, "carry_out", None)  # would raise if called
    again = w2s.fit(tiny, words.supervisor, **QUICK)
    assert again.address == first.address and again.predictions.equals(first.predictions)


def test_the_same_seed_gives_the_same_fit_in_an_empty_store(words, tiny, monkeypatch, tmp_path):
    first = w2s.fit(tiny, words.supervisor, method="full", seed=3)
    monkeypatch.setenv("W2S_HOME", str(tmp_path / "other"))
    again = w2s.fit(tiny, words.supervisor, method="full", seed=3)
    assert again.address == first.address
    np.testing.assert_array_equal(again.predictions["last"], first.predictions["last"])


def test_micro_batch_is_not_part_of_the_address(words, tiny, monkeypatch):
    first = w2s.fit(tiny, words.supervisor, **QUICK)
    monkeypatch.setattr(job, "carry_out", None)
    assert w2s.fit(tiny, words.supervisor, micro_batch=2, **QUICK).address == first.address


@pytest.mark.parametrize(
    "change",
    [
        dict(seed=1),
        dict(epochs=31),
        dict(head_lr=2e-3),
        dict(loss="product"),
        dict(loss="xent", loss_args={}),
        dict(max_len=5),
        dict(batch_size=16),
    ],
)
def test_a_changed_setting_is_another_address(change, words, tiny):
    base = w2s.fit(tiny, words.student, **QUICK)
    other = w2s.fit(tiny, words.student, **QUICK | change)
    assert (other.address == base.address) == (change == dict(loss="xent", loss_args={}))


def test_changed_labels_data_model_or_code_are_other_addresses(words, tiny, tmp_path, monkeypatch):
    from tests.conftest import save_tiny

    truth = w2s.SoftLabels.truth(words.student)
    base = w2s.fit(tiny, words.student, truth, stop="last", **QUICK)
    addresses = {base.address}
    addresses.add(w2s.fit(tiny, words.student, truth.flip(0.1), stop="last", **QUICK).address)
    addresses.add(
        w2s.fit(tiny, words.student.take(slice(0, 90)), truth, stop="last", **QUICK).address
    )
    addresses.add(
        w2s.fit(
            save_tiny(tmp_path / "m", seed=1), words.student, truth, stop="last", **QUICK
        ).address
    )
    addresses.add(w2s.fit(f"{tiny}@3", words.student, truth, stop="last", **QUICK).address)
    monkeypatch.setattr(job, "code", lambda: "changed")
    addresses.add(w2s.fit(tiny, words.student, truth, stop="last", **QUICK).address)
    assert len(addresses) == 6


def test_code_version_sees_code_and_not_comments(tmp_path, monkeypatch):
    versions = []
    for i, body in enumerate(['"""Doc."""\nreturn x + 1', "# why\nreturn (x + 1)", "return x + 2"]):
        (tmp_path / f"m{i}.py").write_text("def f(x):\n" + textwrap.indent(body, "    "))
        monkeypatch.syspath_prepend(str(tmp_path))
        versions.append(store.code_version(__import__(f"m{i}").f))
    assert versions[0] == versions[1] != versions[2]


def test_order_of_labels_plays_no_part(words, tiny, monkeypatch):
    labels = w2s.fit(tiny, words.supervisor, **QUICK).label(words.student)
    first = w2s.fit(tiny, words.student, labels, **QUICK)
    monkeypatch.setattr(job, "carry_out", None)
    order = np.random.default_rng(0).permutation(len(labels))
    shuffled = w2s.SoftLabels(labels.ids[order], labels.probs[order], "a test")
    assert w2s.fit(tiny, words.student, shuffled, **QUICK).address == first.address


def test_the_student_stops_on_weak_labels_and_never_sees_truth(words, tiny):
    labels = w2s.fit(tiny, words.supervisor, **QUICK).label(words.student)
    student = w2s.fit(tiny, words.student, labels, method="full", lr=1e-3)
    assert student.stop == "validation" and len(student.curve) == 4
    best = student.curve.validation_accuracy_on_labels.max()
    on_labels = (
        student.predict(words.validation).argmax(1) == labels.for_split(words.validation).argmax(1)
    ).mean()
    assert on_labels == pytest.approx(best)
    oracle = student.accuracy(words.test, stop="oracle").value
    assert oracle == pytest.approx(student.curve.test_accuracy.max())
    assert student.accuracy(words.test, stop="last").value == pytest.approx(
        student.curve.test_accuracy.iloc[-1]
    )


def test_labels_without_validation_train_to_the_last_step(words, tiny):
    labels = w2s.SoftLabels.truth(words.student)
    fit = w2s.fit(tiny, words.student, labels, **QUICK)
    assert fit.stop == "last" and fit.curve.validation_accuracy_on_labels.isna().all()
    assert fit.stops == ("last", "oracle") and "accuracy_validation" not in fit.record["metrics"]
    with pytest.raises(ValueError, match="no validation: .* too few of its 32 validation examples"):
        fit.predict(words.test, stop="validation")
    with pytest.raises(ValueError, match="know 0 of 32 validation examples"):
        w2s.fit(tiny, words.student, labels, stop="validation", **QUICK)
    by_oracle = w2s.fit(tiny, words.student, labels, stop="oracle", **QUICK)
    assert by_oracle.address == fit.address and by_oracle.stop == "oracle"


def test_weak_labels_of_one_class_can_be_trained_on(words, tiny):
    ones = w2s.SoftLabels(words.student.ids, np.tile([0.1, 0.9], (96, 1)), "a constant")
    fit = w2s.fit(tiny, words.student, ones, loss="confidence", **QUICK)
    assert 0 <= fit.accuracy(words.test).value <= 1


@pytest.mark.parametrize(
    "call, error, says",
    [
        (dict(model="gpt3"), UnknownName, "gpt2"),
        (dict(method="ful"), UnknownName, "full"),
        (dict(loss="logconf"), UnknownName, "confidence"),
        (dict(loss="confidence", loss_args={"a": 1}), ValueError, "takes alpha, warmup"),
        (dict(epoch=3), TypeError, "epochs"),
        (dict(epochs=0), ValueError, "from 1"),
        (dict(epochs=True), ValueError, "epochs = True; expected a whole number from 1"),
        (dict(micro_batch=0), ValueError, "micro_batch = 0; expected a whole number from 1"),
        (dict(micro_batch="8"), ValueError, "micro_batch = '8'; expected a whole number"),
        (dict(evals=0), ValueError, "from 1"),
        (dict(lr=-1.0), ValueError, "from 0"),
        (dict(head_init="ones"), ValueError, "unembedding, zero"),
        (dict(stop="best"), ValueError, "last, validation, oracle"),
    ],
)
def test_wrong_arguments_are_refused_before_a_model_is_loaded(
    call, error, says, words, tiny, monkeypatch
):
    from w2s_nb.models import loading

    monkeypatch.setattr(loading, "load_lm", None)
    with pytest.raises(error, match=says):
        w2s.fit(**{"model": tiny, "split": words.student} | call)


def test_an_empty_label_set_is_not_ground_truth(words, tiny):
    none = w2s.SoftLabels.truth(words.student).select(words.student, slice(0, 0))
    with pytest.raises(ValueError, match="lack 96 of 96"):
        w2s.fit(tiny, words.student, none, **QUICK)


def test_arms_refuse_wrong_names_before_any_training(tiny, words):
    for losses, loss_args, error in (
        ("xent", None, TypeError),
        (("xent", "confidance"), None, UnknownName),
        (("xent",), {"conf": {"alpha": 1}}, UnknownName),
        (("confidence",), {"confidence": {"a": 1}}, ValueError),
    ):
        with pytest.raises(error):
            w2s.run_arms("words", tiny, tiny, losses=losses, loss_args=loss_args)
    assert w2s.results().empty


def test_results_are_one_tidy_table(words, tiny):
    arms = w2s.run_arms(
        "words",
        f"{tiny}@1",
        tiny,
        losses=("xent", "confidence"),
        n_train=96,
        n_val=32,
        n_test=64,
        seeds=2,
        **QUICK,
    )
    table = w2s.results()
    assert len(table) == 2 * 4 and table.address.is_unique
    students = table[table.labels_address != ""]
    assert set(students.labels_address) <= set(table.address) and set(students.labels) == {
        f"{tiny}@1"
    }
    assert set(arms.table().columns) >= {
        "accuracy",
        "accuracy_low",
        "pgr",
        "agreement",
        "n_test",
        "seeds",
    }
    assert table.accuracy_last.between(0, 1).all() and (table.n_train == 96).all()
    assert set(table.stop) == {"validation"}


@pytest.mark.parametrize("name", ["predictions.parquet", "curve.parquet", "record.json"])
@pytest.mark.parametrize("damage", ["truncate", "flip", "remove"])
def test_a_damaged_fit_is_made_again(name, damage, words, tiny):
    fit = w2s.fit(tiny, words.supervisor, **QUICK)
    path = store.folder(fit.address) / name
    content = bytearray(path.read_bytes())
    if damage == "remove":
        path.unlink()
    elif damage == "truncate":
        path.write_bytes(content[: len(content) // 2])
    else:
        content[len(content) // 2] ^= 0xFF
        path.write_bytes(content)
    assert store.read(fit.address) is None
    again = w2s.fit(tiny, words.supervisor, **QUICK)
    assert again.predictions.equals(fit.predictions)


SCRIPT = """
import sys; sys.path.insert(0, {root!r})
from tests import conftest
import w2s_nb as w2s
from w2s_nb.common import store
from w2s_nb.training import job, loop
conftest.register_words()
task = w2s.load_task("words", n_train=96, n_val=32, n_test=64)
job.code()  # before what it reads is replaced
train, write = job.train_together, store.write_atomic
def counted(*a):
    open({log!r}, "a").write("trained\\n")
    return train(*a)
job.train_together = counted
{more}
fit = w2s.fit({tiny!r}, task.supervisor, method="probe", epochs={epochs})
print(fit.accuracy(task.test).value)
"""


def script(tiny, tmp_path, more="", epochs=30):
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    code = SCRIPT.format(root=root, log=str(tmp_path / "log"), tiny=tiny, more=more, epochs=epochs)
    return Script(code)


def trainings(tmp_path):
    return (tmp_path / "log").read_text().count("trained") if (tmp_path / "log").exists() else 0


def test_two_processes_that_want_one_fit_train_it_once(words, tiny, tmp_path):
    both = [script(tiny, tmp_path, epochs=400) for _ in range(2)]
    assert [p.wait() for p in both] == [0, 0], [p.printed() for p in both]
    assert both[0].printed()[0] == both[1].printed()[0] != "" and trainings(tmp_path) == 1


# killed in training; after the first file is written; after both tables, before the record
@pytest.mark.parametrize("files", [None, 1, 2])
def test_a_fit_killed_half_way_leaves_nothing_whole_and_the_next_run_completes(
    files, words, tiny, tmp_path, home
):
    more = (
        ""
        if files is None
        else textwrap.dedent(f"""
        import time
        written = []
        def slow(path, content):
            if path.suffix == ".parquet" and len(written) == {files}: time.sleep(600)
            write(path, content); written.append(path)
        def stuck(path, content):
            time.sleep(600)
        store.write_atomic, store.write_json = slow, stuck
        """)
    )
    victim = script(tiny, tmp_path, more, epochs=10**6 if files is None else 30)
    deadline = time.time() + 90
    while time.time() < deadline and not (
        trainings(tmp_path)
        and (files is None or len(list((home / "fits").glob("*/*.parquet"))) >= files)
    ):
        assert victim.poll() is None, victim.printed()
        time.sleep(0.02)
    victim.kill()
    assert w2s.results().empty and not list((home / "fits").glob("*/record.json"))
    fit = w2s.fit(tiny, words.supervisor, **QUICK)
    assert len(w2s.results()) == 1 and isinstance(fit.predictions, pd.DataFrame)


def noisy_truth(task, seed=0):
    """Returns ground truth of the student half and of validation, with 30 % of it flipped."""
    ids = np.concatenate([task.student.ids, task.validation.ids])
    truth = np.concatenate([task.student.hard_label, task.validation.hard_label])
    return w2s.SoftLabels(ids, np.eye(2)[truth], "a test").flip(0.3, seed=seed)


LOOKS = dict(method="top", top_layers=1, lr=3e-2, head_init="zero", epochs=4)


@pytest.mark.parametrize(
    "options",
    [
        LOOKS,
        LOOKS | dict(method="full"),
        dict(method="probe", epochs=40, head_lr=3e-2),
        dict(method="logistic"),
    ],
    ids=lambda options: options["method"],
)
def test_the_oracle_bounds_the_other_rules_and_the_curve_ends_at_the_last(options, tiny, words):
    for seed in range(3):
        task = w2s.load_task("words", seed=seed, n_train=60, n_val=20, n_test=140)
        fit = w2s.fit(tiny, task.student, noisy_truth(task, seed), seed=seed, **options)
        at = {stop: fit.accuracy(task.test, stop=stop).value for stop in fit.stops}
        assert list(at) == ["last", "validation", "oracle"]
        assert at["oracle"] >= max(at.values()) and at["oracle"] == fit.curve.test_accuracy.max()
        assert fit.curve.test_accuracy.iloc[-1] == at["last"]
        assert len(fit.curve) > 1 and set(fit.curve.test_n) == {140}


def test_a_curve_of_few_test_examples_has_its_standard_error_and_no_oracle(words, tiny):
    labels = w2s.fit(tiny, words.supervisor, **QUICK).label(words.student)
    options = dict(method="full", lr=1e-3, evals=6)
    whole, same, few = (
        w2s.fit(tiny, words.student, labels, curve_test=n, **options) for n in (None, 64, 10)
    )
    assert whole.address == same.address, "64 are all"
    assert whole.predictions[["split", "id"]].equals(few.predictions[["split", "id"]])
    # a look at all test examples predicts them in other batches: other last bits
    for stop in ("last", "validation"):
        np.testing.assert_allclose(whole.predictions[stop], few.predictions[stop], atol=1e-5)
    assert few.stops == ("last", "validation") and few.predictions.oracle.isna().all()
    assert "accuracy_oracle" not in few.record["metrics"]
    assert set(few.curve.test_n) == {10} and set(whole.curve.test_n) == {64}
    share = few.curve.test_accuracy
    assert set(share * 10) <= set(range(11)), "ten examples"
    np.testing.assert_allclose(few.curve.test_se, np.sqrt(share * (1 - share) / 10))
    with pytest.raises(ValueError, match="no oracle: .* 10 of 64 test examples.*curve_test"):
        few.predict(words.test, stop="oracle")
    with pytest.raises(ValueError, match="oracle.*curve_test = 10 of 64 test examples"):
        w2s.fit(tiny, words.student, labels, curve_test=10, stop="oracle", **options)


def test_the_standard_error_of_the_curve_counts_groups_of_examples(words, tiny):
    """Every test example stands in a group with its copy: the error is that of half as many."""
    from dataclasses import replace

    groups = np.arange(64) // 2
    task = replace(words, test=replace(words.test, group=groups))
    for split in task.splits:
        object.__setattr__(split, "task", task)
    fit = w2s.fit(tiny, task.student, **QUICK)
    right = fit.predict(task.test).argmax(axis=1) == task.test.hard_label
    means = right.reshape(32, 2).mean(axis=1)
    expected = means.std() / np.sqrt(32)
    assert fit.curve.test_se.iloc[-1] == pytest.approx(expected)


@pytest.mark.parametrize("method", ["top", "full"])
@pytest.mark.parametrize("stop", ["validation", "oracle"])
def test_a_stopping_rule_is_honoured_on_ground_truth_too(method, stop, words, tiny):
    options = LOOKS | dict(method=method)
    fit = w2s.fit(tiny, words.student, stop=stop, **options)
    assert fit.stop == stop and len(fit.curve) == 4
    column = {"validation": "validation_accuracy", "oracle": "test_accuracy"}[stop]
    best = fit.curve[column].max()
    split = {"validation": words.validation, "oracle": words.test}[stop]
    assert fit.accuracy(split).value == pytest.approx(best)
    assert len(w2s.fit(tiny, words.student, **options).curve) == 1, "by default it is the last"


@pytest.mark.parametrize(
    "asked, says",
    [
        (dict(stop="validation", evals=1), "one evaluation"),
        (dict(stop="oracle", evals=[1.0]), "one evaluation"),
        (dict(stop="validation", epochs=1, batch_size=96), "one evaluation"),
        (dict(stop="validation", method="logistic", l2=1.0), "one evaluation"),
        (dict(stop="oracle", method="probe", curve_test=8), "8 of 64 test examples"),
    ],
)
def test_a_stopping_rule_with_nothing_to_choose_among_is_refused(
    asked, says, words, tiny, monkeypatch
):
    monkeypatch.setattr("w2s_nb.models.loading.digest", None)
    with pytest.raises(ValueError, match=f"stop '{asked['stop']}'.*{says}.*expected"):
        w2s.fit(tiny, words.student, **LOOKS | asked)
    # without the wish, the fit says what it is
    monkeypatch.undo()
    del asked["stop"]
    if says == "one evaluation":
        assert w2s.fit(tiny, words.student, noisy_truth(words), **LOOKS | asked).stop == "last"


def test_predictions_are_those_of_the_checkpoint_that_was_best(words, tiny):
    """The best evaluation is not the last: its weights are put back before predicting."""
    labels = w2s.fit(tiny, words.supervisor, **QUICK).label(words.student).flip(0.3, seed=1)
    fit = w2s.fit(tiny, words.student, labels, method="full", lr=3e-2, evals=8, epochs=6)
    curve = fit.curve
    best = curve.validation_accuracy_on_labels.idxmax()
    assert best < len(curve) - 1, "the test needs a best evaluation before the last"
    assert fit.accuracy(words.validation, stop="validation").value == pytest.approx(
        curve.validation_accuracy[best]
    )
    assert fit.accuracy(words.validation, stop="last").value == pytest.approx(
        curve.validation_accuracy.iloc[-1]
    )
    assert fit.accuracy(words.test, stop="oracle").value == pytest.approx(curve.test_accuracy.max())


@pytest.mark.parametrize("options", [{}, {"curve_test": 10}, {"label_training_examples": True}])
def test_no_example_is_predicted_twice_with_the_same_weights(options, words, tiny, monkeypatch):
    labels = w2s.fit(tiny, words.supervisor, **QUICK).label(words.student).flip(0.3, seed=1)
    predicted = []
    predict = loop.predict

    def remember(net, inputs, chosen):
        weights = net.head.weight.detach().numpy().tobytes()
        predicted.extend((weights, row) for row in chosen.tolist())
        return predict(net, inputs, chosen)

    monkeypatch.setattr(job, "code", lambda: "trained anew")
    monkeypatch.setattr(loop, "predict", remember)
    fit = w2s.fit(tiny, words.student, labels, method="full", lr=3e-2, evals=8, epochs=6, **options)
    best = fit.curve.validation_accuracy_on_labels.idxmax()
    assert best < 7, "the test needs a best evaluation before the last"
    assert len(set(predicted)) == len(predicted)
    # whole at the last step, and at the best one; a look's part at the six others
    n_test = options.get("curve_test", len(words.test))
    n_looked_at = n_test + len(words.validation)
    assert len(predicted) == 2 * len(fit.predictions) + 6 * n_looked_at


def test_a_probe_of_the_first_features_ignores_the_others(words, tiny, monkeypatch):
    from w2s_nb.inputs.activations import Pooled

    few = w2s.fit(tiny, words.student, features=3, **QUICK)
    real = Pooled.layer

    def scrambled(self, layer):
        states = real(self, layer).copy()
        states[:, 3:] = np.random.default_rng(0).normal(size=states[:, 3:].shape)
        return states

    monkeypatch.setattr(Pooled, "layer", scrambled)
    monkeypatch.setattr(job, "code", lambda: "trained again")
    again = w2s.fit(tiny, words.student, features=3, **QUICK)
    assert again.address != few.address
    np.testing.assert_array_equal(again.predict(words.test), few.predict(words.test))
    with pytest.raises(ValueError, match="has 16"):
        w2s.fit(tiny, words.student, features=17, **QUICK)
    with pytest.raises(ValueError, match="only a probe"):
        w2s.fit(tiny, words.student, features=3, method="full")


def test_evaluations_at_chosen_fractions_are_in_the_curve(words, tiny):
    fit = w2s.fit(tiny, words.student, evals=[0.1, 0.5], **QUICK)
    assert fit.curve.progress.tolist() == pytest.approx([0.1, 0.5, 1.0])


def test_labels_that_know_a_part_of_validation_stop_on_that_part(words, tiny):
    both = w2s.fit(tiny, words.supervisor, **QUICK).label(words.student)
    some = both.select(words.validation, slice(0, 20))
    fit = w2s.fit(tiny, words.student, some, **QUICK)
    known = words.validation.take(slice(0, 20))
    agrees = (fit.predict(known).argmax(1) == both.for_split(known).argmax(1)).mean()
    assert fit.stop == "validation" and agrees == pytest.approx(
        fit.curve.validation_accuracy_on_labels.max()
    )
    assert (
        w2s.fit(tiny, words.student, both.select(words.validation, slice(0, 19)), **QUICK).stop
        == "last"
    )


def test_nothing_to_train_on_is_refused(words, tiny, monkeypatch):
    from w2s_nb.models import loading

    monkeypatch.setattr(loading, "load_lm", None)
    with pytest.raises(ValueError, match="0 examples of 'student' to train on"):
        w2s.fit(
            tiny,
            words.student.take(slice(0, 0)),
            w2s.SoftLabels.truth(words.validation),
            method="full",
        )


def test_an_experiment_is_checked_with_the_defaults_of_a_fit():
    checked = inspect.signature(choose_settings).parameters
    trained = inspect.signature(w2s.fit).parameters
    shared = [name for name in checked if name in trained and name != "split"]
    assert {"loss", "method", "stop", "devices"} < set(shared)
    assert all(checked[name].default == trained[name].default for name in shared)


def test_a_head_without_a_rate_of_its_own_takes_the_bodys(words, tiny):
    fit = w2s.fit(tiny, words.student, method="top", top_layers=1, epochs=1, lr=2e-3, head_lr=None)
    same = w2s.fit(tiny, words.student, method="top", top_layers=1, epochs=1, lr=2e-3, head_lr=2e-3)
    assert fit.address == same.address
    assert fit.record["config"]["hyperparameters"]["head_lr"] == 2e-3
