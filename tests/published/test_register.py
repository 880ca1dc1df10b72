"""The register of published results: what is read, and what is refused."""

import math
import statistics
from pathlib import Path

import pytest

from w2s_nb.common.registry import UnknownName
from w2s_nb.published import register
from w2s_nb.published.measures.table import check_measure
from w2s_nb.published.verdict import AGREES, CONTRADICTS, TOO_NOISY, Range, judge, judge_all

WHOLE = """
citation: A (2020).
url: https://example.org
about: one sentence.
recipe: {epochs: 2}
scales: {cpu: {task: movie_snippets}}
numbers:
  half: {about: a, value: 0.5, metric: pgr, read: pixels, error: 0.01, where: figure 1}
claims:
  better:
    {says: b, where: section 1, measure: naive_pgr, expects: {above: 0}, numbers: [half]}
"""


@pytest.fixture
def written(tmp_path):
    def write(text):
        path = tmp_path / "a_2020.yaml"
        path.write_text(text)
        return path

    return write


def test_a_source_is_read_whole(written):
    source = register.read(written(WHOLE))
    assert source.name == "a-2020"
    assert str(source.numbers["half"]) == "0.5 (± 0.01)"
    claim = source.claims["better"]
    assert claim.parts[0].expects == Range(low=0)
    assert claim.scales == register.SCALES


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("error: 0.01, ", "", "have an error"),
        ("read: pixels", "read: guessed", "expected one of printed"),
        ("value: 0.5", "value: .nan", "finite"),
        ("{above: 0}", "{around: 0}", "expected {above"),
        ("{above: 0}", "{between: [1, 0]}", "lower end first"),
        ("[half]", "[whole]", "unknown number"),
        ("measure: naive_pgr, ", "", "expected measure"),
        ("scales: {cpu", "scales: {phone", "expected one of cpu"),
        ("url: https://example.org", "link: b", "unknown key"),
        ("about: one sentence.", "", "has no about"),
        ("value: 0.5", "value: 0.5, sd: 0.1", "sd and seeds"),
        ("value: 0.5", "value: 0.5, interval: [0.6, 0.7]", "not within"),
        ("value: 0.5", "value: 0.5, interval: 0.1", "interval 0.1; expected"),
        ("value: 0.5", "value: 0.5, interval: [low, 0.7]", "interval is 'low'; expected a finite"),
        ("value: 0.5", "value: 0.5, notebooks: 00_tour", "notebooks '00_tour'; expected a list"),
        ("says: b", "says: b, notebooks: 00_tour", "notebooks '00_tour'; expected a list"),
        ("numbers: [half]", "numbers: half", "numbers 'half'; expected a list"),
        ("says: b", "says: b, why_not: no", "why_not False; expected {scale: why}"),
        ("{cpu: {task: movie_snippets}}", "cpu", "scales 'cpu'; expected {scale: setting}"),
    ],
)
def test_a_file_that_is_not_as_it_should_be_is_refused(written, old, new, message):
    assert old in WHOLE
    with pytest.raises(ValueError, match=message):
        register.read(written(WHOLE.replace(old, new)))


def test_an_unknown_source_number_or_claim_lists_what_exists():
    with pytest.raises(UnknownName, match="burns-2023"):
        register.source("burns")
    with pytest.raises(UnknownName, match="naive-pgr-positive"):
        register.claim("burns-2023", "naive")
    with pytest.raises(UnknownName, match="naive-pgr-typical"):
        register.number("burns-2023", "naive")


@pytest.mark.parametrize(
    ("interval", "expected"),
    [
        ((0.1, 0.3), AGREES),
        ((-0.3, -0.1), CONTRADICTS),
        ((-0.1, 0.1), TOO_NOISY),
        ((-0.1, 0.0), CONTRADICTS),
        ((0.0, 0.1), TOO_NOISY),
        ((-math.inf, math.inf), TOO_NOISY),
        ((math.nan, math.nan), TOO_NOISY),
    ],
)
def test_the_whole_interval_decides_the_verdict(interval, expected):
    assert judge(*interval, Range(low=0)) == expected
    low, high = interval
    assert judge(-high, -low, Range(high=0)) == expected, "the mirrored claim"


