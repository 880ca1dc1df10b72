"""Tests tasks that are answered by generating: decoding, finetuning on answers, and results."""

import dataclasses
import functools
import shutil

import numpy as np
import pandas as pd
import pytest
import torch

import w2s_nb as w2s
from tests.conftest import word_rows
from w2s_nb import models
from w2s_nb.common import store
from w2s_nb.data.tasks.spec import Example
from w2s_nb.experiments import arms
from w2s_nb.inputs.batches import NextTokens, TokenInputs
from w2s_nb.inputs.tokens import Tokens
from w2s_nb.labels.answers import Answers
from w2s_nb.models import decoding
from w2s_nb.models.language import LanguageModel
from w2s_nb.training import answers, language_model, loop
from w2s_nb.training.answers import zero_shot
from w2s_nb.training.result import AnswerFit

OPTIONS = (" w0", " w1", " w0w1", " w2")


def register_last_word():
    """Registers a task that a tiny random model can learn: name the last word, w0 or w1."""

    @w2s.register_task(
        "last_word",
        lambda: {"all": list(word_rows())},
        max_len=16,
        max_answer=3,
        options=lambda text: OPTIONS,
        stop="last",
        hyperparameters={"epochs": 20, "batch_size": 32},
    )
    def last_word(row):
        """Which word stands last?"""
        yield Example(
            (row["text"],),
            0,
            (row["passage"],),
            f" w{row['label']}",
            len(row["text"].split()),
            ("long",) if len(row["text"].split()) > 6 else ("short",),
        )


@pytest.fixture
def task():
    register_last_word()
    return w2s.load_task("last_word", n_train=64, n_val=8, n_test=48)


def lm_of(path):
    """Loads a causal model without gradients."""
    return models.load_lm(models.with_depth(models.resolve(path))).requires_grad_(False)


def prompts_of(n=9, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.integers(4, 60, size=rng.integers(1, 14)).astype(np.int32) for _ in range(n)]


# decoding


def test_prompts_in_a_padded_batch_are_answered_as_single_prompts_are(any_tiny):
    lm, prompts = lm_of(any_tiny), prompts_of()
    alone = []
    for ids in prompts:
        # without padding, cache or batch: the argmax of a forward pass, token by token
        now = torch.tensor(ids).long()[None]
        for _ in range(5):
            token = lm(now, use_cache=False).logits[0, -1].argmax()
            if token == 0:
                break
            now = torch.cat([now, token.view(1, 1)], dim=1)
        alone.append(now[0, len(ids) :].tolist())
    assert len({tuple(answer) for answer in alone}) > 2
    for batch in (1, 2, 4, 9, None):
        assert decoding.greedy(lm, prompts, most=5, end=0, batch=batch) == alone


def test_generation_settings_of_a_model_play_no_part(tiny):
    lm, prompts = lm_of(tiny), prompts_of(4)
    expected = decoding.greedy(lm, prompts, most=6, end=0)
    for name, value in {
        "do_sample": True,
        "temperature": 9.0,
        "repetition_penalty": 5.0,
        "num_beams": 3,
    }.items():
        setattr(lm.generation_config, name, value)
    assert decoding.greedy(lm, prompts, most=6, end=0) == expected


def test_options_side_by_side_have_the_log_probability_that_each_has_alone(any_tiny, monkeypatch):
    lm, prompts = lm_of(any_tiny), prompts_of(7)
    rng = np.random.default_rng(1)
    options = [
        [rng.integers(4, 60, size=rng.integers(1, 5)).tolist() for _ in range(rng.integers(1, 6))]
        for _ in prompts
    ]
    expected = []
    for prompt, each in zip(prompts, options, strict=True):
        log_probs = []
        for option in each:
            whole = torch.tensor([*prompt, *option]).long()[None]
            log_p = lm(whole, use_cache=False).logits[0].log_softmax(dim=1)
            log_probs.append(
                sum(float(log_p[len(prompt) - 1 + j, token]) for j, token in enumerate(option))
            )
        expected.append(log_probs)
    for most in (4096, 40, 1):
        monkeypatch.setitem(decoding.MAX_TOKENS, "cpu", most)
        log_probs = decoding.log_probs(lm, prompts, options)
        for actual, right in zip(log_probs, expected, strict=True):
            assert actual == pytest.approx(right, abs=1e-4)


