"""Computes activations of frozen models once per text, model and depth, and stores them.

All processes share the store; what is in it is read without a lock. Shards of at most `SHARD`
texts, and of about `SHARD_BYTES`, are written as they are done, so a killed run continues where it
stopped. A shard's name has the sha256 of its content, which is compared once per process, before
the shard's first use; a damaged one is made again. Then shards are mapped into memory: only what is
asked for is read.
"""

from __future__ import annotations

import functools
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
import torch
from safetensors import safe_open
from tqdm import tqdm

from ..common.device import compute_type, computing_versions, copy_to, device, precision
from ..common.files import write_tensors
from ..common.out_of_memory import explain_out_of_memory, run_batches
from ..common.paths import home
from ..common.progress import progress
from ..common.store import address, code_version
from ..data.splits import Split, Task
from ..models import loading
from ..models.anatomy import blocks_name, final_norm, keep_top, run_sequences
from ..models.loading import config_of, digest, with_depth
from ..models.names import Checkpoint, resolve
from ..models.passes import affordable_tokens
from ..models.shared import load_shared
from . import batches as inputs_module
from . import encoded
from .batches import Sequences, TokenInputs, TrunkInputs, Units, paired
from .encoded import DTYPES, MAX_FLOAT16, Encoded, Pictures
from .shards import Places, depths_of, look_up, stored
from .streams import Streams
from .tokens import Tokens, join, join_inputs, read_split

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from ..common.progress import ReportedProgress

SHARD = 512  # texts
SHARD_BYTES = 128_000_000  # of states, after which a shard is written before it has all its texts
# 10^9 bytes that the trunk's activations of a fit may take on disk, unless W2S_TRUNK_GB says it
TRUNK_GB = 100.0
LESS_TRUNK = "raise W2S_TRUNK_GB, so that its activations are stored, or use method='lora'"
# of the tokens of two texts, the share that they must begin alike to be run in one sequence
LEAST_SHARED = 0.15
# Of a forward pass at most, padding included. On a CPU each token of 4,096 takes an eighth longer,
# since the states of a layer no longer fit in its caches.
MAX_TOKENS = {"cpu": 1024, "cuda": 32768}
LESS_PER_PASS = "give a smaller max_len, or a smaller model"
POOLS = ("last", "mean")


@dataclass(frozen=True, eq=False)
class Pooled:
    """Pooled hidden states of n texts, in files that are mapped.

    Attributes:
        n: number of texts.
        places: {shard: (positions (m,) of texts, their rows (m,) in the shard)}.
        below: the states of layers that a finetuning left as they were, or None.
    """

    n: int
    places: dict[Path, tuple[np.ndarray, np.ndarray]]
    below: Pooled | None = None

    def layer(self, layer: int) -> np.ndarray:
        """Returns the states after `layer` layers, (n, d) float32."""
        states: np.ndarray | None = None
        for path, (positions, rows) in self.places.items():
            first, _ = depths_of(path)
            if layer < first:
                return cast(Pooled, self.below).layer(layer)
            with safe_open(path, framework="numpy") as shard:
                states_here = shard.get_slice("states")[layer - first][rows]
            if states is None:
                states = np.empty((self.n, states_here.shape[1]), dtype=np.float32)
            states[positions] = states_here
        return cast(np.ndarray, states)


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
    model reads all its announced texts, and the shallow cut reads only the others. On an empty
    store, batches, and so every bit of the states, are those of a deep model that asks first.
    Nothing happens where nothing is lacking: states that an earlier seed stored of the shallow cut
    are used as they are, which moves later seeds' probabilities by rounding (up to 3e-6). Which of
    them are stored is all that decides that: the last bits of a state depend on the texts that are
    run beside it, so a text would have to be read again for every depth to be free of it.

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


