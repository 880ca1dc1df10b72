"""Claims beside what a notebook measured: every claim has a row, and the rule its verdict."""

import math

import pytest

from w2s_nb.common.progress import warn
from w2s_nb.common.registry import UnknownName
from w2s_nb.metrics import Estimate
from w2s_nb.published import register
from w2s_nb.published.beside import NOT_MEASURED, paper_claims
from w2s_nb.published.verdict import AGREES, CONTRADICTS, RULE, TOO_NOISY, Range

PART = register.Part("", "naive_pgr", {}, Range(low=0))
TWO = tuple(register.Part(name, "loss_gain", {}, Range(low=0)) for name in ("one", "two"))


def claim(name, parts=(PART,)):
    return register.Claim(
        source="burns-2023",
        name=name,
        says=f"{name} is <so>.",
        where="section 1",
        parts=parts,
        scales=("cpu",),
        numbers=("naive-pgr-typical",),
        notebooks=("a",),
    )


@pytest.fixture(autouse=True)
def claims(monkeypatch):
    known = {"better": claim("better"), "both": claim("both", TWO)}
    monkeypatch.setattr("w2s_nb.published.beside.claims_of", lambda notebook: known)


def estimate(low, high, seeds=5, note=""):
    return Estimate((low + high) / 2, low, high, 100, seeds, note)


def verdict_on(measured, name="better"):
    return paper_claims("a", {name: measured}).table.verdict[name]


@pytest.mark.parametrize(
    ("measured", "verdict", "here"),
    [
        (estimate(0.1, 0.3), AGREES, "0.200 [0.100, 0.300]"),
        (estimate(-0.3, -0.1), CONTRADICTS, "-0.200 [-0.300, -0.100]"),
        (estimate(-0.1, 0.3), TOO_NOISY, "0.100 [-0.100, 0.300]"),
        (estimate(0.1, 0.3, seeds=1), TOO_NOISY, "0.200 [0.100, 0.300] (one seed)"),
        (estimate(math.nan, math.nan), TOO_NOISY, "not defined"),
        (estimate(0.0, 0.0), TOO_NOISY, "0.000 [0.000, 0.000] (no two models differ)"),
        (
            estimate(0.1, 0.3, note="supervisor not above chance"),
            TOO_NOISY,
            "0.200 [0.100, 0.300] (supervisor not above chance)",
        ),
        (
            estimate(0.1, 0.3, note="sciq: supervisor not above chance"),
            AGREES,
            "0.200 [0.100, 0.300] (sciq: supervisor not above chance)",
        ),
        (None, NOT_MEASURED, NOT_MEASURED),
    ],
    ids=[
        "above",
        "below",
        "both",
        "one seed",
        "not defined",
        "no spread",
        "chance",
        "over tasks",
        "none",
    ],
)
def test_the_interval_decides_unless_it_rests_on_too_little(measured, verdict, here):
    for given in (measured, lambda: measured):
        row = paper_claims("a", {"better": given}).table.loc["better"]
        assert (row.verdict, row.here) == (verdict, here)


def test_every_claim_of_the_notebook_has_a_row_with_what_was_published():
    table = paper_claims("a", {"better": estimate(0.1, 0.3)}).table
    assert list(table.index) == ["better", "both"]
    assert list(table.verdict) == [AGREES, NOT_MEASURED]
    assert table.published["better"] == "naive-pgr-typical 0.5"
    assert table["agrees if"]["better"] == "above 0"
    assert table["agrees if"]["both"] == "above 0\nabove 0"
    assert table["where"]["better"] == "burns-2023, section 1"
    assert table.here["better"] == "0.200 [0.100, 0.300]"


@pytest.mark.parametrize(
    ("one", "two", "verdict"),
    [
        (estimate(0.1, 0.3), estimate(0.1, 0.3), AGREES),
        (estimate(0.1, 0.3), estimate(-0.3, -0.1), CONTRADICTS),
        (estimate(0.1, 0.3), estimate(-0.1, 0.3), TOO_NOISY),
        (estimate(0.1, 0.3), None, TOO_NOISY),
        (estimate(0.1, 0.3, seeds=1), estimate(-0.3, -0.1), CONTRADICTS),
        (None, None, NOT_MEASURED),
    ],
    ids=["both", "one contradicts", "one is noisy", "one lacks", "one seed of one", "neither"],
)
def test_a_claim_of_parts_needs_all_of_them(one, two, verdict):
    table = paper_claims("a", {"both": {"one": one, "two": two}}).table
    assert table.verdict["both"] == verdict
    if one and two:
        lines = table.here["both"].split("\n")
        assert lines[0].startswith(f"one: {one}") and lines[1] == f"two: {two}"


def test_an_arm_that_the_run_lacks_leaves_its_claim_unmeasured():
    def lacking():
        raise UnknownName("arm", "student, confidence", ["student, naive"])

    assert verdict_on(lacking) == NOT_MEASURED
    with pytest.raises(ZeroDivisionError):
        verdict_on(lambda: 1 / 0)


def test_a_function_does_not_warn_a_second_time(capsys):
    def measured():
        warn("PGR is marked")
        return estimate(0.1, 0.3)

    assert verdict_on(measured) == AGREES
    assert "PGR" not in "".join(capsys.readouterr())


def test_unknown_claims_and_parts_and_plain_numbers_are_refused():
    with pytest.raises(UnknownName, match="better"):
        paper_claims("a", {"beter": None})
    with pytest.raises(UnknownName, match="one"):
        verdict_on({"onne": estimate(0, 1)}, "both")
    with pytest.raises(TypeError, match="expected an Estimate"):
        verdict_on(0.3)


def test_the_table_is_shown_whole_and_as_text():
    claims = paper_claims("a", {"better": estimate(0.1, 0.3)})
    assert "better is &lt;so&gt;." in claims._repr_html_() and RULE in repr(claims)
    assert "above 0<br>above 0" in claims._repr_html_()
