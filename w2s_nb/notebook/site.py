"""A static site of the executed notebooks by nbconvert, with what that lacks: order, links, one plotly.js."""

from __future__ import annotations

import posixpath
import re
from html import escape, unescape
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import nbformat
import plotly
from nbconvert import HTMLExporter

ROOT = Path(__file__).resolve().parents[2]
FRONT = {
    "notebooks/README.md": ("index.html", "Contents"),
    "README.fa.md": ("fa.html", "فارسی"),
    "README.md": ("readme.html", "The kit"),
}  # document: its page, its name in the line of links
MANIFEST = ".w2s_site"  # in a site: its files, which a later one may replace
FIGURE, WIDGET = "application/vnd.plotly.v1+json", "application/vnd.jupyter.widget-view+json"
NEEDS_KERNEL = "<p class='note'>Controls, which need a running kernel: <code>make lab</code>.</p>"
NOT_EXECUTED = "<p class='note'>Stored without outputs: <code>make lab</code> runs it.</p>"
TEMPLATE = """{%- extends 'index.html.j2' -%}
{% block html_head_js %}{{ resources.site.script }}{% endblock %}
{% block html_head_js_mathjax %}{% if resources.site.math %}{{ super() }}{% endif %}{% endblock %}
{% block html_head_js_mermaidjs %}{% endblock %}
{% block html_head_css %}<style>
nav, main { max-width: 1080px; margin: 0 auto; }
nav { display: flex; flex-wrap: wrap; gap: 4px 20px; padding: 8px 4px; }
nav, .note { font: 14px/1.5 system-ui, sans-serif; color: #555; }
nav a { color: var(--jp-content-link-color); text-decoration: none; }
.jp-OutputArea-output, .jp-RenderedMarkdown, .jp-InputArea-editor { overflow-x: auto !important; }
.jp-RenderedMarkdown { max-width: 860px; }
.text .jp-InputPrompt { display: none; }
.text main { max-width: 860px; }
.text main pre { margin: 0 0 1em; padding: 8px 12px; background: #f5f5f5; overflow-x: auto; }
.text main table { margin-inline: 0; }
.text main pre code { background: none; white-space: pre; }
.text :is(td, th) { text-align: start !important; vertical-align: top; }
[dir=rtl] main :is(p, li, td, th, h1, h2) { font-family: Vazirmatn, 'Noto Sans Arabic', Tahoma, sans-serif;
  line-height: 1.9; text-align: start; }
[dir=rtl] main :is(p, li) { font-size: 16px; }
[dir=rtl] main pre { direction: ltr; text-align: left; }
</style>{% endblock %}
{% block body_header %}<body class="jp-Notebook {{ resources.site.kind }}" dir="{{ resources.site.dir }}">
<nav>{{ resources.site.line }}</nav><main>{{ resources.site.note }}{% endblock %}
{% block body_footer %}</main><nav>{{ resources.site.line }}</nav></body>{% endblock %}
{% block data_svg %}<div class="jp-RenderedSVG jp-OutputArea-output"><img alt="drawing" src="data:image/svg+xml;base64,
{{- output.data['image/svg+xml'] | text_base64 }}"></div>{% endblock %}"""
_LINKS = (
    re.compile(r'(<a\b[^>]*?\bhref=")([^"]*)("[^>]*>)(.*?)(</a>)', re.S),
    re.compile(r'(<img\b[^>]*?\bsrc=")([^"]*)("[^>]*>)()()', re.S),
)
_ELSEWHERE = re.compile(r"[a-zA-Z][\w+.-]*:|//")


