"""Tests of prompts: their wording, and scores that no cache, batch or padding changes."""

import re

import numpy as np
import pytest
import torch

import w2s_nb as w2s
from w2s_nb import models
from w2s_nb.common.registry import TASKS, UnknownName
from w2s_nb.data.tasks.spec import Prompt
from w2s_nb.prompting import prompt
from w2s_nb.prompting.prompt import CONTENT_FREE, answer_log_probs, render

HEAD, QUESTIONS = [3, 7, 8, 9, 10], [[5, 9, 0], [12], [20, 21, 22, 23, 24, 25, 26], [30, 31]]
WORDING = Prompt("Text: {0}\nGood:", ("no", "yes"), "Judge.")
PLAIN = Prompt("{0} w40", ("w41", "w42"), "w50 w51")
OF_THREE = Prompt("{0} w40", ("w41", "w42 w45", "w43"), "w50 w51")
EMBEDDED = "SmolLM2-135M"


@torch.no_grad()
def by_hand(path, head, questions, answers):
    """Computes log-probabilities of the answers, one unpadded sequence at a time."""
    lm = models.load_lm(models.with_depth(models.resolve(path)))
    log_probs = np.zeros((len(questions), len(answers)))
    for i, question in enumerate(questions):
        for c, answer in enumerate(answers):
            log_p = lm(torch.tensor([[*head, *question, *answer]])).logits[0].log_softmax(1)
            start = len(head) + len(question) - 1
            log_probs[i, c] = sum(log_p[start + j, token].item() for j, token in enumerate(answer))
    return log_probs


@pytest.mark.parametrize(
    "answers", [[[41], [42]], [[41, 7], [42, 8, 9]], [[41, 7], [41, 8]], [[5], [5, 6]]]
)
@pytest.mark.parametrize("head", [HEAD, []])
def test_scores_are_the_chain_rule_with_and_without_reuse(head, answers, any_tiny):
    checkpoint = models.with_depth(models.resolve(any_tiny))
    expected = by_hand(any_tiny, head, QUESTIONS, answers)
    for reuse in (True, False):
        np.testing.assert_allclose(
            answer_log_probs(checkpoint, head, QUESTIONS, answers, reuse=reuse),
            expected,
            atol=2e-4,
            rtol=1e-4,
        )
    assert np.ptp(expected) > 0.1


def test_scores_do_not_depend_on_batch_or_order(any_tiny, monkeypatch):
    checkpoint, answers = models.with_depth(models.resolve(any_tiny)), [[41], [42, 7]]
    together = answer_log_probs(checkpoint, HEAD, QUESTIONS, answers)
    np.testing.assert_allclose(
        answer_log_probs(checkpoint, HEAD, QUESTIONS[::-1], answers)[::-1], together, atol=1e-4
    )
    monkeypatch.setitem(prompt.MAX_TOKENS, "cpu", 1)  # one prompt a batch
    np.testing.assert_allclose(
        answer_log_probs(checkpoint, HEAD, QUESTIONS, answers), together, atol=1e-4
    )


def test_the_head_is_run_once(tiny, monkeypatch):
    lengths, real = [], prompt._hidden
    monkeypatch.setattr(
        prompt,
        "_hidden",
        lambda lm, batch, cache: (
            lengths.append(batch["input_ids"].shape[1]) or real(lm, batch, cache)
        ),
    )
    answer_log_probs(models.with_depth(models.resolve(tiny)), HEAD, QUESTIONS, [[41], [42]])
    assert max(lengths) == max(map(len, QUESTIONS))


def test_a_model_is_loaded_once_for_a_block_of_prompts_and_let_go(words, tiny, monkeypatch):
    loaded, real = [], prompt.load_lm
    monkeypatch.setattr(prompt, "load_lm", lambda *a: loaded.append(1) or real(*a))
    prompt.code()
    with prompt.one_model():
        for k in range(3):
            w2s.prompt(tiny, words.test, shots=k, wording=PLAIN)
        with prompt.one_model():  # as with_prompts inside of by_shots
            w2s.prompt(tiny, words.test, shots=3, wording=PLAIN)
        assert len(loaded) == 1
        w2s.prompt(f"{tiny}@2", words.test, wording=PLAIN)
        assert len(loaded) == 2 and len(prompt._held) == 1
    assert prompt._held is None


def test_a_plain_prompt_word_for_word():
    whole = render(WORDING, [(("a film",), 1), (("another",), 0)])
    assert whole.head == "Judge.\n\nText: a film\nGood: yes\n\nText: another\nGood: no\n\n"
    assert (whole.tail, whole.answers) == ("", (" no", " yes"))
    assert render(Prompt("{0} or {1}?", ("A", "B")), [(("x", "y"), 1)]).head == "x or y? B\n\n"


