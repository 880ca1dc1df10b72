"""Builds a static site of the executed notebooks by nbconvert, and adds what that lacks: the order
of pages, links between them, and one plotly.js for all.
"""

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

from ..common.files import write_atomic
from ..common.paths import checkout

FRONT = {
    "notebooks/README.md": ("index.html", "Contents"),
    "README.fa.md": ("fa.html", "فارسی"),
    "README.md": ("readme.html", "The kit"),
}  # document: its page, its name in the line of links
MANIFEST = ".w2s_site"  # in a site: its files, which a later one may replace
FIGURE = "application/vnd.plotly.v1+json"
WIDGET = "application/vnd.jupyter.widget-view+json"
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
[dir=rtl] main :is(p, li, td, th, h1, h2) { line-height: 1.9; text-align: start;
  font-family: Vazirmatn, 'Noto Sans Arabic', Tahoma, sans-serif; }
[dir=rtl] main :is(p, li) { font-size: 16px; }
[dir=rtl] main pre { direction: ltr; text-align: left; }
</style>{% endblock %}
{% block body_header %}
<body class="jp-Notebook {{ resources.site.kind }}" dir="{{ resources.site.dir }}">
<nav>{{ resources.site.line }}</nav><main>{{ resources.site.note }}{% endblock %}
{% block body_footer %}</main><nav>{{ resources.site.line }}</nav></body>{% endblock %}
{% block data_svg %}<div class="jp-RenderedSVG jp-OutputArea-output">
<img alt="drawing" src="data:image/svg+xml;base64,
{{- output.data['image/svg+xml'] | text_base64 }}"></div>{% endblock %}"""
_LINKS = (
    re.compile(r'(<a\b[^>]*?\bhref=")([^"]*)("[^>]*>)(.*?)(</a>)', re.S),
    re.compile(r'(<img\b[^>]*?\bsrc=")([^"]*)("[^>]*>)()()', re.S),
)
_ELSEWHERE = re.compile(r"[a-zA-Z][\w+.-]*:|//")


def build(root: Path | str | None = None) -> tuple[dict[str, bytes], list[str]]:
    """Builds the site of a checkout from what is stored: no cell is executed.

    The same files give the same bytes.

    Args:
        root: holds `notebooks/*.ipynb`, perhaps `notebooks/solutions/*.ipynb`, and the documents of
            `FRONT`, of which the first must be there. Documents that a page links to become pages,
            other files are copied, except hidden ones and those outside of the checkout. None takes
            the checkout that this package is run from.
    Returns:
        {path in the site: content}; and what is missing: notebooks that were never executed, links
        that lead to no file or to one that is not published, which became plain text.
    Raises:
        ValueError: there is no notebook.
        FileNotFoundError: there is no table of contents.
    """
    site = _Site(Path(root or checkout() or Path.cwd()))
    # While a page is written, documents that it links to join those that wait.
    while waiting := [name for name in site.documents if site.pages[name] not in site.files]:
        site.write_page(waiting[0])
    if any(document.metadata.figures for document in site.documents.values()):
        site.files["plotly.min.js"] = plotly.offline.get_plotlyjs().encode()
    return site.files, site.missing


