"""Tasks: one short file per family, from a raw row to examples. Importing this package registers
them.
"""

from . import amazon_polarity, boolq, multiple_choice, preferences, snippets  # noqa: F401
from .spec import Example, Hub, Prompt, TaskSpec, comparison, draw, register_task

__all__ = ["Example", "Hub", "Prompt", "TaskSpec", "comparison", "draw", "register_task"]
