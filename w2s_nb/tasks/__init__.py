"""Tasks: one short file a family, raw row -> examples. Importing this package registers them."""
from . import amazon_polarity, anthropic_hh, boolq, multiple_choice, snippets  # noqa: F401
from .base import Example, Hub, Prompt, TaskSpec, draw, register_task

__all__ = ["Example", "Hub", "Prompt", "TaskSpec", "draw", "register_task"]
