"""Zero-shot and few-shot prediction: a language model answers in words, and is scored by their log-probabilities."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Sequence
from dataclasses import asdict

import numpy as np
import pandas as pd
import torch
from transformers import DynamicCache

from ..common import store
from ..common.device import device, precision
from ..common.progress import progress
from ..common.registry import TASKS
from ..data.splits import Split
from ..data.tasks.spec import Prompt
from ..inputs import batches as inputs_module
from ..inputs.batches import TokenInputs
from ..inputs.tokens import Tokens
from ..labels.soft import SoftLabels
from ..metrics.classification import correct
from ..models import anatomy, loading
from ..models.loading import digest, folder, load_lm, tokenizer, with_depth
from ..models.names import resolve
from ..training.result import STOPS, Fit
from .template import cut, render

CONTENT_FREE = ("N/A", "[MASK]", "...")
MAX_TOKENS = 4096  # of a forward pass, the reused ones and padding included


def prompt(
    model: str,
    split: Split | Sequence[Split],
    *,
    shots: int = 0,
    labels: SoftLabels | None = None,
    source: Split | None = None,
    seed: int = 0,
    calibrate: bool = False,
    chat: bool | None = None,
    wording: Prompt | None = None,
    max_len: int | None = None,
) -> Fit:
    """Predicts a split by asking a language model, or finds the answers in the store.

    The class whose words are likelier after the prompt is predicted; P(y = 1) is its share of the two. What comes back
    is a fit like any other, so `accuracy`, `label` and the tables of arms work on it.

    Args:
        model: a name that `models.resolve` takes. A model cut in depth answers through an unembedding that does not fit
            its last layer: probe or finetune those.
        split: a split, or several, of one task.
        shots: how many solved examples stand before the question, the first of a random order of `source`.
        labels: of the shots, hardened; None takes ground truth.
        source: where shots are drawn; None takes the task's student half.
        seed: of the draw.
        calibrate: divide by the probabilities that the same prompt gives the classes for content-free inputs (Zhao et
            al. 2021, with W diagonal and b = 0). Costs nothing beside `calibrate=False`, which stores both.
        chat: as a conversation in the tokenizer's chat template; None does so where there is one.
        wording: instruction, template and answers; None takes the task's own.
        max_len: tokens kept of each text, from its end; None takes the task's.
    Raises:
        UnknownName, ValueError: before any model is loaded: no such model; fewer examples than shots; a shot among the
            examples predicted; chat without a template; a prompt longer than the model's context.
        ModelUnavailable: the weights cannot be had here.
    Source: Burns et al. 2023, section 5.2.1 and table 2.
    """
    splits = [split] if isinstance(split, Split) else list(split)
    if not splits or any(s.task is None for s in splits):
        raise ValueError("prompt needs one split or several of load_task(...)")
    splits[0].need_classes("prompt")
    task, checkpoint = splits[0].task, with_depth(resolve(model))
    source, wording = (
        task.student if source is None else source,
        wording or TASKS[task.name.partition(",")[0]].prompt,
    )
    if isinstance(shots, bool) or not isinstance(shots, int) or not 0 <= shots <= len(source):
        raise ValueError(
            f"shots = {shots!r}; expected a whole number from 0 to the {len(source)} of {source.name!r}"
        )
    shown = source.take(np.random.default_rng(seed).permutation(len(source))[:shots])
    for s in splits:
        if s.among(shown.ids).any():
            raise ValueError(
                f"the shots are drawn from {source.name!r}, whose examples are also asked ({s.name!r}); "
                f"give source=, such as task.validation"
            )
    labels = SoftLabels.truth(shown) if labels is None else labels
    said = (labels.for_split(shown)[:, 1] >= 0.5).astype(int) if shots else np.zeros(0, dtype=int)
    tok, max_len = tokenizer(folder(checkpoint)), max_len or task.max_len
    if chat and not tok.chat_template:
        raise ValueError(f"chat=True; the tokenizer of {checkpoint.base} has no chat template")
    chat = bool(tok.chat_template) if chat is None else chat
    solved = [(cut(tok, texts, max_len), int(y)) for texts, y in zip(shown.texts, said)]
    asked = [cut(tok, texts, max_len) for s in splits for texts in s.texts]
    asked += [(word,) * splits[0].arity for word in CONTENT_FREE]
    head, questions, answers = render(wording, solved, tok if chat else None).encode(
        tok, map(wording.ask, asked)
    )
    longest = len(head) + max(map(len, questions)) + max(map(len, answers)) - 1
    loading.require_context(
        checkpoint, longest, f"Give fewer shots than {shots}, or a max_len below {max_len}."
    )
    report_progress_to = [shown.ids.tolist(), labels.source, labels.address] if shots else []
    config = {
        "model": digest(checkpoint),
        "layers": checkpoint.layers,
        "method": "prompt",
        "head": head,
        "answers": answers,
        "questions": store.address({"ids": questions}),
        "splits": [s.fingerprint for s in splits],
        "shots": report_progress_to,
        "wording": asdict(wording),
        "max_len": max_len,
        "chat": chat,
        "precision": precision(),
        "code": _code(),
    }

    def make():
        found = scores(checkpoint, head, questions, answers)
        found, free = found[: -len(CONTENT_FREE)], found[-len(CONTENT_FREE) :]
        p1, test = _share(found), task.test.fingerprint
        right = {
            s.fingerprint: correct(_both(p), s.hard_label)
            for s, p in zip(splits, np.split(p1, np.cumsum([len(s) for s in splits])[:-1]))
        }
        metrics = {f"accuracy_{stop}": float(right[test].mean()) for stop in STOPS if test in right}
        predictions = pd.concat(
            [pd.DataFrame({"split": s.name, "id": s.ids}) for s in splits], ignore_index=True
        )
        predictions = predictions.assign(
            log_p0=found[:, 0], log_p1=found[:, 1], **dict.fromkeys(STOPS, p1)
        )
        summary = {
            "task": task.name,
            "model": checkpoint.name,
            "layers": checkpoint.layers,
            "method": "prompt",
            "loss": "",
            "loss_args": {},
            "labels": "",
            "labels_address": "",
            "label_accuracy": np.nan,
            "trained_split": source.name,
            "seed": seed,
            "n_train": shots,
            "n_test": len(task.test),
        }
        if shots:
            summary |= {
                "labels": labels.source,
                "labels_address": labels.address,
                "label_accuracy": float(np.mean(said == shown.hard_label)),
            }
        return (
            {
                "config": config,
                "metrics": metrics,
                "stop": "last",
                "trained_on": shown.ids.tolist(),
                "content_free": free.tolist(),
                "summary": summary,
            },
            predictions,
            pd.DataFrame({"step": pd.Series(dtype=int)}),
        )

    address = store.address(config)
    record, predictions, curve = store.get_or_make(address, make)
    if calibrate:
        free = np.log(np.mean(_both(_share(np.array(record["content_free"]))), axis=0))
        p1 = _share(predictions[["log_p0", "log_p1"]].to_numpy() - free)
        predictions = predictions.assign(**dict.fromkeys(STOPS, p1))
    return Fit(address, record, predictions, curve, "last")


@torch.inference_mode()
def scores(
    checkpoint,
    head: list[int],
    questions: list[list[int]],
    answers: list[list[int]],
    *,
    reuse: bool = True,
) -> np.ndarray:
    """Log-probabilities of each answer after `head` and each question.

    The head is run once, and its keys and values serve every question. An answer of several tokens is scored token by
    token; the log-probabilities add.

    Args:
        head, questions, answers: token ids.
        reuse: False runs the head again with every question; the same numbers, more slowly.
    Returns:
        (len(questions), len(answers)) float64, nats.
    """
    lm = _load(checkpoint)
    shared = [] if reuse else list(head)
    rows: dict[
        tuple, list[int]
    ] = {}  # a question and all of an answer but its last token: the answers that go on
    for i in range(len(questions)):
        for c, answer in enumerate(answers):
            rows.setdefault((i, *answer[:-1]), []).append(c)
    ids = [np.array([*shared, *questions[i], *begun], dtype=np.int32) for i, *begun in rows]
    inputs = TokenInputs(Tokens(tuple(ids), np.zeros(len(ids), dtype=bool), ("",) * len(ids), 1))
    kept = _head_cache(lm, head) if reuse and head else []
    vocabulary = sorted({token for answer in answers for token in answer})
    column = [[vocabulary.index(token) for token in answer] for answer in answers]
    found, where = np.empty((len(questions), len(answers))), list(rows.items())
    with progress(total=len(ids), desc=f"prompts to {checkpoint.name}", unit="prompt") as bar:
        for batch in inputs.by_length(MAX_TOKENS, beside=len(head) if kept else 0):
            hidden, parts = _hidden(lm, inputs.batch(batch), kept), [where[row] for row in batch]
            ends = [
                slice(len(ids[row]) - len(asked), len(ids[row]))
                for row, (asked, _) in zip(batch, parts)
            ]
            answered = torch.cat(
                [states[end] for states, end in zip(hidden, ends)]
            )  # where each token is predicted
            log_p = _log_p(lm, answered, vocabulary).cpu()
            for (asked, classes), after in zip(
                parts, log_p.split([len(asked) for asked, _ in parts])
            ):
                for c in classes:
                    found[asked[0], c] = after[range(len(answers[c])), column[c]].double().sum()
            bar.update(len(batch))
    return found


def _log_p(lm, states: torch.Tensor, vocabulary: list[int]) -> torch.Tensor:
    """(m, v) float32 log-probabilities of some tokens after hidden states (m, d).

    Their logits are computed in float32: in bf16 those of two answers would tie. What normalises them is not; it is the
    same for both.
    """
    unembedding = lm.get_output_embeddings()
    whole = unembedding(states.to(unembedding.weight.dtype)).float().logsumexp(1, keepdim=True)
    bias = None if unembedding.bias is None else unembedding.bias[vocabulary].float()
    return (
        torch.nn.functional.linear(states.float(), unembedding.weight[vocabulary].float(), bias)
        - whole
    )


_held: dict | None = None


@contextlib.contextmanager
def one_model():
    """Keeps the model of the prompts in a block loaded between them; it is let go at the end."""
    global _held
    before, _held = _held, {} if _held is None else _held
    try:
        yield
    finally:
        _held = before


def _load(checkpoint):
    held = {} if _held is None else _held
    if checkpoint not in held:
        held.clear()
        lm = load_lm(checkpoint, torch.bfloat16 if precision() == "bf16" else torch.float32)
        held[checkpoint] = lm.to(device())
    return held[checkpoint]


def _head_cache(lm, head: list[int]) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Keys and values (1, heads, tokens, d) of the head at each layer."""
    ids = torch.tensor([head], device=device())
    return [
        (keys, values) for keys, values, _ in lm.base_model(ids, use_cache=True).past_key_values
    ]


