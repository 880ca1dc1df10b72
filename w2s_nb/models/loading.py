"""Checkpoints to modules: where the weights are, their digest, tokenizer and body, without remote code or pickle."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
from dataclasses import replace
from pathlib import Path

import torch
import transformers
from huggingface_hub import HfApi, hf_hub_download, snapshot_download, try_to_load_from_cache

from ..common import store
from ..common.assets import ASSETS, fetch, made_once
from .anatomy import keep_blocks, put_trained
from .names import EMBEDDED, Checkpoint, ways_out

_GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"
_WANTED = ["*.json", "*.safetensors", "*.txt", "*.model", "*.tiktoken", "*.jinja"]


class ModelUnavailable(OSError):
    """The weights of a known name cannot be had here; the message names the ways out."""


@contextlib.contextmanager
def quiet():
    """Silences transformers' load reports: cutting in depth leaves weights unused on purpose."""
    level, bar = (
        transformers.logging.get_verbosity(),
        transformers.logging.is_progress_bar_enabled(),
    )
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers.logging.set_verbosity(level)
        if bar:
            transformers.logging.enable_progress_bar()


def ensure(checkpoint: Checkpoint) -> None:
    """Fails now, in seconds, if the checkpoint's weights cannot be had here. Downloads only a hub model's config.

    Raises:
        ModelUnavailable: names the hub id and the ways out.
    """
    root = checkpoint.root
    if root.hub_id:
        _from_hub(root.hub_id, root.revision, only_config=True)
    else:
        folder(root)


def folder(checkpoint: Checkpoint) -> Path:
    """Local folder with config, tokenizer and safetensors of a checkpoint at full depth, downloaded if need be."""
    if checkpoint.parent:
        return folder(checkpoint.parent)
    if not (checkpoint.folder or checkpoint.hub_id):
        return _embedded()
    path = checkpoint.folder or _from_hub(checkpoint.hub_id, checkpoint.revision)
    if not any(path.glob("*.safetensors")):
        raise ModelUnavailable(
            f"model {checkpoint.base}: no *.safetensors in {path}; weights in other formats are not "
            f"read. {ways_out(checkpoint.hub_id or checkpoint.base)}"
        )
    return path


@functools.cache
def _from_hub(hub_id: str, revision: str | None, only_config: bool = False) -> Path:
    """Snapshot of a hub repository at one commit; what the cache holds is used without asking the hub."""
    try:
        if not (revision and try_to_load_from_cache(hub_id, "config.json", revision=revision)):
            revision = _commit(
                hub_id, revision
            )  # asked once: out of reach, this fails at once, a download retries
        if only_config:
            return Path(
                hf_hub_download(hub_id, "config.json", revision=revision, etag_timeout=10)
            ).parent
        return Path(
            snapshot_download(hub_id, revision=revision, allow_patterns=_WANTED, etag_timeout=10)
        )
    except Exception as error:  # the hub's errors share no base class; each one ends here
        raise ModelUnavailable(
            f"model {hub_id} (revision {revision or 'main'}) is not in the local hub cache and could not be fetched: "
            f"{type(error).__name__}. {ways_out(hub_id)}"
        ) from error


def _commit(hub_id: str, revision: str | None) -> str:
    """The commit that a revision, or `main`, is at now; without network, the one that the local cache holds."""
    try:
        return HfApi().model_info(hub_id, revision=revision, timeout=10).sha
    except Exception as error:
        try:
            return Path(snapshot_download(hub_id, revision=revision, local_files_only=True)).name
        except Exception:
            raise error from None


def with_depth(checkpoint: Checkpoint) -> Checkpoint:
    """The checkpoint with its depth, read from the model's config where the name did not say it.

    Raises:
        ValueError: cut deeper than the model is.
    """
    if checkpoint.parent:
        parent = with_depth(checkpoint.parent)
        return replace(checkpoint, parent=parent, full_layers=parent.full_layers)
    depth = config_of(replace(checkpoint, layers=None)).num_hidden_layers
    if (checkpoint.layers or 1) > depth:
        raise ValueError(
            f"{checkpoint.name!r} asks for {checkpoint.layers} layers; {checkpoint.base} has {depth}"
        )
    return replace(checkpoint, layers=checkpoint.layers or depth, full_layers=depth)


def _embedded() -> Path:
    """The embedded GGUF, dequantised once into an ordinary safetensors folder in the cache."""

    def dequantise(target: Path) -> None:
        gguf = fetch(_GGUF)
        with quiet():
            lm = transformers.AutoModelForCausalLM.from_pretrained(
                gguf.parent,
                gguf_file=gguf.name,
                dtype=torch.float32,
                quantization_config=transformers.GgufConfig(dequantize=True),
            )
            lm.save_pretrained(target)
            transformers.AutoTokenizer.from_pretrained(
                gguf.parent, gguf_file=gguf.name
            ).save_pretrained(target)

    sha256 = ASSETS[_GGUF].sha256
    return made_once(
        f"models/{EMBEDDED}-Instruct-{sha256[:12]}", dequantise, {"source": _GGUF, "sha256": sha256}
    )


