"""What records say of the machine and of the packages."""

from importlib.metadata import PackageNotFoundError

import pytest

from w2s_nb.common import device


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