class _Site:
    """A site under construction.

    Attributes:
        root: the checkout.
        series: notebooks, and their solutions, each in the order in which they are read.
        pages: {file below root: its path in the site}.
        documents: {file below root: what its page is made of}.
        files: {path in the site: content}, of what is written.
        missing: what could not be had, a line each.
    """

    def __init__(self, root: Path):
        self.root = root
        self.missing: list[str] = []
        self.series = [self._list(pattern) for pattern in ("*.ipynb", "solutions/*.ipynb")]
        self.notebooks = [name for series in self.series for name in series]
        contents, *optional = FRONT
        self.front = [contents, *filter(self._has, optional)]
        self.pages = {name: FRONT[name][0] for name in self.front}
        for name in self.notebooks:
            self.pages[name] = name.removeprefix("notebooks/").replace(".ipynb", ".html")
        self.documents = {name: _read(root / name) for name in self.pages}
        if not self.series[0]:
            raise ValueError(f"no notebooks in {root / 'notebooks'}")
        self.files: dict[str, bytes] = {}
        for name in self.notebooks:
            if not self._is_executed(name):
                self.missing.append(f"{name}: never executed, no outputs")
        self._exporter = HTMLExporter(raw_template=TEMPLATE)

    def write_page(self, name: str) -> None:
        """Adds the page of a document, and whatever it links to, to the site."""
        page = self.pages[name]
        self._exporter.language_code = "fa" if name == "README.fa.md" else "en"
        resources = {"site": self._template_values(name)}
        html, _ = self._exporter.from_notebook_node(self.documents[name], resources)
        head, end_of_head, body = html.partition("</head>")
        # The style sheet is the same on every page, and far longer than most of them.
        styles = re.findall(r"<style[^>]*>(.*?)</style>", head, re.S)
        self.files["style.css"] = "".join(styles).encode()
        head = re.sub(r"<style[^>]*>.*?</style>\s*", "", head, flags=re.S)
        head += f'<link rel="stylesheet" href="{_relative("style.css", page)}">\n'
        body = re.sub(r'(<h\d id=")([^"]*)', lambda match: match[1] + _slug(match[2]), body)
        for pattern in _LINKS:
            body = pattern.sub(lambda match: self._rewrite_link(match, name), body)
        self.files[page] = f"{head}{end_of_head}{body}".encode()

    def _list(self, pattern: str) -> list[str]:
        paths = sorted((self.root / "notebooks").glob(pattern))
        return list(filter(self._has, (path.relative_to(self.root).as_posix() for path in paths)))

    def _has(self, name: str) -> bool:
        """Tells whether the checkout has a file; notes one that is a link to somewhere else."""
        if not (self.root / name).is_file():
            return False
        if not _is_below(self.root, name):
            self.missing.append(f"{name}: leads out of the checkout, so not published")
            return False
        return True

    def _is_executed(self, name: str) -> bool:
        return any(cell.get("outputs") for cell in self.documents[name].cells)

    def _template_values(self, name: str) -> dict:
        """Returns what the template asks for as `resources.site`."""
        document = self.documents[name]
        never_executed = name in self.notebooks and not self._is_executed(name)
        script = ""
        if document.metadata.figures:
            script = f'<script src="{_relative("plotly.min.js", self.pages[name])}"></script>'
        return {
            "line": self._line_of_links(name),
            "dir": "rtl" if self._exporter.language_code == "fa" else "ltr",
            "kind": "text" if name.endswith(".md") else "",
            "note": NOT_EXECUTED if never_executed else "",
            "script": script,
            "math": any(
                "$" in cell.source for cell in document.cells if cell.cell_type == "markdown"
            ),
        }

    def _line_of_links(self, name: str) -> str:
        """Returns the links above and below a page: the front, its solutions, the pages around."""
        links = [(document, FRONT[document][1]) for document in self.front]
        for other in self.notebooks:
            if other != name and posixpath.basename(other) == posixpath.basename(name):
                links.append((other, "Solutions" if "/solutions/" in other else "Notebook"))
        series = next((series for series in self.series if name in series), [name])
        place = series.index(name)
        if place > 0:
            previous = series[place - 1]
            links.append((previous, f"← {self.documents[previous].metadata.title}"))
        if place + 1 < len(series):
            following = series[place + 1]
            links.append((following, f"{self.documents[following].metadata.title} →"))
        # They lead to documents here; `_rewrite_link` makes them lead to pages.
        return "".join(
            f'<a href="{_relative(document, name)}">{escape(label)}</a>'
            for document, label in links
        )

    def _rewrite_link(self, match: re.Match, name: str) -> str:
        """Returns a link of a document as its page has it; what it leads to joins the site.

        A link that leads to no file becomes its text.
        """
        start, link, close, text, end = match.groups()
        if _ELSEWHERE.match(link):
            return match[0]
        path, hash_sign, heading = unescape(link).partition("#")
        target = _target(path, name)
        if target not in self.pages and not self._take_in(target):
            if not self._may_publish(target):
                reason = f"{link} is hidden or outside of the checkout, so not published"
                self.missing.append(f"{name}: {reason}")
            elif not (self.root / target).is_dir():
                self.missing.append(f"{name}: no file {link}")
            return text
        to_page = _relative(self.pages[target], self.pages[name]) if path else ""
        return f"{start}{to_page}{hash_sign}{_slug(heading)}{close}{text}{end}"

    def _take_in(self, target: str) -> bool:
        """Makes a file of the checkout a part of the site; returns whether there is such a file
        that may be published.
        """
        if not self._may_publish(target) or not (self.root / target).is_file():
            return False
        self.pages[target] = re.sub(r"\.md$", ".html", target)
        if target.endswith(".md"):
            self.documents[target] = _read(self.root / target)
        else:
            self.files[target] = (self.root / target).read_bytes()
        return True

    def _may_publish(self, target: str) -> bool:
        """Tells whether a path, and what it is a link to, is below the checkout and not hidden, as
        `.git` and `.env` are.
        """
        if not _is_below(self.root, target):
            return False
        followed = (self.root / target).resolve().relative_to(self.root.resolve())
        parts = [*target.split("/"), *followed.parts]
        return not any(part.startswith(".") for part in parts if part != ".")


