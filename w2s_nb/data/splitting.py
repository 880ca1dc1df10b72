"""Groups, orders and deals examples: pure functions on arrays of labels and groups."""

from __future__ import annotations

import hashlib
import itertools
from collections import Counter
from collections.abc import Hashable, Sequence

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components


def group_ids(keys: list[tuple[Hashable, ...]]) -> np.ndarray:
    """Joins examples that share a key, directly or through others, into groups.

    Args:
        keys: n tuples, the keys of each example.
    Returns:
        (n,) int64 group of each example: its component of the graph of shared keys.

    >>> keys = [("question a", "passage"), ("question b", "passage"), ("question c", "other")]
    >>> group_ids(keys).tolist()
    [0, 0, 1]
    """
    column: dict[Hashable, int] = {}
    edges = []
    for example, keys_of_example in enumerate(keys):
        edges += [(example, column.setdefault(key, len(column))) for key in keys_of_example]
    pairs = np.array(edges)
    n = len(keys)
    size = n + len(column)  # examples first, then keys
    graph = coo_array((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1] + n)), shape=(size, size))
    return connected_components(graph, directed=False)[1][:n].astype(np.int64)


def pair_answers(
    question: Sequence[Hashable | None], label: np.ndarray, ids: Sequence[str]
) -> np.ndarray:
    """Pairs the right answers of each question with as many wrong ones, in the order of their ids.

    Ids are hashes, so they draw which answers are used.

    Args:
        question: n names; None for an example that is no answer to a question.
        label: (n,) 0 or 1.
    Returns:
        (n,) int64: one number for both answers of a pair, a number of its own for an example
        without a question, -1 for an answer that is left out.

    >>> question = ["a", "a", "a", None, "b"]
    >>> pair_answers(question, np.array([1, 0, 0, 1, 1]), ["1", "3", "2", "4", "5"]).tolist()
    [0, -1, 0, 3, -1]
    """
    unit = np.arange(len(ids), dtype=np.int64)
    answers: dict[Hashable, tuple[list[int], list[int]]] = {}
    for row in sorted(range(len(ids)), key=ids.__getitem__):
        if question[row] is not None:
            answers.setdefault(question[row], ([], []))[label[row]].append(row)
    for wrong, right in answers.values():
        unit[wrong + right] = -1
        for pair in zip(wrong, right, strict=False):  # the longer list's rest is left out
            unit[list(pair)] = min(pair)
    return unit


def apportion(n: int, weights: np.ndarray) -> np.ndarray:
    """Divides n by the weights of K classes, by largest remainder; of equal ones the lower class's.

    Args:
        weights: (K,) whole numbers from 0, of which one is larger.
    Returns:
        (K,) int64 whose sum is n.
    Source: the method of Hamilton, 1792.

    >>> apportion(6, np.array([1, 1, 1])).tolist(), apportion(5, np.array([10, 5, 5])).tolist()
    ([2, 2, 2], [3, 1, 1])
    """
    weights = np.asarray(weights, dtype=np.int64)
    counts, remainders = np.divmod(n * weights, weights.sum())
    largest = np.argsort(-remainders, kind="stable")[: n - counts.sum()]
    counts[largest] += 1
    return counts


