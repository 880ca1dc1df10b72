"""Checks of a reader's own answers: each runs the answer on inputs of its own and says what was expected."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import torch

from ... import losses, metrics
from ...chess import rules
from ...data.tasks.spec import Example
from ...metrics import imitation
from .verdict import verdict


def _halves(p1: np.ndarray) -> np.ndarray:
    """(n, 2) probabilities of both classes, from those of class 1."""
    return np.stack([1 - p1, p1], axis=1)


def check_pgr(mine: Callable[[float, float, float], float]) -> bool:
    """Checks `mine(weak, student, ceiling)`, accuracies: half way, a quarter, above the ceiling, below weak."""
    return verdict(
        "performance gap recovered",
        mine,
        ((0.6, 0.7, 0.8), 0.5),
        ((0.5, 0.6, 0.9), 0.25),
        ((0.6, 0.85, 0.8), 1.25),
        ((0.6, 0.55, 0.8), -0.25),
    )


def check_student_accuracy(mine: Callable[[float, int, int, int], float]) -> bool:
    """Checks `mine(weak, corrected, new, n)`: accuracy of a student that corrects so many of its supervisor's mistakes
    on n test examples, and makes so many new ones."""
    return verdict(
        "accuracy of the student", mine, ((0.7, 20, 5, 100), 0.85), ((0.8, 3, 7, 50), 0.72)
    )


def check_calibration_error(mine: Callable[[np.ndarray, np.ndarray], float]) -> bool:
    """Checks `mine(probs (n, 2), hard_label (n,))` against `metrics.calibration_error` with 10 bins."""
    rng = np.random.default_rng(0)
    p1 = rng.random(400)
    probs, label = _halves(p1), (rng.random(400) < p1**2).astype(int)
    return verdict(
        "expected calibration error",
        mine,
        ((probs, label), metrics.calibration_error(probs, label, resamples=0).value),
    )


def check_most_confident(mine: Callable[[np.ndarray, float], np.ndarray]) -> bool:
    """Checks `mine(probs (n, 2), share)`: (n,) bool, the share of labels with the most probable likelier class."""
    probs = _halves(np.array([0.9, 0.55, 0.2, 0.7]))
    return verdict(
        "the more confident share",
        mine,
        ((probs, 0.5), np.array([True, False, True, False])),
        ((probs, 0.25), np.array([True, False, False, False])),
    )


def check_gap_closed(mine: Callable[[np.ndarray, np.ndarray, np.ndarray], float]) -> bool:
    """Checks `mine(weak, student, ceiling)`, accuracies (seeds,): PGR of the means, not the mean of PGRs."""
    weak, student, ceiling = np.array([0.70, 0.74]), np.array([0.75, 0.75]), np.array([0.80, 0.75])
    return verdict("PGR over seeds", mine, ((weak, student, ceiling), 0.03 / 0.055))


def check_gap_error(mine: Callable[[np.ndarray, np.ndarray], float]) -> bool:
    """Checks `mine(weak_right (n,), ceiling_right (n,))`, masks of the same examples: standard error of the gap in
    accuracy; dividing by n or by n - 1 makes no difference here."""
    rng = np.random.default_rng(0)
    ceiling = rng.random(1000) < 0.85
    weak = np.where(
        rng.random(1000) < 0.8, ceiling, rng.random(1000) < 0.4
    )  # often wrong on the same examples
    expected = float(np.std(ceiling.astype(float) - weak) / np.sqrt(1000))
    return verdict(
        "standard error of the gap", mine, ((weak, ceiling), expected), tolerance=expected / 500
    )


def check_confidence_targets(
    mine: Callable[[torch.Tensor, torch.Tensor, float], torch.Tensor],
) -> bool:
    """Checks `mine(logits (b, 2), targets (b, 2), a)`: the targets (b, 2) of the confidence loss at weight a."""
    generator = torch.Generator().manual_seed(0)
    logits, targets = torch.randn(8, 2, generator=generator), torch.rand(8, 1, generator=generator)
    targets = torch.cat([1 - targets, targets], dim=1)
    score = logits[:, 1] - logits[:, 0]
    guess = torch.nn.functional.one_hot((score > score.quantile(0.5)).long(), 2)
    return verdict(
        "targets of the confidence loss",
        mine,
        *(((logits, targets, a), (1 - a) * targets + a * guess) for a in (0.25, 0.5)),
    )


def check_alpha(mine: Callable[[float], float]) -> bool:
    """Checks `mine(progress)`: the weight of the student's guess, rising to 0.75 over the first fifth of training."""
    return verdict(
        "the weight of the student's guess",
        mine,
        *(((p,), 0.75 * losses.ramp(p, 0.2)) for p in (0.0, 0.05, 0.1, 0.2, 0.6, 1.0)),
    )