def _is_below(folder: Path, name: str) -> bool:
    """Tells whether a path is below a folder once all links are followed."""
    return (folder / name).resolve().is_relative_to(folder.resolve())


def _read(path: Path) -> nbformat.NotebookNode:
    """Reads a notebook, or a document as a notebook of one cell; adds title and number of figures.

    What its outputs would load from a CDN, or show by a kernel, is replaced.
    """
    if path.suffix == ".md":
        cell = nbformat.v4.new_markdown_cell(path.read_text())
        notebook = nbformat.v4.new_notebook(cells=[cell])
    else:
        notebook = nbformat.read(path, as_version=4)
    text = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    heading = re.search(r"^ *#+ +(.+)$", text, re.M)
    title = re.sub("[`*]", "", heading[1]).strip() if heading else path.stem
    notebook.metadata |= {"title": title, "figures": 0}
    notebook.metadata.pop("widgets", None)  # nbconvert would load their code from a CDN
    notebook.nbformat_minor = 5
    for i, cell in enumerate(notebook.cells):
        cell.id = f"cell-{i}"  # ids that nbformat makes are random
        for output in cell.get("outputs", []):
            _replace_output(output, notebook.metadata)
    return notebook


def _replace_output(output: nbformat.NotebookNode, metadata: nbformat.NotebookNode) -> None:
    """Replaces a figure by its HTML without plotly.js, and a widget by a note."""
    data = output.get("data", {})
    if data.get(FIGURE):
        metadata.figures += 1
        figure = plotly.io.to_html(
            data[FIGURE],
            {"displayModeBar": False},
            include_plotlyjs=False,
            full_html=False,
            validate=False,
            div_id=f"figure-{metadata.figures}",
        )
        output.data = {"text/html": figure}
    elif WIDGET in data:
        output.data = {"text/html": NEEDS_KERNEL}


def _slug(heading: str) -> str:
    """Returns a heading as links on GitHub name it."""
    return re.sub(r"[^\w-]", "", unquote(heading).lower().replace(" ", "-"))


def _relative(target: str, source: str) -> str:
    """Returns the link from one file to another."""
    return posixpath.relpath(target, posixpath.dirname(source) or ".")


def _target(link: str, source: str) -> str:
    """Returns the file that a link in another file leads to; that file itself for an empty link."""
    if not link:
        return source
    return posixpath.normpath(posixpath.join(posixpath.dirname(source), unquote(link)))


