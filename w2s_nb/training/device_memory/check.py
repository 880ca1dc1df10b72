"""Asks for memory before it is used: refuses what cannot fit, and sizes the passes of training.

Where there is plenty it costs milliseconds: an upper bound is compared first.
"""

from __future__ import annotations

import math
from typing import Any

from ...common.out_of_memory import OutOfMemory
from ...models.names import resolve
from . import simulation
from .choice import Room, largest_that_fits, refusal
from .estimate import TRAINED, USABLE, architecture_of, default_micro_batch, estimate, frozen_tokens

# tokens of the text by which a training is judged before its texts are read
SHORT = 16


def check_memory(model: str, method: str, *, room: Room | None = None, **options: Any) -> None:
    """Refuses a method that memory cannot hold with one example at a time; loads no weights.

    Args:
        model, method: as of `estimate`.
        room: the memory; None takes all of this process's device and of this machine.
        options: of `estimate`, but `device` and `micro_batch`.
    Raises:
        OutOfMemory: says what it takes, what there is and what would fit.
    """
    room = Room.here() if room is None else room
    if clearly_fits(model, method, room, **options):
        return
    needed = estimate(model, method, device=room.kind, micro_batch=1, **options)
    if not room.holds(needed):
        raise OutOfMemory(refusal(model, method, room, **options))


def choose_micro_batch(
    model: str, method: str, micro_batch: int | None, **options: Any
) -> int | None:
    """Returns how many examples a pass of training takes, by the memory that is free now.

    Args:
        micro_batch: what the caller asks for, which is kept; None takes, on a GPU, the largest that
            fits, and leaves it to training on a CPU.
        options: of `estimate`, but `device` and `micro_batch`.
    Raises:
        OutOfMemory: not even one example at a time fits.
    """
    room = Room.free()
    if clearly_fits(model, method, room, micro_batch=micro_batch, **options):
        return micro_batch
    check_memory(model, method, room=room, **options)
    if micro_batch is not None or room.kind == "cpu" or method not in TRAINED:
        return micro_batch
    needed = largest_that_fits(model, method, room, **options)
    return needed.micro_batch if needed else 1


def clearly_fits(
    model: str,
    method: str,
    room: Room,
    *,
    batch: int = 32,
    tokens: int,
    micro_batch: int | None = None,
    devices: int = 1,
    top_layers: int = 0,
    predicted: int = 0,
    copies: int = 0,
    **unused: Any,
) -> bool:
    """Tells whether an upper bound of what `estimate` counts fits, without a simulation.

    Args: as of `estimate`; what only makes it less is not looked at.
    """
    checkpoint = resolve(model)
    if checkpoint.encoder:
        return room.holds(estimate(model, method, device=room.kind), USABLE)
    architecture = architecture_of(checkpoint)
    config = simulation.config_of(architecture)
    n_params = simulation.count_parameters(architecture)
    tokens = min(tokens, getattr(config, "max_position_embeddings", None) or tokens)
    examples = math.ceil(batch / devices)
    examples = min(examples, micro_batch or default_micro_batch(examples, tokens, room.kind))
    layers = config.num_hidden_layers
    trained_layers = min(layers, top_layers) if method == "top" else layers
    # float32; of a block more than it keeps in any architecture
    of_token = 4 * (40 * config.hidden_size + 12 * _width(config))
    of_token += 16 * config.num_attention_heads * tokens
    bound = 8 * n_params + frozen_tokens(tokens, room.kind) * 2 * of_token
    if method in TRAINED:
        # weights, gradients, two moments, and copies in bf16
        of_training = 18 * n_params + examples * tokens * (trained_layers + 2) * of_token
        bound = max(bound, of_training + examples * predicted * config.vocab_size * 16)
    host = 4 * n_params * max(1, copies)
    return bound <= USABLE * room.device and host <= USABLE * room.host


def _width(config) -> int:
    """Returns the width of a block's two-layer network; an upper bound where it is not said."""
    named = [
        getattr(config, name, None) for name in ("intermediate_size", "n_inner", "ffn_hidden_size")
    ]
    return max([n for n in named if isinstance(n, int)], default=0) or 4 * config.hidden_size