def build(root: Path | str = ROOT) -> tuple[dict[str, bytes], list[str]]:
    """The site of a checkout, from what is stored: no cell is executed. The same files give the same bytes.

    Args:
        root: holds `notebooks/*.ipynb`, perhaps `notebooks/solutions/*.ipynb`, and the documents of `FRONT`, of which
            the first must be there. Documents that a page links to become pages, other files are copied.
    Returns:
        {path in the site: content}; and what is missing: notebooks that were never executed, and links that lead to
        no file, which became plain text.
    Raises:
        ValueError: there is no notebook.
        FileNotFoundError: there is no table of contents.
    """
    root, exporter, files, missing = Path(root), HTMLExporter(raw_template=TEMPLATE), {}, []
    rows = [
        [path.relative_to(root).as_posix() for path in sorted((root / "notebooks").glob(at))]
        for at in ("*.ipynb", "solutions/*.ipynb")
    ]
    front = [name for i, name in enumerate(FRONT) if i == 0 or (root / name).is_file()]
    pages = {name: FRONT[name][0] for name in front}
    pages |= {
        name: name.removeprefix("notebooks/").replace(".ipynb", ".html")
        for name in rows[0] + rows[1]
    }
    read = {name: _read(root / name) for name in pages}
    if not rows[0]:
        raise ValueError(f"no notebooks in {root / 'notebooks'}")
    unrun = [
        name
        for name in rows[0] + rows[1]
        if not any(cell.get("outputs") for cell in read[name].cells)
    ]
    missing += [f"{name}: never executed, no outputs" for name in unrun]

    def link(found: re.Match) -> str:
        """A link of the document at hand as its page has it; what it leads to becomes part of the site."""
        start, old, close, text, end = found.groups()
        path, mark, part = unescape(old).partition("#")
        to = (
            posixpath.normpath(posixpath.join(posixpath.dirname(name), unquote(path)))
            if path
            else name
        )
        if _ELSEWHERE.match(old):
            return found[0]
        if to not in pages:
            if to.startswith(("..", "/")) or not (root / to).is_file():
                missing.extend([] if (root / to).is_dir() else [f"{name}: no file {old}"])
                return text
            pages[to] = re.sub(r"\.md$", ".html", to)
            if to.endswith(".md"):
                read[to] = _read(root / to)
            else:
                files[to] = (root / to).read_bytes()
        return f"{start}{_relative(pages[to], pages[name]) if path else ''}{mark}{_slug(part)}{close}{text}{end}"

    while left := [
        name for name in read if pages[name] not in files
    ]:  # documents that are linked to come in
        name = left[0]
        notebook, row = read[name], next((row for row in rows if name in row), [name])
        at = row.index(name)
        beside = [(n, FRONT[n][1]) for n in front]
        beside += [
            (n, "Solutions" if "/solutions/" in n else "Notebook")
            for n in rows[0] + rows[1]
            if n != name and posixpath.basename(n) == posixpath.basename(name)
        ]
        beside += [(n, f"← {read[n].metadata.title}") for n in row[max(at - 1, 0) : at]]
        beside += [(n, f"{read[n].metadata.title} →") for n in row[at + 1 : at + 2]]
        exporter.language_code = "fa" if name == "README.fa.md" else "en"
        html, _ = exporter.from_notebook_node(
            notebook,
            {
                "site": {
                    "line": "".join(
                        f'<a href="{_relative(n, name)}">{escape(label)}</a>' for n, label in beside
                    ),
                    "dir": "rtl" if exporter.language_code == "fa" else "ltr",
                    "kind": "text" if name.endswith(".md") else "",
                    "note": NOT_EXECUTED if name in unrun else "",
                    "script": f'<script src="{_relative("plotly.min.js", pages[name])}"></script>'
                    if notebook.metadata.figures
                    else "",
                    "math": any(
                        "$" in cell.source
                        for cell in notebook.cells
                        if cell.cell_type == "markdown"
                    ),
                }
            },
        )
        head, end, body = html.partition("</head>")
        files["style.css"] = "".join(re.findall(r"<style[^>]*>(.*?)</style>", head, re.S)).encode()
        head = re.sub(r"<style[^>]*>.*?</style>\s*", "", head, flags=re.S)
        head += f'<link rel="stylesheet" href="{_relative("style.css", pages[name])}">\n'
        body = re.sub(r'(<h\d id=")([^"]*)', lambda found: found[1] + _slug(found[2]), body)
        for links in _LINKS:
            body = links.sub(link, body)
        files[pages[name]] = f"{head}{end}{body}".encode()
    if any(notebook.metadata.figures for notebook in read.values()):
        files["plotly.min.js"] = plotly.offline.get_plotlyjs().encode()
    return files, missing


