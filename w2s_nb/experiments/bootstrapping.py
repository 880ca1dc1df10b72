"""Runs bootstrapping: a chain of models, each taught by the one before (section 4.3.1)."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from .. import metrics
from ..common.progress import collect_warnings, warn_once
from ..data.report import footnote
from ..data.splits import Split, Task
from ..metrics.gap import MEASURES, pgr_of
from ..metrics.readable import readable
from ..training.fit import check_fit, fit
from ..training.result import Fit
from . import advice
from .arms import CEILING, PGR_BY, WEAK, has_auroc, stop_of
from .prepare import args_of, ceiling_reads_first, prepare, refuse_own, tell_swapped

DATA = ("same", "fresh", "further")
# arguments of `fit` that run_chain gives each fit, and its own argument that decides them
_OWN = {
    "model": "models",
    "split": "task",
    "labels": "models",
    "seed": "seeds=",
    "label_training_examples": "data=",
}


def cut_split(split: Split, k: int) -> list[Split]:
    """Cuts a split into k parts of near-equal size, with whole groups in order of appearance.

    Raises:
        ValueError: a part of fewer than two examples.
    """
    groups, first_rows, group_of, sizes = np.unique(
        split.group, return_index=True, return_inverse=True, return_counts=True
    )
    by_appearance = np.argsort(first_rows)
    # A group belongs to the part in which its last example falls.
    last_rows = np.empty(len(groups), dtype=np.int64)
    last_rows[by_appearance] = np.cumsum(sizes[by_appearance]) - 1
    part_of_group = last_rows * k // len(split)
    order = np.argsort(first_rows[group_of], kind="stable")
    part_of_example = part_of_group[group_of[order]]
    parts = [split.take(order[part_of_example == part]) for part in range(k)]
    if min(map(len, parts)) < 2:
        raise ValueError(
            f"{len(split)} examples in {len(groups)} groups cannot be cut into {k} parts of at "
            f"least 2"
        )
    return parts


@dataclass(frozen=True, eq=False)
class Chain:
    """Models each taught by the one before.

    Attributes:
        name: of the chain, in tables and figures.
        models: model names; the first is trained on ground truth.
        tasks: the task as each seed deals it.
        steps: `steps[k][i]` is the fit of `models[k]` at the i-th seed.
        ceiling: fits of the last model on ground truth of the student half, one per seed.
    """

    name: str
    models: list[str]
    tasks: list[Task]
    steps: list[list[Fit]]
    ceiling: list[Fit]

    def __repr__(self) -> str:
        seeds = ", ".join(str(task.seed) for task in self.tasks)
        return (
            f"Chain: {self.name}, {self.tasks[0].name}, seeds {seeds}, "
            f"{len(self.test)} test examples\n  " + " -> ".join(self.models)
        )

    def _repr_html_(self) -> str:
        with collect_warnings():  # a PGR that is not defined stays empty
            table = readable(self.table().set_index("arm"))._repr_html_()
        return table + footnote(self.tasks[0].counts, self.tasks[0].name)

    @property
    def test(self) -> Split:
        """Returns the test examples, the same for every model and seed."""
        return self.tasks[0].test

    def probs(self, step: int) -> np.ndarray:
        """Returns (seeds, n_test, K) test predictions of a model; step 0 is the supervisor."""
        return self._predict(self.steps[step])

    def _predict(self, fits: list[Fit]) -> np.ndarray:
        return np.stack([f.predict(t.test) for f, t in zip(fits, self.tasks, strict=True)])

    def _right(self, step: int) -> np.ndarray:
        """Returns (seeds, n_test) bool, True where a model's prediction is right."""
        return metrics.correct(self.probs(step), self.test.hard_label)

    @warn_once()
    def table(self) -> pd.DataFrame:
        """Returns a row per model: accuracy of its labels and on test, with 95 % intervals.

        Its column stop is the rule that chose the model's checkpoint. Students have a PGR, between
        the first supervisor and the ceiling; the last row is the ceiling. AUROC, PGR by it and
        warnings are as in `Arms.table`.
        """
        rows = [self._table_row(step) for step in range(len(self.models))]
        ceiling = {
            "arm": CEILING,
            "strong": self.models[-1],
            "stop": stop_of(self.ceiling),
            "seeds": len(self.tasks),
        }
        rows.append(ceiling | self._measures(len(self.models)))
        fits = {**self._fits_by_arm, CEILING: self.ceiling}
        advice.tell(fits, CEILING, self.test)
        return pd.DataFrame(rows)

    @property
    def _fits_by_arm(self) -> dict[str, list[Fit]]:
        """Returns the fits of supervisor and students, by names that tell them apart."""
        names = [WEAK, *(f"{self.name}, {model}" for model in self.models[1:])]
        return dict(zip(names, self.steps, strict=True))

    def _table_row(self, step: int) -> dict:
        records = [f.record for f in self.steps[step]]
        return {
            "arm": self.name if step else WEAK,
            "strong": self.models[step],
            "step": step,
            "stop": stop_of(self.steps[step]),
            "seeds": len(self.tasks),
            "n_train": len(records[0]["trained_on"]),
            "label_accuracy": float(np.mean([r["summary"]["label_accuracy"] for r in records])),
            **self._measures(step),
        }

    def _measures(self, step: int) -> dict:
        """Returns the columns with accuracy and AUROC, and a student's PGR.

        Args:
            step: 0 is the supervisor; the one after the last model is the ceiling.
        """
        row: dict = {}
        for measure, by_step in self._estimates.items():
            row |= by_step[step].as_dict(measure)
        if not 0 < step < len(self.models):
            return row
        for measure, by_step in self._estimates.items():
            of_arms = by_step[0], by_step[step], by_step[-1]
            # PGR by accuracy has said what is held against the arms
            quiet = collect_warnings() if measure == "auroc" else contextlib.nullcontext()
            with quiet:
                pair = f"{self.models[0]} teaches {self.models[-1]}"  # whose gap it is
                pgr = pgr_of(*of_arms, chance=self.test.chance, measure=measure, pair=pair)
            row |= pgr.as_dict(PGR_BY[measure])
        return row

    @functools.cached_property
    def _estimates(self) -> dict[str, list[metrics.Estimate]]:
        """Returns {measure: its value of every model and of the ceiling}."""
        measures = list(MEASURES) if has_auroc(self.test) else ["accuracy"]
        truth, group = self.test.hard_label, self.test.group
        probs = [self._predict(fits) for fits in (*self.steps, self.ceiling)]
        return {name: [MEASURES[name](p, truth, group=group) for p in probs] for name in measures}

    def gain_over(self, other: Chain) -> metrics.Estimate:
        """Returns the test accuracy of the last student minus that of another chain's.

        Both are paired by example and seed.
        """
        return metrics.difference(
            self.probs(-1), other.probs(-1), self.test.hard_label, group=self.test.group
        )

    def flow(self) -> pd.DataFrame:
        """Counts test examples by how they are answered at a step and at the next.

        An answer is `right`; or wrong as the supervisor's was, `passed on`; or wrong where the
        supervisor was right, `new`.

        Returns:
            Rows (step, before, after, examples); counts are means over seeds.
        """
        supervisor = self._right(0)
        answers = []
        for step in range(len(self.models)):
            right = self._right(step)
            answers.append(
                {"right": right, "passed on": ~right & ~supervisor, "new": ~right & supervisor}
            )
        rows = []
        for step in range(len(self.models) - 1):
            for before, at_step in answers[step].items():
                for after, at_next in answers[step + 1].items():
                    examples = float(np.mean(np.sum(at_step & at_next, axis=1)))
                    rows.append(
                        {"step": step, "before": before, "after": after, "examples": examples}
                    )
        return pd.DataFrame(rows)

    def survival(self) -> pd.DataFrame:
        """Measures which of the supervisor's mistakes each student repeats, with 95 % intervals.

        Returns:
            A row per student: `passed_on`, the share of the supervisor's mistakes that it makes
            too, and `new`, the share of the supervisor's right answers that it gets wrong.
        """
        supervisor = self._right(0)
        group = self.test.group
        rows = []
        for step in range(1, len(self.models)):
            wrong = ~self._right(step)
            row = {"arm": self.name, "step": step, "strong": self.models[step]}
            row |= metrics.share(wrong, ~supervisor, group=group).as_dict("passed_on")
            row |= metrics.share(wrong, supervisor, group=group).as_dict("new")
            rows.append(row)
        return pd.DataFrame(rows)