def _read_announced(
    checkpoint: Checkpoint, tokens: Tokens | Pictures, pool: str, dtype: str
) -> None:
    """Lets announced models as deep as a checkpoint, or deeper, read their texts before it does."""
    announced = _ANNOUNCED.get()
    if not announced or (pool, dtype) != (POOLS[0], "float16"):
        return
    lacking = _lacking(checkpoint, tokens, pool, dtype)
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


def _lacking(checkpoint: Checkpoint, tokens: Tokens | Pictures, pool: str, dtype: str) -> set[str]:
    """Returns the keys of the texts or images whose pooled states are not stored."""
    if isinstance(tokens, Pictures):
        folder = encoded.folder_of(checkpoint, dtype)
    else:
        folder = _folder_of(f"{pool}-{dtype}-{digest(checkpoint)}")
    index, _ = look_up(folder, _layers(checkpoint), tokens.keys)
    return set(tokens.keys) - set(index)


def _deeper(
    announced: Iterable[_Announcement], checkpoint: Checkpoint
) -> list[tuple[Checkpoint, Tokens | Pictures]]:
    """Returns announced models with a checkpoint's weights, as deep or deeper, deepest first."""
    deeper = []
    for announcement in announced:
        model = announcement.model
        deep = with_depth(model if isinstance(model, Checkpoint) else resolve(model))
        if digest(deep) != digest(checkpoint) or _layers(deep) < _layers(checkpoint):
            continue
        inputs = []
        for split in announcement.splits:
            max_len = announcement.max_len
            if max_len is None:
                max_len = cast(Task, split.task).max_len
            inputs.append(read_split(split, deep, max_len))
        deeper.append((deep, join_inputs(inputs)))
    return sorted(deeper, key=lambda model_and_tokens: -_layers(model_and_tokens[0]))


def pooled(
    checkpoint: Checkpoint,
    tokens: Tokens | Pictures,
    pool: str = "last",
    dtype: str = "float16",
) -> Pooled | Encoded:
    """Computes or finds hidden states of texts after 0, 1, ... layers and the final norm.

    Of images they are an encoder's features, which it pools itself; see `encoded.encode`.

    There is one vector per text and depth. One pass finds those of every depth up to the
    checkpoint's: the states after k layers are those of `model@k`. Ask for the deepest model first,
    or announce it: see `deepest_first`.

    Args:
        pool: 'last', the text's last token; 'mean', the mean over its tokens.
        dtype: as stored, 'float16' or 'float32'.
    Raises:
        FloatingPointError: states that are not finite, or beyond float16.
    """
    _read_announced(checkpoint, tokens, pool, dtype)
    if isinstance(tokens, Pictures):
        return encoded.encode(checkpoint, tokens, dtype)
    n_frozen = checkpoint.trunk
    # of a finetuned model only the layers above its trunk are new
    n_own = _layers(checkpoint) - n_frozen
    depths = range(1 if n_frozen else 0, n_own + 1)

    def load() -> PreTrainedModel:
        if not n_frozen:
            return _load(checkpoint)
        # the trunk's activations are stored before the model is loaded that starts from them
        _trunk_places(cast(Checkpoint, checkpoint.parent), n_frozen, tokens)
        lm = _load(checkpoint, top=n_own)
        keep_top(lm.base_model, n_own)
        return lm

    def make_inputs(tokens: Tokens, units: Units) -> Sequences:
        if not n_frozen:
            return TokenInputs(tokens, units=units)
        below = trunk(cast(Checkpoint, checkpoint.parent), n_frozen, tokens)
        return TrunkInputs(below, tokens, units)

    source = _Source(
        kind=f"{pool}-{dtype}-{digest(checkpoint)}",
        name=checkpoint.name,
        depths=(n_frozen + depths[0], _layers(checkpoint)),
        load=load,
        make_inputs=make_inputs,
        compute=functools.partial(
            _pooled_states, pool=pool, dtype=dtype, depths=depths, name=checkpoint.name
        ),
        pack=functools.partial(torch.stack, dim=1),
    )
    places = {
        path: (np.array(positions), np.array(rows))
        for path, (positions, rows) in _stored(source, tokens).items()
    }
    below = None
    if n_frozen:
        parent = cast(Checkpoint, checkpoint.parent).cut(n_frozen)
        below = cast(Pooled, pooled(parent, tokens, pool, dtype))
    return Pooled(len(tokens.keys), places, below)


