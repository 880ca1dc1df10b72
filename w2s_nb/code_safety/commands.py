"""Commands of everyday shell scripts, over the file system in memory.

Each takes the running shell and its arguments, and returns its exit status. An option that is not
known is refused by its name.
"""

from __future__ import annotations

import getopt
import posixpath
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from .find import find
from .tree import FILE, FOLDER, LINK, Node, new_folder
from .words import Exit, UnknownShell

if TYPE_CHECKING:
    from .interpreter import Shell

T = TypeVar("T")

_UMASK = 0o022
_CLAUSE = re.compile(r"([ugoa]*)([-+=])([rwxX]*)")


class Input:
    """Standard input: what is left to read, of a text or of a file.

    A file is read when a command first asks, so what empties it before leaves nothing to read.
    """

    def __init__(self, source: str | Node):
        self.file = source if isinstance(source, Node) else None
        self._text = source if isinstance(source, str) else None

    def _left(self) -> str:
        if self._text is None:
            self._text = self.file.content if self.file else ""
        return self._text

    def line(self) -> str | None:
        """Returns the next line without its break; None at the end."""
        if not self._left():
            return None
        line, _, self._text = self._left().partition("\n")
        return line

    def rest(self) -> str:
        """Returns all that is left."""
        text, self._text = self._left(), ""
        return text


@dataclass
class Output:
    """Standard output that a redirect sends to a file."""

    file: Node

    def __call__(self, text: str) -> None:
        self.file.content += text


def _options(command: str, arguments: list[str], known: str) -> tuple[dict[str, str], list[str]]:
    """Returns {letter: value} and the operands.

    Args:
        known: letters as `getopt` takes them, a colon after one with a value.
    """
    try:
        pairs, operands = getopt.gnu_getopt(arguments, known)
    except getopt.GetoptError as error:
        raise UnknownShell(f"the interpreter does not know this of {command!r}: {error}") from None
    return {letter[1:]: value for letter, value in pairs}, operands


def _for_each(operands: Iterable[T], action: Callable[[T], None]) -> int:
    """Does the action for each operand; returns 1 if one failed."""
    status = 0
    for operand in operands:
        try:
            action(operand)
        except OSError:
            status = 1
    return status


def _remove(shell: Shell, arguments: list[str]) -> int:
    options, operands = _options("rm", arguments, "rRfv")
    is_deep = "r" in options or "R" in options

    def remove(name: str) -> None:
        try:
            path = shell.path(name)
            node = shell.tree.need(path, follow=False)
        except (FileNotFoundError, NotADirectoryError):
            if "f" in options:
                return
            raise
        if node.kind == FOLDER and not is_deep:
            raise IsADirectoryError(name)
        if posixpath.basename(name.rstrip("/")) in (".", "..", "") or node is shell.tree.root:
            raise PermissionError(name)
        if not _is_slashed_link(shell, path):
            shell.tree.remove(path)
            return
        # of a link with a slash after it rm empties the folder, and fails to remove the link
        node.entries.clear()
        if "f" not in options:
            raise NotADirectoryError(name)

    return _for_each(operands, remove) if operands or "f" in options else 1


def _is_slashed_link(shell: Shell, path: str) -> bool:
    """Tells whether a path is that of a link to a folder, with a slash after it."""
    return path.endswith("/") and shell.tree.need(path.rstrip("/"), follow=False).kind == LINK


def _remove_folder(shell: Shell, arguments: list[str]) -> int:
    _, operands = _options("rmdir", arguments, "")

    def remove(name: str) -> None:
        node = shell.tree.need(shell.path(name), follow=False)
        if node.kind != FOLDER or node.entries:
            raise OSError(name)
        shell.tree.remove(shell.path(name))

    return _for_each(operands, remove)


