"""A result answers only for the versions of the packages that computed it."""

import linecache
import types

import pytest

import w2s_nb as w2s
from w2s_nb import losses
from w2s_nb.common import device
from w2s_nb.common.registry import LOSSES
from w2s_nb.inputs import activations, tokens
from w2s_nb.models import loading
from w2s_nb.prompting import prompt

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
        device._installed.cache_clear()
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


CODES = (activations.code, prompt.code, tokens.code)


@pytest.mark.parametrize(
    "room, name, moves",
    [
        (loading, "as_run", (True, True, False)),
        (loading, "config_of", (True, True, False)),
        (loading, "_read_config", (True, True, False)),
        (loading, "load_tokenizer", (False, False, True)),
        (prompt, "_shares", (False, True, False)),
    ],
)
def test_all_code_between_a_name_and_a_result_counts(room, name, moves, monkeypatch):
    def read():
        for code in CODES:
            code.cache_clear()
        return [code() for code in CODES]

    def changed(*args):
        return None

    before = read()
    monkeypatch.setattr(room, name, changed)
    after = read()
    monkeypatch.undo()
    read()
    assert tuple(a != b for a, b in zip(after, before, strict=True)) == moves


@pytest.fixture
def unregister():
    yield
    LOSSES._entries.pop("own_loss", None)


def own_loss(source):
    """Address of a loss that is defined in a module of this source."""
    module = types.ModuleType("own")
    lines = source.splitlines(keepends=True)
    linecache.cache["<own>"] = (len(source), None, lines, "<own>")
    exec(compile(source, "<own>", "exec"), module.__dict__)
    w2s.register_loss(module.own_loss)
    return losses.code("own_loss")


OWN = """
import torch.nn.functional as F
SCALE = 2.0
def halved(values):
    return values / 2
def helper(values):
    return sum(halved(each) for each in [values])
def own_loss(logits, targets, *, progress):
    return helper(SCALE * F.cross_entropy(logits, targets, reduction="none"))
"""


@pytest.mark.parametrize(
    "old, new, moves",
    [
        ("SCALE = 2.0", "SCALE = 3.0", True),
        ("values / 2", "values / 4", True),
        ("halved(each)", "each", True),
        ("import torch", "UNUSED = 1\nimport torch", False),
        ("    return values / 2", "    # a half\n    return values / 2", False),
    ],
)
def test_what_a_loss_of_ones_own_calls_counts(old, new, moves, unregister):
    assert OWN.replace(old, new) != OWN
    assert (own_loss(OWN) != own_loss(OWN.replace(old, new))) == moves