def _pooled_states(
    lm: PreTrainedModel,
    batch: dict[str, torch.Tensor],
    places: list[tuple[int, np.ndarray]],
    *,
    pool: str,
    dtype: str,
    depths: Iterable[int],
    name: str,
) -> list[torch.Tensor]:
    """Returns the pooled states of each text of a batch, (depths, d)."""
    norm = final_norm(lm.base_model)
    # the norm of some architectures has no weights
    norm_dtype = next(norm.parameters(), next(lm.base_model.parameters())).dtype
    rows = copy_to(device(), torch.tensor([row for row, _ in places]))
    last = copy_to(device(), torch.tensor([positions[-1] for _, positions in places]))
    of_texts = torch.from_numpy(np.concatenate([positions for _, positions in places]))
    lengths = [len(positions) for _, positions in places]
    tokens = copy_to(device(), of_texts).split(lengths)

    def keep(stream: torch.Tensor) -> torch.Tensor:
        if pool == "last":
            return norm(stream[rows, last].to(norm_dtype)).float()
        normed = norm(stream.to(norm_dtype)).float()
        return torch.stack(
            [normed[row][own].mean(0) for (row, _), own in zip(places, tokens, strict=True)]
        )

    states = torch.stack(_run(lm, batch, keep, depths))
    limit = MAX_FLOAT16 if dtype == "float16" else torch.inf
    if not (states.abs() < limit).all():
        way_out = "; take float32" if dtype == "float16" else ""
        raise FloatingPointError(
            f"hidden states of {name} are not finite, or do not fit {dtype}{way_out}"
        )
    return list(states.transpose(0, 1).to("cpu", DTYPES[dtype]))


def trunk(checkpoint: Checkpoint, depth: int, tokens: Tokens) -> Streams:
    """Computes or finds the residual stream of every token after `depth` layers, before any norm.

    Depth 0 is the embedding.

    Returns:
        n * k tensors (t, d), in the type in which the model computes them: bf16 on CUDA (float32
        of a model that was finetuned in float32), float32 on a CPU.
    """
    spans: list[tuple[Path, int, int] | None] = [None] * len(tokens.keys)
    for path, (positions, rows) in _trunk_places(checkpoint, depth, tokens).items():
        with safe_open(path, framework="numpy") as shard:
            ends = np.cumsum(shard.get_tensor("lengths")).tolist()
        starts = [0, *ends]
        for position, row in zip(positions, rows, strict=True):
            spans[position] = (path, starts[row], ends[row])
    return Streams(cast(list[tuple[Path, int, int]], spans))


def trunk_inputs(
    checkpoint: Checkpoint, depth: int, tokens_of: Sequence[Tokens]
) -> Sequence[TrunkInputs | RecomputedTrunk]:
    """Returns texts as the blocks above the first `depth` take them: with the stream below them.

    The streams are stored once, or computed anew for every batch where they would take more than
    `trunk_limit` on disk; then it says so.

    Args:
        tokens_of: the texts of each split.
    Raises:
        OSError: the streams that are lacking do not fit on the disk; before any is computed.
    """
    all_tokens = join(list(tokens_of))
    gb = trunk_bytes(checkpoint, depth, all_tokens) / 1e9
    if gb > trunk_limit():
        tqdm.write(
            f"activations of {checkpoint.name} after {depth} layers would take {gb:.3g} GB on "
            f"disk, more than W2S_TRUNK_GB = {trunk_limit():g}: they are computed for every batch"
        )
        lm = _load_trunk(checkpoint, depth)
        return [RecomputedTrunk(lm, depth, tokens) for tokens in tokens_of]
    states = trunk(checkpoint, depth, all_tokens)
    ends = np.cumsum([len(tokens.ids) for tokens in tokens_of]).tolist()
    starts = [0, *ends]
    return [
        TrunkInputs(states[start:end], tokens)
        for start, end, tokens in zip(starts, ends, tokens_of, strict=False)
    ]