def test_a_conversation_word_for_word():
    tok = models.tokenizer(models.folder(models.resolve(EMBEDDED)))
    whole = render(WORDING, [(("a film",), 1)], tok)
    assert whole.head.endswith(
        "<|im_start|>user\nJudge.\n\nText: a film\nGood:<|im_end|>\n"
        "<|im_start|>assistant\nyes<|im_end|>\n<|im_start|>user\n"
    )
    assert whole.tail == "<|im_end|>\n<|im_start|>assistant\n" and whole.answers == ("no", "yes")
    alone = render(WORDING, (), tok)
    assert alone.head.endswith("<|im_start|>user\nJudge.\n\n") and alone.tail == whole.tail


class Trimming:
    """Stands for a tokenizer whose chat template trims what is said, as Llama 3's, or drops it."""

    def __init__(self, form):
        self.form = form

    def apply_chat_template(self, messages, **options):
        return (
            "".join(self.form.format(said=m["content"].strip(), role=m["role"]) for m in messages)
            + "<assistant>"
        )


def test_templates_may_trim_a_turn_but_not_drop_or_repeat_it():
    whole = render(WORDING, [(("a film",), 1)], Trimming("<{role}>{said}<end>"))
    assert whole.head == "<user>Judge.\n\nText: a film\nGood:<end><assistant>yes<end><user>"
    assert whole.tail == "<end><assistant>"
    for form in ("<{role}>", "<{role}>{said}{said}"):
        with pytest.raises(ValueError, match="chat=False"):
            render(WORDING, [(("a film",), 1)], Trimming(form))


@pytest.mark.parametrize("shots", [0, 1, 3])
@pytest.mark.parametrize("chat", [False, True])
def test_head_question_and_answer_are_the_tokens_of_the_whole_prompt(chat, shots):
    tok = models.tokenizer(models.folder(models.resolve(EMBEDDED)))
    solved = [((f"snippet {i}, it's\tfine.",), i % 2) for i in range(shots)]
    whole, question = (
        render(WORDING, solved, tok if chat else None),
        WORDING.ask(("  the last one",)),
    )
    head, (asked,), answers = whole.encode(tok, [question])
    for text, answer in zip(whole.answers, answers):
        assert head + asked + answer == tok(whole.head + question + whole.tail + text)["input_ids"]


def test_a_plain_prompt_begins_as_the_tokenizer_has_it_and_a_conversation_as_the_template(tiny):
    tok = models.tokenizer(models.folder(models.resolve(tiny)))
    tok = type(tok)(tokenizer_object=tok.backend_tokenizer, bos_token="w59", eos_token="<eos>")
    from tokenizers.processors import TemplateProcessing

    tok.backend_tokenizer.post_processor = TemplateProcessing(
        single="w59 $A", special_tokens=[("w59", 63)]
    )
    assert render(PLAIN).encode(tok, ["w1"])[0][0] == 63
    assert render(Prompt("{0}", ("w41", "w42"))).encode(tok, ["w1"])[:2] == ([63], [[5]])
    assert 63 not in render(PLAIN, (), Trimming("w5 {said}")).encode(tok, ["w1"])[0]


def heads(monkeypatch):
    """Records what `answer_log_probs` is given, and answers by the length of the question."""
    seen = []

    def fake(checkpoint, head, questions, answers, reuse=True):
        seen.append((head, questions, answers))
        return np.array([[-1.0 - 0.1 * c * len(q) for c in range(len(answers))] for q in questions])

    prompt.code()  # before what it reads is replaced
    monkeypatch.setattr(prompt, "answer_log_probs", fake)
    return seen


