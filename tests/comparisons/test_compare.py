"""Comparisons on tiny models: the same fits as run_arms, tables, failures, several tasks."""

import json
from dataclasses import replace

import numpy as np
import pytest

import w2s_nb as w2s
from tests.conftest import register_words, save_tiny
from w2s_nb import metrics
from w2s_nb.__main__ import main
from w2s_nb.common.registry import TASKS, UnknownName
from w2s_nb.comparisons.leaderboard import write_leaderboard
from w2s_nb.data.tasks.spec import Prompt
from w2s_nb.experiments.arms import CEILING, WEAK, run_arms, student_name
from w2s_nb.metrics.many_comparisons import PairedTest
from w2s_nb.training import job

SIZES = dict(n_train=60, n_val=20, n_test=40)
FREE = ["supervisor", "constant", "longest", "shuffled_labels"]
pytestmark = pytest.mark.model


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return save_tiny(tmp_path_factory.mktemp("models") / "llama")


@pytest.fixture
def words(registries):
    register_words()
    return "words"


def compare(methods, task, model, **changes):
    return w2s.compare(methods, task, f"{model}@1", model, **{**SIZES, "epochs": 2, **changes})


def test_methods_have_the_fits_of_run_arms_and_the_table_their_numbers(model, words):
    c = compare(["confidence", "confident@0.5"], words, model, seeds=2)
    arms = run_arms(
        words,
        f"{model}@1",
        model,
        losses=("xent", "confidence"),
        labels={"half": w2s.confident(0.5)},
        seeds=2,
        method="probe",
        epochs=2,
        **SIZES,
    )
    runs = c.by_task[words]
    same = {
        "naive": "student, naive",
        "confidence": "student, confidence",
        "confident@0.5": student_name("xent", "half"),
        CEILING: CEILING,
        "supervisor": WEAK,
    }
    for method, arm in same.items():
        assert np.array_equal(runs.probs(method), arms.probs(arm)), method
    table = c.table().set_index("method")
    assert list(table.index) == ["naive", "confidence", "confident@0.5", *FREE, CEILING]
    assert table.kind.tolist() == ["method"] * 3 + ["free"] * 4 + ["ceiling"]
    assert list(table.columns[1:2]) == ["accuracy"], "accuracy comes first"
    gain = arms.gain_over("student, confidence", "student, naive")
    row = table.loc["confidence"]
    assert [row.difference, row.difference_low, row.difference_high] == [
        gain.value,
        gain.low,
        gain.high,
    ]
    gains = runs.gains("confidence")
    assert row.p == metrics.paired_test(gains, group=runs.group).p
    assert row.p_permutation == pytest.approx(
        metrics.sign_flip_test(gains, group=runs.group).p, abs=0.02
    )
    corrected = metrics.holm(table.p[["confidence", "confident@0.5"]])
    assert table.p_holm[["confidence", "confident@0.5"]].tolist() == corrected.tolist()
    assert table.p[["naive", *FREE, CEILING]].isna().all()
    assert (table.seconds.drop(CEILING) >= 0).all() and "error" not in table


def test_a_second_call_trains_nothing_and_says_the_same(model, words, monkeypatch):
    first = compare(["confidence"], words, model, seeds=1)

    def no_training(*args):
        raise AssertionError("trains again")

    monkeypatch.setattr("w2s_nb.training.job.carry_out", no_training)
    again = compare(["confidence"], words, model, seeds=1)
    columns = [c for c in first.table() if c != "seconds"]
    assert again.table()[columns].equals(first.table()[columns]) and not again.errors


def test_probes_of_methods_are_trained_together_and_say_the_same_as_alone(
    model, words, monkeypatch, home
):
    names = ["confidence", "hard_labels", "confident@0.3", "rads@0.3", "ensemble@2", "chain"]

    @w2s.register_method(fits_ahead=True)
    def fails(labels, task, strong, seed, budget):
        budget.fit(strong, task.student, labels, loss="no such loss")

    with monkeypatch.context() as patched:
        patched.setattr("w2s_nb.comparisons.run.train_ahead", lambda runs: None)
        alone = compare([*names, "fails"], words, model, seeds=2)
    monkeypatch.setenv("W2S_HOME", str(home / "another"))
    trained_alone = []
    carry_out = job.carry_out
    monkeypatch.setattr(
        job, "carry_out", lambda one, *rest: trained_alone.append(one) or carry_out(one, *rest)
    )
    together = compare(names, words, model, seeds=2)
    assert len(trained_alone) == 2 * 2, "of each seed the second student of the chain, twice"
    again = compare([*names, "fails"], words, model, seeds=2)
    columns = [column for column in alone.table() if column != "seconds"]
    assert again.table()[columns].equals(alone.table()[columns])
    assert together.errors == {} and "no such loss" in again.errors["fails"]


