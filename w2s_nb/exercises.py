"""Checks of a reader's own answers: each runs the answer on inputs of its own and says what was expected."""
from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from . import games, imitation, losses, metrics


def _verdict(question: str, mine, expected, *, tolerance: float = 1e-6) -> bool:
    try:
        given = np.asarray(mine, dtype=float)  # what is left open, None, becomes NaN
        right = given.shape == np.shape(expected) and np.allclose(given, expected, atol=tolerance)
    except (TypeError, ValueError):
        right = False
    return _say(question, right, mine, expected)


def _say(question: str, right: bool, mine, expected) -> bool:
    print(f"{'right' if right else 'not yet'}: {question}" + ("" if right else f"\n  yours     {mine}\n"
                                                              f"  expected  {expected}"))
    return right


def check_pgr(mine: Callable[[float, float, float], float]) -> bool:
    """Checks `mine(weak, student, ceiling)`, accuracies, on three cases: half way, above the ceiling, below weak."""
    cases = [(0.6, 0.7, 0.8), (0.6, 0.85, 0.8), (0.6, 0.55, 0.8)]
    return _verdict("performance gap recovered", [mine(*c) for c in cases], [0.5, 1.25, -0.25])


def check_calibration_error(mine: Callable[[np.ndarray, np.ndarray], float]) -> bool:
    """Checks `mine(probs (n, 2), hard_label (n,))` against `metrics.calibration_error` with 10 bins."""
    rng = np.random.default_rng(0)
    p1 = rng.random(400)
    probs, label = np.stack([1 - p1, p1], axis=1), (rng.random(400) < p1 ** 2).astype(int)
    return _verdict("expected calibration error", mine(probs, label),
                    metrics.calibration_error(probs, label, resamples=0).value)


def check_most_confident(mine: Callable[[np.ndarray, float], np.ndarray]) -> bool:
    """Checks `mine(probs (n, 2), share)`: (n,) bool, the share of labels with the most probable likelier class."""
    probs = np.array([[0.1, 0.9], [0.45, 0.55], [0.8, 0.2], [0.3, 0.7]])
    return _verdict("the more confident half", np.asarray(mine(probs, 0.5)).astype(float), [1, 0, 1, 0])


def check_gap_closed(mine: Callable[[np.ndarray, np.ndarray, np.ndarray], float]) -> bool:
    """Checks `mine(weak, student, ceiling)`, accuracies (seeds,): PGR of the means, not the mean of PGRs."""
    weak, student, ceiling = np.array([0.70, 0.74]), np.array([0.75, 0.75]), np.array([0.80, 0.75])
    return _verdict("PGR over seeds", mine(weak, student, ceiling), 0.03 / 0.055)


def check_confidence_targets(mine: Callable[[torch.Tensor, torch.Tensor, float], torch.Tensor]) -> bool:
    """Checks `mine(logits (b, 2), targets (b, 2), a)`: the targets (b, 2) of the confidence loss at weight a."""
    generator = torch.Generator().manual_seed(0)
    logits, targets = torch.randn(8, 2, generator=generator), torch.rand(8, 1, generator=generator)
    targets = torch.cat([1 - targets, targets], dim=1)
    score = logits[:, 1] - logits[:, 0]
    guess = torch.nn.functional.one_hot((score > score.quantile(0.5)).long(), 2)
    return _verdict("targets of the confidence loss", mine(logits, targets, 0.5), 0.5 * targets + 0.5 * guess)


def check_alpha(mine: Callable[[float], float]) -> bool:
    """Checks `mine(progress)`: the weight of the student's guess, rising to 0.75 over the first fifth of training."""
    at = (0.0, 0.05, 0.1, 0.2, 0.6, 1.0)
    return _verdict("the weight of the student's guess", [mine(p) for p in at],
                    [0.75 * losses.ramp(p, 0.2) for p in at])


def check_passed_on(mine: Callable[[np.ndarray, np.ndarray], float]) -> bool:
    """Checks `mine(supervisor_right (n,), student_right (n,))`: the share of the supervisor's mistakes that stay."""
    supervisor = np.array([True, False, False, False, True, False])
    student = np.array([True, False, True, True, True, False])
    return _verdict("mistakes passed on", mine(supervisor, student), 0.5)


def check_labels_a_step(mine: Callable[[int, int], tuple[float, float]]) -> bool:
    """Checks `mine(n_examples, n_models)`: labels each student is trained on, with fresh data and with the same."""
    return _verdict("labels a step", [mine(600, 4), mine(600, 2)], [(200, 600), (600, 600)])


def check_misfit(mine: Callable[[np.ndarray, np.ndarray], float]) -> bool:
    """Checks `mine(student (n,), weak (n,))`, P(y = 1) of both, against `imitation.misfit`."""
    rng = np.random.default_rng(0)
    student, weak = rng.random(50), rng.random(50)
    both = [np.stack([1 - p, p], axis=1) for p in (student, weak)]
    return _verdict("misfit", mine(student, weak), imitation.misfit(*both).value)