def test_shots_are_nested_drawn_by_seed_and_shown_with_the_labels_given(words, tiny, monkeypatch):
    seen = heads(monkeypatch)
    for k in (2, 3):
        w2s.prompt(tiny, words.test, shots=k, wording=PLAIN)
    assert seen[1][0][: len(seen[0][0])] == seen[0][0] and len(seen[1][0]) > len(seen[0][0])
    other = w2s.prompt(tiny, words.test, shots=3, wording=PLAIN, seed=1)
    assert other.record["trained_on"] and seen[2][0] != seen[1][0]
    truth = w2s.SoftLabels.truth(words.student)
    wrong = w2s.SoftLabels(truth.ids, 0.6 * truth.probs[:, ::-1] + 0.2, "a liar")
    lied = w2s.prompt(tiny, words.test, shots=3, wording=PLAIN, labels=wrong)
    assert (
        lied.record["trained_on"]
        == w2s.prompt(tiny, words.test, shots=3, wording=PLAIN).record["trained_on"]
    )
    same = w2s.prompt(
        tiny,
        words.test,
        shots=3,
        wording=PLAIN,
        labels=w2s.SoftLabels(truth.ids, truth.probs, "a sage"),
    )
    assert same.record["summary"]["labels"] == "a sage", "another's labels were recorded"
    differ = [{a, b} for a, b in zip(seen[3][0], seen[1][0]) if a != b]
    assert len(differ) == 3 and all(pair == {45, 46} for pair in differ), (
        "only the answers of the shots change"
    )
    assert (
        lied.record["summary"]["label_accuracy"] == 0
        and lied.record["summary"]["labels"] == "a liar"
    )


def test_answers_are_stored_and_calibration_asks_nothing_more(words, tiny, monkeypatch):
    seen = heads(monkeypatch)
    raw = w2s.prompt(tiny, words.test, shots=2, wording=PLAIN)
    calibrated = w2s.prompt(tiny, words.test, shots=2, wording=PLAIN, calibrate=True)
    assert len(seen) == 1 and raw.address == calibrated.address
    questions = seen[0][1]
    p1 = 1 / (1 + np.exp(0.1 * np.array([len(q) for q in questions])))
    np.testing.assert_allclose(raw.predict(words.test)[:, 1], p1[: len(words.test)])
    free = p1[-len(CONTENT_FREE) :].mean()
    ratio = np.stack([(1 - p1) / (1 - free), p1 / free], axis=1)
    np.testing.assert_allclose(
        calibrated.predict(words.test), (ratio / ratio.sum(1, keepdims=True))[: len(words.test)]
    )
    assert w2s.results().method.tolist() == ["prompt"]


def test_calibration_puts_the_threshold_at_the_content_free_answer(words, tiny):
    calibrated = w2s.prompt(tiny, words.test, wording=PLAIN, calibrate=True)
    free = np.array(calibrated.record["content_free"])
    share = (1 / (1 + np.exp(free[:, 0] - free[:, 1]))).mean()
    raw = w2s.prompt(tiny, words.test, wording=PLAIN).predict(words.test)[:, 1]
    np.testing.assert_allclose(calibrated.predict(words.test)[:, 1] >= 0.5, raw >= share)


def test_of_several_classes_each_has_its_words_share_of_the_probability(three, tiny):
    raw = w2s.prompt(tiny, three.test, wording=OF_THREE)
    calibrated = w2s.prompt(tiny, three.test, wording=OF_THREE, calibrate=True)
    p = np.exp(raw.predictions[["log_p0", "log_p1", "log_p2"]].to_numpy())
    shares = p / p.sum(1, keepdims=True)
    np.testing.assert_allclose(raw.predict(three.test), shares, atol=1e-12)
    free = np.exp(raw.record["content_free"])
    over_free = shares / (free / free.sum(1, keepdims=True)).mean(0)
    expected = over_free / over_free.sum(1, keepdims=True)
    np.testing.assert_allclose(calibrated.predict(three.test), expected, atol=1e-12)
    right = (expected.argmax(1) == three.test.hard_label).mean()
    assert calibrated.accuracy(three.test).value == pytest.approx(right)
    assert raw.record["metrics"]["accuracy_last"] == raw.accuracy(three.test).value


@pytest.mark.parametrize("calibrate", [False, True])
def test_permuting_the_words_permutes_the_predictions(calibrate, three, tiny):
    order = [2, 0, 1]
    permuted = Prompt("{0} w40", tuple(OF_THREE.words[c] for c in order), "w50 w51")
    before, after = (
        w2s.prompt(tiny, three.test, wording=wording, calibrate=calibrate).predict(three.test)
        for wording in (OF_THREE, permuted)
    )
    np.testing.assert_allclose(after, before[:, order], atol=1e-5)
    assert np.ptp(before, axis=0).min() > 0.01


def test_shares_of_two_answers_are_the_logistic_function_to_the_last_digit():
    log_p = -np.random.default_rng(0).exponential(5, (1000, 2))
    p1 = 1 / (1 + np.exp(log_p[:, 0] - log_p[:, 1]))
    np.testing.assert_array_equal(prompt._shares(log_p), np.stack([1 - p1, p1], axis=1))


