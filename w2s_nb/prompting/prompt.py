"""Predicts with prompts: a language model answers in words, scored by their log-probabilities."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd
import torch
from transformers import DynamicCache

from ..common import store
from ..common.device import compute_type, computing_versions, copy_to, device, precision
from ..common.out_of_memory import explain_out_of_memory, run_batches
from ..common.progress import progress
from ..common.registry import TASKS
from ..common.seeds import check_count, check_flag, check_seed
from ..data.classes import in_turn, likeliest
from ..data.sealed import is_sealed
from ..data.splits import Split, Task, list_splits, need_split
from ..data.tasks.spec import Prompt
from ..inputs import batches as inputs_module
from ..inputs.batches import TokenInputs
from ..inputs.tokens import Tokens
from ..labels.soft import SoftLabels, need_labels
from ..metrics.classification import correct
from ..models import anatomy, loading
from ..models.encoders import require_kind
from ..models.loading import digest, folder, load_lm, require_unembedding, tokenizer, with_depth
from ..models.names import Checkpoint, resolve
from ..models.passes import affordable_tokens
from ..training import loop
from ..training.device_memory.check import check_memory
from ..training.device_memory.choice import Room
from ..training.result import STOPS, Fit, columns_at
from .template import cut, render

CONTENT_FREE = ("N/A", "[MASK]", "...")
# of a forward pass at most, the reused ones and padding included
MAX_TOKENS = {"cpu": 4096, "cuda": 32768}


def prompt(
    model: str,
    split: Split | Sequence[Split],
    *,
    shots: int = 0,
    labels: SoftLabels | None = None,
    source: Split | None = None,
    balanced: bool | None = None,
    seed: int = 0,
    calibrate: bool = False,
    chat: bool | None = None,
    wording: Prompt | None = None,
    max_len: int | None = None,
) -> Fit:
    """Predicts a split by asking a language model, or finds the answers in the store.

    The class whose word is likeliest after the prompt is predicted; the probability of a class is
    its share of those of all K words. The result is a fit like any other, so `accuracy`, `label`
    and the tables of arms work on it.

    Args:
        model: a name that `models.resolve` takes. A model cut in depth answers through an
            unembedding that does not fit its last layer: probe or finetune those.
        split: a split, or several, of one task.
        shots: how many solved examples stand before the question, drawn at random from `source`;
            more shots are the fewer ones and further examples.
        labels: of the shots, hardened; None takes ground truth.
        source: where shots are drawn; None takes the task's student half.
        balanced: draw the shots from the true classes in turn, so that the numbers of two classes
            differ by one at most, whichever labels the shots have; False draws from all examples.
            None balances more than two classes, of which five shots drawn from all examples often
            lack one.
        seed: of the draw.
        calibrate: divide by the probabilities that the same prompt gives the classes for
            content-free inputs (Zhao et al. 2021, with W diagonal and b = 0). Costs nothing beside
            `calibrate=False`, which stores both.
        chat: as a conversation in the tokenizer's chat template; None does so where there is one.
        wording: instruction, template and answers; None takes the task's own.
        max_len: tokens kept of each text, from its end; None takes the task's.
    Raises:
        UnknownName, ValueError: before any model is loaded: no such model; fewer examples than
            shots; a shot among the examples predicted; other than one word per class; chat without
            a template; a prompt longer than the model's context.
        ModelUnavailable: the weights cannot be had here.
        OutOfMemory: this machine cannot hold the model; says what would fit.
    Source: Burns et al. 2023, section 5.2.1 and table 2.
    """
    seed = check_seed(seed)
    splits = list_splits(split, "split")
    task = _find_task(splits)
    _check_types(labels, source, balanced, calibrate, chat, wording)
    wording = wording or TASKS[task.name.partition(",")[0]].prompt
    check_words(wording, task)
    checkpoint = with_depth(require_kind(resolve(model), task.spec))
    require_unembedding(checkpoint, "a prompt")
    source = task.student if source is None else source
    drawn = _draw_shots(source, shots, labels, balanced, seed, splits)
    max_len = task.max_len if max_len is None else max_len
    check_count(max_len, "max_len")
    chat = _decide_chat(chat, checkpoint)
    head, questions, answers = _encode(checkpoint, splits, drawn, wording, max_len, chat)
    longest = len(head) + max(map(len, questions)) + max(map(len, answers)) - 1
    loading.require_context(
        checkpoint, longest, f"Give fewer shots than {shots}, or a max_len below {max_len}."
    )
    config = {
        "model": digest(checkpoint),
        "layers": checkpoint.layers,
        "method": "prompt",
        "head": head,
        "answers": answers,
        "questions": store.address({"ids": questions}),
        "splits": [s.fingerprint for s in splits],
        "shots": drawn.identity,
        "wording": asdict(wording),
        "max_len": max_len,
        "chat": chat,
        "precision": precision(),
        "versions": computing_versions(),
        "code": code(),
    }

    def make():
        check_memory(checkpoint.name, "prompt", room=Room.free(), tokens=longest)
        log_p = answer_log_probs(checkpoint, head, questions, answers)
        record = {
            "config": config,
            "stop": "last",
            "trained_on": drawn.split.ids.tolist(),
            "summary": _summarize(task, checkpoint, drawn, seed),
        }
        return _add_answers(record, splits, log_p)

    address = store.address(config)
    record, predictions, curve = store.get_or_make(address, make)
    if calibrate:
        predictions = _calibrate(predictions, np.array(record["content_free"]))
    return Fit(address, record, predictions, curve, "last")


@dataclass(frozen=True, eq=False)
class _Shots:
    """Solved examples that stand before a question.

    Attributes:
        source: name of the split that they are drawn from.
        split: the k examples.
        labels: who labelled them.
        classes: (k,) int, the class that each is shown with.
    """

    source: str
    split: Split
    labels: SoftLabels
    classes: np.ndarray

    @property
    def identity(self) -> list:
        """Returns what tells shots apart in an address; [] without shots."""
        if not len(self.split):
            return []
        return [self.split.ids.tolist(), self.labels.source, self.labels.address]


def _check_types(labels, source, balanced, calibrate, chat, wording) -> None:
    """Refuses arguments of `prompt` of another type than they must have."""
    if labels is not None:
        need_labels(labels, "labels")
    if source is not None:
        need_split(source, "source")
    if balanced is not None:
        check_flag(balanced, "balanced")
    check_flag(calibrate, "calibrate")
    if chat is not None:
        check_flag(chat, "chat")
    if not isinstance(wording, Prompt | None):
        raise TypeError(f"wording = {wording!r}; expected a w2s.Prompt(template, words)")


def check_words(wording: Prompt, task: Task) -> None:
    """Refuses a wording that has not one answer for each class.

    Raises:
        ValueError: says how many classes there are, and their names.
    """
    classes = task.test.classes
    if len(set(wording.words)) != len(classes) or len(wording.words) != len(classes):
        raise ValueError(
            f"the wording's words are {wording.words!r}; expected {len(classes)} that differ, one "
            f"per class of {task.name}: {', '.join(classes)}"
        )


def _find_task(splits: list[Split]) -> Task:
    """Returns the task of the splits.

    Raises:
        ValueError: no split, or one without a task, or of a task without classes.
    """
    task = splits[0].task if splits else None
    if task is None or any(s.task is None for s in splits):
        raise ValueError("prompt needs one split or several of load_task(...)")
    splits[0].need_classes("prompt")
    return task


def check_shots(n: int, source: Split) -> None:
    """Refuses more solved examples than there are.

    Raises:
        TypeError: `source` is no split.
        ValueError: anything but a whole number from 0 to the examples of the source.
    """
    need_split(source, "source")
    if isinstance(n, bool) or not isinstance(n, int) or not 0 <= n <= len(source):
        raise ValueError(
            f"shots = {n!r}; expected a whole number from 0 to the {len(source)} of {source.name!r}"
        )


def _draw_shots(
    source: Split,
    n: int,
    labels: SoftLabels | None,
    balanced: bool | None,
    seed: int,
    asked: list[Split],
) -> _Shots:
    """Draws n solved examples that are not among those asked about.

    Raises:
        ValueError: n is out of range; a shot among the examples asked about; a shot without label.
    """
    check_shots(n, source)
    # The first of one order, so that more shots are the fewer ones and further examples.
    order = np.random.default_rng(seed).permutation(len(source))
    if balanced is None:
        balanced = source.n_classes > 2
    if balanced and n:
        order = order[in_turn(source.hard_label[order])]
    split = source.take(order[:n])
    for s in asked:
        if s.among(split.ids).any():
            raise ValueError(
                f"the shots are drawn from {source.name!r}, whose examples are also asked "
                f"({s.name!r}); give source=, such as task.validation"
            )
    if labels is None:
        probs = np.eye(split.n_classes)[split.hard_label if n else []]
        labels = SoftLabels(split.ids, probs, "ground truth")
    classes = likeliest(labels.for_split(split)) if n else np.zeros(0, dtype=np.int64)
    return _Shots(source.name, split, labels, classes)


def _decide_chat(chat: bool | None, checkpoint: Checkpoint) -> bool:
    """Decides if the prompt is a conversation; refuses one without a chat template."""
    has_template = bool(tokenizer(folder(checkpoint)).chat_template)
    if chat and not has_template:
        raise ValueError(f"chat=True; the tokenizer of {checkpoint.base} has no chat template")
    return has_template if chat is None else chat


def _encode(
    checkpoint: Checkpoint,
    splits: list[Split],
    shots: _Shots,
    wording: Prompt,
    max_len: int,
    chat: bool,
) -> tuple[list[int], list[list[int]], list[list[int]]]:
    """Returns token ids of the head, of each question, and of the K answers.

    Questions are those of the splits in their order, then those of the content-free inputs.
    """
    tok = tokenizer(folder(checkpoint))
    shown = zip(shots.split.texts, shots.classes, strict=True)
    solved = [(cut(tok, texts, max_len), int(label)) for texts, label in shown]
    asked = [cut(tok, texts, max_len) for split in splits for texts in split.texts]
    asked += [(word,) * splits[0].arity for word in CONTENT_FREE]
    rendered = render(wording, solved, tok if chat else None)
    return rendered.encode(tok, [wording.ask(texts) for texts in asked])


def _add_answers(
    record: dict, splits: list[Split], log_p: np.ndarray
) -> tuple[dict, pd.DataFrame, pd.DataFrame]:
    """Returns a record with what was answered, the predictions, and an empty training curve.

    Args:
        log_p: (n + 3, K) log-probabilities of the answers, the content-free inputs last.
    """
    asked = log_p[: -len(CONTENT_FREE)]
    content_free = log_p[-len(CONTENT_FREE) :]
    record |= {
        "metrics": _measure(splits, _shares(asked)),
        "content_free": content_free.tolist(),
    }
    no_steps = pd.DataFrame({"step": pd.Series(dtype=int)})
    return record, _tabulate(splits, asked), no_steps


def _tabulate(splits: list[Split], log_p: np.ndarray) -> pd.DataFrame:
    """Returns the predictions of a fit from log-probabilities (n, K) of the answers."""
    names = [pd.DataFrame({"split": s.name, "id": s.ids}) for s in splits]
    columns = dict(zip(_log_p_columns(log_p.shape[1]), log_p.T, strict=True))
    predictions = pd.concat(names, ignore_index=True).assign(**columns)
    return _predict(predictions, _shares(log_p))


def _log_p_columns(n_classes: int) -> list[str]:
    return [f"log_p{number}" for number in range(n_classes)]


def _predict(predictions: pd.DataFrame, probs: np.ndarray) -> pd.DataFrame:
    """Returns predictions with probabilities (n, K) as those of every checkpoint."""
    for stop in STOPS:
        predictions = predictions.assign(**columns_at(stop, probs))
    return predictions


def _measure(splits: list[Split], probs: np.ndarray) -> dict[str, float]:
    """Returns the accuracy on the task's test split at every checkpoint.

    It is {} where the split is not asked, or is sealed.
    """
    metrics = {}
    ends = np.cumsum([len(s) for s in splits])
    for split, probs_of_split in zip(splits, np.split(probs, ends[:-1]), strict=True):
        if split.task is None or is_sealed(split):
            continue
        if split.fingerprint == split.task.test.fingerprint:
            accuracy = float(correct(probs_of_split, split.hard_label).mean())
            metrics = {f"accuracy_{stop}": accuracy for stop in STOPS}
    return metrics


def _summarize(task: Task, checkpoint: Checkpoint, shots: _Shots, seed: int) -> dict:
    summary: dict = {
        "task": task.name,
        "model": checkpoint.name,
        "layers": checkpoint.layers,
        "method": "prompt",
        "loss": "",
        "loss_args": {},
        "labels": "",
        "labels_address": "",
        "label_accuracy": np.nan,
        "trained_split": shots.source,
        "seed": seed,
        "n_train": len(shots.split),
        "n_test": len(task.test),
    }
    if len(shots.split):
        summary |= {
            "labels": shots.labels.source,
            "labels_address": shots.labels.address,
        }
        if not is_sealed(shots.split):
            right = shots.classes == shots.split.hard_label
            summary["label_accuracy"] = float(np.mean(right))
    return summary


def _calibrate(predictions: pd.DataFrame, content_free: np.ndarray) -> pd.DataFrame:
    """Divides by the mean probabilities of the classes for content-free inputs (k, K)."""
    free = np.log(np.mean(_shares(content_free), axis=0))
    log_p = predictions[_log_p_columns(len(free))].to_numpy()
    return _predict(predictions, _shares(log_p - free))


@explain_out_of_memory(
    "prompting a model", "give fewer shots, a smaller max_len, or a smaller model"
)
@torch.inference_mode()
def answer_log_probs(
    checkpoint: Checkpoint,
    head: list[int],
    questions: list[list[int]],
    answers: list[list[int]],
    *,
    reuse: bool = True,
) -> np.ndarray:
    """Computes log-probabilities of each answer after `head` and each question.

    The head is run once, and its keys and values serve every question. An answer of several tokens
    is scored token by token; the log-probabilities add.

    Args:
        head, questions, answers: token ids.
        reuse: False runs the head again with every question; the same numbers, more slowly.
    Returns:
        (len(questions), len(answers)) float64, nats.
    """
    lm = _load(checkpoint)
    shared = [] if reuse else list(head)
    rows = _plan_rows(len(questions), answers)
    ids = [np.array([*shared, *questions[i], *begun], dtype=np.int32) for (i, *begun), _ in rows]
    inputs = TokenInputs(Tokens(tuple(ids), np.zeros(len(ids), dtype=bool), ("",) * len(ids), 1))
    head_cache = _cache_head(lm, head) if reuse and head else []
    vocabulary = sorted({token for answer in answers for token in answer})
    columns = [[vocabulary.index(token) for token in answer] for answer in answers]
    log_probs = np.empty((len(questions), len(answers)))
    n_cached = len(head) if head_cache else 0
    lengths = n_cached + inputs.lengths
    max_tokens = affordable_tokens(
        lm.config,
        MAX_TOKENS,
        longest=int(lengths.max(initial=0)),
        keeps_keys=n_cached > 0,
        logits=max(map(len, answers)) / max(1, int(min(lengths, default=0))),
    )
    batches = inputs.by_length(max_tokens, beside=n_cached)

    def run(batch: np.ndarray) -> tuple[torch.Tensor, ...]:
        hidden = _hidden(lm, inputs.batch(batch), head_cache)
        # The states from which the answer's tokens are predicted, at the end of each row.
        lengths = [len(rows[row][0]) for row in batch]
        predicting = [
            states[len(ids[row]) - length : len(ids[row])]
            for row, states, length in zip(batch, hidden, lengths, strict=True)
        ]
        return _log_p(lm, torch.cat(predicting), vocabulary).cpu().split(lengths)

    with progress(total=len(ids), desc=f"prompts to {checkpoint.name}", unit="prompt") as bar:
        for batch, log_p in run_batches(batches, run):
            batch_rows = [rows[row] for row in batch]
            for ((question, *_), row_answers), of_row in zip(batch_rows, log_p, strict=True):
                for c in row_answers:
                    tokens = of_row[range(len(answers[c])), columns[c]]
                    log_probs[question, c] = tokens.double().sum()
            bar.update(len(batch))
    return log_probs


def _plan_rows(
    n_questions: int, answers: list[list[int]]
) -> list[tuple[tuple[int, ...], list[int]]]:
    """Returns the sequences that are run, so that answers that begin alike share one.

    Returns:
        Pairs of (question, *all tokens of an answer but its last) and the answers that go on.
    """
    rows: dict[tuple[int, ...], list[int]] = {}
    for question in range(n_questions):
        for c, answer in enumerate(answers):
            rows.setdefault((question, *answer[:-1]), []).append(c)
    return list(rows.items())


def _log_p(lm, states: torch.Tensor, vocabulary: list[int]) -> torch.Tensor:
    """Returns (m, v) float32 log-probabilities of some tokens after hidden states (m, d).

    Their logits are computed in float32: in bf16 those of two answers would tie. The normaliser is
    not; it is the same for both.
    """
    dtype = lm.get_output_embeddings().weight.dtype
    whole = anatomy.logits(lm, states.to(dtype)).float().logsumexp(1, keepdim=True)
    return anatomy.logits(lm, states.float(), vocabulary) - whole


# The model that prompts in a block of `one_model` share, by checkpoint; None outside of a block.
_held: dict | None = None


@contextlib.contextmanager
def one_model():
    """Keeps the model of the prompts in a block loaded between them, and lets it go at the end."""
    global _held
    before = _held
    if _held is None:
        _held = {}
    try:
        yield
    finally:
        _held = before


def _load(checkpoint: Checkpoint):
    held = {} if _held is None else _held
    if checkpoint not in held:
        held.clear()
        lm = load_lm(checkpoint, compute_type())
        held[checkpoint] = lm.to(device())
    return held[checkpoint]


def _run(lm, ids: torch.Tensor, **arguments):
    """Runs a model's body on token ids (b, t), as training runs it."""
    with loop.autocast():
        return lm.base_model(ids, **arguments)


