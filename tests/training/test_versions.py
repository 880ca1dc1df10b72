"""A result answers only for the versions of the packages that computed it."""

import pytest

import w2s_nb as w2s
from w2s_nb.common import device
from w2s_nb.inputs import activations, tokens

real_version = device.version


@pytest.fixture
def install(monkeypatch):
    """Returns a function that gives a package another version."""

    def install(package, version):
        monkeypatch.setattr(
            device, "version", lambda name: version if name == package else real_version(name)
        )
        forget()

    def forget():
        device.public_versions.cache_clear()
        activations.code.cache_clear()
        tokens._tokenize.cache_clear()

    forget()
    yield install
    monkeypatch.undo()
    forget()


def computed(model, task):
    """Addresses of a fit, of a language model and of a prompt."""
    return [
        w2s.fit(model, task.student, method="probe", epochs=1).address,
        w2s.finetune_lm(model, task.student, epochs=1, held_out=2).address,
        w2s.prompt(model, task.test).address,
    ]


@pytest.mark.parametrize("package", ["torch", "transformers", "tokenizers", "peft"])
def test_what_another_version_computed_is_computed_again(package, install, words, tiny, home):
    before = computed(tiny, words)
    stored = {kind: len(list((home / kind).glob("*"))) for kind in ("tokens", "activations")}
    install(package, "99.0")
    after = computed(tiny, words)
    assert not set(before) & set(after)
    for kind, n in stored.items():
        assert len(list((home / kind).glob("*"))) == 2 * n, kind


def test_the_build_of_a_version_plays_no_part(install, words, tiny):
    install("torch", "2.13.0+cpu")
    on_cpu = computed(tiny, words)
    install("torch", "2.13.0+cu130")
    assert computed(tiny, words) == on_cpu
