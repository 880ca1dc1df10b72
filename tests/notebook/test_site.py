"""The static site: its pages and links, one plotly.js, nothing of this machine or from another."""

import functools
import json
import posixpath
import re
from html.parser import HTMLParser

import nbformat
import pytest

from w2s_nb.__main__ import main
from w2s_nb.common.paths import checkout as find_checkout
from w2s_nb.notebook import site

ROOT = find_checkout()
NOTEBOOKS = ROOT / "notebooks"
FIGURE = {"data": [{"type": "bar", "x": ["weak"], "y": [0.71828]}], "layout": {"width": 300}}


def notebook(title, *outputs, source="", ids=True):
    """Returns a notebook with a heading, a cell of text and a code cell with outputs.

    Args:
        outputs: {media type: content} of each.
        ids: False leaves out the ids of cells, as older notebooks do.
    """
    v4 = nbformat.v4
    content = v4.new_notebook(
        cells=[
            v4.new_markdown_cell(f"# {title}\n\n{source}"),
            v4.new_code_cell(
                "1 + 1", outputs=[v4.new_output("display_data", data=data) for data in outputs]
            ),
        ]
    )
    if ids:
        return content
    for cell in content.cells:
        del cell["id"]
    return content | {"nbformat_minor": 4}


@pytest.fixture
def checkout(tmp_path):
    """A small checkout: two notebooks, one solution, contents, and files that they link to."""
    root = tmp_path / "checkout"
    (root / "notebooks" / "solutions").mkdir(parents=True)
    (root / "more").mkdir()
    figure = {
        site.FIGURE: FIGURE,
        "image/png": "iVBORw0KGgo=",
        "text/html": "<script src='https://cdn.plot.ly/a.js'>",
    }
    controls = {site.WIDGET: {"model_id": "abc", "version_major": 2}, "text/plain": "Dropdown(...)"}
    links = (
        "[next](01_second.ipynb#part-two), [paper](https://arxiv.org/abs/2312.09390), "
        "[gone](02.ipynb)"
    )
    two = {"text/plain": "2"}
    notebooks = {
        "00_first": notebook(
            "The *first* of `two`", figure, controls, ids=False, source=f"$x$ {links}"
        ),
        "01_second": notebook("Second", two, source="## Part, two\n[c](../more/a.csv)"),
        "solutions/00_first": notebook("Answers", two, source="[back](../00_first.ipynb)"),
    }
    for name, content in notebooks.items():
        (root / "notebooks" / f"{name}.ipynb").write_text(json.dumps(content))
    (root / "notebooks" / "README.md").write_text(
        "# Index\n\n[first](00_first.ipynb) [more](../more/README.md)\n"
    )
    (root / "README.fa.md").write_text(
        '<div dir="rtl">\n\n# درآمد\n\n[۱](notebooks/00_first.ipynb)\n\n</div>\n'
    )
    (root / "more" / "README.md").write_text(
        "# More\n\n![curves](b.png) [index](../notebooks/README.md) [dir](.)\n"
    )
    (root / "more" / "a.csv").write_text("a,b\n")
    (root / "more" / "b.png").write_bytes(b"png")
    return root


