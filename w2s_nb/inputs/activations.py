"""Activations of frozen models, computed once for each text, model and depth, and shared by every process.

Shards of `SHARD` texts are written as they are done, so a killed run continues where it stopped; they are mapped into
memory, not read, so only what is asked for leaves the disk.
"""

from __future__ import annotations

import functools
import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import safetensors.numpy
import torch
from filelock import FileLock
from safetensors import safe_open

from ..common.device import device, precision
from ..common.files import write_atomic
from ..common.paths import home
from ..common.progress import progress
from ..common.store import code_version
from ..data.splits import Split
from ..models import anatomy, loading
from ..models.anatomy import attention_of, blocks_name, final_norm, keep_top
from ..models.loading import digest, load_lm, with_depth
from ..models.names import Checkpoint, resolve
from . import batches as inputs_module
from .batches import Sequences, TokenInputs, TrunkInputs, Units, paired
from .tokens import Tokens, join, tokenize

SHARD = 512  # texts
LEAST_SHARED = (
    0.15  # of two texts' tokens, what they must begin alike for to be run in one sequence
)
MAX_TOKENS = 4096  # of a forward pass, padding included
POOLS = ("last", "mean")
DTYPES = ("float16", "float32")


@dataclass(frozen=True, eq=False)
class Pooled:
    """Pooled hidden states of n texts, in files that are mapped.

    Attributes:
        n: texts.
        places: {shard: (positions (m,) of texts, their rows (m,) in the shard)}.
        below: the states of layers that a finetuning left as they were, or None.
    """

    n: int
    places: dict[Path, tuple[np.ndarray, np.ndarray]]
    below: Pooled | None = None

    def layer(self, layer: int) -> np.ndarray:
        """(n, d) float32, the states after `layer` layers."""
        found = None
        for path, (positions, rows) in self.places.items():
            first = _depths(path)[0]
            if layer < first:
                return self.below.layer(layer)
            with safe_open(path, framework="numpy") as shard:
                states = shard.get_slice("states")[layer - first][rows]
            found = (
                np.empty((self.n, states.shape[1]), dtype=np.float32) if found is None else found
            )
            found[positions] = states
        return found


@dataclass(frozen=True, eq=False)
class _Announcement:
    """Splits that a probe of a model will read, each text cut to `max_len` tokens."""

    model: str | Checkpoint
    splits: tuple[Split, ...]
    max_len: int | None


_ANNOUNCED: ContextVar[tuple[_Announcement, ...]] = ContextVar("announced", default=())


@contextmanager
def deepest_first(
    splits: Mapping[str, Iterable[Split]] | Mapping[Checkpoint, Iterable[Split]],
    max_len: int | None = None,
) -> Iterator[None]:
    """Announces which texts probes of deep models will read, so that shallow ones read them there.

    One pass of a model serves all its depths. Inside this context a shallow cut of an announced
    model may therefore ask first: where it lacks the states of an announced text, the announced
    model reads all its announced texts, and the shallow cut reads only the others. Batches, and so
    every bit of the states, are those of a deep model that asks first. Nothing happens where
    nothing is lacking.

    The texts must be announced too: a model must not read more than its own probe will, and which
    texts share a batch decides the last bits of their states.

    Only what a probe reads counts (`pooled` with its default pool and dtype). Residual streams of
    method 'top' are stored per depth and serve no other depth. The layers that a finetuned model
    shares with its parent count as the parent's, so announcing the finetuned model does not serve
    the parent.

    Args:
        splits: {model: the splits that its probe trains on, predicts or labels}.
        max_len: tokens kept of a text, as the deep model's probe is given it; None takes the
            task's.
    """
    announced = [_Announcement(model, tuple(each), max_len) for model, each in splits.items()]
    token = _ANNOUNCED.set((*_ANNOUNCED.get(), *announced))
    try:
        yield
    finally:
        _ANNOUNCED.reset(token)


