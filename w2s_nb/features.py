"""Activations of frozen models, computed once for each text, model and depth, and shared by every process.

Shards of `SHARD` texts are written as they are done, so a killed run continues where it stopped.
"""
from __future__ import annotations

import functools
import hashlib
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import numpy as np
import safetensors.numpy
import torch
from filelock import FileLock
from safetensors import safe_open

from .config import device, home, precision, progress, write_atomic
from .inputs import TokenInputs
from .models import Checkpoint, blocks_name, digest, final_norm, load_lm, loading
from .store import code_version
from .tokens import Tokens

SHARD = 512  # texts
MAX_TOKENS = 4096  # of a forward pass, padding included


def last_token(checkpoint: Checkpoint, tokens: Tokens) -> np.ndarray:
    """Hidden state of each text's last token after the checkpoint's layers and the final norm.

    One pass stores these for every smaller depth too: the features of `model@k` are those of a model cut to k layers.
    Ask for the deepest model of a ladder first.

    Returns:
        (n * k, d) float32; stored as float16.
    """
    def compute(lm, batch) -> list[np.ndarray]:
        last = batch["attention_mask"].sum(1) - 1
        rows = torch.arange(len(last), device=last.device)
        states = _run(lm, batch, lambda stream: stream[rows, last])
        normed = torch.stack([final_norm(lm.base_model)(state.to(lm.dtype)) for state in states], dim=1)
        if not (normed.abs() < 65504).all():
            raise FloatingPointError(f"features of {checkpoint.name} do not fit float16 or are not finite")
        return list(normed.half().cpu().numpy())  # (layers, d) a text

    def read(shard, row, spans):
        return shard.get_slice("states")[row, checkpoint.layers - 1]

    found = _stored("last", checkpoint, tokens, compute, np.stack, read, lambda stored: stored >= checkpoint.layers)
    return np.stack(found).astype(np.float32)


def trunk(checkpoint: Checkpoint, depth: int, tokens: Tokens) -> list[np.ndarray]:
    """The residual stream of every token after `depth` layers, before any norm; depth 0 is the embedding.

    Returns:
        n * k arrays (t, d) float32.
    """
    def compute(lm, batch) -> list[np.ndarray]:
        states = _run(lm, batch, lambda stream: stream, first=depth)[0].float().cpu().numpy()
        return [state[:n] for state, n in zip(states, batch["attention_mask"].sum(1).tolist())]

    def read(shard, row, spans):
        return shard.get_slice("states")[spans[row]:spans[row + 1]]

    return _stored(f"trunk{depth}", checkpoint.at(max(depth, 1)), tokens, compute, np.concatenate, read,
                   lambda stored: True)


def _run(lm, batch: dict[str, torch.Tensor], keep: Callable, first: int = 1) -> list[torch.Tensor]:
    """One forward pass; what `keep` takes of the residual stream after layers `first`, `first` + 1, ..."""
    body, kept = lm.base_model, []
    blocks = getattr(body, blocks_name(body))

    def before(module, args, kwargs):
        kept.append(keep(args[0] if args else kwargs["hidden_states"]))

    def after(module, args, output):
        kept.append(keep(output[0] if isinstance(output, tuple) else output))

    watched = [blocks[0].register_forward_pre_hook(before, with_kwargs=True)] if first == 0 else \
        [block.register_forward_hook(after) for block in blocks[first - 1:]]
    try:
        with torch.autocast(device().type, torch.bfloat16, enabled=precision() == "bf16"):
            body(**batch, use_cache=False)
    finally:
        for hook in watched:
            hook.remove()
    return kept


def _stored(kind: str, checkpoint: Checkpoint, tokens: Tokens, compute, pack, read, usable) -> list[np.ndarray]:
    """One array a text, from shards on disk; what is missing is computed, longest texts together, and stored."""
    folder = home() / "activations" / f"{kind}-{digest(checkpoint)}-{precision()}-{code()}"
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / "lock"):  # one process computes, others wait and read
        index = _index(folder, usable)
        missing = list(dict.fromkeys(key for key in tokens.keys if key not in index))
        if missing:
            _fill(folder, checkpoint, tokens, missing, compute, pack)
            index = _index(folder, usable)
    by_shard = defaultdict(list)
    for position, key in enumerate(tokens.keys):
        by_shard[index[key][0]].append((position, index[key][1]))
    found: list[np.ndarray | None] = [None] * len(tokens.keys)
    for path, wanted in by_shard.items():
        with safe_open(path, framework="numpy") as shard:
            spans = np.concatenate([[0], np.cumsum(shard.get_tensor("lengths"))])
            for position, row in wanted:
                found[position] = read(shard, row, spans)
    return found


@functools.cache
def code() -> str:
    """Version of the code that decides an activation."""
    return code_version(_run, last_token, trunk, loading.load_lm)[:8]


def _index(folder: Path, usable) -> dict[str, tuple[Path, int]]:
    """{text key: (shard, row)} of all shards deep enough."""
    index = {}
    for path in sorted(folder.glob("*.safetensors")):
        depth, _, _ = path.stem.partition("-")
        if usable(int(depth)):
            with safe_open(path, framework="numpy") as shard:
                keys = shard.get_tensor("keys")
            index |= {bytes(key).hex(): (path, row) for row, key in enumerate(keys)}
    return index


@torch.inference_mode()
def _fill(folder: Path, checkpoint: Checkpoint, tokens: Tokens, missing: list[str], compute, pack) -> None:
    position = {key: i for i, key in enumerate(tokens.keys)}
    missing = sorted(missing, key=lambda key: -len(tokens.ids[position[key]]))
    lm = load_lm(checkpoint, torch.bfloat16 if precision() == "bf16" else torch.float32).to(device())
    with progress(total=len(missing), desc=f"activations of {checkpoint.name}", unit="text") as bar:
        for start in range(0, len(missing), SHARD):
            keys = missing[start:start + SHARD]
            ids = tuple(tokens.ids[position[key]] for key in keys)
            inputs = TokenInputs(Tokens(ids, np.zeros(len(ids), bool), tuple(keys), arity=1))
            states: list[np.ndarray | None] = [None] * len(keys)
            for rows in inputs.by_length(MAX_TOKENS):
                batch = {name: tensor.to(device()) for name, tensor in inputs.batch(rows).items()}
                for row, state in zip(rows, compute(lm, batch)):
                    states[row] = state
                bar.update(len(rows))
            tensors = {"keys": np.array([list(bytes.fromhex(key)) for key in keys], dtype=np.uint8),
                       "lengths": np.array([len(i) for i in ids], dtype=np.int64),
                       "states": pack(states)}
            name = hashlib.sha256("".join(keys).encode()).hexdigest()[:16]
            write_atomic(folder / f"{lm.config.num_hidden_layers}-{name}.safetensors", safetensors.numpy.save(tensors))