class Links(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.text, self.hrefs, self.scripts, self.sources = "", [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        at = dict(attrs)
        self.hrefs += [at["href"]] if "href" in at else []
        self.scripts += [at["src"]] if tag == "script" and "src" in at else []
        self.sources += [at["src"]] if tag != "script" and "src" in at else []

    def handle_data(self, data):
        self.text += data


@pytest.fixture(scope="module")
def real():
    return site.build()[0]


def test_every_notebook_and_document_has_a_page(real):
    names = {
        p.relative_to(NOTEBOOKS).with_suffix(".html").as_posix()
        for p in NOTEBOOKS.rglob("*.ipynb")
        if ".ipynb_checkpoints" not in p.parts
    }
    assert names | {
        "index.html",
        "fa.html",
        "readme.html",
        "w2s_nb/chess/weights/README.html",
    } <= set(real)
    assert (
        "<title>A tour: can a weak model teach a strong one?</title>"
        in real["00_tour.html"].decode()
    )
    assert re.search(r'<html lang="fa">.*<body[^>]* dir="rtl"', real["fa.html"].decode(), re.S)


def test_every_link_leads_somewhere(real):
    assert site.faults(real) == []
    for name, content in real.items():
        for href in Links(content.decode()).hrefs if name.endswith(".html") else ():
            if not re.match(r"[a-z]+:|#", href):
                assert (
                    posixpath.normpath(
                        posixpath.join(posixpath.dirname(name), href.partition("#")[0])
                    )
                    in real
                ), href


def test_figures_are_interactive_from_one_copy_of_plotly(real):
    assert [name for name in real if "plotly" in name] == ["plotly.min.js"]
    for path in NOTEBOOKS.glob("*.ipynb"):
        stored = json.loads(path.read_text())
        outputs = [o.get("data", {}) for cell in stored["cells"] for o in cell.get("outputs", [])]
        figures = [data[site.FIGURE] for data in outputs if site.FIGURE in data]
        page = real[path.with_suffix(".html").name].decode()
        assert page.count("Plotly.newPlot(") == len(figures)
        # images of a task stay; a figure's own picture is not there beside it
        pictures = [data["image/png"] for data in outputs if {site.FIGURE, "image/png"} <= {*data}]
        assert not any("".join(picture)[1000:1200] in page for picture in pictures)
        for figure in figures:
            title = json.dumps(figure["layout"]["title"]["text"], ensure_ascii=False)
            assert (
                title.replace("<", "\\u003c").replace(">", "\\u003e").replace("/", "\\u002f")
                in page
            )
        assert page.count("plotly.min.js") == bool(figures)


def test_nothing_comes_from_elsewhere_but_mathjax_and_no_path_of_this_machine(real):
    for name, content in real.items():
        if name.endswith(".html"):
            page = Links(content.decode())
            scripts = [src for src in page.scripts if not src.endswith("plotly.min.js")]
            assert all("/mathjax/" in src for src in scripts) and len(scripts) <= 1, name
            assert all(not re.match(r"https?:|//", src) for src in page.sources), name
            text = page.text.replace("# run in /home/", "")  # a script of shell_safety
            assert not re.search("/(root|home|work|tmp)/", text), name
            assert scripts or "$$" not in page.text, name


def test_a_small_site(checkout):
    files, missing = site.build(checkout)
    pages = {name: content.decode() for name, content in files.items() if name.endswith(".html")}
    assert set(pages) == {
        "index.html",
        "fa.html",
        "00_first.html",
        "01_second.html",
        "solutions/00_first.html",
        "more/README.html",
    }
    assert set(files) - set(pages) == {"style.css", "plotly.min.js", "more/a.csv", "more/b.png"}
    assert missing == ["notebooks/00_first.ipynb: no file 02.ipynb"] and site.faults(files) == []
    first = pages["00_first.html"]
    assert (
        "<title>The first of two</title>" in first
        and "0.71828" in first
        and "image/png" not in first
    )
    assert (
        "cdn.plot.ly" not in first
        and "make lab" in first
        and "Dropdown" not in first
        and "model_id" not in first
    )
    assert 'href="01_second.html#part-two"' in first and 'id="part-two"' in pages["01_second.html"]
    assert (
        "gone" in first
        and "02.ipynb" not in first
        and 'href="https://arxiv.org/abs/2312.09390"' in first
    )
    assert (
        'src="b.png"' in pages["more/README.html"]
        and 'href="../index.html"' in pages["more/README.html"]
    )
    assert "mathjax" in first and "mathjax" not in pages["01_second.html"]


def test_each_page_leads_on_and_back(checkout):
    pages = {
        name: content.decode()
        for name, content in site.build(checkout)[0].items()
        if name.endswith(".html")
    }

    def line(name):
        return re.findall(
            r'<a href="([^"]*)">([^<]*)</a>', re.search(r"<nav>(.*?)</nav>", pages[name], re.S)[1]
        )

    front = [("index.html", "Contents"), ("fa.html", "فارسی")]
    assert line("00_first.html") == [
        *front,
        ("solutions/00_first.html", "Solutions"),
        ("01_second.html", "Second →"),
    ]
    assert line("01_second.html") == [*front, ("00_first.html", "← The first of two")]
    assert line("solutions/00_first.html") == [
        ("../index.html", "Contents"),
        ("../fa.html", "فارسی"),
        ("../00_first.html", "Notebook"),
    ]
    assert line("more/README.html") == [("../index.html", "Contents"), ("../fa.html", "فارسی")]


def test_the_same_files_give_the_same_bytes(checkout):
    assert site.build(checkout) == site.build(str(checkout))


@pytest.mark.parametrize(
    "planted, bad",
    [
        ('<a href="nowhere.html">x</a>', True),
        ('<a href="more/">x</a>', True),
        ('<a href="#nothing">x</a>', True),
        ('<a href="01_second.html#nothing">x</a>', True),
        ('<img src="https://example.org/a.png">', True),
        ('<script src="//cdn.example.org/a.js"></script>', True),
        ('<link href="https://example.org/a.css">', True),
        ('<a href="https://example.org">x</a>', False),
        ('<a href="01_second.html#part-two">x</a>', False),
        ('<img src="data:image/png;base64,AA">', False),
    ],
)
def test_a_planted_fault_is_found_and_not_written(checkout, tmp_path, planted, bad):
    files = site.build(checkout)[0]
    files["00_first.html"] = files["00_first.html"].replace(
        b"</main>", planted.encode() + b"</main>"
    )
    assert len(site.faults(files)) == bad
    if bad:
        with pytest.raises(ValueError, match="00_first.html: "):
            site.write(files, tmp_path / "out")
        assert not (tmp_path / "out").exists()


def test_a_notebook_that_was_never_executed_is_named(checkout):
    (checkout / "notebooks" / "02_new.ipynb").write_text(nbformat.writes(notebook("New")))
    files, missing = site.build(checkout)
    assert "notebooks/02_new.ipynb: never executed, no outputs" in missing
    assert "Stored without outputs" in files["02_new.html"].decode()


def test_without_notebooks_or_contents_there_is_no_site(checkout, tmp_path):
    (checkout / "notebooks" / "README.md").unlink()
    with pytest.raises(FileNotFoundError, match="README.md"):
        site.build(checkout)
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "notebooks" / "README.md").write_text("# Index\n")
    with pytest.raises(ValueError, match="no notebooks"):
        site.build(tmp_path)


def test_only_a_site_is_overwritten(checkout, tmp_path):
    files, out = site.build(checkout)[0], tmp_path / "out"
    out.mkdir()
    assert site.write(files, out) == out / "index.html"  # an empty folder
    (out / "CNAME").write_text("example.org")
    (checkout / "notebooks" / "01_second.ipynb").unlink()
    site.write(site.build(checkout)[0], out)  # an earlier site: its files go, what was added stays
    assert (
        not (out / "01_second.html").exists()
        and (out / "CNAME").exists()
        and (out / "style.css").exists()
    )
    other = tmp_path / "thesis"
    other.mkdir()
    (other / "index.html").write_text("my own")
    with pytest.raises(ValueError, match="something else than a site: index.html"):
        site.write(files, other)
    assert [p.name for p in other.iterdir()] == ["index.html"] and (
        other / "index.html"
    ).read_text() == "my own"
    (out / "01_second.html").write_text("my own")
    with pytest.raises(ValueError, match="01_second.html"):
        site.write(files, out)


def test_a_manifest_deletes_nothing_outside_of_its_folder(checkout, tmp_path):
    files, out = site.build(checkout)[0], tmp_path / "out"
    victim, elsewhere = tmp_path / "victim.txt", tmp_path / "elsewhere"
    elsewhere.mkdir()
    for path in (victim, elsewhere / "a.txt"):
        path.write_text("mine")
    site.write(files, out)
    (out / "sub").symlink_to(elsewhere)
    (out / "folder").mkdir()
    for named in ("../victim.txt", str(victim), "sub/a.txt", "folder", "."):
        (out / site.MANIFEST).write_text(f"index.html\n{named}")
        with pytest.raises(ValueError) as refused:
            site.write(files, out)
        assert f"{site.MANIFEST} names {named!r}" in str(refused.value)
    assert victim.read_text() == (elsewhere / "a.txt").read_text() == "mine"
    assert (out / "index.html").is_file() and (out / "folder").is_dir()


def test_a_site_is_not_written_through_links_out_of_its_folder(checkout, tmp_path):
    files, out = site.build(checkout)[0], tmp_path / "out"
    site.write(files, out)
    victim = tmp_path / "victim.html"
    victim.write_text("mine")
    (out / "index.html").unlink()
    (out / "index.html").symlink_to(victim)
    site.write(files, out)
    assert victim.read_text() == "mine" and (out / "index.html").read_bytes() == files["index.html"]
    (out / "more" / "a.csv").unlink()
    (out / "more" / "b.png").unlink()
    (out / "more" / "README.html").unlink()
    (out / "more").rmdir()
    (out / "more").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere").mkdir()
    with pytest.raises(ValueError, match="leads out of"):
        site.write(files, out)
    assert not list((tmp_path / "elsewhere").iterdir())


@pytest.mark.parametrize(
    "link",
    [
        "../.git/config",
        "../more/.hidden/secret.txt",
        "../.env",
        "../link.txt",
        "../linked/secret.txt",
        "../linked/secret.md",
        "../inner_link.txt",
        "../../outside.txt",
        "..%2F.env",
    ],
)
def test_hidden_files_and_files_elsewhere_are_not_published(checkout, tmp_path, link):
    for name in (".git/config", "more/.hidden/secret.txt", ".env"):
        path = checkout / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("the secret")
    outside = tmp_path / "elsewhere"
    outside.mkdir()
    for path in (outside / "secret.txt", outside / "secret.md", tmp_path / "outside.txt"):
        path.write_text("the secret")
    (checkout / "link.txt").symlink_to(outside / "secret.txt")
    (checkout / "inner_link.txt").symlink_to(checkout / ".env")
    (checkout / "linked").symlink_to(outside)
    (checkout / "more" / "README.md").write_text(f"# More\n\n[a]({link}) ![b]({link})\n")
    files, missing = site.build(checkout)
    assert not any(b"the secret" in content for content in files.values())
    assert (
        f"more/README.md: {link} is hidden or outside of the checkout, so not published" in missing
    )
    assert site.faults(files) == []


def test_a_notebook_that_is_a_link_to_elsewhere_is_not_published(checkout, tmp_path):
    (tmp_path / "private.ipynb").write_text(json.dumps(notebook("Confidential")))
    (checkout / "notebooks" / "02_link.ipynb").symlink_to(tmp_path / "private.ipynb")
    (checkout / "README.fa.md").unlink()
    (tmp_path / "private.md").write_text("# Confidential")
    (checkout / "README.fa.md").symlink_to(tmp_path / "private.md")
    files, missing = site.build(checkout)
    assert not any(b"Confidential" in content for content in files.values())
    for name in ("notebooks/02_link.ipynb", "README.fa.md"):
        assert f"{name}: leads out of the checkout, so not published" in missing


def test_the_command_says_where_and_what(checkout, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(site, "build", functools.partial(site.build, checkout))
    assert main(["site", "--out", str(tmp_path / "out")]) == 0
    said = capsys.readouterr().out
    assert said.startswith("6 pages: ") and "index.html" in said and "no file 02.ipynb" in said
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "a.txt").write_text("a")
    assert main(["site", "--out", str(tmp_path / "full")]) == 2
    assert "a.txt" in capsys.readouterr().err


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
        block = re.sub(r"^(#+ |- |\| |\*\*|\s|«)*", "", block)
        if block and not block.startswith("<"):
            assert re.match(r"[\u0600-\u06ff]", block), block[:60]
