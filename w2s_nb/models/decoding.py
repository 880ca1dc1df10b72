"""What a language model says after prompts: the likeliest token at every step, and how likely given answers are.

In the precision of the model's weights, float32 where the kit loads it: in bf16 the batch would decide some answers.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch.nn.functional import linear
from torch.nn.utils.rnn import pad_sequence
from transformers import GenerationConfig

from ..common.device import device
from ..common.progress import progress
from .anatomy import attention_of

MAX_TOKENS = {"cpu": 4096, "cuda": 32768}  # of a pass, padding included


def _batches(lengths: np.ndarray, label: str):
    """Positions by length, longest first, as many together as `MAX_TOKENS` allows."""
    order = np.argsort(-lengths, kind="stable")
    with progress(total=len(order), desc=label, unit="prompt") as bar:
        while len(order):
            size = max(1, MAX_TOKENS.get(device().type, 4096) // int(lengths[order[0]]))
            yield order[:size]
            bar.update(min(size, len(order)))
            order = order[size:]


@torch.inference_mode()
def greedy(
    lm, prompts: Sequence[np.ndarray], *, most: int, end: int, batch: int | None = None
) -> list[list[int]]:
    """The tokens that follow prompts at temperature 0, up to the end of text.

    Args:
        lm: a causal language model on the training device.
        prompts: token ids of each.
        most: tokens generated at most.
        end: id of the end-of-text token; it is left out.
        batch: prompts in one pass, padded on the left; None takes what `MAX_TOKENS` allows. It changes speed, not the
            result.
    """
    config = GenerationConfig(
        do_sample=False,
        num_beams=1,
        max_new_tokens=most,
        eos_token_id=end,
        pad_token_id=end,
        use_cache=True,
    )
    lm.generation_config = config  # a model's own may sample, or penalise what stood already
    lengths, found = np.array([len(ids) for ids in prompts]), [[] for _ in prompts]
    rows = (
        _batches(lengths + most, "answering")
        if batch is None
        else np.array_split(np.argsort(-lengths, kind="stable"), range(batch, len(prompts), batch))
    )
    for chosen in rows:
        ids = (
            pad_sequence([torch.tensor(prompts[i][::-1].copy()) for i in chosen], batch_first=True)
            .flip(1)
            .long()
        )
        mask = (
            torch.arange(ids.shape[1]) >= ids.shape[1] - torch.as_tensor(lengths[chosen])[:, None]
        )
        said = lm.generate(
            input_ids=ids.to(device()),
            attention_mask=mask.long().to(device()),
            generation_config=config,
        )[:, ids.shape[1] :].tolist()
        for i, tokens in zip(chosen, said):
            found[i] = tokens[: tokens.index(end)] if end in tokens else tokens
    return found


@torch.inference_mode()
def log_probs(
    lm, prompts: Sequence[np.ndarray], options: Sequence[Sequence[Sequence[int]]]
) -> list[np.ndarray]:
    """Log-probability of each option as what follows its prompt, nats, the sum over its tokens.

    A prompt is run once with all its options behind it, side by side: each attends to the prompt and to itself alone,
    at the positions that it has alone.

    Args:
        prompts: token ids of each.
        options: of each prompt the options, of each option its token ids, at least one.
    Returns:
        of each prompt (options,) float64.
    """
    unembedding = lm.get_output_embeddings()
    bias = None if unembedding.bias is None else unembedding.bias.float()
    rows = [_Tree(prompt, each) for prompt, each in zip(prompts, options)]
    found: list[np.ndarray] = [np.empty(0)] * len(rows)
    for chosen in _batches(np.array([len(row.ids) for row in rows]), "scoring"):
        ids = pad_sequence([torch.from_numpy(rows[i].ids) for i in chosen], batch_first=True)
        at = pad_sequence([torch.from_numpy(rows[i].positions) for i in chosen], batch_first=True)
        mask = torch.zeros(len(chosen), 1, ids.shape[1], ids.shape[1], dtype=torch.bool)
        mask[:, 0, :, 0] = True  # padding sees something
        for k, i in enumerate(chosen):
            n = len(rows[i].ids)
            mask[k, 0, :n, :n] = torch.from_numpy(rows[i].mask())
        mask = attention_of(lm.base_model, mask.to(device()), int(at.max()) + 1)
        hidden = lm.base_model(
            input_ids=ids.to(device()),
            attention_mask=mask,
            position_ids=at.to(device()),
            use_cache=False,
        ).last_hidden_state
        for k, i in enumerate(chosen):
            states = hidden[k, torch.from_numpy(rows[i].before).to(device())].float()
            log_p = linear(states, unembedding.weight.float(), bias).log_softmax(dim=1)
            tokens = torch.from_numpy(rows[i].tokens).to(device())
            found[i] = np.add.reduceat(
                log_p.gather(1, tokens[:, None])[:, 0].cpu().double().numpy(), rows[i].first
            )
    return found


class _Tree:
    """A prompt and its options in one sequence.

    Attributes:
        ids, positions: (t,) int64, of the prompt and of every option's tokens but the last.
        option: (t,) int64, which option a token is of; -1 for the prompt.
        tokens, before: (m,) int64, the tokens that are scored, and where each is predicted.
        first: (options,) where each option begins among them.
    """

    def __init__(self, prompt: np.ndarray, options: Sequence[Sequence[int]]):
        ids, positions, option = list(prompt), list(range(len(prompt))), [-1] * len(prompt)
        tokens, before, first = [], [], []
        for number, each in enumerate(options):
            first.append(len(tokens))
            for j, token in enumerate(each):
                tokens.append(token)
                before.append(len(ids) - 1 if j else len(prompt) - 1)
                if j < len(each) - 1:
                    ids.append(token)
                    positions.append(len(prompt) + j)
                    option.append(number)
        self.ids, self.positions, self.option = (
            np.array(x, dtype=np.int64) for x in (ids, positions, option)
        )
        self.tokens, self.before, self.first = (
            np.array(x, dtype=np.int64) for x in (tokens, before, first)
        )

    def mask(self) -> np.ndarray:
        """(t, t) bool, True where a token, the row, may look."""
        return np.tri(len(self.ids), dtype=bool) & (
            (self.option == -1) | (self.option == self.option[:, None])
        )
