"""Expands the words of a shell script: quotes, variables, commands in them, blanks, globs."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterator
from typing import Protocol

from .tree import Tree

_PARAMETER = re.compile(r"(\w+|[?#])(:?[-?]|%%?|##?)?(.*)", re.S)
Field = list[tuple[str, bool]]  # characters, each with whether it was quoted


class UnknownShell(ValueError):
    """A command, an option or syntax that the interpreter does not know, said by its name."""


class Exit(Exception):
    """The script ends.

    Attributes:
        status: that it ends with.
    """

    def __init__(self, status: int):
        super().__init__(status)
        self.status = status


class Context(Protocol):
    """What words are expanded in: the interpreter."""

    tree: Tree

    def value(self, name: str) -> str | None:
        """Returns the value of a variable; None of one that is not set."""

    def capture(self, script: str) -> str:
        """Returns what a script prints, without line breaks at its end."""

    def path(self, name: str) -> str:
        """Returns an absolute path."""

    def is_strict(self) -> bool:
        """Tells whether the use of a variable that is not set ends the script."""


def expand(raw: str, shell: Context) -> list[str]:
    """Returns the arguments that a word becomes, in the order of bash: expansions, splitting at
    blanks of what was not quoted, then globs; one that matches nothing stays as it is.

    Raises:
        UnknownShell: an expansion that is not known.
        Exit: `set -u` or `${name:?}` ends the script.
    """
    return [path for field in _fields(raw, shell) for path in _glob(field, shell)]


def expand_one(raw: str, shell: Context) -> str:
    """Returns a word's text without splitting and globs, as in an assignment."""
    return "".join(text for text, _, _ in _segments(raw, shell))


def _fields(raw: str, shell: Context) -> list[Field]:
    """Returns the fields of a word after splitting."""
    done: list[Field] = []
    field: Field = []
    is_begun = False
    for text, is_quoted, splits in _segments(raw, shell):
        if not splits:
            field += [(c, is_quoted) for c in text]
            is_begun = is_begun or is_quoted or bool(text)
            continue
        if text[:1].isspace() and is_begun:
            done.append(field)
            field, is_begun = [], False
        parts = text.split()
        for i, part in enumerate(parts):
            if i:
                done.append(field)
                field = []
            field += [(c, False) for c in part]
            is_begun = True
        if parts and text[-1].isspace():
            done.append(field)
            field, is_begun = [], False
    return [*done, field] if is_begun else done


def _segments(raw: str, shell: Context) -> Iterator[tuple[str, bool, bool]]:
    """Yields (text, whether it is quoted, whether it is split at blanks) of a word's parts."""
    i = 0
    while i < len(raw):
        c = raw[i]
        if c == "'":
            end = raw.index("'", i + 1)
            yield raw[i + 1 : end], True, False
            i = end + 1
        elif c == '"':
            end = _end_of_quote(raw, i)
            yield _in_quotes(raw[i + 1 : end], shell), True, False
            i = end + 1
        elif c == "\\":
            yield raw[i + 1 : i + 2], True, False
            i += 2
        elif c == "$":
            text, i = _dollar(raw, i, shell)
            yield text, False, True
        elif c == "~" and i == 0 and raw[1:2] in ("", "/"):
            yield shell.value("HOME") or "", True, False
            i += 1
        elif c == "`" or raw.startswith(("<(", ">("), i):
            raise UnknownShell(f"the interpreter does not know {raw[i:]!r:.40}; it knows $(...)")
        elif c == "{" and re.match(r"\{[^{}$]*(,|\.\.)[^{}]*\}", raw[i:]):
            raise UnknownShell(f"the interpreter does not know braces as in {raw!r:.40}")
        else:
            yield c, False, False
            i += 1


def _in_quotes(text: str, shell: Context) -> str:
    """Returns what stands between double quotes, expanded."""
    out, i = "", 0
    while i < len(text):
        if text[i] == "\\" and text[i + 1 : i + 2] in ("$", '"', "\\", "`"):
            out += text[i + 1]
            i += 2
        elif text[i] == "$":
            value, i = _dollar(text, i, shell)
            out += value
        elif text[i] == "`":
            raise UnknownShell(f"the interpreter does not know {text[i:]!r:.40}; it knows $(...)")
        else:
            out += text[i]
            i += 1
    return out


def _end_of_quote(raw: str, start: int) -> int:
    """Returns where a double quote ends that begins at `start`."""
    i = start + 1
    while i < len(raw) and raw[i] != '"':
        if raw.startswith("$(", i):
            i = _end_of_bracket(raw, i + 1)
        elif raw[i] == "\\":
            i += 1
        i += 1
    return i


