"""Finetunes models to answer questions, and reads what they answer (section 4.1, appendix A.2)."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict

import numpy as np
import pandas as pd
import torch

from ..common import store
from ..common.device import compute_type, computing_versions, precision
from ..common.out_of_memory import explain_out_of_memory
from ..common.progress import collect_warnings
from ..data.splits import Split, Task, need_task
from ..inputs import activations
from ..inputs.batches import NextTokens
from ..inputs.tokens import Tokens, tokenize
from ..labels.answers import Answers
from ..models import decoding, loading
from ..models.loading import digest, folder, load_lm, require_unembedding, tokenizer, with_depth
from ..models.names import Checkpoint, resolve
from . import language_model, loop
from .device_memory.check import check_memory
from .device_memory.choice import Room
from .device_memory.of_fit import micro_batch_of_texts
from .hyperparameters import Hyperparameters
from .language_model import choose_text_hyperparameters, complete_hyperparameters
from .result import AnswerFit, half_of, labelable_splits, task_of

# tokens of a model's context that are kept free for an answer, whatever the tokenizer
ANSWER_TOKENS = 40
FEWER_TOKENS = "give a smaller max_len, or a smaller model"


def fit_answers(
    model: str,
    split: Split,
    labels: Answers | None = None,
    *,
    method: str = "full",
    seed: int = 0,
    micro_batch: int | None = None,
    keep_weights: bool = False,
    label_training_examples: bool = False,
    **hyperparameters,
) -> AnswerFit:
    """Finetunes a model on answers to the questions of a split, or finds that fit in the store.

    The loss of an example is -log P(answer, end of text | question), nats: the sum over the
    answer's tokens, without those of the question. The model is taken as it is after the last step
    (appendix A.2: no early stopping).

    Args: as of `fit`, which checks them.
    Raises: as `fit`.
    """
    checkpoint = resolve(model)
    task = task_of(split)
    settings = choose_text_hyperparameters(method, task.hyperparameters, hyperparameters)
    taught = Answers.truth(split) if labels is None else labels
    checkpoint = with_depth(checkpoint)
    require_unembedding(checkpoint, "answering")
    max_len = settings.max_len
    if max_len is None:
        max_len = _max_question_tokens(task, checkpoint)
    settings = complete_hyperparameters(
        settings, method, checkpoint, max_len=max_len, evals=settings.epochs
    )
    answers = taught.for_split(split)
    predicted = [task.test, *labelable_splits(split, label_training_examples)]
    train_questions = tokenize_questions(split, checkpoint, max_len)
    questions = [tokenize_questions(each, checkpoint, max_len) for each in predicted]
    config = _config(checkpoint, method, task.test) | {
        "hyperparameters": asdict(settings),
        "seed": seed,
        "label_training_examples": label_training_examples,
        "splits": [each.fingerprint for each in (split, *predicted)],
        "keep_weights": "last" if keep_weights else None,
        "trunk_gb": activations.trunk_limit() if method == "top" else None,
        "labels": Answers(split.ids, answers, "").fingerprint,
    }

    def train():
        n_texts = micro_batch_of_texts(
            checkpoint,
            method,
            settings,
            micro_batch,
            tokens=int(train_questions.lengths.max()) + ANSWER_TOKENS,
            predicted=ANSWER_TOKENS,
        )
        return _train(checkpoint, method, settings, train_questions, answers, seed, n_texts)

    def make():
        weights, curve = _find_or_train(config, train)
        lm = _load_trained(checkpoint, method, settings, weights)
        predictions = _predict(lm, checkpoint, predicted, questions)
        summary = _summary(checkpoint, method, split, taught, seed) | {"lr": settings.lr}
        record = _record(config, predictions, questions[0], split.ids.tolist(), summary)
        record["half"] = half_of(split).fingerprint
        record["data"] = task.data_version
        return record, predictions, curve, weights if keep_weights else None

    return _find_or_make(config, make)


def zero_shot(model: str, task: Task, *, max_len: int | None = None) -> AnswerFit:
    """Reads a model's answers to a task's test questions without finetuning it (figure 15).

    Args:
        max_len: tokens kept of a question, from its end; None takes the number that `fit` takes.
    Raises: as `fit`.
    """
    test = need_task(task, "task").test
    if not test.answers:
        raise ValueError(f"{task.name} has classes; w2s.prompt asks a model about them")
    checkpoint = with_depth(resolve(model))
    require_unembedding(checkpoint, "answering")
    if max_len is None:
        max_len = _max_question_tokens(task, checkpoint)
    questions = tokenize_questions(test, checkpoint, max_len)
    config = _config(checkpoint, "zero-shot", test) | {
        "max_len": max_len,
        "splits": [test.fingerprint],
    }

    def make():
        longest = int(questions.lengths.max()) + ANSWER_TOKENS
        check_memory(checkpoint.name, "prompt", room=Room.free(), tokens=longest)
        lm = load_lm(checkpoint, compute_type())
        predictions = _predict(lm, checkpoint, [test], [questions])
        record = _record(config, predictions, questions, [], _summary_untrained(checkpoint, task))
        return record, predictions, pd.DataFrame({"step": []})

    return _find_or_make(config, make)


def _find_or_make(config: dict, make: Callable[[], tuple]) -> AnswerFit:
    address = store.address(config)
    with explain_out_of_memory("answering questions", FEWER_TOKENS):
        fit = AnswerFit(address, *store.get_or_make(address, make), "last")
    store.forget_trained(address)
    return fit


def _find_or_train(
    config: dict, train: Callable[[], tuple[dict[str, torch.Tensor], pd.DataFrame]]
) -> tuple[dict[str, torch.Tensor], pd.DataFrame]:
    """Trains, and keeps the weights and the curve until the answers are there too.

    Where decoding failed or was killed, they are read instead.
    """
    address = store.address(config)
    kept = store.read_trained(address)
    if kept is None:
        with explain_out_of_memory("finetuning on answers", loop.LESS_PER_PASS):
            kept = train()
        store.write_trained(address, *kept)
    return kept


def check_questions(model: str, task: Task) -> None:
    """Checks that a model can read a task's test questions; tasks with classes have none.

    Raises:
        ValueError: the model has no tokens for a question, or too short a context for one.
    """
    if task.spec.max_answer:
        checkpoint = with_depth(resolve(model))
        require_unembedding(checkpoint, "answering")
        tokenize_questions(task.test, checkpoint, _max_question_tokens(task, checkpoint))


def tokenize_questions(split: Split, checkpoint: Checkpoint, max_len: int) -> Tokens:
    """Returns the tokens of a split's questions, each cut to its last `max_len`.

    Warns where a question is cut.

    Raises:
        ValueError: the model has no tokens for a question, or too short a context for one.
    """
    with collect_warnings():  # a question of unknown words is refused below
        questions = tokenize(split, checkpoint, max_len)
    tok = tokenizer(folder(checkpoint))
    if tok.eos_token_id is None:
        raise ValueError(
            f"{checkpoint.name}: its tokenizer has no end of text (eos_token), which ends an answer"
        )
    unknown = tok.unk_token_id
    unreadable = [i for i, ids in enumerate(questions.ids) if unknown in ids]
    if unreadable:
        raise ValueError(
            f"{checkpoint.name} has no tokens for {len(unreadable)} of {len(split)} questions, the "
            f"first {split.texts[unreadable[0]][0][:80]!r}"
        )
    if questions.truncated.any():
        warnings.warn(
            f"{checkpoint.name}: {questions.truncated.mean():.1%} of the questions of "
            f"{split.name!r} have more than {max_len} tokens and lose their beginning",
            stacklevel=2,
        )
    longest = int(questions.lengths.max())
    loading.require_context(checkpoint, longest + ANSWER_TOKENS, "Give a smaller max_len.")
    return questions


def _max_question_tokens(task: Task, checkpoint: Checkpoint) -> int:
    """Returns the tokens kept of a question: the task's, or those that the context has room for."""
    context = getattr(loading.config_of(checkpoint), "max_position_embeddings", None)
    if not context:
        return task.max_len
    return min(task.max_len, context - ANSWER_TOKENS)


