"""Checks of exercises: right answers pass, plausible wrong ones fail, no answer breaks one."""

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import stats

import w2s_nb as w2s
from w2s_nb import metrics
from w2s_nb.notebook import exercises

NOTEBOOKS = Path(__file__).resolve().parents[2] / "notebooks"


def focal(p, logits, targets, gamma):
    return (1 - p) ** gamma * w2s.LOSSES["xent"](logits, targets, progress=0.0)


RIGHT = {
    "check_confidence": lambda p1: np.maximum(p1, 1 - p1),
    "check_best_of": lambda n, se: (
        np.random.default_rng(0).normal(0, se, (20_000, n)).max(1).mean()
    ),
    "check_examples": lambda row: (
        [w2s.Example((row["text"],), int(row["stars"] > "3"), (row["author"],))]
        * (row["stars"] != "3")
    ),
    "check_focal": lambda logits, targets, gamma: focal(
        (logits.softmax(1) * targets).sum(1), logits, targets, gamma
    ),
    "check_student_accuracy": lambda weak, corrected, new, n: weak + (corrected - new) / n,
    "check_gap_error": lambda weak, ceiling: (
        np.std(ceiling.astype(float) - weak, ddof=1) / np.sqrt(len(weak))
    ),
    "check_half_move": lambda i: f"{i // 2 + 1}." + ".." * (i % 2),
    "check_answer_nats": lambda log_p, ids, start: (
        -sum(log_p[i - 1, ids[i]] for i in range(start, len(ids)))
    ),
    "check_pair_probability": lambda first, second: 1 / (1 + np.exp(first - second)),
    "check_length_bias": lambda says, label, longer: (
        (says == longer).mean() - (label == longer).mean()
    ),
    "check_perplexity": lambda nats, tokens: np.exp(nats.sum() / tokens.sum()),
    "check_targets": lambda lengths, t: np.arange(t) < lengths[:, None] - 1,
    "check_probe_gradient": lambda x, p, targets: x.T @ (p - targets) / len(x),
    "check_salience_gained": lambda lp, student, ft: (student - lp) / (ft - lp),
    "check_calibrated": lambda probs, free: (probs / free) / (probs / free).sum(1, keepdims=True),
    "check_answer_score": lambda log_p, answer: sum(
        log_p[j, token] for j, token in enumerate(answer)
    ),
    "check_passed_on": lambda supervisor, student: (~student)[~supervisor].mean(),
    "check_labels_a_step": lambda n, models: (n // (models - 1), n),
    "check_median_pgr": lambda w, s, c, error: np.median(((s - w) / (c - w))[c - w > error]),
    "check_holm": lambda p: np.minimum([max(sum(p >= q) * q for q in p[p <= own]) for own in p], 1),
    "check_sign_flips": lambda gains: np.mean(
        [
            abs(np.dot(signs, gains)) >= abs(gains.sum())
            for signs in itertools.product([-1, 1], repeat=len(gains))
        ]
    ),
    "check_best_public": lambda right, public: [
        right[right[:, public].sum(1).argmax()][half].mean() for half in (public, ~public)
    ],
    "check_rank_correlation": lambda x, y: stats.spearmanr(x, y).statistic,
    "check_cka": lambda x, y: (
        np.sum(np.cov(x.T, y.T)[: x.shape[1], x.shape[1] :] ** 2)
        / np.sqrt(np.sum(np.cov(x.T) ** 2) * np.sum(np.cov(y.T) ** 2))
    ),
    "check_partial_correlation": lambda x, y, z: (
        lambda inverse: -inverse[0, 1] / np.sqrt(inverse[0, 0] * inverse[1, 1])
    )(np.linalg.inv(np.corrcoef([x, y, z]))),
    "check_difficulty": lambda right: len(right) - np.cumprod(right[::-1], 0).sum(0),
    "check_misfit": lambda student, weak: ((student - weak) ** 2).mean(),
    "check_longest": lambda lengths, n: lengths >= sorted(lengths)[-n],
    "check_pgr": lambda w, s, c: (s - w) / (c - w),
    "check_precision": lambda caught, alarms, rate: (
        caught * rate / (caught * rate + alarms * (1 - rate))
    ),
    "check_recall_at_budget": lambda score, label, budget: (
        label[np.argsort(score)[::-1][: round(budget * len(label))]].sum() / label.sum()
    ),
    "check_calibration_error": lambda p, y: metrics.calibration_error(p, y, resamples=0).value,
    "check_most_confident": lambda p, share: p.max(1) >= sorted(p.max(1))[-round(share * len(p))],
    "check_gap_closed": lambda w, s, c: (s.mean() - w.mean()) / (c.mean() - w.mean()),
    "check_guess_counts": lambda targets: (
        np.floor(targets.sum(0)).astype(int)
        + np.isin(
            np.arange(targets.shape[1]),
            np.argsort(np.floor(targets.sum(0)) - targets.sum(0), kind="stable")[
                : round(len(targets) - np.floor(targets.sum(0)).sum())
            ],
        )
    ),
    "check_alpha": lambda progress: 0.75 * min(1, progress / 0.2),
    "check_confidence_targets": lambda logits, targets, a: (
        (1 - a) * targets
        + a
        * torch.nn.functional.one_hot(
            (logits.diff(dim=1)[:, 0] > logits.diff(dim=1)[:, 0].quantile(0.5)).long(), 2
        )
    ),
}
WRONG = {
    "check_confidence": lambda p1: p1,  # of class 1, whichever is predicted
    "check_best_of": lambda n, se: (
        se * (2 * np.log(n)) ** 0.5
    ),  # the bound for large n, not the mean
    "check_examples": lambda row: [
        w2s.Example((row["text"],), int(row["stars"] > "3"))
    ],  # 3 stars negative, no author
    "check_focal": lambda *given: RIGHT["check_focal"](*given).mean(),  # averaged
    "check_student_accuracy": lambda weak, corrected, new, n: (
        weak + corrected / n
    ),  # its new mistakes are forgotten
    "check_gap_error": lambda weak, ceiling: np.sqrt(
        (weak.var() + ceiling.var()) / len(weak)
    ),  # not paired
    "check_half_move": lambda i: f"{i + 1}.",  # counts half-moves, not moves
    "check_answer_nats": lambda log_p, ids, start: (
        -sum(log_p[i, ids[i]] for i in range(start, len(ids)))
    ),  # itself
    "check_pair_probability": lambda first, second: (
        1 / (1 + np.exp(second - first))
    ),  # of the first
    "check_length_bias": lambda says, label, longer: (says == longer).mean(),  # whatever the truth
    "check_perplexity": lambda nats, tokens: np.exp(
        nats / tokens
    ).mean(),  # mean of the texts' perplexities
    "check_targets": lambda lengths, t: (
        np.arange(t) < lengths[:, None]
    ),  # the last token predicts the padding
    "check_probe_gradient": lambda x, p, targets: x.T @ (targets - p) / len(x),  # uphill
    "check_salience_gained": lambda lp, student, ft: (
        (student - lp) / student
    ),  # a gain over itself, not over the gap
    "check_calibrated": lambda probs, free: probs / free,  # not normalised
    "check_answer_score": lambda log_p, answer: log_p[0, answer[0]],  # the first token only
    "check_passed_on": lambda supervisor, student: (~student).mean(),  # of all examples
    "check_labels_a_step": lambda n, models: (
        n // models,
        n,
    ),  # the supervisor counted as a student
    "check_median_pgr": lambda w, s, c, error: np.median((s - w) / (c - w)),  # noise over noise
    "check_holm": lambda p: np.minimum(len(p) * p, 1),  # Bonferroni's correction
    "check_sign_flips": lambda gains: np.mean(
        [
            np.dot(signs, gains) >= gains.sum()
            for signs in itertools.product([-1, 1], repeat=len(gains))
        ]
    ),  # one side alone
    "check_best_public": lambda right, public: [
        right[:, half].mean(1).max() for half in (public, ~public)
    ],
    "check_rank_correlation": lambda x, y: np.corrcoef(x, y)[0, 1],
    "check_cka": lambda x, y: (
        np.linalg.norm(y.T @ x) ** 2 / np.linalg.norm(x.T @ x) / np.linalg.norm(y.T @ y)
    ),  # not centred
    "check_partial_correlation": lambda x, y, z: np.corrcoef(x, y)[0, 1],  # z plays no part
    "check_difficulty": lambda right: len(right) - right.sum(0),  # right by luck counts
    "check_misfit": lambda student, weak: abs(student - weak).mean(),  # not squared
    "check_longest": lambda lengths, n: lengths <= sorted(lengths)[n - 1],  # the shortest
    "check_pgr": lambda w, s, c: min(1, max(0, (s - w) / (c - w))),  # clipped
    "check_precision": lambda caught, alarms, rate: caught / (caught + alarms),  # as if half were
    "check_recall_at_budget": lambda score, label, budget: label[
        np.argsort(score)[::-1][: round(budget * len(label))]
    ].mean(),  # precision
    "check_calibration_error": lambda p, y: abs(
        p.max(1).mean() - (p.argmax(1) == y).mean()
    ),  # one bin
    "check_most_confident": lambda p, share: (
        p[:, 1] >= sorted(p[:, 1])[-round(share * len(p))]
    ),  # of class 1 only
    "check_gap_closed": lambda w, s, c: ((s - w) / (c - w)).mean(),  # mean of ratios
    "check_guess_counts": lambda targets: targets.sum(0).round(),  # need not sum to b
    "check_alpha": lambda progress: 0.75 if progress >= 0.2 else progress,  # jumps
    "check_confidence_targets": lambda logits, targets, a: (
        (1 - a) * targets + a * (logits.softmax(1) > 0.5)
    ),
}  # at 0.5
ALSO_WRONG = [
    (
        "check_focal",
        lambda logits, targets, gamma: focal(
            logits.softmax(1).max(1).values, logits, targets, gamma
        ),
    ),  # sure of its own class
    (
        "check_focal",
        lambda logits, targets, gamma: focal(
            logits.softmax(1)[[0, 1], targets.argmax(1)], logits, targets, gamma
        ),
    ),  # of the harder label
    (
        "check_most_confident",
        lambda p, share: p.max(1) >= np.median(p.max(1)),
    ),  # half, whatever the share
    (
        "check_confidence_targets",
        lambda logits, targets, a: RIGHT["check_confidence_targets"](logits, targets, 1 - a),
    ),  # the two weights exchanged
    (
        "check_median_pgr",
        lambda w, s, c, error: (np.median(s) - np.median(w)) / (np.median(c) - np.median(w)),
    ),  # of medians
    (
        "check_difficulty",
        lambda right: np.where(right.any(0), right.argmax(0), len(right)),
    ),  # the first that is right
    (
        "check_passed_on",
        lambda supervisor, student: student[~supervisor].mean(),
    ),  # the corrected ones
    (
        "check_passed_on",
        lambda supervisor, student: (~supervisor)[~student].mean(),
    ),  # of the student's mistakes
    (
        "check_length_bias",
        lambda says, label, longer: ((says != label) & (says == longer)).mean(),
    ),  # of one direction
    (
        "check_length_bias",
        lambda says, label, longer: (says == longer).mean() - 0.5,
    ),  # as if the truth were even
    (
        "check_calibration_error",
        lambda p, y: (
            sum(  # ten bins over [0, 1], so five over [0.5, 1]
                abs(((p.argmax(1) == y) - p.max(1))[(10 * p.max(1)).astype(int) == b].sum())
                for b in range(10)
            )
            / len(y)
        ),
    ),
]


@pytest.mark.parametrize("check", RIGHT)
def test_a_check_passes_the_right_answer_and_fails_a_wrong_one(check, capsys):
    assert getattr(exercises, check)(RIGHT[check]) and "right" in capsys.readouterr().out
    assert not getattr(exercises, check)(WRONG[check])
    assert not getattr(exercises, check)(lambda *a: None)
    assert capsys.readouterr().out.count("  expected  ") == 2


@pytest.mark.parametrize("check, wrong", ALSO_WRONG)
def test_a_check_fails_other_plausible_answers(check, wrong):
    assert not getattr(exercises, check)(wrong)


USUAL = [
    ("check_pgr", WRONG["check_pgr"], "did you clip?"),
    ("check_pgr", lambda w, s, c: -(s - w) / (c - w), "sign"),
    ("check_pgr", lambda w, s, c: (c - s) / (c - w) if s < c else 9, "1 minus"),
    ("check_misfit", lambda s, w: round(((s - w) ** 2).mean(), 2), "did you round?"),
    ("check_misfit", lambda s, w: 100 * ((s - w) ** 2).mean(), "percent"),
    ("check_salience_gained", lambda lp, s, ft: (ft - lp) / (s - lp), "upside down"),
    ("check_pgr", lambda w, s, c: print((s - w) / (c - w)), "you printed it"),
    ("check_pgr", lambda w, s, c: None, "nothing is returned yet"),
    ("check_pgr", lambda w, s, c: lambda: 0.5, "without calling it"),
    ("check_focal", WRONG["check_focal"], "one number; 2 are asked for"),
    ("check_focal", lambda x, y, gamma: w2s.LOSSES["xent"](x, y, progress=0.0), "factor"),
    ("check_student_accuracy", WRONG["check_student_accuracy"], "new mistakes are"),
    ("check_gap_closed", WRONG["check_gap_closed"], "take means first"),
    ("check_gap_error", WRONG["check_gap_error"], "different examples"),
    ("check_confidence_targets", WRONG["check_confidence_targets"], "median"),
    (
        "check_confidence_targets",
        lambda x, y, a: RIGHT["check_confidence_targets"](x, y, 1 - a),
        "weights are exchanged",
    ),
    ("check_answer_nats", WRONG["check_answer_nats"], "the row before"),
    ("check_half_move", WRONG["check_half_move"], "share a number"),
    ("check_passed_on", WRONG["check_passed_on"], "a share of all examples"),
    ("check_confidence", WRONG["check_confidence"], "that of class 1"),
    ("check_best_public", WRONG["check_best_public"], "a best guess for each half: who may not"),
    (
        "check_best_public",
        lambda right, public: [right[right.sum(1).argmax()][h].mean() for h in (public, ~public)],
        "the best guess of all texts: the sealed half has chosen too",
    ),
    ("check_rank_correlation", WRONG["check_rank_correlation"], "which one point far out decides"),
    (
        "check_rank_correlation",
        lambda x, y: np.corrcoef(np.argsort(np.argsort(x)), np.argsort(np.argsort(y)))[0, 1],
        "equal numbers have ranks of their own; they share the mean of them",
    ),
]


@pytest.mark.parametrize("check, wrong, remark", USUAL)
def test_a_usual_mistake_is_answered(check, wrong, remark, capsys):
    assert not getattr(exercises, check)(wrong)
    (line,) = [
        line for line in capsys.readouterr().out.splitlines() if line.startswith("  perhaps   ")
    ]
    assert remark in line
    assert not getattr(exercises, check)(lambda *given: np.array([0.123, 0.456]))
    assert "perhaps" not in capsys.readouterr().out, "another mistake is not told as a usual one"


@pytest.mark.parametrize("check", RIGHT)
def test_a_check_prints_the_error_of_an_answer_and_never_raises(check, capsys):
    def broken(*given):
        raise RuntimeError("of the reader's own")

    for attempt in (
        broken,
        lambda: 0,
        None,
        lambda *a: "half",
        lambda *a: {"a": 1},
        lambda *a: [[1.0], [1.0, 2.0]],
        lambda *a: [],
        lambda *a: np.zeros((2, 3, 4)),
        lambda *a: print,
    ):
        assert getattr(exercises, check)(attempt) is False
    printed = capsys.readouterr().out
    assert "  yours     RuntimeError: of the reader's own\n" in printed
    assert "TypeError: 'NoneType' object" in printed


@pytest.mark.parametrize("check", sorted(set(RIGHT) - {"check_half_move", "check_examples"}))
def test_a_check_takes_numbers_in_any_form(check):
    def answer(form):
        return getattr(exercises, check)(lambda *given: form(RIGHT[check](*given)))

    assert answer(lambda result: np.asarray(result).tolist())
    assert answer(lambda result: torch.tensor(np.asarray(result, dtype=float), requires_grad=True))
    assert answer(
        lambda result: list(
            torch.tensor(np.atleast_1d(result), dtype=torch.float64, requires_grad=True)
        )
    )
    assert answer(lambda found: np.asarray(found, dtype=np.float32))


def test_an_answer_that_changes_its_inputs_does_not_change_what_is_expected():
    def in_place(x, p, targets):
        p -= targets
        return x.T @ p / len(x)

    assert exercises.check_probe_gradient(in_place)
    assert exercises.check_calibration_error(
        metrics.calibration_error
    )  # an Estimate counts as its value


def test_every_check_is_tested_and_used_in_a_notebook():
    checks = {n for n in vars(exercises) if n.startswith("check_")}
    used = {
        c
        for path in NOTEBOOKS.glob("*.ipynb")
        for c in checks
        if f"exercises.{c}(" in path.read_text()
    }
    assert checks == set(RIGHT) == set(WRONG) == used
