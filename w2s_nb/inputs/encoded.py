"""Computes the features that an encoder gives of images, once per image, and stores them."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from safetensors import safe_open

from ..common.device import computing_versions, copy_to, device
from ..common.files import write_tensors
from ..common.out_of_memory import explain_out_of_memory, run_batches
from ..common.paths import home
from ..common.progress import progress
from ..common.registry import ENCODERS
from ..common.store import address, code_version
from ..data.splits import Split
from ..data.tasks.spec import IMAGE
from ..models.encoders import family_of, require_kind
from ..models.names import Checkpoint
from .shards import stored

DTYPES = {"float16": torch.float16, "float32": torch.float32}
MAX_FLOAT16 = 65504
# images of a shard, and of one pass on each type of device
SHARD = 512
MAX_IMAGES = {"cpu": 32, "cuda": 128}
_LESS_PER_PASS = "take a smaller encoder"


@dataclass(frozen=True, eq=False)
class Pictures:
    """Images of n examples, as an encoder reads them; beside `Tokens`, which are of texts.

    Attributes:
        keys: n strings of 32 hex digits, hashes of pixels and shape.
        images: n names of these images -> their pixels, uint8 (n, H, W, 3).
    """

    keys: tuple[str, ...]
    images: Callable[[Sequence[str]], np.ndarray]
    arity: int = 1

    @property
    def lengths(self) -> np.ndarray:
        """Returns 1 for each image, (n,), as an encoder has no context that it could exceed."""
        return np.ones(len(self.keys), dtype=np.int64)

    def pixels(self, positions: Sequence[int]) -> torch.Tensor:
        """Returns the images at these positions, uint8 (b, H, W, 3)."""
        return torch.from_numpy(self.images([IMAGE + self.keys[i] for i in positions]))


def pictures_of(split: Split, checkpoint: Checkpoint) -> Pictures:
    """Returns the images of a split, for an encoder.

    Raises:
        ValueError: the split's examples are texts.
    """
    spec = split.task.spec if split.task else None
    require_kind(checkpoint, spec)
    keys = tuple(text.removeprefix(IMAGE) for (text,) in split.texts)
    return Pictures(keys, spec.images())  # type: ignore[union-attr, misc]


def join_pictures(pictures: Sequence[Pictures]) -> Pictures:
    """Returns the images of several splits of one task in one."""
    return Pictures(tuple(key for each in pictures for key in each.keys), pictures[0].images)


@dataclass(frozen=True, eq=False)
class Encoded:
    """Features of n images, in files that are mapped.

    Attributes:
        n: number of images.
        places: {shard: (positions of images, their rows in the shard)}.
    """

    n: int
    places: dict[Path, tuple[list[int], list[int]]]

    def layer(self, layer: int) -> np.ndarray:
        """Returns the features after `layer` blocks, (n, d) float32."""
        features: np.ndarray | None = None
        for path, (positions, rows) in self.places.items():
            with safe_open(path, framework="numpy") as shard:
                features_here = shard.get_tensor(_name_of(layer))[rows]
            if features is None:
                features = np.empty((self.n, features_here.shape[1]), dtype=np.float32)
            features[positions] = features_here
        return cast(np.ndarray, features)


def encode(
    checkpoint: Checkpoint, pictures: Pictures, dtype: str = "float16", *, logits: bool = False
) -> Encoded:
    """Computes or finds the features of images after 0, 1, ... blocks of an encoder.

    They are computed in float32. One pass finds those of every depth up to the checkpoint's.

    Args:
        dtype: as stored, 'float16' or 'float32'.
        logits: of the encoder's own classifier instead, as the one layer, 0.
    Raises:
        FloatingPointError: features that are not finite, or beyond float16.
        ModelUnavailable: the weights cannot be had here.
    """
    folder = folder_of(checkpoint, dtype, logits=logits)

    def fill(missing: list[int]) -> None:
        with explain_out_of_memory(f"computing features of {checkpoint.name}", _LESS_PER_PASS):
            _fill(folder, checkpoint, pictures, missing, dtype, logits)

    depth = 0 if logits else cast(int, checkpoint.layers)
    return Encoded(len(pictures.keys), stored(folder, checkpoint.name, depth, pictures.keys, fill))


def folder_of(checkpoint: Checkpoint, dtype: str, *, logits: bool = False) -> Path:
    """Returns the folder of an encoder's features, or logits, computed by this code."""
    kind = "logits" if logits else "images"
    digest = family_of(checkpoint).digest(checkpoint)
    return home() / "activations" / f"{kind}-{dtype}-{digest}-{_code(checkpoint.encoder)}"


@functools.cache
def _code(kind: str) -> str:
    """Returns the version of the code that decides an encoder's features, packages included."""
    version = code_version(encode, _fill, _run, *ENCODERS[kind].code_parts())
    return address({"code": version, "versions": computing_versions()})[:8]


@torch.inference_mode()
def _fill(
    folder: Path,
    checkpoint: Checkpoint,
    pictures: Pictures,
    missing: list[int],
    dtype: str,
    logits: bool,
) -> None:
    """Computes and stores the features, or logits, of the images at positions `missing`."""
    encoder = family_of(checkpoint).load(checkpoint).to(device())
    compute = functools.partial(_classify, encoder) if logits else encoder
    run = functools.partial(_run, compute, pictures, name=checkpoint.name, dtype=dtype)
    size = MAX_IMAGES.get(device().type, MAX_IMAGES["cpu"])
    with progress(total=len(missing), desc=f"features of {checkpoint.name}", unit="image") as bar:
        for start in range(0, len(missing), SHARD):
            here = np.array(missing[start : start + SHARD])
            batches = [here[i : i + size] for i in range(0, len(here), size)]
            of_batches = []
            for rows, features in run_batches(batches, run):
                of_batches.append(features)
                bar.update(len(rows))
            keys = [list(bytes.fromhex(pictures.keys[i])) for i in here]
            tensors = {"keys": torch.tensor(keys, dtype=torch.uint8)}
            for layer, parts in enumerate(zip(*of_batches, strict=True)):
                tensors[_name_of(layer)] = torch.cat(parts)
            write_tensors(folder, f"0-{len(tensors) - 2}-", tensors)


def _classify(encoder: Any, images: torch.Tensor) -> list[torch.Tensor]:
    return [encoder.classify(images)]


def _run(
    compute: Callable, pictures: Pictures, rows: np.ndarray, *, name: str, dtype: str
) -> list[torch.Tensor]:
    """Returns the features of the images at `rows` after 0, 1, ... blocks, on the CPU."""
    features = compute(copy_to(device(), pictures.pixels(rows.tolist())))
    limit = MAX_FLOAT16 if dtype == "float16" else torch.inf
    if not all(bool((layer.abs() < limit).all()) for layer in features):
        way_out = "; take float32" if dtype == "float16" else ""
        raise FloatingPointError(
            f"features of {name} are not finite, or do not fit {dtype}{way_out}"
        )
    return [layer.to("cpu", DTYPES[dtype]) for layer in features]


def _name_of(layer: int) -> str:
    return f"features{layer}"
