"""Trains the probes of several methods together, before the methods ask for them one by one."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import cast

from ..common.progress import collect_warnings
from ..data.splits import Split, Task
from ..labels.soft import SoftLabels
from ..training.fit_many import FitArgs, fit_many
from ..training.result import Fit
from .methods import Budget, Method

# One run of a method: (method, labels, task, strong, seed, arguments of fit).
Run = tuple[Method, SoftLabels, Task, str, int, dict]


def train_ahead(runs: Iterable[Run]) -> None:
    """Trains the probes that methods will ask for, as far as they say so before they read one.

    The methods then find them in the store: the same fits, bit for bit, as if they had trained
    them. What cannot be trained is left to the method, whose row tells why; where arguments of one
    are wrong, all are.
    """
    wanted: list[FitArgs] = []
    with collect_warnings():  # the methods will give them too
        for run in runs:
            if run[0].fits_ahead and run[-1].get("method") == "probe":
                wanted += _wanted_by(*run)
        with contextlib.suppress(Exception):
            fit_many(wanted)


def _wanted_by(
    method: Method, labels: SoftLabels, task: Task, strong: str, seed: int, fit_args: dict
) -> list[FitArgs]:
    """Runs a method until it reads a fit; returns the fits that it has asked for."""
    budget = _Notes(fit_args)
    try:
        method(labels, task, strong, seed, budget)
    except _Read:
        pass
    except Exception:  # it will be raised again where its row can tell
        return []
    return budget.wanted


class _Read(BaseException):
    """A method reads a fit that is not there yet; no `except Exception` of its own holds this."""


@dataclass
class _Notes(Budget):
    """Notes the fits that a method asks for, and trains none."""

    wanted: list[FitArgs] = field(default_factory=list)

    def fit(self, model: str, split: Split, labels: SoftLabels | None, **fit_args) -> Fit:
        self.wanted.append(self.args_of_fit(model, split, labels, fit_args))
        return cast(Fit, _NotThere())


class _NotThere:
    """Stands for a fit that is not there: whatever is read of it ends the method."""

    def __getattr__(self, name: str):
        raise _Read(name)