def most_of(counts: np.ndarray, weights: np.ndarray, step: int = 1) -> int:
    """Returns how many of so many examples of K classes can be used in the weights' proportions.

    Args:
        counts, weights: (K,) whole numbers from 0.
        step: divides the result.

    >>> most_of(np.array([5, 3]), np.array([1, 1]), 2), most_of(np.array([5, 3]), np.array([2, 1]))
    (6, 8)
    """
    if not weights.all():
        return 0  # of a class that has no example there is no proportion
    # a class has at most the next whole number above its exact part
    n = int(((counts + 1) * weights.sum() // weights).min()) // step * step
    while (apportion(n, weights) > counts).any():
        n -= step
    return n


def balance(
    rows: np.ndarray, label: np.ndarray, unit: np.ndarray, wanted: np.ndarray
) -> np.ndarray:
    """Returns `rows` without the last ones of too large classes that stand in no pair.

    Args:
        wanted: (K,) examples of each class that stay, at most as many as there are.
    """
    counts = np.bincount(label[rows], minlength=len(wanted))
    alone = np.bincount(unit[rows], minlength=1)[unit[rows]] == 1
    surplus: list[int] = []
    for of_class, n_more in enumerate(counts - wanted):
        members = np.flatnonzero(alone & (label[rows] == of_class))
        surplus += members[len(members) - n_more :].tolist()
    return np.delete(rows, np.array(surplus, dtype=np.int64))


def hash_order(group: np.ndarray, ids: list[str]) -> np.ndarray:
    """Orders examples by group, and within a group by id.

    Groups come in the order of a hash of their smallest id, which no seed, no other group and no
    group's size changes. (The smallest ids themselves would put large groups first.)

    Returns:
        (n,) int64 rows.
    """
    smallest: dict[int, str] = {}
    for g, i in zip(group.tolist(), ids, strict=True):
        smallest[g] = min(smallest.get(g, i), i)
    rank = {g: hashlib.sha256(i.encode()).hexdigest() for g, i in smallest.items()}
    order = sorted(range(len(ids)), key=lambda row: (rank[int(group[row])], ids[row]))
    return np.array(order, dtype=np.int64)


def at_least(
    rows: np.ndarray, label: np.ndarray, group: np.ndarray, per_class: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Cuts `rows` after the first group at which every class has as many examples as it wants.

    Args:
        per_class: (K,) examples that the classes want.
    Returns:
        (rows up to there, the rest).
    """
    ends = [
        np.searchsorted(np.cumsum(label[rows] == of_class), n)
        for of_class, n in enumerate(per_class)
    ]
    end = int(max(ends)) + 1
    while end < len(rows) and group[rows[end]] == group[rows[end - 1]]:
        end += 1
    return rows[:end], rows[end:]


def shuffle_groups(rows: np.ndarray, group: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Returns `rows` with their groups in random order, each group whole."""
    rank = {g: r for r, g in enumerate(rng.permutation(np.unique(group[rows])).tolist())}
    return rows[np.argsort([rank[g] for g in group[rows].tolist()], kind="stable")]


def deal(
    rows: np.ndarray,
    label: np.ndarray,
    group: np.ndarray,
    unit: np.ndarray,
    per_class: dict[str, np.ndarray],
) -> dict[str, np.ndarray]:
    """Deals whole groups, in the order given, to parts that each want so many examples of every
    class.

    A group goes to the first part that can take all of it; failing that, to the first that can take
    some of its units (the right and the wrong answer of one question), and the rest of it is left
    out. No group ever stands in two parts, no unit is cut, no part exceeds its number.

    Args:
        rows: positions of examples, groups contiguous.
        label, group, unit: (n,) of all examples.
        per_class: (K,) examples of the classes that each part wants.
    Returns:
        {part: positions of its examples}.
    """
    need = {part: list(map(int, n)) for part, n in per_class.items()}
    dealt: dict[str, list[int]] = {part: [] for part in per_class}
    label_of, unit_of = label.tolist(), unit.tolist()

    def take(part: str, members: list[int]) -> bool:
        counts = Counter([label_of[member] for member in members])
        if any(need[part][of_class] < n for of_class, n in counts.items()):
            return False
        for of_class, n in counts.items():
            need[part][of_class] -= n
        dealt[part] += members
        return True

    starts = np.flatnonzero(np.diff(group[rows], prepend=-1)).tolist()
    n_needed = sum(map(sum, need.values()))
    positions = rows.tolist()
    for start, end in itertools.pairwise([*starts, len(positions)]):
        if sum(map(len, dealt.values())) == n_needed:
            break  # every part is full
        members = positions[start:end]
        if any(take(part, members) for part in need):
            continue
        units: dict[int, list[int]] = {}
        for member in members:
            units.setdefault(unit_of[member], []).append(member)
        for part in need:
            if any([take(part, of_unit) for of_unit in units.values()]):
                break  # the first part that takes any unit keeps the group
    return {part: np.array(positions, dtype=np.int64) for part, positions in dealt.items()}
