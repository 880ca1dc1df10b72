"""Says what a kind of encoder must answer: a model that gives features of images.

Wings register kinds of encoders in `ENCODERS`; this room knows none. Importing this file does not
load torch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import ModuleType
from typing import TYPE_CHECKING, Protocol

from ..common.registry import ENCODERS
from ..data.tasks.spec import TaskSpec
from .names import Checkpoint

if TYPE_CHECKING:
    from torch import nn


class Family(Protocol):
    """Models of one kind, such as ResNets, that are read alike."""

    def ensure(self, checkpoint: Checkpoint) -> None:
        """Checks that the weights are here, or can be fetched within seconds.

        Raises:
            ModelUnavailable: they are not; says what to do.
        """

    def digest(self, checkpoint: Checkpoint) -> str:
        """Returns 16 hex digits that identify the weights."""
        ...

    def widths(self, checkpoint: Checkpoint) -> tuple[int, ...]:
        """Returns the number of features after 0, 1, ... blocks, up to the full depth."""
        ...

    def load(self, checkpoint: Checkpoint) -> nn.Module:
        """Returns the model, in evaluation mode, on the CPU.

        It takes images, uint8 (n, H, W, 3), and gives the features after 0, 1, ... blocks up to
        the checkpoint's depth: a list of float32 (n, width).

        Raises:
            ModelUnavailable: the weights cannot be had, or are not those of this model.
        """
        ...

    def hollow(self, checkpoint: Checkpoint) -> nn.Module:
        """Returns the model of `load` without weights, on the meta device."""
        ...

    def code_parts(self) -> tuple[Callable | ModuleType, ...]:
        """Returns all that decides the features, for `store.code_version`."""
        ...


def family_of(checkpoint: Checkpoint) -> Family:
    """Returns who reads an encoder's weights."""
    return ENCODERS[checkpoint.encoder]


def with_depth(checkpoint: Checkpoint) -> Checkpoint:
    """Returns an encoder with its depth: the number of blocks whose features it gives.

    Raises:
        ValueError: the name asks for more blocks than the model has.
    """
    depth = len(family_of(checkpoint).widths(checkpoint)) - 1
    if (checkpoint.layers or 1) > depth:
        raise ValueError(
            f"{checkpoint.name!r} asks for {checkpoint.layers} layers; "
            f"{checkpoint.base} has {depth}"
        )
    # its own weights are never trained, so it needs no rate
    return replace(checkpoint, layers=checkpoint.layers or depth, full_layers=depth, lr=0.0)


def n_params(checkpoint: Checkpoint) -> int:
    """Counts the parameters of an encoder up to its depth; reads no weights."""
    return sum(p.numel() for p in family_of(checkpoint).hollow(checkpoint).parameters())


def require_language_model(checkpoint: Checkpoint) -> None:
    """Refuses an encoder where a language model is needed.

    Raises:
        ValueError: names it.
    """
    if checkpoint.encoder:
        raise ValueError(
            f"{checkpoint.name} is an encoder of images ({checkpoint.encoder}), no language model; "
            f"expected a language model, such as SmolLM2-135M"
        )


def require_kind(checkpoint: Checkpoint, spec: TaskSpec | None) -> Checkpoint:
    """Returns a checkpoint; refuses one that cannot read a task's examples, images or texts.

    Args:
        spec: None stands for texts without a task.
    Raises:
        ValueError: names the model and the task, and says which models read it.
    """
    is_of_images = spec is not None and spec.images is not None
    if is_of_images == bool(checkpoint.encoder):
        return checkpoint
    what, other = ("images", "texts") if is_of_images else ("texts", "images")
    reads = "is an encoder" if checkpoint.encoder else "is a language model"
    expected = "an encoder, such as efficientnet-lite0" if is_of_images else "a language model"
    name = spec.name if spec else "the data set"
    raise ValueError(
        f"{name} has {what}, and {checkpoint.name} {reads}, which reads {other}; "
        f"expected {expected}"
    )


def require_probe(checkpoint: Checkpoint, method: str, probes: tuple[str, ...]) -> None:
    """Refuses a method that would train an encoder itself.

    Raises:
        ValueError: names the methods that do not.
    """
    if checkpoint.encoder and method not in probes:
        raise ValueError(
            f"method {method!r} with {checkpoint.name}: an encoder stays as it is, and only probes "
            f"are trained on its features; expected method {' or '.join(map(repr, probes))}"
        )
