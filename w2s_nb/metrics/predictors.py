"""Computes numbers that are said to predict what a student gains, from features and weak labels.

None looks at the truth. Features are frozen hidden states, (n, d), of the same n texts, or
(n, 2, d) of pairs of texts, of which the difference is taken; labels are the supervisor's, (n, K),
rows that sum to 1. `misfit` and `agreement` of `imitation` need no truth either, but a trained
student.
"""

from __future__ import annotations

import numpy as np

from ..common.seeds import check_count, check_seed
from .classification import paired, probs_of

RIDGE = 0.1  # of a projection, as a share of the kernel's mean eigenvalue, as RADS takes it
FOLDS = 5


def cka(weak_features, strong_features) -> float:
    """Computes the linear centred kernel alignment of two models' features, from 0 to 1.

    ||X_s' X_w||^2 / (||X_w' X_w|| ||X_s' X_s||), in Frobenius norms, of centred features. It is 1
    for features that differ by a rotation, a shift and a scale alone.

    Args:
        weak_features: (n, d) float; strong_features: (n, e) float.
    Raises:
        ValueError: other texts, numbers that are not finite, or features that are all alike.
    Source: Kornblith et al. 2019 (arXiv 1905.00414), section 3.
    """
    weak, strong = _centred_pair(weak_features, strong_features)
    of_weak, of_strong = weak @ weak.T, strong @ strong.T
    size = np.linalg.norm(of_weak) * np.linalg.norm(of_strong)
    if size == 0:
        raise ValueError("features of all texts are the same; expected ones that differ")
    return float((of_weak * of_strong).sum() / size)


def unreached(weak_features, strong_features, labels, *, ridge: float = RIDGE) -> float:
    """Computes how much of the labels strong features express and weak features do not.

    The mean over texts of ||P_s (I - P_w) y||^2, where y are the centred labels and P projects on
    features by ridge regression: K (K + r I)^-1 of the kernel K = X X' / n of centred features. Of
    two classes it is counted once, as of P(y = 1). With the true labels it is how far the student
    stays below its best for being taught by weak labels; here the supervisor's stand for them.

    Args:
        weak_features: (n, d); strong_features: (n, e); labels: (n, K), rows sum to 1.
        ridge: r as a share of the mean eigenvalue of K, above 0.
    Raises:
        ValueError: other texts, numbers that are not finite, another ridge.
    Source: Xue, Li and Mirzasoleiman 2025 (arXiv 2502.00620), with the ridge of RADS.
    """
    weak, strong = _centred_pair(weak_features, strong_features)
    y = _centred_labels(labels, len(weak))
    rest = y - _project(weak, y, ridge)
    return float(np.square(_project(strong, rest, ridge)).sum() / 2 / len(y))


def rads(
    weak_features,
    strong_features,
    labels,
    *,
    ridge: float = RIDGE,
    folds: int = FOLDS,
    seed: int = 0,
) -> np.ndarray:
    """Scores texts by the part of their label that only strong features express.

    |P_s (y - p_w)|, where p_w is predicted from weak features by ridge regression on the other
    folds, and P_s projects on strong features as in `unreached`. A high score is a text to train
    on. The authors predict p_w with an ensemble of small networks; this is their linear variant.

    Args:
        weak_features, strong_features, labels, ridge: as in `unreached`.
        folds: into which texts are dealt, at least 2; seed: of the deal.
    Returns:
        (n,) float, from 0.
    Raises:
        ValueError: as `unreached`; more folds than texts.
    Source: SprocketLab 2026, rads-w2s-generalization, score_rads.py.
    """
    weak, strong = _centred_pair(weak_features, strong_features)
    y = _centred_labels(labels, len(weak))
    check_count(folds, "folds", low=2)
    if folds > len(y):
        raise ValueError(f"folds = {folds} of {len(y)} texts; expected at most one per text")
    order = np.random.default_rng(check_seed(seed)).permutation(len(y))
    predicted = np.empty_like(y)
    for held_out in np.array_split(order, folds):
        others = np.setdiff1d(order, held_out)
        predicted[held_out] = _ridge_predict(weak[others], y[others], weak[held_out], ridge)
    return np.sqrt(np.square(_project(strong, y - predicted, ridge)).sum(axis=1) / 2)


def rads_mean(weak_features, strong_features, labels, **rads_args) -> float:
    """Computes the mean of `rads` over texts; arguments and errors are its own."""
    return float(rads(weak_features, strong_features, labels, **rads_args).mean())


def overlap(labels, strong_features) -> np.ndarray:
    """Scores texts by how near they are, for the strong model, to those the supervisor finds hard.

    Texts are hard whose labels are less confident than where the sorted confidences are best cut in
    two (least squares). The others get 1 + the largest absolute cosine of their strong features
    with those of a hard text; hard ones get 0.

    Args:
        labels: (n, K), rows sum to 1; strong_features: (n, d).
    Returns:
        (n,) float: 0, or from 1 to 2.
    Raises:
        ValueError: other texts, fewer than 4, numbers that are not finite, or labels that are all
            equally confident, as hard ones are.
    Source: Shin, Cooper and Sala 2025 (arXiv 2412.03881), algorithm 1.
    """
    confidence = probs_of(labels)[0].max(axis=1)
    states = _features(strong_features, len(confidence))
    ordered = np.sort(confidence)
    least_easy = ordered[change_point(ordered)]
    if ordered[0] == ordered[-1]:
        raise ValueError(
            f"labels of all {len(ordered)} texts have the confidence {ordered[0]:.3g}; expected "
            f"soft labels"
        )
    # equally confident texts stay on one side, whatever their order
    is_hard = confidence < max(least_easy, ordered[ordered > ordered[0]][0])
    lengths = np.linalg.norm(states, axis=1, keepdims=True)
    unit = states / np.where(lengths == 0, 1, lengths)
    nearness = np.abs(unit @ unit[is_hard].T).max(axis=1)
    return np.where(is_hard, 0.0, 1 + nearness.clip(max=1))