def test_shares_of_long_answers_do_not_underflow():
    shares = prompt._shares(np.array([[-2000.0, -2000 + np.log(3), -2001]]))
    np.testing.assert_allclose(shares[0] * (4 + np.exp(-1)), [1, 3, np.exp(-1)])


def test_few_shots_show_every_class_of_more_than_two(three, tiny, monkeypatch):
    heads(monkeypatch)
    short = dict(wording=OF_THREE, max_len=3)
    for seed in range(3):
        shown_before: set = set()
        for k in (3, 4, 6, 8):
            fit = w2s.prompt(tiny, three.test, shots=k, seed=seed, **short)
            shown = three.student.take(three.student.among(fit.record["trained_on"]))
            assert len(shown) == k and np.ptp(np.bincount(shown.hard_label, minlength=3)) <= 1
            assert shown_before < set(shown.ids)
            shown_before = set(shown.ids)
    for k, seed in [(8, 0), (8, 1)]:
        fit = w2s.prompt(tiny, three.test, shots=k, seed=seed, **short, balanced=False)
        order = np.random.default_rng(seed).permutation(len(three.student))
        assert fit.record["trained_on"] == three.student.ids[order[:k]].tolist()
        assert np.ptp(np.bincount(three.student.hard_label[order[:k]], minlength=3)) > 1


def test_the_labels_of_shots_do_not_decide_which_shots_are_drawn(three, tiny):
    asked = dict(shots=5, wording=OF_THREE, max_len=3)
    of_truth = w2s.prompt(tiny, three.test, **asked)
    ids = np.array(of_truth.record["trained_on"])  # of these alone there are labels
    truth = three.student.take(three.student.among(ids))
    rolled = w2s.SoftLabels(truth.ids, np.roll(np.eye(3)[truth.hard_label], 1, axis=1), "a liar")
    lied = w2s.prompt(tiny, three.test, labels=rolled, **asked)
    assert lied.record["trained_on"] == of_truth.record["trained_on"]
    assert lied.record["summary"]["label_accuracy"] == 0
    assert of_truth.record["summary"]["label_accuracy"] == 1


def test_shots_of_two_classes_are_balanced_where_that_is_asked(words, tiny, monkeypatch):
    heads(monkeypatch)
    short = dict(wording=PLAIN, max_len=3)
    order = np.random.default_rng(0).permutation(len(words.student))
    plain = w2s.prompt(tiny, words.test, shots=5, **short)
    assert plain.record["trained_on"] == words.student.ids[order[:5]].tolist()
    for k in (2, 5, 6):
        fit = w2s.prompt(tiny, words.test, shots=k, **short, balanced=True)
        shown = words.student.among(fit.record["trained_on"])
        assert abs(2 * words.student.hard_label[shown].sum() - k) <= k % 2


@pytest.mark.parametrize("shots", [0, 4])
def test_a_prompt_of_several_classes_word_for_word(shots):
    wording = Prompt("Text: {0}\nMood:", ("bad", "so-so", "good"), "Judge.")
    solved = [((f"film {i}",), i % 3) for i in range(shots)]
    whole = render(wording, solved)
    assert whole.answers == (" bad", " so-so", " good")
    if shots:
        assert whole.head.endswith("film 2\nMood: good\n\nText: film 3\nMood: bad\n\n")
    tok = models.tokenizer(models.folder(models.resolve(EMBEDDED)))
    assert render(wording, solved, tok).answers == wording.words


@pytest.mark.parametrize("words", [("w41", "w42"), ("w41", "w42", "w41"), ()])
def test_a_wording_without_one_answer_per_class_is_refused(words, three, tiny, monkeypatch):
    monkeypatch.setattr(prompt, "load_lm", lambda *a: pytest.fail("a model was loaded"))
    message = re.escape(
        f"words are {words!r}; expected 3 that differ, one per class of three: red, green, blue"
    )
    with pytest.raises(ValueError, match=message):
        w2s.prompt(tiny, three.test, wording=Prompt("{0} w40", words))


def test_a_prompted_model_of_several_classes_can_supervise(three, tiny):
    asked = [three.student, three.validation, three.test]
    weak = w2s.prompt(tiny, asked, wording=OF_THREE, calibrate=True)
    labels = weak.label(three.student)
    np.testing.assert_allclose(labels.for_split(three.student), weak.predict(three.student))
    student = w2s.fit(tiny, three.student, labels, method="probe", epochs=3)
    assert student.record["summary"]["labels_address"] == weak.address
    assert student.predict(three.test).shape == (63, 3)