def _read(path: Path) -> nbformat.NotebookNode:
    """A notebook, or a document as a notebook of one cell, with its title; what a CDN or a kernel shows is replaced."""
    notebook = (
        nbformat.read(path, as_version=4)
        if path.suffix != ".md"
        else nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell(path.read_text())])
    )
    text = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    heading = re.search(r"^ *#+ +(.+)$", text, re.M)
    notebook.metadata |= {
        "title": re.sub("[`*]", "", heading[1]).strip() if heading else path.stem,
        "figures": 0,
    }
    notebook.metadata.pop("widgets", None)  # nbconvert would load their code from a CDN
    notebook.nbformat_minor = 5
    for i, cell in enumerate(notebook.cells):
        cell.id = f"cell-{i}"  # new ones are drawn by chance
        for output in cell.get("outputs", []):
            if figure := output.get("data", {}).get(FIGURE):
                notebook.metadata.figures += 1
                output.data = {
                    "text/html": plotly.io.to_html(
                        figure,
                        {"displayModeBar": False},
                        include_plotlyjs=False,
                        full_html=False,
                        validate=False,
                        div_id=f"figure-{notebook.metadata.figures}",
                    )
                }
            elif WIDGET in output.get("data", {}):
                output.data = {"text/html": NEEDS_KERNEL}
    return notebook


def _slug(heading: str) -> str:
    """A heading as links on GitHub name it."""
    return re.sub(r"[^\w-]", "", unquote(heading).lower().replace(" ", "-"))


def _relative(to: str, name: str) -> str:
    """The link from one file to another."""
    return posixpath.relpath(to, posixpath.dirname(name) or ".")


class _Page(HTMLParser):
    """A page's ids, the links on it, and what a browser loads with it."""

    def __init__(self, text: str):
        super().__init__()
        self.ids, self.links, self.loads = set(), [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        at = dict(attrs)
        self.ids.add(at.get("id"))
        self.links += [at["href"]] if at.get("href") and tag == "a" else []
        self.loads += [at[key] for key in ("src", "href", "data") if at.get(key) and tag != "a"]


def faults(files: dict[str, bytes]) -> list[str]:
    """What is wrong with a site's pages: links that lead nowhere, and whatever is loaded from elsewhere but MathJax.

    Args:
        files: {path in the site: content}
    Returns:
        `page: link` each; none for a site that stands by itself.
    """
    pages, found = {n: _Page(page.decode()) for n, page in files.items() if n.endswith(".html")}, []
    mathjax = HTMLExporter().mathjax_url
    for name, page in pages.items():
        for link in page.links + page.loads:
            path, _, part = link.partition("#")
            to = (
                posixpath.normpath(posixpath.join(posixpath.dirname(name), unquote(path)))
                if path
                else name
            )
            if _ELSEWHERE.match(link):
                bad = link in page.loads and link != mathjax and not link.startswith("data:")
            else:
                bad = to not in files or part and to in pages and unquote(part) not in pages[to].ids
            found += [f"{name}: {link}"] if bad else []
    return found


def write(files: dict[str, bytes], out: Path | str) -> Path:
    """Writes a site into a folder that is new, empty, or an earlier site's, whose files it replaces; returns its index.

    Args:
        files: {path in the site: content}
        out: the folder; what else was put into an earlier site stays.
    Raises:
        ValueError: the site has faults; or the folder holds something else than a site; both are named.
    """
    out = Path(out)
    if found := faults(files):
        raise ValueError(
            f"links that lead nowhere, or to something loaded from elsewhere: {'; '.join(found)}"
        )
    earlier = (out / MANIFEST).read_text().splitlines() if (out / MANIFEST).is_file() else []
    there = {path.relative_to(out).as_posix() for path in out.rglob("*")} - set(earlier)
    other = sorted(there & set(files) if earlier else there)
    if other:
        raise ValueError(
            f"{out} holds something else than a site: {', '.join(other[:5])}"
            f"{f' and {len(other) - 5} more' if len(other) > 5 else ''}; name another folder"
        )
    for name in set(earlier) - set(files):
        (out / name).unlink(missing_ok=True)
    out.mkdir(parents=True, exist_ok=True)
    (out / MANIFEST).write_text("\n".join(sorted(files)))
    for name, content in files.items():
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (out / name).write_bytes(content)
    return out / "index.html"
