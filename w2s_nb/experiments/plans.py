"""Lets experiments train together what can be trained together: they say first what they need.

An experiment is written as a plan: a generator that yields a `Round`, the fits that it needs next
and that do not wait for each other, is sent these fits, and returns its result. `side_by_side`
joins the rounds of several plans, so that the probes of all of them are trained together.
"""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Iterable
from dataclasses import dataclass, field
from typing import TypeVar

from ..data.splits import Split
from ..training.fit_many import FitArgs, fit_many
from ..training.result import Fit
from .prepare import ceiling_reads_first

Result = TypeVar("Result")


@dataclass
class Round:
    """Fits that an experiment needs next.

    Attributes:
        wanted: their arguments.
        reads_first: arguments of `ceiling_reads_first` for the models that read their texts before.
    """

    wanted: list[FitArgs]
    reads_first: list[tuple[str, Split, dict]] = field(default_factory=list)


Plan = Generator[Round, list[Fit], Result]


def carry_out(plan: Plan[Result]) -> Result:
    """Trains what a plan needs, round by round; returns its result."""
    fits: list[Fit] | None = None
    while True:
        try:
            needed = next(plan) if fits is None else plan.send(fits)
        except StopIteration as end:
            return end.value
        with contextlib.ExitStack() as announced:
            for model, half, fit_args in needed.reads_first:
                announced.enter_context(ceiling_reads_first(model, half, fit_args))
            fits = fit_many(needed.wanted)


def side_by_side(plans: Iterable[Plan[Result]]) -> Plan[list[Result]]:
    """Joins plans into one whose first round has the first of each, and so on; for probes."""
    plans = list(plans)
    results: dict[int, Result] = {}
    sent: dict[int, list[Fit]] = {}
    while True:
        rounds: dict[int, Round] = {}
        for i, plan in enumerate(plans):
            if i in results:
                continue
            try:
                rounds[i] = plan.send(sent[i]) if i in sent else next(plan)
            except StopIteration as end:
                results[i] = end.value
        if not rounds:
            return [results[i] for i in range(len(plans))]
        fits = yield Round(
            [one for needed in rounds.values() for one in needed.wanted],
            [model for needed in rounds.values() for model in needed.reads_first],
        )
        start = 0
        for i, needed in rounds.items():
            sent[i] = fits[start : start + len(needed.wanted)]
            start += len(needed.wanted)


def in_turn(plans: Iterable[Plan[Result]]) -> Plan[list[Result]]:
    """Joins plans into one that ends each before it begins the next; for trainings that take long,
    so that what an interrupted run leaves is whole.
    """
    results = []
    for plan in plans:
        results.append((yield from plan))
    return results


def join(plans: Iterable[Plan[Result]], *fit_args: dict) -> Plan[list[Result]]:
    """Joins plans `side_by_side` where some of their fits are probes, else `in_turn`.

    Args:
        fit_args: the arguments of their fits.
    """
    by_probe = any(args.get("method") == "probe" for args in fit_args)
    return side_by_side(plans) if by_probe else in_turn(plans)