def check_longest(mine: Callable[[np.ndarray, int], np.ndarray]) -> bool:
    """Checks `mine(lengths (n,), n_wrong)`: (n,) bool, the `n_wrong` longest texts."""
    lengths = np.array([12, 80, 33, 79, 5])
    return _verdict("the longest texts", np.asarray(mine(lengths, 2)).astype(float), [0, 1, 0, 1, 0])


def check_probe_gradient(mine: Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]) -> bool:
    """Checks `mine(x (n, d), p (n,), targets (n,))`: gradient (d,) of the mean cross-entropy with respect to the
    weights of a logistic probe that predicts p."""
    rng = np.random.default_rng(0)
    x, p, targets = rng.normal(size=(6, 3)), rng.random(6), rng.random(6)
    return _verdict("gradient of the probe", mine(x, p, targets), x.T @ (p - targets) / 6)


def check_salience_gained(mine: Callable[[float, float, float], float]) -> bool:
    """Checks `mine(lp_gt, ft_weak_lp_gt, ft_gt)`, accuracies: the share of the gap between probing and finetuning on
    ground truth that probing the student closes."""
    cases = [(0.72, 0.78, 0.82), (0.80, 0.79, 0.85)]
    return _verdict("salience gained", [mine(*c) for c in cases], [0.6, -0.2])


def check_calibrated(mine: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> bool:
    """Checks `mine(probs (n, 2), free (2,))`: (n, 2) probabilities divided by those of content-free prompts."""
    probs, free = np.array([[0.3, 0.7], [0.1, 0.9]]), np.array([0.2, 0.8])
    ratio = probs / free
    return _verdict("calibrated probabilities", mine(probs, free), ratio / ratio.sum(axis=1, keepdims=True))


def check_answer_score(mine: Callable[[np.ndarray, list[int]], float]) -> bool:
    """Checks `mine(log_p (m, v), answer)`: the log-probability of an answer of m tokens; row j of log_p is the
    distribution after the prompt and the answer's first j tokens."""
    log_p = np.log([[0.5, 0.3, 0.2], [0.1, 0.1, 0.8]])
    return _verdict("score of an answer", mine(log_p, [1, 2]), float(np.log(0.3 * 0.8)))


def check_pair_probability(mine: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> bool:
    """Checks `mine(first (n,), second (n,))`, rewards of two responses: (n,) P(the second is better)."""
    first, second = np.array([0.0, 1.0, 2.0]), np.array([0.0, 3.0, -1.0])
    return _verdict("probability that the second is better", mine(first, second), 1 / (1 + np.exp(first - second)))


def check_length_bias(mine: Callable[[np.ndarray, np.ndarray, np.ndarray], float]) -> bool:
    """Checks `mine(says (n,), label (n,), longer (n,))`, the text that is preferred, better, longer, 0 or 1 each: how
    much oftener the longer is preferred than it is the better."""
    says, label, longer = np.array([1, 0, 0, 1, 0]), np.array([1, 1, 0, 0, 0]), np.array([1, 0, 0, 1, 1])
    return _verdict("length bias", mine(says, label, longer), 0.4)


def check_perplexity(mine: Callable[[np.ndarray, np.ndarray], float]) -> bool:
    """Checks `mine(nats (n,), tokens (n,))`, sums of n texts: the perplexity of all their tokens."""
    return _verdict("perplexity", mine(np.array([6.0, 40.0]), np.array([3, 10])), float(np.exp(46 / 13)))


def check_targets(mine: Callable[[np.ndarray, int], np.ndarray]) -> bool:
    """Checks `mine(lengths (b,), t)`: (b, t) bool, the places of texts padded to t tokens on the right where there is a
    next token to predict."""
    expected = np.array([[1, 1, 0, 0], [0, 0, 0, 0], [1, 1, 1, 0]])
    return _verdict("where there is a next token", np.asarray(mine(np.array([3, 1, 4]), 4)).astype(float), expected)


def check_half_move(mine: Callable[[int], str]) -> bool:
    """Checks `mine(i)`: the number that stands before half-move i, counted from 0, as in '1. d4 1... Nf6 2. Nf3'."""
    at = (0, 1, 2, 7, 42)
    words = games.move_list(["e4"] * 43).split()[::2]
    given, expected = [mine(i) for i in at], [words[i] for i in at]
    return _say("numbers of half-moves", given == expected, given, expected)


def check_answer_nats(mine: Callable[[np.ndarray, np.ndarray, int], float]) -> bool:
    """Checks `mine(log_p (t, v), ids (t,), start)`: -log P of the tokens from `start` on, given those before; row i of
    log_p is what the model expects after token i."""
    rng = np.random.default_rng(0)
    log_p, ids = np.log(rng.dirichlet(np.ones(7), size=6)), rng.integers(7, size=6)
    return _verdict("loss of an answer", mine(log_p, ids, 4), -(log_p[3, ids[4]] + log_p[4, ids[5]]))
