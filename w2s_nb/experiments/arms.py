"""Runs weak-to-strong learning over seeds: supervisor, students, ceiling, and their table."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import cast

import numpy as np
import pandas as pd

from .. import metrics
from ..common.progress import collect_warnings, warn_once
from ..common.registry import UnknownName
from ..data.classes import likeliest
from ..data.report import footnote
from ..data.splits import Split, Task
from ..labels.answers import Answers
from ..labels.soft import SoftLabels
from ..metrics import imitation, preference_bias, shift
from ..metrics.gap import check_measure, pgr_of
from ..metrics.readable import readable
from ..training.fit_many import FitArgs
from ..training.result import STOPS, AnswerFit, Fit, need_fit, task_of
from . import advice
from .elsewhere import load_elsewhere
from .plans import Plan, Round, carry_out, join
from .prepare import (
    Model,
    args_of,
    ceiling_reads_first,
    check_against_task,
    check_fit_of,
    list_losses,
    name_of,
    need_function,
    prepare,
    refuse_own,
    tell_swapped,
)
from .stress import NONE, Stress

NOT_DEFINED = metrics.Estimate(np.nan, np.nan, np.nan, 0)
WEAK = "weak supervisor"
CEILING = "strong ceiling"
PGR_BY = {"accuracy": "pgr", "auroc": "pgr_auroc"}  # columns of tables
MANY_CLASSES = 20  # of more, AUROC takes too long for a table
_ON = ", on "  # between a student's loss and its labels

# Labels for the student half, made from a task and its supervisor.
Labeller = Callable[[Task, Fit], SoftLabels]
# arguments of `fit` that run_arms gives each fit, and its own argument that decides them
_OWN_OF_SUPERVISOR = {
    "model": "weak",
    "split": "task",
    "labels": "labels={name: labeller}",
    "seed": "seeds=",
    "also": "elsewhere=[names of tasks]",
}
_OWN = _OWN_OF_SUPERVISOR | {
    "model": "strong",
    "loss": "losses=",
    "loss_args": "loss_args={loss: its arguments}",
}


def student_name(loss: str, labels: str = "") -> str:
    """Returns a student arm's name in tables and figures: its loss, and the set of its labels.

    Args:
        labels: name of the label set; "" for the supervisor's own labels, which are not named.
    """
    name = f"student, {'naive' if loss == 'xent' else loss}"
    return f"{name}{_ON}{labels}" if labels else name


def stop_of(fits: Iterable[Fit]) -> str:
    """Returns the rule that chose the checkpoint of an arm's fits; all of them, if seeds differ."""
    return ", ".join(dict.fromkeys(one_fit.stop for one_fit in fits))


def by_labels(table: pd.DataFrame, own: str = "supervisor's own") -> pd.DataFrame:
    """Returns the students' rows of a table of arms, with the label set in a column of its own.

    Args:
        table: `Arms.table` or `Arms.by_seed`.
        own: what the supervisor's labels are called in that column.
    """
    rows = table if "arm" in table else table.reset_index()
    rows = rows[~rows.arm.isin((WEAK, CEILING))]
    cut = rows.arm.str.partition(_ON)
    labels = cut[2].where(cut[2] != "", own)
    return rows.assign(arm=cut[0], labels=labels).reset_index(drop=True)


def has_auroc(test: Split) -> bool:
    """Tells whether tables have AUROC: not of generated answers, nor of many classes."""
    return not test.answers and test.n_classes <= MANY_CLASSES


