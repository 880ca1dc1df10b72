"""The arms of an experiment, over seeds: weak supervisor, students, strong ceiling, and their table."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from .. import metrics
from ..data.load import load_task
from ..data.splits import Task
from ..labels.soft import SoftLabels
from ..losses.contract import loss_args as check_loss_args
from ..metrics import imitation, preference_bias
from ..training.answers import check_questions
from ..training.fit import fit
from ..training.result import STOPS, Fit

WEAK, CEILING = "weak supervisor", "strong ceiling"
_ON = ", on "  # between a student's loss and its labels
Labeller = Callable[[Task, Fit], SoftLabels]


def student_name(loss: str, labels: str = "") -> str:
    """Name of a student arm, in tables and figures: its loss, and its labels where they are not the supervisor's."""
    return f"student, {'naive' if loss == 'xent' else loss}" + (f"{_ON}{labels}" if labels else "")


def by_labels(table: pd.DataFrame, own: str = "supervisor's own") -> pd.DataFrame:
    """A table of arms, students only, with the label set in a column; `own` names the supervisor's labels."""
    rows = table if "arm" in table else table.reset_index()
    rows = rows[~rows.arm.isin((WEAK, CEILING))]
    cut = rows.arm.str.partition(_ON)
    return rows.assign(arm=cut[0], labels=cut[2].where(cut[2] != "", own)).reset_index(drop=True)


