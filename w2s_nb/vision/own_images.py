"""Makes a task of images that somebody brings, in one line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from ..data.tasks.spec import EQUAL, Example, check_name
from . import sources
from .sources import Listed
from .tasks import register_images


def task_from_images(
    name: str,
    source,
    *,
    classes: Sequence[str] | None = None,
    size: int | None = 224,
    about: str = "What is on the image?",
    balance: str = EQUAL,
) -> str:
    """Registers labelled images as a task.

    Args:
        name: of the task.
        source: a folder with a folder of image files per class, or with two such folders, `train`
            and `test` (without it `val`); or images in memory, (pixels, labels), with pixels uint8
            (n, H, W) or (n, H, W, 3) and labels (n,) in 0..K-1, of which each occurs; or
            {"train": ..., "test": ...} of these. Without a split "test" a quarter is for test.
        classes: names of the K classes; None takes the names of the folders, or numbers.
        size: of images in files, which are cut to squares of so many pixels; None takes them as
            they are, all of one shape.
        about: a question.
        balance: "equal" or "as is", as of `register_task`.
    Returns:
        The task's name, for `load_task`, `run_arms` and every notebook.
    Raises:
        DataUnavailable: a folder without class folders, or with one that has no images.
        FileNotFoundError: there is no such folder.
        ValueError: other arrays; not as many classes as there are; a name of the kit's own; a size
            that is none.
    """

    def examples(row):
        yield Example((row["image"],), row["label"])

    check_name(name, examples)
    if size is not None and (not isinstance(size, int) or size < 1):
        raise ValueError(f"size = {size!r}; expected pixels of a side, such as 224, or None")
    if isinstance(source, str | Path):
        folder = Path(source).expanduser()
        if not folder.is_dir():
            raise FileNotFoundError(f"{folder} is no folder; expected one with a folder per class")
        found = sources.classes_in(folder)

        def listed() -> Listed:
            return sources.from_folder(folder, size)
    else:
        in_memory = _listed_arrays(source)
        labels = {label for entries in in_memory.splits.values() for _, label in entries}
        if labels != set(range(len(labels))):
            missing = min(set(range(len(labels))) - labels)
            raise ValueError(
                f"the labels go from {min(labels)} to {max(labels)}, and none is {missing}; "
                f"expected each of 0..K-1"
            )
        found = tuple(map(str, range(len(labels))))

        def listed() -> Listed:
            return in_memory

    named = found if classes is None else tuple(classes)
    if len(named) != len(found):
        raise ValueError(f"{len(named)} classes are named; the images have {len(found)}")
    register_images(name, about, named, listed, examples=examples, balance=balance)
    return name


def _listed_arrays(source) -> Listed:
    """Lists images in memory, as `task_from_images` takes them."""
    splits = source if isinstance(source, Mapping) else {"all": source}
    arrays = {}
    for split, given in splits.items():
        if not isinstance(given, tuple | list) or len(given) != 2:
            raise ValueError(
                f"the images of split {split!r} are a {type(given).__name__}; expected a folder, "
                f"or (pixels, labels)"
            )
        arrays[split] = (np.asarray(given[0]), np.asarray(given[1]))
    return sources.from_arrays(arrays)
