"""Keeps a small file system in memory: folders, files with modes, symbolic links.

pyfakefs was tried: making a tree of a dozen files takes it 4 ms, longer than the scripts run here.
"""

from __future__ import annotations

import posixpath
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

FILE, FOLDER, LINK = "file", "folder", "link"
_MOST_LINKS = 20  # followed for one path before it counts as a circle


@dataclass
class Node:
    """One entry of the tree.

    Attributes:
        kind: FILE, FOLDER or LINK.
        mode: permission bits, such as 0o644.
        content: text of a file; target of a link; "" of a folder.
        entries: what a folder holds, by name.
        members: of an archive, (name, node) of what was packed; its content is theirs, joined.
    """

    kind: str
    mode: int
    content: str = ""
    entries: dict[str, Node] = field(default_factory=dict)
    members: tuple[tuple[str, Node], ...] = ()

    def copy(self) -> Node:
        """Returns an independent copy, of a folder with all below it."""
        entries = {name: node.copy() for name, node in self.entries.items()}
        return Node(self.kind, self.mode, self.content, entries, self.members)


def new_file(content: str = "", mode: int = 0o644) -> Node:
    """Returns a file."""
    return Node(FILE, mode, content)


def new_folder(mode: int = 0o755) -> Node:
    """Returns an empty folder."""
    return Node(FOLDER, mode)


class Tree:
    """A file system in memory. All paths are absolute; `..` and links are followed as Linux does.

    Methods raise the OSError that Linux would give.
    """

    def __init__(self, root: Node | None = None):
        self.root = root or new_folder()

    def copy(self) -> Tree:
        """Returns an independent copy."""
        return Tree(self.root.copy())

    def locate(self, path: str, follow: bool = True) -> tuple[str, Node | None]:
        """Returns the real path, without links, and what is there; None if nothing is.

        Args:
            follow: whether a link at the end is followed; one before a slash always is.
        Raises:
            FileNotFoundError, NotADirectoryError: what stands before the last name is missing, or
                is no folder; or a slash stands after something else.
            OSError: links in a circle.
        """
        queue = deque(_names(path))
        follow = follow or path.endswith(("/", "/."))
        names: list[str] = []
        nodes: list[Node | None] = [self.root]
        links = 0
        while queue:
            name = queue.popleft()
            here = nodes[-1]
            if here is None:
                raise FileNotFoundError(path)
            if here.kind != FOLDER:
                raise NotADirectoryError(path)
            if name == "..":
                del names[-1:], nodes[max(1, len(nodes) - 1) :]
                continue
            child = here.entries.get(name)
            if child is not None and child.kind == LINK and (queue or follow):
                links += 1
                if links > _MOST_LINKS:
                    raise OSError(f"too many links: {path}")
                if child.content.startswith("/"):
                    names, nodes = [], [self.root]
                queue.extendleft(reversed(_names(child.content)))
                continue
            names.append(name)
            nodes.append(child)
        if path.endswith(("/", "/.")) and nodes[-1] is not None and nodes[-1].kind != FOLDER:
            raise NotADirectoryError(path)
        return "/" + "/".join(names), nodes[-1]

    def get(self, path: str, follow: bool = True) -> Node | None:
        """Returns what is at a path; None if nothing is."""
        try:
            return self.locate(path, follow)[1]
        except OSError:
            return None

    def need(self, path: str, follow: bool = True) -> Node:
        """Returns what is at a path.

        Raises:
            FileNotFoundError: nothing is.
        """
        node = self.locate(path, follow)[1]
        if node is None:
            raise FileNotFoundError(path)
        return node

    def is_folder(self, path: str) -> bool:
        """Tells whether a folder is there, links followed."""
        node = self.get(path)
        return node is not None and node.kind == FOLDER

    def parent(self, path: str, follow: bool = False) -> tuple[Node, str]:
        """Returns the folder that holds the path's last name, and that name."""
        real, _ = self.locate(path, follow)
        folder, name = posixpath.split(real)
        node = self.need(folder)
        if node.kind != FOLDER:
            raise NotADirectoryError(path)
        return node, name

    def put(self, path: str, node: Node, follow: bool = False) -> None:
        """Puts a node at a path, in the place of what is there."""
        folder, name = self.parent(path, follow)
        if not name:
            raise FileExistsError(path)
        folder.entries[name] = node

    def remove(self, path: str) -> None:
        """Removes a file, a link or a folder with all below it; a link is not followed."""
        folder, name = self.parent(path)
        if name not in folder.entries:
            raise FileNotFoundError(path)
        del folder.entries[name]

    def open(self, path: str, append: bool = False) -> Node:
        """Returns the file to write to, made where none is, emptied unless `append`."""
        node = self.locate(path)[1]
        if path.endswith("/") or (node is not None and node.kind == FOLDER):
            raise IsADirectoryError(path)
        if node is None:
            node = new_file()
            self.put(path, node, follow=True)
        elif not append:
            node.content, node.members = "", ()
        return node

    def read(self, path: str) -> str:
        """Returns the text of a file."""
        node = self.need(path)
        if node.kind == FOLDER:
            raise IsADirectoryError(path)
        return node.content

    def make_folders(self, path: str) -> None:
        """Makes a folder and those above it where they are missing."""
        done = ""
        for name in [n for n in path.split("/") if n]:
            done += "/" + name
            node = self.get(done)
            if node is None:
                self.put(done, new_folder(), follow=True)
            elif node.kind != FOLDER:
                raise FileExistsError(done)

    def is_below(self, path: str, folder: str) -> bool:
        """Tells whether a path, which may not be there yet, lies in a folder, at any depth.

        A link at the end of `path` lies where it is, not where it leads.
        """
        real, above = self.locate(path, follow=False)[0], self.locate(folder)[0]
        return real != above and real.startswith(f"{above.rstrip('/')}/")

    def names(self, path: str) -> list[str]:
        """Returns the sorted names in a folder; none where there is no folder."""
        node = self.get(path)
        return sorted(node.entries) if node is not None and node.kind == FOLDER else []

    def walk(self) -> Iterator[tuple[str, Node]]:
        """Yields (real path, node) of everything below the root, folders before what they hold."""
        stack = [("", self.root)]
        while stack:
            path, node = stack.pop()
            if path:
                yield path, node
            stack += [(f"{path}/{name}", child) for name, child in node.entries.items()]


def _names(path: str) -> list[str]:
    """Returns the names of a path that mean a step."""
    return [name for name in path.split("/") if name not in ("", ".")]
