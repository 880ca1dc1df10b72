"""Runs one experiment under several stresses, and compares methods under each."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from .. import metrics
from ..common.progress import collect_warnings, warn_once
from ..common.registry import UnknownName
from ..data.classes import likeliest
from ..data.load import load_task
from ..data.splits import Split
from ..metrics.estimate import Estimate, from_draws
from ..metrics.readable import readable
from . import stress
from .arms import Arms, has_auroc, run_arms, student_name
from .prepare import list_losses, list_seeds, refuse_own
from .stress import NONE, Stress

# fixed before any result was seen: the paper's two, and the loss that Zhang and Sabuncu (2018)
# made for wrong labels
LOSSES = ("xent", "confidence", "generalized_xent")
STRESSES = (
    stress.imbalanced(0.1),
    stress.imbalanced(0.01),
    stress.impossible(0.2),
    stress.distractor(),
    stress.opinion(),
    stress.errs_on(stress.n_characters, "the longest texts"),
)
NAIVE = student_name("xent")
_OWN = {"stress": "stresses=", "variant": "stresses=", "losses": "losses="}


def run_stress(
    task: str,
    weak: str,
    strong: str,
    *,
    stresses: Iterable[Stress | str] = STRESSES,
    losses: Iterable[str] = LOSSES,
    **arms_args,
) -> Stressed:
    """Runs `run_arms` without stress, and under each one and each one's control.

    Args:
        task, weak, strong: as in `run_arms`.
        stresses: changes of the experiment, as the functions of `w2s.stress` make them, or names
            of the six that are taken by default; one after the other, not together.
        losses: of the students, 'xent' among them, with which the others are compared.
        arms_args: of every `run_arms`, such as seeds, n_train or method.
    Raises:
        TypeError: a stress, where several are expected, or no stress.
        UnknownName: a name that is none of the six; lists them.
        ValueError: two stresses of one name; losses without 'xent'; else as `run_arms`.
    """
    refuse_own(arms_args, "run_stress", _OWN)
    listed = _list_stresses(stresses)
    losses = list_losses(losses)
    if "xent" not in losses:
        raise ValueError(f"losses = {losses!r}; expected 'xent' among them, the naive student's")
    _check_stresses(listed, task, arms_args)
    arms = {}
    for each in listed:
        with collect_warnings():  # the table says again what is held against an arm
            arms[each.name] = run_arms(task, weak, strong, losses=losses, stress=each, **arms_args)
    return Stressed(listed, arms)


def _list_stresses(stresses: Iterable[Stress | str]) -> list[Stress]:
    """Returns the unchanged experiment, and each stress after its control."""
    if isinstance(stresses, (Stress, str)):
        name = stresses if isinstance(stresses, str) else stresses.name
        raise TypeError(f"stresses is one, {name!r}; expected several, such as a list")
    known = {each.name: each for each in STRESSES}
    named = {NONE.name: NONE}
    of_caller = []
    for each in stresses:
        if isinstance(each, str):
            if each not in known:
                raise UnknownName("stress", each, known)
            each = known[each]
        if not isinstance(each, Stress):
            raise TypeError(
                f"stresses has {each!r}; expected stresses such as w2s.stress.impossible()"
            )
        if each.name in of_caller:
            raise ValueError(f"two stresses are named {each.name!r}; expected different names")
        of_caller.append(each.name)
        if each.control is not None:
            named.setdefault(each.control.name, each.control)
        named[each.name] = each
    return list(named.values())


def _check_stresses(stresses: Iterable[Stress], task: str, arms_args: dict) -> None:
    """Refuses a stress that does not fit the task, before the first of them is run."""
    of_task = ("n_train", "n_val", "n_test", "extra_halves")
    sizes = {name: arms_args[name] for name in of_task if name in arms_args}
    dealt = load_task(task, seed=list_seeds(arms_args.get("seeds", 1))[0], **sizes)
    for each in stresses:
        each.change_task(dealt)


@dataclass(frozen=True, eq=False)
class Stressed:
    """One experiment without stress, under stresses and under their controls.

    Attributes:
        stresses: in the order of the table, the unchanged experiment first.
        arms: {name of the stress: arms}.
    """

    stresses: Sequence[Stress]
    arms: dict[str, Arms]

    def __repr__(self) -> str:
        return f"Stressed: {', '.join(self.arms)}\n{self.arms[NONE.name]!r}"

    def _repr_html_(self) -> str:
        with collect_warnings():  # a PGR that is not defined stays empty
            return readable(self.table())._repr_html_()

    @warn_once()
    def table(self) -> pd.DataFrame:
        """Measures every arm under every stress, with 95 % intervals.

        Test examples whose label cannot be known are left out, in the stress and in what it is
        compared with.

        Returns:
            A row per stress and arm: accuracy, AUROC, and a student's PGR by both. change,
            change_auroc and change_pgr: those values minus the same arm's without the stress
            (under its control, which the column control names), paired by example and seed.
            over_naive and over_naive_auroc: a student's minus the naive student's under the same
            stress, paired. NaN where there is nothing to compare, or where PGR is not defined.
            `attrs["chance"]` has the accuracy of guessing.
        """
        rows = []
        for each in self.stresses:
            arms, control = self._counted(each)
            for arm in arms.fits:
                row = {
                    "stress": each.name,
                    "arm": arm,
                    "control": "" if each is NONE else (each.control or NONE).name,
                    "seeds": len(arms.tasks),
                    "n_train": len(arms.tasks[0].student),
                    "n_test": len(arms.test),
                    **arms.measures(arm),
                }
                if each is not NONE:
                    row |= _changes(arms, control, arm)
                if arm in arms.students and arm != NAIVE:
                    row |= _over_naive(arms, arm)
                rows.append(row)
        table = pd.DataFrame(rows)
        table.attrs["chance"] = self.arms[NONE.name].test.chance
        return table

    def unknowable(self) -> pd.DataFrame:
        """Measures what each arm says of test examples whose label cannot be known.

        Returns:
            A row per stress that has such examples, and arm: n, how many; `says_<class>`, the share
            of them that it gives each class; confidence, the mean probability of the class that it
            gives; confidence_elsewhere, that on the other test examples; agreement with the
            supervisor, of students. Each with its 95 % interval. An arm that knows that it cannot
            know has a confidence of 1/K.
        Raises:
            ValueError: no stress has such examples.
        """
        rows = []
        for each in self.stresses:
            if each.unknowable is None:
                continue
            arms = self.arms[each.name]
            is_unknowable = self._unknowable(each)
            unknown = _test_on(arms, is_unknowable)
            known = _test_on(arms, ~is_unknowable)
            for arm in arms.fits:
                row = {"stress": each.name, "arm": arm, "n": len(unknown.test)}
                rows.append(row | _says(unknown, known, arm))
        if not rows:
            raise ValueError(
                f"no label is unknowable under {', '.join(self.arms)}; expected a stress such as "
                f"w2s.stress.impossible()"
            )
        return pd.DataFrame(rows)

    def _unknowable(self, of_stress: Stress) -> np.ndarray:
        """Returns (n_test,) bool, the examples whose label the stress makes unknowable."""
        test = self.arms[(of_stress.control or NONE).name].test
        if of_stress.unknowable is None:
            return np.zeros(len(test), dtype=bool)
        return of_stress.unknowable(test)

    def _counted(self, of_stress: Stress) -> tuple[Arms, Arms]:
        """Returns the arms of a stress and of its control, on test examples that can be known."""
        control = self.arms[(of_stress.control or NONE).name]
        if of_stress.unknowable is None:
            return self.arms[of_stress.name], control
        rows = ~self._unknowable(of_stress)
        return _test_on(self.arms[of_stress.name], rows), _test_on(control, rows)


def _test_on(arms: Arms, rows: np.ndarray) -> Arms:
    """Returns arms that are tested on the examples at `rows`, a mask (n_test,)."""
    return replace(arms, tasks=[replace(task, test=task.test.take(rows)) for task in arms.tasks])


def _changes(arms: Arms, control: Arms, arm: str) -> dict:
    """Returns the columns with what an arm has more under a stress than under its control."""
    row = arms.gain_over(arm, arm, others=control).as_dict("change")
    if has_auroc(arms.test):
        row |= _difference(arms.auroc(arm), control.auroc(arm)).as_dict("change_auroc")
    if arm in arms.students:
        with collect_warnings():  # that one of the two is not defined is said of its own row
            row |= arms.pgr_over(control, arm).as_dict("change_pgr")
    return row


def _over_naive(arms: Arms, arm: str) -> dict:
    """Returns the columns with what a student has more than the naive one."""
    row = arms.gain_over(arm, NAIVE).as_dict("over_naive")
    if has_auroc(arms.test):
        row |= _difference(arms.auroc(arm), arms.auroc(NAIVE)).as_dict("over_naive_auroc")
    return row


def _difference(one: Estimate, other: Estimate) -> Estimate:
    """Returns one estimate minus another of the same examples, whose draws are the same."""
    draws = np.empty(0)
    if one.draws is not None and other.draws is not None:
        draws = one.draws - other.draws
    return from_draws(one.value - other.value, draws, one.n, one.seeds)


def _says(unknown: Arms, known: Arms, arm: str) -> dict:
    """Returns the columns of a row of `Stressed.unknowable` with their intervals."""
    probs = unknown.probs(arm)
    row: dict = {}
    for number, name in enumerate(unknown.test.classes):
        row |= _mean(likeliest(probs) == number, unknown.test).as_dict(f"says_{name}")
    row |= _mean(probs.max(axis=-1), unknown.test).as_dict("confidence")
    row |= _mean(known.probs(arm).max(axis=-1), known.test).as_dict("confidence_elsewhere")
    if arm in unknown.students:
        row |= unknown.agreement(arm).as_dict("agreement")
    return row


def _mean(values: np.ndarray, test: Split) -> Estimate:
    """Returns the mean of values (seeds, n) with its interval."""
    return metrics.of_means(np.asarray, values, group=test.group)
