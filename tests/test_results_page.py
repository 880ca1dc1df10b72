"""README, in both languages, and the page of results say what the committed tables and stored
notebooks say.
"""

import json
import re

import pytest

from tests.results_page import MARK, PAGES, REFERENCE, ROOT, TABLES, rewritten, rows_of

NUMBER = r"[-+]?\d*\.?\d+"
TRIPLE = re.compile(rf"({NUMBER})(?: points)? \[({NUMBER}),\s+({NUMBER})\](?: points)?")
Triple = tuple[float, float, float]


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_tables_are_those_of_the_committed_files(path):
    """`python -m tests.results_page` writes them."""
    page = path.read_text()
    assert rewritten(page) == page


def test_every_table_is_shown():
    shown = {name for path in PAGES for _, name, _ in MARK.findall(path.read_text())}
    assert shown == set(TABLES)


@pytest.fixture(scope="module")
def measured() -> list[Triple]:
    """Every value with its interval, of committed tables and of the outputs of stored notebooks."""
    found: set[Triple] = set()
    for path in REFERENCE.glob("*.json"):
        _collect(json.loads(path.read_text()), found)
    for path in (ROOT / "notebooks").rglob("*.ipynb"):
        for cell in json.loads(path.read_text())["cells"]:
            for output in cell.get("outputs", []):
                text = output.get("text") or output.get("data", {}).get("text/plain", "")
                found.update(_triples("".join(text)))
    return sorted(found)


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_interval_in_the_text_was_measured(path, measured):
    """Points are hundredths; a number is as exact as it is written."""
    text = re.sub(r"```.*?```", "", MARK.sub("", path.read_text()), flags=re.S)
    page = re.sub(r"\s+", " ", text)
    unknown = []
    for match in TRIPLE.finditer(page):
        scale = 100 if _of_points(page, match) else 1
        decimals = len(match[1].partition(".")[2])
        numbers = [float(text) / scale for text in match.groups()]
        room = 0.51 * 10**-decimals / scale
        if not any(_near(numbers, triple, room) for triple in measured):
            unknown.append(match[0])
    assert not unknown


def test_readme_counts_the_claims_as_the_register_does():
    summary = json.loads((REFERENCE / "reproduce.json").read_text())["summary"]
    n, agree, contradict, noisy = re.match(
        r"(\d+) claims .*?: (\d+) agrees, (\d+) contradicts, (\d+) too noisy", summary
    ).groups()
    readme = re.sub(r"\s+", " ", PAGES[0].read_text())
    assert f"all {n} claims" in readme
    others = len({row["source"] for row in rows_of("reproduce", "claims")}) - 1
    assert f"of this paper and of {COUNTS[others]} other sources" in readme
    assert f"{agree} agree, {contradict} contradict, {noisy} are too noisy to say" in readme


COUNTS = dict(enumerate("no one two three four five six seven eight nine ten".split()))
SETUP = ROOT / "notebooks" / "pages" / "setup.md"
FROM_ARABIC = str.maketrans("۰۱۲۳۴۵۶۷۸۹", "0123456789")


def test_the_persian_readme_counts_the_claims_as_the_english_one_does():
    summary = json.loads((REFERENCE / "reproduce.json").read_text())["summary"]
    counts = re.match(r"(\d+) claims .*?: (\d+) agrees, (\d+) contradicts, (\d+) too", summary)
    persian = re.sub(r"\s+", " ", PAGES[1].read_text()).translate(FROM_ARABIC)
    n, agree, contradict, noisy = counts.groups()
    assert f"هر {n} ادعا" in persian
    assert f"{agree} هم‌خوان، {contradict} ناهم‌خوان، و برای {noisy} ادعا" in persian


def test_code_is_the_same_in_both_languages_and_the_demo_in_set_up():
    english, persian, setup = (
        re.findall(r"^```.*?^```", path.read_text(), flags=re.M | re.S)
        for path in (*PAGES[:2], SETUP)
    )
    formula = "```\nPGR = (student - weak) / (ceiling - weak)\n```"
    assert [block for block in persian if block != formula] == english[: len(persian) - 1]
    [demo] = [block for block in english if "student, naive" in block]
    assert demo in setup
    assert max(map(len, demo.splitlines())) <= 93, "it would leave its box"


def test_the_persian_readme_shows_every_notebook_and_links_every_page():
    links = [set(re.findall(r"\]\(([^)]+)\)", path.read_text())) for path in PAGES[:2]]
    kit = {link for link in links[0] if re.match(r"notebooks/|papermill_runs/", link)}
    assert kit <= links[1]


def test_the_persian_readme_has_latin_digits_only_where_it_says_so():
    """In code, names, links, and in what runs left to right: sections and measured numbers."""
    text = PAGES[1].read_text()
    named = (
        r"^```.*?^```",
        r"<!--.*?-->",
        r'<span dir="ltr">.*?</span>',
        r"`[^`]*`",
        r"\]\([^)]*\)",
    )
    for pattern in named:
        text = re.sub(pattern, "", text, flags=re.M | re.S)
    assert not re.findall(r".*\d.*", re.sub("w2s_nb|[۰-۹]", "", text))


def test_readme_is_short():
    """Everything else is in the pages that it links."""
    assert len(PAGES[0].read_text().splitlines()) <= 180


def _of_points(page: str, match: re.Match) -> bool:
    """Tells whether a number is in points: its interval leaves [-1.5, 1.5], or it says so."""
    return "points" in match[0] or abs(float(match[3])) > 1.5


def _near(numbers: list[float], triple: Triple, room: float) -> bool:
    return all(abs(a - b) <= room for a, b in zip(numbers, triple, strict=True))


def _collect(value, found: set[Triple]) -> None:
    if isinstance(value, str):
        found.update(_triples(value))
    elif isinstance(value, list):
        if len(value) == 3 and all(isinstance(each, float) for each in value):
            found.add(tuple(value))  # value, low, high
        for each in value:
            _collect(each, found)
    elif isinstance(value, dict):
        for name, number in value.items():
            _collect(number, found)
            ends = ("low", "high") if name == "value" else (f"{name}_low", f"{name}_high")
            triple = (number, *(value.get(end) for end in ends))
            if all(isinstance(each, int | float) for each in triple):
                found.add(triple)


def _triples(text: str) -> list[Triple]:
    return [tuple(map(float, match.groups())) for match in TRIPLE.finditer(text)]