def test_a_chain_through_its_own_middle_model_is_no_second_method(model, words):
    with pytest.raises(ValueError, match=r"'chain' and 'chain@.*@2' are one method, chain@.*@2;"):
        compare(["chain", f"chain@{model}@2"], words, model, seeds=1)


def test_a_methods_own_ceiling_is_the_method_on_ground_truth(model, words):
    runs = compare(["confident@0.5"], words, model, seeds=1).by_task[words]
    assert set(runs.own_ceilings) == {"naive", "confident@0.5"}
    of_naive = runs.own_ceilings["naive"][0].probs
    assert np.allclose(of_naive, runs.ceiling[0]), "naive finetuning on truth is the ceiling"
    assert not np.allclose(runs.own_ceilings["confident@0.5"][0].probs, of_naive)
    without = compare(["confident@0.5"], words, model, seeds=1, own_ceilings=False)
    assert without.table().pgr_own.isna().all()


def test_a_method_that_learns_from_no_labels_has_no_ceiling_of_its_own(model, words):
    c = compare(["zero_shot"], words, model, seeds=1)
    assert set(c.by_task[words].own_ceilings) == {"naive"}
    table = c.table().set_index("method")
    assert np.isnan(table.pgr_own["zero_shot"]) and table.p["zero_shot"] <= 1


def test_a_method_that_fails_is_told_and_the_others_go_on(model, words):
    @w2s.register_method
    def crashes(labels, task, strong, seed, budget):
        raise RuntimeError("no idea\nat all")

    @w2s.register_method
    def answers_too_little(labels, task, strong, seed, budget):
        return np.full((3, 2), 0.5)

    @w2s.register_method
    def no_probabilities(labels, task, strong, seed, budget):
        return np.full((len(task.test), 2), 0.9)

    names = ["crashes", "answers_too_little", "no_probabilities", "confident"]
    c = compare(names, words, model, seeds=1)
    table = c.table().set_index("method")
    assert c.errors["crashes"] == "words: RuntimeError: no idea"
    assert "shape (3, 2); expected (40, 2)" in table.error["answers_too_little"]
    assert "no probabilities" in table.error["no_probabilities"]
    assert table.loc[names[:3], ["accuracy", "p", "p_holm", "pgr"]].isna().all(axis=None)
    assert table.p_holm["confident"] == table.p["confident"], "it alone was tested"
    assert table.error["naive"] == "" and c._repr_html_()


def test_tasks_weigh_alike_and_the_interval_over_tasks_is_told_apart(model, words):
    c = compare(["confident@0.3"], [words, "word_pairs"], model, seeds=2)
    row = c.table().set_index("method").loc["confident@0.3"]
    by_task = c.tables().set_index(["task", "method"])
    each = [by_task.accuracy[task, "confident@0.3"] for task in (words, "word_pairs")]
    assert row.accuracy == pytest.approx(np.mean(each))
    assert row.difference == row.difference_over_tasks
    tests = [
        metrics.crossed_test(runs.gains("confident@0.3"), group=runs.group)
        for runs in c.by_task.values()
    ]
    assert row.p == metrics.mean_test(tests).p
    assert c.of_task(words).table().method.tolist() == [*c.methods, CEILING]
    with pytest.raises(UnknownName, match="unknown task of this comparison"):
        c.of_task("wrods")


def test_survivors_are_counted_before_and_after_correction(model, words, monkeypatch):
    @w2s.register_method
    def fails(labels, task, strong, seed, budget):
        raise RuntimeError("no idea")

    c = compare(["confidence", "hard_labels", "confident", "fails"], words, model, seeds=2)
    made = {"confidence": (0.02, 0.001), "hard_labels": (-0.03, 0.03), "confident": (0.01, 0.2)}
    made["fails"] = (np.nan, np.nan)
    monkeypatch.setattr(
        "w2s_nb.comparisons.result.Comparison.test",
        lambda self, name: PairedTest(*made[name]),
    )
    told = c.survivors()
    assert told.n.tolist() == [pytest.approx(0.15), 2, 1], "what failed is not counted"
    assert told.loc["before correction"].tolist() == [2, "confidence", "hard_labels"]
    assert told.loc["after correction"].tolist() == [1, "confidence", ""]
    with pytest.raises(ValueError, match="level = 0; expected"):
        c.survivors(0)