def trunk_bytes(checkpoint: Checkpoint, depth: int, tokens: Tokens) -> int:
    """Returns the bytes that the residual streams of texts take on disk; equal texts count once."""
    n_tokens = sum(dict(zip(tokens.keys, tokens.lengths.tolist(), strict=True)).values())
    return n_tokens * bytes_of_token(checkpoint, depth)


def bytes_of_token(checkpoint: Checkpoint, depth: int) -> int:
    """Returns the bytes that a token's residual stream after `depth` layers takes on disk."""
    if checkpoint.parent and depth <= checkpoint.trunk:
        return bytes_of_token(checkpoint.parent, depth)
    in_float32 = precision() != "bf16" or checkpoint.fit
    return config_of(checkpoint).hidden_size * (4 if in_float32 else 2)


def trunk_limit() -> float:
    """Returns the 10^9 bytes that the trunk's activations of a fit may take on disk.

    It is `W2S_TRUNK_GB` where that is set, else `TRUNK_GB`. Above it they are computed for every
    batch, which gives other last bits, so it is part of a fit's address.

    Raises:
        ValueError: `W2S_TRUNK_GB` is no number from 0.
    """
    given = os.environ.get("W2S_TRUNK_GB") or TRUNK_GB
    try:
        limit = float(given)
    except ValueError:
        limit = -1.0
    if not limit >= 0:
        raise ValueError(f"W2S_TRUNK_GB = {given!r}; expected a number from 0, of 10^9 bytes")
    return limit


def _require_disk(checkpoint: Checkpoint, depth: int, tokens: Tokens, missing: list[int]) -> None:
    """Checks that the residual streams of the texts at `missing` fit on the disk."""
    needed = trunk_bytes(checkpoint, depth, tokens.take(missing))
    free = shutil.disk_usage(home()).free
    if needed > free:
        raise OSError(
            f"activations of {checkpoint.name} for method 'top' take {needed / 1e9:.3g} GB on "
            f"disk; {home()} has {free / 1e9:.3g} GB free. Give a smaller max_len or n_train, set "
            f"W2S_HOME to a folder on a larger disk, or W2S_TRUNK_GB=0 to compute them for every "
            f"batch instead"
        )


def _load_trunk(checkpoint: Checkpoint, depth: int) -> PreTrainedModel:
    """Returns a model's first `depth` blocks, at least one, frozen on the training device."""
    lm = _load(checkpoint.cut(max(depth, 1)))
    lm.requires_grad_(False)
    with explain_out_of_memory(f"loading the trunk of {checkpoint.name}", LESS_TRUNK):
        lm.base_model.to(device())
    return lm


class RecomputedTrunk(TokenInputs):
    """Texts whose residual streams are computed for every batch, and stored nowhere.

    Args:
        lm: of `_load_trunk`.
        depth: number of its layers that the stream has passed.
    """

    def __init__(self, lm: PreTrainedModel, depth: int, tokens: Tokens):
        super().__init__(tokens)
        self._lm = lm
        self._depth = depth

    @torch.no_grad()  # inference tensors cannot enter the graph of the blocks above
    def batch(self, rows) -> dict[str, torch.Tensor]:
        """Returns what `TrunkInputs.batch` does, on the training device."""
        tensors = {name: copy_to(device(), tensor) for name, tensor in super().batch(rows).items()}
        (stream,) = _run(self._lm, tensors, lambda stream: stream, [self._depth])
        del tensors["input_ids"]
        return {"inputs_embeds": stream, **tensors}


