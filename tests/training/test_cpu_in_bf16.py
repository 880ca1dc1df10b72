"""A CPU computes in bf16 where `W2S_PRECISION` asks for it, and stores that by itself."""

import numpy as np
import pytest
import torch

import w2s_nb as w2s
from tests.training.test_named_fits_in_bf16 import log_odds
from w2s_nb.common import device, paths
from w2s_nb.inputs import activations
from w2s_nb.models import loading
from w2s_nb.training.language_model import finetune_lm

METHODS = ("full", "lora", "top", "probe", "logistic")


@pytest.fixture
def few():
    return w2s.load_task("words", n_train=24, n_val=20, n_test=20)


@pytest.fixture(autouse=True)
def on_a_cpu(monkeypatch):
    monkeypatch.setenv("W2S_DEVICE", "cpu")
    # it would compile a kernel for every shape
    monkeypatch.setattr(torch.backends.mkldnn, "enabled", False)


def in_both(monkeypatch, compute):
    """Returns what a function computes in float32 and in bf16."""
    results = []
    for precision in ("fp32", "bf16"):
        monkeypatch.setenv("W2S_PRECISION", precision)
        results.append(compute())
    return results


@pytest.mark.parametrize("method", METHODS)
def test_fits_in_bf16_have_their_own_addresses_and_nearly_the_same_predictions(
    words, few, tiny, monkeypatch, method
):
    options = dict(method=method, stop="last")
    if method not in ("probe", "logistic"):
        options |= dict(epochs=1, lr=1e-2, top_layers=2)
    exact, rounded = in_both(monkeypatch, lambda: w2s.fit(tiny, few.student, **options))
    assert exact.address != rounded.address
    assert rounded.record["config"]["precision"] == "bf16"
    expected = log_odds(exact, few.test)
    difference = np.abs(log_odds(rounded, few.test) - expected).max()
    assert 0 < difference < 0.1 * np.ptp(expected)
    # what was stored is found again, each by its own precision
    assert [
        f.address for f in in_both(monkeypatch, lambda: w2s.fit(tiny, few.student, **options))
    ] == [exact.address, rounded.address]


def test_features_in_bf16_lie_in_a_folder_of_their_own(words, few, tiny, monkeypatch):
    exact, rounded = in_both(monkeypatch, lambda: w2s.features(tiny, few.test)[4])
    assert 0 < np.abs(exact - rounded).max() < 0.05 * np.abs(exact).max()
    folders = [path.name for path in (paths.home() / "activations").iterdir()]
    assert sorted(name.split("-")[-2] for name in folders) == ["bf16", "fp32"]


def test_a_language_model_in_bf16_is_another_fit(words, few, tiny, monkeypatch):
    exact, rounded = in_both(
        monkeypatch,
        lambda: finetune_lm(tiny, few.student, method="full", epochs=1, lr=1e-2, held_out=10),
    )
    assert exact.name != rounded.name
    nats = [fit.held_out.after for fit in (exact, rounded)]
    assert 0 < np.abs(nats[0] - nats[1]).max() < 0.05 * np.abs(nats[0]).max()


@pytest.mark.parametrize("chosen", ["bf16", "bfloat16"])
@pytest.mark.parametrize("method", ["full", "probe"])
def test_what_this_cpu_lacks_is_refused_before_a_model_is_loaded(
    words, few, tiny, monkeypatch, method, chosen
):
    loaded = []
    monkeypatch.setattr(device, "_cpu_computes_in", lambda precision: False)
    for module, name in ((loading, "load_lm"), (activations, "load_shared")):
        monkeypatch.setattr(module, name, lambda *a, **k: loaded.append(a))
    monkeypatch.setenv("W2S_PRECISION", chosen)
    for ask in (
        lambda: w2s.fit(tiny, few.student, method=method),
        lambda: w2s.run_arms("words", tiny, tiny, method=method, n_train=24, n_val=20, n_test=20),
        lambda: w2s.features(tiny, few.test),
    ):
        with pytest.raises(ValueError, match=f"W2S_PRECISION = '{chosen}'; expected"):
            ask()
    assert not loaded