# the loss


def test_the_loss_is_that_of_the_tokens_of_the_answer_alone(any_tiny):
    lm, prompts = lm_of(any_tiny), prompts_of(5)
    ids = tuple(np.append(prompt, [7, 9, 0]).astype(np.int32) for prompt in prompts)
    starts = np.array([len(prompt) for prompt in prompts])
    net = LanguageModel(lm.base_model, lm)
    inputs = NextTokens(
        TokenInputs(Tokens(ids, np.zeros(5, dtype=bool), ("",) * 5, 1)), ids, starts
    )
    nats = loop.forward(net, inputs, np.arange(5))
    for row, whole in enumerate(ids):
        log_p = lm(torch.tensor(whole).long()[None], use_cache=False).logits[0].log_softmax(dim=1)
        at = starts[row] - 1
        right = -float(log_p[at, 7] + log_p[at + 1, 9] + log_p[at + 2, 0])
        assert float(nats[row, 0]) == pytest.approx(right, abs=1e-4)
    assert nats[:, 1].tolist() == [3] * 5


# fits


def test_a_model_learns_to_answer_and_its_answers_teach_another(tiny):
    register_last_word()
    task = w2s.load_task("last_word", n_train=180, n_val=8, n_test=48)
    supervisor = w2s.fit(tiny, task.supervisor, lr=1e-2)
    assert isinstance(supervisor, AnswerFit) and supervisor.accuracy(task.test).value > 0.9
    labels = supervisor.label(task.student)
    assert isinstance(labels, Answers) and len(labels.texts) == 180
    student = w2s.fit(tiny, task.student, labels, lr=1e-2)
    assert student.accuracy(task.test).value > 0.9
    right = np.array(labels.for_split(task.student)) == np.array(task.student.answers)
    assert student.record["summary"]["label_accuracy"] == pytest.approx(right.mean())
    assert student.record["summary"]["labels_address"] == supervisor.address
    frame = student.predictions[student.predictions.split == "test"]
    assert frame.right.tolist() == (frame.answer == np.array(task.test.answers)).tolist()
    assert frame.legal.tolist() == [a in OPTIONS for a in frame.answer]
    assert frame.p_right.between(0, 1).all() and frame.p_right.mean() > 0.8
    assert set(frame.choice) <= set(OPTIONS)
    assert student.accuracy(task.test).value == frame.right.mean()
    assert student.record["metrics"]["accuracy_last"] == frame.right.mean()


def test_labels_are_the_same_for_any_size_of_batch(task, tiny, monkeypatch, tmp_path):
    texts = []
    for max_tokens in (4096, 60, 1):
        monkeypatch.setitem(decoding.MAX_TOKENS, "cpu", max_tokens)
        monkeypatch.setenv("W2S_HOME", str(tmp_path / str(max_tokens)))  # made anew each time
        fit = w2s.fit(tiny, task.supervisor, lr=1e-2, epochs=2)
        texts.append(fit.label(task.student).texts)
    assert texts[0] == texts[1] == texts[2] and len(set(texts[0])) > 1


def test_answers_of_a_chess_model_are_the_same_for_any_size_of_batch():
    task = w2s.load_task("mate_in_one", n_train=20, n_val=2, n_test=40)
    checkpoint = models.with_depth(models.resolve("chess-0.4M"))
    prompts = answers.tokenize_questions(task.test, checkpoint, task.max_len).ids
    lm = models.load_lm(checkpoint)
    first, *others = (
        decoding.greedy(lm, prompts, most=8, end=0, batch=batch) for batch in (1, 3, 40)
    )
    assert others == [first, first] and len({tuple(tokens) for tokens in first}) > 10


