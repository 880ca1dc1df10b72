"""What records say of the machine and of the packages."""

import contextlib
from importlib.metadata import PackageNotFoundError

import pytest
import torch

from w2s_nb.common import device, distributed


@pytest.fixture
def without(monkeypatch):
    """Returns a function that takes a package away; every other one has version 1."""

    def take_away(missing):
        def version(name):
            if name == missing:
                raise PackageNotFoundError(name)
            return "1"

        monkeypatch.setattr(device, "version", version)
        device._installed.cache_clear()

    yield take_away
    device._installed.cache_clear()


def test_an_optional_package_that_is_missing_has_no_version(without):
    without("chess")
    assert "chess" not in device.versions() and device.versions()["torch"] == "1"


def test_a_package_that_decides_results_must_have_a_version(without):
    without("torch")
    with pytest.raises(PackageNotFoundError):
        device.versions()


@pytest.mark.parametrize("name", ["gpu", "cuda:99", "CPU", "cpu:x", "cuda:-1"])
def test_a_device_that_is_not_here_is_refused_by_its_name(monkeypatch, name):
    monkeypatch.setenv("W2S_DEVICE", name)
    with pytest.raises(ValueError, match=f"W2S_DEVICE = '{name}'; this process has cpu"):
        device.device()


def test_workers_of_a_cluster_may_have_a_device_that_this_process_lacks(monkeypatch):
    monkeypatch.setenv("W2S_DEVICE", "cuda:1")
    assert distributed.environment_for_workers()["W2S_DEVICE"] == "cuda"


@pytest.mark.parametrize(
    "has_bf16, capability, expected",
    [
        (True, (8, 0), "bf16"),
        (False, (7, 5), "fp16"),
        (False, (7, 0), "fp16"),
        (False, (6, 1), "fp32"),
    ],
    ids=["A100", "T4", "V100", "GTX 1080"],
)
def test_a_card_computes_in_the_half_precision_that_it_has(
    monkeypatch, has_bf16, capability, expected
):
    def is_bf16_supported(including_emulation=True):
        return has_bf16 or including_emulation

    monkeypatch.delenv("W2S_PRECISION", raising=False)
    monkeypatch.setattr(device, "device", lambda: torch.device("cuda"))
    monkeypatch.setattr(device, "machine", lambda: "Tesla T4")
    monkeypatch.setattr(torch.cuda, "device", lambda device: contextlib.nullcontext())
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", is_bf16_supported)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    device._precision_of.cache_clear()
    try:
        assert device.precision() == expected
        described = device.describe_precision()
    finally:
        device._precision_of.cache_clear()
    assert described.startswith(expected)
    assert ("Tesla T4 has no bf16" in described) == (expected != "bf16")
    assert ("scaled loss" in described) == (expected == "fp16")


def test_the_precision_can_be_set_and_workers_of_a_cluster_take_the_same(monkeypatch):
    monkeypatch.delenv("W2S_PRECISION", raising=False)
    assert device.precision() == device.describe_precision() == "fp32"
    monkeypatch.setenv("W2S_PRECISION", "fp16")
    assert device.precision() == "fp16" and device.compute_type() == torch.float16
    assert distributed.environment_for_workers()["W2S_PRECISION"] == "fp16"
    monkeypatch.setenv("W2S_PRECISION", "half")
    with pytest.raises(
        ValueError, match="W2S_PRECISION = 'half'; expected one of bf16, fp16, fp32"
    ):
        device.precision()


def with_instructions(monkeypatch, words):
    """Makes the CPU one that has these instructions beside the usual ones."""
    monkeypatch.undo()  # conftest lets every CPU compute in everything
    monkeypatch.setenv("W2S_DEVICE", "cpu")
    monkeypatch.setattr(device, "_cpu_instructions", lambda: frozenset({"avx512f", *words}))


@pytest.mark.parametrize(
    "words, able, refused",
    [
        ((), (), ("bf16", "fp16")),
        (("avx512_bf16",), ("bf16",), ("fp16",)),
        (("amx_bf16", "avx512_fp16"), ("bf16", "fp16"), ()),
        (("asimdhp", "bf16"), ("bf16", "fp16"), ()),
        (("asimdhp",), ("fp16",), ("bf16",)),
    ],
    ids=["Skylake", "Zen 4", "Sapphire Rapids", "Graviton 3", "Graviton 2"],
)
def test_a_cpu_is_asked_only_for_what_it_has_instructions_for(monkeypatch, words, able, refused):
    with_instructions(monkeypatch, words)
    for name in able:
        monkeypatch.setenv("W2S_PRECISION", name)
        assert device.precision() == name
    for name in refused:
        monkeypatch.setenv("W2S_PRECISION", name)
        with pytest.raises(
            ValueError, match=f"W2S_PRECISION = '{name}'; expected fp32, as this CPU has no"
        ) as refusal:
            device.precision()
        assert "\n" not in str(refusal.value)
    monkeypatch.setenv("W2S_PRECISION", "fp32")
    assert device.precision() == "fp32"
    monkeypatch.delenv("W2S_PRECISION")
    assert device.precision() == "fp32", "what a CPU takes by itself has not changed"


@pytest.mark.parametrize(
    "text, expected",
    [
        ("model name\t: X\nflags\t\t: fpu avx512_bf16\nbugs\t: y\n", {"fpu", "avx512_bf16"}),
        ("processor\t: 0\nFeatures\t: fp asimdhp bf16\n", {"fp", "asimdhp", "bf16"}),
        ("vendor_id : IBM\n", set()),
        (None, set()),
    ],
    ids=["x86", "Arm", "other", "no such file"],
)
def test_instructions_are_read_where_the_system_names_them(monkeypatch, text, expected):
    def read_text(path):
        if text is None or str(path) != "/proc/cpuinfo":
            raise FileNotFoundError(path)
        return text

    monkeypatch.setattr(device.Path, "read_text", read_text)
    assert device._cpu_instructions.__wrapped__() == expected