def _make_folder(shell: Shell, arguments: list[str]) -> int:
    options, operands = _options("mkdir", arguments, "p")

    def make(name: str) -> None:
        path = shell.path(name)
        if "p" in options:
            if not shell.tree.is_folder(shell.folder):
                raise FileNotFoundError(name)
            _, node = shell.tree.locate(path) if shell.tree.get(path) else ("", None)
            if node is None:
                shell.tree.make_folders(path)
            elif node.kind != FOLDER:
                raise FileExistsError(name)
            return
        if shell.tree.get(path, follow=False) is not None:
            raise FileExistsError(name)
        shell.tree.put(path, new_folder())

    return _for_each(operands, make)


def _touch(shell: Shell, arguments: list[str]) -> int:
    _, operands = _options("touch", arguments, "")

    def touch(name: str) -> None:
        if shell.tree.get(shell.path(name)) is None:
            shell.tree.open(shell.path(name), append=True)

    return _for_each(operands, touch)


def _targets(shell: Shell, operands: list[str]) -> list[tuple[str, str]]:
    """Returns (from, to) of `cp`, `mv` and `ln`: into the last operand where it is a folder."""
    *sources, last = operands
    if shell.tree.is_folder(shell.path(last)):
        names = [posixpath.basename(source.rstrip("/")) for source in sources]
        # what is copied from `folder/..` goes into the target itself
        names = ["." if name == ".." else name for name in names]
        return [(s, f"{last}/{name}") for s, name in zip(sources, names, strict=True)]
    if len(sources) != 1:
        raise NotADirectoryError(last)
    return [(sources[0], last)]


def _copy(shell: Shell, arguments: list[str]) -> int:
    options, operands = _options("cp", arguments, "rRapfn")
    is_deep = bool(options.keys() & set("rRa"))
    keeps_mode = bool(options.keys() & set("ap"))

    def copy(path: str, target: str, source: Node) -> None:
        old, reached = shell.tree.get(target, follow=False), shell.tree.locate(target)[1]
        is_same = _is_same(shell, path, source, old) or (source.kind != LINK and source is reached)
        if "n" not in options and is_same:
            raise FileExistsError(target)
        there = old if source.kind == LINK else reached
        if "n" in options and source.kind != FOLDER and there is not None:
            return
        if source.kind == FOLDER:
            copy_folder(path, target, source, reached)
        elif source.kind == LINK:
            if old is not None and old.kind == FOLDER:
                raise IsADirectoryError(target)
            shell.tree.put(target, source.copy())
        elif old is not None and reached is None:
            raise FileNotFoundError(target)  # cp writes through no link that leads nowhere
        else:
            new = shell.tree.open(target)
            new.content, new.members = source.content, source.members
            if reached is None or keeps_mode:
                new.mode = source.mode if keeps_mode else source.mode & ~_UMASK

    def copy_folder(path: str, target: str, source: Node, reached: Node | None) -> None:
        if reached is None:
            shell.tree.put(target, new_folder(source.mode), follow=True)
        elif reached.kind != FOLDER:
            raise NotADirectoryError(target)

        def copy_child(name: str) -> None:
            copy(f"{path}/{name}", f"{target}/{name}", source.entries[name])

        if _for_each(list(source.entries), copy_child):
            raise OSError(target)

    def copy_one(pair: tuple[str, str]) -> None:
        path, target = shell.path(pair[0]), shell.path(pair[1])
        source = shell.tree.need(path, follow=not is_deep)
        if source.kind == FOLDER:
            if not is_deep:
                raise IsADirectoryError(pair[0])
            old = shell.tree.get(target)
            if (old is None or old.kind == FOLDER) and shell.tree.is_below(target, path):
                raise UnknownShell("the interpreter does not know a copy of a folder into itself")
        copy(path, target, source)

    return _for_each(_targets(shell, operands), copy_one)


def _is_same(shell: Shell, path: str, source: Node, old: Node | None) -> bool:
    """Tells whether a source at a path is what is at its target, as `cp` and `mv` take it.

    Args:
        old: what is at the target, a link not followed.
    """
    if source.kind != LINK or old is None or old.kind == LINK:
        return source is old
    return shell.tree.get(path) is old


def _is_in(shell: Shell, path: str, folder: Node) -> bool:
    """Tells whether the shell's current folder is a folder, or below it."""
    here = shell.tree.get(shell.folder)
    return here is folder or (here is not None and shell.tree.is_below(shell.folder, path))