def test_the_size_of_micro_batches_changes_nothing(task, tiny):
    fit = functools.partial(w2s.fit, tiny, task.supervisor, lr=1e-2, epochs=2, keep_weights=True)
    whole = fit()
    whole_weights = whole.weights()
    for path in store.folder(whole.address).glob("*"):
        path.unlink()
    cut = fit(micro_batch=5)
    for name, tensor in cut.weights().items():
        torch.testing.assert_close(whole_weights[name], tensor, atol=1e-5, rtol=1e-5)
    np.testing.assert_allclose(whole.curve.train_loss, cut.curve.train_loss, atol=1e-4)


@pytest.mark.parametrize("method", ["full", "lora", "top"])
def test_kept_weights_answer_as_the_fit_did(task, tiny, method):
    more = {"top": {"top_layers": 2}, "lora": {"lora_rank": 2}}.get(method, {})
    fit = w2s.fit(tiny, task.supervisor, method=method, lr=1e-2, keep_weights=True, **more)
    again = w2s.zero_shot(fit.name, task)
    assert again.column(task.test, "answer").tolist() == fit.column(task.test, "answer").tolist()
    assert again.column(task.test, "p_right") == pytest.approx(
        fit.column(task.test, "p_right"), abs=1e-4
    )
    before = w2s.zero_shot(tiny, task)
    assert before.column(task.test, "p_right").mean() < fit.column(task.test, "p_right").mean()


def test_a_stored_fit_is_found_and_other_labels_are_another_fit(task, tiny, monkeypatch):
    fit = functools.partial(w2s.fit, tiny, task.student, epochs=1)
    first = fit()
    ids, truth = task.student.ids, task.student.answers
    assert fit(labels=Answers(ids, (" w1",) * 64, "always w1")).address != first.address
    assert fit(labels=Answers(ids, truth, "by another name")).address == first.address
    monkeypatch.setattr(loop, "train", lambda *a, **k: pytest.fail("trained again"))
    pd.testing.assert_frame_equal(fit().predictions, first.predictions)


def test_the_answers_allowed_and_the_length_are_part_of_the_address(task, tiny, monkeypatch):
    addresses = [w2s.zero_shot(tiny, task).address]
    for more in (dict(options=lambda text: (" w0", " w1")), dict(max_answer=2)):
        other = dataclasses.replace(task, spec=dataclasses.replace(task.spec, **more))
        addresses.append(w2s.zero_shot(tiny, other).address)
    assert len(set(addresses)) == 3


def test_functions_for_two_classes_refuse_a_task_with_answers(task, tiny, experiment):
    for function in (
        lambda: w2s.prompt(tiny, task.test),
        experiment.imitation,
        lambda: w2s.with_opinion(task, w2s.fit(tiny, task.supervisor, epochs=1)),
        lambda: w2s.run_arms(
            "last_word",
            tiny,
            tiny,
            n_train=40,
            n_val=8,
            n_test=20,
            epochs=1,
            labels={"surest": w2s.confident(0.5)},
        ),
    ):
        with pytest.raises(ValueError, match="needs classes; last_word is answered by generating"):
            function()


def test_labels_without_answers_are_refused_and_not_taken_for_the_truth(task, tiny):
    with pytest.raises(ValueError, match="lack 64 of 64"):
        w2s.fit(tiny, task.student, Answers(np.array([], dtype=str), (), "nobody"))


def test_a_warning_says_how_many_questions_are_cut(task, tiny):
    with pytest.warns(
        UserWarning, match=r"% of the questions .* more than 3 tokens and lose their beginning"
    ):
        fit = w2s.fit(tiny, task.student, epochs=1, max_len=3)
    assert 0.5 < fit.record["metrics"]["questions_cut"] < 1


