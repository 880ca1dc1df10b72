"""Answers of a language model to prompts: the likeliest tokens, and how likely given answers are.

Computed in the precision of training; the logits always in float32. In half precision the other
prompts of a batch can decide between answers that are nearly as likely.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import torch
from torch.nn.utils.rnn import pad_sequence
from transformers import GenerationConfig

from ..common.device import compute_type, copy_to, device, precision
from ..common.out_of_memory import run_batches
from ..common.progress import progress
from .anatomy import attention_of, logits, unembed_in_float32
from .passes import affordable_tokens

MAX_TOKENS = {"cpu": 4096, "cuda": 32768}  # in one pass, padding included


def prepare(lm):
    """Moves a language model to the training device, and makes its logits float32; returns it."""
    lm = lm.to(device()).eval()
    if precision() != "fp32":
        unembed_in_float32(lm)
    return lm


def _autocast():
    return torch.autocast(device().type, compute_type(), enabled=precision() != "fp32")


def _batches(lengths: np.ndarray, max_tokens: int, label: str) -> Iterator[np.ndarray]:
    """Yields indices of texts, longest first, as many together as `max_tokens` allows."""
    order = np.argsort(-lengths, kind="stable")
    with progress(total=len(order), desc=label, unit="prompt") as bar:
        while len(order):
            longest = int(lengths[order[0]])
            size = max(1, max_tokens // longest)
            yield order[:size]
            bar.update(min(size, len(order)))
            order = order[size:]


@torch.inference_mode()
def greedy(
    lm, prompts: Sequence[np.ndarray], *, most: int, end: int, batch: int | None = None
) -> list[list[int]]:
    """Returns the tokens that follow each prompt at temperature 0, up to the end of text.

    Args:
        lm: a causal language model on the training device.
        prompts: token ids of each.
        most: how many tokens are generated at most.
        end: id of the end-of-text token; it is left out.
        batch: prompts in one pass, padded on the left; None takes what `MAX_TOKENS` allows. It
            changes speed, not the result.
    """
    config = GenerationConfig(
        do_sample=False,
        num_beams=1,
        max_new_tokens=most,
        eos_token_id=end,
        pad_token_id=end,
        use_cache=True,
    )
    # a model's own configuration may sample, or penalise tokens that the text has already
    lm.generation_config = config
    lengths = np.array([len(ids) for ids in prompts])
    batches: Iterable[np.ndarray]
    if batch is None:
        longest = int(lengths.max(initial=0)) + most
        # a prompt's logits are those of its last token
        logits_of_token = 1 / (int(min(lengths, default=0)) + most)
        max_tokens = affordable_tokens(
            lm.config, MAX_TOKENS, longest=longest, keeps_keys=True, logits=logits_of_token
        )
        batches = _batches(lengths + most, max_tokens, "answering")
    else:
        order = np.argsort(-lengths, kind="stable")
        batches = np.array_split(order, range(batch, len(prompts), batch))
    answers: list[list[int]] = [[] for _ in prompts]

    def run(chosen: np.ndarray) -> list[list[int]]:
        ids, mask = _pad_left([prompts[i] for i in chosen])
        with _autocast():
            texts = lm.generate(
                input_ids=copy_to(device(), ids),
                attention_mask=copy_to(device(), mask),
                generation_config=config,
            )
        return texts[:, ids.shape[1] :].tolist()

    for chosen, generated in run_batches(batches, run):
        for i, tokens in zip(chosen, generated, strict=True):
            answers[i] = tokens[: tokens.index(end)] if end in tokens else tokens
    return answers


def _pad_left(prompts: Sequence[np.ndarray]) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns token ids and attention mask, both (b, t) int64, of prompts padded on the left."""
    # pad_sequence pads on the right: of reversed prompts that is the left
    backwards = [torch.tensor(ids[::-1].copy()) for ids in prompts]
    ids = pad_sequence(backwards, batch_first=True).flip(1).long()
    lengths = torch.tensor([len(prompt) for prompt in prompts])
    mask = torch.arange(ids.shape[1]) >= ids.shape[1] - lengths[:, None]
    return ids, mask.long()


@torch.inference_mode()
def log_probs(
    lm, prompts: Sequence[np.ndarray], options: Sequence[Sequence[Sequence[int]]]
) -> list[np.ndarray]:
    """Computes the log-probability, in nats, that each option follows its prompt.

    It is the sum over the option's tokens. A prompt is run once with all its options after it, side
    by side: each option attends to the prompt and itself alone, at the positions that it would have
    alone.

    Args:
        prompts: token ids of each.
        options: for each prompt its options, for each option its token ids, at least one.
    Returns:
        for each prompt (options,) float64.
    """
    window = getattr(lm.config, "sliding_window", None)
    longest = max(len(p) + max(map(len, each)) for p, each in zip(prompts, options, strict=True))
    if window and longest > window and max(map(len, options)) > 1:
        # a sliding window counts the tokens of a sequence, so options cannot stand side by side
        of_option = [prompt for prompt, each in zip(prompts, options, strict=True) for _ in each]
        alone = log_probs(lm, of_option, [[option] for each in options for option in each])
        ends = np.cumsum([len(each) for each in options])
        return np.split(np.concatenate(alone), ends[:-1])
    trees = [_Tree(prompt, each) for prompt, each in zip(prompts, options, strict=True)]
    results: list[np.ndarray] = [np.empty(0)] * len(trees)
    lengths = np.array([len(tree.ids) for tree in trees])
    max_tokens = affordable_tokens(lm.config, MAX_TOKENS, longest=int(lengths.max(initial=0)))
    batches = _batches(lengths, max_tokens, "scoring")

    def run(chosen: np.ndarray) -> list[np.ndarray]:
        return _log_probs_of_trees(lm, [trees[i] for i in chosen])

    for chosen, scored in run_batches(batches, run):
        for i, of_options in zip(chosen, scored, strict=True):
            results[i] = of_options
    return results


