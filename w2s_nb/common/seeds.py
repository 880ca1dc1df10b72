"""Checks seeds and counts: what random generators would take, and take otherwise."""

from __future__ import annotations

import numbers


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


def check_count(value, name: str) -> None:
    """Checks a number of things that an argument asks for.

    Raises:
        ValueError: anything but a whole number from 1; True is none.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"{name} = {value!r}; expected a whole number from 1")
