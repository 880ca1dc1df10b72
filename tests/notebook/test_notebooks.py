"""Notebooks by papermill as a user runs them, and set-up's refusals."""

import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

import w2s_nb as w2s
from w2s_nb import metrics, plots
from w2s_nb.common.registry import UnknownName
from w2s_nb.models.loading import ModelUnavailable
from w2s_nb.notebook import exercises, setup

NOTEBOOKS = Path(__file__).resolve().parents[2] / "notebooks"
GOOD = dict(
    task="movie_snippets",
    weak="SmolLM2-135M@4",
    strong="SmolLM2-135M@16",
    method="probe",
    seeds=1,
    n_train=40,
    n_val=20,
    n_test=40,
    results="",
)


def papermill(cwd, *parameters):
    command = [
        sys.executable,
        "-m",
        "papermill",
        "--no-progress-bar",
        str(NOTEBOOKS / "03_conf_loss.ipynb"),
        "out.ipynb",
    ]
    return subprocess.run(
        [*command, *parameters], cwd=cwd, capture_output=True, text=True, timeout=300
    )


def test_a_notebook_runs_from_another_folder_and_writes_its_table(tiny, tmp_path):
    done = papermill(
        tmp_path,
        "-p",
        "weak",
        f"{tiny}@1",
        "-p",
        "strong",
        tiny,
        "-p",
        "results",
        "out.json",
        "-p",
        "method",
        "probe",
        "-p",
        "n_train",
        "40",
        "-p",
        "n_val",
        "20",
        "-p",
        "n_test",
        "40",
        "-p",
        "seeds",
        "2",
        "-p",
        "table_seeds",
        "1",
    )
    assert done.returncode == 0, done.stderr[-3000:]
    result = json.loads((tmp_path / "out.json").read_text())
    assert [row["arm"] for row in result["table"]] == [
        "weak supervisor",
        "student, naive",
        "student, confidence",
        "strong ceiling",
    ]
    assert {"naive", "reverse_xent", "brier"} <= {row["loss"] for row in result["every_loss"]}
    assert result["parameters"]["seeds"] == 2 and result["table"][0]["seeds"] == 2
    assert "application/vnd.plotly.v1+json" in (tmp_path / "out.ipynb").read_text()


def test_papermill_fails_within_seconds_and_says_why(tmp_path):
    started = time.perf_counter()
    done = papermill(tmp_path, "-p", "strnog", "x")
    says = "unknown parameter of 03_conf_loss 'strnog'. Near: strong"
    assert done.returncode == 1 and says in done.stderr, done.stderr[-2000:]
    assert time.perf_counter() - started < 60  # importing torch and transformers is most of it


@pytest.mark.parametrize(
    "strong, error, says",
    [
        ("gpt3", UnknownName, "Near: gpt2"),
        ("Qwen-7B", ModelUnavailable, "Qwen/Qwen-7B"),
        ("gpt2-xl", ModelUnavailable, "openai-community/gpt2-xl"),
    ],
)
def test_a_model_that_is_not_to_be_had_is_refused_within_seconds(strong, error, says):
    started = time.perf_counter()
    with pytest.raises(error, match=says):
        w2s.setup("03_conf_loss", **GOOD | {"strong": strong})
    assert time.perf_counter() - started < 20


@pytest.mark.parametrize(
    "change, error, says",
    [
        (dict(task="movie_snipets"), UnknownName, "Near: movie_snippets"),
        (dict(weak="SmolLM-135M@4"), UnknownName, "SmolLM2-135M"),
        (dict(strong="SmolLM2-135M@99"), ValueError, "1 to 30"),
        (dict(method="prob"), UnknownName, "probe"),
        (dict(weak_method="prob"), UnknownName, "probe"),
        (dict(tasks="movie_snippets, tweet"), UnknownName, "tweet_snippets"),
        (dict(shots=0), ValueError, "from 1"),
        (dict(more_shots="1, two"), ValueError, "'two'"),
        (dict(top_layers=2), ValueError, "finetunes nothing"),
        (dict(losses="xent, confidance"), UnknownName, "Near: confidence"),
        (dict(seeds=0), ValueError, "from 1"),
        (dict(seeds="3"), TypeError, "whole number"),
        (dict(n_train=41), ValueError, "even"),
        (dict(n_test=40.0), TypeError, "float"),
        (dict(results=3), TypeError, "path"),
        (dict(task=5), TypeError, "name"),
        (dict(task="snippet_preferences@x"), ValueError, "number in"),
        (dict(comparisons=True), ValueError, "anthropic_hh.*snippet_preferences"),
        (
            dict(task="mate_in_one"),
            ValueError,
            "answered by generating; 03_conf_loss takes .*boolq",
        ),
        (dict(answers=True), ValueError, "has two classes; 03_conf_loss takes chess_puzzles"),
        (dict(answers=True, task="mate_in_one"), ValueError, "method 'probe' has two classes"),
        (dict(task="mate_in_one@easy"), ValueError, "1000-1500"),
        (dict(bands="10, twenty"), ValueError, "bands has 'twenty'"),
        (dict(responses="chose"), ValueError, "both or chosen"),
        (dict(method="probe@3"), UnknownName, "Near: probe"),
        (dict(finetuning="probe"), ValueError, "finetuning 'probe' finetunes nothing"),
        (dict(lm_method="logistic"), ValueError, "lm_method 'logistic' finetunes nothing"),
        (dict(top_layers=2, method="probe"), ValueError, "expects full, lora or top"),
        (dict(lm_method="ful", top_layers=2), UnknownName, "Near: full"),
    ],
)
def test_setup_refuses_what_is_wrong(change, error, says):
    with pytest.raises(error, match=says):
        w2s.setup("03_conf_loss", **GOOD | change)