def _trunk_places(checkpoint: Checkpoint, depth: int, tokens: Tokens) -> Places:
    """Returns where the residual streams of texts are stored; computes those that are not."""
    if checkpoint.parent and depth <= checkpoint.trunk:
        return _trunk_places(checkpoint.parent, depth, tokens)

    def compute(lm, batch, places) -> list[torch.Tensor]:
        states = _run(lm, batch, lambda stream: stream, [depth])[0].cpu()
        return [states[row, torch.from_numpy(positions)] for row, positions in places]

    source = _Source(
        kind=f"trunk{depth}-{digest(checkpoint)}",
        name=checkpoint.name,
        depths=(depth, depth),
        load=functools.partial(_load, checkpoint.cut(max(depth, 1))),
        make_inputs=lambda tokens, units: TokenInputs(tokens, units=units),
        compute=compute,
        pack=torch.cat,
        check=functools.partial(_require_disk, checkpoint, depth),
    )
    return _stored(source, tokens)


def _layers(checkpoint: Checkpoint) -> int:
    """Returns the depth of a checkpoint, which `with_depth` has filled in."""
    return cast(int, checkpoint.layers)


def _load(checkpoint: Checkpoint, top: int | None = None) -> PreTrainedModel:
    return load_shared(checkpoint, compute_type(), top=top)


def _run(
    lm: PreTrainedModel, batch: dict[str, torch.Tensor], keep: Callable, depths: Iterable[int]
) -> list[torch.Tensor]:
    """Runs one forward pass and returns what `keep` takes of the residual stream.

    Args:
        keep: called with the stream after each of `depths` layers, in rising order.
    """
    body = lm.base_model
    blocks = getattr(body, blocks_name(body))
    kept: list[torch.Tensor] = []

    def before(module, args, kwargs):
        kept.append(keep(args[0] if args else kwargs["hidden_states"]))

    def after(module, args, output):
        kept.append(keep(output[0] if isinstance(output, tuple) else output))

    hooks = []
    for depth in depths:
        if depth:
            hooks.append(blocks[depth - 1].register_forward_hook(after))
        else:
            hooks.append(blocks[0].register_forward_pre_hook(before, with_kwargs=True))
    try:
        with torch.autocast(device().type, compute_type(), enabled=precision() != "fp32"):
            run_sequences(body, **batch)
    finally:
        for hook in hooks:
            hook.remove()
    return kept


@dataclass(frozen=True, eq=False)
class _Source:
    """Activations of one kind, and how they are computed.

    Attributes:
        kind: the kind's part of the folder's name.
        name: of the model, for the progress bar.
        depths: first and last depth of the states.
        load: () -> the model.
        make_inputs: (tokens, units) -> sequences that the model reads.
        compute: (model, batch, places of its texts) -> the states of each text, on the CPU.
        pack: list of each text's states -> the tensor of a shard.
        check: (tokens, positions of texts that are lacking) -> raises if they cannot be stored.
    """

    kind: str
    name: str
    depths: tuple[int, int]
    load: Callable[[], PreTrainedModel]
    make_inputs: Callable[[Tokens, Units], Sequences]
    compute: Callable[..., list[torch.Tensor]]
    pack: Callable[[list[torch.Tensor]], torch.Tensor]
    check: Callable[[Tokens, list[int]], None] = lambda tokens, missing: None


def _stored(source: _Source, tokens: Tokens) -> Places:
    """Returns where the states of texts are stored; computes those that no shard has."""
    folder = _folder_of(source.kind)

    def fill(missing: list[int]) -> None:
        source.check(tokens, missing)
        with explain_out_of_memory(f"computing activations of {source.name}", LESS_PER_PASS):
            _fill(folder, source, source.load(), tokens, missing)

    return stored(folder, source.name, source.depths[1], tokens.keys, fill)


