"""Says what the largest training of a setting takes of a GPU, before any weight is loaded."""

from __future__ import annotations

import functools

from ...models.names import size_order
from ...notebook.defaults import Machine, needed_by, training_options
from ...training.recipes import read_recipe
from .setting import Setting

GB = {"gpu24": 24, "gpu80": 80}  # of the GPU of a scale, 10^9 bytes


@functools.cache
def memory_line(setting: Setting, gb: float) -> str:
    """Returns the memory of the training of a setting's largest model, in one line.

    Args:
        gb: of the GPU, 10^9 bytes.
    Raises:
        MemoryError: one example at a time does not fit; says what would.
        DataUnavailable, UnknownName: the task or a model does not exist.
    """
    method = setting.method
    model = max(setting.ladder, key=size_order)
    options = training_options(
        {"tasks": ", ".join(setting.tasks)}, method, read_recipe(setting.recipe, method)
    )
    if setting.top_layers is not None:
        options["top_layers"] = setting.top_layers
    needed = needed_by(model, method, Machine("cuda", gb), options, None)
    passes = f", {needed.micro_batch} at a time" if needed.micro_batch else ""
    return f"{model} takes {needed.total / 1e9:.1f} of {gb:g} GB{passes}"