def test_injected_names_are_read_from_papermills_cell_only(monkeypatch):
    cells = ["", "task = 'x'", "# Parameters\nstrnog = 'x'\nseeds: int = 3\n", "other = 1"]

    class Shell:
        user_ns = {"In": cells}

    monkeypatch.setitem(sys.modules, "IPython", type("M", (), {"get_ipython": staticmethod(Shell)}))
    assert setup._injected_names() == ["strnog", "seeds"]
    with pytest.raises(UnknownName, match="strnog"):
        w2s.setup("03_conf_loss", **GOOD)


@pytest.fixture
def arms(words, tiny):
    return w2s.run_arms(
        "words",
        f"{tiny}@1",
        tiny,
        losses=("xent", "confidence"),
        n_train=96,
        n_val=32,
        n_test=64,
        seeds=2,
        method="probe",
        epochs=30,
    )


def test_figures_show_the_tables_numbers(arms):
    table, by_seed = arms.table(), arms.by_seed()
    figure = plots.accuracy(table, by_seed, "title")
    bars = [t for t in figure.data if t.type == "bar"]
    assert [b.y[0] for b in bars] == table.accuracy.tolist() and [b.x[0] for b in bars] == list(
        table.index
    )
    assert [len(t.y) for t in figure.data if t.type == "scatter"] == [2] * 4
    low = [b.y[0] - b.error_y.arrayminus[0] for b in bars]
    assert low == pytest.approx(table.accuracy_low.tolist())
    assert (
        len({b.marker.color for b in bars}) == 4
        and bars[0].marker.color == plots.COLOURS["weak supervisor"]
    )


def test_one_colour_an_arm_in_every_figure(arms):
    table = arms.table().reset_index().assign(strong="m", pgr=0.5, pgr_low=0.4, pgr_high=0.6)
    for figure in (
        plots.accuracy_by_size(table, "t"),
        plots.pgr(table, arms.by_seed(), "t", x="arm"),
    ):
        for trace in figure.data:
            if trace.name:
                assert plots.COLOURS[trace.name] in (trace.line.color, trace.marker.color)


def test_figures_of_imitation_show_the_tables_numbers(arms, words, tiny):
    rows = arms.imitation()
    panels = plots.by_size(rows, "agreement", "t")
    assert [t.y[0] for t in panels.data if t.name == "student, naive"] == [
        rows.loc[0, f"agreement_{on}"] for on in ("all", "mistakes", "correct")
    ]
    points = plots.gain(rows.assign(pair="a -> b"), "t").data[1:]
    assert [(p.x[0], p.y[0]) for p in points] == list(zip(rows.misfit, rows.gain))
    curves = {arm: [f.curve for f in arms.fits[arm]] for arm in arms.students}
    figure = plots.training_curves(curves, {"strong ceiling": 0.9}, "t")
    thick = next(t for t in figure.data if t.name == "student, naive")
    both = [f.curve.test_accuracy.to_numpy() for f in arms.fits["student, naive"]]
    assert list(thick.y) == pytest.approx((both[0] + both[1]) / 2)


def test_flow_figure_draws_every_answer(words, tiny):
    chain = w2s.run_chain(
        "words",
        [f"{tiny}@1", f"{tiny}@2", tiny],
        n_train=96,
        n_val=32,
        n_test=64,
        method="probe",
        epochs=3,
    )
    sankey = plots.flow(chain.flow(), chain.accuracy_by_size, "t").data[0]
    assert sum(sankey.link.value) == 2 * 64 and len(sankey.node.label) == 8
    wrong = [chain.probs(step)[0].argmax(1) != chain.test.hard_label for step in range(3)]
    assert sankey.node.label[1].endswith(f"wrong {wrong[0].sum()}")
    assert sankey.node.label[6].endswith(f"still wrong {(wrong[0] & wrong[2]).sum()}")
    assert sankey.node.label[7].endswith(f"newly wrong {(~wrong[0] & wrong[2]).sum()}")


