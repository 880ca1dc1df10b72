"""Tests of chains: who is trained on what, and how mistakes go along the chain."""

import numpy as np
import pytest

import w2s_nb as w2s
from w2s_nb.data.classes import likeliest
from w2s_nb.experiments.bootstrapping import cut_split

QUICK = dict(method="probe", epochs=20, n_train=96, n_val=32, n_test=64)


@pytest.mark.parametrize("k", [1, 2, 3, 5])
def test_parts_are_disjoint_near_equal_and_keep_groups_whole(k, words):
    parts = cut_split(words.student, k)
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
        cut_split(one, 3)


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
    labels = middle.label(chain.tasks[0].student, training_examples=True)
    right = (labels.for_split(words.student).argmax(1) == words.student.hard_label).mean()
    assert last.record["summary"]["label_accuracy"] == pytest.approx(right)
    with pytest.raises(ValueError, match="unless training_examples=True"):
        middle.label(chain.tasks[0].student)
    with pytest.raises(
        ValueError, match="are not there"
    ):  # the last was not asked to label its own examples
        last.label(chain.tasks[0].student, training_examples=True)


def test_a_chain_of_three_classes_passes_probabilities_of_all_on(three, tiny):
    args = dict(method="probe", epochs=20, n_train=96, n_val=33, n_test=63)
    chain = w2s.run_chain("three", [f"{tiny}@1", f"{tiny}@2", tiny], **args)
    assert chain.probs(1).shape == (1, 63, 3)
    middle = chain.steps[1][0]
    labels = middle.label(three.student, training_examples=True).for_split(three.student)
    assert labels.shape == (96, 3)
    right = (likeliest(labels) == three.student.hard_label).mean()
    assert chain.table().label_accuracy[2] == right
    for _, step in chain.flow().groupby("step"):
        assert step.examples.sum() == 63


def test_a_chain_of_two_is_direct_supervision(words, tiny):
    arms = w2s.run_arms("words", f"{tiny}@1", tiny, seeds=2, **QUICK)
    chain = w2s.run_chain("words", [f"{tiny}@1", tiny], seeds=2, **QUICK)
    np.testing.assert_array_equal(chain.probs(-1), arms.probs("student, naive"))
    assert chain.name == "direct supervision" and chain.gain_over(chain).value == 0
    table = chain.table().set_index("arm")
    for column in ("accuracy", "auroc", "auroc_low", "pgr", "pgr_auroc", "pgr_auroc_high"):
        assert table.loc[chain.name, column] == pytest.approx(
            arms.table().loc["student, naive", column], nan_ok=True
        )
    assert table.auroc["strong ceiling"] == arms.table().auroc["strong ceiling"]


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
    "models, data, message",
    [
        (["gpt2"], "same", "at least two"),
        ("gpt2", "same", "at least two"),
        (["gpt2", "gpt2-xl"], "new", "same, fresh"),
        (["gpt2", "gpt3"], "same", "gpt2"),
    ],
)
def test_wrong_chains_are_refused(models, data, message):
    with pytest.raises((ValueError, TypeError), match=message):
        w2s.run_chain("words", models, data=data)


def test_a_chain_refuses_a_wrong_loss_before_it_trains(words, tiny):
    for wrong in (dict(loss="xnt"), dict(loss="confidence", loss_args={"a": 1}), dict(seeds=0)):
        with pytest.raises(ValueError):
            w2s.run_chain("words", [tiny, tiny], **QUICK | wrong)
    assert w2s.results().empty


def test_the_same_model_may_stand_twice_in_a_chain(words, tiny):
    chain = w2s.run_chain("words", [f"{tiny}@1", tiny, tiny], **QUICK)
    assert chain.steps[2][0].record["summary"]["labels_address"] == chain.steps[1][0].address


def test_chains_of_one_supervisor_are_one_table(words, tiny):
    models = [f"{tiny}@1", f"{tiny}@2", tiny]
    chain = w2s.run_chain("words", models, **QUICK)
    short, jump = (w2s.run_chain("words", [f"{tiny}@1", last], **QUICK) for last in models[1:])
    table = w2s.tables_of_chains([chain, jump])
    assert table.arm.tolist() == [
        "weak supervisor",
        "bootstrapped, same data",
        "bootstrapped, same data",
        "direct supervision",
        "strong ceiling",
    ]
    assert table.accuracy.tolist()[1:4] == [*chain.table().accuracy[1:3], jump.table().accuracy[1]]
    by_size = w2s.tables_of_chains([chain, short, jump], by_size=True)
    assert by_size.strong.tolist() == sorted(by_size.strong, key=models.index)
    assert by_size[by_size.arm == "strong ceiling"].strong.tolist() == models[1:]
    survival = w2s.survival_of_chains([chain, jump])
    assert survival.passed_on.tolist() == [
        *chain.survival().passed_on,
        *jump.survival().passed_on,
    ]
    other = w2s.run_chain("words", [f"{tiny}@2", tiny], **QUICK)
    with pytest.raises(ValueError, match="2 chains of 2 supervisors; expected chains of one"):
        w2s.tables_of_chains([chain, other])
