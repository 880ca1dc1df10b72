"""Runs `find` over the file system in memory: tests, `-delete`, `-exec`, brackets, `-o`."""

from __future__ import annotations

import fnmatch
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .tree import FILE, FOLDER, LINK, Node
from .words import UnknownShell

if TYPE_CHECKING:
    from .interpreter import Shell

_KINDS = {"f": FILE, "d": FOLDER, "l": LINK}
Expression = Callable[[str, Node], bool]


def find(shell: Shell, arguments: list[str]) -> int:
    """Runs `find [-L] FOLDERS EXPRESSION`; returns its status.

    As in GNU find, the parts of an expression are evaluated from left to right, `-delete` visits
    what a folder holds before the folder, and all that is found is printed where there is no
    action.
    """
    follows = arguments[:1] == ["-L"]
    arguments = arguments[follows:]
    n = next((i for i, a in enumerate(arguments) if a[:1] in ("-", "(", "!")), len(arguments))
    search = _Search(shell, arguments[n:], follows)
    for start in arguments[:n] or ["."]:
        search.start(start)
    return search.finish()


@dataclass
class _Search:
    shell: Shell
    words: list[str]
    follows: bool

    def __post_init__(self):
        self.status = 0
        self.above: list[Node] = []
        self.least, self.most = 0, 10**6
        self.is_deep = "-delete" in self.words
        self.gathered: list[tuple[list[str], list[str]]] = []
        actions = {"-delete", "-print", "-print0", "-exec"}
        is_silent = bool(actions & set(self.words))
        expression = self._either() if self.words else _always
        if self.words:
            raise UnknownShell(f"the interpreter does not know {self.words[0]!r} in 'find'")
        self.expression = (
            expression if is_silent else lambda p, n: expression(p, n) and self._print(p, "\n")
        )

    def start(self, name: str) -> None:
        """Searches below one folder."""
        try:
            node = self.shell.tree.need(self.shell.path(name), follow=self.follows)
        except OSError:
            self.status = 1
            return
        self._visit(name, node, 0)

    def finish(self) -> int:
        """Runs what `-exec ... +` gathered; returns the status."""
        for command, paths in self.gathered:
            if paths and self.shell.call([*command, *paths]):
                self.status = 1
        return self.status

    def _visit(self, path: str, node: Node, depth: int) -> None:
        """Evaluates the expression for a path and for what is below it."""
        if any(node is each for each in self.above):
            self.status = 1  # a link led back; find says so, and passes it over
            return
        if not self.is_deep and depth >= self.least:
            self.expression(path, node)
        if node.kind == FOLDER and depth < self.most:
            self._descend(path, node, depth)
        if self.is_deep and depth >= self.least:
            self.expression(path, node)

    def _descend(self, path: str, node: Node, depth: int) -> None:
        """Visits what is in a folder, if the expression has left it there."""
        if self.shell.tree.get(self.shell.path(path), follow=self.follows) is not node:
            self.status = 1
            return
        self.above.append(node)
        for name in sorted(node.entries):
            child = f"{path.rstrip('/')}/{name}"
            try:
                below = self.shell.tree.locate(self.shell.path(child), follow=self.follows)[1]
            except (FileNotFoundError, NotADirectoryError):
                below = None
            except OSError:
                self.status = 1  # links in a circle
                continue
            below = below or node.entries.get(name)
            if below is not None:
                self._visit(child, below, depth + 1)
        self.above.pop()

    def _either(self) -> Expression:
        """Reads parts joined by -o."""
        parts = [self._both()]
        while self.words[:1] == ["-o"]:
            self.words = self.words[1:]
            parts.append(self._both())
        return lambda path, node: any(part(path, node) for part in parts)

    def _both(self) -> Expression:
        """Reads parts that stand side by side."""
        parts = []
        while self.words and self.words[0] not in ("-o", ")"):
            parts.append(self._one())
        if not parts:
            raise UnknownShell("'find' expects a test before or after -o")
        return lambda path, node: all(part(path, node) for part in parts)

    def _one(self) -> Expression:
        """Reads one test or action."""
        word = self.words[0]
        self.words = self.words[1:]
        if word in ("!", "-not"):
            inner = self._one()
            return lambda path, node: not inner(path, node)
        if word == "(":
            inner = self._either()
            if self.words[:1] != [")"]:
                raise UnknownShell("'find': a bracket is not closed")
            self.words = self.words[1:]
            return inner
        simple = {
            "-delete": self._delete,
            "-print": lambda path, node: self._print(path, "\n"),
            "-print0": lambda path, node: self._print(path, "\0"),
            "-empty": lambda path, node: not (node.entries or node.content),
        }
        if word in simple:
            return simple[word]
        if word == "-exec":
            return self._exec()
        if word not in ("-name", "-path", "-type", "-maxdepth", "-mindepth") or not self.words:
            raise UnknownShell(f"the interpreter does not know {word!r} in 'find'")
        return self._with_value(word)

    def _with_value(self, word: str) -> Expression:
        """Reads the value of a test."""
        value = self.words[0]
        self.words = self.words[1:]
        if word == "-name":
            return lambda path, node: fnmatch.fnmatchcase(_last(path), value)
        if word == "-path":
            return lambda path, node: fnmatch.fnmatchcase(path, value)
        if word == "-type":
            if value not in _KINDS:
                raise UnknownShell(f"the interpreter does not know -type {value} of 'find'")
            return lambda path, node: node.kind == _KINDS[value]
        if word == "-maxdepth":
            self.most = int(value)
        else:
            self.least = int(value)
        return _always

    def _exec(self) -> Expression:
        """Reads a command up to `;` or `{} +`."""
        ends = [i for i, word in enumerate(self.words) if word in (";", "+")]
        if not ends:
            raise UnknownShell("'find': no end of -exec")
        command, end = self.words[: ends[0]], self.words[ends[0]]
        self.words = self.words[ends[0] + 1 :]
        if end == "+":
            gathered: tuple[list[str], list[str]] = (command[:-1], [])
            self.gathered.append(gathered)
            return lambda path, node: not gathered[1].append(path)  # type: ignore[func-returns-value]
        return lambda path, node: not self.shell.call([w.replace("{}", path) for w in command])

    def _print(self, path: str, end: str) -> bool:
        self.shell.out(path + end)
        return True

    def _delete(self, path: str, node: Node) -> bool:
        """Deletes what is found; a folder that still holds something stays."""
        if path == ".":
            return True
        link = self.shell.tree.get(self.shell.path(path), follow=False)
        if _last(path) == ".." or link is None or link.entries:
            self.status = 1
            return False
        self.shell.tree.remove(self.shell.path(path))
        return True


def _always(path: str, node: Node) -> bool:
    return True


def _last(path: str) -> str:
    """Returns the last name of a path."""
    return path.rstrip("/").rpartition("/")[2] or path