def _move(shell: Shell, arguments: list[str]) -> int:
    options, operands = _options("mv", arguments, "fn")

    def move(pair: tuple[str, str]) -> None:
        source, target = shell.path(pair[0]), shell.path(pair[1])
        node = shell.tree.need(source, follow=False)
        old = shell.tree.locate(target, follow=False)[1]
        if old is not None and "n" in options:
            return
        is_folder = node.kind == FOLDER
        if _is_same(shell, source, node, old) or (
            is_folder and shell.tree.is_below(target, source)
        ):
            raise OSError(target)
        if _is_slashed_link(shell, source) or (target.endswith("/") and not is_folder):
            raise NotADirectoryError(source)
        if old is not None and ((old.kind == FOLDER) != is_folder or old.entries):
            raise OSError(target)
        if is_folder and _is_in(shell, source, node):
            raise UnknownShell("the interpreter does not know a move of the folder that one is in")
        shell.tree.put(target.rstrip("/"), node)
        shell.tree.remove(source)

    return _for_each(_targets(shell, operands), move)


def _link(shell: Shell, arguments: list[str]) -> int:
    options, operands = _options("ln", arguments, "sfn")
    if "s" not in options or len(operands) != 2:
        raise UnknownShell("the interpreter knows 'ln' only as ln -s TARGET NAME")
    target, name = operands
    old = shell.tree.get(shell.path(name), follow=False)
    is_kept = "n" in options and old is not None and old.kind == LINK
    if shell.tree.is_folder(shell.path(name)) and not is_kept:
        name = f"{name}/{posixpath.basename(target)}"
        old = shell.tree.get(shell.path(name), follow=False)
    if old is not None and ("f" not in options or old.kind == FOLDER):
        return 1
    if old is not None and shell.tree.get(shell.path(target)) is old:
        return 1
    shell.tree.put(shell.path(name), Node(LINK, 0o777, target))
    return 0


def _new_mode(mode: int, text: str, is_folder: bool) -> int:
    """Returns a mode changed as `chmod` says, such as 600 or u+x,go-w."""
    if re.fullmatch("[0-7]{3,4}", text):
        return int(text, 8)
    for clause in text.split(","):
        match = _CLAUSE.fullmatch(clause)
        if match is None:
            raise UnknownShell(f"the interpreter does not know the mode {text!r} of 'chmod'")
        who, operator, letters = match.groups()
        bits = sum({"r": 4, "w": 2, "x": 1}[c] for c in set(letters) - {"X"})
        if "X" in letters and (is_folder or mode & 0o111):
            bits |= 1
        classes = "ugo" if not who or "a" in who else who
        given = sum(bits << {"u": 6, "g": 3, "o": 0}[c] for c in set(classes))
        reach = sum(7 << {"u": 6, "g": 3, "o": 0}[c] for c in set(classes))
        if not who:
            given &= ~_UMASK
        if operator == "=":
            mode = (mode & ~reach) | given
        else:
            mode = mode | given if operator == "+" else mode & ~given
    return mode


def _change_mode(shell: Shell, arguments: list[str]) -> int:
    # a mode such as -w looks like an option; everyday scripts write it with a letter before
    options, operands = _options("chmod", arguments, "R")
    text, *names = operands
    _new_mode(0, text, False)

    def change(node: Node) -> None:
        node.mode = _new_mode(node.mode, text, node.kind == FOLDER)
        if "R" in options:
            for child in node.entries.values():
                if child.kind != LINK:
                    change(child)

    return _for_each(names, lambda name: change(shell.tree.need(shell.path(name))))


def _texts(shell: Shell, names: list[str]) -> tuple[list[str], int]:
    """Returns the texts of files, standard input where none is named, and 1 if one failed."""
    texts = []

    def read(name: str) -> None:
        texts.append(shell.stdin.rest() if name == "-" else shell.tree.read(shell.path(name)))

    status = _for_each(names or ["-"], read)
    return texts, status