def check_passed_on(mine: Callable[[np.ndarray, np.ndarray], float]) -> bool:
    """Checks `mine(supervisor_right (n,), student_right (n,))`: the share of the supervisor's mistakes that stay."""
    supervisor = np.array([True, False, False, False, True, False, True])
    student = np.array([True, False, False, True, False, False, False])
    return verdict("mistakes passed on", mine, ((supervisor, student), 0.75))


def check_labels_a_step(mine: Callable[[int, int], tuple[float, float]]) -> bool:
    """Checks `mine(n_examples, n_models)`: labels each student is trained on, with fresh data and with the same."""
    return verdict("labels a step", mine, ((600, 4), (200, 600)), ((600, 2), (600, 600)))


def check_misfit(mine: Callable[[np.ndarray, np.ndarray], float]) -> bool:
    """Checks `mine(student (n,), weak (n,))`, P(y = 1) of both, against `imitation.misfit`."""
    rng = np.random.default_rng(0)
    student, weak = rng.random(50), rng.random(50)
    return verdict(
        "misfit", mine, ((student, weak), imitation.misfit(_halves(student), _halves(weak)).value)
    )


def check_longest(mine: Callable[[np.ndarray, int], np.ndarray]) -> bool:
    """Checks `mine(lengths (n,), n_wrong)`: (n,) bool, the `n_wrong` longest texts."""
    lengths = np.array([12, 80, 33, 79, 5])
    return verdict(
        "the longest texts",
        mine,
        *(((lengths, n), np.isin(lengths, np.sort(lengths)[-n:])) for n in (2, 3)),
    )


def check_probe_gradient(mine: Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]) -> bool:
    """Checks `mine(x (n, d), p (n,), targets (n,))`: gradient (d,) of the mean cross-entropy with respect to the
    weights of a logistic probe that predicts p."""
    rng = np.random.default_rng(0)
    x, p, targets = rng.normal(size=(6, 3)), rng.random(6), rng.random(6)
    return verdict("gradient of the probe", mine, ((x, p, targets), x.T @ (p - targets) / 6))


def check_salience_gained(mine: Callable[[float, float, float], float]) -> bool:
    """Checks `mine(lp_gt, ft_weak_lp_gt, ft_gt)`, accuracies: the share of the gap between probing and finetuning on
    ground truth that probing the student closes."""
    return verdict("salience gained", mine, ((0.72, 0.78, 0.82), 0.6), ((0.80, 0.79, 0.85), -0.2))


