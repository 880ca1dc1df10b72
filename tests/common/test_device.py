"""What records say of the machine and of the packages."""

from importlib.metadata import PackageNotFoundError

import pytest

from w2s_nb.common import device, distributed


def without(monkeypatch, missing):
    def version(name):
        if name == missing:
            raise PackageNotFoundError(name)
        return "1"

    monkeypatch.setattr(device, "version", version)


def test_an_optional_package_that_is_missing_has_no_version(monkeypatch):
    without(monkeypatch, "chess")
    assert "chess" not in device.versions() and device.versions()["torch"] == "1"


def test_a_package_that_decides_results_must_have_a_version(monkeypatch):
    without(monkeypatch, "torch")
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
