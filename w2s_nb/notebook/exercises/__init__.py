"""Checks a reader's answers to exercises: runs each on known inputs and prints what was expected.

Each check takes a function, `answer`, and returns whether its results are right. `answer(x (n, d))`
in a docstring is the arguments that it is called with, and their shapes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import torch

from ... import losses, metrics
from ...data.tasks.spec import Example
from ...metrics import imitation, predictors
from .verdict import judge


def _both_classes(p1: np.ndarray) -> np.ndarray:
    """Returns (n, 2) probabilities of both classes, from those of class 1."""
    return np.stack([1 - p1, p1], axis=1)


def check_pgr(answer: Callable[[float, float, float], float]) -> bool:
    """Checks `answer(weak, student, ceiling)`, of accuracies: the performance gap recovered, also
    above the ceiling and below the supervisor.
    """
    return judge(
        "performance gap recovered",
        answer,
        ((0.6, 0.7, 0.8), 0.5),
        ((0.5, 0.6, 0.9), 0.25),
        ((0.6, 0.85, 0.8), 1.25),
        ((0.6, 0.55, 0.8), -0.25),
    )


def check_student_accuracy(answer: Callable[[float, int, int, int], float]) -> bool:
    """Checks `answer(weak, corrected, new, n)`: the accuracy of a student that on n test examples
    corrects `corrected` of its supervisor's mistakes and makes `new` others.
    """
    return judge(
        "accuracy of the student",
        answer,
        ((0.7, 20, 5, 100), 0.85),
        ((0.8, 3, 7, 50), 0.72),
        mistakes=[
            (
                lambda weak, corrected, new, n: weak + corrected / n,
                "its new mistakes are missing",
            )
        ],
    )


def check_calibration_error(answer: Callable[[np.ndarray, np.ndarray], float]) -> bool:
    """Checks `answer(probs (n, 2), hard_label (n,))` against `metrics.calibration_error` with 10
    bins.
    """
    rng = np.random.default_rng(0)
    p1 = rng.random(400)
    probs = _both_classes(p1)
    label = (rng.random(400) < p1**2).astype(int)
    expected = metrics.calibration_error(probs, label, resamples=0).value
    return judge("expected calibration error", answer, ((probs, label), expected))


def check_most_confident(answer: Callable[[np.ndarray, float], np.ndarray]) -> bool:
    """Checks `answer(probs (n, 2), share)`: (n,) bool, the share of labels whose likelier class has
    the highest probability.
    """
    probs = _both_classes(np.array([0.9, 0.55, 0.2, 0.7]))
    return judge(
        "the more confident share",
        answer,
        ((probs, 0.5), np.array([True, False, True, False])),
        ((probs, 0.25), np.array([True, False, False, False])),
    )


def check_gap_closed(answer: Callable[[np.ndarray, np.ndarray, np.ndarray], float]) -> bool:
    """Checks `answer(weak, student, ceiling)`, of accuracies (seeds,): PGR of the means, not the
    mean of PGRs.
    """
    weak = np.array([0.70, 0.74])
    student = np.array([0.75, 0.75])
    ceiling = np.array([0.80, 0.75])
    return judge(
        "PGR over seeds",
        answer,
        ((weak, student, ceiling), 0.03 / 0.055),
        mistakes=[
            (lambda w, s, c: ((s - w) / (c - w)).mean(), "the mean of PGRs: take means first")
        ],
    )


def check_gap_error(answer: Callable[[np.ndarray, np.ndarray], float]) -> bool:
    """Checks `answer(weak_right (n,), ceiling_right (n,))`, of masks of the same examples: the
    standard error of the gap in accuracy, divided by n or by n - 1.
    """
    rng = np.random.default_rng(0)
    ceiling = rng.random(1000) < 0.85
    # Both are often wrong on the same examples, so that an unpaired answer is wrong.
    same = rng.random(1000) < 0.8
    weak = np.where(same, ceiling, rng.random(1000) < 0.4)
    expected = float(np.std(ceiling.astype(float) - weak) / np.sqrt(1000))
    tolerance = expected / 500
    return judge(
        "standard error of the gap",
        answer,
        ((weak, ceiling), expected),
        tolerance=tolerance,
        mistakes=[
            (
                lambda w, c: np.sqrt((w.var() + c.var()) / len(w)),
                "as if the two had met different examples: take the difference on each first",
            )
        ],
    )


def check_confidence_targets(
    answer: Callable[[torch.Tensor, torch.Tensor, float], torch.Tensor],
) -> bool:
    """Checks `answer(logits (b, 2), targets (b, 2), a)`: the targets (b, 2) of the confidence loss
    at weight a.
    """
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(8, 2, generator=generator)
    p1 = torch.rand(8, 1, generator=generator)
    targets = torch.cat([1 - p1, p1], dim=1)
    score = logits[:, 1] - logits[:, 0]
    guess = torch.nn.functional.one_hot((score > score.quantile(0.5)).long(), 2)
    cases = [((logits, targets, a), (1 - a) * targets + a * guess) for a in (0.25, 0.5)]

    def at_half(logits, targets, a):
        return (1 - a) * targets + a * (logits.softmax(1) > 0.5)

    def exchanged(logits, targets, a):
        score = logits[:, 1] - logits[:, 0]
        guess = torch.nn.functional.one_hot((score > score.quantile(0.5)).long(), 2)
        return a * targets + (1 - a) * guess

    return judge(
        "targets of the confidence loss",
        answer,
        *cases,
        mistakes=[
            (at_half, "the threshold is 0.5; it must be the batch's median"),
            (exchanged, "the two weights are exchanged: a is that of the student's guess"),
        ],
    )


def check_guess_counts(answer: Callable[[np.ndarray], np.ndarray]) -> bool:
    """Checks `answer(targets (b, K))`: how many of a batch the confidence loss guesses to be of
    each class, (K,), by the shares of the weak labels and the largest remainders.
    """
    whole = np.array([[0.5, 0.25, 0.25], [0.5, 0.25, 0.25], [0.5, 0.5, 0.0], [0.5, 0.0, 0.5]])
    lacks_one = np.tile([0.5, 0.25, 0.25], (5, 1))
    lacks_two = np.tile([0.45, 0.45, 0.1], (4, 1))
    return judge(
        "guesses of each class",
        answer,
        ((whole,), np.array([2, 1, 1])),
        ((lacks_one,), np.array([3, 1, 1])),
        ((lacks_two,), np.array([2, 2, 0])),
    )


def check_alpha(answer: Callable[[float], float]) -> bool:
    """Checks `answer(progress)`: the weight of the student's guess, which rises to 0.75 over the
    first fifth of training.
    """
    cases = [((p,), 0.75 * losses.ramp(p, 0.2)) for p in (0.0, 0.05, 0.1, 0.2, 0.6, 1.0)]
    return judge("the weight of the student's guess", answer, *cases)


def check_passed_on(answer: Callable[[np.ndarray, np.ndarray], float]) -> bool:
    """Checks `answer(supervisor_right (n,), student_right (n,))`: the share of the supervisor's
    mistakes that the student makes too.
    """
    supervisor = np.array([True, False, False, False, True, False, True])
    student = np.array([True, False, False, True, False, False, False])
    return judge(
        "mistakes passed on",
        answer,
        ((supervisor, student), 0.75),
        mistakes=[
            (lambda w, s: (~s).mean(), "a share of all examples, not of the supervisor's mistakes"),
            (lambda w, s: (~w)[~s].mean(), "a share of the student's mistakes"),
        ],
    )


def check_median_pgr(
    answer: Callable[[np.ndarray, np.ndarray, np.ndarray, np.ndarray], float],
) -> bool:
    """Checks `answer(weak (t,), student (t,), ceiling (t,), gap_error (t,))`, of accuracies on t
    tasks: the median PGR over the tasks whose gap is larger than its standard error.
    """
    weak = np.array([0.6, 0.7, 0.65, 0.8, 0.75])
    student = np.array([0.7, 0.72, 0.8, 0.83, 0.7])
    ceiling = np.array([0.9, 0.9, 0.85, 0.81, 0.85])
    error = np.array([0.02, 0.02, 0.02, 0.02, 0.02])
    cases = ((weak, student, ceiling, error), 13 / 60), ((weak, student, ceiling, error / 4), 1 / 3)
    return judge("median of PGR over tasks", answer, *cases)


def check_difficulty(answer: Callable[[np.ndarray], np.ndarray]) -> bool:
    """Checks `answer(right (rungs, n))`, smallest model first: the index of the smallest rung from
    which all are right, and the number of rungs where the largest is wrong.
    """
    right = np.array(
        [
            [True, False, False, True, True, False],
            [True, True, False, False, True, False],
            [True, True, True, True, False, False],
        ]
    )
    return judge("difficulty", answer, ((right,), [0, 1, 2, 2, 3, 3]))


def check_holm(answer: Callable[[np.ndarray], np.ndarray]) -> bool:
    """Checks `answer(p (m,))` against `metrics.holm`: p-values of m tests, corrected."""
    cases = [np.array(p) for p in ([0.04], [0.01, 0.04, 0.03], [0.02, 0.021, 0.6, 0.9])]
    return judge("Holm's correction", answer, *(((p,), metrics.holm(p)) for p in cases))


def check_sign_flips(answer: Callable[[np.ndarray], float]) -> bool:
    """Checks `answer(gains (n,))`, right minus right of n examples: the share of all 2^n flips of
    signs whose sum is at least as far from 0.
    """
    cases = [np.array(gains) for gains in ([1, 1, 1, 1], [1, 0, -1, 1, 1], [-1, -1, 0, 0, 1, -1])]
    return judge(
        "p-value by sign flips",
        answer,
        *(((gains,), metrics.sign_flip_test(gains).p) for gains in cases),
    )


def check_best_public(
    answer: Callable[[np.ndarray, np.ndarray], tuple[float, float]],
) -> bool:
    """Checks `answer(right (g, n), public (n,))`, 1 where a guess is right on a test text and where
    a text is public: the accuracy on the public half of the guess that is best there (the first of
    several), and the same guess's accuracy on the sealed half.
    """
    rng = np.random.default_rng(0)
    public = np.arange(12) % 2 == 0
    few = np.array([[1, 1, 1, 0, 0, 1], [1, 0, 0, 1, 1, 1], [1, 1, 0, 0, 1, 1]])
    half = np.array([1, 1, 1, 0, 0, 0], dtype=bool)
    cases = [(few, half), (rng.integers(0, 2, (200, 12)), public)]

    def chosen(right: np.ndarray, public: np.ndarray, choose: np.ndarray) -> tuple[float, float]:
        best = right[:, choose].mean(axis=1).argmax()
        return float(right[best, public].mean()), float(right[best, ~public].mean())

    def each_best(right: np.ndarray, public: np.ndarray) -> tuple[float, float]:
        best_public, best_sealed = (right[:, h].mean(axis=1).max() for h in (public, ~public))
        return float(best_public), float(best_sealed)

    return judge(
        "the guess that the public half likes best",
        answer,
        *((case, chosen(*case, case[1])) for case in cases),
        mistakes=[
            (each_best, "a best guess for each half: who may not ask there cannot choose there"),
            (
                lambda right, public: chosen(right, public, np.ones(len(public), dtype=bool)),
                "the best guess of all texts: the sealed half has chosen too",
            ),
        ],
    )


def check_rank_correlation(answer: Callable[[np.ndarray, np.ndarray], float]) -> bool:
    """Checks `answer(x (m,), y (m,))` against `metrics.correlation` of ranks; equal numbers share
    the mean of their ranks.
    """
    cases = [
        (np.array([0.1, 0.2, 0.3, 0.4, 5.0]), np.array([1.0, 0.5, 2.0, 3.0, 2.5])),
        (np.array([0.0, 0.1, 0.1, 0.1, 0.4]), np.array([0.2, 0.3, 0.1, 0.5, 0.4])),
    ]

    def without_ties(x: np.ndarray, y: np.ndarray) -> float:
        x_rank, y_rank = (column.argsort(kind="stable").argsort() for column in (x, y))
        return float(np.corrcoef(x_rank, y_rank)[0, 1])

    return judge(
        "rank correlation",
        answer,
        *((case, metrics.correlation(*case, ranks=True, resamples=0).value) for case in cases),
        mistakes=[
            (
                lambda x, y: float(np.corrcoef(x, y)[0, 1]),
                "the correlation of the numbers themselves, which one point far out decides",
            ),
            (without_ties, "equal numbers have ranks of their own; they share the mean of them"),
        ],
    )


def check_cka(answer: Callable[[np.ndarray, np.ndarray], float]) -> bool:
    """Checks `answer(x (n, d), y (n, e))` against `predictors.cka`, of features of n texts."""
    rng = np.random.default_rng(0)
    x, noise = rng.normal(size=(8, 3)), rng.normal(size=(8, 2))
    cases = [(x, 2 * x[:, ::-1] + 1), (x, noise), (x + 3, np.hstack([x, noise]))]
    return judge(
        "linear centred kernel alignment",
        answer,
        *((case, predictors.cka(*case)) for case in cases),
    )


def check_partial_correlation(
    answer: Callable[[np.ndarray, np.ndarray, np.ndarray], float],
) -> bool:
    """Checks `answer(x (m,), y (m,), z (m,))` against `metrics.correlation` of x and y given z."""
    x, y, z = np.random.default_rng(0).normal(size=(3, 9))
    cases = [(x, y, z), (x + 2 * z, y + z, z), (x - z, x + y, 3 * z + 1)]
    return judge(
        "partial correlation",
        answer,
        *(((a, b, c), metrics.correlation(a, b, given=c, resamples=0).value) for a, b, c in cases),
    )


def check_precision(answer: Callable[[float, float, float], float]) -> bool:
    """Checks `answer(caught, alarms, rate)`: of the examples that a monitor calls dangerous, the
    share that are. It calls `caught` of the dangerous ones so and `alarms` of the others; `rate` of
    all are dangerous.
    """
    cases = ((0.5, 0.5, 0.01), 0.01), ((0.9, 0.1, 0.01), 1 / 12), ((0.8, 0.2, 0.5), 0.8)
    return judge("precision when harm is rare", answer, *cases)


def check_recall_at_budget(answer: Callable[[np.ndarray, np.ndarray, float], float]) -> bool:
    """Checks `answer(score (n,), label (n,), budget)` against `metrics.recall_at_budget`: the share
    of the examples of class 1 that are among the share `budget` with the highest scores.
    """
    score = np.array([0.1, 0.9, 0.6, 0.3, 0.8, 0.2, 0.7, 0.4, 0.05, 0.5])
    label = np.array([0, 1, 0, 0, 1, 1, 0, 1, 0, 1])
    cases = [(score, label, budget) for budget in (0.1, 0.5, 0.9)]
    recalls = [
        metrics.recall_at_budget(_both_classes(score), label, budget).value for *_, budget in cases
    ]
    return judge("recall at an audit budget", answer, *zip(cases, recalls, strict=True))


def check_labels_a_step(answer: Callable[[int, int], tuple[float, float]]) -> bool:
    """Checks `answer(n_examples, n_models)`: how many labels each student of a chain is trained on,
    with fresh data and with the same.
    """
    return judge("labels a step", answer, ((600, 4), (200, 600)), ((600, 2), (600, 600)))


def check_misfit(answer: Callable[[np.ndarray, np.ndarray], float]) -> bool:
    """Checks `answer(student (n,), weak (n,))`, of P(y = 1) of both, against `imitation.misfit`."""
    rng = np.random.default_rng(0)
    student = rng.random(50)
    weak = rng.random(50)
    expected = imitation.misfit(_both_classes(student), _both_classes(weak)).value
    return judge("misfit", answer, ((student, weak), expected))


def check_longest(answer: Callable[[np.ndarray, int], np.ndarray]) -> bool:
    """Checks `answer(lengths (n,), n_wrong)`: (n,) bool, the `n_wrong` longest texts."""
    lengths = np.array([12, 80, 33, 79, 5])
    cases = [((lengths, n), np.isin(lengths, np.sort(lengths)[-n:])) for n in (2, 3)]
    return judge("the longest texts", answer, *cases)


def check_probe_gradient(
    answer: Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray],
) -> bool:
    """Checks `answer(x (n, d), p (n,), targets (n,))`: the gradient (d,) of the mean cross-entropy
    with respect to the weights of a logistic probe that predicts p.
    """
    rng = np.random.default_rng(0)
    x = rng.normal(size=(6, 3))
    p = rng.random(6)
    targets = rng.random(6)
    return judge("gradient of the probe", answer, ((x, p, targets), x.T @ (p - targets) / 6))


def check_salience_gained(answer: Callable[[float, float, float], float]) -> bool:
    """Checks `answer(lp_gt, ft_weak_lp_gt, ft_gt)`, of accuracies: the share of the gap between
    probing and finetuning on ground truth that probing the student closes.
    """
    return judge("salience gained", answer, ((0.72, 0.78, 0.82), 0.6), ((0.80, 0.79, 0.85), -0.2))


def check_calibrated(answer: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> bool:
    """Checks `answer(probs (n, 2), free (2,))`: (n, 2) probabilities divided by those of
    content-free prompts, so that rows sum to 1.
    """
    probs = np.array([[0.3, 0.7], [0.1, 0.9]])
    free = np.array([0.2, 0.8])
    ratio = probs / free
    expected = ratio / ratio.sum(axis=1, keepdims=True)
    return judge("calibrated probabilities", answer, ((probs, free), expected))


def check_answer_score(answer: Callable[[np.ndarray, list[int]], float]) -> bool:
    """Checks `answer(log_p (m, v), tokens)`: the log-probability of a text of m tokens; row j of
    log_p is the distribution after the prompt and the text's first j tokens.
    """
    log_p = np.log([[0.5, 0.3, 0.2], [0.1, 0.1, 0.8]])
    return judge("score of an answer", answer, ((log_p, [1, 2]), float(np.log(0.3 * 0.8))))


def check_pair_probability(answer: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> bool:
    """Checks `answer(first (n,), second (n,))`, of rewards of two responses: (n,) P(the second is
    better).
    """
    first = np.array([0.0, 1.0, 2.0])
    second = np.array([0.0, 3.0, -1.0])
    return judge(
        "probability that the second is better",
        answer,
        ((first, second), 1 / (1 + np.exp(first - second))),
    )


def check_length_bias(answer: Callable[[np.ndarray, np.ndarray, np.ndarray], float]) -> bool:
    """Checks `answer(says (n,), label (n,), longer (n,))`, which of two texts, 0 or 1, is
    preferred, is better, is longer: how often the longer text is preferred, minus how often it is
    better.
    """
    says = np.array([1, 0, 0, 1, 0, 1, 0])
    label = np.array([1, 1, 0, 0, 1, 1, 0])
    longer = np.array([1, 0, 0, 1, 1, 0, 0])
    return judge("length bias", answer, ((says, label, longer), 1 / 7))


def check_perplexity(answer: Callable[[np.ndarray, np.ndarray], float]) -> bool:
    """Checks `answer(nats (n,), tokens (n,))`, of the sums of n texts: the perplexity of all their
    tokens.
    """
    nats = np.array([6.0, 40.0])
    tokens = np.array([3, 10])
    return judge("perplexity", answer, ((nats, tokens), float(np.exp(46 / 13))))


def check_targets(answer: Callable[[np.ndarray, int], np.ndarray]) -> bool:
    """Checks `answer(lengths (b,), t)`: (b, t) bool, the places where there is a next token to
    predict, in texts padded on the right to t tokens.
    """
    expected = np.array([[1, 1, 0, 0], [0, 0, 0, 0], [1, 1, 1, 0]], dtype=bool)
    return judge("where there is a next token", answer, ((np.array([3, 1, 4]), 4), expected))


def check_half_move(answer: Callable[[int], str]) -> bool:
    """Checks `answer(i)`: the number that stands before half-move i, counted from 0, as in '1. d4
    1... Nf6 2. Nf3'.
    """
    from ...chess import rules  # needs the extra [chess]

    numbers = rules.move_list(["e4"] * 43).split()[::2]
    cases = [((i,), numbers[i]) for i in (0, 1, 2, 7, 42)]
    return judge(
        "numbers of half-moves",
        answer,
        *cases,
        mistakes=[(lambda i: f"{i + 1}.", "half-moves counted; two of them share a number")],
    )


def check_answer_nats(answer: Callable[[np.ndarray, np.ndarray, int], float]) -> bool:
    """Checks `answer(log_p (t, v), ids (t,), start)`: -log P of the tokens from `start` on, given
    those before; row i of log_p is the distribution after token i.
    """
    rng = np.random.default_rng(0)
    log_p = np.log(rng.dirichlet(np.ones(7), size=6))
    ids = rng.integers(7, size=6)
    expected = -(log_p[3, ids[4]] + log_p[4, ids[5]])

    def one_late(log_p, ids, start):
        return -sum(log_p[i, ids[i]] for i in range(start, len(ids)))

    return judge(
        "loss of an answer",
        answer,
        ((log_p, ids, 4), expected),
        mistakes=[(one_late, "row i is after token i: token i is predicted by the row before")],
    )


def check_confidence(answer: Callable[[np.ndarray], np.ndarray]) -> bool:
    """Checks `answer(p1 (n,))`, of P(y = 1): (n,) the probability of the class that is
    predicted.
    """
    p1 = np.array([0.1, 0.5, 0.8])
    expected = np.array([0.9, 0.5, 0.8])
    return judge(
        "confidence of a prediction",
        answer,
        ((p1,), expected),
        mistakes=[(lambda p1: p1, "that of class 1, whichever class is predicted")],
    )


def check_best_of(answer: Callable[[int, float], float]) -> bool:
    """Checks `answer(n, standard_error)`, to 0.003: how far the best of n measurements of one value
    is above that value on average, where each has normal noise of that standard error.
    """
    # The mean of the greatest of 20 draws from a standard normal distribution.
    greatest_of_20 = 1.86748
    cases = [((1, 0.015), 0.0), ((20, 0.015), greatest_of_20 * 0.015)]
    return judge("the best of n", answer, *cases, tolerance=3e-3)


def check_examples(answer: Callable[[dict], Iterable[Example]]) -> bool:
    """Checks `answer(row)`, a task's formatter of rows {text, stars, author}: one example of label
    1 from 4 stars, of label 0 up to 2, none of 3; its author is a key of its group.
    """

    def summarize(stars: str) -> list[tuple[int, bool]]:
        """Returns for each example its label, and whether it has the text and the author."""
        text = "I wore it twice."
        examples = answer({"text": text, "stars": stars, "author": "ada"}) or ()
        return [(e.label, e.texts == (text,) and "ada" in e.keys) for e in examples]

    return judge(
        "examples of a row: their label, and whether text and author are there",
        summarize,
        (("5",), [(1, True)]),
        (("2",), [(0, True)]),
        (("3",), []),
        (("4",), [(1, True)]),
    )


def check_focal(answer: Callable[[torch.Tensor, torch.Tensor, float], torch.Tensor]) -> bool:
    """Checks `answer(logits (b, 2), targets (b, 2), gamma)`: (b,) cross-entropy times (1 -
    p)^gamma, where p, the sum of softmax times target, is the probability that the student gives
    the label.
    """
    logits = torch.tensor([[1.0, 0.0], [2.0, -1.0]])
    targets = torch.tensor([[0.2, 0.8], [0.7, 0.3]])
    p = (logits.softmax(1) * targets).sum(1)
    cross_entropy = -(targets * logits.log_softmax(1)).sum(1)
    expected = ((1 - p) ** 2 * cross_entropy).numpy()
    unweighted = cross_entropy.numpy()
    return judge(
        "the focal loss",
        answer,
        ((logits, targets, 2.0), expected),
        mistakes=[(lambda *given: unweighted, "the factor (1 - p)^gamma is missing")],
    )
