"""Runs easy-to-hard: ground truth of easy examples against weak labels of all (appendix C)."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from .. import metrics
from ..common.registry import UnknownName
from ..data.report import footnote
from ..data.splits import Split, Task
from ..metrics.readable import readable
from ..models.names import resolve
from ..training.fit import check_fit, fit
from ..training.result import Fit
from .arms import WEAK, Arms, run_arms, student_name
from .prepare import ceiling_reads_first, is_larger, list_losses, prepare, refuse_own

EASY = "truth, the easy part"
AS_MANY = "truth, as many at random"
WEAK_AS_MANY = "weak labels, as many at random"
ON = ("all", "easy", "hard")
_OWN = {
    "model": "ladder",
    "split": "task",
    "labels": "ladder",
    "seed": "seeds=",
    "loss": "losses=",
    "loss_args": "loss_args={loss: its arguments}",
}


def difficulty(right) -> np.ndarray:
    """Computes how difficult each example is for a ladder of models.

    Args:
        right: (rungs, n) bool, whether each model is right, the smallest model first; each was
            trained on other examples.
    Returns:
        (n,) int64: the index of the smallest rung that is right and from which all larger ones are
        right too; the number of rungs where the largest is wrong.
    Raises:
        ValueError: another shape, or no rung.
    Source: Burns et al. 2023, appendix C.
    """
    right = np.asarray(right, dtype=bool)
    if right.ndim != 2 or not len(right):
        raise ValueError(f"right has shape {right.shape}; expected (rungs, examples)")
    right_from_the_top = np.cumprod(right[::-1], axis=0).sum(axis=0)
    return len(right) - right_from_the_top.astype(np.int64)


def easiest(levels: np.ndarray, hard_label: np.ndarray, share: float, seed: int) -> np.ndarray:
    """Chooses the easiest examples of each class, so that an easy part has the classes' shares.

    Of equally difficult examples it draws which are chosen.

    Args:
        levels: (n,) int, `difficulty`.
        hard_label: (n,) int, true classes.
        share: of each class, in (0, 1).
        seed: of the draw.
    Returns:
        (n,) bool.
    """
    order = np.lexsort((np.random.default_rng(seed).random(len(levels)), levels))
    chosen = np.zeros(len(levels), dtype=bool)
    for number in np.unique(hard_label):
        rows = order[hard_label[order] == number]
        chosen[rows[: round(share * len(rows))]] = True
    return chosen


@dataclass(frozen=True, eq=False)
class EasyToHard:
    """Students of ground truth of easy examples beside students of weak labels.

    Attributes:
        ladder: model names, the smallest first: the supervisor; the last is the student.
        arms: supervisor, students and ceiling, tested on all test examples.
        levels: (seeds, n_test) int, `difficulty` of the test examples.
        hard: (seeds, n_test) bool, the test examples outside the easiest share of each class.
        training_levels: (seeds, n) int, `difficulty` of the student half.
    """

    ladder: list[str]
    arms: Arms
    levels: np.ndarray
    hard: np.ndarray
    training_levels: np.ndarray

    def __repr__(self) -> str:
        task = self.arms.tasks[0]
        return (
            f"EasyToHard: {task.name}, {len(self.arms.tasks)} seeds, {len(task.test)} test "
            f"examples, {self.hard.mean():.0%} of them hard\n  " + " < ".join(self.ladder)
        )

    def _repr_html_(self) -> str:
        task = self.arms.tasks[0]
        table = readable(self.table().set_index("arm"))._repr_html_()
        return table + footnote(task.counts, task.name)

    def accuracy(self, arm: str, *, on: str = "all") -> metrics.Estimate:
        """Returns the test accuracy of an arm, mean over seeds.

        Args:
            on: 'all' test examples, or the 'easy' or 'hard' ones.
        """
        right = metrics.correct(self.arms.probs(arm), self.arms.hard_label)
        return metrics.share(right, self._chosen(on), group=self.arms.test.group)

    def gain(
        self, arm: str, other: str = student_name("xent"), *, on: str = "all"
    ) -> metrics.Estimate:
        """Returns the test accuracy of one arm minus that of another, paired by example and seed.

        Args:
            other: the student of weak labels of the whole half, if nothing else is named.
            on: 'all' test examples, or the 'easy' or 'hard' ones.
        """
        truth = self.arms.hard_label
        ours, theirs = (metrics.correct(self.arms.probs(a), truth) for a in (arm, other))
        change = ours.astype(int) - theirs
        return metrics.share(change, self._chosen(on), group=self.arms.test.group)

    def table(self) -> pd.DataFrame:
        """Returns a row per arm: how many examples it was trained on, its accuracy on all, easy and
        hard test examples, and its gain over the naive student of all weak labels on all and hard
        ones, with 95 % intervals.
        """
        rows = []
        naive = self.arms.students[0]
        for arm, fits in self.arms.fits.items():
            row = {
                "arm": arm,
                "model": self.arms.weak if arm == WEAK else self.arms.strong,
                "seeds": len(fits),
                "n_train": round(np.mean([len(f.record["trained_on"]) for f in fits])),
                "label_accuracy": self.arms.label_accuracy(arm),
            }
            for on in ON:
                row |= self.accuracy(arm, on=on).as_dict(f"accuracy_{on}")
            if arm not in (WEAK, naive):
                for on in ("all", "hard"):
                    row |= self.gain(arm, naive, on=on).as_dict(f"gain_{on}")
            rows.append(row)
        return pd.DataFrame(rows)

    def by_difficulty(self) -> pd.DataFrame:
        """Returns a row per arm and difficulty: the share of test examples that are so difficult,
        and the arm's accuracy on them with its 95 % interval.

        The column rung names the smallest model from which all are right; "none" where the largest
        is wrong.
        """
        rows = []
        for arm in self.arms.fits:
            right = metrics.correct(self.arms.probs(arm), self.arms.hard_label)
            for level, rung in enumerate([*self.ladder, "none"]):
                among = self.levels == level
                accuracy = metrics.share(right, among, group=self.arms.test.group)
                row = {"arm": arm, "difficulty": level, "rung": rung, "share": float(among.mean())}
                rows.append(row | accuracy.as_dict("accuracy"))
        return pd.DataFrame(rows)

    def curves(self) -> dict[str, tuple[list[str], list[float]]]:
        """Returns {arm: (rungs, its accuracy at each)} of `by_difficulty`, for `plots.lines`."""
        by_arm = self.by_difficulty().groupby("arm", sort=False)
        return {str(arm): (rows.rung.tolist(), rows.accuracy.tolist()) for arm, rows in by_arm}

    def _chosen(self, on: str) -> np.ndarray:
        """Returns the test examples of a part, (seeds, n_test) bool."""
        if on not in ON:
            raise UnknownName("part of the test examples", str(on), ON)
        return {"all": np.ones_like(self.hard), "easy": ~self.hard, "hard": self.hard}[on]


def run_easy_to_hard(
    task: str,
    ladder: Iterable[str],
    *,
    easy: float = 0.5,
    losses: Iterable[str] = ("xent",),
    loss_args: dict | None = None,
    seeds: int | Iterable[int] = 1,
    n_train: int | None = None,
    n_val: int | None = None,
    n_test: int | None = None,
    **fit_args,
) -> EasyToHard:
    """Runs easy-to-hard beside weak-to-strong on one task.

    Each model of the ladder is trained on ground truth of the supervisor half and judged on the
    student half and the test examples, which none of them has seen; from that comes `difficulty`.
    The largest is then trained on ground truth of the easiest examples of the student half, and,
    beside that, on the smallest's labels of all of it and of as many at random, and on ground truth
    of as many at random and of all (the ceiling).

    The hard test examples have those that the largest model got wrong when it was trained on the
    other half. Every model that is like it is bad at these, the ceiling too: compare arms with each
    other on the hard part, not with chance.

    Args:
        task: a registered name, of a task with classes.
        ladder: at least two model names, the smallest first: the supervisor; the last is the
            student.
        easy: the share of each class that counts as easy, of the student half and of the test
            examples.
        losses, loss_args: of the students of the supervisor's labels, as in `run_arms`; the first
            also trains the one of as many of them. Students of ground truth take cross-entropy.
        seeds, n_train, n_val, n_test: as in `run_arms`.
        fit_args: passed to every `fit`, such as method.
    Raises:
        UnknownName, TypeError, ValueError, ModelUnavailable: before anything is trained.
    Source: Burns et al. 2023, appendix C: easy-to-hard with ground truth, on training sets of equal
        size.
    """
    ladder = _check_ladder(ladder)
    if isinstance(easy, (bool, str)) or not 0 < easy < 1:
        raise ValueError(f"easy = {easy!r}; expected a share in (0, 1)")
    losses = list_losses(losses)
    refuse_own(fit_args, "run_easy_to_hard", _OWN)
    sizes: dict = {"seeds": seeds, "n_train": n_train, "n_val": n_val, "n_test": n_test}
    _check_fits(prepare(task, ladder, **sizes)[0], ladder, easy, fit_args)
    arms = run_arms(
        task, ladder[0], ladder[-1], losses=losses, loss_args=loss_args, **sizes, **fit_args
    )
    rungs = [_fit_ladder(ladder, dealt, fit_args) for dealt in arms.tasks]
    in_training = _levels(rungs, [dealt.student for dealt in arms.tasks])
    in_test = _levels(rungs, [dealt.test for dealt in arms.tasks])
    of_weak: dict = {"loss": losses[0], "loss_args": (loss_args or {}).get(losses[0])}
    students: dict[str, list[Fit]] = {WEAK_AS_MANY: [], AS_MANY: [], EASY: []}
    for supervisor, dealt, levels in zip(arms.fits_of(WEAK), arms.tasks, in_training, strict=True):
        labels = supervisor.label(dealt.student)
        some, easy_part = _parts(dealt, levels, easy)
        of_all = {"seed": dealt.seed, **fit_args}
        students[WEAK_AS_MANY].append(fit(ladder[-1], some, labels, **of_weak, **of_all))
        students[AS_MANY].append(fit(ladder[-1], some, **of_all))
        students[EASY].append(fit(ladder[-1], easy_part, **of_all))
    hard = [
        ~easiest(levels, dealt.test.hard_label, easy, dealt.seed)
        for levels, dealt in zip(in_test, arms.tasks, strict=True)
    ]
    return EasyToHard(ladder, arms.with_students(students), in_test, np.stack(hard), in_training)


def _check_fits(task: Task, ladder: list[str], easy: float, fit_args: dict) -> None:
    """Refuses what a fit of the ladder, or one of the easy part, would refuse."""
    task.student.need_classes("difficulty by a ladder")
    for model in ladder:
        check_fit(model, task.supervisor, **fit_args)
    some, _ = _parts(task, np.zeros(len(task.student), dtype=np.int64), easy)
    check_fit(ladder[-1], some, **fit_args)


def _check_ladder(ladder: Iterable[str]) -> list[str]:
    names = [] if isinstance(ladder, str) else list(ladder)
    if len(names) < 2:
        raise ValueError(
            f"ladder = {ladder!r}; expected a list of at least two models, the smallest first"
        )
    for smaller, larger in itertools.pairwise(names):
        if is_larger(resolve(smaller), resolve(larger)):
            raise ValueError(
                f"ladder has {smaller} before {larger}, which is smaller; expected the smallest "
                f"first"
            )
    return names


def _fit_ladder(ladder: list[str], task: Task, fit_args: dict) -> list[Fit]:
    """Trains every rung on ground truth of the supervisor half."""
    with ceiling_reads_first(ladder[-1], task.supervisor, fit_args):
        return [fit(model, task.supervisor, seed=task.seed, **fit_args) for model in ladder]


def _levels(rungs: list[list[Fit]], splits: list[Split]) -> np.ndarray:
    """Returns the difficulty of each seed's examples, (seeds, n) int."""
    levels = []
    for fits, split in zip(rungs, splits, strict=True):
        probs = np.stack([one_fit.predict(split) for one_fit in fits])
        levels.append(difficulty(metrics.correct(probs, split.hard_label)))
    return np.stack(levels)


def _parts(task: Task, levels: np.ndarray, easy: float) -> tuple[Split, Split]:
    """Returns as many examples of the student half at random as are easy, and the easy ones."""
    half = task.student
    at_random = easiest(np.zeros_like(levels), half.hard_label, easy, task.seed)
    return half.take(at_random), half.take(easiest(levels, half.hard_label, easy, task.seed))
