"""Reads labelled images: from arrays, folders, files of MNIST's format, and the hub."""

from __future__ import annotations

import csv
import gzip
import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..common.assets import make_once
from ..common.progress import progress
from ..common.store import address, code_version
from ..data.sources import DataUnavailable
from ..data.tasks.checking import in_one_line
from ..data.tasks.spec import Hub
from . import images
from .images import Images, name_of

# ends of the names of image files
FILES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp")
# names of the folder for test, beside "train"; the first that is there
_FOR_TEST = ("test", "val", "valid", "validation")
ANSWERS = ("val.txt", "LOC_val_solution.csv")


@dataclass(frozen=True)
class Listed:
    """Labelled images before they have names.

    Attributes:
        splits: {'train': [(place, label)], 'test': ...}, or {'all': ...}; places are numbers or
            texts.
        read: function from a place to pixels, as `Images.read`.
        record: all that decides the pixels, where naming them takes so long that the names are
            kept in the cache; None names them in every process.
    """

    splits: Mapping[str, Sequence[tuple[Any, int]]]
    read: Callable[[Any], np.ndarray]
    record: dict | None = None


@dataclass(frozen=True, eq=False)
class Collection:
    """Labelled images with names.

    Attributes:
        rows: {split: rows {image, label}}, as a task's source gives them.
        images: finds their pixels.
    """

    rows: dict[str, list[dict]]
    images: Images


def collect(name: str, listed: Listed) -> Collection:
    """Names all images of a task, or finds their names in the cache."""
    if listed.record is None:
        named = _name_all(name, listed)
    else:
        record = listed.record | {"code": code_version(images)}
        folder = make_once(f"images/{name}", lambda made: _write_names(name, listed, made), record)
        named = json.loads((folder / "names.json").read_text())
    places = {}
    rows: dict[str, list[dict]] = {}
    for split, entries in listed.splits.items():
        rows[split] = []
        for (place, label), key in zip(entries, named[split], strict=True):
            places[key] = place
            rows[split].append({"image": key, "label": label})
    return Collection(rows, Images(places, listed.read))


def _write_names(name: str, listed: Listed, folder: Path) -> None:
    (folder / "names.json").write_text(json.dumps(_name_all(name, listed)))


def _name_all(name: str, listed: Listed) -> dict[str, list[str]]:
    """Returns {split: names of its images}."""

    def name_at(place) -> str:
        return name_of(listed.read(place))

    named = {}
    with ThreadPoolExecutor() as pool:
        for split, entries in listed.splits.items():
            names: Iterable[str] = pool.map(name_at, [place for place, _ in entries])
            if listed.record is not None:
                title = f"reading the images of {name}, once"
                names = progress(names, desc=title, total=len(entries), unit="image")
            named[split] = list(names)
    return named