def run_chain(
    task: str,
    models: list[str],
    *,
    data: str = "same",
    loss: str = "xent",
    loss_args: dict | None = None,
    seeds: int | Iterable[int] = 1,
    n_train: int | None = None,
    n_val: int | None = None,
    n_test: int | None = None,
    extra_halves: int = 0,
    weak_args: dict | None = None,
    strong_args: dict | None = None,
    **fit_args,
) -> Chain:
    """Runs bootstrapping: the supervisor teaches the second model, that the third, and so on.

    Args:
        models: at least two model names. Two give direct supervision; the paper takes two sizes
            between the ends.
        data: 'same': every student is trained on the whole student half; from the second student
            on, its labels come from a model trained on these very examples. 'fresh': the half is
            cut into one part per student; each is trained on a part that no model before it has
            seen, so that all together use as many labels as direct supervision. 'further': the
            last student is trained on the student half, and each before it on a further split of
            as many examples, as in the paper.
        loss, loss_args: of every student.
        seeds, n_train, n_val, n_test, extra_halves, fit_args: as in `run_arms`.
        weak_args, strong_args: arguments, beside fit_args, of the first supervisor's `fit`, and of
            that of every other model.
    Raises:
        UnknownName, ValueError, ModelUnavailable: before anything is trained.
    Source: Burns et al. 2023, section 4.3.1; appendix A.2: in chess, as many new examples per step.
    """
    if data not in DATA:
        raise ValueError(f"data {data!r}; expected one of {', '.join(DATA)}")
    if not isinstance(models, (list, tuple)) or len(models) < 2:
        raise ValueError(
            f"models {models!r}; expected a list of at least two models, the supervisor first"
        )
    students = models[1:]
    if data == "further":
        extra_halves = max(extra_halves, len(students) - 1)
    tasks = prepare(
        task,
        models,
        losses=[loss],
        loss_args={loss: loss_args or {}},
        seeds=seeds,
        n_train=n_train,
        n_val=n_val,
        n_test=n_test,
        extra_halves=extra_halves,
    )
    refuse_own(fit_args, "run_chain", _OWN)
    supervisor_args = fit_args | args_of(weak_args, "weak_args", _OWN)
    strong_args = fit_args | args_of(strong_args, "strong_args", _OWN)
    halves_of = {dealt.seed: _deal_halves(dealt, len(students), data) for dealt in tasks}
    check_fit(models[0], tasks[0].supervisor, **supervisor_args)
    of_students = {"loss": loss, "loss_args": loss_args, **strong_args}
    for model, half in zip(students, halves_of[tasks[0].seed], strict=True):
        check_fit(model, half, weak=True, **of_students)
    check_fit(models[-1], tasks[0].student, **strong_args)
    tell_swapped(models)
    steps: list[list[Fit]] = [[] for _ in models]
    ceiling = []
    for dealt in tasks:
        halves = halves_of[dealt.seed]
        with ceiling_reads_first(models[-1], dealt.student, strong_args):
            teacher = fit(models[0], dealt.supervisor, seed=dealt.seed, **supervisor_args)
            steps[0].append(teacher)
            for step, (model, half) in enumerate(zip(students, halves, strict=True), start=1):
                teacher = fit(
                    model,
                    half,
                    teacher.label(half, training_examples=data == "same"),
                    seed=dealt.seed,
                    # On the same data, a student labels the examples that it was trained on.
                    label_training_examples=data == "same" and step < len(students),
                    **of_students,
                )
                steps[step].append(teacher)
            ceiling.append(fit(models[-1], dealt.student, seed=dealt.seed, **strong_args))
    name = "direct supervision" if len(models) == 2 else f"bootstrapped, {data} data"
    return Chain(name, list(models), tasks, steps, ceiling)