def _config(checkpoint: Checkpoint, method: str, test: Split) -> dict:
    """Returns the part of an address that finetuned and zero-shot answers have in common."""
    spec = task_of(test).spec
    return {
        "model": digest(checkpoint),
        "layers": checkpoint.layers,
        "method": method,
        "objective": "answers",
        "precision": precision(),
        "versions": computing_versions(),
        "max_answer": spec.max_answer,
        "options": _options_fingerprint(test),
        "code": code(),
    }


def _options_fingerprint(test: Split) -> str:
    """Returns 16 hex digits of the answers allowed to test questions and of the bare true ones."""
    spec = task_of(test).spec
    if spec.options is None:
        return ""
    options = [spec.options(text) for (text,) in test.texts]
    bare = [spec.bare(answer) for answer in test.answers]
    return store.address({"options": options, "bare": bare})[:16]


@functools.cache
def code() -> str:
    """Returns the version of the code that decides what is learned and answered."""
    return language_model.training_code() + store.code_version(
        _train,
        _load_trained,
        _texts_with_answers,
        _predict,
        _generate,
        _score_test,
        tokenize_questions,
        most_likely_option,
        first_word,
        labelable_splits,
        decoding,
        *loading.code_parts(),
    )


def _summary(checkpoint: Checkpoint, method: str, split: Split, labels: Answers, seed: int) -> dict:
    """Returns the part of a finetuning's record that `store.results` shows."""
    task = task_of(split)
    answers = labels.for_split(split)
    is_true = [answer == truth for answer, truth in zip(answers, split.answers, strict=True)]
    return {
        "task": task.name,
        "model": checkpoint.name,
        "layers": checkpoint.layers,
        "loss": "xent",
        "loss_args": {},
        "seed": seed,
        "n_test": len(task.test),
        "method": method,
        "labels": labels.source,
        "labels_address": labels.address,
        "trained_split": split.name,
        "label_accuracy": float(np.mean(is_true)),
        "n_train": len(split),
    }


