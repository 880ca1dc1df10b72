"""Compares arms in parts of the test examples, by what is known of each: difficulty and themes;
and with arms that were trained without a theme.
"""

from __future__ import annotations

import itertools
import numbers
from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd

from .. import metrics
from ..data.classes import likeliest
from ..data.facts import facts_of, has_theme
from ..data.splits import Split
from . import stress
from .arms import WEAK, Arms, run_arms
from .prepare import refuse_own

LEAST = 10  # test examples of a theme for it to have a row


def by_difficulty(arms: Arms, edges: Sequence[float]) -> pd.DataFrame:
    """Returns test accuracy, a row per arm and band of difficulty.

    Bands lie below the first edge, between two edges, and from the last edge on. Examples without a
    difficulty are left out.

    Args:
        edges: in the task's own measure.
    Raises:
        ValueError: no edges, two that are equal, or what is no number; a task without difficulty.
    """
    difficulty = facts_of(arms.test).difficulty.to_numpy()
    are_numbers = all(isinstance(edge, numbers.Real) for edge in edges)
    if not are_numbers or not 0 < len(edges) == len(set(edges)):
        raise ValueError(f"edges = {edges!r}; expected different numbers, such as [2, 3]")
    edges = sorted(edges)
    band = np.searchsorted(edges, difficulty, side="right")
    band = np.where(np.isnan(difficulty), -1, band)
    between = [f"{low:g} to {high:g}" for low, high in itertools.pairwise(edges)]
    names = [f"< {edges[0]:g}", *between, f"{edges[-1]:g} +"]
    return _accuracy(arms, {name: band == i for i, name in enumerate(names)}, "difficulty")


def by_theme(arms: Arms, *, least: int = LEAST) -> pd.DataFrame:
    """Returns test accuracy, a row per arm and theme; the commonest themes first.

    Args:
        least: test examples that a theme must have.
    """
    return _accuracy(arms, _themes(arms.test, least), "theme")


def caught_by_theme(
    arms: Arms, student: str, *, positive: int = 1, least: int = LEAST
) -> pd.DataFrame:
    """Measures per theme which dangerous examples a student catches that its supervisor misses.

    An arm catches an example of class `positive` if it predicts that class. A student that calls
    more examples dangerous catches more: its false alarms stand in the same row.

    Args:
        student: an arm.
        positive: the dangerous class.
        least: test examples that a theme must have.
    Returns:
        A row per theme, the commonest first, and a last one of all, each number with its 95 %
        interval: n_dangerous; caught_weak and caught, the shares of dangerous examples that
        supervisor and student catch; of_missed, the share that the student catches of those that
        its supervisor misses; lost, the share that it misses of those that its supervisor catches;
        alarms_weak and alarms, the shares of other examples that are called dangerous;
        accuracy_gain, the student's accuracy minus the supervisor's, paired. A theme without
        dangerous or without other examples has NaN there.
    Raises:
        UnknownName: no such arm.
        ValueError: answers; no such class; examples without themes.
    """
    test = arms.test
    _check_positive(arms, positive)
    called, called_weak = (likeliest(arms.probs(arm)) == positive for arm in (student, WEAK))
    right, weak_right = (
        metrics.correct(arms.probs(arm), test.hard_label).astype(float) for arm in (student, WEAK)
    )
    dangerous = np.broadcast_to(test.hard_label == positive, called.shape)
    parts = {**_themes(test, least), "all": np.ones(len(test), dtype=bool)}
    rows = []
    for theme, part in parts.items():
        harmful, harmless = dangerous & part, ~dangerous & part
        shares = {
            "caught_weak": (called_weak, harmful),
            "caught": (called, harmful),
            "of_missed": (called, harmful & ~called_weak),
            "lost": (~called, harmful & called_weak),
            "alarms_weak": (called_weak, harmless),
            "alarms": (called, harmless),
            "accuracy_gain": (right - weak_right, np.broadcast_to(part, right.shape)),
        }
        row: dict = {"theme": theme, "n": int(part.sum()), "n_dangerous": int(harmful[0].sum())}
        for name, (what, among) in shares.items():
            row |= metrics.share(what, among, group=test.group).as_dict(name)
        rows.append(row)
    return pd.DataFrame(rows)


