"""Checks seeds, counts, numbers and flags: what Python would take, and take otherwise."""

from __future__ import annotations

import math
import numbers

MOST_SEEDS = 10_000  # of one experiment


def check_seed(seed, name: str = "seed") -> int:
    """Returns a whole number from 0, as int.

    Generators would take None and draw anew at each call, or take True for 1.

    Raises:
        ValueError: anything else, or a number from 2**63.
    """
    whole = isinstance(seed, numbers.Integral) and not isinstance(seed, bool)
    if not whole or not 0 <= int(seed) < 2**63:
        raise ValueError(f"{name} = {seed!r}; expected a whole number from 0, below 2**63")
    return int(seed)


def check_count(value, name: str, *, low: int = 1) -> None:
    """Checks a number of things that an argument asks for.

    Raises:
        ValueError: anything but a whole number from `low`; True is none.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < low:
        raise ValueError(f"{name} = {value!r}; expected a whole number from {low}")


def check_number(value, name: str, *, low: float = 0.0, high: float = math.inf) -> None:
    """Checks a number that an argument gives.

    Raises:
        ValueError: anything but a finite number from `low` to `high`; True is none.
    """
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not is_number or not math.isfinite(value) or not low <= value <= high:
        ends = f"from {low:g}" if high == math.inf else f"from {low:g} to {high:g}"
        raise ValueError(f"{name} = {value!r}; expected a finite number {ends}")


def check_flag(value, name: str) -> None:
    """Checks an argument that switches something on.

    Raises:
        TypeError: anything but True or False, such as the text "no", which Python takes for True.
    """
    if not isinstance(value, bool):
        raise TypeError(f"{name} = {value!r}; expected True or False")
