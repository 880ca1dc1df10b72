"""Reads what is known of examples beside their text and class: difficulty and themes."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ..common.registry import UnknownName
from .splits import Split


def facts_of(split: Split) -> pd.DataFrame:
    """Returns difficulty and themes of each example.

    Raises:
        ValueError: the task declares neither.
    """
    if split.facts is None:
        raise ValueError(
            f"{split!r} has no difficulty and no themes; expected a task that declares a measure, "
            f"or one that is answered"
        )
    return split.facts


def has_theme(split: Split, theme: str) -> np.ndarray:
    """Returns which examples have a theme, (n,) bool.

    Raises:
        ValueError: the task declares no themes.
    """
    return np.array([theme in of_example for of_example in facts_of(split).themes], dtype=bool)


def check_theme(split: Split, theme: str) -> None:
    """Refuses a theme that no example of a split has.

    Raises:
        UnknownName: lists the themes that there are.
        ValueError: the task declares no themes.
    """
    themes = sorted(set(facts_of(split).themes.explode().dropna()))
    if theme not in themes:
        raise UnknownName("theme", str(theme), themes)