def test_a_range_is_judged_at_both_ends():
    half = Range(0.25, 0.75)
    assert judge(0.3, 0.7, half) == AGREES
    assert judge(0.8, 0.9, half) == judge(0.0, 0.2, half) == CONTRADICTS
    assert judge(0.2, 0.9, half) == TOO_NOISY


def test_a_claim_of_parts_agrees_only_if_all_do():
    assert judge_all([AGREES, AGREES]) == AGREES
    assert judge_all([AGREES, TOO_NOISY]) == TOO_NOISY
    assert judge_all([AGREES, TOO_NOISY, CONTRADICTS]) == CONTRADICTS
    assert judge_all([]) == TOO_NOISY


def test_every_file_is_read_and_every_claim_has_a_measure_that_takes_its_arguments():
    for name, source in register.sources().items():
        assert source.numbers, name
        for claim in source.claims.values():
            for part in claim.parts:
                check_measure(part.measure, part.arguments)


def test_no_two_sources_name_a_claim_alike():
    names = [name for source in register.sources().values() for name in source.claims]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("how", ["mean", "median"])
@pytest.mark.parametrize("loss", ["naive", "confidence", "entropy", "window"])
def test_medians_and_means_over_sets_follow_from_the_sets(how, loss):
    numbers = register.source("eleuther-2024").numbers
    each = [number.value for name, number in numbers.items() if name.endswith(f"-pgr-{loss}")]
    assert len(each) == 21
    recomputed = {"mean": statistics.mean, "median": statistics.median}[how](each)
    assert abs(recomputed - numbers[f"{how}-{loss}"].value) <= numbers["sst2-pgr-naive"].error


def test_the_report_counts_the_sets_where_confidence_does_better_as_its_numbers_do():
    numbers = register.source("eleuther-2024").numbers
    sets = [name.removesuffix("-pgr-naive") for name in numbers if name.endswith("-pgr-naive")]
    better = [
        one
        for one in sets
        if numbers[f"{one}-pgr-confidence"].value > numbers[f"{one}-pgr-naive"].value
    ]
    assert len(better) == 16
    assert all(numbers[f"{one}-pgr-confidence"].value > 0 for one in sets)


def test_published_pgr_by_auroc_follows_from_published_auroc():
    numbers = register.source("eleuther-2024").numbers
    for one in ("anli-r2", "dream", "hellaswag", "sciq", "boolq"):
        weak, student, ceiling = (
            numbers[f"{one}-auroc-{arm}"].value for arm in ("weak", "confidence", "ceiling")
        )
        pgr = numbers[f"{one}-pgr-confidence"]
        assert (pgr.weak, pgr.ceiling) == (weak, ceiling)
        # each AUROC was read with an error of .002
        assert abs((student - weak) / (ceiling - weak) - pgr.value) < 0.004 / (ceiling - weak)


def test_notebooks_that_are_named_exist():
    folder = Path(__file__).parents[2] / "notebooks"
    for source in register.sources().values():
        for entry in (*source.numbers.values(), *source.claims.values()):
            for notebook in entry.notebooks:
                assert (folder / f"{notebook}.ipynb").is_file(), f"{entry.name}: {notebook}"


def test_every_claim_is_judged_at_a_scale_that_has_a_setting():
    for source in register.sources().values():
        for claim in source.claims.values():
            assert claim.scales, f"{claim.name} is judged nowhere"
            assert set(claim.scales) <= set(source.scales), f"{claim.name} has no setting"


def test_numbers_and_claims_are_told_in_whole_sentences():
    for source in register.sources().values():
        texts = [source.about, *(number.about for number in source.numbers.values())]
        texts += [claim.says for claim in source.claims.values()]
        for text in texts:
            assert text[0].isupper() and text.endswith("."), text


def test_published_pgr_follows_from_published_accuracies():
    numbers = register.source("burns-2023").numbers
    for model in ("resnet50", "vitb8"):
        student = numbers[f"vision-{model}-naive"]
        pgr = (student.value - student.weak) / (student.ceiling - student.weak)
        assert abs(pgr - numbers[f"vision-{model}-pgr"].value) < 0.01
