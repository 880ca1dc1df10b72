"""Registers tasks whose examples are images (appendix D.1).

Grey images are shown to an encoder in three channels that are alike.
"""

from __future__ import annotations

import functools
import hashlib
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import numpy as np

from ..common.assets import fetch
from ..common.paths import data_dir
from ..data.sources import DataUnavailable, rows_of
from ..data.tasks.spec import AS_IS, Example, Hub, Prompt, TaskSpec, register_task
from . import sources
from .images import Images
from .sources import Collection, Listed, collect

DIGITS = tuple(map(str, range(10)))
CLOTHES = "T-shirt, trousers, pullover, dress, coat, sandal, shirt, sneaker, bag, ankle boot"
THINGS = "airplane, automobile, bird, cat, deer, dog, frog, horse, ship, truck"
# where Debian's package dataset-fashion-mnist lays its files
DEBIAN = Path("/usr/share/datasets/fashion-mnist")
_IDX = {"train": "train", "test": "t10k"}  # splits in the names of MNIST's files
# the 70,000 images and labels of Fashion-MNIST, whoever gives them
_FASHION_MNIST = "becc3aa11cf42665a109eeb206051b24e4ce3d3bc52befeb891ee08cbd56cdf1"
_IMAGENET = Hub("ILSVRC/imagenet-1k", "49e2ee26f3810fb5a7536bbf732a7b07389a47b5")
_IMAGENET_FILES = "data/validation-*.parquet"
_CLASSES_OF_IMAGENET = 1000
_OF_IMAGENET_FOR_TEST = 0.2  # as in the paper: 10,000 of 50,000


def image(row: dict):
    """Takes the class of an image."""
    yield Example((row["image"],), row["label"])


def register_images(
    name: str, about: str, classes: tuple[str, ...], listed: Callable[[], Listed], **further
) -> None:
    """Registers a task of images, none of which is read before the task is loaded.

    Args:
        about: a question.
        listed: lists the labelled images.
        further: fields of `TaskSpec` and arguments of `register_task`, such as cpu_sizes.
    Raises:
        ValueError: as of `register_task`.
    """

    @functools.cache
    def collection() -> Collection:
        return collect(name, listed())

    def source() -> dict[str, list[dict]]:
        return collection().rows

    def images() -> Images:
        return collection().images

    prompt = Prompt("{0}\nClass:", classes, about)
    examples = further.pop("examples", image)
    register_task(
        name, source, max_len=1, prompt=prompt, classes=classes, images=images, **further
    )(examples)


def _mnist_5k() -> Listed:
    """Lists the first 500 images of each digit in MNIST's training set, (28, 28)."""
    table = np.loadtxt(fetch("mnist_5k.csv.gz"), delimiter=",", dtype=np.uint8)
    pixels = table[:, :-1].reshape(-1, 28, 28)
    return sources.from_arrays({"all": (pixels, table[:, -1])})


def _of_hub(name: str, hub: Hub, column: str = "image") -> Listed:
    """Lists the images of a small set in local files of `W2S_DATA/<name>`, or on the hub.

    Raises:
        DataUnavailable: as `rows_of`.
    """
    spec = TaskSpec(name, hub, image, 1, 1, "", Prompt("", ()), folders=(name,))
    splits = {}
    for split, rows in rows_of(spec).items():
        pixels, labels = zip(*((row[column], row["label"]) for row in rows), strict=True)
        splits[split] = (np.stack([np.asarray(each) for each in pixels]), np.array(labels))
    return sources.from_arrays(splits)


def _fashion_mnist() -> Listed:
    """Lists Fashion-MNIST of Debian's package where that is installed, else as `_of_hub`.

    Raises:
        DataUnavailable: it cannot be had; or these are other images or labels than the published.
    """
    if DEBIAN.is_dir():
        files = {
            split: [DEBIAN / f"{part}-{kind}-ubyte.gz" for kind in ("images-idx3", "labels-idx1")]
            for split, part in _IDX.items()
        }
        listed = sources.from_arrays(
            {split: tuple(map(sources.read_idx, paths)) for split, paths in files.items()}  # type: ignore[misc]
        )
    else:
        listed = _of_hub("fashion_mnist", Hub("zalando-datasets/fashion_mnist", None))
    if content_of(listed) != _FASHION_MNIST:
        raise DataUnavailable("fashion_mnist: these are not the 70,000 images that were published")
    return listed