def test_the_difference_that_would_be_told_is_that_of_the_usual_method(model, words):
    c = compare(["confidence", "hard_labels", "confident"], words, model, seeds=3)
    tests = [c.test(name) for name in c.candidates]
    each = [test.margin() + 0.8416 * test.se for test in tests]
    assert c.smallest_told() == pytest.approx(np.median(each), rel=1e-3)
    assert c.smallest_told(power=0.9) > c.smallest_told()
    with pytest.raises(ValueError, match="power = 2; expected"):
        c.smallest_told(power=2)


def test_differences_by_task_are_those_of_each_task(model, words):
    c = compare(["confidence", "confident@0.3"], f"{words}, word_pairs", model, seeds=2)
    told = c.differences_by_task()
    assert list(told.columns) == [words, "word_pairs"] and set(told.index) == set(c.candidates)
    one = c.by_task[words].difference("confident@0.3")
    expected = f"{one.value:+.3f} [{one.low:+.3f}, {one.high:+.3f}]"
    assert told.loc["confident@0.3", words] == expected


@pytest.mark.parametrize(
    "changes, kind, message",
    [
        (dict(methods="confident"), TypeError, "expected several names"),
        (dict(methods=None), TypeError, "methods = None; expected several names"),
        (dict(methods=["confidnet"]), UnknownName, "unknown method 'confidnet'"),
        (dict(methods=["generalized_xent@2"]), ValueError, "q 2.0"),
        (dict(methods=["generalized_xent@2", "generalized_xent"]), ValueError, "q 2.0"),
        (dict(methods=["confident@2"]), ValueError, "method 'confident@2': share 2.0; expected"),
        (dict(methods=["rads@0"]), ValueError, "method 'rads@0': share 0.0; expected"),
        (dict(methods=["overlap@-1"]), ValueError, "method 'overlap@-1': share -1.0; expected"),
        (dict(methods=["overlap@nan"]), ValueError, "method 'overlap@nan': share nan; expected"),
        (dict(methods=["ensemble@0"]), ValueError, "method 'ensemble@0': students = 0; expected"),
        (dict(methods=["chain@nothing"]), UnknownName, "unknown model 'nothing'"),
        (dict(methods=["chain@efficientnet-lite0"]), ValueError, "is an encoder, which reads im"),
        (dict(methods=["first_component@truth"]), UnknownName, "unknown sign 'truth'"),
        (dict(methods=["best_of_guesses@0"], queries=9), ValueError, "guesses = 0; expected"),
        (dict(methods=["best_of_guesses@10"], queries=9), ValueError, "asks 10 questions.*given 9"),
        (dict(methods=["best_of_guesses"]), ValueError, "asks 200 questions.*queries="),
        (
            dict(methods=["confident", "confident@0.5"]),
            ValueError,
            "'confident' and 'confident@0.5' are one method, confident@0.5",
        ),
        (dict(methods=["confident@0.5", "confident@.50"]), ValueError, "are one method"),
        (dict(methods=["confidence", "confidence@0.5"]), ValueError, "are one method"),
        (dict(task="wrods"), UnknownName, "unknown suite or task 'wrods'"),
        (dict(loss="xent"), TypeError, "compare was given loss = 'xent', which methods decides"),
        (dict(epochs=-1), ValueError, "epochs"),
    ],
)
def test_wrong_input_is_refused_before_anything_is_trained(
    model, words, monkeypatch, changes, kind, message
):
    monkeypatch.setattr("w2s_nb.comparisons.run.fit_many", lambda *a, **k: pytest.fail("trains"))
    arguments = {"methods": ["confident"], "task": words, "model": model, **changes}
    with pytest.raises(kind, match=message) as error:
        compare(**arguments)
    assert "\n" not in str(error.value)


def test_a_users_method_refuses_its_own_options(model, words, monkeypatch):
    def check(task, strong, fit_args, queries, *, rate):
        if rate > 1:
            raise ValueError(f"rate {rate}; expected at most 1 for {len(task.test)} texts")

    @w2s.register_method(check=check)
    def mine(labels, task, strong, seed, budget, *, rate=0.5):
        return labels.for_split(task.test)

    monkeypatch.setattr("w2s_nb.comparisons.run.fit_many", lambda *a, **k: pytest.fail("trains"))
    with pytest.raises(ValueError, match="method 'mine@3': rate 3.0; expected at most 1 for 40"):
        compare(["mine@3"], words, model)
    with pytest.raises(TypeError, match="check is 'share'; expected a function"):
        w2s.register_method(check="share")