def check_calibrated(mine: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> bool:
    """Checks `mine(probs (n, 2), free (2,))`: (n, 2) probabilities divided by those of content-free prompts."""
    probs, free = np.array([[0.3, 0.7], [0.1, 0.9]]), np.array([0.2, 0.8])
    ratio = probs / free
    return verdict(
        "calibrated probabilities", mine, ((probs, free), ratio / ratio.sum(axis=1, keepdims=True))
    )


def check_answer_score(mine: Callable[[np.ndarray, list[int]], float]) -> bool:
    """Checks `mine(log_p (m, v), answer)`: the log-probability of an answer of m tokens; row j of log_p is the
    distribution after the prompt and the answer's first j tokens."""
    log_p = np.log([[0.5, 0.3, 0.2], [0.1, 0.1, 0.8]])
    return verdict("score of an answer", mine, ((log_p, [1, 2]), float(np.log(0.3 * 0.8))))


def check_pair_probability(mine: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> bool:
    """Checks `mine(first (n,), second (n,))`, rewards of two responses: (n,) P(the second is better)."""
    first, second = np.array([0.0, 1.0, 2.0]), np.array([0.0, 3.0, -1.0])
    return verdict(
        "probability that the second is better",
        mine,
        ((first, second), 1 / (1 + np.exp(first - second))),
    )


def check_length_bias(mine: Callable[[np.ndarray, np.ndarray, np.ndarray], float]) -> bool:
    """Checks `mine(says (n,), label (n,), longer (n,))`, the text that is preferred, better, longer, 0 or 1 each: how
    much oftener the longer is preferred than it is the better."""
    says, label = np.array([1, 0, 0, 1, 0, 1, 0]), np.array([1, 1, 0, 0, 1, 1, 0])
    return verdict("length bias", mine, ((says, label, np.array([1, 0, 0, 1, 1, 0, 0])), 1 / 7))


def check_perplexity(mine: Callable[[np.ndarray, np.ndarray], float]) -> bool:
    """Checks `mine(nats (n,), tokens (n,))`, sums of n texts: the perplexity of all their tokens."""
    return verdict(
        "perplexity", mine, ((np.array([6.0, 40.0]), np.array([3, 10])), float(np.exp(46 / 13)))
    )


def check_targets(mine: Callable[[np.ndarray, int], np.ndarray]) -> bool:
    """Checks `mine(lengths (b,), t)`: (b, t) bool, the places of texts padded to t tokens on the right where there is a
    next token to predict."""
    expected = np.array([[1, 1, 0, 0], [0, 0, 0, 0], [1, 1, 1, 0]], dtype=bool)
    return verdict("where there is a next token", mine, ((np.array([3, 1, 4]), 4), expected))


def check_half_move(mine: Callable[[int], str]) -> bool:
    """Checks `mine(i)`: the number that stands before half-move i, counted from 0, as in '1. d4 1... Nf6 2. Nf3'."""
    words = rules.move_list(["e4"] * 43).split()[::2]
    return verdict("numbers of half-moves", mine, *(((i,), words[i]) for i in (0, 1, 2, 7, 42)))


def check_answer_nats(mine: Callable[[np.ndarray, np.ndarray, int], float]) -> bool:
    """Checks `mine(log_p (t, v), ids (t,), start)`: -log P of the tokens from `start` on, given those before; row i of
    log_p is what the model expects after token i."""
    rng = np.random.default_rng(0)
    log_p, ids = np.log(rng.dirichlet(np.ones(7), size=6)), rng.integers(7, size=6)
    return verdict(
        "loss of an answer", mine, ((log_p, ids, 4), -(log_p[3, ids[4]] + log_p[4, ids[5]]))
    )


def check_confidence(mine: Callable[[np.ndarray], np.ndarray]) -> bool:
    """Checks `mine(p1 (n,))`, P(y = 1): (n,) the probability of the class that is predicted."""
    return verdict(
        "confidence of a prediction",
        mine,
        ((np.array([0.1, 0.5, 0.8]),), np.array([0.9, 0.5, 0.8])),
    )


def check_best_of(mine: Callable[[int, float], float]) -> bool:
    """Checks `mine(n, standard_error)`, to 0.003: how far the best of n measurements of one value is above it, on
    average, where each has normal noise of that standard error."""
    return verdict(
        "the best of n", mine, ((1, 0.015), 0.0), ((20, 0.015), 1.86748 * 0.015), tolerance=3e-3
    )


def check_examples(mine: Callable[[dict], Iterable[Example]]) -> bool:
    """Checks `mine(row)`, a task's formatter of rows {text, stars, author}: an example of label 1 from 4 stars, 0 up to 2,
    none of 3, tied to others by its author."""

    def seen(stars: str) -> list[tuple[int, bool]]:
        made = mine({"text": "I wore it twice.", "stars": stars, "author": "ada"}) or ()
        return [(e.label, e.texts == ("I wore it twice.",) and "ada" in e.keys) for e in made]

    return verdict(
        "examples of a row: their label, and whether text and author are there",
        seen,
        (("5",), [(1, True)]),
        (("2",), [(0, True)]),
        (("3",), []),
        (("4",), [(1, True)]),
    )


def check_focal(mine: Callable[[torch.Tensor, torch.Tensor, float], torch.Tensor]) -> bool:
    """Checks `mine(logits (b, 2), targets (b, 2), gamma)`: (b,) cross-entropy times (1 - p)^gamma, where p is what the
    student gives the label, sum of softmax times target."""
    logits, targets = (
        torch.tensor([[1.0, 0.0], [2.0, -1.0]]),
        torch.tensor([[0.2, 0.8], [0.7, 0.3]]),
    )
    p = (logits.softmax(1) * targets).sum(1)
    expected = ((1 - p) ** 2 * -(targets * logits.log_softmax(1)).sum(1)).numpy()
    return verdict("the focal loss", mine, ((logits, targets, 2.0), expected))