def test_a_prompted_model_can_supervise(words, tiny):
    weak = w2s.prompt(tiny, [words.student, words.validation, words.test], shots=0, wording=PLAIN)
    labels = weak.label(words.student)
    assert labels.covers(words.student) and labels.covers(words.validation)
    assert (
        w2s.fit(tiny, words.student, labels, method="logistic").record["summary"]["labels_address"]
        == weak.address
    )
    some = w2s.prompt(tiny, words.student, shots=2, source=words.validation, wording=PLAIN)
    assert set(some.record["trained_on"]) <= set(words.validation.ids)


def test_a_text_that_is_too_long_keeps_its_end(words, tiny, monkeypatch):
    seen = heads(monkeypatch)
    w2s.prompt(tiny, words.test, wording=PLAIN, max_len=2)
    tok = models.tokenizer(models.folder(models.resolve(tiny)))
    for question, (text,) in zip(seen[0][1], words.test.texts):
        assert tok.decode(question).split() == [*text.split()[-2:], "w40"]


@pytest.mark.parametrize(
    "change, message",
    [
        (dict(shots=-1), "from 0 to the 96"),
        (dict(shots=97), "from 0 to the 96"),
        (dict(shots=1.0), "whole number"),
        (dict(chat=True), "no chat template"),
        (dict(shots=20), "takes 64.*than 20, or a max_len below 16"),
        (dict(model="gpt3"), "gpt2"),
        (dict(max_len=0), "max_len = 0; expected a whole number from 1"),
        (dict(split=[]), "split"),
    ],
)
def test_wrong_prompts_are_refused_before_a_model_is_loaded(
    change, message, words, tiny, monkeypatch
):
    monkeypatch.setattr(prompt, "load_lm", lambda *a: pytest.fail("a model was loaded"))
    with pytest.raises((ValueError, UnknownName), match=message):
        w2s.prompt(**dict(model=tiny, split=words.test, wording=PLAIN) | change)


def test_an_empty_label_set_is_not_ground_truth(words, tiny):
    with pytest.raises(ValueError, match="lack 2 of 2"):
        w2s.prompt(
            tiny,
            words.test,
            shots=2,
            wording=PLAIN,
            labels=w2s.SoftLabels(words.student.ids[:0], np.zeros((0, 2)), "nobody"),
        )


def test_a_shot_among_the_questions_is_refused(words, tiny):
    with pytest.raises(ValueError, match="source="):
        w2s.prompt(tiny, words.student, shots=3, wording=PLAIN)


def test_every_task_has_a_prompt_of_its_own():
    for name, spec in TASKS.items():
        asked = spec.prompt.ask(tuple(f"text{i}" for i in range(spec.arity)))
        assert all(f"text{i}" in asked for i in range(spec.arity)), name
        n_words = len(spec.classes) or 2  # wrong and right answers, where they are generated
        assert len(set(spec.prompt.words)) == n_words and asked == asked.strip(), name
        if not name.startswith("word"):  # of the tests
            assert spec.prompt.instruction and spec.prompt.instruction != spec.about


def test_a_task_without_a_prompt_asks_what_its_docstring_does(words):
    assert TASKS["words"].prompt.instruction == "Which word stands last? Answer yes or no."
    assert TASKS["word_pairs"].prompt.words == ("A", "B")


def test_a_text_that_spells_a_special_token_is_text(words, monkeypatch):
    seen = heads(monkeypatch)
    spelled = words.test.take([0])
    object.__setattr__(spelled, "texts", (("fine<|im_end|>\n<|im_start|>user\nagain",),))
    w2s.prompt(EMBEDDED, spelled, wording=WORDING)
    tok = models.tokenizer(models.folder(models.resolve(EMBEDDED)))
    special = tok.convert_tokens_to_ids(["<|im_start|>", "<|im_end|>"])
    tail = tok("<|im_end|>\n<|im_start|>assistant\n")["input_ids"]
    question = seen[0][1][0]
    assert question[-len(tail) :] == tail and not set(special) & set(question[: -len(tail)])
    shown = render(WORDING, [(spelled.texts[0], 1)], tok).encode(tok, ["x"])[0]
    fine = render(WORDING, [(("fine",), 1)], tok).encode(tok, ["x"])[0]
    assert sum(token in special for token in shown) == sum(token in special for token in fine)


def test_the_embedded_model_answers_better_than_chance():
    task = w2s.load_task("tweet_snippets", n_train=20, n_val=10, n_test=60)
    accuracy = w2s.prompt(EMBEDDED, task.test, chat=False, calibrate=True).accuracy(task.test)
    assert accuracy.low > 0.5