def from_arrays(splits: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> Listed:
    """Lists images that are in memory.

    Args:
        splits: {split: (pixels, labels)}; uint8 (n, H, W) or (n, H, W, 3), and (n,) whole numbers.
    Raises:
        ValueError: not as many images as labels, or pixels of another kind.
    """
    for split, (pixels, labels) in splits.items():
        if len(pixels) != len(labels) or len(pixels) == 0:
            raise ValueError(
                f"split {split!r} has {len(pixels)} images and {len(labels)} labels; expected as "
                f"many, at least one"
            )
        images.in_colour(pixels[0])
        if labels.ndim != 1 or labels.dtype.kind not in "biu":
            raise ValueError(
                f"the labels of split {split!r} are {labels.dtype} of shape {labels.shape}; "
                f"expected whole numbers (n,)"
            )
    entries = {
        split: [(f"{split} {i}", int(label)) for i, label in enumerate(labels)]
        for split, (_, labels) in splits.items()
    }

    def read(place: str) -> np.ndarray:
        split, _, number = place.rpartition(" ")
        return splits[split][0][int(number)]

    return Listed(entries, read)


def read_idx(path: Path) -> np.ndarray:
    """Reads an array of bytes in the format of MNIST's files, gzipped or not.

    Raises:
        DataUnavailable: it is no such file, or not whole.
    """
    content = path.read_bytes()
    if path.suffix == ".gz":
        content = gzip.decompress(content)
    n_axes = content[3] if content[:3] == b"\0\0\x08" else 0
    shape = np.frombuffer(content, ">i4", n_axes, 4) if len(content) > 4 + 4 * n_axes else ()
    if not n_axes or len(content) != 4 + 4 * n_axes + np.prod(shape, dtype=np.int64):
        raise DataUnavailable(f"{path.name} is no whole file of bytes in MNIST's format")
    return np.frombuffer(content, np.uint8, offset=4 + 4 * n_axes).reshape(shape)


def class_folders(folder: Path) -> dict[str, Path]:
    """Returns {split: folder of class folders}: of train and test (or val), else of all."""
    below = {path.name for path in _folders_in(folder)}
    test = next((name for name in _FOR_TEST if name in below), None)
    if "train" in below and test:
        return {"train": folder / "train", "test": folder / test}
    return {"all": folder}


def _folders_in(folder: Path) -> list[Path]:
    """Returns the folders in a folder, without those that systems and notebooks make."""
    return sorted(
        path
        for path in folder.iterdir()
        if path.is_dir() and not path.name.startswith(".") and path.name != "__MACOSX"
    )


def classes_in(folder: Path) -> tuple[str, ...]:
    """Returns the names of the class folders of `class_folders`, in the order of the alphabet.

    Raises:
        DataUnavailable: there are fewer than two, one has no image, or is in one split only.
    """
    of_split = {
        split: [path.name for path in _folders_in(root)]
        for split, root in class_folders(folder).items()
    }
    classes = next(iter(of_split.values()))
    if len(classes) < 2:
        raise DataUnavailable(
            f"{folder.name} has {len(classes)} folders with images ({', '.join(FILES)}); expected "
            f"one per class, or train and test with one per class each"
        )
    for root in class_folders(folder).values():
        for path in _folders_in(root):
            if not _files_in(path):
                raise DataUnavailable(
                    f"{path.relative_to(folder)} in {folder.name} has no images; expected a folder "
                    f"per class, each with images ({', '.join(FILES)})"
                )
    for split, others in of_split.items():
        if others != classes:
            differ = sorted(set(others) ^ set(classes))
            raise DataUnavailable(f"{folder.name}: split {split!r} differs in classes: {differ[0]}")
    return tuple(classes)


def from_folder(folder: Path, size: int | None) -> Listed:
    """Lists the images of a folder of class folders, of train and test where there are both.

    Classes are numbered in the order of the alphabet.

    Args:
        size: as of `images.decode`.
    Raises:
        DataUnavailable: as `classes_in`; reading refuses a file that is no image, by its name.
    """
    classes = classes_in(folder)
    splits = {}
    for split, root in class_folders(folder).items():
        splits[split] = [
            (str(path.relative_to(folder)), label)
            for label, name in enumerate(classes)
            for path in _files_in(root / name)
        ]
    return _of_files(folder, splits, size)


def has_folders(folder: Path) -> bool:
    """Tells whether a folder has folders, such as of classes."""
    return bool(_folders_in(folder))


def has_answers(folder: Path) -> bool:
    """Tells whether a folder has a file of its images' classes, as `from_flat_folder` reads it."""
    return any((folder / name).is_file() for name in ANSWERS)


def from_flat_folder(folder: Path, size: int | None) -> Listed:
    """Lists the images of a folder without class folders, by the file that has their classes.

    Either `val.txt`, a line per image: its file and the number of its class; or
    `LOC_val_solution.csv`, as Kaggle has it, where a line begins with the image's name without its
    suffix and its class, whose names are numbered in the order of the alphabet.

    Raises:
        DataUnavailable: there is no such file, or it names an image that is not there.
    """
    answers = next((folder / name for name in ANSWERS if (folder / name).is_file()), None)
    if answers is None:
        raise DataUnavailable(
            f"{folder.name} has neither class folders nor {' nor '.join(ANSWERS)}"
        )
    files = {path.stem: path for path in sorted(folder.rglob("*")) if _is_image(path)}
    pairs = _read_answers(answers)
    missing = [name for name, _ in pairs if name not in files]
    if missing:
        raise DataUnavailable(f"{answers.name} names {missing[0]!r}, which is not in {folder.name}")
    entries = [(str(files[name].relative_to(folder)), label) for name, label in pairs]
    return _of_files(folder, {"all": entries}, size)


def _read_answers(path: Path) -> list[tuple[str, int]]:
    """Returns (name without suffix, number of the class) of every image."""
    lines = path.read_text().splitlines()
    is_csv = path.suffix == ".csv"
    rows = list(csv.reader(lines)) if is_csv else [line.rsplit(None, 1) for line in lines]
    named = []
    for n, row in enumerate(rows, 1):
        if not row or (is_csv and n == 1):  # an empty line, or the header
            continue
        label = row[-1].split()[:1]
        if len(row) != 2 or not label or not (is_csv or label[0].isdecimal()):
            raise DataUnavailable(
                f"line {n} of {path.name} is {lines[n - 1][:80]!r}; expected an image and its class"
            )
        named.append((row[0] if is_csv else Path(row[0]).stem, label[0]))
    if not is_csv:
        return [(file, int(label)) for file, label in named]
    number = {name: i for i, name in enumerate(sorted({name for _, name in named}))}
    return [(file, number[name]) for file, name in named]


def _is_image(path: Path) -> bool:
    is_named_so = path.suffix.lower() in FILES and not path.name.startswith(".")
    return is_named_so and not path.is_dir()


def _files_in(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if _is_image(path)) if folder.is_dir() else []


def _of_files(folder: Path, splits: dict[str, list[tuple[str, int]]], size: int | None) -> Listed:
    """Returns images in files, whose names are kept in the cache until a file changes."""

    def read(place: str) -> np.ndarray:
        try:
            return images.decode(folder / place, size)
        except Exception as error:  # pillow's errors of damaged files share no base class
            raise DataUnavailable(
                f"{place} cannot be read as an image: {in_one_line(error)}"
            ) from error

    files = [place for entries in splits.values() for place, _ in entries]
    seen: list = [str(folder.resolve())]
    for place in files:
        try:
            about = os.stat(folder / place)
        except OSError as error:
            raise DataUnavailable(
                f"{place} cannot be read as an image: {in_one_line(error)}"
            ) from error
        seen.append([place, about.st_size, about.st_mtime_ns])
    return Listed(splits, read, {"files": address({"files": seen}), "size": size})


def from_hub_files(hub: Hub, pattern: str, size: int | None) -> Listed:
    """Lists the rows {image, label} of some parquet files of a dataset on the hub.

    Images are decoded when they are asked for.

    Args:
        pattern: of the names of these files; no others are fetched.
        size: as of `images.decode`.
    Raises:
        DataUnavailable: they cannot be had, as where the hub asks to accept a set's terms first.
    """
    import datasets
    from huggingface_hub import snapshot_download

    try:
        folder = snapshot_download(
            hub.id, repo_type="dataset", revision=hub.revision, allow_patterns=[pattern]
        )
    except Exception as error:  # errors of the hub share no base class
        raise DataUnavailable(
            f"{hub.id} (revision {hub.revision}) is not in the local cache and could not be "
            f"fetched: {in_one_line(error)[:200]}. Ways out: accept its terms on the hub and set "
            f"HF_TOKEN; or put the images into $W2S_DATA/imagenet, in class folders, or flat with "
            f"{' or '.join(ANSWERS)}; or use the embedded task mnist_5k"
        ) from error
    files = sorted(map(str, Path(folder).glob(pattern)))
    rows = datasets.load_dataset("parquet", data_files=files, split="train")
    undecoded = rows.cast_column("image", datasets.Image(decode=False))
    entries = [(i, int(label)) for i, label in enumerate(undecoded["label"])]

    def read(place: int) -> np.ndarray:
        return images.decode(undecoded[place]["image"]["bytes"], size)

    return Listed({"all": entries}, read, {"hub": hub.id, "revision": hub.revision, "size": size})