@pytest.mark.filterwarnings("ignore:.*of words that its tokenizer does not know")
def test_methods_without_a_supervisor_are_rows_that_labels_only_orient(model, words):
    TASKS._entries[words] = replace(TASKS[words], prompt=Prompt("{0} w40", ("w41", "w42")))
    names = ["first_component", "first_component@prompt", "mutual_predictability"]
    names += ["contrast_component", "contrast_consistent"]
    c = compare(names, words, model, seeds=1)
    assert not c.errors and names == c.candidates
    runs = c.by_task[words]
    assert set(runs.own_ceilings) == {"naive"}, "they do not learn from labels"
    by_supervisor, by_prompt = (runs.probs(name)[0] for name in names[:2])
    assert np.allclose(by_prompt, by_supervisor) or np.allclose(by_prompt, by_supervisor[:, ::-1])


def test_a_method_that_writes_into_labels_or_truth_spoils_no_other(model, words):
    @w2s.register_method
    def writes_labels(labels, task, strong, seed, budget):
        """Spoils the labels."""
        labels.probs[:] = 0.5
        return labels.for_split(task.test)

    @w2s.register_method
    def writes_truth(labels, task, strong, seed, budget):
        """Spoils the truth."""
        task.test.hard_label[:] = 0
        return labels.for_split(task.test)

    honest = compare(["confidence"], words, model, seeds=1).table().set_index("method").accuracy
    names = ["writes_labels", "writes_truth"]
    c = compare([*names, "confidence"], words, model, seeds=1)
    assert set(c.errors) == set(names)
    accuracy = c.table().set_index("method").accuracy.drop(names)
    assert accuracy[honest.index].tolist() == honest.tolist()


def test_a_method_that_ends_the_program_is_told_and_the_others_go_on(model, words):
    @w2s.register_method
    def leaves(labels, task, strong, seed, budget):
        raise SystemExit("bye")

    assert compare(["leaves"], words, model, seeds=1).errors == {"leaves": "words: SystemExit: bye"}


def test_the_command_line_compares_a_method_of_a_users_file(model, words, tmp_path, capsys):
    plugin = tmp_path / "mine.py"
    plugin.write_text(
        "import numpy as np\nimport w2s_nb as w2s\n\n\n@w2s.register_method\n"
        "def always_one(labels, task, strong, seed, budget):\n"
        "    return np.tile([0.1, 0.9], (len(task.test), 1))\n"
    )
    out = tmp_path / "c.json"
    arguments = ["compare", "always_one", "--on", words, "--weak", f"{model}@1", "--strong", model]
    sizes = ["--seeds", "1", "--n-train", "60", "--n-val", "20", "--n-test", "40"]
    assert main([*arguments, *sizes, "--plugins", str(plugin), "--out", str(out)]) == 0
    assert "always_one            0.500 [" in capsys.readouterr().out
    stored = json.loads(out.read_text())
    assert [row["method"] for row in stored["table"]][:2] == ["naive", "always_one"]
    assert stored["tasks"]["words"]["n_test"] == 40 and stored["seeds"] == [0]
    assert main(["list", "methods"]) == 0
    assert "confident" in capsys.readouterr().out
    assert main(["compare", "always_tow", "--on", words]) == 2
    assert capsys.readouterr().err.startswith("UnknownName: unknown method 'always_tow'. Near: ")


def test_a_comparison_is_written_under_a_name_of_its_settings(model, words, tmp_path, monkeypatch):
    monkeypatch.setattr("w2s_nb.comparisons.result.runs_folder", lambda: tmp_path)
    paths = [compare(["confident"], words, model, seeds=n).write() for n in (1, 1, 2)]
    assert paths[0] == paths[1] != paths[2]
    assert paths[0].parent == tmp_path / "comparisons" and paths[0].name.startswith("words-")
    page = write_leaderboard(tmp_path / "comparisons").read_text()
    assert page.count("<table>") == 2 and "confident" in page, "seeds are part of a setting"


def test_labels_of_the_best_scored_texts_are_those_of_best_by(model, words):
    c = compare(["rads@0.3", "overlap"], words, model, seeds=1, own_ceilings=False)
    arms = run_arms(
        words,
        f"{model}@1",
        model,
        labels={"r": w2s.best_by("rads", 0.3, model), "o": w2s.best_by("overlap", 0.5, model)},
        method="probe",
        epochs=2,
        **SIZES,
    )
    assert not c.errors
    for method, labels in (("rads@0.3", "r"), ("overlap", "o")):
        ours = c.by_task[words].probs(method)
        assert np.array_equal(ours, arms.probs(student_name("xent", labels))), method


def test_a_row_without_an_own_ceiling_has_no_note_of_one_over_tasks(model, words):
    tasks = [words, "word_pairs"]
    c = compare(["confident"], tasks, model, seeds=1, own_ceilings=False)
    table = c.table()
    assert table.pgr_own.isna().all() and "pgr_own_note" not in table