def _end_of_bracket(raw: str, start: int) -> int:
    """Returns where the bracket that opens at `start` is closed; quotes hide brackets."""
    opened, closed = raw[start], {"(": ")", "{": "}"}[raw[start]]
    depth, i = 0, start
    while i < len(raw):
        if raw[i] == "'":
            i = raw.index("'", i + 1)
        elif raw[i] == '"':
            i = _end_of_quote(raw, i)
        elif raw[i] == "\\":
            i += 1
        elif raw[i] in (opened, closed):
            depth += 1 if raw[i] == opened else -1
            if not depth:
                return i
        i += 1
    raise UnknownShell(f"no end of {raw[start:]!r:.40}")


def _dollar(raw: str, i: int, shell: Context) -> tuple[str, int]:
    """Returns what the `$` at `i` stands for, and where it ends."""
    if raw.startswith("$((", i):
        raise UnknownShell(f"the interpreter does not know arithmetic as in {raw!r:.40}")
    if raw.startswith("$(", i):
        end = _end_of_bracket(raw, i + 1)
        return shell.capture(raw[i + 2 : end]), end + 1
    if raw.startswith("${", i):
        end = _end_of_bracket(raw, i + 1)
        return _parameter(raw[i + 2 : end], shell), end + 1
    name = re.match(r"[A-Za-z_]\w*|\d|[?#]", raw[i + 1 :])
    if name:
        return _parameter(name[0], shell), i + 1 + len(name[0])
    if raw[i + 1 : i + 2] in tuple("@*$!-'\""):
        raise UnknownShell(f"the interpreter does not know {raw[i : i + 2]!r}")
    return "$", i + 1


def _parameter(inside: str, shell: Context) -> str:
    """Returns the value of what stands between `${` and `}`."""
    match = _PARAMETER.fullmatch(inside)
    if match is None or (match[3] and not match[2]):
        raise UnknownShell(f"the interpreter does not know ${{{inside}}}")
    name, operator, word = match[1], match[2] or "", match[3]
    value = shell.value(name)
    is_missing = value is None or (operator.startswith(":") and not value)
    if operator in ("-", ":-"):
        return expand_one(word, shell) if is_missing else value or ""
    if operator in ("?", ":?"):
        if is_missing:
            raise Exit(1)
        return value or ""
    if value is None and shell.is_strict():
        raise Exit(1)
    return _stripped(value or "", operator, expand_one(word, shell)) if operator else value or ""


def _stripped(value: str, operator: str, pattern: str) -> str:
    """Returns a value without the shortest or longest start (#) or end (%) that matches."""
    cuts = range(len(value) + 1)
    if operator in ("#", "##"):
        ends = cuts if operator == "#" else reversed(cuts)
        return next((value[i:] for i in ends if fnmatch.fnmatchcase(value[:i], pattern)), value)
    starts = reversed(cuts) if operator == "%" else cuts
    return next((value[:i] for i in starts if fnmatch.fnmatchcase(value[i:], pattern)), value)


def _glob(field: Field, shell: Context) -> list[str]:
    """Returns the paths that a field matches, sorted; its own text where none does."""
    text = "".join(c for c, _ in field)
    if not any(c in "*?[" and not is_quoted for c, is_quoted in field):
        return [text]
    found = [""]
    part: Field = []
    for c, is_quoted in [*field, ("/", True)]:
        if c != "/":
            part.append((c, is_quoted))
            continue
        if part:
            found = [path for base in found for path in _matches(base, part, shell)]
        found = [f"{path}/" for path in found]
        part = []
    found = [path[:-1] for path in found]
    if text.endswith("/"):
        found = [path for path in found if shell.tree.is_folder(shell.path(path))]
    return sorted(found) or [text]


def _matches(base: str, part: Field, shell: Context) -> list[str]:
    """Returns what below `base`, "" or a path with its slash, one part of a glob matches."""
    name = "".join(c for c, _ in part)
    if not any(c in "*?[" and not is_quoted for c, is_quoted in part):
        path = f"{base}{name}"
        is_there = shell.tree.get(shell.path(path), follow=False) is not None
        return [path] if is_there or name in (".", "..") else []
    pattern = "".join(f"[{c}]" if is_quoted and c in "*?[" else c for c, is_quoted in part)
    return [
        f"{base}{found}"
        for found in shell.tree.names(shell.path(base or "."))
        if fnmatch.fnmatchcase(found, pattern) and (found[0] != "." or pattern[0] == ".")
    ]
