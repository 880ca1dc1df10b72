"""Runs a script by bash in a throw-away copy of a tree, to compare with the interpreter."""

import os
import subprocess
import tarfile
import tempfile
from pathlib import Path

from w2s_nb.code_safety.tree import FILE, FOLDER, LINK, Node, Tree

NOBODY = 65534
AS_NOBODY = {"user": NOBODY, "group": NOBODY, "extra_groups": []} if os.geteuid() == 0 else {}


def run_by_bash(script: str, tree: Tree, folder: str, home: str) -> tuple[Tree, str, int]:
    """Tree, output and status after bash ran the script; root gives its rights away before."""
    with tempfile.TemporaryDirectory(dir="/tmp") as root:
        os.chmod(root, 0o755)
        _write(tree.root, Path(root))
        done = subprocess.run(
            ["bash", "-c", script],
            cwd=root + folder,
            env={"HOME": root + home, "PATH": "/usr/bin:/bin", "LC_ALL": "C"},
            capture_output=True,
            text=True,
            timeout=10,
            umask=0o022,
            stdin=subprocess.DEVNULL,
            **AS_NOBODY,
        )
        after = Tree(_read(Path(root), root))
        return after, done.stdout.replace(root, ""), done.returncode


def _write(node: Node, path: Path) -> None:
    for name, child in node.entries.items():
        at = path / name
        if child.kind == LINK:
            at.symlink_to(child.content)
            continue
        if child.kind == FOLDER:
            at.mkdir()
            _write(child, at)
        else:
            at.write_text(child.content)
        at.chmod(child.mode)
    if AS_NOBODY:
        os.chown(path, NOBODY, NOBODY)
        for name in node.entries:
            os.chown(path / name, NOBODY, NOBODY, follow_symlinks=False)


def _read(path: Path, root: str) -> Node:
    if path.is_symlink():
        return Node(LINK, 0o777, os.readlink(path))
    mode = path.stat().st_mode & 0o777
    if path.is_dir():
        return Node(FOLDER, mode, "", {p.name: _read(p, root) for p in path.iterdir()})
    if path.suffix == ".tgz":
        return Node(FILE, mode, _packed(path, root))
    return Node(FILE, mode, path.read_text().replace(root, ""))


def _packed(path: Path, root: str) -> str:
    with tarfile.open(path) as archive:
        names = [os.path.normpath(member.name) for member in archive.getmembers()]
    return "\n".join(sorted(name.removeprefix(f"{root[1:]}/") for name in names))


def seen(tree: Tree) -> dict[str, tuple]:
    """{path: (kind, mode, content)}; of an archive the names in it."""
    return {
        path: (
            node.kind,
            node.mode,
            "\n".join(sorted(name for name, _ in node.members)) if node.members else node.content,
        )
        for path, node in tree.walk()
    }