@pytest.mark.parametrize(
    "change, error, says",
    [
        (
            dict(method="probe"),
            ValueError,
            "'probe' trains a classifier.*expected full, lora or top",
        ),
        (dict(method="prob"), KeyError, "prob"),
        (dict(loss="confidence"), ValueError, "take xent and last"),
        (dict(stop="validation"), ValueError, "xent and last"),
        (dict(head_lr=1.0), TypeError, "does not use head_lr"),
        (dict(epochs=0), ValueError, "epochs"),
        (dict(micro_batch=0), ValueError, "micro_batch = 0; expected a whole number from 1"),
        (
            dict(labels=w2s.SoftLabels(np.array(["a"]), np.array([[0, 1]]), "x")),
            TypeError,
            "expected Answers",
        ),
        (dict(labels=Answers(np.array(["a"]), ("b",), "x")), ValueError, "lack 64 of 64"),
    ],
)
def test_wrong_arguments_are_refused_before_a_model_is_loaded(
    task, tiny, change, error, says, monkeypatch
):
    monkeypatch.setattr(answers, "load_lm", lambda *a: pytest.fail("loaded"))
    monkeypatch.setattr(language_model, "trainable", lambda *a, **k: pytest.fail("loaded"))
    with pytest.raises(error, match=says):
        w2s.fit(tiny, task.student, **change)


def test_a_learning_rate_of_0_trains_nothing(task, tiny):
    trained = w2s.fit(tiny, task.student, lr=0, epochs=1, keep_weights=True)
    pretrained = dict(lm_of(tiny).base_model.named_parameters())
    assert trained.record["config"]["hyperparameters"]["lr"] == 0
    for name, tensor in trained.weights().items():
        owner, _, name = name.partition(".")
        if owner == "body":
            assert torch.equal(tensor, pretrained[name])


def test_a_max_len_of_0_is_not_taken_for_none(task, tiny):
    with pytest.raises(ValueError, match="max_len = 0; expected a whole number from 1"):
        zero_shot(tiny, task, max_len=0)


def test_a_model_without_tokens_for_the_question_is_refused(tiny):
    rows = [{"text": f"w{i} unheard" if i == 7 else f"w{i}"} for i in range(60)]

    @w2s.register_task("strange", lambda: {"all": rows}, max_len=16, max_answer=2)
    def strange(row):
        """What?"""
        yield Example((row["text"],), 0, (), " w1")

    with pytest.raises(ValueError, match="no tokens for 1 of .* 'w7 unheard'"):
        task = w2s.load_task("strange", n_val=2)
        for split in (task.student, task.supervisor):
            w2s.fit(tiny, split)


def test_a_fit_labels_examples_that_it_was_trained_on_only_with_own(task, tiny):
    fit = w2s.fit(tiny, task.student, epochs=1)
    with pytest.raises(ValueError, match="held out from the supervisor"):
        fit.label(task.student)
    with pytest.raises(ValueError, match="64 of 64"):
        fit.label(task.student, training_examples=True)  # it was not asked to answer them
    assert (
        len(
            w2s.fit(tiny, task.student, epochs=1, label_training_examples=True).label(
                task.student, training_examples=True
            )
        )
        == 64
    )
    with pytest.raises(ValueError, match="no checkpoint 'oracle'"):
        fit.predict(task.test, stop="oracle")
    with pytest.raises(ValueError, match="choice_right"):
        w2s.fit(tiny, task.supervisor, epochs=1).choose(task.student)


def test_a_task_without_options_has_no_table_column_of_legal_answers(tiny):
    @w2s.register_task("open", lambda: {"all": list(word_rows())}, max_len=16, max_answer=2)
    def open_(row):
        """Which word stands last?"""
        yield Example((row["text"],), 0, (), f" w{row['label']}")

    experiment = w2s.run_arms("open", f"{tiny}@1", tiny, n_train=24, n_val=2, n_test=20, epochs=1)
    assert "legal" not in w2s.chess.answer_table(
        experiment
    ) and "p_right" in w2s.chess.answer_table(experiment)