@dataclass(frozen=True, eq=False)
class Arms:
    """Fits of one supervisor-student pair: `fits[arm]` has one fit a seed; all are tested on the same examples.

    Attributes:
        weak, strong: model names.
        tasks: the task as each seed deals it.
        fits: {arm: [Fit of each seed]}, weak supervisor first, ceiling last.
    """

    weak: str
    strong: str
    tasks: list[Task]
    fits: dict[str, list[Fit]]

    @property
    def hard_label(self) -> np.ndarray:
        """(n_test,) ground truth of the test examples."""
        return self.tasks[0].test.hard_label

    @property
    def students(self) -> list[str]:
        return [arm for arm in self.fits if arm not in (WEAK, CEILING)]

    def with_students(self, extra_halves: dict[str, list[Fit]]) -> Arms:
        """These arms and further students, one fit a seed each, the ceiling last."""
        ceiling = {CEILING: self.fits[CEILING]}
        return replace(
            self, fits={k: v for k, v in self.fits.items() if k != CEILING} | extra_halves | ceiling
        )

    def probs(self, arm: str, *, stop: str | None = None) -> np.ndarray:
        """(seeds, n_test, 2) test predictions of an arm."""
        return np.stack([f.predict(t.test, stop=stop) for f, t in zip(self.fits[arm], self.tasks)])

    def column(self, arm: str, column: str) -> np.ndarray:
        """(seeds, n_test) a column of the predictions of an arm whose fits are `AnswerFit`."""
        return np.stack([f.column(t.test, column) for f, t in zip(self.fits[arm], self.tasks)])

    def accuracy(self, arm: str, *, stop: str | None = None) -> metrics.Estimate:
        """Test accuracy, mean over seeds."""
        return metrics.accuracy(
            self.probs(arm, stop=stop), self.hard_label, group=self.tasks[0].test.group
        )

    def pgr(self, student: str, *, stop: str | None = None) -> metrics.Estimate:
        """Performance gap recovered by a student arm; `stop` chooses the student's checkpoint only."""
        return metrics.pgr(
            self.probs(WEAK),
            self.probs(student, stop=stop),
            self.probs(CEILING),
            self.hard_label,
            group=self.tasks[0].test.group,
        )

    def agreement(self, student: str, *, on: str = "all") -> metrics.Estimate:
        """Share of test examples on which a student predicts, or answers, as its supervisor does."""
        if self.tasks[0].spec.max_answer:
            same = self.column(student, "answer") == self.column(WEAK, "answer")
            return metrics.share(
                same,
                imitation.chosen(self.probs(WEAK), self.hard_label, on),
                group=self.tasks[0].test.group,
            )
        return imitation.agreement(
            self.probs(student),
            self.probs(WEAK),
            self.hard_label,
            on=on,
            group=self.tasks[0].test.group,
        )

    def imitation(self) -> pd.DataFrame:
        """A row a student: PGR, and what it takes over from its supervisor, each with the ends of its 95 % interval.

        agreement with the supervisor, and cross_entropy towards its answers, on all examples, on its mistakes and on
        its correct answers; misfit and the gain it predicts; similarity and error_consistency. See `w2s_nb.imitation`.
        """
        self.tasks[0].test.need_classes("imitation beyond agreement")
        rows, weak, truth, group = [], self.probs(WEAK), self.hard_label, self.tasks[0].test.group
        for arm in self.students:
            student, row = (
                self.probs(arm),
                {
                    "arm": arm,
                    "weak": self.weak,
                    "strong": self.strong,
                    "seeds": len(self.tasks),
                    **self.pgr(arm).as_dict("pgr"),
                },
            )
            for measure in (imitation.agreement, imitation.cross_entropy):
                for on in imitation.ON:
                    found = measure(student, weak, truth, on=on, group=group)
                    row |= found.as_dict(f"{measure.__name__}_{on}")
            row |= imitation.misfit(student, weak, group=group).as_dict("misfit")
            row |= imitation.gain(student, weak, truth, group=group).as_dict("gain")
            row |= imitation.similarity(student, weak, truth, group=group).as_dict("similarity")
            row |= imitation.similarity(student, weak, truth, hard=True, group=group).as_dict(
                "error_consistency"
            )
            rows.append(row)
        return pd.DataFrame(rows)

    def length_bias(self) -> pd.DataFrame:
        """A row an arm, of comparisons: how often it prefers the longer text, how much oftener than that is the better,
        and that bias minus the ceiling's, each with the ends of its 95 % interval. See `w2s_nb.biases`."""
        rows, test = [], self.tasks[0].test
        for arm in self.fits:
            probs, of = self.probs(arm), dict(longer=test.longer, group=test.group)
            rows.append(
                {
                    "arm": arm,
                    **preference_bias.prefers_longer(probs, **of).as_dict("prefers_longer"),
                    **preference_bias.length_bias(probs, self.hard_label, **of).as_dict(
                        "length_bias"
                    ),
                    **preference_bias.length_bias_change(probs, self.probs(CEILING), **of).as_dict(
                        "over_ceiling"
                    ),
                }
            )
        return pd.DataFrame(rows)

    def stops(self) -> pd.DataFrame:
        """A row a student and stopping rule: test accuracy and PGR with intervals (section 5.1.1)."""
        return pd.DataFrame(
            [
                {
                    "arm": arm,
                    "stop": stop,
                    "seeds": len(self.tasks),
                    **self.accuracy(arm, stop=stop).as_dict("accuracy"),
                    **self.pgr(arm, stop=stop).as_dict("pgr"),
                }
                for arm in self.students
                for stop in STOPS
            ]
        )

    def gain_over(self, arm: str, other: str, *, of: Arms | None = None) -> metrics.Estimate:
        """Test accuracy of one arm minus that of another, paired by example and seed; `of` has the other arm if these
        do not."""
        return metrics.difference(
            self.probs(arm),
            (of or self).probs(other),
            self.hard_label,
            group=self.tasks[0].test.group,
        )

    def pgr_over(self, other: Arms, student: str, *, stop: str | None = None) -> metrics.Estimate:
        """PGR of a student arm here minus that of the same arm in `other`, paired by example and seed."""
        return metrics.pgr_difference(
            *(
                [arms.probs(WEAK), arms.probs(student, stop=stop), arms.probs(CEILING)]
                for arms in (self, other)
            ),
            self.hard_label,
            group=self.tasks[0].test.group,
        )

    def label_accuracy(self, student: str) -> float:
        """Accuracy of the labels that a student was trained on, mean over seeds; NaN where it was given none."""
        return float(
            np.mean(
                [f.record["summary"]["label_accuracy"] for f in self.fits[student]], dtype=float
            )
        )

    def table(self) -> pd.DataFrame:
        """A row an arm: accuracy, and for students PGR and agreement, each with the ends of its 95 % interval."""
        rows = []
        for arm in self.fits:
            row = {
                "arm": arm,
                "model": self.weak if arm == WEAK else self.strong,
                "seeds": len(self.tasks),
                "n_train": round(np.mean([len(f.record["trained_on"]) for f in self.fits[arm]])),
                "n_test": len(self.hard_label),
                **self.accuracy(arm).as_dict("accuracy"),
            }
            if arm in self.students:
                row |= self.pgr(arm).as_dict("pgr") | self.agreement(arm).as_dict("agreement")
            rows.append(row)
        return pd.DataFrame(rows).set_index("arm")

    def by_seed(self) -> pd.DataFrame:
        """A row an arm and seed: test accuracy, and PGR within the seed (NaN where its ceiling is not higher)."""
        scores = {
            arm: metrics.correct(self.probs(arm), self.hard_label).mean(axis=1) for arm in self.fits
        }
        gap = scores[CEILING] - scores[WEAK]
        with np.errstate(divide="ignore", invalid="ignore"):
            return pd.DataFrame(
                [
                    {
                        "weak": self.weak,
                        "strong": self.strong,
                        "arm": arm,
                        "seed": task.seed,
                        "accuracy": scores[arm][i],
                        "pgr": (scores[arm] - scores[WEAK])[i] / gap[i]
                        if arm in self.students and gap[i] > 0
                        else np.nan,
                    }
                    for arm in self.fits
                    for i, task in enumerate(self.tasks)
                ]
            )


Model = (
    str | Callable[[Task], str]
)  # a name, or what names one for each seed's task, such as `Tuned`