def _read_announced(checkpoint: Checkpoint, tokens: Tokens, pool: str, dtype: str) -> None:
    """Lets announced models as deep as a checkpoint, or deeper, read their texts before it does."""
    announced = _ANNOUNCED.get()
    if not announced or (pool, dtype) != (POOLS[0], DTYPES[0]):
        return
    stored = _index(_folder_of(f"{pool}-{dtype}-{digest(checkpoint)}"), checkpoint.layers)
    lacking = set(tokens.keys) - set(stored)
    if not lacking:
        return
    # what is read on behalf of an announcement must not look for announcements again
    token = _ANNOUNCED.set(())
    try:
        for deep, deep_tokens in _deeper(announced, checkpoint):
            if lacking.intersection(deep_tokens.keys):
                longest = int(deep_tokens.lengths.max())
                loading.require_context(deep, longest, "Give a smaller max_len.")
                pooled(deep, deep_tokens, pool, dtype)
                lacking.difference_update(deep_tokens.keys)
    finally:
        _ANNOUNCED.reset(token)


def _deeper(
    announced: Iterable[_Announcement], checkpoint: Checkpoint
) -> list[tuple[Checkpoint, Tokens]]:
    """Returns announced models with a checkpoint's weights, as deep or deeper, deepest first."""
    deeper = []
    for announcement in announced:
        model = announcement.model
        deep = with_depth(model if isinstance(model, Checkpoint) else resolve(model))
        if digest(deep) == digest(checkpoint) and deep.layers >= checkpoint.layers:
            tokens = [
                tokenize(split, deep, announcement.max_len or split.task.max_len)
                for split in announcement.splits
            ]
            deeper.append((deep, join(tokens)))
    return sorted(deeper, key=lambda pair: -pair[0].layers)


def pooled(
    checkpoint: Checkpoint, tokens: Tokens, pool: str = "last", dtype: str = "float16"
) -> Pooled:
    """Hidden states of texts after 0, 1, ... layers and the final norm, one vector a text and depth.

    One pass finds those of every depth up to the checkpoint's: the states after k layers are those
    of `model@k`. Ask for the deepest model first, or announce it: see `deepest_first`.

    Args:
        pool: 'last', the text's last token; 'mean', the mean over its tokens.
        dtype: as stored, 'float16' or 'float32'.
    Raises:
        FloatingPointError: states that are not finite, or beyond float16.
    """

    def compute(lm, batch, places) -> list[np.ndarray]:
        norm, rows = (
            final_norm(lm.base_model),
            torch.tensor([row for row, _ in places], device=device()),
        )
        last = torch.tensor([positions[-1] for _, positions in places], device=device())

        def keep(stream: torch.Tensor) -> torch.Tensor:
            if pool == "last":
                return norm(stream[rows, last].to(norm.weight.dtype)).float()
            normed = norm(stream.to(norm.weight.dtype)).float()
            return torch.stack([normed[row, positions].mean(0) for row, positions in places])

        states = torch.stack(_run(lm, batch, keep, depths))
        if not (states.abs() < (65504 if dtype == "float16" else torch.inf)).all():
            raise FloatingPointError(
                f"hidden states of {checkpoint.name} are not finite, or do not fit {dtype}"
                f"{'; take float32' if dtype == 'float16' else ''}"
            )
        return list(
            states.transpose(0, 1).numpy(force=True).astype(dtype)
        )  # a text's states (depths, d)

    _read_announced(checkpoint, tokens, pool, dtype)
    frozen = checkpoint.trunk
    depths = range(bool(frozen), checkpoint.layers - frozen + 1)

    def load():
        if not frozen:
            return _load(checkpoint)
        _trunk_places(
            checkpoint.parent, frozen, tokens
        )  # stored before the model is loaded that starts from there
        lm = _load(checkpoint)
        keep_top(
            lm.base_model, checkpoint.layers - frozen
        )  # only what lies above the finetuning's trunk is new
        return lm

    def inputs_of(part: Tokens, units: Units) -> Sequences:
        if frozen:
            return TrunkInputs(trunk(checkpoint.parent, frozen, part), part, units)
        return TokenInputs(part, units=units)

    where = _stored(
        f"{pool}-{dtype}-{digest(checkpoint)}",
        tokens,
        load,
        inputs_of,
        compute,
        functools.partial(np.stack, axis=1),
        (frozen + depths[0], checkpoint.layers),
        checkpoint.name,
    )
    places = {
        path: (np.array(positions), np.array(rows)) for path, (positions, rows) in where.items()
    }
    below = pooled(checkpoint.parent.cut(frozen), tokens, pool, dtype) if frozen else None
    return Pooled(len(tokens.keys), places, below)


