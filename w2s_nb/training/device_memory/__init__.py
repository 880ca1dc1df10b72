"""What finetuning a model needs, before a weight is loaded."""

from .estimate import ARCHITECTURES, MemoryEstimate, devices_needed, estimate, table

__all__ = ["ARCHITECTURES", "MemoryEstimate", "devices_needed", "estimate", "table"]