def content_of(listed: Listed) -> str:
    """Returns the sha256 of all pixels and labels, in their order."""
    digest = hashlib.sha256()
    for split in sorted(listed.splits):
        for place, label in listed.splits[split]:
            digest.update(np.asarray(listed.read(place)).tobytes() + bytes([label]))
    return digest.hexdigest()


def _imagenet() -> Listed:
    """Lists the 50,000 validation images of ImageNet, cut to (224, 224, 3), and puts a fifth aside
    for test.

    They lie in `W2S_DATA/imagenet`, or its folder `val`: in class folders, or anywhere below a file
    of their classes (see `sources.from_flat_folder`); or they come from the hub, which asks to
    accept ImageNet's terms.

    Raises:
        DataUnavailable: they cannot be had here; says what to put where.
    """
    data = data_dir()
    candidates = [data / "imagenet" / "val", data / "imagenet"] if data else []
    folders = [path for path in candidates if path.is_dir()]
    if not folders:
        listed = sources.from_hub_files(_IMAGENET, _IMAGENET_FILES, size=224)
    elif flat := [path for path in folders if sources.has_answers(path)]:
        listed = sources.from_flat_folder(flat[0], size=224)
    elif sources.has_folders(folders[0]):
        listed = sources.from_folder(folders[0], size=224)
    else:
        listed = sources.from_flat_folder(folders[0], size=224)
    _need_all_classes(listed)
    return put_aside(listed, _OF_IMAGENET_FOR_TEST)


def _need_all_classes(listed: Listed) -> None:
    """Refuses images of fewer classes, or of classes that are numbered from 1."""
    labels = {label for entries in listed.splits.values() for _, label in entries}
    if labels != set(range(_CLASSES_OF_IMAGENET)):
        raise DataUnavailable(
            f"imagenet: {len(labels)} classes, {min(labels)} to {max(labels)}, are there; expected "
            f"0 to {_CLASSES_OF_IMAGENET - 1}, all of them, as encoders know them by these "
            f"numbers; a part of ImageNet is a task by w2s.vision.task_from_images"
        )


def put_aside(listed: Listed, share: float) -> Listed:
    """Returns the same images with a share of each class, drawn by hashes of places, as test."""
    members = defaultdict(list)
    for place, label in (entry for entries in listed.splits.values() for entry in entries):
        members[label].append((place, label))
    splits: dict[str, list] = {"train": [], "test": []}
    for label in sorted(members):
        of_class = sorted(members[label], key=lambda entry: _rank(entry[0]))
        n_test = round(share * len(of_class))
        splits["test"] += of_class[:n_test]
        splits["train"] += of_class[n_test:]
    return Listed(splits, listed.read, listed.record)


def _rank(place) -> str:
    return hashlib.sha256(str(place).encode()).hexdigest()


register_images(
    "mnist_5k",
    "Which digit is on the image?",
    DIGITS,
    _mnist_5k,
    cpu_sizes=(600, 200, 800),
    gpu_sizes=(1_500, 300, 1_000),
)
register_images(
    "mnist",
    "Which digit is on the image?",
    DIGITS,
    functools.partial(
        _of_hub, "mnist", Hub("ylecun/mnist", "77f3279092a1c1579b2250db8eafed0ad422088c")
    ),
    cpu_sizes=(600, 200, 800),
    gpu_sizes=(10_000, 1_000, 5_000),
    fetched=True,
)
register_images(
    "fashion_mnist",
    "Which kind of clothing is on the image?",
    tuple(CLOTHES.split(", ")),
    _fashion_mnist,
    cpu_sizes=(600, 200, 800),
    gpu_sizes=(10_000, 1_000, 5_000),
    fetched=True,
)
register_images(
    "cifar10",
    "What is on the image?",
    tuple(THINGS.split(", ")),
    functools.partial(
        _of_hub,
        "cifar10",
        Hub("uoft-cs/cifar10", "0b2714987fa478483af9968de7c934580d0bb9a2"),
        "img",
    ),
    cpu_sizes=(600, 200, 800),
    gpu_sizes=(10_000, 1_000, 5_000),
    fetched=True,
)
# its classes are numbered by their WordNet names in the order of the alphabet, as on the hub
register_images(
    "imagenet",
    "Which of ImageNet's classes is on the image?",
    tuple(map(str, range(_CLASSES_OF_IMAGENET))),
    _imagenet,
    balance=AS_IS,
    cpu_sizes=(600, 200, 800),
    gpu_sizes=(18_000, 2_000, 10_000),
    fetched=True,
)