@dataclass(frozen=True, eq=False)
class Arms:
    """Fits of one supervisor-student pair: `fits[arm]` has one fit per seed.

    All arms are tested on the same examples.

    Attributes:
        weak, strong: model names.
        tasks: the task as each seed deals it.
        fits: {arm: [Fit of each seed]}, weak supervisor first, ceiling last.
        tests_elsewhere: {name of another task: its test split}, which the fits predict too.
    """

    weak: str
    strong: str
    tasks: list[Task]
    fits: dict[str, list[Fit]]
    tests_elsewhere: dict[str, Split] = field(default_factory=dict)

    def __repr__(self) -> str:
        names = list(self.fits)
        if len(names) > 8:
            names[7:-1] = [f"{len(names) - 8} more students"]
        seeds = ", ".join(str(task.seed) for task in self.tasks)
        return (
            f"Arms: {self.weak} teaches {self.strong}, {self.tasks[0].name}, seeds {seeds}, "
            f"{len(self.test)} test examples\n  " + "; ".join(names)
        )

    def _repr_html_(self) -> str:
        with collect_warnings():  # a PGR that is not defined stays empty
            table = readable(self.table())._repr_html_()
        task = self.tasks[0]
        return table + footnote(task.counts, task.name)

    @property
    def test(self) -> Split:
        """Returns the test examples, the same for every arm and seed."""
        return self.tasks[0].test

    @property
    def elsewhere(self) -> list[str]:
        """Returns the names of the other tasks that `on` takes."""
        return list(self.tests_elsewhere)

    def on(self, name: str) -> Arms:
        """Returns the same arms, tested on the test examples of another task.

        Its tables, measures and figures are those of any arms; training splits and validation stay
        those of the task trained on. The oracle's checkpoint has no predictions there. Arms that
        were not asked about these examples, such as prompts, are left out.

        Args:
            name: one of `elsewhere`.
        Raises:
            UnknownName: another task; lists what exists.
        """
        if name not in self.tests_elsewhere:
            raise UnknownName("task elsewhere", str(name), self.elsewhere)
        test = self.tests_elsewhere[name]
        there = task_of(test)
        tasks = [
            replace(task, name=name, spec=there.spec, counts=there.counts, test=test)
            for task in self.tasks
        ]
        asked = {
            arm: fits
            for arm, fits in self.fits.items()
            if all(one_fit.has("last", test) for one_fit in fits)
        }
        return replace(self, tasks=tasks, fits=asked, tests_elsewhere={})

    @property
    def hard_label(self) -> np.ndarray:
        """Returns (n_test,) ground truth of the test examples."""
        return self.test.hard_label

    @property
    def answered(self) -> bool:
        """Tells whether the task is answered by generating; its fits are then `AnswerFit`."""
        return bool(self.test.answers)

    @property
    def students(self) -> list[str]:
        """Returns the names of the student arms."""
        return [arm for arm in self.fits if arm not in (WEAK, CEILING)]

    def fits_of(self, arm: str) -> list[Fit]:
        """Returns the fits of an arm, one per seed.

        Raises:
            UnknownName: no such arm; lists what exists.
        """
        if arm not in self.fits:
            raise UnknownName("arm", str(arm), self.fits)
        return self.fits[arm]

    def with_students(self, students: dict[str, list[Fit]]) -> Arms:
        """Returns a copy with further student arms, one fit per seed each; the ceiling is last.

        Raises:
            TypeError, ValueError: anything but {arm: list of a fit per seed}.
        """
        for arm, given in students.items():
            if not isinstance(given, (list, tuple)):
                raise TypeError(f"arm {arm!r} is a {type(given).__name__}; expected a list of fits")
            if len(given) != len(self.tasks):
                raise ValueError(
                    f"arm {arm!r} has {len(given)} fits; expected one per seed, {len(self.tasks)}"
                )
        fits = self.fits | students
        fits[CEILING] = fits.pop(CEILING)
        return replace(self, fits=fits)

    def join(self, other: Arms) -> Arms:
        """Returns these arms and the students of another experiment that they lack.

        Args:
            other: of the same task, pair of models and seeds, with the same supervisor and ceiling.
        Raises:
            ValueError: of other models, examples or seeds, so that PGRs would not compare.
        """
        for arm in (WEAK, CEILING):
            ours, theirs = ([f.address for f in arms.fits_of(arm)] for arms in (self, other))
            if ours != theirs:
                raise ValueError(
                    f"the {arm} of the two experiments is not the same; expected one task, pair of "
                    f"models, method and seeds: {self} and {other}"
                )
        new = {arm: fits for arm, fits in other.fits.items() if arm not in self.fits}
        return self.with_students(new)

    def probs(self, arm: str, *, stop: str | None = None) -> np.ndarray:
        """Returns (seeds, n_test, K) test predictions, at the fits' or another checkpoint."""
        pairs = zip(self.fits_of(arm), self.tasks, strict=True)
        return np.stack([f.predict(t.test, stop=stop) for f, t in pairs])

    def column(self, arm: str, column: str) -> np.ndarray:
        """Returns (seeds, n_test) a column of the predictions of an arm of `AnswerFit`.

        Raises:
            ValueError: the task has classes, and its predictions no such columns.
        """
        if not self.answered:
            raise ValueError(
                f"column {column!r} is of generated answers; {self.tasks[0].name} has classes"
            )
        pairs = zip(self.fits_of(arm), self.tasks, strict=True)
        return np.stack([cast(AnswerFit, f).column(t.test, column) for f, t in pairs])

    def accuracy(self, arm: str, *, stop: str | None = None) -> metrics.Estimate:
        """Returns the test accuracy of an arm, mean over seeds."""
        return metrics.accuracy(self.probs(arm, stop=stop), self.hard_label, group=self.test.group)

    def auroc(self, arm: str, *, stop: str | None = None) -> metrics.Estimate:
        """Returns the area under an arm's ROC curve on the test examples, mean over seeds.

        Raises:
            ValueError: the task is answered by generating.
        """
        self.test.need_classes("AUROC")
        if (arm, stop) not in self._aurocs:  # it takes longer than accuracy, and PGR needs it again
            self._aurocs[arm, stop] = metrics.auroc(
                self.probs(arm, stop=stop), self.hard_label, group=self.test.group
            )
        return self._aurocs[arm, stop]

    @functools.cached_property
    def _aurocs(self) -> dict[tuple[str, str | None], metrics.Estimate]:
        """Holds the areas that were computed, {(arm, stop): area}."""
        return {}

    def pgr(
        self, student: str, *, stop: str | None = None, measure: str = "accuracy"
    ) -> metrics.Estimate:
        """Returns the performance gap recovered by a student arm.

        Args:
            stop: the student's checkpoint; supervisor and ceiling stay at theirs.
            measure: 'accuracy' or 'auroc', by which the gap is measured.
        """
        check_measure(measure)
        of_arm = self.auroc if measure == "auroc" else self.accuracy
        return pgr_of(
            of_arm(WEAK),
            of_arm(student, stop=stop),
            of_arm(CEILING),
            chance=self.test.chance,
            measure=measure,
            pair=f"{self.weak} teaches {self.strong}",
        )

    def agreement(self, student: str, *, on: str = "all") -> metrics.Estimate:
        """Returns the share of test examples on which a student agrees with its supervisor.

        They agree where both predict one class or, if the task is answered by generating, where
        both give one answer.

        Args:
            on: 'all' examples, or the supervisor's 'mistakes' or its 'correct' answers.
        """
        weak = self.probs(WEAK)
        if self.answered:
            same = self.column(student, "answer") == self.column(WEAK, "answer")
            chosen = imitation.chosen(weak, self.hard_label, on)
            return metrics.share(same, chosen, group=self.test.group)
        return imitation.agreement(
            self.probs(student), weak, self.hard_label, on=on, group=self.test.group
        )

    def agreements(self) -> pd.DataFrame:
        """Measures how often each student agrees with its supervisor, with 95 % intervals.

        Returns:
            A row per student and kind of test examples: arm; on, one of `metrics.imitation.ON`;
            value, low, high: what `plots.agreement` draws.
        """
        rows = []
        for arm in self.students:
            for on in imitation.ON:
                found = self.agreement(arm, on=on)
                ends = {"value": found.value, "low": found.low, "high": found.high}
                rows.append({"arm": arm, "on": on, **ends})
        return pd.DataFrame(rows)

    def agreement_change(
        self, student: str, other: str, *, others: Arms | None = None, on: str = "all"
    ) -> metrics.Estimate:
        """Returns a student's agreement with the supervisor minus that of another student.

        Both are paired by example and seed.

        Args:
            others: the experiment that has the student `other`; None takes this one.
            on: 'all' examples, or the supervisor's 'mistakes' or its 'correct' answers.
        """
        return imitation.agreement_change(
            (others or self).probs(other),
            self.probs(student),
            self.probs(WEAK),
            self.hard_label,
            on=on,
            group=self.test.group,
        )

    @warn_once()
    def imitation(self) -> pd.DataFrame:
        """Measures what each student takes over from its supervisor, with 95 % intervals.

        Returns:
            A row per student: PGR by accuracy and AUROC; agreement with the supervisor, and
            cross_entropy towards its answers, on all examples, on its mistakes and on its correct
            answers; misfit and the gain it predicts; similarity and error_consistency. See
            `metrics.imitation`.
        """
        self.test.need_classes("imitation beyond agreement")
        return pd.DataFrame([self._imitation_row(arm) for arm in self.students])

    def _imitation_row(self, arm: str) -> dict:
        student = self.probs(arm)
        weak = self.probs(WEAK)
        truth = self.hard_label
        group = self.test.group
        row = {"arm": arm, "weak": self.weak, "strong": self.strong, "seeds": len(self.tasks)}
        row |= self._pgr_by_both(arm)
        for measure in (imitation.agreement, imitation.cross_entropy):
            for on in imitation.ON:
                estimate = measure(student, weak, truth, on=on, group=group)
                row |= estimate.as_dict(f"{measure.__name__}_{on}")
        row |= imitation.misfit(student, weak, group=group).as_dict("misfit")
        row |= imitation.gain(student, weak, truth, group=group).as_dict("gain")
        soft = imitation.similarity(student, weak, truth, group=group)
        hard = imitation.similarity(student, weak, truth, hard=True, group=group)
        return row | soft.as_dict("similarity") | hard.as_dict("error_consistency")

    def length_bias(self) -> pd.DataFrame:
        """Measures on comparisons how far each arm prefers the longer text, with 95 % intervals.

        Returns:
            A row per arm: prefers_longer, how often the arm prefers the longer text; length_bias,
            that minus how often the longer text is the better one; over_ceiling, length_bias
            minus the ceiling's. See `metrics.preference_bias`.
        """
        texts = {"longer": self.test.longer, "group": self.test.group}
        ceiling = self.probs(CEILING)
        rows = []
        for arm in self.fits:
            probs = self.probs(arm)
            longer = preference_bias.prefers_longer(probs, **texts)
            bias = preference_bias.length_bias(probs, self.hard_label, **texts)
            change = preference_bias.length_bias_change(probs, ceiling, **texts)
            rows.append(
                {
                    "arm": arm,
                    **longer.as_dict("prefers_longer"),
                    **bias.as_dict("length_bias"),
                    **change.as_dict("over_ceiling"),
                }
            )
        return pd.DataFrame(rows)

    @warn_once()
    def stops(self) -> pd.DataFrame:
        """Returns a row per student and stopping rule: test accuracy and AUROC, and PGR by both
        (section 5.1.1).

        A rule that one of its fits lacks has no row (see `Fit.stops`).
        """
        rows = []
        for arm, fits in self.fits.items():
            if arm in (WEAK, CEILING):
                continue
            for stop in STOPS:
                if not all(one_fit.has(stop, self.test) for one_fit in fits):
                    continue
                row = {"arm": arm, "stop": stop, "seeds": len(self.tasks)}
                rows.append(row | self.measures(arm, stop=stop))
        return pd.DataFrame(rows)

    def gain_over(self, arm: str, other: str, *, others: Arms | None = None) -> metrics.Estimate:
        """Returns the test accuracy of one arm minus that of another, paired by example and seed.

        Args:
            others: the experiment that has the arm `other`; None takes this one.
        """
        return metrics.difference(
            self.probs(arm),
            (others or self).probs(other),
            self.hard_label,
            group=self.test.group,
        )

    def gains_over(self, other: str) -> pd.DataFrame:
        """Measures the accuracy of each student minus that of one of them, paired.

        Returns:
            A row per other student: arm; gain, with its 95 % interval.
        Raises:
            UnknownName: no such arm.
        """
        self.fits_of(other)
        rows = []
        for arm in self.students:
            if arm != other:
                rows.append({"arm": arm, **self.gain_over(arm, other).as_dict("gain")})
        return pd.DataFrame(rows, columns=["arm", "gain", "gain_low", "gain_high"])

    def pgr_over(
        self,
        other: Arms,
        student: str,
        *,
        stop: str | None = None,
        other_stop: str | None = None,
        measure: str = "accuracy",
    ) -> metrics.Estimate:
        """Returns the PGR of a student arm minus that of the same arm in `other`, paired.

        Args:
            stop, measure: as in `pgr`.
            other_stop: the checkpoint in `other`; None takes the same stop.
        """
        stops = (stop, other_stop or stop)
        ours, theirs = (
            [arms.probs(WEAK), arms.probs(student, stop=chosen), arms.probs(CEILING)]
            for arms, chosen in zip((self, other), stops, strict=True)
        )
        return metrics.pgr_difference(
            ours,
            theirs,
            self.hard_label,
            group=self.test.group,
            chance=self.test.chance,
            measure=measure,
        )

    def label_accuracy(self, student: str) -> float:
        """Returns the accuracy of an arm's training labels, mean over seeds; NaN without labels."""
        accuracies = [f.record["summary"]["label_accuracy"] for f in self.fits_of(student)]
        return float(np.mean(accuracies, dtype=float))

    @warn_once()
    def table(self) -> pd.DataFrame:
        """Returns a row per arm: accuracy and AUROC, students' PGR by both and agreement with the
        supervisor, with 95 % intervals.

        Answers that are generated have no AUROC, and that of more than 20 classes takes too long
        for a table: both have no columns auroc and pgr_auroc. The column stop is the rule that
        chose the arm's checkpoint (see `fit`); `attrs["chance"]` is the accuracy of guessing, which
        figures draw. Warns of arms at chance and of trainings that failed or were too short, with
        what to change.
        """
        rows = []
        for arm, fits in self.fits.items():
            row = {
                "arm": arm,
                "model": self.weak if arm == WEAK else self.strong,
                "stop": stop_of(fits),
                "seeds": len(self.tasks),
                "n_train": round(np.mean([len(f.record["trained_on"]) for f in fits])),
                "n_test": len(self.test),
                **self.measures(arm),
            }
            if arm in self.students:
                row |= self.agreement(arm).as_dict("agreement")
            rows.append(row)
        advice.tell(self.fits, CEILING, self.test)
        table = pd.DataFrame(rows).set_index("arm")
        table.attrs["chance"] = self.test.chance
        return table

    def measures(self, arm: str, *, stop: str | None = None) -> dict:
        """Returns the columns of a table's row with an arm's accuracy and AUROC and, of a student,
        its PGR by both, each with its interval.

        Args:
            stop: the arm's checkpoint; PGR keeps supervisor and ceiling at theirs.
        """
        row = self.accuracy(arm, stop=stop).as_dict("accuracy")
        if has_auroc(self.test):
            row |= self.auroc(arm, stop=stop).as_dict("auroc")
        if arm not in self.students:
            return row | NOT_DEFINED.as_dict("pgr")
        return row | self._pgr_by_both(arm, stop)

    def _pgr_by_both(self, student: str, stop: str | None = None) -> dict:
        """Returns the columns with a student's PGR by accuracy and, if tables have it, by AUROC."""
        row = self.pgr(student, stop=stop).as_dict("pgr")
        if has_auroc(self.test):
            with collect_warnings():  # PGR by accuracy has said what is held against the arms
                row |= self.pgr(student, stop=stop, measure="auroc").as_dict("pgr_auroc")
        return row

    @warn_once()
    def table_elsewhere(self) -> pd.DataFrame:
        """Returns a row per arm and test split: the task's own first, then those of `elsewhere`.

        Arms have no row where they were not asked; see `on`.

        Returns:
            columns tested_on, arm, n_test, accuracy and AUROC, students' PGR by both; and, of other
            tasks, accuracy_change, auroc_change, pgr_change and pgr_auroc_change: the value there
            minus that in distribution, paired by seed. All have 95 % intervals. Where accuracy
            falls and AUROC does not, the order of the examples carries over and the threshold does
            not. `attrs["chance"]` has
            {tested_on: accuracy of guessing}.
        """
        rows = []
        tested = {self.tasks[0].name: self, **{name: self.on(name) for name in self.elsewhere}}
        for name, arms in tested.items():
            for arm in arms.fits:
                row = {"tested_on": name, "arm": arm, "n_test": len(arms.test)}
                row |= arms.measures(arm)
                if arms is not self:
                    row |= self._change(arms, arm)
                rows.append(row)
        table = pd.DataFrame(rows)
        table.attrs["chance"] = {name: arms.test.chance for name, arms in tested.items()}
        return table

    def _change(self, there: Arms, arm: str) -> dict:
        """Returns columns with what changes for an arm on other test examples."""
        row: dict = {}
        for measure in PGR_BY if has_auroc(self.test) else ("accuracy",):
            row |= self._change_by(there, arm, measure)
        return row

    def _change_by(self, there: Arms, arm: str, measure: str) -> dict:
        """Returns the columns of one measure and, of a student, of PGR by it."""
        moved = shift.change(there.tested(arm), self.tested(arm), measure=measure)
        row = moved.as_dict(f"{measure}_change")
        if arm not in self.students:
            return row
        name = f"{PGR_BY[measure]}_change"
        with collect_warnings():  # the row's PGR has said what is held against the arms
            recovered = [arms.pgr(arm, measure=measure) for arms in (there, self)]
        if any(np.isnan(pgr.value) for pgr in recovered):
            return row | NOT_DEFINED.as_dict(name)
        three = (WEAK, arm, CEILING)
        moved = shift.pgr_change(there.tested(*three), self.tested(*three), measure=measure)
        return row | moved.as_dict(name)

    def tested(self, *arms: str) -> shift.Tested:
        """Returns what `metrics.shift` compares: predictions of arms, true classes and groups."""
        return [self.probs(arm) for arm in arms], self.hard_label, self.test.group

    def by_seed(self) -> pd.DataFrame:
        """Returns a row per arm and seed: test accuracy and AUROC, and PGR by both within the seed,
        with intervals.

        PGR is NaN where it is not defined; see `metrics.pgr`.
        """
        seeds = [
            replace(self, tasks=[task], fits={arm: [fits[i]] for arm, fits in self.fits.items()})
            for i, task in enumerate(self.tasks)
        ]
        rows = []
        for arm in self.fits:
            for alone in seeds:
                seed = alone.tasks[0].seed
                row = {"weak": self.weak, "strong": self.strong, "arm": arm, "seed": seed}
                with collect_warnings():  # the seeds together say what they have to
                    row |= alone.measures(arm)
                rows.append(row)
        by_seed = pd.DataFrame(rows)
        by_seed.attrs["chance"] = self.test.chance
        return by_seed

    def by_labels(self, own: str = "supervisor's own") -> tuple[pd.DataFrame, pd.DataFrame]:
        """Returns the students' rows of `table` and of `by_seed`, with their labels in a column.

        Args:
            own: what the supervisor's labels are called there.
        Returns:
            Both have the column labels, and arm without the label set; the first has
            label_accuracy too.
        """
        table, seeds = by_labels(self.table(), own), by_labels(self.by_seed(), own)
        table.insert(0, "labels", table.pop("labels"))
        table.insert(2, "label_accuracy", [self.label_accuracy(arm) for arm in self.students])
        return table, seeds

    def by_loss(self) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Returns `table` and `by_seed` with a column loss: the arm without the word student."""
        tables_of_arms = self.table().reset_index(), self.by_seed()
        for rows in tables_of_arms:
            rows.insert(0, "loss", rows.arm.str.removeprefix("student, "))
        return tables_of_arms

    def confusion(self, arm: str) -> pd.DataFrame:
        """Counts how often an arm predicts each class for test examples of each, over all seeds.

        Returns:
            (K, K): a row per true class, a column per predicted class, by name; shares of the true
            class, so that rows sum to 1 (NaN for a class that the test examples lack).
        """
        self.test.need_classes("confusion of classes")
        predicted = likeliest(self.probs(arm))
        names = list(self.test.classes)
        counts = np.zeros((len(names), len(names)))
        truth = np.broadcast_to(self.hard_label, predicted.shape)
        np.add.at(counts, (truth, predicted), 1)
        with np.errstate(invalid="ignore"):  # of a class without examples
            shares = counts / counts.sum(axis=1, keepdims=True)
        return pd.DataFrame(shares, pd.Index(names, name="truth"), pd.Index(names, name=arm))


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
    elsewhere: Iterable[str] = (),
    labels: dict[str, Labeller] | None = None,
    variant: Callable[[Task, Fit], Task] | None = None,
    stress: Stress = NONE,
    weak_args: dict | None = None,
    strong_args: dict | None = None,
    student_args: dict | None = None,
    **fit_args,
) -> Arms:
    """Runs the three steps of weak-to-strong learning for each seed (Burns et al. 2023, section 3).

    The supervisor is trained on ground truth of its half. Its labels for the student half train
    one student per loss. The ceiling is trained on ground truth of the same student half. Fits
    that the store holds are not trained again.

    Args:
        task, losses: registered names.
        weak, strong: models by name, or task -> name.
        loss_args: {loss: its keyword arguments}.
        seeds: how many (0, 1, ...), or which.
        n_train, n_val, n_test, extra_halves: as in `load_task`; the supervisor labels extra halves
            too, for chains.
        elsewhere: names of other tasks with the same classes, on whose test examples all arms are
            tested too, at most n_test of each; see `Arms.on` and `Arms.table_elsewhere`. Variant
            and stress leave them as they are.
        labels: further label sets {name: (task, supervisor) -> SoftLabels} of the student half;
            one student per loss and set, trained on the examples that the set labels.
        variant: (task, supervisor) -> the task that student and ceiling are given instead, row by
            row the same examples, such as `task_variants.with_opinion`.
        stress: a change of the task or the supervisor, such as `stress.imbalanced(0.1)`.
        weak_args, strong_args, student_args: arguments, beside fit_args, of the supervisor's `fit`,
            of that of students and ceiling, and of the students' alone, such as {"features": 30} or
            {"evals": 8}.
        fit_args: passed to every `fit`, such as method, epochs, lr.
    Raises:
        UnknownName, TypeError, ValueError, ModelUnavailable: as `prepare` and `fit`, for every
            fit of the experiment before the first is trained.
    """
    return carry_out(
        plan_arms(
            task,
            weak,
            strong,
            losses=losses,
            loss_args=loss_args,
            seeds=seeds,
            n_train=n_train,
            n_val=n_val,
            n_test=n_test,
            extra_halves=extra_halves,
            elsewhere=elsewhere,
            labels=labels,
            variant=variant,
            stress=stress,
            weak_args=weak_args,
            strong_args=strong_args,
            student_args=student_args,
            **fit_args,
        )
    )


def plan_arms(
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
    elsewhere: Iterable[str] = (),
    labels: dict[str, Labeller] | None = None,
    variant: Callable[[Task, Fit], Task] | None = None,
    stress: Stress = NONE,
    weak_args: dict | None = None,
    strong_args: dict | None = None,
    student_args: dict | None = None,
    **fit_args,
) -> Plan[Arms]:
    """Plans what `run_arms` does, whose arguments these are."""
    loss_names = list_losses(losses)
    loss_args = loss_args or {}
    args_of_fits = _args_of_fits(fit_args, weak_args, strong_args, student_args)
    labellers = {"": _label_student_half, **_check_labellers(labels)}
    variant = _choose_variant(variant, stress)
    tasks = prepare(
        task,
        [name_of(model) for model in (weak, strong) if name_of(model)],
        losses=loss_names,
        loss_args=loss_args,
        seeds=seeds,
        n_train=n_train,
        n_val=n_val,
        n_test=n_test,
        extra_halves=extra_halves,
    )
    tests_elsewhere = load_elsewhere(elsewhere, tasks, n_test)
    also = {"also": list(tests_elsewhere.values())}
    supervisor_args, ceiling_args, student_args = (args | also for args in args_of_fits)
    tasks = list(map(stress.change_task, tasks))
    check_fit_of(weak, tasks[0].supervisor, **supervisor_args)
    for loss in loss_names:
        of_loss = {"loss": loss, "loss_args": loss_args.get(loss)}
        check_fit_of(strong, tasks[0].student, weak=True, **of_loss, **student_args)
    check_fit_of(strong, tasks[0].student, **ceiling_args)
    check_against_task(tasks[0], weak, strong, *labellers.values())
    tell_swapped([name_of(weak), name_of(strong)])
    given = _Given(
        weak,
        strong,
        {loss: loss_args.get(loss) for loss in loss_names},
        labellers,
        variant,
        stress,
        supervisor_args,
        ceiling_args,
        student_args,
    )
    of_seeds = yield from join([_plan_seed(given, dealt) for dealt in tasks], *args_of_fits)
    arms = list(of_seeds[0][1])
    fits = {arm: [of_seed[arm] for _, of_seed in of_seeds] for arm in arms}
    taught = [task for task, _ in of_seeds]
    return Arms(str(weak), str(strong), taught, fits, tests_elsewhere)


@dataclass(frozen=True)
class _Given:
    """What `plan_arms` is given, checked: the same for every seed.

    Attributes:
        losses: {name: its arguments, or None}.
        labellers: {name of the label set: what makes it}.
    """

    weak: Model
    strong: Model
    losses: dict[str, dict | None]
    labellers: dict[str, Labeller]
    variant: Callable[[Task, Fit], Task] | None
    stress: Stress
    supervisor_args: dict
    ceiling_args: dict
    student_args: dict


def _plan_seed(given: _Given, dealt: Task) -> Plan[tuple[Task, dict[str, Fit]]]:
    """Plans the supervisor, and then the students and the ceiling, of one seed.

    Returns:
        the task that the students are given, and {arm: fit}.
    """
    seed = dealt.seed
    strong = _name_model(given.strong, dealt)
    weak = _name_model(given.weak, dealt)
    # the strong model never reads the texts of which it is given a variant
    read_first = [] if given.variant else [(strong, dealt.student, given.ceiling_args)]
    wanted = FitArgs(weak, dealt.supervisor, None, {"seed": seed, **given.supervisor_args})
    (supervisor,) = yield Round([wanted], read_first)
    supervisor = given.stress.change_supervisor(dealt, supervisor)
    task, supervisor = _vary(dealt, supervisor, given.variant)
    with ceiling_reads_first(strong, task.student, given.ceiling_args):
        label_sets = _label(given.labellers, task, supervisor)
    students = _students(strong, task, label_sets, given)
    ceiling = FitArgs(strong, task.student, None, {"seed": seed, **given.ceiling_args})
    fits = yield Round([*students.values(), ceiling], [(strong, task.student, given.ceiling_args)])
    arms = [*students, CEILING]
    return task, {WEAK: supervisor, **dict(zip(arms, fits, strict=True))}


def _args_of_fits(
    fit_args: dict, weak_args: dict | None, strong_args: dict | None, student_args: dict | None
) -> tuple[dict, dict, dict]:
    """Returns the arguments of the supervisor's `fit`, of the ceiling's and of the students'.

    Raises:
        TypeError: arguments that the experiment gives itself.
    """
    refuse_own(fit_args, "run_arms", _OWN)
    of_supervisor = fit_args | args_of(weak_args, "weak_args", _OWN_OF_SUPERVISOR)
    of_ceiling = fit_args | args_of(strong_args, "strong_args", _OWN)
    return of_supervisor, of_ceiling, of_ceiling | args_of(student_args, "student_args", _OWN)


def _choose_variant(
    variant: Callable[[Task, Fit], Task] | None, stress: Stress
) -> Callable[[Task, Fit], Task] | None:
    """Returns the variant that `run_arms` is given, or that of the stress.

    Raises:
        TypeError: no stress, no function, or two variants.
    """
    if not isinstance(stress, Stress):
        raise TypeError(f"stress is {stress!r}; expected one such as w2s.stress.imbalanced(0.1)")
    if variant is None:
        return stress.variant
    need_function(variant, "variant", "of a task and its supervisor")
    if stress.variant is not None:
        raise TypeError(f"variant is given, and the stress {stress.name!r} has one; expected one")
    return variant


def _label_student_half(task: Task, supervisor: Fit) -> SoftLabels:
    return supervisor.label(task.student)


def _check_labellers(labels: Mapping[str, Labeller] | None) -> dict[str, Labeller]:
    """Returns the further label sets of `run_arms`.

    Raises:
        TypeError: anything but {name: function of a task and its supervisor}.
    """
    if labels is None:
        return {}
    if not isinstance(labels, Mapping):
        raise TypeError(
            f"labels is a {type(labels).__name__}; expected {{name: function of a task and its "
            f"supervisor that gives labels}}, such as {{'surest': w2s.confident(0.5)}}"
        )
    for name, labeller in labels.items():
        if not isinstance(name, str):
            raise TypeError(f"label set {name!r}; expected a name, which tables show")
        need_function(labeller, f"label set {name!r}", "of a task and its supervisor")
    return dict(labels)


def _label(labellers: Mapping[str, Labeller], task: Task, supervisor: Fit) -> dict[str, SoftLabels]:
    """Returns the label sets of the student half, all before the first student is trained.

    Raises:
        TypeError: names a set that gave no labels.
    """
    label_sets = {}
    kind = Answers if task.student.answers else SoftLabels
    for name, label in labellers.items():
        labels = label(task, supervisor)
        if not isinstance(labels, kind):
            raise TypeError(
                f"label set {name!r} gave a {type(labels).__name__}; expected {kind.__name__}"
            )
        label_sets[name] = cast(SoftLabels, labels)
    return label_sets


def _name_model(model: Model, task: Task) -> str:
    return model if isinstance(model, str) else model(task)


def _vary(
    task: Task, supervisor: Fit, variant: Callable[[Task, Fit], Task] | None
) -> tuple[Task, Fit]:
    """Returns the task that student and ceiling are given, and the supervisor with its examples."""
    if variant is None:
        return task, supervisor
    varied = variant(task, supervisor)
    return varied, supervisor.with_ids_of(task, varied)


def _students(
    model: str, task: Task, label_sets: dict[str, SoftLabels], given: _Given
) -> dict[str, FitArgs]:
    """Returns one student per label set and loss, on the examples that the set labels."""
    students = {}
    for name, labels in label_sets.items():
        labelled = task.student.take(labels.knows(task.student))
        for loss, loss_args in given.losses.items():
            arguments: dict = {"loss": loss, "loss_args": loss_args, "seed": task.seed}
            arguments |= given.student_args
            students[student_name(loss, name)] = FitArgs(model, labelled, labels, arguments)
    return students


def pgr(
    weak: Fit | list[Fit],
    student: Fit | list[Fit],
    ceiling: Fit | list[Fit],
    test: Split,
) -> metrics.Estimate:
    """Returns the performance gap recovered on a test split; see `metrics.pgr`.

    Args:
        weak, student, ceiling: one fit each, or a list of fits with one per seed.
    """
    predictions = []
    for name, fits in {"weak": weak, "student": student, "ceiling": ceiling}.items():
        fits_by_seed = fits if isinstance(fits, list) else [fits]
        if not fits_by_seed:
            raise ValueError(f"{name} is empty; expected a fit, or a list of one per seed")
        for one_fit in fits_by_seed:
            need_fit(one_fit, name)
        predictions.append(np.stack([f.predict(test) for f in fits_by_seed]))
    of_weak, of_student, of_ceiling = predictions
    return metrics.pgr(
        of_weak,
        of_student,
        of_ceiling,
        test.hard_label,
        group=test.group,
        chance=test.chance,
    )


def tables(
    experiments: Arms | Mapping[str, Arms] | Iterable[Arms], column: str | None = None
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Joins `Arms.table` and `Arms.by_seed` of several experiments.

    Args:
        experiments: arms, or {name: arms}.
        column: takes the names in both tables. None tells experiments apart by their models, in
            the columns weak, strong and pair, such as "gpt2 -> gpt2-xl".
    Returns:
        A row per experiment and arm; and a row per experiment, arm and seed. Given a column,
        `attrs["chance"]` of both has {name: accuracy of guessing}.
    Raises:
        TypeError: a column without names.
        ValueError: no experiment.
    """
    if column is not None and not isinstance(experiments, Mapping):
        raise TypeError(f"column = {column!r} needs names; expected experiments as {{name: arms}}")
    if isinstance(experiments, Arms):
        experiments = [experiments]
    named = experiments if isinstance(experiments, Mapping) else dict(enumerate(experiments))
    if not named:
        raise ValueError("no experiment given; expected arms of run_arms, or {name: arms}")
    table = []
    by_seed = []
    for name, arms in named.items():
        pair = {"weak": arms.weak, "strong": arms.strong, "pair": f"{arms.weak} -> {arms.strong}"}
        key = pair if column is None else {column: name}
        table.append(arms.table().reset_index().assign(**key))
        by_seed.append(arms.by_seed().assign(**key))
    joined = [pd.concat(rows, ignore_index=True) for rows in (table, by_seed)]
    if column is not None:
        for rows in joined:
            rows.attrs["chance"] = {name: arms.test.chance for name, arms in named.items()}
    return joined[0], joined[1]


@warn_once()
def imitation_of(experiments: Iterable[Arms]) -> pd.DataFrame:
    """Joins `Arms.imitation` of several experiments, with a column pair.

    Args:
        experiments: arms, such as those of one supervisor and students of several sizes.
    Returns:
        A row per experiment and student.
    Raises:
        ValueError: no experiment.
    """
    tables_of_arms = [arms.imitation() for arms in experiments]
    if not tables_of_arms:
        raise ValueError("no experiment given; expected arms of run_arms")
    joined = pd.concat(tables_of_arms, ignore_index=True)
    joined.insert(1, "pair", joined.weak + " -> " + joined.strong)
    return joined