@warn_once()
def tables_of_chains(chains: Iterable[Chain], *, by_size: bool = False) -> pd.DataFrame:
    """Joins `Chain.table` of several chains of one supervisor.

    Args:
        chains: of one supervisor, on the same test examples.
        by_size: put the rows in the order of the models, as figures want them.
    Returns:
        The supervisor once, the students chain by chain, and one ceiling per last model.
    Raises:
        ValueError: no chain, or other supervisors.
    """
    chains = _of_one_supervisor(chains)
    tables = {id(chain): chain.table() for chain in chains}
    ceilings = {chain.models[-1]: tables[id(chain)].iloc[[-1]] for chain in chains}
    rows = [tables[id(chains[0])].iloc[[0]]]
    rows += [tables[id(chain)].iloc[1:-1] for chain in chains]
    table = pd.concat([*rows, *ceilings.values()], ignore_index=True)
    if not by_size:
        return table
    longest = max(chains, key=lambda chain: len(chain.models)).models
    places = {model: place for place, model in enumerate(longest)}
    return table.sort_values("strong", key=lambda names: names.map(places), kind="stable")


def survival_of_chains(chains: Iterable[Chain]) -> pd.DataFrame:
    """Joins `Chain.survival` of several chains of one supervisor: a row per chain and student.

    Raises:
        ValueError: no chain, or other supervisors.
    """
    return pd.concat([c.survival() for c in _of_one_supervisor(chains)], ignore_index=True)


def _of_one_supervisor(chains: Iterable[Chain]) -> list[Chain]:
    chains = list(chains)
    supervisors = {tuple(f.address for f in chain.steps[0]) for chain in chains}
    if len(supervisors) != 1:
        raise ValueError(
            f"{len(chains)} chains of {len(supervisors)} supervisors; expected chains of one"
        )
    return chains


def _deal_halves(task: Task, n_students: int, data: str) -> list[Split]:
    """Returns the examples that each student is trained on; see `data` in `run_chain`."""
    if data == "further":
        return [*task.extra_halves[: n_students - 1], task.student]
    if data == "fresh":
        return cut_split(task.student, n_students)
    return [task.student] * n_students
