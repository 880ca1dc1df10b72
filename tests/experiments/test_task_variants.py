"""Tests of derived tasks: the supervisor's opinion in the text."""

from dataclasses import replace

import numpy as np
import pytest

import w2s_nb as w2s
from w2s_nb.experiments import task_variants
from w2s_nb.experiments.arms import CEILING, WEAK


def test_the_opinion_is_appended_and_nothing_else_changes(words, tiny):
    weak = w2s.fit(f"{tiny}@1", words.supervisor, method="probe", epochs=20)
    varied = w2s.with_opinion(words, weak, words=("w58", "w59"))
    for old, new in zip(words.splits[1:], varied.splits[1:]):
        answer = weak.predict(old).argmax(1)
        assert (old.hard_label == new.hard_label).all() and not set(old.ids) & set(new.ids)
        for text, longer, says in zip(old.texts, new.texts, answer):
            assert longer[0] == f"{text[0]} I think this is w5{8 + says}. What do you think?"
    assert (
        varied.max_len > words.max_len
        and varied.student.task is varied
        and words.student.task is words
    )
    carried = weak.with_ids_of(words, varied)
    np.testing.assert_array_equal(carried.predict(varied.test), weak.predict(words.test))
    with pytest.raises(ValueError, match="{label}"):
        w2s.with_opinion(words, weak, template="no place")


@pytest.mark.parametrize("words", [None, ["w57", "w58", "w59"]])
def test_the_opinion_on_three_classes_is_the_word_of_the_likeliest(words, three, tiny):
    weak = w2s.fit(f"{tiny}@1", three.supervisor, method="probe", epochs=5)
    varied = w2s.with_opinion(three, weak, words=words)
    said = words or three.test.classes
    for old, new in zip(three.splits[1:], varied.splits[1:]):
        answers = weak.predict(old).argmax(1)
        assert len(set(answers)) == 3 and new.classes == three.test.classes
        for text, longer, answer in zip(old.texts, new.texts, answers):
            assert longer[0] == f"{text[0]} I think this is {said[answer]}. What do you think?"
    with pytest.raises(
        ValueError, match="expected 3, one for each of the classes red, green, blue"
    ):
        w2s.with_opinion(three, weak, words=("wrong", "right"))
    images = replace(three.test, texts=tuple((f"image:{i}",) for i in three.test.ids))
    with pytest.raises(ValueError, match="with_opinion needs texts; the examples of three are im"):
        w2s.with_opinion(replace(three, test=images), weak)


def test_the_opinion_calls_the_preferred_text_of_a_pair_correct(words, tiny):
    pairs = w2s.load_task("word_pairs", n_train=40, n_val=20, n_test=20)
    weak = w2s.fit(f"{tiny}@1", pairs.supervisor, method="probe", epochs=20)
    varied = w2s.with_opinion(pairs, weak)
    for texts, prefers in zip(varied.test.texts, weak.predict(pairs.test).argmax(1)):
        assert (
            f"{task_variants.OPINION.format(label='correct')}" in texts[prefers]
            and "incorrect" in texts[1 - prefers]
        )


def test_a_student_that_can_read_its_labels_recovers_no_gap():
    """Repeats appendix E.3 on the embedded model: the student reads its supervisor's opinion."""
    settings = dict(method="probe", n_train=120, n_val=40, n_test=200, seeds=1)
    weak, strong = "SmolLM2-135M@4", "SmolLM2-135M@16"
    varied = w2s.run_arms("movie_snippets", weak, strong, variant=w2s.with_opinion, **settings)
    assert varied.agreement("student, naive").value > 0.95, "of the texts alone about 0.7"
    assert varied.accuracy(CEILING).value > varied.accuracy(WEAK).value + 0.03, (
        "there is a gap to recover"
    )
    assert abs(varied.pgr("student, naive").value) < 0.15