def trunk(checkpoint: Checkpoint, depth: int, tokens: Tokens) -> list[np.ndarray]:
    """The residual stream of every token after `depth` layers, before any norm; depth 0 is the embedding.

    Returns:
        n * k arrays (t, d) float32.
    """
    found: list[np.ndarray | None] = [None] * len(tokens.keys)
    for path, (positions, rows) in _trunk_places(checkpoint, depth, tokens).items():
        with safe_open(path, framework="numpy") as shard:
            spans, states = (
                np.concatenate([[0], np.cumsum(shard.get_tensor("lengths"))]),
                shard.get_slice("states"),
            )
            for position, row in zip(positions, rows):
                found[position] = states[spans[row] : spans[row + 1]]
    return found


def _trunk_places(
    checkpoint: Checkpoint, depth: int, tokens: Tokens
) -> dict[Path, tuple[list[int], list[int]]]:
    """Where the residual streams of texts are stored; those that are not are computed."""

    def compute(lm, batch, places) -> list[np.ndarray]:
        states = _run(lm, batch, lambda stream: stream, [depth])[0].float().numpy(force=True)
        return [states[row, positions] for row, positions in places]

    def inputs_of(part: Tokens, units: Units) -> Sequences:
        return TokenInputs(part, units=units)

    if checkpoint.parent and depth <= checkpoint.trunk:
        return _trunk_places(checkpoint.parent, depth, tokens)
    cut = functools.partial(_load, checkpoint.cut(max(depth, 1)))
    return _stored(
        f"trunk{depth}-{digest(checkpoint)}",
        tokens,
        cut,
        inputs_of,
        compute,
        np.concatenate,
        (depth, depth),
        checkpoint.name,
    )


def _load(checkpoint: Checkpoint):
    return load_lm(checkpoint, torch.bfloat16 if precision() == "bf16" else torch.float32)


def _run(
    lm, batch: dict[str, torch.Tensor], keep: Callable, depths: Iterable[int]
) -> list[torch.Tensor]:
    """One forward pass; what `keep` takes of the residual stream after each of `depths` layers, in rising order."""
    body, kept = lm.base_model, []
    blocks = getattr(body, blocks_name(body))

    def before(module, args, kwargs):
        kept.append(keep(args[0] if args else kwargs["hidden_states"]))

    def after(module, args, output):
        kept.append(keep(output[0] if isinstance(output, tuple) else output))

    watched = [
        blocks[depth - 1].register_forward_hook(after)
        if depth
        else blocks[0].register_forward_pre_hook(before, with_kwargs=True)
        for depth in depths
    ]
    try:
        longest = int(batch["position_ids"].max()) + 1 if "position_ids" in batch else 0
        mask = attention_of(body, batch["attention_mask"], longest)
        with torch.autocast(device().type, torch.bfloat16, enabled=precision() == "bf16"):
            body(**batch | {"attention_mask": mask}, use_cache=False)
    finally:
        for hook in watched:
            hook.remove()
    return kept