def digest(checkpoint: Checkpoint) -> str:
    """What the weights are, for addresses: commit of a hub model, content hash of a local one, a fit's address; of the
    original Qwen series with how they are read."""
    if checkpoint.fit:
        return checkpoint.fit
    if not (checkpoint.hub_id or checkpoint.folder):
        return ASSETS[_GGUF].sha256[:16]
    found = folder(checkpoint).name[:16] if checkpoint.hub_id else _content(checkpoint)
    if _original_qwen(folder(checkpoint)):
        from . import qwen

        return store.address({"weights": found, "read": store.code_version(qwen)})[:16]
    return found


def _content(checkpoint: Checkpoint) -> str:
    files = [
        p
        for p in sorted(checkpoint.folder.iterdir())
        if p.name != "pretraining.json"
        and p.suffix in (".json", ".safetensors", ".txt", ".model", ".tiktoken")
    ]
    return _hash_files(tuple((p, p.stat().st_size, p.stat().st_mtime_ns) for p in files))


@functools.cache
def _hash_files(files) -> str:
    whole = hashlib.sha256()
    for path, *_ in files:
        with open(path, "rb") as stream:
            whole.update(path.name.encode() + hashlib.file_digest(stream, "sha256").digest())
    return whole.hexdigest()[:16]


def _original_qwen(path: Path) -> bool:
    """Whether a model folder is of the original Qwen series, which transformers does not know."""
    return json.loads((path / "config.json").read_text()).get("model_type") == "qwen"


@functools.cache
def tokenizer(path: Path):
    """The fast tokenizer in a folder; loaded once per process."""
    with quiet():
        if _original_qwen(path):
            from . import qwen

            return qwen.load_tokenizer(path)
        return transformers.AutoTokenizer.from_pretrained(path, trust_remote_code=False)


def config_of(checkpoint: Checkpoint):
    """transformers' configuration of a checkpoint, cut to its depth where the name says one."""
    path = folder(checkpoint)
    if _original_qwen(path):
        from . import qwen  # takes over a second, and is only needed here

        qwen.register()
    config = transformers.AutoConfig.from_pretrained(path, trust_remote_code=False)
    config.num_hidden_layers = checkpoint.layers or config.num_hidden_layers
    if getattr(config, "layer_types", None):
        config.layer_types = config.layer_types[: config.num_hidden_layers]
    return config


def require_context(checkpoint: Checkpoint, tokens: int, advice: str) -> None:
    """Refuses sequences longer than a model's context, which some architectures would run past without a word.

    Raises:
        ValueError: says how long, and gives the advice.
    """
    limit = getattr(config_of(checkpoint), "max_position_embeddings", None)
    if limit and tokens > limit:
        raise ValueError(
            f"a sequence of {tokens} tokens; {checkpoint.name} takes {limit}. {advice}"
        )


def load_lm(checkpoint: Checkpoint, dtype: torch.dtype = torch.float32):
    """The causal language model of a checkpoint, cut to its depth, dropout off, in evaluation mode, on the CPU."""
    if checkpoint.parent:
        lm, record = load_lm(checkpoint.parent, dtype), store.record(checkpoint.fit)
        if digest(checkpoint.parent) != record["config"]["model"]:
            raise ModelUnavailable(
                f"{checkpoint.name} was finetuned from {checkpoint.parent.name}, whose weights are "
                f"not the same any more; its own cannot be put into them. Fit it again"
            )
        put_trained(
            lm,
            store.weights(checkpoint.fit),
            record["config"]["method"],
            record["config"]["hyperparameters"],
        )
        keep_blocks(lm.base_model, slice(checkpoint.layers))
        return lm
    with quiet():
        lm = transformers.AutoModelForCausalLM.from_pretrained(
            folder(checkpoint),
            config=_without_dropout(checkpoint),
            dtype=dtype,
            use_safetensors=True,
            trust_remote_code=False,
        ).eval()
    lm.get_input_embeddings().padding_idx = (
        None  # padding is masked; the same id inside a text is a word and trains
    )
    return lm


def hollow_lm(checkpoint: Checkpoint, dtype: torch.dtype = torch.float32):
    """The language model of `load_lm` in shape alone, on the meta device: no weights are read or held."""
    with torch.device("meta"):
        lm = transformers.AutoModelForCausalLM.from_config(
            _without_dropout(checkpoint), dtype=dtype
        ).eval()
    lm.get_input_embeddings().padding_idx = None
    return lm


def _without_dropout(checkpoint: Checkpoint):
    config = config_of(checkpoint)
    for name in ("attn_pdrop", "embd_pdrop", "resid_pdrop", "attention_dropout", "hidden_dropout"):
        if hasattr(config, name):
            setattr(config, name, 0.0)
    config.use_cache = False
    return config


def n_params(checkpoint: Checkpoint) -> int:
    """Parameters of the body at the checkpoint's depth, embedding included, unembedding and head left out."""
    return sum(p.numel() for p in hollow_lm(checkpoint).base_model.parameters())
