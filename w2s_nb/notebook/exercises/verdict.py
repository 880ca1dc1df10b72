"""Whether a reader's answer is the expected one, and what is said of it."""

from __future__ import annotations

import copy
from collections.abc import Callable

import numpy as np
import torch

from ... import metrics


def verdict(
    question: str, mine: Callable, *cases: tuple[tuple, object], tolerance: float = 1e-6
) -> bool:
    """Whether an answer returns what each case, (inputs, expected), expects; prints the first case where it does not.

    An answer may do as it likes: it is given copies of the inputs, may return numbers as a list, array or tensor, and
    if it raises, that is said like any other wrong result.
    """
    for inputs, expected in cases:
        try:
            given = mine(*copy.deepcopy(inputs))
            right, yours = _same(given, expected, tolerance), _shown(given)
        except (
            Exception
        ) as error:  # whatever a reader's code raises is for the reader to see, without our frames
            right, yours = False, f"{type(error).__name__}: {error}"
        if not right:
            print(
                f"not yet: {question}\n  given     {', '.join(map(_brief, inputs))}\n  yours     {yours}\n"
                f"  expected  {_shown(expected)}"
            )
            return False
    print(f"right: {question}")
    return True


def _plain(given):
    """Numbers, lists and arrays out of an answer: of tensors and estimates, and of lists of them, what they hold."""
    if isinstance(given, (list, tuple)):
        return [_plain(each) for each in given]
    if isinstance(given, torch.Tensor):
        return given.tolist()
    return given.value if isinstance(given, metrics.Estimate) else given


def _same(given, expected, tolerance: float) -> bool:
    if isinstance(expected, str):
        return isinstance(given, str) and given == expected
    try:
        numbers = np.asarray(_plain(given), dtype=float)  # what is left open, None, becomes NaN
    except (TypeError, ValueError):
        return False
    if np.ndim(expected) == 0 and numbers.size == 1:
        numbers = numbers.reshape(())
    return numbers.shape == np.shape(expected) and np.allclose(numbers, expected, atol=tolerance)


def _shown(value) -> str:
    """A value over as many lines as it takes, below a margin of 12."""
    plain = _plain(value)
    if isinstance(plain, (float, np.floating)):
        return f"{plain:.6g}"
    try:
        with np.printoptions(precision=4, suppress=True, threshold=60):
            return (
                np.array2string(np.asarray(plain), prefix=" " * 12)
                if np.ndim(plain)
                else str(plain)
            )
    except ValueError:  # rows of different lengths
        return str(plain)


def _brief(value) -> str:
    """A value on one line; a large array by its shape."""
    numbers = np.asarray(value)
    if numbers.size > 12:
        return f"array {numbers.shape}"
    return str(
        numbers.round(4).tolist()
        if numbers.ndim and numbers.dtype.kind == "f"
        else numbers.tolist()
    )
