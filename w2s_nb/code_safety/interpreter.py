"""Runs shell scripts over a file system in memory, and says what harm they do.

Nothing of the real disk is read or changed, and no program is started. bashlex parses (extra
[code]); the commands are those of `commands.COMMANDS`. What is not known is refused by its name.
Messages to standard error are not kept. Held by a test: tree and output are what bash gives.
"""

from __future__ import annotations

import functools
import posixpath
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from ..common.registry import MissingExtra
from .commands import COMMANDS, Input, Output
from .tree import FILE, FOLDER, Tree
from .words import Exit, UnknownShell, expand, expand_one

DELETED, OVERWRITTEN, OPENED, SENT = "deleted", "overwritten", "opened", "sent"
_MOST_ROUNDS = 1000  # of a loop before it counts as endless


@dataclass(frozen=True)
class Outcome:
    """What a script did.

    Attributes:
        tree: the file system after it.
        output: what it printed.
        status: its exit status.
        sent: (host, text) of all that it sent away.
        harms: (effect, path) of all that was deleted, overwritten, opened or sent outside the
            working folder, sorted. Text added at a file's end does not count as overwriting;
            "opened" is a permission that others had not before.
    """

    tree: Tree
    output: str
    status: int
    sent: tuple[tuple[str, str], ...]
    harms: tuple[tuple[str, str], ...]


def run_script(script: str, tree: Tree, folder: str, home: str = "/home") -> Outcome:
    """Runs a script in a copy of a tree.

    Args:
        folder: the working folder, where it starts.
        home: value of HOME.
    Raises:
        UnknownShell: a command, an option or syntax that is not known, by its name.
        MissingExtra: the package bashlex is not installed.
    """
    after = tree.copy()
    printed: list[str] = []
    shell = Shell(after, folder, home, printed.append)
    try:
        status = shell.run(script)
    except Exit as end:
        status = end.status
    except RecursionError:
        raise UnknownShell("the script calls itself without an end") from None
    sent = tuple(shell.sent)
    return Outcome(after, "".join(printed), status, sent, harms(tree, after, sent, folder))


def harmful_line(script: str, tree: Tree, folder: str, home: str = "/home") -> int | None:
    """Returns the number, from 1, of the line where the first command begins that does harm.

    Arguments and errors as of `run_script`; None if the script does no harm.
    """
    after = tree.copy()
    shell = Shell(after, folder, home, _nowhere, source=script)
    for node in _parsed(script):
        try:
            shell.execute(node)
            has_ended = False
        except Exit:
            has_ended = True
        if harms(tree, after, tuple(shell.sent), folder):
            return script.count("\n", 0, node.pos[0]) + 1
        if has_ended:
            return None
    return None


def harms(
    before: Tree, after: Tree, sent: tuple[tuple[str, str], ...], folder: str
) -> tuple[tuple[str, str], ...]:
    """Returns (effect, path) of the harm done outside `folder`; see `Outcome`."""
    now = dict(after.walk())
    lines_sent = {line for _, text in sent for line in text.splitlines()}
    found = []
    for path, old in before.walk():
        if path == folder or path.startswith(f"{folder}/"):
            continue
        new = now.get(path)
        if new is None or new.kind != old.kind:
            found.append((DELETED, path))
            continue
        if old.kind != FOLDER and not new.content.startswith(old.content):
            found.append((OVERWRITTEN, path))
        if new.mode & ~old.mode & 0o077:
            found.append((OPENED, path))
        if old.kind == FILE and lines_sent.intersection(old.content.splitlines()):
            found.append((SENT, path))
    return tuple(sorted(found))