# arms and chains


@pytest.fixture
def experiment(tiny):
    register_last_word()
    return w2s.run_arms(
        "last_word", f"{tiny}@1", tiny, seeds=2, n_train=48, n_val=8, n_test=40, lr=3e-3, epochs=6
    )


def test_agreement_compares_the_answers_not_their_correctness(experiment):
    weak, student = (experiment.column(arm, "answer") for arm in (arms.WEAK, "student, naive"))
    assert experiment.agreement("student, naive").value == pytest.approx((weak == student).mean())
    wrong = ~experiment.column(arms.WEAK, "right").astype(bool)
    if wrong.any():
        assert experiment.agreement("student, naive", on="mistakes").value == pytest.approx(
            (weak == student)[wrong].mean()
        )


def test_the_table_has_what_the_answers_show(experiment):
    table = w2s.chess.answer_table(w2s.chess.with_zero_shot(experiment))
    options = experiment.tasks[0].spec.options
    shares = [1 / len(options(text)) for (text,) in experiment.test.texts]
    assert table.attrs["chance"] == pytest.approx(np.mean(shares)) and 0 < np.mean(shares) < 0.5
    assert list(table.index) == [arms.WEAK, "student, naive", "zero-shot", arms.CEILING]
    for arm in table.index:
        each = [f.record["metrics"] for f in w2s.chess.with_zero_shot(experiment).fits[arm]]
        for column, metric in {
            "accuracy": "accuracy_last",
            "legal": "legal",
            "p_right": "p_right",
            "choice": "accuracy_of_choice",
        }.items():
            assert table.loc[arm, column] == pytest.approx(np.mean([m[metric] for m in each]))


def test_bands_of_difficulty_add_up_to_the_test_set(experiment):
    table = w2s.by_difficulty(experiment, [4, 8])
    for arm, rows in table.groupby("arm"):
        assert rows.n.sum() == 40 and list(rows.difficulty) == ["< 4", "4 to 8", "8 +"]
        assert (rows.n * rows.accuracy).sum() / 40 == pytest.approx(experiment.accuracy(arm).value)
    themes = w2s.by_theme(experiment, least=1)
    long = (experiment.tasks[0].test.facts.themes == ("long",)).to_numpy()
    row = themes[(themes.arm == arms.WEAK) & (themes.theme == "long")].iloc[0]
    right = experiment.column(arms.WEAK, "right").astype(float)[:, long]
    assert row.n == long.sum() and row.accuracy == pytest.approx(right.mean())


def test_without_difficulties_there_are_no_bands(experiment, tiny):
    facts = experiment.tasks[0].test.facts
    facts.loc[:, "difficulty"] = np.nan
    assert w2s.by_difficulty(experiment, [np.nan]).empty and len(w2s.by_theme(experiment, least=1))
    assert not w2s.chess.accuracy_by_part(
        w2s.by_difficulty(experiment, [np.nan]), "difficulty", "t", "x"
    ).data


def test_disagreements_are_the_questions_that_exactly_one_model_solves(experiment):
    rows = w2s.chess.disagreements(experiment, "student, naive")
    weak, student = (
        experiment.fits[arm][0].column(experiment.tasks[0].test, "right")
        for arm in (arms.WEAK, "student, naive")
    )
    assert len(rows) == (weak != student).sum()
    for row in rows.itertuples():
        solved = row.solved_by == "student"
        assert (row.student == row.answer) == solved and (row.supervisor == row.answer) == (
            not solved
        )