def _depths(path: Path) -> tuple[int, int]:
    """First and last depth of a shard's states, from its name."""
    first, last, _ = path.stem.split("-")
    return int(first), int(last)


def _stored(
    kind: str,
    tokens: Tokens,
    load: Callable,
    inputs_of: Callable[[Tokens, Units], Sequences],
    compute: Callable,
    pack: Callable,
    depths: tuple[int, int],
    name: str,
) -> dict[Path, tuple[list[int], list[int]]]:
    """{shard: (positions of texts, their rows in it)}; what no shard has is computed, longest texts first."""
    folder = _folder_of(kind)
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / "lock"):  # one process computes, others wait and read
        index = _index(folder, depths[1])
        missing = {
            key: i for i, key in enumerate(tokens.keys) if key not in index
        }  # of equal texts the last
        if missing:
            _fill(
                folder,
                tokens,
                list(missing.values()),
                load(),
                inputs_of,
                compute,
                pack,
                depths,
                name,
            )
            index = _index(folder, depths[1])
    where = defaultdict(lambda: ([], []))
    for position, key in enumerate(tokens.keys):
        path, row = index[key]
        where[path][0].append(position)
        where[path][1].append(row)
    return where


def _folder_of(kind: str) -> Path:
    """Returns the folder of a kind of activations, computed by this code at this precision."""
    return home() / "activations" / f"{kind}-{precision()}-{code()}"


@functools.cache
def code() -> str:
    """Version of the code that decides an activation."""
    return code_version(
        _run, pooled, _trunk_places, _load, _fill, loading.load_lm, anatomy, inputs_module
    )[:8]


def _index(folder: Path, depth: int) -> dict[str, tuple[Path, int]]:
    """{text key: (shard, row)} of all shards that are deep enough."""
    index = {}
    for path in sorted(folder.glob("*.safetensors")):
        if _depths(path)[1] >= depth:
            with safe_open(path, framework="numpy") as shard:
                keys = shard.get_tensor("keys")
            index |= {bytes(key).hex(): (path, row) for row, key in enumerate(keys)}
    return index


@torch.inference_mode()
def _fill(
    folder: Path,
    tokens: Tokens,
    missing: list[int],
    lm,
    inputs_of,
    compute,
    pack,
    depths,
    name: str,
) -> None:
    lm, window = lm.to(device()), getattr(lm.config, "sliding_window", None)
    alone = bool(window) and max(len(tokens.ids[i]) for i in missing) > window
    units = paired(
        tokens, missing, 1.0 if alone else LEAST_SHARED
    )  # two texts never share all of their tokens
    with progress(total=len(missing), desc=f"activations of {name}", unit="text") as bar:
        while units:
            n = int(np.searchsorted(np.cumsum([len(unit) for unit in units]), SHARD)) + 1
            here, units = units[:n], units[n:]
            part, ends = (
                tokens.take([i for unit in here for i in unit]),
                np.cumsum([len(unit) for unit in here]),
            )
            inputs = inputs_of(
                part, [tuple(range(end - len(unit), end)) for unit, end in zip(here, ends.tolist())]
            )
            states: dict[int, np.ndarray] = {}
            for rows in inputs.by_length(MAX_TOKENS):
                batch = {
                    name: tensor.to(device())
                    for name, tensor in inputs.batch(rows).items()
                    if name != "ends"
                }
                found = compute(lm, batch, inputs.places(rows))
                states |= zip([i for row in rows for i in inputs.units[row]], found)
                bar.update(len(found))
            tensors = {
                "keys": np.array([list(bytes.fromhex(key)) for key in part.keys], dtype=np.uint8),
                "lengths": part.lengths,
                "states": pack([states[i] for i in range(len(part.ids))]),
            }
            content = hashlib.sha256("".join(part.keys).encode()).hexdigest()[:16]
            write_atomic(
                folder / f"{depths[0]}-{depths[1]}-{content}.safetensors",
                safetensors.numpy.save(tensors),
            )