def _cache_head(lm, head: list[int]) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Returns keys and values (1, heads, tokens, d) of the head at each layer."""
    ids = copy_to(device(), torch.tensor([head]))
    # a cache of the model's own choice forgets what is beyond a sliding window
    cache = DynamicCache()
    _run(lm, ids, past_key_values=cache, use_cache=True)
    return [(keys, values) for keys, values, _ in cache]


def _hidden(lm, batch: dict[str, torch.Tensor], head_cache: list) -> torch.Tensor:
    """Returns (b, t, d) last hidden states of right-padded questions after a cached head."""
    ids = copy_to(device(), batch["input_ids"])
    if not head_cache:
        with loop.autocast():
            ends = copy_to(device(), batch["ends"])
            return anatomy.run_causally(lm.base_model, ends, input_ids=ids)
    past = head_cache[0][0].shape[2]
    cache = DynamicCache(
        [tuple(each.expand(len(ids), -1, -1, -1) for each in pair) for pair in head_cache]
    )
    return _run(
        lm,
        ids,
        past_key_values=cache,
        position_ids=past + torch.arange(ids.shape[1], device=ids.device)[None],
        use_cache=True,
    ).last_hidden_state


def _shares(log_p: np.ndarray) -> np.ndarray:
    """Returns (n, K) shares of the answers' probabilities, from their log-probabilities (n, K).

    That of class 0 is what the others leave, as in `Fit.predictions`.
    """
    # differences of log-probabilities do not underflow, as the probabilities of long answers do
    others = 1 / np.exp(log_p[:, None] - log_p[:, 1:, None]).sum(axis=2)
    rest = np.maximum(1 - others.sum(axis=1), 0)
    return np.column_stack([rest, others])


@functools.cache
def code() -> str:
    """Returns the version of the code that decides the log-probabilities."""
    return store.code_version(
        answer_log_probs,
        _plan_rows,
        _log_p,
        _hidden,
        _cache_head,
        _run,
        loop.autocast,
        _load,
        _shares,
        *loading.code_parts(),
        inputs_module,
    )
