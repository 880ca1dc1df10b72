"""Recipes over the verbs: chains of students, and labels whose errors have a known structure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from .. import metrics
from ..data.load import load_task
from ..data.splits import Split, Task
from ..losses.contract import loss_args as check_loss_args
from ..models.loading import ensure
from ..models.names import resolve
from ..training.answers import check_questions
from ..training.fit import fit
from ..training.result import Fit
from .arms import CEILING, WEAK

DATA = ("same", "fresh", "further")


def parts_of(split: Split, k: int) -> list[Split]:
    """A split cut into k parts of near-equal size, its groups whole, in the order in which they first appear."""
    first: dict[int, int] = {}
    for row, group in enumerate(split.group.tolist()):
        first.setdefault(group, row)
    order = np.argsort([first[g] for g in split.group.tolist()], kind="stable")
    sizes = (
        np.cumsum([np.sum(split.group == g) for g in first]) - 1
    )  # of the groups up to each, its last row
    part = {g: int(end * k / len(split)) for g, end in zip(first, sizes)}
    where = np.array([part[g] for g in split.group[order].tolist()])
    parts = [split.take(order[where == i]) for i in range(k)]
    if min(map(len, parts)) < 2:
        raise ValueError(
            f"{len(split)} examples in {len(first)} groups cannot be cut into {k} parts of at least 2"
        )
    return parts


@dataclass(frozen=True, eq=False)
class Chain:
    """Models each taught by the one before.

    Attributes:
        name: of the chain, in tables and figures.
        models: model names; the first is trained on ground truth.
        tasks: the task as each seed deals it.
        steps: `steps[k][i]` is the fit of `models[k]` at seed i.
        ceiling: fits of the last model on ground truth of the student half, one a seed.
    """

    name: str
    models: list[str]
    tasks: list[Task]
    steps: list[list[Fit]]
    ceiling: list[Fit]

    def probs(self, step: int) -> np.ndarray:
        """(seeds, n_test, 2) test predictions after a step; 0 is the supervisor, -1 the last student."""
        return np.stack([f.predict(t.test) for f, t in zip(self.steps[step], self.tasks)])

    @property
    def test(self) -> Split:
        return self.tasks[0].test

    def table(self) -> pd.DataFrame:
        """A row a model: accuracy of its labels and on test, and of students PGR between supervisor and ceiling."""
        rows, weak = [], self.probs(0)
        ceiling = np.stack([f.predict(t.test) for f, t in zip(self.ceiling, self.tasks)])
        for step, model in enumerate(self.models):
            probs = self.probs(step)
            row = {
                "arm": self.name if step else WEAK,
                "strong": model,
                "step": step,
                "seeds": len(self.tasks),
                "n_train": len(self.steps[step][0].record["trained_on"]),
                "label_accuracy": float(
                    np.mean([f.record["summary"]["label_accuracy"] for f in self.steps[step]])
                ),
                **metrics.accuracy(probs, self.test.hard_label, group=self.test.group).as_dict(
                    "accuracy"
                ),
            }
            if step:
                row |= metrics.pgr(
                    weak, probs, ceiling, self.test.hard_label, group=self.test.group
                ).as_dict("pgr")
            rows.append(row)
        top = metrics.accuracy(ceiling, self.test.hard_label, group=self.test.group).as_dict(
            "accuracy"
        )
        rows.append({"arm": CEILING, "strong": self.models[-1], "seeds": len(self.tasks), **top})
        return pd.DataFrame(rows)

    def gain_over(self, other: Chain) -> metrics.Estimate:
        """Test accuracy of this chain's last student minus that of another chain's, paired by example and seed."""
        return metrics.difference(
            self.probs(-1), other.probs(-1), self.test.hard_label, group=self.test.group
        )

    def flow(self) -> pd.DataFrame:
        """Rows (step, before, after, examples): test examples by how they are answered at a step and the next.

        An answer is `right`; or wrong as the supervisor's was, `passed on`; or wrong where the supervisor was right,
        `new`. Counts are means over seeds.
        """
        right = [
            metrics.correct(self.probs(step), self.test.hard_label)
            for step in range(len(self.models))
        ]
        sides = [{"right": r, "passed on": ~r & ~right[0], "new": ~r & right[0]} for r in right]
        return pd.DataFrame(
            [
                {
                    "step": step,
                    "before": before,
                    "after": after,
                    "examples": float(
                        np.mean(np.sum(sides[step][before] & sides[step + 1][after], axis=1))
                    ),
                }
                for step in range(len(self.models) - 1)
                for before in sides[0]
                for after in sides[0]
            ]
        )

    def survival(self) -> pd.DataFrame:
        """A row a student: `passed_on`, the share of the supervisor's mistakes that it makes too, and `new`, the share
        of the supervisor's right answers that it gets wrong; with intervals."""
        supervisor = metrics.correct(self.probs(0), self.test.hard_label)
        rows = []
        for step in range(1, len(self.models)):
            wrong = ~metrics.correct(self.probs(step), self.test.hard_label)
            row = {"arm": self.name, "step": step, "strong": self.models[step]}
            for name, chosen in (("passed_on", ~supervisor), ("new", supervisor)):
                row |= metrics.share(wrong, chosen, group=self.test.group).as_dict(name)
            rows.append(row)
        return pd.DataFrame(rows)


