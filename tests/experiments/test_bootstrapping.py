"""Chains, label sets, opinions: who is trained on what, and what comes out."""

import numpy as np
import pytest

import w2s_nb as w2s
from w2s_nb.experiments import task_variants
from w2s_nb.experiments.arms import WEAK
from w2s_nb.experiments.bootstrapping import parts_of

QUICK = dict(method="probe", epochs=20, n_train=96, n_val=32, n_test=64)


@pytest.mark.parametrize("k", [1, 2, 3, 5])
def test_parts_are_disjoint_near_equal_and_keep_groups_whole(k, words):
    parts = parts_of(words.student, k)
    ids = np.concatenate([p.ids for p in parts])
    assert (
        sorted(ids) == sorted(words.student.ids)
        and max(map(len, parts)) - min(map(len, parts)) <= 4
    )
    groups = [set(p.group.tolist()) for p in parts]
    assert sum(map(len, groups)) == len(set().union(*groups))
    assert all(p.task is words for p in parts)


def test_a_half_of_one_group_cannot_be_cut(words):
    one = words.student.take(words.student.group == words.student.group[0])
    with pytest.raises(ValueError, match="cannot be cut into 3"):
        parts_of(one, 3)


def test_fresh_students_are_never_trained_on_what_a_model_before_them_saw(words, tiny):
    models = [f"{tiny}@1", f"{tiny}@2", f"{tiny}@3", tiny]
    chain = w2s.run_chain("words", models, data="fresh", seeds=2, **QUICK)
    for seed in range(2):
        seen = [set(fits[seed].record["trained_on"]) for fits in chain.steps]
        assert len(set().union(*seen)) == sum(map(len, seen)) == 2 * 96
        for before, after in zip(chain.steps[:-1], chain.steps[1:]):
            assert after[seed].record["summary"]["labels_address"] == before[seed].address


def test_same_data_students_are_taught_by_the_one_before_on_its_own_examples(words, tiny):
    models = [f"{tiny}@1", f"{tiny}@2", tiny]
    chain = w2s.run_chain("words", models, **QUICK)
    middle, last = chain.steps[1][0], chain.steps[2][0]
    assert last.record["trained_on"] == middle.record["trained_on"] == words.student.ids.tolist()
    assert last.record["summary"]["labels_address"] == middle.address
    labels = middle.label(chain.tasks[0].student, own=True)
    right = (labels.for_split(words.student).argmax(1) == words.student.hard_label).mean()
    assert last.record["summary"]["label_accuracy"] == pytest.approx(right)
    with pytest.raises(ValueError, match="unless own=True"):
        middle.label(chain.tasks[0].student)
    with pytest.raises(
        ValueError, match="are not there"
    ):  # the last was not asked to label its own examples
        last.label(chain.tasks[0].student, own=True)


def test_a_chain_of_two_is_direct_supervision(words, tiny):
    arms = w2s.run_arms("words", f"{tiny}@1", tiny, seeds=2, **QUICK)
    chain = w2s.run_chain("words", [f"{tiny}@1", tiny], seeds=2, **QUICK)
    np.testing.assert_array_equal(chain.probs(-1), arms.probs("student, naive"))
    assert chain.name == "direct supervision" and chain.gain_over(chain).value == 0
    table = chain.table().set_index("arm")
    assert table.loc[chain.name, "pgr"] == pytest.approx(
        arms.table().loc["student, naive", "pgr"], nan_ok=True
    )


def test_flow_and_survival_count_the_same_answers(words, tiny):
    chain = w2s.run_chain(
        "words", [f"{tiny}@1", f"{tiny}@2", tiny], seeds=2, **QUICK | dict(epochs=3)
    )
    flow, truth = (
        chain.flow().set_index(["step", "before", "after"]).examples,
        chain.test.hard_label,
    )
    right = [(chain.probs(k).argmax(2) == truth) for k in range(3)]
    assert flow[0, "passed on", "right"] == pytest.approx((~right[0] & right[1]).sum() / 2)
    assert flow[1, "right", "new"] == pytest.approx((right[0] & right[1] & ~right[2]).sum() / 2)
    assert flow[1, "right", "passed on"] == pytest.approx(
        (~right[0] & right[1] & ~right[2]).sum() / 2
    )
    assert flow.groupby("step").sum().tolist() == [64, 64]
    survival = chain.survival().set_index("step")
    assert survival.passed_on[2] == pytest.approx((~right[0] & ~right[2]).sum() / (~right[0]).sum())
    assert survival.new[1] == pytest.approx((right[0] & ~right[1]).sum() / right[0].sum())


@pytest.mark.parametrize(
    "models, data, says",
    [
        (["gpt2"], "same", "at least two"),
        ("gpt2", "same", "at least two"),
        (["gpt2", "gpt2-xl"], "new", "same, fresh"),
        (["gpt2", "gpt3"], "same", "gpt2"),
    ],
)
def test_wrong_chains_are_refused(models, data, says):
    with pytest.raises((ValueError, TypeError), match=says):
        w2s.run_chain("words", models, data=data)