def _hidden(lm, batch: dict[str, torch.Tensor], kept: list) -> torch.Tensor:
    """(b, t, d) last hidden states of right-padded questions after the head whose keys and values are `kept`."""
    ids, mask = (batch[name].to(device()) for name in ("input_ids", "attention_mask"))
    if not kept:
        return lm.base_model(ids, attention_mask=mask, use_cache=False).last_hidden_state
    past = kept[0][0].shape[2]
    cache = DynamicCache(
        [tuple(each.expand(len(ids), -1, -1, -1) for each in pair) for pair in kept]
    )
    return lm.base_model(
        ids,
        attention_mask=torch.cat([mask.new_ones(len(ids), past), mask], dim=1),
        past_key_values=cache,
        position_ids=past + torch.arange(ids.shape[1], device=ids.device)[None],
        use_cache=True,
    ).last_hidden_state


def _share(log_p: np.ndarray) -> np.ndarray:
    """(n,) P(y = 1) of log-probabilities (n, 2) of the two answers."""
    return 1 / (1 + np.exp(log_p[:, 0] - log_p[:, 1]))


def _both(p1: np.ndarray) -> np.ndarray:
    return np.stack([1 - p1, p1], axis=1)


@functools.cache
def _code() -> str:
    return store.code_version(
        scores, _log_p, _hidden, _head_cache, _load, loading.load_lm, anatomy, inputs_module
    )