def run_chain(
    task: str,
    models: list[str],
    *,
    data: str = "same",
    loss: str = "xent",
    loss_args: dict | None = None,
    seeds: int = 1,
    n_train: int | None = None,
    n_val: int | None = None,
    n_test: int | None = None,
    extra_halves: int = 0,
    **fit_args,
) -> Chain:
    """Bootstrapping: the supervisor labels for the second model, that for the third, up to the last.

    Args:
        models: at least two model names. Two give direct supervision; the paper takes two sizes between the ends.
        data: 'same': every student is trained on the whole student half, whose labels come from a model trained on
            these very examples from the second student on; 'fresh': the half is cut into as many parts as there are
            students, each trained on one that no model before it has seen. Labels used in all are as many as in direct
            supervision. 'further': the last student is trained on the student half, and each before it on a further
            split of as many examples, as in the paper.
        loss, loss_args: of every student.
        seeds, n_train, n_val, n_test, further, fit_args: as in `run_arms`.
    Source: Burns et al. 2023, section 4.3.1; appendix A.2: in chess, as many new examples at every step.
    """
    if data not in DATA:
        raise ValueError(f"data {data!r}; expected one of {', '.join(DATA)}")
    if isinstance(models, str) or len(models) < 2:
        raise ValueError(
            f"models {models!r}; expected a list of at least two models, the supervisor first"
        )
    if isinstance(seeds, bool) or not isinstance(seeds, int) or seeds < 1:
        raise ValueError(f"seeds = {seeds!r}; expected a whole number from 1")
    check_loss_args(loss, loss_args)
    for checkpoint in [resolve(model) for model in models]:
        ensure(checkpoint)
    extra_halves = max(extra_halves, len(models) - 2 if data == "further" else 0)
    tasks = [
        load_task(
            task, seed=s, n_train=n_train, n_val=n_val, n_test=n_test, extra_halves=extra_halves
        )
        for s in range(seeds)
    ]
    for model in models:
        check_questions(model, tasks[0])
    steps: list[list[Fit]] = [[] for _ in models]
    ceiling = []
    for t in tasks:
        ceiling.append(
            fit(models[-1], t.student, seed=t.seed, **fit_args)
        )  # the deepest model's activations first
        steps[0].append(fit(models[0], t.supervisor, seed=t.seed, **fit_args))
        if data == "further":
            halves = [*t.extra_halves[: len(models) - 2], t.student]
        else:
            halves = (
                parts_of(t.student, len(models) - 1)
                if data == "fresh"
                else [t.student] * (len(models) - 1)
            )
        for step, (model, half) in enumerate(zip(models[1:], halves), start=1):
            labels = steps[step - 1][-1].label(half, training_examples=data == "same")
            steps[step].append(
                fit(
                    model,
                    half,
                    labels,
                    loss=loss,
                    loss_args=loss_args,
                    seed=t.seed,
                    label_training_examples=data == "same" and step < len(models) - 1,
                    **fit_args,
                )
            )
    name = "direct supervision" if len(models) == 2 else f"bootstrapped, {data} data"
    return Chain(name, list(models), tasks, steps, ceiling)