def _summary_untrained(checkpoint: Checkpoint, task: Task) -> dict:
    """Returns the same part of the record of a model that was not finetuned."""
    return {
        "task": task.name,
        "model": checkpoint.name,
        "layers": checkpoint.layers,
        "loss": "xent",
        "loss_args": {},
        "seed": task.seed,
        "n_test": len(task.test),
        "method": "zero-shot",
        "labels": "",
        "labels_address": "",
        "label_accuracy": np.nan,
        "trained_split": "",
        "n_train": 0,
    }


def _record(
    config: dict,
    predictions: pd.DataFrame,
    test_questions: Tokens,
    trained_on: list[str],
    summary: dict,
) -> dict:
    """Returns the record of a fit, with the metrics of its test predictions."""
    test = predictions[predictions.split == "test"]
    return {
        "config": config,
        "metrics": {
            "accuracy_last": _mean(test.right),
            "legal": _mean(test.legal),
            "p_right": _mean(test.p_right),
            "accuracy_of_choice": _mean(test.choice_right),
            "questions_cut": float(test_questions.truncated.mean()),
        },
        "stop": "last",
        "trained_on": trained_on,
        "summary": summary,
    }


def _mean(column: pd.Series) -> float:
    return float(column.astype(float).mean())


def _train(
    checkpoint: Checkpoint,
    method: str,
    settings: Hyperparameters,
    questions: Tokens,
    answers: Sequence[str],
    seed: int,
    micro_batch: int | None,
) -> tuple[dict[str, torch.Tensor], pd.DataFrame]:
    """Trains on answers after their questions; returns the trained tensors and the curve."""
    torch.manual_seed(seed)
    tokens = _texts_with_answers(tokenizer(folder(checkpoint)), questions, answers)
    (sequences,) = language_model.sequences(checkpoint, method, settings, tokens)
    texts = NextTokens(sequences, tokens.ids, starts=questions.lengths)
    net = language_model.load_trainable(checkpoint, method, settings)
    curve = []

    def record(step: int, progress: float, train_loss: float, nats_per_token: float) -> None:
        curve.append({"step": step, "progress": progress, "train_loss": train_loss})

    language_model.train_language_model(
        net,
        texts,
        settings,
        seed=seed,
        evaluate=record,
        label=f"{checkpoint.name} on answers, seed {seed}",
        micro_batch=micro_batch,
    )
    return loop.copy_weights(net), pd.DataFrame(curve)


def _load_trained(
    checkpoint: Checkpoint, method: str, settings: Hyperparameters, weights: dict[str, torch.Tensor]
):
    """Loads a checkpoint's language model, with the weights that `_train` returns."""
    return loading.load_with_trained(
        load_lm, checkpoint, compute_type(), weights, method, asdict(settings)
    )