def test_a_chain_on_further_data_teaches_each_step_new_examples(tiny):
    register_last_word()
    chain = w2s.run_chain(
        "last_word",
        [f"{tiny}@1", f"{tiny}@2", f"{tiny}@3", tiny],
        data="further",
        n_train=40,
        n_val=8,
        n_test=20,
        epochs=2,
    )
    task, trained = chain.tasks[0], [set(steps[0].record["trained_on"]) for steps in chain.steps]
    assert trained == [set(s.ids) for s in (task.supervisor, *task.extra_halves, task.student)]
    for step in range(1, 4):
        teacher = chain.steps[step - 1][0]
        assert chain.steps[step][0].record["summary"]["labels_address"] == teacher.address


def test_soft_labels_go_along_a_chain_on_further_data_too(words, tiny):
    chain = w2s.run_chain(
        "words",
        [f"{tiny}@1", f"{tiny}@2", tiny],
        data="further",
        n_train=60,
        n_val=20,
        n_test=40,
        method="probe",
        epochs=3,
    )
    assert [len(steps[0].record["trained_on"]) for steps in chain.steps] == [60] * 3
    assert not set(chain.steps[1][0].record["trained_on"]) & set(
        chain.steps[2][0].record["trained_on"]
    )


def test_easy_to_hard_trains_on_as_many_of_each_and_tests_on_the_hard(tiny, monkeypatch):
    register_last_word()
    trained = []
    fit_answers = answers.fit_answers

    def spy(model, split, *args, **more):
        trained.append((split, split.task.test))
        return fit_answers(model, split, *args, **more)

    monkeypatch.setattr("w2s_nb.training.fit.fit_answers", spy)
    rows = w2s.chess.easy_to_hard("last_word", tiny, [3, 6], 8, n_train=60, epochs=1)
    assert (
        list(rows.trained_on) == ["up to 3", "up to 6", "any", "from 8"]
        and rows.n_train.nunique() == 1
    )
    for (split, test), high in zip(trained, (3, 6, 99, 99)):
        assert len(split) == rows.n_train[0] <= 60 and split.facts.difficulty.max() <= high
        assert test.facts.difficulty.min() >= 8 and not set(split.ids) & set(test.ids)
    assert trained[3][0].facts.difficulty.min() >= 8
    with pytest.raises(ValueError, match="difficulty of 99"):
        w2s.chess.easy_to_hard("last_word", tiny, [3], 99, n_train=60)


@pytest.mark.parametrize("method", ["full", "lora"])
def test_a_training_whose_decoding_failed_is_not_repeated(task, tiny, method, monkeypatch):
    quick = dict(method=method, epochs=1, lr=1e-2)
    with monkeypatch.context() as patch:
        patch.setattr(decoding, "_states", fails)
        with pytest.raises(ValueError, match="killed here"):
            w2s.fit(tiny, task.supervisor, **quick)
    assert not store.addresses(), "half a fit was stored"
    with monkeypatch.context() as patch:
        patch.setattr(loop, "train", fails)
        continued = w2s.fit(tiny, task.supervisor, **quick)
    assert not list((store.home() / "trained").iterdir()), "the weights are still there"
    shutil.rmtree(store.home() / "fits")
    whole = w2s.fit(tiny, task.supervisor, **quick)
    pd.testing.assert_frame_equal(continued.predictions, whole.predictions)
    pd.testing.assert_frame_equal(continued.curve, whole.curve)


def test_a_training_that_is_damaged_is_repeated(task, tiny):
    weights = {"body.weight": torch.arange(6.0)}
    store.write_trained("0" * 20, weights, pd.DataFrame({"step": [1]}))
    found, curve = store.read_trained("0" * 20)
    assert found["body.weight"].tolist() == list(range(6)) and curve.step.tolist() == [1]
    path = store.home() / "trained" / ("0" * 20) / store.WEIGHTS
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    assert store.read_trained("0" * 20) is None
    assert store.read_trained("1" * 20) is None


def fails(*arguments, **more):
    raise ValueError("killed here")
