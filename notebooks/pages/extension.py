"""Makes web pages of what is stored, where Sphinx and its extensions do not do it by themselves.

Links to files that are no pages, figures and controls in the outputs of notebooks, equations
without a script, a page per room of the library, and the direction of the Persian page.
"""

import ast
import importlib
import inspect
import json
import re
from html import escape
from pathlib import Path, PurePosixPath
from posixpath import normpath, relpath

import latex2mathml.converter
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util import logging

ROOT = Path(__file__).resolve().parents[2]
KIT = ROOT / "w2s_nb"
API = Path("notebooks", "pages", "api")
FIGURE = "application/vnd.plotly.v1+json"
WIDGET = "application/vnd.jupyter.widget-view+json"
NEEDS_KERNEL = (
    "<p class='needs-kernel'>Controls, which need a running kernel: <code>make lab</code>.</p>"
)
RIGHT_TO_LEFT = {"README.fa": "fa"}
PAGES = (".md", ".ipynb")
logger = logging.getLogger(__name__)


def setup(app: Sphinx) -> dict:
    """Connects everything below to Sphinx."""
    app.connect("builder-inited", write_room_pages)
    app.connect("source-read", prepare)
    app.connect("autodoc-process-docstring", to_restructured_text, priority=100)
    app.connect("html-page-context", set_direction)
    app.connect("html-page-context", add_notebook_links)
    app.add_html_math_renderer("mathml", (inline_equation, None), (block_equation, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}


# Links and outputs


def prepare(app: Sphinx, docname: str, source: list[str]) -> None:
    """Changes the source of a document before it is parsed: links, and a notebook's outputs."""
    if docname in RIGHT_TO_LEFT:  # the direction is that of the page
        source[0] = re.sub(r'^</?div( dir="rtl")?>\n', "", source[0], flags=re.M)
    if not app.env.doc2path(docname).suffix == ".ipynb":
        source[0] = rewrite_links(app, docname, source[0])
        return
    notebook = json.loads(source[0])
    for cell in notebook["cells"]:
        if cell["cell_type"] == "markdown":
            cell["source"] = rewrite_links(app, docname, "".join(cell["source"]))
        else:
            prepare_code_cell(cell)
    notebook["metadata"].pop("widgets", None)  # their code would come from a CDN
    source[0] = json.dumps(notebook)


def rewrite_links(app: Sphinx, docname: str, text: str) -> str:
    """Returns Markdown whose links to files of the checkout lead to pages, where there is one."""
    folder = PurePosixPath(docname).parent

    def rewritten(match: re.Match) -> str:
        shown, link = match.groups()
        path, _, _ = link.partition("#")
        target = normpath(str(folder / path))
        if ":" in path or not path or not (ROOT / target).exists():
            return match[0]  # elsewhere, on this page, or broken, which Sphinx says
        if target.startswith(".") or not (ROOT / target).resolve().is_relative_to(ROOT):
            logger.warning("%s is hidden or outside of the checkout", link, location=docname)
            return shown
        page = page_of(target)
        if page:
            return f"[{shown}]({relpath(page, folder)})"
        if (ROOT / target).is_dir() or target.endswith(".py"):
            repository = app.config.html_context["repository"]
            address = f"https://github.com/{repository}/tree/main/{target}"
            return f"[{shown}]({address})" if repository else shown
        return match[0]

    return re.sub(r"(?<!!)\[([^\[\]]*)\]\(([^)\s]+)\)", rewritten, text)


def page_of(target: str) -> str | None:
    """Returns the document that stands for a file or folder which is none itself, or None."""
    if target == "README.md":
        return "notebooks/pages/index.md"
    if target == "notebooks/solutions":
        return "notebooks/pages/solutions.md"
    room = PurePosixPath(target).parts[1:2]
    if target.startswith("w2s_nb/") and target.endswith((".py", room[0])):
        return f"{API.as_posix()}/{room[0].removesuffix('.py')}.rst"
    return None


def prepare_code_cell(cell: dict) -> None:
    """Replaces a figure by its picture, which says its title to who cannot see it, and a widget
    by its picture or a note; folds code that a notebook folds.
    """
    titles = []
    for output in cell["outputs"]:
        data = output.get("data", {})
        figure = data.pop(FIGURE, None)
        described = output.get("metadata", {}).get("image/png", {}).get("alt")
        if figure:
            titles.append(title_of(figure))
        elif described:
            titles.append(described)
        if data.pop(WIDGET, None) is not None and not {"image/png", "text/html"} & set(data):
            output["data"] = {"text/html": NEEDS_KERNEL}
    metadata = cell["metadata"]
    if titles:
        metadata.setdefault("mystnb", {}).setdefault("image", {})["alt"] = "; ".join(titles)
    if metadata.get("jupyter", {}).get("source_hidden"):
        metadata["tags"] = [*metadata.get("tags", []), "hide-input"]


def title_of(figure: dict) -> str:
    """Returns the title of a plotly figure as plain text."""
    title = figure.get("layout", {}).get("title", {}).get("text") or "figure"
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", title)).strip()


# Equations


def inline_equation(translator, node: nodes.math) -> None:
    """Writes an equation in a line of text as MathML."""
    translator.body.append(to_mathml(node, "inline"))
    raise nodes.SkipNode


def block_equation(translator, node: nodes.math_block) -> None:
    """Writes an equation on a line of its own as MathML."""
    translator.body.append(f'<div class="math">{to_mathml(node, "block")}</div>')
    raise nodes.SkipNode


def to_mathml(node: nodes.Element, display: str) -> str:
    """Returns an equation as MathML, which browsers draw without a script or a network."""
    mathml = latex2mathml.converter.convert(node.astext(), display=display)
    # MathML takes text for space, and sets no space around an operator between two texts
    mathml = re.sub(r"<mtext>(\w\w+)</mtext>", r"<mi>\1</mi>", mathml)
    return re.sub(r"(<mi>(log|ln|exp)</mi>)(?=<m)", r'\1<mspace width="0.167em"/>', mathml)


# The library, a page per room


def write_room_pages(app: Sphinx) -> None:
    """Writes a page per room of the library, and one of all public names, for autodoc to fill."""
    folder = ROOT / API
    folder.mkdir(exist_ok=True)
    rooms = rooms_of_kit()
    pages = {"index": face_page(rooms)} | {room: room_page(room) for room in rooms}
    for name, text in pages.items():
        path = folder / f"{name}.rst"
        if not path.is_file() or path.read_text() != text:
            path.write_text(text)
    for path in folder.glob("*.rst"):
        if path.stem not in pages:
            path.unlink()


def rooms_of_kit() -> list[str]:
    """Returns the rooms of the library: its folders, and the modules beside them."""
    folders = {path.parent.name for path in KIT.glob("*/__init__.py")}
    return sorted(folders | {path.stem for path in KIT.glob("[a-z]*.py")})


def modules_of(room: str) -> list[str]:
    """Returns the dotted names of a room's modules, the room itself first."""
    paths = sorted((KIT / room).rglob("*.py"), key=lambda path: (path.name != "__init__.py", path))
    names = [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in paths]
    return [name.removesuffix(".__init__") for name in names]


def room_page(room: str) -> str:
    """Returns the page of a room: each of its modules with what it defines."""
    lines = [heading(room, "=")]
    for module in modules_of(room):
        if module != f"w2s_nb.{room}":
            lines.append(heading(module.removeprefix(f"w2s_nb.{room}."), "-"))
        is_package = (ROOT / module.replace(".", "/")).is_dir()  # it shows names of its modules
        lines.append(f".. automodule:: {module}\n" + "   :no-members:\n" * is_package)
    return "\n".join(lines)


def face_page(rooms: list[str]) -> str:
    """Returns the page of all public names, `w2s.fit` and so on, by the room that has them."""
    lines = [heading("The library", "="), FACE]
    for room in rooms:
        names = [(name, target) for name, target in face() if target.split(".")[1] == room]
        lines.append(f"\n:doc:`{room}`: {summary_of(f'w2s_nb.{room}')}\n")
        if names:
            lines.append(".. list-table::\n   :widths: 30 70\n   :width: 100%\n")
        for name, target in names:
            lines.append(f"   * - :py:obj:`w2s.{name} <{target}>`\n     - {summary_of(target)}")
    lines.append("\n.. toctree::\n   :hidden:\n")
    return "\n".join(lines + [f"   {room}" for room in rooms]) + "\n"


FACE = """Every public name is an attribute of the package, ``import w2s_nb as w2s``.
Names stand below the room of the library that defines them; a room has a page with all of it.
"""


def face() -> list[tuple[str, str]]:
    """Returns the public names, each with the dotted name of what it is."""
    pairs = []
    for node in ast.parse((KIT / "__init__.pyi").read_text()).body:
        module = ".".join(["w2s_nb", *filter(None, [node.module])])
        pairs += [(alias.name, f"{module}.{alias.name}") for alias in node.names]
    return pairs


def summary_of(target: str) -> str:
    """Returns the first sentence of an object's documentation as reStructuredText."""
    try:
        thing = importlib.import_module(target)
    except ModuleNotFoundError:
        module, _, name = target.rpartition(".")
        thing = getattr(importlib.import_module(module), name)
    if isinstance(thing, (str, int, float)):
        return f"``{thing!r}``"
    first = re.split(r"(?<=[.?])\s|\n\n", inspect.getdoc(thing) or "")[0]
    return escaped(" ".join(first.split()))


def heading(text: str, line: str) -> str:
    """Returns a heading of reStructuredText."""
    return f"{text}\n{line * len(text)}\n"


def to_restructured_text(app, what, name, thing, options, lines: list[str]) -> None:
    """Turns a docstring's few marks, which are those of Markdown, into reStructuredText."""
    in_example = in_source = False  # until the next empty line
    sections = []
    sentence = None
    for line in lines:
        begins = bool(re.match(r"\S", line)) or not sections
        in_example = bool(line.strip()) and (in_example or line.lstrip().startswith(">>>"))
        in_source = bool(line.strip()) and (in_source or line.startswith("Source: "))
        if not in_example:
            line = escaped(line)
        if in_source:
            line = line.strip().replace("Source:", "\n**Source:**", 1)
        if begins:
            sections.append([])
            sentence = re.match(r"(Args|Raises|Returns): (?=\S)", line)  # such as: as `fit`
        if sentence:
            line = line.strip().replace(sentence[0], f"\n**{sentence[1]}:** ", 1 if begins else 0)
        sections[-1].append(line)
    written = [returned(section) if section[0] == "Returns:" else section for section in sections]
    lines[:] = "\n".join(line for section in written for line in section).split("\n")


def returned(section: list[str]) -> list[str]:
    """Returns the section of what a function returns as a field, several values as a list.

    Napoleon would take what stands before a colon, in any sentence of it, for a type.
    """
    text = [line[4:] for line in section[1:]]
    names = [re.match(r"([\w\\]+(?:, [\w\\]+)*): (.*)", line) for line in text]
    begins = [i for i, line in enumerate(text) if re.match(r"\S", line)]
    if len(begins) > 1 and all(names[i] for i in begins):
        for i in begins:
            text[i] = f"- **{names[i][1]}** – {names[i][2]}"
        text = [line if i in begins else f"  {line.lstrip()}" for i, line in enumerate(text)]
    return ["", ":returns:", *(f"    {line}".rstrip() for line in text), ""]


def escaped(text: str) -> str:
    """Returns text with code between double backticks, and no other mark of reStructuredText."""
    parts = re.split(r"(`[^`]+`)", text)
    plain = [re.sub(r"([\\*|_`])", r"\\\1", part) for part in parts[::2]]
    code = [f"`{part}`" for part in parts[1::2]] + [""]
    return "".join(part for pair in zip(plain, code, strict=True) for part in pair)


# What a page says of itself


def set_direction(app, pagename: str, templatename: str, context: dict, doctree) -> None:
    """Sets the page of a language that is written from right to left in that direction."""
    language = RIGHT_TO_LEFT.get(pagename)
    if language:
        for part in ("body", "toc"):
            context[part] = f'<div dir="rtl" lang="{language}">{context.get(part, "")}</div>'


def add_notebook_links(app, pagename: str, templatename: str, context: dict, doctree) -> None:
    """Adds links below the title of a notebook: its solutions or its exercises, and Colab."""
    path = ROOT / f"{pagename}.ipynb"
    if not path.is_file() or "body" not in context:
        return
    links = []
    twins = {
        "Solutions": path.parent / "solutions" / path.name,
        "Notebook": path.parents[1] / path.name,
    }
    for label, twin in twins.items():
        if twin.is_file() and twin != path:
            page = twin.relative_to(ROOT).with_suffix("").as_posix()
            links.append((context["pathto"](page), label))
    repository = app.config.html_context["repository"]
    if repository:
        file = f"{repository}/blob/main/{pagename}.ipynb"
        links.append((f"https://colab.research.google.com/github/{file}", "Open in Colab"))
        links.append(
            (
                context["pathto"]("notebooks/pages/setup") + "#open-in-colab",
                "the first cell for Colab",
            )
        )
    line = " · ".join(f'<a href="{escape(link)}">{label}</a>' for link, label in links)
    line = f'</h1>\n<p class="notebook-links">{line}</p>'
    context["body"] = context["body"].replace("</h1>", line, 1)