def overlap_density(labels, strong_features) -> float:
    """Computes the share of texts that are easy for the supervisor and near to hard ones.

    They are the texts whose score by `overlap` is above the best cut of the easy texts' scores.

    Args: as of `overlap`.
    Raises:
        ValueError: as `overlap`.
    Source: Shin, Cooper and Sala 2025 (arXiv 2412.03881), algorithm 1.
    """
    scores = overlap(labels, strong_features)
    easy = np.sort(scores[scores > 0])
    if len(easy) < 4 or easy[0] == easy[-1]:
        return len(easy) / len(scores)
    return (len(easy) - change_point(easy)) / len(scores)


def change_point(values: np.ndarray) -> int:
    """Finds where sorted numbers are best cut in two: with the least sum of squares in both parts.

    Args:
        values: (n,) sorted, at least 4.
    Returns:
        How many are in the lower part, from 2 to n - 2.
    Raises:
        ValueError: fewer than 4.

    >>> change_point(np.array([0.5, 0.52, 0.9, 0.91, 0.92]))
    2
    """
    n = len(values)
    if n < 4:
        raise ValueError(f"{n} numbers; expected at least 4 to cut in two")
    sums, squares = np.cumsum(values), np.cumsum(np.square(values))
    below = np.arange(2, n - 1)
    lower = squares[below - 1] - sums[below - 1] ** 2 / below
    upper = squares[-1] - squares[below - 1] - (sums[-1] - sums[below - 1]) ** 2 / (n - below)
    return int(below[np.argmin(lower + upper)])


def confidence(student) -> float:
    """Computes the mean probability that a student gives its likeliest class.

    Args:
        student: (n, K), rows sum to 1.
    """
    return float(probs_of(student).max(axis=-1).mean())


def capa(student, weak) -> float:
    """Computes agreement beyond chance of two models, whose accuracies their confidence stands for.

    (o - e) / (1 - e), as `imitation.similarity`, with the mean probability of a model's likeliest
    class in the place of its accuracy, which needs the truth.

    Args:
        student, weak: (n, K), rows sum to 1.
    Returns:
        At most 1; NaN of two models that are certain everywhere.
    Source: Goel et al. 2025 (arXiv 2502.04313), with that replacement.
    """
    student, weak = paired(student, weak)
    same = float((student * weak).sum(axis=-1).mean())
    q_student, q_weak = confidence(student), confidence(weak)
    n_wrong = student.shape[-1] - 1
    chance = q_student * q_weak + (1 - q_student) * (1 - q_weak) / n_wrong
    return (same - chance) / (1 - chance) if chance < 1 else float("nan")


def _features(features, n: int | None = None) -> np.ndarray:
    """Returns features as (n, d) float64, checked; of pairs the second text's minus the first's."""
    features = np.asarray(features, dtype=np.float64)
    if features.ndim == 3 and features.shape[1] == 2:
        features = features[:, 1] - features[:, 0]
    if features.ndim != 2 or len(features) < 2 or (n is not None and len(features) != n):
        texts = "(n, d)" if n is None else f"({n}, d), the same texts"
        raise ValueError(f"features of shape {features.shape}; expected {texts}")
    if not np.isfinite(features).all():
        raise ValueError(f"{(~np.isfinite(features)).sum()} numbers of features are not finite")
    return features


def _centred_pair(weak_features, strong_features) -> tuple[np.ndarray, np.ndarray]:
    weak = _features(weak_features)
    strong = _features(strong_features, len(weak))
    return weak - weak.mean(axis=0), strong - strong.mean(axis=0)


def _centred_labels(labels, n: int) -> np.ndarray:
    probs = probs_of(labels)
    if probs.shape[:2] != (1, n):
        raise ValueError(f"labels of shape {np.shape(labels)}; expected ({n}, K), the same texts")
    return probs[0] - probs[0].mean(axis=0)


def _penalty(features: np.ndarray, ridge: float) -> float:
    """Returns r in units of the kernel X X', whose mean eigenvalue is the mean squared length."""
    if isinstance(ridge, bool) or not isinstance(ridge, (int, float)) or not ridge > 0:
        raise ValueError(f"ridge = {ridge!r}; expected a number above 0")
    return ridge * float(np.square(features).sum()) / len(features) + 1e-12


def _project(features: np.ndarray, y: np.ndarray, ridge: float) -> np.ndarray:
    """Returns P y: what ridge regression on centred features gives for its own texts."""
    return _ridge_fit(features, y, features, _penalty(features, ridge))


def _ridge_predict(
    features: np.ndarray, y: np.ndarray, of_others: np.ndarray, ridge: float
) -> np.ndarray:
    """Returns predictions (m, K) for other texts; the mean of y is not penalised."""
    mean = y.mean(axis=0)
    return mean + _ridge_fit(features, y - mean, of_others, _penalty(features, ridge))


def _ridge_fit(x: np.ndarray, y: np.ndarray, x_new: np.ndarray, penalty: float) -> np.ndarray:
    n, d = x.shape
    if d <= n:
        weights = np.linalg.solve(x.T @ x + penalty * np.eye(d), x.T @ y)
    else:
        weights = x.T @ np.linalg.solve(x @ x.T + penalty * np.eye(n), y)
    return x_new @ weights