def _log_probs_of_trees(lm, trees: list[_Tree]) -> list[np.ndarray]:
    """Returns the log-probabilities (options,) of each tree of a batch, as `log_probs`."""
    with _autocast():
        hidden = _states(lm, trees)
    # one copy per batch to the device, and one from it: the host waits for the latter
    n_scored = [len(tree.tokens) for tree in trees]
    before = np.concatenate([tree.before for tree in trees])
    tokens = np.concatenate([tree.tokens for tree in trees])
    befores = copy_to(device(), torch.from_numpy(before)).split(n_scored)
    tokens_there = copy_to(device(), torch.from_numpy(tokens)).split(n_scored)
    scored = []
    for states, places, tokens_of_tree in zip(hidden, befores, tokens_there, strict=True):
        log_p = logits(lm, states[places]).float().log_softmax(dim=1)
        scored.append(log_p.gather(1, tokens_of_tree[:, None])[:, 0])
    nats = torch.cat(scored).cpu().double().split(n_scored)
    return [np.add.reduceat(of.numpy(), tree.first) for of, tree in zip(nats, trees, strict=True)]


def _states(lm, trees: list[_Tree]) -> torch.Tensor:
    """Returns the last layer's states (b, t, d) of a batch of trees, padded on the right."""
    ids = pad_sequence([torch.from_numpy(tree.ids) for tree in trees], batch_first=True)
    positions = pad_sequence([torch.from_numpy(tree.positions) for tree in trees], batch_first=True)
    lengths = torch.tensor([len(tree.ids) for tree in trees])
    mask = (torch.arange(ids.shape[1]) < lengths[:, None]).long()
    if any(tree.n_options > 1 for tree in trees):
        mask = torch.zeros(len(trees), 1, ids.shape[1], ids.shape[1], dtype=torch.bool)
        mask[:, 0, :, 0] = True  # padding attends to something: a softmax over nothing is NaN
        for k, (tree, n) in enumerate(zip(trees, lengths, strict=True)):
            mask[k, 0, :n, :n] = torch.from_numpy(tree.mask())
    return lm.base_model(
        input_ids=copy_to(device(), ids),
        attention_mask=attention_of(lm.base_model, copy_to(device(), mask), positions),
        position_ids=copy_to(device(), positions),
        use_cache=False,
    ).last_hidden_state


class _Tree:
    """A prompt and its options in one sequence.

    Attributes:
        ids, positions: (t,) int64, of the prompt and of every option's tokens but the last.
        option: (t,) int64, the option that each token belongs to; -1 for the prompt.
        tokens: (m,) int64, the tokens that are scored: those of all options, one after the other.
        before: (m,) int64, the index in `ids` at which each of them is predicted.
        first: (options,) the index in `tokens` at which each option begins.
        n_options: their number.
    """

    def __init__(self, prompt: np.ndarray, options: Sequence[Sequence[int]]):
        ids = list(prompt)
        positions = list(range(len(prompt)))
        option_of_token = [-1] * len(prompt)
        tokens: list[int] = []
        before: list[int] = []
        first: list[int] = []
        for number, option in enumerate(options):
            first.append(len(tokens))
            for j, token in enumerate(option):
                tokens.append(token)
                before.append(len(ids) - 1 if j else len(prompt) - 1)
                # nothing is predicted after an option's last token
                if j < len(option) - 1:
                    ids.append(token)
                    positions.append(len(prompt) + j)
                    option_of_token.append(number)
        self.ids = np.array(ids, dtype=np.int64)
        self.positions = np.array(positions, dtype=np.int64)
        self.option = np.array(option_of_token, dtype=np.int64)
        self.tokens = np.array(tokens, dtype=np.int64)
        self.before = np.array(before, dtype=np.int64)
        self.first = np.array(first, dtype=np.int64)
        self.n_options = len(options)

    def mask(self) -> np.ndarray:
        """Returns (t, t) bool: True where a token, the row, attends to another."""
        earlier = np.tri(len(self.ids), dtype=bool)
        of_prompt = self.option == -1
        of_same_option = self.option == self.option[:, None]
        return earlier & (of_prompt | of_same_option)