def test_a_chosen_point_outside_of_the_usual_range_is_still_shown():
    import pandas as pd

    table = pd.DataFrame(
        {
            "arm": ["student, naive"] * 2,
            "labels": ["a", "b"],
            "pgr": [0.2, -3.0],
            "pgr_low": [0.0, -9.0],
            "pgr_high": [0.4, -1.0],
        }
    )
    assert plots.pgr(table, table, "t", x="labels").layout.yaxis.range[0] < -3


def test_small_copies_say_what_they_change(tmp_path):
    from tests import small_notebooks

    small_notebooks.write(tmp_path)
    for path in tmp_path.rglob("*.ipynb"):
        injected = [
            c
            for c in json.loads(path.read_text())["cells"]
            if "injected-parameters" in c["metadata"]["tags"]
        ]
        n_train = small_notebooks.small(NOTEBOOKS / path.relative_to(tmp_path))["n_train"]
        assert (
            n_train <= 120
            and len(injected) == 1
            and f"n_train = {n_train}" in "".join(injected[0]["source"])
        ), path
    copies, originals = (
        {
            p.relative_to(folder)
            for p in folder.rglob("*.ipynb")
            if ".ipynb_checkpoints" not in p.parts
        }
        for folder in (tmp_path, NOTEBOOKS)
    )
    assert copies == originals and Path("solutions", "00_tour.ipynb") in copies


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
    "check_misfit": lambda student, weak: ((student - weak) ** 2).mean(),
    "check_longest": lambda lengths, n: lengths >= sorted(lengths)[-n],
    "check_pgr": lambda w, s, c: (s - w) / (c - w),
    "check_calibration_error": lambda p, y: metrics.calibration_error(p, y, resamples=0).value,
    "check_most_confident": lambda p, share: p.max(1) >= sorted(p.max(1))[-round(share * len(p))],
    "check_gap_closed": lambda w, s, c: (s.mean() - w.mean()) / (c.mean() - w.mean()),
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
    "check_misfit": lambda student, weak: abs(student - weak).mean(),  # not squared
    "check_longest": lambda lengths, n: lengths <= sorted(lengths)[n - 1],  # the shortest
    "check_pgr": lambda w, s, c: min(1, max(0, (s - w) / (c - w))),  # clipped
    "check_calibration_error": lambda p, y: abs(
        p.max(1).mean() - (p.argmax(1) == y).mean()
    ),  # one bin
    "check_most_confident": lambda p, share: (
        p[:, 1] >= sorted(p[:, 1])[-round(share * len(p))]
    ),  # of class 1 only
    "check_gap_closed": lambda w, s, c: ((s - w) / (c - w)).mean(),  # mean of ratios
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
def test_exercise_checks_pass_the_right_answer_and_fail_a_planted_wrong_one(check, capsys):
    assert getattr(exercises, check)(RIGHT[check]) and "right" in capsys.readouterr().out
    assert not getattr(exercises, check)(WRONG[check])
    assert not getattr(exercises, check)(lambda *a: None)
    assert capsys.readouterr().out.count("  expected  ") == 2


@pytest.mark.parametrize("check, wrong", ALSO_WRONG)
def test_exercise_checks_fail_further_plausible_answers(check, wrong):
    assert not getattr(exercises, check)(wrong)


@pytest.mark.parametrize("check", RIGHT)
def test_exercise_checks_say_what_an_answer_raised_and_never_raise(check, capsys):
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
    said = capsys.readouterr().out
    assert (
        "  yours     RuntimeError: of the reader's own\n" in said
        and "TypeError: 'NoneType' object" in said
    )


@pytest.mark.parametrize("check", sorted(set(RIGHT) - {"check_half_move", "check_examples"}))
def test_exercise_checks_take_numbers_in_any_form(check):
    def answer(form):
        return getattr(exercises, check)(lambda *given: form(RIGHT[check](*given)))

    assert answer(lambda found: np.asarray(found).tolist())
    assert answer(lambda found: torch.tensor(np.asarray(found, dtype=float), requires_grad=True))
    assert answer(
        lambda found: list(
            torch.tensor(np.atleast_1d(found), dtype=torch.float64, requires_grad=True)
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


def test_every_exercise_check_is_tested_and_used():
    checks = {n for n in vars(exercises) if n.startswith("check_")}
    used = {
        c
        for path in NOTEBOOKS.glob("*.ipynb")
        for c in checks
        if f"exercises.{c}(" in path.read_text()
    }
    assert checks == set(RIGHT) == set(WRONG) == used