def run_arms(
    task: str,
    weak: Model,
    strong: Model,
    *,
    losses: Iterable[str] = ("xent",),
    loss_args: dict | None = None,
    seeds: int | Iterable[int] = 1,
    n_train: int | None = None,
    n_val: int | None = None,
    n_test: int | None = None,
    extra_halves: int = 0,
    labels: dict[str, Labeller] | None = None,
    variant: Callable[[Task, Fit], Task] | None = None,
    weak_args: dict | None = None,
    student_args: dict | None = None,
    **fit_args,
) -> Arms:
    """The three steps of weak-to-strong learning for each seed (Burns et al. 2023, section 3).

    The supervisor is trained on ground truth of its half; its labels for the student half train a student a loss; the
    ceiling is trained on ground truth of the same student half. Fits that the store holds are not trained again.

    Args:
        task, losses: registered names.
        weak, strong: models by name, or task -> name.
        loss_args: {loss: its keyword arguments}.
        seeds: how many (0, 1, ...), or which.
        n_train, n_val, n_test, further: as in `load_task`; the supervisor labels further splits too, for chains.
        labels: further label sets {name: (task, supervisor) -> SoftLabels} of the student half; a student a loss and
            set, trained on the examples that the set labels.
        variant: (task, supervisor) -> the task that student and ceiling are given instead, row by row the same
            examples, such as `variants.with_opinion`.
        weak_args, student_args: of the supervisor's and of the students' `fit` beside fit_args, such as
            {"features": 30} or {"evals": 8}.
        fit_args: passed to every `fit`, such as method, epochs, lr.
    """
    if isinstance(losses, str):
        raise TypeError(f"losses = {losses!r}; expected several names, such as ({losses!r},)")
    losses, loss_args = list(dict.fromkeys(losses)), loss_args or {}
    for loss in (*losses, *loss_args):
        check_loss_args(loss, loss_args.get(loss))
    chosen = list(range(seeds)) if isinstance(seeds, int) else list(dict.fromkeys(seeds))
    tasks = [
        load_task(
            task, seed=s, n_train=n_train, n_val=n_val, n_test=n_test, extra_halves=extra_halves
        )
        for s in chosen
    ]
    labellers: dict[str, Labeller] = {"": lambda t, supervisor: supervisor.label(t.student)} | (
        labels or {}
    )
    for model in (weak, strong):
        if isinstance(model, str):
            check_questions(model, tasks[0])
    fits: dict[str, list[Fit]] = {
        arm: []
        for arm in (
            WEAK,
            *(student_name(loss, name) for name in labellers for loss in losses),
            CEILING,
        )
    }
    for i, t in enumerate(tasks):
        strong_name, weak_name = (m if isinstance(m, str) else m(t) for m in (strong, weak))
        if variant is None:  # the deepest model first: its activations serve the shallower ones
            fit(strong_name, t.student, seed=t.seed, **fit_args)
        supervisor = fit(weak_name, t.supervisor, seed=t.seed, **fit_args | (weak_args or {}))
        if variant is not None:
            tasks[i] = variant(t, supervisor)
            supervisor, t = supervisor.with_ids_of(t, tasks[i]), tasks[i]
        fits[CEILING].append(fit(strong_name, t.student, seed=t.seed, **fit_args))
        fits[WEAK].append(supervisor)
        for name, labeller in labellers.items():
            found = labeller(t, supervisor)
            labelled = t.student.take(found.knows(t.student))
            for loss in losses:
                fits[student_name(loss, name)].append(
                    fit(
                        strong_name,
                        labelled,
                        found,
                        loss=loss,
                        seed=t.seed,
                        loss_args=loss_args.get(loss),
                        **fit_args | (student_args or {}),
                    )
                )
    return Arms(str(weak), str(strong), tasks, fits)


def pgr(
    weak: Fit | list[Fit], student: Fit | list[Fit], ceiling: Fit | list[Fit], test
) -> metrics.Estimate:
    """Performance gap recovered on a test split, from one fit an arm or one a seed; see `metrics.pgr`."""

    def probs(arm):
        return np.stack([f.predict(test) for f in (arm if isinstance(arm, list) else [arm])])

    return metrics.pgr(
        probs(weak), probs(student), probs(ceiling), test.hard_label, group=test.group
    )


def table_of(many: Iterable[Arms]) -> pd.DataFrame:
    """`Arms.table` of several pairs in one, a row a pair and arm."""
    return pd.concat(
        [arms.table().reset_index().assign(weak=arms.weak, strong=arms.strong) for arms in many],
        ignore_index=True,
    )


def by_seed_of(many: Iterable[Arms]) -> pd.DataFrame:
    """`Arms.by_seed` of several pairs in one."""
    return pd.concat([arms.by_seed() for arms in many], ignore_index=True)


def tables_by(many: dict[str, Arms], column: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """`Arms.table` and `Arms.by_seed` of several experiments, each named in a column."""
    return tuple(
        pd.concat(
            [made(arms).assign(**{column: name}) for name, arms in many.items()], ignore_index=True
        )
        for made in (lambda arms: arms.table().reset_index(), Arms.by_seed)
    )