def newly_caught(arms: Arms, student: str, *, positive: int = 1, n: int = 3) -> pd.DataFrame:
    """Returns the dangerous test examples that a student calls dangerous in more seeds than its
    supervisor does, the largest difference first.

    They are chosen for the difference, so they illustrate and prove nothing.

    Args:
        student: an arm.
        positive: the dangerous class.
        n: rows at most.
    Returns:
        Columns text (of a pair, both), theme (the first), called_weak and called: the shares of
        seeds in which supervisor and student call the example dangerous.
    Raises:
        UnknownName: no such arm.
        ValueError: answers; no such class; examples without themes.
    """
    test = arms.test
    _check_positive(arms, positive)
    themes = facts_of(test).themes
    weak, called = (
        (likeliest(arms.probs(arm)) == positive).mean(axis=0) for arm in (WEAK, student)
    )
    more = np.where(test.hard_label == positive, called - weak, -np.inf)
    order = np.argsort(-more, kind="stable")
    rows = [
        {
            "text": "\n\n".join(test.texts[i]),
            "theme": next(iter(themes.iloc[i]), ""),
            "called_weak": float(weak[i]),
            "called": float(called[i]),
        }
        for i in order[more[order] > 0][:n]
    ]
    return pd.DataFrame(rows, columns=["text", "theme", "called_weak", "called"])


def _check_positive(arms: Arms, positive: int) -> None:
    """Refuses a task that is answered by generating, and what is no number of a class."""
    arms.test.need_classes("what is caught")
    if type(positive) is not int or not 0 <= positive < arms.test.n_classes:
        last = arms.test.n_classes - 1
        raise ValueError(f"positive = {positive!r}; expected a class from 0 to {last}")


def held_out(task: str, weak: str, strong: str, themes: Iterable[str], **arms_args) -> pd.DataFrame:
    """Tests arms on a theme that no model was trained on, and on the same examples after training
    on as many that have it.

    For each theme the whole experiment runs twice: halves and validation without the theme, and
    without as many examples of any theme. Both are tested on the test examples of the theme.

    Args:
        task, weak, strong: as in `run_arms`.
        themes: of the task's examples, such as kinds of harm.
        arms_args: of every `run_arms`, such as seeds, n_train or method.
    Returns:
        A row per theme and arm: n_train, n_test; accuracy_seen, trained on the theme too;
        accuracy_unseen, trained without it; change, the second minus the first, paired by example
        and seed. Each with its 95 % interval.
    Raises:
        UnknownName, ValueError: a theme that the task does not have, or that all examples have;
            else as `run_arms`.
    """
    refuse_own(arms_args, "held_out", {"stress": "themes=", "variant": "themes="})
    listed = [themes] if isinstance(themes, str) else list(themes)
    rows = []
    for theme in listed:
        without = stress.without(theme)
        unseen, seen = (
            run_arms(task, weak, strong, stress=each, **arms_args)
            for each in (without, without.control or stress.NONE)
        )
        test = unseen.test
        of_theme = has_theme(test, theme)
        about = {"theme": theme, "n_train": len(unseen.tasks[0].student), "n_test": of_theme.sum()}
        label, group = test.hard_label[of_theme], test.group[of_theme]
        for arm in unseen.fits:
            probs = [arms.probs(arm)[:, of_theme] for arms in (seen, unseen)]
            row = {**about, "arm": arm}
            for name, each in zip(("accuracy_seen", "accuracy_unseen"), probs, strict=True):
                row |= metrics.accuracy(each, label, group=group).as_dict(name)
            change = metrics.difference(probs[1], probs[0], label, group=group)
            rows.append(row | change.as_dict("change"))
    return pd.DataFrame(rows)


def _themes(split: Split, least: int) -> dict[str, np.ndarray]:
    """Returns which examples have each theme, {theme: (n,) bool}, the commonest first."""
    themes = facts_of(split).themes
    counts = themes.explode().value_counts()
    return {theme: has_theme(split, theme) for theme in counts.index[counts >= least]}


def _accuracy(arms: Arms, parts: dict[str, np.ndarray], column: str) -> pd.DataFrame:
    """Returns accuracy in parts of the test set, {name: (n,) bool}; empty parts have no row."""
    group = arms.test.group
    rows = []
    for arm in arms.fits:
        right = metrics.correct(arms.probs(arm), arms.hard_label)
        for name, inside in parts.items():
            if not inside.any():
                continue
            share = metrics.share(right, np.broadcast_to(inside, right.shape), group=group)
            n = int(inside.sum())
            rows.append({"arm": arm, column: name, "n": n, **share.as_dict("accuracy")})
    columns = ["arm", column, "n", "accuracy", "accuracy_low", "accuracy_high"]
    return pd.DataFrame(rows, columns=columns)