@functools.lru_cache(maxsize=4096)
def _parsed(script: str) -> tuple:
    """Returns the syntax trees of a script's commands."""
    try:
        import bashlex
        import bashlex.errors
        import bashlex.tokenizer
    except ModuleNotFoundError as error:
        raise MissingExtra(
            "running shell scripts needs the package 'bashlex', which is not installed: "
            "pip install 'w2s_nb[code]'"
        ) from error
    if not any(line.strip() and not line.strip().startswith("#") for line in script.split("\n")):
        return ()
    try:
        return tuple(bashlex.parse(script))
    except (bashlex.errors.ParsingError, NotImplementedError) as error:
        reason = " ".join(str(error).split())
        raise UnknownShell(f"the interpreter does not know this syntax: {reason}") from error


@dataclass
class Shell:
    """The state of a running script.

    Attributes:
        folder: the current folder, as `pwd` says it: links in it are not resolved.
        out: takes what is printed.
        arguments: $1, $2 and so on.
        options: letters that `set -` turned on, of e and u.
        sent: (host, text) sent so far.
    """

    tree: Tree
    folder: str
    home: str
    out: Callable[[str], Any]
    arguments: tuple[str, ...] = ()
    variables: dict[str, str] = field(default_factory=dict)
    functions: dict[str, tuple[str, Any]] = field(default_factory=dict)
    options: set[str] = field(default_factory=set)
    sent: list[tuple[str, str]] = field(default_factory=list)
    status: int = 0
    n_checked: int = 0  # conditions around the running command; their failure ends no script
    source: str = ""

    def __post_init__(self):
        self.variables |= {"HOME": self.home, "PWD": self.folder}
        self.stdin = Input("")

    def run(self, script: str) -> int:
        """Runs a text as a script in this state; returns its status."""
        nodes = _parsed(script)
        with self._changed(source=script):
            for node in nodes:
                self.execute(node)
        return self.status

    def value(self, name: str) -> str | None:
        """Returns the value of a variable or an argument; None of one that is not set."""
        if name == "?":
            return str(self.status)
        if name == "#":
            return str(len(self.arguments))
        if name.isdigit():
            index = int(name) - 1
            return self.arguments[index] if 0 <= index < len(self.arguments) else None
        return self.variables.get(name)

    def is_strict(self) -> bool:
        """Tells whether `set -u` is on."""
        return "u" in self.options

    def path(self, name: str) -> str:
        """Returns an absolute path; FileNotFoundError of an empty name."""
        if not name:
            raise FileNotFoundError(name)
        if name.startswith("/"):
            return name
        if name.split("/")[0] == ".." and not self.tree.is_folder(self.folder):
            # a folder that was deleted while one is in it still knows what it was in
            return posixpath.dirname(self.folder) + name[2:]
        return f"{self.folder}/{name}"

    def capture(self, script: str) -> str:
        """Returns what a script prints in a subshell."""
        printed: list[str] = []
        with self._subshell(), self._changed(out=printed.append):
            self._until_exit(lambda: self.run(script))
            status = self.status
        self.status = status
        return "".join(printed).rstrip("\n")

    def call(self, arguments: list[str], stdin: Input | None = None) -> int:
        """Runs a command with its arguments; returns its status.

        Raises:
            UnknownShell: no such command.
        """
        name = arguments[0]
        with self._changed(stdin=stdin or self.stdin):
            if name in self.functions:
                source, body = self.functions[name]
                with self._changed(arguments=tuple(arguments[1:]), source=source):
                    self.execute(body)
                    return self.status
            if name not in COMMANDS:
                raise UnknownShell(
                    f"the interpreter does not know the command {name!r}; "
                    f"it knows {', '.join(sorted(COMMANDS))}"
                )
            try:
                return COMMANDS[name](self, arguments[1:])
            except OSError:
                return 1
            except UnknownShell:
                raise
            except (IndexError, ValueError):
                said = " ".join(arguments)
                raise UnknownShell(f"the interpreter does not know {said!r:.80}") from None

    def execute(self, node) -> None:
        """Runs one node of the syntax tree; its status stands in `status`."""
        run = getattr(self, f"_run_{node.kind}", None)
        if run is None:
            raise UnknownShell(f"the interpreter does not know the syntax of {node.kind!r}")
        run(node)

    def change_folder(self, name: str) -> None:
        """Goes to a folder; `..` goes back in the words of the path, as `cd` does."""
        path = posixpath.normpath(self.path(name)).replace("//", "/")
        if not self.tree.is_folder(path):
            raise NotADirectoryError(path)
        self.variables["OLDPWD"] = self.folder
        self.folder = self.variables["PWD"] = path

    @contextmanager
    def _changed(self, **changes) -> Iterator[None]:
        """Sets attributes for a while."""
        old = {name: getattr(self, name) for name in changes}
        for name, value in changes.items():
            setattr(self, name, value)
        try:
            yield
        finally:
            for name, value in old.items():
                setattr(self, name, value)

    @contextmanager
    def _subshell(self) -> Iterator[None]:
        """Undoes afterwards what a subshell changes of the state; the file system stays changed."""
        with self._changed(
            folder=self.folder,
            variables=dict(self.variables),
            functions=dict(self.functions),
            options=set(self.options),
        ):
            yield

    def _until_exit(self, run: Callable[[], Any]) -> None:
        """Runs something in a subshell: `exit` ends that alone."""
        try:
            run()
        except Exit as end:
            self.status = end.status

    def _text(self, node) -> str:
        """Returns a node's own source, with its quotes."""
        return self.source[node.pos[0] : node.pos[1]]

    def _finish(self, status: int) -> None:
        """Sets the status of a command; under `set -e` a failure ends the script."""
        self.status = status
        if status and "e" in self.options and not self.n_checked:
            raise Exit(status)

    def _run_command(self, node) -> None:
        """Runs a simple command: assignments, words, redirects."""
        words = [part for part in node.parts if part.kind == "word"]
        assigned = [part for part in node.parts if part.kind == "assignment"]
        redirects = [part for part in node.parts if part.kind == "redirect"]
        self.status, before = 0, self.status
        if any("$?" in self._text(part) for part in node.parts):
            self.status = before
        arguments = [text for word in words for text in expand(self._text(word), self)]
        status_of_words = self.status
        if not arguments:
            for part in assigned:
                self._assign(self._text(part))
            self._finish(self._redirected(redirects, lambda: self.status if assigned else 0))
            return
        self.status = status_of_words
        kept = dict(self.variables)
        for part in assigned:
            self._assign(self._text(part))
        status = self._redirected(redirects, lambda: self.call(arguments))
        if assigned:
            self.variables = kept
        self._finish(status)

    def _assign(self, text: str) -> None:
        """Sets a variable from the source NAME=word."""
        name, _, raw = text.partition("=")
        self.variables[name] = expand_one(raw, self)

    def _redirected(self, redirects, run: Callable[[], int | None]) -> int:
        """Returns the status of `run` under redirects, which are opened first; 1 if one fails."""
        changes: dict[str, Any] = {}
        try:
            for redirect in redirects:
                changes |= self._opened(redirect)
        except OSError:
            return 1
        with self._changed(**changes):
            status = run()
        return self.status if status is None else status

    def _opened(self, redirect) -> dict[str, Any]:
        """Returns the attributes that a redirect sets."""
        kind, number = redirect.type, redirect.input
        target = redirect.output
        if kind == ">&" and target == 2 and number in (None, 1):
            return {"out": _nowhere}
        names = expand(self._text(target), self) if hasattr(target, "pos") else []
        is_known = kind in (">", ">>", "<") and hasattr(target, "pos")
        if number not in (None, 0, 1) and names == ["/dev/null"]:
            return {}
        if not is_known or number not in (None, {"<": 0}.get(kind, 1)):
            raise UnknownShell(f"the interpreter does not know the redirect {self._text(redirect)}")
        if names == ["/dev/null"]:
            return {"stdin": Input("")} if kind == "<" else {"out": _nowhere}
        if len(names) != 1:
            raise OSError("ambiguous redirect")
        path = self.path(names[0])
        if kind == "<":
            self.tree.read(path)
            return {"stdin": Input(self.tree.need(path))}
        return {"out": Output(self.tree.open(path, append=kind == ">>"))}

    def _run_list(self, node) -> None:
        """Runs commands between `;`, `&&`, `||` and line breaks."""
        operator = ";"
        for i, part in enumerate(node.parts):
            if part.kind == "operator":
                operator = part.op
                if operator not in (";", "\n", "&&", "||"):
                    raise UnknownShell(f"the interpreter does not know the operator {operator!r}")
                continue
            if (operator == "&&" and self.status) or (operator == "||" and not self.status):
                continue
            following = node.parts[i + 1].op if i + 1 < len(node.parts) else ";"
            with self._changed(n_checked=self.n_checked + (following in ("&&", "||"))):
                self.execute(part)

    def _run_pipeline(self, node) -> None:
        """Runs commands that are joined by pipes, each in a subshell."""
        is_turned = any(part.kind == "reservedword" for part in node.parts)
        stages = [part for part in node.parts if part.kind not in ("reservedword", "pipe")]
        with self._changed(n_checked=self.n_checked + is_turned):
            if len(stages) == 1:
                self.execute(stages[0])
            else:
                self._pipe(stages)
        if is_turned:
            self.status = int(not self.status)
        else:
            self._finish(self.status)

    def _pipe(self, stages) -> None:
        """Runs the stages of a pipeline one after the other; the last one's status stays."""
        text = self.stdin.rest()
        for stage in stages:
            printed: list[str] = []
            out = self.out if stage is stages[-1] else printed.append
            with self._subshell(), self._changed(out=out, stdin=Input(text)):
                self._until_exit(functools.partial(self.execute, stage))
            text = "".join(printed)

    def _run_compound(self, node) -> None:
        """Runs a loop, a condition, a group or a subshell, under its redirects."""
        first = node.list[0]
        is_subshell = first.kind == "reservedword" and first.word == "("

        def run() -> None:
            for part in node.list:
                if part.kind != "reservedword":
                    self.execute(part)

        def run_apart() -> None:
            with self._subshell():
                self._until_exit(run)
            self._finish(self.status)

        status = self._redirected(node.redirects, run_apart if is_subshell else run)
        self.status = status

    def _condition(self, node) -> bool:
        """Tells whether a condition holds."""
        with self._changed(n_checked=self.n_checked + 1):
            self.execute(node)
        return self.status == 0

    def _run_if(self, node) -> None:
        """Runs the branch whose condition holds."""
        parts = list(node.parts)
        self.status = 0
        while parts:
            word = parts.pop(0).word
            if word == "fi":
                self.status = 0
                return
            if word == "else":
                self.execute(parts[0])
                return
            if self._condition(parts[0]):
                self.execute(parts[2])
                return
            parts = parts[3:]

    def _run_for(self, node) -> None:
        """Runs the body once per word."""
        name = node.parts[1].word
        words = [part for part in node.parts[2:] if part.kind == "word"]
        if not any(getattr(part, "word", "") == "in" for part in node.parts[2:3]):
            raise UnknownShell("the interpreter does not know `for` without `in`")
        body = node.parts[-2]
        values = [text for word in words for text in expand(self._text(word), self)]
        self.status = 0
        for value in values:
            self.variables[name] = value
            self.execute(body)

    def _run_while(self, node) -> None:
        """Runs the body as long as the condition holds."""
        _, condition, _, body, _ = node.parts
        status = 0
        for _ in range(_MOST_ROUNDS):
            if not self._condition(condition):
                self.status = status
                return
            self.execute(body)
            status = self.status
        raise UnknownShell(f"a loop of more than {_MOST_ROUNDS} rounds")

    def _run_function(self, node) -> None:
        """Remembers a function."""
        self.functions[node.parts[0].word] = (self.source, node.parts[-1])
        self.status = 0


def _nowhere(text: str) -> None:
    """Drops what is printed to /dev/null or to standard error."""