def _cat(shell: Shell, arguments: list[str]) -> int:
    _, names = _options("cat", arguments, "")

    def show(name: str) -> None:
        file = shell.stdin.file if name == "-" else shell.tree.need(shell.path(name))
        if file is not None and file.content and _is_written(shell, file):
            raise FileExistsError(name)
        shell.out(shell.stdin.rest() if name == "-" else shell.tree.read(shell.path(name)))

    return _for_each(names or ["-"], show)


def _is_written(shell: Shell, file: Node) -> bool:
    """Tells whether standard output goes to a file."""
    return isinstance(shell.out, Output) and shell.out.file is file


def _echo(shell: Shell, arguments: list[str]) -> int:
    end = "\n"
    while arguments and arguments[0] == "-n":
        end, arguments = "", arguments[1:]
    if arguments and re.fullmatch("-[neE]+", arguments[0]):
        raise UnknownShell(f"the interpreter does not know this of 'echo': {arguments[0]}")
    shell.out(" ".join(arguments) + end)
    return 0


def _print_format(shell: Shell, arguments: list[str]) -> int:
    form, *values = arguments
    pieces = re.fullmatch(r"(?:[^%\\]|%s|\\n)*", form)
    if pieces is None:
        raise UnknownShell(f"the interpreter knows %s and \\n of 'printf'; got {form!r}")
    form = form.replace("\\n", "\n")
    n = form.count("%s")
    for start in range(0, max(1, len(values)), n) if n else (0,):
        chunk = (*values[start : start + n], *[""] * n)
        shell.out("".join(a + b for a, b in zip(form.split("%s"), (*chunk[:n], ""), strict=True)))
    return 0


def _list(shell: Shell, arguments: list[str]) -> int:
    options, operands = _options("ls", arguments, "1adA")
    operands = operands or ["."]
    plain: list[str] = []
    folders: list[str] = []

    def sort_out(name: str) -> None:
        shell.tree.need(shell.path(name), follow=False)
        node = shell.tree.locate(shell.path(name), follow="d" not in options)[1]
        is_folder = node is not None and node.kind == FOLDER and "d" not in options
        (folders if is_folder else plain).append(name)

    status = _for_each(operands, sort_out)
    blocks = ["".join(f"{name}\n" for name in sorted(plain))] if plain else []
    for name in sorted(folders):
        inside = shell.tree.names(shell.path(name))
        shown = [each for each in inside if options.keys() & set("aA") or each[0] != "."]
        if "a" in options:
            shown = [".", "..", *shown]
        head = f"{name}:\n" if len(operands) > 1 else ""
        blocks.append(head + "".join(f"{each}\n" for each in shown))
    shell.out("\n".join(blocks))
    return 2 if status else 0


def _lines(shell: Shell, command: str, arguments: list[str], known: str) -> tuple[dict, list, int]:
    """Returns the options, the lines of all files named, and 1 if one file failed."""
    options, names = _options(command, arguments, known)
    texts, status = _texts(shell, names)
    return options, [line for text in texts for line in text.splitlines()], status


def _print_lines(shell: Shell, lines: Iterable[str]) -> None:
    shell.out("".join(f"{line}\n" for line in lines))


def _sort(shell: Shell, arguments: list[str]) -> int:
    options, lines, status = _lines(shell, "sort", arguments, "ru")
    lines = sorted(set(lines) if "u" in options else lines, reverse="r" in options)
    if not status:
        _print_lines(shell, lines)
    return 2 if status else 0


def _unique(shell: Shell, arguments: list[str]) -> int:
    _, lines, status = _lines(shell, "uniq", arguments, "")
    _print_lines(shell, [x for i, x in enumerate(lines) if i == 0 or x != lines[i - 1]])
    return status


def _part(shell: Shell, command: str, arguments: list[str]) -> int:
    """Prints the first or the last lines of each file, under its name where there are several."""
    options, names = _options(command, arguments, "n:")
    n = int(options.get("n", 10))
    n_shown = 0

    def show(name: str) -> None:
        nonlocal n_shown
        if name != "-":
            shell.tree.need(shell.path(name))
        if len(names) > 1:  # the head of a folder, too, is printed before its reading fails
            shell.out(f"{chr(10) if n_shown else ''}==> {name} <==\n")
        n_shown += 1
        text = shell.stdin.rest() if name == "-" else shell.tree.read(shell.path(name))
        lines = text.splitlines(keepends=True)
        shell.out("".join(lines[:n] if command == "head" else lines[max(0, len(lines) - n) :]))

    return _for_each(names or ["-"], show)


