"""What finetuning a model needs, before a weight is loaded."""
from .planning import ARCHITECTURES, MemoryPlan, devices_needed, plan, table

__all__ = ["ARCHITECTURES", "MemoryPlan", "devices_needed", "plan", "table"]
