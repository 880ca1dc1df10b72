"""Asks for the memory of a fit: before any is trained, and before each that is trained."""

from __future__ import annotations

from typing import Any, cast

import numpy as np

from ...data.splits import Split
from ...inputs.batches import TokenInputs
from ...inputs.tokens import Tokens, join, tokenize
from ...models.loading import config_of, context_of
from ...models.names import Checkpoint
from ..hyperparameters import Hyperparameters
from ..job import TrainingJob
from .check import SHORT, check_memory, choose_micro_batch, clearly_fits
from .choice import Room

# lengths and vocabularies are rounded up to these, so that few steps are simulated
_TOKENS = 32
_ROWS = 1024


def check_memory_of_fit(
    checkpoint: Checkpoint,
    split: Split,
    method: str,
    chosen: Hyperparameters,
    devices: int = 1,
    *,
    on_text: bool = False,
) -> None:
    """Refuses a fit that memory cannot hold with one short text at a time; reads no text.

    Args:
        chosen: as the model has filled them in.
        on_text: a language model is trained, whatever the split's task.
    Raises:
        OutOfMemory: says what it takes, what there is and what would fit.
    """
    if checkpoint.encoder:
        return  # its passes are halved where memory is short, and its probe is small
    tokens = min(SHORT, cast(int, chosen.max_len))
    options = _options(chosen, devices)
    if method == "full":
        options["vocabulary"] = 1
    if on_text or split.answers:
        options |= {"predicted": tokens if on_text else 1, "vocabulary": None}
    else:
        options["n_classes"] = split.n_classes
    check_memory(checkpoint.name, method, tokens=tokens, **options)


def micro_batch_of_job(job: TrainingJob, micro_batch: int | None, devices: int) -> int | None:
    """Returns how many examples a pass of a job takes, by the memory that is free now.

    Args: as of `choose_micro_batch`.
    Raises:
        OutOfMemory: not even one example at a time fits.
    """
    if job.checkpoint.encoder:
        return micro_batch
    name, method, chosen = job.checkpoint.name, job.method, job.hyperparameters
    max_len = cast(int, chosen.max_len)
    options = _options(chosen, devices)
    options["n_classes"] = job.split.n_classes
    options["copies"] = int(chosen.evals != 1) + int(job.keep_weights is not None)
    at_most = job.split.arity * max_len
    if clearly_fits(name, method, Room.free(), tokens=at_most, micro_batch=micro_batch, **options):
        return micro_batch
    splits = [job.split, *job.predicted_splits]
    tokens = join([tokenize(split, job.checkpoint, max_len) for split in splits])
    if method == "full":
        options["vocabulary"] = _rows(tokens, job.checkpoint)
    longest = _round_up(int(TokenInputs(tokens).lengths.max()), _TOKENS)
    longest = min(longest, context_of(job.checkpoint) or longest)
    return choose_micro_batch(name, method, micro_batch, tokens=longest, **options)


def micro_batch_of_texts(
    checkpoint: Checkpoint,
    method: str,
    chosen: Hyperparameters,
    micro_batch: int | None,
    *,
    tokens: int,
    predicted: int,
) -> int | None:
    """Returns how many texts a pass of a language model takes, by the memory that is free now.

    Args:
        checkpoint, method, micro_batch: as of `choose_micro_batch`.
        chosen: hyper-parameters, of which batch_size, top_layers and lora_rank count.
        tokens: of the longest text.
        predicted: of these, the tokens that are learned.
    Raises:
        OutOfMemory: not even one text at a time fits.
    """
    options = _options(chosen, devices=1) | {"tokens": tokens, "predicted": predicted}
    return choose_micro_batch(checkpoint.name, method, micro_batch, **options)


def _options(chosen: Hyperparameters, devices: int) -> dict[str, Any]:
    """Returns the options of `estimate` that hyper-parameters decide."""
    return {
        "batch": chosen.batch_size,
        "top_layers": chosen.top_layers,
        "lora_rank": chosen.lora_rank,
        "devices": devices,
    }


def _rows(tokens: Tokens, checkpoint: Checkpoint) -> int:
    """Returns the rows of the embedding that texts use, rounded up, at most all."""
    used = len(np.unique(np.concatenate(tokens.ids)))
    return min(_round_up(used, _ROWS), config_of(checkpoint).vocab_size)


def _round_up(n: int, step: int) -> int:
    return -(-n // step) * step