def _head(shell: Shell, arguments: list[str]) -> int:
    return _part(shell, "head", arguments)


def _tail(shell: Shell, arguments: list[str]) -> int:
    return _part(shell, "tail", arguments)


def _count(shell: Shell, arguments: list[str]) -> int:
    options, names = _options("wc", arguments, "l")
    if "l" not in options or len(names) > 1:
        raise UnknownShell("the interpreter knows 'wc' only as wc -l of one file")
    texts, status = _texts(shell, names)
    for text in texts:
        n_lines = text.count("\n")
        shell.out(f"{n_lines} {names[0]}\n" if names else f"{n_lines}\n")
    return status


def _grep(shell: Shell, arguments: list[str]) -> int:
    options, operands = _options("grep", arguments, "qvciF")
    word, *names = operands
    if not re.fullmatch(r"[\w /:=-]+", word):
        raise UnknownShell(f"the interpreter knows 'grep' only of a plain word; got {word!r}")
    flags = re.IGNORECASE if "i" in options else 0
    n_found = 0

    def search(name: str) -> None:
        nonlocal n_found
        if "c" in options and name != "-" and shell.tree.is_folder(shell.path(name)):
            shell.out(f"{name}:0\n" if len(names) > 1 else "0\n")
        file = shell.stdin.file if name == "-" else shell.tree.need(shell.path(name))
        if file is not None and file.content and "q" not in options and _is_written(shell, file):
            raise FileExistsError(name)
        text = shell.stdin.rest() if name == "-" else shell.tree.read(shell.path(name))
        found = [
            line
            for line in text.splitlines()
            if bool(re.search(re.escape(word), line, flags)) != ("v" in options)
        ]
        n_found += len(found)
        before = f"{name}:" if len(names) > 1 else ""
        if "c" in options:
            shell.out(f"{before}{len(found)}\n")
        elif "q" not in options:
            _print_lines(shell, [f"{before}{line}" for line in found])

    status = _for_each(names or ["-"], search)
    return 2 if status else int(not n_found)


def _tee(shell: Shell, arguments: list[str]) -> int:
    options, names = _options("tee", arguments, "a")
    files: list[Node] = []

    def open_file(name: str) -> None:
        files.append(shell.tree.open(shell.path(name), append="a" in options))

    status = _for_each([name for name in names if name != "/dev/null"], open_file)
    if any(file is shell.stdin.file and file.content for file in files):
        raise UnknownShell("the interpreter does not know 'tee' of a file onto its own end")
    text = shell.stdin.rest()
    shell.out(text)
    for file in files:
        file.content += text
    return status


def _for_words(shell: Shell, arguments: list[str]) -> int:
    try:
        pairs, command = getopt.getopt(arguments, "0r")
    except getopt.GetoptError as error:
        raise UnknownShell(f"the interpreter does not know this of 'xargs': {error}") from None
    letters = {letter for letter, _ in pairs}
    text = shell.stdin.rest()
    if "-0" in letters:
        words = [word for word in text.split("\0") if word]
    elif set(text) & set("'\"\\"):
        raise UnknownShell("the interpreter does not know quotes in what 'xargs' reads")
    else:
        words = text.split()
    if not words and "-r" in letters:
        return 0
    return 123 if shell.call([*(command or ["echo"]), *words], Input("")) else 0


def _base_name(shell: Shell, arguments: list[str]) -> int:
    name, *suffix = arguments
    base = posixpath.basename(name.rstrip("/"))
    end = "".join(suffix)
    shell.out((base.removesuffix(end) if end and base != end else base) + "\n")
    return 0


def _folder_name(shell: Shell, arguments: list[str]) -> int:
    shell.out((posixpath.dirname(arguments[0].rstrip("/")) or ".") + "\n")
    return 0


