"""Tasks: one short file per family, from a raw row to examples. Importing this package registers
those of every file in its folder.
"""

import importlib
import pkgutil

from .spec import Example, Hub, Prompt, TaskSpec, comparison, draw, question_answer, register_task

__all__ = [
    "Example",
    "Hub",
    "Prompt",
    "TaskSpec",
    "comparison",
    "draw",
    "question_answer",
    "register_task",
]

for _file in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_file.name}")
