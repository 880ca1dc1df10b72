"""Tasks that are answered by generating: finetuning on answers, what a model answers (section 4.1, appendix A.2)."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Sequence
from dataclasses import asdict, replace

import numpy as np
import pandas as pd
import torch

from ..common import store
from ..common.device import device, precision
from ..data.splits import Split, Task
from ..inputs import activations
from ..inputs import batches as inputs_module
from ..inputs.batches import NextTokens, TokenInputs, TrunkInputs
from ..inputs.tokens import Tokens, tokenize
from ..labels.answers import Answers
from ..models import anatomy, classifier, decoding, loading
from ..models.classifier import trainable
from ..models.language import LanguageModel
from ..models.loading import digest, folder, load_lm, tokenizer, with_depth
from ..models.names import Checkpoint, resolve
from . import loop
from .hyperparameters import ON_TEXT, PROBES, choose_hyperparameters
from .result import AnswerFit, labelable_splits

LONGEST = 40  # tokens left to an answer in a model's context, whatever its tokenizer


def fit_answers(
    model: str,
    split: Split,
    labels: Answers | None = None,
    *,
    method: str = "full",
    seed: int = 0,
    micro_batch: int | None = None,
    keep_weights: bool = False,
    label_own: bool = False,
    **hyperparameters,
) -> AnswerFit:
    """`fit` on a task that is answered by generating.

    An example's loss is -log P(answer, end of text | question), nats: the sum over the answer's tokens; the question's
    tokens bear none. The model is kept as it is after the last step (appendix A.2: no early stopping).

    Args: as of `fit`.
    """
    spec, checkpoint = split.task.spec, resolve(model)
    if method in PROBES:
        raise ValueError(
            f"method {method!r} has two classes; {spec.name} is answered by generating: expected full, "
            f"lora or top"
        )
    settings = choose_hyperparameters(method, split.task.hyperparameters | hyperparameters)
    if not set(hyperparameters) <= set(ON_TEXT):
        raise TypeError(
            f"{', '.join(sorted(set(hyperparameters) - set(ON_TEXT)))} play no part where answers are generated; "
            f"what does is {', '.join(ON_TEXT)}"
        )
    if labels is not None and not isinstance(labels, Answers):
        raise TypeError(
            f"labels of {spec.name} are {type(labels).__name__}; expected Answers, which a fit's label() "
            f"or Answers.truth give"
        )
    if len(split) < 2:
        raise ValueError(
            f"{len(split)} examples of {split.name!r} to train on; expected at least 2"
        )
    labels, checkpoint = Answers.truth(split) if labels is None else labels, with_depth(checkpoint)
    settings = replace(
        settings,
        lr=settings.lr or checkpoint.lr * (10 if method == "lora" else 1),
        max_len=settings.max_len or _longest(split.task, checkpoint),
        evals=settings.evals or settings.epochs,
    )
    targets, splits = (
        labels.for_split(split),
        [split.task.test, *labelable_splits(split, label_own)],
    )
    prompts = [questions(s, checkpoint, settings.max_len) for s in (split, *splits)]
    config = {
        "model": digest(checkpoint),
        "layers": checkpoint.layers,
        "method": method,
        "hyperparameters": asdict(settings),
        "objective": "answers",
        "seed": seed,
        "precision": precision(),
        "label_own": label_own,
        "splits": [s.fingerprint for s in (split, *splits)],
        "keep_weights": "last" if keep_weights else None,
        "labels": Answers(split.ids, targets, "").fingerprint,
        "most": spec.max_answer,
        "options": _options(split.task),
        "code": _code(),
    }

    def make():
        weights, curve = _train(
            checkpoint, method, settings, prompts[0], targets, seed, micro_batch
        )
        lm = load_lm(checkpoint)
        anatomy.put_trained(lm, weights, method, asdict(settings))
        found = _answer(lm, checkpoint, splits, prompts[1:])
        summary = _summary(split.task, checkpoint, seed) | {
            "method": method,
            "labels": labels.source,
            "labels_address": labels.address,
            "trained_split": split.name,
            "label_accuracy": float(np.mean([t == a for t, a in zip(targets, split.answers)])),
            "n_train": len(split),
        }
        return (
            {
                "config": config,
                "metrics": _metrics(found, prompts[1]),
                "stop": "last",
                "trained_on": split.ids.tolist(),
                "summary": summary,
            },
            found,
            curve,
            weights if keep_weights else None,
        )

    address = store.address(config)
    return AnswerFit(address, *store.get_or_make(address, make), "last")


def zero_shot(model: str, task: Task, *, max_len: int | None = None) -> AnswerFit:
    """What a model answers to a task's test questions as it is, without finetuning (figure 15).

    Args:
        max_len: tokens kept of a question, from its end; None takes what `fit` does.
    Raises: as `fit`.
    """
    checkpoint, split = with_depth(resolve(model)), task.test
    if not split.answers:
        raise ValueError(f"{task.name} has two classes; w2s.prompt asks a model about them")
    max_len = max_len or _longest(task, checkpoint)
    prompts = questions(split, checkpoint, max_len)
    config = {
        "model": digest(checkpoint),
        "layers": checkpoint.layers,
        "method": "zero-shot",
        "objective": "answers",
        "max_len": max_len,
        "precision": precision(),
        "splits": [split.fingerprint],
        "most": task.spec.max_answer,
        "options": _options(task),
        "code": _code(),
    }

    def make():
        found = _answer(load_lm(checkpoint), checkpoint, [split], [prompts])
        return (
            {
                "config": config,
                "metrics": _metrics(found, prompts),
                "stop": "last",
                "trained_on": [],
                "summary": _summary(task, checkpoint, task.seed)
                | {
                    "method": "zero-shot",
                    "labels": "",
                    "labels_address": "",
                    "label_accuracy": np.nan,
                    "trained_split": "",
                    "n_train": 0,
                },
            },
            found,
            pd.DataFrame({"step": []}),
        )

    address = store.address(config)
    return AnswerFit(address, *store.get_or_make(address, make), "last")


def ensure_answers(model: str, task: Task) -> None:
    """Fails now if a model has no tokens for a task's test questions.

    Raises:
        ValueError: names the first such question.
    """
    if task.spec.max_answer:
        checkpoint = with_depth(resolve(model))
        questions(task.test, checkpoint, _longest(task, checkpoint))


def _summary(task: Task, checkpoint: Checkpoint, seed: int) -> dict:
    return {
        "task": task.name,
        "model": checkpoint.name,
        "layers": checkpoint.layers,
        "loss": "xent",
        "loss_args": {},
        "seed": seed,
        "n_test": len(task.test),
    }


def _metrics(found: pd.DataFrame, prompts: Tokens) -> dict[str, float]:
    test = found[found.split == "test"]
    names = {
        "right": "accuracy_last",
        "legal": "legal",
        "p_right": "p_right",
        "choice_right": "accuracy_of_choice",
    }
    return {name: float(test[column].astype(float).mean()) for column, name in names.items()} | {
        "questions_cut": float(prompts.truncated.mean())
    }


def _longest(task: Task, checkpoint: Checkpoint) -> int:
    """Tokens kept of a question: the task's, or what the model's context leaves beside the longest answer."""
    context = (
        getattr(loading.config_of(checkpoint), "max_position_embeddings", None)
        or task.max_len + LONGEST
    )
    return min(task.max_len, context - LONGEST)


def _options(task: Task) -> str:
    """16 hex digits of the answers that are allowed to the test questions, and of how the true ones are written."""
    if task.spec.options is None:
        return ""
    return store.address(
        {
            "options": [task.spec.options(text) for (text,) in task.test.texts],
            "bare": [task.spec.bare(answer) for answer in task.test.answers],
        }
    )[:16]


def questions(split: Split, checkpoint: Checkpoint, max_len: int) -> Tokens:
    """The questions' tokens, cut to their last `max_len`, with a warning where any is.

    Raises:
        ValueError: the model has no tokens for one of them, or too short a context.
    """
    prompts, tok = tokenize(split, checkpoint, max_len), tokenizer(folder(checkpoint))
    strange = [i for i, ids in enumerate(prompts.ids) if tok.unk_token_id in ids]
    if strange:
        raise ValueError(
            f"{checkpoint.name} has no tokens for {len(strange)} of {len(split)} questions, the first "
            f"{split.texts[strange[0]][0][:80]!r}"
        )
    if prompts.truncated.any():
        warnings.warn(
            f"{checkpoint.name}: {prompts.truncated.mean():.1%} of the questions of {split.name!r} have more "
            f"than {max_len} tokens and lose their beginning",
            stacklevel=2,
        )
    loading.require_context(
        checkpoint, int(prompts.lengths.max()) + LONGEST, "Give a smaller max_len."
    )
    return prompts


@functools.cache
def _code() -> str:
    """Version of the code that decides what is learned and answered."""
    return activations.code() + store.code_version(
        LanguageModel,
        _train,
        _answer,
        questions,
        likeliest,
        labelable_splits,
        word_of,
        decoding,
        loop,
        inputs_module,
        classifier.trainable,
        anatomy,
        loading.load_lm,
    )


def _train(
    checkpoint: Checkpoint,
    method: str,
    settings,
    prompts: Tokens,
    answers: Sequence[str],
    seed: int,
    micro_batch: int | None,
) -> tuple[dict[str, torch.Tensor], pd.DataFrame]:
    """Trains on answers after their questions: the trained tensors and the curve."""
    torch.manual_seed(seed)
    tok = tokenizer(folder(checkpoint))
    said = tok(list(answers), add_special_tokens=False, verbose=False)["input_ids"]
    ids = tuple(
        np.array([*prompt, *answer, tok.eos_token_id], dtype=np.int32)
        for prompt, answer in zip(prompts.ids, said)
    )
    whole = Tokens(
        ids, prompts.truncated, tuple(store.address({"ids": i.tolist()})[:16] for i in ids), 1
    )
    if method == "top":
        depth = max(0, checkpoint.layers - settings.top_layers)
        sequences = TrunkInputs(activations.trunk(checkpoint, depth, whole), whole)
    else:
        sequences = TokenInputs(whole)
    own, curve = NextTokens(sequences, ids, prompts.lengths), []
    lm, body = trainable(
        checkpoint,
        method,
        top_layers=settings.top_layers,
        lora_rank=settings.lora_rank,
        device=device(),
    )
    net = LanguageModel(body, lm.get_output_embeddings().requires_grad_(method == "full")).to(
        device()
    )

    def loss(scores, targets, *, progress):
        return scores[:, 0]

    def look(step: int, progress: float, train_loss: float) -> None:
        curve.append({"step": step, "progress": progress, "train_loss": train_loss})

    loop.train(
        net,
        own,
        np.zeros((len(own), 1)),
        loss,
        settings,
        seed=seed,
        evaluate=look,
        micro_batch=micro_batch,
        label=f"{checkpoint.name} on answers, seed {seed}",
    )
    return loop.copy_weights(net), pd.DataFrame(curve)


def word_of(text: str) -> str:
    """The first word of what was generated, with a space before it; "" where there is none.

    >>> word_of(" Qxc1+ 23. Kg2"), word_of("")
    (' Qxc1+', '')
    """
    words = text.split()
    return f" {words[0]}" if words else ""


def _answer(lm, checkpoint: Checkpoint, splits: list[Split], prompts: list[Tokens]) -> pd.DataFrame:
    """Predictions for splits, as `AnswerFit` has them; the first split is the test."""
    tok, lm, spec = tokenizer(folder(checkpoint)), lm.to(device()).eval(), splits[0].task.spec
    frame = pd.concat(
        [
            pd.DataFrame(
                {"split": s.name, "id": s.ids, "truth": s.answers, "text": [t for (t,) in s.texts]}
            )
            for s in splits
        ],
        ignore_index=True,
    )
    said = decoding.greedy(
        lm,
        [ids for part in prompts for ids in part.ids],
        most=spec.max_answer,
        end=tok.eos_token_id,
    )
    frame["answer"] = [word_of(text) for text in tok.batch_decode(said)]
    frame["right"] = frame.answer == frame.truth
    test, at = splits[0], np.arange(len(splits[0]))
    options = [spec.options(text) if spec.options else () for (text,) in test.texts]
    ids = [
        tok([*each, true], add_special_tokens=False)["input_ids"]
        for each, true in zip(options, test.answers)
    ]
    scored = decoding.log_probs(lm, prompts[0].ids, ids)
    frame.loc[at, "p_right"] = [float(np.exp(log_p[-1])) for log_p in scored]
    chosen = [
        each[likeliest(i[:-1], log_p[:-1])] if each else None
        for each, i, log_p in zip(options, ids, scored)
    ]
    right = [float(c == spec.bare(true)) if c else None for c, true in zip(chosen, test.answers)]
    legal = [
        float(spec.bare(said) in each) if each else None
        for said, each in zip(frame.answer, options)
    ]
    frame = frame.assign(legal=None, choice=None, choice_right=None)
    frame.loc[at, "legal"], frame.loc[at, "choice"], frame.loc[at, "choice_right"] = (
        legal,
        chosen,
        right,
    )
    return frame[
        ["split", "id", "answer", "right", "legal", "p_right", "choice", "choice_right"]
    ].astype({"legal": float, "choice_right": float})


def likeliest(ids: Sequence[Sequence[int]], log_p: np.ndarray) -> int:
    """Which of several answers is the likeliest to be said and no other: where one begins another, such as O-O and
    O-O-O, what goes on to the longer is not the shorter's.

    >>> likeliest([[1], [1, 2], [3]], np.log([0.6, 0.5, 0.2]))
    1
    """
    p = np.exp(log_p)
    for i, short in enumerate(ids):
        longer = [
            j
            for j, long in enumerate(ids)
            if len(long) > len(short) and list(long[: len(short)]) == list(short)
        ]
        p[i] -= sum(np.exp(log_p[j]) for j in longer)
    return int(p.argmax())
