"""The web pages: strict build, links, figures, equations, nothing from another machine."""

import ast
import inspect
import json
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import unquote

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = ROOT / "notebooks"
PAGES = NOTEBOOKS / "pages"


def is_there(module: str) -> bool:
    try:
        __import__(module)
    except ImportError:
        return False
    return True


needs_sphinx = pytest.mark.skipif(
    not all(map(is_there, ("sphinx", "myst_nb", "furo", "latex2mathml"))),
    reason="Sphinx is not installed: make .venv/site",
)


class Page(HTMLParser):
    """The ids on a page, the links on it, and what a browser loads with it."""

    def __init__(self, path: Path):
        super().__init__()
        self.html = path.read_text()
        self.ids, self.links, self.loaded, self.alt = set(), [], [], []
        self.feed(self.html)

    def handle_starttag(self, tag, attrs):
        at = dict(attrs)
        self.ids.add(at.get("id"))
        if tag == "a":
            self.links += [at["href"]] if at.get("href") else []
        elif not (tag == "link" and at.get("rel") in ("canonical", "prev", "next")):
            self.loaded += [at[key] for key in ("src", "href", "data") if at.get(key)]
        if tag == "img":
            self.alt.append(at.get("alt", ""))


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The folder of the pages: built as `make site` does, where a warning is an error."""
    out = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-b", "html"]
    places = ["-c", str(PAGES), "-d", str(out / "trees"), str(ROOT), str(out / "html")]
    done = subprocess.run(
        [*command, *places],
        capture_output=True,
        text=True,
        env=os.environ | {"GITHUB_REPOSITORY": "someone/w2s_nb"},
    )
    assert done.returncode == 0, done.stderr
    return out / "html"


@pytest.fixture(scope="module")
def pages(site):
    return {path.relative_to(site).as_posix(): Page(path) for path in site.rglob("*.html")}


@needs_sphinx
@pytest.mark.model
def test_every_notebook_room_and_document_has_a_page(pages):
    notebooks = [p for p in NOTEBOOKS.rglob("*.ipynb") if ".ipynb_checkpoints" not in p.parts]
    rooms = {p.parent.name for p in (ROOT / "w2s_nb").glob("*/__init__.py")}
    wanted = {p.relative_to(ROOT).with_suffix(".html").as_posix() for p in notebooks}
    wanted |= {f"notebooks/pages/api/{room}.html" for room in rooms}
    assert wanted | {"index.html", "search.html", "README.fa.html"} <= set(pages)
    assert len(rooms) >= 19


@needs_sphinx
@pytest.mark.model
def test_every_link_between_pages_leads_somewhere(site, pages):
    broken = []
    for name, page in pages.items():
        for link in page.links:
            path, _, anchor = unquote(link).partition("#")
            if re.match(r"[a-z]+:", path):
                continue
            target = (site / name).parent / path if path else site / name
            target = target.resolve()
            known = pages.get(os.path.relpath(target, site))
            if not target.is_file() or (anchor and known and anchor not in known.ids):
                broken.append(f"{name}: {link}")
    assert not broken


@needs_sphinx
@pytest.mark.model
def test_pages_load_nothing_from_elsewhere_and_name_no_path_of_a_machine(site, pages):
    for name, page in pages.items():
        for address in page.loaded:
            assert not re.match(r"(https?:)?//", address), f"{name} loads {address}"
            if not address.startswith("data:"):
                path = address.partition("?")[0].partition("#")[0]
                assert not path or ((site / name).parent / unquote(path)).exists(), address
        text = page.html.replace("# run in /home/", "")  # a script of shell_safety
        own = re.search(r"/(root|work|tmp)/(h|main|shared)\b", text)
        assert not own, f"{name}: {own[0]}"


@needs_sphinx
@pytest.mark.model
def test_figures_are_pictures_with_their_titles_and_boards_are_there(pages):
    for path in NOTEBOOKS.glob("*.ipynb"):
        cells = json.loads(path.read_text())["cells"]
        outputs = [out.get("data", {}) for cell in cells for out in cell.get("outputs", [])]
        pictures = [data for data in outputs if {"image/png", "image/svg+xml"} & set(data)]
        page = pages[f"notebooks/{path.stem}.html"]
        assert len([alt for alt in page.alt if alt]) >= len(pictures), path.stem
        for data in outputs:
            figure = data.get("application/vnd.plotly.v1+json")
            title = (figure or {}).get("layout", {}).get("title", {}).get("text")
            if title:
                words = re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", title)).strip()
                assert any(words in alt for alt in page.alt), f"{path.stem}: {words}"
        assert "application/vnd.jupyter.widget" not in page.html


@needs_sphinx
@pytest.mark.model
def test_every_page_names_its_icon(site, pages):
    assert (site / "_static" / "favicon.svg").is_file()
    ours = {name: page for name, page in pages.items() if not name.startswith("_downloads/")}
    assert ours and not [name for name, page in ours.items() if "favicon.svg" not in page.html]


@needs_sphinx
@pytest.mark.model
def test_a_sentence_with_a_colon_is_no_type_of_what_is_returned(pages):
    """Napoleon takes what stands before a colon for a type; several values are a list."""
    rooms = [page for name, page in pages.items() if name.startswith("notebooks/pages/api/")]
    assert len(rooms) >= 19 and not [page for page in rooms if "Return type" in page.html]
    training = pages["notebooks/pages/api/training.html"].html
    assert "<strong>trainable</strong>" in training, "a value of `simulate`"


@needs_sphinx
@pytest.mark.model
def test_equations_need_no_script(pages):
    for path in NOTEBOOKS.glob("*.ipynb"):
        cells = json.loads(path.read_text())["cells"]
        text = "\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "markdown")
        html = pages[f"notebooks/{path.stem}.html"].html
        assert html.count('display="block"') == text.count("$$") // 2, path.stem
    assert not any(
        "mathjax" in address.lower() for page in pages.values() for address in page.loaded
    )


@needs_sphinx
@pytest.mark.model
def test_the_persian_page_runs_from_right_to_left(pages):
    assert '<div dir="rtl" lang="fa">' in pages["README.fa.html"].html
    assert 'dir="rtl"' not in pages["notebooks/00_tour.html"].html


@needs_sphinx
@pytest.mark.model
def test_every_public_name_stands_in_the_reference(pages):
    html = pages["notebooks/pages/api/index.html"].html
    for node in ast.parse((ROOT / "w2s_nb" / "__init__.pyi").read_text()).body:
        for alias in node.names:
            assert f">w2s.{alias.name}<" in html, alias.name
    fit = pages["notebooks/pages/api/training.html"]
    assert "w2s_nb.training.fit.fit" in fit.ids and "Raises" in fit.html


@needs_sphinx
@pytest.mark.model
def test_notebooks_lead_to_their_solutions_and_to_colab(pages):
    page = pages["notebooks/05_imitation.html"]
    assert "solutions/05_imitation.html" in page.links
    colab = "https://colab.research.google.com/github/someone/w2s_nb/blob/main"
    assert f"{colab}/notebooks/05_imitation.ipynb" in page.links
    assert "../05_imitation.html" in pages["notebooks/solutions/05_imitation.html"].links


@needs_sphinx
@pytest.mark.parametrize(
    "link, becomes",
    [
        ("../../README.md#results", "[it](index.md)"),
        ("../../w2s_nb/losses/paper.py", "[it](api/losses.rst)"),
        ("../../w2s_nb/published/", "[it](api/published.rst)"),
        ("../../papermill_runs/sweeps", "it"),  # without a repository there is nothing to show
        ("../00_tour.ipynb", "[it](../00_tour.ipynb)"),
        ("../../.gitignore", None),
        ("../../../", None),
    ],
)
def test_links_to_files_lead_to_pages_and_never_to_hidden_files(link, becomes, monkeypatch):
    monkeypatch.syspath_prepend(str(PAGES))
    import extension

    warned = []
    monkeypatch.setattr(extension.logger, "warning", lambda *a, **k: warned.append(a))
    app = SimpleNamespace(config=SimpleNamespace(html_context={"repository": ""}))
    text = extension.rewrite_links(app, "notebooks/pages/setup", f"See [it]({link}).")
    assert text == f"See {becomes or 'it'}."
    assert bool(warned) == (becomes is None)


def test_every_source_of_the_register_is_among_the_papers():
    text = (PAGES / "papers.md").read_text()
    for path in (ROOT / "w2s_nb" / "published").glob("*.yaml"):
        assert f"]({yaml.safe_load(path.read_text())['url']})" in text, path.name
    for module in re.findall(r"\{py:mod\}`([\w.]+)`", text):
        path = ROOT / module.replace(".", "/")
        assert path.with_suffix(".py").is_file() or path.is_dir(), module


def test_every_notebook_is_in_the_table_of_contents():
    listed = re.findall(r"<\.\./(\d\d_\w+)>", (PAGES / "index.md").read_text())
    assert listed == sorted(path.stem for path in NOTEBOOKS.glob("*.ipynb"))


def test_the_fidelity_page_names_the_tasks_of_the_paper():
    from w2s_nb.suites.names import _PAPER

    text = (PAGES / "fidelity.md").read_text().partition("**Which 22 tasks.**")[2]
    assert tuple(re.findall(r"`([\w@]+)`", text.partition("The paper cites")[0])[1:]) == _PAPER


def test_the_workflow_pins_its_actions():
    text = (ROOT / ".github" / "workflows" / "pages.yml").read_text()
    actions = re.findall(r"uses: (\S+)", text)
    assert actions and all(re.search(r"@[0-9a-f]{40}$", action) for action in actions)
    assert "make site" in text and "path: papermill_runs/site}" in text


def test_the_persian_introduction_keeps_its_directions():
    """Blocks begin with a Persian letter, so that `dir="auto"` finds them; code stands apart."""
    text = (ROOT / "README.fa.md").read_text()
    turns = re.findall(r"<div dir=\"rtl\">|</div>|^```", text, re.M)
    assert (
        "```" in turns
        and "".join(turns).replace('</div>``````<div dir="rtl">', "") == '<div dir="rtl"></div>'
    )
    prose = re.sub(r"^```.*?^```", "", text, flags=re.S | re.M)
    for interval in re.finditer(r"-?\d\.\d+ \[[^\]]*\]", prose):
        assert prose[: interval.start()].endswith('<span dir="ltr">'), interval[0]
    for block in re.split(r"\n\s*\n|\n(?=- )", prose):
        block = re.sub(r"^(#+ |- |\| |\*\*|\s|«|!?\[)*", "", block)
        if block and not block.startswith("<"):
            assert re.match(r"[\u0600-\u06ff]", block), block[:60]


@needs_sphinx
def test_a_docstring_keeps_its_sections_apart(monkeypatch):
    monkeypatch.syspath_prepend(str(PAGES))
    import extension

    docstring = """Computes it.

    Args: as of `other`.
    Returns:
        A row per arm: its number.
    Raises: as `fit`; wrong
        arguments first.
    Source: Burns et al. 2023,
        section 3."""
    lines = inspect.cleandoc(docstring).split("\n")
    extension.to_restructured_text(None, "", "", None, None, lines)
    assert [line for line in lines if line] == [
        "Computes it.",
        "**Args:** as of ``other``.",
        ":returns:",
        "    A row per arm: its number.",
        "**Raises:** as ``fit``; wrong",
        "arguments first.",
        "**Source:** Burns et al. 2023,",
        "section 3.",
    ]