def test_a_chain_refuses_a_wrong_loss_before_it_trains(words, tiny):
    for more in (dict(loss="xnt"), dict(loss="confidence", loss_args={"a": 1}), dict(seeds=0)):
        with pytest.raises(ValueError):
            w2s.run_chain("words", [tiny, tiny], **QUICK | more)
    assert w2s.results().empty


def test_label_sets_of_an_experiment(words, tiny):
    sets = {
        "random": w2s.matched("random", tiny, method="probe", epochs=20),
        "confident": w2s.matched("confident", tiny, method="probe", epochs=20),
        "own": w2s.matched("own", tiny),
        "both": w2s.taught_by(f"{tiny}@1", tiny, method="probe", epochs=20),
        "the surest half": w2s.confident(0.5),
    }
    arms = w2s.run_arms(
        "words",
        f"{tiny}@1",
        tiny,
        losses=["xent", "entropy"],
        labels=sets,
        weak_args={"features": 4},
        **QUICK | dict(epochs=5),
    )
    assert len(arms.students) == 2 * (1 + len(sets))
    own = arms.label_accuracy("student, naive")
    for name in ("random", "confident", "own"):
        assert arms.label_accuracy(f"student, naive, on {name}") == pytest.approx(own, abs=1 / 96)
    surest = arms.fits["student, naive, on the surest half"][0]
    assert len(surest.record["trained_on"]) == pytest.approx(48, abs=1)
    split = w2s.by_labels(arms.table(), own="soft")
    assert set(split.labels) == {"soft", *sets} and set(split.arm) == {
        "student, naive",
        "student, entropy",
    }


@pytest.mark.parametrize(
    "make, says",
    [
        (lambda: w2s.matched("longst", "gpt2"), "Near: .*longest"),
        (lambda: w2s.taught_by("gpt2", how="median"), "majority"),
        (lambda: w2s.taught_by("gpt3"), "gpt2"),
        (lambda: w2s.taught_by(), "named"),
        (lambda: w2s.confident(20), r"\(0, 1\]"),
    ],
)
def test_wrong_label_sets_are_refused_when_they_are_named(make, says):
    with pytest.raises(ValueError, match=says):
        make()


def test_the_same_model_may_stand_twice_in_a_chain(words, tiny):
    chain = w2s.run_chain("words", [f"{tiny}@1", tiny, tiny], **QUICK)
    assert chain.steps[2][0].record["summary"]["labels_address"] == chain.steps[1][0].address


def test_students_alone_are_looked_at_more_often(words, tiny):
    arms = w2s.run_arms("words", f"{tiny}@1", tiny, student_args={"evals": [0.1, 0.5]}, **QUICK)
    assert [len(arms.fits[arm][0].curve) for arm in arms.fits] == [20, 3, 20]


def test_the_opinion_is_in_the_text_and_nothing_else_changes(words, tiny):
    weak = w2s.fit(f"{tiny}@1", words.supervisor, method="probe", epochs=20)
    report_progress_to = w2s.with_opinion(words, weak, words=("w58", "w59"))
    for old, new in zip(words.splits[1:], report_progress_to.splits[1:]):
        answer = weak.predict(old).argmax(1)
        assert (old.hard_label == new.hard_label).all() and not set(old.ids) & set(new.ids)
        for text, longer, says in zip(old.texts, new.texts, answer):
            assert longer[0] == f"{text[0]} I think this is w5{8 + says}. What do you think?"
    assert (
        report_progress_to.max_len > words.max_len
        and report_progress_to.student.task is report_progress_to
        and words.student.task is words
    )
    carried = weak.carried(words, report_progress_to)
    np.testing.assert_array_equal(
        carried.predict(report_progress_to.test), weak.predict(words.test)
    )
    with pytest.raises(ValueError, match="{label}"):
        w2s.with_opinion(words, weak, template="no place")


def test_of_a_pair_the_preferred_text_is_called_right(words, tiny):
    pairs = w2s.load_task("word_pairs", n_train=40, n_val=20, n_test=20)
    weak = w2s.fit(f"{tiny}@1", pairs.supervisor, method="probe", epochs=20)
    report_progress_to = w2s.with_opinion(pairs, weak)
    for texts, prefers in zip(report_progress_to.test.texts, weak.predict(pairs.test).argmax(1)):
        assert (
            f"{task_variants.OPINION.format(label='correct')}" in texts[prefers]
            and "incorrect" in texts[1 - prefers]
        )


def test_where_imitation_is_trivial_no_gap_is_recovered():
    """Appendix E.3 on the embedded model: the student reads its supervisor's opinion, and PGR is near 0."""
    settings = dict(method="probe", n_train=160, n_val=40, n_test=200, seeds=2)
    weak, strong = "SmolLM2-135M@4", "SmolLM2-135M@16"
    plain = w2s.run_arms("movie_snippets", weak, strong, **settings)
    report_progress_to = w2s.run_arms(
        "movie_snippets", weak, strong, variant=w2s.with_opinion, **settings
    )
    assert (
        report_progress_to.agreement("student, naive").value
        > 0.95
        > 0.85
        > plain.agreement("student, naive").value
    )
    assert (
        report_progress_to.accuracy("strong ceiling").value
        > report_progress_to.accuracy(WEAK).value + 0.03
    ), "there is a gap to recover"
    assert abs(report_progress_to.pgr("student, naive").value) < 0.15
