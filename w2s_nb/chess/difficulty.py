"""Compares arms with the untaught model, and trains on easy puzzles to solve hard ones."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import pandas as pd

from .. import metrics
from ..data.facts import facts_of
from ..data.load import load_task
from ..data.splits import Split, Task
from ..experiments.arms import CEILING, Arms
from ..experiments.one_setting import differences
from ..experiments.prepare import list_seeds
from ..models.loading import ensure
from ..models.names import resolve
from ..training.answers import zero_shot
from ..training.fit import fit
from ..training.result import Fit

ZERO_SHOT = "zero-shot"
_RESULT = ["trained_on", "n_train", "n_test", "seeds", "accuracy", "accuracy_low", "accuracy_high"]


def with_zero_shot(arms: Arms) -> Arms:
    """Adds the student's model as it is before any training (figure 15).

    Source: Burns et al. 2023, appendix A.2.
    """
    answers: list[Fit] = []
    for task, ceiling in zip(arms.tasks, arms.fits[CEILING], strict=True):
        max_len = ceiling.record["config"]["hyperparameters"]["max_len"]
        answers.append(zero_shot(arms.strong, task, max_len=max_len))
    return arms.with_students({ZERO_SHOT: answers})


def answer_table(arms: Arms) -> pd.DataFrame:
    """Returns a row per arm, each number with the ends of its 95 % interval.

    Columns: accuracy (exact match at temperature 0); legal, the share of answers that are among the
    task's options; p_right, the probability of the true answer; choice, exact match where the most
    probable option is taken; of students PGR and agreement. `attrs["chance"]`, which figures draw,
    is exact match of one of the task's options drawn at random.
    """
    test = arms.tasks[0].test
    options = arms.tasks[0].spec.options
    measures = {"p_right": "p_right"}
    if options:
        measures = {"legal": "legal", "p_right": "p_right", "choice": "choice_right"}
    rows = []
    for arm, numbers in arms.table().iterrows():
        row = {"arm": arm, **numbers}
        for name, column in measures.items():
            values = arms.column(arm, column).astype(float)
            row |= metrics.of_means(np.asarray, values, group=test.group).as_dict(name)
        rows.append(row)
    table = pd.DataFrame(rows).set_index("arm")
    table.attrs["chance"] = test.chance
    if options:
        table.attrs["chance"] = float(np.mean([1 / len(options(text)) for (text,) in test.texts]))
    return table


def disagreements(arms: Arms, student: str) -> pd.DataFrame:
    """Lists test puzzles that either the student or its supervisor solves, at the first seed.

    Returns:
        Columns id, text, answer (the true one), supervisor, student, solved_by ('student' or
        'supervisor'), p_right (the probability that the student gives the true answer); those that
        the student alone solves first, the surest of them first.
    """
    puzzles = differences(arms, student).rename(columns={"truth": "answer", "right": "solved_by"})
    puzzles = puzzles[puzzles.solved_by.isin(("student", "supervisor"))]
    columns = ["id", "text", "answer", "supervisor", "student", "solved_by", "p_right"]
    return puzzles[columns].sort_values(
        ["solved_by", "p_right"], ascending=[True, False], ignore_index=True
    )


def easy_to_hard(
    task: str,
    model: str,
    at_most: Iterable[float],
    hard: float,
    *,
    n_train: int,
    seeds: int | Iterable[int] = 1,
    n_test: int | None = None,
    **fit_args,
) -> pd.DataFrame:
    """Measures accuracy on hard puzzles after training on easy, any or hard ones with ground truth.

    The training sets have one size: the easiest puzzles up to each limit, puzzles of any
    difficulty, and hard ones. Where one of them has fewer than n_train puzzles, all sets are as
    small as that.

    Args:
        at_most: difficulties that the training puzzles do not exceed.
        hard: the least difficulty of the test puzzles.
        n_train: puzzles per set, at most.
        seeds: how many, from 0, or which.
        fit_args: of `fit`, such as method and epochs.
    Returns:
        A row per training set: trained_on, n_train, n_test, seeds, accuracy and its interval. No
        rows where the test puzzles have no difficulty.
    Raises:
        ValueError: no hard test puzzle, or fewer than two training puzzles in one of the sets.
    Source: Burns et al. 2023, appendix C.1.
    """
    ensure(resolve(model))
    tasks = [load_task(task, seed=seed, n_test=n_test) for seed in list_seeds(seeds)]
    if facts_of(tasks[0].test).difficulty.isna().all():
        return pd.DataFrame(columns=_RESULT)
    test = _hard_puzzles(tasks[0], task, hard)
    ranges = {f"up to {limit:g}": (-np.inf, limit) for limit in sorted(at_most)} | {
        "any": (-np.inf, np.inf),
        f"from {hard:g}": (hard, np.inf),
    }
    pools = [_puzzles_within(_join(t.supervisor, t.student), ranges) for t in tasks]
    size = min(n_train, *(len(puzzles) for pool in pools for puzzles in pool.values()))
    if size < 2:
        raise ValueError(
            f"of one of the ranges {', '.join(ranges)} {task} has {size} training puzzles; "
            "expected 2"
        )
    rows = []
    for name in ranges:
        variants = []
        for t, pool in zip(tasks, pools, strict=True):
            variants.append(_replace_splits(t, pool[name].take(slice(size)), test))
        fits = [fit(model, t.supervisor, seed=t.seed, **fit_args) for t in variants]
        right = np.stack([f.predict(test) for f in fits])
        accuracy = metrics.accuracy(right, test.hard_label, group=test.group)
        row = {"trained_on": name, "n_train": size, "n_test": len(test), "seeds": len(tasks)}
        rows.append(row | accuracy.as_dict("accuracy"))
    return pd.DataFrame(rows)


def _hard_puzzles(task: Task, name: str, hard: float) -> Split:
    """Returns the test puzzles of at least that difficulty."""
    test = task.test.take((facts_of(task.test).difficulty >= hard).to_numpy())
    if not len(test):
        raise ValueError(
            f"no test puzzle of {name} has a difficulty of {hard} or more "
            f"({task.spec.measure or 'no measure'})"
        )
    return test


def _puzzles_within(split: Split, ranges: dict[str, tuple[float, float]]) -> dict[str, Split]:
    """Returns the puzzles of each range of difficulty, both ends included."""
    difficulty = facts_of(split).difficulty
    return {name: split.take(difficulty.between(*ends).to_numpy()) for name, ends in ranges.items()}


def _replace_splits(task: Task, train: Split, test: Split) -> Task:
    """Returns the task with one training set, as both halves, and another test."""
    return replace(
        task,
        supervisor=train,
        student=replace(train, name="student"),
        test=replace(test),
        validation=replace(task.validation),
    )


def _join(first: Split, second: Split) -> Split:
    """Returns two splits of one task's questions as one, under the name of the first."""
    return replace(
        first,
        ids=np.concatenate([first.ids, second.ids]),
        texts=first.texts + second.texts,
        hard_label=np.concatenate([first.hard_label, second.hard_label]),
        group=np.concatenate([first.group, second.group]),
        answers=first.answers + second.answers,
        facts=pd.concat([first.facts, second.facts], ignore_index=True),
    )
