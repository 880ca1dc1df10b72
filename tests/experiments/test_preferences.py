"""Tests of what draws preference models: length by labels, and the order of two texts."""

import numpy as np
import pytest

import w2s_nb as w2s
from tests.conftest import word_rows
from w2s_nb.data.tasks.spec import Example, Prompt
from w2s_nb.experiments.arms import CEILING, WEAK
from w2s_nb.metrics import preference_bias

SIZES = dict(n_train=96, n_val=32, n_test=64)


@pytest.fixture
def uneven(registries):
    """Registers pairs of texts of unequal length, of which the one that ends in w1 is better."""

    def source():
        return {"all": list(word_rows())}

    prompt = Prompt("{0} w40 {1} w43", ("w41", "w42"), "w50 w51")

    @w2s.register_task("uneven", source, max_len=16, arity=2, prompt=prompt)
    def uneven(row):
        """Which of two texts ends in w1?"""
        noise, last = row["text"][:-1], len(row["text"]) % 2
        worse, better = f"{noise}0", f"{noise}1"
        longer = f"w9 {worse}" if last else f"w9 {better}"
        worse, better = (longer, better) if last else (worse, longer)
        if len(row["text"]) % 5 == 0:  # people err too
            worse, better = better, worse
        yield Example((worse, better) if row["label"] else (better, worse), row["label"])


def test_length_bias_says_on_whose_labels_an_arm_was_trained(uneven, tiny):
    longer = w2s.matched("longer", tiny)
    common = dict(method="probe", epochs=5, seeds=2, labels={"longer": longer})
    arms = w2s.run_arms("uneven", f"{tiny}@1", tiny, **common, **SIZES)
    rows = w2s.length_bias_by_labels(arms, own="own")
    assert rows.arm.tolist() == [WEAK, CEILING, "student, naive", "student, naive"]
    assert rows.labels.tolist() == ["ground truth", "ground truth", "own", "longer"]
    whole = arms.length_bias().set_index("arm")
    assert rows.length_bias[3] == whole.length_bias["student, naive, on longer"]
    task = arms.tasks[0]
    given = longer(task, arms.fits[WEAK][0]).for_split(task.student)
    wrong = given.argmax(1) != task.student.hard_label
    planted = w2s.length_bias_of_labels(arms, longer)
    assert wrong.any() and planted.value == pytest.approx(np.mean(wrong)), "all errors are longer"


def test_rewards_do_not_depend_on_the_order_and_answers_may(uneven, tiny):
    task = w2s.load_task("uneven", **SIZES)
    fit = w2s.fit(tiny, task.supervisor, method="logistic", keep_weights=True)
    pairs = task.test.take(range(20))
    table = w2s.order_effects(fit, tiny, pairs).set_index("judge")
    assert [name.partition(", ")[2] for name in table.index] == [
        "rewards",
        "asked",
        "asked, calibrated",
    ]
    of_rewards = table.iloc[0]
    assert (of_rewards.second_over_half, of_rewards.order_decides) == (0, 0)
    orders = (pairs, w2s.swapped(pairs))
    both = [w2s.prompt(tiny, split, max_len=256).predict(split) for split in orders]
    assert table.iloc[1].order_decides == preference_bias.order_decides(*both).value
