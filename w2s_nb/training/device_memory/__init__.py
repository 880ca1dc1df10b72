"""Estimates the memory that finetuning a model needs, before any weight is loaded."""

from .estimate import ARCHITECTURES, MemoryEstimate, devices_needed, estimate, table

__all__ = ["ARCHITECTURES", "MemoryEstimate", "devices_needed", "estimate", "table"]
