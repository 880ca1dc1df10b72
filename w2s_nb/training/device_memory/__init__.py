"""Estimates the memory that a training needs before any weight is loaded, and chooses by it.

- `estimate`: the parts, by a training step on tensors without content (`simulation`);
  `table`, `devices_needed`.
- `choice`: the method and the micro-batch that fit; the refusal of what does not.
"""

from .choice import Choice, Room, choose_method
from .estimate import ARCHITECTURES, MemoryEstimate, devices_needed, estimate, table

__all__ = [
    "ARCHITECTURES",
    "Choice",
    "MemoryEstimate",
    "Room",
    "choose_method",
    "devices_needed",
    "estimate",
    "table",
]