class _Page(HTMLParser):
    """The ids on a page, the links on it, and the addresses that a browser loads with it."""

    def __init__(self, text: str):
        super().__init__()
        self.ids: set[str | None] = set()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        self.ids.add(attributes.get("id"))
        if tag == "a":
            addresses, keys = self.links, ("href",)
        else:
            addresses, keys = self.loaded, ("src", "href", "data")
        addresses += [attributes[key] for key in keys if attributes.get(key)]


def faults(files: dict[str, bytes]) -> list[str]:
    """Finds what is wrong with a site's pages: links that lead nowhere, and whatever but MathJax is
    loaded from elsewhere.

    Args:
        files: {path in the site: content}
    Returns:
        `page: link` for each; none for a site that stands by itself.
    """
    pages = {
        name: _Page(content.decode()) for name, content in files.items() if name.endswith(".html")
    }
    mathjax = HTMLExporter().mathjax_url

    def is_broken(name: str, link: str) -> bool:
        path, _, heading = link.partition("#")
        target = _target(path, name)
        if target not in files:
            return True
        return bool(heading) and target in pages and unquote(heading) not in pages[target].ids

    wrong = []
    for name, page in pages.items():
        for link in page.links + page.loaded:
            if not _ELSEWHERE.match(link):
                is_fault = is_broken(name, link)
            else:
                is_allowed = link == mathjax or link.startswith("data:")
                is_fault = link in page.loaded and not is_allowed
            if is_fault:
                wrong.append(f"{name}: {link}")
    return wrong


def write(files: dict[str, bytes], out: Path | str) -> Path:
    """Writes a site into a folder that is new, empty, or an earlier site's; replaces its files.

    Args:
        files: {path in the site: content}
        out: the folder; what else was put into an earlier site stays.
    Returns:
        the path of its index.
    Raises:
        ValueError: the site has faults; or the folder holds something else than a site, or links
            that lead out of it; each is named.
    """
    out = Path(out)
    wrong = faults(files)
    if wrong:
        raise ValueError(
            f"links that lead nowhere, or to something loaded from elsewhere: {'; '.join(wrong)}"
        )
    manifest = out / MANIFEST
    listed = manifest.read_text(errors="replace") if manifest.is_file() else ""
    earlier = set(listed.splitlines())
    _refuse_paths_elsewhere(out, files, earlier)
    _refuse_other_files(out, files, earlier)
    for name in earlier - set(files):
        (out / name).unlink(missing_ok=True)
    write_atomic(manifest, "\n".join(sorted(files)).encode())
    for name, content in files.items():
        write_atomic(out / name, content)  # replaces a link, and leaves what it points to
    return out / "index.html"


def _refuse_paths_elsewhere(out: Path, files: dict[str, bytes], earlier: set[str]) -> None:
    """Refuses a manifest that names what a site cannot have written, and folders in the site that
    are links to elsewhere.
    """
    for name in sorted(files):
        if not _is_below(out, posixpath.dirname(name)):
            raise ValueError(
                f"{out / posixpath.dirname(name)} leads out of {out}; remove that link"
            )
    for name in sorted(earlier):
        path = out / name
        is_no_file = path.is_dir() and not path.is_symlink()
        if is_no_file or not _is_below(out, posixpath.dirname(name)):
            raise ValueError(
                f"{out / MANIFEST} names {name!r}, which is no file of a site in {out}; "
                f"name another folder"
            )


def _refuse_other_files(out: Path, files: dict[str, bytes], earlier: set[str]) -> None:
    """Refuses a folder that is no site, and a site to which a file of the same name was added."""
    present = {path.relative_to(out).as_posix() for path in out.rglob("*")} - earlier
    other = sorted(present & set(files) if earlier else present)
    if other:
        more = f" and {len(other) - 5} more" if len(other) > 5 else ""
        raise ValueError(
            f"{out} holds something else than a site: {', '.join(other[:5])}{more}; "
            f"name another folder"
        )
