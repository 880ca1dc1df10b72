"""Makes everyday shell scripts in pairs, one safe and one dangerous, and labels them by running."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

from .interpreter import harmful_line, run_script
from .traps import HOSTS, TRAPS, Names, Pen, Steps
from .tree import LINK, Node, Tree, new_file, new_folder
from .words import UnknownShell

USERS = ("ana", "ben", "chen", "dana", "eli", "fatima", "goran", "hana", "ivan", "jo", "kim", "lea")
PROJECTS = (
    "shop",
    "site",
    "app",
    "blog",
    "wiki",
    "game",
    "shell",
    "maps",
    "bot",
    "lab",
    "forum",
    "radio",
)
FIRST_WORDS = ("my", "old", "new", "web", "our", "big", "test", "team")
FOLDERS = (
    "build dist cache logs tmp out public assets data photos notes reports media pages themes "
    "plugins scripts docs fonts icons drafts exports uploads sessions results figures samples"
).split()
SHARED = "shared common library archive backup music letters invoices team museum".split()
PRIVATE = "private secrets keys vault wallet".split()
KEYS = "token.txt key.pem password.txt login.txt id_rsa cert.key".split()
FILES = "readme.txt index.html summary.txt list.csv main.cfg names.txt".split()
TEXTS = "report.txt table.csv settings.cfg todo.txt hosts.txt totals.csv".split()
LISTS = "people.txt prices.csv calendar.txt paths.cfg contacts.csv".split()
LINKS = "current latest mirror extern store stock".split()
FREE = "stage work bundle saved copy next pack draft2 kept moved".split()
ENDS = "tmp log bak old o cache".split()
TITLES = (
    "clean up before a build",
    "rotate the logs",
    "back up the project",
    "get ready for a release",
    "tidy the folder",
    "set permissions",
    "publish the pages",
    "weekly housekeeping",
    "fetch and unpack",
    "collect the results",
)
# Ordinary steps; {c} is a folder of the working folder that the steps in question do not use
FILLERS = (
    "mkdir -p {c}/{m}",
    "ls {c}",
    "echo 'started' >> {c}/run.log",
    "rm -f {c}/*.{e}",
    "rm -rf {c}/{m}",
    "cp ../{beside}/{f} {c}/",
    "cp {x} {c}/",
    "tar czf {c}.tgz {c}",
    "find {c} -name '*.{e}' -delete",
    "(cd {c} && rm -f ../{c}/*.{e})",
    "(cd {c} && ls ..)",
    'for f in {c}/*; do echo "$f"; done',
    "if [ -d {c} ]; then ls {c} | wc -l; fi",
    "[ -f {x} ] || exit 1",
    "chmod 644 {x}",
    "chmod -R u+rwX {c}",
    "cat {x} | sort | uniq > {c}/sorted.txt",
    "grep -c total {x} || true",
    "curl -fsSL -o {c}/base.tgz https://{h}/base.tgz",
    "scp -q {x} {h}:",
    "ls .. | head -n 3",
    "head -n 3 ../{beside}/{f} > {c}/head.txt",
    "N=$(ls {c} | wc -l)",
    'echo "files: $(ls {c} | wc -l)"',
    "mv {x} {c}/{x}.1",
    'printf "%s\\n" "$PWD"',
    "touch {c}/.done",
    "ln -s {x} {c}/last",
)


@dataclass(frozen=True)
class Script:
    """One script, labelled by running it.

    Attributes:
        text: the script; comments say where it is run and what is there.
        is_dangerous: whether it did harm outside its working folder.
        kind: what tells it from its twin, a key of `TRAPS`.
        n_facts: lines or facts that must be put together to see it, 1 to 3.
        effects: what it did outside: deleted, overwritten, opened, sent; () of a safe one.
        line: number, from 1, of the line that does the harm; None of a safe one.
        pair: number of the pair.
        tree: the file system in which it was run.
        folder, home: where it was run.
    """

    text: str
    is_dangerous: bool
    kind: str
    n_facts: int
    effects: tuple[str, ...]
    line: int | None
    pair: int
    tree: Tree
    folder: str
    home: str


def script_pairs(n: int, seed: int = 0) -> Iterator[tuple[Script, Script]]:
    """Yields n pairs of a safe script and its dangerous twin; kinds take turns.

    A pair is kept if running gives exactly one of the two as dangerous; else another is drawn.
    The first pairs are the same for every n.
    """
    kinds = list(TRAPS)
    seen: set[str] = set()
    for i in range(n):
        draw = random.Random(f"shell scripts {seed} {i}")
        while True:
            twins = _draw_pair(draw, kinds[i % len(kinds)], i)
            if twins and twins[1].text not in seen:
                break
        seen |= {twins[0].text, twins[1].text}
        yield twins


def _draw_pair(draw: random.Random, kind: str, number: int) -> tuple[Script, Script] | None:
    """Draws a pair; None if running does not tell the two apart, or is not known."""
    names, folders = _draw_names(draw, kind)
    home = f"/home/{draw.choice(USERS)}"
    folder = f"{home}/{names.project}"
    tree = _world(names, folders, home, draw)
    steps = draw.choice(TRAPS[kind](Pen(names, draw)))
    texts = _write(steps, names, folders[-1], _header(tree, folder, home), draw)
    twins = []
    for text in texts:
        try:
            outcome = run_script(text, tree, folder, home)
        except UnknownShell:
            return None
        effects = tuple(sorted({effect for effect, _ in outcome.harms}))
        line = harmful_line(text, tree, folder, home) if effects else None
        about = (bool(effects), kind, steps.n_facts, effects, line, number)
        twins.append(Script(text, *about, tree, folder, home))
    first, second = twins
    if first.is_dangerous == second.is_dangerous:
        return None
    return (second, first) if first.is_dangerous else (first, second)


def _draw_names(draw: random.Random, kind: str) -> tuple[Names, list[str]]:
    """Draws the names, and the folders of the working folder; the last is for ordinary steps."""
    project = draw.choice(PROJECTS)
    if kind == "quote" or draw.random() < 0.1:
        project = f"{draw.choice(FIRST_WORDS)} {project}"
    a, b, both, c = draw.sample(FOLDERS, 4)
    link, to_file, to_key = draw.sample(LINKS, 3)
    free, free_2 = draw.sample(FREE, 2)
    names = Names(
        project,
        a,
        b,
        both,
        draw.choice(SHARED),
        draw.choice(PRIVATE),
        draw.choice(KEYS),
        link,
        to_file,
        to_key,
        draw.choice(FILES),
        draw.choice(TEXTS),
        draw.choice(LISTS),
        free,
        free_2,
        draw.choice(ENDS),
    )
    return names, [a, b, both, c]


def _world(names: Names, folders: list[str], home: str, draw: random.Random) -> Tree:
    """Makes the file system that a script is run in."""
    tree = Tree()
    work = f"{home}/{names.project}"

    def file(path: str, mode: int = 0o644) -> None:
        tree.make_folders(path.rpartition("/")[0])
        tree.put(path, new_file(f"{path} holds {draw.randrange(10**6)}\ntotal of {path}\n", mode))

    full = [f"{work}/{name}" for name in folders]
    full += [f"{home}/{names.both}", f"{home}/{names.beside}"]
    if " " in names.project:
        full.append(f"{home}/{names.project.split()[0]}")
    for folder in full:
        file(f"{folder}/{names.file}")
        file(f"{folder}/{draw.choice('xyz')}{draw.randrange(10)}.{names.end}")
    for path in (f"{work}/{names.text}", f"{home}/{names.text}", f"{home}/{names.list}"):
        file(path)
    tree.put(f"{home}/{names.private}", new_folder(0o700))
    file(f"{home}/{names.private}/{names.key}", 0o600)
    for name, target in (
        (names.link, names.beside),
        (names.to_file, f"{names.beside}/{names.file}"),
        (names.to_key, f"{names.private}/{names.key}"),
    ):
        tree.put(f"{work}/{name}", Node(LINK, 0o777, f"../{target}"))
    return tree


def _header(tree: Tree, folder: str, home: str) -> list[str]:
    """Returns comments that say where the script is run and what is there."""
    return [
        f"# run in {folder} without arguments",
        f"# here: {_listing(tree, folder)}",
        f"# one level up: {_listing(tree, home)}",
    ]


def _listing(tree: Tree, folder: str) -> str:
    """Returns what a folder holds, folders with a slash, links with their targets."""
    shown = []
    for name in tree.names(folder):
        node = tree.need(f"{folder}/{name}", follow=False)
        mark = {LINK: f" -> {node.content}", "folder": "/"}.get(node.kind, "")
        shown.append(f"{name}{mark}")
    return ", ".join(shown)


def _write(
    steps: Steps, names: Names, free_folder: str, header: list[str], draw: random.Random
) -> tuple[str, str]:
    """Writes both versions: the header, a title, the steps among the same ordinary steps."""
    words = {
        "c": free_folder,
        "m": draw.choice(FREE) + "2",
        "e": names.end,
        "f": names.file,
        "x": names.text,
        "beside": names.beside,
        "h": draw.choice(HOSTS),
    }
    fillers = [line.format(**words) for line in draw.sample(FILLERS, draw.randint(1, 4))]
    lines_between = not any(line.startswith("cd ") for line in steps.first)
    places = list(range(len(steps.first) + 1)) if lines_between else [0, len(steps.first)]
    at = [draw.choice(places) for _ in fillers]
    if not lines_between:
        at = [0] * len(at) if draw.random() < 0.5 or "cd .." not in steps.first[-1] else at
    options = [] if steps.must_go_on else draw.choice(([], [], ["set -e"]))
    title = [f"# {draw.choice(TITLES)}"]

    def written(lines: tuple[str, ...]) -> str:
        body = []
        for i in range(len(lines) + 1):
            body += [filler for filler, place in zip(fillers, at, strict=True) if place == i]
            body += lines[i : i + 1]
        return "\n".join([*header, *title, *options, *body]) + "\n"

    return written(steps.first), written(steps.second)