def _working_folder(shell: Shell, arguments: list[str]) -> int:
    shell.out(f"{shell.folder}\n")
    return 0


def _change_folder(shell: Shell, arguments: list[str]) -> int:
    _, operands = _options("cd", arguments, "")
    name = operands[0] if operands else shell.home
    if name == "-":
        name = shell.value("OLDPWD") or ""
        shell.change_folder(name)
        shell.out(f"{shell.folder}\n")
        return 0
    shell.change_folder(name or ".")
    return 0


def _set(shell: Shell, arguments: list[str]) -> int:
    for argument in arguments:
        if not re.fullmatch("[-+][eu]+", argument):
            raise UnknownShell(f"the interpreter knows -e and -u of 'set'; got {argument!r}")
        change = shell.options.update if argument[0] == "-" else shell.options.difference_update
        change(argument[1:])
    return 0


def _export(shell: Shell, arguments: list[str]) -> int:
    for argument in arguments:
        name, is_given, value = argument.partition("=")
        if is_given:
            shell.variables[name] = value
    return 0


def _unset(shell: Shell, arguments: list[str]) -> int:
    for name in arguments:
        shell.variables.pop(name, None)
    return 0


def _read(shell: Shell, arguments: list[str]) -> int:
    options, names = _options("read", arguments, "r")
    if "r" not in options or len(names) != 1:
        raise UnknownShell("the interpreter knows 'read' only as read -r NAME")
    line = shell.stdin.line()
    shell.variables[names[0]] = (line or "").strip(" \t")
    return 1 if line is None else 0


def _exit(shell: Shell, arguments: list[str]) -> int:
    raise Exit(int(arguments[0]) if arguments else shell.status)


def _bracket(shell: Shell, arguments: list[str]) -> int:
    if arguments[-1:] != ["]"]:
        return 2
    return _test(shell, arguments[:-1])


def _test(shell: Shell, arguments: list[str]) -> int:
    if arguments[:1] == ["!"]:
        return int(not _test(shell, arguments[1:]))
    if len(arguments) <= 1:
        return int(not (arguments and arguments[0]))
    if len(arguments) == 3 and arguments[1] in ("=", "!="):
        return int((arguments[0] == arguments[2]) != (arguments[1] == "="))
    if len(arguments) != 2 or arguments[0] not in ("-n", "-z", "-e", "-f", "-d", "-L", "-s"):
        raise UnknownShell(f"the interpreter does not know the test {' '.join(arguments)!r}")
    question, text = arguments
    if question in ("-n", "-z"):
        return int((question == "-n") != bool(text))
    node = shell.tree.get(shell.path(text), follow=question != "-L") if text else None
    if node is None:
        return 1
    if question == "-s":
        return int(not (node.content or node.kind == FOLDER))
    kind = {"-f": FILE, "-d": FOLDER, "-L": LINK}.get(question, node.kind)
    return int(node.kind != kind)


def _pack(shell: Shell, arguments: list[str]) -> int:
    if arguments and arguments[0][0] != "-":
        arguments = [f"-{arguments[0]}", *arguments[1:]]
    options, names = _options("tar", arguments, "czxf:C:h")
    base = shell.path(options.get("C", "."))
    archive = shell.path(options.get("f", ""))
    shell.tree.need(base)
    if "x" in options:
        node = shell.tree.need(archive)
        for name, member in node.members:
            target = f"{base}/{name}"
            shell.tree.make_folders(posixpath.dirname(target))
            if member.kind != FOLDER:
                shell.tree.put(target, member.copy())
            elif not shell.tree.is_folder(target):
                shell.tree.put(target, new_folder(member.mode))
        return 0
    if not names:
        return 2
    packed: list[tuple[str, Node]] = []
    old = shell.tree.get(archive)

    def add(name: str) -> None:
        path = f"{base}/{name}" if name[0] != "/" else name
        node = shell.tree.need(path, "h" in options)
        if node is old:  # a new archive is none of what it packs, as it is put there at the end
            raise UnknownShell("the interpreter does not know an archive that packs itself")
        kept = posixpath.normpath(re.sub(r"^(.*/)?\.\.(/|$)|^/", "", name) or ".")
        packed.append((kept, Node(node.kind, node.mode, node.content, members=node.members)))
        for child in sorted(node.entries):
            add(f"{name.rstrip('/')}/{child}")

    status = _for_each(names, add)
    node = shell.tree.open(archive)
    node.members = tuple(packed)
    node.content = "".join(member.content for _, member in packed)
    return 2 if status else 0


