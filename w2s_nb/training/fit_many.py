"""Trains many models, those that can be trained together at once, or finds them in the store."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import cast

from ..common import store
from ..data.splits import Split
from ..labels.answers import Answers
from ..labels.soft import SoftLabels
from ..models.loading import n_features
from ..models.names import Checkpoint
from .fit import PreparedFit, check_fit, fit, prepare_fit
from .job import stack_key, train_together
from .result import Fit

# probes that are trained at once: more are hardly faster, and an interrupt loses the whole lot
MOST_TOGETHER = 64


@dataclass(frozen=True, eq=False)
class FitArgs:
    """The arguments of one `fit`.

    Attributes:
        args: all but model, split and labels.
    """

    model: str
    split: Split
    labels: SoftLabels | Answers | None = None
    args: dict = field(default_factory=dict)


def fit_many(wanted: Iterable[FitArgs]) -> list[Fit]:
    """Trains models, or finds them in the store; each fit is what `fit` gives of its arguments.

    Probes of one kind of task with the same hyper-parameters are trained together, whatever their
    model, labels, loss and seed, as long as they have as many features and examples; see
    `probes.train`. All else is trained one by one.

    Args:
        wanted: the arguments of each.
    Returns:
        the fits, in their order.
    Raises: as `fit`; wrong arguments before the first is trained. Where the training of some fails,
        the others are stored before the error of the first is raised.
    """
    wanted = list(wanted)
    prepared: dict[int, PreparedFit] = {}
    known_models: dict = {}
    for position, one in enumerate(wanted):
        if one.args.get("method") == "probe" and not one.split.answers:
            labels = cast(SoftLabels | None, one.labels)  # else it is refused
            prepared[position] = prepare_fit(
                one.model, one.split, labels, known_models=known_models, **one.args
            )
        else:
            check_fit(one.model, one.split, one.labels, **one.args)
    fits = _find_or_train(list(prepared.values()))
    return [
        fits[prepared[position].address]
        if position in prepared
        else fit(one.model, one.split, one.labels, **one.args)
        for position, one in enumerate(wanted)
    ]


def _find_or_train(prepared: Sequence[PreparedFit]) -> dict[str, Fit]:
    """Returns the fits of probes by their address."""
    fits: dict[str, Fit] = {}
    lacking: dict[str, PreparedFit] = {}
    for one in prepared:
        if one.address in fits or one.address in lacking:
            continue
        found = one.find()
        if found is None:
            lacking[one.address] = one
        else:
            fits[one.address] = found
    errors: list[Exception] = []
    for group in _groups(lacking.values()):
        trained, failed = _train_group(group)
        fits |= trained
        errors += failed
    if errors:
        raise errors[0]
    return fits


def _groups(prepared: Iterable[PreparedFit]) -> Iterator[dict[str, PreparedFit]]:
    """Yields the fits that are trained together, by their address.

    Deeper models come first: one pass of theirs reads the texts for the shallower, too.
    """
    by_key: dict[tuple, list[PreparedFit]] = {}
    widths: dict[Checkpoint, int] = {}
    for one in sorted(prepared, key=lambda one: -one.job.layers):
        checkpoint = one.job.checkpoint
        if checkpoint not in widths:
            widths[checkpoint] = n_features(checkpoint)
        by_key.setdefault(stack_key(one.job, widths[checkpoint]), []).append(one)
    for alike in by_key.values():
        for start in range(0, len(alike), MOST_TOGETHER):
            yield {one.address: one for one in alike[start : start + MOST_TOGETHER]}


def _train_group(group: dict[str, PreparedFit]) -> tuple[dict[str, Fit], list[Exception]]:
    """Trains probes together, and stores those that can be trained; returns the others' errors."""
    errors: list[Exception] = []

    def make(addresses: list[str]) -> Iterator[tuple[str, tuple]]:
        jobs = {group[address].job_to_train(): address for address in addresses}
        for job, result in train_together(list(jobs)) if jobs else ():
            if isinstance(result, Exception):
                errors.append(result)
            else:
                yield jobs[job], group[jobs[job]].to_store(result)

    stored = store.make_together(group, make)
    return {a: Fit(a, *tables, group[a].stop) for a, tables in stored.items()}, errors
