"""Judges a reader's answer to an exercise by its results on given inputs."""

from __future__ import annotations

import contextlib
import copy
import io
from collections.abc import Callable, Sequence

import numpy as np
import torch

from ... import metrics


def judge(
    question: str,
    answer: Callable,
    *cases: tuple[tuple, object],
    tolerance: float = 1e-6,
    mistakes: Sequence[tuple[Callable, str]] = (),
) -> bool:
    """Prints and returns whether an answer gives the expected result in every case.

    Of a wrong answer the first case that it fails is printed. An answer is given copies of the
    inputs, which it may change, and may return numbers as a list, array or tensor; an error that it
    raises counts as a wrong result.

    Args:
        question: in a few words, for the line that is printed.
        answer: the reader's function.
        cases: (inputs, expected result) each.
        tolerance: by which a number may differ from the expected one.
        mistakes: (wrong answer, what to say to it) of the usual ones; a line more is printed for
            the first that gives what the reader's answer gave. Slips that any exercise may meet,
            such as printing instead of returning, or clipping, are answered without.
    """
    for inputs, expected in cases:
        result, printed = None, io.StringIO()
        try:
            with contextlib.redirect_stdout(printed):
                result = answer(*copy.deepcopy(inputs))
            is_right = _same(result, expected, tolerance)
            shown_result = _format_result(result)
            remark = "" if is_right else _usual_mistake(result, expected, printed.getvalue())
        except Exception as error:
            # The reader sees the error of the answer's own code, without frames of this kit.
            is_right = False
            shown_result = f"{type(error).__name__}: {error}"
            remark = ""
        print(printed.getvalue(), end="")
        if not is_right:
            print(
                f"not yet: {question}\n"
                f"  given     {', '.join(map(_format_input, inputs))}\n"
                f"  yours     {shown_result}\n"
                f"  expected  {_format_result(expected)}"
            )
            for mistaken, own_remark in mistakes:
                if _same(result, mistaken(*copy.deepcopy(inputs)), tolerance):
                    remark = own_remark
                    break
            if remark:
                print(f"  perhaps   {remark}")
            return False
    print(f"right: {question}")
    return True


def _usual_mistake(result, expected, printed: str) -> str:
    """Returns what to say to a mistake that any exercise may meet; "" to another one."""
    if result is None and printed:
        return "you printed it instead of returning it: end in `return`"
    if result is None:
        return "nothing is returned yet: end in `return`"
    if callable(result) and not isinstance(result, torch.Tensor):
        return "you returned a function without calling it"
    try:
        yours = np.asarray(_to_plain(result), dtype=float)
        wanted = np.asarray(expected, dtype=float)
    except (TypeError, ValueError):
        return ""
    if yours.size == 0 or np.isnan(yours).any():
        return ""
    if wanted.ndim and yours.size == 1 and wanted.size > 1:
        return f"you returned one number; {wanted.size} are asked for: did you average or sum?"
    if yours.shape != wanted.shape:
        return ""
    return next(
        (remark for other, remark in _changed(wanted) if _told_by(yours, other, wanted)), ""
    )


def _changed(wanted: np.ndarray) -> list[tuple[np.ndarray, str]]:
    """Returns what usual slips make of the right numbers, and what to say to each."""
    with np.errstate(divide="ignore", invalid="ignore"):
        turned_over = 1 / wanted
    return [
        (np.clip(wanted, 0, 1), "did you clip? Values below 0 and above 1 stay as they are"),
        (-wanted, "the sign is turned round"),
        (1 - wanted, "this is 1 minus what is asked for"),
        *(
            (wanted.round(digits), "did you round? All digits are asked for")
            for digits in (1, 2, 3)
        ),
        (100 * wanted, "did you answer in percent? A share is asked for"),
        (turned_over, "is the fraction upside down?"),
    ]


def _told_by(yours: np.ndarray, other: np.ndarray, wanted: np.ndarray) -> bool:
    """Tells whether an answer is another one, and not by chance: that other one is not right."""
    return np.allclose(yours, other, atol=1e-6) and not np.allclose(other, wanted, atol=1e-6)


def _to_plain(result):
    """Returns a result without tensors and estimates: the numbers that they hold."""
    if isinstance(result, (list, tuple)):
        return [_to_plain(each) for each in result]
    if isinstance(result, torch.Tensor):
        return result.tolist()
    if isinstance(result, metrics.Estimate):
        return result.value
    return result


def _same(result, expected, tolerance: float) -> bool:
    if isinstance(expected, str):
        return isinstance(result, str) and result == expected
    try:
        numbers = np.asarray(_to_plain(result), dtype=float)  # None becomes NaN, which is wrong
    except (TypeError, ValueError):
        return False
    if np.ndim(expected) == 0 and numbers.size == 1:
        numbers = numbers.reshape(())
    return numbers.shape == np.shape(expected) and np.allclose(numbers, expected, atol=tolerance)


def _format_result(value) -> str:
    """Returns a value as text, on as many lines as it takes, behind a margin of 12."""
    plain = _to_plain(value)
    if isinstance(plain, (float, np.floating)):
        return f"{plain:.6g}"
    try:
        if np.ndim(plain) == 0:
            return str(plain)
        with np.printoptions(precision=4, suppress=True, threshold=60):
            return np.array2string(np.asarray(plain), prefix=" " * 12)
    except ValueError:  # rows of different lengths
        return str(plain)


def _format_input(value) -> str:
    """Returns a value on one line; a large array by its shape."""
    numbers = np.asarray(value)
    if numbers.size > 12:
        return f"array {numbers.shape}"
    if numbers.ndim and numbers.dtype.kind == "f":
        numbers = numbers.round(4)
    return str(numbers.tolist())