def _compress(shell: Shell, arguments: list[str]) -> int:
    options, names = _options("gzip", arguments, "fk")

    def compress(name: str) -> None:
        path = shell.path(name)
        node = shell.tree.need(path, follow=False)
        if node.kind != FILE or name.endswith(".gz"):
            raise OSError(name)
        if shell.tree.get(f"{path}.gz", follow=False) is not None and "f" not in options:
            raise FileExistsError(name)
        shell.tree.put(f"{path}.gz", Node(FILE, node.mode, node.content, {}, node.members))
        if "k" not in options:
            shell.tree.remove(path)

    return _for_each(names, compress)


def _transfer(shell: Shell, arguments: list[str]) -> int:
    options, operands = _options("curl", arguments, "fsSLo:T:d:F:")
    if len(operands) != 1:
        raise UnknownShell("the interpreter knows 'curl' of one address")
    address = operands[0]
    sent = []
    if "T" in options:
        sent.append(shell.tree.read(shell.path(options["T"])))
    for letter in ("d", "F"):
        text = options.get(letter, "")
        before, at, name = text.partition("@")
        sent.append(before + shell.tree.read(shell.path(name)) if at else text)
    if options.keys() & set("TdF"):
        shell.sent.append((address, "\n".join(sent)))
        return 0
    text = f"from {address}\n"
    if "o" in options:
        shell.tree.open(shell.path(options["o"])).content = text
    else:
        shell.out(text)
    return 0


def _secure_copy(shell: Shell, arguments: list[str]) -> int:
    options, operands = _options("scp", arguments, "rq")
    *sources, target = operands
    if ":" not in target:
        if any(":" not in source for source in sources):
            raise UnknownShell("the interpreter knows 'scp' only from or to another host")
        for source in sources:
            name = posixpath.basename(source)
            place = f"{target}/{name}" if shell.tree.is_folder(shell.path(target)) else target
            shell.tree.open(shell.path(place)).content = f"from {source}\n"
        return 0

    def send(name: str) -> None:
        node = shell.tree.need(shell.path(name))
        if node.kind == FOLDER and "r" not in options:
            raise IsADirectoryError(name)
        shell.sent.append((target, node.content))
        for child in sorted(node.entries):
            send(f"{name}/{child}")

    return _for_each(sources, send)


def _succeed(shell: Shell, arguments: list[str]) -> int:
    return 0


def _fail(shell: Shell, arguments: list[str]) -> int:
    return 1


COMMANDS: dict[str, Callable[[Shell, list[str]], int]] = {
    ":": _succeed,
    "[": _bracket,
    "basename": _base_name,
    "cat": _cat,
    "cd": _change_folder,
    "chmod": _change_mode,
    "cp": _copy,
    "curl": _transfer,
    "dirname": _folder_name,
    "echo": _echo,
    "exit": _exit,
    "export": _export,
    "false": _fail,
    "find": find,
    "grep": _grep,
    "gzip": _compress,
    "head": _head,
    "ln": _link,
    "ls": _list,
    "mkdir": _make_folder,
    "mv": _move,
    "printf": _print_format,
    "pwd": _working_folder,
    "read": _read,
    "rm": _remove,
    "rmdir": _remove_folder,
    "scp": _secure_copy,
    "set": _set,
    "sort": _sort,
    "tail": _tail,
    "tar": _pack,
    "tee": _tee,
    "test": _test,
    "touch": _touch,
    "true": _succeed,
    "uniq": _unique,
    "unset": _unset,
    "wc": _count,
    "xargs": _for_words,
}
