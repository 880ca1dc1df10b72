"""Set-up of a notebook: what it refuses, and what papermill injected."""

import json
import sys
import time
from types import SimpleNamespace

import pandas as pd
import pytest

import w2s_nb as w2s
from w2s_nb.common import files
from w2s_nb.common.registry import UnknownName
from w2s_nb.models.loading import ModelUnavailable
from w2s_nb.notebook import setup

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


@pytest.mark.parametrize(
    "strong, error, message",
    [
        ("gpt3", UnknownName, "Near: gpt2"),
        ("Qwen-7B", ModelUnavailable, "Qwen/Qwen-7B"),
        ("gpt2-xl", ModelUnavailable, "openai-community/gpt2-xl"),
    ],
)
def test_an_unknown_or_unavailable_model_is_refused_within_seconds(strong, error, message):
    started = time.perf_counter()
    with pytest.raises(error, match=message):
        w2s.setup("03_conf_loss", **GOOD | {"strong": strong})
    assert time.perf_counter() - started < 20


def test_a_table_of_no_seeds_is_left_out():
    run = w2s.setup("03_conf_loss", **GOOD | {"table_seeds": 0})
    assert run.parameters["table_seeds"] == 0


@pytest.mark.parametrize(
    "change, error, message",
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
        (dict(table_seeds=-1), ValueError, "from 0"),
        (dict(seeds="3"), TypeError, "whole number"),
        (
            dict(n_train=41),
            ValueError,
            "n_train = 41; expected an even number from 2 for movie_snip",
        ),
        (dict(n_train=-2), ValueError, "n_train = -2; expected a number from 2, or 0"),
        (
            dict(task="tweet_snippets@three", n_train=40),
            ValueError,
            "n_train = 40; expected a multiple of 3, as many of each class of tweet_snippets@three",
        ),
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
        (dict(answers=True), ValueError, "has classes; 03_conf_loss takes chess_puzzles"),
        (dict(answers=True, task="mate_in_one"), ValueError, "method 'probe' learns classes"),
        (dict(task="mate_in_one@easy"), ValueError, "1000-1500"),
        (dict(bands="10, twenty"), ValueError, "bands has 'twenty'"),
        (dict(responses="chose"), ValueError, "both or chosen"),
        (dict(method="probe@3"), UnknownName, "Near: probe"),
        (dict(finetuning="probe"), ValueError, "finetuning 'probe' finetunes nothing"),
        (dict(lm_method="logistic"), ValueError, "lm_method 'logistic' finetunes nothing"),
        (dict(top_layers=2, method="probe"), ValueError, "expects full, lora or top"),
        (dict(lm_method="ful", top_layers=2), UnknownName, "Near: full"),
        (dict(strong=""), ValueError, "strong = ''; expected one name"),
        (dict(weak="SmolLM2-135M@3, SmolLM2-135M@4"), ValueError, "expected one name"),
        (dict(task=" "), ValueError, "task = ' '; expected one name"),
        (dict(losses=""), ValueError, "losses = ''; expected one or several"),
        (dict(tasks=","), ValueError, "tasks = ','; expected one or several"),
        (dict(seeds=10**9), ValueError, "from 1 to 10000; it counts them: 3 for the seeds 0, 1"),
        (dict(seeds=[0, 1, 2]), TypeError, "is a list; expected a whole number; it counts them"),
        (dict(n_train=10**9), ValueError, "movie_snippets"),
        (dict(n_test=100_000), ValueError, "movie_snippets"),
        (dict(tasks="tweet_snippets", n_train=40_000), ValueError, "_snippets"),
        (dict(alpha=float("nan")), ValueError, "alpha = nan; expected a finite number"),
        (dict(losses="xent", alpha=2.0), ValueError, r"alpha 2.0; expected a number in \[0, 1\]"),
        (dict(loss="entropy", alpha=-1.0), ValueError, "loss 'entropy' with alpha = -1.0"),
        (dict(looks="0.1, 1.5"), ValueError, "looks has '1.5'; expected fractions"),
        (dict(looks="0.1, half"), ValueError, "looks has 'half'"),
        (dict(looks=""), ValueError, "looks = ''"),
        (dict(n_labels=41), ValueError, "n_labels = 41; expected 0 for all, or .* n_train, 40"),
        (dict(n_labels=1), ValueError, "n_labels = 1"),
        (dict(shots=41), ValueError, "41 shots of the 40 examples"),
        (dict(more_shots="2, 41"), ValueError, "41 shots of the 40 examples"),
        (dict(results="."), ValueError, "results = '.' is a folder"),
    ],
)
def test_setup_refuses_wrong_values(change, error, message):
    with pytest.raises(error, match=message):
        w2s.setup("03_conf_loss", **GOOD | change)


