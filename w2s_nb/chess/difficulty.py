"""What answers show: by difficulty and theme, what one arm solves and another misses, easy to hard."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from .. import metrics
from ..data.load import load_task
from ..data.splits import Split, Task
from ..experiments.arms import CEILING, Arms
from ..experiments.one_setting import differences
from ..models.loading import ensure
from ..models.names import resolve
from ..training.answers import zero_shot
from ..training.fit import fit

ZERO_SHOT = "zero-shot"
LEAST = 10  # puzzles of a theme for it to have a row


def with_zero_shot(arms: Arms) -> Arms:
    """Arms and the student's model as it is before it is taught anything (figure 15).

    Source: Burns et al. 2023, appendix A.2.
    """
    max_len = [f.record["config"]["hyperparameters"]["max_len"] for f in arms.fits[CEILING]]
    return arms.with_students(
        {ZERO_SHOT: [zero_shot(arms.strong, t, max_len=n) for t, n in zip(arms.tasks, max_len)]}
    )


def answer_table(arms: Arms) -> pd.DataFrame:
    """A row an arm, each number with the ends of its 95 % interval.

    accuracy (exact match at temperature 0); legal, the share of answers that are among the task's options; p_right, the
    probability of the true answer; choice, exact match where the likeliest option is taken; of students PGR and
    agreement.
    """
    rows, group, test = [], arms.tasks[0].test.group, arms.tasks[0].test
    for arm, row in arms.table().iterrows():
        row = {"arm": arm, **row}
        for name in ("legal", "p_right", "choice"):
            if name == "p_right" or test.task.spec.options:
                values = arms.column(arm, "choice_right" if name == "choice" else name).astype(
                    float
                )
                row |= metrics.of_means(np.asarray, values, group=group).as_dict(name)
        rows.append(row)
    return pd.DataFrame(rows).set_index("arm")


def by_difficulty(arms: Arms, edges: Sequence[float]) -> pd.DataFrame:
    """A row an arm and band of difficulty, below the first edge, between edges, from the last on: exact match.

    Puzzles without a difficulty are left out.

    Args:
        edges: in the task's own measure.
    """
    difficulty, edges = arms.tasks[0].test.facts.difficulty.to_numpy(), sorted(edges)
    band = np.where(np.isnan(difficulty), -1, np.searchsorted(edges, difficulty, side="right"))
    names = [
        f"< {edges[0]:g}",
        *(f"{a:g} to {b:g}" for a, b in zip(edges, edges[1:])),
        f"{edges[-1]:g} +",
    ]
    return _broken_down(arms, {name: band == i for i, name in enumerate(names)}, "difficulty")


def by_theme(arms: Arms, *, least: int = LEAST) -> pd.DataFrame:
    """A row an arm and theme that at least so many test puzzles have: exact match; the commonest themes first."""
    themes = arms.tasks[0].test.facts.themes
    counts = themes.explode().value_counts()
    has = {
        theme: np.array([theme in each for each in themes])
        for theme in counts.index[counts >= least]
    }
    return _broken_down(arms, has, "theme")


def _broken_down(arms: Arms, parts: dict[str, np.ndarray], column: str) -> pd.DataFrame:
    rows, group = [], arms.tasks[0].test.group
    for arm in arms.fits:
        right = metrics.correct(arms.probs(arm), arms.hard_label)
        for name, chosen in parts.items():
            if chosen.any():
                found = metrics.share(right, np.broadcast_to(chosen, right.shape), group=group)
                rows.append(
                    {"arm": arm, column: name, "n": int(chosen.sum()), **found.as_dict("accuracy")}
                )
    return pd.DataFrame(
        rows, columns=["arm", column, "n", "accuracy", "accuracy_low", "accuracy_high"]
    )


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
    seeds: int = 1,
    n_test: int | None = None,
    **fit_args,
) -> pd.DataFrame:
    """How well a model solves hard puzzles after ground truth of easy ones: a row a training set.

    The sets are of one size: the easiest puzzles up to each limit, puzzles of any difficulty, and hard ones. Where
    fewer than n_train are to be had of one of them, all sets are as small as that. No rows where the test puzzles have
    no difficulty.

    Args:
        at_most: difficulties that the training puzzles do not exceed.
        hard: the least difficulty of the test puzzles.
        n_train: puzzles a set, at most.
        fit_args: of `fit`, such as method and epochs.
    Source: Burns et al. 2023, appendix C.1.
    """
    ensure(resolve(model))
    limits, rows = sorted(at_most), []
    tasks = [load_task(task, seed=seed, n_test=n_test) for seed in range(seeds)]
    if tasks[0].test.facts.difficulty.isna().all():
        return pd.DataFrame(
            columns=[
                "trained_on",
                "n_train",
                "n_test",
                "seeds",
                "accuracy",
                "accuracy_low",
                "accuracy_high",
            ]
        )
    test = tasks[0].test.take((tasks[0].test.facts.difficulty >= hard).to_numpy())
    if not len(test):
        raise ValueError(
            f"no test puzzle of {task} has a difficulty of {hard} or more "
            f"({tasks[0].spec.measure or 'no measure'})"
        )
    ranges = {f"up to {limit:g}": (-np.inf, limit) for limit in limits} | {
        "any": (-np.inf, np.inf),
        f"from {hard:g}": (hard, np.inf),
    }
    pools = [_within(_joined(t.supervisor, t.student), ranges) for t in tasks]
    size = min(n_train, *(len(part) for pool in pools for part in pool.values()))
    if size < 2:
        raise ValueError(
            f"of one of the ranges {', '.join(ranges)} {task} has {size} training puzzles; expected 2"
        )
    for name in ranges:
        sets = [_only(t, pool[name].take(slice(size)), test) for t, pool in zip(tasks, pools)]
        fits = [fit(model, t.supervisor, seed=t.seed, **fit_args) for t in sets]
        right = np.stack([f.predict(test) for f in fits])
        rows.append(
            {
                "trained_on": name,
                "n_train": size,
                "n_test": len(test),
                "seeds": seeds,
                **metrics.accuracy(right, test.hard_label, group=test.group).as_dict("accuracy"),
            }
        )
    return pd.DataFrame(rows)


def _within(split: Split, ranges: dict[str, tuple[float, float]]) -> dict[str, Split]:
    difficulty = split.facts.difficulty
    return {name: split.take(difficulty.between(*ends).to_numpy()) for name, ends in ranges.items()}


def _only(task: Task, train: Split, test: Split) -> Task:
    """The task with one training set and another test."""
    return replace(
        task,
        supervisor=train,
        student=replace(train, name="student"),
        test=replace(test),
        validation=replace(task.validation),
    )


def _joined(first: Split, second: Split) -> Split:
    """Two splits of one task's questions in one, under the name of the first."""
    return replace(
        first,
        ids=np.concatenate([first.ids, second.ids]),
        texts=first.texts + second.texts,
        hard_label=np.concatenate([first.hard_label, second.hard_label]),
        group=np.concatenate([first.group, second.group]),
        answers=first.answers + second.answers,
        facts=pd.concat([first.facts, second.facts], ignore_index=True),
    )