def _folder_of(kind: str) -> Path:
    """Returns the folder of a kind of activations, computed by this code at this precision."""
    return home() / "activations" / f"{kind}-{precision()}-{code()}"


@functools.cache
def code() -> str:
    """Returns the version of the code that decides an activation, packages included."""
    version = code_version(
        _run,
        pooled,
        _pooled_states,
        _trunk_places,
        trunk_inputs,
        trunk_bytes,
        _load_trunk,
        RecomputedTrunk,
        _load,
        _fill,
        _write_shards,
        *loading.code_parts(),
        inputs_module,
    )
    return address({"code": version, "versions": computing_versions()})[:8]


@torch.inference_mode()
def _fill(
    folder: Path, source: _Source, lm: PreTrainedModel, tokens: Tokens, missing: list[int]
) -> None:
    """Computes and stores the states of the texts at positions `missing`, longest texts first."""
    lm = lm.to(device())  # type: ignore[arg-type]
    window = getattr(lm.config, "sliding_window", None)
    longest = max(len(tokens.ids[i]) for i in missing)
    alone = bool(window) and longest > cast(int, window)
    # two texts never share all of their tokens
    units = paired(tokens, missing, 1.0 if alone else LEAST_SHARED)
    with progress(total=len(missing), desc=f"activations of {source.name}", unit="text") as bar:
        while units:
            n_texts = np.cumsum([len(unit) for unit in units])
            n_units = int(np.searchsorted(n_texts, SHARD)) + 1
            _write_shards(folder, source, lm, tokens, units[:n_units], bar)
            units = units[n_units:]


def _write_shards(
    folder: Path,
    source: _Source,
    lm: PreTrainedModel,
    tokens: Tokens,
    units: Units,
    bar: tqdm | ReportedProgress,
) -> None:
    """Computes the states of the texts of `units` and writes them as shards of `SHARD_BYTES`.

    Their number plays no part in what is computed: batches are cut of all these texts.
    """
    tokens_here = tokens.take([i for unit in units for i in unit])
    ends = np.cumsum([len(unit) for unit in units]).tolist()
    # the same units, by the positions that their texts have here
    units_here = [tuple(range(end - len(unit), end)) for unit, end in zip(units, ends, strict=True)]
    inputs = source.make_inputs(tokens_here, units_here)
    states: dict[int, torch.Tensor] = {}

    def run(rows: np.ndarray) -> list[torch.Tensor]:
        batch = {name: copy_to(device(), tensor) for name, tensor in inputs.batch(rows).items()}
        return source.compute(lm, batch, inputs.places(rows))

    longest = int(inputs.lengths.max(initial=0))
    max_tokens = affordable_tokens(lm.config, MAX_TOKENS, longest=longest)
    for rows, batch_states in run_batches(inputs.by_length(max_tokens), run):
        positions = [i for row in rows for i in inputs.units[row]]
        states |= zip(positions, batch_states, strict=True)
        bar.update(len(batch_states))
        if sum(each.nbytes for each in states.values()) >= SHARD_BYTES:
            _write_shard(folder, source, tokens_here, states)
    if states:
        _write_shard(folder, source, tokens_here, states)


def _write_shard(
    folder: Path, source: _Source, tokens: Tokens, states: dict[int, torch.Tensor]
) -> None:
    """Writes the states of texts as one shard, and forgets them.

    Args:
        states: {position in `tokens`: the states of that text}.
    """
    positions = sorted(states)
    tensors = {
        "keys": torch.tensor(
            [list(bytes.fromhex(tokens.keys[i])) for i in positions], dtype=torch.uint8
        ),
        "lengths": torch.from_numpy(tokens.lengths[positions]),
        "states": source.pack([states[i] for i in positions]),
    }
    states.clear()
    first, last = source.depths
    write_tensors(folder, f"{first}-{last}-", tensors)