def _texts_with_answers(tok, questions: Tokens, answers: Sequence[str]) -> Tokens:
    """Returns texts of a question, its answer and the end of text each."""
    answer_ids = tok(list(answers), add_special_tokens=False, verbose=False)["input_ids"]
    ids = tuple(
        np.array([*question, *answer, tok.eos_token_id], dtype=np.int32)
        for question, answer in zip(questions.ids, answer_ids, strict=True)
    )
    keys = tuple(store.address({"ids": text.tolist()})[:16] for text in ids)
    return Tokens(ids, questions.truncated, keys, 1)


def _predict(
    lm, checkpoint: Checkpoint, splits: list[Split], questions: list[Tokens]
) -> pd.DataFrame:
    """Returns `AnswerFit.predictions` for splits, the first of which is the test split."""
    lm = decoding.prepare(lm)
    tok = tokenizer(folder(checkpoint))
    predictions = _generate(lm, tok, splits, questions)
    test = splits[0]
    scores = _score_test(lm, tok, test, questions[0], predictions.answer.tolist()[: len(test)])
    # the test split's rows come first; the others have no scores
    return predictions.join(scores)


def _generate(lm, tok, splits: list[Split], questions: list[Tokens]) -> pd.DataFrame:
    """Returns rows (split, id, group, answer, right): the answers to the questions of splits, in
    order.
    """
    answer_ids = decoding.greedy(
        lm,
        [ids for tokens in questions for ids in tokens.ids],
        most=task_of(splits[0]).spec.max_answer,
        end=tok.eos_token_id,
    )
    examples = pd.concat(
        [
            pd.DataFrame(
                {
                    "split": split.name,
                    "id": split.ids,
                    "group": split.group,
                    "truth": split.answers,
                }
            )
            for split in splits
        ],
        ignore_index=True,
    )
    answers = pd.Series([first_word(text) for text in tok.batch_decode(answer_ids)])
    right = answers == examples.truth
    return examples[["split", "id", "group"]].assign(answer=answers, right=right)


def _score_test(lm, tok, test: Split, questions: Tokens, answers: Sequence[str]) -> pd.DataFrame:
    """Scores the true answers and the options of a test split.

    Args:
        answers: generated for the test questions.
    Returns:
        A row (legal, p_right, choice, choice_right) per question, as in `AnswerFit.predictions`;
        only p_right is known where a task has no options.
    """
    spec = task_of(test).spec
    options = [spec.options(text) if spec.options else () for (text,) in test.texts]
    # the ids of a question's options, and last those of its true answer
    ids = [
        tok([*allowed, truth], add_special_tokens=False)["input_ids"]
        for allowed, truth in zip(options, test.answers, strict=True)
    ]
    log_probs = decoding.log_probs(lm, questions.ids, ids)
    rows = []
    for i, allowed in enumerate(options):
        row: dict = {"legal": None, "p_right": float(np.exp(log_probs[i][-1]))}
        row |= {"choice": None, "choice_right": None}
        if allowed:
            choice = allowed[most_likely_option(ids[i][:-1], log_probs[i][:-1])]
            row["legal"] = spec.bare(answers[i]) in allowed
            row["choice"] = choice
            row["choice_right"] = choice == spec.bare(test.answers[i])
        rows.append(row)
    return pd.DataFrame(rows).astype({"legal": float, "choice_right": float})


def first_word(text: str) -> str:
    """Returns the first word of a generated text after a space; "" for a text without words.

    >>> first_word(" Qxc1+ 23. Kg2"), first_word("")
    (' Qxc1+', '')
    """
    words = text.split()
    return f" {words[0]}" if words else ""


def most_likely_option(ids: Sequence[Sequence[int]], log_probs: np.ndarray) -> int:
    """Returns the number of the option that a model most likely gives, and no longer one.

    An option may begin another one, as O-O begins O-O-O. The probability of the longer one is then
    part of the probability of the tokens of the shorter one, and is subtracted from it.

    Args:
        ids: token ids of each option.
        log_probs: (options,) log-probability, in nats, that a text begins with these tokens.

    >>> most_likely_option([[1], [1, 2], [3]], np.log([0.6, 0.5, 0.2]))
    1
    """
    p = np.exp(log_probs)
    for i, short in enumerate(ids):
        longer = [
            j
            for j, long in enumerate(ids)
            if len(long) > len(short) and list(long[: len(short)]) == list(short)
        ]
        p[i] -= sum(np.exp(log_probs[j]) for j in longer)
    return int(p.argmax())
