"""Memory is asked before it is used: what a fit, an experiment or a prompt refuses and chooses."""

import sys

import pytest
import torch

import w2s_nb as w2s
from w2s_nb.common import memory
from w2s_nb.common.out_of_memory import OutOfMemory
from w2s_nb.experiments.arms import run_arms
from w2s_nb.inputs.tokens import tokenize
from w2s_nb.models.names import resolve
from w2s_nb.notebook import setup as notebook_setup
from w2s_nb.notebook.setup import setup
from w2s_nb.training import fit as fit_module
from w2s_nb.training import language_model
from w2s_nb.training.device_memory import check, choice, estimate, simulation
from w2s_nb.training.device_memory.choice import Room
from w2s_nb.training.device_memory.estimate import architecture_of
from w2s_nb.training.fit import check_fit
from w2s_nb.training.language_model import Tuned, finetune_lm

REFUSED = r"with method '\w+' takes at least .* this machine.* has .*What would fit"


@pytest.fixture
def no_model_is_loaded(monkeypatch):
    monkeypatch.setattr(fit_module.training_job, "carry_out", None)
    monkeypatch.setattr(choice, "_ways_out", lambda *args: [])  # it simulates for seconds


def give_memory(monkeypatch, *, host=10**12, device=None):
    """Makes this machine have so many bytes; with `device`, a GPU of so many."""

    def room(cls):
        return cls("cuda" if device else "cpu", device or host, host, "this machine, now,")

    monkeypatch.setattr(Room, "here", classmethod(room))
    monkeypatch.setattr(Room, "free", classmethod(room))


@pytest.mark.parametrize("method", ["full", "top", "probe"])
def test_what_a_machine_cannot_hold_is_refused_before_a_model_is_loaded(
    method, words, tiny, monkeypatch, no_model_is_loaded
):
    give_memory(monkeypatch, host=10_000)
    for ask in (check_fit, w2s.fit):
        with pytest.raises(OutOfMemory, match=REFUSED):
            ask(tiny, words.student, method=method)


