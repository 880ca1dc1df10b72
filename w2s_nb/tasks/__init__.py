"""Tasks: one short file a family, raw row -> examples. Importing this package registers them."""
from . import amazon_polarity, boolq, multiple_choice, preferences, puzzles, snippets  # noqa: F401
from .base import Example, Hub, Prompt, TaskSpec, comparison, draw, register_task

__all__ = ["Example", "Hub", "Prompt", "TaskSpec", "comparison", "draw", "register_task"]