def test_an_argument_that_a_loss_does_not_take_is_left_to_the_notebook():
    run = w2s.setup("11_explorer", **GOOD, loss="xent", alpha=2.0)
    assert run.parameters["alpha"] == 2.0


def test_a_table_that_cannot_be_written_is_refused_first(monkeypatch, home, tmp_path):
    (home / "tables").mkdir(parents=True)
    may = files.os.access
    monkeypatch.setattr(
        files.os, "access", lambda p, mode: str(home) not in str(p) and may(p, mode)
    )
    with pytest.raises(PermissionError, match=f"results.*{home / 'tables'}; set W2S_HOME"):
        w2s.setup("03_conf_loss", **GOOD)
    w2s.setup("03_conf_loss", **GOOD | {"results": str(tmp_path / "mine" / "table.json")})


def test_a_precision_is_refused_first_and_told_in_facts_and_in_the_table(monkeypatch, tmp_path):
    monkeypatch.setenv("W2S_DEVICE", "cpu")
    monkeypatch.setenv("W2S_PRECISION", "bfloat16")
    with pytest.raises(ValueError, match="W2S_PRECISION = 'bfloat16'; expected one of bf16, fp16"):
        w2s.setup("03_conf_loss", **GOOD)
    monkeypatch.setenv("W2S_PRECISION", "bf16")
    path = tmp_path / "table.json"
    run = w2s.setup("03_conf_loss", **GOOD | {"results": str(path)})
    assert run.describe()["this run"]["precision"] == "bf16 (W2S_PRECISION)"
    run.save(pd.DataFrame({"arm": ["x"]}))
    assert json.loads(path.read_text())["precision"] == "bf16"


def test_only_the_confidence_loss_is_given_alpha():
    given = GOOD | {"alpha": 0.3}
    run = w2s.setup("03_conf_loss", **given, losses="xent, confidence")
    assert run.loss_args == {"confidence": {"alpha": 0.3}}
    assert w2s.setup("03_conf_loss", **given, losses="xent").loss_args == {}
    assert w2s.setup("02_naive_finetuning", **GOOD).loss_args == {}


def test_injected_names_are_read_from_papermills_cell_only(monkeypatch):
    cells = ["", "task = 'x'", "# Parameters\nstrnog = 'x'\nseeds: int = 3\n", "other = 1"]

    shell = SimpleNamespace(user_ns={"In": cells})
    ipython = SimpleNamespace(get_ipython=lambda: shell)
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    assert setup._injected_names() == ["strnog", "seeds"]
    with pytest.raises(UnknownName, match="strnog"):
        w2s.setup("03_conf_loss", **GOOD)


def test_pairs_train_the_largest_student_first_and_stand_in_order(monkeypatch):
    run = w2s.setup("02_naive_finetuning", **GOOD)
    asked = []

    def arms(self, weak=GOOD["weak"], strong=GOOD["strong"], **changes):
        asked.append((weak, strong))
        return f"{weak} -> {strong}"

    monkeypatch.setattr(setup.Run, "arms", arms)
    assert run.pairs(["a", "b", "c"]) == {
        ("a", "b"): "a -> b",
        ("a", "c"): "a -> c",
        ("b", "c"): "b -> c",
    }
    assert asked == [("a", "c"), ("b", "c"), ("a", "b")]
    asked.clear()
    assert list(run.by_student(["a", "b"])) == ["a", "b"]
    assert asked == [(GOOD["weak"], "b"), (GOOD["weak"], "a")]
    with pytest.raises(ValueError, match="at least two, by size"):
        run.pairs(["a"])