def test_an_experiment_refuses_its_last_fit_before_the_first_is_trained(
    words, tiny, monkeypatch, no_model_is_loaded
):
    short = {"device": "cpu", "tokens": 16, "micro_batch": 1, "vocabulary": 1}
    totals = [estimate(model, "full", **short).total for model in (f"{tiny}@1", tiny)]
    give_memory(monkeypatch, host=sum(totals) // 2)
    with pytest.raises(OutOfMemory, match=f"^{tiny} with method 'full'"):
        run_arms("words", f"{tiny}@1", tiny, method="full", n_train=8, n_val=2, n_test=4)


def test_a_stored_fit_is_found_on_a_machine_that_could_not_train_it(words, tiny, monkeypatch):
    fit = w2s.fit(tiny, words.student, method="probe", epochs=2)
    give_memory(monkeypatch, host=10_000)
    assert w2s.fit(tiny, words.student, method="probe", epochs=2).address == fit.address


def test_other_programs_memory_counts_as_taken_and_ones_own_as_free(monkeypatch):
    gb = 10**9
    monkeypatch.setattr(memory, "free_host_memory", lambda: 3 * gb)
    monkeypatch.setattr(
        choice.psutil.Process, "memory_info", lambda self: type("Rss", (), {"rss": gb})
    )
    assert Room.free().host == Room.free().device == 4 * gb
    monkeypatch.setattr(memory, "device_memory", lambda: 80 * gb)
    monkeypatch.setattr(memory, "free_device_memory", lambda: 9 * gb)
    monkeypatch.setattr(choice, "training_device", lambda: type("Cuda", (), {"type": "cuda"}))
    assert (Room.here().kind, Room.here().device, Room.free().device) == ("cuda", 80 * gb, 9 * gb)


@pytest.mark.parametrize("method", ["full", "top", "probe"])
def test_where_memory_is_plenty_no_step_is_simulated(method, words, tiny, monkeypatch):
    for name in ("simulate", "simulate_frozen"):
        monkeypatch.setattr(simulation, name, None)
    give_memory(monkeypatch, host=10**8)
    check_fit(tiny, words.student, method=method)
    w2s.fit(tiny, words.student, method=method, epochs=1)


@pytest.mark.parametrize("model", ["gpt2", "SmolLM2-135M", "chess-3M"])
@pytest.mark.parametrize("method", ["full", "probe"])
def test_what_clearly_fits_is_more_than_the_estimate(model, method):
    for tokens, batch in ((8, 1), (64, 32)):
        needed = estimate(model, method, device="cpu", tokens=tokens, batch=batch)
        room = Room("cpu", needed.total / 0.9, needed.total / 0.9, "")
        options = {"tokens": tokens, "batch": batch, "top_layers": 4}
        assert not check.clearly_fits(model, method, room, **options)
        plenty = Room("cpu", 300 * needed.total, 300 * needed.total, "")
        assert check.clearly_fits(model, method, plenty, **options)


def passes_of(monkeypatch, *args, **options):
    """Returns the micro-batch with which a fit begins to train."""
    seen = []

    def carry_out(job, micro_batch, devices):
        seen.append(micro_batch)
        raise KeyError

    monkeypatch.setattr(fit_module.training_job, "carry_out", carry_out)
    with pytest.raises(KeyError):
        w2s.fit(*args, **options)
    return seen[0]


def test_a_gpu_takes_the_largest_micro_batch_that_fits_its_free_memory(words, tiny, monkeypatch):
    needed = estimate(tiny, "full", micro_batch=16, tokens=32, vocabulary=64).total
    give_memory(monkeypatch, device=int(needed / 0.9) + 1)
    assert passes_of(monkeypatch, tiny, words.student) == 16
    assert passes_of(monkeypatch, tiny, words.student, micro_batch=24) == 24, "as asked for"
    give_memory(monkeypatch, device=10**9)
    assert passes_of(monkeypatch, tiny, words.student) is None, "the whole batch"


def texts_in_a_pass(monkeypatch, *args, **options):
    """Returns the micro-batch with which finetuning on texts begins to train."""
    seen = []

    def train(checkpoint, method, settings, train_tokens, test_tokens, seed, micro_batch):
        seen.append(micro_batch)
        raise KeyError

    monkeypatch.setattr(language_model, "_train", train)
    with pytest.raises(KeyError):
        finetune_lm(*args, **options)
    return seen[0]


def test_a_language_model_takes_the_most_texts_that_fit_on_a_gpu(words, tiny, monkeypatch):
    longest = int(tokenize(words.student, resolve(tiny), 16).lengths.max())
    length = {"tokens": longest, "predicted": longest}
    needed = estimate(tiny, "full", batch=4, micro_batch=2, **length).total
    options = {"batch_size": 4, "max_len": 16}
    monkeypatch.setattr(language_model, "code", lambda: "")
    monkeypatch.setattr(language_model, "device", lambda: torch.device("cuda"))
    give_memory(monkeypatch, device=int(needed / 0.9) + 1)
    assert texts_in_a_pass(monkeypatch, tiny, words.student, **options) == 2
    assert texts_in_a_pass(monkeypatch, tiny, words.student, **options, micro_batch=1) == 1
    give_memory(monkeypatch, device=10**9)
    assert texts_in_a_pass(monkeypatch, tiny, words.student, **options) is None, "all of a batch"


def test_a_language_model_takes_4096_tokens_in_a_pass_on_a_cpu(words, tiny, monkeypatch):
    monkeypatch.setattr(language_model, "code", lambda: "")
    assert texts_in_a_pass(monkeypatch, tiny, words.student, batch_size=8) == 8
    longest = int(tokenize(words.student, resolve(tiny), 64).lengths.max())
    options = {"batch_size": 2000, "max_len": 64}
    assert texts_in_a_pass(monkeypatch, tiny, words.student, **options) == 4096 // longest


def test_a_cpu_takes_the_passes_that_it_always_took(words, tiny, monkeypatch):
    give_memory(monkeypatch, host=estimate(tiny, "full", device="cpu", tokens=32).total)
    assert passes_of(monkeypatch, tiny, words.student) is None


def test_pairs_are_judged_by_the_tokens_of_both_texts(words, tiny, monkeypatch):
    word_pairs = w2s.load_task("word_pairs", n_train=16, n_val=8, n_test=8)
    seen = {}
    monkeypatch.setattr(check, "clearly_fits", lambda *args, **options: seen.update(options))
    monkeypatch.setattr(check, "check_memory", lambda *args, **options: seen.update(options))
    monkeypatch.setattr("w2s_nb.training.device_memory.of_fit.clearly_fits", lambda *a, **o: False)
    passes_of(monkeypatch, tiny, word_pairs.student)
    texts = word_pairs.student.texts
    longest = max(len(first.split()) + len(second.split()) for first, second in texts)
    assert longest - 8 <= seen["tokens"] < longest + 32


def test_prompts_and_language_models_are_refused_before_a_model_is_loaded(
    words, tiny, monkeypatch, no_model_is_loaded
):
    give_memory(monkeypatch, host=10_000)
    tuned = Tuned(tiny, "student", args={"method": "top"})
    for ask in (
        lambda: w2s.prompt(tiny, words.test),
        lambda: finetune_lm(tiny, words.student, method="top"),
        lambda: tuned.check(words),
        lambda: setup("03", task="words", weak=f"{tiny}@1", strong=tiny, method="full", seeds=1),
    ):
        with pytest.raises(OutOfMemory, match=REFUSED):
            ask()


def test_a_notebook_refuses_its_table_by_probe_before_it_finetunes_for_hours(
    words, tiny, monkeypatch, no_model_is_loaded
):
    parameters = {"task": "words", "weak": f"{tiny}@1", "strong": tiny, "losses": "xent"}
    parameters |= {"method": "lora", "devices": 4, "seeds": 1, "results": ""}
    short = {"tokens": 16, "micro_batch": 1}
    shared = estimate(tiny, "lora", devices=4, **short).total

    # of a large model the whole weights take more than a device's share of a training
    def frozen(architecture, method, *unused):
        return 3 * shared if method == "probe" else 0

    monkeypatch.setattr(sys.modules[estimate.__module__], "_frozen", frozen)
    give_memory(monkeypatch, device=2 * shared)
    with pytest.raises(OutOfMemory, match="'probe' takes at least.*; or table_seeds = 0"):
        setup("03_conf_loss", table_seeds=2, **parameters)
    setup("03_conf_loss", table_seeds=0, **parameters)


def test_the_table_of_supervisors_needs_room_for_the_strong_model(words, tiny, monkeypatch):
    asked = []
    monkeypatch.setattr(
        notebook_setup, "check_memory", lambda model, method, **options: asked.append(model)
    )
    notebook_setup._require_memory_for_table(
        {"weak": f"{tiny}@1", "strong": tiny, "supervisors": f"{tiny}@2", "table_seeds": 2}
    )
    assert asked == [f"{tiny}@1", tiny, f"{tiny}@2"]


@pytest.mark.parametrize("model", ["Qwen2.5-0.5B@2", "gemma-3-270m@3", "Qwen3-0.6B@2"])
def test_models_whose_layers_have_types_are_asked_for_at_any_depth(model):
    room = Room.of(80)
    assert check.clearly_fits(model, "probe", room, tokens=64)
    assert simulation.config_of(architecture_of(resolve(model))).num_hidden_layers <= 3
