"""Published claims judged by measures: what runs, what is refused first, what the page says."""

import json
import math

import pytest

from w2s_nb import __main__
from w2s_nb.common.progress import warn
from w2s_nb.common.registry import UnknownName
from w2s_nb.metrics import Estimate
from w2s_nb.published import register, running
from w2s_nb.published.measures import table
from w2s_nb.published.page import _strip, page, pgr_of
from w2s_nb.published.verdict import AGREES, CONTRADICTS, TOO_NOISY, Range

SOURCE = """
citation: A & B (2020).
url: https://example.org
about: one sentence.
recipe: {epochs: 2}
scales:
  cpu: {task: made, weak: small, strong: large, method: probe, seeds: 5}
  gpu24: {not: "its data are not public"}
numbers:
  half: {about: a, value: 0.5, metric: pgr, read: pixels, error: 0.01, where: figure 1}
  student: {about: a, value: 0.7, metric: accuracy, read: printed, where: table 1, weak: 0.6, ceiling: 0.8}
claims:
  better: {says: "b < c.", where: section 1, measure: low_to_high, arguments: {low: 0.1}, expects: {above: 0}, numbers: [half]}
  worse: {says: w., where: section 2, measure: low_to_high, arguments: {low: 0.1}, expects: {below: 0}}
  noisy: {says: n., where: section 2, measure: low_to_high, arguments: {low: -0.1}, expects: {above: 0}}
  broken: {says: d., where: section 2, measure: low_to_high, arguments: {low: 1.0}, expects: {above: 0}}
  larger: {says: l., where: section 3, measure: seeds_of, arguments: {seeds: 7}, expects: {above: 6}, why_not: {gpu24: g}}
"""  # noqa: E501


def low_to_high(low):
    if low == 1:
        raise RuntimeError("no such fit")
    warn("PGR is marked")
    return Estimate(0.2, low, 0.3, 100, 5)


def seeds_of(experiments):
    seeds = experiments.setting.seeds
    return Estimate(seeds, seeds - 0.1, seeds + 0.1, 100, seeds)


@pytest.fixture(autouse=True)
def one_source(monkeypatch, tmp_path):
    path = tmp_path / "a_2020.yaml"
    path.write_text(SOURCE)
    monkeypatch.setattr(register, "FOLDER", tmp_path)
    register.sources.cache_clear()
    for function in (low_to_high, seeds_of):
        monkeypatch.setitem(table.MEASURES, function.__name__, function)
    yield path
    register.sources.cache_clear()


def test_each_claim_gets_its_verdict_and_an_error_ends_its_own_claim_alone():
    outcomes = running.reproduce().outcomes
    assert {each.claim.name: each.verdict for each in outcomes} == {
        "better": AGREES,
        "worse": CONTRADICTS,
        "noisy": TOO_NOISY,
        "broken": running.FAILED,
        "larger": AGREES,
    }
    assert outcomes[3].ours == "RuntimeError: no such fit"
    assert outcomes[0].notes == ("PGR is marked",)


def test_a_claims_arguments_change_the_setting_of_the_scale():
    row = running.reproduce(claims=["larger"]).table.loc[0]
    assert row.setting == "made, small → large, probe, 7 seeds"
    assert running.reproduce(claims=["better"]).table.setting[0] == "published numbers alone"


@pytest.mark.parametrize(
    ("claims", "code"),
    [(["better", "noisy"], 0), (["better", "broken"], 2), (["broken", "worse"], 1)],
)
def test_the_exit_code_tells_of_contradictions_and_of_failures(claims, code, tmp_path, capsys):
    named = [word for claim in claims for word in ("--claim", claim)]
    assert __main__.main(["reproduce", *named, "--out", str(tmp_path / "out")]) == code
    printed = capsys.readouterr().out
    assert "0.200 [0.100, 0.300]" in printed and "claims at scale cpu" in printed


def test_the_page_and_the_file_have_what_was_measured(tmp_path):
    reproduction = running.reproduce()
    text = reproduction.write(tmp_path / "out").read_text()
    for said in ("b &lt; c.", "half 0.5 (± 0.01)", "0.200 [0.100, 0.300]", "A &amp; B (2020)."):
        assert said in text
    assert "<td>0.500</td>" in text, "PGR by the source's own baselines"
    written = json.loads((tmp_path / "out" / "reproduce.json").read_text())
    better = written["claims"][0]
    assert better["verdict"] == AGREES and better["agrees_if"] == "above 0"
    assert better["parts"][0]["value_low"] == 0.1 and better["parts"][0]["seeds"] == 5


def test_a_drawing_shades_the_range_up_to_the_edge_where_it_has_no_end():
    estimate = Estimate(0.2, 0.1, 0.4, 10, 5)
    above = _strip(Range(low=0), estimate)
    assert "M54.0 6H162.0" in above, "0 and .4 stand at a tenth and nine tenths of 180 pixels"
    assert "<rect x='18.0' width='162.0'" in above
    assert "<rect x='0.0' width='18.0'" in _strip(Range(high=0), estimate)


def test_a_scale_without_a_setting_leaves_its_claims_out_and_says_why(capsys):
    reproduction = running.reproduce(scale="gpu24")
    assert not reproduction.outcomes and reproduction.exit_code == 0
    assert set(reproduction.left_out.why) == {"its data are not public", "g"}
    assert "its data are not public" in page(reproduction)
    assert set(running.reproduce(scale="gpu80").left_out.why) == {
        "the source has no setting for this scale"
    }


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["b-2020"], "a-2020"),
        (["--scale", "phone"], "gpu24"),
        (["--claim", "beter"], "better"),
    ],
)
def test_names_that_do_not_exist_are_refused_in_one_line(options, message, capsys):
    assert __main__.main(["reproduce", *options]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("measure: seeds_of", "measure: seeds", "seeds_of"),
        ("{seeds: 7}", "{seed: 7}", "seeds"),
        ("{low: 0.1}", "{seeds: 3}", "low"),
    ],
    ids=["measure", "word of a setting", "word where nothing runs"],
)
def test_measures_and_their_arguments_are_checked_before_any_runs(one_source, old, new, message):
    one_source.write_text(SOURCE.replace(old, new))
    register.sources.cache_clear()
    with pytest.raises(UnknownName, match=message):
        running.reproduce(claims=["noisy"])


def test_a_dry_run_lists_settings_and_runs_nothing(capsys):
    assert __main__.main(["reproduce", "--dry-run"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "published numbers alone" and "  a-2020 broken" in lines
    assert lines[-2:] == ["made, small → large, probe, 7 seeds", "  a-2020 larger"]


def test_pgr_of_published_values_is_by_the_sources_own_baselines():
    numbers = register.source("a-2020").numbers
    assert pgr_of(numbers["student"]) == pytest.approx(0.5)
    assert math.isnan(pgr_of(numbers["half"]))


def test_one_name_of_a_claim_instead_of_a_list_is_refused():
    with pytest.raises(TypeError, match="claims = 'oracle-stop-helps'; expected a list of names"):
        running.claims_at("burns-2023", "cpu", "oracle-stop-helps")
